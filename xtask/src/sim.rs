//! `cargo xtask sim`: simulated clusters, each from a seed; the same seed gives the same run.

use anyhow::Result;

use crate::step::{cargo, program};

/// Seeds of a test run.
const SEEDS: &str = "50";

/// The test run's part: every invariant in as many worlds of both kinds.
pub(crate) fn held() -> Result<()> {
    run(&["--seeds".to_owned(), SEEDS.to_owned()])
}

/// Whether faults put in on purpose are noticed, and the same seed gives the same run.
pub(crate) fn proof() -> Result<()> {
    program(&mut cargo(&["test", "--release", "--locked", "--quiet", "--package", "sim"]))
}

pub(crate) fn run(arguments: &[String]) -> Result<()> {
    program(cargo(&["run", "--release", "--locked", "--quiet", "--package", "sim", "--"]).args(arguments))
}
