//! Time. Monotonic time is tokio's, so a test can pause it; wall time is milliseconds since 1970.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

pub use tokio::time::{Instant, Interval, MissedTickBehavior, interval, sleep, sleep_until, timeout, timeout_at};

/// Where the time comes from.
#[derive(Clone, Copy, Debug)]
pub struct Clock {
    /// Wall time and monotonic time of the start, when simulated.
    epoch: Option<(u64, Instant)>,
}

impl Clock {
    /// The machine's clock.
    #[must_use]
    pub fn system() -> Self {
        Self { epoch: None }
    }

    /// A wall clock that starts here and advances with tokio's clock.
    #[must_use]
    pub fn starting_at(wall_ms: u64) -> Self {
        Self { epoch: Some((wall_ms, Instant::now())) }
    }

    /// Monotonic time.
    #[must_use]
    pub fn now(&self) -> Instant {
        Instant::now()
    }

    /// Wall time, milliseconds since 1970.
    #[must_use]
    #[allow(clippy::disallowed_methods, reason = "this is the seam")]
    pub fn wall_ms(&self) -> u64 {
        let since = |d: Duration| u64::try_from(d.as_millis()).unwrap_or(u64::MAX);
        match self.epoch {
            Some((wall_ms, start)) => wall_ms + since(start.elapsed()),
            None => SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, since),
        }
    }
}
