//! What the agent says about itself while it runs: the log, the stream of it for `monitor`, and metrics.
//!
//! Lowest layer: every module may use it, it knows none of them. Never blocks on a slow reader of the stream.
//! Contract: agent endpoints `monitor` and `metrics` of the HTTP API, start-up output of the command line, and agent
//! configuration, section "Telemetry names".

mod file;
mod log;
mod metrics;
mod record;
mod sketch;
mod view;

use std::sync::OnceLock;

pub use file::{LogFile, Rotation, Tee};
pub use log::{Handle, Subscription, handle, init, layer};
pub use metrics::{INTERVAL, Metrics, Options};
pub use record::{Level, Record, UnknownLevel};
pub use view::{Gauge, Summary, View};

/// The process's metrics.
pub fn metrics() -> &'static Metrics {
    static METRICS: OnceLock<Metrics> = OnceLock::new();
    METRICS.get_or_init(Metrics::new)
}
