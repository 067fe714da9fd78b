//! Replies of the servers to records, sections and a message that fits. Pure: order, time and transport come in.
//!
//! Contract: DNS, sections "Record types by name", "SRV and the additional section" and "Sizes".

use std::{
    collections::{BTreeMap, HashSet},
    net::IpAddr,
};

use hickory_server::proto::{
    op::{Edns, MessageType, Metadata, Query, ResponseCode},
    rr::{
        Name, RData, Record, RecordType,
        rdata::{A, AAAA, CNAME, NS, PTR, SOA, SRV, TXT, opt::EdnsCode, opt::EdnsOption},
    },
};
use shared::{
    health::{Health, ServiceNode},
    node::Node,
};

use super::{
    Options, seconds,
    wire::{self, Draft},
};

/// Answers a TCP response may hold before its size is looked at.
const TCP_ANSWERS_MAX: usize = 4_096;
/// The most `udp_answer_limit` can ask for.
const UDP_ANSWERS_MAX: usize = 8;
/// A UDP response without EDNS.
const UDP_BYTES: u16 = 512;

/// What one answer is about: the domain asked under and the rules for it.
#[derive(Clone, Copy)]
pub(super) struct Scope<'a> {
    pub(super) options: &'a Options,
    /// The domain the question named, or the main one.
    pub(super) domain: &'a Name,
    /// The question's name, as written.
    pub(super) owner: &'a Name,
    pub(super) kind: RecordType,
    /// Wall time, seconds since 1970.
    pub(super) now: u32,
}

/// The sections of a response.
#[derive(Debug, Default)]
pub(super) struct Sections {
    pub(super) code: ResponseCode,
    pub(super) authoritative: bool,
    pub(super) answers: Vec<Record>,
    pub(super) authorities: Vec<Record>,
    /// Additional records and the place of the answer they belong to.
    pub(super) additionals: Vec<(usize, Record)>,
}

impl Sections {
    fn found() -> Self {
        Self { authoritative: true, ..Self::default() }
    }

    /// A response with nothing but a code, and no authority.
    pub(super) fn only(code: ResponseCode) -> Self {
        Self { code, ..Self::default() }
    }
}

impl Scope<'_> {
    fn name(&self, labels: &[&[u8]]) -> Option<Name> {
        Name::from_labels(labels.iter().copied()).ok()?.append_domain(self.domain).ok()
    }

    /// `<node>.node.<dc>.<domain>`; `None` when the node's name is none in DNS.
    fn node_name(&self, node: &Node) -> Option<Name> {
        let mut labels: Vec<&[u8]> = node.name.split('.').map(str::as_bytes).collect();
        labels.extend([&b"node"[..], self.datacenter(node).as_bytes()]);
        self.name(&labels)
    }

    fn datacenter<'n>(&'n self, node: &'n Node) -> &'n str {
        if node.datacenter.is_empty() { &self.options.datacenter } else { &node.datacenter }
    }

    fn soa(&self) -> Option<Record> {
        let soa = self.options.soa;
        let signed = |value: u32| i32::try_from(value).unwrap_or(i32::MAX);
        let data = SOA::new(
            self.name(&[b"ns"])?,
            self.name(&[b"hostmaster"])?,
            self.now,
            signed(soa.refresh),
            signed(soa.retry),
            signed(soa.expire),
            soa.min_ttl,
        );
        Some(Record::from_rdata(self.domain.clone(), soa.min_ttl, RData::SOA(data)))
    }

    /// No such name.
    pub(super) fn missing(&self) -> Sections {
        Sections { code: ResponseCode::NXDomain, ..self.empty() }
    }

    /// The name exists, but has no such record.
    fn empty(&self) -> Sections {
        Sections { authorities: self.soa().into_iter().collect(), ..Sections::found() }
    }

    /// Whether an address of this family answers the question.
    fn wants(&self, address: IpAddr) -> bool {
        matches!(self.kind, RecordType::ANY | RecordType::TXT)
            || self.kind == if address.is_ipv4() { RecordType::A } else { RecordType::AAAA }
    }

    /// The record for an address or host name, if it answers the question.
    fn host(&self, address: &str, owner: &Name, ttl: u32) -> Option<Record> {
        match address.parse() {
            Ok(ip) => self.wants(ip).then(|| address_record(owner.clone(), ttl, ip)),
            Err(_) => alias_record(owner.clone(), ttl, address),
        }
    }

    fn node_texts(&self, node: &Node, owner: &Name, ttl: u32) -> Vec<Record> {
        node.meta.iter().map(|(key, value)| Record::from_rdata(owner.clone(), ttl, RData::TXT(meta_text(key, value)))).collect()
    }

    /// A node's address and metadata.
    pub(super) fn node(&self, node: &Node) -> Sections {
        let ttl = seconds(self.options.node_ttl);
        let mut sections = Sections::found();
        if matches!(self.kind, RecordType::A | RecordType::AAAA | RecordType::ANY) {
            sections.answers.extend(self.host(&node.address, self.owner, ttl));
        }
        match self.kind {
            RecordType::ANY | RecordType::TXT => sections.answers.extend(self.node_texts(node, self.owner, ttl)),
            RecordType::A | RecordType::AAAA if self.options.enable_additional_node_meta_txt => {
                sections.additionals = self.node_texts(node, self.owner, ttl).into_iter().map(|record| (0, record)).collect();
            }
            _ => {}
        }
        if sections.answers.is_empty() {
            sections.authorities.extend(self.soa());
        }
        sections
    }

    /// The usable instances of a service that carry the tag, in the order `shuffle` gives them.
    pub(super) fn service(&self, service: &str, tag: &str, nodes: &[ServiceNode], shuffle: &dyn Fn(&mut [&ServiceNode])) -> Sections {
        let worst = if self.options.only_passing { Health::Passing } else { Health::Warning };
        let tagged = |node: &ServiceNode| tag.is_empty() || node.service.tags.iter().any(|have| have.eq_ignore_ascii_case(tag));
        let usable = |node: &ServiceNode| {
            let health = node.health();
            health.is_usable() && health <= worst
        };
        let mut instances: Vec<&ServiceNode> = nodes.iter().filter(|node| tagged(node) && usable(node)).collect();
        if instances.is_empty() {
            return self.missing();
        }
        shuffle(&mut instances);
        let ttl = self.options.service_ttl(service);
        let mut sections = Sections::found();
        if self.kind == RecordType::SRV {
            self.pointers(&instances, ttl, &mut sections);
        } else if matches!(self.kind, RecordType::A | RecordType::AAAA | RecordType::ANY | RecordType::TXT) {
            self.addresses(&instances, ttl, &mut sections);
        }
        if sections.answers.is_empty() {
            sections.authorities.extend(self.soa());
        }
        sections
    }

    fn addresses(&self, instances: &[&ServiceNode], ttl: u32, sections: &mut Sections) {
        let limit = if self.options.a_record_limit == 0 { usize::MAX } else { self.options.a_record_limit };
        let mut seen = HashSet::with_capacity(instances.len());
        for instance in instances {
            let address = service_address(instance);
            if seen.insert(address) {
                sections.answers.extend(self.host(address, self.owner, ttl));
            }
            if sections.answers.len() >= limit {
                return;
            }
        }
    }

    fn pointers(&self, instances: &[&ServiceNode], ttl: u32, sections: &mut Sections) {
        let mut seen = HashSet::with_capacity(instances.len());
        let mut described = HashSet::new();
        for instance in instances {
            let (node, service) = (&instance.node, &instance.service);
            if !seen.insert((node.name.as_str(), service_address(instance), service.port)) {
                continue;
            }
            let Some(target) = self.pointer_target(instance) else { continue };
            let weight = if instance.health() == Health::Warning { service.weights.warning } else { service.weights.passing };
            let data = SRV::new(1, clamp(weight), clamp(service.port), target.clone());
            sections.answers.push(Record::from_rdata(self.owner.clone(), ttl, RData::SRV(data)));
            let at = sections.answers.len() - 1;
            if described.insert(target.clone()) {
                sections.additionals.extend(self.description(instance, target, ttl).into_iter().map(|record| (at, record)));
            }
        }
    }

    /// `<node>.node`, `<hex>.addr` or the service's own host name.
    fn pointer_target(&self, instance: &ServiceNode) -> Option<Name> {
        let (node, address) = (&instance.node, &instance.service.address);
        if address.is_empty() {
            return self.node_name(node);
        }
        let hex = match address.parse() {
            Ok(IpAddr::V4(ip)) => format!("{:08x}", ip.to_bits()),
            Ok(IpAddr::V6(ip)) => format!("{:032x}", ip.to_bits()),
            Err(_) => return host_name(address),
        };
        self.name(&[hex.as_bytes(), b"addr", self.datacenter(node).as_bytes()])
    }

    /// What the additional section tells about an instance.
    fn description(&self, instance: &ServiceNode, target: Name, ttl: u32) -> Vec<Record> {
        let (node, address) = (&instance.node, &instance.service.address);
        let mut records = Vec::new();
        match service_address(instance).parse() {
            Ok(ip) => records.push(address_record(target, ttl, ip)),
            Err(_) if address.is_empty() => records.extend(alias_record(target, ttl, &node.address)),
            Err(_) => {}
        }
        let literal = !address.is_empty() && address.parse::<IpAddr>().is_ok();
        if self.options.enable_additional_node_meta_txt
            && !literal
            && let Some(owner) = self.node_name(node)
        {
            records.extend(self.node_texts(node, &owner, ttl));
        }
        records
    }

    /// The address a `<hex>.addr` name carries; of another type than asked for it is additional.
    pub(super) fn literal(&self, address: IpAddr) -> Sections {
        let record = address_record(self.owner.clone(), seconds(self.options.node_ttl), address);
        let mut sections = Sections::found();
        let asked = if address.is_ipv4() { RecordType::A } else { RecordType::AAAA };
        if self.kind == asked || self.kind == RecordType::ANY {
            sections.answers.push(record);
        } else {
            sections.additionals.push((0, record));
            sections.authorities.extend(self.soa());
        }
        sections
    }

    /// The zone's name servers, at most three of those given, and their addresses; with SOA first when asked for it.
    pub(super) fn zone(&self, servers: &[&Node]) -> Sections {
        let ttl = seconds(self.options.node_ttl);
        let mut sections = Sections::found();
        let mut records = Vec::new();
        for server in servers {
            if !shared::name::is_dns_label(&server.name) || records.len() == 3 {
                continue;
            }
            let Some(name) = self.node_name(server).map(|name| name.to_lowercase()) else { continue };
            records.push(Record::from_rdata(self.domain.clone(), ttl, RData::NS(NS(name.clone()))));
            if let Ok(ip) = server.address.parse() {
                sections.additionals.push((records.len() - 1, address_record(name, ttl, ip)));
            }
        }
        if self.kind == RecordType::SOA {
            sections.answers.extend(self.soa());
            sections.authorities = records;
            for (at, _) in &mut sections.additionals {
                *at = 0;
            }
        } else {
            sections.answers = records;
        }
        sections
    }

    /// Names of an address, nodes or services, whatever type was asked for.
    pub(super) fn reverse(&self, names: &[Reverse]) -> Sections {
        let mut sections = Sections::found();
        for found in names {
            let labels: Vec<&[u8]> = found.name.split('.').map(str::as_bytes).collect();
            let dc = if found.datacenter.is_empty() { &self.options.datacenter } else { &found.datacenter };
            let name = self.name(&[labels.as_slice(), &[found.kind.as_bytes(), dc.as_bytes()]].concat());
            sections.answers.extend(name.map(|name| Record::from_rdata(self.owner.clone(), 0, RData::PTR(PTR(name)))));
        }
        if sections.answers.is_empty() { self.missing() } else { sections }
    }
}

/// A name an address belongs to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Reverse {
    pub(super) name: String,
    /// `node` or `service`.
    pub(super) kind: &'static str,
    /// Empty means the agent's.
    pub(super) datacenter: String,
}

fn service_address(instance: &ServiceNode) -> &str {
    if instance.service.address.is_empty() { &instance.node.address } else { &instance.service.address }
}

fn clamp(value: i64) -> u16 {
    u16::try_from(value.max(0)).unwrap_or(u16::MAX)
}

fn address_record(owner: Name, ttl: u32, address: IpAddr) -> Record {
    let data = match address {
        IpAddr::V4(ip) => RData::A(A(ip)),
        IpAddr::V6(ip) => RData::AAAA(AAAA(ip)),
    };
    Record::from_rdata(owner, ttl, data)
}

fn alias_record(owner: Name, ttl: u32, target: &str) -> Option<Record> {
    Some(Record::from_rdata(owner, ttl, RData::CNAME(CNAME(host_name(target)?))))
}

/// A host name written as an address; `None` when it is none.
fn host_name(text: &str) -> Option<Name> {
    let mut name = Name::from_labels(text.trim_end_matches('.').split('.').map(str::as_bytes)).ok()?;
    name.set_fqdn(true);
    Some(name)
}

/// `key=value` with the escapes of RFC 1464; keys that begin with `rfc1035-` give the bare value.
fn meta_text(key: &str, value: &str) -> TXT {
    let text = if key.to_ascii_lowercase().starts_with("rfc1035-") {
        value.to_owned()
    } else {
        let key = key.replace('`', "``").replace('=', "`=");
        let start = key.len() - key.trim_start_matches([' ', '\t']).len();
        let end = key.trim_end_matches([' ', '\t']).len().max(start);
        let blanks = |blanks: &str| blanks.chars().flat_map(|blank| ['`', blank]).collect::<String>();
        format!("{}{}{}={}", blanks(&key[..start]), &key[start..end], blanks(&key[end..]), value.replace('`', "``"))
    };
    // A character string holds at most 255 bytes; readers join them.
    let parts: Vec<&[u8]> = if text.is_empty() { vec![b""] } else { text.as_bytes().chunks(255).collect() };
    TXT::from_bytes(parts)
}

/// How the question came.
#[derive(Clone, Copy)]
pub(super) struct Transport<'a> {
    pub(super) udp: bool,
    pub(super) edns: Option<&'a Edns>,
}

impl Transport<'_> {
    fn bytes_max(&self) -> usize {
        if !self.udp {
            return usize::from(u16::MAX);
        }
        usize::from(self.edns.map_or(UDP_BYTES, |edns| edns.max_payload().max(UDP_BYTES)))
    }

    /// The OPT record to send back: the client's size, and its subnet with scope 0.
    fn echo(&self) -> Option<Edns> {
        let asked = self.edns?;
        let mut edns = Edns::new();
        edns.set_max_payload(asked.max_payload());
        edns.set_dnssec_ok(asked.flags().dnssec_ok);
        if let Some(EdnsOption::Subnet(subnet)) = asked.option(EdnsCode::Subnet) {
            let mut subnet = *subnet;
            subnet.set_scope_prefix(0);
            edns.options_mut().insert(EdnsOption::Subnet(subnet));
        }
        Some(edns)
    }
}

/// Writes the response, cut to what the transport carries: answers go from the end, with their additional records.
/// `None` only when even the bare question does not fit.
pub(super) fn message(
    asked: &Metadata,
    question: &[Query],
    sections: Sections,
    transport: Transport<'_>,
    options: &Options,
) -> Option<Vec<u8>> {
    let mut metadata = Metadata::new(asked.id, MessageType::Response, asked.op_code);
    metadata.recursion_desired = asked.recursion_desired;
    metadata.authoritative = sections.authoritative;
    metadata.response_code = sections.code;
    let draft = Draft {
        metadata,
        question,
        answers: &sections.answers,
        authorities: &sections.authorities,
        additionals: &sections.additionals,
        edns: transport.echo(),
        compress: !options.disable_compression,
    };
    let total = sections.answers.len();
    let bytes_max = transport.bytes_max();
    let mut limit = total.min(TCP_ANSWERS_MAX);
    if transport.udp && bytes_max == usize::from(UDP_BYTES) {
        limit = limit.min(options.udp_answer_limit.min(UDP_ANSWERS_MAX));
    }
    let (kept, mut bytes) = fit(&draft, limit, bytes_max)?;
    if kept < total && options.enable_truncate {
        wire::mark_truncated(&mut bytes);
    }
    Some(bytes)
}

/// The most answers that fit, and the response with them.
fn fit(draft: &Draft<'_>, limit: usize, bytes_max: usize) -> Option<(usize, Vec<u8>)> {
    if let Some(bytes) = draft.write(limit, true, bytes_max) {
        return Some((limit, bytes));
    }
    let (mut best, mut fits, mut too_many) = (None, 0, limit);
    while too_many - fits > 1 {
        let middle = fits + (too_many - fits) / 2;
        match draft.write(middle, true, bytes_max) {
            Some(bytes) => (best, fits) = (Some((middle, bytes)), middle),
            None => too_many = middle,
        }
    }
    // Not even one answer with its additional records: these go first, then the answer.
    let bare = |answers: usize| draft.write(answers, false, bytes_max).map(|bytes| (answers, bytes));
    best.or_else(|| bare(limit.min(1))).or_else(|| bare(0))
}

/// Usable servers of a datacenter, each once, from the instances of its server service.
pub(super) fn servers(instances: &[ServiceNode]) -> Vec<&Node> {
    let by_name: BTreeMap<&str, &Node> = instances
        .iter()
        .filter(|instance| instance.health().is_usable())
        .map(|instance| (instance.node.name.as_str(), &instance.node))
        .collect();
    by_name.into_values().collect()
}
