//! How well this node keeps up with its own timers: who is slow itself waits longer before it accuses others.
//!
//! Contract: cluster, section "Gossip", rows on suspicion.

use std::time::Duration;

use foca::Timer;

use super::{identity::Identity, pool::Pool, suspicion};

/// How far behind its own timers a node is, and what came of its accusations.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Health {
    /// 0 is well; each step makes it wait that much longer before it accuses anybody.
    pub(super) score: u32,
    changed: Duration,
    /// Members this node accused.
    pub(super) accusations: u64,
    /// Those of them that were alive.
    pub(super) refuted: u64,
}

/// The worst health there is.
const HEALTH_WORST: u32 = 7;

impl Pool {
    /// Notes how late the last timer was: who is late himself should not be quick to accuse others.
    pub(super) fn note_lag(&mut self, now: Duration, lag: Duration) {
        if lag > self.timing.probe_timeout / 2 {
            self.worsen(now);
        } else if now.saturating_sub(self.health.changed) > self.timing.probe_interval && self.health.score > 0 {
            self.health = Health { score: self.health.score - 1, changed: now, ..self.health };
        }
    }

    pub(super) fn worsen(&mut self, now: Duration) {
        self.health = Health { score: (self.health.score + 1).min(HEALTH_WORST), changed: now, ..self.health };
    }

    /// This agent or its machine stood still: that time is nobody else's fault, and their answers are still to be read.
    pub(super) fn forgive(&mut self, stood_still: Duration) {
        let accuses = |timer: &Timer<Identity>| {
            matches!(timer, Timer::ProbeRandomMember(_) | Timer::SendIndirectProbe { .. } | Timer::ChangeSuspectToDown { .. })
        };
        let timers = std::mem::take(&mut self.timers);
        let later = stood_still + self.timing.probe_timeout;
        for ((due, order), timer) in timers {
            let at = if accuses(&timer) { (due + later, order) } else { (due, order) };
            if let Timer::ChangeSuspectToDown { member_id, .. } = &timer {
                self.suspicions.entry(member_id.node).and_modify(|suspicion| suspicion.timer = at);
            }
            self.timers.insert(at, timer);
        }
    }

    pub(super) fn health(&self) -> Health {
        self.health
    }

    /// How long a confirmed suspicion lasts now.
    pub(super) fn suspicion(&self) -> Duration {
        suspicion::shortest(&self.timing, self.sized, self.health.score)
    }
}
