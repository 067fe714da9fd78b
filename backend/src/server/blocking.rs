//! Reads that wait for their result to change.
//!
//! Contract: HTTP API, section Blocking queries. The watches are set before the state is read, so nothing is missed, and only
//! what a read depends on wakes it.

use std::time::Duration;

use futures_util::future::select_all;
use shared::query::QueryMeta;

use super::Call;
use crate::{
    rpc::{Answer, Error},
    rt::clock,
    store::{State, watch::Key},
};

/// Part of the wait that is added at random, so that waiters do not come back together.
const JITTER_FRACTION: u32 = 16;

impl Call<'_> {
    /// Answers `value` of the newest state once the read may be answered: at once, or when `index` of the state exceeds the one
    /// the caller has seen, or when the wait is over. `keys` are what the read depends on.
    pub(super) async fn read<T>(
        self,
        keys: &[Key<'_>],
        index: impl Fn(&State) -> u64,
        value: impl FnOnce(&State) -> Result<T, Error>,
    ) -> Result<Answer<T>, Error> {
        let options = &self.request.options;
        self.server.ensure_fresh(options.consistency).await?;
        let store = &self.server.store;
        // After a restore older indexes are told no more, so that they only rise.
        let index = |state: &State| index(state).max(state.restored_at);
        if options.index == 0 {
            let state = store.state();
            return Ok(self.answer(index(&state), value(&state)?));
        }
        let shutdown = self.server.runtime.tasks.shutdown();
        let deadline = self.server.runtime.clock.now() + self.longest_wait();
        let mut woken = false;
        loop {
            let mut watches: Vec<_> = keys.iter().map(|key| store.watches().subscribe(*key)).collect();
            let state = store.state();
            let now = index(&state);
            // Woken with a lower index: the state was replaced, or what was read went away.
            let over = shutdown.is_requested() || self.server.runtime.clock.now() >= deadline;
            if now > options.index || over || (woken && now < options.index) {
                return Ok(self.answer(now, value(&state)?));
            }
            drop(state);
            let changed = select_all(watches.iter_mut().map(|watch| Box::pin(watch.changed())));
            tokio::select! {
                biased;
                _ = changed => woken = true,
                () = shutdown.requested() => {}
                () = clock::sleep_until(deadline) => {}
            }
        }
    }

    fn longest_wait(self) -> Duration {
        let options = &self.server.options;
        let wait = self.request.options.waits(options.query_time_default, options.query_time_max);
        wait + self.server.runtime.rng.jitter(wait / JITTER_FRACTION)
    }

    /// An answer with what every read says about itself.
    pub(super) fn answer<T>(self, index: u64, value: T) -> Answer<T> {
        let contact = self.server.raft.contact();
        let (known_leader, last_contact_ms) = (contact.leader_known, contact.last_ms.unwrap_or(0));
        let consistency = self.request.options.consistency;
        Answer { meta: QueryMeta { index: index.max(1), known_leader, last_contact_ms, consistency }, value }
    }
}
