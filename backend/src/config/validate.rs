//! What a configuration must satisfy as a whole, and what it should be warned about.
//!
//! Contract: agent configuration, section "Validation messages".

use std::collections::{BTreeMap, BTreeSet};

use base64::{Engine as _, engine::general_purpose::STANDARD};
use serde_json::Value;
use shared::{check::CheckDefinition, go::Duration, name};

use super::{Error, build::Builder, settings::Config, several};

const DEPLOYMENT_TABLE: &str = "https://www.consul.io/docs/internals/consensus.html#deployment-table";

/// Rules about keys as written.
pub(super) fn raw(builder: &mut Builder<'_>) {
    let mut broken = Vec::new();
    let server = builder.flag("server", false);
    if builder.flag("auto_encrypt.allow_tls", false) && !server {
        broken.push("auto_encrypt.allow_tls can only be used on a server.".to_owned());
    }
    bootstrap(builder, server, &mut broken);
    if builder.flag("ui", false) && !builder.text("ui_dir", "").is_empty() {
        let lines = [
            "Both the ui and ui-dir flags were specified, please provide only one.",
            "If trying to use your own web UI resources, use the ui-dir flag.",
            "The web UI is included in the binary so use ui to enable it",
        ];
        broken.push(lines.join("\n"));
    }
    let multiplier = builder.int("performance.raft_multiplier", 5);
    if !(1..=10).contains(&multiplier) {
        broken.push(format!("performance.raft_multiplier cannot be {multiplier}. Must be between 1 and 10"));
    }
    if builder.int("check_output_max_size", 4096) < 1 {
        let message = "check_output_max_size must be positive, to discard check output use the discard_check_output flag";
        broken.push(message.to_owned());
    }
    let raft_protocol = builder.int("raft_protocol", 3);
    if !(2..=3).contains(&raft_protocol) {
        broken.push(format!("raft_protocol cannot be {raft_protocol}. Must be between 2 and 3"));
    }
    if !builder.text("segment", "").is_empty() || builder.get("segments").is_some() {
        broken.push("Network segments are not supported in this version of Muster".to_owned());
    }
    choice(builder, "acl.default_policy", "allow", &["allow", "deny"], &mut broken);
    choice(builder, "acl.down_policy", "extend-cache", &["allow", "deny", "extend-cache", "async-cache"], &mut broken);
    choice(builder, "raft_logstore.backend", "wal", &["wal", "sled", "boltdb"], &mut broken);
    watches(builder, &mut broken);
    builder.violations.append(&mut broken);
}

fn bootstrap(builder: &Builder<'_>, server: bool, broken: &mut Vec<String>) {
    let (bootstrap, expect) = (builder.flag("bootstrap", false), builder.int("bootstrap_expect", 0));
    if bootstrap && !server {
        broken.push("'bootstrap = true' requires 'server = true'".to_owned());
    }
    if expect > 0 && !server {
        broken.push("'bootstrap_expect > 0' requires 'server = true'".to_owned());
    }
    if expect > 0 && bootstrap {
        broken.push("'bootstrap_expect > 0' and 'bootstrap = true' are mutually exclusive".to_owned());
    }
}

fn choice(builder: &Builder<'_>, path: &str, default: &str, allowed: &[&str], broken: &mut Vec<String>) {
    let value = builder.text(path, default);
    if !allowed.contains(&value.as_str()) {
        broken.push(format!("{path} cannot be {value:?}. Must be one of {}", allowed.join(", ")));
    }
}

fn watches(builder: &Builder<'_>, broken: &mut Vec<String>) {
    const TYPES: [&str; 10] =
        ["key", "keyprefix", "services", "nodes", "service", "checks", "event", "connect_roots", "connect_leaf", "agent_service"];
    let list = builder.get("watches").and_then(Value::as_array).map_or(&[][..], Vec::as_slice);
    for (at, watch) in list.iter().enumerate() {
        let kind = watch.get("type").and_then(Value::as_str).unwrap_or_default();
        if kind.is_empty() {
            broken.push(format!("watches[{at}]: Watch type must be specified"));
        } else if !TYPES.contains(&kind) {
            broken.push(format!("watches[{at}]: Unsupported watch type: {kind}"));
        }
        if ["handler", "args", "http_handler_config"].iter().all(|key| watch.get(key).is_none()) {
            broken.push(format!("watches[{at}]: no handler: one of args, handler or http_handler_config is needed"));
        }
    }
}

/// Rules about the typed whole.
pub(super) fn whole(config: &Config, broken: &mut Vec<String>) {
    if config.data_dir.is_none() && !config.dev {
        broken.push("data_dir cannot be empty".to_owned());
    }
    if !name::is_datacenter(&config.datacenter) {
        broken.push(format!("datacenter cannot be {:?}. Please use only [a-z0-9-_]", config.datacenter));
    }
    if config.node_name.is_empty() {
        broken.push("node_name cannot be empty".to_owned());
    }
    if config.node_name.chars().count() > 128 {
        broken.push("node_name cannot be longer than 128 characters".to_owned());
    }
    if !config.node_id.is_empty() && !name::is_uuid(&config.node_id) {
        broken.push(format!("node_id cannot be {:?}. Must be a UUID", config.node_id));
    }
    if !matches!(config.log_level.as_str(), "trace" | "debug" | "info" | "warn" | "error") {
        broken.push(format!("Invalid log level: {}. Valid log levels are: [TRACE DEBUG INFO WARN ERR]", config.log_level));
    }
    for (key, value) in [("reconnect_timeout", config.reconnect_timeout), ("reconnect_timeout_wan", config.reconnect_timeout_wan)] {
        if value < Duration::from_secs(8 * 3600) {
            broken.push(format!("{key} cannot be {value}. Must be at least 8h0m0s"));
        }
    }
    if let Err(why) = name::check_meta(&config.node_meta, &[]) {
        broken.push(format!("node_meta invalid: {why}"));
    }
    if config.cluster.server_rejoin_age_max < Duration::from_secs(6 * 3600) {
        broken.push("server_rejoin_age_max cannot be less than 6h0m0s".to_owned());
    }
    for address in config.cluster.retry_join.iter().chain(&config.cluster.start_join).filter(|address| address.contains("provider=")) {
        broken.push(format!("retry_join: {address:?}: finding servers through a cloud provider is not supported, name their addresses"));
    }
    content_path(&config.ui.content_path, broken);
    encrypt(config, broken);
    listeners(config, broken);
    definitions(config, broken);
}

/// Where the dashboard may live: never where the API does.
fn content_path(path: &str, broken: &mut Vec<String>) {
    if !path.bytes().all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_' | b'/')) {
        broken.push(format!("ui-content-path can only contain alphanumeric, -, _, or /. received: {path}"));
    }
    if matches!(path.as_bytes(), [b'/', b'v', b'0'..=b'9', b'/', ..]) {
        broken.push(format!("ui-content-path cannot have 'v[0-9]'. received: {path}"));
    }
}

fn encrypt(config: &Config, broken: &mut Vec<String>) {
    if config.encrypt.is_empty() {
        return;
    }
    match STANDARD.decode(&config.encrypt.0) {
        Ok(key) if [16, 24, 32].contains(&key.len()) => {}
        Ok(_) => broken.push("encrypt has invalid key: key size must be 16, 24 or 32 bytes".to_owned()),
        Err(why) => {
            let at = match why {
                base64::DecodeError::InvalidByte(at, _) | base64::DecodeError::InvalidLastSymbol(at, _) => at,
                _ => config.encrypt.0.len(),
            };
            broken.push(format!("encrypt has invalid key: illegal base64 data at input byte {at}"));
        }
    }
}

fn listeners(config: &Config, broken: &mut Vec<String>) {
    let mut taken: BTreeMap<String, &str> = BTreeMap::new();
    let mut take = |name: &'static str, address: String| {
        if let Some(owner) = taken.get(&address) {
            broken.push(format!("{name} address {address} already configured for {owner}"));
        } else {
            taken.insert(address, name);
        }
    };
    for address in &config.addresses.dns {
        take("DNS", address.to_string());
    }
    for address in &config.addresses.http {
        take("HTTP", address.to_string());
    }
    for address in &config.addresses.https {
        take("HTTPS", address.to_string());
    }
    take("RPC", config.addresses.server.to_string());
    take("Serf LAN", config.addresses.serf_lan.to_string());
    if let (true, Some(wan)) = (config.server, config.addresses.serf_wan) {
        take("Serf WAN", wan.to_string());
    }
}

fn definitions(config: &Config, broken: &mut Vec<String>) {
    let mut ids = BTreeSet::new();
    for (at, service) in config.services.iter().enumerate() {
        if service.name.is_empty() {
            broken.push(format!("services[{at}]: Missing service name"));
            continue;
        }
        let id = if service.id.is_empty() { &service.name } else { &service.id };
        if !ids.insert(id) {
            broken.push(format!("services[{at}]: service id {id:?} is defined twice"));
        }
        for check in service.check.iter().chain(&service.checks) {
            if !has_type(check) {
                broken.push(format!("service {id:?}: check {:?} has no type: one of args, http, tcp, ttl, ... is needed", check.name));
            }
        }
    }
    for (at, check) in config.checks.iter().enumerate() {
        if check.name.is_empty() && check.id.is_empty() {
            broken.push(format!("checks[{at}]: Missing check name"));
        } else if !has_type(check) {
            broken.push(format!("checks[{at}]: check {:?} has no type: one of args, http, tcp, ttl, ... is needed", check.name));
        }
    }
}

fn has_type(check: &CheckDefinition) -> bool {
    let texts =
        [&check.http, &check.tcp, &check.udp, &check.grpc, &check.h2ping, &check.os_service, &check.alias_node, &check.alias_service];
    !check.args.is_empty() || !check.ttl.is_zero() || texts.iter().any(|text| !text.is_empty())
}

/// Broken rules as one error: a single one bare, several as a list.
pub(super) fn error(mut broken: Vec<String>) -> Error {
    if broken.len() == 1 { Error(broken.remove(0)) } else { Error(several(&broken)) }
}

/// What to say at start that does not stop it.
pub(super) fn warn(config: &mut Config) {
    let warnings = &mut config.warnings;
    let expect = config.bootstrap_expect;
    if expect == 0 && config.bootstrap && !config.dev {
        warnings.push("bootstrap = true: do not enable unless necessary".to_owned());
    }
    if expect == 2 {
        warnings.push(format!("bootstrap_expect = 2: A cluster with 2 servers will provide no failure tolerance. See {DEPLOYMENT_TABLE}"));
    } else if expect > 2 && expect.is_multiple_of(2) {
        warnings.push(format!(
            "bootstrap_expect is even number: A cluster with an even number of servers does not achieve optimum fault tolerance. \
             See {DEPLOYMENT_TABLE}"
        ));
    }
    if expect > 0 {
        warnings.push(format!("bootstrap_expect > 0: expecting {expect} servers"));
    }
    if config.node_name.len() > 63 {
        warnings.push(format!(
            "Node name {:?} will not be discoverable via DNS due to it being too long. Valid lengths are between 1 and 63 bytes.",
            config.node_name
        ));
    } else if !name::is_dns_label(&config.node_name) {
        warnings.push(format!(
            "Node name {:?} will not be discoverable via DNS due to invalid characters. Valid characters include all alpha-numerics and \
             dashes.",
            config.node_name
        ));
    }
}
