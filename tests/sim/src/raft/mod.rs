//! The Raft world: 3 or 5 servers and a spare one, clients that write and read, and everything that can go wrong with machines,
//! networks and operators. First half a minute of that, then peace, in which the cluster has to come back to one state.

mod client;
mod evidence;
mod nemesis;
mod port;
mod world;

use std::{sync::Arc, time::Duration};

use tokio::time::{Instant, sleep, timeout};

use crate::{Bug, Outcome, on_paused_time};
use world::World;

/// How long things go wrong.
const CHAOS: Duration = Duration::from_secs(25);
/// How long clients go on in peace.
const PEACE: Duration = Duration::from_secs(3);
/// How long the cluster may take then to be whole again.
const HEALED_WITHIN: Duration = Duration::from_secs(60);
/// Clients.
const CLIENTS: usize = 5;
/// Acknowledged writes without which a run proves nothing.
const COMMITS_LEAST: u64 = 50;

/// One run.
#[must_use]
pub fn run(seed: u64, bug: Option<Bug>, shown: bool) -> Outcome {
    on_paused_time(seed, async move {
        let world = World::new(seed, bug, shown);
        live(&world).await;
        world.outcome(COMMITS_LEAST)
    })
}

async fn live(world: &Arc<World>) {
    world.form().await;
    let observer = tokio::spawn(observe(world.clone()));
    let duties = tokio::spawn(nemesis::lead_well(world.clone()));
    let clients: Vec<_> = (0..CLIENTS).map(|number| tokio::spawn(client::run(world.clone(), number))).collect();
    // Longer than any single trouble.
    if timeout(CHAOS, nemesis::run(world.clone())).await.is_ok() {
        unreachable!("trouble never ends by itself");
    }
    world.heal().await;
    sleep(PEACE).await;
    world.stop_clients();
    for client in clients {
        client.await.expect("a client does not panic");
    }
    converge(world).await;
    duties.abort();
    observer.abort();
}

/// Looks at every server all the time.
async fn observe(world: Arc<World>) {
    loop {
        world.look_at_all();
        sleep(Duration::from_millis(5)).await;
    }
}

/// Waits until a write is taken and every member of the configuration has it; then compares them.
async fn converge(world: &Arc<World>) {
    let deadline = Instant::now() + HEALED_WITHIN;
    let Some(index) = client::write_once_more(world, deadline).await else {
        return world.evidence().healed.late("no write is taken within a minute of peace");
    };
    loop {
        let members = world.members();
        let behind: Vec<usize> = members.iter().copied().filter(|at| world.applied(*at) < index).collect();
        if behind.is_empty() && members.len() > 1 {
            return world.compare(&members);
        }
        if Instant::now() >= deadline {
            return world.evidence().healed.late(&format!("servers {behind:?} of {members:?} have not caught up within a minute of peace"));
        }
        sleep(Duration::from_millis(20)).await;
    }
}
