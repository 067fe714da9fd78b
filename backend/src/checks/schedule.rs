//! When a check runs and when its results count. Pure: the clock and the random delay come from outside.
//!
//! Contract: health checks, sections "Status model" and "Thresholds".

use std::time::Duration;

use shared::health::Status;

use crate::rt::clock::Instant;

/// When the next run starts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Schedule {
    interval: Duration,
    next: Instant,
}

impl Schedule {
    /// The first run comes after `delay`, which the caller draws from zero up to `interval`.
    #[must_use]
    pub fn new(now: Instant, interval: Duration, delay: Duration) -> Self {
        Self { interval, next: now + delay }
    }

    /// When the next run is due.
    #[must_use]
    pub fn next(&self) -> Instant {
        self.next
    }

    /// A run ended: the interval counts from here, whatever started the run.
    pub fn ran(&mut self, ended: Instant) {
        self.next = ended + self.interval;
    }
}

/// Results in a row needed to change the status; 0 and 1 mean at once.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Thresholds {
    /// Passing or warning results needed to leave critical.
    pub success: u32,
    /// Critical results needed to show warning.
    pub warning: u32,
    /// Critical results needed to become critical.
    pub critical: u32,
}

/// Counts results in a row.
#[derive(Clone, Debug)]
pub struct Streak {
    thresholds: Thresholds,
    successes: u32,
    failures: u32,
}

impl Streak {
    /// Both counters start full, so the first result counts at once.
    #[must_use]
    pub fn new(thresholds: Thresholds) -> Self {
        Self { thresholds, successes: thresholds.success, failures: thresholds.critical }
    }

    /// Takes a result. Answers the status the check has from now on, or `None` while the result does not count yet: then status
    /// and output stay as they were.
    pub fn record(&mut self, found: &Status) -> Option<Status> {
        let reached = |count: u32, needed: u32| count >= needed;
        if *found == Status::PASSING || *found == Status::WARNING {
            self.successes = self.successes.saturating_add(1);
            self.failures = 0;
            return reached(self.successes, self.thresholds.success).then(|| found.clone());
        }
        self.failures = self.failures.saturating_add(1);
        self.successes = 0;
        if reached(self.failures, self.thresholds.critical) {
            Some(Status::CRITICAL)
        } else {
            reached(self.failures, self.thresholds.warning).then_some(Status::WARNING)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// `p`, `w`, `c` are results; the answer has the status after each, `.` where none counted.
    fn statuses(success: u32, warning: u32, critical: u32, results: &str) -> String {
        let mut streak = Streak::new(Thresholds { success, warning, critical });
        results
            .chars()
            .map(|result| {
                let found = match result {
                    'p' => Status::PASSING,
                    'w' => Status::WARNING,
                    _ => Status::CRITICAL,
                };
                streak.record(&found).map_or('.', |status| status.as_str().chars().next().unwrap_or('?'))
            })
            .collect()
    }

    #[test]
    fn results_count_at_once_without_thresholds() {
        assert_eq!(statuses(0, 0, 0, "pcwcp"), "pcwcp");
    }

    #[test]
    fn the_first_result_counts_whatever_the_thresholds() {
        assert_eq!(statuses(3, 2, 2, "p"), "p");
        assert_eq!(statuses(3, 2, 2, "c"), "c");
    }

    #[test]
    fn a_status_flips_on_the_nth_result_in_a_row() {
        assert_eq!(statuses(3, 2, 2, "cpppccp"), "c..p.c.");
        assert_eq!(statuses(3, 2, 2, "cpcpcppp"), "c......p");
    }

    #[test]
    fn failures_below_the_critical_threshold_warn_from_the_warning_threshold_on() {
        assert_eq!(statuses(0, 2, 4, "pccccp"), "p.wwcp");
    }

    #[tokio::test(start_paused = true)]
    async fn the_interval_counts_from_the_end_of_a_run() {
        let now = Instant::now();
        let mut schedule = Schedule::new(now, Duration::from_secs(10), Duration::from_secs(3));
        assert_eq!(schedule.next(), now + Duration::from_secs(3));
        schedule.ran(now + Duration::from_secs(5));
        assert_eq!(schedule.next(), now + Duration::from_secs(15));
    }
}
