//! From the agent's configuration to each component's own options.
//!
//! Contract: agent configuration; cluster, section "Tags".

use std::{
    collections::BTreeMap,
    net::{IpAddr, SocketAddr},
    time::Duration,
};

use shared::operator::AutopilotConfiguration;

use super::control::CONSUL_VERSION;
use crate::{config::Config, dns, gossip, http, local, raft, rpc, server};

/// What `raft_snapshot_interval` stands for when it is 0.
const SNAPSHOT_INTERVAL: Duration = Duration::from_secs(30);

/// The RPC address as other servers and `/v1/status/leader` name it.
fn rpc_address(config: &Config) -> String {
    SocketAddr::new(config.advertise_addr, config.addresses.server.port()).to_string()
}

pub(super) fn raft(config: &Config, node_id: &str) -> raft::Options {
    raft::Options {
        node_id: node_id.to_owned(),
        node_name: config.node_name.clone(),
        address: rpc_address(config),
        data_dir: config.data_dir.clone(),
        log_backend: config.raft.log_backend.clone(),
        multiplier: config.performance.raft_multiplier,
        bootstrap: config.bootstrap,
        snapshot_threshold: config.raft.snapshot_threshold,
        snapshot_interval: Some(config.raft.snapshot_interval.as_std()).filter(|every| !every.is_zero()).unwrap_or(SNAPSHOT_INTERVAL),
        trailing_logs: config.raft.trailing_logs,
    }
}

/// Bytes of the reason that the others are told, at most.
const FAILURE_MAX: usize = 160;

/// As [`tags`], once this server's disk failed.
pub(super) fn failed_tags(config: &Config, node_id: &str, reason: &str) -> BTreeMap<String, String> {
    let mut tags = tags(config, node_id);
    tags.insert(shared::agent::FAILURE_TAG.to_owned(), shared::text::head(reason, FAILURE_MAX).to_owned());
    tags
}

/// What the others are told about this agent, at most 512 bytes for the longest names.
fn tags(config: &Config, node_id: &str) -> BTreeMap<String, String> {
    let tag = |key: &str, value: &str| (key.to_owned(), value.to_owned());
    let mut tags = BTreeMap::from([
        tag("role", if config.server { "consul" } else { "node" }),
        tag("dc", &config.datacenter),
        tag("id", node_id),
        tag("vsn", "2"),
        tag("vsn_min", "2"),
        tag("vsn_max", "3"),
        tag("build", &format!("{CONSUL_VERSION}:")),
        tag("muster", env!("CARGO_PKG_VERSION")),
        tag("acls", "0"),
        tag("segment", ""),
    ]);
    if !config.server {
        return tags;
    }
    tags.extend([
        tag("port", &config.addresses.server.port().to_string()),
        tag("raft_vsn", "3"),
        tag("wan_join_port", &config.ports.serf_wan.unwrap_or(0).to_string()),
        tag("ft_fs", "1"),
    ]);
    if config.bootstrap {
        tags.extend([tag("bootstrap", "1")]);
    } else if config.bootstrap_expect > 0 {
        tags.extend([tag("expect", &config.bootstrap_expect.to_string())]);
    }
    if config.cluster.read_replica {
        tags.extend([tag("nonvoter", "1"), tag("read_replica", "1")]);
    }
    tags
}

pub(super) fn gossip(config: &Config, node_id: &str, keys: Vec<Vec<u8>>, known: Vec<SocketAddr>, cluster: String) -> gossip::Options {
    gossip::Options {
        node_id: node_id.to_owned(),
        node_name: config.node_name.clone(),
        datacenter: config.datacenter.clone(),
        bind: config.addresses.serf_lan,
        advertise: SocketAddr::new(config.advertise_addr, config.addresses.serf_lan.port()),
        tags: tags(config, node_id),
        cluster,
        keys,
        verify_incoming: config.cluster.encrypt_verify_incoming,
        verify_outgoing: config.cluster.encrypt_verify_outgoing,
        reconnect_timeout: config.reconnect_timeout.as_std(),
        known,
        allowed: config.cluster.serf_lan_allowed_cidrs.iter().filter_map(|network| parse_network(network)).collect(),
        timing: timing(&config.gossip_lan),
        ..gossip::Options::default()
    }
}

fn timing(set: &crate::config::Gossip) -> gossip::Timing {
    let probe_interval = set.probe_interval.as_std().max(Duration::from_millis(10));
    gossip::Timing {
        probe_interval,
        // The rest of the interval is for asking others.
        probe_timeout: set.probe_timeout.as_std().clamp(Duration::from_millis(5), probe_interval / 2),
        gossip_interval: set.gossip_interval.as_std().max(Duration::from_millis(10)),
        gossip_nodes: set.gossip_nodes.max(1) as usize,
        suspicion_mult: set.suspicion_mult.max(1),
    }
}

pub(super) fn rpc(config: &Config) -> rpc::Options {
    rpc::Options {
        hold_timeout: config.performance.rpc_hold_timeout.as_std(),
        query_time_default: config.default_query_time.as_std(),
        query_time_max: config.max_query_time.as_std(),
        ..rpc::Options::default()
    }
}

pub(super) fn server(config: &Config, node_id: &str, calls: &rpc::Pool, servers: &rpc::Servers) -> server::Options {
    server::Options {
        query_time_default: config.default_query_time.as_std(),
        query_time_max: config.max_query_time.as_std(),
        rpc_hold_timeout: config.performance.rpc_hold_timeout.as_std(),
        bootstrap_expect: config.bootstrap_expect,
        node_id: node_id.to_owned(),
        rpc_pool: Some(calls.clone()),
        autopilot: autopilot(config),
        temp_dir: config.data_dir.as_ref().map_or_else(std::env::temp_dir, |dir| dir.join("raft")),
        ..server::Options::new(&config.datacenter, &config.node_name, servers.clone())
    }
}

/// What autopilot does until an operator changes it.
fn autopilot(config: &Config) -> AutopilotConfiguration {
    let set = &config.autopilot;
    AutopilotConfiguration {
        cleanup_dead_servers: set.cleanup_dead_servers,
        last_contact_threshold: set.last_contact_threshold,
        max_trailing_logs: set.max_trailing_logs,
        min_quorum: u64::from(set.min_quorum),
        server_stabilization_time: set.server_stabilization_time,
        ..AutopilotConfiguration::default()
    }
}

pub(super) fn local(config: &Config, node_id: &str) -> local::Options {
    let mut tagged_addresses = BTreeMap::new();
    for (purpose, address) in [("lan", config.advertise_addr), ("wan", config.advertise_addr_wan)] {
        tagged_addresses.insert(purpose.to_owned(), address.to_string());
        tagged_addresses.insert(format!("{purpose}_{}", family(address)), address.to_string());
    }
    let mut meta = config.node_meta.clone();
    meta.entry("consul-network-segment".to_owned()).or_default();
    local::Options {
        node_name: config.node_name.clone(),
        node_id: node_id.to_owned(),
        datacenter: config.datacenter.clone(),
        address: config.advertise_addr.to_string(),
        tagged_addresses,
        meta,
        enable_script_checks: config.enable_script_checks,
        enable_local_script_checks: config.enable_local_script_checks,
        check_update_interval: config.check_update_interval.as_std(),
        check_output_max_size: config.check_output_max_size,
        discard_check_output: config.discard_check_output,
    }
}

fn family(address: IpAddr) -> &'static str {
    if address.is_ipv4() { "ipv4" } else { "ipv6" }
}

pub(super) fn http(config: &Config) -> http::Options {
    http::Options {
        datacenter: config.datacenter.clone(),
        node_name: config.node_name.clone(),
        pretty: config.dev,
        response_headers: config.http.response_headers.clone().into_iter().collect(),
        block_endpoints: config.http.block_endpoints.clone(),
        allow_write_http_from: config.http.allow_write_http_from.iter().filter_map(|network| parse_network(network)).collect(),
        ui: config.ui.enabled,
        ui_content_path: config.ui.content_path.clone(),
        disable_unprintable_char_filter: config.http.disable_unprintable_char_filter,
        use_cache: config.http.use_cache,
        translate_wan_addrs: config.translate_wan_addrs,
        kv_max_value_size: config.limits.kv_max_value_size as u64,
        discovery_max_stale: config.discovery_max_stale.as_std(),
        max_conns_per_client: config.limits.http_max_conns_per_client,
        log: crate::telemetry::handle(),
        ..http::Options::default()
    }
}

/// How many calls may pass: those a client sends, or those a server answers.
pub(super) fn limits(config: &Config) -> rpc::Limits {
    let limits = &config.limits;
    if !config.server {
        return rpc::Limits::Client { rate: limits.rpc_rate, burst: limits.rpc_max_burst as f64 };
    }
    let mode = match limits.request_limits.mode.as_str() {
        "enforcing" => rpc::Mode::Enforcing,
        "permissive" => rpc::Mode::Permissive,
        _ => rpc::Mode::Disabled,
    };
    rpc::Limits::Server { mode, read_rate: limits.request_limits.read_rate, write_rate: limits.request_limits.write_rate }
}

/// `address/bits`; configuration has checked it.
fn parse_network(text: &str) -> Option<(IpAddr, u8)> {
    let (address, bits) = text.split_once('/')?;
    Some((address.parse().ok()?, bits.parse().ok()?))
}

pub(super) fn dns(config: &Config) -> dns::Options {
    let set = &config.dns;
    let prefixed = set.service_ttl.prefixes.iter().map(|(prefix, ttl)| (format!("{prefix}*"), ttl.as_std()));
    dns::Options {
        domain: set.domain.clone(),
        alt_domain: set.alt_domain.clone(),
        datacenter: config.datacenter.clone(),
        node_name: config.node_name.clone(),
        node_ttl: set.node_ttl.as_std(),
        service_ttl: set.service_ttl.exact.iter().map(|(name, ttl)| (name.clone(), ttl.as_std())).chain(prefixed).collect(),
        soa: dns::Soa { refresh: set.soa.refresh, retry: set.soa.retry, expire: set.soa.expire, min_ttl: set.soa.min_ttl },
        only_passing: set.only_passing,
        allow_stale: set.allow_stale,
        max_stale: set.max_stale.as_std(),
        udp_answer_limit: set.udp_answer_limit,
        a_record_limit: set.a_record_limit,
        enable_truncate: set.enable_truncate,
        disable_compression: set.disable_compression,
        enable_additional_node_meta_txt: set.enable_additional_node_meta_txt,
        token: String::new(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::Invocation;

    #[test]
    fn blocking_reads_through_another_agent_wait_as_long_as_is_configured() {
        let text = "node_name = \"n1\"\nbind_addr = \"127.0.0.1\"\ndefault_query_time = \"20m\"\nmax_query_time = \"30m\"";
        let invocation = Invocation { dev: true, snippets: vec![text.to_owned()], ..Invocation::default() };
        let config = crate::config::build(&invocation, &[]).expect("valid");
        let rpc = rpc(&config);
        assert_eq!((rpc.query_time_default, rpc.query_time_max), (Duration::from_secs(1200), Duration::from_secs(1800)));
    }
}
