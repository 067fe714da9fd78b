//! A log in files: a new one whenever the current one is large or old enough, and only so many old ones kept.
//!
//! Contract: agent configuration, keys `log_file` and `log_rotate_*`. Files are named `<name>-<time>.<ending>` by the time they
//! were begun, nanoseconds since 1970. Never removes a file whose name it would not give itself.

use std::{
    fs::{self, File, OpenOptions},
    io::{self, Write},
    os::unix::fs::OpenOptionsExt as _,
    path::{Path, PathBuf},
    time::Duration,
};

use crate::rt::Clock;

/// When a new file is begun, and how many old ones stay.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Rotation {
    /// Once the file has so many bytes; 0 for never.
    pub bytes_max: u64,
    /// Once it is so old.
    pub age_max: Duration,
    /// Old files kept beside the current one: 0 for all of them, less for none.
    pub files_max: i64,
}

/// The file that is written now.
#[derive(Debug)]
pub struct LogFile {
    directory: PathBuf,
    /// What stands before and behind the time in names.
    name: (String, String),
    rotation: Rotation,
    clock: Clock,
    file: File,
    /// The time in its name.
    begun: u128,
    written: u64,
}

const NANOSECONDS: u128 = 1_000_000;

impl LogFile {
    /// Begins a file. A `path` that ends with a separator is a directory; one without an ending gets `.log`.
    ///
    /// # Errors
    /// The file cannot be made.
    pub fn open(path: &Path, rotation: Rotation, clock: Clock) -> io::Result<Self> {
        let is_directory = path.as_os_str().to_string_lossy().ends_with('/');
        let (directory, file) = if is_directory { (path, None) } else { (path.parent().unwrap_or(Path::new("")), Some(path)) };
        let part =
            |part: Option<&std::ffi::OsStr>, default: &str| part.map_or(default.to_owned(), |text| text.to_string_lossy().into_owned());
        let name = (part(file.and_then(Path::file_stem), "muster"), part(file.and_then(Path::extension), "log"));
        let directory = if directory.as_os_str().is_empty() { Path::new(".") } else { directory }.to_owned();
        let (file, begun) = begin(&directory, &name, u128::from(clock.wall_ms()) * NANOSECONDS)?;
        Ok(Self { directory, name, rotation, clock, file, begun, written: 0 })
    }

    fn rotate(&mut self) -> io::Result<()> {
        let now = u128::from(self.clock.wall_ms()) * NANOSECONDS;
        let age = Duration::from_nanos(u64::try_from(now.saturating_sub(self.begun)).unwrap_or(u64::MAX));
        let is_large = self.rotation.bytes_max > 0 && self.written >= self.rotation.bytes_max;
        if !is_large && age < self.rotation.age_max {
            return Ok(());
        }
        // Until the new file is there the old one goes on: a full disk or a missing directory loses no more than it must.
        let begun = begin(&self.directory, &self.name, now.max(self.begun + 1));
        self.written = 0;
        (self.file, self.begun) = begun?;
        self.prune()
    }

    /// Removes the oldest files.
    fn prune(&self) -> io::Result<()> {
        let kept = match self.rotation.files_max {
            0 => return Ok(()),
            count => usize::try_from(count).unwrap_or(0),
        };
        let mut times: Vec<u128> =
            fs::read_dir(&self.directory)?.filter_map(|entry| self.time_of(&entry.ok()?.file_name().to_string_lossy())).collect();
        times.sort_unstable();
        // The newest one is the current one.
        times.truncate(times.len().saturating_sub(kept + 1));
        times.into_iter().try_for_each(|time| fs::remove_file(self.directory.join(file_name(&self.name, time))))
    }

    fn time_of(&self, file: &str) -> Option<u128> {
        let time = file.strip_prefix(&self.name.0)?.strip_prefix('-')?.strip_suffix(&self.name.1)?.strip_suffix('.')?;
        time.parse().ok().filter(|parsed| file_name(&self.name, *parsed) == file)
    }
}

fn file_name((stem, ending): &(String, String), time: u128) -> String {
    format!("{stem}-{time}.{ending}")
}

/// The first file free from this time on: names rise, whatever the clock does.
fn begin(directory: &Path, name: &(String, String), mut time: u128) -> io::Result<(File, u128)> {
    loop {
        let path = directory.join(file_name(name, time));
        match OpenOptions::new().append(true).create_new(true).mode(0o640).open(&path) {
            Ok(file) => return Ok((file, time)),
            // Two within a millisecond.
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => time += 1,
            Err(error) => return Err(io::Error::new(error.kind(), format!("{}: {error}", path.display()))),
        }
    }
}

impl Write for LogFile {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        // Logged lines that cannot be rotated are still logged.
        let _ = self.rotate();
        let written = self.file.write(bytes)?;
        self.written += written as u64;
        Ok(written)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.file.flush()
    }
}

/// Writes to two places; one that fails does not keep the line from the other.
pub struct Tee(pub Box<dyn Write + Send>, pub Box<dyn Write + Send>);

impl Write for Tee {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let (first, second) = (self.0.write_all(bytes), self.1.write_all(bytes));
        first.and(second).map(|()| bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        self.0.flush().and(self.1.flush())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn names(directory: &Path) -> Vec<String> {
        let mut names: Vec<_> = fs::read_dir(directory)
            .expect("readable")
            .map(|entry| entry.expect("readable").file_name().to_string_lossy().into_owned())
            .collect();
        names.sort();
        names
    }

    fn text(directory: &Path, name: &str) -> String {
        fs::read_to_string(directory.join(name)).expect("readable")
    }

    const DAY: Duration = Duration::from_secs(86_400);

    #[tokio::test(start_paused = true)]
    async fn a_new_file_is_begun_by_size_and_the_oldest_go() {
        let directory = tempfile::tempdir().expect("a temporary directory");
        let rotation = Rotation { bytes_max: 10, age_max: DAY, files_max: 1 };
        fs::write(directory.path().join("a-note.log"), "not ours").expect("written");
        let mut log = LogFile::open(&directory.path().join("a"), rotation, Clock::starting_at(1)).expect("opens");
        for line in ["one 4567890\n", "two 4567890\n", "3\n", "4 567890\n", "5\n"] {
            log.write_all(line.as_bytes()).expect("written");
        }
        assert_eq!(names(directory.path()), ["a-1000002.log", "a-1000003.log", "a-note.log"]);
        assert_eq!(text(directory.path(), "a-1000002.log"), "3\n4 567890\n");
        assert_eq!(text(directory.path(), "a-1000003.log"), "5\n");
    }

    #[tokio::test(start_paused = true)]
    async fn a_new_file_is_begun_by_age_and_none_is_kept_beside_it() {
        let directory = tempfile::tempdir().expect("a temporary directory");
        let rotation = Rotation { bytes_max: 0, age_max: DAY, files_max: -1 };
        let path = format!("{}/", directory.path().display());
        let mut log = LogFile::open(Path::new(&path), rotation, Clock::starting_at(1)).expect("opens");
        log.write_all(b"yesterday\n").expect("written");
        crate::rt::clock::sleep(DAY).await;
        log.write_all(b"today\n").expect("written");
        assert_eq!(names(directory.path()), ["muster-86400001000000.log"]);
        assert_eq!(text(directory.path(), "muster-86400001000000.log"), "today\n");
    }

    #[test]
    fn a_missing_directory_is_named() {
        let rotation = Rotation { bytes_max: 0, age_max: DAY, files_max: 0 };
        let error = LogFile::open(Path::new("/no/such/place/a.txt"), rotation, Clock::starting_at(1)).expect_err("no such directory");
        assert!(error.to_string().starts_with("/no/such/place/a-1000000.txt: "), "{error}");
    }
}
