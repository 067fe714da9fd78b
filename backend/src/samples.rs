//! Bytes of this release as they lie on disk and travel between agents, kept in the `testdata` of the module that writes them: every
//! later release has to read them.
//!
//! Run the tests with `UPDATE_SAMPLES=1` to write samples of a kind that is new; a sample that is there only changes together with
//! the format's version. Fields may be added without that: a release one minor newer has them, and they are ignored here; one older
//! lacks them, and they have defaults.
//! Contract: cluster, section "Upgrades and versions".

use std::{fs, path::PathBuf};

use serde::{Serialize, de::DeserializeOwned};

pub(crate) use crate::raft::Value;

/// What every versioned encoding begins with.
const VERSION: u8 = 1;

/// The samples of one module.
#[derive(Clone, Copy)]
pub(crate) struct Samples {
    /// Its folder below `src`.
    pub(crate) module: &'static str,
    /// Whether a version byte comes first.
    pub(crate) versioned: bool,
}

impl Samples {
    fn path(self, name: &str) -> PathBuf {
        PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("src").join(self.module).join("testdata").join(format!("{name}-v1.bin"))
    }

    /// What is kept under this name.
    pub(crate) fn kept(self, name: &str) -> Vec<u8> {
        let path = self.path(name);
        fs::read(&path).unwrap_or_else(|error| panic!("{}: {error}; UPDATE_SAMPLES=1 writes it when it is new", path.display()))
    }

    /// As [`Samples::kept`], written anew when asked to.
    pub(crate) fn sample(self, name: &str, now: &[u8]) -> Vec<u8> {
        if std::env::var_os("UPDATE_SAMPLES").is_some() {
            let path = self.path(name);
            fs::create_dir_all(path.parent().expect("it has one")).expect("created");
            fs::write(&path, now).expect("written");
        }
        self.kept(name)
    }

    /// A value as bytes, as every encoder here writes it.
    pub(crate) fn encode<T: Serialize>(self, value: &T) -> Vec<u8> {
        let mut bytes = if self.versioned { vec![VERSION] } else { Vec::new() };
        rmp_serde::encode::write_named(&mut bytes, value).expect("encodes");
        bytes
    }

    fn decode<T: DeserializeOwned>(self, bytes: &[u8]) -> Result<T, String> {
        let rest = if self.versioned { bytes.strip_prefix(&[VERSION]).ok_or("another version")? } else { bytes };
        rmp_serde::from_slice(rest).map_err(|error| error.to_string())
    }

    /// Bytes as a tree to change.
    pub(crate) fn tree(self, bytes: &[u8]) -> Value {
        self.decode(bytes).expect("is msgpack")
    }

    /// This release writes all that it wrote, reads it, and reads what the next release adds fields to. `now` is what the product writes.
    pub(crate) fn check<T: Serialize + DeserializeOwned + std::fmt::Debug>(self, name: &str, value: &T, now: &[u8]) {
        let kept = self.sample(name, now);
        assert_eq!(self.encode(value), now, "{name} is encoded in another way than all else");
        assert!(holds(&self.tree(now), &self.tree(&kept)), "{name} lacks what it had, or has it in another form");
        let read: T = self.decode(&kept).unwrap_or_else(|error| panic!("{name}: {error}"));
        assert_eq!(format!("{read:?}"), format!("{value:?}"), "{name}");
        let mut newer = self.tree(&kept);
        let added = add_fields(&mut newer);
        let newer = self.encode(&newer);
        assert!(added > 0 || !kept.contains(&b'_'), "{name} has more fields now");
        let read: T = self.decode(&newer).unwrap_or_else(|error| panic!("{name} with more fields: {error}"));
        assert_eq!(format!("{read:?}"), format!("{value:?}"), "{name} with more fields");
    }
}

/// Whether everything that was there still is: fields may only have been added.
fn holds(now: &Value, then: &Value) -> bool {
    match (now, then) {
        (Value::Map(now), Value::Map(then)) => {
            then.iter().all(|(key, value)| now.iter().any(|(present, other)| present == key && holds(other, value)))
        }
        (Value::List(now), Value::List(then)) => now.len() == then.len() && now.iter().zip(then).all(|(now, then)| holds(now, then)),
        (now, then) => now == then,
    }
}

/// A struct gets one more field, everywhere; maps by id and the names of variants are left alone. Answers how many there were.
pub(crate) fn add_fields(value: &mut Value) -> usize {
    match value {
        Value::List(values) => values.iter_mut().map(add_fields).sum(),
        Value::Map(pairs) => {
            let mut added = pairs.iter_mut().map(|(_, value)| add_fields(value)).sum();
            let first = |(key, _): &(Value, Value)| match key {
                Value::Text(key) => key.chars().next(),
                _ => None,
            };
            let names = pairs.first().and_then(first);
            let is_variant = pairs.len() == 1 && names.is_some_and(|name| name.is_ascii_uppercase() || name == '~');
            if names.is_some_and(|name| name.is_ascii_alphabetic()) && !is_variant {
                pairs.push((Value::Text("added_later".into()), Value::List(vec![Value::Number(7), Value::Nothing])));
                added += 1;
            }
            added
        }
        _ => 0,
    }
}

/// Takes a field out wherever there is one of this name; answers how many there were.
pub(crate) fn remove_field(value: &mut Value, name: &str) -> usize {
    match value {
        Value::List(values) => values.iter_mut().map(|value| remove_field(value, name)).sum(),
        Value::Map(pairs) => {
            let before = pairs.len();
            pairs.retain(|(key, _)| *key != Value::Text(name.into()));
            before - pairs.len() + pairs.iter_mut().map(|(_, value)| remove_field(value, name)).sum::<usize>()
        }
        _ => 0,
    }
}

/// Gives a variant, or a field, of this name another one.
pub(crate) fn rename(value: &mut Value, from: &str, to: &str) {
    match value {
        Value::List(values) => values.iter_mut().for_each(|value| rename(value, from, to)),
        Value::Map(pairs) => {
            for (key, value) in pairs {
                if *key == Value::Text(from.into()) {
                    *key = Value::Text(to.into());
                }
                rename(value, from, to);
            }
        }
        Value::Text(text) if text == from => to.clone_into(text),
        _ => {}
    }
}

#[test]
fn a_sample_bears_new_fields_and_no_change_of_old_ones() {
    let map = |pairs: &[(&str, u64)]| {
        Value::Map(pairs.iter().map(|(key, value)| (Value::Text((*key).to_owned()), Value::Number(*value))).collect())
    };
    let list = |map: Value| Value::List(vec![Value::Nothing, map]);
    let then = list(map(&[("a", 1)]));
    assert!(holds(&list(map(&[("b", 2), ("a", 1)])), &then));
    assert!(!holds(&list(map(&[("a", 2)])), &then) && !holds(&list(map(&[("b", 1)])), &then) && !holds(&map(&[("a", 1)]), &then));
}
