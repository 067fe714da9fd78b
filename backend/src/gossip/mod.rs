//! Who is alive: the gossip pool. Contract: Cluster, sections about members and Serf.
//!
//! `pool` is pure over foca, `service` is the loop around it, `transport` is UDP and TCP or memory. Must never decide
//! anything about the catalog: it only tells who is there.

mod identity;
mod pool;
mod service;
#[cfg(test)]
mod tests;
mod transport;

use std::{collections::BTreeMap, net::SocketAddr, sync::Arc};

use shared::agent::Member;
use tokio::sync::{mpsc, oneshot, watch};
pub use transport::{Transport, memory::Hub};

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
    commands: mpsc::Sender<Command>,
}

/// What a handle asks the service.
#[derive(Debug)]
enum Command {
    Join(SocketAddr, oneshot::Sender<Result<(), String>>),
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
    let (service, members) = service::Service::new(options, &runtime, transport, queue)?;
    let shutdown = runtime.tasks.shutdown();
    runtime.tasks.spawn("gossip", service.run(shutdown));
    Ok(Handle { members, commands })
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
        let stopped = || "gossip is stopped".to_owned();
        let (done, result) = oneshot::channel();
        self.commands.send(Command::Join(address, done)).await.map_err(|_| stopped())?;
        result.await.map_err(|_| stopped())?
    }
}
