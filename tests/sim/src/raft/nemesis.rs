//! What goes wrong, one trouble after another, some at the same time: machines, networks, and operators who move leadership and members
//! about meanwhile.

use std::{sync::Arc, time::Duration};

use tokio::time::sleep;

use super::world::{Life, World, peer};

/// Goes on for ever.
pub(super) async fn run(world: Arc<World>) {
    loop {
        sleep(between(&world, 50, 900)).await;
        match world.rng.below(100) {
            0..12 => lose_machine(&world, anybody(&world), between(&world, 1, 3000)).await,
            12..24 => lose_leader(&world).await,
            24..29 => lose_all(&world).await,
            29..39 => split(&world).await,
            39..51 => isolate_leader(&world).await,
            51..66 => transfer_and_isolate(&world).await,
            66..74 => drop(tokio::spawn(transfer(world.clone()))),
            74..79 => bad_network(&world).await,
            79..85 => stall_disks(&world).await,
            _ => drop(tokio::spawn(change_members(world.clone()))),
        }
    }
}

/// What every leader has to do beside its work: finish what a former one left half done.
pub(super) async fn lead_well(world: Arc<World>) {
    loop {
        sleep(Duration::from_millis(500)).await;
        if let Some(leader) = world.leader() {
            // It may lose leadership or crash meanwhile: the next one tries again.
            let _ = within_life(&leader, leader.handle.settle()).await;
        }
    }
}

fn between(world: &World, least_ms: u64, most_ms: u64) -> Duration {
    Duration::from_micros(1000 * least_ms + world.rng.below(1000 * (most_ms - least_ms)))
}

fn anybody(world: &World) -> usize {
    usize::try_from(world.rng.below(world.size() as u64)).unwrap_or(0)
}

/// What an operator asks of a server, as long as that lives.
async fn within_life<T>(life: &Life, asked: impl Future<Output = Result<T, backend::raft::Error>>) -> Result<T, backend::raft::Error> {
    tokio::select! {
        biased;
        () = life.ended() => Err(backend::raft::Error::Stopped),
        answer = asked => answer,
    }
}

/// A crash, and after a while the machine comes back by itself.
async fn lose_machine(world: &Arc<World>, at: usize, away: Duration) {
    world.crash(at);
    let back = {
        let world = world.clone();
        async move {
            sleep(away).await;
            world.start(at).await;
        }
    };
    // Other trouble may come before it is back, or not.
    let returning = tokio::spawn(back);
    if world.rng.below(2) == 0 {
        returning.await.expect("a start does not panic");
    }
}

async fn lose_leader(world: &Arc<World>) {
    if let Some(leader) = world.leader() {
        lose_machine(world, leader.at, between(world, 1, 3000)).await;
    }
}

/// The power goes, and comes back for each at its time.
async fn lose_all(world: &Arc<World>) {
    for at in 0..world.size() {
        world.crash(at);
    }
    for at in 0..world.size() {
        sleep(between(world, 1, 300)).await;
        world.start(at).await;
    }
}

async fn split(world: &Arc<World>) {
    let side: Vec<usize> = (0..world.size()).filter(|_| world.rng.below(2) == 0).collect();
    world.trace.note(&format!("split off {side:?}"));
    world.evidence().count("partitions");
    world.links.split(&side, world.size());
    sleep(between(world, 100, 4000)).await;
    world.links.heal();
}

/// The leader hears nobody, or is not heard, or both.
async fn isolate_leader(world: &Arc<World>) {
    let Some(leader) = world.leader() else { return };
    let (outwards, inwards) = [(true, true), (true, false), (false, true)][usize::try_from(world.rng.below(3)).unwrap_or(0)];
    isolate(world, leader.at, outwards, inwards).await;
}

async fn isolate(world: &Arc<World>, at: usize, outwards: bool, inwards: bool) {
    world.trace.note(&format!("isolate {at}: outwards {outwards}, inwards {inwards}"));
    world.evidence().count("partitions");
    world.links.isolate(at, world.size(), outwards, inwards);
    sleep(between(world, 100, 3000)).await;
    world.links.heal();
}

/// Leadership is handed over, and just then the former leader is cut off.
async fn transfer_and_isolate(world: &Arc<World>) {
    let Some(leader) = world.leader() else { return };
    drop(tokio::spawn(transfer(world.clone())));
    sleep(between(world, 1, 15)).await;
    isolate(world, leader.at, true, true).await;
}

async fn transfer(world: Arc<World>) {
    let Some(leader) = world.leader() else { return };
    world.trace.note(&format!("{} hands over leadership", leader.at));
    if within_life(&leader, leader.handle.transfer_leader(None)).await.is_ok() {
        world.evidence().count("transfers");
    }
}

async fn bad_network(world: &Arc<World>) {
    world.trace.note("bad network");
    world.links.lose(20 + world.rng.below(250));
    if world.rng.below(2) == 0 {
        world.links.slow(anybody(world));
    }
    sleep(between(world, 500, 4000)).await;
    world.links.heal();
}

/// No flush ends for a while: on one machine, or on all, as when they share a disk. Whoever waits for one still has to be heard.
async fn stall_disks(world: &Arc<World>) {
    let stalled: Vec<usize> = if world.rng.below(2) == 0 { vec![anybody(world)] } else { (0..world.size()).collect() };
    let time = between(world, 50, 2000);
    world.trace.note(&format!("the disks of {stalled:?} stall for {} ms", time.as_millis()));
    world.evidence().count("stalled disks");
    stalled.iter().for_each(|at| world.stall(*at, time));
    // Other trouble may come meanwhile, or not.
    if world.rng.below(2) == 0 {
        sleep(time).await;
    }
}

/// An operator adds, promotes, demotes or removes a server.
async fn change_members(world: Arc<World>) {
    let Some(leader) = world.leader() else { return };
    let peers = leader.handle.status().peers;
    let voters = peers.iter().filter(|peer| peer.voter).count();
    let outside: Vec<usize> = (0..world.size()).filter(|at| peers.iter().all(|known| known.id != peer(*at).id)).collect();
    let learners: Vec<String> = peers.iter().filter(|peer| !peer.voter).map(|peer| peer.id.clone()).collect();
    let victim = peer(anybody(&world)).id;
    let handle = &leader.handle;
    let changed = match world.rng.below(4) {
        0 | 1 if !outside.is_empty() => within_life(&leader, handle.add_learner(&peer(outside[0]))).await,
        0..3 if !learners.is_empty() => within_life(&leader, handle.promote(&learners[0])).await,
        2 if voters > 3 => within_life(&leader, handle.demote(&victim)).await,
        3 if voters > 3 => within_life(&leader, handle.remove(&victim)).await,
        _ => return,
    };
    world.trace.note(&format!("change of members by {}: {changed:?}", leader.at));
    if changed.is_ok() {
        world.evidence().count("changes of members");
    }
}
