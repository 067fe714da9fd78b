//! The state machine: tables, commands, and one published snapshot per batch. Deterministic: no clock, no randomness,
//! no I/O; everything that varies comes inside the command.

mod catalog;
mod changes;
mod check;
mod history;
mod kv;
mod node;
mod operator;
mod restore;
mod service;
pub mod snapshot;
mod summary;
mod tables;
mod touched;
pub mod watch;
mod write;

#[cfg(test)]
mod tests;

use std::sync::{Arc, Mutex, PoisonError};

use arc_swap::ArcSwap;
use serde::{Deserialize, Serialize};
use shared::{catalog as wire, check::Transition, kv::Write as KvWrite, operator::AutopilotConfiguration};

pub use catalog::validate;
pub use changes::{Batch, Changes, Place, Reset};
pub use history::{AGE_MS_MAX, Log, Record};
pub use restore::Step as RestoreStep;
pub use service::id as service_id;
pub use summary::{Summary, TRACE_MS};
pub use tables::{Indexes, Instance, NodeRecord, Sizes, State};
use touched::Touched;
use write::Write;

/// A change to the state, as it stands in the Raft log.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub enum Command {
    /// Register a node, service, checks.
    Register {
        /// What.
        registration: Box<wire::Registration>,
        /// Transitions the agent saw since its last sync, by check id, oldest first. For a changed check without one, apply
        /// makes one from `at_ms`.
        #[serde(default)]
        transitions: Vec<(String, Transition)>,
        /// The proposer's clock, milliseconds since 1970.
        at_ms: u64,
    },
    /// Deregister a node, service or check.
    Deregister {
        /// What.
        deregistration: wire::Deregistration,
        /// The proposer's clock, milliseconds since 1970.
        at_ms: u64,
    },
    /// Write keys.
    Kv {
        /// What.
        write: KvWrite,
        /// The proposer's clock, milliseconds since 1970.
        at_ms: u64,
    },
    /// Forget removed keys and recorded transitions that are too old. Wakes nobody.
    Reap {
        /// Removals of keys before this time go, milliseconds since 1970.
        tombstones_before_ms: u64,
        /// The proposer's clock, milliseconds since 1970.
        at_ms: u64,
    },
    /// A step of replacing the whole state by a saved one.
    Restore {
        /// Which restore.
        id: String,
        /// The step.
        step: RestoreStep,
        /// The proposer's clock, milliseconds since 1970.
        at_ms: u64,
    },
    /// Change what autopilot does.
    SetAutopilot {
        /// The whole configuration; its indexes are set here.
        configuration: AutopilotConfiguration,
        /// Only if it was last changed at this index.
        cas: Option<u64>,
        /// The proposer's clock, milliseconds since 1970.
        at_ms: u64,
    },
    /// Give the cluster its id, unless it has one.
    NameCluster {
        /// A UUID.
        id: String,
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
            Self::Reap { .. } => "reap",
            Self::Restore { .. } => "restore",
            Self::SetAutopilot { .. } => "set autopilot",
            Self::NameCluster { .. } => "name cluster",
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

/// Applies one command: a table of one-line calls.
fn apply(state: State, index: u64, command: &Command) -> (State, Touched, Reply) {
    let mut write = Write::new(state, index, command.at_ms());
    let reply = match command {
        Command::Restore { id, step, at_ms } => return restore::apply(write.state, index, id, step, *at_ms),
        Command::Register { registration, transitions, .. } => catalog::register(&mut write, registration, transitions),
        Command::Deregister { deregistration, .. } => catalog::deregister(&mut write, deregistration),
        Command::Kv { write: kv, .. } => kv::apply(&mut write, kv),
        Command::Reap { tombstones_before_ms, .. } => reap(&mut write, *tombstones_before_ms),
        Command::SetAutopilot { configuration, cas, .. } => operator::set_autopilot(&mut write, configuration, *cas),
        Command::NameCluster { id, .. } => operator::name_cluster(&mut write, id),
    };
    let (state, touched) = write.finish();
    (State { index, ..state }, touched, reply)
}

fn reap(write: &mut Write, tombstones_before_ms: u64) -> Reply {
    if write.state.has_stale_restore(write.at_ms) {
        write.state.restoring = None;
    }
    check::prune_history(write);
    kv::reap_tombstones(write, tombstones_before_ms)
}

impl Command {
    /// The proposer's clock, milliseconds since 1970.
    #[must_use]
    pub fn at_ms(&self) -> u64 {
        match self {
            Self::Register { at_ms, .. }
            | Self::Deregister { at_ms, .. }
            | Self::Kv { at_ms, .. }
            | Self::Reap { at_ms, .. }
            | Self::Restore { at_ms, .. }
            | Self::SetAutopilot { at_ms, .. }
            | Self::NameCluster { at_ms, .. } => *at_ms,
        }
    }
}

/// The published state with its single writer's side, its watches and its change ring.
#[derive(Debug, Default)]
pub struct Store {
    state: ArcSwap<State>,
    watches: watch::Registry,
    changes: Changes,
    writer: Mutex<()>,
}

impl Store {
    /// An empty store.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// The newest published state.
    #[must_use]
    pub fn state(&self) -> Arc<State> {
        self.state.load_full()
    }

    /// Who waits for what.
    #[must_use]
    pub fn watches(&self) -> &watch::Registry {
        &self.watches
    }

    /// What changed lately.
    #[must_use]
    pub fn changes(&self) -> &Changes {
        &self.changes
    }

    /// Applies a batch in order, publishes the state once, fires the watches, then answers one reply a command. Only the Raft
    /// state machine calls it, from one task.
    pub fn commit(&self, batch: &[(u64, Command)]) -> Vec<Reply> {
        let _writer = self.writer.lock().unwrap_or_else(PoisonError::into_inner);
        let mut state = State::clone(&self.state.load());
        let mut touched = Touched::default();
        let mut replies = Vec::with_capacity(batch.len());
        for (index, command) in batch {
            let index = index + state.index_base;
            let (next, more, reply) = apply(state, index, command);
            state = next;
            touched.merge(more);
            replies.push(reply);
        }
        let index = state.index;
        self.state.store(Arc::new(state));
        if touched.is_everything() {
            self.watches.fire_all();
            self.changes.reset(index);
        } else {
            touched.fire(&self.watches);
            self.changes.push(index, touched.changes());
        }
        replies
    }

    /// Replaces everything by a restored state and wakes every watch.
    pub fn install(&self, state: State) {
        let _writer = self.writer.lock().unwrap_or_else(PoisonError::into_inner);
        let index = state.index;
        self.state.store(Arc::new(state));
        self.watches.fire_all();
        self.changes.reset(index);
    }
}
