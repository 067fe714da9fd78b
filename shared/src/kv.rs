//! Key/value entries and writes.

use crate::decode::Decode;
use serde::{Deserialize, Serialize};

use crate::endpoint::{self, Read, encode_path, endpoint};

/// One key (`KVPair`).
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, Decode)]
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

/// `GET /v1/kv/:key`: one entry; status 404 when there is none.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Get {
    /// The key.
    pub key: String,
    /// Where and how.
    pub read: Read,
}

endpoint!(Get: "GET" -> Vec<Entry>, this => path(&this.key), query this.read.pairs());

/// `GET /v1/kv/:prefix?recurse`; status 404 when there is none.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct List {
    /// The prefix.
    pub prefix: String,
    /// Where and how.
    pub read: Read,
}

endpoint!(List: "GET" -> Vec<Entry>, this => path(&this.prefix),
    query std::iter::once(("recurse", String::new())).chain(this.read.pairs()).collect());

/// `GET /v1/kv/:prefix?keys`; status 404 when there is none.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Keys {
    /// The prefix.
    pub prefix: String,
    /// Cut after the first of these past the prefix; empty does not cut.
    pub separator: String,
    /// Where and how.
    pub read: Read,
}

endpoint!(Keys: "GET" -> Vec<String>, this => path(&this.prefix), query {
    let mut pairs = vec![("keys", String::new())];
    pairs.extend(endpoint::optional("separator", &this.separator));
    pairs.extend(this.read.pairs());
    pairs
});

/// `PUT /v1/kv/:key`: whether it was stored.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Put {
    /// The key.
    pub key: String,
    /// New value.
    pub value: Vec<u8>,
    /// New flags.
    pub flags: u64,
    /// Only if the entry's index still is this one; 0 means it must not exist.
    pub cas: Option<u64>,
    /// Take the lock for this session; empty does not.
    pub acquire: String,
    /// Give up this session's lock; empty does not.
    pub release: String,
    /// Datacenter; empty means the agent's own.
    pub dc: String,
}

endpoint!(Put: "PUT" -> bool, this => path(&this.key),
    query {
        let mut pairs = endpoint::dc(&this.dc);
        if this.flags != 0 {
            pairs.push(("flags", this.flags.to_string()));
        }
        pairs.extend(this.cas.map(|index| ("cas", index.to_string())));
        pairs.extend(endpoint::optional("acquire", &this.acquire));
        pairs.extend(endpoint::optional("release", &this.release));
        pairs
    },
    body Some(this.value.clone()));

/// `DELETE /v1/kv/:key`: whether it was removed.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Delete {
    /// The key, or with `recurse` the prefix.
    pub key: String,
    /// Every key with this prefix.
    pub recurse: bool,
    /// Only if the entry's index still is this one.
    pub cas: Option<u64>,
    /// Datacenter; empty means the agent's own.
    pub dc: String,
}

endpoint!(Delete: "DELETE" -> bool, this => path(&this.key), query {
    let mut pairs = endpoint::dc(&this.dc);
    if this.recurse {
        pairs.push(("recurse", String::new()));
    }
    pairs.extend(this.cas.map(|index| ("cas", index.to_string())));
    pairs
});

fn path(key: &str) -> String {
    format!("kv/{}", encode_path(key, true))
}
