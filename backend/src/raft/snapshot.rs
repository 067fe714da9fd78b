//! Snapshots of the state: a pointer copy in memory, or a directory each under `raft/snapshots`.
//!
//! A snapshot is written beside the others, flushed, and only then takes its name `<term>-<index>`, so one that has its name is
//! whole; its contents carry a checksum of their own. The newest that can be read counts.

use std::{
    fs::{self, File},
    io::{self, BufReader, BufWriter, Write as _},
    path::{Path, PathBuf},
    sync::Arc,
};

use super::{codec, types::SnapshotMeta};
use crate::{
    rt::durable::sync_dir,
    store::{self, State},
};

/// Snapshots kept: one more than needed, should the newest turn out unreadable.
const KEEP: usize = 2;
const META: &str = "meta";
const STATE: &str = "state.bin";
/// Begins the name of a snapshot that is being written.
const UNFINISHED: &str = "tmp-";

/// The contents of a snapshot.
#[derive(Clone, Debug)]
pub(super) enum Image {
    /// In memory.
    State(Arc<State>),
    /// A file written by [`Archive::save`].
    File(PathBuf),
}

/// The contents as bytes, for another server.
pub(super) fn pack(image: &Image) -> io::Result<Vec<u8>> {
    match image {
        Image::State(state) => {
            let mut bytes = Vec::new();
            store::snapshot::write(state, &mut bytes)?;
            Ok(bytes)
        }
        Image::File(path) => fs::read(path),
    }
}

/// The contents from another server's bytes.
pub(super) fn unpack(bytes: &[u8]) -> io::Result<Image> {
    Ok(Image::State(Arc::new(store::snapshot::read(bytes)?)))
}

/// The state of an image.
pub(super) fn state(image: &Image) -> io::Result<Arc<State>> {
    match image {
        Image::State(state) => Ok(state.clone()),
        Image::File(path) => Ok(Arc::new(store::snapshot::read(BufReader::new(File::open(path)?))?)),
    }
}

/// The snapshots of one directory.
#[derive(Clone, Debug)]
pub(super) struct Archive(PathBuf);

impl Archive {
    /// Creates the directory if need be and removes what was never finished.
    pub(super) fn open(dir: &Path) -> io::Result<Self> {
        fs::create_dir_all(dir)?;
        for entry in fs::read_dir(dir)? {
            let entry = entry?;
            if entry.file_name().to_string_lossy().starts_with(UNFINISHED) {
                fs::remove_dir_all(entry.path())?;
            }
        }
        Ok(Self(dir.to_owned()))
    }

    /// Term, index and path of every snapshot, newest first.
    fn list(&self) -> io::Result<Vec<((u64, u64), PathBuf)>> {
        let mut found = Vec::new();
        for entry in fs::read_dir(&self.0)? {
            let entry = entry?;
            let name = entry.file_name();
            let numbers = name.to_str().and_then(|name| name.split_once('-'));
            if let Some((Ok(term), Ok(index))) = numbers.map(|(term, index)| (term.parse(), index.parse())) {
                found.push(((term, index), entry.path()));
            }
        }
        found.sort_unstable_by(|a, b| b.cmp(a));
        Ok(found)
    }

    /// The newest snapshot that can be read; one that cannot is told of and passed over.
    pub(super) fn newest(&self) -> io::Result<Option<(SnapshotMeta, Image, State)>> {
        for (_, path) in self.list()? {
            match read(&path) {
                Ok((meta, state)) => return Ok(Some((meta, Image::File(path.join(STATE)), state))),
                Err(error) => tracing::error!(%error, path = %path.display(), "snapshot cannot be read, trying the one before"),
            }
        }
        Ok(None)
    }

    /// Writes a snapshot; it is on disk when this returns. Removes the oldest ones.
    pub(super) fn save(&self, meta: &SnapshotMeta, state: &State) -> io::Result<Image> {
        let (term, index) = meta.last_log_id.map_or((0, 0), |id| (id.committed_leader_id().term, id.index()));
        let (unfinished, path) = (self.0.join(format!("{UNFINISHED}{term}-{index}")), self.0.join(format!("{term}-{index}")));
        remove_if_there(&unfinished)?;
        fs::create_dir(&unfinished)?;
        write_file(&unfinished.join(STATE), |file| store::snapshot::write(state, file))?;
        write_file(&unfinished.join(META), |file| file.write_all(&codec::encode(meta)?))?;
        sync_dir(&unfinished)?;
        // A snapshot of the same entry has the same state; the other server's or the rebuilt one replaces it.
        remove_if_there(&path)?;
        fs::rename(&unfinished, &path)?;
        sync_dir(&self.0)?;
        for (_, old) in self.list()?.into_iter().skip(KEEP) {
            fs::remove_dir_all(old)?;
        }
        Ok(Image::File(path.join(STATE)))
    }
}

fn remove_if_there(path: &Path) -> io::Result<()> {
    match fs::remove_dir_all(path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
        _ => Ok(()),
    }
}

fn write_file(path: &Path, write: impl FnOnce(&mut BufWriter<File>) -> io::Result<()>) -> io::Result<()> {
    let mut file = BufWriter::new(File::create(path)?);
    write(&mut file)?;
    file.into_inner().map_err(io::IntoInnerError::into_error)?.sync_all()
}

fn read(path: &Path) -> io::Result<(SnapshotMeta, State)> {
    let meta = codec::decode(&fs::read(path.join(META))?)?;
    Ok((meta, store::snapshot::read(BufReader::new(File::open(path.join(STATE))?))?))
}

#[cfg(test)]
mod tests {
    use openraft::vote::RaftLeaderId as _;

    use super::{super::types, *};

    fn meta(term: u64, index: u64) -> SnapshotMeta {
        let leader = openraft::impls::leader_id_std::LeaderId::new(term, types::NodeId::default()).to_committed();
        SnapshotMeta { last_log_id: Some(types::LogId::new(leader, index)), ..SnapshotMeta::default() }
    }

    fn newest(archive: &Archive) -> Option<u64> {
        archive.newest().expect("lists").map(|(meta, ..)| meta.last_log_id.expect("has one").index())
    }

    #[test]
    fn the_newest_readable_snapshot_counts_and_old_ones_go() {
        let dir = tempfile::tempdir().expect("temp dir");
        let archive = Archive::open(dir.path()).expect("opens");
        assert_eq!(newest(&archive), None);
        for (term, index) in [(1, 900), (1, 1000), (2, 1100)] {
            archive.save(&meta(term, index), &State::default()).expect("saves");
        }
        assert_eq!(newest(&archive), Some(1100));
        assert_eq!(archive.list().expect("lists").len(), KEEP);
        fs::write(dir.path().join("2-1100").join(STATE), b"").expect("damages it");
        assert_eq!(newest(&archive), Some(1000));
        // Saving the same one again replaces it.
        archive.save(&meta(2, 1100), &State::default()).expect("saves");
        assert_eq!(newest(&archive), Some(1100));
    }

    #[test]
    fn what_was_never_finished_is_removed() {
        let dir = tempfile::tempdir().expect("temp dir");
        fs::create_dir(dir.path().join("tmp-3-7")).expect("creates");
        let archive = Archive::open(dir.path()).expect("opens");
        assert_eq!(newest(&archive), None);
        assert!(!dir.path().join("tmp-3-7").exists());
    }
}
