//! What findings follow from what was seen.

use std::{collections::BTreeMap, fs, path::Path};

use shared::agent::{Info, Member};

use super::{
    Finding, Severity,
    agent::{self, Port, Ports, Ring, Seen},
    directory, disk, exit_code, shown,
};

const ID: &str = "11111111-2222-4333-8444-555555555555";

fn server(number: u8, status: u8) -> Member {
    let tags = [("role", "consul"), ("port", "8300"), ("id", &format!("id-{number}"))];
    let tags = tags.into_iter().map(|(key, value)| (key.to_owned(), value.to_owned())).collect();
    Member { name: format!("s{number}"), addr: format!("127.0.0.{number}"), port: 8301, tags, status, ..Member::default() }
}

fn seen(states: &[u8], leader: &str) -> Seen {
    let members: Vec<_> = states.iter().zip(1..).map(|(status, number)| server(number, *status)).collect();
    let peers = members.iter().map(|member| format!("{}:8300", member.addr)).collect();
    Seen { members, leader: leader.to_owned(), peers, ..Seen::only(Ok(Info::default())) }
}

fn check(findings: &[Finding], severity: Severity, part: &str) {
    let found = findings.iter().any(|finding| finding.severity == severity && finding.what.contains(part));
    assert!(found, "no {severity:?} with {part:?} in {findings:#?}");
}

#[test]
fn a_lost_quorum_names_who_is_missing() {
    let judge = |states: &[u8], leader: &str| agent::judge(&seen(states, leader));
    check(&judge(&[1, 4, 4], ""), Severity::Problem, "1 of 3 servers can be reached and 2 are needed. Missing: s2 (127.0.0.2:8300), s3");
    check(&judge(&[1, 1, 4], "127.0.0.1:8300"), Severity::Warning, "If one more fails, nothing can be written");
    check(&judge(&[1, 1, 1, 1, 4], "127.0.0.1:8300"), Severity::Warning, "1 of 5 servers are missing: s5");
    check(&judge(&[1, 1, 1], ""), Severity::Problem, "Nobody leads, although 3 of 3");
    let well = judge(&[1, 1, 1], "127.0.0.2:8300");
    check(&well, Severity::Ok, "s2 (127.0.0.2:8300) leads 3 server(s)");
    assert_eq!(exit_code(&well), 0, "{well:#?}");
}

#[test]
fn servers_that_do_not_answer_are_told_from_a_cluster_that_was_never_formed() {
    // A client that asked right after its servers were killed: gossip still takes them for alive.
    let mut seen = Seen { peers: Vec::new(), ..seen(&[1, 1], "") };
    check(&agent::judge(&seen), Severity::Problem, "no cluster was formed yet; 2 server(s) are there");
    let closed = |number: u8| {
        let address = |port| std::net::SocketAddr::from(([127, 0, 0, number], port));
        let (tcp, udp, rpc) = (Port::Closed, Port::Closed, Some((address(8300), Port::Closed)));
        Ports { name: format!("s{number}"), gossip: address(8301), tcp, udp, rpc }
    };
    seen.ports = [1, 2].map(closed).into();
    check(&agent::judge(&seen), Severity::Problem, "None of the servers answers: s1, s2.");
    let alone = Seen { members: Vec::new(), ports: Vec::new(), ..seen };
    let findings = agent::judge(&alone);
    check(&findings, Severity::Problem, "This agent knows no server.");
    assert!(findings.iter().any(|finding| finding.next.contains("another gossip key")), "{findings:#?}");
}

#[test]
fn a_server_whose_disk_failed_says_why() {
    let mut seen = seen(&[1, 1, 1], "127.0.0.1:8300");
    seen.members[2].tags.insert("failure".to_owned(), "No space left on device".to_owned());
    let findings = agent::judge(&seen);
    check(&findings, Severity::Problem, "The disk of s3 failed, so it takes no part: No space left on device.");
    assert_eq!(exit_code(&findings), 2);
}

#[test]
fn what_servers_do_not_agree_on_is_told() {
    let mut seen = seen(&[1, 1], "127.0.0.1:8300");
    for (at, member) in seen.members.iter_mut().enumerate() {
        member.tags.insert("expect".to_owned(), (3 + at).to_string());
        member.tags.insert("muster".to_owned(), format!("0.{at}.0"));
        member.tags.insert("id".to_owned(), "same".to_owned());
    }
    seen.clocks = BTreeMap::from([("s1".to_owned(), 0), ("s2".to_owned(), -9)]);
    seen.rings = vec![Ring { keys: BTreeMap::from([("abcdefgh".to_owned(), 1)]), num_nodes: 2, ..Ring::default() }];
    let gossip = "127.0.0.2:8301".parse().expect("an address");
    seen.ports = vec![Ports { name: "s2".to_owned(), gossip, tcp: Port::Open, udp: Port::Closed, rpc: Some((gossip, Port::Silent)) }];
    let findings = agent::judge(&seen);
    check(&findings, Severity::Warning, "different numbers of servers: 3 on s1; 4 on s2");
    check(&findings, Severity::Warning, "different versions: 0.0.0 on s1; 0.1.0 on s2");
    check(&findings, Severity::Problem, "s1 and s2 have the same node id same");
    check(&findings, Severity::Warning, "The clocks of s2 and s1 are 9 s apart");
    check(&findings, Severity::Warning, "gossip key abcdef… is on 1 of 2 members");
    check(&findings, Severity::Problem, "gossip port 127.0.0.2:8301 of s2 cannot be reached from here: UDP refuses");
    check(&findings, Severity::Problem, "RPC port 127.0.0.2:8301 of s2 does not answer");
    assert_eq!(exit_code(&findings), 2);
}

#[test]
fn dates_are_read_as_seconds() {
    assert_eq!(agent::seconds("Thu, 01 Jan 1970 00:00:00 GMT"), Some(0));
    assert_eq!(agent::seconds("Thu, 29 Feb 2024 12:34:56 GMT"), Some(1_709_210_096));
    assert_eq!(agent::seconds("yesterday"), None);
}

#[test]
fn a_full_disk_is_worse_than_a_nearly_full_one() {
    let severity = |free, all| disk(free, all, Path::new("/x")).severity;
    assert_eq!(severity(50 << 30, 100 << 30), Severity::Ok);
    assert_eq!(severity(9 << 30, 100 << 30), Severity::Warning);
    assert_eq!(severity(1 << 20, 100 << 30), Severity::Problem);
}

#[test]
fn a_data_directory_is_judged_by_its_files() {
    let dir = tempfile::tempdir().expect("a temporary directory");
    let (a, b) = (dir.path().join("a"), dir.path().join("b"));
    for (path, key) in [(&a, "AAAAAAAAAAAAAAAAAAAAAA=="), (&b, "BBBBBBBBBBBBBBBBBBBBBA==")] {
        fs::create_dir_all(path.join("serf")).expect("created");
        fs::write(path.join("node-id"), ID).expect("written");
        fs::write(path.join("serf/local.keyring"), format!("[\"{key}\"]")).expect("written");
    }
    let look = || directory::judge(&[directory::look(&a), directory::look(&b)]);
    check(&look(), Severity::Problem, "have the same node id");
    check(&look(), Severity::Problem, "The gossip keys differ");
    fs::create_dir_all(a.join("raft/wal")).expect("created");
    fs::write(a.join("raft/wal/00000000000000000001.wal"), b"no log").expect("written");
    fs::write(a.join("raft/wal/00000000000000000003.wal"), b"no log").expect("written");
    fs::write(a.join("raft/peers.json"), "[{\"id\": \"99999999-2222-4333-8444-555555555555\", \"address\": \"127.0.0.9:8300\"}]")
        .expect("written");
    fs::write(b.join("node-id"), "garbage").expect("written");
    fs::write(b.join("serf/local.keyring"), "[\"c2hvcnQ=\"]").expect("written");
    let findings = look();
    check(&findings, Severity::Problem, "A Raft log file is damaged: the checksum does not match");
    check(&findings, Severity::Problem, "A Raft log file is damaged: the file before it is missing");
    check(&findings, Severity::Problem, "peers.json is wrong: it does not name this server");
    check(&findings, Severity::Problem, "The node id is no UUID: \"garbage\"");
    check(&findings, Severity::Problem, "a key has 5 bytes");
    let damaged = findings.iter().find(|finding| finding.what.contains("checksum")).expect("just checked");
    assert_eq!((damaged.offset, damaged.file.is_some()), (Some(0), true));
    assert!(damaged.next.contains("remove raft and node-id"), "its vote and its log are one: {}", damaged.next);
    assert!(shown(&findings).contains("00000000000000000001.wal, offset 0\n"));
    let nowhere = directory::judge(&[directory::look(&dir.path().join("nowhere"))]);
    check(&nowhere, Severity::Problem, "cannot be read");
}
