//! What clients saw of every register can be explained by one order of all operations.
//!
//! The search is that of [`tests::linearizable`]: Wing and Gong's with Lowe's memory.

use std::collections::BTreeMap;

use tests::linearizable::{Action, Operation, is_linearizable};

use super::Verdict;

/// Its name.
pub const NAME: &str = "linearizable";

/// What clients did, by register.
#[derive(Debug, Default)]
pub struct Histories {
    of: BTreeMap<String, Vec<Operation>>,
}

impl Histories {
    /// One operation; without an end nobody knows whether it happened.
    pub fn did(&mut self, register: &str, action: Action, invoked: u64, returned: Option<u64>) {
        self.of.entry(register.to_owned()).or_default().push(Operation { action, invoked, returned });
    }

    /// How many operations there were.
    #[must_use]
    pub fn count(&self) -> u64 {
        self.of.values().map(Vec::len).sum::<usize>() as u64
    }

    /// Whether it holds.
    ///
    /// # Errors
    /// Which register has no explanation.
    pub fn verdict(&self) -> Verdict {
        for (register, history) in &self.of {
            if !is_linearizable(history) {
                return Err(format!("the {} operations on {register} have no order that explains them", history.len()));
            }
        }
        Ok(())
    }
}
