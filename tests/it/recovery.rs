//! Servers in trouble: a quorum lost for good, a wrong `peers.json`, too long an absence.

use std::{
    fs,
    path::{Path, PathBuf},
    process::Command,
};

use serde_json::{Value, json};
use tests::{
    cluster::{Cluster, DEADLINE},
    http::Client,
    node::{Product, Start, muster},
    wait::{wait_until, wait_within},
    workload::{Workload, agents, agree},
};

/// Servers that get their vote soon.
const QUICK: &str = "-hcl=autopilot { server_stabilization_time = \"100ms\" }";

fn data(cluster: &Cluster, place: usize) -> PathBuf {
    cluster.directory().join(format!("n{}", place + 1))
}

/// Writes so many keys of this name; answers once all are acknowledged. On a busy machine there may be nobody to write to for a moment.
fn write(http: &Client, name: &str, count: u32) {
    for number in 0..count {
        wait_within(&format!("key {number} of {name} to be taken"), DEADLINE, || {
            let answer = http.request("PUT", &format!("/v1/kv/{name}/{number}"), &[], b"x").ok()?;
            (answer.status == 200).then_some(())
        });
    }
}

/// Waits until every key of this name is there.
fn check(http: &Client, name: &str, count: usize) {
    let found = wait_within("a read", DEADLINE, || {
        let answer = http.request("GET", &format!("/v1/kv/{name}/?keys"), &[], &[]).ok()?;
        serde_json::from_slice::<Vec<String>>(&answer.body).ok()
    });
    assert_eq!(found.len(), count, "acknowledged keys of {name} are there");
}

fn voters(cluster: &Cluster, asked: usize) -> Option<usize> {
    let configuration = cluster.get(asked, "/v1/operator/raft/configuration");
    Some(configuration["Servers"].as_array()?.iter().filter(|server| server["Voter"] == true).count())
}

/// SIGTERM without leaving: a server stays in the configuration.
fn stop(cluster: &mut Cluster, place: usize) {
    let mut node = cluster.members[place].node.take().expect("it runs");
    assert_eq!(node.end_by("TERM"), Some(1), "{}", node.log());
}

fn row(cluster: &Cluster, place: usize) -> Value {
    let start = &cluster.members[place].start;
    json!({ "id": start.id, "address": format!("{}:8300", start.ip) })
}

fn doctor(directory: &Path) -> String {
    let output = Command::new(muster()).arg("doctor").arg(directory).output().expect("it runs");
    String::from_utf8_lossy(&output.stdout).into_owned()
}

#[test]
fn a_lone_survivor_of_three_becomes_a_cluster_again() {
    let mut cluster = Cluster::servers(3, &[QUICK.to_owned()]);
    write(&cluster.members[0].node().http, "before", 40);
    for lost in [1, 2] {
        cluster.members[lost].kill();
        fs::remove_dir_all(data(&cluster, lost)).expect("removed");
    }
    let refused = cluster.members[0].node().http.put("/v1/kv/a", "1");
    assert_eq!(refused.status, 500, "whether it was the leader or not: {}", refused.text());
    stop(&mut cluster, 0);
    let raft = data(&cluster, 0).join("raft");
    let info = fs::read_to_string(raft.join("peers.info")).expect("the explanation is there");
    assert!(info.contains("peers.json") && info.contains("non_voter"), "{info}");
    assert!(doctor(&data(&cluster, 0)).contains("peers.json"), "doctor names the way");
    fs::write(raft.join("peers.json"), json!([row(&cluster, 0)]).to_string()).expect("written");
    let said = doctor(&data(&cluster, 0));
    assert!(said.contains("peers.json is in place"), "{said}");

    cluster.members[0].restart();
    let http = cluster.members[0].node().http;
    wait_within("the survivor to lead", DEADLINE, || (http.request("PUT", "/v1/kv/a", &[], b"1").ok()?.status == 200).then_some(()));
    check(&http, "before", 40);
    assert!(!raft.join("peers.json").exists() && raft.join("peers.info").exists(), "the file is followed once");
    assert!(cluster.members[0].node().log().contains("peers.json replaced the raft configuration"));
    assert_eq!(voters(&cluster, 0), Some(1));
    write(&http, "alone", 20);

    // It stays so without the file, and new servers join as usual.
    cluster.members[0].kill();
    cluster.members[0].restart();
    let new = [cluster.add_server(3, &[QUICK.to_owned()]), cluster.add_server(3, &[QUICK.to_owned()])];
    wait_within("three voters", DEADLINE, || (voters(&cluster, 0)? == 3).then_some(()));
    // They are voters already while the change is half done, and until then nothing goes without the former voter.
    write(&cluster.members[0].node().http, "three", 20);
    cluster.members[0].kill();
    let http = cluster.members[new[0]].node().http;
    wait_within("the new ones to go on alone", DEADLINE, || (http.request("PUT", "/v1/kv/a", &[], b"2").ok()?.status == 200).then_some(()));
    check(&http, "before", 40);
    check(&http, "alone", 20);
}

#[test]
fn servers_given_the_same_file_agree_and_keep_what_only_one_of_them_has() {
    let mut cluster = Cluster::servers(5, &[]);
    let leader = cluster.leader();
    write(&cluster.members[leader].node().http, "all", 20);
    // Two stand still while the other three acknowledge more; then two of these three are lost.
    let load = Workload::start(agents(&cluster));
    load.more("writes with five", 50);
    let others = cluster.others(leader);
    let behind = [others[0], others[1]];
    let lost = [others[2], others[3]];
    behind.iter().for_each(|place| cluster.members[*place].kill());
    write(&cluster.members[leader].node().http, "three", 30);
    load.more("writes with three", 30);
    lost.iter().for_each(|place| cluster.members[*place].kill());
    stop(&mut cluster, leader);
    // The leader's copy is the only one of the last writes. The addresses alone are enough: the log knows the ids.
    let named = [leader, behind[0], behind[1]];
    let file = json!(named.iter().map(|place| format!("{}:8300", cluster.members[*place].start.ip)).collect::<Vec<_>>()).to_string();
    for place in named {
        fs::write(data(&cluster, place).join("raft/peers.json"), &file).expect("written");
    }
    behind.iter().for_each(|place| cluster.members[*place].restart());
    let late = cluster.members[behind[0]].node().http;
    wait_until("those behind to follow the file", || (!data(&cluster, behind[1]).join("raft/peers.json").exists()).then_some(()));
    let alone = late.put("/v1/kv/early", "x");
    assert_eq!((alone.status, alone.text().as_str()), (500, "No cluster leader"), "two of three must not forget what the third has");

    cluster.members[leader].restart();
    wait_within("writes again", DEADLINE, || (late.request("PUT", "/v1/kv/a", &[], b"1").ok()?.status == 200).then_some(()));
    check(&late, "all", 20);
    check(&late, "three", 30);
    assert_eq!(voters(&cluster, behind[0]), Some(3));
    wait_within("the configuration to be an ordinary one", DEADLINE, || {
        let finished = |place: &usize| cluster.members[*place].node().log().contains("the change of the raft configuration is finished");
        named.iter().any(finished).then_some(())
    });
    // From now on a majority is enough.
    cluster.members[leader].kill();
    wait_within("writes without one", DEADLINE, || (late.request("PUT", "/v1/kv/a", &[], b"2").ok()?.status == 200).then_some(()));
    check(&late, "three", 30);
    load.more("writes with two of three", 30);
    load.check(&late);
    cluster.members.retain(|member| member.node.is_some());
    agree(&cluster);
}

#[test]
fn a_wrong_file_refuses_to_start_and_changes_nothing() {
    let directory = tempfile::tempdir().expect("a temporary directory");
    let start = Start::server(Product::Muster, directory.path());
    let mut node = start.start();
    write(&node.http, "kept", 5);
    node.end_by("TERM");
    let file = directory.path().join("raft/peers.json");
    let own = json!({ "id": start.id, "address": format!("{}:8300", start.ip) });
    let other = json!({ "id": "99999999-2222-4333-8444-555555555555", "address": "127.0.0.9:8300" });
    let non_voter = json!({ "id": start.id, "address": format!("{}:8300", start.ip), "non_voter": true });
    for (text, why) in [
        ("[{".to_owned(), "it is not understood: EOF while parsing"),
        (json!([other]).to_string(), "it does not name this server"),
        (json!([non_voter]).to_string(), "no server in it has a vote"),
        (json!([own, own]).to_string(), "is in it twice"),
        (json!([]).to_string(), "it names no server"),
        (json!(["127.0.0.9:8300"]).to_string(), "no server of the last known configuration has the address 127.0.0.9:8300"),
    ] {
        fs::write(&file, &text).expect("written");
        let mut refused = start.spawn();
        assert_eq!(refused.end(), Some(1), "{text}: {}", refused.log());
        let log = wait_until("the reason", || Some(refused.log()).filter(|log| log.contains(why)));
        assert!(log.contains(&file.display().to_string()) && log.contains("Nothing was changed"), "{log}");
        assert_eq!(fs::read_to_string(&file).expect("still there"), text);
    }
    fs::remove_file(&file).expect("removed");
    let node = start.start();
    check(&node.http, "kept", 5);
}

#[test]
fn a_server_without_data_is_no_survivor() {
    let directory = tempfile::tempdir().expect("a temporary directory");
    let start = Start::server(Product::Muster, directory.path());
    fs::create_dir(directory.path().join("raft")).expect("created");
    let file = json!([{ "id": start.id, "address": format!("{}:8300", start.ip) }]);
    fs::write(directory.path().join("raft/peers.json"), file.to_string()).expect("written");
    let mut refused = start.spawn();
    assert_eq!(refused.end(), Some(1), "{}", refused.log());
    wait_until("the reason", || refused.log().contains("there is no Raft state here to recover").then_some(()));
}

#[test]
fn a_server_that_was_away_for_too_long_stays_away() {
    let directory = tempfile::tempdir().expect("a temporary directory");
    let start = Start::server(Product::Muster, directory.path());
    let mut node = start.start();
    write(&node.http, "kept", 1);
    let file = directory.path().join("server_metadata.json");
    let written = wait_until("the time it was alive", || fs::read_to_string(&file).ok());
    let seen = serde_json::from_str::<Value>(&written).expect("JSON")["last_seen_unix"].as_u64().expect("a number");
    node.end_by("TERM");
    fs::write(&file, json!({ "last_seen_unix": seen - 8 * 24 * 3600 }).to_string()).expect("written");
    let mut refused = start.spawn();
    assert_eq!(refused.end(), Some(1), "{}", refused.log());
    let log = wait_until("the reason", || Some(refused.log()).filter(|log| log.contains("refusing to rejoin")));
    assert!(log.contains("longer than server_rejoin_age_max (168h0m0s)"), "{log}");
    // Whoever knows better says so.
    let node = start.clone().with("-hcl=server_rejoin_age_max = \"1000h\"").start();
    check(&node.http, "kept", 1);
}
