//! The gossip world: pools that join, crash, leave and come back over a network that loses, delays and splits. Afterwards peace: everybody
//! has to find everybody, and last deaths and a last leave have to be known to all in time.

mod port;
mod world;

use std::{sync::Arc, time::Duration};

use tokio::time::{Instant, sleep, timeout};

use crate::{
    Bug, Outcome,
    invariants::{dead_is_known, gossip_converges, gossip_no_false_left},
    on_paused_time,
};
use world::World;

/// How long things go wrong.
const CHAOS: Duration = Duration::from_secs(40);
/// How long pools that were torn apart may take to be one again: members taken for dead are only tried now and then.
const ONE_AGAIN: Duration = Duration::from_secs(150);
/// How long 200 agents may take to be one pool.
const ONE_AT_FIRST: Duration = Duration::from_secs(30);
/// How long members that were late or wrong lately stay slow to accuse others: `gossip::pool`'s health gets better by a step a second.
const WARY: Duration = Duration::from_secs(10);
/// Every so many seeds: a large pool instead of a troubled one.
const LARGE_EVERY: u64 = 25;
const LARGE: usize = 200;

/// Values of a member's status.
const ALIVE: u8 = 1;
const LEFT: u8 = 3;
const FAILED: u8 = 4;

/// One run: a small pool in trouble, or now and then a large one in peace.
#[must_use]
pub fn run(seed: u64, bug: Option<Bug>, shown: bool) -> Outcome {
    let large = seed.is_multiple_of(LARGE_EVERY) && bug.is_none();
    on_paused_time(seed, async move {
        let world = World::new(seed, large.then_some(LARGE), bug, shown);
        let observer = tokio::spawn(observe(world.clone()));
        for at in 0..world.size() {
            world.start(at);
        }
        if large {
            converge(&world, ONE_AT_FIRST).await;
        } else if timeout(CHAOS, trouble(&world)).await.is_ok() {
            unreachable!("trouble never ends by itself");
        }
        world.trace.note("peace");
        world.heal().await;
        converge(&world, ONE_AGAIN).await;
        // Right after the trouble, then in a pool at rest.
        death(&world, world.size() - 1, dead_is_known::AFTER_TROUBLE).await;
        sleep(WARY).await;
        death(&world, world.size() - 3, dead_is_known::bound(world.size())).await;
        last_leave(&world).await;
        observer.abort();
        outcome(&world)
    })
}

fn outcome(world: &World) -> Outcome {
    let (hash, events) = world.trace.result();
    let evidence = world.evidence();
    let counts = vec![
        ("members", world.size() as u64),
        ("crashes", evidence.crashes),
        ("leaves", evidence.leaves),
        ("slowest news of a death or leave, ms", evidence.deaths.longest_ms()),
        ("slowest news of a death after trouble, ms", evidence.deaths.after_trouble_ms()),
        ("one again after, ms", evidence.one_after_ms),
    ];
    let verdicts = vec![
        (gossip_converges::NAME, evidence.convergence.verdict()),
        (gossip_no_false_left::NAME, evidence.departures.verdict()),
        (dead_is_known::NAME, evidence.deaths.verdict()),
    ];
    Outcome { hash, events, counts, verdicts }
}

async fn observe(world: Arc<World>) {
    loop {
        world.look_at_all();
        sleep(Duration::from_millis(100)).await;
    }
}

/// Goes on for ever.
async fn trouble(world: &Arc<World>) {
    let between = |least_ms: u64, most_ms: u64| Duration::from_millis(least_ms + world.rng.below(most_ms - least_ms));
    loop {
        sleep(between(100, 2500)).await;
        let at = usize::try_from(world.rng.below(world.size() as u64)).unwrap_or(0);
        match world.rng.below(8) {
            0..3 => come_back(world, at, between(10, 15_000), true),
            3 => come_back(world, at, between(10, 15_000), false),
            4 => {
                let side: Vec<usize> = (0..world.size()).filter(|_| world.rng.below(2) == 0).collect();
                world.trace.note(&format!("split off {side:?}"));
                world.links.split(&side, world.size());
                sleep(between(500, 20_000)).await;
                world.links.heal();
            }
            5 => {
                world.trace.note(&format!("{at} is not heard"));
                world.links.isolate(at, world.size(), true, world.rng.below(2) == 0);
                sleep(between(500, 15_000)).await;
                world.links.heal();
            }
            6 => world.links.lose(world.rng.below(250)),
            _ => world.links.slow(at),
        }
    }
}

/// Somebody crashes or leaves, and starts again after a while.
fn come_back(world: &Arc<World>, at: usize, away: Duration, crash: bool) {
    let absent = world.clone();
    world.expect(tokio::spawn(async move {
        if crash {
            absent.crash(at);
        } else {
            absent.leave(at).await;
        }
        sleep(away).await;
        absent.start(at);
    }));
}

/// Waits until everybody who lives sees exactly those who live.
async fn converge(world: &Arc<World>, within: Duration) {
    let began = Instant::now();
    loop {
        let differing = world.not_converged();
        let Some((viewer, what)) = differing else { break };
        if began.elapsed() > within {
            return world.evidence().convergence.late(|| format!("after {within:?} {viewer} still {what}"));
        }
        sleep(Duration::from_millis(50)).await;
    }
    world.evidence().one_after_ms = u64::try_from(began.elapsed().as_millis()).unwrap_or(u64::MAX);
}

/// One more crash, in a quiet network.
async fn death(world: &Arc<World>, at: usize, bound: Duration) {
    world.crash(at);
    known(world, at, FAILED, "dead", bound).await;
}

/// And one more leave.
async fn last_leave(world: &Arc<World>) {
    let at = world.size() - 2;
    world.leave(at).await;
    known(world, at, LEFT, "gone", dead_is_known::bound(world.size())).await;
}

async fn known(world: &Arc<World>, at: usize, status: u8, what: &str, bound: Duration) {
    let began = Instant::now();
    while let Some(viewer) = world.somebody_without(at, status) {
        if began.elapsed() > bound {
            let views = world.views_of(at).await;
            return world.evidence().deaths.unknown(|| format!("{viewer} does not know that node {at} is {what} after {bound:?}; {views}"));
        }
        sleep(Duration::from_millis(10)).await;
    }
    world.evidence().deaths.known(began.elapsed(), bound);
}
