//! The pool's state: foca, its timers, and what is known about each member. Pure: it is told the time and the packets,
//! and leaves behind packets to send.
//!
//! A member is shown only once its [`Meta`] is known, which comes with an exchange of everything known.

use std::{collections::BTreeMap, net::SocketAddr, num::NonZeroU32, time::Duration};

use bytes::Bytes;
use foca::{AccumulatingRuntime, Config, Foca, NoCustomBroadcast, OwnedNotification, PostcardCodec, Timer};
use rand::{SeedableRng as _, rngs::StdRng};
use serde::{Deserialize, Serialize};
use shared::agent::Member;

use super::identity::{Identity, Meta, NodeId};

/// Values of [`Member::status`].
mod status {
    pub(super) const ALIVE: u8 = 1;
    pub(super) const FAILED: u8 = 4;
}

/// Everything one side knows, for the other side of an exchange.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(super) struct Knowledge {
    members: Vec<foca::Member<Identity>>,
    metas: BTreeMap<NodeId, Meta>,
}

/// Somebody who is or was a member.
#[derive(Clone, Debug)]
struct Known {
    identity: Identity,
    alive: bool,
}

/// One node's view of the pool. Times are since its start.
pub(super) struct Pool {
    foca: Foca<Identity, PostcardCodec, StdRng, NoCustomBroadcast>,
    effects: AccumulatingRuntime<Identity>,
    /// By due time, then by order of scheduling.
    timers: BTreeMap<(Duration, u64), Timer<Identity>>,
    scheduled: u64,
    known: BTreeMap<NodeId, Known>,
    metas: BTreeMap<NodeId, Meta>,
    outgoing: Vec<(SocketAddr, Bytes)>,
    changed: bool,
    size: usize,
}

impl Pool {
    /// A pool of one.
    pub(super) fn new(me: Identity, meta: Meta, seed: u64) -> Self {
        let config = Config::new_lan(NonZeroU32::MIN);
        Self {
            foca: Foca::new(me, config, StdRng::seed_from_u64(seed), PostcardCodec),
            effects: AccumulatingRuntime::new(),
            timers: BTreeMap::new(),
            scheduled: 0,
            known: BTreeMap::new(),
            metas: BTreeMap::from([(me.node, meta)]),
            outgoing: Vec::new(),
            changed: true,
            size: 1,
        }
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

    /// What to send and to whom; empty afterwards.
    pub(super) fn take_outgoing(&mut self) -> Vec<(SocketAddr, Bytes)> {
        std::mem::take(&mut self.outgoing)
    }

    /// Whether [`Pool::members`] may differ since the last call.
    pub(super) fn take_changed(&mut self) -> bool {
        std::mem::take(&mut self.changed)
    }

    /// Everything known, for an exchange.
    pub(super) fn knowledge(&self) -> Knowledge {
        let mut members: Vec<_> = self.foca.iter_membership_state().cloned().collect();
        members.push(foca::Member::alive(*self.foca.identity()));
        Knowledge { members, metas: self.metas.clone() }
    }

    /// Learns what the other side of an exchange knows.
    pub(super) fn learn(&mut self, now: Duration, knowledge: Knowledge) {
        let me = self.foca.identity().node;
        for (node, meta) in knowledge.metas {
            let newer = self.metas.get(&node).is_none_or(|ours| ours.version < meta.version);
            if node != me && newer {
                self.metas.insert(node, meta);
                self.changed = true;
            }
        }
        if let Err(error) = self.foca.apply_many(knowledge.members.into_iter(), true, &mut self.effects) {
            tracing::debug!(%error, "gossip exchange ignored");
        }
        self.collect(now);
    }

    /// Addresses of the others that are alive.
    pub(super) fn peers(&self) -> Vec<SocketAddr> {
        self.foca.iter_members().map(|member| member.id().address).collect()
    }

    /// Addresses of living members of which too little is known to show them.
    pub(super) fn strangers(&self) -> Vec<SocketAddr> {
        self.known
            .values()
            .filter(|known| known.alive && !self.is_introduced(&known.identity))
            .map(|known| known.identity.address)
            .collect()
    }

    fn is_introduced(&self, identity: &Identity) -> bool {
        self.metas.get(&identity.node).is_some_and(|meta| meta.version.1 >= identity.meta_version)
    }

    /// Tells the others goodbye.
    pub(super) fn leave(&mut self, now: Duration) {
        if let Err(error) = self.foca.leave_cluster(&mut self.effects) {
            tracing::debug!(%error, "gossip leave ignored");
        }
        self.collect(now);
    }

    /// Everybody to be shown, by name.
    pub(super) fn members(&self) -> Vec<Member> {
        let me = Known { identity: *self.foca.identity(), alive: true };
        let everybody = self.known.values().filter(|known| known.identity.node != me.identity.node).chain([&me]);
        let mut members: Vec<Member> = everybody.filter_map(|known| Some(member(known, self.metas.get(&known.identity.node)?))).collect();
        members.sort_by(|a, b| a.name.cmp(&b.name));
        members
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
                _ => continue,
            };
            // A restarted node comes up before its former self is declared down.
            let outdated = self.known.get(&identity.node).is_some_and(|known| known.identity.incarnation > identity.incarnation);
            if !outdated {
                self.known.insert(identity.node, Known { identity, alive });
                self.changed = true;
            }
        }
        self.resize();
    }

    /// Lets foca know how large the pool is: that sets how often news is repeated and how long a suspicion lasts.
    fn resize(&mut self) {
        let size = self.foca.num_members() + 1;
        if size != self.size {
            self.size = size;
            let size = u32::try_from(size).ok().and_then(NonZeroU32::new).unwrap_or(NonZeroU32::MIN);
            if let Err(error) = self.foca.set_config(Config::new_lan(size)) {
                tracing::warn!(%error, "gossip keeps its former settings");
            }
        }
    }
}

fn member(known: &Known, meta: &Meta) -> Member {
    Member {
        name: meta.name.clone(),
        addr: known.identity.address.ip().to_string(),
        port: known.identity.address.port(),
        tags: meta.tags.clone(),
        status: if known.alive { status::ALIVE } else { status::FAILED },
        protocol_min: 1,
        protocol_max: 5,
        protocol_cur: 2,
        delegate_min: 2,
        delegate_max: 5,
        delegate_cur: 4,
    }
}
