//! Raft's messages over the RPC pool. A server's address is what gossip says now; the one in the Raft configuration is only used
//! for a server gossip does not know, so that a server that moved is found.

use std::{net::SocketAddr, sync::Arc};

use crate::{
    raft::{self, Lane, Peer, TransportError},
    rpc,
    rt::chunks::Chunks,
};

/// The sending side.
pub(super) struct Transport {
    pub(super) pool: rpc::Pool,
    pub(super) servers: rpc::Servers,
}

impl Transport {
    fn address(&self, peer: &Peer) -> Result<SocketAddr, TransportError> {
        self.servers
            .address_of(&peer.id, &peer.address)
            .ok_or_else(|| TransportError::Unreachable(format!("{:?} is no address", peer.address)))
    }
}

/// Its number on the wire.
fn number(lane: Lane) -> u8 {
    match lane {
        Lane::Heartbeat => 0,
        Lane::Log => 1,
        Lane::Snapshot => 2,
    }
}

fn failed(error: rpc::Failure) -> TransportError {
    match error {
        rpc::Failure::NotSent(why) => TransportError::Unreachable(why),
        // Somebody else is there, or no server, or a release that does not understand.
        rpc::Failure::Answered(why) => TransportError::Unreachable(why.to_string()),
        other => TransportError::Broken(other.to_string()),
    }
}

#[async_trait::async_trait]
impl raft::Transport for Transport {
    async fn call(&self, peer: &Peer, lane: Lane, message: Vec<u8>) -> Result<Vec<u8>, TransportError> {
        self.pool.raft(self.address(peer)?, number(lane), &peer.id, message).await.map_err(failed)
    }

    async fn send_snapshot(&self, peer: &Peer, offer: Vec<u8>, contents: Chunks) -> Result<Vec<u8>, TransportError> {
        self.pool.raft_snapshot(self.address(peer)?, number(Lane::Snapshot), &peer.id, &offer, contents).await.map_err(failed)
    }
}

/// The receiving side.
pub(super) struct Receiver {
    pub(super) raft: raft::Handle,
    /// UUID of this server.
    pub(super) id: String,
}

#[async_trait::async_trait]
impl rpc::RaftReceiver for Receiver {
    fn id(&self) -> &str {
        &self.id
    }

    async fn receive(&self, message: &[u8]) -> Vec<u8> {
        self.raft.receive(message).await
    }

    async fn receive_snapshot(&self, offer: &[u8], contents: Chunks) -> Vec<u8> {
        self.raft.receive_snapshot(offer, contents).await
    }
}

/// Both sides of a server.
pub(super) fn sending(pool: rpc::Pool, servers: rpc::Servers) -> Arc<Transport> {
    Arc::new(Transport { pool, servers })
}
