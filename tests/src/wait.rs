//! Waiting for a condition, never for a time.

use std::time::{Duration, Instant};

/// How long a condition may take on a busy machine before the test fails.
pub const DEADLINE: Duration = Duration::from_secs(20);

/// Asks until there is an answer. Panics with `what` when there is none within `deadline`.
pub fn wait_within<T>(what: &str, deadline: Duration, mut ask: impl FnMut() -> Option<T>) -> T {
    let start = Instant::now();
    loop {
        if let Some(answer) = ask() {
            return answer;
        }
        assert!(start.elapsed() < deadline, "waited {deadline:?} in vain for: {what}");
        std::thread::sleep(Duration::from_millis(10));
    }
}

/// [`wait_within`] the usual deadline.
pub fn wait_until<T>(what: &str, ask: impl FnMut() -> Option<T>) -> T {
    wait_within(what, DEADLINE, ask)
}
