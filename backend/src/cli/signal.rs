//! The signals a process is told things with. SIGPIPE is ignored by Rust's start-up.

use std::io;

use tokio::signal::unix::{Signal, SignalKind, signal};

/// Resolves at Ctrl-C; never when the signal cannot be watched.
pub(super) async fn interrupted() {
    match signal(SignalKind::interrupt()) {
        Ok(mut interrupt) => {
            interrupt.recv().await;
        }
        Err(_) => std::future::pending().await,
    }
}

/// What an agent is told.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Told {
    /// SIGHUP.
    Reload,
    /// SIGINT.
    Interrupt,
    /// SIGTERM.
    Terminate,
}

/// Waits for the signals an agent listens to.
#[derive(Debug)]
pub(super) struct Signals {
    hangup: Signal,
    interrupt: Signal,
    terminate: Signal,
}

impl Signals {
    /// Watches from now on.
    ///
    /// # Errors
    /// The operating system does not allow it.
    pub(super) fn watch() -> io::Result<Self> {
        Ok(Self {
            hangup: signal(SignalKind::hangup())?,
            interrupt: signal(SignalKind::interrupt())?,
            terminate: signal(SignalKind::terminate())?,
        })
    }

    /// The next one.
    pub(super) async fn next(&mut self) -> Told {
        tokio::select! {
            biased;
            _ = self.interrupt.recv() => Told::Interrupt,
            _ = self.terminate.recv() => Told::Terminate,
            _ = self.hangup.recv() => Told::Reload,
        }
    }

    /// The next one that asks to end.
    pub(super) async fn next_end(&mut self) -> Told {
        loop {
            match self.next().await {
                Told::Reload => {}
                other => return other,
            }
        }
    }
}
