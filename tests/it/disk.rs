//! A server whose disk is full while clients write and read: it takes no part any more, the others go on, and nothing is lost.
//!
//! Needs root for a small file system of its own; where it cannot be mounted the test fails and says so.

use std::{
    fs,
    io::Write as _,
    path::{Path, PathBuf},
    process::Command,
};

use serde_json::Value;
use tests::{
    cluster::{Cluster, DEADLINE},
    wait::wait_within,
    workload::{Workload, agents, agree},
};

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
    let disk = Disk::mount(&cluster.directory().join("n1"), 24);
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
    assert_eq!(full.put("/v1/kv/before", "x").status, 200);
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
    load.more("writes beside the full server", 50);
    let stale = full.get("/v1/kv/before?stale&raw");
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
    assert_eq!(full.get("/v1/kv/before?raw").text(), "x");
    assert_eq!(full.get("/v1/kv/first?raw").text(), "x");
    load.more("writes through everybody", 50);
    load.check(&full);
    agree(&cluster);
    drop(cluster);
    drop(disk);
}
