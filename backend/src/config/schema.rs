//! Every key a configuration may hold, its type, and whether it changes anything yet.
//!
//! Only a table: [`super::tree`] reads it. Contract: agent configuration, sections "Core keys" to "Sub-objects", and
//! health checks, section "Definition files".

/// The type of a key's value.
#[derive(Clone, Copy, Debug)]
pub(super) enum Kind {
    /// `true` or `false`.
    Bool,
    /// A whole number.
    Int,
    /// Any number.
    Float,
    /// Text; durations too.
    Text,
    /// A list of texts; lists of several files append.
    Texts,
    /// Text by free key.
    Map,
    /// Lists of texts by free key.
    Lists,
    /// One object; repeated blocks merge.
    Object(&'static [Key]),
    /// One object; repeating it is an error.
    One(&'static [Key]),
    /// A list of objects; a single block counts as a list of one.
    Objects(&'static [Key]),
    /// Objects of one kind by free key.
    ObjectMap(&'static [Key]),
    /// Anything, carried as written.
    Any,
    /// A list of anything.
    AnyList,
}

/// A key of an object.
#[derive(Clone, Copy, Debug)]
pub(super) struct Key {
    /// As written, in snake case.
    pub(super) name: &'static str,
    /// Type of its value.
    pub(super) kind: Kind,
    /// Whether it changes something; if not, it is accepted and named once in the log.
    pub(super) used: bool,
}

const fn used(name: &'static str, kind: Kind) -> Key {
    Key { name, kind, used: true }
}

const fn later(name: &'static str, kind: Kind) -> Key {
    Key { name, kind, used: false }
}

use Kind::{Any, AnyList, Bool, Float, Int, Lists, Map, Object, ObjectMap, Objects, One, Text, Texts};

/// The whole configuration.
pub(super) const ROOT: &[Key] = &[
    later("acl", Object(ACL)),
    later("acl_agent_master_token", Text),
    later("acl_agent_token", Text),
    later("acl_datacenter", Text),
    later("acl_default_policy", Text),
    later("acl_down_policy", Text),
    later("acl_enable_key_list_policy", Bool),
    later("acl_enforce_version_8", Bool),
    later("acl_master_token", Text),
    later("acl_replication_token", Text),
    later("acl_token", Text),
    later("acl_ttl", Text),
    used("addresses", Object(ADDRESSES)),
    used("advertise_addr", Text),
    later("advertise_addr_ipv4", Text),
    later("advertise_addr_ipv6", Text),
    used("advertise_addr_wan", Text),
    later("advertise_addr_wan_ipv4", Text),
    later("advertise_addr_wan_ipv6", Text),
    later("advertise_reconnect_timeout", Text),
    used("alt_domain", Text),
    later("audit", Any),
    later("auto_config", Any),
    used("auto_encrypt", Object(AUTO_ENCRYPT)),
    later("auto_reload_config", Bool),
    used("autopilot", Object(AUTOPILOT)),
    used("bind_addr", Text),
    used("bootstrap", Bool),
    used("bootstrap_expect", Int),
    later("ca_file", Text),
    later("ca_path", Text),
    later("cache", Object(CACHE)),
    later("cert_file", Text),
    used("check", One(CHECK)),
    used("check_output_max_size", Int),
    used("check_update_interval", Text),
    used("checks", Objects(CHECK)),
    used("client_addr", Text),
    later("cloud", Any),
    later("config_entries", Any),
    later("connect", Any),
    used("data_dir", Text),
    used("datacenter", Text),
    used("default_query_time", Text),
    later("disable_anonymous_signature", Bool),
    later("disable_coordinates", Bool),
    used("disable_host_node_id", Bool),
    used("disable_http_unprintable_char_filter", Bool),
    used("disable_keyring_file", Bool),
    later("disable_remote_exec", Bool),
    later("disable_update_check", Bool),
    used("discard_check_output", Bool),
    used("discovery_max_stale", Text),
    used("dns_config", Object(DNS_CONFIG)),
    used("domain", Text),
    later("enable_acl_replication", Bool),
    later("enable_agent_tls_for_checks", Bool),
    later("enable_central_service_config", Bool),
    later("enable_debug", Bool),
    used("enable_local_script_checks", Bool),
    used("enable_script_checks", Bool),
    later("enable_syslog", Bool),
    used("encrypt", Text),
    used("encrypt_verify_incoming", Bool),
    used("encrypt_verify_outgoing", Bool),
    later("experiments", Texts),
    used("gossip_lan", Object(GOSSIP)),
    used("gossip_wan", Object(GOSSIP)),
    used("http_config", Object(HTTP_CONFIG)),
    later("key_file", Text),
    used("leave_on_terminate", Bool),
    later("license_path", Text),
    used("limits", Object(LIMITS)),
    later("locality", Any),
    used("log_file", Text),
    used("log_json", Bool),
    used("log_level", Text),
    used("log_rotate_bytes", Int),
    used("log_rotate_duration", Text),
    used("log_rotate_max_files", Int),
    used("max_query_time", Text),
    used("node_id", Text),
    used("node_meta", Map),
    used("node_name", Text),
    used("non_voting_server", Bool),
    later("partition", Text),
    later("peering", Any),
    used("performance", Object(PERFORMANCE)),
    used("pid_file", Text),
    used("ports", Object(PORTS)),
    used("primary_datacenter", Text),
    later("primary_gateways", Texts),
    later("primary_gateways_interval", Text),
    later("protocol", Int),
    later("raft_boltdb", Any),
    used("raft_logstore", Object(RAFT_LOGSTORE)),
    used("raft_protocol", Int),
    used("raft_snapshot_interval", Text),
    used("raft_snapshot_threshold", Int),
    used("raft_trailing_logs", Int),
    used("read_replica", Bool),
    used("reconnect_timeout", Text),
    used("reconnect_timeout_wan", Text),
    later("recursors", Texts),
    used("rejoin_after_leave", Bool),
    later("reporting", Any),
    used("retry_interval", Text),
    later("retry_interval_wan", Text),
    used("retry_join", Texts),
    later("retry_join_wan", Texts),
    used("retry_max", Int),
    later("retry_max_wan", Int),
    later("rpc", Any),
    used("segment", Text),
    used("segments", AnyList),
    used("serf_lan", Text),
    used("serf_lan_allowed_cidrs", Texts),
    used("serf_wan", Text),
    later("serf_wan_allowed_cidrs", Texts),
    used("server", Bool),
    later("server_name", Text),
    used("server_rejoin_age_max", Text),
    used("service", One(SERVICE)),
    used("services", Objects(SERVICE)),
    used("session_ttl_min", Text),
    used("skip_leave_on_interrupt", Bool),
    used("start_join", Texts),
    later("start_join_wan", Texts),
    later("syslog_facility", Text),
    used("telemetry", Object(TELEMETRY)),
    later("tls", Object(TLS)),
    later("tls_cipher_suites", Text),
    later("tls_min_version", Text),
    later("tls_prefer_server_cipher_suites", Bool),
    used("translate_wan_addrs", Bool),
    used("ui", Bool),
    used("ui_config", Object(UI_CONFIG)),
    used("ui_content_path", Text),
    used("ui_dir", Text),
    later("unix_sockets", Object(UNIX_SOCKETS)),
    later("use_streaming_backend", Bool),
    later("verify_incoming", Bool),
    later("verify_incoming_https", Bool),
    later("verify_incoming_rpc", Bool),
    later("verify_outgoing", Bool),
    later("verify_server_hostname", Bool),
    later("version", Text),
    later("watches", Objects(WATCH)),
    later("xds", Any),
];

const ACL: &[Key] = &[
    later("default_policy", Text),
    later("disabled_ttl", Text),
    later("down_policy", Text),
    later("enable_key_list_policy", Bool),
    later("enable_token_persistence", Bool),
    later("enable_token_replication", Bool),
    later("enabled", Bool),
    later("msp_disable_bootstrap", Bool),
    later("policy_ttl", Text),
    later("role_ttl", Text),
    later("token_ttl", Text),
    later(
        "tokens",
        Object(&[
            later("agent", Text),
            later("agent_master", Text),
            later("agent_recovery", Text),
            later("config_file_service_registration", Text),
            later("default", Text),
            later("dns", Text),
            later("initial_management", Text),
            later("managed_service_provider", AnyList),
            later("master", Text),
            later("replication", Text),
        ]),
    ),
];

const ADDRESSES: &[Key] = &[used("dns", Text), later("grpc", Text), later("grpc_tls", Text), used("http", Text), later("https", Text)];

const AUTO_ENCRYPT: &[Key] = &[used("allow_tls", Bool), later("dns_san", Texts), later("ip_san", Texts), later("tls", Bool)];

const AUTOPILOT: &[Key] = &[
    used("cleanup_dead_servers", Bool),
    later("disable_upgrade_migration", Bool),
    used("last_contact_threshold", Text),
    used("max_trailing_logs", Int),
    used("min_quorum", Int),
    later("redundancy_zone_tag", Text),
    used("server_stabilization_time", Text),
    later("upgrade_version_tag", Text),
];

const CACHE: &[Key] = &[later("entry_fetch_max_burst", Int), later("entry_fetch_rate", Float)];

const DNS_CONFIG: &[Key] = &[
    used("a_record_limit", Int),
    used("allow_stale", Bool),
    later("cache_max_age", Text),
    used("disable_compression", Bool),
    used("enable_additional_node_meta_txt", Bool),
    used("enable_truncate", Bool),
    used("max_stale", Text),
    used("node_ttl", Text),
    used("only_passing", Bool),
    later("prefer_namespace", Bool),
    later("recursor_strategy", Text),
    later("recursor_timeout", Text),
    used("service_ttl", Map),
    used("soa", Object(&[used("expire", Int), used("min_ttl", Int), used("refresh", Int), used("retry", Int)])),
    used("udp_answer_limit", Int),
    later("use_cache", Bool),
];

const GOSSIP: &[Key] = &[
    used("gossip_interval", Text),
    used("gossip_nodes", Int),
    used("probe_interval", Text),
    used("probe_timeout", Text),
    used("retransmit_mult", Int),
    used("suspicion_mult", Int),
];

const HTTP_CONFIG: &[Key] = &[
    used("allow_write_http_from", Texts),
    used("block_endpoints", Texts),
    used("max_header_bytes", Int),
    used("response_headers", Map),
    used("use_cache", Bool),
];

const LIMITS: &[Key] = &[
    used("http_max_conns_per_client", Int),
    later("https_handshake_timeout", Text),
    used("kv_max_value_size", Int),
    used("request_limits", Object(&[used("mode", Text), used("read_rate", Float), used("write_rate", Float)])),
    later("rpc_client_timeout", Text),
    later("rpc_handshake_timeout", Text),
    used("rpc_max_burst", Int),
    used("rpc_max_conns_per_client", Int),
    used("rpc_rate", Float),
    used("txn_max_req_len", Int),
];

const PERFORMANCE: &[Key] = &[
    later("grpc_keepalive_interval", Text),
    later("grpc_keepalive_timeout", Text),
    used("leave_drain_time", Text),
    used("raft_multiplier", Int),
    used("rpc_hold_timeout", Text),
];

const PORTS: &[Key] = &[
    used("dns", Int),
    later("expose_max_port", Int),
    later("expose_min_port", Int),
    later("grpc", Int),
    later("grpc_tls", Int),
    used("http", Int),
    later("https", Int),
    later("proxy_max_port", Int),
    later("proxy_min_port", Int),
    used("serf_lan", Int),
    used("serf_wan", Int),
    used("server", Int),
    later("sidecar_max_port", Int),
    later("sidecar_min_port", Int),
];

const RAFT_LOGSTORE: &[Key] =
    &[used("backend", Text), later("boltdb", Any), later("disable_log_cache", Bool), later("verification", Any), later("wal", Any)];

const TELEMETRY: &[Key] = &[
    later("circonus_api_app", Text),
    later("circonus_api_token", Text),
    later("circonus_api_url", Text),
    later("circonus_broker_id", Text),
    later("circonus_broker_select_tag", Text),
    later("circonus_check_display_name", Text),
    later("circonus_check_force_metric_activation", Text),
    later("circonus_check_id", Text),
    later("circonus_check_instance_id", Text),
    later("circonus_check_search_tag", Text),
    later("circonus_check_tags", Text),
    later("circonus_submission_interval", Text),
    later("circonus_submission_url", Text),
    used("disable_hostname", Bool),
    later("disable_compat_1.9", Bool),
    later("disable_per_tenancy_usage_metrics", Bool),
    later("dogstatsd_addr", Text),
    later("dogstatsd_tags", Texts),
    later("enable_host_metrics", Bool),
    used("filter_default", Bool),
    used("metrics_prefix", Text),
    used("prefix_filter", Texts),
    used("prometheus_retention_time", Text),
    later("retry_failed_connection", Bool),
    later("statsd_address", Text),
    later("statsite_address", Text),
];

const TLS_LISTENER: &[Key] = &[
    later("ca_file", Text),
    later("ca_path", Text),
    later("cert_file", Text),
    later("key_file", Text),
    later("server_name", Text),
    later("tls_cipher_suites", Text),
    later("tls_min_version", Text),
    later("use_auto_cert", Bool),
    later("verify_incoming", Bool),
    later("verify_outgoing", Bool),
    later("verify_server_hostname", Bool),
];

const TLS: &[Key] = &[
    later("defaults", Object(TLS_LISTENER)),
    later("enable_agent_tls_for_checks", Bool),
    later("grpc", Object(TLS_LISTENER)),
    later("https", Object(TLS_LISTENER)),
    later("internal_rpc", Object(TLS_LISTENER)),
];

const UI_CONFIG: &[Key] = &[
    used("content_path", Text),
    later("dashboard_url_templates", Any),
    used("dir", Text),
    used("enabled", Bool),
    later("metrics_provider", Text),
    later("metrics_provider_files", Texts),
    later("metrics_provider_options_json", Text),
    later("metrics_proxy", Any),
];

const UNIX_SOCKETS: &[Key] = &[later("group", Text), later("mode", Text), later("user", Text)];

const WATCH: &[Key] = &[
    later("args", Texts),
    later("datacenter", Text),
    later("handler", Text),
    later("handler_type", Text),
    later("http_handler_config", Any),
    later("key", Text),
    later("name", Text),
    later("passingonly", Any),
    later("prefix", Text),
    later("service", Text),
    later("service_id", Text),
    later("state", Text),
    later("tag", Any),
    later("token", Text),
    later("type", Text),
];

/// A check definition.
pub(super) const CHECK: &[Key] = &[
    used("alias_node", Text),
    used("alias_service", Text),
    used("args", Texts),
    used("body", Text),
    used("deregister_critical_service_after", Text),
    used("disable_redirects", Bool),
    used("docker_container_id", Text),
    used("failures_before_critical", Int),
    used("failures_before_warning", Int),
    used("grpc", Text),
    used("grpc_use_tls", Bool),
    used("h2ping", Text),
    used("h2ping_use_tls", Bool),
    used("header", Lists),
    used("http", Text),
    used("id", Text),
    used("interval", Text),
    used("method", Text),
    used("name", Text),
    used("notes", Text),
    used("os_service", Text),
    used("output_max_size", Int),
    used("script_args", Texts),
    used("service_id", Text),
    used("shell", Text),
    used("status", Text),
    used("success_before_passing", Int),
    used("tcp", Text),
    used("tcp_use_tls", Bool),
    used("timeout", Text),
    used("tls_server_name", Text),
    used("tls_skip_verify", Bool),
    used("token", Text),
    used("ttl", Text),
    used("udp", Text),
];

/// A service definition.
pub(super) const SERVICE: &[Key] = &[
    used("address", Text),
    used("check", One(CHECK)),
    used("checks", Objects(CHECK)),
    used("connect", Object(&[used("native", Bool), used("sidecar_service", Any)])),
    used("enable_tag_override", Bool),
    used("id", Text),
    used("kind", Text),
    used("locality", Any),
    used("meta", Map),
    used("name", Text),
    used("port", Int),
    used("proxy", Object(PROXY)),
    used("socket_path", Text),
    used("tagged_addresses", ObjectMap(&[used("address", Text), used("port", Int)])),
    used("tags", Texts),
    used("token", Text),
    used("weights", Object(&[used("passing", Int), used("warning", Int)])),
];

const PROXY: &[Key] = &[
    used("config", Any),
    used("destination_service_id", Text),
    used("destination_service_name", Text),
    used("expose", Any),
    used("local_service_address", Text),
    used("local_service_port", Int),
    used("mesh_gateway", Any),
    used("mode", Text),
    used("transparent_proxy", Any),
    used("upstreams", Any),
];
