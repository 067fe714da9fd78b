//! `cargo xtask bench`: Muster beside the real Consul on this machine, in one run. `bench cluster` does it with three servers each.

use anyhow::{Result, bail};

use crate::{
    conform::peer,
    root,
    step::{Steps, cargo, program},
};

pub(crate) fn run(arguments: &[String]) -> Result<()> {
    let mut steps = Steps::default();
    let (cluster, words) = match arguments.split_first() {
        Some((first, rest)) if first == "cluster" => (true, rest),
        _ => (false, arguments),
    };
    // `muster` leaves the real Consul out.
    let alone = cluster && words.iter().any(|word| word == "muster");
    let peer = if alone { "-".to_owned() } else { peer()? };
    let words = words.iter().filter(|word| *word != "muster");
    steps.run("release build", || program(&mut cargo(&["build", "--release", "--locked", "--package", "backend"])))?;
    steps.run("measure", || {
        let name = if cluster { "bench-cluster" } else { "bench" };
        let mut command = cargo(&["run", "--release", "--locked", "--quiet", "--package", "tests", "--bin", name, "--"]);
        program(command.arg(peer).args(words).env("MUSTER_BIN", root().join("target/release/muster")))
    })
}

/// `cargo xtask soak`.
pub(crate) fn soak(arguments: &[String]) -> Result<()> {
    let minutes = match arguments {
        [] => "10",
        [flag, minutes] if flag == "--minutes" && minutes.parse::<u64>().is_ok() => minutes,
        _ => bail!("usage: cargo xtask soak [--minutes N]"),
    };
    let mut steps = Steps::default();
    steps.run("release build", || program(&mut cargo(&["build", "--release", "--locked", "--package", "backend"])))?;
    steps.run("soak", || {
        let mut command = cargo(&["run", "--release", "--locked", "--quiet", "--package", "tests", "--bin", "soak", "--"]);
        program(command.arg(minutes).env("MUSTER_BIN", root().join("target/release/muster")))
    })
}
