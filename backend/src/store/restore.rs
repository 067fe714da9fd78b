//! Replacing the whole state by a saved one, through the log like every other change: first its rows, a batch a command, into a
//! state beside the one that is served; then one command that puts it in its place. So all servers agree at every index, whether
//! they take part, come later or install a snapshot half-way.
//!
//! Indexes only rise: the base is raised above everything either state has seen, and no read tells an index from before the
//! restore.

use std::{io::Cursor, sync::Arc};

use serde::{Deserialize, Serialize};

use super::{
    Reply,
    snapshot::{self, VERSION},
    tables::State,
    touched::Touched,
};

/// How long a restore may stand still before it is forgotten, milliseconds.
const STALE_MS: u64 = 10 * 60_000;

/// A restore under way.
#[derive(Clone, Debug, Default)]
pub(super) struct Restoring {
    /// Which one.
    pub(super) id: String,
    /// Number of the next batch.
    pub(super) next: u64,
    /// When the last batch came, the proposer's clock.
    pub(super) at_ms: u64,
    /// What it has so far; nothing derived yet.
    pub(super) state: State,
}

/// One step of a restore.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub enum Step {
    /// Add rows, in the format of snapshots. Number 0 begins anew and forgets any other restore.
    Rows {
        /// Counts from 0.
        number: u64,
        /// The format's version.
        format: u8,
        /// The rows.
        #[serde(with = "shared::go::bytes")]
        rows: Vec<u8>,
    },
    /// Everything is there, so many batches: replace the state.
    Finish {
        /// How many.
        batches: u64,
    },
    /// Forget it.
    Abandon,
}

/// One step of a restore: the new state, what was touched, and the reply.
pub(super) fn apply(mut state: State, index: u64, id: &str, step: &Step, at_ms: u64) -> (State, Touched, Reply) {
    state.index = index;
    let reply = match step {
        Step::Rows { number, format, rows } => add(&mut state, id, (*number, *format, rows), at_ms),
        Step::Finish { batches } => return finish(state, id, *batches),
        Step::Abandon => {
            state.restoring = state.restoring.filter(|restoring| restoring.id != id);
            Ok(())
        }
    };
    (state, Touched::default(), reply.map_or_else(Reply::Refused, |()| Reply::Done(true)))
}

fn add(state: &mut State, id: &str, (number, format, rows): (u64, u8, &[u8]), at_ms: u64) -> Result<(), String> {
    if format != VERSION {
        return Err(format!("restore: rows of format {format} are not known; this version reads {VERSION}"));
    }
    let mut restoring = match state.restoring.take() {
        _ if number == 0 => Restoring { id: id.to_owned(), ..Restoring::default() },
        Some(restoring) if restoring.id == id && restoring.next == number => Restoring::clone(&restoring),
        other => {
            state.restoring = other;
            return Err(format!("restore: batch {number} does not follow, another restore may have begun"));
        }
    };
    let mut rows = Cursor::new(rows);
    while !std::io::BufRead::fill_buf(&mut rows).is_ok_and(<[u8]>::is_empty) {
        let row = rmp_serde::from_read(&mut rows).map_err(|error| format!("restore: batch {number}: {error}"))?;
        snapshot::insert(&mut restoring.state, row).map_err(|error| format!("restore: batch {number}: {error}"))?;
    }
    (restoring.next, restoring.at_ms) = (number + 1, at_ms);
    state.restoring = Some(Arc::new(restoring));
    Ok(())
}

fn finish(mut state: State, id: &str, batches: u64) -> (State, Touched, Reply) {
    let whole = state.restoring.take_if(|restoring| restoring.id == id && restoring.next == batches);
    let Some(restoring) = whole else {
        let reply = Reply::Refused("restore: not everything arrived, another restore may have begun".to_owned());
        return (state, Touched::default(), reply);
    };
    let mut restored = restoring.state.clone();
    snapshot::derive(&mut restored);
    // Above everything that was ever told: by this state, and in the one it came from.
    let raise = (restored.index + 1).saturating_sub(state.index);
    restored.index_base = state.index_base + raise;
    restored.index = state.index + raise;
    restored.restored_at = restored.index;
    restored.restoring = None;
    // Which cluster this is does not change with what it holds: a copy of another one's state must not pass for that one.
    restored.cluster = state.cluster;
    (restored, Touched::everything(), Reply::Done(true))
}

impl State {
    /// Whether a restore stands still for so long that it may be forgotten.
    #[must_use]
    pub fn has_stale_restore(&self, at_ms: u64) -> bool {
        self.restoring.as_ref().is_some_and(|restoring| restoring.at_ms.saturating_add(STALE_MS) < at_ms)
    }

    /// The state as it is saved: without a restore that is under way.
    #[must_use]
    pub fn settled(&self) -> Self {
        Self { restoring: None, ..self.clone() }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_cluster_keeps_its_id_whatever_it_is_restored_from() {
        let named = |id: &str| State { cluster: Some(Arc::from(id)), ..State::default() };
        let restoring = Restoring { id: "r".to_owned(), next: 1, state: named("theirs"), ..Restoring::default() };
        let ours = State { restoring: Some(Arc::new(restoring)), ..named("ours") };
        let (restored, _, reply) = finish(ours, "r", 1);
        assert_eq!((restored.cluster.as_deref(), reply), (Some("ours"), Reply::Done(true)));
    }
}
