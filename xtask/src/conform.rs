//! `cargo xtask conform`: runs every scenario on the real Consul, records its answers, and compares Muster's with them.

use std::process::Command;

use anyhow::{Context as _, Result, ensure};

use crate::{
    root,
    step::{Steps, cargo, program},
};

/// Puts the real Consul in `target/peer` and answers its path.
pub(crate) fn peer() -> Result<String> {
    let script = root().join("tests/peer/peer-consul.sh");
    let output = Command::new("bash").arg(script).arg(root().join("target/peer")).output().context("bash")?;
    ensure!(output.status.success(), "the real Consul cannot be had here: {}", String::from_utf8_lossy(&output.stderr));
    Ok(String::from_utf8_lossy(&output.stdout).trim().to_owned())
}

pub(crate) fn run(arguments: &[String]) -> Result<()> {
    let mut steps = Steps::default();
    let peer = peer()?;
    steps.run("release build", || program(&mut cargo(&["build", "--release", "--locked", "--package", "backend"])))?;
    steps.run("scenarios on both", || {
        let mut command = cargo(&["run", "--release", "--locked", "--quiet", "--package", "tests", "--bin", "conform", "--"]);
        program(command.arg(peer).args(arguments).env("MUSTER_BIN", root().join("target/release/muster")))
    })
}
