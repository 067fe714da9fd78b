//! The contract's sample questions over a catalog held in memory, and the same server over real sockets.

use std::{
    collections::BTreeMap,
    net::SocketAddr,
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    time::Duration,
};

use hickory_server::proto::{
    op::{Edns, Message, MessageType, OpCode, Query, ResponseCode},
    rr::{Name, RData, Record, RecordType},
    serialize::binary::BinDecodable as _,
};
use shared::{
    catalog,
    check::Check,
    health::ServiceNode,
    node::Node,
    query::{Consistency, QueryMeta},
    service::{Service, Weights},
};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};

use super::{Options, Soa, server};
use crate::{
    rpc::{Answer, Changes, Error, Handler, Operation, OperationReply, Request, Router},
    rt::{Runtime, clock::timeout, net},
};

#[derive(Default)]
struct Catalog {
    nodes: Vec<Node>,
    instances: Vec<ServiceNode>,
    /// Age of stale answers, milliseconds.
    age_ms: AtomicU64,
    /// Nobody leads: only stale reads answer.
    leaderless: AtomicBool,
}

#[async_trait::async_trait]
impl Handler for Catalog {
    async fn handle(&self, request: Request, operation: Operation) -> Result<Answer<OperationReply>, Error> {
        if !matches!(request.datacenter.as_str(), "" | "dc1") {
            return Err(Error::NoPathToDatacenter);
        }
        let stale = request.options.consistency == Consistency::Stale;
        if self.leaderless.load(Ordering::Relaxed) && !stale {
            return Err(Error::NoLeader);
        }
        let value = match operation {
            Operation::NodeServices(call) => {
                let found = self.nodes.iter().find(|node| node.name.eq_ignore_ascii_case(&call.node));
                OperationReply::NodeServices(found.map(|node| catalog::NodeServices { node: node.clone(), services: BTreeMap::new() }))
            }
            Operation::HealthServiceNodes(call) => {
                let of = self.instances.iter().filter(|row| row.service.name.eq_ignore_ascii_case(&call.service));
                OperationReply::HealthServiceNodes(Arc::new(of.cloned().collect()))
            }
            Operation::Nodes(_) => OperationReply::Nodes(self.nodes.clone()),
            Operation::Services(_) => {
                OperationReply::Services(self.instances.iter().map(|row| (row.service.name.clone(), Vec::new())).collect())
            }
            _ => return Err(Error::Refused("not asked by DNS".to_owned())),
        };
        let last_contact_ms = if stale { self.age_ms.load(Ordering::Relaxed) } else { 0 };
        Ok(Answer { meta: QueryMeta { index: 1, last_contact_ms, ..QueryMeta::default() }, value })
    }

    async fn changes(&self, _request: Request, _since: u64) -> Result<Changes, Error> {
        Err(Error::Refused("not asked by DNS".to_owned()))
    }
}

impl Catalog {
    fn node(&mut self, name: &str, address: &str, meta: &[(&str, &str)]) {
        let meta = meta.iter().map(|(key, value)| ((*key).to_owned(), (*value).to_owned())).collect();
        self.nodes.push(Node { name: name.to_owned(), address: address.to_owned(), datacenter: "dc1".to_owned(), meta, ..Node::default() });
    }

    fn service(&mut self, node: &str, name: &str, address: &str, port: i64, status: &str, tags: &[&str]) -> &mut ServiceNode {
        let node = self.nodes.iter().find(|have| have.name == node).expect("a node of the test").clone();
        let check = Check { id: "c".to_owned(), status: status.into(), ..Check::default() };
        let service = Service {
            name: name.to_owned(),
            address: address.to_owned(),
            port,
            tags: tags.iter().map(|tag| (*tag).to_owned()).collect(),
            ..Service::default()
        };
        self.instances.push(ServiceNode { node, service, checks: vec![check] });
        self.instances.last_mut().expect("just pushed")
    }

    fn many(&mut self, name: &str, count: u32) {
        for at in 0..count {
            let node = format!("{name}{at}");
            self.node(&node, &format!("10.1.{}.{}", at / 250, at % 250 + 1), &[]);
            self.service(&node, name, "", 7_000, "passing", &[]);
        }
    }

    /// The contract's sample data.
    fn sample() -> Self {
        let mut catalog = Self::default();
        catalog.node("Dns1", "127.0.0.1", &[("consul-network-segment", ""), ("rfc1035-note", "hello"), ("zone", "z1")]);
        catalog.node("ext1", "10.0.0.1", &[("os", "linux")]);
        catalog.node("ext2", "10.0.0.2", &[]);
        catalog.node("ext3", "10.0.0.3", &[]);
        catalog.node("six", "2001:db8::6", &[]);
        catalog.node("cn", "www.example.com", &[]);
        catalog.node("my_node", "10.0.0.7", &[]);
        catalog.service("Dns1", "consul", "", 18_525, "passing", &[]);
        catalog.service("ext1", "api", "", 8_001, "passing", &["v1", "Prod"]).service.weights = Weights { passing: 10, warning: 2 };
        catalog.service("ext2", "api", "10.9.9.2", 8_002, "warning", &["v2"]);
        catalog.service("ext3", "api", "", 8_003, "critical", &["v3"]);
        catalog.service("ext3", "down", "", 1, "critical", &[]);
        catalog.service("six", "v6svc", "", 6_000, "passing", &[]);
        catalog.service("cn", "cnsvc", "", 80, "passing", &[]);
        catalog.service("ext1", "hostsvc", "db.example.org", 99, "passing", &[]);
        catalog.service("ext1", "noport", "", 0, "passing", &[]);
        catalog.many("big", 60);
        catalog.many("many", 12);
        catalog
    }
}

const NOW_MS: u64 = 1_795_375_870_000;

fn server(options: Options, catalog: Catalog) -> server::Service {
    server::Service::new(options, Router::new(Arc::new(catalog)), Runtime::seeded(7, NOW_MS)).expect("a valid domain")
}

fn question(name: &str, kind: &str, payload: Option<u16>) -> Message {
    let mut message = Message::new(4_711, MessageType::Query, OpCode::Query);
    message.metadata.recursion_desired = true;
    let mut asked = Name::from_labels(name.split('.').filter(|label| !label.is_empty()).map(str::as_bytes)).expect("a name");
    asked.set_fqdn(true);
    message.add_query(Query::query(asked, kind.parse::<RecordType>().expect("a type")));
    if let Some(payload) = payload {
        let mut edns = Edns::new();
        edns.set_max_payload(payload);
        message.set_edns(edns);
    }
    message
}

async fn ask(server: &server::Service, name: &str, kind: &str, udp: bool, payload: Option<u16>) -> (Message, usize) {
    let bytes = server.respond(&question(name, kind, payload), udp).await.expect("a response");
    (Message::from_bytes(&bytes).expect("a well-formed response"), bytes.len())
}

fn shown(records: &[Record]) -> String {
    let mut shown: Vec<_> =
        records.iter().map(|record| format!("{} {} {} {}", record.name, record.ttl, record.record_type(), record.data)).collect();
    shown.sort();
    shown.join(" | ")
}

const SOA: &str = "consul. 0 SOA ns.consul. hostmaster.consul. 1795375870 3600 600 86400 0";
const API_SRV: &str =
    "api.service.consul. 0 SRV 1 1 8002 0a090902.addr.dc1.consul. | api.service.consul. 0 SRV 1 10 8001 ext1.node.dc1.consul.";
const API_EXTRA: &str =
    "0a090902.addr.dc1.consul. 0 A 10.9.9.2 | ext1.node.dc1.consul. 0 A 10.0.0.1 | ext1.node.dc1.consul. 0 TXT os=linux";

async fn check(server: &server::Service, name: &str, kind: &str, code: ResponseCode, sections: [&str; 3]) {
    let (message, _) = ask(server, name, kind, true, Some(4_096)).await;
    let found = [shown(&message.answers), shown(&message.authorities), shown(&message.additionals)];
    assert_eq!((message.metadata.response_code, found.each_ref().map(String::as_str)), (code, sections), "{name} {kind}");
    assert_eq!(message.metadata.authoritative, code != ResponseCode::Refused, "{name} {kind}");
    assert!(!message.metadata.recursion_available && message.metadata.recursion_desired && !message.metadata.truncation);
    assert_eq!((message.metadata.id, message.edns.expect("OPT echoed").max_payload()), (4_711, 4_096));
}

#[tokio::test]
async fn node_names_answer() {
    let server = server(Options::default(), Catalog::sample());
    let ok = ResponseCode::NoError;
    let texts = "Dns1.Node.consul. 0 TXT consul-network-segment= | Dns1.Node.consul. 0 TXT hello | Dns1.Node.consul. 0 TXT zone=z1";
    let text = "ext1.node.consul. 0 TXT os=linux";
    check(&server, "ext1.node.consul", "A", ok, ["ext1.node.consul. 0 A 10.0.0.1", "", text]).await;
    check(&server, "Ext1.Node.Consul", "A", ok, ["Ext1.Node.Consul. 0 A 10.0.0.1", "", "Ext1.Node.Consul. 0 TXT os=linux"]).await;
    check(&server, "Dns1.Node.consul", "ANY", ok, [&format!("Dns1.Node.consul. 0 A 127.0.0.1 | {texts}"), "", ""]).await;
    check(&server, "Dns1.Node.consul", "TXT", ok, [texts, "", ""]).await;
    check(&server, "ext1.node.dc1.consul", "A", ok, ["ext1.node.dc1.consul. 0 A 10.0.0.1", "", "ext1.node.dc1.consul. 0 TXT os=linux"])
        .await;
    check(&server, "ext1.node.consul", "AAAA", ok, ["", SOA, text]).await;
    check(&server, "six.node.consul", "AAAA", ok, ["six.node.consul. 0 AAAA 2001:db8::6", "", ""]).await;
    check(&server, "ext1.node.consul", "MX", ok, ["", SOA, ""]).await;
    check(&server, "ext1.node.consul", "SRV", ok, ["", SOA, ""]).await;
    check(&server, "cn.node.consul", "A", ok, ["cn.node.consul. 0 CNAME www.example.com.", "", ""]).await;
    check(&server, "my_node.node.consul", "A", ok, ["my_node.node.consul. 0 A 10.0.0.7", "", ""]).await;
}

#[tokio::test]
async fn service_names_answer() {
    let server = server(Options::default(), Catalog::sample());
    let ok = ResponseCode::NoError;
    let both = "api.service.consul. 0 A 10.0.0.1 | api.service.consul. 0 A 10.9.9.2";
    for kind in ["A", "TXT", "ANY"] {
        check(&server, "api.service.consul", kind, ok, [both, "", ""]).await;
    }
    let upper = "API.SERVICE.CONSUL. 0 A 10.0.0.1 | API.SERVICE.CONSUL. 0 A 10.9.9.2";
    check(&server, "API.SERVICE.CONSUL", "A", ok, [upper, "", ""]).await;
    check(&server, "v1.api.service.consul", "A", ok, ["v1.api.service.consul. 0 A 10.0.0.1", "", ""]).await;
    check(&server, "prod.api.service.consul", "A", ok, ["prod.api.service.consul. 0 A 10.0.0.1", "", ""]).await;
    check(&server, "api.service.consul", "AAAA", ok, ["", SOA, ""]).await;
    check(&server, "api.service.consul", "MX", ok, ["", SOA, ""]).await;
    check(&server, "api.service.consul", "SRV", ok, [API_SRV, "", API_EXTRA]).await;
    for name in ["api.service.dc1.consul", "_api._tcp.service.consul", "_api._tcp.consul"] {
        let answers = API_SRV.replace("api.service.consul.", &format!("{name}."));
        check(&server, name, "SRV", ok, [&answers, "", API_EXTRA]).await;
    }
    check(
        &server,
        "_api._v2.service.consul",
        "SRV",
        ok,
        ["_api._v2.service.consul. 0 SRV 1 1 8002 0a090902.addr.dc1.consul.", "", "0a090902.addr.dc1.consul. 0 A 10.9.9.2"],
    )
    .await;
    let two = both.replace("api.service.consul.", "_api._tcp.service.consul.");
    check(&server, "_api._tcp.service.consul", "A", ok, [&two, "", ""]).await;
    check(
        &server,
        "hostsvc.service.consul",
        "SRV",
        ok,
        ["hostsvc.service.consul. 0 SRV 1 1 99 db.example.org.", "", "ext1.node.dc1.consul. 0 TXT os=linux"],
    )
    .await;
    check(&server, "hostsvc.service.consul", "A", ok, ["hostsvc.service.consul. 0 CNAME db.example.org.", "", ""]).await;
    check(&server, "cnsvc.service.consul", "A", ok, ["cnsvc.service.consul. 0 CNAME www.example.com.", "", ""]).await;
    check(
        &server,
        "cnsvc.service.consul",
        "SRV",
        ok,
        ["cnsvc.service.consul. 0 SRV 1 1 80 cn.node.dc1.consul.", "", "cn.node.dc1.consul. 0 CNAME www.example.com."],
    )
    .await;
    check(&server, "v6svc.service.consul", "A", ok, ["", SOA, ""]).await;
    check(&server, "v6svc.service.consul", "AAAA", ok, ["v6svc.service.consul. 0 AAAA 2001:db8::6", "", ""]).await;
    check(
        &server,
        "noport.service.consul",
        "SRV",
        ok,
        [
            "noport.service.consul. 0 SRV 1 1 0 ext1.node.dc1.consul.",
            "",
            "ext1.node.dc1.consul. 0 A 10.0.0.1 | ext1.node.dc1.consul. 0 TXT os=linux",
        ],
    )
    .await;
    let (message, _) = ask(&server, "consul.service.consul", "SRV", true, None).await;
    assert_eq!(shown(&message.answers), "consul.service.consul. 0 SRV 1 1 18525 Dns1.node.dc1.consul.");
    assert_eq!(message.additionals.len(), 4);
}

#[tokio::test]
async fn names_that_mean_nothing_do_not_exist() {
    let server = server(Options::default(), Catalog::sample());
    for name in [
        "nope.node.consul",
        "nope.service.consul",
        "nope.api.service.consul",
        "api.service.dc9.consul",
        "ext1.node.dc9.consul",
        "api.service.dc1.extra.consul",
        "foo.bogus.consul",
        "x.consul",
        "service.consul",
        "down.service.consul",
        "consul",
        "ns.consul",
        "api.virtual.consul",
        "api.ingress.consul",
        "nosuch.query.consul",
        "0a00.addr.consul",
        "ext1.addr.consul",
    ] {
        check(&server, name, "A", ResponseCode::NXDomain, ["", SOA, ""]).await;
        check(&server, name, "ANY", ResponseCode::NXDomain, ["", SOA, ""]).await;
    }
    check(&server, "9.9.9.10.in-addr.arpa", "PTR", ResponseCode::NXDomain, ["", SOA, ""]).await;
    check(&server, "example.com", "A", ResponseCode::Refused, ["", "", ""]).await;
    check(&server, "notconsul", "A", ResponseCode::Refused, ["", "", ""]).await;
}

#[tokio::test]
async fn literal_addresses_the_zone_and_reverse_names_answer() {
    let server = server(Options::default(), Catalog::sample());
    let ok = ResponseCode::NoError;
    check(&server, "0a000001.addr.consul", "A", ok, ["0a000001.addr.consul. 0 A 10.0.0.1", "", ""]).await;
    check(&server, "0a000001.addr.consul", "AAAA", ok, ["", SOA, "0a000001.addr.consul. 0 A 10.0.0.1"]).await;
    let six = "20010db8000000000000000000000006.addr.consul";
    check(&server, six, "AAAA", ok, [&format!("{six}. 0 AAAA 2001:db8::6"), "", ""]).await;
    let (ns, glue) = ("consul. 0 NS dns1.node.dc1.consul.", "dns1.node.dc1.consul. 0 A 127.0.0.1");
    check(&server, "consul", "SOA", ok, [SOA, ns, glue]).await;
    check(&server, "consul", "NS", ok, [ns, "", glue]).await;
    check(&server, "foo.consul", "NS", ok, [ns, "", glue]).await;
    for (name, target) in [
        ("1.0.0.10.in-addr.arpa", "ext1.node.dc1.consul."),
        ("6.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.8.b.d.0.1.0.0.2.ip6.arpa", "six.node.dc1.consul."),
        ("2.9.9.10.in-addr.arpa", "api.service.dc1.consul."),
    ] {
        check(&server, name, "PTR", ok, [&format!("{name}. 0 PTR {target}"), "", ""]).await;
    }
}

#[tokio::test]
async fn the_second_domain_keeps_its_name_everywhere() {
    let server = server(Options { alt_domain: "alt.".to_owned(), ..Options::default() }, Catalog::sample());
    let ok = ResponseCode::NoError;
    check(&server, "ext2.node.alt", "A", ok, ["ext2.node.alt. 0 A 10.0.0.2", "", ""]).await;
    let alt = |text: &str| text.replace("consul.", "alt.");
    check(&server, "api.service.alt", "SRV", ok, [&alt(API_SRV), "", &alt(API_EXTRA)]).await;
    check(&server, "nope.node.alt", "A", ResponseCode::NXDomain, ["", &alt(SOA), ""]).await;
    check(&server, "nope.node.consul", "A", ResponseCode::NXDomain, ["", SOA, ""]).await;
}

#[tokio::test]
async fn the_longest_domain_decides_and_a_domain_may_have_several_labels() {
    let options = Options { domain: "Corp.Example.".to_owned(), alt_domain: "example".to_owned(), ..Options::default() };
    let server = server(options, Catalog::sample());
    let ok = ResponseCode::NoError;
    check(&server, "ext2.node.corp.example", "A", ok, ["ext2.node.corp.example. 0 A 10.0.0.2", "", ""]).await;
    check(&server, "ext2.node.example", "A", ok, ["ext2.node.example. 0 A 10.0.0.2", "", ""]).await;
    check(&server, "ext2.node.consul", "A", ResponseCode::Refused, ["", "", ""]).await;
}

fn configured() -> Options {
    let service_ttl = [("*", 5), ("ap*", 11), ("api", 17), ("m*", 3), ("many", 4)];
    Options {
        node_ttl: Duration::from_secs(30),
        service_ttl: service_ttl.iter().map(|(name, ttl)| ((*name).to_owned(), Duration::from_secs(*ttl))).collect(),
        only_passing: true,
        enable_truncate: true,
        a_record_limit: 5,
        soa: Soa { expire: 1_234, min_ttl: 60, refresh: 99, retry: 88 },
        enable_additional_node_meta_txt: false,
        ..Options::default()
    }
}

#[tokio::test]
async fn configuration_shapes_the_answers() {
    let server = server(configured(), Catalog::sample());
    let ok = ResponseCode::NoError;
    check(&server, "api.service.consul", "A", ok, ["api.service.consul. 17 A 10.0.0.1", "", ""]).await;
    check(&server, "ext1.node.consul", "A", ok, ["ext1.node.consul. 30 A 10.0.0.1", "", ""]).await;
    check(&server, "ext1.node.consul", "TXT", ok, ["ext1.node.consul. 30 TXT os=linux", "", ""]).await;
    let soa = "consul. 60 SOA ns.consul. hostmaster.consul. 1795375870 99 88 1234 60";
    check(&server, "nope.service.consul", "A", ResponseCode::NXDomain, ["", soa, ""]).await;
    let srv = ["api.service.consul. 17 SRV 1 10 8001 ext1.node.dc1.consul.", "", "ext1.node.dc1.consul. 17 A 10.0.0.1"];
    check(&server, "api.service.consul", "SRV", ok, srv).await;
    check(&server, "0a000001.addr.consul", "A", ok, ["0a000001.addr.consul. 30 A 10.0.0.1", "", ""]).await;
    let ns = ["consul. 30 NS dns1.node.dc1.consul.", "", "dns1.node.dc1.consul. 30 A 127.0.0.1"];
    check(&server, "consul", "NS", ok, ns).await;
    let ptr = ["1.0.0.10.in-addr.arpa. 0 PTR ext1.node.dc1.consul.", "", ""];
    check(&server, "1.0.0.10.in-addr.arpa", "PTR", ok, ptr).await;

    let (many, _) = ask(&server, "many.service.consul", "A", true, Some(4_096)).await;
    assert_eq!((many.answers.len(), many.answers[0].ttl), (5, 4));
    let (cut, _) = ask(&server, "big.service.consul", "A", true, None).await;
    assert_eq!((cut.answers.len(), cut.metadata.truncation), (3, true));
    let (whole, _) = ask(&server, "big.service.consul", "A", false, None).await;
    assert_eq!((whole.answers.len(), whole.metadata.truncation, whole.answers[0].ttl), (5, false, 5));
    let (srv, bytes) = ask(&server, "big.service.consul", "SRV", false, None).await;
    assert_eq!((srv.answers.len(), srv.additionals.len(), srv.additionals[0].ttl), (60, 60, 5));
    assert_eq!(bytes, 3_446);
}

#[test]
fn the_most_exact_rule_gives_the_ttl() {
    let options = configured();
    for (service, expected) in [("api", 17), ("API", 17), ("apis", 11), ("ap", 11), ("many", 4), ("mx", 3), ("web", 5)] {
        assert_eq!(options.service_ttl(service), expected, "{service}");
    }
    assert_eq!(Options::default().service_ttl("web"), 0);
}

#[tokio::test]
async fn plain_udp_gets_three_answers_without_a_truncation_mark() {
    let server = server(Options::default(), Catalog::sample());
    let (message, bytes) = ask(&server, "big.service.consul", "A", true, None).await;
    assert_eq!((message.answers.len(), message.metadata.truncation, message.edns.is_some()), (3, false, false));
    assert!(bytes <= 512);
    let (message, bytes) = ask(&server, "big.service.consul", "A", true, Some(4_096)).await;
    assert_eq!((message.answers.len(), bytes), (60, 1_007));
    for (kind, payload, answers) in [("A", 600, 34), ("SRV", 600, 9), ("SRV", 1_232, 20), ("SRV", 4_096, 60)] {
        let (message, _) = ask(&server, "big.service.consul", kind, true, Some(payload)).await;
        let additionals = if kind == "SRV" { answers } else { 0 };
        assert_eq!((message.answers.len(), message.additionals.len()), (answers, additionals), "{kind} at {payload}");
    }
}

#[tokio::test]
async fn a_thousand_instances_fit_every_transport() {
    let mut catalog = Catalog::sample();
    catalog.many("huge", 1_000);
    for marked in [false, true] {
        let mut copy = Catalog { nodes: catalog.nodes.clone(), instances: catalog.instances.clone(), ..Catalog::default() };
        copy.node("last", "10.255.0.1", &[]);
        let server = server(Options { enable_truncate: marked, ..Options::default() }, copy);
        for (udp, payload, limit, least) in [
            (true, None, 512, [3, 3]),
            (true, Some(1_232), 1_232, [70, 15]),
            (true, Some(4_096), 4_096, [250, 60]),
            (false, None, 65_535, [1_000, 1_000]),
        ] {
            for (kind, least) in ["A", "SRV"].into_iter().zip(least) {
                let (message, bytes) = ask(&server, "huge.service.consul", kind, udp, payload).await;
                let count = message.answers.len();
                assert!(bytes <= limit && count >= least, "{kind} at {limit}: {count} answers in {bytes} bytes");
                assert_eq!(message.metadata.truncation, marked && count < 1_000, "{kind} at {limit}");
                if kind == "SRV" {
                    let mut targets: Vec<_> =
                        message.answers.iter().map(|record| record.data.to_string().split(' ').next_back().map(str::to_owned)).collect();
                    let mut glue: Vec<_> = message.additionals.iter().map(|record| Some(record.name.to_string())).collect();
                    targets.sort();
                    glue.sort();
                    assert_eq!(targets, glue, "every answer kept has its address");
                }
            }
        }
    }
}

#[tokio::test]
async fn names_are_not_compressed_when_told_so() {
    let server = server(Options { disable_compression: true, ..Options::default() }, Catalog::sample());
    let (message, bytes) = ask(&server, "big.service.consul", "A", true, Some(4_096)).await;
    assert_eq!((message.answers.len(), bytes > 1_900), (60, true), "{bytes} bytes");
}

#[tokio::test]
async fn answers_come_in_random_order() {
    let server = server(Options::default(), Catalog::sample());
    let mut first = std::collections::HashSet::new();
    for _ in 0..64 {
        let (message, _) = ask(&server, "api.service.consul", "A", true, None).await;
        first.insert(message.answers[0].data.to_string());
    }
    assert_eq!(first.len(), 2);
}

#[tokio::test]
async fn what_is_not_a_query_is_not_implemented() {
    let server = server(Options::default(), Catalog::sample());
    let mut update = question("api.service.consul", "A", None);
    update.metadata.op_code = OpCode::Update;
    let bytes = server.respond(&update, true).await.expect("a response");
    assert_eq!(bytes[3] & 0x0f, 4);
    assert_eq!(bytes[2] >> 3 & 0x0f, 5, "the opcode comes back");
    let (message, _) = ask(&server, "consul", "AXFR", true, None).await;
    assert_eq!(message.metadata.response_code, ResponseCode::NotImp);
}

#[tokio::test]
async fn stale_answers_serve_without_a_leader_until_they_are_too_old() {
    for (allow_stale, age_ms, leaderless, code) in [
        (true, 50, true, ResponseCode::NoError),
        (true, 5_000, false, ResponseCode::NoError),
        (true, 5_000, true, ResponseCode::ServFail),
        (false, 0, true, ResponseCode::ServFail),
    ] {
        let catalog = Catalog::sample();
        catalog.age_ms.store(age_ms, Ordering::Relaxed);
        catalog.leaderless.store(leaderless, Ordering::Relaxed);
        let server = server(Options { allow_stale, max_stale: Duration::from_secs(1), ..Options::default() }, catalog);
        let (message, _) = ask(&server, "ext1.node.consul", "A", true, None).await;
        assert_eq!(message.metadata.response_code, code, "stale {allow_stale}, {age_ms} ms old, leaderless {leaderless}");
    }
}

async fn over_udp(to: SocketAddr, question: &Message) -> Message {
    let socket = net::udp("127.0.0.1:0".parse().expect("address")).await.expect("a socket");
    socket.send_to(&question.to_vec().expect("encodes"), to).await.expect("sent");
    let mut buffer = vec![0; 65_535];
    let length = timeout(Duration::from_secs(10), socket.recv(&mut buffer)).await.expect("in time").expect("received");
    Message::from_bytes(&buffer[..length]).expect("a response")
}

#[tokio::test]
async fn sockets_answer_and_stop() {
    let runtime = Runtime::system();
    let router = Router::new(Arc::new(Catalog::sample()));
    let any = ["127.0.0.1:0".parse().expect("address")];
    let handle = super::start(Options::default(), &any, router, runtime.clone()).await.expect("starts");
    let to = handle.addresses()[0];

    let question = question("big.service.consul", "A", None);
    assert_eq!(over_udp(to, &question).await.answers.len(), 3);
    let junk = net::udp("127.0.0.1:0".parse().expect("address")).await.expect("a socket");
    junk.send_to(b"junk", to).await.expect("sent");
    assert_eq!(over_udp(to, &question).await.answers.len(), 3, "junk harms nobody");

    let mut stream = net::TcpStream::connect(to).await.expect("connects");
    for _ in 0..2 {
        let bytes = question.to_vec().expect("encodes");
        stream.write_u16(u16::try_from(bytes.len()).expect("short")).await.expect("written");
        stream.write_all(&bytes).await.expect("written");
        let length = timeout(Duration::from_secs(10), stream.read_u16()).await.expect("in time").expect("read");
        let mut reply = vec![0; usize::from(length)];
        stream.read_exact(&mut reply).await.expect("read");
        assert_eq!(Message::from_bytes(&reply).expect("a response").answers.len(), 60);
    }
    handle.stop();
    assert!(runtime.tasks.stop(Duration::from_secs(10)).await, "every task ended");
}

/// A node whose registration no DNS name can carry, and metadata no text record can hold in one piece.
#[tokio::test]
async fn what_dns_cannot_carry_is_left_out_or_split() {
    let mut catalog = Catalog::sample();
    let long = "x".repeat(64);
    catalog.node(&long, "10.0.0.9", &[]);
    catalog.service(&long, "odd", "", 1, "passing", &[]);
    catalog.node("texts", "10.0.0.8", &[("big", &"y".repeat(600)), ("a=b", "c`d"), (" pad", "1")]);
    let server = server(Options::default(), catalog);
    check(&server, "odd.service.consul", "SRV", ResponseCode::NoError, ["", SOA, ""]).await;
    check(&server, "odd.service.consul", "A", ResponseCode::NoError, ["odd.service.consul. 0 A 10.0.0.9", "", ""]).await;
    let (message, _) = ask(&server, "texts.node.consul", "TXT", true, Some(4_096)).await;
    let texts: Vec<_> = message
        .answers
        .iter()
        .map(|record| match &record.data {
            RData::TXT(text) => text.txt_data.iter().map(|part| String::from_utf8_lossy(part).into_owned()).collect::<Vec<_>>(),
            other => panic!("{other}"),
        })
        .collect();
    assert!(texts.contains(&vec!["` pad=1".to_owned()]) && texts.contains(&vec!["a`=b=c``d".to_owned()]), "{texts:?}");
    assert!(texts.iter().any(|parts| parts.len() == 3 && parts.concat().len() == 604), "{texts:?}");
    let (message, bytes) = ask(&server, "texts.node.consul", "A", true, None).await;
    assert!(message.answers.len() == 1 && message.additionals.is_empty() && bytes <= 512, "too large a text is left out");
}

proptest::proptest! {
    #[test]
    fn no_datagram_panics(
        name in proptest::collection::vec(proptest::collection::vec(proptest::num::u8::ANY, 1..12), 0..6),
        kind: u16,
        suffix in proptest::sample::select(vec!["", "node", "service", "addr", "query"]),
        junk in proptest::collection::vec(proptest::num::u8::ANY, 0..40),
    ) {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build().expect("a runtime");
        runtime.block_on(async {
            let server = server(Options::default(), Catalog::sample());
            let mut bytes = vec![0, 7, 1, 0, 0, 1, 0, 0, 0, 0, 0, 0];
            for label in name.iter().map(Vec::as_slice).chain([suffix.as_bytes(), b"consul"]).filter(|label| !label.is_empty()) {
                bytes.push(u8::try_from(label.len()).expect("short"));
                bytes.extend_from_slice(label);
            }
            bytes.push(0);
            bytes.extend_from_slice(&kind.to_be_bytes());
            bytes.extend_from_slice(&[0, 1]);
            for datagram in [bytes.clone(), [bytes, junk.clone()].concat(), junk] {
                if let Ok(message) = Message::from_bytes(&datagram) {
                    let reply = server.respond(&message, true).await;
                    assert!(reply.is_none_or(|reply| Message::from_bytes(&reply).is_ok()));
                }
            }
        });
    }
}
