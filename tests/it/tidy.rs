//! The rules of ARCHITECTURE.md that a program can check: who imports whom, file heads, names, the repository's root.

use std::{
    collections::BTreeSet,
    fs,
    path::{Path, PathBuf},
};

use tests::root;

/// Module of the backend, and the modules it may import. `telemetry` is open to all, `rt` to all but the pure layer 1.
const LAYERS: [(&str, &[&str]); 17] = [
    ("rt", &[]),
    ("telemetry", &["rt"]),
    ("acl", &[]),
    ("config", &[]),
    ("filter", &[]),
    ("store", &[]),
    ("checks", &["rt", "telemetry"]),
    ("gossip", &["rt", "telemetry"]),
    ("localdb", &["rt", "telemetry"]),
    ("raft", &["rt", "telemetry", "store"]),
    ("rpc", &["rt", "telemetry"]),
    ("local", &["rt", "telemetry", "acl", "filter", "checks", "rpc", "localdb"]),
    ("server", &["rt", "telemetry", "acl", "filter", "gossip", "raft", "rpc", "store"]),
    ("dns", &["rt", "telemetry", "local", "rpc"]),
    ("http", &["rt", "telemetry", "local", "rpc"]),
    (
        "agent",
        &[
            "rt",
            "telemetry",
            "acl",
            "config",
            "filter",
            "store",
            "checks",
            "gossip",
            "localdb",
            "raft",
            "rpc",
            "local",
            "server",
            "dns",
            "http",
        ],
    ),
    ("cli", &["rt", "telemetry", "config", "agent", "localdb"]),
];

/// What lies at the top of the repository.
const ROOT: [&str; 21] = [
    ".cargo",
    ".ci",
    ".git",
    ".gitignore",
    "ARCHITECTURE.md",
    "CHANGELOG.md",
    "Cargo.lock",
    "Cargo.toml",
    "LICENSE",
    "NOTICE",
    "README.md",
    "assets",
    "backend",
    "clippy.toml",
    "frontend",
    "rust-toolchain.toml",
    "rustfmt.toml",
    "shared",
    "target",
    "tests",
    "xtask",
];

/// Names that say nothing about what a file holds.
const VAGUE: [&str; 6] = ["util", "utils", "helper", "helpers", "common", "misc"];

fn sources(directory: &Path, found: &mut Vec<PathBuf>) {
    for entry in fs::read_dir(directory).expect("the repository is readable").map_while(Result::ok) {
        let path = entry.path();
        let name = path.file_name().and_then(|name| name.to_str()).unwrap_or_default().to_owned();
        if path.is_dir() && name != "target" && name != "node_modules" && !name.starts_with('.') {
            sources(&path, found);
        } else if name.ends_with(".rs") {
            found.push(path);
        }
    }
}

fn all_sources() -> Vec<(PathBuf, String)> {
    let mut found = Vec::new();
    sources(&root(), &mut found);
    assert!(found.len() > 50, "only {} sources found", found.len());
    found.into_iter().map(|path| (path.clone(), fs::read_to_string(&path).expect("UTF-8"))).collect()
}

/// The modules a source names as `crate::x`, unit tests left out.
fn imports(text: &str) -> BTreeSet<String> {
    let text = text.split("#[cfg(test)]").next().unwrap_or_default();
    let mut found = BTreeSet::new();
    for line in text.lines().filter(|line| !line.trim_start().starts_with("//")) {
        for rest in line.split("crate::").skip(1) {
            if line.contains("$crate::") {
                continue;
            }
            let names = rest.strip_prefix('{').map_or_else(|| rest.to_owned(), |list| list.replace('}', ""));
            for name in names.split(',').take(if rest.starts_with('{') { usize::MAX } else { 1 }) {
                found.insert(name.trim().chars().take_while(|c| c.is_ascii_alphanumeric() || *c == '_').collect());
            }
        }
    }
    // `use crate::{` with the names on the lines that follow.
    for block in text.split("use crate::{").skip(1) {
        let mut depth = 0;
        let mut name = String::new();
        for letter in block.chars() {
            match letter {
                '{' => depth += 1,
                '}' if depth == 0 => break,
                '}' => depth -= 1,
                _ => {}
            }
            if depth == 0 && (letter.is_ascii_alphanumeric() || letter == '_') {
                name.push(letter);
            } else if depth == 0 && !name.is_empty() {
                if letter == ':' || letter == ',' || letter.is_whitespace() {
                    found.insert(std::mem::take(&mut name));
                }
                if letter == ':' {
                    // Skip the path behind the module's name.
                    name.clear();
                }
            }
        }
        if !name.is_empty() {
            found.insert(name);
        }
    }
    found
}

#[test]
fn every_module_imports_only_what_its_layer_allows() {
    let backend = root().join("backend/src");
    let known: BTreeSet<&str> = LAYERS.iter().map(|(module, _)| *module).collect();
    let mut faults = Vec::new();
    for (path, text) in all_sources() {
        let Ok(inside) = path.strip_prefix(&backend) else { continue };
        let module = inside.components().next().and_then(|part| part.as_os_str().to_str()).unwrap_or_default();
        let name = path.file_name().and_then(|name| name.to_str()).unwrap_or_default();
        if module.ends_with(".rs") || name == "tests.rs" || inside.components().any(|part| part.as_os_str() == "tests") {
            continue;
        }
        let (_, allowed) =
            LAYERS.iter().find(|(layer, _)| *layer == module).unwrap_or_else(|| panic!("{module} is in no layer: add it to the table"));
        for import in imports(&text) {
            // `doctor` and `snapshot inspect` read files without an agent, through the one module that knows their format.
            let looks =
                (import == "raft" && inside.starts_with("cli/doctor")) || (import == "store" && inside.ends_with("cli/snapshot.rs"));
            if known.contains(import.as_str()) && import != module && !allowed.contains(&import.as_str()) && !looks {
                faults.push(format!("{} imports {import}", inside.display()));
            }
        }
    }
    assert!(faults.is_empty(), "against the layer table:\n{}", faults.join("\n"));
}

#[test]
fn every_source_says_at_its_head_what_it_is() {
    let faults: Vec<String> =
        all_sources().into_iter().filter(|(_, text)| !text.starts_with("//!")).map(|(path, _)| path.display().to_string()).collect();
    assert!(faults.is_empty(), "no `//!` at the head of:\n{}", faults.join("\n"));
}

#[test]
fn only_the_seam_names_real_sockets() {
    let seam = root().join("backend/src/rt");
    let inside = all_sources()
        .into_iter()
        .filter(|(path, _)| path.starts_with(root().join("backend/src")) && !path.starts_with(&seam) && !path.ends_with("tests.rs"));
    let faults: Vec<String> = inside.filter(|(_, text)| text.contains("tokio::net")).map(|(path, _)| path.display().to_string()).collect();
    assert!(faults.is_empty(), "`tokio::net` outside rt:\n{}", faults.join("\n"));
}

#[test]
fn no_file_has_a_vague_name() {
    let vague = |path: &Path| path.file_stem().and_then(|stem| stem.to_str()).is_some_and(|stem| VAGUE.contains(&stem));
    let faults: Vec<String> =
        all_sources().into_iter().filter(|(path, _)| vague(path)).map(|(path, _)| path.display().to_string()).collect();
    assert!(faults.is_empty(), "vague names:\n{}", faults.join("\n"));
}

#[test]
fn the_root_holds_only_what_it_should() {
    let names = fs::read_dir(root()).expect("readable").map_while(Result::ok).map(|entry| entry.file_name().to_string_lossy().into_owned());
    let unexpected: Vec<String> = names.filter(|name| !ROOT.contains(&name.as_str())).collect();
    assert!(unexpected.is_empty(), "unexpected at the root: {unexpected:?}");
}

#[test]
fn imports_are_found_in_every_form() {
    let text = "use crate::rt::Clock;\nuse crate::{\n    acl::Authorizer,\n    store::{Command, State},\n};\nfn f() { crate::rpc::x(); }\n#[cfg(test)]\nuse crate::cli;";
    assert_eq!(imports(text).into_iter().filter(|name| name.len() > 1).collect::<Vec<_>>().join(" "), "Authorizer acl rpc rt store");
}
