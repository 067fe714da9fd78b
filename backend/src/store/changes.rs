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
    /// Changes up to this index are not known.
    floor: u64,
    /// Index of the newest state.
    head: u64,
}

/// The ring. Written by the store's single writer, read by any number of streams.
#[derive(Debug)]
pub struct Changes {
    ring: Mutex<Ring>,
    head: watch::Sender<(u64, u64)>,
}

impl Default for Changes {
    fn default() -> Self {
        Self { ring: Mutex::default(), head: watch::Sender::new((0, 0)) }
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
                    ring.floor = ring.floor.max(dropped.index);
                }
            }
            ring.head = ring.head.max(index);
            some
        };
        if some {
            self.head.send_modify(|(count, _)| *count += 1);
        }
    }

    /// Forgets everything: the state was replaced.
    pub fn reset(&self, index: u64) {
        *self.ring.lock().unwrap_or_else(PoisonError::into_inner) = Ring { changes: VecDeque::new(), floor: index, head: index };
        self.head.send_modify(|(count, resets)| (*count, *resets) = (*count + 1, *resets + 1));
    }

    /// Tells of new changes: how many pushes and how many resets there have been.
    #[must_use]
    pub fn subscribe(&self) -> watch::Receiver<(u64, u64)> {
        self.head.subscribe()
    }

    /// The changes after an index, in order, and the index they reach to.
    ///
    /// # Errors
    /// The ring does not reach back so far, or the index lies in the future of a replaced state.
    pub fn after(&self, index: u64) -> Result<(u64, Vec<Change>), Reset> {
        let ring = self.ring.lock().unwrap_or_else(PoisonError::into_inner);
        if index < ring.floor || index > ring.head {
            return Err(Reset);
        }
        let first = ring.changes.partition_point(|change| change.index <= index);
        Ok((ring.head, ring.changes.range(first..).cloned().collect()))
    }

    /// The index of the newest state.
    #[must_use]
    pub fn head(&self) -> u64 {
        self.ring.lock().unwrap_or_else(PoisonError::into_inner).head
    }
}
