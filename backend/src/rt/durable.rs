//! What it takes for a write to survive a power cut: directories, and sled, which by itself only survives a crash of
//! the process. Must never report something durable that the kernel may still lose.

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
    File::open(dir)?.sync_all()
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
        fs::create_dir_all(dir)?;
        // Without the background flusher nothing hides a missing flush.
        let config = sled::Config::new().path(dir).flush_every_ms(None).mode(sled::Mode::HighThroughput).cache_capacity(cache_bytes);
        let db = config.open().map_err(from_sled)?;
        let file = OpenOptions::new().read(true).write(true).open(dir.join("db"))?;
        sync_dir(dir)?;
        if let Some(parent) = dir.parent() {
            sync_dir(parent)?;
        }
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
                    Ok(blob) => blob.sync_all()?,
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
        self.file.sync_data()
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

    #[test]
    fn what_was_synced_is_there_after_reopening_even_large_values() {
        let dir = tempfile::tempdir().expect("temp dir");
        let large = vec![7_u8; 700 << 10];
        {
            let mut sled = Sled::open(&dir.path().join("x"), 1 << 20).expect("opens");
            sled.db().insert("large", large.as_slice()).expect("inserts");
            sled.sync().expect("syncs");
            assert!(!sled.synced_blobs.is_empty(), "the large value is a blob file and was flushed");
        }
        let sled = Sled::open(&dir.path().join("x"), 1 << 20).expect("opens again");
        assert_eq!(sled.db().get("large").expect("reads").as_deref(), Some(large.as_slice()));
    }
}
