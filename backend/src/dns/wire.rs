//! The bytes of a response. Pure.
//!
//! Writes the records itself because the library's encoder stops compressing after some hundred names, which would
//! halve what fits. Names are compressed with regard to case, so that every name keeps the letters it was given.
//! Contract: DNS, section "Sizes".

use std::collections::HashMap;

use hickory_server::proto::{
    op::{Edns, Header, HeaderCounts, Metadata, Query},
    rr::{Name, RData, Record},
    serialize::binary::{BinEncodable, BinEncoder},
};

/// The furthest place a compression pointer can name.
const POINTER_MAX: usize = 0x3fff;
/// Marks a compression pointer.
const POINTER: u16 = 0xc000;
/// The TC bit in the header's third byte.
const TRUNCATED: u8 = 0x02;

/// Everything a response may hold.
pub(super) struct Draft<'a> {
    pub(super) metadata: Metadata,
    pub(super) question: &'a [Query],
    pub(super) answers: &'a [Record],
    pub(super) authorities: &'a [Record],
    /// Additional records and the place of the answer they belong to.
    pub(super) additionals: &'a [(usize, Record)],
    pub(super) edns: Option<Edns>,
    pub(super) compress: bool,
}

/// Marks a response as cut.
pub(super) fn mark_truncated(response: &mut [u8]) {
    response[2] |= TRUNCATED;
}

impl Draft<'_> {
    /// The response with so many answers and their additional records, if it is no longer than `bytes_max`.
    pub(super) fn write(&self, answers: usize, additionals: bool, bytes_max: usize) -> Option<Vec<u8>> {
        let mut writer = Writer { bytes: Vec::with_capacity(512), names: HashMap::new(), scratch: Vec::new(), compress: self.compress };
        writer.bytes.extend_from_slice(&[0; 12]);
        for query in self.question {
            writer.name(query.name(), true);
            writer.number(query.query_type().into());
            writer.number(query.query_class().into());
        }
        let answers = &self.answers[..answers.min(self.answers.len())];
        for record in answers.iter().chain(self.authorities) {
            writer.record(record);
            if writer.bytes.len() > bytes_max {
                return None;
            }
        }
        let mut added = 0;
        let belongs = |at: usize| additionals && at < answers.len().max(1);
        for (_, record) in self.additionals.iter().filter(|(at, _)| belongs(*at)) {
            writer.record(record);
            added += 1;
            if writer.bytes.len() > bytes_max {
                return None;
            }
        }
        if let Some(edns) = &self.edns {
            writer.encoded(&Record::from(edns))?;
            added += 1;
        }
        let count = |count: usize| u16::try_from(count).ok();
        let counts = HeaderCounts {
            queries: count(self.question.len())?,
            answers: count(answers.len())?,
            authorities: count(self.authorities.len())?,
            additionals: count(added)?,
        };
        let mut head = Writer { bytes: Vec::with_capacity(12), ..Writer::default() };
        head.encoded(&Header { metadata: self.metadata, counts })?;
        writer.bytes.get_mut(..12)?.copy_from_slice(head.bytes.get(..12)?);
        (writer.bytes.len() <= bytes_max).then_some(writer.bytes)
    }
}

#[derive(Default)]
struct Writer {
    bytes: Vec<u8>,
    /// Where each name, and each tail of it, was written first.
    names: HashMap<Vec<u8>, u16>,
    scratch: Vec<u8>,
    compress: bool,
}

impl Writer {
    fn number(&mut self, number: u16) {
        self.bytes.extend_from_slice(&number.to_be_bytes());
    }

    fn wide(&mut self, number: u32) {
        self.bytes.extend_from_slice(&number.to_be_bytes());
    }

    /// What the library writes as it is: nothing in it is compressed.
    fn encoded(&mut self, value: &impl BinEncodable) -> Option<()> {
        let mut bytes = Vec::new();
        value.emit(&mut BinEncoder::new(&mut bytes)).ok()?;
        self.bytes.extend_from_slice(&bytes);
        Some(())
    }

    /// A name; with `pointers` its tail may point back. Later names may point here in either case.
    fn name(&mut self, name: &Name, pointers: bool) {
        let mut scratch = std::mem::take(&mut self.scratch);
        scratch.clear();
        for label in name.iter() {
            // A label holds at most 63 bytes.
            scratch.push(u8::try_from(label.len()).unwrap_or(63));
            scratch.extend_from_slice(label);
        }
        let mut at = 0;
        while let Some(length) = scratch.get(at) {
            let tail = &scratch[at..];
            if self.compress {
                match self.names.get(tail) {
                    Some(place) if pointers => {
                        let pointer = POINTER | place;
                        self.number(pointer);
                        self.scratch = scratch;
                        return;
                    }
                    Some(_) => {}
                    None => {
                        if let Some(place) = u16::try_from(self.bytes.len()).ok().filter(|place| usize::from(*place) <= POINTER_MAX) {
                            self.names.insert(tail.to_vec(), place);
                        }
                    }
                }
            }
            let end = at + 1 + usize::from(*length);
            self.bytes.extend_from_slice(&scratch[at..end]);
            at = end;
        }
        self.bytes.push(0);
        self.scratch = scratch;
    }

    fn record(&mut self, record: &Record) {
        self.name(&record.name, true);
        self.number(record.record_type().into());
        self.number(record.dns_class.into());
        self.wide(record.ttl);
        let length_at = self.bytes.len();
        self.number(0);
        self.data(&record.data);
        let length = u16::try_from(self.bytes.len() - length_at - 2).unwrap_or(u16::MAX);
        self.bytes[length_at..length_at + 2].copy_from_slice(&length.to_be_bytes());
    }

    fn data(&mut self, data: &RData) {
        match data {
            RData::A(address) => self.bytes.extend_from_slice(&address.0.octets()),
            RData::AAAA(address) => self.bytes.extend_from_slice(&address.0.octets()),
            RData::CNAME(target) => self.name(&target.0, true),
            RData::NS(target) => self.name(&target.0, true),
            RData::PTR(target) => self.name(&target.0, true),
            RData::SRV(srv) => {
                self.number(srv.priority);
                self.number(srv.weight);
                self.number(srv.port);
                // RFC 2782: this name is not compressed.
                self.name(&srv.target, false);
            }
            RData::SOA(soa) => {
                self.name(&soa.mname, true);
                self.name(&soa.rname, true);
                self.wide(soa.serial);
                for seconds in [soa.refresh, soa.retry, soa.expire] {
                    self.bytes.extend_from_slice(&seconds.to_be_bytes());
                }
                self.wide(soa.minimum);
            }
            RData::TXT(text) => {
                for part in &text.txt_data {
                    // A character string holds at most 255 bytes.
                    let part = &part[..part.len().min(255)];
                    self.bytes.push(u8::try_from(part.len()).unwrap_or(u8::MAX));
                    self.bytes.extend_from_slice(part);
                }
            }
            // No other type is ever answered.
            _ => {}
        }
    }
}
