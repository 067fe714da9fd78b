//! Once every fault is gone, all living members see exactly each other alive.

use super::{First, Verdict};

/// Its name.
pub const NAME: &str = "gossip_converges";

/// What was found.
#[derive(Debug, Default)]
pub struct Convergence {
    first: First,
}

impl Convergence {
    /// It took too long.
    pub fn late(&mut self, what: impl FnOnce() -> String) {
        self.first.fault(what);
    }

    /// Whether it holds.
    ///
    /// # Errors
    /// Who still sees what.
    pub fn verdict(&self) -> Verdict {
        self.first.verdict()
    }
}
