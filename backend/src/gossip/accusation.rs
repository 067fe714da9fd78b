//! Accusing a member that does not answer: told to the others, weighed with theirs, asked about on a stream, refuted.
//!
//! A process that is slow refutes on the stream; one that is gone has its port closed. Contract: cluster, section "Gossip".

use std::{net::SocketAddr, time::Duration};

use foca::State;

use super::{
    identity::{Identity, NodeId},
    news::News,
    pool::Pool,
    suspicion::Suspicion,
};

impl Pool {
    /// A probe failed: tells the others, so that they can confirm it. `None` when this node accuses the member already.
    pub(super) fn accuse(&mut self, now: Duration, identity: Identity, refutation: u16, token: u8) -> Option<Duration> {
        let node = identity.node;
        if let Some(known) = self.suspicions.get(&node) {
            if (known.identity, known.refutation, known.token) == (identity, refutation, token) {
                return None;
            }
            let refuted = (identity.incarnation, refutation) > (known.identity.incarnation, known.refutation);
            self.timers.remove(&known.timer);
            if refuted {
                self.health.refuted += 1;
                self.worsen(now);
            }
        }
        let others = self.foca.num_members().saturating_sub(1);
        let suspicion = Suspicion::new(identity, refutation, token, now, self.suspicion(), others);
        let accusation = News::Accusation { node, at: (identity.incarnation, refutation), by: self.me().node };
        if let Err(error) = self.foca.add_broadcast(&accusation.encode()) {
            tracing::debug!(%error, "gossip accusation not spread");
        }
        let due = suspicion.due(self.confirmations(&suspicion));
        self.suspicions.insert(node, suspicion);
        self.accused.push(foca::Member::new(identity, refutation, State::Suspect));
        self.health.accusations += 1;
        Some(due)
    }

    /// How many others accuse somebody whom this node accuses.
    fn confirmations(&self, suspicion: &Suspicion) -> usize {
        let (told, me) = (self.desk.told(), self.me().node);
        let accused = told.accused.get(&suspicion.identity.node);
        let same = accused.filter(|accused| accused.at == (suspicion.identity.incarnation, suspicion.refutation));
        same.map_or(0, |accused| accused.by.iter().filter(|by| **by != me).count())
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
        if self.suspicions.remove(&node).is_none() {
            return;
        }
        if self.foca.iter_members().any(|member| member.id().node == node) {
            self.desk.told().accused.remove(&node);
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
