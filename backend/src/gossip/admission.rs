//! Who must not become a member, in words for both sides: the one who asks is told, the one who is asked logs it.
//!
//! Contract: cluster, sections "Admission" and "Parameters", row "dead node reclaim". Must never refuse somebody who is a member.

use std::{collections::BTreeMap, time::Duration};

use shared::agent::status;

use super::{
    identity::{Identity, Meta, NodeId},
    knowledge::Knowledge,
    pool::{Known, Pool, status_of},
};

/// How long the name of a member that failed is kept from others with another address.
const RECLAIM: Duration = Duration::from_secs(30);

/// A server of each cluster among living members, by the cluster's id.
fn clusters(alive: impl Iterator<Item = NodeId>, metas: &BTreeMap<NodeId, Meta>) -> BTreeMap<&str, &str> {
    let belonging = alive.filter_map(|node| metas.get(&node)).filter(|meta| !meta.cluster.is_empty());
    belonging.map(|meta| (meta.cluster.as_str(), meta.name.as_str())).collect()
}

impl Pool {
    /// Why somebody must not become a member.
    pub(super) fn objection(&self, now: Duration, theirs: &Knowledge) -> Option<String> {
        let meta = theirs.metas.get(&theirs.from.node)?;
        if theirs.datacenter != self.datacenter {
            return Some(format!("Member '{}' part of wrong datacenter '{}'", meta.name, theirs.datacenter));
        }
        let is_member = self.known.get(&theirs.from.node).is_some_and(|known| known.alive && known.identity.address == theirs.from.address);
        if is_member {
            return None;
        }
        self.name_or_id_taken(now, &theirs.from, &meta.name).or_else(|| self.other_cluster(theirs, &meta.name))
    }

    fn name_or_id_taken(&self, now: Duration, from: &Identity, name: &str) -> Option<String> {
        let (me, told) = (self.me(), self.desk.told());
        let own_name = told.metas.get(&me.node).map_or("", |meta| meta.name.as_str());
        if from.node == me.node && from.address != me.address {
            return Some(format!("Member '{name}' has conflicting node ID '{}' with this agent's ID", me.node));
        }
        if from.node != me.node && name.eq_ignore_ascii_case(own_name) {
            return Some(format!("Member '{name}' has the name of this agent, whose address is {}", me.address));
        }
        // Who comes back at the same address is the same machine, whatever its id.
        for other in self.known.values().filter(|other| other.identity.address != from.address) {
            let node = other.identity.node;
            let Some(known) = told.metas.get(&node) else { continue };
            let (same_node, same_name) = (node == from.node, known.name.eq_ignore_ascii_case(name));
            if other.alive && same_node && !same_name {
                return Some(format!("Member '{name}' has conflicting node ID '{}' with member '{}'", from.node, known.name));
            }
            if !same_node && same_name {
                let taken = name_kept(now, other, status_of(other, told.stays.get(&node)));
                if taken.is_some() {
                    return taken.map(|why| format!("Member '{name}' has the name of {why}, whose address is {}", other.identity.address));
                }
            }
        }
        None
    }

    /// Two clusters that were formed on their own are never one: each has a state of its own.
    fn other_cluster(&self, theirs: &Knowledge, name: &str) -> Option<String> {
        let told = self.desk.told();
        let living = self.known.values().filter(|known| known.alive).map(|known| known.identity.node);
        let ours = clusters(living.chain([self.me().node]), &told.metas);
        let others = clusters(theirs.active().chain([theirs.from.node]), &theirs.metas);
        let (own_id, own_server) = ours.first_key_value()?;
        let (id, server) = others.iter().find(|(id, _)| !ours.contains_key(*id))?;
        Some(format!(
            "Member '{name}' is of another cluster: server '{server}' belongs to cluster {id}, server '{own_server}' to cluster {own_id}, \
             and two clusters are never merged. To move a server, stop it, empty its data directory and start it again"
        ))
    }
}

/// Who has the name, if it cannot be taken over now.
fn name_kept(now: Duration, other: &Known, status: u8) -> Option<String> {
    let age = now.saturating_sub(other.since);
    match status {
        status::ALIVE | status::LEAVING => Some("a living member".to_owned()),
        status::FAILED if age < RECLAIM => {
            let left = (RECLAIM - age).as_secs() + 1;
            Some(format!("a member that failed {} s ago (it can be taken over in {left} s)", age.as_secs()))
        }
        _ => None,
    }
}
