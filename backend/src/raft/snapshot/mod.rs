//! Snapshots of the state: a pointer copy in memory, a file of the [`archive`], or one that has just come from another server.

mod archive;
#[cfg(test)]
mod tests;
mod transfer;

use std::{
    fs::File,
    io::{self, BufReader, Write},
    path::PathBuf,
    sync::Arc,
};

use serde::{Deserialize, Serialize};

pub(super) use archive::{Archive, KEEP, META, STATE, list};
pub(super) use transfer::{Received, receive, send};

use super::types::{LogId, Membership, SnapshotMeta};
use crate::store::{self, State};

/// What is known about a snapshot besides its contents. Fields may be added, never renamed.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub(super) struct Head {
    /// The last entry in it.
    pub(super) last_log_id: Option<LogId>,
    /// The configuration then.
    pub(super) last_membership: Membership,
    /// When it was taken, milliseconds since 1970; 0 when it was not noted.
    #[serde(default)]
    pub(super) taken_at_ms: u64,
    /// Bytes of its contents; 0 when it was not noted.
    #[serde(default)]
    pub(super) size_bytes: u64,
    /// Name of the server that took it.
    #[serde(default)]
    pub(super) server: String,
    /// Version of Muster that took it.
    #[serde(default)]
    pub(super) version: String,
}

impl Head {
    /// What openraft knows of it.
    pub(super) fn meta(&self) -> SnapshotMeta {
        SnapshotMeta { last_log_id: self.last_log_id, last_membership: self.last_membership.clone() }
    }

    /// Term and index of the last entry in it.
    pub(super) fn place(&self) -> (u64, u64) {
        self.last_log_id.map_or((0, 0), |id| (id.committed_leader_id().term, id.index()))
    }

    /// As the outside sees it.
    pub(super) fn summary(&self) -> super::Snapshot {
        let (term, index) = self.place();
        super::Snapshot {
            term,
            index,
            size_bytes: self.size_bytes,
            taken_at_ms: self.taken_at_ms,
            server: self.server.clone(),
            version: self.version.clone(),
        }
    }
}

/// Where the contents of a snapshot are.
#[derive(Clone, Debug)]
pub(super) enum Contents {
    /// In memory.
    State(Arc<State>),
    /// In a file of the archive.
    File(PathBuf),
    /// Just come from another server and not yet in the archive.
    Received(Arc<Received>),
}

/// A snapshot.
#[derive(Clone, Debug)]
pub(super) struct Image {
    pub(super) head: Head,
    pub(super) contents: Contents,
}

impl Image {
    /// The state in it.
    ///
    /// # Errors
    /// The file cannot be read or is damaged.
    pub(super) fn state(&self) -> io::Result<Arc<State>> {
        match &self.contents {
            Contents::State(state) => Ok(state.clone()),
            Contents::Received(received) => Ok(received.state.clone()),
            Contents::File(path) => Ok(Arc::new(store::snapshot::read(BufReader::new(File::open(path)?))?)),
        }
    }
}

/// How many bytes a state takes when written.
pub(super) fn size(state: &State) -> io::Result<u64> {
    struct Count(u64);
    impl Write for Count {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            self.0 += bytes.len() as u64;
            Ok(bytes.len())
        }
        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }
    let mut count = Count(0);
    store::snapshot::write(state, &mut count)?;
    Ok(count.0)
}
