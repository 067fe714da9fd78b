//! Members that go on purpose: this node itself, those an operator declares gone, and when each is forgotten.
//!
//! Contract: cluster, section "Gossip", rows on leaving, force-leave and reaping.

use std::time::Duration;

use shared::agent::status;

use super::{
    identity::{End, Identity, NodeId, Stay},
    news::News,
    pool::{Known, Pool, status_of},
};

/// How far ahead of this node's own incarnation an accusation may lie: incarnations are start times, and one more a refutation.
const AHEAD_MS_MAX: u64 = 24 * 3_600_000;

impl Pool {
    /// Says that this node goes; the others will not take its silence for a failure.
    pub(super) fn announce_leave(&mut self, now: Duration) {
        self.leaving = true;
        self.collect(now);
    }

    /// Says, while this node goes, that this incarnation of it does: it is a newer one when somebody takes it for failed meanwhile.
    pub(super) fn tell_leave(&mut self) {
        let me = self.me();
        let stay = Stay { incarnation: me.incarnation, end: End::Leaving };
        if !self.leaving || self.desk.told().learn(News::Stay(me.node, stay)).is_none() {
            return;
        }
        self.changed = true;
        self.spread(&News::Stay(me.node, stay));
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
            told.metas.remove(&node);
            self.changed = true;
        }
        // A stay outlives its node for a while: it keeps others from telling the member back to life. So does what packets told of somebody
        // nobody knows, who may be yet to come.
        let own = self.foca.identity().node;
        let is_told = |node: &NodeId| told.stays.contains_key(node) || told.metas.contains_key(node);
        self.orphans.retain(|node, _| is_told(node) && !self.known.contains_key(node));
        for node in told.stays.keys().chain(told.metas.keys()).filter(|node| **node != own && !self.known.contains_key(*node)) {
            self.orphans.entry(*node).or_insert(now);
        }
        let outlived = |node: &NodeId| self.orphans.get(node).is_some_and(|since| now.saturating_sub(*since) >= left_after);
        told.stays.retain(|node, _| !outlived(node));
        told.metas.retain(|node, _| !outlived(node));
        let living = |node: &NodeId| *node == own || self.known.get(node).is_some_and(|known| known.alive);
        told.accused.retain(|node, _| living(node));
    }

    /// Somebody declared this node gone that is here to stay: it comes back as a newer incarnation.
    pub(super) fn refute(&mut self, now: Duration) {
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
        if let Err(error) = self.become_known_as(identity) {
            tracing::debug!(%error, "gossip accusation not refuted");
            return;
        }
        self.changed = true;
        self.collect(now);
    }
}

#[cfg(test)]
mod tests {
    use foca::State;

    use super::*;
    use crate::gossip::{Timing, identity::Meta, pool::Setup};

    const HOUR: Duration = Duration::from_secs(3600);

    fn pool(id: u8) -> Pool {
        let (node, address) = (NodeId::from_u128(id.into()), std::net::SocketAddr::from(([10, 0, 0, id], 8301)));
        let me = Identity { node, address, incarnation: 1, meta_version: 0 };
        let meta = Meta { version: (1, 0), name: format!("node-{id}"), ..Meta::default() };
        Pool::new(Setup { me, meta, datacenter: "dc1".to_owned(), timing: Timing::default(), seed: id.into() })
    }

    fn exchange(now: Duration, one: &mut Pool, other: &mut Pool) {
        let (told, answered) = (one.knowledge(), other.knowledge());
        one.learn(now, answered);
        other.learn(now, told);
    }

    #[test]
    fn who_was_forgotten_leaves_nothing_behind_although_others_forget_him_later() {
        let (mut first, mut second, mut gone) = (pool(1), pool(2), pool(3));
        exchange(Duration::ZERO, &mut first, &mut gone);
        exchange(Duration::ZERO, &mut second, &mut gone);
        exchange(Duration::ZERO, &mut first, &mut second);
        let dead = foca::Member::new(gone.me(), 0, State::Down);
        for pool in [&mut first, &mut second] {
            pool.foca.apply_many(std::iter::once(dead.clone()), true, &mut pool.effects).expect("taken");
            pool.collect(Duration::ZERO);
            pool.force_leave(Duration::ZERO, "node-3", false).expect("known");
        }
        first.reap(HOUR, HOUR, HOUR);
        assert!(!first.known.contains_key(&gone.me().node));
        exchange(HOUR, &mut first, &mut second);
        assert!(!first.desk.told().metas.contains_key(&gone.me().node), "told by one that still shows him");
        second.reap(HOUR, HOUR, HOUR);
        for hours in 1..4 {
            for pool in [&mut first, &mut second] {
                pool.reap(HOUR * hours, HOUR, HOUR);
            }
            exchange(HOUR * hours, &mut second, &mut first);
        }
        for pool in [&mut first, &mut second] {
            pool.reap(HOUR * 4, HOUR, HOUR);
            assert!(!pool.desk.told().metas.contains_key(&gone.me().node) && pool.desk.told().stays.is_empty() && pool.orphans.is_empty());
            assert_eq!(pool.knowledge().active().count(), 2);
        }
    }
}
