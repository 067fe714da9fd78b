//! What a running server reports as `X-Consul-Index` never goes back, also when a snapshot of the leader replaces its state.

use std::{collections::BTreeMap, sync::Arc};

use backend::store::State;

use super::{First, Verdict};

/// Its name.
pub const NAME: &str = "index_monotonic";

/// The last indexes seen, by server and life of it.
#[derive(Debug, Default)]
pub struct Indexes {
    last: BTreeMap<(usize, u64), (Arc<State>, Vec<u64>)>,
    first: First,
}

/// The indexes a client would get for the whole state, the key table, a prefix and some keys.
fn reported(state: &State, prefix: &str, keys: &[String]) -> Vec<u64> {
    let of = |key: &String| state.kv(key).map_or(state.indexes.kv, |entry| entry.modify_index);
    [state.index, state.indexes.kv, state.kv_index(prefix)].into_iter().chain(keys.iter().map(of)).collect()
}

impl Indexes {
    /// Looks at a server.
    pub fn saw(&mut self, server: usize, life: u64, state: &Arc<State>, prefix: &str, keys: &[String]) {
        let last = self.last.get(&(server, life));
        if last.is_some_and(|(seen, _)| Arc::ptr_eq(seen, state)) {
            return;
        }
        let now = reported(state, prefix, keys);
        if let Some((_, before)) = last
            && let Some(at) = (0..now.len()).find(|at| now[*at] < before[*at])
        {
            let (from, to) = (before[at], now[at]);
            let of = ["the state", "all keys", prefix].get(at).map_or_else(|| keys[at - 3].clone(), |what| (*what).to_owned());
            self.first.fault(|| format!("on server {server} the index of {of} went from {from} back to {to}"));
        }
        self.last.insert((server, life), (state.clone(), now));
    }

    /// Whether it holds.
    ///
    /// # Errors
    /// Which index went back, and where.
    pub fn verdict(&self) -> Verdict {
        self.first.verdict()
    }
}
