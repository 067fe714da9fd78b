//! The valid configuration: what every other module is set up from.
//!
//! Plain values, no behaviour. Contract: agent configuration, sections "Core keys" to "Sub-objects".

use std::{
    collections::BTreeMap,
    fmt,
    net::{IpAddr, SocketAddr},
    path::PathBuf,
};

use serde::Serialize;
use shared::{agent::ServiceRegistration, check::CheckDefinition, go::Duration};

use super::Invocation;

/// A configuration that holds together.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Config {
    /// Nothing on disk, one server, everything on.
    pub dev: bool,
    /// Server role; otherwise client.
    pub server: bool,
    /// Form a cluster of one.
    pub bootstrap: bool,
    /// Form a cluster once so many servers are there; 0 for never.
    pub bootstrap_expect: u32,
    /// Where everything durable goes; `None` keeps it in memory.
    pub data_dir: Option<PathBuf>,
    /// This node's name.
    pub node_name: String,
    /// This node's UUID as configured; empty to use the persisted one or make one.
    pub node_id: String,
    /// Make a random node id rather than one from the machine.
    pub disable_host_node_id: bool,
    /// Metadata of this node.
    pub node_meta: BTreeMap<String, String>,
    /// Datacenter, lower case.
    pub datacenter: String,
    /// Datacenter of record; the own one when not set.
    pub primary_datacenter: String,
    /// Where the cluster listeners bind.
    pub bind_addr: IpAddr,
    /// Where the client listeners bind, unless `addresses` says otherwise.
    pub client_addrs: Vec<IpAddr>,
    /// What others in the datacenter are told.
    pub advertise_addr: IpAddr,
    /// What other datacenters are told.
    pub advertise_addr_wan: IpAddr,
    /// Listeners, complete with ports.
    pub addresses: Addresses,
    /// Ports as set; `None` is disabled.
    pub ports: Ports,
    /// DNS.
    pub dns: Dns,
    /// HTTP.
    pub http: Http,
    /// Limits.
    pub limits: Limits,
    /// Timing.
    pub performance: Performance,
    /// Metrics.
    pub telemetry: Telemetry,
    /// Dashboard.
    pub ui: Ui,
    /// Joining the others.
    pub cluster: Cluster,
    /// First autopilot configuration.
    pub autopilot: Autopilot,
    /// LAN gossip.
    pub gossip_lan: Gossip,
    /// WAN gossip.
    pub gossip_wan: Gossip,
    /// Raft.
    pub raft: Raft,
    /// Leave the cluster on SIGTERM.
    pub leave_on_terminate: bool,
    /// Do not leave the cluster on SIGINT.
    pub skip_leave_on_interrupt: bool,
    /// How long a failed member is remembered.
    pub reconnect_timeout: Duration,
    /// The same in the WAN pool.
    pub reconnect_timeout_wan: Duration,
    /// How long a blocking query waits unless it says.
    pub default_query_time: Duration,
    /// How long it waits at most.
    pub max_query_time: Duration,
    /// Unmarked catalog and health reads may be so stale; 0 for not at all.
    pub discovery_max_stale: Duration,
    /// Tell addresses for other datacenters in answers that come from them.
    pub translate_wan_addrs: bool,
    /// Shortest TTL of a session.
    pub session_ttl_min: Duration,
    /// Script checks from anywhere.
    pub enable_script_checks: bool,
    /// Script checks from configuration files.
    pub enable_local_script_checks: bool,
    /// How long output-only changes of checks may wait to be synced.
    pub check_update_interval: Duration,
    /// Bytes of output kept, at most.
    pub check_output_max_size: usize,
    /// Keep no output at all.
    pub discard_check_output: bool,
    /// `trace`, `debug`, `info`, `warn` or `error`.
    pub log_level: String,
    /// Log as JSON.
    pub log_json: bool,
    /// Log to files too.
    pub log_file: Option<LogFile>,
    /// File the process id is written to.
    pub pid_file: Option<PathBuf>,
    /// Gossip key.
    pub encrypt: Secret,
    /// Services defined in files.
    pub services: Vec<ServiceRegistration>,
    /// Checks defined in files.
    pub checks: Vec<CheckDefinition>,
    /// Keys that were set and change nothing yet.
    pub unused: Vec<String>,
    /// Things to say at start that do not stop it.
    pub warnings: Vec<String>,
    /// Where it came from, to load it again.
    #[serde(skip)]
    pub invocation: Invocation,
}

/// Text that is never shown.
#[derive(Clone, Default, PartialEq, Eq)]
pub struct Secret(pub String);

impl Secret {
    /// Whether nothing is set.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    fn shown(&self) -> &'static str {
        if self.0.is_empty() { "" } else { "hidden" }
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.shown())
    }
}

impl Serialize for Secret {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(self.shown())
    }
}

/// Where a listener binds.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub enum Listen {
    /// An address and port.
    Tcp(SocketAddr),
    /// A socket in the file system.
    Unix(PathBuf),
}

impl fmt::Display for Listen {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Tcp(address) => address.fmt(f),
            Self::Unix(path) => write!(f, "unix://{}", path.display()),
        }
    }
}

/// Every listener; an empty list is a disabled one.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Addresses {
    /// DNS, UDP and TCP.
    pub dns: Vec<SocketAddr>,
    /// HTTP.
    pub http: Vec<Listen>,
    /// HTTPS.
    pub https: Vec<Listen>,
    /// LAN gossip, UDP and TCP.
    pub serf_lan: SocketAddr,
    /// WAN gossip.
    pub serf_wan: Option<SocketAddr>,
    /// RPC and Raft.
    pub server: SocketAddr,
}

/// Ports; `None` is disabled.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub struct Ports {
    /// DNS.
    pub dns: Option<u16>,
    /// HTTP.
    pub http: Option<u16>,
    /// HTTPS.
    pub https: Option<u16>,
    /// gRPC.
    pub grpc: Option<u16>,
    /// LAN gossip.
    pub serf_lan: Option<u16>,
    /// WAN gossip.
    pub serf_wan: Option<u16>,
    /// RPC.
    pub server: Option<u16>,
}

/// How DNS answers.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Dns {
    /// Domain answered for, lower case, with its final dot.
    pub domain: String,
    /// A second one, or empty.
    pub alt_domain: String,
    /// TTL of node records.
    pub node_ttl: Duration,
    /// TTL of service records by name.
    pub service_ttl: DnsTtl,
    /// Start-of-authority values.
    pub soa: Soa,
    /// Leave out instances with warnings.
    pub only_passing: bool,
    /// Answer from any server.
    pub allow_stale: bool,
    /// How stale at most.
    pub max_stale: Duration,
    /// Answers in a UDP response without EDNS.
    pub udp_answer_limit: usize,
    /// A and AAAA records in a response; 0 for no limit.
    pub a_record_limit: usize,
    /// Mark cut answers.
    pub enable_truncate: bool,
    /// Do not compress names.
    pub disable_compression: bool,
    /// Node metadata as TXT in the additional section.
    pub enable_additional_node_meta_txt: bool,
}

/// TTLs of services, most exact rule first.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub struct DnsTtl {
    /// By full name.
    pub exact: BTreeMap<String, Duration>,
    /// By prefix, longest first; the prefix `""` is `*`.
    pub prefixes: Vec<(String, Duration)>,
}

impl DnsTtl {
    /// The TTL of a service's records, if one is configured.
    #[must_use]
    pub fn of(&self, service: &str) -> Option<Duration> {
        let name = service.to_lowercase();
        let prefixed = || self.prefixes.iter().find(|(prefix, _)| name.starts_with(prefix.as_str())).map(|(_, ttl)| *ttl);
        self.exact.get(&name).copied().or_else(prefixed)
    }
}

/// Start-of-authority values, seconds.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub struct Soa {
    /// Refresh.
    pub refresh: u32,
    /// Retry.
    pub retry: u32,
    /// Expire.
    pub expire: u32,
    /// Least TTL.
    pub min_ttl: u32,
}

/// How HTTP answers.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Http {
    /// Path prefixes that are refused.
    pub block_endpoints: Vec<String>,
    /// Headers added to every answer.
    pub response_headers: BTreeMap<String, String>,
    /// Networks, as `address/bits`, that may write; empty for all.
    pub allow_write_http_from: Vec<String>,
    /// Heed `?cached`.
    pub use_cache: bool,
    /// Let characters through that cannot be printed.
    pub disable_unprintable_char_filter: bool,
    /// Largest header block; 0 for the default.
    pub max_header_bytes: usize,
}

/// Limits.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Limits {
    /// Connections per client address; 0 for no limit.
    pub http_max_conns_per_client: usize,
    /// Bytes of a value.
    pub kv_max_value_size: usize,
    /// Bytes of a transaction.
    pub txn_max_req_len: usize,
    /// Calls a second a client agent sends to servers; negative for no limit.
    pub rpc_rate: f64,
    /// Calls it sends at once.
    pub rpc_max_burst: usize,
    /// Connections per address to the RPC listener; 0 for no limit.
    pub rpc_max_conns_per_client: usize,
    /// Limits of all requests a server answers.
    pub request_limits: RequestLimits,
}

/// Limits of all requests a server answers.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct RequestLimits {
    /// `disabled`, `permissive` or `enforcing`.
    pub mode: String,
    /// Reads a second; negative for no limit.
    pub read_rate: f64,
    /// Writes a second; negative for no limit.
    pub write_rate: f64,
}

/// Timing.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Performance {
    /// How long reads are still served while leaving.
    pub leave_drain_time: Duration,
    /// 1 to 10: scales Raft's timing.
    pub raft_multiplier: u32,
    /// How long a request waits for a leader.
    pub rpc_hold_timeout: Duration,
}

/// Metrics.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Telemetry {
    /// First part of every name.
    pub metrics_prefix: String,
    /// Leave the host name out of gauge names.
    pub disable_hostname: bool,
    /// Metrics no rule speaks of are kept.
    pub filter_default: bool,
    /// Prefixes kept.
    pub allowed_prefixes: Vec<String>,
    /// Prefixes dropped.
    pub blocked_prefixes: Vec<String>,
    /// How long Prometheus series live; 0 turns the format off.
    pub prometheus_retention_time: Duration,
}

/// Dashboard.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Ui {
    /// Whether it is served.
    pub enabled: bool,
    /// A directory to serve instead of the embedded files.
    pub dir: Option<PathBuf>,
    /// Where it is served, with slashes at both ends.
    pub content_path: String,
}

/// How the agent finds the others and who may talk to it.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Cluster {
    /// Tried once at start, which fails when nobody answers: `host`, `host:port`.
    pub start_join: Vec<String>,
    /// Tried until somebody answers.
    pub retry_join: Vec<String>,
    /// Time between two rounds of that.
    pub retry_interval: Duration,
    /// Rounds before the agent gives up; 0 for never.
    pub retry_max: u32,
    /// Join again after a start although the agent had left.
    pub rejoin_after_leave: bool,
    /// Refuse gossip that is not encrypted.
    pub encrypt_verify_incoming: bool,
    /// Send no gossip that is not encrypted.
    pub encrypt_verify_outgoing: bool,
    /// Keep the gossip keys in memory only.
    pub disable_keyring_file: bool,
    /// Networks, as `address/bits`, whose members are accepted; empty for all.
    pub serf_lan_allowed_cidrs: Vec<String>,
    /// A server that never votes.
    pub read_replica: bool,
    /// A server away for longer refuses to start with its old data.
    pub server_rejoin_age_max: Duration,
}

/// First autopilot configuration; later it is changed through the API.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Autopilot {
    /// Remove failed servers once replacements are there.
    pub cleanup_dead_servers: bool,
    /// Longest silence of a healthy server.
    pub last_contact_threshold: Duration,
    /// How far a healthy server may trail.
    pub max_trailing_logs: u64,
    /// Never go below so many servers.
    pub min_quorum: u32,
    /// How long a new server must be healthy to vote.
    pub server_stabilization_time: Duration,
}

/// Timing of a gossip pool.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Gossip {
    /// Members gossiped to at once.
    pub gossip_nodes: u32,
    /// Time between gossips.
    pub gossip_interval: Duration,
    /// Time between probes.
    pub probe_interval: Duration,
    /// How long a probe waits.
    pub probe_timeout: Duration,
    /// Retransmission multiplier.
    pub retransmit_mult: u32,
    /// Suspicion multiplier.
    pub suspicion_mult: u32,
}

/// Raft.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Raft {
    /// Log store: `wal` or `sled`.
    pub log_backend: String,
    /// Entries between snapshots.
    pub snapshot_threshold: u64,
    /// How often it is looked whether so many came, up to twice that.
    pub snapshot_interval: Duration,
    /// Entries kept behind a snapshot.
    pub trailing_logs: u64,
}

/// The log in files.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct LogFile {
    /// Where, and what names begin with; a directory when it ends with a separator.
    pub path: PathBuf,
    /// Bytes after which a new file is begun; 0 for never.
    pub bytes_max: u64,
    /// Age after which one is.
    pub age_max: Duration,
    /// Old files kept: 0 for all, less for none.
    pub files_max: i64,
}
