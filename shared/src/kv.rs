//! Key/value entries and writes.

use serde::{Deserialize, Serialize};

/// One key (`KVPair`).
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
pub struct Entry {
    /// How often a session has acquired the key.
    pub lock_index: u64,
    /// The key: any bytes that are UTF-8, `/` separates folders.
    pub key: String,
    /// Opaque number of the client's.
    pub flags: u64,
    /// The value: any bytes.
    #[serde(with = "crate::go::bytes")]
    pub value: Vec<u8>,
    /// Session that holds the key.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub session: String,
    /// Raft index of its creation.
    pub create_index: u64,
    /// Raft index of its last change.
    pub modify_index: u64,
}

/// What a write does.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub enum Op {
    /// Store unconditionally.
    Set,
    /// Store if the entry's index still is the one given; 0 means it must not exist.
    Cas(u64),
    /// Store and take the lock for this session.
    Lock(String),
    /// Store and give up this session's lock.
    Unlock(String),
    /// Remove one key.
    Delete,
    /// Remove one key if its index still is the one given.
    DeleteCas(u64),
    /// Remove every key with this prefix.
    DeleteTree,
}

/// A write to one key, or with [`Op::DeleteTree`] to a prefix.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Write {
    /// What to do.
    pub op: Op,
    /// The key or prefix.
    pub key: String,
    /// New flags.
    #[serde(default)]
    pub flags: u64,
    /// New value.
    #[serde(with = "crate::go::bytes", default)]
    pub value: Vec<u8>,
}
