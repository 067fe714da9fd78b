//! Every log store: openraft's own suite, crashes that lose what was not flushed, damage.

use std::{collections::BTreeMap, time::Duration};

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
    disk::{self as disk_files, Disk as _},
    tree::PURGE_BATCH,
    *,
};
use crate::{
    raft::{
        codec,
        logged::Logged,
        machine::{Machine, Origin},
        types::{Entry, NodeId, Types},
    },
    rt::{
        Clock, Rng, Tasks, clock,
        flushed::{Flushed, is_of_sled},
    },
    store::{Command, Store},
};

struct Build(&'static str);

impl StoreBuilder<Types, LogStore, Machine, TempDir> for Build {
    async fn build(&self) -> Result<(TempDir, LogStore, Machine), openraft::StorageError<Types>> {
        let (dir, tasks) = (tempfile::tempdir().expect("temp dir"), Tasks::new());
        let log = match self.0 {
            "memory" => LogStore::in_memory(),
            // A cache of nothing makes every read come from disk.
            backend => {
                LogStore::with_cache(open(dir.path(), backend).expect("opens"), &tasks, Place::Threads(tasks.clone()), 0).expect("opens").0
            }
        };
        Ok((dir, log, Machine::in_memory(Arc::new(Store::new()), origin(&tasks))))
    }
}

fn origin(tasks: &Tasks) -> Origin {
    Origin { server: "s1".to_owned(), clock: Clock::system(), tasks: tasks.clone() }
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

fn log_id(term: u64, index: u64) -> LogId {
    LogId::new(openraft::impls::leader_id_std::LeaderId::new(term, NodeId::from(1)).to_committed(), index)
}

fn entry(term: u64, index: u64) -> Entry {
    let key = format!("{term}/{index}/{}", "x".repeat((index % 7 * 60) as usize));
    let write = kv::Write { op: kv::Op::Set, key, flags: 0, value: Vec::new() };
    Entry::new(log_id(term, index), EntryPayload::Normal(Logged::Known(Command::Kv { write, at_ms: 1 })))
}

fn store(disk: &faulty::Disk, segment_bytes: u64) -> io::Result<LogStore> {
    let (opened, place) = disk.open_log_with(segment_bytes)?;
    Ok(LogStore::with_cache(opened, &Tasks::new(), place, 2048)?.0)
}

fn disk(seed: u64) -> faulty::Disk {
    faulty::Disk::new(&Rng::from_seed(seed), Duration::from_millis(5))
}

async fn entries(log: &mut LogStore) -> Vec<Entry> {
    log.try_get_log_entries(0..u64::MAX).await.expect("reads")
}

/// What a log holds; entries as text.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
struct Model {
    entries: BTreeMap<u64, String>,
    vote: Option<Vote>,
    purged: Option<LogId>,
}

/// One change that is there or not, never half.
#[derive(Clone, Debug)]
enum Step {
    Append(Entry),
    Vote(Vote),
    /// From this index on.
    Truncate(u64),
    Purge(LogId),
}

impl Model {
    fn next(&self) -> u64 {
        let after = |index: u64| index + 1;
        let purged = self.purged.map_or(0, |id| id.index() + 1);
        self.entries.keys().next_back().copied().map_or(purged, after)
    }

    fn take(&mut self, step: &Step) {
        match step {
            Step::Append(entry) => drop(self.entries.insert(entry.index(), format!("{entry:?}"))),
            Step::Vote(vote) => self.vote = Some(*vote),
            Step::Truncate(from) => self.entries.retain(|index, _| index < from),
            Step::Purge(upto) => {
                self.purged = Some(*upto);
                self.entries.retain(|index, _| *index > upto.index());
            }
        }
    }

    /// What Raft could do next.
    fn choose(&self, term: u64, rng: &Rng) -> Vec<Step> {
        let last = self.entries.keys().next_back().copied();
        match (rng.below(8), last) {
            (0, _) => {
                let leader_id = openraft::impls::leader_id_std::LeaderId::new(term, NodeId::from(1));
                vec![Step::Vote(Vote { leader_id, committed: rng.below(2) == 0 })]
            }
            (1, Some(last)) => {
                let first = self.entries.keys().next().copied().unwrap_or(last);
                vec![Step::Truncate(last.saturating_sub(rng.below(6)).max(first))]
            }
            (2, Some(last)) => {
                vec![Step::Purge(log_id(term, last.saturating_sub(rng.below(30)).max(self.next() - self.entries.len() as u64)))]
            }
            // A snapshot that reaches further than the log.
            (3, _) if rng.below(4) == 0 => vec![Step::Purge(log_id(term, self.next() + rng.below(50)))],
            _ => (0..=rng.below(12)).map(|at| Step::Append(entry(term, self.next() + at))).collect(),
        }
    }
}

/// The model after every step so far, and how many steps are known to be on disk.
struct History {
    states: Vec<Model>,
    durable: usize,
}

impl History {
    /// Nothing but what is found.
    fn from(found: Model) -> Self {
        Self { states: vec![found], durable: 0 }
    }

    fn now(&self) -> &Model {
        self.states.last().expect("never empty")
    }

    fn take(&mut self, steps: &[Step]) {
        for step in steps {
            let mut next = self.now().clone();
            next.take(step);
            self.states.push(next);
        }
    }

    /// Fails unless the log is as it was after some step, none that was acknowledged left out.
    fn check(&self, found: &Model, what: &str) {
        let possible = &self.states[self.durable..];
        assert!(possible.contains(found), "{what}: found {found:?}\nacknowledged {:?}\nnewest {:?}", possible[0], self.now());
    }
}

async fn found(log: &mut LogStore) -> Model {
    let all = entries(log).await;
    Model {
        entries: all.into_iter().map(|entry| (entry.index(), format!("{entry:?}"))).collect(),
        vote: log.read_vote().await.expect("reads"),
        purged: log.get_log_state().await.expect("reads").last_purged_log_id,
    }
}

/// Does one step, and waits for it at most for a random while; answers whether it was acknowledged.
async fn act(log: &mut LogStore, step: &Step, rng: &Rng) -> bool {
    let acting = async {
        match step {
            Step::Append(entry) => {
                let (sender, flushed) = Types::oneshot();
                log.append([entry.clone()], IOFlushed::signal(sender)).await.expect("is queued");
                // Raft goes on before the flush.
                if rng.below(3) > 0 {
                    return false;
                }
                flushed.await.expect("is answered").expect("is flushed");
            }
            Step::Vote(vote) => log.save_vote(vote).await.expect("saves"),
            Step::Truncate(0) => log.truncate_after(None).await.expect("truncates"),
            Step::Truncate(from) => log.truncate_after(Some(log_id(0, from - 1))).await.expect("truncates"),
            Step::Purge(upto) => log.purge(*upto).await.expect("purges"),
        }
        // A purge may be lost: the entries are still there then, which does no harm.
        !matches!(step, Step::Purge(_))
    };
    clock::timeout(rng.jitter(Duration::from_millis(30)), acting).await.unwrap_or(false)
}

/// One life of the log, which ends with a crash in the midst of anything.
async fn live(disk: &faulty::Disk, rng: &Rng, before: Option<History>, term: &mut u64) -> History {
    let mut log = store(disk, 4096).expect("opens again");
    let now = found(&mut log).await;
    if let Some(before) = before {
        before.check(&now, "after a crash");
    }
    let mut history = History::from(now);
    for _ in 0..rng.below(40) {
        *term += 1;
        for step in history.now().choose(*term, rng) {
            history.take(std::slice::from_ref(&step));
            // What was handed over is written in order: whoever is acknowledged proves all before.
            if act(&mut log, &step, rng).await {
                history.durable = history.states.len() - 1;
            }
        }
        log.save_committed(Some(log_id(*term, history.now().next()))).await.expect("saves");
    }
    history
}

#[tokio::test(start_paused = true)]
async fn a_wal_found_after_a_crash_lacks_nothing_but_what_was_not_flushed() {
    for seed in 0..60 {
        let (rng, mut disk, mut term, mut history) = (Rng::from_seed(seed), disk(seed), 0, None);
        for _ in 0..12 {
            history = Some(live(&disk, &rng, history, &mut term).await);
            disk = disk.crash();
        }
        assert!(term > 20, "seed {seed} did little");
    }
}

/// A log of two segments, each batch one entry; the names of its files.
async fn written() -> (faulty::Disk, Vec<String>) {
    let disk = disk(1);
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
    let disk = disk(1);
    let mut log = store(&disk, 1024).expect("opens");
    log.blocking_append([entry(1, 0)]).await.expect("appends");
    disk.fail(io::ErrorKind::StorageFull, "No space left on device");
    let error = log.blocking_append([entry(1, 1)]).await.expect_err("fails").to_string();
    assert!(error.contains("No space left on device"), "{error}");
    disk.heal();
    assert!(log.blocking_append([entry(1, 2)]).await.is_err(), "the disk works again, but nobody knows what it lost");
}

#[tokio::test]
async fn purging_removes_whole_segments() {
    let (disk, names) = written().await;
    let mut log = store(&disk, 1024).expect("opens");
    log.purge(log_id(1, 11)).await.expect("purges");
    assert_eq!(disk.list().expect("lists"), names, "not before it is known on disk");
    log.save_vote(&Vote::new(1, NodeId::from(1))).await.expect("saves");
    log.save_vote(&Vote::new(1, NodeId::from(1))).await.expect("saves");
    assert_eq!(disk.list().expect("lists"), names[names.len() - 1..]);
    let mut log = store(&disk, 1024).expect("opens");
    assert_eq!(log.get_log_state().await.expect("reads").last_log_id, Some(log_id(1, 11)));
}

#[tokio::test(start_paused = true)]
async fn a_clean_stop_leaves_nothing_that_a_crash_could_lose() {
    for seed in 0..20 {
        let disk = disk(seed);
        let (opened, place) = disk.open_log_with(1024).expect("opens");
        let (mut log, writer) = LogStore::on_disk(opened, &Tasks::new(), place).expect("opens");
        for index in 0..12 {
            log.blocking_append([entry(1, index)]).await.expect("appends");
        }
        // Both ride on the next flush, which never comes.
        log.purge(log_id(1, 7)).await.expect("purges");
        log.save_committed(Some(log_id(1, 10))).await.expect("saves");
        drop(log);
        writer.await.expect("ends");
        let mut log = store(&disk.crash(), 1024).expect("opens");
        assert_eq!(log.get_log_state().await.expect("reads").last_purged_log_id, Some(log_id(1, 7)), "seed {seed}");
        assert_eq!(log.read_committed().await.expect("reads"), Some(log_id(1, 10)), "seed {seed}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_stop_does_not_flush_a_disk_that_failed() {
    let disk = disk(1);
    let (opened, place) = disk.open_log_with(1024).expect("opens");
    let (mut log, writer) = LogStore::on_disk(opened, &Tasks::new(), place).expect("opens");
    log.blocking_append([entry(1, 0)]).await.expect("appends");
    disk.fail(io::ErrorKind::StorageFull, "No space left on device");
    assert!(log.blocking_append([entry(1, 1)]).await.is_err());
    disk.heal();
    drop(log.save_committed(Some(log_id(1, 1))).await);
    drop(log);
    writer.await.expect("ends");
    let mut log = store(&disk.crash(), 1024).expect("opens");
    assert_eq!(log.read_committed().await.expect("reads"), None, "nobody knows what the disk lost");
}

/// What the newest entries take in memory, and that the others are still read.
#[tokio::test]
async fn the_cache_keeps_no_more_bytes_than_it_may_and_older_entries_come_from_disk() {
    let (disk, budget) = (disk(3), 64 << 10);
    let (opened, place) = disk.open_log_with(256 << 10).expect("opens");
    let mut log = LogStore::with_cache(opened, &Tasks::new(), place, budget).expect("opens").0;
    let large = |index: u64| {
        let write = kv::Write { op: kv::Op::Set, key: index.to_string(), flags: 0, value: vec![7; 4000] };
        Entry::new(log_id(1, index), EntryPayload::Normal(Logged::Known(Command::Kv { write, at_ms: 1 })))
    };
    for start in (0..400).step_by(8) {
        log.blocking_append((start..start + 8).map(large)).await.expect("appends");
        assert!(log.cached_bytes() <= budget, "{} bytes at entry {start}", log.cached_bytes());
    }
    let all = entries(&mut log).await;
    assert_eq!(all.iter().map(openraft::entry::RaftEntry::index).collect::<Vec<_>>(), (0..400).collect::<Vec<_>>());
    let some = log.limited_get_log_entries(0, 400).await.expect("reads");
    assert!(!some.is_empty() && some.len() <= 400, "a message has a limit, too");
    assert_eq!(format!("{:?}", log.try_get_log_entries(5..7).await.expect("reads")), format!("{:?}", [large(5), large(6)]));
}

/// A directory whose files are removed only once that is allowed, as slowly as a disk may be.
struct Reluctant {
    files: disk_files::Directory,
    allowed: std::sync::Mutex<std::sync::mpsc::Receiver<()>>,
}

impl disk_files::Disk for Reluctant {
    fn list(&self) -> io::Result<Vec<String>> {
        self.files.list()
    }

    fn create(&self, name: &str) -> io::Result<Arc<dyn disk_files::Blocks>> {
        self.files.create(name)
    }

    fn open(&self, name: &str) -> io::Result<Arc<dyn disk_files::Blocks>> {
        self.files.open(name)
    }

    fn remove(&self, name: &str) -> io::Result<()> {
        // Until the other end is gone; a test that fails must end.
        let allowed = self.allowed.lock().expect("no panic").recv_timeout(Duration::from_secs(30));
        assert_ne!(allowed, Err(std::sync::mpsc::RecvTimeoutError::Timeout), "nobody allowed it");
        self.files.remove(name)
    }

    fn sync(&self) -> io::Result<()> {
        self.files.sync()
    }

    fn shown(&self, name: &str) -> String {
        self.files.shown(name)
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn appends_go_on_however_long_the_purge_of_many_segments_takes() {
    let (dir, tasks) = (tempfile::tempdir().expect("temp dir"), Tasks::new());
    let (allow, allowed) = std::sync::mpsc::channel();
    let files = disk_files::Directory::open(dir.path()).expect("opens");
    let opened = wal::open(Arc::new(Reluctant { files, allowed: allowed.into() }), 4096).expect("opens");
    let mut log = LogStore::with_cache(opened, &tasks, Place::Threads(tasks.clone()), 1 << 20).expect("opens").0;
    let segments = || std::fs::read_dir(dir.path()).expect("lists").count();
    let append = async |log: &mut LogStore, index: u64| {
        let appended = clock::timeout(Duration::from_secs(20), log.blocking_append([entry(1, index)])).await;
        appended.unwrap_or_else(|_| panic!("entry {index} waits for the purge")).expect("appends");
    };
    for index in 0..200 {
        append(&mut log, index).await;
    }
    let before = segments();
    assert!(before > 8, "{before} files");
    log.purge(log_id(1, 190)).await.expect("purges");
    for index in 200..220 {
        append(&mut log, index).await;
    }
    assert!(segments() >= before, "nothing is removed yet");
    drop(allow);
    let deadline = clock::Instant::now() + Duration::from_secs(20);
    for index in 220.. {
        append(&mut log, index).await;
        if segments() <= 5 {
            break;
        }
        assert!(clock::Instant::now() < deadline, "{} of {before} files are left", segments());
        log.purge(log_id(1, index - 5)).await.expect("purges");
    }
    assert!(entries(&mut log).await.first().is_some_and(|first| first.index() >= 191));
}

fn model(opened: &Opened) -> Model {
    let encoded = opened.range.map(|(first, last)| opened.reader.read(first, last + 1, usize::MAX).expect("reads")).unwrap_or_default();
    let entries = encoded.into_iter().map(|(index, bytes)| (index, format!("{:?}", codec::decode::<Entry>(&bytes).expect("decodes"))));
    Model { entries: entries.collect(), vote: opened.head.vote, purged: opened.head.purged }
}

fn apply(backend: &mut dyn Backend, head: &mut Head, step: &Step) -> io::Result<()> {
    match step {
        Step::Append(entry) => backend.append(entry.index(), &codec::encode(entry)?),
        Step::Vote(vote) => {
            head.vote = Some(*vote);
            backend.set_head(head)
        }
        Step::Truncate(from) => backend.truncate_from(*from),
        Step::Purge(upto) => {
            head.purged = Some(*upto);
            backend.set_head(head)?;
            backend.purge_to(upto.index())
        }
    }
}

#[test]
fn sled_found_after_a_crash_in_a_flush_has_all_of_it_or_nothing() {
    for seed in 0..8 {
        let (rng, mut term) = (Rng::from_seed(seed), 0);
        let (mut dir, mut history) = (tempfile::tempdir().expect("temp dir"), None::<History>);
        for _ in 0..5 {
            let flushed = Flushed::watch(dir.path()).beside(is_of_sled).recording();
            let mut opened = open(&dir.path().join("raft"), "sled").unwrap_or_else(|error| panic!("seed {seed}: {error}"));
            let found = model(&opened);
            if let Some(before) = history {
                before.check(&found, &format!("seed {seed}"));
            }
            let (mut now, mut head) = (History::from(found), opened.head.clone());
            for _ in 0..=rng.below(6) {
                opened.backend.sync().expect("flushes");
                now.durable = now.states.len() - 1;
                term += 1;
                for step in (0..=rng.below(3)).flat_map(|_| now.now().choose(term, &rng)).collect::<Vec<_>>() {
                    // Chosen one after the other from the same state: only those that still fit count.
                    let fits = match &step {
                        Step::Append(entry) => entry.index() == now.now().next(),
                        Step::Purge(upto) => now.now().purged.is_none_or(|purged| purged < *upto),
                        _ => true,
                    };
                    if fits {
                        apply(opened.backend.as_mut(), &mut head, &step).expect("is taken");
                        now.take(std::slice::from_ref(&step));
                    }
                }
            }
            // The power goes while this is flushed, or now and then right after it.
            drop(flushed.moments());
            opened.backend.sync().expect("flushes");
            let mut moments = flushed.moments();
            let moment = if rng.below(4) == 0 {
                now.durable = now.states.len() - 1;
                flushed.now()
            } else {
                moments.swap_remove(usize::try_from(rng.below(moments.len() as u64)).expect("fits"))
            };
            let after = if rng.below(4) == 0 { moment.worst() } else { moment.any(&rng) };
            drop(opened);
            (dir, history) = (after, Some(now));
        }
        assert!(term > 5, "seed {seed} did little");
    }
}

/// On a real disk, whose page cache shows also what was never flushed: what is acknowledged is there after a power cut that
/// leaves nothing else, and whatever else it leaves does no harm.
async fn check_power_cuts(backend: &str, reopen: impl Fn(&Path) -> io::Result<Opened>) {
    let (dir, tasks, rng) = (tempfile::tempdir().expect("temp dir"), Tasks::new(), Rng::from_seed(1));
    let flushed = Flushed::watch(dir.path()).beside(is_of_sled);
    let opened = reopen(dir.path()).expect("opens");
    let mut log = LogStore::with_cache(opened, &tasks, Place::Threads(tasks.clone()), 0).expect("opens").0;
    for index in 0..20 {
        if index % 5 == 0 {
            log.save_vote(&Vote::new(index + 1, NodeId::from(1))).await.expect("saves");
        }
        log.blocking_append([entry(1, index)]).await.expect("appends");
        if index == 12 {
            log.purge(log_id(1, 7)).await.expect("purges");
        }
        let now = flushed.now();
        for (what, found) in [("the worst", now.worst()), ("any", now.any(&rng))] {
            let found = model(&reopen(found.path()).unwrap_or_else(|error| panic!("{backend}, entry {index}, {what}: {error}")));
            assert_eq!(found.entries.keys().next_back(), Some(&index), "{backend}, {what}");
            assert_eq!(found.entries.len() as u64, index + 1 - found.purged.map_or(0, |id| id.index() + 1), "{backend}, {what}");
            assert_eq!(found.vote, Some(Vote::new(index / 5 * 5 + 1, NodeId::from(1))), "{backend}, {what}");
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_acknowledged_is_there_after_a_power_cut() {
    check_power_cuts("wal", |dir| open(&dir.join("raft"), "wal")).await;
    check_power_cuts("sled", |dir| open(&dir.join("raft"), "sled")).await;
    // With many segments.
    check_power_cuts("small segments", |dir| wal::open(Arc::new(disk_files::Directory::open(&dir.join("wal"))?), 1024)).await;
}

#[test]
fn sled_removes_a_long_purged_log_little_by_little_also_after_a_restart() {
    const ENTRIES: u64 = 3 * PURGE_BATCH + 500;
    let dir = tempfile::tempdir().expect("temp dir");
    let mut opened = tree::open(dir.path()).expect("opens");
    for index in 0..ENTRIES {
        opened.backend.append(index, b"x").expect("is taken");
    }
    opened.backend.sync().expect("flushes");
    let mut head = opened.head.clone();
    head.purged = Some(log_id(1, ENTRIES - 1));
    opened.backend.set_head(&head).expect("is taken");
    opened.backend.purge_to(ENTRIES - 1).expect("is taken");
    let left = |opened: &Opened| opened.reader.read(0, u64::MAX, usize::MAX).expect("reads").len() as u64;
    assert_eq!(left(&opened), ENTRIES, "nobody waits for it");
    opened.backend.sync().expect("flushes");
    assert_eq!(left(&opened), ENTRIES - PURGE_BATCH);
    drop(opened);
    // The rest is as purged as before, and is not read anew.
    let mut opened = tree::open(dir.path()).expect("opens");
    assert_eq!((opened.range, left(&opened)), (None, ENTRIES - PURGE_BATCH));
    for round in 2..=4 {
        opened.backend.append(ENTRIES + round - 2, b"y").expect("goes on meanwhile");
        opened.backend.sync().expect("flushes");
        assert_eq!(left(&opened), ENTRIES.saturating_sub(round * PURGE_BATCH) + round - 1, "flush {round}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn one_flush_covers_many_appends() {
    for backend in ["wal", "sled"] {
        let (dir, tasks) = (tempfile::tempdir().expect("temp dir"), Tasks::new());
        let flushed = Flushed::watch(dir.path());
        let opened = open(&dir.path().join("raft"), backend).expect("opens");
        let mut log = LogStore::with_cache(opened, &tasks, Place::Threads(tasks.clone()), 0).expect("opens").0;
        log.blocking_append([entry(1, 0)]).await.expect("appends");
        let before = flushed.count();
        let mut waiting = Vec::new();
        for index in 1..=500 {
            let (sender, receiver) = Types::oneshot();
            log.append([entry(1, index)], IOFlushed::signal(sender)).await.expect("is queued");
            waiting.push(receiver);
        }
        for receiver in waiting {
            receiver.await.expect("is answered").expect("is flushed");
        }
        let flushes = flushed.count() - before;
        println!("{backend}: {flushes} flushes for 500 appends");
        assert!((1..=50).contains(&flushes), "{backend}: {flushes} flushes for 500 appends");
    }
}
