//! `doctor`: looks at data directories or at a running agent, and says in plain words what is wrong and what to do next.
//!
//! Changes nothing, anywhere. [`directory`] and [`agent`] look; what they saw is judged by pure functions beside them.
//! Exit code 0: nothing is wrong; 1: something deserves attention; 2: something is broken. Contract: cluster, sections "Raft" and
//! "Gossip"; beyond Consul, which has no such command.

use std::path::{Path, PathBuf};

use serde::Serialize;

use super::{
    args::Args,
    client::{Client, Target},
    print::Print,
};

mod agent;
mod directory;
#[cfg(test)]
mod tests;

/// How bad a finding is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "lowercase")]
enum Severity {
    /// As it should be.
    Ok,
    /// Works, but deserves attention.
    Warning,
    /// Broken.
    Problem,
}

/// One thing that was looked at.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "PascalCase")]
struct Finding {
    severity: Severity,
    /// What is so, in one sentence.
    what: String,
    /// What to do about it.
    #[serde(skip_serializing_if = "String::is_empty")]
    next: String,
    /// The file it is about.
    #[serde(skip_serializing_if = "Option::is_none")]
    file: Option<PathBuf>,
    /// Byte of the file where it begins.
    #[serde(skip_serializing_if = "Option::is_none")]
    offset: Option<u64>,
}

impl Finding {
    fn new(severity: Severity, what: impl Into<String>, next: impl Into<String>) -> Self {
        Self { severity, what: what.into(), next: next.into(), file: None, offset: None }
    }

    fn ok(what: impl Into<String>) -> Self {
        Self::new(Severity::Ok, what, "")
    }

    fn warning(what: impl Into<String>, next: impl Into<String>) -> Self {
        Self::new(Severity::Warning, what, next)
    }

    fn problem(what: impl Into<String>, next: impl Into<String>) -> Self {
        Self::new(Severity::Problem, what, next)
    }

    fn at(mut self, file: &Path, offset: Option<u64>) -> Self {
        (self.file, self.offset) = (Some(file.to_owned()), offset);
        self
    }
}

/// How full a file system is: free bytes of all, and what lies on it.
fn disk(free: u64, all: u64, path: &Path) -> Finding {
    let percent = free.saturating_mul(100).checked_div(all).unwrap_or(100);
    let what = format!("The file system of {} has {} free ({percent} %).", path.display(), bytes(free));
    let next = "A server whose disk is full takes no more writes. Free some space, or move the data directory to a larger disk.";
    match () {
        () if percent < 3 || free < 64 << 20 => Finding::problem(what, next),
        () if percent < 10 || free < 512 << 20 => Finding::warning(what, next),
        () => Finding::ok(what),
    }
}

/// Free and all bytes of the file system this path is on.
fn space(path: &Path) -> Option<(u64, u64)> {
    let found = rustix::fs::statvfs(path).ok()?;
    Some((found.f_bavail.saturating_mul(found.f_frsize), found.f_blocks.saturating_mul(found.f_frsize)))
}

/// A size for people.
fn bytes(size: u64) -> String {
    let (mut value, mut unit) = (size as f64, "B");
    for next in ["KiB", "MiB", "GiB", "TiB"] {
        if value < 1024.0 {
            break;
        }
        (value, unit) = (value / 1024.0, next);
    }
    if unit == "B" { format!("{size} B") } else { format!("{value:.1} {unit}") }
}

/// `doctor [DATA_DIR ...]`.
pub(super) fn doctor(args: &Args, environment: &dyn Fn(&str) -> Option<String>, print: &mut Print) -> u8 {
    let json = match args.get("format").unwrap_or("pretty") {
        "json" => true,
        "pretty" => false,
        other => {
            print.say(format!("Unknown format {other:?}: there are pretty and json"));
            return 2;
        }
    };
    let findings = if args.rest.is_empty() {
        match ask(args, environment) {
            Ok(findings) => findings,
            Err(why) => {
                print.say(format!("Error connecting to Muster agent: {why}"));
                return 2;
            }
        }
    } else {
        let directories: Vec<_> = args.rest.iter().map(|path| directory::look(Path::new(path))).collect();
        directory::judge(&directories)
    };
    if json {
        print.line(serde_json::to_string_pretty(&serde_json::json!({ "Findings": findings })).unwrap_or_default());
    } else {
        print.bytes(shown(&findings).as_bytes());
    }
    exit_code(&findings)
}

fn ask(args: &Args, environment: &dyn Fn(&str) -> Option<String>) -> Result<Vec<Finding>, String> {
    let client = Target::new(args, environment).and_then(Client::new)?;
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().map_err(|why| why.to_string())?;
    Ok(runtime.block_on(async { agent::judge(&agent::look(&client).await) }))
}

fn exit_code(findings: &[Finding]) -> u8 {
    match findings.iter().map(|finding| finding.severity).max() {
        Some(Severity::Problem) => 2,
        Some(Severity::Warning) => 1,
        Some(Severity::Ok) | None => 0,
    }
}

/// Worst first, each with its next step, and how many there are.
fn shown(findings: &[Finding]) -> String {
    let mut sorted: Vec<&Finding> = findings.iter().collect();
    sorted.sort_by_key(|finding| std::cmp::Reverse(finding.severity));
    let mut out = String::new();
    for finding in sorted {
        let word = match finding.severity {
            Severity::Problem => "PROBLEM",
            Severity::Warning => "WARNING",
            Severity::Ok => "ok",
        };
        out.push_str(&format!("{word:9}{}\n", finding.what));
        if let Some(file) = &finding.file {
            let offset = finding.offset.map_or_else(String::new, |offset| format!(", offset {offset}"));
            out.push_str(&format!("{:9}File: {}{offset}\n", "", file.display()));
        }
        if !finding.next.is_empty() {
            out.push_str(&format!("{:9}Next: {}\n", "", finding.next));
        }
    }
    let count = |severity| findings.iter().filter(|finding| finding.severity == severity).count();
    let (problems, warnings) = (count(Severity::Problem), count(Severity::Warning));
    out.push_str(&match (problems, warnings) {
        (0, 0) => "\nNothing is wrong.\n".to_owned(),
        _ => format!("\nProblems: {problems}, warnings: {warnings}.\n"),
    });
    out
}
