//! The bounded ring of what changed, from which change streams read. A reader that is too far behind, or one that
//! was reading when a snapshot was installed, learns that it must read everything again.

use std::{
    collections::VecDeque,
    sync::{Mutex, PoisonError},
};

use shared::changes::Change;
use tokio::sync::watch;

/// Changes kept.
const CAPACITY: usize = 65_536;

#[derive(Debug, Default)]
struct Ring {
    changes: VecDeque<Change>,
    /// How many changes were dropped from the front: the place of the first one kept.
    dropped: u64,
    /// Changes up to this index are not known.
    floor: u64,
    /// Index of the newest state.
    head: u64,
    /// How often the state was replaced.
    resets: u64,
}

impl Ring {
    fn from(&self, first: usize) -> Batch {
        let changes = self.changes.range(first..).cloned().collect();
        let place = self.dropped + self.changes.len() as u64;
        Batch { index: self.head, place: Place { place, resets: self.resets }, changes }
    }
}

/// How far a reader has come.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Place {
    place: u64,
    resets: u64,
}

/// What a reader gets.
#[derive(Clone, Debug)]
pub struct Batch {
    /// Index of the newest state.
    pub index: u64,
    /// Where to read on.
    pub place: Place,
    /// The changes in order.
    pub changes: Vec<Change>,
}

/// The ring. Written by the store's single writer, read by any number of streams.
#[derive(Debug)]
pub struct Changes {
    ring: Mutex<Ring>,
    pushes: watch::Sender<u64>,
}

impl Default for Changes {
    fn default() -> Self {
        Self { ring: Mutex::default(), pushes: watch::Sender::new(0) }
    }
}

/// Why nothing can be read from a position.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Reset;

impl Changes {
    /// Adds changes in index order; `index` is that of the state now published.
    pub fn push(&self, index: u64, changes: impl IntoIterator<Item = Change>) {
        let some = {
            let mut ring = self.ring.lock().unwrap_or_else(PoisonError::into_inner);
            let before = ring.changes.len();
            ring.changes.extend(changes);
            let some = ring.changes.len() > before;
            while ring.changes.len() > CAPACITY {
                if let Some(dropped) = ring.changes.pop_front() {
                    ring.dropped += 1;
                    ring.floor = ring.floor.max(dropped.index);
                }
            }
            ring.head = ring.head.max(index);
            some
        };
        if some {
            self.pushes.send_modify(|count| *count += 1);
        }
    }

    /// Forgets everything: the state was replaced.
    pub fn reset(&self, index: u64) {
        {
            let mut ring = self.ring.lock().unwrap_or_else(PoisonError::into_inner);
            let resets = ring.resets + 1;
            *ring = Ring { floor: index, head: index, resets, ..Ring::default() };
        }
        self.pushes.send_modify(|count| *count += 1);
    }

    /// Tells of new changes and of resets.
    #[must_use]
    pub fn subscribe(&self) -> watch::Receiver<u64> {
        self.pushes.subscribe()
    }

    /// The changes after an index.
    ///
    /// # Errors
    /// The ring does not reach back so far, or the index lies in the future of a replaced state.
    pub fn after(&self, index: u64) -> Result<Batch, Reset> {
        let ring = self.ring.lock().unwrap_or_else(PoisonError::into_inner);
        if index < ring.floor || index > ring.head {
            return Err(Reset);
        }
        Ok(ring.from(ring.changes.partition_point(|change| change.index <= index)))
    }

    /// No changes: where a reader starts that wants only what comes.
    #[must_use]
    pub fn now(&self) -> Batch {
        let ring = self.ring.lock().unwrap_or_else(PoisonError::into_inner);
        ring.from(ring.changes.len())
    }

    /// The changes since a place.
    ///
    /// # Errors
    /// The ring does not reach back so far, or the state was replaced.
    pub fn since(&self, place: Place) -> Result<Batch, Reset> {
        let ring = self.ring.lock().unwrap_or_else(PoisonError::into_inner);
        let first = place.place.checked_sub(ring.dropped).and_then(|first| usize::try_from(first).ok());
        match first.filter(|first| *first <= ring.changes.len() && place.resets == ring.resets) {
            Some(first) => Ok(ring.from(first)),
            None => Err(Reset),
        }
    }
}
