//! Once every fault is gone, the cluster takes writes again soon, and then all replicas are the same, byte for byte.

use backend::store::{State, snapshot};

use super::{First, Verdict};

/// Its name.
pub const NAME: &str = "no_stale_after_heal";

/// What was found in the end.
#[derive(Debug, Default)]
pub struct Healed {
    replicas: u64,
    model: Option<(usize, Vec<u8>)>,
    first: First,
}

impl Healed {
    /// It took too long.
    pub fn late(&mut self, what: &str) {
        self.first.fault(|| what.to_owned());
    }

    /// One replica.
    pub fn replica(&mut self, server: usize, state: &State) {
        let mut bytes = Vec::new();
        snapshot::write(state, &mut bytes).expect("memory takes every byte");
        self.replicas += 1;
        match &self.model {
            None => self.model = Some((server, bytes)),
            Some((other, model)) if *model != bytes => {
                self.first.fault(|| format!("servers {other} and {server} hold different states (the latter at index {})", state.index));
            }
            Some(_) => {}
        }
    }

    /// Whether it holds.
    ///
    /// # Errors
    /// What is late, or which replicas differ.
    pub fn verdict(&self) -> Verdict {
        self.first.verdict()?;
        if self.replicas < 2 { Err(format!("only {} replicas were compared", self.replicas)) } else { Ok(()) }
    }
}
