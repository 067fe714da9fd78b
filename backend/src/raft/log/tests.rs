//! Every log store: openraft's own suite, crashes that lose what was not flushed, damage.

use std::{
    collections::BTreeMap,
    path::PathBuf,
    sync::{Mutex, PoisonError},
};

use openraft::{
    EntryPayload, RaftLogReader as _,
    entry::RaftEntry as _,
    storage::{IOFlushed, RaftLogStorage as _, RaftLogStorageExt as _},
    testing::log::{StoreBuilder, Suite},
    type_config::TypeConfigExt as _,
    vote::RaftLeaderId as _,
};
use shared::kv;
use tempfile::TempDir;

use super::{
    disk::{Blocks, Disk},
    *,
};
use crate::{
    raft::{
        machine::Machine,
        types::{Entry, NodeId, Types},
    },
    rt::{Rng, Tasks},
    store::{Command, Store},
};

struct Build(&'static str);

impl StoreBuilder<Types, LogStore, Machine, TempDir> for Build {
    async fn build(&self) -> Result<(TempDir, LogStore, Machine), openraft::StorageError<Types>> {
        let (dir, tasks) = (tempfile::tempdir().expect("temp dir"), Tasks::new());
        let log = match self.0 {
            "memory" => LogStore::in_memory(),
            // A cache of nothing makes every read come from disk.
            backend => LogStore::with_cache(open(dir.path(), backend).expect("opens"), &tasks, 0).expect("opens").0,
        };
        Ok((dir, log, Machine::in_memory(Arc::new(Store::new()), &tasks)))
    }
}

async fn check_suite(backend: &'static str) {
    Suite::test_all(Build(backend)).await.unwrap_or_else(|error| panic!("{backend}: {error}"));
}

#[tokio::test]
async fn the_log_in_memory_passes_openrafts_suite() {
    check_suite("memory").await;
}

#[tokio::test]
async fn the_wal_passes_openrafts_suite() {
    check_suite("wal").await;
}

#[tokio::test]
async fn sled_passes_openrafts_suite() {
    check_suite("sled").await;
}

#[test]
fn an_unknown_store_is_refused() {
    let dir = tempfile::tempdir().expect("temp dir");
    let error = open(dir.path(), "redb").map(drop).expect_err("refused");
    assert_eq!(error.to_string(), "unknown raft log store \"redb\": use wal or sled");
}

#[test]
fn the_log_of_another_store_is_not_ignored() {
    let dir = tempfile::tempdir().expect("temp dir");
    drop(open(dir.path(), "wal").expect("opens"));
    let error = open(dir.path(), "sled").map(drop).expect_err("refused");
    assert!(error.to_string().ends_with("holds a raft log of another store than \"sled\""), "{error}");
}

/// Sectors survive a crash one by one.
const SECTOR: usize = 512;

#[derive(Clone, Default)]
struct Bytes {
    now: Vec<u8>,
    durable: Vec<u8>,
}

#[derive(Clone, Default)]
struct Files {
    now: BTreeMap<String, Bytes>,
    /// Names that survive a crash; contents of a removed file are those at its removal.
    durable: BTreeMap<String, Bytes>,
    fail: bool,
}

/// A disk that loses at a crash what was not flushed.
#[derive(Clone, Default)]
struct Forgetful(Arc<Mutex<Files>>);

struct Handle(Forgetful, String);

impl Forgetful {
    fn with<T>(&self, act: impl FnOnce(&mut Files) -> T) -> T {
        act(&mut self.0.lock().unwrap_or_else(PoisonError::into_inner))
    }

    fn checked<T>(&self, act: impl FnOnce(&mut Files) -> Option<T>) -> io::Result<T> {
        self.with(|files| if files.fail { Err(io::Error::other("disk on fire")) } else { act(files).ok_or(io::ErrorKind::NotFound.into()) })
    }

    /// The disk as found after a crash: of each sector that was not flushed, chance decides which version it is.
    fn crash(&self, rng: &Rng) -> Self {
        self.with(|files| {
            let survive = |name: &String, bytes: &Bytes| {
                let bytes = files.now.get(name).unwrap_or(bytes);
                let length = if rng.below(2) == 0 { bytes.durable.len() } else { bytes.now.len() };
                let mut found = vec![0; length];
                for (at, sector) in found.chunks_mut(SECTOR).enumerate() {
                    let from = if rng.below(2) == 0 { &bytes.durable } else { &bytes.now };
                    let old = from.get(at * SECTOR..).unwrap_or_default();
                    let shared = old.len().min(sector.len());
                    sector[..shared].copy_from_slice(&old[..shared]);
                    // What was flushed and not overwritten is the same in both.
                    let kept = bytes.durable.get(at * SECTOR..).unwrap_or_default();
                    let kept = &kept[..kept.len().min(sector.len())];
                    sector[..kept.len()].copy_from_slice(kept);
                }
                (name.clone(), Bytes { now: found.clone(), durable: found })
            };
            let now: BTreeMap<_, _> = files.durable.iter().map(|(name, bytes)| survive(name, bytes)).collect();
            Self(Arc::new(Mutex::new(Files { durable: now.clone(), now, fail: false })))
        })
    }

    fn change(&self, name: &str, change: impl FnOnce(&mut Vec<u8>)) {
        self.with(|files| change(&mut files.now.get_mut(name).expect("is there").now));
    }
}

impl Disk for Forgetful {
    fn list(&self) -> io::Result<Vec<String>> {
        self.checked(|files| Some(files.now.keys().cloned().collect()))
    }

    fn create(&self, name: &str) -> io::Result<Arc<dyn Blocks>> {
        self.checked(|files| files.now.insert(name.to_owned(), Bytes::default()).is_none().then_some(()))?;
        self.open(name)
    }

    fn open(&self, name: &str) -> io::Result<Arc<dyn Blocks>> {
        self.checked(|files| files.now.get(name).map(drop))?;
        Ok(Arc::new(Handle(self.clone(), name.to_owned())))
    }

    fn remove(&self, name: &str) -> io::Result<()> {
        self.checked(|files| files.now.remove(name).map(drop))
    }

    fn sync(&self) -> io::Result<()> {
        self.checked(|files| {
            files.durable = files.now.clone();
            Some(())
        })
    }

    fn shown(&self, name: &str) -> String {
        PathBuf::from("/disk").join(name).display().to_string()
    }
}

impl Handle {
    fn bytes<T>(&self, act: impl FnOnce(&mut Bytes) -> T) -> io::Result<T> {
        self.0.checked(|files| files.now.get_mut(&self.1).map(act))
    }
}

impl Blocks for Handle {
    fn write_at(&self, offset: u64, bytes: &[u8]) -> io::Result<()> {
        let offset = usize::try_from(offset).expect("small");
        self.bytes(|file| {
            file.now.resize(file.now.len().max(offset + bytes.len()), 0);
            file.now[offset..offset + bytes.len()].copy_from_slice(bytes);
        })
    }

    fn read_at(&self, offset: u64, length: usize) -> io::Result<Vec<u8>> {
        let offset = usize::try_from(offset).expect("small");
        self.bytes(|file| file.now.get(offset..offset + length).map(<[u8]>::to_vec))?.ok_or(io::ErrorKind::UnexpectedEof.into())
    }

    fn length(&self) -> io::Result<u64> {
        self.bytes(|file| file.now.len() as u64)
    }

    fn cut(&self, length: u64) -> io::Result<()> {
        self.bytes(|file| file.now.truncate(usize::try_from(length).expect("small")))
    }

    fn sync(&self) -> io::Result<()> {
        self.bytes(|file| file.durable.clone_from(&file.now))
    }
}

fn log_id(term: u64, index: u64) -> LogId {
    LogId::new(openraft::impls::leader_id_std::LeaderId::new(term, NodeId::from(1)).to_committed(), index)
}

fn entry(term: u64, index: u64) -> Entry {
    let key = format!("{term}/{index}/{}", "x".repeat((index % 7 * 60) as usize));
    let write = kv::Write { op: kv::Op::Set, key, flags: 0, value: Vec::new() };
    Entry::new(log_id(term, index), EntryPayload::Normal(Command::Kv { write, at_ms: 1 }))
}

fn store(disk: &Forgetful, segment_bytes: u64) -> io::Result<LogStore> {
    let opened = wal::open(Arc::new(disk.clone()), segment_bytes)?;
    Ok(LogStore::with_cache(opened, &Tasks::new(), 2048)?.0)
}

async fn entries(log: &mut LogStore) -> Vec<Entry> {
    log.try_get_log_entries(0..u64::MAX).await.expect("reads")
}

/// What an observer of the log may rely on.
#[derive(Default)]
struct Promised {
    entries: BTreeMap<u64, Entry>,
    next: u64,
    vote: Option<Vote>,
    term: u64,
}

/// One life of the log, which ends with a crash; answers what it found on disk first.
async fn live(disk: &Forgetful, rng: &Rng, promised: &mut Promised) {
    let mut log = store(disk, 4096).expect("opens again");
    let found = entries(&mut log).await;
    let found: BTreeMap<u64, Entry> = found.into_iter().map(|entry| (entry.index(), entry)).collect();
    for (index, entry) in &promised.entries {
        let same = found.get(index).is_some_and(|found| format!("{found:?}") == format!("{entry:?}"));
        assert!(same, "entry {index} was acknowledged and is gone");
    }
    assert_eq!(log.read_vote().await.expect("reads"), promised.vote);
    promised.next = log.get_log_state().await.expect("reads").last_log_id.map_or(0, |id| id.index() + 1);
    promised.entries = found;
    for _ in 0..rng.below(8) {
        promised.term += 1;
        let mut waiting = Vec::new();
        for _ in 0..rng.below(20) {
            let (sender, flushed) = Types::oneshot();
            let entry = entry(promised.term, promised.next);
            log.append([entry.clone()], IOFlushed::signal(sender)).await.expect("appends");
            waiting.push((entry, flushed));
            promised.next += 1;
        }
        let answered = if rng.below(3) == 0 { rng.below(waiting.len() as u64 + 1) } else { waiting.len() as u64 };
        for (entry, flushed) in waiting.into_iter().take(usize::try_from(answered).expect("small")) {
            flushed.await.expect("is answered").expect("is flushed");
            promised.entries.insert(entry.index(), entry);
        }
        match rng.below(4) {
            0 => {
                let vote =
                    Vote { leader_id: openraft::impls::leader_id_std::LeaderId::new(promised.term, NodeId::from(1)), committed: false };
                log.save_vote(&vote).await.expect("saves");
                promised.vote = Some(vote);
            }
            1 if promised.next > 0 => {
                let last = promised.entries.keys().next_back().copied().unwrap_or(0);
                if let Some(keep) = promised.entries.get(&last.saturating_sub(rng.below(4))).map(openraft::entry::RaftEntry::log_id) {
                    log.truncate_after(Some(keep)).await.expect("truncates");
                    promised.entries.retain(|index, _| *index <= keep.index());
                    promised.next = keep.index() + 1;
                }
            }
            2 => {
                let upto = promised.entries.keys().copied().nth(usize::try_from(rng.below(30)).expect("small"));
                if let Some(upto) = upto.and_then(|upto| promised.entries.get(&upto)).map(openraft::entry::RaftEntry::log_id) {
                    log.purge(upto).await.expect("purges");
                    promised.entries.retain(|index, _| *index > upto.index());
                }
            }
            _ => log.save_committed(Some(log_id(promised.term, promised.next))).await.expect("saves"),
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_crash_that_loses_what_was_not_flushed_loses_no_acknowledged_entry() {
    for seed in 0..40 {
        let (rng, mut promised, mut disk) = (Rng::from_seed(seed), Promised::default(), Forgetful::default());
        for _ in 0..12 {
            live(&disk, &rng, &mut promised).await;
            disk = disk.crash(&rng);
        }
        assert!(promised.term > 0, "seed {seed} did nothing");
    }
}

/// A log of two segments, each batch one entry; the names of its files.
async fn written() -> (Forgetful, Vec<String>) {
    let disk = Forgetful::default();
    let mut log = store(&disk, 1024).expect("opens");
    for index in 0..12 {
        log.blocking_append([entry(1, index)]).await.expect("appends");
    }
    let names = disk.list().expect("lists");
    assert!(names.len() > 1, "{names:?}");
    (disk, names)
}

#[tokio::test]
async fn damage_in_the_middle_refuses_to_start_naming_file_and_offset() {
    let (disk, names) = written().await;
    disk.change(&names[0], |bytes| bytes[200] ^= 1);
    let error = store(&disk, 1024).map(drop).expect_err("refused").to_string();
    assert!(error.starts_with(&format!("raft log /disk/{} is damaged at offset ", names[0])), "{error}");
    let offset: usize = error.split(' ').nth_back(5).and_then(|word| word.trim_end_matches(':').parse().ok()).expect("an offset");
    assert!(offset <= 200, "{error}");
}

#[tokio::test]
async fn a_missing_segment_refuses_to_start() {
    let (disk, names) = written().await;
    assert!(names.len() > 2, "{names:?}");
    disk.remove(&names[1]).expect("removes");
    let error = store(&disk, 1024).map(drop).expect_err("refused").to_string();
    assert_eq!(error, format!("raft log /disk/{} is damaged at offset 0: the file is missing", names[1]));
}

#[tokio::test]
async fn a_torn_tail_is_cut_off_and_the_log_goes_on() {
    let (disk, names) = written().await;
    disk.change(names.last().expect("has some"), |bytes| bytes.extend_from_slice(&[9, 0, 0, 0, 1, 2, 3, 4, 1]));
    let mut log = store(&disk, 1024).expect("opens");
    assert_eq!(entries(&mut log).await.len(), 12);
    log.blocking_append([entry(1, 12)]).await.expect("appends");
    let mut log = store(&disk, 1024).expect("opens");
    assert_eq!(entries(&mut log).await.len(), 13);
}

#[tokio::test]
async fn after_a_disk_error_the_log_takes_nothing_more() {
    let disk = Forgetful::default();
    let mut log = store(&disk, 1024).expect("opens");
    log.blocking_append([entry(1, 0)]).await.expect("appends");
    disk.with(|files| files.fail = true);
    assert!(log.blocking_append([entry(1, 1)]).await.is_err());
    disk.with(|files| files.fail = false);
    assert!(log.blocking_append([entry(1, 2)]).await.is_err(), "the disk works again, but nobody knows what it lost");
}

#[tokio::test]
async fn purging_removes_whole_segments() {
    let (disk, names) = written().await;
    let mut log = store(&disk, 1024).expect("opens");
    log.purge(log_id(1, 11)).await.expect("purges");
    assert_eq!(disk.list().expect("lists"), names[names.len() - 1..]);
    let mut log = store(&disk, 1024).expect("opens");
    assert_eq!(log.get_log_state().await.expect("reads").last_log_id, Some(log_id(1, 11)));
}
