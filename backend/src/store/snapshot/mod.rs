//! A state as bytes: version byte, then named msgpack row by row, table by table, with a checksum at the end.
//!
//! Written and read in one pass, never as a whole in memory. A truncated or damaged snapshot is refused whole. [`file`] is what
//! operators save and restore.

pub mod file;
mod row;
#[cfg(test)]
mod tests;
mod trial;

use std::{
    collections::BTreeMap,
    io::{self, Read, Write},
};

use shared::snapshot::Table;

pub(super) use row::{Row, derive, insert};

use super::tables::State;

/// The format this code writes.
pub const VERSION: u8 = 1;
/// Bytes read at a time.
const BUFFER: usize = 64 << 10;

struct Out<W> {
    inner: W,
    crc: crc32fast::Hasher,
    rows: u64,
    row: Vec<u8>,
}

impl<W: Write> Out<W> {
    fn bytes(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.crc.update(bytes);
        self.inner.write_all(bytes)
    }

    fn row(&mut self, row: &Row<'_>) -> io::Result<()> {
        let mut bytes = std::mem::take(&mut self.row);
        bytes.clear();
        encode(row, &mut bytes)?;
        self.rows += 1;
        self.row = bytes;
        self.crc.update(&self.row);
        self.inner.write_all(&self.row)
    }
}

/// Adds a row's bytes.
fn encode(row: &Row<'_>, to: &mut Vec<u8>) -> io::Result<()> {
    rmp_serde::encode::write_named(to, row).map_err(io::Error::other)
}

/// Writes a state.
///
/// # Errors
/// Those of the writer.
pub fn write(state: &State, out: impl Write) -> io::Result<()> {
    let mut out = Out { inner: out, crc: crc32fast::Hasher::new(), rows: 0, row: Vec::new() };
    out.bytes(&[VERSION])?;
    row::each(state, |row| out.row(row))?;
    let rows = out.rows;
    out.row(&Row::End { rows, history_next: state.history.next })?;
    let crc = out.crc.finalize();
    out.inner.write_all(&crc.to_le_bytes())?;
    out.inner.flush()
}

/// Counts what it passes on, into the checksum and in bytes. Buffers, since rows are read in very small steps.
struct In<R> {
    inner: R,
    buffer: Box<[u8]>,
    /// What of the buffer is not yet in the checksum, and not yet read.
    summed: usize,
    read: usize,
    filled: usize,
    crc: crc32fast::Hasher,
    count: u64,
}

impl<R: Read> In<R> {
    fn new(inner: R) -> Self {
        let buffer = vec![0; BUFFER].into_boxed_slice();
        Self { inner, buffer, summed: 0, read: 0, filled: 0, crc: crc32fast::Hasher::new(), count: 0 }
    }

    /// The checksum of everything read so far.
    fn sum(&mut self) -> u32 {
        self.crc.update(&self.buffer[self.summed..self.read]);
        self.summed = self.read;
        self.crc.clone().finalize()
    }

    /// Whether nothing follows.
    fn is_at_end(&mut self) -> io::Result<bool> {
        Ok(self.read == self.filled && self.inner.read(&mut [0])? == 0)
    }
}

impl<R: Read> Read for In<R> {
    fn read(&mut self, into: &mut [u8]) -> io::Result<usize> {
        if self.read == self.filled {
            self.crc.update(&self.buffer[self.summed..self.filled]);
            (self.summed, self.read, self.filled) = (0, 0, self.inner.read(&mut self.buffer)?);
        }
        let count = into.len().min(self.filled - self.read);
        into[..count].copy_from_slice(&self.buffer[self.read..self.read + count]);
        self.read += count;
        self.count += count as u64;
        Ok(count)
    }
}

fn damaged(what: impl std::fmt::Display) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, format!("snapshot: {what}"))
}

/// Reads row by row, and checks at the end.
struct Rows<R> {
    from: In<R>,
    rows: u64,
}

impl<R: Read> Rows<R> {
    fn new(from: R) -> io::Result<Self> {
        let mut from = In::new(from);
        let mut version = [0];
        from.read_exact(&mut version).map_err(|error| broken(error, "empty"))?;
        if version[0] != VERSION {
            return Err(damaged(format_args!("format {} is not known; this version reads {VERSION}", version[0])));
        }
        Ok(Self { from, rows: 0 })
    }

    /// The next row and the bytes it takes. After the last one, which is [`Row::End`], everything has been checked.
    fn next(&mut self) -> io::Result<(Row<'static>, u64)> {
        let before = self.from.count;
        let row: Row<'static> = rmp_serde::from_read(&mut self.from).map_err(|error| match error {
            rmp_serde::decode::Error::InvalidMarkerRead(error) | rmp_serde::decode::Error::InvalidDataRead(error)
                if error.kind() != io::ErrorKind::UnexpectedEof =>
            {
                error
            }
            error => damaged(format_args!("row {}: {error}", self.rows)),
        })?;
        let size = self.from.count - before;
        if let Row::End { rows: told, .. } = row {
            if told != self.rows {
                return Err(damaged(format_args!("{} rows where {told} were written", self.rows)));
            }
            self.check()?;
        }
        self.rows += 1;
        Ok((row, size))
    }

    fn check(&mut self) -> io::Result<()> {
        let found = self.from.sum();
        let mut told = [0; 4];
        self.from.read_exact(&mut told).map_err(|error| broken(error, "truncated before its checksum"))?;
        if u32::from_le_bytes(told) != found {
            return Err(damaged("checksum does not match"));
        }
        if self.from.is_at_end()? { Ok(()) } else { Err(damaged("more bytes after its checksum")) }
    }
}

/// A reader's own error as it is; an early end in our words.
fn broken(error: io::Error, what: &str) -> io::Error {
    if error.kind() == io::ErrorKind::UnexpectedEof { damaged(what) } else { error }
}

/// Reads a state back, checking it whole before answering.
///
/// # Errors
/// Those of the reader; `InvalidData` for a damaged or unknown snapshot.
pub fn read(from: impl Read) -> io::Result<State> {
    let (mut rows, mut state) = (Rows::new(from)?, State::default());
    loop {
        let (row, _) = rows.next()?;
        let is_last = matches!(row, Row::End { .. });
        insert(&mut state, row)?;
        if is_last {
            break;
        }
    }
    derive(&mut state);
    Ok(state)
}

/// Rows and bytes by table.
#[derive(Debug, Default)]
struct Tally(BTreeMap<&'static str, (u64, u64)>);

impl Tally {
    fn add(&mut self, row: &Row<'_>, size: u64) {
        let (count, bytes) = self.0.entry(row.table()).or_default();
        (*count, *bytes) = (*count + 1, *bytes + size);
    }

    /// Largest first.
    fn tables(self) -> Vec<Table> {
        let table = |(name, (count, size_bytes)): (&str, _)| Table { name: name.to_owned(), count, size_bytes };
        let mut tables: Vec<_> = self.0.into_iter().map(table).collect();
        tables.sort_by(|a, b| b.size_bytes.cmp(&a.size_bytes).then_with(|| a.name.cmp(&b.name)));
        tables
    }
}

/// Bytes of rows from the end of one batch to that of the next, about so many.
pub(super) const BATCH: usize = 512 << 10;

/// Cuts a snapshot into batches of whole rows, each with its own bytes.
///
/// # Errors
/// As for [`read`], and those of `batch`.
fn batches(from: impl Read, mut batch: impl FnMut(Vec<u8>) -> io::Result<()>) -> io::Result<()> {
    let (mut rows, mut bytes) = (Rows::new(from)?, Vec::with_capacity(BATCH));
    loop {
        let (row, _) = rows.next()?;
        encode(&row, &mut bytes)?;
        let is_last = matches!(row, Row::End { .. });
        if is_last || bytes.len() >= BATCH {
            batch(std::mem::replace(&mut bytes, Vec::with_capacity(BATCH)))?;
        }
        if is_last {
            return Ok(());
        }
    }
}
