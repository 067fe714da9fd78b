//! `cargo xtask dev`: an agent that serves the dashboard from disk, and a watcher that rebuilds it on every save.

use std::{
    fs,
    path::{Path, PathBuf},
    process::{Child, Command},
    time::{Duration, SystemTime},
};

use anyhow::{Context, Result, bail};

/// How often the sources are looked at.
const LOOK_EVERY: Duration = Duration::from_millis(200);

/// Builds the dashboard with the tool's own feature on, in the dashboard's target folder.
pub(crate) fn build_ui(root: &Path, arguments: &[String]) -> Result<()> {
    let mut cargo = cargo(root);
    cargo.args(["run", "--quiet", "--package", "xtask", "--features", "ui", "--target-dir"]).arg(root.join("target/ui"));
    cargo.args(["--", "ui"]).args(arguments);
    if !cargo.status().context("cannot run cargo")?.success() {
        bail!("the dashboard was not built");
    }
    Ok(())
}

/// Runs until the agent ends.
#[allow(clippy::disallowed_methods)] // a watcher for developers: no simulation runs it
pub(crate) fn run(root: &Path, arguments: &[String]) -> Result<()> {
    let mut seen = newest(root);
    build_ui(root, &[])?;
    let mut agent = start_agent(root, arguments)?;
    loop {
        std::thread::sleep(LOOK_EVERY);
        if let Some(status) = agent.try_wait()? {
            bail!("the agent ended: {status}");
        }
        let now = newest(root);
        if now > seen {
            seen = now;
            match build_ui(root, &[]) {
                Ok(()) => eprintln!("dev: rebuilt, reload the page"),
                Err(error) => eprintln!("dev: {error:#}"),
            }
        }
    }
}

fn start_agent(root: &Path, arguments: &[String]) -> Result<Child> {
    let mut cargo = cargo(root);
    cargo.args(["run", "--package", "backend", "--"]);
    if arguments.is_empty() {
        cargo.args(["agent", "-dev"]);
    } else {
        cargo.args(arguments);
    }
    cargo.env("MUSTER_UI", "skip").env("MUSTER_UI_DIR", root.join("target/ui-dist/dev"));
    cargo.spawn().context("cannot start the agent")
}

fn cargo(root: &Path) -> Command {
    let mut cargo = Command::new(std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
    cargo.current_dir(root);
    cargo
}

/// When the dashboard's sources last changed.
fn newest(root: &Path) -> SystemTime {
    let mut folders: Vec<PathBuf> = ["frontend", "shared", "assets"].iter().map(|name| root.join(name)).collect();
    let mut newest = SystemTime::UNIX_EPOCH;
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(folder).into_iter().flatten().flatten() {
            let Ok(about) = entry.metadata() else { continue };
            if about.is_dir() {
                folders.push(entry.path());
            } else if let Ok(at) = about.modified() {
                newest = newest.max(at);
            }
        }
    }
    newest
}
