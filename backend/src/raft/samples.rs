//! Bytes of this release as they lie on disk and travel between servers, kept in `testdata`: every later release has to read them.
//!
//! How samples are written and what may change is said in [`crate::samples`]. Contract: cluster, section "Upgrades and versions".

use std::{collections::BTreeMap, sync::Arc, time::Duration};

use openraft::{
    EntryPayload, RaftLogReader as _,
    entry::RaftEntry as _,
    raft::{AppendEntriesRequest, AppendEntriesResponse, SnapshotResponse, TransferLeaderRequest, VoteRequest, VoteResponse},
    storage::RaftLogStorageExt as _,
    vote::RaftLeaderId as _,
};
use serde::{Serialize, de::DeserializeOwned};
use shared::{catalog, kv};

use super::{
    codec, faulty,
    log::{Head, LogStore, Recovered},
    logged::{self, Logged, Value},
    network::{Answer, Message, Offer},
    snapshot,
    types::{Configuration, Entry, LogId, Membership, NodeId, Server, SnapshotMeta, Vote},
};
use crate::{
    rt::{Rng, Tasks},
    samples::{Samples, remove_field},
    store::Command,
};

fn leader(term: u64) -> openraft::impls::leader_id_std::LeaderId<u64, NodeId> {
    openraft::impls::leader_id_std::LeaderId::new(term, NodeId::from(1))
}

fn log_id(term: u64, index: u64) -> LogId {
    LogId::new(leader(term).to_committed(), index)
}

fn configuration() -> Configuration {
    let server = |at: u8| (NodeId::from(u64::from(at)), Server { name: format!("s{at}"), address: format!("10.0.0.{at}:8300") });
    Configuration::new(vec![[NodeId::from(1), NodeId::from(2)].into()], BTreeMap::from([server(1), server(2), server(3)]))
        .expect("is valid")
}

fn entries() -> Vec<Entry> {
    let write = kv::Write { op: kv::Op::Cas(3), key: "a/b".into(), flags: 42, value: vec![0, 1, 255] };
    let registration = catalog::Registration { node: "n1".into(), address: "10.0.0.9".into(), ..Default::default() };
    vec![
        Entry::new(log_id(1, 1), EntryPayload::Membership(configuration())),
        Entry::new(log_id(2, 2), EntryPayload::Blank),
        Entry::new(log_id(2, 3), EntryPayload::Normal(Logged::Known(Command::Kv { write, at_ms: 1_700_000_000_000 }))),
        Entry::new(
            log_id(2, 4),
            EntryPayload::Normal(Logged::Known(Command::Register {
                registration: Box::new(registration),
                transitions: Vec::new(),
                at_ms: 1_700_000_000_000,
            })),
        ),
    ]
}

fn head() -> Head {
    let recovered = Some(Recovered { upto: Some(log_id(1, 1)), membership: configuration() });
    Head {
        vote: Some(Vote { leader_id: leader(2), committed: true }),
        committed: Some(log_id(2, 3)),
        purged: Some(log_id(1, 0)),
        recovered,
    }
}

fn append() -> Message {
    let vote = Vote { leader_id: leader(2), committed: true };
    Message::Append(AppendEntriesRequest { vote, prev_log_id: Some(log_id(1, 0)), entries: entries(), leader_commit: Some(log_id(2, 2)) })
}

const SAMPLES: Samples = Samples { module: "raft", versioned: true };

/// What is kept under this name in `testdata`.
fn kept(name: &str) -> Vec<u8> {
    SAMPLES.kept(name)
}

fn tree(bytes: &[u8]) -> Value {
    SAMPLES.tree(bytes)
}

fn check<T: Serialize + DeserializeOwned + std::fmt::Debug>(name: &str, value: &T) {
    SAMPLES.check(name, value, &codec::encode(value).expect("encodes"));
}

#[test]
fn messages_of_this_release_stay_readable() {
    let vote = Vote { leader_id: leader(3), committed: false };
    check("append", &append());
    check("vote", &Message::Vote(VoteRequest::new(vote, Some(log_id(2, 4)))));
    check("pre-vote", &Message::PreVote(VoteRequest::new(vote, None)));
    check("transfer-leader", &Message::TransferLeader(TransferLeaderRequest::new(vote, NodeId::from(2), Some(log_id(2, 4)))));
    let last_membership = Membership::new(Some(log_id(1, 1)), configuration());
    let head = snapshot::Head {
        last_log_id: Some(log_id(2, 4)),
        last_membership,
        taken_at_ms: 1_700_000_000_000,
        size_bytes: 100,
        server: "s1".into(),
        version: "0.1.0".into(),
    };
    check("snapshot-offer", &Offer { vote, head });
    check("answer-snapshot", &Answer::Snapshot(SnapshotResponse::new(vote)));
    check("answer-append", &Answer::Append(AppendEntriesResponse::Success));
    check("answer-conflict", &Answer::Append(AppendEntriesResponse::Conflict));
    check("answer-vote", &Answer::Vote(VoteResponse::new(vote, Some(log_id(2, 4)), true)));
    check("answer-failed", &Answer::Failed("disk on fire".into()));
}

#[test]
fn what_lies_on_disk_stays_readable() {
    check("head", &head());
    entries().iter().zip(["membership", "blank", "kv", "register"]).for_each(|(entry, name)| check(&format!("entry-{name}"), entry));
    let last_membership = Membership::new(Some(log_id(1, 1)), configuration());
    check("snapshot-meta", &SnapshotMeta { last_log_id: Some(log_id(2, 4)), last_membership });
}

#[test]
fn what_an_older_release_left_out_has_its_default() {
    let older = |bytes: Vec<u8>, field: &str| {
        let mut value = tree(&bytes);
        assert!(remove_field(&mut value, field) > 0, "{field} was there");
        codec::encode(&value).expect("encodes")
    };
    let read: Head = codec::decode(&older(kept("head"), "recovered")).expect("reads");
    assert_eq!(read, Head { recovered: None, ..head() });
    let read: Entry = codec::decode(&older(kept("entry-register"), "transitions")).expect("reads");
    assert_eq!(format!("{read:?}"), format!("{:?}", entries()[3]));
    let read: Entry = codec::decode(&older(kept("entry-membership"), "name")).expect("reads");
    let EntryPayload::Membership(membership) = read.payload else { panic!("{read:?}") };
    assert!(membership.nodes().all(|(_, server)| server.name.is_empty() && !server.address.is_empty()));
}

/// A whole segment as this release writes it: the head, then the entries, as one batch.
#[tokio::test(start_paused = true)]
async fn a_segment_of_this_release_stays_readable() {
    let disk = faulty::Disk::new(&Rng::from_seed(1), Duration::ZERO);
    let (opened, place) = disk.open_log().expect("opens");
    let (mut log, _) = LogStore::on_disk(opened, &Tasks::new(), place).expect("opens");
    log.blocking_append(entries()).await.expect("appends");
    let name = "00000000000000000001.wal";
    let kept = SAMPLES.sample("segment", &disk.contents(name));
    let now = disk.contents(name);
    let (same, blank) = now.split_at(kept.len().min(now.len()));
    assert!(same == kept && blank.iter().all(|byte| *byte == 0), "a segment is written in another way than it was");
    let old = faulty::Disk::holding(name, kept);
    let (opened, place) = old.open_log().expect("an old log opens");
    let (mut log, _) = LogStore::on_disk(opened, &Tasks::new(), place).expect("opens");
    let read = log.try_get_log_entries(0..u64::MAX).await.expect("reads");
    assert_eq!(format!("{read:?}"), format!("{:?}", entries()));
}

fn later(name: &str) -> Vec<u8> {
    let content =
        Value::Map(vec![(Value::Text("what".into()), Value::List(vec![Value::Bytes(vec![1, 2]), Value::Negative(-5), Value::Bool(true)]))]);
    let entry = Entry::new(log_id(2, 5), EntryPayload::Normal(Logged::Skipped { name: name.to_owned(), content }));
    codec::encode(&entry).expect("encodes")
}

#[test]
fn a_command_of_a_later_release_is_skipped_and_kept_or_stops_the_server() {
    let bytes = later("~Later");
    let read: Entry = codec::decode(&bytes).expect("may be skipped");
    assert!(matches!(&read.payload, EntryPayload::Normal(Logged::Skipped { name, .. }) if name == "~Later"), "{read:?}");
    assert_eq!(codec::encode(&read).expect("encodes"), bytes, "it is passed on as it came");
    let error = codec::decode::<Entry>(&later("Later")).expect_err("cannot be skipped").to_string();
    assert!(error.contains("the command \"Later\" is not known to this release of Muster: upgrade this server"), "{error}");
    assert!(logged::is_from_the_future(&error));
}

/// One server whose log holds a command of a later release.
async fn started_with(name: &str) -> Result<super::Handle, super::Error> {
    let disk = faulty::Disk::new(&Rng::from_seed(1), Duration::ZERO);
    let (opened, place) = disk.open_log().expect("opens");
    let (mut log, writer) = LogStore::on_disk(opened, &Tasks::new(), place).expect("opens");
    let own = Configuration::new(vec![[NodeId::from(1)].into()], BTreeMap::from([(NodeId::from(1), Server::default())])).expect("is valid");
    let content = Value::Number(1);
    let entries = [
        Entry::new(log_id(1, 0), EntryPayload::Membership(own)),
        Entry::new(log_id(1, 1), EntryPayload::Normal(Logged::Skipped { name: name.to_owned(), content })),
    ];
    log.blocking_append(entries).await.expect("appends");
    drop(log);
    writer.await.expect("closes");
    let options = super::Options {
        node_id: NodeId::from(1).to_string(),
        node_name: "one".into(),
        address: "127.0.0.1:8300".into(),
        data_dir: None,
        log_backend: "wal".into(),
        multiplier: 5,
        bootstrap: false,
        snapshot_threshold: 1000,
        snapshot_interval: Duration::ZERO,
        trailing_logs: 1000,
    };
    let alone = Arc::new(super::network::Alone);
    super::start_on(options, Arc::new(crate::store::Store::new()), crate::rt::Runtime::seeded(1, 0), alone, &disk).await
}

#[tokio::test(start_paused = true)]
async fn a_server_goes_on_over_what_it_may_skip_and_ends_at_what_it_may_not() {
    let handle = started_with("~Later").await.expect("starts");
    assert!(handle.wait_for_leader(Duration::from_secs(20)).await);
    assert!(handle.status().applied_index >= 1, "{:?}", handle.status());
    // What another server sends is no different.
    let mut message = codec::encode(&append()).expect("encodes");
    let at = message.windows(2).position(|two| two == b"Kv").expect("there is a write");
    message[at..at + 2].copy_from_slice(b"Xx");
    let answer: Answer = codec::decode(&handle.receive(&message).await).expect("answers");
    assert!(matches!(&answer, Answer::Failed(why) if logged::is_from_the_future(why)), "{answer:?}");
    let ended = crate::rt::clock::timeout(Duration::from_secs(20), handle.ended()).await;
    assert!(matches!(&ended, Ok(super::Ended::Core(why)) if why.contains("upgrade this server")), "{ended:?}");

    let why = match started_with("Later").await {
        Err(error) => error.to_string(),
        Ok(handle) => match crate::rt::clock::timeout(Duration::from_secs(20), handle.ended()).await {
            Ok(super::Ended::Core(why)) => why,
            other => panic!("{other:?}"),
        },
    };
    assert!(why.contains("the command \"Later\" is not known to this release of Muster"), "{why}");
}
