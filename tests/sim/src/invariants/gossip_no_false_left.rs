//! Nobody is shown as leaving or gone who never said that it goes, whatever fails.

use std::collections::BTreeSet;

use super::{First, Verdict};

/// Its name.
pub const NAME: &str = "gossip_no_false_left";

/// Values of a member's status.
const LEAVING: u8 = 2;
const LEFT: u8 = 3;

/// Who went on purpose, at any time.
#[derive(Debug, Default)]
pub struct Departures {
    announced: BTreeSet<String>,
    first: First,
}

impl Departures {
    /// This one says that it goes.
    pub fn announced(&mut self, name: &str) {
        self.announced.insert(name.to_owned());
    }

    /// One member as another one shows it.
    pub fn saw(&mut self, viewer: &str, name: &str, status: u8) {
        if matches!(status, LEAVING | LEFT) && !self.announced.contains(name) {
            self.first.fault(|| format!("{viewer} shows {name} with status {status}, which never left"));
        }
    }

    /// Whether it holds.
    ///
    /// # Errors
    /// Who is told to have left.
    pub fn verdict(&self) -> Verdict {
        self.first.verdict()
    }
}
