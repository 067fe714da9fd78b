//! The servers of a world, their disks, their lives, and what is seen of them.
//!
//! A crash takes the disk first, as it would be found afterwards; what the dead life still does reaches neither that nor anybody
//! else, since its messages go nowhere and nobody listens to its answers.

use std::{
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    time::Duration,
};

use backend::{
    raft::{self, Flaw, Handle, Options, Peer, faulty::Disk},
    rt::{Rng, Runtime},
    store::Store,
};
use tokio::time::Instant;

use super::{client, evidence::Evidence, port::Port};
use crate::{Bug, Outcome, links::Links, trace::Trace};

/// Wall time at which worlds begin, milliseconds since 1970.
const EPOCH_MS: u64 = 1_700_000_000_000;
/// How long a flush takes at most.
const FLUSH: Duration = Duration::from_millis(8);

/// One life of a server. Clones are the same life.
#[derive(Clone, Debug)]
pub(super) struct Life {
    pub(super) at: usize,
    pub(super) number: u64,
    pub(super) handle: Handle,
    pub(super) store: Arc<Store>,
    runtime: Runtime,
}

impl Life {
    /// Resolves once the server has crashed.
    pub(super) async fn ended(&self) {
        self.runtime.tasks.shutdown().requested().await;
    }
}

/// A machine.
#[derive(Debug)]
struct Server {
    disk: Disk,
    /// How many lives have begun.
    lives: u64,
    /// How many of them have ended.
    ended: u64,
    life: Option<Life>,
}

/// A cluster and what belongs to it.
#[derive(Debug)]
pub(super) struct World {
    pub(super) rng: Rng,
    pub(super) links: Links,
    pub(super) trace: Trace,
    pub(super) bug: Option<Bug>,
    /// Servers of the first configuration; one more stands by.
    pub(super) voters: usize,
    began: Instant,
    snapshot_threshold: u64,
    servers: Mutex<Vec<Server>>,
    evidence: Mutex<Evidence>,
    over: AtomicBool,
    ticks: AtomicU64,
}

impl World {
    /// A world with its machines off.
    pub(super) fn new(seed: u64, bug: Option<Bug>, shown: bool) -> Arc<Self> {
        let rng = Rng::from_seed(seed);
        let voters = if rng.below(2) == 0 { 3 } else { 5 };
        let snapshot_threshold = 20 + rng.below(200);
        let servers = (0..=voters).map(|_| {
            let flaw = match bug {
                Some(Bug::AckBeforeSync) => Some(Flaw::AcknowledgesBeforeFlush),
                Some(Bug::VoteNotPersisted) => Some(Flaw::ForgetsNewestVote),
                _ => None,
            };
            let disk = Disk::new(&rng, FLUSH).with_flaw(flaw);
            Server { disk, lives: 0, ended: 0, life: None }
        });
        let servers = Mutex::new(servers.collect());
        Arc::new(Self {
            links: Links::new(rng.fork()),
            rng,
            trace: Trace::new(shown),
            bug,
            voters,
            began: Instant::now(),
            snapshot_threshold,
            servers,
            evidence: Mutex::default(),
            over: AtomicBool::new(false),
            ticks: AtomicU64::new(0),
        })
    }

    /// Machines, the spare one included.
    pub(super) fn size(&self) -> usize {
        self.voters + 1
    }

    fn servers(&self) -> MutexGuard<'_, Vec<Server>> {
        self.servers.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn evidence(&self) -> MutexGuard<'_, Evidence> {
        self.evidence.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// A number larger than all before: the order of what clients see.
    pub(super) fn tick(&self) -> u64 {
        self.ticks.fetch_add(1, Ordering::Relaxed)
    }

    pub(super) fn is_over(&self) -> bool {
        self.over.load(Ordering::Relaxed)
    }

    pub(super) fn stop_clients(&self) {
        self.over.store(true, Ordering::Relaxed);
    }

    fn options(&self, at: usize) -> Options {
        Options {
            node_id: peer(at).id,
            node_name: peer(at).name,
            address: peer(at).address,
            data_dir: None,
            log_backend: String::new(),
            multiplier: 5,
            bootstrap: false,
            snapshot_threshold: self.snapshot_threshold,
            snapshot_interval: Duration::ZERO,
            trailing_logs: self.snapshot_threshold / 4,
        }
    }

    /// Starts every machine and forms a cluster of all but the spare one.
    pub(super) async fn form(self: &Arc<Self>) {
        for at in 0..self.size() {
            self.start(at).await;
        }
        let first = self.life(0).expect("it was just started");
        let peers = (0..self.voters).map(peer).collect();
        first.handle.bootstrap(peers).await.expect("nobody belongs to a cluster yet");
        first.handle.wait_for_leader(Duration::from_secs(10)).await;
    }

    /// Starts a machine that is off. In a task of its own: whoever asked may be gone before it is up, as all trouble is once peace comes.
    pub(super) async fn start(self: &Arc<Self>, at: usize) {
        let world = self.clone();
        tokio::spawn(async move { world.bring_up(at).await }).await.expect("a start does not panic");
    }

    async fn bring_up(self: &Arc<Self>, at: usize) {
        let (disk, number) = {
            let server = &mut self.servers()[at];
            if server.lives > server.ended {
                return;
            }
            server.lives += 1;
            (server.disk.clone(), server.lives)
        };
        let wall_ms = EPOCH_MS + u64::try_from(self.began.elapsed().as_millis()).unwrap_or(0);
        let runtime = Runtime::seeded(self.rng.below(u64::MAX), wall_ms);
        let store = Arc::new(Store::new());
        let port = Arc::new(Port::new(self.clone(), at, number));
        match raft::start_on(self.options(at), store.clone(), runtime.clone(), port, &disk).await {
            Ok(handle) => {
                self.trace.note(&format!("{at} starts its life {number}"));
                self.servers()[at].life = Some(Life { at, number, handle, store, runtime });
            }
            Err(error) => {
                self.trace.note(&format!("{at} does not start: {error}"));
                self.evidence().acked.refused_to_start(at, &error.to_string());
            }
        }
    }

    /// A machine loses power.
    pub(super) fn crash(&self, at: usize) {
        let life = {
            let server = &mut self.servers()[at];
            let Some(life) = server.life.take() else { return };
            server.disk = server.disk.crash();
            server.ended = life.number;
            life
        };
        self.trace.note(&format!("{at} crashes"));
        self.evidence().count("crashes");
        life.runtime.tasks.shutdown().trigger();
        // Its tasks end somewhere out of sight.
        tokio::spawn(async move { life.handle.shutdown().await });
    }

    /// No flush on this machine ends before so much time has passed.
    pub(super) fn stall(&self, at: usize, time: Duration) {
        self.servers()[at].disk.stall(time);
    }

    /// The present life of a machine that is on.
    pub(super) fn life(&self, at: usize) -> Option<Life> {
        self.servers()[at].life.clone()
    }

    /// Whether this life of a machine goes on.
    pub(super) fn lives(&self, at: usize, number: u64) -> bool {
        let server = &self.servers()[at];
        server.lives == number && server.ended < number
    }

    /// All lives.
    pub(super) fn living(&self) -> Vec<Life> {
        self.servers().iter().filter_map(|server| server.life.clone()).collect()
    }

    /// The leader with the newest term.
    pub(super) fn leader(&self) -> Option<Life> {
        let leaders = self.living().into_iter().filter(|life| life.handle.status().role == "leader");
        leaders.max_by_key(|life| life.handle.status().term)
    }

    /// No faults any more, and every machine is on.
    pub(super) async fn heal(self: &Arc<Self>) {
        self.trace.note("peace");
        self.links.heal();
        for at in 0..self.size() {
            self.stall(at, Duration::ZERO);
            self.start(at).await;
        }
    }

    /// Looks at every server.
    pub(super) fn look_at_all(&self) {
        for life in self.living() {
            self.look_at(&life);
        }
    }

    /// Who leads in a server's eyes, and how new its state is.
    pub(super) fn look_at(&self, life: &Life) {
        let status = life.handle.status();
        let state = life.store.state();
        let mut evidence = self.evidence();
        evidence.indexes.saw(life.at, life.number, &state, client::REGISTERS, &client::registers());
        let leads = (status.role == "leader").then_some(life.at);
        let follows = status.leader.and_then(|leader| place(&leader.address));
        for leader in leads.into_iter().chain(follows) {
            if evidence.elections.saw(status.term, leader) {
                drop(evidence);
                self.trace.note(&format!("{leader} leads in term {}", status.term));
                evidence = self.evidence();
            }
        }
    }

    /// The servers of the leader's configuration; empty when nobody leads.
    pub(super) fn members(&self) -> Vec<usize> {
        let peers = self.leader().map(|leader| leader.handle.status().peers).unwrap_or_default();
        peers.iter().filter_map(|peer| place(&peer.address)).collect()
    }

    /// The index up to which a server has applied the log.
    pub(super) fn applied(&self, at: usize) -> u64 {
        self.life(at).map_or(0, |life| life.handle.status().applied_index)
    }

    /// Compares what these servers hold with each other and with what was promised.
    pub(super) fn compare(&self, members: &[usize]) {
        for life in members.iter().filter_map(|at| self.life(*at)) {
            let state = life.store.state();
            let mut evidence = self.evidence();
            evidence.healed.replica(life.at, &state);
            evidence.acked.check(life.at, &state);
        }
    }

    pub(super) fn outcome(&self, commits_least: u64) -> Outcome {
        let (hash, events) = self.trace.result();
        let evidence = self.evidence();
        Outcome { hash, events, counts: evidence.counts(), verdicts: evidence.verdicts(commits_least) }
    }
}

/// A machine as the others know it.
pub(super) fn peer(at: usize) -> Peer {
    let id = uuid::Uuid::from_u128(at as u128 + 1).to_string();
    Peer { id, name: format!("server-{at}"), address: format!("10.0.0.{at}:8300"), voter: true }
}

/// The machine with this address.
pub(super) fn place(address: &str) -> Option<usize> {
    address.strip_prefix("10.0.0.")?.strip_suffix(":8300")?.parse().ok()
}
