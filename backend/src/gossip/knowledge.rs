//! Everything one side knows, as two members exchange it on a stream.
//!
//! Contract: cluster, section "Gossip", rows on push-pull.

use std::{
    collections::{BTreeMap, BTreeSet},
    time::Duration,
};

use foca::{AccumulatingRuntime, Codec as _, PostcardCodec, State};
use serde::{Deserialize, Serialize};

use super::{
    identity::{Identity, Meta, NodeId, Stay},
    news::News,
    pool::Pool,
};

/// Everything one side knows, for the other side of an exchange.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(super) struct Knowledge {
    /// Who tells.
    pub(super) from: Identity,
    pub(super) datacenter: String,
    members: Vec<foca::Member<Identity>>,
    pub(super) metas: BTreeMap<NodeId, Meta>,
    #[serde(default)]
    stays: BTreeMap<NodeId, Stay>,
}

impl Knowledge {
    /// Who lives, as far as they know.
    pub(super) fn active(&self) -> impl Iterator<Item = NodeId> {
        self.members.iter().filter(|member| member.state() != State::Down).map(|member| member.id().node)
    }
}

impl Pool {
    /// Everything known, for an exchange. Not what is left of those forgotten here: it would go from one to the other for ever.
    pub(super) fn knowledge(&mut self) -> Knowledge {
        let (me, own) = (self.me(), self.own_member());
        let is_shown = |node: &NodeId| *node == me.node || self.known.contains_key(node);
        let kept = |member: &&foca::Member<Identity>| member.state() != State::Down || is_shown(&member.id().node);
        let members = self.foca.iter_membership_state().filter(kept).cloned().chain([own]).collect();
        let told = self.desk.told();
        let metas = told.metas.iter().filter(|(node, _)| is_shown(node)).map(|(node, meta)| (*node, meta.clone())).collect();
        Knowledge { from: me, datacenter: self.datacenter.clone(), members, metas, stays: told.stays.clone() }
    }

    /// Learns what the other side of an exchange knows.
    pub(super) fn learn(&mut self, now: Duration, knowledge: Knowledge) {
        let me = self.me();
        let living: BTreeSet<NodeId> = knowledge.active().collect();
        {
            let mut told = self.desk.told();
            // Of those forgotten here nothing is news.
            let is_shown = |node: &NodeId| self.known.contains_key(node) || living.contains(node);
            for (node, meta) in knowledge.metas {
                if node != me.node && is_shown(&node) {
                    told.learn(News::Meta(node, meta));
                }
            }
            for (node, stay) in knowledge.stays {
                if node == me.node || is_shown(&node) || told.stays.contains_key(&node) {
                    told.learn(News::Stay(node, stay));
                }
            }
        }
        if let Err(error) = self.foca.apply_many(knowledge.members.into_iter(), true, &mut self.effects) {
            tracing::debug!(%error, "gossip exchange ignored");
        }
        self.collect(now);
    }

    /// This node with how often it refuted accusations, which foca tells in its packets only.
    pub(super) fn own_member(&mut self) -> foca::Member<Identity> {
        let (me, mut packets) = (self.me(), AccumulatingRuntime::new());
        let sent = self.foca.announce(me, &mut packets).ok().and_then(|()| packets.to_send());
        let header = sent.and_then(|(_, packet)| PostcardCodec.decode_header(packet.as_ref()).ok());
        let refutation = header.map_or(0, |header: foca::Header<Identity>| header.src_incarnation);
        foca::Member::new(me, refutation, State::Alive)
    }
}
