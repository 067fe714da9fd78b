//! `cargo xtask test`: every test there is, on the release binary, with one profile and one target directory.
//!
//! `--skip-browser` leaves the browser journeys out and says so; words after `--` choose tests of `tests/it` by name.

use std::process::Command;

use anyhow::{Result, bail};

use crate::{
    root, sim,
    step::{Steps, cargo, program},
    tools,
};

pub(crate) fn run(arguments: &[String]) -> Result<()> {
    let (flags, words) = match arguments.iter().position(|argument| argument == "--") {
        Some(at) => (&arguments[..at], &arguments[at + 1..]),
        None => (arguments, &[][..]),
    };
    if let Some(unknown) = flags.iter().find(|flag| *flag != "--skip-browser") {
        bail!("unknown flag {unknown}; usage: cargo xtask test [--skip-browser] [-- WORD...]");
    }
    let mut steps = Steps::default();
    let result = all(&mut steps, flags.is_empty(), words);
    steps.summary();
    if !flags.is_empty() {
        eprintln!("the browser journeys were left out, as asked");
    }
    result
}

fn all(steps: &mut Steps, browser: bool, words: &[String]) -> Result<()> {
    steps.run("tools", || {
        tools::rust()?;
        tools::network()?;
        if browser {
            tools::chromium()?;
            tools::node()?;
        }
        Ok(())
    })?;
    steps.run("format", || program(&mut cargo(&["fmt", "--all", "--check"])))?;
    steps.run("release build with the dashboard", || program(&mut cargo(&["build", "--release", "--locked", "--package", "backend"])))?;
    steps.run("lints", lints)?;
    steps.run("unit tests", || {
        program(&mut cargo(&[
            "test",
            "--release",
            "--locked",
            "--quiet",
            "--lib",
            "--package",
            "shared",
            "--package",
            "backend",
            "--package",
            "frontend",
        ]))
    })?;
    steps.run("simulated clusters", sim::held)?;
    steps.run("proof of the simulation", sim::proof)?;
    let binary = root().join("target/release/muster");
    steps.run("tests against real agents", || {
        let mut command = cargo(&["test", "--release", "--locked", "--package", "tests", "--lib", "--test", "it", "--"]);
        program(command.args(words).env("MUSTER_BIN", &binary))
    })?;
    if browser {
        steps.run("browser journeys", || {
            let mut command = Command::new("node");
            command.arg("run.mjs").current_dir(root().join("tests/browser"));
            program(command.env("MUSTER_BIN", &binary).env("CHROMIUM", tools::chromium()?))
        })?;
    }
    Ok(())
}

/// Clippy over everything, in the tests' own profile. The dashboard is linted on the host: its code is the same there.
pub(crate) fn lints() -> Result<()> {
    program(&mut cargo(&["clippy", "--release", "--locked", "--quiet", "--workspace", "--all-targets", "--", "--deny", "warnings"]))
}
