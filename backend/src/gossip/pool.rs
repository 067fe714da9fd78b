//! The pool's state: foca, its timers, and what is known about each member. Pure: it is told the time and the packets,
//! and leaves behind packets to send.
//!
//! A member is shown only once its [`Meta`] is known, which comes with the news or with an exchange of everything known.
//! Contract: cluster, section "Gossip".

use std::{
    collections::BTreeMap,
    net::SocketAddr,
    num::{NonZeroU8, NonZeroU32, NonZeroUsize},
    time::Duration,
};

use bytes::Bytes;
use foca::{AccumulatingRuntime, Config, Foca, OwnedNotification, PeriodicParams, PostcardCodec, State, Timer};
use rand::{SeedableRng as _, rngs::StdRng};
use serde::{Deserialize, Serialize};
use shared::agent::Member;

use super::{
    Timing,
    identity::{End, Identity, Meta, NodeId, Stay},
    keyring,
    news::{Desk, News},
};

/// Values of [`Member::status`].
pub(super) mod status {
    pub(in crate::gossip) const ALIVE: u8 = 1;
    pub(in crate::gossip) const LEAVING: u8 = 2;
    pub(in crate::gossip) const LEFT: u8 = 3;
    pub(in crate::gossip) const FAILED: u8 = 4;
}

/// Everything one side knows, for the other side of an exchange.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(super) struct Knowledge {
    /// Who tells.
    pub(super) from: Identity,
    pub(super) datacenter: String,
    members: Vec<foca::Member<Identity>>,
    metas: BTreeMap<NodeId, Meta>,
    #[serde(default)]
    stays: BTreeMap<NodeId, Stay>,
}

/// Somebody who is or was a member.
#[derive(Clone, Debug)]
pub(super) struct Known {
    pub(super) identity: Identity,
    pub(super) alive: bool,
    /// Since when its status is what it is.
    pub(super) since: Duration,
    /// The status that was last looked at.
    seen: u8,
}

/// How far ahead of this node's own incarnation an accusation may lie: incarnations are start times, and one more a refutation.
const AHEAD_MS_MAX: u64 = 24 * 3_600_000;

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
    foca: Foca<Identity, PostcardCodec, StdRng, Desk>,
    effects: AccumulatingRuntime<Identity>,
    /// By due time, then by order of scheduling.
    timers: BTreeMap<(Duration, u64), Timer<Identity>>,
    scheduled: u64,
    known: BTreeMap<NodeId, Known>,
    desk: Desk,
    datacenter: String,
    timing: Timing,
    outgoing: Vec<(SocketAddr, Bytes)>,
    changed: bool,
    /// Members and health the settings are made for.
    sized: (usize, u32),
    /// How far behind its timers this node is.
    health: u32,
    leaving: bool,
}

/// How long a suspicion lasts in a pool of this size: every member has to get the chance to refute it, so it grows with the
/// time news takes to get around.
fn suspicion(timing: &Timing, size: usize, health: u32) -> Duration {
    let size = f64::from(u32::try_from(size).unwrap_or(u32::MAX));
    let scale = (size.log10() - 0.7).max(1.0);
    timing.probe_interval.mul_f64(0.75 * f64::from(timing.suspicion_mult) * scale) * (health + 1)
}

fn config(timing: &Timing, size: usize, health: u32) -> Config {
    let members = u32::try_from(size).ok().and_then(NonZeroU32::new).unwrap_or(NonZeroU32::MIN);
    let base = Config::new_lan(members);
    let largest = 1400 - keyring::OVERHEAD;
    Config {
        probe_period: timing.probe_interval,
        probe_rtt: timing.probe_timeout,
        suspect_to_down_after: suspicion(timing, size, health),
        // Small pools repeat news more often than needed: a lost packet costs nothing there.
        max_transmissions: base.max_transmissions.max(NonZeroU8::new(6).expect("not zero")),
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
            foca: Foca::with_custom_broadcast(me, config(&timing, 1, 0), rng, PostcardCodec, desk.clone()),
            effects: AccumulatingRuntime::new(),
            timers: BTreeMap::new(),
            scheduled: 0,
            known: BTreeMap::new(),
            desk,
            datacenter,
            timing,
            outgoing: Vec::new(),
            changed: true,
            sized: (1, 0),
            health: 0,
            leaving: false,
        }
    }

    pub(super) fn me(&self) -> Identity {
        *self.foca.identity()
    }

    /// A packet came in.
    pub(super) fn receive(&mut self, now: Duration, packet: &[u8]) {
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
            if let Err(error) = self.foca.handle_timer(entry.remove(), &mut self.effects) {
                tracing::debug!(%error, "gossip timer ignored");
            }
            self.collect(now);
        }
    }

    /// Notes how late the last timer was: who is late himself should not be quick to accuse others.
    pub(super) fn note_lag(&mut self, lag: Duration) {
        let late = lag > self.timing.probe_interval / 2;
        self.health = if late { (self.health + 1).min(7) } else { self.health.saturating_sub(1) };
        self.resize();
    }

    pub(super) fn health(&self) -> u32 {
        self.health
    }

    pub(super) fn suspicion(&self) -> Duration {
        suspicion(&self.timing, self.sized.0, self.health)
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

    /// Everything known, for an exchange.
    pub(super) fn knowledge(&self) -> Knowledge {
        let mut members: Vec<_> = self.foca.iter_membership_state().cloned().collect();
        members.push(foca::Member::alive(*self.foca.identity()));
        let told = self.desk.told();
        let (metas, stays) = (told.metas.clone(), told.stays.clone());
        Knowledge { from: self.me(), datacenter: self.datacenter.clone(), members, metas, stays }
    }

    /// Why somebody must not become a member, in words for both sides.
    pub(super) fn objection(&self, theirs: &Knowledge) -> Option<String> {
        let meta = theirs.metas.get(&theirs.from.node)?;
        let (name, me) = (&meta.name, self.me());
        if theirs.datacenter != self.datacenter {
            return Some(format!("Member '{name}' part of wrong datacenter '{}'", theirs.datacenter));
        }
        let told = self.desk.told();
        let own_name = told.metas.get(&me.node).map_or("", |meta| meta.name.as_str());
        if theirs.from.node == me.node && theirs.from.address != me.address {
            return Some(format!("Member '{name}' has conflicting node ID '{}' with this agent's ID", me.node));
        }
        if theirs.from.node != me.node && name.eq_ignore_ascii_case(own_name) {
            return Some(format!("Member '{name}' has the name of this agent, whose address is {}", me.address));
        }
        for other in self.known.values().filter(|other| other.alive) {
            let Some(known) = told.metas.get(&other.identity.node) else { continue };
            let same_node = other.identity.node == theirs.from.node;
            if same_node && other.identity.address != theirs.from.address && !known.name.eq_ignore_ascii_case(name) {
                return Some(format!("Member '{name}' has conflicting node ID '{}' with member '{}'", theirs.from.node, known.name));
            }
            if !same_node && known.name.eq_ignore_ascii_case(name) {
                return Some(format!("Member '{name}' has the name of a living member, whose address is {}", other.identity.address));
            }
        }
        None
    }

    /// Learns what the other side of an exchange knows.
    pub(super) fn learn(&mut self, now: Duration, knowledge: Knowledge) {
        let me = self.me();
        {
            let mut told = self.desk.told();
            for (node, meta) in knowledge.metas {
                if node != me.node {
                    told.learn(News::Meta(node, meta));
                }
            }
            for (node, stay) in knowledge.stays {
                told.learn(News::Stay(node, stay));
            }
        }
        if let Err(error) = self.foca.apply_many(knowledge.members.into_iter(), true, &mut self.effects) {
            tracing::debug!(%error, "gossip exchange ignored");
        }
        self.collect(now);
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
    fn spread(&mut self, news: &News) {
        // Our own items are known here already; foca only spreads what is new to the desk.
        let (node, kept) = match news {
            News::Meta(node, _) => (*node, self.desk.told().metas.remove(node).map(|meta| News::Meta(*node, meta))),
            News::Stay(node, _) => (*node, self.desk.told().stays.remove(node).map(|stay| News::Stay(*node, stay))),
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

    /// Replaces this node's tags.
    pub(super) fn set_tags(&mut self, now: Duration, tags: BTreeMap<String, String>) {
        let me = self.me();
        let identity = Identity { meta_version: me.meta_version + 1, ..me };
        {
            let mut told = self.desk.told();
            let Some(meta) = told.metas.get_mut(&me.node) else { return };
            if meta.tags == tags {
                return;
            }
            meta.tags = tags;
            meta.version = (meta.version.0, identity.meta_version);
        }
        self.changed = true;
        if let Err(error) = self.foca.change_identity(identity, &mut self.effects) {
            tracing::warn!(%error, "gossip tags are not told");
        }
        self.introduce();
        self.collect(now);
    }

    /// Addresses of the others that are alive.
    pub(super) fn peers(&self) -> Vec<SocketAddr> {
        self.foca.iter_members().map(|member| member.id().address).collect()
    }

    /// Addresses of members that failed and may come back.
    pub(super) fn lost(&self) -> Vec<SocketAddr> {
        let told = self.desk.told();
        let lost = self.known.values().filter(|known| status_of(known, told.stays.get(&known.identity.node)) == status::FAILED);
        lost.map(|known| known.identity.address).collect()
    }

    /// Addresses of living members of which too little is known to show them.
    pub(super) fn strangers(&self) -> Vec<SocketAddr> {
        let told = self.desk.told();
        let is_introduced =
            |identity: &Identity| told.metas.get(&identity.node).is_some_and(|meta| meta.version.1 >= identity.meta_version);
        self.known.values().filter(|known| known.alive && !is_introduced(&known.identity)).map(|known| known.identity.address).collect()
    }

    /// Says that this node goes; the others will not take its silence for a failure.
    pub(super) fn announce_leave(&mut self, now: Duration) {
        self.leaving = true;
        let me = self.me();
        let stay = Stay { incarnation: me.incarnation, end: End::Leaving };
        self.desk.told().learn(News::Stay(me.node, stay));
        self.changed = true;
        self.spread(&News::Stay(me.node, stay));
        self.collect(now);
    }

    /// Goes.
    pub(super) fn leave(&mut self, now: Duration) {
        if let Err(error) = self.foca.leave_cluster(&mut self.effects) {
            tracing::debug!(%error, "gossip leave ignored");
        }
        self.collect(now);
    }

    /// Declares a failed member gone, or with `prune` forgets it too.
    ///
    /// # Errors
    /// Nobody of that name is known.
    pub(super) fn force_leave(&mut self, now: Duration, name: &str, prune: bool) -> Result<(), String> {
        let found = {
            let told = self.desk.told();
            let named = |known: &&Known| told.metas.get(&known.identity.node).is_some_and(|meta| meta.name == name);
            self.known.values().find(named).map(|known| known.identity)
        };
        let identity = found.ok_or_else(|| format!("agent: No node found with name '{name}'"))?;
        let end = if prune { End::Pruned } else { End::Left };
        let stay = Stay { incarnation: identity.incarnation, end };
        self.desk.told().learn(News::Stay(identity.node, stay));
        self.spread(&News::Stay(identity.node, stay));
        self.changed = true;
        self.collect(now);
        Ok(())
    }

    /// Forgets who failed or left long ago, and who an operator wants forgotten.
    pub(super) fn reap(&mut self, now: Duration, failed_after: Duration, left_after: Duration) {
        let mut told = self.desk.told();
        let gone = |known: &Known| {
            let stay = told.stays.get(&known.identity.node);
            let age = now.saturating_sub(known.since);
            match status_of(known, stay) {
                status::FAILED => age >= failed_after,
                status::LEFT => age >= left_after || stay.is_some_and(|stay| stay.end == End::Pruned),
                _ => false,
            }
        };
        let reaped: Vec<NodeId> = self.known.iter().filter(|(_, known)| gone(known)).map(|(node, _)| *node).collect();
        for node in reaped {
            self.known.remove(&node);
            // The stay stays for a while: it keeps others from telling the member back to life.
            told.metas.remove(&node);
            self.changed = true;
        }
    }

    /// Everybody to be shown, by name.
    pub(super) fn members(&self) -> Vec<Member> {
        let told = self.desk.told();
        let mut members: Vec<Member> = self
            .everybody()
            .filter_map(|known| {
                let node = known.identity.node;
                let stay = told.stays.get(&node);
                if stay.is_some_and(|stay| stay.end == End::Pruned && !known.alive && stay.incarnation >= known.identity.incarnation) {
                    return None;
                }
                Some(member(&known, told.metas.get(&node)?, status_of(&known, stay)))
            })
            .collect();
        members.sort_by(|a, b| a.name.cmp(&b.name));
        // Who took over the name of somebody dead stands for it.
        members.dedup_by(|later, kept| {
            let same = later.name == kept.name;
            if same && later.status < kept.status {
                std::mem::swap(later, kept);
            }
            same
        });
        members
    }

    fn everybody(&self) -> impl Iterator<Item = Known> {
        let me = Known { identity: self.me(), alive: true, since: Duration::ZERO, seen: status::ALIVE };
        let own = me.identity.node;
        self.known.values().filter(move |known| known.identity.node != own).cloned().chain([me])
    }

    /// Members with what only the pool knows of them: address, whether they are suspected, since when, incarnation.
    pub(super) fn details(&self) -> Vec<(Member, Known, bool)> {
        let told = self.desk.told();
        let suspected =
            |node: NodeId| self.foca.iter_membership_state().any(|member| member.id().node == node && member.state() == State::Suspect);
        let mut details: Vec<_> = self
            .everybody()
            .filter_map(|known| {
                let node = known.identity.node;
                let member = member(&known, told.metas.get(&node)?, status_of(&known, told.stays.get(&node)));
                Some((member, known, suspected(node)))
            })
            .collect();
        details.sort_by(|a, b| a.0.name.cmp(&b.0.name));
        details
    }

    fn collect(&mut self, now: Duration) {
        while let Some((to, packet)) = self.effects.to_send() {
            self.outgoing.push((to.address, packet));
        }
        while let Some((after, timer)) = self.effects.to_schedule() {
            self.scheduled += 1;
            self.timers.insert((now + after, self.scheduled), timer);
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
                self.known.insert(identity.node, Known { identity, alive, since: now, seen });
                self.changed = true;
            }
        }
        self.refute(now);
        self.resize();
    }

    /// Somebody declared this node gone that is here to stay: it comes back as a newer incarnation.
    fn refute(&mut self, now: Duration) {
        let me = self.me();
        let accused = self.desk.told().stays.get(&me.node).is_some_and(|stay| stay.incarnation >= me.incarnation);
        if !accused || self.leaving {
            return;
        }
        let past = self.desk.told().stays.get(&me.node).map_or(me.incarnation, |stay| stay.incarnation);
        if past > me.incarnation.saturating_add(AHEAD_MS_MAX) {
            // Nobody was ever that new: whoever says so is mistaken or means harm, and is not to push us there.
            self.desk.told().stays.remove(&me.node);
            return;
        }
        let identity = Identity { incarnation: past + 1, ..me };
        if let Err(error) = self.foca.change_identity(identity, &mut self.effects) {
            tracing::debug!(%error, "gossip accusation not refuted");
            return;
        }
        self.changed = true;
        self.collect(now);
    }

    /// Lets foca know how large the pool is: that sets how often news is repeated and how long a suspicion lasts.
    fn resize(&mut self) {
        let sized = (self.foca.num_members() + 1, self.health);
        if sized != self.sized {
            self.sized = sized;
            if let Err(error) = self.foca.set_config(config(&self.timing, sized.0, sized.1)) {
                tracing::warn!(%error, "gossip keeps its former settings");
            }
        }
    }

    /// Notes since when each member's status is what it is.
    pub(super) fn note_changes(&mut self, now: Duration) {
        let told = self.desk.told();
        for known in self.known.values_mut() {
            let status = status_of(known, told.stays.get(&known.identity.node));
            if status != known.seen {
                known.seen = status;
                known.since = now;
            }
        }
    }
}

fn status_of(known: &Known, stay: Option<&Stay>) -> u8 {
    let ends = stay.is_some_and(|stay| stay.incarnation >= known.identity.incarnation);
    match (known.alive, ends) {
        (true, false) => status::ALIVE,
        (true, true) => status::LEAVING,
        (false, true) => status::LEFT,
        (false, false) => status::FAILED,
    }
}

fn member(known: &Known, meta: &Meta, status: u8) -> Member {
    Member {
        name: meta.name.clone(),
        addr: known.identity.address.ip().to_string(),
        port: known.identity.address.port(),
        tags: meta.tags.clone(),
        status,
        protocol_min: 1,
        protocol_max: 5,
        protocol_cur: 2,
        delegate_min: 2,
        delegate_max: 5,
        delegate_cur: 4,
    }
}
