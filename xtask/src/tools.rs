//! What the tests need beside Rust: installs it where it can, else names it.

use std::{
    path::{Path, PathBuf},
    process::{Command, Stdio},
};

use anyhow::{Result, bail};

use crate::{root, step::program};

fn quiet(name: &str, arguments: &[&str]) -> bool {
    Command::new(name).args(arguments).stdout(Stdio::null()).stderr(Stdio::null()).status().is_ok_and(|status| status.success())
}

/// Clippy and rustfmt.
pub(crate) fn rust() -> Result<()> {
    for (probe, component) in [("clippy", "clippy"), ("fmt", "rustfmt")] {
        if !quiet("cargo", &[probe, "--version"]) {
            eprintln!("    {component} is missing: running `rustup component add {component}`");
            program(Command::new("rustup").args(["component", "add", component]))?;
        }
    }
    Ok(())
}

fn is_root() -> bool {
    Command::new("id").arg("-u").output().is_ok_and(|id| id.stdout.starts_with(b"0"))
}

/// What network namespaces and faults between them need: iproute2 and nftables.
pub(crate) fn network() -> Result<()> {
    for (probe, package) in [("ip", "iproute2"), ("nft", "nftables")] {
        if quiet(probe, &["-V"]) {
            continue;
        }
        if !is_root() || !Path::new("/usr/bin/apt-get").exists() {
            bail!("the tests of network faults need {probe} and root: install it (Debian: apt-get install {package})");
        }
        eprintln!("    {probe} is missing: installing Debian's package");
        program(Command::new("apt-get").args(["update", "-qq"]))?;
        program(Command::new("apt-get").args(["install", "-y", "-qq", "--no-install-recommends", package]).stdout(Stdio::null()))?;
    }
    Ok(())
}

/// A Chromium for the browser journeys: `CHROMIUM`, the usual places, or Debian's package.
pub(crate) fn chromium() -> Result<PathBuf> {
    let find = || {
        let named = std::env::var_os("CHROMIUM").map(PathBuf::from);
        let usual = ["/usr/bin/chromium", "/usr/bin/chromium-browser", "/usr/bin/google-chrome", "/snap/bin/chromium"];
        named.into_iter().chain(usual.map(PathBuf::from)).find(|path| path.exists())
    };
    if let Some(path) = find() {
        return Ok(path);
    }
    if is_root() && Path::new("/usr/bin/apt-get").exists() {
        eprintln!("    Chromium is missing: installing Debian's package");
        program(Command::new("apt-get").args(["update", "-qq"]))?;
        program(Command::new("apt-get").args(["install", "-y", "-qq", "--no-install-recommends", "chromium"]).stdout(Stdio::null()))?;
        if let Some(path) = find() {
            return Ok(path);
        }
    }
    bail!("the browser journeys need Chromium: install it (Debian: apt-get install chromium) or set CHROMIUM to its path")
}

/// Node and the journeys' packages.
pub(crate) fn node() -> Result<()> {
    if !quiet("node", &["--version"]) || !quiet("npm", &["--version"]) {
        bail!("the browser journeys need node 18 or newer with npm: install it (Debian: apt-get install nodejs npm)");
    }
    let directory = root().join("tests/browser");
    if directory.join("node_modules/playwright-core").exists() && directory.join("node_modules/axe-core").exists() {
        return Ok(());
    }
    program(Command::new("npm").args(["ci", "--no-audit", "--no-fund", "--loglevel=error"]).current_dir(directory))
}
