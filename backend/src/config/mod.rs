//! The agent's configuration: text in HCL 1 or JSON, flags and defaults become a builder (everything as written), and
//! that becomes a valid [`Config`] or every problem at once.
//!
//! Pure but for [`files`], which reads what the command line names. Contract: agent configuration.

mod address;
mod build;
mod files;
mod hcl;
mod hcl_scan;
mod json;
mod schema;
mod settings;
mod tree;
mod validate;

use std::{net::IpAddr, path::PathBuf};

use serde_json::{Map, Value};
use shared::agent::ServiceRegistration;

pub use address::Interface;
pub use files::read;
pub use settings::{
    Addresses, Autopilot, Config, Dns, DnsTtl, Gossip, Http, Limits, Listen, LogFile, Performance, Ports, Raft, Secret, Soa, Telemetry, Ui,
};

/// What a document is written in.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Format {
    /// HCL 1; a document that starts with a brace is read as JSON all the same.
    #[default]
    Hcl,
    /// JSON.
    Json,
}

/// A document with its name for error messages.
#[derive(Clone, Debug, PartialEq)]
pub struct Source {
    /// File name, as given.
    pub name: String,
    /// The text.
    pub text: String,
    /// How to read it.
    pub format: Format,
}

/// Why there is no configuration, in the words operators know. Several problems come as a list.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct Error(pub String);

/// What the machine says about itself. Gathered outside, so that building stays a function of values.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Machine {
    /// Host name: the default node name.
    pub hostname: String,
    /// Addresses of the network interfaces.
    pub interfaces: Vec<Interface>,
}

/// What the command line asked for: enough to load the configuration again on reload.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Invocation {
    /// `-dev`.
    pub dev: bool,
    /// `-config-file` and `-config-dir`, in the order given.
    pub paths: Vec<PathBuf>,
    /// `-config-format`.
    pub format: Option<Format>,
    /// Every other flag, as the keys of a configuration file.
    pub flags: Map<String, Value>,
    /// `-hcl`, in the order given.
    pub snippets: Vec<String>,
    /// The machine it runs on.
    pub machine: Machine,
}

impl Invocation {
    /// Reads the files and builds the configuration.
    ///
    /// # Errors
    /// A file that cannot be read, or every problem of the configuration.
    pub fn load(&self) -> Result<Config, Error> {
        build(self, &read(&self.paths, self.format)?)
    }
}

/// Builds the configuration of an invocation from the documents its paths hold.
///
/// # Errors
/// Every problem found: first those of the texts, then of single values, then of the whole.
pub fn build(invocation: &Invocation, sources: &[Source]) -> Result<Config, Error> {
    let mut merged = if invocation.dev { build::dev_defaults() } else { Map::new() };
    let mut unused = Vec::new();
    let mut problems = Vec::new();
    let mut add = |name: &str, parsed: Result<(Map<String, Value>, Format), String>| {
        let shaped = parsed.and_then(|(map, format)| tree::shape(map, schema::ROOT, format));
        match shaped {
            Ok(shaped) => {
                for key in shaped.unused {
                    if !unused.contains(&key) {
                        unused.push(key);
                    }
                }
                tree::merge(&mut merged, build::gather_definitions(shaped.map));
            }
            Err(reason) => problems.push(format!("failed to parse {name}: {reason}")),
        }
    };
    for source in sources {
        add(&source.name, parse(&source.text, source.format));
    }
    add("flags", Ok((invocation.flags.clone(), Format::Hcl)));
    for (at, snippet) in invocation.snippets.iter().enumerate() {
        add(&format!("flags-{at}.hcl"), parse(snippet, Format::Hcl));
    }
    match problems.len() {
        0 => {}
        1 => return Err(Error(problems.remove(0))),
        _ => return Err(Error(several(&problems))),
    }
    let mut config = build::finish(merged, invocation)?;
    config.unused = unused;
    validate::warn(&mut config);
    Ok(config)
}

/// The services that documents define, whatever else they hold.
///
/// # Errors
/// A document that is not configuration.
pub fn services(sources: &[Source]) -> Result<Vec<ServiceRegistration>, Error> {
    let mut found = Vec::new();
    for source in sources {
        let failed = |why: String| Error(format!("failed to parse {}: {why}", source.name));
        let (map, format) = parse(&source.text, source.format).map_err(failed)?;
        let shaped = tree::shape(map, schema::ROOT, format).map_err(failed)?;
        found.extend(build::definitions(&build::gather_definitions(shaped.map), "services").map_err(|list| Error(several(&list)))?);
    }
    Ok(found)
}

fn parse(text: &str, format: Format) -> Result<(Map<String, Value>, Format), String> {
    if format == Format::Json || text.trim_start().starts_with('{') {
        json::parse(text).map(|map| (map, Format::Json))
    } else {
        hcl::parse(text).map(|map| (map, Format::Hcl))
    }
}

/// Several problems in the form Go's multierror has.
fn several(problems: &[String]) -> String {
    let list: String = problems.iter().map(|problem| format!("\t* {problem}\n")).collect();
    let noun = if problems.len() == 1 { "error" } else { "errors" };
    format!("{} {noun} occurred:\n{list}\n", problems.len())
}

/// Whether an address stands for all interfaces.
fn is_any(address: IpAddr) -> bool {
    address.is_unspecified()
}

#[cfg(test)]
mod tests;
