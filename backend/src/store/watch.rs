//! The watch registry: who waits for which key. A write wakes only those who wait for something it touched.
//!
//! Subscribe before reading the state: a change between the two then still wakes. Waiters of one key share one cell, and cells
//! are spread over shards, so that firing costs one look-up a touched key, plus one for every prefix length in use.

use std::{
    collections::{HashMap, hash_map::Entry},
    hash::{BuildHasher as _, RandomState},
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicU32, Ordering},
    },
};

use tokio::sync::{Notify, futures::OwnedNotified};

const SHARDS: usize = 64;
/// Longest prefix told apart; longer ones wait for their first so many bytes.
const PREFIX_MAX: usize = 512;

/// Something a read can depend on. Names of nodes and services in any case.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Key<'a> {
    /// The node table.
    Nodes,
    /// The service table: which instances there are.
    Services,
    /// The check table.
    Checks,
    /// The check history.
    History,
    /// A node, its services or their checks.
    Node(&'a str),
    /// A service: its instances, their checks, their nodes and those nodes' checks.
    Service(&'a str),
    /// One key.
    Kv(&'a str),
    /// Every key with this prefix.
    KvPrefix(&'a str),
}

impl Key<'_> {
    fn bytes(self) -> Box<[u8]> {
        let with = |tag: u8, text: &[u8]| [&[tag], text].concat().into_boxed_slice();
        match self {
            Self::Nodes => with(0, b""),
            Self::Services => with(1, b""),
            Self::Checks => with(2, b""),
            Self::History => with(3, b""),
            Self::Node(name) => with(4, name.to_lowercase().as_bytes()),
            Self::Service(name) => with(5, name.to_lowercase().as_bytes()),
            Self::Kv(key) => with(6, key.as_bytes()),
            Self::KvPrefix(prefix) => with(7, cut(prefix)),
        }
    }
}

fn cut(prefix: &str) -> &[u8] {
    &prefix.as_bytes()[..prefix.len().min(PREFIX_MAX)]
}

#[derive(Debug, Default)]
struct Cell {
    notify: Arc<Notify>,
    waiters: usize,
}

type Shard = Mutex<HashMap<Box<[u8]>, Cell>>;

#[derive(Debug)]
struct Inner {
    shards: Vec<Shard>,
    hasher: RandomState,
    /// Waiters by length of the prefix they wait for.
    prefixes: Vec<AtomicU32>,
}

/// All cells somebody waits for. Cheap to clone.
#[derive(Clone, Debug)]
pub struct Registry(Arc<Inner>);

impl Default for Registry {
    fn default() -> Self {
        Self(Arc::new(Inner {
            shards: (0..SHARDS).map(|_| Shard::default()).collect(),
            hasher: RandomState::new(),
            prefixes: (0..=PREFIX_MAX).map(|_| AtomicU32::new(0)).collect(),
        }))
    }
}

/// A wait for one key; dropping it ends it.
#[derive(Debug)]
pub struct Subscription {
    registry: Registry,
    key: Box<[u8]>,
    notified: std::pin::Pin<Box<OwnedNotified>>,
}

impl Subscription {
    /// Resolves once the key has been touched since the subscription.
    pub async fn changed(&mut self) {
        self.notified.as_mut().await;
    }
}

impl Drop for Subscription {
    fn drop(&mut self) {
        let mut cells = self.registry.shard(&self.key).lock().unwrap_or_else(PoisonError::into_inner);
        if let Entry::Occupied(mut cell) = cells.entry(std::mem::take(&mut self.key)) {
            if let [7, prefix @ ..] = &**cell.key() {
                self.registry.0.prefixes[prefix.len()].fetch_sub(1, Ordering::SeqCst);
            }
            cell.get_mut().waiters -= 1;
            if cell.get().waiters == 0 {
                cell.remove();
            }
        }
    }
}

impl Registry {
    fn shard(&self, key: &[u8]) -> &Shard {
        let hash = self.0.hasher.hash_one(key);
        &self.0.shards[usize::try_from(hash % SHARDS as u64).unwrap_or(0)]
    }

    /// Starts to wait for a key. Read the state only after this.
    #[must_use]
    pub fn subscribe(&self, key: Key<'_>) -> Subscription {
        let key = key.bytes();
        let notify = {
            let mut cells = self.shard(&key).lock().unwrap_or_else(PoisonError::into_inner);
            if let [7, prefix @ ..] = &*key {
                self.0.prefixes[prefix.len()].fetch_add(1, Ordering::SeqCst);
            }
            let cell = cells.entry(key.clone()).or_default();
            cell.waiters += 1;
            cell.notify.clone()
        };
        let mut notified = Box::pin(notify.notified_owned());
        notified.as_mut().enable();
        Subscription { registry: self.clone(), key, notified }
    }

    fn notify(&self, key: &[u8]) {
        let cells = self.shard(key).lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(cell) = cells.get(key) {
            cell.notify.notify_waiters();
        }
    }

    /// Wakes everybody who waits for this key; for a written key of the key/value table also for each of its prefixes.
    pub fn fire(&self, key: Key<'_>) {
        self.notify(&key.bytes());
        if let Key::Kv(key) = key {
            let key = key.as_bytes();
            for length in 0..=key.len().min(PREFIX_MAX) {
                if self.0.prefixes[length].load(Ordering::SeqCst) > 0 {
                    self.notify(&[&[7], &key[..length]].concat());
                }
            }
        }
    }

    /// Wakes everybody.
    pub fn fire_all(&self) {
        for shard in &self.0.shards {
            let cells = shard.lock().unwrap_or_else(PoisonError::into_inner);
            cells.values().for_each(|cell| cell.notify.notify_waiters());
        }
    }

    /// How many waits there are.
    #[must_use]
    pub fn waiters(&self) -> usize {
        let count = |shard: &Shard| shard.lock().unwrap_or_else(PoisonError::into_inner).values().map(|cell| cell.waiters).sum::<usize>();
        self.0.shards.iter().map(count).sum()
    }
}
