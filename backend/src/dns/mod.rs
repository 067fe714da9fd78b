//! DNS: answers for nodes and services under the agent's domain, over UDP and TCP.
//!
//! `name` reads names, `answer` builds sections and `wire` writes them, all pure; `server` has the sockets and asks the servers. Never
//! sees the store. Contract: DNS. Recursion, prepared queries and the mesh names are not answered here yet.

mod answer;
mod name;
mod server;
mod wire;

use std::{collections::BTreeMap, net::SocketAddr, time::Duration};

pub use server::{Handle, start};

/// How DNS answers. Times are whole seconds on the wire.
#[derive(Clone, Debug)]
pub struct Options {
    /// Domain answered for.
    pub domain: String,
    /// A second one, or empty.
    pub alt_domain: String,
    /// The agent's datacenter.
    pub datacenter: String,
    /// Name of the agent's node.
    pub node_name: String,
    /// TTL of node records.
    pub node_ttl: Duration,
    /// TTL of service records: by name, by `prefix*`, or `*`.
    pub service_ttl: BTreeMap<String, Duration>,
    /// Start-of-authority values.
    pub soa: Soa,
    /// Leave out instances with warnings.
    pub only_passing: bool,
    /// Answer from any server.
    pub allow_stale: bool,
    /// How old such an answer may be before the leader is asked.
    pub max_stale: Duration,
    /// Answers in a UDP response without EDNS; more than 8 act as 8.
    pub udp_answer_limit: usize,
    /// Address records in a response; 0 for no limit.
    pub a_record_limit: usize,
    /// Mark cut answers.
    pub enable_truncate: bool,
    /// Do not compress names.
    pub disable_compression: bool,
    /// Node metadata as TXT in the additional section.
    pub enable_additional_node_meta_txt: bool,
    /// Token the look-ups carry; empty is anonymous.
    pub token: String,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            domain: "consul.".to_owned(),
            alt_domain: String::new(),
            datacenter: "dc1".to_owned(),
            node_name: String::new(),
            node_ttl: Duration::ZERO,
            service_ttl: BTreeMap::new(),
            soa: Soa::default(),
            only_passing: false,
            allow_stale: true,
            max_stale: Duration::from_secs(87_600 * 3_600),
            udp_answer_limit: 3,
            a_record_limit: 0,
            enable_truncate: false,
            disable_compression: false,
            enable_additional_node_meta_txt: true,
            token: String::new(),
        }
    }
}

impl Options {
    /// TTL of a service's records, seconds: the exact name, else the longest prefix, else 0.
    fn service_ttl(&self, service: &str) -> u32 {
        let service = service.to_ascii_lowercase();
        let exact = self.service_ttl.iter().find(|(name, _)| name.eq_ignore_ascii_case(&service));
        let prefix = |name: &str| name.strip_suffix('*').is_some_and(|prefix| service.starts_with(&prefix.to_ascii_lowercase()));
        let longest = || self.service_ttl.iter().filter(|(name, _)| prefix(name)).max_by_key(|(name, _)| name.len());
        exact.or_else(longest).map_or(0, |(_, ttl)| seconds(*ttl))
    }
}

fn seconds(ttl: Duration) -> u32 {
    u32::try_from(ttl.as_secs()).unwrap_or(u32::MAX)
}

/// Start-of-authority values, seconds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Soa {
    /// Refresh.
    pub refresh: u32,
    /// Retry.
    pub retry: u32,
    /// Expire.
    pub expire: u32,
    /// TTL of the record and of negative answers.
    pub min_ttl: u32,
}

impl Default for Soa {
    fn default() -> Self {
        Self { refresh: 3_600, retry: 600, expire: 86_400, min_ttl: 0 }
    }
}

/// Why DNS does not start.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The domain is not a DNS name.
    #[error("invalid DNS domain {0:?}")]
    Domain(String),
    /// The address is taken or not this machine's.
    #[error("cannot listen for DNS on {address}: {source}")]
    Listen {
        /// The address.
        address: SocketAddr,
        /// What the system said.
        source: std::io::Error,
    },
}

#[cfg(test)]
mod tests;
