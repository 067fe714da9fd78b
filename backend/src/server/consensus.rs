//! What the server needs of Raft, so that tests can do without it. Implemented by `raft::Handle` alone otherwise.

use std::{
    sync::{Arc, atomic::Ordering},
    time::Duration,
};

use futures_util::stream::{self, BoxStream};
use shared::query::Consistency;

use super::Server;
use crate::{
    raft::{self, Contact, Peer, Status},
    rpc::Error,
    rt::clock,
    store::{Command, Reply},
    telemetry,
};

/// How long to wait before asking again, when somebody leads but did not accept.
const RETRY: Duration = Duration::from_millis(25);

/// A change of the Raft configuration.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Change {
    /// Add a server without a vote.
    Add(Peer),
    /// Give it a vote.
    Promote(String),
    /// Take a server out.
    Remove(String),
    /// Note a new name or address.
    Move(Peer),
    /// Finish what a former leader left half done.
    Settle,
    /// Hand over leadership, to this server or to the best one.
    Transfer(Option<String>),
}

#[async_trait::async_trait]
pub(super) trait Consensus: Send + Sync {
    /// Ends within its own deadline.
    async fn propose(&self, command: Command) -> Result<(u64, Reply), raft::Error>;
    async fn confirm_leadership(&self, quorum: bool) -> Result<(), raft::Error>;
    async fn wait_for_leader(&self, longest: Duration) -> bool;
    fn status(&self) -> Status;
    /// Whether this server leads, as far as it knows.
    fn is_leader(&self) -> bool {
        self.status().role == "leader"
    }
    /// What it knows of its leader.
    fn contact(&self) -> Contact {
        let status = self.status();
        Contact { leader_known: status.leader.is_some(), last_ms: status.last_contact_ms }
    }
    /// What the disk said, once it failed.
    fn failure(&self) -> Option<String> {
        self.status().failure
    }
    /// Whether a default read may be answered here and now.
    fn leads(&self) -> bool;
    /// Whether this server may form a cluster.
    async fn is_pristine(&self) -> Result<bool, raft::Error>;
    async fn bootstrap(&self, peers: Vec<Peer>) -> Result<(), raft::Error>;
    async fn change(&self, change: Change) -> Result<(), raft::Error>;
    /// The snapshots kept here.
    async fn snapshots(&self) -> Result<raft::Snapshots, raft::Error>;
    /// Takes one now.
    async fn take_snapshot(&self) -> Result<raft::Snapshot, raft::Error>;
    /// One item whenever the leader or the configuration changed; the first may tell of a change before the call.
    fn changes(&self) -> BoxStream<'static, ()>;
}

#[async_trait::async_trait]
impl Consensus for raft::Handle {
    async fn propose(&self, command: Command) -> Result<(u64, Reply), raft::Error> {
        raft::Handle::propose(self, command).await
    }

    async fn confirm_leadership(&self, quorum: bool) -> Result<(), raft::Error> {
        raft::Handle::confirm_leadership(self, quorum).await
    }

    async fn wait_for_leader(&self, longest: Duration) -> bool {
        raft::Handle::wait_for_leader(self, longest).await
    }

    fn status(&self) -> Status {
        raft::Handle::status(self)
    }

    fn is_leader(&self) -> bool {
        raft::Handle::is_leader(self)
    }

    fn contact(&self) -> Contact {
        raft::Handle::contact(self)
    }

    fn failure(&self) -> Option<String> {
        raft::Handle::failure(self)
    }

    fn leads(&self) -> bool {
        raft::Handle::leads(self)
    }

    async fn is_pristine(&self) -> Result<bool, raft::Error> {
        raft::Handle::is_pristine(self).await
    }

    async fn bootstrap(&self, peers: Vec<Peer>) -> Result<(), raft::Error> {
        raft::Handle::bootstrap(self, peers).await
    }

    async fn change(&self, change: Change) -> Result<(), raft::Error> {
        match change {
            Change::Add(peer) => self.add_learner(&peer).await,
            Change::Promote(id) => self.promote(&id).await,
            Change::Remove(id) => self.remove(&id).await,
            Change::Settle => self.settle().await,
            Change::Move(peer) => self.set_address(&peer).await,
            Change::Transfer(to) => self.transfer_leader(to.as_deref()).await,
        }
    }

    async fn snapshots(&self) -> Result<raft::Snapshots, raft::Error> {
        raft::Handle::snapshots(self).await
    }

    async fn take_snapshot(&self) -> Result<raft::Snapshot, raft::Error> {
        raft::Handle::take_snapshot(self).await
    }

    fn changes(&self) -> BoxStream<'static, ()> {
        let next = async |mut handle: raft::Handle| {
            handle.changed().await;
            Some(((), handle))
        };
        Box::pin(stream::unfold(self.clone(), next))
    }
}

/// What a Raft error means to the caller.
pub(super) fn refusal(error: raft::Error) -> Error {
    match error {
        raft::Error::NoLeader | raft::Error::NotLeader { .. } => Error::NoLeader,
        raft::Error::Storage(reason) => Error::Refused(format!("raft storage: {reason}")),
        raft::Error::Stopped => Error::Stopping,
        raft::Error::Timeout => Error::Timeout,
        raft::Error::Lost => Error::Refused(error.to_string()),
        raft::Error::Refused(reason) => Error::Refused(reason),
    }
}

impl Server {
    /// Changes the Raft configuration, in a task of its own: a change that is dropped half-way would stay half done.
    pub(super) async fn change_raft(&self, change: Change) -> Result<(), raft::Error> {
        let raft = Arc::clone(&self.raft);
        let changing = self.runtime.tasks.spawn("raft change", async move { raft.change(change).await });
        // Ended in the midst of it.
        changing.await.unwrap_or(Err(raft::Error::Lost))
    }

    /// Tries until somebody leads, for at most `rpc_hold_timeout`.
    async fn hold<T, F>(&self, attempt: impl Fn() -> F) -> Result<T, Error>
    where
        F: Future<Output = Result<T, raft::Error>>,
    {
        let deadline = self.runtime.clock.now() + self.options.rpc_hold_timeout;
        loop {
            match attempt().await {
                Ok(value) => return Ok(value),
                // Somebody else leads: the call is passed on, or was passed on to the wrong server.
                Err(raft::Error::NotLeader { hint: Some(_) }) if self.options.rpc_pool.is_some() => return Err(Error::NoLeader),
                Err(raft::Error::NoLeader | raft::Error::NotLeader { .. }) => {}
                Err(error) => return Err(refusal(error)),
            }
            let left = deadline.saturating_duration_since(self.runtime.clock.now());
            if left.is_zero() || !self.raft.wait_for_leader(left).await {
                return Err(Error::NoLeader);
            }
            clock::sleep(RETRY.min(left)).await;
        }
    }

    /// Replicates a command; answers whether a conditional write was done.
    pub(super) async fn propose(&self, command: Command) -> Result<bool, Error> {
        let began = self.runtime.clock.now();
        let (_, reply) = self.hold(|| self.raft.propose(command.clone())).await?;
        let took = self.runtime.clock.now().saturating_duration_since(began);
        telemetry::metrics().timing("raft.commitTime", took);
        match &command {
            Command::Kv { .. } => telemetry::metrics().timing("kvs.apply", took),
            Command::Register { .. } => telemetry::metrics().timing("catalog.register", took),
            Command::Deregister { .. } => telemetry::metrics().timing("catalog.deregister", took),
            _ => {}
        }
        match reply {
            Reply::Done(done) => Ok(done),
            Reply::Refused(reason) => Err(Error::Refused(reason)),
        }
    }

    fn heard_a_leader(&self) -> bool {
        let contact = self.raft.contact();
        let heard = contact.leader_known || (!self.raft.is_leader() && contact.last_ms.is_some());
        heard || {
            // Its disk failed, but it took part before.
            let status = self.raft.status();
            status.failure.is_some() && status.applied_index > 0
        }
    }

    /// Makes sure that this server may answer a read as fresh as asked for.
    pub(super) async fn ensure_fresh(&self, consistency: Consistency) -> Result<(), Error> {
        match consistency {
            Consistency::Stale if self.ever_led.load(Ordering::Relaxed) || self.heard_a_leader() => {}
            Consistency::Stale => return Err(Error::NoLeader),
            Consistency::Default if self.raft.leads() => {}
            Consistency::Default => self.hold(|| self.raft.confirm_leadership(false)).await?,
            Consistency::Consistent => self.hold(|| self.raft.confirm_leadership(true)).await?,
        }
        self.ever_led.store(true, Ordering::Relaxed);
        Ok(())
    }
}
