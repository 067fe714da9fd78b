//! Snapshots: what the leader keeps, taking one now, saving the state as a file and restoring one.
//!
//! Contract: HTTP API, section "Snapshot, operator". What is beyond Consul is described in the HTTP API's `EXTENSIONS.md`. A file is
//! checked whole before anything is proposed.

use std::{
    fs::{self, File},
    io::{self, BufReader, BufWriter, Read, Seek as _, Write},
    path::Path,
    sync::atomic::{AtomicU64, Ordering},
};

use shared::{
    query::Consistency,
    snapshot::{Archive, Inspection, Snapshot},
};

use super::{Call, consensus::refusal, forward};
use crate::{
    acl::Access,
    raft,
    rpc::{Answer, Error, Failure, Load, Request},
    rt::{
        chunks::{self, Chunks},
        clock,
    },
    store::{Command, RestoreStep, snapshot as format},
};

/// Batches of rows read ahead of the one that is proposed.
const AHEAD: usize = 2;
/// How long to wait before the leader is asked again.
const RETRY: std::time::Duration = std::time::Duration::from_millis(25);
/// How long the client may take for its next bytes.
const STALL: std::time::Duration = std::time::Duration::from_secs(60);

fn may(call: Call<'_>, access: Access<'_>) -> Result<(), Error> {
    if call.authorizer.allows(access) { Ok(()) } else { Err(Error::PermissionDenied) }
}

/// RFC 3339, to the second.
fn time(at_ms: u64) -> String {
    let at = i64::try_from(at_ms).ok().and_then(|at| jiff::Timestamp::from_millisecond(at).ok());
    at.unwrap_or(jiff::Timestamp::UNIX_EPOCH).strftime("%Y-%m-%dT%H:%M:%SZ").to_string()
}

fn row(snapshot: raft::Snapshot) -> Snapshot {
    let raft::Snapshot { term, index, size_bytes, taken_at_ms, server, version } = snapshot;
    Snapshot { index, term, size_bytes, taken_at: time(taken_at_ms), server, version }
}

pub(super) async fn list(call: Call<'_>) -> Result<Answer<Archive>, Error> {
    may(call, Access::OperatorRead)?;
    call.server.ensure_fresh(call.request.options.consistency).await?;
    let raft::Snapshots { kept, retained, threshold, interval } = call.server.raft.snapshots().await.map_err(refusal)?;
    let last_index = call.server.raft.status().last_index;
    let interval_ms = u64::try_from(interval.as_millis()).unwrap_or(u64::MAX);
    let archive = Archive { snapshots: kept.into_iter().map(row).collect(), retained, threshold, interval_ms, last_index };
    Ok(call.answer(0, archive))
}

pub(super) async fn take(call: Call<'_>) -> Result<Answer<Snapshot>, Error> {
    may(call, Access::OperatorWrite)?;
    // So that everything acknowledged before is in it.
    call.server.ensure_fresh(Consistency::Default).await?;
    let taken = call.server.raft.take_snapshot().await.map_err(refusal)?;
    Ok(call.answer(0, row(taken)))
}

/// Which server does it: `None` for this one. Waits for a leader as every call does.
async fn leader(call: Call<'_>) -> Result<Option<std::net::SocketAddr>, Error> {
    if call.server.raft.is_leader() || call.server.options.rpc_pool.is_none() {
        return Ok(None);
    }
    if call.request.forwarded {
        return Err(Error::NoLeader);
    }
    let mut known = call.server.leader.subscribe();
    let found = known.wait_for(|now| !matches!(now, forward::Leader::Unknown));
    match clock::timeout(call.server.options.rpc_hold_timeout, found).await.ok().and_then(Result::ok).as_deref() {
        Some(forward::Leader::At(address)) => Ok(Some(*address)),
        Some(forward::Leader::Here) => Ok(None),
        Some(forward::Leader::Unknown) | None => Err(Error::NoLeader),
    }
}

/// What the leader saves, when that is another server. One that has just gone may still be taken for the leader: asked again meanwhile.
async fn save_elsewhere(call: Call<'_>) -> Result<Option<Answer<Chunks>>, Error> {
    let deadline = clock::Instant::now() + call.server.options.rpc_hold_timeout;
    loop {
        let (Some(leader), Some(pool)) = (leader(call).await?, &call.server.options.rpc_pool) else { return Ok(None) };
        let forwarded = Request { forwarded: true, ..call.request.clone() };
        match pool.save(leader, &forwarded).await {
            Ok(saved) => return Ok(Some(saved)),
            Err(Failure::NotSent(_) | Failure::Answered(Error::NoLeader)) if clock::Instant::now() < deadline => clock::sleep(RETRY).await,
            Err(Failure::NotSent(_)) => return Err(Error::NoLeader),
            Err(failure) => return Err(failure.into()),
        }
    }
}

pub(super) async fn save(call: Call<'_>) -> Result<Answer<Chunks>, Error> {
    may(call, Access::Snapshot)?;
    let is_stale = call.request.options.consistency == Consistency::Stale;
    if !is_stale && let Some(saved) = save_elsewhere(call).await? {
        return Ok(saved);
    }
    call.server.ensure_fresh(if is_stale { Consistency::Stale } else { Consistency::Consistent }).await?;
    let (state, status, options) = (call.server.store.state(), call.server.raft.status(), &call.server.options);
    let taken_at_ms = call.server.runtime.clock.wall_ms();
    let peer = |peer: raft::Peer| format::file::Server { suffrage: u8::from(!peer.voter), id: peer.id, address: peer.address };
    let about = format::file::About {
        term: status.term,
        taken_at_ms,
        servers: status.peers.into_iter().map(peer).collect(),
        origin: format::file::Origin {
            version: env!("CARGO_PKG_VERSION").to_owned(),
            taken_at: time(taken_at_ms),
            datacenter: options.datacenter.clone(),
            server: options.node_name.clone(),
        },
    };
    let index = state.index;
    let file = chunks::produce(&call.server.runtime.tasks, move |out| format::file::write(&about, &state.settled(), out));
    Ok(call.answer(index, file))
}

pub(super) async fn load(call: Call<'_>, purpose: Load, file: Chunks) -> Result<Answer<Inspection>, Error> {
    may(call, if purpose == Load::Restore { Access::Snapshot } else { Access::OperatorRead })?;
    if purpose == Load::Inspect {
        let (inspection, _) = receive(call, file, None).await?.map_err(|error| Error::BadRequest(error.to_string()))?;
        return Ok(call.answer(inspection.index, inspection));
    }
    if let (Some(leader), Some(pool)) = (leader(call).await?, &call.server.options.rpc_pool) {
        let forwarded = Request { forwarded: true, ..call.request.clone() };
        return Ok(pool.load(leader, &forwarded, purpose, file).await?);
    }
    let Ok(_only) = call.server.restoring.try_lock() else {
        return Err(Error::Refused("another snapshot is being restored".to_owned()));
    };
    let refused = |error: io::Error| Error::Refused(error.to_string());
    let spool = spool(&call.server.options.temp_dir).map_err(refused)?;
    let (inspection, spool) = receive(call, file, Some(spool)).await?.map_err(refused)?;
    let spool = spool.ok_or_else(|| Error::Refused("the snapshot was not kept".to_owned()))?;
    restore(call, spool).await?;
    tracing::info!(id = inspection.id, index = inspection.index, now = call.server.store.state().index, "snapshot restored");
    call.server.restored.notify_one();
    let raft = call.server.raft.clone();
    // So that the log need not be kept for it.
    call.server.runtime.tasks.spawn_until_shutdown("snapshot after a restore", async move {
        if let Err(error) = raft.take_snapshot().await {
            tracing::warn!(%error, "no snapshot was taken after the restore, the log holds it");
        }
    });
    Ok(call.answer(call.server.store.state().index, inspection))
}

/// Checks a file as it comes, and keeps it where told.
async fn receive(call: Call<'_>, mut file: Chunks, spool: Option<File>) -> Result<io::Result<(Inspection, Option<File>)>, Error> {
    let tasks = &call.server.runtime.tasks;
    let (to, pieces) = chunks::channel();
    let reading = tasks.spawn_blocking(move || {
        let mut from = Spooled { from: chunks::Reader::new(pieces), to: spool.map(BufWriter::new) };
        let inspection = format::file::check(&mut from)?;
        let spool = from.to.map(BufWriter::into_inner).transpose().map_err(io::IntoInnerError::into_error)?;
        Ok((inspection, spool))
    });
    let pump = async {
        loop {
            match clock::timeout(STALL, file.recv()).await {
                Ok(Some(piece)) => {
                    // The reader has seen enough.
                    if to.send(piece).await.is_err() {
                        break;
                    }
                }
                Ok(None) => break,
                Err(_) => {
                    let _ = to.send(Err(io::Error::new(io::ErrorKind::TimedOut, "the snapshot stopped coming"))).await;
                    break;
                }
            }
        }
        drop(to);
    };
    pump.await;
    reading.await.map_err(|error| Error::Refused(error.to_string()))
}

/// A file without a name, which goes with its last handle.
fn spool(dir: &Path) -> io::Result<File> {
    static NEXT: AtomicU64 = AtomicU64::new(0);
    let number = NEXT.fetch_add(1, Ordering::Relaxed);
    let path = dir.join(format!("tmp-restore-{}-{number}", std::process::id()));
    let file = File::options().read(true).write(true).create_new(true).open(&path)?;
    fs::remove_file(&path)?;
    Ok(file)
}

/// Keeps what is read.
struct Spooled<R> {
    from: R,
    to: Option<BufWriter<File>>,
}

impl<R: Read> Read for Spooled<R> {
    fn read(&mut self, into: &mut [u8]) -> io::Result<usize> {
        let count = self.from.read(into)?;
        if let Some(to) = &mut self.to {
            to.write_all(&into[..count])?;
        }
        Ok(count)
    }
}

/// Proposes a checked file, batch by batch, then that it takes the state's place.
async fn restore(call: Call<'_>, mut file: File) -> Result<(), Error> {
    let (server, refused) = (call.server, |error: io::Error| Error::Refused(error.to_string()));
    let id = server.runtime.rng.uuid();
    let propose = async |step: RestoreStep| {
        let at_ms = server.runtime.clock.wall_ms();
        server.propose(Command::Restore { id: id.clone(), step, at_ms }).await.map(drop)
    };
    file.rewind().map_err(refused)?;
    let (to, mut batches) = tokio::sync::mpsc::channel(AHEAD);
    let reading = server.runtime.tasks.spawn_blocking(move || {
        let gone = |_| io::Error::new(io::ErrorKind::BrokenPipe, "nobody restores any more");
        format::file::rows(BufReader::new(file), |rows| to.blocking_send(rows).map_err(gone))
    });
    let mut number = 0;
    while let Some(rows) = batches.recv().await {
        propose(RestoreStep::Rows { number, format: format::VERSION, rows }).await?;
        number += 1;
    }
    let read = reading.await.map_err(|error| Error::Refused(error.to_string()))?;
    if let Err(error) = read {
        // Nothing has changed yet; what was proposed so far only takes memory.
        propose(RestoreStep::Abandon).await?;
        return Err(refused(error));
    }
    propose(RestoreStep::Finish { batches: number }).await
}
