//! The pool's state: foca, its timers, and what is known about each member. Pure: it is told the time and the packets,
//! and leaves behind packets to send.
//!
//! A member is shown only once its [`Meta`] is known, which comes with the news or with an exchange of everything known.
//! Contract: cluster, section "Gossip".

use std::{
    collections::{BTreeMap, BTreeSet},
    net::SocketAddr,
    num::{NonZeroU8, NonZeroU32, NonZeroUsize},
    time::Duration,
};

use bytes::Bytes;
use foca::{AccumulatingRuntime, Config, Foca, OwnedNotification, PeriodicParams, PostcardCodec, Timer};
use rand::{SeedableRng as _, rngs::StdRng};
use shared::agent::status;

use super::{
    Timing,
    health::Health,
    identity::{Identity, Meta, NodeId, Stay},
    keyring,
    neighbour::Probe,
    news::{Desk, News},
    suspicion::{self, Suspicion},
};

/// Somebody who is or was a member.
#[derive(Clone, Debug)]
pub(super) struct Known {
    pub(super) identity: Identity,
    pub(super) alive: bool,
    /// Since when its status is what it is.
    pub(super) since: Duration,
    /// The status that was last looked at.
    pub(super) seen: u8,
    /// Who accused it when it was declared down, as far as this node had heard.
    pub(super) accusers: BTreeSet<NodeId>,
}

/// Members anybody may tell of, at most: an open port must not fill the memory.
const MEMBERS_MAX: usize = 65_536;

/// What a pool is set up from.
pub(super) struct Setup {
    pub(super) me: Identity,
    pub(super) meta: Meta,
    pub(super) datacenter: String,
    pub(super) timing: Timing,
    pub(super) seed: u64,
}

/// One node's view of the pool. Times are since its start.
pub(super) struct Pool {
    pub(super) foca: Foca<Identity, PostcardCodec, StdRng, Desk>,
    pub(super) effects: AccumulatingRuntime<Identity>,
    /// By due time, then by order of scheduling.
    pub(super) timers: BTreeMap<(Duration, u64), Timer<Identity>>,
    scheduled: u64,
    pub(super) known: BTreeMap<NodeId, Known>,
    pub(super) desk: Desk,
    pub(super) datacenter: String,
    pub(super) timing: Timing,
    pub(super) outgoing: Vec<(SocketAddr, Bytes)>,
    pub(super) changed: bool,
    /// Members the settings are made for.
    pub(super) sized: usize,
    pub(super) health: Health,
    /// Of foca's timers now; none before there is anybody to probe.
    pub(super) token: Option<u8>,
    /// Who is accused, by this node or others.
    pub(super) suspicions: BTreeMap<NodeId, Suspicion>,
    /// The probe of the neighbour under way, and the number of the last one.
    pub(super) neighbour: Option<Probe>,
    pub(super) probes: u8,
    /// Newly accused members, to be asked on another way.
    pub(super) accused: Vec<foca::Member<Identity>>,
    /// Since when nobody knows a node any more of which an end is kept.
    pub(super) orphans: BTreeMap<NodeId, Duration>,
    pub(super) leaving: bool,
}

fn config(timing: &Timing, size: usize) -> Config {
    let members = u32::try_from(size).ok().and_then(NonZeroU32::new).unwrap_or(NonZeroU32::MIN);
    let base = Config::new_lan(members);
    let largest = 1400 - keyring::OVERHEAD;
    Config {
        probe_period: timing.probe_interval,
        probe_rtt: timing.probe_timeout,
        // How long really is decided when the timer is set: see `suspicion`.
        suspect_to_down_after: suspicion::shortest(timing, size, 0),
        // Each member repeats news so often, to members drawn by chance: with 6 times, one of a hundred news misses somebody in a pool of
        // twelve, who finds out only by his own probes. Small pools can afford more.
        max_transmissions: base.max_transmissions.max(NonZeroU8::new(10).expect("not zero")),
        max_packet_size: NonZeroUsize::new(largest).expect("not zero"),
        // The table here remembers longer, with names.
        remove_down_after: Some(Duration::from_secs(24 * 3600)),
        periodic_gossip: Some(PeriodicParams {
            frequency: timing.gossip_interval,
            num_members: NonZeroUsize::new(timing.gossip_nodes).unwrap_or(NonZeroUsize::MIN),
        }),
        ..base
    }
}

impl Pool {
    /// A pool of one.
    pub(super) fn new(setup: Setup) -> Self {
        let Setup { me, meta, datacenter, timing, seed } = setup;
        let desk = Desk::default();
        desk.told().metas.insert(me.node, meta);
        let rng = StdRng::seed_from_u64(seed);
        Self {
            foca: Foca::with_custom_broadcast(me, config(&timing, 1), rng, PostcardCodec, desk.clone()),
            effects: AccumulatingRuntime::new(),
            timers: BTreeMap::new(),
            scheduled: 0,
            known: BTreeMap::new(),
            desk,
            datacenter,
            timing,
            outgoing: Vec::new(),
            changed: true,
            sized: 1,
            health: Health::default(),
            token: None,
            suspicions: BTreeMap::new(),
            neighbour: None,
            probes: 0,
            accused: Vec::new(),
            orphans: BTreeMap::new(),
            leaving: false,
        }
    }

    pub(super) fn me(&self) -> Identity {
        *self.foca.identity()
    }

    /// Id of the Raft cluster of this node's servers; empty when none is known.
    pub(super) fn cluster(&self) -> String {
        let told = self.desk.told();
        let living = self.known.values().filter(|known| known.alive).map(|known| known.identity.node).chain([self.me().node]);
        living
            .filter_map(|node| told.metas.get(&node))
            .find(|meta| !meta.cluster.is_empty())
            .map(|meta| meta.cluster.clone())
            .unwrap_or_default()
    }

    /// A packet came in.
    pub(super) fn receive(&mut self, now: Duration, packet: &[u8]) {
        if self.foca.iter_membership_state().len() > MEMBERS_MAX {
            return;
        }
        self.hear_neighbour(packet);
        // Foreign and outdated packets are normal on an open port.
        if let Err(error) = self.foca.handle_data(packet, &mut self.effects) {
            tracing::debug!(%error, "gossip packet ignored");
        }
        self.collect(now);
    }

    /// When [`Pool::tick`] has something to do next.
    pub(super) fn due(&self) -> Option<Duration> {
        self.timers.first_key_value().map(|((due, _), _)| *due)
    }

    /// Runs the timers that are due.
    pub(super) fn tick(&mut self, now: Duration) {
        while let Some(entry) = self.timers.first_entry().filter(|entry| entry.key().0 <= now) {
            let timer = entry.remove();
            let suspect = if let Timer::ChangeSuspectToDown { member_id, .. } = &timer { Some(member_id.node) } else { None };
            if let Err(error) = self.foca.handle_timer(timer.clone(), &mut self.effects) {
                tracing::debug!(%error, "gossip timer ignored");
            }
            self.keep_step(now, &timer);
            if let Some(node) = suspect {
                self.conclude(now, node);
            }
            self.collect(now);
        }
    }

    /// What to send and to whom; empty afterwards.
    pub(super) fn take_outgoing(&mut self) -> Vec<(SocketAddr, Bytes)> {
        std::mem::take(&mut self.outgoing)
    }

    /// Whether [`Pool::members`] may differ since the last call.
    pub(super) fn take_changed(&mut self) -> bool {
        let told = std::mem::take(&mut self.desk.told().changed);
        std::mem::take(&mut self.changed) || told
    }

    /// Tells everybody who this node is; they need not ask then.
    pub(super) fn introduce(&mut self) {
        let me = self.me().node;
        let meta = self.desk.told().metas.get(&me).cloned();
        if let Some(meta) = meta {
            self.spread(&News::Meta(me, meta));
        }
    }

    /// Passes an item on with the next packets, as one this node has just learned.
    pub(super) fn spread(&mut self, news: &News) {
        // Our own items are known here already; foca only spreads what is new to the desk.
        let (node, kept) = match news {
            News::Meta(node, _) => (*node, self.desk.told().metas.remove(node).map(|meta| News::Meta(*node, meta))),
            News::Stay(node, _) => (*node, self.desk.told().stays.remove(node).map(|stay| News::Stay(*node, stay))),
            News::Accusation { node, .. } => (*node, None),
        };
        if let Err(error) = self.foca.add_broadcast(&news.encode()) {
            // Too large for a packet: exchanges carry it.
            tracing::debug!(%error, %node, "gossip news not spread on packets");
        }
        let mut told = self.desk.told();
        if let Some(kept) = kept {
            told.learn(kept);
        }
    }

    /// Replaces what this node tells of itself.
    pub(super) fn describe(&mut self, now: Duration, change: impl FnOnce(&mut Meta)) {
        let me = self.me();
        let identity = Identity { meta_version: me.meta_version + 1, ..me };
        {
            let mut told = self.desk.told();
            let Some(meta) = told.metas.get_mut(&me.node) else { return };
            let before = meta.clone();
            change(meta);
            if *meta == before {
                return;
            }
            meta.version = (meta.version.0, identity.meta_version);
        }
        self.changed = true;
        if let Err(error) = self.become_known_as(identity) {
            tracing::warn!(%error, "gossip tags are not told");
        }
        self.introduce();
        self.collect(now);
    }

    /// This node goes on under another identity.
    ///
    /// foca begins anew then, and probes nobody before the next packet comes: if the others died this moment, none would.
    pub(super) fn become_known_as(&mut self, identity: Identity) -> Result<(), foca::Error> {
        self.foca.change_identity(identity, &mut self.effects)?;
        self.foca.apply_many(std::iter::empty(), true, &mut self.effects)
    }

    /// Addresses of the others that are alive.
    pub(super) fn peers(&self) -> Vec<SocketAddr> {
        self.foca.iter_members().map(|member| member.id().address).collect()
    }

    /// Addresses of members that may come back: those that failed, and for who is all alone those that left, too. Nobody else may know this
    /// node any more.
    pub(super) fn lost(&self) -> Vec<SocketAddr> {
        let (told, alone) = (self.desk.told(), self.foca.num_members() == 0);
        let is_lost = |known: &&Known| match status_of(known, told.stays.get(&known.identity.node)) {
            status::FAILED => true,
            status::LEFT => alone,
            _ => false,
        };
        self.known.values().filter(is_lost).map(|known| known.identity.address).collect()
    }

    /// Addresses of living members of which too little is known to show them.
    pub(super) fn strangers(&self) -> Vec<SocketAddr> {
        let told = self.desk.told();
        let is_introduced =
            |identity: &Identity| told.metas.get(&identity.node).is_some_and(|meta| meta.version.1 >= identity.meta_version);
        self.known.values().filter(|known| known.alive && !is_introduced(&known.identity)).map(|known| known.identity.address).collect()
    }

    pub(super) fn collect(&mut self, now: Duration) {
        while let Some((to, packet)) = self.effects.to_send() {
            self.outgoing.push((to.address, packet));
        }
        while let Some((after, timer)) = self.effects.to_schedule() {
            self.schedule(now, after, timer);
        }
        while let Some(notification) = self.effects.to_notify() {
            let (identity, alive) = match notification {
                OwnedNotification::MemberUp(identity) | OwnedNotification::Rename(_, identity) => (identity, true),
                OwnedNotification::MemberDown(identity) => (identity, false),
                OwnedNotification::Rejoin(_) => {
                    self.changed = true;
                    continue;
                }
                _ => continue,
            };
            // A restarted node comes up before its former self is declared down.
            let outdated = self.known.get(&identity.node).is_some_and(|known| known.identity.incarnation > identity.incarnation);
            if !outdated {
                let seen = self.known.get(&identity.node).map_or(0, |known| known.seen);
                let accused = if alive { None } else { self.desk.told().accused.remove(&identity.node) };
                let accusers = accused.map(|accused| accused.by).unwrap_or_default();
                self.known.insert(identity.node, Known { identity, alive, since: now, seen, accusers });
                self.changed = true;
            }
        }
        self.weigh(now);
        self.refute(now);
        self.tell_leave();
        self.resize();
    }

    fn schedule(&mut self, now: Duration, after: Duration, timer: Timer<Identity>) {
        let patience = self.health.score + 1;
        let due = match &timer {
            Timer::ProbeRandomMember(token) => {
                self.token = Some(*token);
                now + after * patience
            }
            Timer::SendIndirectProbe { .. } => now + after * patience,
            Timer::ChangeSuspectToDown { member_id, incarnation, token } => {
                let Some(due) = self.accuse(now, *member_id, *incarnation, *token) else { return };
                due
            }
            _ => now + after,
        };
        self.arm(due, timer);
    }

    /// Runs one of foca's timers at that time.
    pub(super) fn arm(&mut self, due: Duration, timer: Timer<Identity>) {
        self.scheduled += 1;
        let at = (due, self.scheduled);
        if let Timer::ChangeSuspectToDown { member_id, .. } = &timer {
            self.suspicions.entry(member_id.node).and_modify(|suspicion| suspicion.timer = at);
        }
        self.timers.insert(at, timer);
    }

    /// Lets foca know how large the pool is: that sets how often news is repeated and how long a suspicion lasts.
    fn resize(&mut self) {
        let sized = self.foca.num_members() + 1;
        if sized != self.sized {
            self.sized = sized;
            if let Err(error) = self.foca.set_config(config(&self.timing, sized)) {
                tracing::warn!(%error, "gossip keeps its former settings");
            }
        }
    }

    /// Notes since when each member's status is what it is; answers what changed, of members whose name is known.
    pub(super) fn note_changes(&mut self, now: Duration) -> Vec<(String, SocketAddr, u8)> {
        let (told, mut changes) = (self.desk.told(), Vec::new());
        for known in self.known.values_mut() {
            let node = known.identity.node;
            let status = status_of(known, told.stays.get(&node));
            if status != known.seen
                && let Some(meta) = told.metas.get(&node)
            {
                known.seen = status;
                known.since = now;
                changes.push((meta.name.clone(), known.identity.address, status));
            }
        }
        changes
    }
}

pub(super) fn status_of(known: &Known, stay: Option<&Stay>) -> u8 {
    let ends = stay.is_some_and(|stay| stay.incarnation >= known.identity.incarnation);
    match (known.alive, ends) {
        (true, false) => status::ALIVE,
        (true, true) => status::LEAVING,
        (false, true) => status::LEFT,
        (false, false) => status::FAILED,
    }
}
