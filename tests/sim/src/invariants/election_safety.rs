//! At most one server leads in a term, in its own eyes and in everybody else's.

use std::collections::BTreeMap;

use super::{First, Verdict};

/// Its name.
pub const NAME: &str = "election_safety";

/// Who led when.
#[derive(Debug, Default)]
pub struct Elections {
    leaders: BTreeMap<u64, usize>,
    first: First,
}

impl Elections {
    /// Somebody takes this server for the leader of this term; answers whether nobody was before.
    pub fn saw(&mut self, term: u64, leader: usize) -> bool {
        let known = self.leaders.get(&term).copied();
        if let Some(other) = known.filter(|other| *other != leader) {
            self.first.fault(|| format!("servers {other} and {leader} both lead in term {term}"));
        }
        self.leaders.entry(term).or_insert(leader);
        known.is_none()
    }

    /// Terms with a leader.
    #[must_use]
    pub fn count(&self) -> u64 {
        self.leaders.len() as u64
    }

    /// Whether it holds.
    ///
    /// # Errors
    /// The two leaders.
    pub fn verdict(&self) -> Verdict {
        self.first.verdict()
    }
}
