//! Raft's messages over the RPC pool. A server's address is what gossip says now; the one in the Raft configuration is only used
//! for a server gossip does not know, so that a server that moved is found.

use std::sync::Arc;

use crate::{
    raft::{self, Lane, Peer, TransportError},
    rpc,
};

/// The sending side.
pub(super) struct Transport {
    pub(super) pool: rpc::Pool,
    pub(super) servers: rpc::Servers,
}

#[async_trait::async_trait]
impl raft::Transport for Transport {
    async fn call(&self, peer: &Peer, lane: Lane, message: Vec<u8>) -> Result<Vec<u8>, TransportError> {
        let known = self.servers.find(&peer.id).map(|server| server.address);
        let address = known.or_else(|| peer.address.parse().ok());
        let address = address.ok_or_else(|| TransportError::Unreachable(format!("{:?} is no address", peer.address)))?;
        let lane = match lane {
            Lane::Heartbeat => 0,
            Lane::Log => 1,
            Lane::Snapshot => 2,
        };
        self.pool.raft(address, lane, message).await.map_err(|error| match error {
            rpc::Failure::NotSent(why) => TransportError::Unreachable(why),
            other => TransportError::Broken(other.to_string()),
        })
    }
}

/// The receiving side.
pub(super) struct Receiver(pub(super) raft::Handle);

#[async_trait::async_trait]
impl rpc::RaftReceiver for Receiver {
    async fn receive(&self, message: &[u8]) -> Vec<u8> {
        self.0.receive(message).await
    }
}

/// Both sides of a server.
pub(super) fn sending(pool: rpc::Pool, servers: rpc::Servers) -> Arc<Transport> {
    Arc::new(Transport { pool, servers })
}
