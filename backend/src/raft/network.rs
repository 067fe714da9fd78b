//! From openraft's requests to messages over a [`Transport`], and back. Knows no sockets.

use std::{sync::Arc, time::Duration};

use openraft::{
    Instant as _, OptionalSend,
    errors::{NetworkError, RPCError, RaftError, ReplicationClosed, StreamingError, Unreachable},
    network::{Backoff, RPCOption, RaftNetworkFactory, v2::RaftNetworkV2},
    raft::{
        AppendEntriesRequest, AppendEntriesResponse, SnapshotResponse, TransferLeaderRequest, TransferLeaderResponse, VoteRequest,
        VoteResponse,
    },
    type_config::alias::InstantOf,
};
use serde::{Deserialize, Serialize};

use super::{
    Peer, codec, logged,
    snapshot::{self, Head, Image},
    types::{NodeId, Raft, Server, Snapshot, Types, Vote},
};
use crate::rt::{
    Tasks,
    chunks::{self, Chunks},
    clock,
};

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

/// Carries messages between servers; plugged in by `agent`. The peer's side hands them to [`super::Handle::receive`] and
/// [`super::Handle::receive_snapshot`].
#[async_trait::async_trait]
pub trait Transport: Send + Sync + 'static {
    /// Sends a message and waits for the answer. The caller sets the deadline by dropping the future.
    ///
    /// # Errors
    /// The peer cannot be reached or did not answer.
    async fn call(&self, peer: &Peer, lane: Lane, message: Vec<u8>) -> Result<Vec<u8>, TransportError>;

    /// Sends a snapshot on its lane, however large it is: first `offer`, which says what it is, then its contents as they come. An
    /// error among them has to reach the peer as one. Otherwise as [`Transport::call`], but who sends has patience for as long as a large
    /// one takes to be installed: a peer that is not heard any more has to be noticed here, within seconds.
    ///
    /// # Errors
    /// As for [`Transport::call`].
    async fn send_snapshot(&self, peer: &Peer, offer: Vec<u8>, contents: Chunks) -> Result<Vec<u8>, TransportError>;
}

/// The transport of a server that has nobody to talk to.
pub(super) struct Alone;

#[async_trait::async_trait]
impl Transport for Alone {
    async fn call(&self, peer: &Peer, _lane: Lane, _message: Vec<u8>) -> Result<Vec<u8>, TransportError> {
        Err(TransportError::Unreachable(format!("no transport to {}", peer.address)))
    }

    async fn send_snapshot(&self, peer: &Peer, _offer: Vec<u8>, _contents: Chunks) -> Result<Vec<u8>, TransportError> {
        Err(TransportError::Unreachable(format!("no transport to {}", peer.address)))
    }
}

/// How long one message with log entries may take: more than a slow disk flush, far more than a heartbeat.
const APPEND_DEADLINE: Duration = Duration::from_secs(1);

/// How long a snapshot may stand still on its way.
pub(super) const SNAPSHOT_STALL: Duration = Duration::from_secs(30);
/// How long a peer may take to flush and install a snapshot it has received.
const SNAPSHOT_INSTALL: Duration = Duration::from_secs(300);

#[derive(Serialize, Deserialize)]
#[serde(bound = "")]
#[cfg_attr(test, derive(Debug))]
pub(super) enum Message {
    Append(AppendEntriesRequest<Types>),
    Vote(VoteRequest<Types>),
    PreVote(VoteRequest<Types>),
    TransferLeader(TransferLeaderRequest<Types>),
}

/// What comes before the contents of a snapshot.
#[derive(Serialize, Deserialize)]
#[serde(bound = "")]
#[cfg_attr(test, derive(Debug))]
pub(super) struct Offer {
    /// Of the leader that sends it.
    pub(super) vote: Vote,
    /// What it is.
    pub(super) head: Head,
}

#[derive(Serialize, Deserialize)]
#[serde(bound = "")]
#[cfg_attr(test, derive(Debug))]
pub(super) enum Answer {
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
    /// Why this server cannot go on: a later release wrote what this one does not know.
    pub(super) outdated: Option<String>,
}

/// Answers a message of another server.
pub(super) async fn answer(raft: &Raft, message: &[u8]) -> Answered {
    let mut outdated = None;
    let answer = match codec::decode(message) {
        Ok(message) => handle(raft, message).await.unwrap_or_else(Answer::Failed),
        Err(error) => {
            outdated = Some(error.to_string()).filter(|error| logged::is_from_the_future(error));
            Answer::Failed(format!("bad message: {error}"))
        }
    };
    let of_leader = match &answer {
        Answer::Append(response) => !matches!(response, AppendEntriesResponse::HigherVote(_)),
        _ => false,
    };
    // An answer is plain numbers and strings, which msgpack can always write; an empty answer reads as a failure.
    Answered { bytes: codec::encode(&answer).unwrap_or_default(), of_leader, outdated }
}

async fn handle(raft: &Raft, message: Message) -> Result<Answer, String> {
    let text = |error: &dyn std::fmt::Display| error.to_string();
    Ok(match message {
        Message::Append(request) => Answer::Append(append(raft, request).await.map_err(|e| text(&e))?),
        Message::Vote(request) => Answer::Vote(raft.vote(request).await.map_err(|e| text(&e))?),
        Message::PreVote(request) => Answer::Vote(raft.pre_vote(request).await.map_err(|e| text(&e))?),
        Message::TransferLeader(request) => Answer::TransferLeader(raft.handle_transfer_leader(request).await.map_err(|e| text(&e))?),
    })
}

/// Takes what a leader sends. openraft holds every answer back until all that was accepted before is on disk. A heartbeat says nothing about
/// entries that are still on their way there: held back, too, it would tell the leader that this server is lost whenever its disk is busy.
async fn append(raft: &Raft, request: AppendEntriesRequest<Types>) -> Result<AppendEntriesResponse<Types>, RaftError<Types>> {
    if !request.entries.is_empty() {
        return raft.append_entries(request).await;
    }
    let (began, vote, before) = (InstantOf::<Types>::now(), request.vote, request.prev_log_id);
    let mut answer = std::pin::pin!(raft.append_entries(request));
    // The core takes one after the other: asked next, it has renewed the leader's lease.
    // Not by `with_raft_state`, which logs an error whenever the answer comes first.
    let (tell, told) = tokio::sync::oneshot::channel();
    let asking = raft.external_request(move |state| {
        let _ = tell.send(*state.vote_ref() == vote && state.vote_last_modified() >= Some(began));
    });
    let is_taken = async { asking.await.is_ok() && told.await.unwrap_or(false) };
    let is_taken = tokio::select! {
        biased;
        answer = answer.as_mut() => return answer,
        is_taken = is_taken => is_taken,
    };
    // What this leader has flushed here reaches as far as the heartbeat builds on, so that the answer claims nothing that is not on disk.
    let flushed = raft.watch_log_progress().get().is_some_and(|flushed| flushed.vote == vote && flushed.last_log_id >= before);
    if is_taken && flushed { Ok(AppendEntriesResponse::Success) } else { answer.await }
}

/// The answer to a snapshot: this server's vote, or why it was not taken.
pub(super) fn answer_snapshot(taken: Result<Vote, String>) -> Vec<u8> {
    let answer = taken.map_or_else(Answer::Failed, |vote| Answer::Snapshot(SnapshotResponse::new(vote)));
    codec::encode(&answer).unwrap_or_default()
}

/// Makes one [`Link`] a peer and purpose.
pub(super) struct Network {
    pub(super) transport: Arc<dyn Transport>,
    pub(super) tasks: Tasks,
}

impl Network {
    fn link(&self, id: NodeId, server: &Server, lane: Lane) -> Link {
        let peer = Peer { id: id.to_string(), name: server.name.clone(), address: server.address.clone(), voter: true };
        Link { transport: self.transport.clone(), tasks: self.tasks.clone(), peer, lane }
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
    tasks: Tasks,
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

    /// Sends a snapshot. Gives up when the peer takes nothing for a while, or does not answer once it has everything.
    async fn send_snapshot(&self, vote: Vote, image: &Image) -> Result<SnapshotResponse<Types>, String> {
        let offer = codec::encode(&Offer { vote, head: image.head.clone() }).map_err(|error| error.to_string())?;
        let (to, contents) = chunks::channel();
        let answer = tokio::select! {
            biased;
            answer = self.transport.send_snapshot(&self.peer, offer, contents) => answer.map_err(|error| error.to_string())?,
            () = pump(snapshot::send(image, &self.tasks), to) => return Err(format!("{} takes no more of it", self.peer.name)),
        };
        match codec::decode(&answer) {
            Ok(Answer::Snapshot(response)) => Ok(response),
            Ok(Answer::Failed(reason)) => Err(format!("{}: {reason}", self.peer.name)),
            Ok(_) => Err(format!("{} answered another question", self.peer.name)),
            Err(error) => Err(format!("bad answer of {}: {error}", self.peer.name)),
        }
    }

    fn unexpected(&self) -> RPCError<Types> {
        RPCError::Network(NetworkError::from_string(format!("{} answered another question", self.peer.name)))
    }
}

/// Passes pieces on until all are taken and too long has passed without an answer, or until nobody takes the next one for too long.
async fn pump(mut from: Chunks, to: chunks::Sender) {
    while let Some(piece) = from.recv().await {
        match clock::timeout(SNAPSHOT_STALL, to.send(piece)).await {
            Ok(Ok(())) => {}
            // The peer wants no more of it: its answer says why.
            Ok(Err(_)) => break,
            Err(_) => return,
        }
    }
    drop(to);
    clock::sleep(SNAPSHOT_INSTALL).await;
}

impl RaftNetworkV2<Types> for Link {
    type SnapshotData = Image;

    async fn append_entries(
        &mut self,
        request: AppendEntriesRequest<Types>,
        _option: RPCOption,
    ) -> Result<AppendEntriesResponse<Types>, RPCError<Types>> {
        // A heartbeat builds on what its target has acknowledged.
        let acknowledged = request.prev_log_id.filter(|_| matches!(self.lane, Lane::Heartbeat)).map(|id| id.index());
        match self.call(self.lane, &Message::Append(request), APPEND_DEADLINE).await? {
            Answer::Append(response) => {
                if let (AppendEntriesResponse::Conflict, Some(index)) = (&response, acknowledged) {
                    tracing::error!(
                        server = self.peer.name,
                        index,
                        "a server lost log entries that it had acknowledged: was its disk wiped, or put back to an older copy? It is brought \
                         up to date; without its disk it had better come back with a new node id"
                    );
                }
                Ok(response)
            }
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
        _option: RPCOption,
    ) -> Result<SnapshotResponse<Types>, StreamingError<Types>> {
        let image = snapshot.snapshot;
        tracing::info!(to = self.peer.name, index = image.head.place().1, bytes = image.head.size_bytes, "sending a snapshot");
        let answer = tokio::select! {
            biased;
            closed = cancel => return Err(StreamingError::Closed(closed)),
            answer = self.send_snapshot(vote, &image) => answer,
        };
        // A pause before it is tried again, whatever went wrong: there is a lot to send.
        answer.map_err(|reason| {
            tracing::warn!(to = self.peer.name, reason, "a snapshot did not arrive, it is sent again");
            StreamingError::Unreachable(Unreachable::from_string(reason))
        })
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
