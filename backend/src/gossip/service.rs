//! The loop around one [`Pool`]: packets, timers, exchanges, what operators ask for. The only task that touches the pool.

use std::{
    collections::{BTreeMap, BTreeSet},
    net::SocketAddr,
    sync::Arc,
    time::Duration,
};

use serde::{Deserialize, Serialize};
use shared::{agent::Member, gossip as view};
use tokio::sync::{mpsc, oneshot, watch};

use super::{
    Command, Error, KeyringRequest, Options, contains,
    identity::{Identity, Meta, NodeId},
    keyring::Keyring,
    keys::{self, Held},
    knowledge::Knowledge,
    pool::{Pool, Setup, status},
    roster::Detail,
    transport::{Exchange, Transport},
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
/// How long one exchange may take.
const EXCHANGE_DEADLINE: Duration = Duration::from_secs(10);
/// How long a member about whom nobody could tell anything is left alone.
const STRANGER_PAUSE: Duration = Duration::from_secs(1);
/// Members about whom too little is known that are asked at a time: most know the others, so that one answer does for many.
const STRANGERS_AT_ONCE: usize = 2;
/// Packets read at most before the timers are looked at.
const PACKETS_FIRST: u32 = 256;
/// How long the announcement of a leave gets before the leave.
const LEAVE_ANNOUNCED: Duration = Duration::from_secs(1);
/// What whoever wants something of an agent that has left is told.
const LEAVING: &str = "this agent is leaving";
/// How late a timer has to be before the log says that this agent gets too little processor time.
const LAG_TOLD: Duration = Duration::from_secs(1);

/// What one member asks of another on a stream.
#[derive(Debug, Serialize, Deserialize)]
pub(super) enum Ask {
    /// Tell everything you know; this is what I know.
    Exchange(Knowledge),
    /// Do this to your keys.
    Keyring(KeyringRequest),
    /// Your packets do not arrive: are you there?
    Accused(foca::Member<Identity>),
}

/// The answer.
#[derive(Debug, Serialize, Deserialize)]
pub(super) enum Reply {
    Exchange(Knowledge),
    Keyring(Held),
    /// As it is now.
    Refuted(foca::Member<Identity>),
    Refused(String),
}

type Joining = oneshot::Sender<Result<(), String>>;

/// A question to which no answer came.
struct Unanswered {
    why: String,
    /// Nothing listens there.
    closed: bool,
}

/// A question that came to an end.
struct Ended {
    with: SocketAddr,
    kind: Kind,
    outcome: Result<Reply, Unanswered>,
    took: Duration,
    joining: Option<Joining>,
}

/// What a question is about: one of each kind is asked of one address at a time.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Kind {
    Exchange,
    Accusation,
}

/// A pool with its surroundings.
pub(super) struct Service {
    pool: Pool,
    options: Options,
    keyring: Keyring,
    start: clock::Instant,
    rng: Rng,
    tasks: Tasks,
    transport: Arc<dyn Transport>,
    commands: mpsc::Receiver<Command>,
    members: watch::Sender<Arc<Vec<Member>>>,
    ended: (mpsc::Sender<Ended>, mpsc::Receiver<Ended>),
    /// Questions under way.
    asking: BTreeSet<(SocketAddr, Kind)>,
    /// Pairs of members of one name of which the log tells already.
    rivals: BTreeSet<(NodeId, NodeId)>,
    /// Members that were asked who they are, and when.
    asked: BTreeMap<SocketAddr, clock::Instant>,
    /// How long the last exchange with each member took.
    round_trips: BTreeMap<SocketAddr, Duration>,
    /// When to go after having said so.
    going: Option<clock::Instant>,
    /// When the others know it for sure, and who waits for that.
    leaving: Option<(clock::Instant, oneshot::Sender<()>)>,
    gone: bool,
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

    fn now(&self) -> Duration {
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

    fn may_talk(&self, from: SocketAddr) -> bool {
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

    fn detail(&self) -> view::Pool {
        let now = self.now();
        let own = self.pool.me().node;
        let members = self.pool.details().into_iter().map(|Detail { member, known, suspected, accusers }| {
            let tag = |name: &str| member.tags.get(name).cloned().unwrap_or_default();
            let status = match member.status {
                _ if known.identity.node == own => "alive",
                status::ALIVE if suspected => "suspect",
                status::ALIVE => "alive",
                status::LEAVING => "leaving",
                status::LEFT => "left",
                _ => "failed",
            };
            view::Member {
                address: known.identity.address.to_string(),
                id: known.identity.node.to_string(),
                status: status.to_owned(),
                since_ms: ms(now.saturating_sub(known.since)),
                incarnation: known.identity.incarnation,
                round_trip_us: self
                    .round_trips
                    .get(&known.identity.address)
                    .map(|trip| u64::try_from(trip.as_micros()).unwrap_or(u64::MAX)),
                role: if tag("role") == "consul" { "server" } else { "client" }.to_owned(),
                version: tag("muster"),
                accused_by: accusers,
                name: member.name,
            }
        });
        let health = self.pool.health();
        view::Pool {
            members: members.collect(),
            node: self.options.node_name.clone(),
            datacenter: self.options.datacenter.clone(),
            encrypted: self.keyring.is_encrypted(),
            keys: self.keyring.watch().borrow().len(),
            cluster: self.pool.cluster(),
            health: health.score,
            accusations: health.accusations,
            refuted: health.refuted,
            suspicion_ms: ms(self.pool.suspicion()),
            failed_kept_ms: ms(self.options.reconnect_timeout),
            left_kept_ms: ms(self.options.tombstone_timeout),
        }
    }

    fn change_keys(&self, request: KeyringRequest, done: oneshot::Sender<view::Keyring>) {
        if let Err(error) = request.check() {
            drop(done.send(view::Keyring { error, ..view::Keyring::default() }));
            return;
        }
        let others: Vec<(String, SocketAddr)> = self
            .pool
            .members()
            .0
            .into_iter()
            .filter(|member| member.status == status::ALIVE && member.name != self.options.node_name)
            .filter_map(|member| Some((member.name, SocketAddr::new(member.addr.parse().ok()?, member.port))))
            .collect();
        let own = (self.options.node_name.clone(), keys::apply(&self.keyring, &request));
        // The others are asked with the key that is in use before and after.
        let (transport, keyring) = (self.transport.clone(), self.keyring.clone());
        self.tasks.spawn_until_shutdown("keyring", async move {
            let asked = others.into_iter().map(|(name, address)| {
                let (transport, keyring, request) = (&transport, &keyring, &request);
                async move { (name, ask_keys(&**transport, keyring, address, request).await) }
            });
            let held = keys::gather(own, asked).await;
            // The asker may have gone.
            drop(done.send(held));
        });
    }

    fn exchange_with_one_of(&mut self, mut peers: Vec<SocketAddr>) {
        self.rng.shuffle(&mut peers);
        if let Some(peer) = peers.first() {
            self.exchange(*peer, None);
        }
    }

    /// Starts an exchange in a task of its own; it ends in [`Service::finish`].
    fn exchange(&mut self, with: SocketAddr, joining: Option<Joining>) {
        let ask = Ask::Exchange(self.pool.knowledge());
        self.ask(with, Kind::Exchange, ask, joining);
    }

    fn ask(&mut self, with: SocketAddr, kind: Kind, ask: Ask, joining: Option<Joining>) {
        if self.gone {
            // Whoever heard of it would take it for a member again.
            if let Some(joining) = joining {
                drop(joining.send(Err(LEAVING.to_owned())));
            }
            return;
        }
        if !self.asking.insert((with, kind)) && joining.is_none() {
            return;
        }
        let (transport, ended, keyring) = (self.transport.clone(), self.ended.0.clone(), self.keyring.clone());
        self.tasks.spawn_until_shutdown("gossip exchange", async move {
            let began = clock::Instant::now();
            let outcome = call(&*transport, &keyring, with, &ask).await;
            // The service only goes at shutdown.
            drop(ended.send(Ended { with, kind, outcome, took: began.elapsed(), joining }).await);
        });
    }

    fn finish(&mut self, Ended { with, kind, outcome, took, joining }: Ended) {
        self.asking.remove(&(with, kind));
        let now = self.now();
        let result = match outcome {
            Ok(Reply::Exchange(knowledge)) => self.learn(with, took, knowledge, joining.is_some()),
            Ok(Reply::Refuted(member)) => {
                if self.pool.hear_refutation(now, member) {
                    tracing::warn!(%with, "gossip: a member answers on TCP but not on UDP: is its UDP port open?");
                }
                Ok(())
            }
            Ok(Reply::Refused(why)) => {
                tracing::error!(%with, why, "gossip: refused by the other side");
                Err(why)
            }
            Ok(Reply::Keyring(_)) => Err("answered another question".to_owned()),
            Err(Unanswered { why, closed }) => {
                tracing::debug!(%with, why, "gossip exchange failed");
                if closed {
                    self.pool.note_closed(with);
                }
                Err(why)
            }
        };
        if let Some(joining) = joining {
            drop(joining.send(result));
        }
    }

    fn learn(&mut self, with: SocketAddr, took: Duration, knowledge: Knowledge, joins: bool) -> Result<(), String> {
        if self.gone {
            // They say that it has left, which it would refute.
            return Err(LEAVING.to_owned());
        }
        let now = self.now();
        if let Some(why) = self.pool.objection(now, &knowledge) {
            tracing::error!(%with, why, "gossip: not joined");
            return Err(why);
        }
        if self.round_trips.len() > 10_000 {
            self.round_trips.clear();
        }
        self.round_trips.insert(with, took);
        self.pool.learn(now, knowledge);
        if joins {
            self.pool.introduce();
        }
        Ok(())
    }

    fn answer(&mut self, Exchange { from, theirs, answer }: Exchange) {
        let refused = |why: &str| {
            tracing::debug!(%from, why, "gossip exchange refused");
        };
        if !self.may_talk(from) {
            return refused("not of an allowed network");
        }
        // Who has no key of ours gets no answer that would help with guessing.
        let Some(bytes) = self.keyring.open(&theirs) else { return refused("not sealed with a key of ours") };
        let reply = match decode::<Ask>(&bytes) {
            Ok(_) if self.gone => Reply::Refused(LEAVING.to_owned()),
            Ok(Ask::Accused(accused)) => {
                let now = self.now();
                Reply::Refuted(self.pool.answer_accusation(now, &accused))
            }
            Ok(Ask::Exchange(theirs)) => match self.pool.objection(self.now(), &theirs) {
                Some(why) => {
                    tracing::error!(%from, why, "gossip: refused to join");
                    Reply::Refused(why)
                }
                None => {
                    let now = self.now();
                    self.pool.learn(now, theirs);
                    Reply::Exchange(self.pool.knowledge())
                }
            },
            Ok(Ask::Keyring(_)) if !self.keyring.is_trusted(&theirs) => {
                Reply::Refused("keys are only told and changed encrypted".to_owned())
            }
            Ok(Ask::Keyring(request)) => {
                // Sealed before a change of the primary key: the asker has the former one for sure.
                let held = keys::apply(&self.keyring, &request);
                Reply::Keyring(held)
            }
            Err(reason) => Reply::Refused(reason),
        };
        // The other side may have gone meanwhile.
        drop(answer.send(self.keyring.seal(&encode(&reply))));
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
        let mut strangers = self.pool.strangers();
        self.asked.retain(|stranger, at| at.elapsed() < STRANGER_PAUSE && strangers.contains(stranger));
        if !strangers.is_empty() && self.asked.len() < STRANGERS_AT_ONCE {
            strangers.retain(|stranger| !self.asked.contains_key(stranger));
            self.rng.shuffle(&mut strangers);
            strangers.truncate(STRANGERS_AT_ONCE - self.asked.len());
            for stranger in strangers {
                self.asked.insert(stranger, clock::Instant::now());
                self.exchange(stranger, None);
            }
        }
        if self.pool.take_changed() {
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

fn ms(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}

async fn ask_keys(transport: &dyn Transport, keyring: &Keyring, to: SocketAddr, request: &KeyringRequest) -> Result<Held, String> {
    match call(transport, keyring, to, &Ask::Keyring(request.clone())).await.map_err(|unanswered| unanswered.why)? {
        Reply::Keyring(held) => Ok(held),
        Reply::Refused(why) => Err(why),
        Reply::Exchange(_) | Reply::Refuted(_) => Err("answered another question".to_owned()),
    }
}

/// One question on a stream and its answer.
async fn call(transport: &dyn Transport, keyring: &Keyring, with: SocketAddr, ask: &Ask) -> Result<Reply, Unanswered> {
    let unanswered = |why: String| Unanswered { why, closed: false };
    match clock::timeout(EXCHANGE_DEADLINE, transport.exchange(with, keyring.seal(&encode(ask)))).await {
        Ok(Ok(answer)) => {
            let opened = keyring.open(&answer).ok_or_else(|| unanswered("the answer is not sealed with a key of ours".to_owned()))?;
            decode(&opened).map_err(unanswered)
        }
        Ok(Err(error)) => Err(Unanswered { closed: error.kind() == std::io::ErrorKind::ConnectionRefused, why: dial(with, &error) }),
        Err(_) => Err(unanswered(format!("dial tcp {with}: i/o timeout"))),
    }
}

/// A failure to reach somebody, in the words operators look for.
fn dial(with: SocketAddr, error: &std::io::Error) -> String {
    match error.kind() {
        std::io::ErrorKind::ConnectionRefused => format!("dial tcp {with}: connect: connection refused"),
        std::io::ErrorKind::UnexpectedEof | std::io::ErrorKind::ConnectionReset => {
            format!("{with} closed the connection: it may use another gossip key, or refuse this address")
        }
        _ => format!("dial tcp {with}: {error}"),
    }
}

/// Version of the bytes of an exchange.
const VERSION: u8 = 1;

pub(super) fn encode<T: Serialize>(value: &T) -> Vec<u8> {
    let mut bytes = vec![VERSION];
    rmp_serde::encode::write_named(&mut bytes, value).expect("plain data, which msgpack can always write");
    bytes
}

pub(super) fn decode<T: serde::de::DeserializeOwned>(bytes: &[u8]) -> Result<T, String> {
    match bytes.split_first() {
        Some((&VERSION, rest)) => rmp_serde::from_slice(rest).map_err(|error| error.to_string()),
        _ => Err("unknown version".to_owned()),
    }
}
