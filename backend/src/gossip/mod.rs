//! Who is alive: the gossip pool. Contract: cluster, sections "Gossip" and "Keyring".
//!
//! `pool` is pure over foca, `service` is the loop around it, `transport` is UDP and TCP or memory. Must never decide
//! anything about the catalog: it only tells who is there.

mod accusation;
mod admission;
mod detail;
mod exchange;
mod health;
mod identity;
mod keyring;
mod keys;
mod knowledge;
mod leave;
mod neighbour;
mod news;
mod pool;
mod roster;
#[cfg(test)]
mod samples;
mod service;
mod suspicion;
#[cfg(test)]
mod tests;
mod transport;

use std::{
    collections::BTreeMap,
    net::{IpAddr, SocketAddr},
    sync::Arc,
    time::Duration,
};

pub use keys::KeyringRequest;
use shared::agent::Member;
use tokio::sync::{mpsc, oneshot, watch};
pub use transport::{Exchange, Transport, memory::Hub};

use crate::rt::Runtime;

/// How a pool is set up.
#[derive(Clone, Debug)]
pub struct Options {
    /// This node's UUID.
    pub node_id: String,
    /// This node's name.
    pub node_name: String,
    /// Where to listen, UDP and TCP.
    pub bind: SocketAddr,
    /// What the others are told.
    pub advertise: SocketAddr,
    /// Tags the others see: `role`, `dc`, `id`, `port`, `vsn`, `build`, ...
    pub tags: BTreeMap<String, String>,
    /// Members of another datacenter are refused.
    pub datacenter: String,
    /// Id of the Raft cluster this server belongs to; empty for a client, and before one is formed.
    pub cluster: String,
    /// Keys, the primary first; none for no encryption.
    pub keys: Vec<Vec<u8>>,
    /// Refuse what is not encrypted, once there are keys.
    pub verify_incoming: bool,
    /// Encrypt, once there are keys.
    pub verify_outgoing: bool,
    /// How long a failed member is remembered.
    pub reconnect_timeout: Duration,
    /// How long one that left is.
    pub tombstone_timeout: Duration,
    /// How long a leave may get around before this node is silent.
    pub leave_propagate_delay: Duration,
    /// Members of the last run, tried at start.
    pub known: Vec<SocketAddr>,
    /// Networks, with the bits that count, whose members are heard; empty for all.
    pub allowed: Vec<(IpAddr, u8)>,
    /// How often what is done.
    pub timing: Timing,
}

impl Default for Options {
    fn default() -> Self {
        let unspecified = SocketAddr::from(([0, 0, 0, 0], 0));
        Self {
            node_id: String::new(),
            node_name: String::new(),
            bind: unspecified,
            advertise: unspecified,
            tags: BTreeMap::new(),
            datacenter: String::new(),
            cluster: String::new(),
            keys: Vec::new(),
            verify_incoming: true,
            verify_outgoing: true,
            reconnect_timeout: Duration::from_secs(72 * 3600),
            tombstone_timeout: Duration::from_secs(24 * 3600),
            leave_propagate_delay: Duration::from_secs(3),
            known: Vec::new(),
            allowed: Vec::new(),
            timing: Timing::default(),
        }
    }
}

/// How often what is done.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Timing {
    /// Time between two probes.
    pub probe_interval: Duration,
    /// How long a probe waits for its answer.
    pub probe_timeout: Duration,
    /// Time between two rounds of gossip.
    pub gossip_interval: Duration,
    /// Members told in each round.
    pub gossip_nodes: usize,
    /// Scales how long a suspicion lasts.
    pub suspicion_mult: u32,
}

impl Default for Timing {
    fn default() -> Self {
        Self {
            probe_interval: Duration::from_secs(1),
            probe_timeout: Duration::from_millis(500),
            gossip_interval: Duration::from_millis(200),
            gossip_nodes: 3,
            suspicion_mult: 4,
        }
    }
}

/// Whether a network holds an address.
fn contains((network, bits): (IpAddr, u8), address: IpAddr) -> bool {
    let mask = |width: u32| u32::from(bits).min(width);
    match (network, address.to_canonical()) {
        (IpAddr::V4(network), IpAddr::V4(address)) => {
            let shift = 32 - mask(32);
            u64::from(network.to_bits()) >> shift == u64::from(address.to_bits()) >> shift
        }
        (IpAddr::V6(network), IpAddr::V6(address)) => {
            let shift = 128 - mask(128);
            network.to_bits().checked_shr(shift).unwrap_or(0) == address.to_bits().checked_shr(shift).unwrap_or(0)
        }
        _ => false,
    }
}

/// Why a pool does not start.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The node id is not a UUID.
    #[error("node id {0:?} is not a UUID")]
    NodeId(String),
    /// The address cannot be used.
    #[error("failed to start gossip listener on {address}: {source}")]
    Listen {
        /// Which address.
        address: SocketAddr,
        /// Why not.
        source: std::io::Error,
    },
}

/// Clone-cheap handle to a pool.
#[derive(Clone, Debug)]
pub struct Handle {
    members: watch::Receiver<Arc<Vec<Member>>>,
    keys: watch::Receiver<Vec<Vec<u8>>>,
    commands: mpsc::Sender<Command>,
}

/// What a handle asks the service.
#[derive(Debug)]
enum Command {
    Join(SocketAddr, oneshot::Sender<Result<(), String>>),
    Leave(oneshot::Sender<()>),
    ForceLeave { name: String, prune: bool, done: oneshot::Sender<Result<(), String>> },
    SetTags(BTreeMap<String, String>),
    SetCluster(String),
    Keyring(KeyringRequest, oneshot::Sender<shared::gossip::Keyring>),
    Detail(oneshot::Sender<shared::gossip::Pool>),
}

/// Starts the pool on UDP and TCP sockets of its own; it ends at the runtime's shutdown.
///
/// # Errors
/// The address cannot be used, or the node id is not a UUID.
pub async fn start(options: Options, runtime: Runtime) -> Result<Handle, Error> {
    let address = options.bind;
    let transport = transport::Sockets::open(address, &runtime.tasks).await.map_err(|source| Error::Listen { address, source })?;
    start_with(options, runtime, Arc::new(transport))
}

/// As [`start`], over another transport.
///
/// # Errors
/// The node id is not a UUID.
pub fn start_with(options: Options, runtime: Runtime, transport: Arc<dyn Transport>) -> Result<Handle, Error> {
    let (commands, queue) = mpsc::channel(64);
    let keyring = keyring::Keyring::new(&options.keys, options.verify_incoming, options.verify_outgoing, runtime.rng.fork());
    let keys = keyring.watch();
    let (service, members) = service::Service::new(options, &runtime, transport, keyring, queue)?;
    let shutdown = runtime.tasks.shutdown();
    runtime.tasks.spawn("gossip", service.run(shutdown));
    Ok(Handle { members, keys, commands })
}

impl Handle {
    /// Everybody known, this node included, sorted by name.
    #[must_use]
    pub fn members(&self) -> Arc<Vec<Member>> {
        self.members.borrow().clone()
    }

    /// Tells of every change.
    #[must_use]
    pub fn subscribe(&self) -> watch::Receiver<Arc<Vec<Member>>> {
        self.members.clone()
    }

    /// Exchanges everything known with another member, which makes the two pools one.
    ///
    /// # Errors
    /// Why it could not be reached.
    pub async fn join(&self, address: SocketAddr) -> Result<(), String> {
        let (done, result) = oneshot::channel();
        self.ask(Command::Join(address, done), result).await.unwrap_or_else(|| Err(STOPPED.to_owned()))
    }

    /// Tells the others that this node goes, and goes; returns once they had time to hear it.
    pub async fn leave(&self) {
        let (done, result) = oneshot::channel();
        // A pool that is stopped has left.
        let _ = self.ask(Command::Leave(done), result).await;
    }

    /// Declares a failed member gone; with `prune` it is forgotten as well.
    ///
    /// # Errors
    /// Nobody of that name is known.
    pub async fn force_leave(&self, name: &str, prune: bool) -> Result<(), String> {
        let (done, result) = oneshot::channel();
        let asked = self.ask(Command::ForceLeave { name: name.to_owned(), prune, done }, result);
        asked.await.unwrap_or_else(|| Err(STOPPED.to_owned()))
    }

    /// Replaces this node's tags.
    pub async fn set_tags(&self, tags: BTreeMap<String, String>) {
        // A pool that is stopped tells nobody.
        let _ = self.commands.send(Command::SetTags(tags)).await;
    }

    /// Tells the others which Raft cluster this server belongs to: members of another one are refused from now on.
    pub async fn set_cluster(&self, id: String) {
        // A pool that is stopped tells nobody.
        let _ = self.commands.send(Command::SetCluster(id)).await;
    }

    /// Lists or changes the keys of every living member.
    pub async fn keyring(&self, request: KeyringRequest) -> shared::gossip::Keyring {
        let (done, result) = oneshot::channel();
        let stopped = || shared::gossip::Keyring { messages: [(String::new(), STOPPED.to_owned())].into(), ..Default::default() };
        self.ask(Command::Keyring(request, done), result).await.unwrap_or_else(stopped)
    }

    /// The keys as they are now, primary first, and a signal at every change.
    #[must_use]
    pub fn keys(&self) -> watch::Receiver<Vec<Vec<u8>>> {
        self.keys.clone()
    }

    /// What this node knows of everybody.
    pub async fn detail(&self) -> shared::gossip::Pool {
        let (done, result) = oneshot::channel();
        self.ask(Command::Detail(done), result).await.unwrap_or_default()
    }

    /// `None` when the pool is stopped.
    async fn ask<T>(&self, command: Command, result: oneshot::Receiver<T>) -> Option<T> {
        self.commands.send(command).await.ok()?;
        result.await.ok()
    }
}

const STOPPED: &str = "gossip is stopped";
