//! What openraft runs on: tokio, with its randomness taken from `rt` and with watches that wake in the order of waiting, so that a
//! cluster in one thread replays exactly. Adds nothing else to openraft's own binding to tokio.

mod watch;

use std::time::Duration;

// A direct dependency on the crate it comes from would have to be pinned a second time.
#[allow(deprecated, reason = "openraft re-exports it under this name only")]
use openraft::impls::TokioRuntime as Tokio;
use openraft::{AsyncRuntime, OptionalSend};

use crate::rt::rng;

/// The runtime.
#[derive(Debug)]
pub(super) struct Executor(Tokio);

impl AsyncRuntime for Executor {
    type JoinError = <Tokio as AsyncRuntime>::JoinError;
    type JoinHandle<T: OptionalSend + 'static> = <Tokio as AsyncRuntime>::JoinHandle<T>;
    type Sleep = <Tokio as AsyncRuntime>::Sleep;
    type Instant = <Tokio as AsyncRuntime>::Instant;
    type TimeoutError = <Tokio as AsyncRuntime>::TimeoutError;
    type Timeout<R, T: Future<Output = R> + OptionalSend> = <Tokio as AsyncRuntime>::Timeout<R, T>;
    type ThreadLocalRng = rand::rngs::StdRng;

    fn spawn<T>(future: T) -> Self::JoinHandle<T::Output>
    where
        T: Future + OptionalSend + 'static,
        T::Output: OptionalSend + 'static,
    {
        Tokio::spawn(future)
    }

    fn sleep(duration: Duration) -> Self::Sleep {
        Tokio::sleep(duration)
    }

    fn sleep_until(deadline: Self::Instant) -> Self::Sleep {
        Tokio::sleep_until(deadline)
    }

    fn timeout<R, F: Future<Output = R> + OptionalSend>(duration: Duration, future: F) -> Self::Timeout<R, F> {
        Tokio::timeout(duration, future)
    }

    fn timeout_at<R, F: Future<Output = R> + OptionalSend>(deadline: Self::Instant, future: F) -> Self::Timeout<R, F> {
        Tokio::timeout_at(deadline, future)
    }

    fn is_panic(join_error: &Self::JoinError) -> bool {
        Tokio::is_panic(join_error)
    }

    fn thread_rng() -> Self::ThreadLocalRng {
        rng::of_thread()
    }

    type Mpsc = <Tokio as AsyncRuntime>::Mpsc;
    type Watch = watch::InOrder;
    type Oneshot = <Tokio as AsyncRuntime>::Oneshot;
    type Mutex<T: OptionalSend + 'static> = <Tokio as AsyncRuntime>::Mutex<T>;

    fn new(threads: usize) -> Self {
        Self(Tokio::new(threads))
    }

    fn block_on<F, T>(&mut self, future: F) -> T
    where
        F: Future<Output = T>,
    {
        self.0.block_on(future)
    }
}

#[cfg(test)]
mod tests {
    use openraft::testing::runtime::Suite;

    use super::*;

    #[test]
    fn it_passes_openrafts_suite() {
        Suite::<Executor>::test_all();
    }

    #[test]
    fn a_seeded_thread_replays() {
        use rand::RngExt as _;
        let draw = || {
            rng::seed_thread(7);
            [Executor::thread_rng().random::<u64>(), Executor::thread_rng().random()]
        };
        assert_eq!(draw(), draw());
        assert_ne!(draw()[0], draw()[1]);
    }
}
