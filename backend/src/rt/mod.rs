//! The seams to the outside world: clock, randomness, tasks and sockets.
//!
//! The only place that names `tokio::spawn`, `tokio::net`, `SystemTime` and an entropy source, so that
//! everything above can run under a paused clock, from a seed, over in-memory transports.

pub mod chunks;
pub mod clock;
pub mod durable;
pub mod executor;
#[cfg(test)]
pub(crate) mod flushed;
pub mod net;
pub mod rng;
pub mod tasks;

pub use clock::Clock;
pub use rng::Rng;
pub use tasks::{Shutdown, Tasks};

/// Everything a component needs from the outside world. Cheap to clone.
#[derive(Clone, Debug)]
pub struct Runtime {
    /// Wall and monotonic time.
    pub clock: Clock,
    /// Randomness.
    pub rng: Rng,
    /// Named background tasks and the signal that ends them.
    pub tasks: Tasks,
}

/// How long blocking work takes at most in a seeded world: a disk that is not fast.
const DISK: std::time::Duration = std::time::Duration::from_millis(8);

impl Runtime {
    /// The real world.
    #[must_use]
    pub fn system() -> Self {
        Self { clock: Clock::system(), rng: Rng::from_entropy(), tasks: Tasks::new() }
    }

    /// A world that replays from a seed; wall time starts at `wall_ms` and follows tokio's clock.
    #[must_use]
    pub fn seeded(seed: u64, wall_ms: u64) -> Self {
        let rng = Rng::from_seed(seed);
        Self { clock: Clock::starting_at(wall_ms), tasks: Tasks::simulated(rng.fork(), DISK), rng }
    }
}
