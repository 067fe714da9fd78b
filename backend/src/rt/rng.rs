//! Randomness: one generator per agent, seeded once.

use std::{
    cell::RefCell,
    sync::{Arc, Mutex, PoisonError},
};

use rand::{RngExt as _, SeedableRng as _, rngs::StdRng};

/// Bytes nobody can guess, for keys and secrets; they never replay.
#[must_use]
#[allow(clippy::disallowed_methods, reason = "this is the seam")]
pub fn entropy<const N: usize>() -> [u8; N] {
    let mut bytes = [0; N];
    bytes.fill_with(rand::random);
    bytes
}

thread_local! {
    static OF_THREAD: RefCell<Option<StdRng>> = const { RefCell::new(None) };
}

/// A generator for a library that asks for randomness instead of being given some: the system's, or on a thread that
/// [`seed_thread`] was called on, one that replays.
#[must_use]
#[allow(clippy::disallowed_methods, reason = "this is the seam")]
pub fn of_thread() -> StdRng {
    OF_THREAD.with_borrow_mut(|rng| StdRng::seed_from_u64(rng.as_mut().map_or_else(rand::random, |rng| rng.random())))
}

/// From now on [`of_thread`] replays on this thread, which has to run one simulated world alone.
pub fn seed_thread(seed: u64) {
    OF_THREAD.set(Some(StdRng::seed_from_u64(seed)));
}

/// A shared random generator. Cheap to clone; [`Rng::fork`] gives a consumer its own stream.
#[derive(Clone)]
pub struct Rng(Arc<Mutex<StdRng>>);

impl std::fmt::Debug for Rng {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Rng")
    }
}

impl Rng {
    /// Seeded from the operating system.
    #[must_use]
    #[allow(clippy::disallowed_methods, reason = "this is the seam")]
    pub fn from_entropy() -> Self {
        Self::from_seed(rand::random())
    }

    /// The same sequence for the same seed.
    #[must_use]
    pub fn from_seed(seed: u64) -> Self {
        Self(Arc::new(Mutex::new(StdRng::seed_from_u64(seed))))
    }

    fn with<T>(&self, draw: impl FnOnce(&mut StdRng) -> T) -> T {
        draw(&mut self.0.lock().unwrap_or_else(PoisonError::into_inner))
    }

    /// An independent stream for one consumer.
    #[must_use]
    pub fn fork(&self) -> Self {
        Self::from_seed(self.with(|rng| rng.random()))
    }

    /// A number below `bound`; 0 when `bound` is 0.
    #[must_use]
    pub fn below(&self, bound: u64) -> u64 {
        if bound == 0 { 0 } else { self.with(|rng| rng.random_range(0..bound)) }
    }

    /// A length of time from zero up to `longest`.
    #[must_use]
    pub fn jitter(&self, longest: std::time::Duration) -> std::time::Duration {
        longest.mul_f64(self.with(|rng| rng.random::<f64>()))
    }

    /// Random bytes.
    #[must_use]
    pub fn bytes<const N: usize>(&self) -> [u8; N] {
        self.with(|rng| {
            let mut bytes = [0; N];
            rng.fill(&mut bytes[..]);
            bytes
        })
    }

    /// A version 4 UUID in its usual form.
    #[must_use]
    pub fn uuid(&self) -> String {
        uuid::Builder::from_random_bytes(self.bytes()).into_uuid().to_string()
    }

    /// Puts the items in random order.
    pub fn shuffle<T>(&self, items: &mut [T]) {
        for at in (1..items.len()).rev() {
            items.swap(at, usize::try_from(self.below(at as u64 + 1)).unwrap_or(0));
        }
    }
}
