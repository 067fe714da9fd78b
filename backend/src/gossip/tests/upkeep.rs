//! What a pool does from time to time: exchanging everything known, forgetting who is long gone. On a paused clock.
//!
//! Contract: cluster, section "Gossip", rows on push-pull and reaping.

use super::*;

/// So many pools that are one; of each how many exchanges it began from `from` to `upto` after its start.
async fn exchanges(count: u8, from: Duration, upto: Duration) -> Vec<usize> {
    let (hub, began) = (Hub::default(), clock::Instant::now());
    // Exchanges do not depend on packets: few of them take less time to simulate.
    let timing = Timing { probe_interval: Duration::from_secs(10), gossip_interval: Duration::from_secs(2), ..Timing::default() };
    let pools: Vec<_> = (1..=count)
        .map(|id| {
            let (options, counter) = (Options { timing, ..options(id) }, Arc::new(AtomicUsize::new(0)));
            let port = Arc::new(Counting { port: hub.open(options.bind), takes: Duration::ZERO, begun: counter.clone() });
            (start_with(options, Runtime::seeded(id.into(), 1_700_000_000_000), port).expect("starts"), counter)
        })
        .collect();
    for (handle, _) in &pools[1..] {
        handle.join(options(1).bind).await.expect("joins");
    }
    for (handle, _) in &pools {
        wait_for(handle, Duration::from_secs(30), |members| members.len() == usize::from(count)).await;
    }
    assert!(began.elapsed() <= from, "they are one only after {:?}", began.elapsed());
    let so_far = async |at: Duration| {
        clock::sleep_until(began + at).await;
        pools.iter().map(|(_, counter)| counter.load(Ordering::Relaxed)).collect::<Vec<_>>()
    };
    let (before, after) = (so_far(from).await, so_far(upto).await);
    before.into_iter().zip(after).map(|(before, after)| after - before).collect()
}

fn seconds(count: u64) -> Duration {
    Duration::from_secs(count)
}

#[tokio::test(start_paused = true)]
async fn everything_is_exchanged_every_five_seconds_at_first_and_then_every_thirty() {
    let first = exchanges(5, seconds(10), seconds(60)).await;
    assert!(first.iter().all(|count| (6..=20).contains(count)), "2.5 to 7.5 seconds apart: {first:?}");
    assert!((45..=55).contains(&first.iter().sum::<usize>()), "ten of each: {first:?}");
    // The last of the short pauses ends up to 7.5 s after the first minute.
    let later = exchanges(5, seconds(70), seconds(670)).await;
    assert!(later.iter().all(|count| *count == 20), "{later:?}");
}

#[tokio::test(start_paused = true)]
async fn the_larger_a_pool_the_more_seldom_each_member_exchanges() {
    for (members, expected) in [(32, 8), (33, 4)] {
        let counted = exchanges(members, seconds(100), seconds(340)).await;
        assert!(counted.iter().all(|count| *count == expected), "{members} members in four minutes: {counted:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn who_failed_and_who_left_is_forgotten_after_its_own_time_and_not_before() {
    let hub = Hub::default();
    let timeouts = |id| Options { reconnect_timeout: seconds(60), tombstone_timeout: seconds(30), ..options(id) };
    let pools: Vec<_> = (1..=4).map(|id| start_at(&hub, timeouts(id))).collect();
    for (handle, _) in &pools[1..] {
        handle.join(options(1).bind).await.expect("joins");
    }
    for (handle, _) in &pools {
        wait_for(handle, seconds(30), |members| members.len() == 4).await;
    }
    hub.close(options(3).bind);
    // Long gone are looked for every 15 s.
    let slack = seconds(16);
    let ends = [("node-4", 3, seconds(30)), ("node-3", 4, seconds(60))];
    let watching = ends.into_iter().flat_map(|end| pools[..2].iter().map(move |(handle, _)| (handle, end)));
    let watching = watching.map(|(handle, (name, status, kept))| async move {
        wait_for(handle, seconds(60), |members| members.contains(&(name.to_owned(), status))).await;
        let since = clock::Instant::now();
        wait_for(handle, kept + slack, |members| members.iter().all(|(other, _)| other != name)).await;
        assert!(since.elapsed() + Duration::from_millis(10) > kept, "{name} is forgotten after {:?}", since.elapsed());
    });
    // All at once: time passes for everybody.
    futures_util::future::join(pools[3].0.leave(), futures_util::future::join_all(watching)).await;
    // Nobody tells them back: of those that are forgotten nothing is exchanged.
    clock::sleep(seconds(300)).await;
    for (handle, _) in &pools[..2] {
        assert_eq!(handle.members().len(), 2, "{:?}", handle.members());
    }
    let defaults = Options::default();
    assert_eq!((defaults.reconnect_timeout, defaults.tombstone_timeout), (seconds(72 * 3600), seconds(24 * 3600)));
}
