//! A whole server on a real disk, whose power goes: what it acknowledged was flushed, not only written.

use super::*;
use crate::rt::flushed::{Flushed, is_of_sled};

async fn check_power_cuts(backend: &str) {
    let dir = tempfile::tempdir().expect("temp dir");
    let flushed = Flushed::watch(dir.path()).beside(is_of_sled);
    let on = |dir: &Path| Options {
        data_dir: Some(dir.to_owned()),
        log_backend: backend.to_owned(),
        snapshot_threshold: 20,
        trailing_logs: 5,
        ..options(1)
    };
    let (server, _) = reopen(&on(dir.path())).await;
    let mut snapshots = 0;
    for number in 0..120 {
        server.propose(put(&number.to_string())).await.expect("leads");
        if number % 15 > 0 {
            continue;
        }
        // At any moment of a snapshot or a purge: they go on beside this.
        let found = flushed.now().worst();
        let (again, store) = reopen(&on(found.path())).await;
        let lost: Vec<_> = (0..=number).filter(|number| !has(&store, &number.to_string())).collect();
        assert!(lost.is_empty(), "{backend}: lost {lost:?}");
        assert!(again.status().term > server.status().term, "{backend}: it forgot how it had voted");
        snapshots = snapshots.max(again.status().snapshot_index);
        again.shutdown().await;
    }
    server.shutdown().await;
    assert!(snapshots > 20 && purged(&server) > 20, "{backend}: {snapshots}, {}", purged(&server));
}

/// An operator's configuration is followed, or still there to be followed: never half, and never forgotten.
#[tokio::test(flavor = "multi_thread")]
async fn a_power_cut_while_peers_json_is_followed_leaves_it_to_the_next_start() {
    let (dir, rng) = (tempfile::tempdir().expect("temp dir"), crate::rt::Rng::from_seed(1));
    let on = |dir: &Path| Options { data_dir: Some(dir.to_owned()), ..options(1) };
    let (server, _) = reopen(&on(dir.path())).await;
    server.propose(put("kept")).await.expect("leads");
    server.shutdown().await;
    let row = |id: u8, more: &str| format!("{{\"id\": \"{}\", \"address\": \"{}\"{more}}}", options(id).node_id, options(id).address);
    let file = format!("[{}, {}]", row(1, ""), row(2, ", \"non_voter\": true"));
    std::fs::write(dir.path().join("raft/peers.json"), file).expect("writes");
    let flushed = Flushed::watch(dir.path()).recording();
    let (server, _) = reopen(&on(dir.path())).await;
    let moments: Vec<_> = flushed.moments().into_iter().chain([flushed.now()]).collect();
    server.shutdown().await;
    assert!(moments.len() > 3, "{}", moments.len());
    for (at, moment) in moments.iter().enumerate() {
        for found in [moment.worst(), moment.any(&rng), moment.any(&rng)] {
            let (again, store) = reopen(&on(found.path())).await;
            assert!(has(&store, "kept"), "cut {at}");
            assert_eq!(again.status().peers.len(), 2, "cut {at}: {:?}", again.status().peers);
            again.shutdown().await;
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_server_has_every_acknowledged_write_after_a_power_cut() {
    check_power_cuts("wal").await;
    check_power_cuts("sled").await;
}
