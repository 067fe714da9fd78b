//! The oracle: what the real Consul answered, recorded beside each scenario, and the comparison with it.

use std::{fmt::Write as _, fs, path::PathBuf};

use anyhow::{Context as _, Result, ensure};
use serde_json::Value;

use crate::scenario::{Observed, Scenario};

/// Version of the Consul whose answers are recorded.
pub const VERSION: &str = "1.8.7";

/// How many answers matched.
#[derive(Clone, Copy, Debug, Default)]
pub struct Score {
    /// Same status, headers and body.
    pub matched: usize,
    /// Different on purpose, and as documented.
    pub on_purpose: usize,
    /// Compared.
    pub total: usize,
}

fn path(scenario: &Scenario) -> PathBuf {
    crate::root().join("tests/scenarios").join(format!("{}.consul-{VERSION}.json", scenario.name))
}

/// Keeps what the real Consul answered.
///
/// # Errors
/// The file cannot be written.
pub fn record(scenario: &Scenario, observed: &[Observed]) -> Result<()> {
    fs::write(path(scenario), serde_json::to_string_pretty(observed)? + "\n").context("writing the recording")
}

/// What the real Consul answered.
///
/// # Errors
/// There is no recording, or it belongs to another version of the scenario.
pub fn recorded(scenario: &Scenario) -> Result<Vec<Observed>> {
    let path = path(scenario);
    let text = fs::read_to_string(&path).with_context(|| format!("{}: run `cargo xtask conform`", path.display()))?;
    let recorded: Vec<Observed> = serde_json::from_str(&text)?;
    let same =
        recorded.len() == scenario.steps.len() && recorded.iter().zip(&scenario.steps).all(|(answer, step)| answer.request == step.r#do);
    ensure!(same, "{}: the scenario has changed since; run `cargo xtask conform`", path.display());
    Ok(recorded)
}

/// Compares and describes every difference.
///
/// # Errors
/// As for [`recorded`].
pub fn compare(scenario: &Scenario, observed: &[Observed], score: &mut Score) -> Result<String> {
    let mut report = String::new();
    for ((answer, recorded), step) in observed.iter().zip(recorded(scenario)?).zip(&scenario.steps) {
        let expected = step.expected(&recorded);
        score.total += 1;
        let differences = differences(&expected, answer);
        if differences.is_empty() {
            *if step.differs.is_some() { &mut score.on_purpose } else { &mut score.matched } += 1;
        } else {
            let _ = writeln!(report, "{}: {}\n{differences}", scenario.name, step.r#do);
        }
    }
    Ok(report)
}

fn differences(expected: &Observed, answer: &Observed) -> String {
    let mut out = String::new();
    if expected.status != answer.status {
        let _ = writeln!(out, "    status: expected {}, got {}", expected.status, answer.status);
    }
    for name in expected.headers.keys().chain(answer.headers.keys().filter(|name| !expected.headers.contains_key(*name))) {
        let (wanted, got) = (expected.headers.get(name), answer.headers.get(name));
        if wanted != got {
            let _ = writeln!(out, "    header {name}: expected {wanted:?}, got {got:?}");
        }
    }
    value_differences(&expected.body, &answer.body, "", &mut out);
    out
}

fn value_differences(expected: &Value, answer: &Value, at: &str, out: &mut String) {
    match (expected, answer) {
        (Value::Object(left), Value::Object(right)) => {
            for key in left.keys().chain(right.keys().filter(|key| !left.contains_key(*key))) {
                match (left.get(key), right.get(key)) {
                    (Some(left), Some(right)) => value_differences(left, right, &format!("{at}/{key}"), out),
                    (Some(left), None) => drop(writeln!(out, "    body {at}/{key}: expected {left}, got nothing")),
                    (None, Some(right)) => drop(writeln!(out, "    body {at}/{key}: expected nothing, got {right}")),
                    (None, None) => {}
                }
            }
        }
        (Value::Array(left), Value::Array(right)) if left.len() == right.len() => {
            for (position, (left, right)) in left.iter().zip(right).enumerate() {
                value_differences(left, right, &format!("{at}/{position}"), out);
            }
        }
        _ if expected == answer => {}
        _ => drop(writeln!(out, "    body {at}: expected {expected}, got {answer}")),
    }
}
