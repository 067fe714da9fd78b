//! One cluster of this release and of a later one, whose messages, answers and entries have fields that are not known here.
//!
//! Contract: cluster, section "Upgrades and versions".

use super::*;

/// Writes so many keys; whoever leads takes them.
async fn write(servers: &[(Handle, Arc<Store>)], name: &str) {
    for number in 0..50 {
        propose_to_whoever_leads(servers, &put(&format!("{name}/{number}"))).await;
    }
}

fn have(servers: &[(Handle, Arc<Store>)], name: &str) -> bool {
    servers.iter().all(|(_, store)| (0..50).all(|number| has(store, &format!("{name}/{number}"))))
}

/// Makes this server the leader; on a busy machine that may take more than one attempt.
async fn hand_over(servers: &[(Handle, Arc<Store>)], to: usize) {
    let id = options(u8::try_from(to + 1).expect("fits")).node_id;
    let deadline = clock::Instant::now() + SOON;
    while !servers[to].0.leads() {
        assert!(clock::Instant::now() < deadline, "{:?}", servers[to].0.status());
        for (handle, _) in servers.iter().filter(|(handle, _)| handle.leads()) {
            // Refused while it is still under way.
            drop(handle.transfer_leader(Some(&id)).await);
        }
        clock::sleep(Duration::from_millis(20)).await;
    }
}

async fn check_releases(newer: &[&str]) {
    let hub = Hub::default();
    hub.0.lock().unwrap_or_else(PoisonError::into_inner).newer = newer.iter().map(|address| (*address).to_owned()).collect();
    // The log is soon gone: who was away gets a snapshot.
    let servers = cluster(&hub, |options| Options { snapshot_threshold: 20, trailing_logs: 0, ..options }).await;
    write(&servers, "first").await;
    wait_until("everybody has what the first wrote", || have(&servers, "first")).await;
    // The second leads, and the third is away while it does.
    hand_over(&servers, 1).await;
    hub.cut("127.0.0.3:8300", true);
    write(&servers[..2], "second").await;
    wait_until("the log is gone", || purged(&servers[1].0) > servers[2].0.status().last_index).await;
    hub.cut("127.0.0.3:8300", false);
    wait_until("everybody has what the second wrote", || have(&servers, "second")).await;
    // The second dies; one of another release takes over from it.
    hub.cut("127.0.0.2:8300", true);
    let others = [servers[0].clone(), servers[2].clone()];
    wait_until("another leads", || others.iter().any(|(handle, _)| handle.leads())).await;
    write(&others, "third").await;
    hub.cut("127.0.0.2:8300", false);
    wait_until("everybody has everything", || ["first", "second", "third"].iter().all(|name| have(&servers, name))).await;
    let added = hub.0.lock().unwrap_or_else(PoisonError::into_inner).added;
    // Each of 50 writes that a newer leader sends has more than one; how many messages there are is up to chance.
    assert!(added > 100, "{added} fields were added");
    for (handle, _) in servers {
        handle.shutdown().await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn servers_of_two_releases_write_lead_and_take_over_from_each_other() {
    // The one that leads midway is the only newer one, then the only older one.
    check_releases(&["127.0.0.2:8300"]).await;
    check_releases(&["127.0.0.1:8300", "127.0.0.3:8300"]).await;
}
