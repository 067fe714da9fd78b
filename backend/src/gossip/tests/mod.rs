//! Pools: one alone on sockets, several in memory under a paused clock.

mod releases;
mod rollout;
mod upkeep;

use std::{
    sync::atomic::{AtomicUsize, Ordering},
    time::Duration,
};

use super::*;
use crate::rt::clock;

fn options(id: u8) -> Options {
    let address = SocketAddr::from(([127, 0, 0, id], 8301));
    Options {
        node_id: uuid::Uuid::from_u128(u128::from(id)).to_string(),
        node_name: format!("node-{id}"),
        bind: address,
        advertise: address,
        tags: BTreeMap::from([("role".to_owned(), "consul".to_owned()), ("dc".to_owned(), "dc1".to_owned())]),
        datacenter: "dc1".to_owned(),
        ..Options::default()
    }
}

/// Waits until the members are as wanted; names with their status.
async fn wait_for(handle: &Handle, longest: Duration, wanted: impl Fn(&[(String, u8)]) -> bool) -> Vec<(String, u8)> {
    let mut members = handle.subscribe();
    let shown = |members: &[Member]| members.iter().map(|member| (member.name.clone(), member.status)).collect::<Vec<_>>();
    let arrived = clock::timeout(longest, members.wait_for(|members| wanted(&shown(members)))).await;
    let now = shown(&handle.members());
    assert!(arrived.is_ok(), "still {now:?} after {longest:?}");
    now
}

#[tokio::test]
async fn a_single_server_is_a_pool_of_one() {
    let runtime = Runtime::system();
    let mut options = options(1);
    options.bind.set_port(0);
    let handle = start(options, runtime.clone()).await.expect("starts");
    let members = handle.members();
    assert_eq!(members.len(), 1);
    let me = &members[0];
    assert_eq!((me.name.as_str(), me.addr.as_str(), me.port, me.status), ("node-1", "127.0.0.1", 8301, 1));
    let protocols = [me.protocol_min, me.protocol_max, me.protocol_cur, me.delegate_min, me.delegate_max, me.delegate_cur];
    assert_eq!(protocols, [1, 5, 2, 2, 5, 4]);
    assert_eq!(me.tags["dc"], "dc1");
    assert!(runtime.tasks.stop(Duration::from_secs(5)).await, "ends at shutdown");
}

#[tokio::test]
async fn a_taken_address_is_named() {
    let runtime = Runtime::system();
    let mut options = options(1);
    let taken = crate::rt::net::listen(SocketAddr::from(([127, 0, 0, 1], 0))).await.expect("listens");
    options.bind = taken.local_addr().expect("has an address");
    let error = start(options.clone(), runtime).await.expect_err("refused");
    assert!(error.to_string().starts_with(&format!("failed to start gossip listener on {}: ", options.bind)), "{error}");
}

#[tokio::test(start_paused = true)]
async fn five_pools_become_one_and_a_lost_member_is_declared_failed() {
    let hub = Hub::default();
    let runtimes: Vec<Runtime> = (1..=5).map(|seed| Runtime::seeded(seed, 1_700_000_000_000)).collect();
    let handles: Vec<Handle> = (1..=5_u8)
        .map(|id| start_with(options(id), runtimes[usize::from(id) - 1].clone(), hub.open(options(id).bind)).expect("starts"))
        .collect();
    for handle in &handles[1..] {
        handle.join(options(1).bind).await.expect("joins");
    }
    for handle in &handles {
        let all = wait_for(handle, Duration::from_secs(60), |members| members.len() == 5).await;
        assert!(all.iter().all(|(_, status)| *status == 1), "{all:?}");
    }
    hub.cut(options(5).bind);
    for handle in &handles[..4] {
        wait_for(handle, Duration::from_secs(60), |members| members.contains(&("node-5".to_owned(), 4))).await;
    }
    // Back again: it finds out that it was declared failed and comes back as a new incarnation.
    hub.heal(options(5).bind);
    handles[4].join(options(1).bind).await.expect("joins again");
    for handle in &handles {
        wait_for(handle, Duration::from_secs(120), |members| members.len() == 5 && members.iter().all(|(_, status)| *status == 1)).await;
    }
}

#[tokio::test(start_paused = true)]
async fn joining_nobody_says_so() {
    let hub = Hub::default();
    let handle = start_with(options(1), Runtime::seeded(1, 1), hub.open(options(1).bind)).expect("starts");
    let error = handle.join(options(9).bind).await.expect_err("nobody there");
    assert_eq!(error, "dial tcp 127.0.0.9:8301: 127.0.0.9:8301 cannot be reached");
}

fn start_at(hub: &Hub, options: Options) -> (Handle, Runtime) {
    let runtime = Runtime::seeded(u64::from_str_radix(&options.node_id[30..], 16).unwrap_or(1), 1_700_000_000_000);
    let transport = hub.open(options.bind);
    (start_with(options, runtime.clone(), transport).expect("starts"), runtime)
}

#[tokio::test(start_paused = true)]
async fn who_is_all_alone_finds_those_that_left_and_came_back_without_knowing_it() {
    let hub = Hub::default();
    let (stays, _) = start_at(&hub, options(2));
    let (leaves, runtime) = start_at(&hub, options(1));
    stays.join(options(1).bind).await.expect("joins");
    wait_for(&leaves, Duration::from_secs(60), |members| members.len() == 2).await;
    leaves.leave().await;
    wait_for(&stays, Duration::from_secs(60), |members| members.contains(&("node-1".to_owned(), 3))).await;
    runtime.tasks.shutdown().trigger();
    let (back, _) = start_at(&hub, options(1));
    for handle in [&stays, &back] {
        wait_for(handle, Duration::from_secs(60), |members| members.len() == 2 && members.iter().all(|(_, status)| *status == 1)).await;
    }
}

#[tokio::test(start_paused = true)]
async fn who_leaves_is_told_from_who_fails_and_can_be_declared_gone() {
    let hub = Hub::default();
    let pools: Vec<_> = (1..=4).map(|id| start_at(&hub, options(id))).collect();
    for (handle, _) in &pools[1..] {
        handle.join(options(1).bind).await.expect("joins");
    }
    for (handle, _) in &pools {
        wait_for(handle, Duration::from_secs(60), |members| members.len() == 4).await;
    }
    pools[3].0.leave().await;
    hub.cut(options(3).bind);
    for (handle, _) in &pools[..2] {
        let gone = [("node-3".to_owned(), 4), ("node-4".to_owned(), 3)];
        wait_for(handle, Duration::from_secs(60), |members| gone.iter().all(|one| members.contains(one))).await;
    }
    let unknown = pools[0].0.force_leave("nobody", false).await.expect_err("unknown");
    assert_eq!(unknown, "agent: No node found with name 'nobody'");
    pools[0].0.force_leave("node-3", false).await.expect("known");
    for (handle, _) in &pools[..2] {
        wait_for(handle, Duration::from_secs(60), |members| members.contains(&("node-3".to_owned(), 3))).await;
    }
    pools[0].0.force_leave("node-3", true).await.expect("known");
    for (handle, _) in &pools[..2] {
        wait_for(handle, Duration::from_secs(60), |members| members.iter().all(|(name, _)| name != "node-3")).await;
    }
    // It lives after all: it refutes what was said of it.
    hub.heal(options(3).bind);
    pools[2].0.join(options(1).bind).await.expect("joins again");
    wait_for(&pools[1].0, Duration::from_secs(120), |members| members.contains(&("node-3".to_owned(), 1))).await;
}

/// A port that counts the exchanges begun there, each of which takes a while to get to the other side.
struct Counting {
    port: Arc<dyn Transport>,
    takes: Duration,
    begun: Arc<AtomicUsize>,
}

#[async_trait::async_trait]
impl Transport for Counting {
    async fn send(&self, to: SocketAddr, packet: &[u8]) -> std::io::Result<()> {
        self.port.send(to, packet).await
    }

    async fn receive(&self) -> (Vec<u8>, SocketAddr) {
        self.port.receive().await
    }

    async fn exchange(&self, with: SocketAddr, ours: Vec<u8>) -> std::io::Result<Vec<u8>> {
        self.begun.fetch_add(1, Ordering::Relaxed);
        clock::sleep(self.takes).await;
        self.port.exchange(with, ours).await
    }

    async fn accept(&self) -> Exchange {
        self.port.accept().await
    }
}

#[tokio::test(start_paused = true)]
async fn who_has_left_does_not_come_back_by_an_exchange_that_was_under_way() {
    let hub = Hub::default();
    let (first, _) = start_at(&hub, options(1));
    let slow = Arc::new(Counting { port: hub.open(options(2).bind), takes: Duration::from_millis(1500), begun: Arc::default() });
    let second = start_with(options(2), Runtime::seeded(2, 1_700_000_000_000), slow).expect("starts");
    second.join(options(1).bind).await.expect("joins");
    wait_for(&first, Duration::from_secs(10), |members| members.contains(&("node-2".to_owned(), 1))).await;
    let (late, ()) = tokio::join!(second.join(options(1).bind), second.leave());
    assert_eq!(late.expect_err("it left meanwhile"), "this agent is leaving");
    assert_eq!(second.join(options(1).bind).await.expect_err("it left"), "this agent is leaving");
    wait_for(&first, Duration::from_secs(10), |members| members.contains(&("node-2".to_owned(), 3))).await;
    // As long as its process lives.
    let mut members = first.subscribe();
    let back = |members: &Arc<Vec<Member>>| members.iter().any(|member| member.name == "node-2" && member.status != 3);
    assert!(clock::timeout(Duration::from_secs(20), members.wait_for(back)).await.is_err(), "{:?}", first.members());
}

#[tokio::test(start_paused = true)]
async fn strangers_are_refused_with_the_reason() {
    let hub = Hub::default();
    let key = vec![1_u8; 16];
    let (first, _) = start_at(&hub, Options { keys: vec![key.clone()], ..options(1) });
    let refused = async |other: Options| {
        let (handle, _) = start_at(&hub, other);
        handle.join(options(1).bind).await.expect_err("refused")
    };
    assert!(refused(Options { keys: vec![vec![2; 16]], ..options(2) }).await.contains("another gossip key"));
    assert!(refused(options(3)).await.contains("another gossip key"), "not encrypted at all");
    let far = Options { keys: vec![key.clone()], datacenter: "dc2".to_owned(), ..options(4) };
    assert_eq!(refused(far).await, "Member 'node-4' part of wrong datacenter 'dc2'");
    let twin = Options { keys: vec![key.clone()], node_name: "node-1".to_owned(), ..options(5) };
    assert!(refused(twin).await.contains("Member 'node-1' has the name of"));
    let same_id = Options { keys: vec![key], node_id: options(1).node_id, ..options(6) };
    assert!(refused(same_id).await.contains("conflicting node ID"));
    assert_eq!(first.members().len(), 1);
}

#[tokio::test(start_paused = true)]
async fn clusters_formed_on_their_own_are_never_merged() {
    let hub = Hub::default();
    let server = |id: u8, cluster: &str| Options { cluster: cluster.to_owned(), ..options(id) };
    let (ours, _) = start_at(&hub, server(1, "aaaa"));
    let (theirs, _) = start_at(&hub, server(2, "bbbb"));
    let why = "Member 'node-2' is of another cluster: server 'node-2' belongs to cluster bbbb, server 'node-1' to cluster aaaa";
    let error = theirs.join(options(1).bind).await.expect_err("refused");
    assert!(error.starts_with(why) && error.contains("empty its data directory"), "{error}");
    // The one who is asked says the same of the one who asks.
    let (client, _) = start_at(&hub, options(3));
    client.join(options(2).bind).await.expect("a client belongs to no cluster yet");
    let error = client.join(options(1).bind).await.expect_err("now it does");
    assert!(error.contains("Member 'node-3' is of another cluster: server 'node-2' belongs to cluster bbbb"), "{error}");
    let error = ours.join(options(3).bind).await.expect_err("from this side too");
    assert!(error.contains("server 'node-1' belongs to cluster aaaa"), "{error}");
    assert_eq!((ours.members().len(), theirs.members().len()), (1, 2));
    // A server that is named while it is a member stays one.
    let (fresh, _) = start_at(&hub, options(4));
    fresh.join(options(1).bind).await.expect("a fresh server belongs to none");
    fresh.set_cluster("aaaa".to_owned()).await;
    wait_for(&ours, Duration::from_secs(10), |members| members.len() == 2).await;
    assert_eq!(fresh.detail().await.cluster, "aaaa");
}

#[tokio::test(start_paused = true)]
async fn the_name_of_a_member_that_failed_is_kept_for_a_while() {
    let hub = Hub::default();
    let (first, _) = start_at(&hub, options(1));
    let (second, _) = start_at(&hub, options(2));
    second.join(options(1).bind).await.expect("joins");
    hub.close(options(2).bind);
    wait_for(&first, Duration::from_secs(20), |members| members.contains(&("node-2".to_owned(), 4))).await;
    let heir = Options { node_name: "NODE-2".to_owned(), ..options(3) };
    let (heir, _) = start_at(&hub, heir);
    let error = heir.join(options(1).bind).await.expect_err("too soon");
    assert!(error.contains("a member that failed") && error.contains("127.0.0.2:8301"), "{error}");
    clock::sleep(Duration::from_secs(31)).await;
    heir.join(options(1).bind).await.expect("may have it now");
    let all = wait_for(&first, Duration::from_secs(10), |members| members.contains(&("NODE-2".to_owned(), 1))).await;
    assert_eq!(all.len(), 2, "the dead one is not shown any more: {all:?}");
}

#[tokio::test(start_paused = true)]
async fn of_two_that_take_a_name_at_once_the_first_is_shown() {
    let hub = Hub::default();
    let (first, _) = start_at(&hub, options(1));
    let (second, _) = start_at(&hub, options(2));
    let twin = |id: u8| Options { node_name: "twin".to_owned(), ..options(id) };
    let (third, _) = start_at(&hub, twin(3));
    clock::sleep(Duration::from_secs(1)).await;
    let late = Runtime::seeded(4, 1_700_000_001_000);
    let fourth = start_with(twin(4), late, hub.open(options(4).bind)).expect("starts");
    third.join(options(1).bind).await.expect("nobody has the name here");
    fourth.join(options(2).bind).await.expect("nor here");
    first.join(options(2).bind).await.expect("joins");
    for pool in [&first, &second] {
        wait_for(pool, Duration::from_secs(10), |members| members.len() == 3).await;
        let members = pool.members();
        let twin = members.iter().find(|member| member.name == "twin").expect("shown");
        assert_eq!(twin.addr, "127.0.0.3");
    }
}

#[tokio::test(start_paused = true)]
async fn tags_reach_everybody_and_members_of_the_last_run_are_tried() {
    let hub = Hub::default();
    let (first, _) = start_at(&hub, options(1));
    let (second, _) = start_at(&hub, Options { known: vec![options(1).bind], ..options(2) });
    wait_for(&second, Duration::from_secs(60), |members| members.len() == 2).await;
    first.set_tags(BTreeMap::from([("role".to_owned(), "new".to_owned())])).await;
    let mut members = second.subscribe();
    let told = |members: &Arc<Vec<Member>>| members.iter().any(|member| member.name == "node-1" && member.tags["role"] == "new");
    clock::timeout(Duration::from_secs(60), members.wait_for(told)).await.expect("told").expect("runs");
}

/// So many pools that know each other.
async fn joined(hub: &Hub, count: u8) -> Vec<(Handle, Runtime)> {
    let pools: Vec<_> = (1..=count).map(|id| start_at(hub, options(id))).collect();
    for (handle, _) in &pools[1..] {
        handle.join(options(1).bind).await.expect("joins");
    }
    for (handle, _) in &pools {
        let all = |members: &[(String, u8)]| members.len() == usize::from(count) && members.iter().all(|(_, status)| *status == 1);
        wait_for(handle, Duration::from_secs(60), all).await;
    }
    pools
}

#[tokio::test(start_paused = true)]
async fn two_hundred_pools_become_one() {
    let hub = Hub::default();
    let began = clock::Instant::now();
    let pools = joined(&hub, 200).await;
    assert!(began.elapsed() < Duration::from_secs(30), "{:?}", began.elapsed());
    hub.cut(options(200).bind);
    let lost = clock::Instant::now();
    for (handle, _) in &pools[..199] {
        wait_for(handle, Duration::from_secs(60), |members| members.contains(&("node-200".to_owned(), 4))).await;
    }
    assert!(lost.elapsed() < Duration::from_secs(20), "{:?}", lost.elapsed());
}

#[tokio::test(start_paused = true)]
async fn a_killed_process_is_known_soon_and_nobody_else_is_accused() {
    let hub = Hub::default();
    let pools = joined(&hub, 50).await;
    clock::sleep(Duration::from_secs(5)).await;
    hub.close(options(50).bind);
    let lost = clock::Instant::now();
    let suspect = loop {
        let view = pools[0].0.detail().await;
        if let Some(member) = view.members.into_iter().find(|member| member.status == "suspect") {
            break member;
        }
        assert!(lost.elapsed() < Duration::from_secs(7), "nobody was suspected");
        clock::sleep(Duration::from_millis(50)).await;
    };
    assert!(suspect.name == "node-50" && u128::from(suspect.since_ms) <= lost.elapsed().as_millis(), "{suspect:?}");
    for (handle, _) in &pools[..49] {
        wait_for(handle, Duration::from_secs(60), |members| members.contains(&("node-50".to_owned(), 4))).await;
    }
    println!("all know after {:?}", lost.elapsed());
    assert!(lost.elapsed() < Duration::from_secs(7), "{:?}", lost.elapsed());
    for (handle, _) in &pools[..49] {
        let failed = handle.members().iter().filter(|member| member.status != 1).count();
        let detail = handle.detail().await;
        assert_eq!((failed, detail.refuted), (1, 0));
        // Who said so is still told, and of nobody else.
        for member in &detail.members {
            assert!(member.accused_by.is_empty() || member.name == "node-50", "{member:?}");
            assert!(member.accused_by.iter().all(|by| by.starts_with("node-") && by != "node-50"), "{member:?}");
        }
    }
    let told = futures_util::future::join_all(pools[..49].iter().map(|(handle, _)| handle.detail())).await;
    let heard = told.iter().filter(|pool| pool.members.iter().any(|member| !member.accused_by.is_empty())).count();
    assert!(heard > 40, "only {heard} of 49 heard who accused it");
}

#[tokio::test(start_paused = true)]
async fn with_every_fifth_packet_lost_nobody_is_declared_failed_or_left() {
    let hub = Hub::default();
    let pools = joined(&hub, 25).await;
    hub.lose(20, 7);
    let minutes = clock::Instant::now() + Duration::from_secs(90);
    let watching = pools.iter().map(|(handle, _)| async move {
        let mut members = handle.subscribe();
        let wrong = |members: &Arc<Vec<Member>>| members.iter().any(|member| member.status != 1);
        let seen = clock::timeout(minutes.duration_since(clock::Instant::now()), members.wait_for(wrong)).await;
        assert!(seen.is_err(), "{:?}", handle.members().iter().filter(|member| member.status != 1).collect::<Vec<_>>());
    });
    futures_util::future::join_all(watching).await;
    // Accusations there were, all of them refuted.
    let details = futures_util::future::join_all(pools.iter().map(|(handle, _)| handle.detail())).await;
    println!("{} accusations in 90 s", details.iter().map(|pool| pool.accusations).sum::<u64>());
    assert!(details.iter().any(|pool| pool.accusations > 0), "the loss was felt");
}

#[tokio::test(start_paused = true)]
async fn a_partition_parts_the_pool_and_heals() {
    let hub = Hub::default();
    let pools = joined(&hub, 20).await;
    let far: Vec<_> = (11..=20).map(|id| options(id).bind).collect();
    hub.part(&far);
    let others_failed = |members: &[(String, u8)]| {
        assert!(members.iter().all(|(_, status)| *status == 1 || *status == 4), "nobody left: {members:?}");
        members.iter().filter(|(_, status)| *status == 4).count() == 10
    };
    for (handle, _) in &pools {
        wait_for(handle, Duration::from_secs(60), others_failed).await;
    }
    hub.rejoin();
    let healed = clock::Instant::now();
    for (handle, _) in &pools {
        wait_for(handle, Duration::from_secs(90), |members| members.iter().all(|(_, status)| *status == 1)).await;
    }
    println!("healed after {:?}", healed.elapsed());
}

#[tokio::test(start_paused = true)]
async fn who_cannot_be_reached_by_packets_refutes_on_the_stream() {
    let hub = Hub::default();
    let pools = joined(&hub, 4).await;
    hub.lose(100, 1);
    clock::sleep(Duration::from_secs(60)).await;
    for (handle, _) in &pools {
        let members = handle.members();
        assert!(members.iter().all(|member| member.status == 1), "{members:?}");
        assert!(handle.detail().await.refuted > 0);
    }
}
