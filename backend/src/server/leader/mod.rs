//! What only the leader does: keep the catalog in step with the gossip pool, forget old removals and transitions.
//!
//! Contract: cluster, section Leader duties. Ends within the moment leadership does.

mod autopilot;
mod reconcile;

use std::{
    sync::{Arc, PoisonError},
    time::Duration,
};

use futures_util::{
    StreamExt as _,
    stream::{BoxStream, Fuse},
};
use shared::{
    agent::status,
    changes::{Change, Kind, Topic},
};

pub(super) use autopilot::{Stable, View};

use super::{Server, consensus, formation};
use crate::{
    raft,
    rpc::Error,
    rt::clock,
    store::{AGE_MS_MAX, Command},
    telemetry,
};

/// How long a removal of a key is remembered, milliseconds.
const TOMBSTONE_MS: u64 = 15 * 60_000;
/// How often old removals and transitions are looked for.
const REAP_INTERVAL: Duration = Duration::from_secs(30);
/// How often servers are judged, and how often the Raft configuration is compared with the pool.
const AUTOPILOT: (Duration, u32) = (Duration::from_secs(2), 5);
/// Changes of the Raft configuration tried in one pass, at most.
const STEPS_MAX: usize = 16;
/// How often it is looked who leads, beside every change: silence alone changes nothing.
const LOOK: Duration = Duration::from_secs(1);
/// How often it is said that nobody leads.
const LEADERLESS: Duration = Duration::from_secs(30);
/// How long to wait after a duty failed.
const RETRY: Duration = Duration::from_secs(1);

/// Does the duties whenever this server leads, until shutdown.
pub(super) async fn run(server: &Arc<Server>) {
    let shutdown = server.runtime.tasks.shutdown();
    let mut told = Told::default();
    let mut changes = server.raft.changes().fuse();
    while !shutdown.is_requested() {
        let status = look(server, &mut told);
        if status.role == "leader" {
            let deposed = async {
                // The configuration may change many times while this server leads on.
                loop {
                    await_change(&mut changes).await;
                    let now = look(server, &mut told);
                    if now.role != "leader" || now.term != status.term {
                        return;
                    }
                }
            };
            tokio::select! {
                biased;
                () = shutdown.requested() => return,
                () = deposed => {}
                () = lead(server) => {}
            }
        } else {
            tokio::select! {
                biased;
                () = shutdown.requested() => return,
                () = await_change(&mut changes) => {}
            }
        }
    }
}

/// Waits for a change of the leader or the configuration, or until it is time to look again.
async fn await_change(changes: &mut Fuse<BoxStream<'static, ()>>) {
    tokio::select! {
        Some(()) = changes.next() => {}
        () = clock::sleep(LOOK) => {}
    }
}

/// What is known to the change streams and to whoever reads the log.
#[derive(Default)]
struct Told {
    /// The leader and the servers.
    servers: String,
    /// Since when no leader is heard, and when that was said last.
    leaderless: Option<(clock::Instant, Option<clock::Instant>)>,
}

/// Looks who leads and which servers there are, and tells what changed.
fn look(server: &Server, told: &mut Told) -> raft::Status {
    let status = server.raft.status();
    let now = format!("{:?} {:?}", status.leader, status.peers);
    let is_new = server.elections.lock().unwrap_or_else(PoisonError::into_inner).note(&status, server.runtime.clock.wall_ms());
    log_leadership(server, &status, is_new, told);
    if now != told.servers {
        told.servers = now;
        announce(server);
    }
    status
}

/// Who leads, in the words operators know; that nobody does again and again, with what is missing.
fn log_leadership(server: &Server, status: &raft::Status, is_new: bool, told: &mut Told) {
    if let Some(leader) = &status.leader {
        if is_new && leader.id == server.options.node_id {
            tracing::info!(term = status.term, "cluster leadership acquired");
        }
        if is_new {
            tracing::info!(payload = leader.name, term = status.term, "New leader elected");
        }
        told.leaderless = None;
        return;
    }
    if status.peers.is_empty() {
        return;
    }
    let now = server.runtime.clock.now();
    let (since, said) = told.leaderless.get_or_insert((now, None));
    let silence = now.saturating_duration_since(*since);
    match said {
        // An election or a transfer takes less.
        None if silence < LOOK => return,
        Some(said) if now.saturating_duration_since(*said) < LEADERLESS => return,
        said => *said = Some(now),
    }
    let members = server.members.borrow().clone();
    let alive = |peer: &&raft::Peer| {
        members.iter().any(|member| member.status == status::ALIVE && member.tags.get("id").is_some_and(|id| *id == peer.id))
    };
    let voters: Vec<&raft::Peer> = status.peers.iter().filter(|peer| peer.voter).collect();
    let missing: Vec<&str> = voters.iter().filter(|peer| !alive(peer)).map(|peer| peer.name.as_str()).collect();
    tracing::error!(
        seconds = silence.as_secs(),
        alive = voters.len() - missing.len(),
        needed = voters.len() / 2 + 1,
        missing = missing.join(", "),
        "no cluster leader is heard: writes and default reads fail, stale reads are answered; `muster doctor` says what can be done"
    );
}

/// Tells the change streams that the leader or the servers changed.
fn announce(server: &Server) {
    let index = server.store.changes().now().index;
    let change = Change { topic: Topic::Raft, name: "raft".to_owned(), node: String::new(), index, kind: Kind::Set };
    server.store.changes().push(index, [change]);
}

/// The duties of one time of leadership; dropped when it ends.
async fn lead(server: &Server) {
    let mut members = server.members.clone();
    members.mark_unchanged();
    let mut reconcile = clock::interval(server.options.reconcile_interval);
    let mut reap = clock::interval(REAP_INTERVAL);
    let mut autopilot = clock::interval(AUTOPILOT.0);
    let (mut open, mut judged) = (true, 0);
    if let Err(error) = server.change_raft(consensus::Change::Settle).await {
        tracing::warn!(%error, "the raft configuration stays half changed, the next change finishes it");
    }
    name_cluster(server).await;
    // Judged from scratch: another leader's view is not ours.
    server.stable.lock().unwrap_or_else(PoisonError::into_inner).clear();
    loop {
        tokio::select! {
            biased;
            _ = reconcile.tick() => {}
            () = server.restored.notified() => {}
            changed = members.changed(), if open => open = changed.is_ok(),
            _ = reap.tick() => {
                name_cluster(server).await;
                if let Err(error) = reap_old(server).await {
                    tracing::warn!(%error, "cannot reap old removals and transitions");
                }
                continue;
            }
            _ = autopilot.tick() => {
                let health = server.judge();
                telemetry::metrics().gauge("autopilot.healthy", &[], if health.healthy { 1.0 } else { 0.0 });
                telemetry::metrics().gauge("autopilot.failure_tolerance", &[], health.failure_tolerance as f64);
                judged += 1;
                if judged % AUTOPILOT.1 == 0 {
                    steer(server).await;
                }
                continue;
            }
        }
        steer(server).await;
        let began = server.runtime.clock.now();
        while let Err(error) = reconcile_now(server).await {
            tracing::warn!(%error, "cannot reconcile the catalog with the gossip pool");
            clock::sleep(RETRY).await;
        }
        telemetry::metrics().timing("leader.reconcile", server.runtime.clock.now().saturating_duration_since(began));
    }
}

/// Gives the cluster an id, if it has none yet: by it the gossip pool refuses the members of other clusters.
async fn name_cluster(server: &Server) {
    if server.store.state().cluster.is_some() {
        return;
    }
    let command = Command::NameCluster { id: server.runtime.rng.uuid(), at_ms: server.runtime.clock.wall_ms() };
    match server.propose(command).await {
        // At once: whoever asks before would be let in.
        Ok(_) => drop(formation::tell_cluster_now(server).await),
        Err(error) => tracing::warn!(%error, "the cluster has no id yet"),
    }
}

/// Brings the Raft configuration in step with the pool, one change at a time; what fails is tried again later.
async fn steer(server: &Server) {
    // What one server cannot have done to it is not to hold up what the others need.
    let mut refused: Vec<consensus::Change> = Vec::new();
    // Every change may make the next one needless, and there are never more than a few.
    for _ in 0..STEPS_MAX {
        let (status, members, configuration) = (server.raft.status(), server.members.borrow().clone(), server.autopilot());
        let now = server.runtime.clock.now();
        let view = View {
            status: &status,
            members: &members,
            datacenter: &server.options.datacenter,
            configuration: &configuration,
            now,
            wall_ms: server.runtime.clock.wall_ms(),
        };
        let plan = view.plan(&server.stable.lock().unwrap_or_else(PoisonError::into_inner));
        let Some(change) = plan.into_iter().find(|change| !refused.contains(change)) else { return };
        if let consensus::Change::Add(peer) = &change
            && let Err(why) = formation::admit(server, peer).await
        {
            tracing::error!(server = peer.name, why, "a server is not added to the raft configuration");
            refused.push(change);
            continue;
        }
        if let consensus::Change::Add(peer) = &change {
            formation::warn_of_expectation(server, &members, peer);
        }
        tracing::info!(?change, "autopilot changes the raft configuration");
        if let Err(error) = server.change_raft(change.clone()).await {
            tracing::warn!(%error, ?change, "the raft configuration is not changed, it is tried again");
            refused.push(change);
        }
    }
}

async fn reconcile_now(server: &Server) -> Result<(), Error> {
    // Everything committed by earlier leaders must be applied before the catalog is compared.
    server.ensure_fresh(shared::query::Consistency::Default).await?;
    let members = server.members.borrow().clone();
    let at_ms = server.runtime.clock.wall_ms();
    let plan = reconcile::plan(&server.store.state(), &members, &server.options.datacenter, &server.options.node_name, at_ms);
    for command in plan {
        match server.propose(command).await {
            // It says what is wrong with one node; the others are not to wait for that. Tried again with the next pass.
            Err(error @ Error::Refused(_)) => tracing::warn!(%error, "the catalog does not show a member as the gossip pool has it"),
            done => drop(done?),
        }
    }
    Ok(())
}

async fn reap_old(server: &Server) -> Result<(), Error> {
    let at_ms = server.runtime.clock.wall_ms();
    let tombstones_before_ms = at_ms.saturating_sub(TOMBSTONE_MS);
    let due = {
        let state = server.store.state();
        state.has_tombstones_before(tombstones_before_ms)
            || state.history().has_before(at_ms.saturating_sub(AGE_MS_MAX))
            || state.has_stale_restore(at_ms)
    };
    if due {
        server.propose(Command::Reap { tombstones_before_ms, at_ms }).await?;
    }
    Ok(())
}
