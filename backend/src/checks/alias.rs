//! The alias check: has the worst status of the checks it follows. Where those are is behind [`Source`].
//!
//! Contract: health checks, section "Alias details". Never counts the alias itself among the checks it follows.

use std::time::Duration;

use shared::health::Status;

use super::{Alias, Outcome};
use crate::rt::clock;

const RETRIES_AT_ONCE: u32 = 3;
const BACKOFF_MAX: Duration = Duration::from_secs(60);

/// Where an alias check finds the checks it follows.
#[async_trait::async_trait]
pub trait Source: std::fmt::Debug + Send + Sync + 'static {
    /// Tells the target's checks: at once when `after` is 0, else once they may have changed since the answer of that index, or
    /// after a minute.
    ///
    /// # Errors
    /// Why they cannot be told.
    async fn observe(&self, target: &Alias, after: u64) -> Result<Observed, String>;
}

/// A target's checks.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Observed {
    /// What to ask with next time; at least 1.
    pub index: u64,
    /// Whether the service exists; `true` when the target is a node.
    pub found: bool,
    /// Its checks and its node's.
    pub checks: Vec<Aliased>,
}

/// One check an alias follows.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Aliased {
    /// Its id.
    pub id: String,
    /// Its name.
    pub name: String,
    /// Its status.
    pub status: Status,
    /// Its output.
    pub output: String,
}

/// What the target's checks mean for the alias.
pub(super) fn evaluate(own_id: &str, target: &Alias, observed: &Observed) -> Outcome {
    if !observed.found {
        return Outcome::critical(format!("Service {} could not be found on node {}", target.service_id, target.node));
    }
    let rank = |status: &Status| match status.as_str() {
        "passing" => 0,
        "warning" => 1,
        _ => 2,
    };
    let followed = || observed.checks.iter().filter(|check| check.id != own_id);
    let Some(worst) = followed().rev().max_by_key(|check| rank(&check.status)) else {
        return Outcome::passing("No checks found.".to_owned());
    };
    match rank(&worst.status) {
        0 => Outcome::passing("All checks passing.".to_owned()),
        rank => {
            let status = if rank == 1 { Status::WARNING } else { Status::CRITICAL };
            Outcome { status, output: format!("Aliased check {:?} failing: {}", worst.name, worst.output) }
        }
    }
}

/// Asks the source again and again.
#[derive(Debug, Default)]
pub(super) struct Follower {
    index: u64,
    failures: u32,
    last: Option<Outcome>,
}

impl Follower {
    /// Waits for news. Answers `None` when there are none.
    pub(super) async fn next(&mut self, own_id: &str, target: &Alias, source: &dyn Source) -> Option<Outcome> {
        match source.observe(target, self.index).await {
            Ok(observed) => {
                (self.index, self.failures) = (observed.index, 0);
                let outcome = evaluate(own_id, target, &observed);
                if self.last.as_ref() == Some(&outcome) {
                    return None;
                }
                self.last = Some(outcome.clone());
                Some(outcome)
            }
            Err(why) => {
                self.failures = self.failures.saturating_add(1);
                self.index = 0;
                tracing::warn!(check = own_id, reason = why, "cannot read what an alias check follows");
                clock::sleep(backoff(self.failures)).await;
                None
            }
        }
    }
}

fn backoff(failures: u32) -> Duration {
    if failures <= RETRIES_AT_ONCE {
        return Duration::from_secs(1);
    }
    Duration::from_secs(1u64 << (failures - RETRIES_AT_ONCE).min(6)).min(BACKOFF_MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn observed(checks: &[(&str, &str, &str)]) -> Observed {
        let checks = checks.iter().map(|(name, status, output)| Aliased {
            id: (*name).to_owned(),
            name: (*name).to_owned(),
            status: Status::from(*status),
            output: (*output).to_owned(),
        });
        Observed { index: 1, found: true, checks: checks.collect() }
    }

    #[test]
    fn an_alias_has_the_worst_status_of_what_it_follows() {
        let cases = [
            (vec![], "passing", "No checks found."),
            (vec![("a", "passing", "")], "passing", "All checks passing."),
            (vec![("a", "passing", ""), ("b", "warning", "hm")], "warning", "Aliased check \"b\" failing: hm"),
            (vec![("a", "critical", "no"), ("b", "warning", "hm")], "critical", "Aliased check \"a\" failing: no"),
            (vec![("a", "critical", "1"), ("b", "critical", "2")], "critical", "Aliased check \"a\" failing: 1"),
            (vec![("me", "critical", ""), ("b", "passing", "")], "passing", "All checks passing."),
        ];
        for (checks, status, output) in cases {
            let outcome = evaluate("me", &Alias::default(), &observed(&checks));
            assert_eq!(outcome, Outcome { status: Status::from(status), output: output.to_owned() }, "{checks:?}");
        }
    }

    #[test]
    fn a_missing_service_is_critical() {
        let target = Alias { node: String::new(), service_id: "nope".to_owned() };
        let outcome = evaluate("me", &target, &Observed::default());
        assert_eq!(outcome, Outcome::critical("Service nope could not be found on node ".to_owned()));
    }

    #[test]
    fn retries_slow_down_to_once_a_minute() {
        assert_eq!(backoff(1), Duration::from_secs(1));
        assert_eq!(backoff(4), Duration::from_secs(2));
        assert_eq!(backoff(40), Duration::from_secs(60));
    }
}
