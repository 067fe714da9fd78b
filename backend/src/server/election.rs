//! Who led and when, as this server saw it; forgotten when it stops.
//!
//! Never asks anybody: what this server did not see happen is not in it. Shown by `GET /v1/muster/raft`.

use std::collections::VecDeque;

use shared::raft::Election;

use crate::raft::Status;

/// Changes of leadership kept.
const KEEP: usize = 64;

/// The latest changes of leadership, newest first.
#[derive(Debug, Default)]
pub(super) struct Elections(VecDeque<Election>);

impl Elections {
    /// Notes who leads now; answers whether that is new. The same leader in a new term was elected again; terms without a leader are one
    /// wait.
    pub(super) fn note(&mut self, status: &Status, at_ms: u64) -> bool {
        let (leader, name) = status.leader.as_ref().map(|peer| (peer.id.clone(), peer.name.clone())).unwrap_or_default();
        let known = self.0.front().is_some_and(|last| last.leader == leader && (leader.is_empty() || last.term == status.term));
        if known {
            return false;
        }
        self.0.push_front(Election { term: status.term, leader, name, at_ms });
        self.0.truncate(KEEP);
        true
    }

    /// Newest first.
    pub(super) fn list(&self) -> Vec<Election> {
        self.0.iter().cloned().collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::raft::Peer;

    #[test]
    fn only_changes_are_noted_and_the_oldest_are_forgotten() {
        let status = |term: u64, name: &str| {
            let peer = Peer { id: format!("id-{name}"), name: name.to_owned(), ..Peer::default() };
            Status { term, leader: (!name.is_empty()).then_some(peer), ..Status::default() }
        };
        let mut elections = Elections::default();
        for (at_ms, (term, name)) in [(0, ""), (1, ""), (1, "a"), (1, "a"), (2, "a"), (2, ""), (9, ""), (10, "b")].into_iter().enumerate() {
            let is_new = ![1, 3, 6].contains(&at_ms);
            assert_eq!(elections.note(&status(term, name), at_ms as u64), is_new, "{at_ms}");
        }
        let told: Vec<_> = elections.list().into_iter().map(|it| (it.term, it.name, it.at_ms)).collect();
        let named = |term, name: &str, at_ms| (term, name.to_owned(), at_ms);
        assert_eq!(told, [named(10, "b", 7), named(2, "", 5), named(2, "a", 4), named(1, "a", 2), named(0, "", 0)]);
        for term in 11..200 {
            elections.note(&status(term, "b"), term);
        }
        assert_eq!((elections.list().len(), elections.list()[0].term), (KEEP, 199));
    }
}
