//! The dashboard's build: cargo for wasm32, wasm-bindgen as a library, hashed names, brotli and gzip variants, and a
//! Rust table of it all that the backend includes.
//!
//! Never runs wasm-opt: it saves at most one percent and can leave a dead page while reporting success.

use std::{
    ffi::OsString,
    fs,
    path::{Path, PathBuf},
    process::Command,
    time::Instant,
};

use anyhow::{Context, Result, bail};

mod bundle;
mod table;

/// Where the browser's code runs.
const TARGET: &str = "wasm32-unknown-unknown";

/// What to build and where to.
struct Options {
    root: PathBuf,
    release: bool,
    table: Option<PathBuf>,
}

/// `ui [--release] [--table FILE]`.
pub(crate) fn run(root: &Path, arguments: &[String]) -> Result<()> {
    let mut options = Options { root: root.to_path_buf(), release: false, table: None };
    let mut arguments = arguments.iter();
    while let Some(argument) = arguments.next() {
        match argument.as_str() {
            "--release" => options.release = true,
            "--table" => options.table = Some(arguments.next().context("--table needs a file")?.into()),
            other => bail!("ui: unknown argument {other:?}"),
        }
    }
    build(&options)
}

fn build(options: &Options) -> Result<()> {
    ensure_target()?;
    let wasm = timed("compile for the browser", || compile(options))?;
    let glue = timed("bind", || bind(options, &wasm))?;
    let dist = options.root.join("target/ui-dist").join(if options.release { "release" } else { "dev" });
    let assets = timed("bundle", || bundle::write(&options.root, &glue, &dist, options.release))?;
    if let Some(file) = &options.table {
        fs::write(file, table::source(&assets)).with_context(|| format!("cannot write {}", file.display()))?;
    }
    Ok(())
}

fn timed<T>(what: &str, work: impl FnOnce() -> Result<T>) -> Result<T> {
    #[allow(clippy::disallowed_methods)] // a build's stop-watch
    let start = Instant::now();
    let done = work().with_context(|| format!("dashboard: {what}"));
    eprintln!("dashboard: {what}: {:.1} s", start.elapsed().as_secs_f32());
    done
}

/// Compiles the frontend and answers where the module is.
fn compile(options: &Options) -> Result<PathBuf> {
    let profile = if options.release { "wasm-release" } else { "wasm-dev" };
    let target_dir = options.root.join("target/ui");
    let mut cargo = Command::new(std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
    scrub(&mut cargo);
    cargo.current_dir(&options.root).args(["build", "--quiet", "--locked", "--package", "frontend", "--target", TARGET]);
    cargo.args(["--profile", profile, "--target-dir"]).arg(&target_dir);
    // One view type in place of one for every component: a tenth less code.
    cargo.env("CARGO_TARGET_WASM32_UNKNOWN_UNKNOWN_RUSTFLAGS", "--cfg erase_components");
    if !cargo.status().context("cannot run cargo")?.success() {
        bail!("the frontend does not compile; see the errors above");
    }
    Ok(target_dir.join(TARGET).join(profile).join("frontend.wasm"))
}

/// Removes what an outer cargo or a wrapper set for its own build and would change this one.
fn scrub(cargo: &mut Command) {
    const KEEP: [&str; 6] = ["CARGO_HOME", "CARGO_NET", "CARGO_REGISTR", "CARGO_HTTP", "CARGO_SOURCE", "CARGO_TERM"];
    const DROP: [&str; 15] = [
        "RUSTFLAGS",
        "RUSTC_WRAPPER",
        "RUSTC_WORKSPACE_WRAPPER",
        "RUSTC_LINKER",
        "RUSTDOCFLAGS",
        "TARGET",
        "HOST",
        "PROFILE",
        "OPT_LEVEL",
        "DEBUG",
        "NUM_JOBS",
        "OUT_DIR",
        "LLVM_PROFILE_FILE",
        "MAKEFLAGS",
        "MFLAGS",
    ];
    for (name, _) in std::env::vars_os() {
        let text = name.to_string_lossy();
        let cargos = text.starts_with("CARGO") && !KEEP.iter().any(|kept| text.starts_with(kept));
        if cargos || DROP.contains(&text.as_ref()) {
            cargo.env_remove(&name);
        }
    }
}

/// Writes the JavaScript glue and the bound module, and answers the folder.
fn bind(options: &Options, wasm: &Path) -> Result<PathBuf> {
    let folder = options.root.join("target/ui/bound").join(if options.release { "release" } else { "dev" });
    if folder.exists() {
        fs::remove_dir_all(&folder)?;
    }
    fs::create_dir_all(&folder)?;
    let mut bindgen = wasm_bindgen_cli_support::Bindgen::new();
    bindgen.input_path(wasm).out_name("app").web(true)?.typescript(false).omit_default_module_path(true);
    if options.release {
        bindgen.remove_name_section(true).remove_producers_section(true);
    }
    bindgen.generate(&folder)?;
    Ok(folder)
}

fn ensure_target() -> Result<()> {
    if target_installed()? {
        return Ok(());
    }
    eprintln!("dashboard: the Rust target {TARGET} is missing, running: rustup target add {TARGET}");
    let added = Command::new("rustup").args(["target", "add", TARGET]).status().is_ok_and(|status| status.success());
    if added && target_installed()? {
        return Ok(());
    }
    bail!(
        "The Rust target {TARGET} is not installed, so the dashboard cannot be built.\n  \
         Install it:        rustup target add {TARGET}\n  \
         Or leave it out:   MUSTER_UI=skip cargo build"
    )
}

fn target_installed() -> Result<bool> {
    let rustc = std::env::var_os("RUSTC").unwrap_or_else(|| OsString::from("rustc"));
    let output = Command::new(rustc).args(["--print", "target-libdir", "--target", TARGET]).output().context("cannot run rustc")?;
    let folder = PathBuf::from(String::from_utf8_lossy(&output.stdout).trim());
    let has_core = |entry: fs::DirEntry| entry.file_name().to_string_lossy().starts_with("libcore-");
    Ok(output.status.success() && fs::read_dir(folder).is_ok_and(|entries| entries.flatten().any(has_core)))
}
