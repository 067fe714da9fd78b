//! Scenarios: steps of HTTP requests in a file, run the same way on Muster and on the real Consul.
//!
//! A file is JSON: `{"title": "...", "agent": ["-flag"], "config": {...}, "steps": [...]}`. A step is
//! `{"do": "PUT /v1/kv/a", "body": "text"}`, with `json` in place of `body` for a JSON body, `headers`, `save` (names for
//! values of the answer: `"i": "X-Consul-Index"`, `"s": "/0/ID"`), `until` (repeat until the body contains this text or
//! the status is this number), `unordered` (lists may come in any order), `ignore` (JSON pointers whose values differ
//! between the products), `differs` (why Muster's answer is not Consul's; then `muster` says what it is) and
//! `elapsed_ms` (`[least, most]`). `${name}` stands for a saved value, `${ip}` for the agent's address.

use std::{
    collections::BTreeMap,
    fs,
    path::{Path, PathBuf},
    time::{Duration, Instant},
};

use anyhow::{Context as _, Result, bail, ensure};
use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::{
    http::Response,
    node::{Node, Product, Start},
    normal::Normalizer,
};

/// A scenario file.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Scenario {
    /// What it shows, in one sentence.
    pub title: String,
    /// More arguments for the agent.
    #[serde(default)]
    pub agent: Vec<String>,
    /// A configuration file for the agent.
    #[serde(default)]
    pub config: Option<Value>,
    /// The requests.
    pub steps: Vec<Step>,
    /// `<noun>/<file name without ending>`.
    #[serde(skip)]
    pub name: String,
}

/// One request and what to do with its answer.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Step {
    /// `METHOD target`.
    pub r#do: String,
    /// Body as text.
    pub body: Option<String>,
    /// Body as JSON.
    pub json: Option<Value>,
    /// A body of so many bytes.
    pub body_size: Option<usize>,
    /// Request headers.
    pub headers: BTreeMap<String, String>,
    /// Names for parts of the answer.
    pub save: BTreeMap<String, String>,
    /// Repeat until the body contains this, or the status is this number.
    pub until: Option<Value>,
    /// The order of lists does not matter, at any depth.
    pub unordered: bool,
    /// JSON pointers whose values are not compared; `*` stands for any element.
    pub ignore: Vec<String>,
    /// Compare nothing but the status.
    pub status_only: bool,
    /// Why Muster answers differently.
    pub differs: Option<String>,
    /// What Muster answers then: any of `status`, `body`, `json`, `headers`.
    pub muster: Option<Value>,
    /// How long the answer may take, milliseconds.
    pub elapsed_ms: Option<[u64; 2]>,
}

/// An answer as compared and recorded.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Observed {
    /// The request, for readers.
    pub request: String,
    /// Status.
    pub status: u16,
    /// The headers that are part of the contract, by their names on the wire.
    pub headers: BTreeMap<String, String>,
    /// Body: JSON when it is JSON, else text.
    pub body: Value,
}

/// Headers that are compared. Others (Date, Content-Length, Vary's order) are not.
const HEADERS: [&str; 13] = [
    "Age",
    "Allow",
    "Content-Encoding",
    "Content-Security-Policy",
    "Content-Type",
    "Location",
    "X-Cache",
    "X-Consul-Contenthash",
    "X-Consul-Effective-Consistency",
    "X-Consul-Index",
    "X-Consul-Knownleader",
    "X-Consul-Lastcontact",
    "X-Consul-Reason",
];

impl Scenario {
    /// Reads every scenario of the repository, in order of their names.
    ///
    /// # Errors
    /// A file that cannot be read or is no scenario.
    pub fn all() -> Result<Vec<Self>> {
        let root = crate::root().join("tests/scenarios");
        let mut scenarios = Vec::new();
        for noun in sorted(&root)? {
            if !noun.is_dir() {
                continue;
            }
            for path in sorted(&noun)? {
                let file = path.file_name().and_then(|name| name.to_str()).unwrap_or_default().to_owned();
                if let Some(stem) = file.strip_suffix(".json").filter(|stem| !stem.ends_with(".consul-1.8.7")) {
                    scenarios.push(Self::read(&path, &noun, stem)?);
                }
            }
        }
        ensure!(!scenarios.is_empty(), "no scenarios below {}", root.display());
        Ok(scenarios)
    }

    fn read(path: &Path, noun: &Path, stem: &str) -> Result<Self> {
        let text = fs::read_to_string(path)?;
        let mut scenario: Self = serde_json::from_str(&text).with_context(|| format!("in {}", path.display()))?;
        scenario.name = format!("{}/{stem}", noun.file_name().and_then(|name| name.to_str()).unwrap_or_default());
        Ok(scenario)
    }

    /// Runs it on a fresh dev agent and answers what was observed, one entry a step.
    ///
    /// # Errors
    /// A step that cannot be sent, or whose condition does not come true.
    pub fn run(&self, product: Product) -> Result<Vec<Observed>> {
        let directory = tempfile::tempdir()?;
        let mut start = Start::dev(product);
        start.arguments.extend(self.agent.iter().cloned());
        if let Some(config) = &self.config {
            start = start.with_config(directory.path(), "agent.json", &config.to_string());
        }
        let node = start.start();
        let mut names = BTreeMap::from([("ip".to_owned(), node.ip.to_string())]);
        let mut normalizer = Normalizer::new(&node.ip.to_string());
        let mut observed = Vec::new();
        for (at, step) in self.steps.iter().enumerate() {
            let context = || format!("{} step {} ({})", self.name, at + 1, step.r#do);
            let response = step.run(&node, &names).with_context(context)?;
            step.save(&response, &mut names).with_context(context)?;
            observed.push(step.observe(&response, &mut normalizer));
        }
        Ok(observed)
    }
}

fn sorted(directory: &Path) -> Result<Vec<PathBuf>> {
    let mut paths = fs::read_dir(directory)?.map(|entry| Ok(entry?.path())).collect::<Result<Vec<_>>>()?;
    paths.sort();
    Ok(paths)
}

fn fill(text: &str, names: &BTreeMap<String, String>) -> String {
    names.iter().fold(text.to_owned(), |text, (name, value)| text.replace(&format!("${{{name}}}"), value))
}

impl Step {
    fn run(&self, node: &Node, names: &BTreeMap<String, String>) -> Result<Response> {
        let (method, target) = self.r#do.split_once(' ').context("`do` is `METHOD target`")?;
        let target = fill(target, names);
        let body = match (&self.body, &self.json, self.body_size) {
            (_, _, Some(size)) => vec![b'x'; size],
            (Some(text), _, _) => fill(text, names).into_bytes(),
            (_, Some(json), _) => fill(&json.to_string(), names).into_bytes(),
            _ => Vec::new(),
        };
        let headers: Vec<(&str, &str)> = self.headers.iter().map(|(name, value)| (name.as_str(), value.as_str())).collect();
        let started = Instant::now();
        loop {
            let sent = Instant::now();
            let response = node.http.request(method, &target, &headers, &body)?;
            let done = match &self.until {
                None => true,
                Some(Value::Number(status)) => status.as_u64() == Some(u64::from(response.status)),
                Some(text) => response.text().contains(&fill(text.as_str().unwrap_or_default(), names)),
            };
            if done {
                if let Some([least, most]) = self.elapsed_ms {
                    let took = u64::try_from(sent.elapsed().as_millis())?;
                    ensure!((least..=most).contains(&took), "took {took} ms, not {least} to {most}");
                }
                return Ok(response);
            }
            if started.elapsed() > crate::wait::DEADLINE {
                bail!("waited in vain for {:?}; last answer {} {}", self.until, response.status, response.text());
            }
            std::thread::sleep(Duration::from_millis(20));
        }
    }

    fn save(&self, response: &Response, names: &mut BTreeMap<String, String>) -> Result<()> {
        for (name, from) in &self.save {
            let value = if from.starts_with('/') {
                match response.json().pointer(from) {
                    Some(Value::String(text)) => text.clone(),
                    Some(other) => other.to_string(),
                    None => bail!("nothing at {from} in {}", response.text()),
                }
            } else {
                response.header(from).with_context(|| format!("no header {from}"))?.to_owned()
            };
            names.insert(name.clone(), value);
        }
        Ok(())
    }

    fn observe(&self, response: &Response, normalizer: &mut Normalizer) -> Observed {
        let mut observed = Observed { request: self.r#do.clone(), status: response.status, headers: BTreeMap::new(), body: Value::Null };
        if self.status_only {
            return observed;
        }
        for (name, value) in &response.headers {
            if HEADERS.iter().any(|known| known.eq_ignore_ascii_case(name)) {
                observed.headers.insert(name.clone(), normalizer.header(name, value));
            }
        }
        let is_json = response.header("Content-Type").is_some_and(|kind| kind.starts_with("application/json"));
        observed.body = match serde_json::from_slice::<Value>(&response.body) {
            Ok(value) if is_json => normalizer.body(value, &self.ignore, self.unordered),
            _ if response.body.len() > 20_000 => Value::String(format!("<{} bytes>", response.body.len())),
            _ => Value::String(normalizer.text(&response.text())),
        };
        observed
    }

    /// What is expected of Muster, given what Consul answered.
    #[must_use]
    pub fn expected(&self, recorded: &Observed) -> Observed {
        let mut expected = recorded.clone();
        if let Some(muster) = &self.muster {
            if let Some(status) = muster.get("status").and_then(Value::as_u64) {
                expected.status = u16::try_from(status).unwrap_or_default();
            }
            if let Some(body) = muster.get("body").or_else(|| muster.get("json")) {
                expected.body = body.clone();
            }
            if let Some(headers) = muster.get("headers").and_then(Value::as_object) {
                for (name, value) in headers {
                    match value.as_str() {
                        Some(value) => expected.headers.insert(name.clone(), value.to_owned()),
                        None => expected.headers.remove(name),
                    };
                }
            }
        }
        expected
    }
}
