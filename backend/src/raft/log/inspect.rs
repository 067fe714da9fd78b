//! The segments of a log as they lie on disk. Reads and never writes; keeps one segment in memory at a time.

use std::{
    fs, io,
    path::{Path, PathBuf},
};

use super::{
    Head, Recovered,
    record::{self, Kind},
};
use crate::raft::codec;

/// A segment and what it holds.
pub(in crate::raft) struct Segment {
    pub(in crate::raft) path: PathBuf,
    pub(in crate::raft) size: u64,
    /// Where it is not whole, and why; no reason is a torn end.
    pub(in crate::raft) fault: Option<(u64, Option<String>)>,
    /// Term of the last vote in it.
    pub(in crate::raft) vote: Option<u64>,
    /// The configuration an operator gave, if the segment tells of one.
    pub(in crate::raft) recovered: Option<Recovered>,
    /// The log was cut before this entry of a segment before this one, or of this one.
    pub(in crate::raft) cut: Option<u64>,
    /// Entries that were not cut off within the segment.
    pub(in crate::raft) entries: Vec<Entry>,
}

/// An entry as it lies in a segment.
pub(in crate::raft) struct Entry {
    pub(in crate::raft) index: u64,
    /// Of its record.
    pub(in crate::raft) offset: u64,
    pub(in crate::raft) payload: Vec<u8>,
}

/// Whether an agent has the log open.
pub(in crate::raft) fn is_locked(wal: &Path) -> bool {
    let lock = fs::File::open(wal.join("lock"));
    lock.is_ok_and(|file| matches!(file.try_lock_shared(), Err(fs::TryLockError::WouldBlock)))
}

/// Every segment, oldest first, read one after the other.
pub(in crate::raft) fn segments(wal: &Path) -> io::Result<impl Iterator<Item = Segment>> {
    let mut names: Vec<(u64, PathBuf)> = Vec::new();
    for entry in fs::read_dir(wal)? {
        let path = entry?.path();
        let stem = path.extension().filter(|extension| *extension == "wal").and_then(|_| path.file_stem());
        if let Some(number) = stem.and_then(|stem| stem.to_str()?.parse().ok()) {
            names.push((number, path));
        }
    }
    names.sort_unstable();
    let last = names.last().map(|(number, _)| *number);
    let mut before: Option<u64> = None;
    Ok(names.into_iter().map(move |(number, path)| {
        let follows = before.is_none_or(|before| before + 1 == number);
        before = Some(number);
        let mut segment = segment(path, Some(number) == last);
        if !follows {
            segment.fault = Some((0, Some("the file before it is missing".to_owned())));
        }
        segment
    }))
}

fn segment(path: PathBuf, is_last: bool) -> Segment {
    let mut found = Segment { size: 0, fault: None, vote: None, recovered: None, cut: None, entries: Vec::new(), path };
    let bytes = match fs::read(&found.path) {
        Ok(bytes) => bytes,
        Err(why) => {
            found.fault = Some((0, Some(why.to_string())));
            return found;
        }
    };
    found.size = bytes.len() as u64;
    let (records, end) = record::parse(&bytes);
    if !record::is_blank(&bytes, end) {
        let is_damage = !is_last || record::is_damage(&bytes, end);
        found.fault = Some((end as u64, is_damage.then(|| "the checksum does not match".to_owned())));
    }
    for record in records {
        match record.kind {
            Kind::Entry => {
                let (offset, payload) = (record.offset as u64, record.payload.to_vec());
                found.entries.push(Entry { index: record.index, offset, payload });
            }
            Kind::Head => {
                if let Ok(head) = codec::decode::<Head>(record.payload) {
                    found.vote = head.vote.map(|vote| vote.leader_id.term).or(found.vote);
                    found.recovered = head.recovered.or_else(|| found.recovered.take());
                }
            }
            // The entries written again follow; until then the log ends before them.
            Kind::Truncate => {
                found.cut = Some(found.cut.map_or(record.index, |cut| cut.min(record.index)));
                found.entries.retain(|entry| entry.index < record.index);
            }
        }
    }
    found
}
