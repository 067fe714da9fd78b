//! `cargo xtask sim`: simulated clusters, each from a seed; the same seed gives the same run.

use anyhow::Result;

use crate::step::{cargo, program};

/// Seeds of a test run.
pub(crate) const SEEDS: &str = "50";

pub(crate) fn run(arguments: &[String]) -> Result<()> {
    program(cargo(&["run", "--release", "--locked", "--quiet", "--package", "sim", "--"]).args(arguments))
}
