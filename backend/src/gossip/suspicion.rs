//! When an accusation counts: one that others confirm soon, one that nobody confirms late.
//!
//! foca declares an accused member down after a fixed time; its timers are ours, so the time is made longer for an agent that is
//! slow itself, and shorter with each other member that accuses too. Contract: cluster, section "Gossip", rows on suspicion.

use std::time::Duration;

use super::{Timing, identity::Identity};

/// Accusers beside this one that make an accusation certain.
const CONFIRMATIONS: usize = 2;
/// No suspicion is shorter, however often members are probed: whoever is accused needs processor time to answer.
const SHORTEST: Duration = Duration::from_secs(1);
/// How much longer a suspicion lasts that nobody confirms.
const UNCONFIRMED: u32 = 3;

/// How long a confirmed suspicion lasts in a pool of this size: every member has to get the chance to refute it, so it grows
/// with the time news takes to get around.
pub(super) fn shortest(timing: &Timing, size: usize, health: u32) -> Duration {
    let size = f64::from(u32::try_from(size).unwrap_or(u32::MAX));
    let scale = (size.log10() - 0.7).max(1.0);
    timing.probe_interval.mul_f64(0.625 * f64::from(timing.suspicion_mult) * scale).max(SHORTEST) * (health + 1)
}

/// Where a member is in its life: a later stage refutes accusations of an earlier one.
pub(super) fn stage(identity: &Identity, refutation: u16) -> (u64, u32, u16) {
    (identity.incarnation, identity.meta_version, refutation)
}

/// Somebody this node accuses, or others do.
#[derive(Clone, Debug)]
pub(super) struct Suspicion {
    pub(super) identity: Identity,
    /// How often it had refuted accusations by then.
    pub(super) refutation: u16,
    /// Of foca's timer, which is void once foca starts over.
    pub(super) token: u8,
    /// When foca is to act, and the order among equal times.
    pub(super) timer: (Duration, u64),
    /// Whether its port is closed: the process is gone, which is worth as much as another accuser.
    pub(super) closed: bool,
    /// Whether a probe of this node failed; otherwise others said so.
    pub(super) own: bool,
    /// When it began.
    pub(super) since: Duration,
    shortest: Duration,
    wanted: usize,
}

impl Suspicion {
    /// `others` are those who could confirm it.
    pub(super) fn new(identity: Identity, refutation: u16, token: u8, since: Duration, shortest: Duration, others: usize) -> Self {
        let wanted = CONFIRMATIONS.min(others);
        Self { identity, refutation, token, timer: (since, 0), closed: false, own: false, since, shortest, wanted }
    }

    /// Of what it is accused: see [`stage`].
    pub(super) fn stage(&self) -> (u64, u32, u16) {
        stage(&self.identity, self.refutation)
    }

    /// When it counts if so many others accuse too.
    pub(super) fn due(&self, others: usize) -> Duration {
        self.since + lasts(self.shortest, others + usize::from(self.closed), self.wanted)
    }
}

/// From the longest, with nobody else, down to the shortest, with as many as wanted: the first ones count most.
fn lasts(shortest: Duration, confirmations: usize, wanted: usize) -> Duration {
    let logarithm = |count: usize| f64::from(u32::try_from(count).unwrap_or(u32::MAX)).ln_1p();
    if confirmations >= wanted {
        return shortest;
    }
    let share = logarithm(confirmations) / logarithm(wanted);
    shortest + (shortest * (UNCONFIRMED - 1)).mul_f64(1.0 - share)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn confirmations_shorten_a_suspicion_down_to_its_shortest() {
        let second = Duration::from_secs(1);
        let lasting: Vec<_> = (0..4).map(|count| lasts(second, count, 2).as_millis()).collect();
        assert_eq!((lasting[0], lasting[2], lasting[3]), (3000, 1000, 1000));
        assert!((1700..1800).contains(&lasting[1]), "{lasting:?}");
        assert_eq!(lasts(second, 0, 0), second, "nobody is there who could confirm it");
    }

    #[test]
    fn who_is_slow_or_in_a_large_pool_waits_longer() {
        let timing = Timing::default();
        assert_eq!(shortest(&timing, 3, 0), Duration::from_millis(2500));
        assert_eq!(shortest(&timing, 50, 0), Duration::from_millis(2500));
        assert_eq!(shortest(&timing, 50, 3), Duration::from_secs(10));
        let hasty = Timing { probe_interval: Duration::from_millis(100), ..timing };
        assert_eq!(shortest(&hasty, 3, 0), Duration::from_secs(1));
        assert_eq!(shortest(&timing, 10_000, 0).as_millis(), 8250);
    }
}
