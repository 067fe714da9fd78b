//! Who belongs to the Raft configuration: forming a cluster, adding, promoting, removing and moving servers, handing over leadership.
//!
//! One change at a time; a change a quorum has not agreed on is never reported as done. Contract: cluster, section "Raft".

use std::{
    collections::{BTreeMap, BTreeSet},
    time::Duration,
};

use openraft::{
    ChangeMembers,
    async_runtime::watch::WatchReceiver as _,
    errors::{ClientWriteError, Fatal, RaftError},
};

use super::{
    Error, Peer,
    service::{Node, fatal, parse_id},
    types::{LogId, NodeId, Server, Types},
};
use crate::rt::clock;

/// How long a change may take: a quorum has to agree twice.
const CHANGE: Duration = Duration::from_secs(10);
/// How long it waits before it tries again when leadership is just being confirmed.
const CONFIRM: Duration = Duration::from_millis(10);
/// How long handing over leadership may take.
const TRANSFER: Duration = Duration::from_secs(5);

fn server(peer: &Peer) -> Server {
    Server { name: peer.name.clone(), address: peer.address.clone() }
}

/// The node ended while a change was under way, which others may have by now.
fn unfinished(error: Fatal<Types>) -> Error {
    match fatal(error) {
        Error::Stopped => Error::Lost,
        error => error,
    }
}

impl Node {
    /// Whether this server never took part in a cluster: no vote and no log.
    pub(super) async fn is_pristine(&self) -> Result<bool, Error> {
        Ok(!self.raft.is_initialized().await.map_err(fatal)?)
    }

    /// Forms a cluster of these servers, all voters. Every one of them has to be told the same.
    pub(super) async fn bootstrap(&self, peers: Vec<Peer>) -> Result<(), Error> {
        let members = peers.iter().map(|peer| Ok((parse_id(&peer.id)?, server(peer)))).collect::<Result<BTreeMap<_, _>, Error>>()?;
        match self.raft.initialize(members).await {
            // Somebody else was quicker and already told this one.
            Ok(()) | Err(RaftError::APIError(openraft::errors::InitializeError::NotAllowed(_))) => Ok(()),
            Err(RaftError::APIError(error)) => Err(Error::Refused(error.to_string())),
            Err(RaftError::Fatal(error)) => Err(fatal(error)),
        }
    }

    async fn change(&self, change: ChangeMembers<NodeId, Server>) -> Result<(), Error> {
        // Without `retain` a removed voter goes for good.
        self.change_retaining(change, false).await
    }

    async fn change_retaining(&self, change: ChangeMembers<NodeId, Server>, retain: bool) -> Result<(), Error> {
        let deadline = clock::Instant::now() + CHANGE;
        let changed = clock::timeout(CHANGE, self.raft.change_membership(change, retain)).await.map_err(|_| Error::Timeout)?;
        match changed {
            Ok(written) => {
                // It is done; whoever asks next is to see it.
                let shown = self.shown(Some(written.log_id));
                drop(clock::timeout(deadline.saturating_duration_since(clock::Instant::now()), shown).await);
                Ok(())
            }
            Err(RaftError::APIError(ClientWriteError::ForwardToLeader(to))) => Err(self.elsewhere(to)),
            Err(RaftError::APIError(error)) => Err(Error::Refused(error.to_string())),
            Err(RaftError::Fatal(error)) => Err(unfinished(error)),
        }
    }

    /// Waits until the configuration that is agreed on, as this server shows it, is as new as this entry.
    async fn shown(&self, entry: Option<LogId>) {
        let mut metrics = self.metrics.clone();
        loop {
            let agreed = *metrics.borrow_watched().committed_membership_config.log_id();
            if agreed >= entry || metrics.changed().await.is_err() {
                return;
            }
        }
    }

    /// Adds a server that does not vote; it is brought up to date in the background.
    pub(super) async fn add_learner(&self, peer: &Peer) -> Result<(), Error> {
        self.change(ChangeMembers::AddNodes(BTreeMap::from([(parse_id(&peer.id)?, server(peer))]))).await
    }

    /// Makes a server vote.
    pub(super) async fn promote(&self, id: &str) -> Result<(), Error> {
        self.change(ChangeMembers::AddVoterIds(BTreeSet::from([parse_id(id)?]))).await
    }

    /// Takes a server's vote away; it stays and is kept up to date.
    pub(super) async fn demote(&self, id: &str) -> Result<(), Error> {
        let id = parse_id(id)?;
        let voters = self.voters();
        if voters == [id] {
            return Err(Error::Refused("the only voter cannot be demoted".to_owned()));
        }
        // With `retain` the removed voter stays as a learner.
        self.change_retaining(ChangeMembers::RemoveVoters(BTreeSet::from([id])), true).await
    }

    /// Takes a server out of the configuration.
    pub(super) async fn remove(&self, id: &str) -> Result<(), Error> {
        let id = parse_id(id)?;
        let voters = self.voters();
        if voters == [id] {
            return Err(Error::Refused("the only voter cannot be removed".to_owned()));
        }
        let ids = BTreeSet::from([id]);
        if voters.contains(&id) {
            self.change(ChangeMembers::RemoveVoters(ids)).await
        } else {
            self.change(ChangeMembers::RemoveNodes(ids)).await
        }
    }

    /// Finishes a change that a former leader began: while it is half done both the old and the new voters have to agree.
    pub(super) async fn settle(&self) -> Result<(), Error> {
        let (half_done, entry) = {
            let metrics = self.metrics.borrow_watched();
            let configs = metrics.membership_config.membership().get_joint_config();
            (configs.last().filter(|_| configs.len() > 1).cloned(), *metrics.membership_config.log_id())
        };
        let Some(voters) = half_done else { return Ok(()) };
        // The next step is refused before the first one is agreed on, which a new leader brings about by itself.
        clock::timeout(CHANGE, self.shown(entry)).await.map_err(|_| Error::Timeout)?;
        tracing::info!("finishing a change of the raft configuration that was half done");
        let deadline = clock::Instant::now() + CHANGE;
        loop {
            match self.change(ChangeMembers::ReplaceAllVoters(voters.clone())).await {
                // Just elected: the others have not confirmed it yet.
                Err(Error::NoLeader | Error::NotLeader { .. }) if self.is_leader() && clock::Instant::now() < deadline => {
                    clock::sleep(CONFIRM).await;
                }
                Err(error) => return Err(error),
                Ok(()) => {
                    tracing::info!("the change of the raft configuration is finished");
                    return Ok(());
                }
            }
        }
    }

    /// Notes a server's new name or address.
    pub(super) async fn set_address(&self, peer: &Peer) -> Result<(), Error> {
        self.change(ChangeMembers::SetNodes(BTreeMap::from([(parse_id(&peer.id)?, server(peer))]))).await
    }

    /// Hands leadership to a server, or without one to the voter that is most up to date; returns once this one leads no more.
    pub(super) async fn transfer_leader(&self, to: Option<&str>) -> Result<(), Error> {
        if !self.is_leader() {
            return Err(self.not_leader());
        }
        let target = match to {
            Some(id) => parse_id(id)?,
            None => self.best_successor().ok_or_else(|| Error::Refused("cannot find peer".to_owned()))?,
        };
        if target == self.id || !self.voters().contains(&target) {
            return Err(Error::Refused(format!("{target} is not another voter")));
        }
        // From here on the next leader may be elected within this one's lease.
        self.yield_lease();
        self.raft.trigger().transfer_leader(target).await.map_err(fatal)?;
        let mut metrics = self.metrics.clone();
        let done = async {
            while self.is_leader() {
                if metrics.changed().await.is_err() {
                    return;
                }
            }
        };
        clock::timeout(TRANSFER, done).await.map_err(|_| Error::Timeout)
    }

    fn best_successor(&self) -> Option<NodeId> {
        let metrics = self.metrics.borrow_watched();
        let matched = metrics.replication.as_ref()?;
        let voters = metrics.membership_config.membership().voter_ids();
        voters.filter(|id| *id != self.id).max_by_key(|id| matched.get(id).cloned().flatten().map_or(0, |log| log.index() + 1))
    }

    pub(super) fn voters(&self) -> Vec<NodeId> {
        self.metrics.borrow_watched().membership_config.membership().voter_ids().collect()
    }

    fn not_leader(&self) -> Error {
        let metrics = self.metrics.borrow_watched();
        let leader = metrics.current_leader.filter(|id| *id != self.id);
        let address = |id: NodeId| metrics.membership_config.membership().get_node(&id).map(|server| server.address.clone());
        match leader {
            Some(id) => Error::NotLeader { hint: address(id) },
            None => Error::NoLeader,
        }
    }
}
