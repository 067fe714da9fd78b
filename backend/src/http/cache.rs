//! Answers kept for reads with `?cached`, and kept fresh by a blocking read each in the background.
//!
//! Contract: HTTP API, section "Consistency and caching". Must never answer one caller with what another one's token may see,
//! and never grow without a bound: the answer unused for longest goes.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use shared::query::QueryOptions;
use tokio::{sync::watch, task::AbortHandle};

use crate::{
    rpc::{Answer, Error, Operation, OperationReply, Request, Router, TypedOperation},
    rt::{Clock, Tasks, clock},
};

/// Answers kept, at most.
const ENTRIES_MAX: usize = 1024;
/// How long one is kept fresh that nobody asks for.
const UNUSED_MAX: Duration = Duration::from_secs(3 * 24 * 3600);
/// How long a background read waits for a change.
const REFRESH_WAIT: Duration = Duration::from_secs(600);
/// The pause after a background read failed; it doubles up to the second one.
const RETRY: (Duration, Duration) = (Duration::from_secs(1), Duration::from_secs(60));
/// How long a blocking read of the cache waits unless it says so.
const WAIT_DEFAULT: Duration = Duration::from_secs(600);

/// What `Cache-Control` asks for.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Directives {
    /// Nothing older.
    pub(super) max_age: Option<Duration>,
    /// Nothing kept at all.
    pub(super) must_revalidate: bool,
    /// Something as old as that if there is no new answer.
    pub(super) stale_if_error: Option<Duration>,
}

impl Directives {
    /// Reads the header as Consul does: what it does not know means nothing. `None` for a number that is none.
    pub(super) fn parse(text: &str) -> Option<Self> {
        let mut asked = Self::default();
        for directive in text.split(',') {
            let lower = directive.trim().to_ascii_lowercase();
            // A negative number means nothing either.
            let seconds = |value: &str| value.parse::<i64>().ok().map(|count| u64::try_from(count).ok().map(Duration::from_secs));
            match lower.split_once('=') {
                Some(("max-age", value)) => asked.max_age = seconds(value)?,
                Some(("stale-if-error", value)) => asked.stale_if_error = seconds(value)?,
                None if lower == "must-revalidate" => asked.must_revalidate = true,
                _ => {}
            }
        }
        asked.must_revalidate |= asked.max_age.is_some_and(|age| age.is_zero());
        Some(asked)
    }
}

/// Where an answer came from: `X-Cache` and `Age`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Source {
    /// Kept, and how old it is.
    Kept(Duration),
    /// A server, just now.
    Fetched,
}

/// An answer with when it came.
#[derive(Clone, Debug)]
struct Kept {
    answer: Answer<OperationReply>,
    at: clock::Instant,
    /// Whether a server would tell of a change at once.
    is_watched: bool,
}

impl Kept {
    fn age(&self, now: clock::Instant) -> Duration {
        if self.is_watched { Duration::ZERO } else { now.saturating_duration_since(self.at) }
    }
}

struct Entry {
    kept: watch::Sender<Option<Kept>>,
    used: Mutex<clock::Instant>,
    refresher: Mutex<Option<AbortHandle>>,
}

impl Drop for Entry {
    fn drop(&mut self) {
        if let Some(refresher) = self.refresher.get_mut().unwrap_or_else(PoisonError::into_inner) {
            refresher.abort();
        }
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// The agent's cache.
pub(super) struct Cache {
    entries: Mutex<HashMap<Vec<u8>, Arc<Entry>>>,
    router: Router,
    tasks: Tasks,
    clock: Clock,
}

impl Cache {
    pub(super) fn new(router: Router, tasks: Tasks, clock: Clock) -> Self {
        Self { entries: Mutex::default(), router, tasks, clock }
    }

    /// Makes a call, or answers what is kept of it.
    ///
    /// # Errors
    /// Those of the call.
    pub(super) async fn call<O>(&self, request: Request, operation: O, asked: Directives) -> Result<(Answer<O::Reply>, Source), Error>
    where
        O: TypedOperation,
    {
        let operation = operation.into();
        let entry = self.entry(&request, &operation);
        let (answer, source) = self.find(&entry, request, operation, asked).await?;
        let value = O::unwrap(answer.value).ok_or_else(Error::unexpected_reply)?;
        Ok((Answer { meta: answer.meta, value }, source))
    }

    fn entry(&self, request: &Request, operation: &Operation) -> Arc<Entry> {
        // Everything the answer depends on, but not how long to wait for it.
        let options = QueryOptions { index: 0, wait: None, ..request.options.clone() };
        let key =
            rmp_serde::to_vec(&(&request.datacenter, &request.token, &options, operation)).expect("plain data, which msgpack can write");
        let now = self.clock.now();
        let mut entries = lock(&self.entries);
        if let Some(entry) = entries.get(&key) {
            *lock(&entry.used) = now;
            return Arc::clone(entry);
        }
        if entries.len() >= ENTRIES_MAX {
            let oldest = entries.iter().min_by_key(|(_, entry)| *lock(&entry.used)).map(|(key, _)| key.clone());
            oldest.and_then(|key| entries.remove(&key));
        }
        let entry = Arc::new(Entry { kept: watch::Sender::new(None), used: Mutex::new(now), refresher: Mutex::default() });
        entries.insert(key, Arc::clone(&entry));
        entry
    }

    async fn find(
        &self,
        entry: &Arc<Entry>,
        mut request: Request,
        operation: Operation,
        asked: Directives,
    ) -> Result<(Answer<OperationReply>, Source), Error> {
        let index = std::mem::take(&mut request.options.index);
        let wait = request.options.wait.take().map_or(WAIT_DEFAULT, |wait| wait.as_std()).min(WAIT_DEFAULT);
        let kept = entry.kept.borrow().clone();
        if let Some(kept) = kept.as_ref().filter(|kept| is_fresh(kept, self.clock.now(), asked)) {
            if index == 0 || kept.answer.meta.index > index {
                return Ok((kept.answer.clone(), Source::Kept(kept.age(self.clock.now()))));
            }
            if kept.is_watched {
                return Ok((changed(entry, index, wait, kept).await, Source::Fetched));
            }
        }
        match self.router.handle(request.clone(), operation.clone()).await {
            Ok(answer) => {
                let is_watched = answer.meta.index > 0;
                entry.kept.send_replace(Some(Kept { answer: answer.clone(), at: self.clock.now(), is_watched }));
                if is_watched {
                    self.keep_fresh(entry, request, operation);
                }
                Ok((answer, Source::Fetched))
            }
            Err(error) => {
                let now = self.clock.now();
                let usable = |kept: &Kept| asked.stale_if_error.is_some_and(|oldest| now.saturating_duration_since(kept.at) <= oldest);
                let kept = kept.filter(usable).ok_or(error)?;
                Ok((kept.answer, Source::Kept(now.saturating_duration_since(kept.at))))
            }
        }
    }

    /// Reads again whenever the answer changes, as long as the entry is there and used.
    fn keep_fresh(&self, entry: &Arc<Entry>, request: Request, operation: Operation) {
        let mut refresher = lock(&entry.refresher);
        if refresher.as_ref().is_some_and(|task| !task.is_finished()) {
            return;
        }
        let (weak, router, clock) = (Arc::downgrade(entry), self.router.clone(), self.clock);
        let shutdown = self.tasks.shutdown();
        let refresh = async move {
            let mut pause = RETRY.0;
            loop {
                let mut request = request.clone();
                match weak.upgrade() {
                    Some(entry) if clock.now().saturating_duration_since(*lock(&entry.used)) < UNUSED_MAX => {
                        request.options.index = entry.kept.borrow().as_ref().map_or(0, |kept| kept.answer.meta.index);
                        request.options.wait = Some(REFRESH_WAIT.into());
                    }
                    Some(entry) => {
                        entry.kept.send_replace(None);
                        return;
                    }
                    None => return,
                }
                let (began, index) = (clock.now(), request.options.index);
                let read = router.handle(request, operation.clone()).await;
                let Some(entry) = weak.upgrade() else { return };
                // A server that answers at once although nothing changed is not asked in a loop.
                let waited = clock.now().saturating_duration_since(began) >= RETRY.0;
                let failed = !read.as_ref().is_ok_and(|answer| answer.meta.index > index || waited);
                entry.kept.send_modify(|kept| match read {
                    Ok(answer) => *kept = Some(Kept { answer, at: clock.now(), is_watched: true }),
                    Err(_) => drop(kept.as_mut().map(|kept| kept.is_watched = false)),
                });
                drop(entry);
                if failed {
                    clock::sleep(pause).await;
                }
                pause = if failed { (pause * 2).min(RETRY.1) } else { RETRY.0 };
            }
        };
        let refreshing = self.tasks.spawn("cache", async move {
            tokio::select! {
                biased;
                () = shutdown.requested() => {}
                () = refresh => {}
            }
        });
        *refresher = Some(refreshing.abort_handle());
    }
}

/// What is watched is as new as any read could be, also for who asks for nothing old.
fn is_fresh(kept: &Kept, now: clock::Instant, asked: Directives) -> bool {
    kept.is_watched || !asked.must_revalidate && asked.max_age.is_none_or(|oldest| kept.age(now) <= oldest)
}

/// The next answer with a higher index, or the last one once the time is over.
async fn changed(entry: &Entry, index: u64, wait: Duration, kept: &Kept) -> Answer<OperationReply> {
    let mut watching = entry.kept.subscribe();
    let newer = |kept: &Option<Kept>| kept.as_ref().is_some_and(|kept| kept.answer.meta.index > index);
    // Ends with the time or with the change; either way the newest answer counts.
    let _ = clock::timeout(wait, watching.wait_for(newer)).await;
    let newest = watching.borrow().as_ref().map(|kept| kept.answer.clone());
    newest.unwrap_or_else(|| kept.answer.clone())
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicU64, Ordering};

    use shared::query::QueryMeta;

    use super::*;
    use crate::rpc::{self, Changes, Handler};

    /// Answers with the index it is at; blocking reads wait for a higher one.
    struct Server {
        index: watch::Sender<u64>,
        calls: AtomicU64,
        down: std::sync::atomic::AtomicBool,
    }

    #[async_trait::async_trait]
    impl Handler for Server {
        async fn handle(&self, request: Request, _: Operation) -> Result<Answer<OperationReply>, Error> {
            self.calls.fetch_add(1, Ordering::Relaxed);
            let mut watching = self.index.subscribe();
            let up = |index: &u64| *index > request.options.index;
            watching.wait_for(up).await.map_err(|_| Error::Stopping)?;
            if self.down.load(Ordering::Relaxed) {
                return Err(Error::NoServers);
            }
            let index = *watching.borrow();
            let value = OperationReply::Services([(format!("at-{index}"), Vec::new())].into());
            Ok(Answer { meta: QueryMeta { index, ..QueryMeta::default() }, value })
        }

        async fn changes(&self, _: Request, _: u64) -> Result<Changes, Error> {
            Err(Error::Stopping)
        }
    }

    fn server() -> (Arc<Server>, Cache) {
        let server = Arc::new(Server { index: watch::Sender::new(5), calls: AtomicU64::new(0), down: false.into() });
        let cache = Cache::new(Router::new(server.clone()), Tasks::new(), Clock::system());
        (server, cache)
    }

    async fn ask(cache: &Cache, request: Request, directives: &str) -> (u64, Source) {
        let asked = Directives::parse(directives).expect("valid");
        let (answer, source) = cache.call(request, rpc::Services {}, asked).await.expect("answers");
        (answer.meta.index, source)
    }

    const FRESH: Source = Source::Kept(Duration::ZERO);

    #[tokio::test(start_paused = true)]
    async fn an_answer_is_kept_and_follows_the_server() {
        let (server, cache) = server();
        assert_eq!(ask(&cache, Request::default(), "").await, (5, Source::Fetched));
        clock::sleep(Duration::from_secs(60)).await;
        assert_eq!(ask(&cache, Request::default(), "max-age=1").await, (5, FRESH));
        assert_eq!(server.calls.load(Ordering::Relaxed), 2, "one read, and one that waits for a change");
        let other = Request { token: "t".to_owned(), ..Request::default() };
        assert_eq!(ask(&cache, other, "").await, (5, Source::Fetched), "another token sees nothing of it");
        server.index.send_replace(6);
        clock::sleep(Duration::from_millis(1)).await;
        assert_eq!(ask(&cache, Request::default(), "").await, (6, FRESH));
        assert_eq!(ask(&cache, Request::default(), "must-revalidate").await, (6, FRESH), "nothing newer is to be had");
    }

    #[tokio::test(start_paused = true)]
    async fn a_blocking_read_waits_for_the_cache_to_change() {
        let (server, cache) = server();
        ask(&cache, Request::default(), "").await;
        let options = QueryOptions { index: 5, wait: Some(Duration::from_secs(10).into()), ..QueryOptions::default() };
        let blocking = Request { options, ..Request::default() };
        let change = async {
            clock::sleep(Duration::from_secs(3)).await;
            server.index.send_replace(9);
        };
        let (answer, ()) = futures_util::future::join(ask(&cache, blocking.clone(), ""), change).await;
        assert_eq!(answer, (9, Source::Fetched));
        assert_eq!(ask(&cache, blocking, "").await, (9, FRESH), "newer than asked for");
    }

    #[tokio::test(start_paused = true)]
    async fn an_old_answer_is_better_than_none_only_where_asked() {
        let (server, cache) = server();
        ask(&cache, Request::default(), "").await;
        server.down.store(true, Ordering::Relaxed);
        server.index.send_replace(6);
        clock::sleep(Duration::from_secs(10)).await;
        let kept = ask(&cache, Request::default(), "").await;
        assert_eq!(kept, (5, Source::Kept(Duration::from_secs(10))), "its age counts since nobody watches");
        let refused = cache.call(Request::default(), rpc::Services {}, Directives::parse("max-age=5").expect("valid")).await;
        assert!(refused.is_err());
        assert_eq!(ask(&cache, Request::default(), "max-age=5, stale-if-error=60").await, (5, Source::Kept(Duration::from_secs(10))));
    }

    #[tokio::test(start_paused = true)]
    async fn the_answer_unused_for_longest_goes_first() {
        let (server, cache) = server();
        for token in 0..=ENTRIES_MAX {
            let request = Request { token: token.to_string(), ..Request::default() };
            ask(&cache, request, "").await;
            clock::sleep(Duration::from_millis(1)).await;
        }
        assert_eq!(lock(&cache.entries).len(), ENTRIES_MAX);
        let before = server.calls.load(Ordering::Relaxed);
        ask(&cache, Request { token: "1".to_owned(), ..Request::default() }, "").await;
        assert_eq!(server.calls.load(Ordering::Relaxed), before, "still kept");
        assert_eq!(ask(&cache, Request { token: "0".to_owned(), ..Request::default() }, "").await.1, Source::Fetched);
    }

    #[test]
    fn cache_control_is_read() {
        let seconds = |count| Some(Duration::from_secs(count));
        let asked = Directives::parse("max-age=3, Stale-If-Error=9").expect("valid");
        assert_eq!(asked, Directives { max_age: seconds(3), must_revalidate: false, stale_if_error: seconds(9) });
        assert!(Directives::parse("max-age=0").expect("valid").must_revalidate);
        for nothing in ["no-cache", "max-age", "bogus=1", "stale-if-error=-1", ""] {
            assert_eq!(Directives::parse(nothing), Some(Directives::default()), "{nothing}");
        }
        for bad in ["max-age=", "max-age=x", "stale-if-error=1.5"] {
            assert_eq!(Directives::parse(bad), None, "{bad}");
        }
    }
}
