//! Keys.
//!
//! Contract: HTTP API, section KV.

use shared::kv::{Entry, Op};

use super::Call;
use crate::{
    acl::Access,
    rpc::{Answer, Error, KvGet, KvKeys, KvList, KvWrite},
    store::{Command, watch::Key},
};

pub(super) async fn get(call: Call<'_>, asked: KvGet) -> Result<Answer<Option<Entry>>, Error> {
    if !call.authorizer.allows(Access::KeyRead(&asked.key)) {
        return Err(Error::PermissionDenied);
    }
    let key = asked.key.as_str();
    // A missing key reports the table's index, but only its own creation wakes the read.
    let keys = [Key::Kv(key)];
    call.read(
        &keys,
        |state| state.kv(key).map_or(state.indexes.kv, |entry| entry.modify_index),
        |state| Ok(state.kv(key).map(|entry| (**entry).clone())),
    )
    .await
}

pub(super) async fn list(call: Call<'_>, asked: KvList) -> Result<Answer<Vec<Entry>>, Error> {
    if !call.authorizer.allows(Access::KeyList(&asked.prefix)) {
        return Err(Error::PermissionDenied);
    }
    let prefix = asked.prefix.as_str();
    call.read(
        &[Key::KvPrefix(prefix)],
        |state| state.kv_index(prefix),
        |state| {
            let readable = state.kv_with(prefix).filter(|entry| call.authorizer.allows(Access::KeyRead(&entry.key)));
            Ok(readable.map(|entry| (**entry).clone()).collect())
        },
    )
    .await
}

pub(super) async fn keys(call: Call<'_>, asked: KvKeys) -> Result<Answer<Vec<String>>, Error> {
    if !call.authorizer.allows(Access::KeyList(&asked.prefix)) {
        return Err(Error::PermissionDenied);
    }
    let prefix = asked.prefix.as_str();
    call.read(
        &[Key::KvPrefix(prefix)],
        |state| state.kv_index(prefix),
        |state| {
            let readable = state.kv_with(prefix).filter(|entry| call.authorizer.allows(Access::KeyRead(&entry.key)));
            let mut keys: Vec<String> = readable.map(|entry| cut(&entry.key, prefix, &asked.separator).to_owned()).collect();
            keys.dedup();
            Ok(keys)
        },
    )
    .await
}

/// The key up to and with the first separator past the prefix.
fn cut<'a>(key: &'a str, prefix: &str, separator: &str) -> &'a str {
    if separator.is_empty() {
        return key;
    }
    key[prefix.len()..].find(separator).map_or(key, |at| &key[..prefix.len() + at + separator.len()])
}

pub(super) async fn write(call: Call<'_>, asked: KvWrite) -> Result<Answer<bool>, Error> {
    let write = asked.write;
    let access = if write.op == Op::DeleteTree { Access::KeyWritePrefix(&write.key) } else { Access::KeyWrite(&write.key) };
    if !call.authorizer.allows(access) {
        return Err(Error::PermissionDenied);
    }
    if write.key.is_empty() && write.op != Op::DeleteTree {
        return Err(Error::Refused("Must provide key".to_owned()));
    }
    let done = call.server.propose(Command::Kv { write, at_ms: call.server.runtime.clock.wall_ms() }).await?;
    Ok(call.answer(0, done))
}

#[cfg(test)]
mod tests {
    use super::cut;

    #[test]
    fn a_separator_cuts_keys_after_its_first_place_past_the_prefix() {
        let check = |key: &str, prefix: &str, separator: &str, expected: &str| assert_eq!(cut(key, prefix, separator), expected);
        check("q/x/y", "q/", "/", "q/x/");
        check("q/", "q/", "/", "q/");
        check("q/z", "q/", "/", "q/z");
        check("q/z", "", "/", "q/");
        check("q/x/y", "q/", "", "q/x/y");
        check("a--b--c", "a", "--", "a--");
    }
}
