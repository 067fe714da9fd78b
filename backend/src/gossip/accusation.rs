//! Accusing a member that does not answer: told to the others, who count down too, weighed with theirs, asked about on a stream, refuted.
//!
//! A process that is slow refutes on the stream; one that is gone has its port closed. Contract: cluster, section "Gossip".

use std::{net::SocketAddr, time::Duration};

use foca::{State, Timer};

use super::{
    identity::{Identity, NodeId},
    news::News,
    pool::Pool,
    suspicion::{Suspicion, stage},
};

impl Pool {
    /// A probe failed: tells the others, so that they can confirm it. Answers when it counts; `None` when that is set already, or the
    /// member has refuted since the probe began.
    pub(super) fn accuse(&mut self, now: Duration, identity: Identity, refutation: u16, token: u8) -> Option<Duration> {
        let node = identity.node;
        let known = self.suspicions.get(&node).filter(|known| known.token == token);
        let known = known.map(|known| (known.stage().cmp(&stage(&identity, refutation)), known.own));
        if known.is_some_and(|(order, own)| order.is_gt() || order.is_eq() && own) {
            return None;
        }
        let accusation = News::Accusation { node, at: (identity.incarnation, refutation), by: self.me().node };
        if let Err(error) = self.foca.add_broadcast(&accusation.encode()) {
            tracing::debug!(%error, "gossip accusation not spread");
        }
        self.accused.push(foca::Member::new(identity, refutation, State::Suspect));
        self.health.accusations += 1;
        if known.is_some_and(|(order, _)| order.is_eq()) {
            // Others said so before: it counts from then on.
            self.suspicions.entry(node).and_modify(|suspicion| suspicion.own = true);
            self.hasten();
            return None;
        }
        Some(self.suspect(now, identity, refutation, token, true))
    }

    /// Begins to count down for a member, which it may have been for an earlier stage of it; answers when it counts.
    fn suspect(&mut self, now: Duration, identity: Identity, refutation: u16, token: u8, own: bool) -> Duration {
        if let Some(former) = self.suspicions.remove(&identity.node) {
            self.timers.remove(&former.timer);
            if former.own && former.stage() < stage(&identity, refutation) {
                self.health.refuted += 1;
                self.worsen(now);
            }
        }
        let others = self.foca.num_members().saturating_sub(1);
        let mut suspicion = Suspicion::new(identity, refutation, token, now, self.suspicion(), others);
        suspicion.own = own;
        let due = suspicion.due(self.confirmations(&suspicion));
        self.suspicions.insert(identity.node, suspicion);
        due
    }

    /// Counts down for everybody whom others accuse, too: an accuser may be slow, or gone before its accusation counts.
    fn heed(&mut self, now: Duration) {
        let (me, Some(token)) = (self.me().node, self.token) else { return };
        let heard: Vec<(NodeId, (u64, u16))> = {
            let told = self.desk.told();
            let by_others = told.accused.iter().filter(|(node, accused)| **node != me && accused.by.iter().any(|by| *by != me));
            by_others.map(|(node, accused)| (*node, accused.at)).collect()
        };
        for (node, (incarnation, refutation)) in heard {
            let is_meant = |identity: &Identity| identity.node == node && identity.incarnation == incarnation;
            let Some(identity) = self.foca.iter_members().map(|member| *member.id()).find(is_meant) else { continue };
            let accused = foca::Member::new(identity, refutation, State::Suspect);
            let known = self.suspicions.get(&node).filter(|known| known.token == token);
            if known.is_some_and(|known| known.stage() >= stage(&identity, refutation)) {
                continue;
            }
            // The packet that says so may come later than the accusation. Whoever has refuted stays as it is.
            if let Err(error) = self.foca.apply_many([accused.clone()].into_iter(), true, &mut self.effects) {
                tracing::debug!(%error, "gossip accusation not heeded");
            }
            if self.foca.iter_members().any(|member| *member == accused) {
                let due = self.suspect(now, identity, refutation, token, false);
                self.arm(due, Timer::ChangeSuspectToDown { member_id: identity, incarnation: refutation, token });
            }
        }
    }

    /// How many accuse a suspect beside the one without whom there would be no suspicion.
    fn confirmations(&self, suspicion: &Suspicion) -> usize {
        let (told, me) = (self.desk.told(), self.me().node);
        let accused = told.accused.get(&suspicion.identity.node);
        let same = accused.filter(|accused| accused.at == (suspicion.identity.incarnation, suspicion.refutation));
        let others = same.map_or(0, |accused| accused.by.iter().filter(|by| **by != me).count());
        (others + usize::from(suspicion.own)).saturating_sub(1)
    }

    /// Looks at new accusations: those of others confirm this node's, those against it say that it is slow.
    pub(super) fn weigh(&mut self, now: Duration) {
        if !std::mem::take(&mut self.desk.told().accusations) {
            return;
        }
        let me = self.me();
        if self.desk.told().accused.remove(&me.node).is_some_and(|accused| accused.at.0 >= me.incarnation) {
            self.worsen(now);
        }
        self.heed(now);
        self.hasten();
    }

    /// Moves the ends of suspicions to where their confirmations put them.
    fn hasten(&mut self) {
        let sooner = |suspicion: &Suspicion| {
            let due = suspicion.due(self.confirmations(suspicion));
            (due < suspicion.timer.0).then_some((suspicion.identity.node, (due, suspicion.timer.1)))
        };
        let moved: Vec<_> = self.suspicions.values().filter_map(sooner).collect();
        for (node, at) in moved {
            if let Some(suspicion) = self.suspicions.get_mut(&node)
                && let Some(timer) = self.timers.remove(&suspicion.timer)
            {
                suspicion.timer = at;
                self.timers.insert(at, timer);
            }
        }
    }

    /// A suspicion ended: either the member is declared down, or this node was wrong and should be slower the next time.
    pub(super) fn conclude(&mut self, now: Duration, node: NodeId) {
        let Some(suspicion) = self.suspicions.remove(&node) else { return };
        if !self.foca.iter_members().any(|member| member.id().node == node) {
            return;
        }
        self.desk.told().accused.remove(&node);
        if suspicion.own {
            self.health.refuted += 1;
            self.worsen(now);
        }
    }

    /// Members accused since the last call, with what they are accused of.
    pub(super) fn take_accused(&mut self) -> Vec<foca::Member<Identity>> {
        std::mem::take(&mut self.accused)
    }

    /// Nothing listens where an accused member should: its process is gone.
    pub(super) fn note_closed(&mut self, address: SocketAddr) {
        for suspicion in self.suspicions.values_mut().filter(|suspicion| suspicion.identity.address == address) {
            suspicion.closed = true;
        }
        self.hasten();
    }

    /// Answers an accusation that came on a stream: this node as it is now.
    pub(super) fn answer_accusation(&mut self, now: Duration, accused: &foca::Member<Identity>) -> foca::Member<Identity> {
        if *accused.id() == self.me() {
            let against_me = foca::Member::new(self.me(), accused.incarnation(), State::Suspect);
            if let Err(error) = self.foca.apply_many([against_me].into_iter(), true, &mut self.effects) {
                tracing::debug!(%error, "gossip accusation not answered");
            }
            self.worsen(now);
            self.collect(now);
        }
        self.own_member()
    }

    /// An accused member answered on a stream. Answers whether it refutes.
    pub(super) fn hear_refutation(&mut self, now: Duration, member: foca::Member<Identity>) -> bool {
        let Some(suspicion) = self.suspicions.get(&member.id().node) else { return false };
        let refutes = (member.id().incarnation, member.incarnation()) > (suspicion.identity.incarnation, suspicion.refutation);
        if let Err(error) = self.foca.apply_many([member].into_iter(), true, &mut self.effects) {
            tracing::debug!(%error, "gossip refutation ignored");
        }
        self.collect(now);
        refutes
    }
}

#[cfg(test)]
mod tests {
    use std::net::Ipv4Addr;

    use super::*;
    use crate::gossip::{Timing, identity::Meta, pool::Setup};

    const INCARNATION: u64 = 1_700_000_000_000;

    fn pool(id: u16) -> Pool {
        let node = NodeId::from_u128(u128::from(id) + 1);
        let address = SocketAddr::from((Ipv4Addr::new(10, 0, 0, 1), 8000 + id));
        let me = Identity { node, address, incarnation: INCARNATION, meta_version: 0 };
        let meta = Meta { version: (INCARNATION, 0), name: format!("node-{id}"), ..Meta::default() };
        Pool::new(Setup { me, meta, datacenter: "dc1".to_owned(), timing: Timing::default(), seed: 1 })
    }

    /// A member of a pool of 60, in which it probes few of the others within some seconds.
    fn member() -> Pool {
        let mut pool = pool(0);
        for id in 1..60 {
            pool.learn(Duration::ZERO, self::pool(id).knowledge());
        }
        pool
    }

    /// `by` accuses node 7 of not having answered since it refuted so often.
    fn hear(pool: &mut Pool, now: Duration, by: u16, refutation: u16) {
        let node = |id: u16| NodeId::from_u128(u128::from(id) + 1);
        pool.desk.told().learn(News::Accusation { node: node(7), at: (INCARNATION, refutation), by: node(by) });
        pool.collect(now);
    }

    fn is_alive(pool: &mut Pool, at_ms: u64) -> bool {
        pool.tick(Duration::from_millis(at_ms));
        pool.known[&NodeId::from_u128(8)].alive
    }

    #[test]
    fn who_hears_an_accusation_counts_down_too() {
        let mut alone = member();
        let shortest = alone.suspicion();
        hear(&mut alone, Duration::ZERO, 8, 0);
        let longest = u64::try_from(shortest.as_millis()).expect("some seconds") * 3;
        assert!(is_alive(&mut alone, longest - 9));
        assert!(!is_alive(&mut alone, longest + 9), "nobody else has to count for this one");
        let mut confirmed = member();
        (8..11).for_each(|by| hear(&mut confirmed, Duration::ZERO, by, 0));
        assert!(is_alive(&mut confirmed, longest / 3 - 9));
        assert!(!is_alive(&mut confirmed, longest / 3 + 9), "three accuse");
        assert_eq!((confirmed.health.accusations, confirmed.health.refuted), (0, 0), "it accused nobody itself");
    }

    #[test]
    fn who_is_taken_for_failed_while_it_leaves_says_again_that_it_leaves() {
        let mut pool = member();
        pool.announce_leave(Duration::ZERO);
        let before = pool.me();
        let stay = |pool: &Pool| pool.desk.told().stays[&before.node].incarnation;
        assert_eq!(stay(&pool), before.incarnation);
        let failed = foca::Member::new(before, 0, State::Down);
        pool.foca.apply_many([failed].into_iter(), true, &mut pool.effects).expect("comes back");
        pool.collect(Duration::ZERO);
        assert!(pool.me().incarnation > before.incarnation);
        assert_eq!(stay(&pool), pool.me().incarnation);
    }

    #[test]
    fn what_was_refuted_counts_no_more_and_a_later_accusation_does() {
        let mut pool = member();
        hear(&mut pool, Duration::ZERO, 8, 0);
        let identity = pool.known[&NodeId::from_u128(8)].identity;
        let refuted = foca::Member::new(identity, 1, State::Alive);
        pool.foca.apply_many([refuted].into_iter(), true, &mut pool.effects).expect("a member");
        hear(&mut pool, Duration::ZERO, 9, 0);
        assert!(is_alive(&mut pool, 9_000));
        hear(&mut pool, Duration::from_secs(9), 9, 1);
        hear(&mut pool, Duration::from_secs(9), 8, 0);
        assert!(is_alive(&mut pool, 16_000));
        assert!(!is_alive(&mut pool, 17_500));
    }
}
