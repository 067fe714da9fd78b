//! A slow clock, so that ages on screen grow older by themselves.

use std::time::Duration;

use crate::prelude::*;

const TICK: Duration = Duration::from_secs(5);

/// Milliseconds since 1970 by the browser, every 5 s.
#[derive(Clone, Copy)]
pub(crate) struct Clock(RwSignal<u64>);

/// The clock of this app.
pub(crate) fn use_clock() -> Clock {
    expect_context()
}

pub(super) fn provide() {
    let now = RwSignal::new(js_sys::Date::now() as u64);
    provide_context(Clock(now));
    set_interval(move || now.set(js_sys::Date::now() as u64), TICK);
}

impl Clock {
    /// The agent's time now, when it was `agent_ms` as an answer came at `at_ms` of this browser.
    pub(crate) fn agent_now(self, agent_ms: u64, at_ms: u64) -> u64 {
        agent_ms + self.0.get().saturating_sub(at_ms)
    }
}
