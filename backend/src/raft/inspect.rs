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
    let (mut newest, mut recovered) = (None, None);
    for Segment { path, size, fault, span, vote, recovered: noted, payloads } in log::segments(wal)? {
        recovered = noted.or(recovered);
        if let Some(term) = vote {
            found.term = term;
        }
        if let Some((from, to)) = span {
            found.entries = Some((found.entries.map_or(from, |(first, _)| first), to));
        }
        let mut fault = fault.map(|(offset, why)| (offset, why.map_or(Fault::Torn, Fault::Damaged)));
        for (offset, bytes) in payloads {
            match codec::decode::<super::types::Entry>(&bytes) {
                Ok(entry) => {
                    if let EntryPayload::Membership(membership) = entry.payload {
                        let membership = Membership::new(Some(entry.log_id), membership);
                        found.peers = configuration::peers(&[membership.membership()]);
                        newest = Some(membership);
                    }
                }
                Err(why) => fault = fault.or_else(|| Some((offset, Fault::Damaged(format!("an entry cannot be read: {why}"))))),
            }
        }
        found.segments.push(Part { path, size, fault });
    }
    if let Some(recovered) = recovered {
        match &mut newest {
            Some(membership) => {
                recovered.replace(membership);
                found.peers = configuration::peers(&[membership.membership()]);
            }
            // Whatever the snapshot says was replaced, too, unless it is newer than that.
            None if recovered.upto.is_none_or(|upto| upto.index() >= found.snapshot_index) => {
                found.peers = configuration::peers(&[&recovered.membership]);
            }
            None => {}
        }
    }
    Ok(())
}

fn snapshots(dir: &Path, found: &mut Inspection) -> io::Result<()> {
    let listed = match fs::read_dir(dir) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
        listed => listed?,
    };
    let mut all: Vec<((u64, u64), PathBuf)> = Vec::new();
    for entry in listed {
        let entry = entry?;
        let name = entry.file_name();
        let mut numbers = name.to_str().unwrap_or_default().split('-').map(str::parse);
        if let (Some(Ok(term)), Some(Ok(index))) = (numbers.next(), numbers.next()) {
            all.push(((term, index), entry.path()));
        }
    }
    all.sort_unstable_by(|a, b| b.cmp(a));
    for ((_, index), path) in all {
        let state = path.join("state.bin");
        let meta = fs::read(path.join("meta")).and_then(|bytes| codec::decode::<SnapshotMeta>(&bytes));
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
