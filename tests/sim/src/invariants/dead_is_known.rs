//! In a network without faults everybody knows of a death, and of a leave, within a bound.

use std::time::Duration;

use super::{First, Verdict};

/// Its name.
pub const NAME: &str = "dead_is_known";

/// How long news of a death may take in a pool of this size: 9 s up to 50, and for more as much as the suspicion grows.
#[must_use]
pub fn bound(size: usize) -> Duration {
    if size <= 50 { Duration::from_secs(9) } else { Duration::from_secs(12) }
}

/// How long it took.
#[derive(Debug, Default)]
pub struct Deaths {
    longest: Duration,
    seen: u64,
    first: First,
}

impl Deaths {
    /// Everybody knows after this time.
    pub fn known(&mut self, took: Duration) {
        self.seen += 1;
        self.longest = self.longest.max(took);
    }

    /// Somebody does not know in time.
    pub fn unknown(&mut self, what: impl FnOnce() -> String) {
        self.first.fault(what);
    }

    /// The slowest, in milliseconds.
    #[must_use]
    pub fn longest_ms(&self) -> u64 {
        u64::try_from(self.longest.as_millis()).unwrap_or(u64::MAX)
    }

    /// Whether it holds.
    ///
    /// # Errors
    /// Who does not know.
    pub fn verdict(&self) -> Verdict {
        self.first.verdict()?;
        if self.seen == 0 { Err("nobody died".to_owned()) } else { Ok(()) }
    }
}
