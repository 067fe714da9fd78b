//! The snapshots a server keeps: a directory each under `raft/snapshots`.
//!
//! A snapshot is written beside the others, flushed, and only then takes its name `<term>-<index>`, so one that has its name is
//! whole; its contents carry a checksum of their own. The newest that can be read counts. Flushes in small steps, so that the log
//! on the same disk never waits long for its own.

use std::{
    fs::{self, File},
    io::{self, BufReader, Write},
    path::{Path, PathBuf},
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
};

use super::{Contents, Head, Image};
use crate::{
    raft::codec,
    rt::durable::{create_dir, sync_all, sync_data, sync_dir},
    store::{self, State},
};

/// Snapshots kept: one more than needed, should the newest turn out unreadable.
pub(in crate::raft) const KEEP: usize = 2;
/// Bytes written between two flushes.
const STEP: usize = 2 << 20;
pub(in crate::raft) const META: &str = "meta";
pub(in crate::raft) const STATE: &str = "state.bin";
/// Begins the name of a snapshot that is being written.
const UNFINISHED: &str = "tmp-";
/// What the name of a snapshot begins with while another one of the same entry takes its place.
const FORMER: &str = "former-";

/// The snapshots of one directory.
#[derive(Clone, Debug)]
pub(in crate::raft) struct Archive {
    dir: PathBuf,
    /// Numbers what is being written, so that no two get in each other's way.
    next: Arc<AtomicU64>,
}

/// What an archive begins with.
#[derive(Debug, Default)]
pub(in crate::raft) struct Found {
    /// The newest snapshot that can be read, and its state.
    pub(in crate::raft) newest: Option<(Image, State)>,
    /// What cannot be read of the newer ones, naming the file.
    pub(in crate::raft) damaged: Vec<String>,
}

impl Archive {
    /// Creates the directory if need be, removes what was never finished and takes back what was not replaced after all.
    pub(in crate::raft) fn open(dir: &Path) -> io::Result<Self> {
        create_dir(dir)?;
        for entry in fs::read_dir(dir)? {
            let entry = entry?;
            let name = entry.file_name();
            let name = name.to_string_lossy();
            if name.starts_with(UNFINISHED) {
                remove_if_there(&entry.path())?;
            } else if let Some(name) = name.strip_prefix(FORMER) {
                if dir.join(name).is_dir() {
                    remove_if_there(&entry.path())?;
                } else {
                    fs::rename(entry.path(), dir.join(name))?;
                }
            }
        }
        Ok(Self { dir: dir.to_owned(), next: Arc::default() })
    }

    /// What is told about every snapshot, newest first; those whose head cannot be read are left out.
    pub(in crate::raft) fn heads(&self) -> io::Result<Vec<Head>> {
        Ok(list(&self.dir)?.iter().filter_map(|(_, path)| read_head(path).ok()).collect())
    }

    /// The newest snapshot that can be read; one that cannot is told of and passed over.
    pub(in crate::raft) fn newest(&self) -> io::Result<Found> {
        let mut found = Found::default();
        for (_, path) in list(&self.dir)? {
            match read(&path) {
                Ok((head, state)) => {
                    found.newest = Some((Image { head, contents: Contents::File(path.join(STATE)) }, state));
                    break;
                }
                Err((file, error)) => {
                    tracing::error!(%error, path = %file.display(), "snapshot cannot be read, trying the one before");
                    found.damaged.push(format!("{}: {error}", file.display()));
                }
            }
        }
        Ok(found)
    }

    /// Writes a snapshot; it is on disk when this returns. Removes the oldest ones.
    pub(in crate::raft) fn save(&self, head: Head, state: &State) -> io::Result<Image> {
        let unfinished = self.begin()?;
        let written = Steps::create(&unfinished.join(STATE)).and_then(|mut file| {
            store::snapshot::write(state, &mut file)?;
            file.finish()
        });
        match written {
            Ok(size_bytes) => self.keep(&unfinished, Head { size_bytes, ..head }),
            Err(error) => {
                remove_if_there(&unfinished)?;
                Err(error)
            }
        }
    }

    /// A directory of its own for a snapshot to be written.
    pub(super) fn begin(&self) -> io::Result<PathBuf> {
        let path = self.dir.join(format!("{UNFINISHED}{}", self.next.fetch_add(1, Ordering::Relaxed)));
        remove_if_there(&path)?;
        fs::create_dir(&path)?;
        Ok(path)
    }

    /// The file of contents in such a directory.
    pub(super) fn contents(unfinished: &Path) -> io::Result<Steps> {
        Steps::create(&unfinished.join(STATE))
    }

    /// Takes a snapshot whose contents are written and flushed under its name. Removes the oldest ones.
    pub(in crate::raft) fn keep(&self, unfinished: &Path, head: Head) -> io::Result<Image> {
        let (term, index) = head.place();
        let path = self.dir.join(format!("{term}-{index}"));
        let mut file = File::create(unfinished.join(META))?;
        file.write_all(&codec::encode(&head)?)?;
        sync_all(&file)?;
        sync_dir(unfinished)?;
        // A snapshot of the same entry has the same state; the other server's or the rebuilt one replaces it. The former one goes last, under
        // another name: a crash leaves one of the two.
        let former = self.dir.join(format!("{FORMER}{term}-{index}"));
        remove_if_there(&former)?;
        if path.is_dir() {
            fs::rename(&path, &former)?;
        }
        fs::rename(unfinished, &path)?;
        sync_dir(&self.dir)?;
        remove_if_there(&former)?;
        for (_, old) in list(&self.dir)?.into_iter().skip(KEEP) {
            fs::remove_dir_all(old)?;
        }
        Ok(Image { head, contents: Contents::File(path.join(STATE)) })
    }
}

/// Term, index and path of every snapshot in this directory, newest first.
pub(in crate::raft) fn list(dir: &Path) -> io::Result<Vec<((u64, u64), PathBuf)>> {
    let mut found = Vec::new();
    for entry in fs::read_dir(dir)? {
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

pub(super) fn remove_if_there(path: &Path) -> io::Result<()> {
    let removed = if path.is_dir() { fs::remove_dir_all(path) } else { fs::remove_file(path) };
    match removed {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
        _ => Ok(()),
    }
}

fn read_head(path: &Path) -> io::Result<Head> {
    let mut head: Head = codec::decode(&fs::read(path.join(META))?)?;
    let state = fs::metadata(path.join(STATE))?;
    if head.size_bytes == 0 {
        head.size_bytes = state.len();
    }
    if head.taken_at_ms == 0 {
        let since = state.modified()?.duration_since(std::time::UNIX_EPOCH).unwrap_or_default();
        head.taken_at_ms = u64::try_from(since.as_millis()).unwrap_or(0);
    }
    Ok(head)
}

/// Head and state, or which file is at fault and why.
fn read(path: &Path) -> Result<(Head, State), (PathBuf, io::Error)> {
    let head = read_head(path).map_err(|error| (path.join(META), error))?;
    let state = File::open(path.join(STATE)).and_then(|file| store::snapshot::read(BufReader::new(file)));
    Ok((head, state.map_err(|error| (path.join(STATE), error))?))
}

/// A file that is flushed every few megabytes: a large flush at once would hold up every other one on the disk.
#[derive(Debug)]
pub(super) struct Steps {
    file: File,
    buffer: Vec<u8>,
    written: u64,
}

impl Steps {
    fn create(path: &Path) -> io::Result<Self> {
        Ok(Self { file: File::create(path)?, buffer: Vec::with_capacity(STEP), written: 0 })
    }

    fn step(&mut self) -> io::Result<()> {
        self.file.write_all(&self.buffer)?;
        self.written += self.buffer.len() as u64;
        self.buffer.clear();
        sync_data(&self.file)
    }

    /// Flushes the rest; answers how many bytes there are.
    pub(super) fn finish(mut self) -> io::Result<u64> {
        self.step()?;
        sync_all(&self.file)?;
        Ok(self.written)
    }
}

impl Write for Steps {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let taken = bytes.len().min(STEP - self.buffer.len());
        self.buffer.extend_from_slice(&bytes[..taken]);
        if self.buffer.len() == STEP {
            self.step()?;
        }
        Ok(taken)
    }

    /// Does nothing: what counts is [`Steps::finish`].
    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use openraft::vote::RaftLeaderId as _;

    use super::*;
    use crate::{
        raft::types,
        rt::{Rng, flushed::Flushed},
        store::{Command, Store},
    };

    fn head(term: u64, index: u64) -> Head {
        let leader = openraft::impls::leader_id_std::LeaderId::new(term, types::NodeId::default()).to_committed();
        Head { last_log_id: Some(types::LogId::new(leader, index)), ..Head::default() }
    }

    fn newest(archive: &Archive) -> Option<u64> {
        archive.newest().expect("lists").newest.map(|(image, _)| image.head.place().1)
    }

    #[test]
    fn the_newest_readable_snapshot_counts_and_old_ones_go() {
        let dir = tempfile::tempdir().expect("temp dir");
        let archive = Archive::open(dir.path()).expect("opens");
        assert_eq!(newest(&archive), None);
        for (term, index) in [(1, 900), (1, 1000), (2, 1100)] {
            archive.save(head(term, index), &State::default()).expect("saves");
        }
        assert_eq!(newest(&archive), Some(1100));
        assert_eq!(list(dir.path()).expect("lists").len(), KEEP);
        let damaged = dir.path().join("2-1100").join(STATE);
        fs::write(&damaged, b"").expect("damages it");
        assert_eq!(newest(&archive), Some(1000));
        let told = archive.newest().expect("lists").damaged;
        assert_eq!(told, [format!("{}: snapshot: empty", damaged.display())]);
        // Saving the same one again replaces it.
        archive.save(head(2, 1100), &State::default()).expect("saves");
        assert_eq!(newest(&archive), Some(1100));
    }

    #[test]
    fn a_snapshot_tells_when_where_and_by_whom_it_was_taken() {
        let dir = tempfile::tempdir().expect("temp dir");
        let archive = Archive::open(dir.path()).expect("opens");
        let noted = Head { taken_at_ms: 77, server: "s1".to_owned(), version: "0.1.0".to_owned(), ..head(3, 8) };
        archive.save(noted, &State::default()).expect("saves");
        let heads = archive.heads().expect("lists");
        let size = fs::metadata(dir.path().join("3-8").join(STATE)).expect("is there").len();
        let told = heads[0].summary();
        assert_eq!((told.term, told.index, told.size_bytes, told.taken_at_ms), (3, 8, size, 77));
        assert_eq!((told.server.as_str(), told.version.as_str()), ("s1", "0.1.0"));
    }

    #[test]
    fn a_head_that_notes_nothing_else_is_that_of_an_older_version() {
        let dir = tempfile::tempdir().expect("temp dir");
        let archive = Archive::open(dir.path()).expect("opens");
        archive.save(head(3, 8), &State::default()).expect("saves");
        fs::write(dir.path().join("3-8").join(META), codec::encode(&head(3, 8).meta()).expect("encodes")).expect("writes");
        let told = archive.heads().expect("lists").remove(0);
        assert_eq!(told.place(), (3, 8));
        assert!(told.size_bytes > 0 && told.taken_at_ms > 0 && told.version.is_empty());
        assert_eq!(newest(&archive), Some(8));
    }

    #[test]
    fn a_crash_while_a_snapshot_is_replaced_leaves_one_of_the_two() {
        let dir = tempfile::tempdir().expect("temp dir");
        let archive = Archive::open(dir.path()).expect("opens");
        archive.save(head(3, 8), &State::default()).expect("saves");
        let (path, former) = (dir.path().join("3-8"), dir.path().join("former-3-8"));
        // After the former one made room.
        fs::rename(&path, &former).expect("renames");
        assert_eq!(newest(&archive), None);
        assert_eq!(newest(&Archive::open(dir.path()).expect("opens")), Some(8));
        // After the new one took its place.
        fs::create_dir(&former).expect("creates");
        assert_eq!(newest(&Archive::open(dir.path()).expect("opens")), Some(8));
        assert!(!former.exists());
    }

    #[test]
    fn what_was_never_finished_is_removed() {
        let dir = tempfile::tempdir().expect("temp dir");
        fs::create_dir(dir.path().join("tmp-3-7")).expect("creates");
        let archive = Archive::open(dir.path()).expect("opens");
        assert_eq!(newest(&archive), None);
        assert!(!dir.path().join("tmp-3-7").exists());
    }

    /// A state with so many keys.
    fn state(keys: u64) -> State {
        let store = Store::new();
        let put = |at: u64| {
            let write = shared::kv::Write { op: shared::kv::Op::Set, key: format!("k{at}"), flags: 0, value: vec![7; 300] };
            (at, Command::Kv { write, at_ms: at })
        };
        store.commit(&(1..=keys).map(put).collect::<Vec<_>>());
        State::clone(&store.state())
    }

    #[test]
    fn a_power_cut_while_a_snapshot_is_saved_leaves_that_or_the_one_before() {
        let (dir, rng) = (tempfile::tempdir().expect("temp dir"), Rng::from_seed(1));
        let flushed = Flushed::watch(dir.path()).recording();
        let archive = Archive::open(&dir.path().join("snapshots")).expect("opens");
        let found = |dir: &tempfile::TempDir| {
            let found = Archive::open(&dir.path().join("snapshots")).expect("opens").newest().expect("lists");
            assert!(found.damaged.is_empty(), "{:?}", found.damaged);
            found.newest.map(|(image, state)| {
                assert_eq!(state.index, image.head.place().1);
                state.index
            })
        };
        let (mut before, mut cuts) = (None, 0);
        // More than are kept, the last one of several pieces.
        for keys in [10, 20, 30, 40, 10_000] {
            archive.save(head(1, keys), &state(keys)).expect("saves");
            for moment in flushed.moments() {
                cuts += 1;
                for dir in [moment.worst(), moment.any(&rng), moment.any(&rng)] {
                    let found = found(&dir);
                    assert!(found == before || found == Some(keys), "{found:?} of {before:?} and {keys}");
                }
            }
            let moment = flushed.now();
            assert_eq!([found(&moment.worst()), found(&moment.any(&rng))], [Some(keys); 2], "it said that it is on disk");
            before = Some(keys);
        }
        assert!(cuts > 20, "{cuts}");
    }
}
