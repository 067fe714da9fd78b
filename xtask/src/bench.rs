//! `cargo xtask bench`: Muster beside the real Consul on this machine, in one run.

use anyhow::Result;

use crate::{
    conform::peer,
    root,
    step::{Steps, cargo, program},
};

pub(crate) fn run(arguments: &[String]) -> Result<()> {
    let mut steps = Steps::default();
    let peer = peer()?;
    steps.run("release build", || program(&mut cargo(&["build", "--release", "--locked", "--package", "backend"])))?;
    steps.run("measure", || {
        let mut command = cargo(&["run", "--release", "--locked", "--quiet", "--package", "tests", "--bin", "bench", "--"]);
        program(command.arg(peer).args(arguments).env("MUSTER_BIN", root().join("target/release/muster")))
    })
}
