//! What the Raft page says of clusters in every state.

use super::*;

fn server(name: &str, role: &str, healthy: bool) -> Server {
    let gossip = if healthy { "alive" } else { "failed" }.to_owned();
    let (id, address) = (format!("id-{name}"), format!("{name}:8300"));
    Server { id, name: name.to_owned(), address, role: role.to_owned(), healthy, gossip, gossip_ms: 180_000, ..Server::default() }
}

fn election(term: u64, name: &str, at_ms: u64) -> Election {
    let leader = if name.is_empty() { String::new() } else { format!("id-{name}") };
    Election { term, leader, name: name.to_owned(), at_ms }
}

/// `n1` leads; those marked `!` are not well.
fn raft(names: &[&str], tolerance: u64) -> Raft {
    let named = |name: &&str| server(name.trim_end_matches('!'), "voter", !name.ends_with('!'));
    Raft {
        node: "n1".to_owned(),
        leader: "id-n1".to_owned(),
        term: 4,
        quorum: names.len() / 2 + 1,
        failure_tolerance: tolerance,
        servers: names.iter().map(named).collect(),
        elections: vec![election(4, "n1", 1_000)],
        now_ms: 61_000,
        ..Raft::default()
    }
}

fn said(raft: &Raft) -> String {
    let sentence = sentence(raft);
    format!("{}|{}|{}", sentence.loud, sentence.rest, sentence.more)
}

#[test]
fn the_title_is_one_sentence_of_truth() {
    let cases = [
        (raft(&["n1"], 0), "|One server, and it may not be lost.|n1 has led for 1 min. It alone decides on every write."),
        (raft(&["n1", "n2"], 0), "|Two servers, and none may be lost.|n1 has led for 1 min. Every server has to agree on a write."),
        (
            raft(&["n1", "n2", "n3"], 1),
            "|Three servers, one may be lost.|n1 has led for 1 min. Two of three servers have to agree on a write.",
        ),
        (
            raft(&["n1", "n2", "n3!"], 0),
            "n3 is not well:| losing one more stops writes.|n1 has led for 1 min. Two of three servers have to agree on a write.",
        ),
        (
            raft(&["n1", "n2", "n3", "n4", "n5!"], 1),
            "n5 is not well.| One more may be lost.|n1 has led for 1 min. Three of five servers have to agree on a write.",
        ),
    ];
    for (raft, text) in cases {
        assert_eq!(said(&raft), text);
    }
}

#[test]
fn without_a_leader_it_says_who_is_gone_and_what_has_to_happen() {
    let leaderless = |names: &[&str]| {
        let all = raft(names, 0);
        Raft { leader: String::new(), elections: vec![election(4, "", 51_000)], ..all }
    };
    assert_eq!(
        said(&leaderless(&["n1", "n2!", "n3!"])),
        "No leader:| two of three servers are gone.|For 10 s now. Nothing can be written until two of three answer again."
    );
    assert_eq!(
        said(&leaderless(&["n1", "n2", "n3!"])),
        "No leader:| an election is under way.|For 10 s now. Two of three servers answer, which is enough to elect one."
    );
    assert!(said(&Raft::default()).starts_with("No cluster| has been formed yet."));
    let gone = leaderless(&["n1", "n2!", "n3!"]);
    assert_eq!(lost(&gone)[0], ("n2".to_owned(), "n2:8300".to_owned(), "failed for 3 min".to_owned()));
    assert_eq!(peers_json(&gone), "[\n  {\n    \"id\": \"id-n1\",\n    \"address\": \"n1:8300\",\n    \"non_voter\": false\n  }\n]\n");
    assert!(serde_json::from_str::<serde_json::Value>(&peers_json(&gone)).is_ok());
}

#[test]
fn every_server_says_what_losing_it_means() {
    let mut all = raft(&["n2", "n1", "n3!"], 0);
    all.servers.push(server("n4", "non-voter", true));
    all.servers[2].can_be_lost = true;
    all.servers[0].lag = 2;
    all.servers[0].last_term = 4;
    all.servers[0].last_contact_ms = Some(11);
    let rows = rows(&all);
    let told: Vec<_> = rows.iter().map(|row| (row.name.as_str(), row.state.2, row.loss.1)).collect();
    assert_eq!(
        told,
        [
            ("n1", "Leads", "losing it stops writes"),
            ("n2", "Healthy", "losing it stops writes"),
            ("n3", "Failed", "lost already"),
            ("n4", "Healthy", "safe to lose")
        ]
    );
    all.servers[2] = Server { failure: "No space left on device".into(), ..server("n3", "voter", true) };
    all.servers[2].healthy = false;
    let failed = super::rows(&all).into_iter().find(|row| row.name == "n3").expect("is there");
    assert_eq!((failed.state.2, failed.stable.as_str()), ("Disk failed", "No space left on device"));
    assert_eq!((rows[1].term.as_str(), rows[3].term.as_str()), ("4", ""));
    assert_eq!((rows[1].lag.as_str(), rows[1].contact.as_str(), rows[2].contact.as_str()), ("2 entries behind", "11 ms ago", "never"));
}

#[test]
fn leadership_is_told_newest_first_with_the_wait_before() {
    let mut all = raft(&["n1", "n2", "n3"], 1);
    all.elections = vec![election(5, "n2", 51_000), election(4, "", 50_600), election(4, "n1", 11_000), election(0, "", 10_000)];
    let told: Vec<_> = lines(&all, 0).into_iter().map(|line| format!("{} {}, {}", line.time, line.text, line.term)).collect();
    assert_eq!(
        told,
        [
            "00:00:51 n2 was elected after 400 ms, term 5",
            "00:00:50 n1 led no longer, term 4",
            "00:00:11 n1 was elected, term 4",
            "00:00:10 n1 began to watch, term 0"
        ]
    );
    let (lanes, since) = lanes(&all);
    assert_eq!(since, "50 s ago");
    let names: Vec<_> = lanes.iter().map(|lane| (lane.name.as_str(), lane.spans.len())).collect();
    assert_eq!(names, [("n1", 1), ("n2", 1), ("Nobody", 1)]);
    let whole: f64 = lanes.iter().flat_map(|lane| &lane.spans).map(|(_, width)| width).sum();
    assert!((whole - 100.0).abs() < 0.01, "{whole}");
}

#[test]
fn removing_a_server_says_what_stays() {
    let all = raft(&["n1", "n2", "n3!"], 0);
    assert!(removal(&all, "id-n3").starts_with("Two servers stay, and none of them may be lost. It keeps its data"));
    assert!(removal(&all, "id-n2").contains("it is added again within seconds"));
    assert!(removal(&raft(&["n1", "n2", "n3", "n4"], 1), "id-n4").starts_with("Three servers stay, and one of them may be lost."));
    assert!(removal(&raft(&["n1", "n2"], 0), "id-n2").starts_with("One server stays; it may not be lost."));
}
