//! Calls between agents as this release writes them: every operation with its answer, change streams, the stream of an agent.
//!
//! How samples are written and what may change is said in [`crate::samples`]. Contract: cluster, section "Upgrades and versions".

use serde_json::{Value as Json, json};
use shared::{
    changes::{Change, Kind, Topic},
    query::{Consistency, QueryMeta, QueryOptions},
};

use super::{Answer, Batch, Error, Greeting, Load, Operation, OperationReply, Request, wire};
use crate::samples::{Samples, rename};

pub(super) const SAMPLES: Samples = Samples { module: "rpc", versioned: true };

fn request() -> Request {
    let options = QueryOptions {
        index: 7,
        wait: Some(shared::go::Duration(5_000_000_000)),
        consistency: Consistency::Stale,
        filter: "Port == 80".to_owned(),
        ..QueryOptions::default()
    };
    Request { datacenter: "dc1".to_owned(), token: "t".to_owned(), options, forwarded: true, anti_entropy: false }
}

fn node() -> Json {
    json!({ "ID": "11111111-2222-4333-8444-555555555555", "Node": "n1", "Address": "10.0.0.1", "Datacenter": "dc1",
        "TaggedAddresses": { "1lan": "10.0.0.1" }, "Meta": { "1k": "v" }, "CreateIndex": 5, "ModifyIndex": 6 })
}

fn service() -> Json {
    json!({ "ID": "web1", "Service": "web", "Tags": ["a"], "Meta": { "1k": "v" }, "Port": 80,
        "Weights": { "Passing": 2, "Warning": 1 }, "CreateIndex": 5, "ModifyIndex": 6 })
}

fn check() -> Json {
    json!({ "Node": "n1", "CheckID": "c1", "Name": "alive", "Status": "passing", "Output": "ok", "ServiceID": "web1", "ServiceName": "web",
        "ServiceTags": ["a"], "Type": "http", "Definition": { "HTTP": "http://x/", "Interval": "10s" }, "ModifyIndex": 6 })
}

fn page(row: &Json) -> Json {
    let counts = json!({ "Total": 2, "Passing": 1, "Critical": 1 });
    json!({ "Rows": [row], "Offset": 0, "Matched": 1, "Counts": counts, "Totals": counts, "TookUs": 9, "NowMs": 10 })
}

fn query() -> Json {
    json!({ "page": { "offset": 1, "limit": 50, "sort": "-name", "status": ["critical"], "search": "we", "of": "web" } })
}

/// Every operation, what it is asked and what it answers.
fn operations() -> Vec<(&'static str, Json, Json)> {
    let transition = json!({ "AtMs": 3, "From": "passing", "To": "critical", "Output": "no" });
    [catalog(&transition), listed(&transition), cluster()].concat()
}

fn catalog(transition: &Json) -> Vec<(&'static str, Json, Json)> {
    let registration = json!({ "ID": "", "Node": "n1", "Address": "10.0.0.1", "Service": service(), "Check": null, "Checks": [check()] });
    let instance = json!({ "Node": node(), "Service": service(), "Checks": [check()] });
    let entry = json!({ "LockIndex": 1, "Key": "a/b", "Flags": 42, "Value": "AP8=", "CreateIndex": 5, "ModifyIndex": 6 });
    vec![
        ("Leader", json!({}), json!("10.0.0.1:8300")),
        ("Peers", json!({}), json!(["10.0.0.1:8300", "10.0.0.2:8300"])),
        ("Register", json!({ "registration": registration, "transitions": [["c1", transition]] }), json!(null)),
        ("Deregister", json!({ "deregistration": { "Node": "n1", "ServiceID": "web1" } }), json!(null)),
        ("Datacenters", json!({}), json!(["dc1"])),
        ("Nodes", json!({}), json!([node()])),
        ("Services", json!({}), json!({ "1web": ["a"] })),
        (
            "CatalogServiceNodes",
            json!({ "service": "web", "tags": ["a"] }),
            json!([{ "ID": "i", "Node": "n1", "ServiceID": "web1", "ServiceName": "web", "ServicePort": 80 }]),
        ),
        ("NodeServices", json!({ "node": "n1" }), json!({ "Node": node(), "Services": { "1web": service() } })),
        ("NodeChecks", json!({ "node": "n1" }), json!([check()])),
        ("ServiceChecks", json!({ "service": "web" }), json!([check()])),
        ("HealthServiceNodes", json!({ "service": "web", "tags": [], "passing": true }), json!([instance])),
        ("Checks", json!({ "state": "any" }), json!([check()])),
        ("KvGet", json!({ "key": "a/b" }), entry.clone()),
        ("KvList", json!({ "prefix": "a" }), json!([entry])),
        ("KvKeys", json!({ "prefix": "a", "separator": "/" }), json!(["a/b"])),
        ("KvWrite", json!({ "write": { "op": { "Cas": 3 }, "key": "a/b", "flags": 42, "value": "AP8=" } }), json!(true)),
    ]
}

fn listed(transition: &Json) -> Vec<(&'static str, Json, Json)> {
    let service_row =
        json!({ "Name": "web", "Kind": "", "Tags": ["a"], "Health": "critical", "Trace": [{ "AtMs": 1, "Health": "passing" }] });
    let history = json!({ "Node": "n1", "CheckID": "c1", "Transitions": [transition] });
    let recent = json!({ "Node": "n1", "CheckID": "c1", "CheckName": "alive", "ServiceName": "web", "Transition": transition });
    vec![
        ("UiNodes", json!({ "node": "n1" }), json!([{ "ID": "i", "Node": "n1", "Services": [service()], "Checks": [check()] }])),
        ("UiServices", json!({}), json!([{ "Name": "web", "Tags": ["a"], "Nodes": ["n1"], "InstanceCount": 1, "ChecksPassing": 2 }])),
        (
            "Overview",
            json!({}),
            json!({ "Keys": 3, "Groups": [{ "Name": "g", "Marks": "pc", "Named": [[1, "web"]] }], "Recent": [recent] }),
        ),
        ("ListServices", query(), page(&service_row)),
        ("ListNodes", query(), page(&json!({ "Node": node(), "Health": "passing", "Agent": true, "Role": "server", "Services": 2 }))),
        ("ListChecks", query(), page(&json!({ "Check": check(), "ChangedAtMs": 5 }))),
        ("CheckHistory", json!({ "node": "n1", "check_id": "c1", "service": "" }), json!([history])),
    ]
}

fn cluster() -> Vec<(&'static str, Json, Json)> {
    let id = "11111111-2222-4333-8444-555555555555";
    let autopilot = json!({ "CleanupDeadServers": true, "LastContactThreshold": "200ms", "MaxTrailingLogs": 250, "ModifyIndex": 6 });
    let health = json!({ "ID": id, "Name": "n1", "SerfStatus": "alive", "LastContact": "3ms", "Healthy": true, "Voter": true });
    let raft = json!({ "Node": "n1", "State": "leader", "Term": 3, "Quorum": 2,
        "Servers": [{ "ID": id, "Name": "n1", "Role": "leader", "LastContactMs": 3, "Healthy": true }],
        "Elections": [{ "Term": 3, "Leader": id, "Name": "n1", "AtMs": 5 }] });
    let snapshot =
        json!({ "Index": 9, "Term": 3, "SizeBytes": 100, "TakenAt": "2026-01-02T03:04:05Z", "Server": "n1", "Version": "0.1.0" });
    let pool = json!({ "Node": "n1", "Encrypted": true, "Keys": 1, "Members": [{ "Name": "n2", "ID": id, "Status": "suspect", "AccusedBy": ["n1"] }] });
    vec![
        ("RaftState", json!({}), json!({ "is_pristine": true, "servers": [id], "peers": [] })),
        ("RaftConfiguration", json!({}), json!({ "Servers": [{ "ID": id, "Node": "n1", "Leader": true, "Voter": true }], "Index": 9 })),
        ("RemovePeer", json!({ "id": id, "address": "" }), json!(null)),
        ("TransferLeader", json!({ "id": id }), json!(null)),
        ("Autopilot", json!({}), autopilot.clone()),
        ("SetAutopilot", json!({ "configuration": autopilot, "cas": 6 }), json!(true)),
        ("AutopilotHealth", json!({}), json!({ "Healthy": true, "FailureTolerance": 1, "Servers": [health] })),
        ("Raft", json!({}), raft),
        ("Gossip", json!({}), pool),
        ("Snapshots", json!({}), json!({ "Snapshots": [snapshot], "Retained": 2, "Threshold": 16384, "LastIndex": 12 })),
        ("TakeSnapshot", json!({}), snapshot),
        ("Keyring", json!({ "verb": "list", "key": "" }), json!({ "nodes": 3, "keys": { "1a": 3 }, "messages": {}, "error": "" })),
        ("AgentCall", json!({ "node": "n1", "payload": { "RunCheck": { "check_id": "c1" } } }), json!("Done")),
    ]
}

/// One variant of an enum from the JSON of what it holds.
fn variant<T: serde::de::DeserializeOwned>(name: &str, content: Json) -> T {
    let whole = Json::Object([(name.to_owned(), content)].into_iter().collect());
    serde_json::from_value(whole).unwrap_or_else(|error| panic!("{name}: {error}"))
}

fn answered(name: &str, reply: Json) -> Result<Answer<OperationReply>, Error> {
    let meta = QueryMeta { index: 12, ..QueryMeta::default() };
    Ok(Answer { meta, value: variant(name, reply) })
}

#[test]
fn every_call_and_its_answer_stay_readable() {
    let all = operations();
    assert_eq!(all.iter().map(|(name, ..)| *name).collect::<Vec<_>>(), Operation::NAMES, "every operation has a sample, in their order");
    for (name, asked, reply) in all {
        let call: (Request, Operation) = (request(), variant(name, asked));
        SAMPLES.check(&format!("call-{name}"), &call, &wire::encode(&call).expect("encodes"));
        let answer = answered(name, reply);
        SAMPLES.check(&format!("answer-{name}"), &answer, &wire::encode(&answer).expect("encodes"));
    }
}

#[test]
fn every_refusal_stays_readable() {
    let text = || "why".to_owned();
    let all = [
        Error::NoLeader,
        Error::NoServers,
        Error::NoPathToDatacenter,
        Error::PermissionDenied,
        Error::BadRequest(text()),
        Error::Refused(text()),
        Error::NotFound(text()),
        Error::Unreachable(text()),
        Error::RateLimited,
        Error::RetryElsewhere,
        Error::RetryLater,
        Error::Timeout,
        Error::Stopping,
        Error::Disk(text()),
    ];
    let all: Vec<Result<Answer<OperationReply>, Error>> = all.into_iter().map(Err).collect();
    let now = SAMPLES.encode(&all);
    SAMPLES.check("refusals", &all, &now);
    for refusal in &all {
        assert_eq!(wire::encode(refusal).expect("encodes")[..], SAMPLES.encode(refusal));
    }
}

#[test]
fn change_streams_and_saved_files_stay_readable() {
    let opening: Result<wire::Opening, Error> = Ok(wire::Opening { index: 12 });
    SAMPLES.check("changes-opening", &opening, &wire::encode(&opening).expect("encodes"));
    let change = Change { topic: Topic::Raft, name: "raft".to_owned(), node: "n1".to_owned(), index: 12, kind: Kind::Set };
    let batch: Batch = (12, Some(vec![change]));
    SAMPLES.check("changes-batch", &batch, &wire::encode(&batch).expect("encodes"));
    let since = (request(), 12_u64);
    SAMPLES.check("changes-call", &since, &wire::encode(&since).expect("encodes"));
    let load = (request(), Load::Restore);
    SAMPLES.check("snapshot-load", &load, &wire::encode(&load).expect("encodes"));
}

#[test]
fn what_an_agent_says_first_stays_readable() {
    let greeting = Greeting { node: "n1".to_owned(), id: "11111111-2222-4333-8444-555555555555".to_owned() };
    let now = SAMPLES.encode(&greeting);
    SAMPLES.check("greeting", &greeting, &now);
}

#[test]
fn what_only_a_later_release_knows_is_refused_with_its_name() {
    let kept = SAMPLES.kept("answer-KvGet");
    let mut later = SAMPLES.tree(&kept);
    rename(&mut later, "KvGet", "KvGetMany");
    let later = SAMPLES.encode(&later);
    let why = wire::decode::<Result<Answer<OperationReply>, Error>>(&later).expect_err("not known").to_string();
    assert!(why.contains("KvGetMany"), "{why}");
    let mut newer = SAMPLES.kept("call-KvGet");
    newer[0] = 2;
    let why = wire::decode::<(Request, Operation)>(&newer).expect_err("another version");
    assert_eq!(why, "message version 2 is not known to this release");
}
