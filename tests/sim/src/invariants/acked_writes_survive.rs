//! What was acknowledged is there in the end, on every replica, exactly once; and every server starts again on its own disk.

use std::collections::BTreeMap;

use backend::store::State;

use super::{First, Verdict};

/// Its name.
pub const NAME: &str = "acked_writes_survive";

/// What clients were promised.
#[derive(Debug, Default)]
pub struct Acked {
    keys: BTreeMap<String, Vec<u8>>,
    appended: BTreeMap<String, Vec<u64>>,
    first: First,
}

impl Acked {
    /// This key, written once, was acknowledged.
    pub fn wrote(&mut self, key: &str, value: &[u8]) {
        self.keys.insert(key.to_owned(), value.to_vec());
    }

    /// This number was appended to a list.
    pub fn appended(&mut self, list: &str, number: u64) {
        self.appended.entry(list.to_owned()).or_default().push(number);
    }

    /// A server that cannot go on with what its disk holds.
    pub fn refused_to_start(&mut self, server: usize, why: &str) {
        self.first.fault(|| format!("server {server} does not start again: {why}"));
    }

    /// How much was acknowledged.
    #[must_use]
    pub fn count(&self) -> u64 {
        (self.keys.len() + self.appended.values().map(Vec::len).sum::<usize>()) as u64
    }

    /// Looks into a replica in the end.
    pub fn check(&mut self, server: usize, state: &State) {
        for (key, value) in &self.keys {
            if state.kv(key).is_none_or(|entry| entry.value != *value) {
                self.first.fault(|| format!("server {server} lost the acknowledged write of {key}"));
            }
        }
        for (list, numbers) in &self.appended {
            let found = state.kv(list).map(|entry| numbers_of(&entry.value)).unwrap_or_default();
            for number in numbers {
                let times = found.iter().filter(|found| *found == number).count();
                if times != 1 {
                    self.first.fault(|| format!("server {server} has the acknowledged append of {number} to {list} {times} times"));
                }
            }
        }
    }

    /// Whether it holds.
    ///
    /// # Errors
    /// What is lost, and where.
    pub fn verdict(&self) -> Verdict {
        self.first.verdict()
    }
}

/// The numbers of a list's value.
#[must_use]
pub fn numbers_of(value: &[u8]) -> Vec<u64> {
    String::from_utf8_lossy(value).split(',').filter_map(|number| number.parse().ok()).collect()
}
