//! Saved and restored states: by API and command line, on one server and on three, with servers that miss the restore or are killed.

use std::{
    fs,
    process::{Command, Output},
    thread,
};

use serde_json::Value;
use tests::{
    cluster::{Cluster, DEADLINE},
    http::Client,
    node::{Node, Product, Start, muster},
    wait::{wait_until, wait_within},
};

fn keys(http: &Client) -> Vec<String> {
    let answer = http.request("GET", "/v1/kv/?keys&stale", &[], &[]).ok();
    answer.and_then(|answer| serde_json::from_slice(&answer.body).ok()).unwrap_or_default()
}

fn run(node: &Node, arguments: &[&str]) -> Output {
    Command::new(muster()).args(arguments).env("CONSUL_HTTP_ADDR", node.http.address.to_string()).output().expect("the command runs")
}

fn expect(output: &Output, code: i32, expected: &str) {
    let text = String::from_utf8_lossy(if code == 0 { &output.stdout } else { &output.stderr }).into_owned();
    assert_eq!(output.status.code(), Some(code), "{text}");
    assert!(text.contains(expected), "expected {expected:?} in {text:?}");
}

#[test]
fn a_saved_state_comes_back_and_indexes_only_rise() {
    let node = Node::dev();
    let http = node.http;
    assert_eq!(http.put("/v1/kv/a", "saved").status, 200);
    let saved = http.get("/v1/snapshot");
    assert_eq!((saved.status, saved.header("Content-Type")), (200, Some("application/x-gzip")));
    assert_eq!((saved.header("X-Consul-Knownleader"), saved.header("X-Consul-Lastcontact")), (Some("true"), Some("0")));
    assert!(saved.header("Content-Encoding").is_none() && saved.index() > 1);
    assert_eq!(http.get("/v1/snapshot?stale").status, 200);

    let found = http.put("/v1/muster/snapshot/inspect", &saved.body);
    assert_eq!(found.status, 200, "{}", found.text());
    let found = found.json();
    assert_eq!((found["Index"].as_u64(), found["Version"].as_u64()), (Some(saved.index()), Some(1)));
    let tables = found["Tables"].as_array().expect("a list");
    assert!(tables.iter().any(|table| table["Name"] == "kv" && table["Count"] == 1), "{tables:?}");

    for (key, value) in [("a", "later"), ("b", "later")] {
        assert_eq!(http.put(&format!("/v1/kv/{key}"), value).status, 200);
    }
    let before = http.get("/v1/kv/a");
    let waiting = format!("/v1/kv/a?index={}&wait=60s", before.index());
    let reader = thread::spawn(move || http.get(&waiting));
    let restored = http.put("/v1/snapshot", &saved.body);
    assert_eq!((restored.status, restored.text().as_str()), (200, ""));
    let woken = reader.join().expect("the reader is answered");
    assert!(woken.index() > before.index(), "{} after {}", woken.index(), before.index());
    assert_eq!(http.get("/v1/kv/a?raw").text(), "saved");
    assert_eq!(http.get("/v1/kv/b").status, 404);
    assert_eq!(http.put("/v1/kv/c", "new").status, 200);
    assert!(http.get("/v1/kv/c").json()[0]["ModifyIndex"].as_u64() > Some(before.index()));
    // The node itself is there again at once, whatever the file says of it.
    wait_until("the server in its catalog", || http.get("/v1/health/node/n1").text().contains("serfHealth").then_some(()));
}

#[test]
fn a_damaged_foreign_or_cut_file_changes_nothing() {
    let node = Node::dev();
    let http = node.http;
    assert_eq!(http.put("/v1/kv/a", "kept").status, 200);
    let saved = http.get("/v1/snapshot").body;
    let index = http.get("/v1/kv/a").index();
    let mut flipped = saved.clone();
    let middle = flipped.len() / 2;
    flipped[middle] ^= 1;
    let check = |file: &[u8], expected: &str| {
        let restored = http.put("/v1/snapshot", file);
        assert_eq!((restored.status, restored.text().contains(expected)), (500, true), "{expected}: {}", restored.text());
        let found = http.put("/v1/muster/snapshot/inspect", file);
        assert_eq!((found.status, found.text()), (400, restored.text()));
        assert_eq!((http.get("/v1/kv/a?raw").text().as_str(), http.get("/v1/kv/a").index()), ("kept", index));
    };
    check(b"", "failed to decompress snapshot: EOF");
    check(b"certainly not gzip'd", "failed to decompress snapshot: gzip: invalid header");
    check(&saved[..saved.len() / 2], "unexpected EOF");
    check(&flipped, "failed to read snapshot file: ");
    assert_eq!(http.get("/v1/snapshot?dc=elsewhere").text(), "No path to datacenter");
    assert_eq!(http.put("/v1/snapshot?dc=elsewhere", &saved).text(), "No path to datacenter");
    let wrong = http.request("POST", "/v1/snapshot", &[], &[]).expect("answers");
    assert_eq!((wrong.status, wrong.header("Allow")), (405, Some("OPTIONS,GET,PUT")));
}

#[test]
fn files_are_saved_inspected_and_restored_by_command() {
    let node = Node::dev();
    let directory = tempfile::tempdir().expect("a temporary directory");
    let path = directory.path().join("backup.snap");
    let file = path.to_str().expect("UTF-8");
    assert_eq!(node.http.put("/v1/kv/app/a", "1").status, 200);
    let least = node.http.get("/v1/snapshot").index();
    // The agent itself may write meanwhile: what counts is the file.
    let index = || {
        let json: Value = serde_json::from_slice(&run(&node, &["snapshot", "inspect", "-format=json", file]).stdout).expect("JSON");
        json["Meta"]["Index"].as_u64().filter(|index| *index >= least).expect("an index")
    };
    let saved = run(&node, &["snapshot", "save", file]);
    expect(&saved, 0, &format!("Saved and verified snapshot to index {}\n", index()));
    assert_eq!(fs::read_dir(directory.path()).expect("lists").count(), 1, "nothing unverified is left");
    let mode = std::os::unix::fs::PermissionsExt::mode(&fs::metadata(&path).expect("is there").permissions());
    assert_eq!(mode & 0o777, 0o600);
    expect(&run(&node, &["snapshot", "save", "-stale", file]), 0, "Saved and verified snapshot");
    let pretty = run(&node, &["snapshot", "inspect", "-kvdetails", file]);
    expect(&pretty, 0, &format!("Index        {}\n", index()));
    expect(&pretty, 0, "app/a");
    assert_eq!(node.http.put("/v1/kv/app/a", "2").status, 200);
    expect(&run(&node, &["snapshot", "restore", file]), 0, "Restored snapshot");
    assert_eq!(node.http.get("/v1/kv/app/a?raw").text(), "1");

    fs::write(&path, "hello, this is no snapshot").expect("writes");
    let refused = "failed to decompress snapshot: gzip: invalid header";
    expect(&run(&node, &["snapshot", "inspect", file]), 1, &format!("Error verifying snapshot: {refused}"));
    let told = format!("Error restoring snapshot: Unexpected response code: 500 ({refused})");
    expect(&run(&node, &["snapshot", "restore", file]), 1, &told);
    expect(&run(&node, &["snapshot", "save"]), 1, "Missing FILE argument");
    expect(&run(&node, &["snapshot", "inspect", "a", "b"]), 1, "Too many arguments (expected 1, got 2)");
    expect(&run(&node, &["snapshot", "restore", "nowhere"]), 1, "Error opening snapshot file: open nowhere: no such file or directory");
    expect(&run(&node, &["snapshot", "save", "no/where"]), 1, "Error writing unverified snapshot file: open no/where");
}

#[test]
fn a_state_is_saved_without_being_in_memory_twice() {
    const VALUES: usize = 160;
    const MIB: u64 = 1 << 20;
    let directory = tempfile::tempdir().expect("a temporary directory");
    let node = Start::server(Product::Muster, directory.path()).start();
    let http = Client { timeout: DEADLINE, ..node.http };
    // Bytes that nothing makes shorter: xorshift.
    let mut state = 1_u64;
    let mut value = vec![0; 512 << 10];
    for number in 0..VALUES {
        for bytes in value.chunks_mut(8) {
            state ^= state << 13;
            state ^= state >> 7;
            state ^= state << 17;
            bytes.copy_from_slice(&state.to_le_bytes());
        }
        assert_eq!(http.put(&format!("/v1/kv/{number}"), &value).status, 200);
    }
    let mut saved = Vec::new();
    let saving = node.growth_bytes(|| saved = http.get("/v1/snapshot").body);
    assert!(saved.len() as u64 > 80 * MIB, "{} bytes", saved.len());
    let keeping = node.growth_bytes(|| {
        let taken = http.request("POST", "/v1/muster/snapshots", &[], &[]).expect("answers");
        assert_eq!(taken.status, 200, "{}", taken.text());
    });
    let looking = node.growth_bytes(|| assert_eq!(http.put("/v1/muster/snapshot/inspect", &saved).status, 200));
    let mib = [saving, keeping, looking].map(|bytes| bytes / MIB);
    println!("80 MiB saved, kept, inspected: {mib:?} MiB more");
    assert!(mib.iter().all(|mib| *mib < 32), "{mib:?} MiB more");
}

#[test]
fn an_archive_is_listed_and_taken_on_demand() {
    let directory = tempfile::tempdir().expect("a temporary directory");
    let start = Start::server(Product::Muster, directory.path());
    let mut node = start.start();
    assert_eq!(node.http.get("/v1/muster/snapshots").json()["Snapshots"], serde_json::json!([]));
    let mut taken = Value::Null;
    for round in 0..3 {
        assert_eq!(node.http.put(&format!("/v1/kv/{round}"), "x").status, 200);
        let answer = node.http.request("POST", "/v1/muster/snapshots", &[], &[]).expect("answers");
        assert_eq!(answer.status, 200, "{}", answer.text());
        taken = answer.json();
        assert_eq!((taken["Server"].as_str(), taken["Version"].as_str()), (Some("n1"), Some(env!("CARGO_PKG_VERSION"))));
        assert!(taken["SizeBytes"].as_u64() > Some(100) && taken["TakenAt"].as_str().is_some_and(|at| at.ends_with('Z')), "{taken}");
    }
    let listed = node.http.get("/v1/muster/snapshots").json();
    assert_eq!((listed["Retained"].as_u64(), listed["Threshold"].as_u64()), (Some(2), Some(16_384)));
    assert_eq!((listed["Snapshots"].as_array().map(Vec::len), &listed["Snapshots"][0]), (Some(2), &taken));
    assert!(listed["LastIndex"].as_u64() >= taken["Index"].as_u64());
    node.kill();
    let node = start.start();
    assert_eq!(node.http.get("/v1/muster/snapshots").json()["Snapshots"][0], taken);
    assert_eq!(keys(&node.http), ["0", "1", "2"]);
}

#[test]
fn a_server_that_hears_no_leader_waits_quietly_for_one_that_could_save_the_state() {
    let config = ["-hcl=performance { rpc_hold_timeout = \"3s\" }".to_owned()];
    let mut cluster = Cluster::servers(3, &config);
    let leader = cluster.leader();
    let others = cluster.others(leader);
    cluster.members[others[1]].kill();
    // It still has its connections, so that only silence tells.
    cluster.members[leader].node().signal("STOP");
    let node = cluster.members[others[0]].node();
    wait_within("the leader to count as silent", DEADLINE, || {
        (node.http.request("GET", "/v1/kv/a?stale", &[], &[]).ok()?.header("X-Consul-Knownleader") == Some("false")).then_some(())
    });
    let before = node.cpu_us();
    let refused = node.http.get("/v1/snapshot");
    assert_eq!((refused.status, refused.text().as_str()), (500, "No cluster leader"));
    let used_ms = (node.cpu_us() - before) / 1000;
    assert!(used_ms < 1000, "3 s of waiting took {used_ms} ms of processor");
    cluster.members[leader].node().signal("CONT");
}

#[test]
fn a_restore_reaches_servers_that_were_down_and_survives_the_death_of_all() {
    // Small enough that a server away needs a snapshot, and no server has all the log.
    let config = ["-hcl=raft_snapshot_threshold = 64", "-hcl=raft_trailing_logs = 16"].map(str::to_owned);
    let mut cluster = Cluster::servers(3, &config);
    let client = cluster.add_client();
    let leader = cluster.leader();
    let http = cluster.members[leader].node().http;
    // Three batches of rows.
    let value = "v".repeat(64 << 10);
    let names: Vec<String> = (0..24).map(|number| format!("saved/{number:02}")).collect();
    for name in &names {
        assert_eq!(http.put(&format!("/v1/kv/{name}"), &value).status, 200);
    }
    let client_http = cluster.members[client].node().http;
    wait_within("the client to know a server", DEADLINE, || {
        client_http.request("GET", "/v1/kv/saved/00", &[], &[]).ok().filter(|answer| answer.status == 200)
    });
    let saved = client_http.get("/v1/snapshot");
    assert_eq!(saved.status, 200, "{}", saved.text());
    for number in 0..40 {
        assert_eq!(http.put(&format!("/v1/kv/later/{number}"), "x").status, 200);
    }
    let before = http.get("/v1/kv/later/39").index();

    let down = cluster.others(leader).into_iter().find(|place| *place != client).expect("a follower");
    cluster.members[down].kill();
    let leader = cluster.leader();
    let restored = client_http.put("/v1/snapshot", &saved.body);
    assert_eq!((restored.status, restored.text().as_str()), (200, ""));
    for member in &mut cluster.members[..3] {
        member.kill();
    }
    for member in &mut cluster.members[..3] {
        member.restart();
    }
    let leader_now = cluster.leader();
    for place in 0..3 {
        let http = cluster.members[place].node().http;
        wait_within("every server to have the restored state and nothing else", DEADLINE, || (keys(&http) == names).then_some(()));
    }
    let http = cluster.members[leader_now].node().http;
    assert_eq!(http.put("/v1/kv/saved/new", "x").status, 200);
    let after = http.get("/v1/kv/saved/new").json()[0]["ModifyIndex"].as_u64().expect("an index");
    assert!(after > before, "{after} after {before}");
    // The same for whoever is asked, and the servers agree on what comes after.
    for place in 0..3 {
        let http = cluster.members[place].node().http;
        wait_within("every server to have what came after", DEADLINE, || {
            let answer = http.request("GET", "/v1/kv/saved/new?stale", &[], &[]).ok()?;
            (answer.status == 200 && answer.json()[0]["ModifyIndex"].as_u64() == Some(after)).then_some(())
        });
    }
    assert_eq!(cluster.members[leader].node().http.get("/v1/kv/saved/07?raw").body.len(), value.len());
    wait_within("the servers to be in the catalog again", DEADLINE, || {
        let answer = http.request("GET", "/v1/health/service/consul?passing", &[], &[]).ok()?;
        (answer.status == 200 && answer.json().as_array().map(Vec::len) == Some(3)).then_some(())
    });
}
