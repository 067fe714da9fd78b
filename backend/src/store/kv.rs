//! Keys: conditional writes, locks, removal with tombstones.
//!
//! Contract: HTTP API, section KV. Sessions are not there yet, so every session is unknown; their table goes in
//! through [`session_exists`].

use std::sync::Arc;

use shared::{
    changes::{Kind, Topic},
    kv::{Entry, Op, Write as KvWrite},
    name,
};

use super::{
    Reply,
    tables::{Name, State, Tombstone},
    write::Write,
};

/// Whether a session exists.
fn session_exists(_state: &State, _id: &str) -> bool {
    false
}

/// Applies one write.
pub(super) fn apply(write: &mut Write, kv: &KvWrite) -> Reply {
    let current = write.state.kv.get(kv.key.as_str()).cloned();
    let index = current.as_ref().map(|entry| entry.modify_index);
    match &kv.op {
        Op::Set => set(write, kv, current, None),
        Op::Cas(expected) if index.unwrap_or(0) == *expected => set(write, kv, current, None),
        Op::Cas(_) => Reply::Done(false),
        Op::Lock(session) => lock(write, kv, current, session),
        Op::Unlock(session) => unlock(write, kv, current, session),
        Op::Delete => delete(write, &[Name::from(kv.key.as_str())]),
        Op::DeleteCas(_) if index.is_none() => Reply::Done(true),
        Op::DeleteCas(expected) if index == Some(*expected) => delete(write, &[Name::from(kv.key.as_str())]),
        Op::DeleteCas(_) => Reply::Done(false),
        Op::DeleteTree => {
            let keys: Vec<_> = write.state.kv_with(&kv.key).map(|entry| Name::from(entry.key.as_str())).collect();
            delete(write, &keys)
        }
    }
}

/// What a write does to the lock on its key.
enum Hold {
    /// Taken by this session.
    Taken(String),
    /// Given up.
    Released,
}

fn set(write: &mut Write, kv: &KvWrite, current: Option<Arc<Entry>>, hold: Option<Hold>) -> Reply {
    let old = current.as_deref();
    let mut entry = Entry {
        lock_index: old.map_or(0, |old| old.lock_index),
        key: kv.key.clone(),
        flags: kv.flags,
        value: kv.value.clone(),
        session: old.map(|old| old.session.clone()).unwrap_or_default(),
        create_index: old.map_or(write.index, |old| old.create_index),
        modify_index: old.map_or(write.index, |old| old.modify_index),
    };
    match hold {
        Some(Hold::Taken(session)) => {
            if entry.session != session {
                entry.lock_index += 1;
            }
            entry.session = session;
        }
        Some(Hold::Released) => entry.session.clear(),
        None => {}
    }
    if old == Some(&entry) {
        return Reply::Done(true);
    }
    entry.modify_index = write.index;
    let key = Name::from(kv.key.as_str());
    write.state.tombstones.remove(&key);
    write.state.kv.insert(key, Arc::new(entry));
    write.state.indexes.kv = write.index;
    write.touched.object(Topic::Kv, "", &kv.key, write.index, Kind::Set);
    Reply::Done(true)
}

fn lock(write: &mut Write, kv: &KvWrite, current: Option<Arc<Entry>>, session: &str) -> Reply {
    if session.is_empty() {
        return Reply::Refused("missing session".to_owned());
    }
    if !name::is_uuid(session) {
        return Reply::Refused("failed session lookup: index error: UUID must be 36 characters".to_owned());
    }
    if !session_exists(&write.state, session) {
        return Reply::Refused(format!("invalid session \"{session}\""));
    }
    if current.as_ref().is_some_and(|entry| !entry.session.is_empty() && entry.session != session) {
        return Reply::Done(false);
    }
    set(write, kv, current, Some(Hold::Taken(session.to_owned())))
}

fn unlock(write: &mut Write, kv: &KvWrite, current: Option<Arc<Entry>>, session: &str) -> Reply {
    if session.is_empty() {
        return Reply::Refused("missing session".to_owned());
    }
    if current.as_ref().is_none_or(|entry| entry.session != session) {
        return Reply::Done(false);
    }
    set(write, kv, current, Some(Hold::Released))
}

fn delete(write: &mut Write, keys: &[Name]) -> Reply {
    for key in keys {
        if write.state.kv.remove(key).is_some() {
            write.state.tombstones.insert(key.clone(), Tombstone { index: write.index, at_ms: write.at_ms });
            write.state.indexes.kv = write.index;
            write.touched.object(Topic::Kv, "", key, write.index, Kind::Delete);
        }
    }
    Reply::Done(true)
}

/// Forgets removals older than a time, milliseconds since 1970. Wakes nobody.
pub(super) fn reap_tombstones(write: &mut Write, before_ms: u64) -> Reply {
    write.state.tombstones = write.state.tombstones.iter().filter(|(_, t)| t.at_ms >= before_ms).map(|(k, t)| (k.clone(), *t)).collect();
    Reply::Done(true)
}
