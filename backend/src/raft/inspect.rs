//! A stopped server's `raft/` directory as `muster doctor` sees it. Reads and never writes, repairs or creates anything.
//!
//! Contract: cluster, section "Raft", files; the formats are those of [`super::log`] and [`super::snapshot`].

use std::{
    fs, io,
    path::{Path, PathBuf},
};

use openraft::EntryPayload;

use super::{
    Peer, codec, configuration,
    log::inspect::{self as log, Segment},
    snapshot,
    types::{Membership, SnapshotMeta},
};
use crate::store;

/// What is wrong with a file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Fault {
    /// Its end was never written out: cut off at the next start, nothing acknowledged is lost.
    Torn,
    /// It was whole once and no longer is, or cannot be read.
    Damaged(String),
}

/// A file of the directory.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Part {
    /// Where it is.
    pub path: PathBuf,
    /// Bytes.
    pub size: u64,
    /// What is wrong, and the byte it begins at.
    pub fault: Option<(u64, Fault)>,
}

/// What a `raft/` directory holds.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Inspection {
    /// Log store: `wal`, `sled`, or empty when there is no log.
    pub backend: String,
    /// Whether an agent holds the log open.
    pub running: bool,
    /// Log segments, oldest first; none of a `sled` log, which only its own library can read.
    pub segments: Vec<Part>,
    /// First and last entry.
    pub entries: Option<(u64, u64)>,
    /// Term of the last vote.
    pub term: u64,
    /// Contents of the snapshots, newest first.
    pub snapshots: Vec<Part>,
    /// Index of the newest whole snapshot; 0 without one.
    pub snapshot_index: u64,
    /// The last known configuration.
    pub peers: Vec<Peer>,
    /// Entries that should be there and are not, neither in the log nor in a snapshot.
    pub missing: Option<(u64, u64)>,
}

/// Looks at this directory, `raft/` of a data directory.
///
/// # Errors
/// It is not there or cannot be listed.
pub fn inspect(dir: &Path) -> io::Result<Inspection> {
    let mut found = Inspection::default();
    fs::read_dir(dir)?;
    snapshots(&dir.join("snapshots"), &mut found)?;
    let wal = dir.join("wal");
    if wal.is_dir() {
        "wal".clone_into(&mut found.backend);
        found.running = log::is_locked(&wal);
        segments(&wal, &mut found)?;
    } else if dir.join("sled").is_dir() {
        "sled".clone_into(&mut found.backend);
    }
    if let Some((first, _)) = found.entries
        && first > found.snapshot_index + 1
    {
        found.missing = Some((found.snapshot_index + 1, first - 1));
    }
    Ok(found)
}

fn segments(wal: &Path, found: &mut Inspection) -> io::Result<()> {
    let (mut configurations, mut recovered) = (Vec::<Membership>::new(), None);
    for Segment { path, size, fault, vote, recovered: noted, cut, entries } in log::segments(wal)? {
        recovered = noted.or(recovered);
        if let Some(term) = vote {
            found.term = term;
        }
        if let Some(cut) = cut {
            // A leader that lost its office may have written what nobody agreed on: it never counted.
            found.entries = found.entries.and_then(|(first, last)| (cut > first).then(|| (first, last.min(cut - 1))));
            configurations.retain(|membership| membership.log_id().is_some_and(|id| id.index() < cut));
        }
        if let (Some(from), Some(to)) = (entries.first(), entries.last()) {
            found.entries = Some((found.entries.map_or(from.index, |(first, _)| first), to.index));
        }
        let mut fault = fault.map(|(offset, why)| (offset, why.map_or(Fault::Torn, Fault::Damaged)));
        for log::Entry { offset, payload, .. } in entries {
            match codec::decode::<super::types::Entry>(&payload) {
                Ok(entry) => {
                    if let EntryPayload::Membership(membership) = entry.payload {
                        configurations.push(Membership::new(Some(entry.log_id), membership));
                    }
                }
                Err(why) => fault = fault.or_else(|| Some((offset, Fault::Damaged(format!("an entry cannot be read: {why}"))))),
            }
        }
        found.segments.push(Part { path, size, fault });
    }
    let newest = configurations.pop();
    match (newest, recovered) {
        (Some(mut membership), recovered) => {
            if let Some(recovered) = recovered {
                recovered.replace(&mut membership);
            }
            found.peers = configuration::peers(&[membership.membership()]);
        }
        // Whatever the snapshot says was replaced, too, unless it is newer than that.
        (None, Some(recovered)) if recovered.upto.is_none_or(|upto| upto.index() >= found.snapshot_index) => {
            found.peers = configuration::peers(&[&recovered.membership]);
        }
        (None, _) => {}
    }
    Ok(())
}

fn snapshots(dir: &Path, found: &mut Inspection) -> io::Result<()> {
    let all = match snapshot::list(dir) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
        listed => listed?,
    };
    for ((_, index), path) in all {
        let state = path.join(snapshot::STATE);
        let meta = fs::read(path.join(snapshot::META)).and_then(|bytes| codec::decode::<SnapshotMeta>(&bytes));
        let size = fs::metadata(&state).map_or(0, |meta| meta.len());
        let whole = fs::File::open(&state).and_then(|file| store::snapshot::read(io::BufReader::new(file)));
        let fault = match (meta, whole) {
            (Ok(meta), Ok(_)) => {
                if found.snapshot_index == 0 {
                    (found.snapshot_index, found.peers) = (index, configuration::peers(&[meta.last_membership.membership()]));
                }
                None
            }
            (Err(why), _) => Some((0, Fault::Damaged(format!("its meta file: {why}")))),
            (_, Err(why)) => Some((0, Fault::Damaged(why.to_string()))),
        };
        found.snapshots.push(Part { path: state, size, fault });
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use std::collections::{BTreeMap, BTreeSet};

    use openraft::{
        storage::{IOFlushed, RaftLogStorage as _},
        vote::RaftLeaderId as _,
    };

    use super::*;
    use crate::{
        raft::{
            log::{self, LogStore, Place},
            types::{Entry, LogId, NodeId, Server},
        },
        rt::Runtime,
    };

    fn entry(term: u64, index: u64, servers: &[u64]) -> Entry {
        let leader = openraft::impls::leader_id_std::LeaderId::new(term, NodeId::from(1)).to_committed();
        let ids: BTreeSet<NodeId> = servers.iter().map(|id| NodeId::from(*id)).collect();
        let nodes: BTreeMap<NodeId, Server> = ids.iter().map(|id| (*id, Server::default())).collect();
        let membership = openraft::Membership::new(vec![ids], nodes).expect("everybody is a node");
        Entry { log_id: LogId::new(leader, index), payload: EntryPayload::Membership(membership) }
    }

    #[tokio::test]
    async fn a_configuration_that_was_cut_off_the_log_is_not_shown() {
        let directory = tempfile::tempdir().expect("a temporary directory");
        let runtime = Runtime::system();
        let opened = log::open(directory.path(), "wal").expect("opens");
        let (mut store, writer) = LogStore::on_disk(opened, &runtime.tasks, Place::Threads(runtime.tasks.clone())).expect("starts");
        store.append([entry(1, 0, &[1]), entry(1, 1, &[1, 2])], IOFlushed::noop()).await.expect("appends");
        store.truncate_after(Some(entry(1, 0, &[1]).log_id)).await.expect("cuts");
        store.append([entry(2, 1, &[1])], IOFlushed::noop()).await.expect("appends");
        store.append([entry(2, 2, &[1, 3])], IOFlushed::noop()).await.expect("appends");
        store.truncate_after(Some(entry(2, 1, &[1]).log_id)).await.expect("cuts");
        drop(store);
        writer.await.expect("ends");
        let found = inspect(directory.path()).expect("reads");
        assert_eq!((found.entries, found.peers.len()), (Some((0, 1)), 1), "{found:?}");
    }
}
