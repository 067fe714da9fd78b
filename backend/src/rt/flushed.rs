//! Tests only: what a directory holds after a power cut. A page cache keeps what was never flushed, so that a file read again
//! proves nothing; here only what passed [`super::durable`] counts, and of the rest chance decides.
//!
//! Must never take anything for flushed that nobody asked the kernel to flush.

use std::{
    collections::{BTreeMap, BTreeSet},
    ffi::{OsStr, OsString},
    fs::{self, File},
    io,
    os::{fd::AsRawFd as _, unix::fs::MetadataExt as _},
    path::{Path, PathBuf},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use tempfile::TempDir;

use super::Rng;

/// Sectors survive a power cut one by one.
const SECTOR: usize = 512;

/// Files that sled writes beside its database and flushes itself.
pub(crate) fn is_of_sled(name: &OsStr) -> bool {
    name == "conf" || name.as_encoded_bytes().starts_with(b"snap.")
}

/// Device and inode: what a name stands for.
type Id = (u64, u64);
type Names = BTreeMap<OsString, Id>;

/// Files and directories.
#[derive(Clone, Default)]
struct Tree {
    files: BTreeMap<Id, Arc<Vec<u8>>>,
    names: BTreeMap<Id, Names>,
}

struct Watched {
    number: u64,
    path: PathBuf,
    root: Id,
    flushed: Tree,
    /// Open as long as this is watched, so that no inode is given to another file.
    held: BTreeMap<Id, File>,
    /// Flushes so far.
    count: usize,
    /// What there was right before every flush, if that is wanted.
    moments: Option<Vec<Moment>>,
    /// Names of files that somebody else flushes.
    others: fn(&OsStr) -> bool,
}

static WATCHED: Mutex<Vec<Watched>> = Mutex::new(Vec::new());

fn watched() -> MutexGuard<'static, Vec<Watched>> {
    WATCHED.lock().unwrap_or_else(PoisonError::into_inner)
}

fn id(metadata: &fs::Metadata) -> Id {
    (metadata.dev(), metadata.ino())
}

/// Names in a directory. What goes meanwhile is left out.
fn names(dir: &Path, held: &mut BTreeMap<Id, File>) -> io::Result<Names> {
    let mut found = Names::new();
    for entry in fs::read_dir(dir)? {
        let entry = entry?;
        let Ok(file) = File::open(entry.path()) else { continue };
        let id = id(&file.metadata()?);
        held.entry(id).or_insert(file);
        found.insert(entry.file_name(), id);
    }
    Ok(found)
}

impl Tree {
    fn scan(dir: &Path, held: &mut BTreeMap<Id, File>) -> Self {
        let (mut tree, mut left) = (Self::default(), vec![dir.to_owned()]);
        while let Some(path) = left.pop() {
            let Ok(metadata) = fs::metadata(&path) else { continue };
            if metadata.is_dir() {
                let names = names(&path, held).unwrap_or_default();
                left.extend(names.keys().map(|name| path.join(name)));
                tree.names.insert(id(&metadata), names);
            } else if let Ok(bytes) = fs::read(&path) {
                tree.files.insert(id(&metadata), Arc::new(bytes));
            }
        }
        tree
    }
}

/// A file or directory as it is right before a flush of it.
pub(super) struct Seen {
    id: Id,
    path: PathBuf,
    /// None of a directory.
    bytes: Option<Vec<u8>>,
}

/// Looks at what is about to be flushed, unless nobody watches it.
pub(super) fn look(file: &File) -> Option<Seen> {
    let own = format!("/proc/self/fd/{}", file.as_raw_fd());
    let path = fs::read_link(&own).ok()?;
    if watched().iter().all(|watched| !path.starts_with(&watched.path)) {
        return None;
    }
    let metadata = file.metadata().ok()?;
    let bytes = if metadata.is_dir() { None } else { Some(fs::read(own).ok()?) };
    let mut all = watched();
    for watched in all.iter_mut().filter(|watched| path.starts_with(&watched.path)) {
        if watched.moments.is_some() {
            let moment = watched.moment();
            watched.moments.get_or_insert_default().push(moment);
        }
    }
    Some(Seen { id: id(&metadata), path, bytes })
}

/// The flush was done.
pub(super) fn note(seen: Option<Seen>) {
    let Some(Seen { id, path, bytes }) = seen else { return };
    for watched in watched().iter_mut().filter(|watched| path.starts_with(&watched.path)) {
        watched.count += 1;
        match &bytes {
            Some(bytes) => drop(watched.flushed.files.insert(id, Arc::new(bytes.clone()))),
            None => {
                let names = names(&path, &mut watched.held).unwrap_or_default();
                watched.flushed.names.insert(id, names);
            }
        }
    }
}

impl Watched {
    fn moment(&mut self) -> Moment {
        let now = Tree::scan(&self.path, &mut self.held);
        let mut flushed = self.flushed.clone();
        for (dir, names) in &now.names {
            for (name, id) in names.iter().filter(|(name, _)| (self.others)(name)) {
                flushed.names.entry(*dir).or_default().insert(name.clone(), *id);
                flushed.files.extend(now.files.get(id).map(|bytes| (*id, bytes.clone())));
            }
        }
        Moment { root: self.root, flushed, now }
    }
}

/// A directory that is watched until this is dropped. What is there at first counts as flushed.
pub(crate) struct Flushed(u64);

impl Flushed {
    /// Watches from now on.
    pub(crate) fn watch(dir: &Path) -> Self {
        let path = dir.canonicalize().expect("is there");
        let (root, mut held) = (id(&fs::metadata(&path).expect("is there")), BTreeMap::new());
        let flushed = Tree::scan(&path, &mut held);
        let mut all = watched();
        let number = all.last().map_or(1, |last| last.number + 1);
        all.push(Watched { number, path, root, flushed, held, count: 0, moments: None, others: |_| false });
        Self(number)
    }

    /// Somebody else flushes the files of these names.
    pub(crate) fn beside(self, others: fn(&OsStr) -> bool) -> Self {
        self.with(|watched| watched.others = others);
        self
    }

    /// Keeps what there is right before every flush: for little.
    pub(crate) fn recording(self) -> Self {
        self.with(|watched| watched.moments = Some(Vec::new()));
        self
    }

    fn with<T>(&self, act: impl FnOnce(&mut Watched) -> T) -> T {
        act(watched().iter_mut().find(|watched| watched.number == self.0).expect("watched until it is dropped"))
    }

    /// As it is now.
    pub(crate) fn now(&self) -> Moment {
        self.with(Watched::moment)
    }

    /// How often something in it was flushed.
    pub(crate) fn count(&self) -> usize {
        self.with(|watched| watched.count)
    }

    /// What there was right before every flush since the last call.
    pub(crate) fn moments(&self) -> Vec<Moment> {
        self.with(|watched| watched.moments.replace(Vec::new()).expect("recorded"))
    }
}

impl Drop for Flushed {
    fn drop(&mut self) {
        watched().retain(|watched| watched.number != self.0);
    }
}

/// When the power may go.
pub(crate) struct Moment {
    root: Id,
    flushed: Tree,
    now: Tree,
}

impl Moment {
    /// What is found if nothing survived but what was flushed.
    pub(crate) fn worst(&self) -> TempDir {
        let dir = tempfile::tempdir().expect("temp dir");
        self.write(self.root, dir.path(), None);
        dir
    }

    /// What may be found as well: each new, changed or removed name and each sector is as it was flushed or as it is now.
    pub(crate) fn any(&self, rng: &Rng) -> TempDir {
        let dir = tempfile::tempdir().expect("temp dir");
        self.write(self.root, dir.path(), Some(rng));
        dir
    }

    fn write(&self, id: Id, to: &Path, chance: Option<&Rng>) {
        if self.flushed.names.contains_key(&id) || self.now.names.contains_key(&id) {
            fs::create_dir_all(to).expect("creates");
            for (name, id) in self.names(id, chance) {
                self.write(id, &to.join(name), chance);
            }
        } else {
            fs::write(to, self.bytes(id, chance)).expect("writes");
        }
    }

    fn names(&self, dir: Id, chance: Option<&Rng>) -> Names {
        let old = self.flushed.names.get(&dir).cloned().unwrap_or_default();
        let Some(rng) = chance else { return old };
        // A directory that is gone may be there still, with less in it.
        let new = self.now.names.get(&dir).cloned().unwrap_or_default();
        let name_of = |names: &Names, id: Id| names.iter().find(|(_, other)| **other == id).map(|(name, _)| name.clone());
        let mut found = Names::new();
        let all: BTreeSet<Id> = new.values().chain(old.values()).copied().collect();
        // Those that have a name first: they may have taken that of one that has none any more, in one step.
        let (named, unnamed): (Vec<Id>, Vec<Id>) = all.into_iter().partition(|id| name_of(&new, *id).is_some());
        for id in named {
            let survived = match (name_of(&old, id), name_of(&new, id)) {
                (Some(old), Some(new)) => Some(if rng.below(2) == 0 { old } else { new }),
                (_, new) => new.filter(|_| rng.below(2) == 0),
            };
            found.extend(survived.map(|name| (name, id)));
        }
        for id in unnamed {
            if let Some(name) = name_of(&old, id)
                && !found.contains_key(&name)
                && (new.contains_key(&name) || rng.below(2) == 0)
            {
                found.insert(name, id);
            }
        }
        found
    }

    fn bytes(&self, file: Id, chance: Option<&Rng>) -> Vec<u8> {
        let old = self.flushed.files.get(&file).cloned().unwrap_or_default();
        let (Some(rng), Some(new)) = (chance, self.now.files.get(&file)) else { return old.to_vec() };
        let length = if rng.below(2) == 0 { old.len() } else { new.len() };
        let mut mixed = vec![0; length];
        for (at, sector) in mixed.chunks_mut(SECTOR).enumerate() {
            let from = if rng.below(2) == 0 { &old } else { new };
            let from = from.get(at * SECTOR..).unwrap_or_default();
            let shared = from.len().min(sector.len());
            sector[..shared].copy_from_slice(&from[..shared]);
        }
        mixed
    }
}
