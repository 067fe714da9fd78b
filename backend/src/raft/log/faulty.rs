//! A server's disk in memory, for tests and simulations (feature `sim`): a crash loses what was not flushed, sector by sector, and it
//! fails when told to. The log on it is the real one (`wal`); the newest snapshot lies on it, too.
//!
//! ```ignore
//! let disk = raft::faulty::Disk::new(&rng, Duration::from_millis(5));
//! let handle = raft::start_on(options, store, runtime, transport, &disk).await?;
//! // The machine dies. The disk first: nothing that the old life still does reaches the new one, and it acknowledges no more.
//! let disk = disk.crash();
//! handle.shutdown().await; // or drop its tokio runtime
//! let handle = raft::start_on(options, Arc::new(Store::new()), runtime, transport, &disk).await?;
//! ```
//!
//! Deterministic: no threads and no files; a flush takes a time drawn from the seed on tokio's clock, which may be paused.
//! Must never keep what a real disk may lose.

use std::{
    collections::BTreeMap,
    io,
    path::PathBuf,
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use super::{
    Opened,
    disk::{self, Blocks},
    flaw::{Flaw, Forgetful},
    wal,
    writer::{Place, Slowness},
};
use crate::{
    raft::machine::Newest,
    rt::{Rng, clock},
};

/// Sectors survive a crash one by one.
const SECTOR: usize = 512;
/// A segment of the log: small, so that it has many.
const SEGMENT_BYTES: u64 = 16 << 10;

#[derive(Clone, Default)]
struct Bytes {
    now: Vec<u8>,
    durable: Vec<u8>,
    /// What it was at the last flush that was acknowledged and not done.
    promised: Vec<u8>,
}

#[derive(Default)]
struct Files {
    now: BTreeMap<String, Bytes>,
    /// Names that survive a crash; contents of a removed file are those at its removal.
    durable: BTreeMap<String, Bytes>,
    /// What every access answers.
    failure: Option<(io::ErrorKind, String)>,
}

/// The disk of one server. Clones are the same disk.
#[derive(Clone)]
pub struct Disk {
    files: Arc<Mutex<Files>>,
    newest: Newest,
    rng: Rng,
    slowest_flush: Duration,
    stalled: Arc<Mutex<Option<clock::Instant>>>,
    flaw: Option<Flaw>,
}

impl std::fmt::Debug for Disk {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("faulty::Disk")
    }
}

struct Handle(Disk, String);

impl Disk {
    /// An empty disk whose flushes take up to so long.
    #[must_use]
    pub fn new(rng: &Rng, slowest_flush: Duration) -> Self {
        Self { files: Arc::default(), newest: Newest::default(), rng: rng.fork(), slowest_flush, stalled: Arc::default(), flaw: None }
    }

    /// The same disk with something wrong with it.
    #[must_use]
    pub fn with_flaw(self, flaw: Option<Flaw>) -> Self {
        Self { flaw, ..self }
    }

    /// The disk as found after a crash: of each sector that was not flushed, chance decides which version it is. This one
    /// answers nothing but errors from now on.
    #[must_use]
    pub fn crash(&self) -> Self {
        let durable = self.with(|files| {
            let survive = |name: &String, bytes: &Bytes| (name.clone(), self.survive(files.now.get(name).unwrap_or(bytes)));
            let survived: BTreeMap<_, _> = files.durable.iter().map(|(name, bytes)| survive(name, bytes)).collect();
            files.failure = Some((io::ErrorKind::Other, "the machine crashed".to_owned()));
            survived
        });
        let newest = self.newest.lock().unwrap_or_else(PoisonError::into_inner).clone();
        let files = Files { now: durable.clone(), durable, failure: None };
        let (rng, slowest_flush, flaw) = (self.rng.fork(), self.slowest_flush, self.flaw);
        let (files, newest) = (Arc::new(Mutex::new(files)), Arc::new(Mutex::new(newest)));
        Self { files, newest, rng, slowest_flush, stalled: Arc::default(), flaw }
    }

    /// From now on every access fails like this.
    pub fn fail(&self, kind: io::ErrorKind, reason: &str) {
        self.with(|files| files.failure = Some((kind, reason.to_owned())));
    }

    /// No flush ends before so much time has passed.
    pub fn stall(&self, time: Duration) {
        *self.stalled.lock().unwrap_or_else(PoisonError::into_inner) = Some(clock::Instant::now() + time);
    }

    /// The disk works again; nobody knows what it lost meanwhile.
    pub fn heal(&self) {
        self.with(|files| files.failure = None);
    }

    /// Opens the log.
    pub(in crate::raft) fn open_log(&self) -> io::Result<(Opened, Place)> {
        self.open_log_with(SEGMENT_BYTES)
    }

    /// As [`Disk::open_log`], with segments of this size.
    pub(super) fn open_log_with(&self, segment_bytes: u64) -> io::Result<(Opened, Place)> {
        let (rng, slowest_flush, stalled) = (self.rng.clone(), self.slowest_flush, self.stalled.clone());
        let place = Place::Inline(Slowness { rng, slowest_flush, stalled });
        let mut opened = wal::open(Arc::new(self.clone()), segment_bytes)?;
        if self.flaw == Some(Flaw::ForgetsNewestVote) {
            opened.backend = Box::new(Forgetful::new(opened.backend, &opened.head));
        }
        Ok((opened, place))
    }

    /// The newest snapshot, which is on disk once it is there.
    pub(in crate::raft) fn newest(&self) -> Newest {
        self.newest.clone()
    }

    fn survive(&self, bytes: &Bytes) -> Bytes {
        let rng = &self.rng;
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
        Bytes { now: found.clone(), promised: found.clone(), durable: found }
    }

    fn with<T>(&self, act: impl FnOnce(&mut Files) -> T) -> T {
        act(&mut self.files.lock().unwrap_or_else(PoisonError::into_inner))
    }

    fn checked<T>(&self, act: impl FnOnce(&mut Files) -> Option<T>) -> io::Result<T> {
        self.with(|files| match &files.failure {
            Some((kind, reason)) => Err(io::Error::new(*kind, reason.clone())),
            None => act(files).ok_or(io::ErrorKind::NotFound.into()),
        })
    }

    /// A disk with one file.
    #[cfg(test)]
    pub(in crate::raft) fn holding(name: &str, contents: Vec<u8>) -> Self {
        let disk = Self::new(&Rng::from_seed(0), Duration::ZERO);
        let bytes = Bytes { durable: contents.clone(), now: contents, ..Bytes::default() };
        disk.with(|files| {
            files.durable.insert(name.to_owned(), bytes.clone());
            files.now.insert(name.to_owned(), bytes);
        });
        disk
    }

    /// What a file holds.
    #[cfg(test)]
    pub(in crate::raft) fn contents(&self, name: &str) -> Vec<u8> {
        self.with(|files| files.now.get(name).map(|bytes| bytes.now.clone()).unwrap_or_default())
    }

    /// Changes what a file holds, behind the log's back.
    #[cfg(test)]
    pub(super) fn change(&self, name: &str, change: impl FnOnce(&mut Vec<u8>)) {
        self.with(|files| change(&mut files.now.get_mut(name).expect("is there").now));
    }
}

impl disk::Disk for Disk {
    fn list(&self) -> io::Result<Vec<String>> {
        self.checked(|files| Some(files.now.keys().cloned().collect()))
    }

    fn create(&self, name: &str) -> io::Result<Arc<dyn Blocks>> {
        self.checked(|files| files.now.insert(name.to_owned(), Bytes::default()).is_none().then_some(()))?;
        disk::Disk::open(self, name)
    }

    fn open(&self, name: &str) -> io::Result<Arc<dyn Blocks>> {
        self.checked(|files| files.now.get(name).map(drop))?;
        Ok(Arc::new(Handle(self.clone(), name.to_owned())))
    }

    fn remove(&self, name: &str) -> io::Result<()> {
        self.checked(|files| {
            let removed = files.now.remove(name)?;
            if let Some(survivor) = files.durable.get_mut(name) {
                *survivor = removed;
            }
            Some(())
        })
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

fn size(length: u64) -> io::Result<usize> {
    usize::try_from(length).map_err(io::Error::other)
}

impl Blocks for Handle {
    fn write_at(&self, offset: u64, bytes: &[u8]) -> io::Result<()> {
        let offset = size(offset)?;
        self.bytes(|file| {
            file.now.resize(file.now.len().max(offset + bytes.len()), 0);
            file.now[offset..offset + bytes.len()].copy_from_slice(bytes);
        })
    }

    fn read_at(&self, offset: u64, length: usize) -> io::Result<Vec<u8>> {
        let offset = size(offset)?;
        self.bytes(|file| file.now.get(offset..offset + length).map(<[u8]>::to_vec))?.ok_or(io::ErrorKind::UnexpectedEof.into())
    }

    fn length(&self) -> io::Result<u64> {
        self.bytes(|file| file.now.len() as u64)
    }

    fn cut(&self, length: u64) -> io::Result<()> {
        let length = size(length)?;
        self.bytes(|file| file.now.truncate(length))
    }

    fn sync(&self) -> io::Result<()> {
        let late = self.0.flaw == Some(Flaw::AcknowledgesBeforeFlush);
        self.bytes(|file| {
            let before = std::mem::replace(&mut file.promised, file.now.clone());
            file.durable = if late { before } else { file.now.clone() };
        })
    }
}
