//! The operating system's service check: asks systemd whether a unit runs.
//!
//! Contract: health checks, section "Check types".

use std::time::Duration;

use super::{Outcome, script};
use shared::health::Status;

/// Asks for the unit's state.
pub(super) async fn run(name: &str, timeout: Duration, output_size_max: usize) -> Outcome {
    let args = ["systemctl", "is-active", "--", name].map(str::to_owned);
    let asked = script::run(&args, timeout, output_size_max).await;
    judge(name, &asked)
}

/// What the answer means. `systemctl` prints one word, and fails for every other word than `active`.
fn judge(name: &str, asked: &Outcome) -> Outcome {
    match asked.output.trim_end() {
        "active" | "reloading" => Outcome::passing(format!("Service \"{name}\" is healthy")),
        state @ ("activating" | "deactivating" | "maintenance" | "unknown") => {
            Outcome { status: Status::WARNING, output: format!("Service \"{name}\" is in state {state}") }
        }
        state @ ("inactive" | "failed") => Outcome::critical(format!("Service \"{name}\" is not running: {state}")),
        other => Outcome::critical(format!("Service \"{name}\" cannot be asked for: {other}")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_unit_is_judged_by_its_state() {
        let cases = [
            ("active\n", "passing", "Service \"db\" is healthy"),
            ("activating\n", "warning", "Service \"db\" is in state activating"),
            ("failed\n", "critical", "Service \"db\" is not running: failed"),
            ("exec: no systemctl", "critical", "Service \"db\" cannot be asked for: exec: no systemctl"),
        ];
        for (output, status, expected) in cases {
            let found = judge("db", &Outcome::critical(output.to_owned()));
            assert_eq!((found.status.as_str(), found.output.as_str()), (status, expected));
        }
    }
}
