//! The loop around one [`Pool`]: packets, timers, exchanges, what operators ask for. The only task that touches the pool.

use std::{
    collections::{BTreeMap, BTreeSet},
    net::SocketAddr,
    sync::Arc,
    time::Duration,
};

use shared::agent::{Member, status};
use tokio::sync::{mpsc, oneshot, watch};

use super::{
    Command, Error, Options, contains,
    exchange::{Ask, Ended, Kind},
    identity::{Identity, Meta, NodeId},
    keyring::Keyring,
    pool::{Pool, Setup},
    transport::Transport,
};
use crate::rt::{Rng, Runtime, Shutdown, Tasks, clock};

/// How often everything known is exchanged with somebody: at first, and later in a small pool. It repairs what packets missed.
const EXCHANGE_EVERY: (Duration, Duration) = (Duration::from_secs(5), Duration::from_secs(30));
/// How long the first of these lasts.
const YOUNG: Duration = Duration::from_secs(60);
/// How often somebody who failed is tried.
const RECONNECT_EVERY: Duration = Duration::from_secs(30);
/// How often those long gone are looked for.
const REAP_EVERY: Duration = Duration::from_secs(15);
/// How long a member about whom nobody could tell anything is left alone.
const STRANGER_PAUSE: Duration = Duration::from_secs(1);
/// Members about whom too little is known that are asked at a time: most know the others, so that one answer does for many.
const STRANGERS_AT_ONCE: usize = 2;
/// Packets read at most before the timers are looked at.
const PACKETS_FIRST: u32 = 256;
/// How long the announcement of a leave gets before the leave.
const LEAVE_ANNOUNCED: Duration = Duration::from_secs(1);
/// How late a timer has to be before the log says that this agent gets too little processor time.
const LAG_TOLD: Duration = Duration::from_secs(1);

/// A pool with its surroundings.
pub(super) struct Service {
    pub(super) pool: Pool,
    pub(super) options: Options,
    pub(super) keyring: Keyring,
    pub(super) start: clock::Instant,
    pub(super) rng: Rng,
    pub(super) tasks: Tasks,
    pub(super) transport: Arc<dyn Transport>,
    pub(super) commands: mpsc::Receiver<Command>,
    pub(super) members: watch::Sender<Arc<Vec<Member>>>,
    pub(super) ended: (mpsc::Sender<Ended>, mpsc::Receiver<Ended>),
    /// Questions under way.
    pub(super) asking: BTreeSet<(SocketAddr, Kind)>,
    /// Pairs of members of one name of which the log tells already.
    pub(super) rivals: BTreeSet<(NodeId, NodeId)>,
    /// Members that were asked who they are, and when.
    pub(super) asked: BTreeMap<SocketAddr, clock::Instant>,
    /// Members of whom too little is known, as of the last change.
    strangers: Vec<SocketAddr>,
    /// How long the last exchange with each member took.
    pub(super) round_trips: BTreeMap<SocketAddr, Duration>,
    /// When to go after having said so.
    pub(super) going: Option<clock::Instant>,
    /// When the others know it for sure, and who waits for that.
    pub(super) leaving: Option<(clock::Instant, oneshot::Sender<()>)>,
    pub(super) gone: bool,
}

/// The members as they are now, and a signal at every change.
type Members = watch::Receiver<Arc<Vec<Member>>>;

/// When what happens next.
struct Schedule {
    exchange: clock::Instant,
    reconnect: clock::Instant,
    reap: clock::Instant,
}

impl Service {
    /// A pool of one; the receiver tells its members.
    pub(super) fn new(
        options: Options,
        runtime: &Runtime,
        transport: Arc<dyn Transport>,
        keyring: Keyring,
        commands: mpsc::Receiver<Command>,
    ) -> Result<(Self, Members), Error> {
        let node = NodeId::parse_str(&options.node_id).map_err(|_| Error::NodeId(options.node_id.clone()))?;
        let incarnation = runtime.clock.wall_ms();
        let me = Identity { node, address: options.advertise, incarnation, meta_version: 0 };
        let meta = Meta {
            version: (incarnation, 0),
            name: options.node_name.clone(),
            tags: options.tags.clone(),
            cluster: options.cluster.clone(),
        };
        let rng = runtime.rng.fork();
        let seed = u64::from_le_bytes(rng.bytes());
        let mut pool = Pool::new(Setup { me, meta, datacenter: options.datacenter.clone(), timing: options.timing, seed });
        pool.take_changed();
        let (members, watching) = watch::channel(Arc::new(pool.members().0));
        let service = Self {
            pool,
            options,
            keyring,
            start: runtime.clock.now(),
            rng,
            tasks: runtime.tasks.clone(),
            transport,
            commands,
            members,
            ended: mpsc::channel(64),
            asking: BTreeSet::new(),
            rivals: BTreeSet::new(),
            asked: BTreeMap::new(),
            strangers: Vec::new(),
            round_trips: BTreeMap::new(),
            going: None,
            leaving: None,
            gone: false,
        };
        Ok((service, watching))
    }

    /// Runs until the agent stops.
    pub(super) async fn run(mut self, shutdown: Shutdown) {
        let now = clock::Instant::now();
        let mut schedule = Schedule {
            exchange: now + self.rng.jitter(EXCHANGE_EVERY.0),
            reconnect: now + RECONNECT_EVERY / 2 + self.rng.jitter(RECONNECT_EVERY),
            reap: now + REAP_EVERY,
        };
        for address in self.options.known.clone() {
            self.exchange(address, None);
        }
        let mut unread = 0;
        loop {
            let due = self.due(&schedule);
            let timer = tokio::select! {
                biased;
                () = shutdown.requested() => break,
                Some(command) = self.commands.recv() => { self.obey(command); false }
                Some(ended) = self.ended.1.recv() => { self.finish(ended); false }
                exchange = self.transport.accept() => { self.answer(exchange); false }
                (packet, from) = self.transport.receive() => { self.receive(&packet, from); false }
                () = clock::sleep_until(due) => true,
            };
            if timer {
                self.note_lag(due.elapsed());
            }
            // Who was late reads what came meanwhile before it draws conclusions; but packets that never pause stop no timer.
            unread += 1;
            if timer || unread >= PACKETS_FIRST {
                unread = 0;
                let now = self.now();
                self.pool.tick(now);
                self.keep(&mut schedule);
            }
            self.settle().await;
        }
        self.settle().await;
    }

    fn due(&self, schedule: &Schedule) -> clock::Instant {
        let others = [Some(schedule.reconnect), Some(schedule.reap), self.going, self.leaving.as_ref().map(|(at, _)| *at)];
        let pool = self.pool.due().map(|due| self.start + due);
        others.into_iter().chain([pool]).flatten().fold(schedule.exchange, clock::Instant::min)
    }

    pub(super) fn now(&self) -> Duration {
        self.start.elapsed()
    }

    fn note_lag(&mut self, lag: Duration) {
        if lag > LAG_TOLD {
            tracing::warn!(lag_ms = lag.as_millis(), "gossip is late: this agent got no processor time, or the machine was suspended");
            self.pool.forgive(lag);
        }
        let now = self.now();
        self.pool.note_lag(now, lag);
    }

    fn receive(&mut self, packet: &[u8], from: SocketAddr) {
        if !self.may_talk(from) {
            return;
        }
        match self.keyring.open(packet) {
            Some(packet) if !self.gone => {
                let now = self.now();
                self.pool.receive(now, &packet);
            }
            Some(_) => {}
            None => tracing::debug!(%from, "gossip packet dropped: not sealed with a key of ours"),
        }
    }

    pub(super) fn may_talk(&self, from: SocketAddr) -> bool {
        self.options.allowed.is_empty() || self.options.allowed.iter().any(|network| contains(*network, from.ip()))
    }

    /// What happens from time to time.
    fn keep(&mut self, schedule: &mut Schedule) {
        let now = clock::Instant::now();
        if now >= schedule.exchange {
            schedule.exchange = now + self.exchange_pause();
            let peers = self.pool.peers();
            self.exchange_with_one_of(peers);
        }
        if now >= schedule.reconnect {
            schedule.reconnect = now + RECONNECT_EVERY;
            let lost = self.pool.lost();
            self.exchange_with_one_of(lost);
        }
        if now >= schedule.reap {
            schedule.reap = now + REAP_EVERY;
            let since_start = self.now();
            self.pool.reap(since_start, self.options.reconnect_timeout, self.options.tombstone_timeout);
        }
        if self.going.take_if(|at| now >= *at).is_some() {
            let since_start = self.now();
            self.pool.leave(since_start);
            self.gone = true;
        }
        if let Some((_, told)) = self.leaving.take_if(|(at, _)| now >= *at) {
            // Nobody may wait for it any more.
            let _ = told.send(());
        }
    }

    /// The larger the pool, the more others exchange too.
    fn exchange_pause(&self) -> Duration {
        if self.start.elapsed() < YOUNG {
            return EXCHANGE_EVERY.0 / 2 + self.rng.jitter(EXCHANGE_EVERY.0);
        }
        let size = u32::try_from(self.pool.peers().len() + 1).unwrap_or(u32::MAX);
        let scale = f64::from(size).log2().ceil() - 5.0 + 1.0;
        EXCHANGE_EVERY.1.mul_f64(scale.max(1.0))
    }

    fn obey(&mut self, command: Command) {
        let now = self.now();
        match command {
            Command::Join(address, done) => self.exchange(address, Some(done)),
            Command::Leave(done) => {
                self.pool.announce_leave(now);
                // Alone there is nobody to tell.
                let all = if self.pool.peers().is_empty() { Duration::ZERO } else { self.options.leave_propagate_delay };
                let now = clock::Instant::now();
                self.going = Some(now + LEAVE_ANNOUNCED.min(all));
                self.leaving = Some((now + all, done));
            }
            Command::ForceLeave { name, prune, done } => {
                let result = self.pool.force_leave(now, &name, prune);
                if prune && result.is_ok() {
                    self.pool.reap(now, self.options.reconnect_timeout, self.options.tombstone_timeout);
                }
                drop(done.send(result));
            }
            Command::SetTags(tags) => self.pool.describe(now, |meta| meta.tags = tags),
            Command::SetCluster(id) => self.pool.describe(now, |meta| meta.cluster = id),
            Command::Keyring(request, done) => self.change_keys(request, done),
            Command::Detail(done) => drop(done.send(self.detail())),
        }
    }

    /// Sends what the pool left behind, gets to know strangers, publishes changes.
    async fn settle(&mut self) {
        for (to, packet) in self.pool.take_outgoing() {
            // A lost packet is gossip's daily bread.
            if let Err(error) = self.transport.send(to, &self.keyring.seal(&packet)).await {
                tracing::trace!(%error, %to, "gossip packet not sent");
            }
        }
        for accused in self.pool.take_accused() {
            self.ask(accused.id().address, Kind::Accusation, Ask::Accused(accused), None);
        }
        let changed = self.pool.take_changed();
        if changed {
            // Not with every packet: it looks at everybody.
            self.strangers = self.pool.strangers();
        }
        self.asked.retain(|stranger, at| at.elapsed() < STRANGER_PAUSE && self.strangers.contains(stranger));
        if !self.strangers.is_empty() && self.asked.len() < STRANGERS_AT_ONCE {
            let mut strangers = self.strangers.clone();
            strangers.retain(|stranger| !self.asked.contains_key(stranger));
            self.rng.shuffle(&mut strangers);
            strangers.truncate(STRANGERS_AT_ONCE - self.asked.len());
            for stranger in strangers {
                self.asked.insert(stranger, clock::Instant::now());
                self.exchange(stranger, None);
            }
        }
        if changed {
            let now = self.now();
            for (name, address, status) in self.pool.note_changes(now) {
                match status {
                    status::ALIVE => tracing::info!(name, %address, "member joined"),
                    status::LEAVING => tracing::info!(name, %address, "member is leaving"),
                    status::LEFT => tracing::info!(name, %address, "member left"),
                    _ => tracing::warn!(name, %address, "member failed"),
                }
            }
            let (members, rivals) = self.pool.members();
            self.tell_rivals(rivals);
            let members = Arc::new(members);
            self.members.send_if_modified(|published| {
                let differs = *published != members;
                *published = members;
                differs
            });
        }
    }
}

impl Service {
    /// Every member logs it when two have one name, the two included.
    fn tell_rivals(&mut self, there_are: bool) {
        let now = if there_are { self.pool.rivals() } else { Vec::new() };
        let pairs = now.iter().map(|(_, kept, other)| (kept.node, other.node)).collect();
        for (name, kept, other) in now.iter().filter(|(_, kept, other)| !self.rivals.contains(&(kept.node, other.node))) {
            tracing::error!(
                name, kept = %kept.address, ignored = %other.address,
                "gossip: two living members have one name; the one that started later is not shown: give it another node_name"
            );
        }
        self.rivals = pairs;
    }
}
