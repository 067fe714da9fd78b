//! The file operators save and restore: a gzip'd tar of `meta.json`, `state.bin` and `SHA256SUMS`, as Consul's is in shape.
//!
//! Contract: HTTP API, section "Snapshot, operator"; the words of refusals are Consul's. Written and read in one pass. What
//! `state.bin` holds is Muster's own, so a Consul's file is told apart and refused, as is one of a newer format.

use std::io::{self, BufReader, Chain, Cursor, Read, Write};

use flate2::{Compression, read::MultiGzDecoder, write::GzEncoder};
use serde::{Deserialize, Serialize};
use sha2::{Digest as _, Sha256};
use shared::snapshot::Inspection;

use super::{Row, Tally, batches, trial};
use crate::store::tables::State;

/// The version of the file's format.
const VERSION: u64 = 1;
const META: &str = "meta.json";
const STATE: &str = "state.bin";
const SUMS: &str = "SHA256SUMS";
/// Bytes of a text entry, at most.
const TEXT_MAX: u64 = 4 << 20;

/// A server of the Raft configuration, as the file notes it.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
pub struct Server {
    /// 0 votes, 1 does not.
    pub suffrage: u8,
    /// UUID.
    #[serde(rename = "ID")]
    pub id: String,
    /// RPC address.
    pub address: String,
}

#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
struct Configuration {
    servers: Vec<Server>,
}

/// What only Muster notes.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
pub struct Origin {
    /// Version of Muster.
    pub version: String,
    /// RFC 3339.
    pub taken_at: String,
    /// Datacenter.
    pub datacenter: String,
    /// Name of the server.
    pub server: String,
}

/// `meta.json`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
struct Meta {
    version: u64,
    #[serde(rename = "ID")]
    id: String,
    index: u64,
    term: u64,
    peers: Option<String>,
    configuration: Configuration,
    configuration_index: u64,
    size: u64,
    #[serde(skip_serializing_if = "Option::is_none")]
    muster: Option<Origin>,
}

/// What a file says about where it comes from.
#[derive(Clone, Debug, Default)]
pub struct About {
    /// Raft term.
    pub term: u64,
    /// When it is taken, milliseconds since 1970.
    pub taken_at_ms: u64,
    /// Everybody in the Raft configuration.
    pub servers: Vec<Server>,
    /// What only Muster notes.
    pub origin: Origin,
}

/// Writes a state as a file.
///
/// # Errors
/// Those of the writer.
pub fn write(about: &About, state: &State, out: impl Write) -> io::Result<()> {
    // The archive tells the size first, and writing twice costs less than holding it all.
    let mut size = Hashing { inner: io::sink(), hash: None, size: 0 };
    super::write(state, &mut size)?;
    let meta = Meta {
        version: VERSION,
        id: format!("{}-{}-{}", about.term, state.index, about.taken_at_ms),
        index: state.index,
        term: about.term,
        peers: None,
        configuration: Configuration { servers: about.servers.clone() },
        configuration_index: 0,
        size: size.size,
        muster: Some(about.origin.clone()),
    };
    let mut meta = serde_json::to_vec(&meta).map_err(io::Error::other)?;
    meta.push(b'\n');

    let mut zip = GzEncoder::new(out, Compression::fast());
    let seconds = about.taken_at_ms / 1000;
    append(&mut zip, META, meta.len() as u64, seconds, |out| out.write_all(&meta))?;
    let mut hash = Sha256::new();
    append(&mut zip, STATE, size.size, seconds, |out| {
        let mut hashing = Hashing { inner: out, hash: Some(Sha256::new()), size: 0 };
        super::write(state, &mut hashing)?;
        if let Some(found) = hashing.hash.take() {
            hash = found;
        }
        Ok(())
    })?;
    let sums = format!("{}  {META}\n{}  {STATE}\n", hex(&Sha256::digest(&meta)), hex(&hash.finalize()));
    append(&mut zip, SUMS, sums.len() as u64, seconds, |out| out.write_all(sums.as_bytes()))?;
    zip.write_all(&[0; 1024])?;
    zip.finish()?.flush()
}

fn append<W: Write>(out: &mut W, name: &str, size: u64, modified: u64, contents: impl FnOnce(&mut W) -> io::Result<()>) -> io::Result<()> {
    let mut header = tar::Header::new_gnu();
    header.set_path(name)?;
    header.set_size(size);
    header.set_mode(0o600);
    header.set_mtime(modified);
    header.set_cksum();
    out.write_all(header.as_bytes())?;
    contents(out)?;
    let padding = usize::try_from(size.next_multiple_of(512) - size).unwrap_or(0);
    out.write_all(&[0; 512][..padding])
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

/// Counts and sums up what it passes on.
struct Hashing<T> {
    inner: T,
    hash: Option<Sha256>,
    size: u64,
}

impl<T> Hashing<T> {
    fn note(&mut self, bytes: &[u8]) {
        self.size += bytes.len() as u64;
        if let Some(hash) = &mut self.hash {
            hash.update(bytes);
        }
    }
}

impl<W: Write> Write for Hashing<W> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let count = self.inner.write(bytes)?;
        self.note(&bytes[..count]);
        Ok(count)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.inner.flush()
    }
}

impl<R: Read> Read for Hashing<R> {
    fn read(&mut self, into: &mut [u8]) -> io::Result<usize> {
        let count = self.inner.read(into)?;
        self.note(&into[..count]);
        Ok(count)
    }
}

/// Reads a file whole, checks everything and answers what is in it.
///
/// # Errors
/// Those of the reader; `InvalidData` with the reason, in Consul's words, for a file that is damaged, cut short, of another product
/// or of a newer format.
pub fn check(from: impl Read) -> io::Result<Inspection> {
    check_keys(from, |_, _| {})
}

/// As [`check`]; tells of every key with the bytes its row takes.
///
/// # Errors
/// As there.
pub fn check_keys(from: impl Read, mut key: impl FnMut(&str, u64)) -> io::Result<Inspection> {
    let mut tally = Tally::default();
    let told = |row: &Row<'_>, size| {
        tally.add(row, size);
        if let Row::Kv { entry } = row {
            key(&entry.key, size);
        }
    };
    let (meta, ()) = open(from, |state| trial::check(state, told))?;
    let origin = meta.muster.unwrap_or_default();
    Ok(Inspection {
        id: meta.id,
        index: meta.index,
        term: meta.term,
        version: meta.version,
        muster: origin.version,
        taken_at: origin.taken_at,
        datacenter: origin.datacenter,
        server: origin.server,
        size_bytes: meta.size,
        tables: tally.tables(),
    })
}

/// The state in a file.
#[cfg(test)]
pub(super) fn state(from: impl Read) -> io::Result<State> {
    open(from, |state| super::read(state)).map(|(_, state)| state)
}

/// The rows of a file in batches, for [`RestoreStep::Rows`](crate::store::RestoreStep).
///
/// # Errors
/// As for [`check`], and those of `batch`.
pub fn rows(from: impl Read, batch: impl FnMut(Vec<u8>) -> io::Result<()>) -> io::Result<()> {
    open(from, |state| batches(state, batch)).map(|_| ())
}

type Unzipped<R> = MultiGzDecoder<BufReader<Chain<Cursor<Vec<u8>>, R>>>;

/// Goes through the archive once; `contents` reads `state.bin`.
fn open<R: Read, T>(from: R, contents: impl FnOnce(&mut dyn Read) -> io::Result<T>) -> io::Result<(Meta, T)> {
    let mut archive = tar::Archive::new(unzip(from)?);
    let (mut meta, mut state, mut sums) = (None, None, None);
    let mut contents = Some(contents);
    for entry in archive.entries().map_err(in_file)? {
        let mut entry = entry.map_err(in_file)?;
        let name = entry.path().map(|path| path.display().to_string()).unwrap_or_default();
        match name.as_str() {
            META => meta = Some(text(&mut entry)?),
            SUMS => sums = Some(text(&mut entry)?),
            STATE => {
                let Some(contents) = contents.take() else { return Err(file("two entries \"state.bin\"")) };
                let mut hashing = Hashing { inner: &mut entry, hash: Some(Sha256::new()), size: 0 };
                let read = contents(&mut hashing);
                // A reader that stopped early found fault: whether with these bytes or with what they mean, their sum tells.
                io::copy(&mut hashing, &mut io::sink()).map_err(in_file)?;
                state = Some((read, hashing.hash.take().map(|hash| hex(&hash.finalize())).unwrap_or_default(), hashing.size));
            }
            other => return Err(file(format_args!("unexpected file {other:?} in snapshot"))),
        }
    }
    verify(meta.as_deref(), state.as_ref().map(|(_, sum, _)| sum.as_str()), sums.as_deref())?;
    conclude(archive.into_inner())?;
    let (Some(meta), Some((read, _, size))) = (meta, state) else { return Err(integrity("file missing for \"state.bin\"")) };
    let meta: Meta = serde_json::from_slice(&meta).map_err(|error| file(format_args!("failed to decode snapshot metadata: {error}")))?;
    judge(&meta, size)?;
    Ok((meta, read.map_err(|error| if error.kind() == io::ErrorKind::InvalidData { file(error) } else { error })?))
}

/// Whether this is a file this version can read.
fn judge(meta: &Meta, size: u64) -> io::Result<()> {
    if meta.muster.is_none() {
        return Err(file(
            "it was not saved by Muster: the state in it is another product's, most likely Consul's, which Muster cannot read",
        ));
    }
    if meta.version > VERSION {
        let told = format!("format version {} is newer than this release reads, which is {VERSION}: upgrade Muster first", meta.version);
        return Err(file(told));
    }
    if meta.size != size {
        return Err(integrity(format_args!("\"state.bin\" has {size} bytes where {} were noted", meta.size)));
    }
    Ok(())
}

fn invalid(text: impl std::fmt::Display) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, text.to_string())
}

fn file(what: impl std::fmt::Display) -> io::Error {
    invalid(format_args!("failed to read snapshot file: {what}"))
}

fn integrity(what: impl std::fmt::Display) -> io::Error {
    file(format_args!("failed checking integrity of snapshot: {what}"))
}

/// An error while the archive is read: of the archive itself in Go's words, of the disk or network as it is.
fn in_file(error: io::Error) -> io::Error {
    match words(&error) {
        Some(words) => file(format_args!("failed reading snapshot: {words}")),
        None => error,
    }
}

/// Go's words for what is wrong with compressed bytes or an archive.
fn words(error: &io::Error) -> Option<&'static str> {
    let text = error.to_string();
    match error.kind() {
        io::ErrorKind::UnexpectedEof => Some("unexpected EOF"),
        io::ErrorKind::InvalidInput if text.contains("gzip header") => Some("gzip: invalid header"),
        io::ErrorKind::InvalidInput if text.contains("checksum") => Some("gzip: invalid checksum"),
        io::ErrorKind::InvalidInput | io::ErrorKind::InvalidData => Some("corrupt input"),
        io::ErrorKind::Other if text.contains("entire block") => Some("unexpected EOF"),
        io::ErrorKind::Other if text.contains("archive") || text.contains("numeric field") => Some("archive/tar: invalid tar header"),
        _ => None,
    }
}

fn unzip<R: Read>(mut from: R) -> io::Result<Unzipped<R>> {
    let mut head = Vec::with_capacity(10);
    from.by_ref().take(10).read_to_end(&mut head)?;
    let reason = match head.len() {
        0 => Some("EOF"),
        1..10 => Some("unexpected EOF"),
        _ if !head.starts_with(&[0x1f, 0x8b, 8]) => Some("gzip: invalid header"),
        _ => None,
    };
    match reason {
        Some(reason) => Err(invalid(format_args!("failed to decompress snapshot: {reason}"))),
        None => Ok(MultiGzDecoder::new(BufReader::with_capacity(64 << 10, Cursor::new(head).chain(from)))),
    }
}

/// Reads what follows the archive, so that the last checksum is looked at, too.
fn conclude<R: Read>(mut rest: Unzipped<R>) -> io::Result<()> {
    let ended = io::copy(&mut rest, &mut io::sink());
    ended.map(|_| ()).map_err(|error| words(&error).map_or(error, invalid))
}

fn text(entry: &mut impl Read) -> io::Result<Vec<u8>> {
    let mut text = Vec::new();
    entry.take(TEXT_MAX).read_to_end(&mut text).map_err(in_file)?;
    Ok(text)
}

/// Compares the sums of both files with those noted.
fn verify(meta: Option<&[u8]>, state: Option<&str>, sums: Option<&[u8]>) -> io::Result<()> {
    let sums = String::from_utf8_lossy(sums.unwrap_or_default()).into_owned();
    let noted = |name: &str| sums.lines().find_map(|line| line.split_once("  ").filter(|(_, of)| *of == name)).map(|(sum, _)| sum);
    for (name, found) in [(META, meta.map(|meta| hex(&Sha256::digest(meta)))), (STATE, state.map(str::to_owned))] {
        match (noted(name), found) {
            (None, _) => return Err(integrity(format_args!("file missing for \"{name}\""))),
            (Some(noted), found) if found.as_deref() != Some(noted) => {
                return Err(integrity(format_args!("hash check failed for \"{name}\"")));
            }
            _ => {}
        }
    }
    Ok(())
}
