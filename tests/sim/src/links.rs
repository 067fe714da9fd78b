//! The network between the members of a world, by their places: what happens to a message on its way.

use std::{
    collections::BTreeSet,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use backend::rt::Rng;

/// What happens to a message.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Fate {
    /// It arrives after this time, and once more for every further time.
    Arrives(Vec<Duration>),
    /// It is never heard of again.
    Lost,
    /// Its sender is told after this time that nobody is there.
    Refused(Duration),
}

/// The network. Clones are the same one.
#[derive(Clone, Debug)]
pub struct Links(Arc<Mutex<Inner>>);

#[derive(Debug)]
struct Inner {
    rng: Rng,
    /// From whom to whom nothing gets.
    blocked: BTreeSet<(usize, usize)>,
    /// Messages lost of a thousand.
    loss: u64,
    /// Whose messages take long, both ways.
    slow: BTreeSet<usize>,
}

impl Links {
    /// A network without faults.
    #[must_use]
    pub fn new(rng: Rng) -> Self {
        Self(Arc::new(Mutex::new(Inner { rng, blocked: BTreeSet::new(), loss: 0, slow: BTreeSet::new() })))
    }

    fn inner(&self) -> MutexGuard<'_, Inner> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Nothing gets from one to the other any more; the other way it still does.
    pub fn block(&self, from: usize, to: usize) {
        self.inner().blocked.insert((from, to));
    }

    /// Cuts one off from all of so many, in the directions asked for.
    pub fn isolate(&self, one: usize, of: usize, outwards: bool, inwards: bool) {
        for other in (0..of).filter(|other| *other != one) {
            if outwards {
                self.block(one, other);
            }
            if inwards {
                self.block(other, one);
            }
        }
    }

    /// Cuts the members of one side off from all the others.
    pub fn split(&self, side: &[usize], of: usize) {
        for one in side {
            for other in (0..of).filter(|other| !side.contains(other)) {
                self.block(*one, other);
                self.block(other, *one);
            }
        }
    }

    /// Loses so many of a thousand messages.
    pub fn lose(&self, per_mille: u64) {
        self.inner().loss = per_mille;
    }

    /// Makes one slow.
    pub fn slow(&self, one: usize) {
        self.inner().slow.insert(one);
    }

    /// No faults any more.
    pub fn heal(&self) {
        let mut inner = self.inner();
        inner.blocked.clear();
        inner.slow.clear();
        inner.loss = 0;
    }

    /// Whether something that is on its way still gets there.
    #[must_use]
    pub fn is_open(&self, from: usize, to: usize) -> bool {
        !self.inner().blocked.contains(&(from, to))
    }

    /// What becomes of the next message.
    #[must_use]
    pub fn fate(&self, from: usize, to: usize) -> Fate {
        let inner = self.inner();
        let rng = &inner.rng;
        if inner.blocked.contains(&(from, to)) {
            // Packets that vanish, or a network that says so.
            return if rng.below(2) == 0 { Fate::Lost } else { Fate::Refused(Duration::from_micros(200 + rng.below(3000))) };
        }
        if rng.below(1000) < inner.loss {
            return Fate::Lost;
        }
        let is_slow = inner.slow.contains(&from) || inner.slow.contains(&to);
        let delay = || {
            let usual = 300 + rng.below(3000);
            let micros = match rng.below(1000) {
                // Now and then a message is overtaken by many that were sent after it.
                0..3 => usual + rng.below(1_500_000),
                3..30 => usual + rng.below(60_000),
                _ if is_slow => usual + rng.below(250_000),
                _ => usual,
            };
            Duration::from_micros(micros)
        };
        let mut times = vec![delay()];
        if rng.below(200) == 0 {
            times.push(delay());
        }
        Fate::Arrives(times)
    }
}
