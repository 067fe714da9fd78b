//! Pools: one alone on sockets, several in memory under a paused clock.

use std::time::Duration;

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

#[tokio::test(start_paused = true)]
async fn two_hundred_pools_become_one() {
    let hub = Hub::default();
    let began = clock::Instant::now();
    let pools: Vec<_> = (1..=200).map(|id| start_at(&hub, options(id))).collect();
    for (handle, _) in &pools[1..] {
        handle.join(options(1).bind).await.expect("joins");
    }
    for (handle, _) in &pools {
        wait_for(handle, Duration::from_secs(60), |members| members.len() == 200 && members.iter().all(|(_, status)| *status == 1)).await;
    }
    assert!(began.elapsed() < Duration::from_secs(30), "{:?}", began.elapsed());
    hub.cut(options(200).bind);
    let lost = clock::Instant::now();
    for (handle, _) in &pools[..199] {
        wait_for(handle, Duration::from_secs(60), |members| members.contains(&("node-200".to_owned(), 4))).await;
    }
    assert!(lost.elapsed() < Duration::from_secs(20), "{:?}", lost.elapsed());
}
