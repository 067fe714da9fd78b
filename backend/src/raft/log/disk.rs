//! The files of a write-ahead log, behind a trait so that tests can lose what was not flushed.

use std::{
    fs::{self, File, OpenOptions},
    io,
    os::unix::fs::FileExt as _,
    path::{Path, PathBuf},
    sync::Arc,
};

use crate::rt::durable::{create_dir, sync_data, sync_dir};

/// A directory of segment files.
pub(super) trait Disk: Send + Sync + 'static {
    /// Names of the files, in no order.
    fn list(&self) -> io::Result<Vec<String>>;
    /// An empty file; its name is durable after [`Disk::sync`].
    fn create(&self, name: &str) -> io::Result<Arc<dyn Blocks>>;
    /// A file that is there.
    fn open(&self, name: &str) -> io::Result<Arc<dyn Blocks>>;
    /// Removes a file; durable after [`Disk::sync`].
    fn remove(&self, name: &str) -> io::Result<()>;
    /// Makes creations and removals durable.
    fn sync(&self) -> io::Result<()>;
    /// The file's name for people.
    fn shown(&self, name: &str) -> String;
}

/// One file.
pub(super) trait Blocks: Send + Sync + 'static {
    /// Writes all of it.
    fn write_at(&self, offset: u64, bytes: &[u8]) -> io::Result<()>;
    /// Reads exactly so much.
    fn read_at(&self, offset: u64, length: usize) -> io::Result<Vec<u8>>;
    /// Bytes in the file.
    fn length(&self) -> io::Result<u64>;
    /// Cuts the file off.
    fn cut(&self, length: u64) -> io::Result<()>;
    /// Makes what was written and cut durable.
    fn sync(&self) -> io::Result<()>;
}

/// A real directory, locked against other processes.
pub(super) struct Directory {
    path: PathBuf,
    /// Locked as long as it is open.
    _lock: File,
}

impl Directory {
    /// Creates the directory if need be, and locks it.
    pub(super) fn open(dir: &Path) -> io::Result<Self> {
        create_dir(dir)?;
        let path = dir.join("lock");
        let lock = File::create(&path)?;
        if let Err(error) = lock.try_lock() {
            return Err(io::Error::new(
                io::ErrorKind::ResourceBusy,
                format!("{}: {error}; is another agent running here?", path.display()),
            ));
        }
        Ok(Self { path: dir.to_owned(), _lock: lock })
    }
}

impl Disk for Directory {
    fn list(&self) -> io::Result<Vec<String>> {
        let names = fs::read_dir(&self.path)?.map(|entry| Ok(entry?.file_name().into_string()));
        // A name that is not UTF-8 is not ours.
        names.filter_map(|name: io::Result<_>| name.map(Result::ok).transpose()).collect()
    }

    fn create(&self, name: &str) -> io::Result<Arc<dyn Blocks>> {
        Ok(Arc::new(OpenOptions::new().read(true).write(true).create_new(true).open(self.path.join(name))?))
    }

    fn open(&self, name: &str) -> io::Result<Arc<dyn Blocks>> {
        Ok(Arc::new(OpenOptions::new().read(true).write(true).open(self.path.join(name))?))
    }

    fn remove(&self, name: &str) -> io::Result<()> {
        fs::remove_file(self.path.join(name))
    }

    fn sync(&self) -> io::Result<()> {
        sync_dir(&self.path)
    }

    fn shown(&self, name: &str) -> String {
        self.path.join(name).display().to_string()
    }
}

impl Blocks for File {
    fn write_at(&self, offset: u64, bytes: &[u8]) -> io::Result<()> {
        self.write_all_at(bytes, offset)
    }

    fn read_at(&self, offset: u64, length: usize) -> io::Result<Vec<u8>> {
        let mut bytes = vec![0; length];
        self.read_exact_at(&mut bytes, offset)?;
        Ok(bytes)
    }

    fn length(&self) -> io::Result<u64> {
        Ok(self.metadata()?.len())
    }

    fn cut(&self, length: u64) -> io::Result<()> {
        self.set_len(length)
    }

    fn sync(&self) -> io::Result<()> {
        sync_data(self)
    }
}
