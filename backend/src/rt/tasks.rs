//! Named background tasks and the signal that ends them all.

use std::{future::Future, time::Duration};

use tokio_util::{sync::CancellationToken, task::TaskTracker};
use tracing::Instrument as _;

use super::Rng;

/// Tells a task to end. Cheap to clone.
#[derive(Clone, Debug)]
pub struct Shutdown(CancellationToken);

impl Shutdown {
    /// Resolves once the agent stops.
    pub async fn requested(&self) {
        self.0.cancelled().await;
    }

    /// Whether the agent stops.
    #[must_use]
    pub fn is_requested(&self) -> bool {
        self.0.is_cancelled()
    }

    /// A signal that ends with this one or on its own [`Shutdown::trigger`].
    #[must_use]
    pub fn child(&self) -> Self {
        Self(self.0.child_token())
    }

    /// Ends everything that listens to this signal.
    pub fn trigger(&self) {
        self.0.cancel();
    }
}

/// The agent's background tasks. Cheap to clone.
#[derive(Clone, Debug)]
pub struct Tasks {
    tracker: TaskTracker,
    shutdown: Shutdown,
    /// In a simulation: how long blocking work takes at most, and what decides.
    simulated: Option<(Rng, Duration)>,
}

impl Default for Tasks {
    fn default() -> Self {
        Self::new()
    }
}

impl Tasks {
    /// No tasks yet.
    #[must_use]
    pub fn new() -> Self {
        Self { tracker: TaskTracker::new(), shutdown: Shutdown(CancellationToken::new()), simulated: None }
    }

    /// No tasks yet, for a world that replays from a seed: blocking work is done between two steps of the one thread there is,
    /// after a time of up to `longest`.
    #[must_use]
    pub fn simulated(rng: Rng, longest: Duration) -> Self {
        Self { simulated: Some((rng, longest)), ..Self::new() }
    }

    /// Whether there is only one thread.
    #[must_use]
    pub fn are_simulated(&self) -> bool {
        self.simulated.is_some()
    }

    /// The signal tasks end by.
    #[must_use]
    pub fn shutdown(&self) -> Shutdown {
        self.shutdown.clone()
    }

    /// Runs a task that ends by itself or when it sees [`Shutdown`].
    #[allow(clippy::disallowed_methods, reason = "this is the seam")]
    pub fn spawn<F>(&self, name: &'static str, task: F) -> tokio::task::JoinHandle<F::Output>
    where
        F: Future + Send + 'static,
        F::Output: Send + 'static,
    {
        self.tracker.spawn(task.instrument(tracing::trace_span!("task", name)))
    }

    /// Runs a task that is dropped at shutdown, wherever it is.
    pub fn spawn_until_shutdown<F>(&self, name: &'static str, task: F)
    where
        F: Future<Output = ()> + Send + 'static,
    {
        let shutdown = self.shutdown();
        self.spawn(name, async move {
            tokio::select! {
                biased;
                () = shutdown.requested() => {}
                () = task => {}
            }
        });
    }

    /// Runs blocking work (disk, name look-ups) off the async threads.
    #[allow(clippy::disallowed_methods, reason = "this is the seam")]
    pub fn spawn_blocking<T: Send + 'static>(&self, work: impl FnOnce() -> T + Send + 'static) -> tokio::task::JoinHandle<T> {
        match &self.simulated {
            None => self.tracker.spawn_blocking(work),
            Some((rng, longest)) => {
                let pause = rng.jitter(*longest);
                self.tracker.spawn(async move {
                    super::clock::sleep(pause).await;
                    work()
                })
            }
        }
    }

    /// How many tasks run.
    #[must_use]
    pub fn count(&self) -> usize {
        self.tracker.len()
    }

    /// Signals shutdown and waits until every task has ended, or `grace` has passed. Answers whether all ended.
    pub async fn stop(&self, grace: Duration) -> bool {
        self.shutdown.trigger();
        self.tracker.close();
        super::clock::timeout(grace, self.tracker.wait()).await.is_ok()
    }
}
