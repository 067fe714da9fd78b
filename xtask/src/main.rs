//! Muster's own tasks: the dashboard's build, every test, the comparison with the real Consul, measurements.
//!
//! Never needed to use the product: `cargo build` calls `ui` by itself, from the backend's build script.
#![allow(clippy::print_stderr)]

use std::{path::PathBuf, process::ExitCode};

mod bench;
mod conform;
mod dev;
mod sim;
mod step;
mod test;
mod tools;
#[cfg(feature = "ui")]
mod ui;

const USAGE: &str = "usage: cargo xtask <task>
  ui [--release] [--table FILE]   build the dashboard into target/ui-dist; FILE gets its table of assets in Rust
  dev [agent arguments]           run a dev agent whose dashboard is rebuilt on every save
  test [--skip-browser] [-- WORD] run every test there is, or those of tests/it whose names hold the words
  sim [--seeds N | --seed S] [--invariant NAME] [--bug NAME] [--trace]
                                  simulate clusters in trouble, each from a seed
  conform [WORD...]               run the scenarios on the real Consul and on Muster, and record its answers
  bench                           measure Muster beside the real Consul
  bench cluster [muster] [PART...] the same with three servers each; parts: writes, failover, keys; muster: without the real Consul
  soak [--minutes N]              three servers under full write load for N minutes (10) without a change of leader";

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let rest = arguments.get(1..).unwrap_or_default();
    let done = match arguments.first().map(String::as_str) {
        #[cfg(feature = "ui")]
        Some("ui") => ui::run(&root(), rest),
        #[cfg(not(feature = "ui"))]
        Some("ui") => dev::build_ui(&root(), rest),
        Some("dev") => dev::run(&root(), rest),
        Some("test") => test::run(rest),
        Some("sim") => sim::run(rest),
        Some("conform") => conform::run(rest),
        Some("bench") => bench::run(rest),
        Some("soak") => bench::soak(rest),
        _ => {
            eprintln!("{USAGE}");
            return ExitCode::from(2);
        }
    };
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("{error:#}");
            ExitCode::FAILURE
        }
    }
}

/// The workspace's folder.
fn root() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).parent().expect("xtask lies in the workspace").to_path_buf()
}
