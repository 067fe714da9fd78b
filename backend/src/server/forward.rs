//! Which server answers a call: this one, or the leader it is passed on to.
//!
//! Contract: cluster, section "Forwarding and consistency". A write that may have been carried out is never sent twice. A call that
//! another server passed on is answered here or fails.

use std::{net::SocketAddr, time::Duration};

use futures_util::StreamExt as _;
use shared::query::{Consistency, QueryOptions};
use tokio::sync::watch;

use super::{Call, Server, dispatch};
use crate::{
    raft::{self, Status},
    rpc::{Answer, Error, Failure, Operation, OperationReply, Pool, Request},
    rt::clock,
};

/// How long to wait before asking again.
const RETRY: Duration = Duration::from_millis(25);

/// How often it is looked who leads, beside every change: that a leader is not heard any more changes nothing by itself.
const LOOK_AGAIN: Duration = Duration::from_millis(250);

/// How long a former leader has to say what became of a write it took: a living one knows at once.
const LAST_WORD: Duration = Duration::from_secs(1);

/// Where calls go that only the leader can answer.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) enum Leader {
    /// None is known, or it is not heard.
    #[default]
    Unknown,
    /// This server.
    Here,
    /// Its RPC address.
    At(SocketAddr),
}

/// Keeps [`Leader`] as it is until shutdown, so that no call has to find out. A server that is alone passes nothing on.
pub(super) async fn watch_leader(server: &Server) {
    if server.options.rpc_pool.is_none() {
        return;
    }
    let mut changes = server.raft.changes().fuse();
    let mut servers = server.options.servers.subscribe();
    let shutdown = server.runtime.tasks.shutdown();
    loop {
        let status = server.raft.status();
        let now = match address(server, &status) {
            _ if status.role == "leader" => Leader::Here,
            Some(address) => Leader::At(address),
            None => Leader::Unknown,
        };
        server.leader.send_if_modified(|known| std::mem::replace(known, now) != now);
        tokio::select! {
            () = shutdown.requested() => return,
            Some(()) = changes.next() => {}
            Ok(()) = servers.changed() => {}
            () = clock::sleep(LOOK_AGAIN) => {}
        }
    }
}

/// Whether only the leader can answer.
fn needs_leader(request: &Request, operation: &Operation) -> bool {
    match operation {
        Operation::AgentCall(_)
        | Operation::Leader(_)
        | Operation::Peers(_)
        | Operation::Datacenters(_)
        | Operation::RaftState(_)
        | Operation::Gossip(_)
        | Operation::Keyring(_) => false,
        // Only it knows how the others do.
        Operation::AutopilotHealth(_) => true,
        operation => operation.writes() || request.options.consistency != Consistency::Stale,
    }
}

/// Answers a call, here or by the leader.
pub(super) async fn answer(call: Call<'_>, operation: Operation) -> Result<Answer<OperationReply>, Error> {
    let fresher = fresher(call);
    let call = fresher.as_ref().map_or(call, |request| Call { request, ..call });
    let Some(pool) = call.server.options.rpc_pool.clone().filter(|_| needs_leader(call.request, &operation)) else {
        return dispatch(call, operation).await;
    };
    if call.request.forwarded {
        // The server that passed it on waits for a leader itself.
        return if call.server.raft.is_leader() { dispatch(call, operation).await } else { Err(Error::NoLeader) };
    }
    let mut deadline = clock::Instant::now() + call.server.options.rpc_hold_timeout;
    loop {
        let refused = if call.server.raft.is_leader() {
            match dispatch(call, operation.clone()).await {
                // Refused before anything was done: leadership went in the meantime.
                Err(Error::NoLeader) => Error::NoLeader,
                answered => return answered,
            }
        } else {
            if let Some(reason) = call.server.raft.failure() {
                return Err(Error::Disk(format!("this server's disk failed: {reason}. Make room or replace the disk, then restart it")));
            }
            let leader = *call.server.leader.borrow();
            match leader {
                Leader::At(leader) => match pass_on_while_it_leads(call, &pool, leader, &operation).await {
                    Verdict::Answered(answered) => return *answered,
                    Verdict::Again { late } => {
                        if late {
                            // A blocking read waited on a leader that was well until now.
                            deadline = deadline.max(clock::Instant::now() + call.server.options.rpc_hold_timeout);
                        }
                        Error::NoLeader
                    }
                },
                // Elected this moment, or nobody.
                Leader::Here | Leader::Unknown => Error::NoLeader,
            }
        };
        if call.server.runtime.tasks.shutdown().is_requested() {
            return Err(Error::Stopping);
        }
        let left = deadline.saturating_duration_since(clock::Instant::now());
        if left.is_zero() || !call.server.raft.wait_for_leader(left).await {
            return Err(refused);
        }
        clock::sleep(RETRY.min(left)).await;
    }
}

/// A stale read that asks for no more than so much staleness, when this server is further behind: the leader answers it.
fn fresher(call: Call<'_>) -> Option<Request> {
    let options = &call.request.options;
    let most = options.max_stale.filter(|_| options.consistency == Consistency::Stale)?.as_std();
    let behind = call.server.raft.contact().last_ms.map(Duration::from_millis);
    if behind.is_some_and(|behind| behind <= most) {
        return None;
    }
    let options = QueryOptions { consistency: Consistency::Default, ..options.clone() };
    Some(Request { options, ..call.request.clone() })
}

/// Where the leader is: as gossip says now, or as it said when it was added.
fn address(server: &Server, status: &Status) -> Option<SocketAddr> {
    let leader = status.leader.as_ref()?;
    server.options.servers.address_of(&leader.id, &leader.address)
}

enum Verdict {
    Answered(Box<Result<Answer<OperationReply>, Error>>),
    Again { late: bool },
}

/// Passes a call on; a read is asked anew as soon as somebody else leads, whether the old leader is silent, cut off or gone. A write is
/// given up a little later: what became of it nobody knows.
async fn pass_on_while_it_leads(call: Call<'_>, pool: &Pool, leader: SocketAddr, operation: &Operation) -> Verdict {
    let mut asked = std::pin::pin!(pass_on(pool, leader, call.request, operation));
    tokio::select! {
        biased;
        answered = asked.as_mut() => return answered,
        () = another_leads(call.server.leader.subscribe(), leader) => {}
    }
    if !operation.writes() {
        return Verdict::Again { late: call.request.options.index > 0 };
    }
    let lost = || Verdict::Answered(Box::new(Err(Error::Refused(raft::Error::Lost.to_string()))));
    clock::timeout(LAST_WORD, asked).await.unwrap_or_else(|_| lost())
}

/// Resolves once this server leads, or knows of a leader with another address.
async fn another_leads(mut known: watch::Receiver<Leader>, than: SocketAddr) {
    // The server keeps the sender as long as it answers calls.
    drop(known.wait_for(|now| !matches!(now, Leader::Unknown) && *now != Leader::At(than)).await);
}

async fn pass_on(pool: &Pool, leader: SocketAddr, request: &Request, operation: &Operation) -> Verdict {
    let forwarded = Request { forwarded: true, ..request.clone() };
    match pool.try_call(leader, &forwarded, operation).await {
        Ok(answer) => Verdict::Answered(Box::new(Ok(answer))),
        Err(Failure::NotSent(_) | Failure::Answered(Error::NoLeader | Error::Stopping | Error::Disk(_))) => Verdict::Again { late: false },
        Err(Failure::Lost(_)) if !operation.writes() => Verdict::Again { late: request.options.index > 0 },
        Err(failure) => Verdict::Answered(Box::new(Err(failure.into()))),
    }
}
