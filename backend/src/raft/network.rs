//! From openraft's requests to messages over a [`Transport`], and back. Knows no sockets.

use std::{sync::Arc, time::Duration};

use openraft::{
    OptionalSend,
    errors::{NetworkError, RPCError, ReplicationClosed, StreamingError, Unreachable},
    network::{Backoff, RPCOption, RaftNetworkFactory, v2::RaftNetworkV2},
    raft::{
        AppendEntriesRequest, AppendEntriesResponse, SnapshotResponse, TransferLeaderRequest, TransferLeaderResponse, VoteRequest,
        VoteResponse,
    },
};
use serde::{Deserialize, Serialize};

use super::{
    Peer, codec,
    snapshot::{self, Image},
    types::{NodeId, Raft, Server, Snapshot, SnapshotMeta, Types, Vote},
};
use crate::rt::clock;

/// Which of a peer's connections carries a message, so that one kind never waits for another.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Lane {
    /// Heartbeats and votes: small and urgent.
    Heartbeat,
    /// Log entries.
    Log,
    /// Snapshots: large and patient.
    Snapshot,
}

/// Why a message got no answer.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum TransportError {
    /// The peer cannot be reached; try again later.
    #[error("unreachable: {0}")]
    Unreachable(String),
    /// The connection broke or the peer could not answer; try again at once.
    #[error("{0}")]
    Broken(String),
}

/// Carries messages between servers; plugged in by `agent`. The peer's side hands them to [`super::Handle::receive`].
#[async_trait::async_trait]
pub trait Transport: Send + Sync + 'static {
    /// Sends a message and waits for the answer. The caller sets the deadline by dropping the future.
    ///
    /// # Errors
    /// The peer cannot be reached or did not answer.
    async fn call(&self, peer: &Peer, lane: Lane, message: Vec<u8>) -> Result<Vec<u8>, TransportError>;
}

/// The transport of a server that has nobody to talk to.
pub(super) struct Alone;

#[async_trait::async_trait]
impl Transport for Alone {
    async fn call(&self, peer: &Peer, _lane: Lane, _message: Vec<u8>) -> Result<Vec<u8>, TransportError> {
        Err(TransportError::Unreachable(format!("no transport to {}", peer.address)))
    }
}

/// How long one message with log entries may take: more than a slow disk flush, far more than a heartbeat.
const APPEND_DEADLINE: Duration = Duration::from_secs(1);

#[derive(Serialize, Deserialize)]
#[serde(bound = "")]
enum Message {
    Append(AppendEntriesRequest<Types>),
    Vote(VoteRequest<Types>),
    PreVote(VoteRequest<Types>),
    Snapshot { vote: Vote, meta: SnapshotMeta, image: bytes::Bytes },
    TransferLeader(TransferLeaderRequest<Types>),
}

#[derive(Serialize, Deserialize)]
#[serde(bound = "")]
enum Answer {
    Append(AppendEntriesResponse<Types>),
    Vote(VoteResponse<Types>),
    Snapshot(SnapshotResponse<Types>),
    TransferLeader(TransferLeaderResponse<Types>),
    Failed(String),
}

/// The answer to a message.
pub(super) struct Answered {
    /// What is sent back.
    pub(super) bytes: Vec<u8>,
    /// Whether the message was one of a leader that this server follows.
    pub(super) of_leader: bool,
}

/// Answers a message of another server.
pub(super) async fn answer(raft: &Raft, message: &[u8]) -> Answered {
    let answer = match codec::decode(message) {
        Ok(message) => handle(raft, message).await.unwrap_or_else(Answer::Failed),
        Err(error) => Answer::Failed(format!("bad message: {error}")),
    };
    let of_leader = match &answer {
        Answer::Append(response) => !matches!(response, AppendEntriesResponse::HigherVote(_)),
        Answer::Snapshot(_) => true,
        _ => false,
    };
    // An answer is plain numbers and strings, which msgpack can always write; an empty answer reads as a failure.
    Answered { bytes: codec::encode(&answer).unwrap_or_default(), of_leader }
}

async fn handle(raft: &Raft, message: Message) -> Result<Answer, String> {
    let text = |error: &dyn std::fmt::Display| error.to_string();
    Ok(match message {
        Message::Append(request) => Answer::Append(raft.append_entries(request).await.map_err(|e| text(&e))?),
        Message::Vote(request) => Answer::Vote(raft.vote(request).await.map_err(|e| text(&e))?),
        Message::PreVote(request) => Answer::Vote(raft.pre_vote(request).await.map_err(|e| text(&e))?),
        Message::Snapshot { vote, meta, image } => {
            let snapshot = snapshot::unpack(&image).map_err(|e| text(&e))?;
            Answer::Snapshot(raft.install_full_snapshot(vote, Snapshot { meta, snapshot }).await.map_err(|e| text(&e))?)
        }
        Message::TransferLeader(request) => Answer::TransferLeader(raft.handle_transfer_leader(request).await.map_err(|e| text(&e))?),
    })
}

/// Makes one [`Link`] a peer and purpose.
pub(super) struct Network(pub(super) Arc<dyn Transport>);

impl Network {
    fn link(&self, id: NodeId, server: &Server, lane: Lane) -> Link {
        let peer = Peer { id: id.to_string(), name: server.name.clone(), address: server.address.clone(), voter: true };
        Link { transport: self.0.clone(), peer, lane }
    }
}

impl RaftNetworkFactory<Types> for Network {
    type Network = Link;

    async fn new_client(&mut self, target: NodeId, node: &Server) -> Link {
        self.link(target, node, Lane::Log)
    }

    async fn new_heartbeat_client(&mut self, target: NodeId, node: &Server) -> Link {
        self.link(target, node, Lane::Heartbeat)
    }

    async fn new_snapshot_client(&mut self, target: NodeId, node: &Server) -> Link {
        self.link(target, node, Lane::Snapshot)
    }
}

/// One peer, one lane.
pub(super) struct Link {
    transport: Arc<dyn Transport>,
    peer: Peer,
    lane: Lane,
}

impl Link {
    async fn call(&self, lane: Lane, message: &Message, longest: Duration) -> Result<Answer, RPCError<Types>> {
        let broken = |reason: String| RPCError::Network(NetworkError::from_string(reason));
        let message = codec::encode(message).map_err(|error| broken(error.to_string()))?;
        match clock::timeout(longest, self.transport.call(&self.peer, lane, message)).await {
            Ok(Ok(answer)) => match codec::decode(&answer) {
                Ok(Answer::Failed(reason)) => Err(broken(format!("{}: {reason}", self.peer.name))),
                Ok(answer) => Ok(answer),
                Err(error) => Err(broken(format!("bad answer of {}: {error}", self.peer.name))),
            },
            Ok(Err(TransportError::Broken(reason))) => Err(broken(reason)),
            Ok(Err(TransportError::Unreachable(reason))) => Err(RPCError::Unreachable(Unreachable::from_string(reason))),
            Err(_) => Err(broken(format!("{} did not answer within {longest:?}", self.peer.name))),
        }
    }

    fn unexpected(&self) -> RPCError<Types> {
        RPCError::Network(NetworkError::from_string(format!("{} answered another question", self.peer.name)))
    }
}

impl RaftNetworkV2<Types> for Link {
    type SnapshotData = Image;

    async fn append_entries(
        &mut self,
        request: AppendEntriesRequest<Types>,
        _option: RPCOption,
    ) -> Result<AppendEntriesResponse<Types>, RPCError<Types>> {
        match self.call(self.lane, &Message::Append(request), APPEND_DEADLINE).await? {
            Answer::Append(response) => Ok(response),
            _ => Err(self.unexpected()),
        }
    }

    async fn vote(&mut self, request: VoteRequest<Types>, option: RPCOption) -> Result<VoteResponse<Types>, RPCError<Types>> {
        match self.call(Lane::Heartbeat, &Message::Vote(request), option.hard_ttl()).await? {
            Answer::Vote(response) => Ok(response),
            _ => Err(self.unexpected()),
        }
    }

    async fn pre_vote(&mut self, request: VoteRequest<Types>, option: RPCOption) -> Result<VoteResponse<Types>, RPCError<Types>> {
        match self.call(Lane::Heartbeat, &Message::PreVote(request), option.hard_ttl()).await? {
            Answer::Vote(response) => Ok(response),
            _ => Err(self.unexpected()),
        }
    }

    async fn full_snapshot(
        &mut self,
        vote: Vote,
        snapshot: Snapshot,
        cancel: impl Future<Output = ReplicationClosed> + OptionalSend + 'static,
        option: RPCOption,
    ) -> Result<SnapshotResponse<Types>, StreamingError<Types>> {
        let image = snapshot::pack(&snapshot.snapshot).map_err(|error| StreamingError::Network(NetworkError::new(&error)))?;
        let message = Message::Snapshot { vote, meta: snapshot.meta, image: image.into() };
        let answer = tokio::select! {
            biased;
            closed = cancel => return Err(StreamingError::Closed(closed)),
            answer = self.call(Lane::Snapshot, &message, option.hard_ttl()) => answer,
        };
        match answer {
            Ok(Answer::Snapshot(response)) => Ok(response),
            Ok(_) => Err(StreamingError::Network(NetworkError::from_string(format!("{} answered another question", self.peer.name)))),
            Err(RPCError::Unreachable(error)) => Err(StreamingError::Unreachable(error)),
            Err(error) => Err(StreamingError::Network(NetworkError::from_string(error))),
        }
    }

    async fn transfer_leader(
        &mut self,
        request: TransferLeaderRequest<Types>,
        option: RPCOption,
    ) -> Result<TransferLeaderResponse<Types>, RPCError<Types>> {
        match self.call(Lane::Heartbeat, &Message::TransferLeader(request), option.hard_ttl()).await? {
            Answer::TransferLeader(response) => Ok(response),
            _ => Err(self.unexpected()),
        }
    }

    fn backoff(&self) -> Option<Backoff> {
        None
    }
}
