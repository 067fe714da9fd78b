//! A small DNS client over UDP and TCP: asks one question and hands back the answer's raw parts, decoded by hand so that the
//! product's own DNS library cannot hide its faults.

use std::{
    io::{self, Read as _, Write as _},
    net::{Ipv4Addr, Ipv6Addr, SocketAddr, TcpStream, UdpSocket},
    time::Duration,
};

/// A record of an answer, its data in presentation form.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Record {
    /// Owner name with its final dot, in the case it came in.
    pub name: String,
    /// `A`, `SRV`, ...
    pub kind: String,
    /// Time to live, seconds.
    pub ttl: u32,
    /// Data as `dig` prints it.
    pub data: String,
}

/// An answer.
#[derive(Clone, Debug, Default)]
pub struct Answer {
    /// Response code: 0 NOERROR, 2 SERVFAIL, 3 NXDOMAIN, 5 REFUSED.
    pub rcode: u8,
    /// Authoritative.
    pub aa: bool,
    /// Truncated.
    pub tc: bool,
    /// Recursion available.
    pub ra: bool,
    /// Size on the wire, bytes.
    pub size: usize,
    /// Answer section.
    pub answers: Vec<Record>,
    /// Authority section.
    pub authority: Vec<Record>,
    /// Additional section, without OPT.
    pub additional: Vec<Record>,
    /// Payload size of the OPT record, when there is one.
    pub edns: Option<u16>,
}

/// Record type numbers by name.
const KINDS: [(&str, u16); 12] = [
    ("A", 1),
    ("NS", 2),
    ("CNAME", 5),
    ("SOA", 6),
    ("PTR", 12),
    ("MX", 15),
    ("TXT", 16),
    ("AAAA", 28),
    ("SRV", 33),
    ("OPT", 41),
    ("ANY", 255),
    ("AXFR", 252),
];

fn query(name: &str, kind: &str, edns: Option<u16>) -> Vec<u8> {
    let number = KINDS.iter().find(|(word, _)| *word == kind).expect("a known record type").1;
    let mut packet = vec![0x12, 0x34, 1, 0, 0, 1, 0, 0, 0, 0, 0, u8::from(edns.is_some())];
    for label in name.trim_end_matches('.').split('.') {
        packet.push(u8::try_from(label.len()).expect("a label"));
        packet.extend_from_slice(label.as_bytes());
    }
    packet.push(0);
    packet.extend_from_slice(&number.to_be_bytes());
    packet.extend_from_slice(&[0, 1]);
    if let Some(size) = edns {
        packet.extend_from_slice(&[0, 0, 41]);
        packet.extend_from_slice(&size.to_be_bytes());
        packet.extend_from_slice(&[0; 6]);
    }
    packet
}

/// Asks over UDP.
///
/// # Errors
/// No answer within 5 s, or one that does not parse.
pub fn ask(server: SocketAddr, name: &str, kind: &str, edns: Option<u16>) -> io::Result<Answer> {
    let socket = UdpSocket::bind("0.0.0.0:0")?;
    socket.set_read_timeout(Some(Duration::from_secs(5)))?;
    socket.send_to(&query(name, kind, edns), server)?;
    let mut packet = vec![0; 65_535];
    let (size, _) = socket.recv_from(&mut packet)?;
    parse(&packet[..size])
}

/// Asks over TCP.
///
/// # Errors
/// No answer within 5 s, or one that does not parse.
pub fn ask_tcp(server: SocketAddr, name: &str, kind: &str) -> io::Result<Answer> {
    let mut stream = TcpStream::connect(server)?;
    stream.set_read_timeout(Some(Duration::from_secs(5)))?;
    let packet = query(name, kind, None);
    stream.write_all(&u16::try_from(packet.len()).expect("short").to_be_bytes())?;
    stream.write_all(&packet)?;
    let mut size = [0; 2];
    stream.read_exact(&mut size)?;
    let mut packet = vec![0; usize::from(u16::from_be_bytes(size))];
    stream.read_exact(&mut packet)?;
    parse(&packet)
}

struct Reader<'a> {
    packet: &'a [u8],
    at: usize,
}

impl Reader<'_> {
    fn take(&mut self, count: usize) -> io::Result<&[u8]> {
        let bytes = self.packet.get(self.at..self.at + count).ok_or(io::ErrorKind::UnexpectedEof)?;
        self.at += count;
        Ok(bytes)
    }

    fn u8(&mut self) -> io::Result<u8> {
        Ok(self.take(1)?[0])
    }

    fn u16(&mut self) -> io::Result<u16> {
        let bytes = self.take(2)?;
        Ok(u16::from_be_bytes([bytes[0], bytes[1]]))
    }

    fn u32(&mut self) -> io::Result<u32> {
        Ok(u32::from(self.u16()?) << 16 | u32::from(self.u16()?))
    }

    fn name(&mut self) -> io::Result<String> {
        let (mut name, mut back, mut jumps) = (String::new(), None, 0);
        loop {
            let length = self.u8()?;
            match length {
                0 => break,
                0xc0..=0xff => {
                    let target = usize::from(length & 0x3f) << 8 | usize::from(self.u8()?);
                    back.get_or_insert(self.at);
                    self.at = target;
                    jumps += 1;
                    if jumps > 64 {
                        return Err(io::ErrorKind::InvalidData.into());
                    }
                }
                _ => {
                    let label = self.take(usize::from(length))?;
                    name.push_str(&String::from_utf8_lossy(label));
                    name.push('.');
                }
            }
        }
        if let Some(back) = back {
            self.at = back;
        }
        Ok(if name.is_empty() { ".".to_owned() } else { name })
    }
}

fn parse(packet: &[u8]) -> io::Result<Answer> {
    let mut reader = Reader { packet, at: 2 };
    let (high, low) = (reader.u8()?, reader.u8()?);
    let counts = [reader.u16()?, reader.u16()?, reader.u16()?, reader.u16()?];
    let mut answer =
        Answer { rcode: low & 15, aa: high & 4 != 0, tc: high & 2 != 0, ra: low & 128 != 0, size: packet.len(), ..Answer::default() };
    for _ in 0..counts[0] {
        reader.name()?;
        reader.u32()?;
    }
    for section in 1..4 {
        for _ in 0..counts[section] {
            let (name, kind, class, ttl) = (reader.name()?, reader.u16()?, reader.u16()?, reader.u32()?);
            let length = usize::from(reader.u16()?);
            let end = reader.at + length;
            if kind == 41 {
                answer.edns = Some(class);
                reader.at = end;
                continue;
            }
            let data = data(&mut reader, kind, length)?;
            reader.at = end;
            let kind = KINDS.iter().find(|(_, number)| *number == kind).map_or_else(|| kind.to_string(), |(word, _)| (*word).to_owned());
            [&mut answer.answers, &mut answer.authority, &mut answer.additional][section - 1].push(Record { name, kind, ttl, data });
        }
    }
    Ok(answer)
}

fn data(reader: &mut Reader<'_>, kind: u16, length: usize) -> io::Result<String> {
    Ok(match kind {
        1 => Ipv4Addr::from(reader.u32()?).to_string(),
        28 => Ipv6Addr::from(<[u8; 16]>::try_from(reader.take(16)?).expect("16 bytes")).to_string(),
        2 | 5 | 12 => reader.name()?,
        33 => format!("{} {} {} {}", reader.u16()?, reader.u16()?, reader.u16()?, reader.name()?),
        6 => {
            let (mname, rname) = (reader.name()?, reader.name()?);
            format!("{mname} {rname} {} {} {} {} {}", reader.u32()?, reader.u32()?, reader.u32()?, reader.u32()?, reader.u32()?)
        }
        16 => {
            let end = reader.at + length;
            let mut texts = Vec::new();
            while reader.at < end {
                let size = usize::from(reader.u8()?);
                texts.push(format!("\"{}\"", String::from_utf8_lossy(reader.take(size)?)));
            }
            texts.join(" ")
        }
        _ => format!("{:02x?}", reader.take(length)?),
    })
}
