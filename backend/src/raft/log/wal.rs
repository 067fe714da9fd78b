//! The default log store: segments written front to back, one flush for everything that queued up.
//!
//! A segment's name is its number. Each begins with the log's head, so that older segments can be removed whole. A new one is
//! begun once the last one is full; it is on disk, with its name, before anything else is written to it. A segment grows by pieces of
//! zeros, which are then written over: a flush that does not change the file's size needs no commit of the file system's journal, which
//! takes longer than the flush and waits for everybody else's. A torn end of the last segment is cut off; damage anywhere else refuses
//! to start, naming file and offset.

use std::{
    collections::VecDeque,
    io,
    sync::{Arc, PoisonError, RwLock},
};

use super::{
    Backend, Encoded, Head, Opened, Reader, Sweep,
    disk::{Blocks, Disk},
    record::{self, Kind},
};
use crate::raft::codec;

/// A segment is full from here on.
pub(super) const SEGMENT_BYTES: u64 = 64 << 20;
/// What is read at once, about: as much as lies together.
const RUN_BYTES: u64 = 1 << 20;
/// A segment grows by this part of a full one.
const GROWTH: u64 = 128;
/// What is handed to the kernel at once at most, before the flush.
const BUFFER_BYTES: usize = 4 << 20;

struct Segment {
    number: u64,
    file: Arc<dyn Blocks>,
    /// Index of the last entry ever written to it.
    last: Option<u64>,
}

/// Where an entry's payload is.
#[derive(Clone, Copy)]
struct Place {
    segment: u64,
    offset: u64,
    length: usize,
}

/// Where everything is; shared with the reader.
#[derive(Default)]
struct Map {
    segments: VecDeque<Segment>,
    /// Index of the first place.
    first: u64,
    places: VecDeque<Place>,
}

impl Map {
    fn next(&self) -> u64 {
        self.first + self.places.len() as u64
    }

    /// False when the entry does not follow the last one.
    fn push(&mut self, index: u64, place: Place) -> bool {
        if self.places.is_empty() {
            self.first = index;
        }
        if index != self.next() {
            return false;
        }
        self.places.push_back(place);
        true
    }

    fn truncate_from(&mut self, index: u64) {
        self.places.truncate(usize::try_from(index.saturating_sub(self.first)).unwrap_or(usize::MAX));
    }

    fn purge_to(&mut self, index: u64) {
        while self.first <= index && self.places.pop_front().is_some() {
            self.first += 1;
        }
    }
}

/// The writing side.
pub(super) struct Wal {
    disk: Arc<dyn Disk>,
    map: Arc<RwLock<Map>>,
    segment_bytes: u64,
    head: Head,
    /// Bytes of the last segment that are on disk, which is where the batch begins.
    synced: u64,
    /// Bytes of the last segment handed to the kernel.
    written: u64,
    /// Bytes of the last segment's file: behind what is written there are zeros.
    extended: u64,
    buffer: Vec<u8>,
    /// Everything up to here is purged, which is not on disk yet.
    purged: Option<u64>,
    /// Segments nothing refers to any more, oldest first.
    unused: Vec<u64>,
}

fn name(number: u64) -> String {
    format!("{number:020}.wal")
}

fn damaged(disk: &dyn Disk, number: u64, offset: usize, what: &str) -> io::Error {
    let file = disk.shown(&name(number));
    io::Error::new(io::ErrorKind::InvalidData, format!("raft log {file} is damaged at offset {offset}: {what}"))
}

/// Opens or creates a log.
///
/// # Errors
/// The disk; damage, naming file and offset.
pub(super) fn open(disk: Arc<dyn Disk>, segment_bytes: u64) -> io::Result<Opened> {
    let mut wal = Wal {
        disk,
        map: Arc::default(),
        segment_bytes,
        head: Head::default(),
        synced: 0,
        written: 0,
        extended: 0,
        buffer: Vec::new(),
        purged: None,
        unused: Vec::new(),
    };
    let mut numbers: Vec<u64> = wal.disk.list()?.iter().filter_map(|name| name.strip_suffix(".wal")?.parse().ok()).collect();
    numbers.sort_unstable();
    let mut expected = numbers.first().copied();
    for number in &numbers {
        if Some(*number) != expected {
            return Err(damaged(&*wal.disk, *number - 1, 0, "the file is missing"));
        }
        expected = Some(number + 1);
        wal.load(*number, Some(number) == numbers.last())?;
    }
    let (head, range) = {
        let map = wal.map.read().unwrap_or_else(PoisonError::into_inner);
        (wal.head.clone(), (!map.places.is_empty()).then(|| (map.first, map.next() - 1)))
    };
    if let (Some(purged), Some((first, _))) = (head.purged, range)
        && first > purged.index() + 1
    {
        return Err(io::Error::new(io::ErrorKind::InvalidData, format!("raft log entries {} to {first} are missing", purged.index() + 1)));
    }
    if wal.map.read().unwrap_or_else(PoisonError::into_inner).segments.is_empty() {
        wal.begin_segment()?;
    }
    let reader = Arc::new(MapReader(wal.map.clone()));
    Ok(Opened { head, range, backend: Box::new(wal), reader })
}

impl Wal {
    fn load(&mut self, number: u64, is_last: bool) -> io::Result<()> {
        let file = self.disk.open(&name(number))?;
        let bytes = file.read_at(0, usize::try_from(file.length()?).map_err(io::Error::other)?)?;
        let (records, end) = record::parse(&bytes);
        let is_torn = !record::is_blank(&bytes, end);
        if is_torn && (!is_last || record::is_damage(&bytes, end)) {
            return Err(damaged(&*self.disk, number, end, "the checksum does not match"));
        }
        if records.is_empty() {
            if !is_last {
                return Err(damaged(&*self.disk, number, end, "the segment is empty"));
            }
            // Its beginning never reached the disk, so nothing was ever written behind it.
            self.disk.remove(&name(number))?;
            return self.disk.sync();
        }
        if is_torn {
            tracing::warn!(file = self.disk.shown(&name(number)), offset = end, "raft log has a torn end, which is cut off");
            file.cut(end as u64)?;
            file.sync()?;
        }
        let mut map = self.map.write().unwrap_or_else(PoisonError::into_inner);
        let mut last = None;
        for found in records {
            match found.kind {
                Kind::Entry => {
                    let offset = (found.offset + record::HEAD) as u64;
                    if !map.push(found.index, Place { segment: number, offset, length: found.payload.len() }) {
                        return Err(damaged(&*self.disk, number, found.offset, "an entry does not follow the one before"));
                    }
                    last = last.max(Some(found.index));
                }
                Kind::Truncate => map.truncate_from(found.index),
                Kind::Head => {
                    self.head = codec::decode(found.payload).map_err(|e| damaged(&*self.disk, number, found.offset, &e.to_string()))?;
                    if let Some(purged) = self.head.purged {
                        map.purge_to(purged.index());
                    }
                }
            }
        }
        map.segments.push_back(Segment { number, file, last });
        drop(map);
        (self.synced, self.written) = (end as u64, end as u64);
        self.extended = if is_torn { end } else { bytes.len() } as u64;
        Ok(())
    }

    fn begin_segment(&mut self) -> io::Result<()> {
        let number = self.map.read().unwrap_or_else(PoisonError::into_inner).segments.back().map_or(1, |segment| segment.number + 1);
        let file = self.disk.create(&name(number))?;
        let mut bytes = record::MAGIC.to_vec();
        record::write(&mut bytes, Kind::Head, 0, 0, &codec::encode(&self.head)?).map_err(io::Error::other)?;
        file.write_at(0, &bytes)?;
        file.sync()?;
        self.disk.sync()?;
        (self.synced, self.written, self.extended) = (bytes.len() as u64, bytes.len() as u64, bytes.len() as u64);
        self.map.write().unwrap_or_else(PoisonError::into_inner).segments.push_back(Segment { number, file, last: None });
        Ok(())
    }

    fn last_file(&self) -> io::Result<(u64, Arc<dyn Blocks>)> {
        let map = self.map.read().unwrap_or_else(PoisonError::into_inner);
        map.segments
            .back()
            .map(|segment| (segment.number, segment.file.clone()))
            .ok_or_else(|| io::Error::other("the raft log has no segment"))
    }

    fn add(&mut self, kind: Kind, index: u64, payload: &[u8]) -> io::Result<u64> {
        if self.buffer.len() > BUFFER_BYTES {
            self.hand_over()?;
        }
        let offset = self.written + self.buffer.len() as u64;
        record::write(&mut self.buffer, kind, self.synced, index, payload).map_err(io::Error::other)?;
        Ok(offset)
    }

    fn hand_over(&mut self) -> io::Result<()> {
        let (_, file) = self.last_file()?;
        let end = self.written + self.buffer.len() as u64;
        if end > self.extended {
            self.extended = end + (self.segment_bytes / GROWTH).max(1);
            self.buffer.resize(usize::try_from(self.extended - self.written).map_err(io::Error::other)?, 0);
        }
        file.write_at(self.written, &self.buffer)?;
        self.written = end;
        self.buffer.clear();
        Ok(())
    }

    /// Lets go of the segments that hold nothing but purged entries.
    fn release(&mut self, purged: u64) {
        let mut map = self.map.write().unwrap_or_else(PoisonError::into_inner);
        while map.segments.len() > 1 && map.segments.front().is_some_and(|segment| segment.last.is_none_or(|last| last <= purged)) {
            self.unused.extend(map.segments.pop_front().map(|segment| segment.number));
        }
    }
}

impl Backend for Wal {
    fn append(&mut self, index: u64, entry: &[u8]) -> io::Result<()> {
        let offset = self.add(Kind::Entry, index, entry)? + record::HEAD as u64;
        let mut map = self.map.write().unwrap_or_else(PoisonError::into_inner);
        let Some(segment) = map.segments.back_mut() else { return Err(io::Error::other("the raft log has no segment")) };
        segment.last = segment.last.max(Some(index));
        let segment = segment.number;
        if map.push(index, Place { segment, offset, length: entry.len() }) {
            Ok(())
        } else {
            Err(io::Error::new(io::ErrorKind::InvalidInput, format!("raft log entry {index} does not follow the last one")))
        }
    }

    fn set_head(&mut self, head: &Head) -> io::Result<()> {
        self.head = head.clone();
        self.add(Kind::Head, 0, &codec::encode(head)?).map(drop)
    }

    fn truncate_from(&mut self, index: u64) -> io::Result<()> {
        self.map.write().unwrap_or_else(PoisonError::into_inner).truncate_from(index);
        self.add(Kind::Truncate, index, &[]).map(drop)
    }

    fn purge_to(&mut self, index: u64) -> io::Result<()> {
        self.map.write().unwrap_or_else(PoisonError::into_inner).purge_to(index);
        self.purged = Some(index);
        Ok(())
    }

    fn sync(&mut self) -> io::Result<()> {
        self.hand_over()?;
        self.last_file()?.1.sync()?;
        self.synced = self.written;
        if self.synced >= self.segment_bytes {
            self.begin_segment()?;
        }
        // Not before the head that says so is on disk.
        if let Some(purged) = self.purged.take() {
            self.release(purged);
        }
        Ok(())
    }

    fn sweep(&mut self) -> Option<Sweep> {
        if self.unused.is_empty() {
            return None;
        }
        let (unused, disk) = (std::mem::take(&mut self.unused), self.disk.clone());
        // Oldest first and one by one: a crash leaves no gap.
        Some(Box::new(move || {
            unused.iter().try_for_each(|number| {
                disk.remove(&name(*number))?;
                disk.sync()
            })
        }))
    }
}

/// The reading side.
struct MapReader(Arc<RwLock<Map>>);

impl MapReader {
    /// Entries that lie together in one file, from this one on: the file and their places.
    fn run(&self, from: u64, to: u64, mut max_bytes: usize) -> Option<(Arc<dyn Blocks>, Vec<Place>)> {
        let map = self.0.read().unwrap_or_else(PoisonError::into_inner);
        let position = |index: u64| usize::try_from(index.saturating_sub(map.first)).unwrap_or(usize::MAX).min(map.places.len());
        let mut places: Vec<Place> = Vec::new();
        let first = *map.places.get(position(from)).filter(|_| from >= map.first)?;
        for place in map.places.range(position(from)..position(to)) {
            let together = place.segment == first.segment && place.offset >= first.offset && place.offset - first.offset < RUN_BYTES;
            if !together || max_bytes == 0 {
                break;
            }
            max_bytes = max_bytes.saturating_sub(place.length);
            places.push(*place);
        }
        let segment = map.segments.iter().find(|segment| segment.number == first.segment)?;
        Some((segment.file.clone(), places))
    }
}

impl Reader for MapReader {
    fn read(&self, from: u64, to: u64, max_bytes: usize) -> io::Result<Encoded> {
        let (mut entries, mut left, mut next) = (Encoded::new(), max_bytes, from);
        while next < to
            && left > 0
            && let Some((file, places)) = self.run(next, to, left)
            && let (Some(first), Some(last)) = (places.first(), places.last())
        {
            let start = first.offset;
            let at = |offset: u64| usize::try_from(offset - start).map_err(io::Error::other);
            let bytes = file.read_at(start, at(last.offset)? + last.length)?;
            for place in &places {
                let from = at(place.offset)?;
                entries.push((next, bytes[from..from + place.length].to_vec()));
                left = left.saturating_sub(place.length);
                next += 1;
            }
        }
        Ok(entries)
    }
}
