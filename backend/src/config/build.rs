//! From the builder, everything as written, to the typed configuration: defaults, durations, ports and addresses.
//!
//! Collects problems rather than stopping at the first. What several keys together must satisfy is
//! [`super::validate`]'s. Contract: agent configuration, sections "Core keys" to "-dev mode".

use std::{
    collections::BTreeMap,
    net::{IpAddr, SocketAddr},
    path::PathBuf,
};

use serde::de::DeserializeOwned;
use serde_json::{Map, Value, json};
use shared::go::{self, Duration};

use super::{
    Error, Invocation,
    address::{self, Item},
    is_any,
    settings::{
        Addresses, Autopilot, Cluster, Config, Dns, DnsTtl, Gossip, Http, Limits, Listen, LogFile, Performance, Ports, Raft, RequestLimits,
        Secret, Soa, Telemetry, Ui,
    },
    several, validate,
};

/// What `-dev` sets before anything else.
pub(super) fn dev_defaults() -> Map<String, Value> {
    let gossip = json!({"gossip_interval": "100ms", "probe_interval": "100ms", "probe_timeout": "100ms"});
    let values = json!({
        "bind_addr": "127.0.0.1",
        "server": true,
        "log_level": "DEBUG",
        "performance": {"raft_multiplier": 1},
        "ports": {"grpc": 8502},
        "gossip_lan": gossip,
        "gossip_wan": gossip,
    });
    if let Value::Object(map) = values { map } else { Map::new() }
}

/// Moves `service` and `check` of a document into its lists, so that the documents' definitions append.
pub(super) fn gather_definitions(mut document: Map<String, Value>) -> Map<String, Value> {
    for (one, many) in [("service", "services"), ("check", "checks")] {
        if let Some(definition) = document.remove(one)
            && let Value::Array(list) = document.entry(many).or_insert_with(|| Value::Array(Vec::new()))
        {
            list.insert(0, definition);
        }
    }
    document
}

/// Everything as written, and what is wrong with it.
pub(super) struct Builder<'a> {
    values: Map<String, Value>,
    invocation: &'a Invocation,
    /// Single values that mean nothing: told as a list.
    problems: Vec<String>,
    /// Values that are understood and not allowed.
    pub(super) violations: Vec<String>,
}

/// Types everything.
///
/// # Errors
/// Every value that does not mean what its key needs, or else every rule that is broken.
pub(super) fn finish(values: Map<String, Value>, invocation: &Invocation) -> Result<Config, Error> {
    let mut builder = Builder { values, invocation, problems: Vec::new(), violations: Vec::new() };
    validate::raw(&mut builder);
    let config = builder.config();
    if !builder.problems.is_empty() {
        return Err(Error(several(&builder.problems)));
    }
    let mut violations = builder.violations;
    let Some(config) = config else { return Err(validate::error(violations)) };
    validate::whole(&config, &mut violations);
    if violations.is_empty() { Ok(config) } else { Err(validate::error(violations)) }
}

impl Builder<'_> {
    /// A value by its dotted path.
    pub(super) fn get(&self, path: &str) -> Option<&Value> {
        let mut parts = path.split('.');
        let mut value = self.values.get(parts.next()?)?;
        for part in parts {
            value = value.get(part)?;
        }
        Some(value)
    }

    /// Text, or the default.
    pub(super) fn text(&self, path: &str, default: &str) -> String {
        self.get(path).and_then(Value::as_str).unwrap_or(default).to_owned()
    }

    /// A switch, or the default.
    pub(super) fn flag(&self, path: &str, default: bool) -> bool {
        self.get(path).and_then(Value::as_bool).unwrap_or(default)
    }

    /// A whole number, or the default.
    pub(super) fn int(&self, path: &str, default: i64) -> i64 {
        self.get(path).and_then(Value::as_i64).unwrap_or(default)
    }

    /// A number, or the default.
    fn float(&self, path: &str, default: f64) -> f64 {
        self.get(path).and_then(Value::as_f64).unwrap_or(default)
    }

    /// A number that must not be negative.
    fn count<T: TryFrom<i64> + Default>(&mut self, path: &str, default: i64) -> T {
        let value = self.int(path, default);
        if value < 0 {
            self.violations.push(format!("{path} cannot be {value}. Must be greater than or equal to zero"));
        }
        T::try_from(value).unwrap_or_default()
    }

    /// A list of texts, empty when absent.
    pub(super) fn texts(&self, path: &str) -> Vec<String> {
        let items = self.get(path).and_then(Value::as_array).map_or(&[][..], Vec::as_slice);
        items.iter().filter_map(Value::as_str).map(str::to_owned).collect()
    }

    /// Texts by key, empty when absent.
    pub(super) fn map(&self, path: &str) -> BTreeMap<String, String> {
        let items = self.get(path).and_then(Value::as_object);
        items.into_iter().flatten().filter_map(|(key, value)| Some((key.clone(), value.as_str()?.to_owned()))).collect()
    }

    /// A duration, or the default.
    pub(super) fn duration(&mut self, path: &str, default: &str) -> Duration {
        let text = self.text(path, default);
        self.parse_duration(path, &text)
    }

    fn parse_duration(&mut self, path: &str, text: &str) -> Duration {
        text.parse().unwrap_or_else(|why: go::DurationError| {
            self.problems.push(format!("{path}: invalid duration: \"{text}\": {why}"));
            Duration(0)
        })
    }

    fn port(&mut self, path: &str, default: i64) -> Option<u16> {
        let value = self.int(path, default);
        match u16::try_from(value) {
            Ok(0) => None,
            Ok(port) => Some(port),
            Err(_) if value == -1 => None,
            Err(_) => {
                self.problems.push(format!("{path}: invalid port: {value}"));
                None
            }
        }
    }

    fn address_list(&mut self, path: &str, default: &str) -> Vec<Item> {
        let text = self.text(path, default);
        address::list(&text, &self.invocation.machine.interfaces).unwrap_or_else(|why| {
            self.problems.push(format!("{path}: {why}"));
            Vec::new()
        })
    }

    /// One IP address; `None` when there is none, with the problem noted.
    fn one_address(&mut self, path: &str, default: &str) -> Option<IpAddr> {
        let before = self.problems.len();
        match self.address_list(path, default).as_slice() {
            [Item::Ip(ip)] => Some(*ip),
            [] if self.problems.len() > before => None,
            [] => {
                self.violations.push(format!("{path} cannot be empty"));
                None
            }
            [Item::Unix(_)] => {
                self.violations.push(format!("{path} cannot be a unix socket"));
                None
            }
            _ => {
                self.violations.push(format!("{path} cannot contain multiple addresses. Use 'addresses.{{dns,http,https}}' instead."));
                None
            }
        }
    }

    fn optional_address(&mut self, path: &str) -> Option<IpAddr> {
        if self.text(path, "").is_empty() { None } else { self.one_address(path, "") }
    }

    /// What others are told: as configured, else the bind address, else the machine's only suitable address.
    fn advertise(&mut self, bind: IpAddr) -> Option<IpAddr> {
        if let Some(address) = self.optional_address("advertise_addr") {
            if is_any(address) {
                self.violations.push("Advertise address cannot be 0.0.0.0, :: or [::]".to_owned());
            }
            return Some(address);
        }
        if !is_any(bind) {
            return Some(bind);
        }
        let (kind, fits): (_, fn(IpAddr) -> bool) = match bind {
            IpAddr::V4(_) => ("private IPv4", |ip| ip.is_ipv4() && address::is_private(ip)),
            IpAddr::V6(_) => ("public IPv6", |ip| ip.is_ipv6() && address::is_public(ip)),
        };
        let mut found: Vec<_> =
            self.invocation.machine.interfaces.iter().filter(|one| one.up).map(|one| one.address).filter(|ip| fits(*ip)).collect();
        found.dedup();
        match found.as_slice() {
            [one] => Some(*one),
            [] => {
                self.violations.push(format!("No {kind} address found"));
                None
            }
            _ => {
                let message = format!("Multiple {kind} addresses found. Please configure one with 'bind' and/or 'advertise'.");
                self.violations.push(message);
                None
            }
        }
    }

    fn listeners(&mut self, name: &str, port: Option<u16>, client: &[Item]) -> Vec<Listen> {
        let path = format!("addresses.{name}");
        let items = if self.get(&path).is_some() { self.address_list(&path, "") } else { client.to_vec() };
        let bound = items.into_iter().filter_map(|item| match item {
            Item::Ip(ip) => port.map(|port| Listen::Tcp(SocketAddr::new(ip, port))),
            Item::Unix(path) => Some(Listen::Unix(path)),
        });
        if port.is_none() { Vec::new() } else { bound.collect() }
    }

    fn ports(&mut self) -> Ports {
        Ports {
            dns: self.port("ports.dns", 8600),
            http: self.port("ports.http", 8500),
            https: self.port("ports.https", -1),
            grpc: self.port("ports.grpc", -1),
            serf_lan: self.port("ports.serf_lan", 8301),
            serf_wan: self.port("ports.serf_wan", 8302),
            server: self.port("ports.server", 8300),
        }
    }

    fn config(&mut self) -> Option<Config> {
        let ports = self.ports();
        let bind = self.one_address("bind_addr", "0.0.0.0");
        let client = self.address_list("client_addr", "127.0.0.1");
        let advertise = bind.and_then(|bind| self.advertise(bind));
        let advertise_wan = self.optional_address("advertise_addr_wan").or(advertise);
        let addresses = self.addresses(&ports, bind, &client);
        let server = self.flag("server", false);
        let datacenter = self.text("datacenter", "dc1").to_lowercase();
        let primary = self.text("primary_datacenter", "").to_lowercase();
        let dev = self.invocation.dev;
        let expect: u32 = self.count("bootstrap_expect", 0);
        let text_or = |text: String, default: &str| if text.is_empty() { default.to_owned() } else { text };
        let path = |text: String| if text.is_empty() { None } else { Some(PathBuf::from(text)) };
        let (services, checks) = (self.definitions("services"), self.definitions("checks"));
        let config = Config {
            dev,
            server,
            bootstrap: self.flag("bootstrap", false) || expect == 1 || (dev && server && expect == 0),
            bootstrap_expect: if expect == 1 { 0 } else { expect },
            data_dir: path(self.text("data_dir", "")).filter(|_| !dev),
            node_name: text_or(self.text("node_name", ""), &self.invocation.machine.hostname),
            node_id: self.text("node_id", "").to_lowercase(),
            disable_host_node_id: self.flag("disable_host_node_id", true),
            node_meta: self.map("node_meta"),
            primary_datacenter: text_or(primary, &datacenter),
            datacenter,
            bind_addr: bind.unwrap_or(IpAddr::from([0, 0, 0, 0])),
            client_addrs: client.iter().filter_map(|item| if let Item::Ip(ip) = item { Some(*ip) } else { None }).collect(),
            advertise_addr: advertise.unwrap_or(IpAddr::from([0, 0, 0, 0])),
            advertise_addr_wan: advertise_wan.unwrap_or(IpAddr::from([0, 0, 0, 0])),
            addresses,
            ports,
            dns: self.dns(),
            http: self.http(),
            limits: self.limits(),
            performance: Performance {
                leave_drain_time: self.duration("performance.leave_drain_time", "5s"),
                raft_multiplier: u32::try_from(self.int("performance.raft_multiplier", 5)).unwrap_or(0),
                rpc_hold_timeout: self.duration("performance.rpc_hold_timeout", "7s"),
            },
            telemetry: self.telemetry(),
            ui: self.ui(),
            cluster: self.cluster(),
            autopilot: self.autopilot(),
            gossip_lan: self.gossip("gossip_lan", ["200ms", "1s", "500ms"], 4),
            gossip_wan: self.gossip("gossip_wan", ["500ms", "5s", "3s"], 6),
            raft: Raft {
                log_backend: self.text("raft_logstore.backend", "wal"),
                snapshot_threshold: self.count("raft_snapshot_threshold", 16_384),
                snapshot_interval: self.duration("raft_snapshot_interval", "30s"),
                trailing_logs: self.count("raft_trailing_logs", 10_000),
            },
            leave_on_terminate: self.flag("leave_on_terminate", !server),
            skip_leave_on_interrupt: self.flag("skip_leave_on_interrupt", server),
            reconnect_timeout: self.duration("reconnect_timeout", "72h"),
            reconnect_timeout_wan: self.duration("reconnect_timeout_wan", "72h"),
            default_query_time: self.duration("default_query_time", "300s"),
            max_query_time: self.duration("max_query_time", "600s"),
            discovery_max_stale: self.duration("discovery_max_stale", "0s"),
            translate_wan_addrs: self.flag("translate_wan_addrs", false),
            session_ttl_min: self.duration("session_ttl_min", "10s"),
            enable_script_checks: self.flag("enable_script_checks", false),
            enable_local_script_checks: self.flag("enable_script_checks", false) || self.flag("enable_local_script_checks", false),
            check_update_interval: self.duration("check_update_interval", "5m"),
            check_output_max_size: usize::try_from(self.int("check_output_max_size", 4096)).unwrap_or(0),
            discard_check_output: self.flag("discard_check_output", false),
            log_level: log_level(&self.text("log_level", "INFO")).to_owned(),
            log_json: self.flag("log_json", false),
            log_file: self.log_file(),
            pid_file: path(self.text("pid_file", "")),
            encrypt: Secret(self.text("encrypt", "")),
            services,
            checks,
            unused: Vec::new(),
            warnings: self.warnings(expect),
            invocation: self.invocation.clone(),
        };
        (advertise.is_some()).then_some(config)
    }

    fn log_file(&mut self) -> Option<LogFile> {
        let bytes_max = self.count("log_rotate_bytes", 0);
        let (age_max, files_max) = (self.duration("log_rotate_duration", "24h"), self.int("log_rotate_max_files", 0));
        let path = self.text("log_file", "");
        (!path.is_empty()).then(|| LogFile { path: PathBuf::from(path), bytes_max, age_max, files_max })
    }

    /// Warnings about what the typed configuration no longer shows.
    fn warnings(&self, expect: u32) -> Vec<String> {
        let mut warnings = Vec::new();
        if expect == 1 {
            warnings.push("BootstrapExpect is set to 1; this is the same as Bootstrap mode.".to_owned());
        }
        for rule in self.texts("telemetry.prefix_filter") {
            if !rule.starts_with(['+', '-']) {
                warnings.push(format!("Filter rule must begin with either '+' or '-': {rule:?}"));
            }
        }
        warnings
    }

    fn addresses(&mut self, ports: &Ports, bind: Option<IpAddr>, client: &[Item]) -> Addresses {
        let bind = bind.unwrap_or(IpAddr::from([0, 0, 0, 0]));
        let lan = self.optional_address("serf_lan").unwrap_or(bind);
        let wan = self.optional_address("serf_wan").unwrap_or(bind);
        let dns = self.listeners("dns", ports.dns, client);
        Addresses {
            dns: dns.into_iter().filter_map(|one| if let Listen::Tcp(address) = one { Some(address) } else { None }).collect(),
            http: self.listeners("http", ports.http, client),
            https: self.listeners("https", ports.https, client),
            serf_lan: SocketAddr::new(lan, ports.serf_lan.unwrap_or(8301)),
            serf_wan: ports.serf_wan.map(|port| SocketAddr::new(wan, port)),
            server: SocketAddr::new(bind, ports.server.unwrap_or(8300)),
        }
    }

    fn definitions<T: DeserializeOwned>(&mut self, key: &str) -> Vec<T> {
        definitions(&self.values, key).unwrap_or_else(|mut problems| {
            self.problems.append(&mut problems);
            Vec::new()
        })
    }

    fn dns(&mut self) -> Dns {
        let domain = |text: String| match text.trim_end_matches('.').to_lowercase() {
            text if text.is_empty() => text,
            text => format!("{text}."),
        };
        let mut service_ttl = DnsTtl::default();
        for (name, text) in self.map("dns_config.service_ttl") {
            let ttl = self.parse_duration(&format!("dns_config.service_ttl[\"{name}\"]"), &text);
            match name.to_lowercase().strip_suffix('*') {
                Some(prefix) => service_ttl.prefixes.push((prefix.to_owned(), ttl)),
                None => drop(service_ttl.exact.insert(name.to_lowercase(), ttl)),
            }
        }
        service_ttl.prefixes.sort_by_key(|(prefix, _)| std::cmp::Reverse(prefix.len()));
        Dns {
            domain: domain(self.text("domain", "consul.")),
            alt_domain: domain(self.text("alt_domain", "")),
            node_ttl: self.duration("dns_config.node_ttl", "0s"),
            service_ttl,
            soa: Soa {
                refresh: self.count("dns_config.soa.refresh", 3600),
                retry: self.count("dns_config.soa.retry", 600),
                expire: self.count("dns_config.soa.expire", 86_400),
                min_ttl: self.count("dns_config.soa.min_ttl", 0),
            },
            only_passing: self.flag("dns_config.only_passing", false),
            allow_stale: self.flag("dns_config.allow_stale", true),
            max_stale: self.duration("dns_config.max_stale", "87600h"),
            udp_answer_limit: self.count("dns_config.udp_answer_limit", 3),
            a_record_limit: self.count("dns_config.a_record_limit", 0),
            enable_truncate: self.flag("dns_config.enable_truncate", false),
            disable_compression: self.flag("dns_config.disable_compression", false),
            enable_additional_node_meta_txt: self.flag("dns_config.enable_additional_node_meta_txt", true),
        }
    }

    fn http(&mut self) -> Http {
        let allow_write_http_from = self.texts("http_config.allow_write_http_from");
        for network in &allow_write_http_from {
            if let Err(why) = address::contains(network, IpAddr::from([127, 0, 0, 1])) {
                self.problems.push(format!("allow_write_http_from: {why}"));
            }
        }
        Http {
            block_endpoints: self.texts("http_config.block_endpoints"),
            response_headers: self.map("http_config.response_headers"),
            allow_write_http_from,
            use_cache: self.flag("http_config.use_cache", true),
            disable_unprintable_char_filter: self.flag("disable_http_unprintable_char_filter", false),
            max_header_bytes: self.count("http_config.max_header_bytes", 0),
        }
    }

    fn limits(&mut self) -> Limits {
        let mode = self.text("limits.request_limits.mode", "disabled").to_lowercase();
        if !matches!(mode.as_str(), "disabled" | "permissive" | "enforcing") {
            self.violations.push(format!("limits.request_limits.mode: invalid mode {mode:?}. Must be disabled, permissive or enforcing"));
        }
        Limits {
            http_max_conns_per_client: self.count("limits.http_max_conns_per_client", 200),
            kv_max_value_size: self.count("limits.kv_max_value_size", 524_288),
            txn_max_req_len: self.count("limits.txn_max_req_len", 524_288),
            rpc_rate: self.float("limits.rpc_rate", -1.0),
            rpc_max_burst: self.count("limits.rpc_max_burst", 1000),
            rpc_max_conns_per_client: self.count("limits.rpc_max_conns_per_client", 100),
            request_limits: RequestLimits {
                mode,
                read_rate: self.float("limits.request_limits.read_rate", -1.0),
                write_rate: self.float("limits.request_limits.write_rate", -1.0),
            },
        }
    }

    fn telemetry(&mut self) -> Telemetry {
        let rules = self.texts("telemetry.prefix_filter");
        let with = |sign: char| rules.iter().filter_map(|rule| rule.strip_prefix(sign)).map(str::to_owned).collect();
        Telemetry {
            metrics_prefix: self.text("telemetry.metrics_prefix", "consul"),
            disable_hostname: self.flag("telemetry.disable_hostname", false),
            filter_default: self.flag("telemetry.filter_default", true),
            allowed_prefixes: with('+'),
            blocked_prefixes: with('-'),
            prometheus_retention_time: self.duration("telemetry.prometheus_retention_time", "0s"),
        }
    }

    fn ui(&self) -> Ui {
        let dir = self.text("ui_config.dir", &self.text("ui_dir", ""));
        let path = self.text("ui_config.content_path", &self.text("ui_content_path", "/ui/"));
        let words: String = path.split('/').filter(|word| !word.is_empty()).map(|word| format!("{word}/")).collect();
        Ui {
            enabled: self.flag("ui_config.enabled", self.flag("ui", self.invocation.dev)) || !dir.is_empty(),
            dir: if dir.is_empty() { None } else { Some(dir.into()) },
            content_path: format!("/{words}"),
        }
    }

    fn cluster(&mut self) -> Cluster {
        let serf_lan_allowed_cidrs = self.texts("serf_lan_allowed_cidrs");
        for network in &serf_lan_allowed_cidrs {
            if let Err(why) = address::contains(network, IpAddr::from([127, 0, 0, 1])) {
                self.problems.push(format!("serf_lan_allowed_cidrs: {why}"));
            }
        }
        Cluster {
            start_join: self.texts("start_join"),
            retry_join: self.texts("retry_join"),
            retry_interval: self.duration("retry_interval", "30s"),
            retry_max: self.count("retry_max", 0),
            rejoin_after_leave: self.flag("rejoin_after_leave", false),
            encrypt_verify_incoming: self.flag("encrypt_verify_incoming", true),
            encrypt_verify_outgoing: self.flag("encrypt_verify_outgoing", true),
            disable_keyring_file: self.flag("disable_keyring_file", false),
            serf_lan_allowed_cidrs,
            read_replica: self.flag("read_replica", self.flag("non_voting_server", false)),
            server_rejoin_age_max: self.duration("server_rejoin_age_max", "168h"),
        }
    }

    fn autopilot(&mut self) -> Autopilot {
        Autopilot {
            cleanup_dead_servers: self.flag("autopilot.cleanup_dead_servers", true),
            last_contact_threshold: self.duration("autopilot.last_contact_threshold", "200ms"),
            max_trailing_logs: self.count("autopilot.max_trailing_logs", 250),
            min_quorum: self.count("autopilot.min_quorum", 0),
            server_stabilization_time: self.duration("autopilot.server_stabilization_time", "10s"),
        }
    }

    fn gossip(&mut self, pool: &str, [gossip, probe, timeout]: [&str; 3], suspicion: i64) -> Gossip {
        Gossip {
            gossip_nodes: self.count(&format!("{pool}.gossip_nodes"), 3),
            gossip_interval: self.duration(&format!("{pool}.gossip_interval"), gossip),
            probe_interval: self.duration(&format!("{pool}.probe_interval"), probe),
            probe_timeout: self.duration(&format!("{pool}.probe_timeout"), timeout),
            retransmit_mult: self.count(&format!("{pool}.retransmit_mult"), 4),
            suspicion_mult: self.count(&format!("{pool}.suspicion_mult"), suspicion),
        }
    }
}

/// Service or check definitions of a shaped document.
///
/// # Errors
/// Every definition that is not understood.
pub(super) fn definitions<T: DeserializeOwned>(values: &Map<String, Value>, key: &str) -> Result<Vec<T>, Vec<String>> {
    let Some(Value::Array(items)) = values.get(key).cloned() else { return Ok(Vec::new()) };
    let (mut found, mut problems) = (Vec::new(), Vec::new());
    for (at, mut item) in items.into_iter().enumerate() {
        // In a file, unlike in the API, a weight that is left out keeps its default.
        if let Some(weights) = item.get_mut("weights").and_then(Value::as_object_mut) {
            weights.entry("passing").or_insert_with(|| 1.into());
            weights.entry("warning").or_insert_with(|| 1.into());
        }
        match go::decode_value(item) {
            Ok(definition) => found.push(definition),
            Err(why) => problems.push(format!("{key}[{at}]: {why}")),
        }
    }
    if problems.is_empty() { Ok(found) } else { Err(problems) }
}

/// The level's usual spelling; an unknown word as it is.
fn log_level(word: &str) -> &str {
    match word.to_lowercase().as_str() {
        "trace" => "trace",
        "debug" => "debug",
        "info" => "info",
        "warn" | "warning" => "warn",
        "err" | "error" => "error",
        _ => word,
    }
}
