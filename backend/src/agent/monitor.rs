//! This agent's log, followed from elsewhere: a call that reaches an agent has one answer, so who follows asks for part after part.
//!
//! A part that was lost on its way is given again. Nobody who went away is waited for long, and no more follow at once than may.
//! Contract: HTTP API, `agent/monitor`; beyond Consul, `http/EXTENSIONS.md`.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use futures_util::FutureExt as _;
use tokio::sync::{mpsc, oneshot};

use crate::{
    rpc::Error,
    rt::{Runtime, clock},
    telemetry::{self, Subscription, UnknownLevel},
};

/// Who may follow at once.
const MONITORS_MAX: usize = 16;
/// How long a part waits for its first line, before it is given without any.
const WAIT: Duration = Duration::from_secs(5);
/// How long lines are gathered that come together.
const GATHER: Duration = Duration::from_millis(100);
/// After how long without a call it is over: who follows calls at least every [`WAIT`], or tries again for 10 s.
const FORGOTTEN: Duration = Duration::from_secs(30);
/// Lines of a part, and their bytes after which no more are added.
const PART_MAX: (usize, usize) = (512, 256 << 10);

/// A call for a part.
struct Wanted {
    part: u64,
    answer: oneshot::Sender<Vec<String>>,
}

type Open = Arc<Mutex<HashMap<u64, mpsc::Sender<Wanted>>>>;

/// Everybody who follows this agent's log from elsewhere.
pub(super) struct Monitors {
    log: Option<telemetry::Handle>,
    open: Open,
    runtime: Runtime,
}

fn locked(open: &Open) -> std::sync::MutexGuard<'_, HashMap<u64, mpsc::Sender<Wanted>>> {
    open.lock().unwrap_or_else(PoisonError::into_inner)
}

/// One among those that are open, until it is dropped.
struct Entry(Open, u64);

impl Drop for Entry {
    fn drop(&mut self) {
        locked(&self.0).remove(&self.1);
    }
}

impl Monitors {
    /// Nobody yet; without a log there is nothing to follow.
    pub(super) fn new(log: Option<telemetry::Handle>, runtime: Runtime) -> Self {
        Self { log, open: Open::default(), runtime }
    }

    /// Follows the log from now on, at this level; answers the number to ask for parts with.
    ///
    /// # Errors
    /// A word that is no level; too many follow already.
    pub(super) fn open(&self, level: &str, json: bool) -> Result<u64, Error> {
        let level = level.parse().map_err(|error: UnknownLevel| Error::BadRequest(error.to_string()))?;
        let log = self.log.as_ref().ok_or_else(|| Error::Refused("This agent's log cannot be streamed".to_owned()))?;
        // Drawn, so that a number of before a restart is nobody's afterwards.
        let id = u64::from_le_bytes(self.runtime.rng.bytes());
        let (wanted, asked) = mpsc::channel(1);
        {
            let mut open = locked(&self.open);
            if open.len() >= MONITORS_MAX {
                return Err(Error::Refused(format!("{MONITORS_MAX} others follow this agent's log from elsewhere already")));
            }
            open.insert(id, wanted);
        }
        let (entry, lines) = (Entry(Arc::clone(&self.open), id), log.subscribe(level));
        self.runtime.tasks.spawn_until_shutdown("monitor", async move {
            let _entry = entry;
            give(lines, json, asked).await;
        });
        Ok(id)
    }

    /// The lines of a part, counted from 1, as they come; none when there are none for a while. The part given last is given again.
    ///
    /// # Errors
    /// Nobody follows under this number, or not any more.
    pub(super) async fn read(&self, id: u64, part: u64) -> Result<Vec<String>, Error> {
        let gone = || Error::NotFound("this agent's log is not followed under that number any more".to_owned());
        let wanted = locked(&self.open).get(&id).cloned().ok_or_else(gone)?;
        let (answer, answered) = oneshot::channel();
        wanted.send(Wanted { part, answer }).await.map_err(|_| gone())?;
        // Or it is forgotten only once this call is.
        drop(wanted);
        answered.await.map_err(|_| gone())
    }
}

/// Gives one follower part after part, until it does not ask any more.
async fn give(mut lines: Subscription, json: bool, mut wanted: mpsc::Receiver<Wanted>) {
    let (mut number, mut part) = (0, Vec::new());
    while let Ok(Some(asked)) = clock::timeout(FORGOTTEN, wanted.recv()).await {
        if asked.part > number {
            (number, part) = (asked.part, next(&mut lines, json).await);
        }
        // Whoever asked may be gone: then it asks again.
        drop(asked.answer.send(part.clone()));
    }
}

async fn next(lines: &mut Subscription, json: bool) -> Vec<String> {
    let Ok(Some(first)) = clock::timeout(WAIT, lines.next()).await else { return Vec::new() };
    clock::sleep(GATHER).await;
    let mut part = vec![first.line(json)];
    let mut bytes = part[0].len();
    while part.len() < PART_MAX.0 && bytes < PART_MAX.1 {
        // What is there is taken, however much this task has done in its turn.
        let Some(Some(record)) = tokio::task::unconstrained(lines.next()).now_or_never() else { break };
        let line = record.line(json);
        bytes += line.len();
        part.push(line);
    }
    part
}

#[cfg(test)]
mod tests {
    use tracing_subscriber::layer::SubscriberExt as _;

    use super::*;
    use crate::rt::Clock;

    /// What follows, and what keeps this test's lines coming to it.
    fn monitors() -> (Monitors, tracing::subscriber::DefaultGuard) {
        let (log, layer) = telemetry::layer(telemetry::Level::Warn, false, Clock::system(), Box::new(std::io::sink()));
        let guard = tracing::subscriber::set_default(tracing_subscriber::registry().with(layer));
        (Monitors::new(Some(log), Runtime::system()), guard)
    }

    #[tokio::test(start_paused = true)]
    async fn lines_are_given_once_unless_their_part_is_asked_for_again() {
        let (monitors, _guard) = monitors();
        let id = monitors.open("debug", false).expect("a level");
        let read = async |part| {
            let lines = monitors.read(id, part).await.expect("it is open");
            lines.iter().filter_map(|line| line.split(": ").nth(1).map(str::to_owned)).collect::<Vec<_>>()
        };
        tracing::debug!("one");
        tracing::trace!("too fine");
        tracing::info!("two");
        assert_eq!(read(1).await, ["one", "two"]);
        tracing::info!("three");
        assert_eq!(read(1).await, ["one", "two"], "its answer was lost");
        assert_eq!(read(2).await, ["three"]);
        let begun = clock::Instant::now();
        assert!(read(3).await.is_empty() && begun.elapsed() == WAIT, "a part without lines is given, too");
        // Whoever went away while it waited has lost nothing.
        assert!(clock::timeout(WAIT / 2, monitors.read(id, 4)).await.is_err());
        tracing::info!("four");
        assert_eq!(read(4).await, ["four"]);
    }

    #[tokio::test(start_paused = true)]
    async fn a_part_has_an_end_and_the_next_one_goes_on() {
        let (monitors, _guard) = monitors();
        let id = monitors.open("info", true).expect("a level");
        (0..PART_MAX.0 + 3).for_each(|number| tracing::info!(number, "line"));
        let (first, second) = (monitors.read(id, 1).await.expect("open"), monitors.read(id, 2).await.expect("open"));
        assert_eq!((first.len(), second.len()), (PART_MAX.0, 3));
        assert!(second[0].contains(&format!("\"number\":{}", PART_MAX.0)), "{}", second[0]);
    }

    #[tokio::test(start_paused = true)]
    async fn so_many_follow_and_who_asks_no_more_is_forgotten() {
        let (monitors, _guard) = monitors();
        assert_eq!(monitors.open("bogus", false), Err(Error::BadRequest("Unknown log level: bogus".to_owned())));
        let ids: Vec<u64> = (0..MONITORS_MAX).map(|_| monitors.open("info", false).expect("room")).collect();
        assert!(matches!(monitors.open("info", false), Err(Error::Refused(_))));
        clock::sleep(FORGOTTEN / 2).await;
        assert_eq!(monitors.read(ids[0], 1).await, Ok(Vec::new()));
        clock::sleep(FORGOTTEN / 2 + Duration::from_secs(1)).await;
        assert!(matches!(monitors.read(ids[1], 1).await, Err(Error::NotFound(_))));
        assert_eq!(monitors.read(ids[0], 2).await, Ok(Vec::new()), "it asked in time");
        assert_eq!(locked(&monitors.open).len(), 1);
        monitors.open("info", false).expect("room again");
    }
}
