//! What happened in a world, in order: a hash that tells two runs apart, and on request the lines themselves.

use std::sync::{Arc, Mutex, PoisonError};

use tokio::time::Instant;

/// The record. Clones are the same record.
#[derive(Clone, Debug)]
pub struct Trace(Arc<Mutex<Inner>>);

#[derive(Debug)]
struct Inner {
    began: Instant,
    hash: u64,
    events: u64,
    shown: bool,
}

/// FNV-1a: well known, and the same everywhere.
#[must_use]
pub fn digest(from: u64, bytes: &[u8]) -> u64 {
    bytes.iter().fold(from, |hash, byte| (hash ^ u64::from(*byte)).wrapping_mul(0x0000_0100_0000_01b3))
}

/// Where [`digest`] begins.
pub const BEGINNING: u64 = 0xcbf2_9ce4_8422_2325;

impl Trace {
    /// An empty one; `shown` prints every event.
    #[must_use]
    pub fn new(shown: bool) -> Self {
        Self(Arc::new(Mutex::new(Inner { began: Instant::now(), hash: BEGINNING, events: 0, shown })))
    }

    /// Something happened.
    pub fn note(&self, event: &str) {
        let mut inner = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let at = u64::try_from(inner.began.elapsed().as_micros()).unwrap_or(u64::MAX);
        inner.hash = digest(digest(inner.hash, &at.to_le_bytes()), event.as_bytes());
        inner.events += 1;
        if inner.shown {
            println!("{:>10.3} {event}", inner.began.elapsed().as_secs_f64());
        }
    }

    /// Something to be shown that is no event: it does not count.
    pub fn remark(&self, text: impl FnOnce() -> String) {
        let inner = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if inner.shown {
            println!("{:>10.3}     {}", inner.began.elapsed().as_secs_f64(), text());
        }
    }

    /// Whether events are printed.
    #[must_use]
    pub fn is_shown(&self) -> bool {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).shown
    }

    /// The hash and how many events it covers.
    #[must_use]
    pub fn result(&self) -> (u64, u64) {
        let inner = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        (inner.hash, inner.events)
    }
}
