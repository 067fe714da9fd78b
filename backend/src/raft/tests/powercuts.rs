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

#[tokio::test(flavor = "multi_thread")]
async fn a_server_has_every_acknowledged_write_after_a_power_cut() {
    check_power_cuts("wal").await;
    check_power_cuts("sled").await;
}
