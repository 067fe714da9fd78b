//! The loop around one [`Pool`]: packets, timers, exchanges. The only task that touches the pool.

use std::{
    collections::{BTreeMap, BTreeSet},
    net::SocketAddr,
    sync::Arc,
    time::Duration,
};

use shared::agent::Member;
use tokio::sync::{mpsc, oneshot, watch};

use super::{
    Command, Error, Options,
    identity::{Identity, Meta, NodeId},
    pool::{Knowledge, Pool},
    transport::{Exchange, Transport},
};
use crate::rt::{Rng, Runtime, Shutdown, Tasks, clock};

/// How often everything known is exchanged with somebody, which repairs what single packets missed.
const EXCHANGE_EVERY: Duration = Duration::from_secs(30);
/// How long one exchange may take.
const EXCHANGE_DEADLINE: Duration = Duration::from_secs(10);
/// How long a member about whom nobody could tell anything is left alone.
const STRANGER_PAUSE: Duration = Duration::from_secs(1);

/// An exchange that came to an end.
struct Ended {
    with: SocketAddr,
    outcome: Result<Knowledge, String>,
    joining: Option<oneshot::Sender<Result<(), String>>>,
}

/// A pool with its surroundings.
pub(super) struct Service {
    pool: Pool,
    start: clock::Instant,
    rng: Rng,
    tasks: Tasks,
    transport: Arc<dyn Transport>,
    commands: mpsc::Receiver<Command>,
    members: watch::Sender<Arc<Vec<Member>>>,
    ended: (mpsc::Sender<Ended>, mpsc::Receiver<Ended>),
    /// With whom an exchange is under way.
    exchanging: BTreeSet<SocketAddr>,
    /// Members that were asked who they are, and when.
    asked: BTreeMap<SocketAddr, clock::Instant>,
}

/// The members as they are now, and a signal at every change.
type Members = watch::Receiver<Arc<Vec<Member>>>;

impl Service {
    /// A pool of one; the receiver tells its members.
    pub(super) fn new(
        options: Options,
        runtime: &Runtime,
        transport: Arc<dyn Transport>,
        commands: mpsc::Receiver<Command>,
    ) -> Result<(Self, Members), Error> {
        let node = NodeId::parse_str(&options.node_id).map_err(|_| Error::NodeId(options.node_id.clone()))?;
        let incarnation = runtime.clock.wall_ms();
        let me = Identity { node, address: options.advertise, incarnation, meta_version: 0 };
        let meta = Meta { version: (incarnation, 0), name: options.node_name, tags: options.tags };
        let rng = runtime.rng.fork();
        let mut pool = Pool::new(me, meta, u64::from_le_bytes(rng.bytes()));
        pool.take_changed();
        let (members, watching) = watch::channel(Arc::new(pool.members()));
        let service = Self {
            pool,
            start: runtime.clock.now(),
            rng,
            tasks: runtime.tasks.clone(),
            transport,
            commands,
            members,
            ended: mpsc::channel(64),
            exchanging: BTreeSet::new(),
            asked: BTreeMap::new(),
        };
        Ok((service, watching))
    }

    /// Runs until the agent stops, then says goodbye.
    pub(super) async fn run(mut self, shutdown: Shutdown) {
        let mut exchange_at = clock::Instant::now() + self.rng.jitter(EXCHANGE_EVERY);
        loop {
            let due = self.pool.due().map_or(exchange_at, |due| (self.start + due).min(exchange_at));
            tokio::select! {
                biased;
                () = shutdown.requested() => break,
                Some(command) = self.commands.recv() => self.obey(command),
                Some(ended) = self.ended.1.recv() => self.finish(ended),
                exchange = self.transport.accept() => self.answer(exchange),
                packet = self.transport.receive() => {
                    let now = self.now();
                    self.pool.receive(now, &packet);
                }
                () = clock::sleep_until(due) => {}
            }
            // Also when packets never pause.
            let now = self.now();
            self.pool.tick(now);
            if clock::Instant::now() >= exchange_at {
                exchange_at = clock::Instant::now() + EXCHANGE_EVERY;
                self.exchange_with_somebody();
            }
            self.settle().await;
        }
        let now = self.now();
        self.pool.leave(now);
        self.settle().await;
    }

    fn now(&self) -> Duration {
        self.start.elapsed()
    }

    fn obey(&mut self, command: Command) {
        match command {
            Command::Join(address, done) => self.exchange(address, Some(done)),
        }
    }

    fn exchange_with_somebody(&mut self) {
        let mut peers = self.pool.peers();
        self.rng.shuffle(&mut peers);
        if let Some(peer) = peers.first() {
            self.exchange(*peer, None);
        }
    }

    /// Starts an exchange in a task of its own; it ends in [`Service::finish`].
    fn exchange(&mut self, with: SocketAddr, joining: Option<oneshot::Sender<Result<(), String>>>) {
        if !self.exchanging.insert(with) && joining.is_none() {
            return;
        }
        let (transport, ended) = (self.transport.clone(), self.ended.0.clone());
        let ours = encode(&self.pool.knowledge());
        self.tasks.spawn_until_shutdown("gossip exchange", async move {
            let outcome = match clock::timeout(EXCHANGE_DEADLINE, transport.exchange(with, ours)).await {
                Ok(Ok(theirs)) => decode(&theirs),
                Ok(Err(error)) => Err(error.to_string()),
                Err(_) => Err("timed out".to_owned()),
            };
            // The service only goes at shutdown.
            drop(ended.send(Ended { with, outcome, joining }).await);
        });
    }

    fn finish(&mut self, Ended { with, outcome, joining }: Ended) {
        self.exchanging.remove(&with);
        let result = match outcome {
            Ok(knowledge) => {
                let now = self.now();
                self.pool.learn(now, knowledge);
                Ok(())
            }
            Err(reason) => {
                tracing::debug!(%with, reason, "gossip exchange failed");
                Err(reason)
            }
        };
        if let Some(joining) = joining {
            drop(joining.send(result));
        }
    }

    fn answer(&mut self, Exchange { theirs, answer }: Exchange) {
        match decode(&theirs) {
            Ok(knowledge) => {
                let now = self.now();
                self.pool.learn(now, knowledge);
                // The other side may have gone meanwhile.
                drop(answer.send(encode(&self.pool.knowledge())));
            }
            Err(reason) => tracing::debug!(reason, "gossip exchange refused"),
        }
    }

    /// Sends what the pool left behind, gets to know strangers, publishes changes.
    async fn settle(&mut self) {
        for (to, packet) in self.pool.take_outgoing() {
            // A lost packet is gossip's daily bread.
            if let Err(error) = self.transport.send(to, &packet).await {
                tracing::trace!(%error, %to, "gossip packet not sent");
            }
        }
        let strangers = self.pool.strangers();
        self.asked.retain(|stranger, at| strangers.contains(stranger) && at.elapsed() < STRANGER_PAUSE);
        for stranger in strangers {
            if let std::collections::btree_map::Entry::Vacant(e) = self.asked.entry(stranger) {
                e.insert(clock::Instant::now());
                self.exchange(stranger, None);
            }
        }
        if self.pool.take_changed() {
            let members = Arc::new(self.pool.members());
            self.members.send_if_modified(|published| {
                let differs = *published != members;
                *published = members;
                differs
            });
        }
    }
}

/// Version of the bytes of an exchange.
const VERSION: u8 = 1;

fn encode(knowledge: &Knowledge) -> Vec<u8> {
    let mut bytes = vec![VERSION];
    rmp_serde::encode::write_named(&mut bytes, knowledge).expect("knowledge is plain data, which msgpack can always write");
    bytes
}

fn decode(bytes: &[u8]) -> Result<Knowledge, String> {
    match bytes.split_first() {
        Some((&VERSION, rest)) => rmp_serde::from_slice(rest).map_err(|error| error.to_string()),
        _ => Err("unknown version".to_owned()),
    }
}
