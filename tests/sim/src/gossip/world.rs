//! The pools of a world, their lives, and what they show.

use std::{
    collections::BTreeMap,
    net::SocketAddr,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use backend::{
    gossip::{self, Exchange, Handle, Options},
    rt::{Rng, Runtime},
};
use tokio::{
    sync::mpsc,
    task::JoinHandle,
    time::{Instant, sleep},
};

use super::{ALIVE, port::Port};
use crate::{
    Bug,
    invariants::{dead_is_known::Deaths, gossip_converges::Convergence, gossip_no_false_left::Departures},
    links::Links,
    trace::Trace,
};

/// Wall time at which worlds begin, milliseconds since 1970.
const EPOCH_MS: u64 = 1_700_000_000_000;
/// Packets and exchanges that may wait at a member; more packets are lost, as on a socket.
const QUEUE: usize = 1024;
/// Members that everybody knows to ask at first.
const SEEDS: usize = 3;

/// What is watched.
#[derive(Debug, Default)]
pub(super) struct Evidence {
    pub(super) convergence: Convergence,
    pub(super) departures: Departures,
    pub(super) deaths: Deaths,
    pub(super) crashes: u64,
    pub(super) leaves: u64,
    pub(super) one_after_ms: u64,
}

/// Where a member takes what comes in.
#[derive(Clone, Debug)]
pub(super) struct Inlets {
    pub(super) packets: mpsc::Sender<(Vec<u8>, SocketAddr)>,
    pub(super) exchanges: mpsc::Sender<Exchange>,
}

#[derive(Clone, Debug)]
struct Life {
    number: u64,
    handle: Handle,
    inlets: Inlets,
    runtime: Runtime,
}

#[derive(Debug, Default)]
struct Member {
    /// How many lives have begun, and how many of them have ended.
    lives: u64,
    ended: u64,
    life: Option<Life>,
}

/// A pool and what belongs to it.
#[derive(Debug)]
pub(super) struct World {
    pub(super) rng: Rng,
    pub(super) links: Links,
    pub(super) trace: Trace,
    pub(super) bug: Option<Bug>,
    began: Instant,
    encrypted: bool,
    members: Mutex<Vec<Member>>,
    evidence: Mutex<Evidence>,
    absent: Mutex<Vec<JoinHandle<()>>>,
    /// What everybody showed last; only for a trace that is printed.
    shown: Mutex<BTreeMap<usize, BTreeMap<String, u8>>>,
}

impl World {
    /// A world of so many members, or of some, all off.
    pub(super) fn new(seed: u64, size: Option<usize>, bug: Option<Bug>, shown: bool) -> Arc<Self> {
        let rng = Rng::from_seed(seed ^ 0x60_55_1b);
        let size = size.unwrap_or(5 + usize::try_from(rng.below(16)).unwrap_or(0));
        let encrypted = rng.below(4) == 0;
        Arc::new(Self {
            links: Links::new(rng.fork()),
            rng,
            trace: Trace::new(shown),
            bug,
            began: Instant::now(),
            encrypted,
            members: Mutex::new((0..size).map(|_| Member::default()).collect()),
            evidence: Mutex::default(),
            absent: Mutex::default(),
            shown: Mutex::default(),
        })
    }

    fn members(&self) -> MutexGuard<'_, Vec<Member>> {
        self.members.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn evidence(&self) -> MutexGuard<'_, Evidence> {
        self.evidence.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn size(&self) -> usize {
        self.members().len()
    }

    /// Starts a member that is off; it joins the others as soon as it can.
    pub(super) fn start(self: &Arc<Self>, at: usize) {
        let number = {
            let member = &mut self.members()[at];
            if member.lives > member.ended {
                return;
            }
            member.lives += 1;
            member.lives
        };
        let (packets, inbox) = mpsc::channel(QUEUE);
        let (exchanges, begun) = mpsc::channel(QUEUE);
        let inlets = Inlets { packets, exchanges };
        let wall_ms = EPOCH_MS + u64::try_from(self.began.elapsed().as_millis()).unwrap_or(0);
        let runtime = Runtime::seeded(self.rng.below(u64::MAX), wall_ms);
        let port = Arc::new(Port::new(self.clone(), at, number, inbox, begun));
        let handle = gossip::start_with(self.options(at), runtime.clone(), port).expect("a valid node id");
        self.members()[at].life = Some(Life { number, handle: handle.clone(), inlets, runtime: runtime.clone() });
        self.trace.note(&format!("{at} starts its life {number}"));
        let world = self.clone();
        runtime.tasks.spawn_until_shutdown("join", async move {
            loop {
                let other = usize::try_from(world.rng.below(SEEDS as u64)).unwrap_or(0);
                if other != at && handle.join(address(other)).await.is_ok() {
                    return;
                }
                sleep(Duration::from_millis(200 + world.rng.below(800))).await;
            }
        });
    }

    fn options(&self, at: usize) -> Options {
        Options {
            node_id: uuid::Uuid::from_u128(at as u128 + 1).to_string(),
            node_name: name(at),
            bind: address(at),
            advertise: address(at),
            tags: BTreeMap::from([("role".to_owned(), "node".to_owned()), ("dc".to_owned(), "dc1".to_owned())]),
            datacenter: "dc1".to_owned(),
            keys: if self.encrypted { vec![vec![7; 32]] } else { Vec::new() },
            ..Options::default()
        }
    }

    fn end(&self, at: usize) -> Option<Life> {
        let member = &mut self.members()[at];
        member.ended = member.lives;
        member.life.take()
    }

    /// A member loses power.
    pub(super) fn crash(&self, at: usize) {
        let Some(life) = self.end(at) else { return };
        self.trace.note(&format!("{at} crashes"));
        self.evidence().crashes += 1;
        life.runtime.tasks.shutdown().trigger();
    }

    /// A member says that it goes, and goes.
    pub(super) async fn leave(&self, at: usize) {
        let Some(life) = self.members()[at].life.clone() else { return };
        self.trace.note(&format!("{at} leaves"));
        self.evidence().departures.announced(&name(at));
        life.handle.leave().await;
        if self.is_life(at, life.number) {
            self.evidence().leaves += 1;
            self.end(at);
        }
        life.runtime.tasks.shutdown().trigger();
    }

    /// Whether this life goes on.
    pub(super) fn is_life(&self, at: usize, number: u64) -> bool {
        let member = &self.members()[at];
        member.lives == number && member.ended < number
    }

    /// Where a member that is on takes what comes in.
    pub(super) fn inlets(&self, at: usize) -> Option<Inlets> {
        self.members()[at].life.as_ref().map(|life| life.inlets.clone())
    }

    /// Whether pools have had the time to form.
    pub(super) fn is_settled(&self) -> bool {
        self.began.elapsed() > Duration::from_secs(5)
    }

    /// Somebody is away, and back once this ends.
    pub(super) fn expect(&self, back: JoinHandle<()>) {
        self.absent.lock().unwrap_or_else(PoisonError::into_inner).push(back);
    }

    /// No faults any more, and everybody is on.
    pub(super) async fn heal(self: &Arc<Self>) {
        self.links.heal();
        let absent = std::mem::take(&mut *self.absent.lock().unwrap_or_else(PoisonError::into_inner));
        for back in absent {
            back.await.expect("coming back does not panic");
        }
        for at in 0..self.size() {
            self.start(at);
        }
    }

    fn living(&self) -> Vec<(usize, Handle)> {
        let members = self.members();
        members.iter().enumerate().filter_map(|(at, member)| Some((at, member.life.as_ref()?.handle.clone()))).collect()
    }

    /// What everybody makes of a member, for people.
    pub(super) async fn views_of(&self, at: usize) -> String {
        let mut views = Vec::new();
        for (viewer, handle) in self.living() {
            let pool = handle.detail().await;
            let member = pool.members.iter().find(|member| member.name == name(at));
            let (status, accusers) = member.map_or(("unknown", 0), |member| (member.status.as_str(), member.accused_by.len()));
            views.push(format!("{viewer}: {status}, {accusers} accusers, own health {}", pool.health));
        }
        views.join("; ")
    }

    /// Looks at what everybody shows.
    pub(super) fn look_at_all(&self) {
        for (at, handle) in self.living() {
            for member in handle.members().iter() {
                self.evidence().departures.saw(&name(at), &member.name, member.status);
            }
            if self.trace.is_shown() {
                self.tell_changes(at, &handle);
            }
        }
    }

    /// Prints how somebody's view changed.
    fn tell_changes(&self, at: usize, handle: &Handle) {
        let now: BTreeMap<String, u8> = handle.members().iter().map(|member| (member.name.clone(), member.status)).collect();
        let mut shown = self.shown.lock().unwrap_or_else(PoisonError::into_inner);
        let before = shown.insert(at, now.clone()).unwrap_or_default();
        for (member, status) in now.iter().filter(|(member, status)| before.get(*member) != Some(*status)) {
            self.trace.remark(|| format!("{} shows {member} with status {status}", name(at)));
        }
    }

    /// Somebody who does not see exactly the living alive, and what they see.
    pub(super) fn not_converged(&self) -> Option<(String, String)> {
        let living = self.living();
        let wanted: Vec<String> = {
            let mut names: Vec<String> = living.iter().map(|(at, _)| name(*at)).collect();
            names.sort();
            names
        };
        living.iter().find_map(|(at, handle)| {
            let members = handle.members();
            let alive: Vec<&String> = members.iter().filter(|member| member.status == ALIVE).map(|member| &member.name).collect();
            let same = alive.len() == wanted.len() && alive.iter().zip(&wanted).all(|(a, b)| *a == b);
            (!same).then(|| {
                let missing: Vec<&String> = wanted.iter().filter(|name| !alive.contains(name)).collect();
                let surplus: Vec<&&String> = alive.iter().filter(|name| !wanted.contains(name)).collect();
                (name(*at), format!("misses {missing:?} and sees {surplus:?} too much"))
            })
        })
    }

    /// Somebody living who shows this member with another status.
    pub(super) fn somebody_without(&self, at: usize, status: u8) -> Option<String> {
        let wanted = name(at);
        let knows = |handle: &Handle| handle.members().iter().any(|member| member.name == wanted && member.status == status);
        self.living().iter().find(|(_, handle)| !knows(handle)).map(|(viewer, _)| name(*viewer))
    }
}

fn name(at: usize) -> String {
    format!("node-{at:03}")
}

/// A member's address.
pub(super) fn address(at: usize) -> SocketAddr {
    let [.., high, low] = u32::try_from(at).unwrap_or(0).to_be_bytes();
    SocketAddr::from(([10, 0, high, low], 8301))
}

/// The member with this address.
pub(super) fn place(address: SocketAddr) -> Option<usize> {
    match address {
        SocketAddr::V4(address) => {
            let [_, _, high, low] = address.ip().octets();
            Some(usize::from(high) << 8 | usize::from(low))
        }
        SocketAddr::V6(_) => None,
    }
}
