//! Processor time of the machine: who took it decides how long something may take that a quiet machine does at once.

use std::{fs, time::Instant};

use crate::{cluster::Cluster, node::Node};

/// Clock ticks of `/proc` a second; the same on every Linux that runs here.
const TICKS: f64 = 100.0;

/// What was used up to a moment.
#[derive(Clone, Copy, Debug)]
pub struct Processor {
    at: Instant,
    /// Seconds all processors together were busy.
    busy: f64,
    /// Those of them that went to the agents and to this test.
    own: f64,
}

/// Seconds the machine was busy, of the first line of `/proc/stat`: all but idle (the fourth) and waiting for disks (the fifth).
/// What a hypervisor took (the eighth) counts as busy; time of guests (from the ninth on) is in the first already.
fn busy(stat: &str) -> f64 {
    let first = stat.lines().next().unwrap_or_default();
    let ticks: Vec<f64> = first.split_whitespace().skip(1).take(8).filter_map(|number| number.parse().ok()).collect();
    ticks.iter().enumerate().filter(|(at, _)| *at != 3 && *at != 4).map(|(_, ticks)| ticks).sum::<f64>() / TICKS
}

impl Processor {
    /// Now, with this cluster's agents and this test as those that it is about.
    ///
    /// # Panics
    /// There is no `/proc`.
    #[must_use]
    pub fn now(cluster: &Cluster) -> Self {
        let stat = fs::read_to_string("/proc/stat").expect("Linux");
        let agents: u64 = cluster.members.iter().filter_map(|member| member.node.as_ref()).map(Node::cpu_us).sum();
        let own = (agents + crate::node::cpu_us("self")) as f64 / 1e6;
        Self { at: Instant::now(), busy: busy(&stat), own }
    }

    /// Which part of the machine others took since then, 0 to 1.
    #[must_use]
    pub fn taken_by_others(&self, until: &Self) -> f64 {
        let cores = std::thread::available_parallelism().map_or(1, usize::from) as f64;
        let all = cores * until.at.duration_since(self.at).as_secs_f64();
        let others = (until.busy - self.busy) - (until.own - self.own);
        if all <= 0.0 { 0.0 } else { (others / all).clamp(0.0, 1.0) }
    }

    /// How many times as long something may take that had only the rest of the machine.
    #[must_use]
    pub fn patience(&self, until: &Self) -> f64 {
        1.0 / (1.0 - self.taken_by_others(until)).max(0.01)
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[test]
    fn waiting_for_disks_is_not_busy_and_stolen_time_is() {
        let stat = "cpu  100 20 30 9000 800 1 2 47 5000 0\ncpu0 1 1 1 1 1 1 1 1 1 1\n";
        assert!((busy(stat) - 2.0).abs() < 1e-9, "{}", busy(stat));
    }

    #[test]
    fn only_what_others_took_earns_patience() {
        let cores = std::thread::available_parallelism().map_or(1, usize::from) as f64;
        let before = Processor { at: Instant::now(), busy: 5.0, own: 1.0 };
        let later = |busy, own| Processor { at: before.at + Duration::from_secs(10), busy: 5.0 + busy * cores, own: 1.0 + own * cores };
        // Busy only with itself: no excuse.
        assert!((before.patience(&later(10.0, 10.0)) - 1.0).abs() < 1e-9);
        assert!((before.patience(&later(10.0, 5.0)) - 2.0).abs() < 1e-9);
        assert!(before.patience(&later(10.0, 0.0)) > 50.0);
        // Ticks are rough.
        assert!((before.patience(&later(1.0, 1.1)) - 1.0).abs() < 1e-9);
    }
}
