//! Named steps: says what runs, how long it took, and stops at the first failure.

#![allow(clippy::disallowed_methods, reason = "a stop-watch outside the product")]

use std::{process::Command, time::Instant};

use anyhow::{Context as _, Result, bail};

use crate::root;

/// The steps taken so far with their times.
#[derive(Debug, Default)]
pub(crate) struct Steps(Vec<(String, f32)>);

impl Steps {
    /// Runs one step.
    pub(crate) fn run(&mut self, name: &str, work: impl FnOnce() -> Result<()>) -> Result<()> {
        eprintln!("==> {name}");
        let started = Instant::now();
        let result = work();
        let seconds = started.elapsed().as_secs_f32();
        self.0.push((name.to_owned(), seconds));
        eprintln!("    {name}: {} in {seconds:.1} s", if result.is_ok() { "done" } else { "FAILED" });
        result.with_context(|| name.to_owned())
    }

    /// Tells every step's time.
    pub(crate) fn summary(&self) {
        eprintln!("==> times");
        for (name, seconds) in &self.0 {
            eprintln!("    {seconds:7.1} s  {name}");
        }
    }
}

/// Runs a program to its end; its output goes to ours.
pub(crate) fn program(command: &mut Command) -> Result<()> {
    let shown = format!("{command:?}");
    let status = command.status().with_context(|| format!("cannot start {shown}"))?;
    if !status.success() {
        bail!("{shown}: {status}");
    }
    Ok(())
}

/// `cargo` in the repository's root with these arguments.
pub(crate) fn cargo(arguments: &[&str]) -> Command {
    let mut command = Command::new(std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
    command.current_dir(root()).args(arguments);
    command
}
