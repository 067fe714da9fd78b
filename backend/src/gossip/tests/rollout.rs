//! Pools that are changed one member after the other, and members that tell much of themselves.
//!
//! Contract: cluster, sections "Gossip" and "Keyring".

use super::*;

fn key() -> Vec<Vec<u8>> {
    vec![vec![7; 16]]
}

/// The steps of a roll-out of encryption: no key, a key that opens, one that also seals, one without which nothing is heard.
fn step(id: u8, number: usize) -> Options {
    let (keys, verify_incoming, verify_outgoing) = match number {
        0 => (Vec::new(), true, true),
        1 => (key(), false, false),
        2 => (key(), false, true),
        _ => (key(), true, true),
    };
    let known = (1..=4).filter(|other| *other != id).map(|other| options(other).bind).collect();
    Options { keys, verify_incoming, verify_outgoing, known, ..options(id) }
}

/// Starts a member, at whatever time it is.
fn started(hub: &Hub, options: Options, began: clock::Instant) -> (Handle, Runtime) {
    let now = 1_700_000_000_000 + u64::try_from(began.elapsed().as_millis()).expect("fits");
    let runtime = Runtime::seeded(u64::from(options.bind.port()) + now, now);
    let transport = hub.open(options.bind);
    (start_with(options, runtime.clone(), transport).expect("starts"), runtime)
}

#[tokio::test(start_paused = true)]
async fn encryption_is_rolled_out_one_member_after_the_other_without_losing_anybody() {
    let (hub, began) = (Hub::default(), clock::Instant::now());
    let mut pools: Vec<_> = (1..=4).map(|id| started(&hub, step(id, 0), began)).collect();
    let all_alive = |members: &[(String, u8)]| members.len() == 4 && members.iter().all(|(_, status)| *status == 1);
    for number in 1..=3 {
        for at in 0..4 {
            for (handle, _) in &pools {
                wait_for(handle, Duration::from_secs(30), all_alive).await;
            }
            pools[at].1.tasks.shutdown().trigger();
            // The others do not miss it yet.
            clock::sleep(Duration::from_millis(200)).await;
            pools[at] = started(&hub, step(u8::try_from(at + 1).expect("fits"), number), began);
        }
        // In each mixture there was and from here on everybody is heard: over packets, too, where there is nobody to accuse.
        for (handle, _) in &pools {
            wait_for(handle, Duration::from_secs(30), all_alive).await;
        }
        let before = accusations(&pools).await;
        clock::sleep(Duration::from_secs(60)).await;
        assert_eq!(accusations(&pools).await, before, "step {number}");
        for (handle, _) in &pools {
            wait_for(handle, Duration::ZERO, all_alive).await;
            let detail = handle.detail().await;
            assert_eq!((detail.encrypted, detail.keys), (true, 1));
        }
    }
    // Now nothing else is heard: neither who has no key nor who has it and does not seal.
    for number in [0, 1] {
        let (late, _) = started(&hub, Options { node_name: "late".to_owned(), known: Vec::new(), ..step(5, number) }, began);
        let error = late.join(options(1).bind).await.expect_err("not sealed");
        assert!(error.contains("another gossip key"), "{error}");
    }
}

async fn accusations(pools: &[(Handle, Runtime)]) -> Vec<u64> {
    let mut found = Vec::new();
    for (handle, _) in pools {
        found.push(handle.detail().await.accusations);
    }
    found
}

/// As much as a member may tell of itself: with it in the identity a pool never forms.
#[tokio::test(start_paused = true)]
async fn members_with_forty_tags_become_one_pool_and_know_them_all() {
    let hub = Hub::default();
    let tagged = |id: u8| {
        let tags = (0..40).map(|tag| (format!("tag-{tag:02}"), format!("{id:02}/{tag:02}/{}", "v".repeat(13)))).collect();
        Options { tags, ..options(id) }
    };
    let began = clock::Instant::now();
    let pools: Vec<_> = (1..=20).map(|id| start_at(&hub, tagged(id))).collect();
    for (handle, _) in &pools[1..] {
        handle.join(options(1).bind).await.expect("joins");
    }
    for (handle, _) in &pools {
        let mut members = handle.subscribe();
        let all = |members: &Arc<Vec<Member>>| {
            let is_whole = |member: &Member| (1..=20).any(|id| member.name == format!("node-{id}") && member.tags == tagged(id).tags);
            members.len() == 20 && members.iter().all(|member| member.status == 1 && is_whole(member))
        };
        let known = clock::timeout(Duration::from_secs(30), members.wait_for(all)).await;
        assert!(known.is_ok(), "{:?}", handle.members().iter().map(|member| (&member.name, member.tags.len())).collect::<Vec<_>>());
    }
    println!("20 members with 40 tags know each other after {:?}", began.elapsed());
    // Whoever dies is missed as quickly as without them.
    hub.close(options(20).bind);
    let lost = clock::Instant::now();
    for (handle, _) in &pools[..19] {
        wait_for(handle, Duration::from_secs(10), |members| members.contains(&("node-20".to_owned(), 4))).await;
    }
    assert!(lost.elapsed() < Duration::from_secs(9), "{:?}", lost.elapsed());
}
