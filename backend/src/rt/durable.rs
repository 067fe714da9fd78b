//! What it takes for a write to survive a power cut: files, directories, and sled, which by itself only survives a crash of
//! the process. Must never report something durable that the kernel may still lose.
//!
//! Every flush goes through here, so that tests can tell what was flushed from what is only in the page cache (`flushed`).

#![allow(clippy::disallowed_methods, reason = "this is the seam")]

#[cfg(test)]
use super::flushed;
use std::{
    collections::BTreeSet,
    ffi::OsString,
    fs::{self, File, OpenOptions},
    io,
    path::{Path, PathBuf},
};

/// Makes creations, renames and removals in a directory durable.
///
/// # Errors
/// The disk.
pub fn sync_dir(dir: &Path) -> io::Result<()> {
    sync_all(&File::open(dir)?)
}

/// Creates a directory unless it is there, and those above it that are missing. Its name is durable once this returns, also when it was
/// created by somebody who was killed before that was so.
///
/// # Errors
/// The disk; something else has the name.
pub fn create_dir(dir: &Path) -> io::Result<()> {
    let above = dir.parent().filter(|above| !above.as_os_str().is_empty()).unwrap_or(Path::new("."));
    if !above.is_dir() {
        create_dir(above)?;
    }
    match fs::create_dir(dir) {
        Err(error) if error.kind() != io::ErrorKind::AlreadyExists || !dir.is_dir() => Err(error),
        _ => sync_dir(above),
    }
}

/// Makes what was written to a file, and its length, durable.
///
/// # Errors
/// The disk; what was written since the last success may be lost, and trying again proves nothing.
pub fn sync_data(file: &File) -> io::Result<()> {
    flush(file, File::sync_data)
}

/// As [`sync_data`], with everything else there is to know about the file.
///
/// # Errors
/// As [`sync_data`].
pub fn sync_all(file: &File) -> io::Result<()> {
    flush(file, File::sync_all)
}

fn flush(file: &File, how: fn(&File) -> io::Result<()>) -> io::Result<()> {
    #[cfg(test)]
    let seen = flushed::look(file);
    how(file)?;
    #[cfg(test)]
    flushed::note(seen);
    Ok(())
}

/// A sled database whose [`Sled::sync`] is really on disk.
///
/// `sled::Db::flush` ends in `sync_file_range`, which neither flushes the disk's cache nor commits the file's size, so the same
/// file is flushed a second time through a handle of our own. Values that do not fit a segment go to files of their own under
/// `blobs`, which sled never flushes; we do.
#[derive(Debug)]
pub struct Sled {
    db: sled::Db,
    file: File,
    blobs: PathBuf,
    synced_blobs: BTreeSet<OsString>,
}

impl Sled {
    /// Opens or creates the database in a directory of its own. `cache_bytes` is a hint.
    ///
    /// # Errors
    /// The directory cannot be opened, is locked by another process, or holds damaged data.
    pub fn open(dir: &Path, cache_bytes: u64) -> io::Result<Self> {
        create_dir(dir)?;
        // Without the background flusher nothing hides a missing flush.
        let config = sled::Config::new().path(dir).flush_every_ms(None).mode(sled::Mode::HighThroughput).cache_capacity(cache_bytes);
        let db = config.open().map_err(from_sled)?;
        let file = OpenOptions::new().read(true).write(true).open(dir.join("db"))?;
        sync_dir(dir)?;
        let mut opened = Self { db, file, blobs: dir.join("blobs"), synced_blobs: BTreeSet::new() };
        opened.sync()?;
        Ok(opened)
    }

    /// The database.
    #[must_use]
    pub fn db(&self) -> &sled::Db {
        &self.db
    }

    /// Makes everything written so far durable.
    ///
    /// # Errors
    /// The disk; what was written since the last success may be lost, and trying again proves nothing.
    pub fn sync(&mut self) -> io::Result<()> {
        self.db.flush().map_err(from_sled)?;
        let mut present = BTreeSet::new();
        for blob in fs::read_dir(&self.blobs)? {
            let name = blob?.file_name();
            if !self.synced_blobs.contains(&name) {
                match File::open(self.blobs.join(&name)) {
                    Ok(blob) => sync_all(&blob)?,
                    // sled removes blobs nobody refers to any more at any time.
                    Err(error) if error.kind() == io::ErrorKind::NotFound => continue,
                    Err(error) => return Err(error),
                }
            }
            present.insert(name);
        }
        if !present.is_subset(&self.synced_blobs) {
            sync_dir(&self.blobs)?;
        }
        self.synced_blobs = present;
        sync_data(&self.file)
    }
}

/// sled's error as an I/O error.
#[must_use]
pub fn from_sled(error: sled::Error) -> io::Error {
    match error {
        sled::Error::Io(error) => error,
        sled::Error::Corruption { at, .. } => io::Error::new(io::ErrorKind::InvalidData, format!("sled: damaged at {at:?}")),
        other => io::Error::other(other.to_string()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::rt::{Rng, flushed::Flushed};

    /// These files cannot be flushed, which only the kernel knows.
    #[test]
    fn a_flush_is_asked_of_the_kernel() {
        let file = File::open("/proc/self/status").expect("opens");
        assert!(sync_data(&file).is_err() && sync_all(&file).is_err() && sync_dir(Path::new("/proc/self")).is_err());
    }

    #[test]
    fn after_a_power_cut_there_is_what_was_flushed_and_of_the_rest_what_chance_left() {
        let dir = tempfile::tempdir().expect("temp dir");
        let flushed = Flushed::watch(dir.path());
        let (old, new) = (vec![1; 2048], vec![2; 2048]);
        fs::write(dir.path().join("a.tmp"), &old).expect("writes");
        let found = |dir: &tempfile::TempDir, name: &str| fs::read(dir.path().join(name)).ok();
        assert_eq!(found(&flushed.now().worst(), "a.tmp"), None, "neither name nor contents");
        sync_dir(dir.path()).expect("flushes");
        assert_eq!(found(&flushed.now().worst(), "a.tmp"), Some(Vec::new()), "the name alone");
        sync_data(&File::open(dir.path().join("a.tmp")).expect("opens")).expect("flushes");
        fs::rename(dir.path().join("a.tmp"), dir.path().join("a")).expect("renames");
        assert_eq!(found(&flushed.now().worst(), "a.tmp"), Some(old.clone()));
        sync_dir(dir.path()).expect("flushes");
        fs::write(dir.path().join("a"), &new).expect("writes");
        fs::write(dir.path().join("b"), b"b").expect("writes");
        let (mut mixed, mut kept) = (0, [false; 2]);
        for seed in 0..32 {
            let survived = flushed.now().any(&Rng::from_seed(seed));
            let a = found(&survived, "a").expect("its name was flushed");
            assert!(a.len() == 2048 && a.chunks(512).all(|sector| sector == &old[..512] || sector == &new[..512]), "seed {seed}");
            mixed += usize::from(a != old && a != new);
            kept[usize::from(found(&survived, "b").is_some())] = true;
        }
        assert!(mixed > 0 && kept == [true, true]);
        assert_eq!(found(&flushed.now().worst(), "a"), Some(old));
    }

    #[test]
    fn what_was_synced_is_there_after_reopening_even_large_values() {
        let dir = tempfile::tempdir().expect("temp dir");
        let large = vec![7_u8; 700 << 10];
        // What sled writes beside its database it flushes itself.
        let flushed = Flushed::watch(dir.path()).beside(flushed::is_of_sled);
        let cut = {
            let mut sled = Sled::open(&dir.path().join("x"), 1 << 20).expect("opens");
            sled.db().insert("large", large.as_slice()).expect("inserts");
            sled.sync().expect("syncs");
            assert!(!sled.synced_blobs.is_empty(), "the large value is a blob file and was flushed");
            flushed.now().worst()
        };
        for dir in [dir, cut] {
            let sled = Sled::open(&dir.path().join("x"), 1 << 20).expect("opens again");
            assert_eq!(sled.db().get("large").expect("reads").as_deref(), Some(large.as_slice()));
        }
    }
}
