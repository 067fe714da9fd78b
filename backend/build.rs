//! Builds the dashboard beside the agent, so that one `cargo build` is all there is.
//!
//! Only std: the work is done by `xtask ui` in its own target folder, which serves debug and release builds alike and
//! cannot wait for the lock this build holds. `MUSTER_UI=skip` leaves the dashboard out.
#![allow(clippy::print_stdout)] // speaking to cargo is printing

use std::{
    env,
    fs::{self, OpenOptions},
    io::Write,
    path::{Path, PathBuf},
    process::Command,
    time::Instant,
};

fn main() {
    let root = PathBuf::from(variable("CARGO_MANIFEST_DIR")).parent().map(Path::to_path_buf).unwrap_or_default();
    let table = PathBuf::from(variable("OUT_DIR")).join("ui_assets.rs");
    println!("cargo::rerun-if-changed=build.rs");
    println!("cargo::rerun-if-env-changed=MUSTER_UI");
    if env::var("MUSTER_UI").is_ok_and(|value| value == "skip") {
        if let Err(error) = fs::write(&table, "static ASSETS: &[Asset] = &[];\n") {
            fail(&format!("cannot write {}: {error}", table.display()));
        }
        return;
    }
    for path in [
        "frontend",
        "shared",
        "xtask/Cargo.toml",
        "xtask/src/ui",
        "assets/brand",
        "assets/fonts",
        "assets/icons",
        "Cargo.lock",
        "Cargo.toml",
    ] {
        println!("cargo::rerun-if-changed={}", root.join(path).display());
    }
    build(&root, &table, variable("PROFILE") == "release");
}

/// Runs the dashboard's build and says so on the terminal, where the user would otherwise see nothing move.
#[allow(clippy::disallowed_methods)] // a build's stop-watch
fn build(root: &Path, table: &Path, release: bool) {
    let start = Instant::now();
    let first = !root.join("target/ui/bound").exists();
    say(if first {
        "building the dashboard (Rust to WebAssembly); the first time takes two to four minutes, the agent compiles meanwhile"
    } else {
        "building the dashboard; this takes half a minute at most"
    });
    let mut cargo = Command::new(variable("CARGO"));
    scrub(&mut cargo);
    cargo.current_dir(root).args(["run", "--quiet", "--locked", "--package", "xtask", "--features", "ui", "--target-dir"]);
    cargo.arg(root.join("target/ui")).args(["--", "ui", "--table"]).arg(table);
    if release {
        cargo.arg("--release");
    }
    match cargo.output() {
        Ok(output) if output.status.success() => say(&format!("the dashboard is built, after {:.0} s", start.elapsed().as_secs_f32())),
        Ok(output) => fail(&String::from_utf8_lossy(&output.stderr)),
        Err(error) => fail(&format!("cannot run cargo: {error}")),
    }
}

/// Writes to the terminal itself: cargo holds back what build scripts print until they end.
fn say(text: &str) {
    if let Ok(mut terminal) = OpenOptions::new().write(true).open("/dev/tty") {
        // Without a terminal there is nobody to tell.
        let _ = writeln!(terminal, "\r\x1b[K    Dashboard {text}");
    }
}

fn fail(text: &str) -> ! {
    for line in text.lines() {
        println!("cargo::error={line}");
    }
    std::process::exit(1)
}

/// What cargo set for this build must not reach the nested one.
fn scrub(cargo: &mut Command) {
    const KEEP: [&str; 6] = ["CARGO_HOME", "CARGO_NET", "CARGO_REGISTR", "CARGO_HTTP", "CARGO_SOURCE", "CARGO_TERM"];
    const DROP: [&str; 12] = [
        "RUSTFLAGS",
        "RUSTC_WRAPPER",
        "RUSTC_WORKSPACE_WRAPPER",
        "RUSTC_LINKER",
        "TARGET",
        "HOST",
        "PROFILE",
        "OPT_LEVEL",
        "DEBUG",
        "NUM_JOBS",
        "OUT_DIR",
        "LLVM_PROFILE_FILE",
    ];
    for (name, _) in env::vars_os() {
        let text = name.to_string_lossy();
        let cargos = text.starts_with("CARGO") && !KEEP.iter().any(|kept| text.starts_with(kept));
        if cargos || DROP.contains(&text.as_ref()) {
            cargo.env_remove(&name);
        }
    }
}

fn variable(name: &str) -> String {
    env::var(name).unwrap_or_else(|_| fail(&format!("cargo did not set {name}")))
}
