//! A server whose disk was wiped, or put back to an older copy, and that comes back under its former id.

use super::*;

/// Wipes the disk of one of three servers after so many writes; the others go on, and it gets everything again.
async fn is_brought_up_to_date(writes: usize) {
    let (hub, mut servers) = mortals(13).await;
    let leader = servers[0].server.as_ref().expect("runs").0.clone();
    let keys: Vec<String> = (0..writes).map(|number| number.to_string()).collect();
    for key in &keys {
        leader.propose(put(key)).await.expect("leads");
    }
    let before = servers[2].server.as_ref().expect("runs").1.clone();
    wait_until("all have it", || keys.iter().all(|key| has(&before, key))).await;
    hub.crash(&mut servers[2], 3).await;
    servers[2].disk = faulty::Disk::new(&crate::rt::Rng::from_seed(14), Duration::from_millis(8));
    let (handle, store) = hub.start_on(3, false, &servers[2].disk).await;
    wait_until("it has everything again", || keys.iter().all(|key| has(&store, key))).await;
    leader.propose(put("after")).await.expect("still leads");
    wait_until("it goes on", || has(&store, "after")).await;
    handle.shutdown().await;
}

#[tokio::test(start_paused = true)]
async fn a_server_that_lost_its_log_is_brought_up_to_date_by_entries() {
    is_brought_up_to_date(5).await;
}

#[tokio::test(start_paused = true)]
async fn a_server_that_lost_its_log_is_brought_up_to_date_by_a_snapshot() {
    is_brought_up_to_date(100).await;
}
