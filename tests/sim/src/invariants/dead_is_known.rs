//! In a network without faults everybody knows of a death, and of a leave, within a bound: a short one in a pool at rest, a longer one
//! right after trouble, when members that were late or wrong are slow to accuse others on purpose (Lifeguard).
//!
//! Where the bound comes from, with the default timing (`gossip::neighbour`, `gossip::suspicion`): the neighbour's next probe begins within
//! 1 s of the death, and it accuses 1 s later. Its suspicion lasts 2.5 s once two others confirm it, of which the closed port is one, and
//! 4.4 s if nobody else does; it grows with the size from 50 on, 1.6 times for 200. What one member declared is known to all within 1 s.
//! So 7.4 s up to 50 members and 10 s at 200, whatever chance does. Without neighbours, as in SWIM, the first probe alone takes more than
//! t seconds in e^-t of all deaths.

use std::time::Duration;

use super::{First, Verdict};

/// Its name.
pub const NAME: &str = "dead_is_known";

/// How long news of a death may take in a pool of this size: 9 s up to 50, and for more as much as the suspicion grows.
#[must_use]
pub fn bound(size: usize) -> Duration {
    if size <= 50 { Duration::from_secs(9) } else { Duration::from_secs(12) }
}

/// How long news of a death may take right after trouble.
pub const AFTER_TROUBLE: Duration = Duration::from_secs(15);

/// How long it took.
#[derive(Debug, Default)]
pub struct Deaths {
    longest: Duration,
    after_trouble: Duration,
    seen: u64,
    first: First,
}

impl Deaths {
    /// Everybody knows after this time, which was bounded so.
    pub fn known(&mut self, took: Duration, bound: Duration) {
        self.seen += 1;
        let longest = if bound == AFTER_TROUBLE { &mut self.after_trouble } else { &mut self.longest };
        *longest = took.max(*longest);
    }

    /// Somebody does not know in time.
    pub fn unknown(&mut self, what: impl FnOnce() -> String) {
        self.first.fault(what);
    }

    /// The slowest in a pool at rest, in milliseconds.
    #[must_use]
    pub fn longest_ms(&self) -> u64 {
        ms(self.longest)
    }

    /// The slowest right after trouble, in milliseconds.
    #[must_use]
    pub fn after_trouble_ms(&self) -> u64 {
        ms(self.after_trouble)
    }

    /// Whether it holds.
    ///
    /// # Errors
    /// Who does not know.
    pub fn verdict(&self) -> Verdict {
        self.first.verdict()?;
        if self.seen == 0 { Err("nobody died".to_owned()) } else { Ok(()) }
    }
}

fn ms(time: Duration) -> u64 {
    u64::try_from(time.as_millis()).unwrap_or(u64::MAX)
}
