//! Whole nodes: a single server in memory.

use std::{sync::Arc, time::Duration};

use shared::kv;

use super::*;

pub(super) fn options(id: u128) -> Options {
    Options {
        node_id: uuid::Uuid::from_u128(id).to_string(),
        node_name: format!("server-{id}"),
        address: format!("127.0.0.{id}:8300"),
        data_dir: None,
        log_backend: "wal".to_owned(),
        multiplier: 5,
        bootstrap: true,
        snapshot_threshold: 16384,
        trailing_logs: 10000,
    }
}

pub(super) fn put(key: &str) -> Command {
    Command::Kv { write: kv::Write { op: kv::Op::Set, key: key.to_owned(), flags: 0, value: key.as_bytes().to_vec() }, at_ms: 1 }
}

fn is_handle<T: Clone + Send + Sync + 'static>(_: &T) {}

#[tokio::test]
async fn a_sole_server_leads_at_once_and_applies_commands() {
    let runtime = Runtime::system();
    let began = runtime.clock.now();
    let store = Arc::new(Store::new());
    let handle = start(options(1), store.clone(), runtime).await.expect("starts");
    is_handle(&handle);
    assert!(handle.wait_for_leader(Duration::from_secs(5)).await);
    assert!(began.elapsed() < Duration::from_millis(300), "took {:?}", began.elapsed());
    let (first, reply) = handle.propose(put("a")).await.expect("leads");
    assert_eq!(reply, Reply::Done(true));
    let (second, _) = handle.propose(put("b")).await.expect("leads");
    assert_eq!(second, first + 1);
    let status = handle.status();
    assert_eq!((status.role.as_str(), status.peers.len()), ("leader", 1));
    assert_eq!(status.leader.map(|peer| peer.address), Some("127.0.0.1:8300".to_owned()));
    handle.confirm_leadership(false).await.expect("lease");
    handle.confirm_leadership(true).await.expect("quorum of one");
    handle.shutdown().await;
    assert_eq!(handle.propose(put("c")).await, Err(Error::Stopped));
}
