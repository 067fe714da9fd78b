//! Everybody a pool knows, as the agent shows them: with names, tags and Consul's statuses.

use std::{
    collections::{BTreeMap, BTreeSet},
    time::Duration,
};

use foca::State;
use shared::agent::{Member, status};

use super::{
    identity::{End, Identity, Meta, NodeId},
    pool::{Known, Pool, status_of},
};

/// A member with what only the pool knows of it.
#[derive(Clone, Debug)]
pub(super) struct Detail {
    pub(super) member: Member,
    pub(super) known: Known,
    /// Since when it is suspected.
    pub(super) suspected: Option<Duration>,
    /// Names of those who accuse it, or did when it was declared failed.
    pub(super) accusers: Vec<String>,
}

/// Two living members of one name: the one that is shown, and the other.
pub(super) type Rivals = (String, Identity, Identity);

impl Pool {
    /// Everybody to be shown, by name, and whether living members share one.
    pub(super) fn members(&self) -> (Vec<Member>, bool) {
        let told = self.desk.told();
        let mut members: Vec<(Member, u64)> = self
            .everybody()
            .filter_map(|known| {
                let node = known.identity.node;
                let stay = told.stays.get(&node);
                if stay.is_some_and(|stay| stay.end == End::Pruned && !known.alive && stay.incarnation >= known.identity.incarnation) {
                    return None;
                }
                Some((member(&known, told.metas.get(&node)?, status_of(&known, stay)), known.identity.incarnation))
            })
            .collect();
        // Who took over the name of somebody dead stands for it; of two that live, the one that was there first.
        members.sort_by(|(a, a_since), (b, b_since)| {
            let (a_name, b_name) =
                (a.name.bytes().map(|byte| byte.to_ascii_lowercase()), b.name.bytes().map(|byte| byte.to_ascii_lowercase()));
            a_name.cmp(b_name).then((a.status, a_since).cmp(&(b.status, b_since)))
        });
        let mut rivals = false;
        members.dedup_by(|(later, _), (kept, _)| {
            let same = later.name.eq_ignore_ascii_case(&kept.name);
            rivals |= same && later.status == status::ALIVE;
            same
        });
        (members.into_iter().map(|(member, _)| member).collect(), rivals)
    }

    /// Living members that share a name, which two that joined at the same time can.
    pub(super) fn rivals(&self) -> Vec<Rivals> {
        let told = self.desk.told();
        let mut living: Vec<(String, Identity)> = self
            .everybody()
            .filter(|known| known.alive)
            .filter_map(|known| Some((told.metas.get(&known.identity.node)?.name.to_lowercase(), known.identity)))
            .collect();
        living.sort_by(|(a, a_id), (b, b_id)| (a, a_id.incarnation, a_id.node).cmp(&(b, b_id.incarnation, b_id.node)));
        let pairs = living.windows(2).filter(|pair| pair[0].0 == pair[1].0 && pair[0].1.address != pair[1].1.address);
        pairs.map(|pair| (pair[0].0.clone(), pair[0].1, pair[1].1)).collect()
    }

    fn everybody(&self) -> impl Iterator<Item = Known> {
        let me = Known { identity: self.me(), alive: true, since: Duration::ZERO, seen: status::ALIVE, accusers: BTreeSet::new() };
        let own = me.identity.node;
        self.known.values().filter(move |known| known.identity.node != own).cloned().chain([me])
    }

    /// Members with what only the pool knows of them.
    pub(super) fn details(&self) -> Vec<Detail> {
        let told = self.desk.told();
        let states: BTreeMap<NodeId, State> = self.foca.iter_membership_state().map(|member| (member.id().node, member.state())).collect();
        let name = |node: &NodeId| told.metas.get(node).map_or_else(|| node.to_string(), |meta| meta.name.clone());
        let mut details: Vec<_> = self
            .everybody()
            .filter_map(|known| {
                let node = known.identity.node;
                let member = member(&known, told.metas.get(&node)?, status_of(&known, told.stays.get(&node)));
                let suspected = (states.get(&node) == Some(&State::Suspect))
                    .then(|| self.suspicions.get(&node).map_or(known.since, |suspicion| suspicion.since));
                let accusers = match told.accused.get(&node) {
                    _ if member.status == status::FAILED => known.accusers.iter().map(name).collect(),
                    Some(accused) if suspected.is_some() => accused.by.iter().map(name).collect(),
                    _ => Vec::new(),
                };
                Some(Detail { member, known, suspected, accusers })
            })
            .collect();
        details.sort_by(|a, b| a.member.name.cmp(&b.member.name));
        details
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
