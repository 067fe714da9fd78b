//! A server with a data directory loses no acknowledged write, however it ends.

use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    thread,
};

use tests::{
    node::{Product, Start},
    wait::wait_until,
};

/// Writes numbered keys from several clients until told to stop; answers how many each had acknowledged.
fn write_until(stop: &Arc<AtomicBool>, http: tests::http::Client, round: usize) -> Vec<thread::JoinHandle<u64>> {
    (0..4)
        .map(|writer| {
            let stop = Arc::clone(stop);
            thread::spawn(move || {
                let mut acknowledged = 0;
                while !stop.load(Ordering::Relaxed) {
                    let key = format!("/v1/kv/load/{round}/{writer}/{acknowledged}");
                    match http.request("PUT", &key, &[], acknowledged.to_string().as_bytes()) {
                        Ok(answer) if answer.status == 200 => acknowledged += 1,
                        _ => break,
                    }
                }
                acknowledged
            })
        })
        .collect()
}

fn survives_kills(log_backend: &str) {
    let directory = tempfile::tempdir().expect("a temporary directory");
    let config = format!("raft_logstore {{ backend = \"{log_backend}\" }}");
    let start = Start::server(Product::Muster, &directory.path().join("data")).with_config(directory.path(), "agent.hcl", &config);
    let mut acknowledged = Vec::new();
    for round in 0..3 {
        let mut node = start.start();
        for (earlier, counts) in acknowledged.iter().enumerate() {
            for (writer, count) in Vec::clone(counts).into_iter().enumerate() {
                let keys = node.http.get(&format!("/v1/kv/load/{earlier}/{writer}/?keys")).json();
                let found = keys.as_array().map_or(0, Vec::len);
                assert!(found as u64 >= count, "round {earlier} writer {writer}: {count} acknowledged, {found} found after kill -9");
            }
        }
        let stop = Arc::new(AtomicBool::new(false));
        let writers = write_until(&stop, node.http, round);
        let written = AtomicU64::new(0);
        wait_until("300 writes", || {
            let keys = node.http.request("GET", &format!("/v1/kv/load/{round}/?keys"), &[], &[]).ok()?;
            let count = serde_json::from_slice::<Vec<String>>(&keys.body).map_or(0, |keys| keys.len());
            written.store(count as u64, Ordering::Relaxed);
            (count > 300).then_some(())
        });
        node.kill();
        stop.store(true, Ordering::Relaxed);
        acknowledged.push(writers.into_iter().map(|writer| writer.join().expect("the writer ends")).collect::<Vec<u64>>());
    }
    assert!(acknowledged.iter().flatten().sum::<u64>() > 600, "a run that writes nothing proves nothing");
}

#[test]
fn kill_nine_under_load_loses_no_acknowledged_write_on_the_default_log() {
    survives_kills("wal");
}

#[test]
fn kill_nine_under_load_loses_no_acknowledged_write_on_sled() {
    survives_kills("sled");
}

#[test]
fn registrations_maintenance_and_reports_survive_a_kill() {
    let directory = tempfile::tempdir().expect("a temporary directory");
    let start = Start::server(Product::Muster, directory.path());
    let mut node = start.start();
    let body = r#"{"Name":"web","Port":80,"Tags":["v1"],"Check":{"TTL":"10m"}}"#;
    assert_eq!(node.http.put("/v1/agent/service/register", body).status, 200);
    assert_eq!(node.http.put("/v1/agent/check/pass/service:web?note=fine", "").status, 200);
    assert_eq!(node.http.put("/v1/agent/service/maintenance/web?enable=true&reason=upgrade", "").status, 200);
    node.kill();

    let mut node = start.start();
    let checks = node.http.get("/v1/agent/checks").json();
    assert_eq!(checks["service:web"]["Status"], "passing");
    assert_eq!(checks["service:web"]["Output"], "fine");
    assert_eq!(checks["_service_maintenance:web"]["Notes"], "upgrade");
    assert_eq!(node.http.get("/v1/agent/services").json()["web"]["Tags"][0], "v1");
    wait_until("the catalog to have it again", || {
        (node.http.get("/v1/health/service/web").json()[0]["Service"]["Port"] == 80).then_some(())
    });
    assert_eq!(node.http.put("/v1/agent/service/deregister/web", "").status, 200);
    node.kill();

    let node = start.start();
    assert_eq!(node.http.get("/v1/agent/services").json(), serde_json::json!({}));
}

#[test]
fn a_restart_keeps_the_node_id_and_raises_no_index() {
    let directory = tempfile::tempdir().expect("a temporary directory");
    let start = Start::server(Product::Muster, directory.path());
    let mut node = start.start();
    node.http.put("/v1/kv/a", "1");
    let before = node.http.get("/v1/kv/a").json();
    node.end_by("TERM");
    let node = start.start();
    assert_eq!(node.http.get("/v1/kv/a").json(), before);
}
