//! Who is alive: the gossip pool.

use std::{collections::BTreeMap, net::SocketAddr, sync::Arc};

use shared::agent::Member;
use tokio::sync::watch;

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

/// Clone-cheap handle to a pool.
#[derive(Clone, Debug)]
pub struct Handle {
    members: watch::Receiver<Arc<Vec<Member>>>,
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
}
