//! Servers in trouble: a quorum lost for good, a wrong `peers.json`, a full disk, too long an absence.

use std::{
    fs,
    io::Write as _,
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

/// A small file system of its own, gone with the test.
struct Disk {
    path: PathBuf,
}

impl Disk {
    /// Mounts it; needs root, which tests have in CI.
    fn mount(path: &Path, megabytes: u32) -> Self {
        fs::create_dir_all(path).expect("created");
        let mounted = Command::new("mount").args(["-t", "tmpfs", "-o", &format!("size={megabytes}m"), "tmpfs"]).arg(path).output();
        let mounted = mounted.expect("there is a mount command");
        assert!(mounted.status.success(), "a tmpfs cannot be mounted (root is needed): {}", String::from_utf8_lossy(&mounted.stderr));
        Self { path: path.to_owned() }
    }

    fn ballast(&self) -> PathBuf {
        self.path.join("ballast")
    }

    /// Leaves no room at all.
    fn fill(&self) {
        let mut ballast = fs::File::create(self.ballast()).expect("created");
        for size in [1 << 20, 4096, 1] {
            while ballast.write_all(&vec![0; size]).is_ok() {}
        }
    }

    fn make_room(&self) {
        fs::remove_file(self.ballast()).expect("removed");
    }
}

impl Drop for Disk {
    fn drop(&mut self) {
        // Lazily: an agent may still have it open.
        let _ = Command::new("umount").arg("-l").arg(&self.path).status();
    }
}

#[test]
fn a_server_whose_disk_is_full_steps_down_says_why_and_comes_back() {
    let mut cluster = Cluster::empty();
    let disk = Disk::mount(&data(&cluster, 0), 24);
    for _ in 0..3 {
        cluster.add_server(3, &[]);
    }
    let leader = cluster.settled(3);
    let id = cluster.members[0].start.id.clone();
    if leader != 0 {
        let target = format!("/v1/operator/raft/transfer-leader?id={id}");
        let moved = cluster.members[leader].node().http.request("POST", &target, &[], &[]).expect("answers");
        assert_eq!(moved.status, 200, "{}", moved.text());
        wait_within("the small disk's server to lead", DEADLINE, || (cluster.leader() == 0).then_some(()));
    }
    let (full, other) = (cluster.members[0].node().http, cluster.members[1].node().http);
    write(&full, "before", 20);
    let load = Workload::start(agents(&cluster));
    load.more("writes with room", 50);
    disk.fill();

    // A page may have some room left; the first write that does not fit is the last it takes.
    let refused = wait_within("the full server to say why", DEADLINE, || {
        let answer = full.request("PUT", "/v1/kv/refused", &[], &[b'x'; 2000]).ok()?;
        answer.text().starts_with("this server's disk failed: ").then_some(answer)
    });
    assert_eq!(refused.status, 500);
    assert!(refused.text().contains("No space left on device"), "{}", refused.text());
    wait_within("writes without the full server", DEADLINE, || {
        (other.request("PUT", "/v1/kv/first", &[], b"x").ok()?.status == 200).then_some(())
    });
    write(&other, "without", 20);
    load.more("writes beside the full server", 50);
    let stale = full.get("/v1/kv/before/7?stale&raw");
    assert_eq!((stale.status, stale.text().as_str()), (200, "x"));
    let raft = full.get("/v1/muster/raft?stale").json();
    assert!(raft["Failure"].as_str().is_some_and(|why| why.contains("No space left on device")), "{raft}");
    assert_eq!(raft["State"], "shutdown");
    let health = wait_within("autopilot to notice", DEADLINE, || {
        let health = other.request("GET", "/v1/operator/autopilot/health", &[], &[]).ok()?;
        let health: Value = serde_json::from_slice(&health.body).ok()?;
        (health["Healthy"] == false).then_some(health)
    });
    let ill: Vec<&Value> = health["Servers"].as_array().expect("a list").iter().filter(|server| server["Healthy"] == false).collect();
    assert_eq!(ill.iter().map(|server| server["ID"].as_str()).collect::<Vec<_>>(), [Some(id.as_str())], "{health}");
    // Raft is silent there; gossip carries the reason.
    wait_within("the others to know why", DEADLINE, || {
        let raft = other.request("GET", "/v1/muster/raft", &[], &[]).ok()?;
        let raft: Value = serde_json::from_slice(&raft.body).ok()?;
        let server = raft["Servers"].as_array()?.iter().find(|server| server["ID"] == id.as_str())?.clone();
        server["Failure"].as_str()?.contains("No space left on device").then_some(())
    });
    cluster.members[0].node.as_mut().expect("it runs").assert_running();
    let log = cluster.members[0].node().log();
    assert!(log.contains("the disk of this server failed") && log.contains("No space left on device"), "{log}");

    // Room alone heals nothing: what a failed flush lost nobody knows. A restart does.
    disk.make_room();
    assert_eq!(full.put("/v1/kv/refused", "x").status, 500);
    assert_eq!(cluster.members[0].node.as_mut().expect("it runs").end_by("TERM"), Some(1));
    cluster.members[0].restart();
    cluster.settled(3);
    wait_within("all to be healthy again", DEADLINE, || {
        let health = other.request("GET", "/v1/operator/autopilot/health", &[], &[]).ok()?;
        (serde_json::from_slice::<Value>(&health.body).ok()?["Healthy"] == true).then_some(())
    });
    check(&full, "before", 20);
    check(&full, "without", 20);
    load.more("writes through everybody", 50);
    load.check(&full);
    agree(&cluster);
    drop(cluster);
    drop(disk);
}
