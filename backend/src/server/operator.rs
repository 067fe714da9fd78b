//! What operators ask and change: the Raft configuration, autopilot, the gossip keys.
//!
//! Contract: HTTP API, section "Snapshot, operator".

use std::sync::PoisonError;

use shared::{
    gossip, operator as wire,
    query::Consistency,
    raft::{Raft, Server as Row},
};

use super::{Call, consensus::Change, consensus::refusal, leader::View};
use crate::{
    acl::Access,
    gossip::KeyringRequest,
    rpc::{Answer, Error, Keyring, RemovePeer, SetAutopilot, TransferLeader},
    store::Command,
};

fn may_read(call: Call<'_>) -> Result<(), Error> {
    if call.authorizer.allows(Access::OperatorRead) { Ok(()) } else { Err(Error::PermissionDenied) }
}

fn may_write(call: Call<'_>) -> Result<(), Error> {
    if call.authorizer.allows(Access::OperatorWrite) { Ok(()) } else { Err(Error::PermissionDenied) }
}

pub(super) async fn raft_configuration(call: Call<'_>) -> Result<Answer<wire::RaftConfiguration>, Error> {
    may_read(call)?;
    call.server.ensure_fresh(call.request.options.consistency).await?;
    let status = call.server.raft.status();
    let leader = status.leader.map(|peer| peer.id);
    let servers = status.peers.into_iter().map(|peer| wire::RaftServer {
        leader: leader.as_ref() == Some(&peer.id),
        id: peer.id,
        node: peer.name,
        address: peer.address,
        protocol_version: "3".to_owned(),
        voter: peer.voter,
    });
    Ok(call.answer(0, wire::RaftConfiguration { servers: servers.collect(), index: 0 }))
}

pub(super) async fn remove_peer(call: Call<'_>, asked: RemovePeer) -> Result<Answer<()>, Error> {
    may_write(call)?;
    let status = call.server.raft.status();
    let by_id = !asked.id.is_empty();
    let found = status.peers.iter().find(|peer| if by_id { peer.id == asked.id } else { peer.address == asked.address });
    let missing = || {
        let (what, which) = if by_id { ("id", &asked.id) } else { ("address", &asked.address) };
        Error::Refused(format!("{what} \"{which}\" was not found in the Raft configuration"))
    };
    let id = found.ok_or_else(missing)?.id.clone();
    call.server.change_raft(Change::Remove(id)).await.map_err(refusal)?;
    Ok(call.answer(0, ()))
}

pub(super) async fn transfer_leader(call: Call<'_>, asked: TransferLeader) -> Result<Answer<()>, Error> {
    may_write(call)?;
    let status = call.server.raft.status();
    if !asked.id.is_empty() && !status.peers.iter().any(|peer| peer.id == asked.id) {
        return Err(Error::Refused(format!("id \"{}\" was not found in the Raft configuration", asked.id)));
    }
    let to = Some(asked.id).filter(|id| !id.is_empty());
    call.server.change_raft(Change::Transfer(to)).await.map_err(refusal)?;
    Ok(call.answer(0, ()))
}

pub(super) async fn autopilot(call: Call<'_>) -> Result<Answer<wire::AutopilotConfiguration>, Error> {
    may_read(call)?;
    call.server.ensure_fresh(call.request.options.consistency).await?;
    Ok(call.answer(0, call.server.autopilot()))
}

pub(super) async fn set_autopilot(call: Call<'_>, asked: SetAutopilot) -> Result<Answer<bool>, Error> {
    may_write(call)?;
    let at_ms = call.server.runtime.clock.wall_ms();
    let command = Command::SetAutopilot { configuration: asked.configuration, cas: asked.cas, at_ms };
    let done = call.server.propose(command).await?;
    Ok(call.answer(0, done))
}

pub(super) async fn autopilot_health(call: Call<'_>) -> Result<Answer<wire::AutopilotHealth>, Error> {
    may_read(call)?;
    // Whatever was asked for: to others the rest is unknown.
    call.server.ensure_fresh(Consistency::Default).await?;
    Ok(call.answer(0, call.server.judge()))
}

pub(super) async fn raft(call: Call<'_>) -> Result<Answer<Raft>, Error> {
    may_read(call)?;
    // What this server knows of consensus is never worse than nothing, also when it has not heard of a leader since it started.
    if call.request.options.consistency != Consistency::Stale {
        call.server.ensure_fresh(call.request.options.consistency).await?;
    }
    let pool = match &call.server.gossip {
        Some(pool) => pool.detail().await,
        None => gossip::Pool::default(),
    };
    let (health, status) = (call.server.judge(), call.server.raft.status());
    let voters = status.peers.iter().filter(|peer| peer.voter).count();
    // While a change is half done, the larger majority is the one to have in mind.
    let quorum = status.voter_sets.iter().map(|voters| voters.len() / 2 + 1).max().unwrap_or(1);
    let leads = status.role == "leader";
    let now = call.server.runtime.clock.wall_ms();
    let stable = call.server.stable.lock().unwrap_or_else(PoisonError::into_inner).clone();
    let members = call.server.members.borrow().clone();
    let rows = health.servers.into_iter().map(|server| {
        let tolerated = health.failure_tolerance > 0 || !server.healthy || !server.voter;
        let tag = |name: &str| members.iter().find(|member| member.name == server.name).and_then(|member| member.tags.get(name)).cloned();
        // Of itself this server knows more than it told.
        let own = status.failure.clone().filter(|_| server.name == call.server.options.node_name);
        let contact_ms = status.replicas.iter().find(|replica| replica.id == server.id).and_then(|replica| replica.last_contact_ms);
        Row {
            role: if server.leader {
                "leader"
            } else if server.voter {
                "voter"
            } else {
                "non-voter"
            }
            .to_owned(),
            gossip_ms: pool.members.iter().find(|member| member.id == server.id).map_or(0, |member| member.since_ms),
            gossip: if server.serf_status == "none" { String::new() } else { server.serf_status },
            lag: if leads { status.last_index.saturating_sub(server.last_index) } else { 0 },
            last_contact_ms: contact_ms,
            stable_ms: stable.get(&server.id).map_or(0, |(_, _, since)| now.saturating_sub(*since)),
            can_be_lost: leads && tolerated && voters > 1,
            version: tag("muster").unwrap_or(server.version),
            failure: own.or_else(|| tag(shared::agent::FAILURE_TAG)).unwrap_or_default(),
            id: server.id,
            name: server.name,
            address: server.address,
            last_index: server.last_index,
            last_term: server.last_term,
            healthy: server.healthy,
        }
    });
    let raft = Raft {
        servers: rows.collect(),
        node: call.server.options.node_name.clone(),
        state: status.role,
        failure: status.failure.unwrap_or_default(),
        term: status.term,
        leader: status.leader.map(|peer| peer.id).unwrap_or_default(),
        last_index: status.last_index,
        commit_index: status.commit_index,
        applied_index: status.applied_index,
        snapshot_index: status.snapshot_index,
        quorum,
        failure_tolerance: health.failure_tolerance,
        elections: call.server.elections.lock().unwrap_or_else(PoisonError::into_inner).list(),
        now_ms: now,
    };
    Ok(call.answer(0, raft))
}

pub(super) async fn gossip(call: Call<'_>) -> Result<Answer<gossip::Pool>, Error> {
    may_read(call)?;
    let pool = call.server.gossip.as_ref().ok_or_else(|| Error::Refused("gossip is stopped".to_owned()))?;
    Ok(call.answer(0, pool.detail().await))
}

pub(super) async fn keyring(call: Call<'_>, asked: Keyring) -> Result<Answer<gossip::Keyring>, Error> {
    let access = if asked.verb == "list" { Access::KeyringRead } else { Access::KeyringWrite };
    if !call.authorizer.allows(access) {
        return Err(Error::PermissionDenied);
    }
    let request = match asked.verb.as_str() {
        "list" => KeyringRequest::List,
        "install" => KeyringRequest::Install(asked.key),
        "use" => KeyringRequest::Use(asked.key),
        "remove" => KeyringRequest::Remove(asked.key),
        other => return Err(Error::BadRequest(format!("unknown keyring operation {other:?}"))),
    };
    let pool = call.server.gossip.as_ref().ok_or_else(|| Error::Refused("gossip is stopped".to_owned()))?;
    Ok(call.answer(0, pool.keyring(request).await))
}

impl super::Server {
    /// The autopilot configuration in force.
    pub(super) fn autopilot(&self) -> wire::AutopilotConfiguration {
        self.store.state().autopilot.clone().map_or_else(|| self.options.autopilot.clone(), |stored| (*stored).clone())
    }

    /// Every server as this one, if it leads, judges it now.
    pub(super) fn judge(&self) -> wire::AutopilotHealth {
        let (status, members, configuration) = (self.raft.status(), self.members.borrow().clone(), self.autopilot());
        let view = View {
            status: &status,
            members: &members,
            datacenter: &self.options.datacenter,
            configuration: &configuration,
            now: self.runtime.clock.now(),
            wall_ms: self.runtime.clock.wall_ms(),
        };
        view.health(&mut self.stable.lock().unwrap_or_else(PoisonError::into_inner))
    }
}
