//! Records of a segment, as bytes. Pure.
//!
//! A segment begins with [`MAGIC`]. A record is its payload's length (4 bytes), a CRC-32 of everything else (4), its kind (1), the
//! offset at which its batch begins (8), a log index (8), and the payload; all little-endian. A batch is what one disk flush
//! covers, so a record of a later batch proves that everything before that batch had reached the disk: this tells a torn tail,
//! which is cut off, from damage, which is not.

/// First bytes of a segment; the last one is the version.
pub(super) const MAGIC: &[u8; 8] = b"MUSTWAL\x01";
/// Bytes before a payload.
pub(super) const HEAD: usize = 25;

/// What a record says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    /// The log entry of this index.
    Entry,
    /// The log's head, replacing the one before.
    Head,
    /// Entries from this index on are gone.
    Truncate,
}

/// A record found in a segment.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Record<'a> {
    /// Where it begins.
    pub(super) offset: usize,
    /// Where its batch begins.
    pub(super) batch: u64,
    pub(super) kind: Kind,
    pub(super) index: u64,
    pub(super) payload: &'a [u8],
}

/// Adds a record's bytes.
pub(super) fn write(out: &mut Vec<u8>, kind: Kind, batch: u64, index: u64, payload: &[u8]) -> Result<(), std::num::TryFromIntError> {
    let length = u32::try_from(payload.len())?.to_le_bytes();
    let kind = match kind {
        Kind::Entry => 1,
        Kind::Head => 2,
        Kind::Truncate => 3,
    };
    let start = out.len();
    out.extend_from_slice(&length);
    out.extend_from_slice(&[0; 4]);
    out.push(kind);
    out.extend_from_slice(&batch.to_le_bytes());
    out.extend_from_slice(&index.to_le_bytes());
    out.extend_from_slice(payload);
    let crc = checksum(&length, &out[start + 8..]);
    out[start + 4..start + 8].copy_from_slice(&crc.to_le_bytes());
    Ok(())
}

fn checksum(length: &[u8], rest: &[u8]) -> u32 {
    let mut crc = crc32fast::Hasher::new();
    crc.update(length);
    crc.update(rest);
    crc.finalize()
}

/// The whole record that begins here, if there is one.
fn record_at(bytes: &[u8], offset: usize) -> Option<Record<'_>> {
    let head = bytes.get(offset..offset.checked_add(HEAD)?)?;
    let number = |range: std::ops::Range<usize>| Some(u64::from_le_bytes(head.get(range)?.try_into().ok()?));
    let kind = match head[8] {
        1 => Kind::Entry,
        2 => Kind::Head,
        3 => Kind::Truncate,
        _ => return None,
    };
    let length = u32::from_le_bytes(head[..4].try_into().ok()?) as usize;
    let end = (offset + HEAD).checked_add(length)?;
    let rest = bytes.get(offset + 8..end)?;
    let crc = u32::from_le_bytes(head[4..8].try_into().ok()?);
    (checksum(&head[..4], rest) == crc).then_some(())?;
    Some(Record { offset, batch: number(9..17)?, kind, index: number(17..25)?, payload: &bytes[offset + HEAD..end] })
}

/// The records of a segment, and how many of its bytes they are.
pub(super) fn parse(bytes: &[u8]) -> (Vec<Record<'_>>, usize) {
    let mut records = Vec::new();
    if !bytes.starts_with(MAGIC) {
        return (records, 0);
    }
    let mut offset = MAGIC.len();
    while let Some(record) = record_at(bytes, offset) {
        offset += HEAD + record.payload.len();
        records.push(record);
    }
    (records, offset)
}

/// Whether nothing stands after `end` but the zeros a segment is extended with: a record begins with its length and checksum, which
/// are never both zero.
pub(super) fn is_blank(bytes: &[u8], end: usize) -> bool {
    bytes[end..].iter().all(|byte| *byte == 0)
}

/// Whether what stands after `end` proves that it once was whole up to a point beyond `end`.
pub(super) fn is_damage(bytes: &[u8], end: usize) -> bool {
    (end + 1..bytes.len()).any(|offset| record_at(bytes, offset).is_some_and(|record| record.batch > end as u64))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Two batches: entries 1 and 2, then entry 3.
    fn segment() -> (Vec<u8>, [usize; 4]) {
        let mut bytes = MAGIC.to_vec();
        let mut ends = [bytes.len(); 4];
        for (at, (batch, index)) in [(8, 1), (8, 2), (0, 3)].into_iter().enumerate() {
            let batch = if batch == 0 { ends[2] as u64 } else { batch };
            write(&mut bytes, Kind::Entry, batch, index, b"payload").expect("small");
            ends[at + 1] = bytes.len();
        }
        (bytes, ends)
    }

    #[test]
    fn records_are_read_back() {
        let (bytes, ends) = segment();
        let (records, end) = parse(&bytes);
        assert_eq!(end, bytes.len());
        let found: Vec<_> = records.iter().map(|record| (record.offset, record.index, record.payload)).collect();
        assert_eq!(found, [(ends[0], 1, &b"payload"[..]), (ends[1], 2, b"payload"), (ends[2], 3, b"payload")]);
    }

    #[test]
    fn a_cut_anywhere_is_a_torn_tail() {
        let (bytes, ends) = segment();
        for cut in 0..bytes.len() {
            let (_, end) = parse(&bytes[..cut]);
            assert!(end == 0 || ends.contains(&end));
            assert!(!is_damage(&bytes[..cut], end), "cut at {cut}");
        }
    }

    #[test]
    fn zeros_behind_the_last_record_are_blank_and_no_record() {
        let (mut bytes, ends) = segment();
        bytes.resize(bytes.len() + 100, 0);
        assert_eq!(parse(&bytes).1, ends[2 + 1]);
        assert!(is_blank(&bytes, ends[3]));
        bytes[ends[3] + 60] = 1;
        assert!(!is_blank(&bytes, ends[3]));
    }

    #[test]
    fn a_changed_byte_is_damage_only_when_a_later_batch_follows() {
        let (bytes, ends) = segment();
        for at in 0..bytes.len() {
            let mut changed = bytes.clone();
            changed[at] ^= 0x40;
            let (_, end) = parse(&changed);
            assert!(end <= at, "byte {at} is noticed");
            // The first batch is proven by the second one; the second by nothing.
            assert_eq!(is_damage(&changed, end), at < ends[2], "byte {at}");
        }
    }
}
