//! When a server takes a snapshot by itself: it looks at an interval whether enough entries came since the last one.
//!
//! Contract: cluster, section "Raft"; agent configuration, keys `raft_snapshot_interval` and `raft_snapshot_threshold`.

use std::time::Duration;

use openraft::{SnapshotPolicy, async_runtime::watch::WatchReceiver as _};

use super::{
    Options,
    service::Metrics,
    types::{LogId, Raft},
};
use crate::rt::{Rng, Tasks, clock};

/// So many times the threshold may come before a snapshot is taken at once: reading a log of more entries would make a restart long
/// (100,000 small ones take a third of a second of one processor). A server under full load writes that many in about ten seconds; a
/// snapshot a second, as at the threshold alone, took every sixth write.
const OVERDUE: u64 = 16;

/// What openraft does by itself.
pub(super) fn policy(options: &Options) -> SnapshotPolicy {
    let times = if options.snapshot_interval.is_zero() { 1 } else { OVERDUE };
    SnapshotPolicy::LogsSinceLast(options.snapshot_threshold.max(1).saturating_mul(times))
}

/// The time until the next look: from the interval to twice as long.
fn pause(interval: Duration, rng: &Rng) -> Duration {
    interval.saturating_add(rng.jitter(interval))
}

/// Whether it is time, with so many entries applied and so many of them in the last snapshot.
fn is_due(applied: u64, in_snapshot: u64, threshold: u64) -> bool {
    applied.saturating_sub(in_snapshot) >= threshold.max(1)
}

/// Looks from time to time until the node or the agent stops.
pub(super) fn run(options: &Options, raft: Raft, metrics: Metrics, rng: Rng, tasks: &Tasks) {
    let (interval, threshold) = (options.snapshot_interval, options.snapshot_threshold);
    if interval.is_zero() {
        return;
    }
    tasks.spawn_until_shutdown("raft snapshots", async move {
        loop {
            clock::sleep(pause(interval, &rng)).await;
            let (applied, taken) = {
                let metrics = metrics.borrow_watched();
                if metrics.running_state.is_err() {
                    return;
                }
                (metrics.last_applied, metrics.snapshot)
            };
            let index = |id: Option<LogId>| id.map_or(0, |id| id.index());
            if is_due(index(applied), index(taken), threshold) && raft.trigger().snapshot().await.is_err() {
                return;
            }
        }
    });
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn looks_are_spread_between_the_interval_and_twice_as_long() {
        let (rng, interval) = (Rng::from_seed(1), Duration::from_secs(30));
        let pauses: Vec<_> = (0..200).map(|_| pause(interval, &rng)).collect();
        assert!(pauses.iter().all(|pause| (interval..=interval * 2).contains(pause)), "{pauses:?}");
        assert!(pauses.iter().any(|pause| *pause < interval * 5 / 4) && pauses.iter().any(|pause| *pause > interval * 7 / 4));
    }

    #[test]
    fn a_snapshot_is_due_after_as_many_entries_as_the_threshold_says() {
        assert!(!is_due(16_383, 0, 16_384) && is_due(16_384, 0, 16_384));
        assert!(!is_due(20_000, 16_384, 16_384) && is_due(32_768, 16_384, 16_384));
        // A snapshot of the leader may be newer than what is applied here for a moment.
        assert!(!is_due(5, 9, 0) && !is_due(9, 9, 0) && is_due(10, 9, 0));
    }
}
