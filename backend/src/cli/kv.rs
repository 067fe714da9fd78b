//! `kv get | put | delete | export | import`.
//!
//! Contract: command line, section "KV".

use base64::{Engine as _, engine::general_purpose::STANDARD};
use serde::{Deserialize, Serialize};
use shared::{
    endpoint::Read,
    kv::{Delete, Entry, Get, Keys, List, Put},
};

use super::{
    args::{Args, Error as ArgsError},
    client::{Client, Error},
    input,
    print::Print,
    read,
};

fn fail(print: &mut Print, message: impl AsRef<str>) -> u8 {
    print.say(message);
    1
}

fn querying(print: &mut Print, why: &Error) -> u8 {
    fail(print, format!("Error querying Consul agent: {why}"))
}

/// The key as it is stored: without a slash in front.
fn key(args: &Args) -> Option<String> {
    args.rest.first().map(|key| key.strip_prefix('/').unwrap_or(key).to_owned())
}

/// `kv get`.
pub(super) async fn get(args: &Args, client: &Client, print: &mut Print) -> u8 {
    if args.rest.len() > 1 {
        return fail(print, format!("Too many arguments (expected 1, got {})", args.rest.len()));
    }
    let (by_keys, recurse) = (args.is_on("keys"), args.is_on("recurse"));
    let key = key(args).unwrap_or_default();
    if key.is_empty() && !by_keys && !recurse {
        return fail(print, "Error! Missing KEY argument");
    }
    let read: Read = read(args);
    if by_keys {
        let separator = args.get("separator").unwrap_or("/").to_owned();
        return match client.find(&Keys { prefix: key, separator, read }).await {
            Ok(keys) => {
                keys.unwrap_or_default().iter().for_each(|key| print.line(key));
                0
            }
            Err(why) => querying(print, &why),
        };
    }
    if recurse {
        return match client.find(&List { prefix: key, read }).await {
            Ok(entries) => {
                show_all(&entries.unwrap_or_default(), args, print);
                0
            }
            Err(why) => querying(print, &why),
        };
    }
    match client.find(&Get { key: key.clone(), read }).await {
        Ok(Some(entries)) if !entries.is_empty() => {
            let entry = &entries[0];
            if args.is_on("detailed") {
                print.line(detailed(entry, args.is_on("base64")));
            } else {
                print.line(value(entry, args.is_on("base64")));
            }
            0
        }
        Ok(_) => fail(print, format!("Error! No key exists at: {key}")),
        Err(why) => querying(print, &why),
    }
}

fn value(entry: &Entry, base64: bool) -> Vec<u8> {
    if base64 { STANDARD.encode(&entry.value).into_bytes() } else { entry.value.clone() }
}

fn show_all(entries: &[Entry], args: &Args, print: &mut Print) {
    let base64 = args.is_on("base64");
    for (at, entry) in entries.iter().enumerate() {
        if args.is_on("detailed") {
            print.line(detailed(entry, base64));
            if at + 1 < entries.len() {
                print.line("");
            }
        } else {
            let mut line = format!("{}:", entry.key).into_bytes();
            line.extend(value(entry, base64));
            print.line(line);
        }
    }
}

/// Two columns; the value may be any bytes.
fn detailed(entry: &Entry, base64: bool) -> Vec<u8> {
    let session = if entry.session.is_empty() { "-" } else { &entry.session };
    let mut text = format!(
        "{:17}{}\n{:17}{}\n{:17}{}\n{:17}{}\n{:17}{}\n{:17}{session}\n{:17}",
        "CreateIndex",
        entry.create_index,
        "Flags",
        entry.flags,
        "Key",
        entry.key,
        "LockIndex",
        entry.lock_index,
        "ModifyIndex",
        entry.modify_index,
        "Session",
        "Value",
    )
    .into_bytes();
    text.extend(value(entry, base64));
    text
}

/// Checks `-cas` and `-modify-index`: `Some` is the index to compare with.
fn cas(args: &Args, zero_allowed: bool) -> Result<Option<u64>, String> {
    let index: Option<u64> = match args.number("modify-index") {
        Ok(index) => index,
        Err(ArgsError::Usage(text)) => return Err(text),
        Err(ArgsError::Help) => None,
    };
    match (args.is_on("cas"), index) {
        (false, Some(index)) if index != 0 && !zero_allowed => Err("Cannot specify -modify-index without -cas!".to_owned()),
        (false, _) => Ok(None),
        (true, None) => Err("Must specify -modify-index with -cas!".to_owned()),
        (true, Some(0)) if !zero_allowed => Err("Must specify -modify-index with -cas!".to_owned()),
        (true, Some(index)) => Ok(Some(index)),
    }
}

/// `kv put`. With `-cas -modify-index=0` the key must not exist yet.
pub(super) async fn put(args: &Args, client: &Client, print: &mut Print) -> u8 {
    if args.rest.len() > 2 {
        return fail(print, format!("Error! Too many arguments (expected 1 or 2, got {})", args.rest.len()));
    }
    let Some(key) = key(args).filter(|key| !key.is_empty()) else { return fail(print, "Error! Missing KEY argument") };
    let mut value = match args.rest.get(1).map(|text| input(text)).transpose() {
        Ok(value) => value.unwrap_or_default(),
        Err(why) => return fail(print, format!("Error! {why}")),
    };
    if args.is_on("base64") {
        value = match STANDARD.decode(value.trim_ascii()) {
            Ok(bytes) => bytes,
            Err(why) => return fail(print, format!("Error! Cannot base 64 decode data: {why}")),
        };
    }
    let (acquire, release, session) = (args.is_on("acquire"), args.is_on("release"), args.text("session"));
    if (acquire || release) && session.is_empty() {
        return fail(print, "Error! Missing -session (required with -acquire and -release)");
    }
    let cas = match cas(args, true) {
        Ok(cas) => cas,
        Err(why) => return fail(print, why),
    };
    let flags = match args.number("flags") {
        Ok(flags) => flags.unwrap_or(0),
        Err(_) => return fail(print, format!("Error! Invalid -flags: {}", args.text("flags"))),
    };
    let lock = |on: bool| if on { session.clone() } else { String::new() };
    let put = Put { key: key.clone(), value, flags, cas, acquire: lock(acquire), release: lock(release), dc: args.text("datacenter") };
    let done = match client.call(&put).await {
        Ok(done) => done,
        Err(why) => return fail(print, format!("Error! Failed writing data: {why}")),
    };
    let (success, failure) = if acquire {
        (format!("Success! Lock acquired on: {key}"), "Error! Did not acquire lock".to_owned())
    } else if release {
        (format!("Success! Lock released on: {key}"), "Error! Did not release lock".to_owned())
    } else {
        let why = if cas.is_some() { "CAS failed" } else { "the store refused it" };
        (format!("Success! Data written to: {key}"), format!("Error! Did not write to {key}: {why}"))
    };
    if !done {
        return fail(print, failure);
    }
    print.line(success);
    0
}

/// `kv delete`.
pub(super) async fn delete(args: &Args, client: &Client, print: &mut Print) -> u8 {
    if args.rest.len() > 1 {
        return fail(print, format!("Error! Too many arguments (expected 1, got {})", args.rest.len()));
    }
    let recurse = args.is_on("recurse");
    let key = key(args).unwrap_or_default();
    if key.is_empty() && !recurse {
        return fail(print, "Error! Missing KEY argument");
    }
    let cas = match cas(args, false) {
        Ok(Some(_)) if recurse => return fail(print, "Cannot specify both -cas and -recurse!"),
        Ok(cas) => cas,
        Err(why) => return fail(print, why),
    };
    match client.call(&Delete { key: key.clone(), recurse, cas, dc: args.text("datacenter") }).await {
        Ok(true) if recurse => print.line(format!("Success! Deleted keys with prefix: {key}")),
        Ok(true) => print.line(format!("Success! Deleted key: {key}")),
        Ok(false) => return fail(print, format!("Error! Did not delete key {key}: CAS failed")),
        Err(why) => return fail(print, format!("Error! Did not delete key {key}: {why}")),
    }
    0
}

/// A key in an export.
#[derive(Debug, Deserialize, Serialize)]
struct Exported {
    key: String,
    #[serde(default)]
    flags: u64,
    #[serde(default)]
    value: String,
}

/// `kv export`.
pub(super) async fn export(args: &Args, client: &Client, print: &mut Print) -> u8 {
    if args.rest.len() > 1 {
        return fail(print, format!("Error! Too many arguments (expected 1, got {})", args.rest.len()));
    }
    match client.find(&List { prefix: key(args).unwrap_or_default(), read: read(args) }).await {
        Ok(entries) => {
            print.line(exported(&entries.unwrap_or_default()));
            0
        }
        Err(why) => querying(print, &why),
    }
}

fn exported(entries: &[Entry]) -> Vec<u8> {
    let rows: Vec<_> =
        entries.iter().map(|entry| Exported { key: entry.key.clone(), flags: entry.flags, value: STANDARD.encode(&entry.value) }).collect();
    let mut out = Vec::new();
    let mut serializer = serde_json::Serializer::with_formatter(&mut out, serde_json::ser::PrettyFormatter::with_indent(b"\t"));
    rows.serialize(&mut serializer).expect("three plain fields serialize");
    out
}

/// `kv import`.
pub(super) async fn import(args: &Args, client: &Client, print: &mut Print) -> u8 {
    let text = match args.rest.as_slice() {
        [one] => input(one),
        [] => return fail(print, "Error! Missing DATA argument"),
        more => return fail(print, format!("Error! Too many arguments (expected 1, got {})", more.len())),
    };
    let text = match text {
        Ok(text) => text,
        Err(why) => return fail(print, format!("Error! {why}")),
    };
    let rows: Vec<Exported> = match shared::go::decode(&text) {
        Ok(rows) => rows,
        Err(why) => return fail(print, format!("Cannot unmarshal data: {why}")),
    };
    for row in rows {
        let value = match STANDARD.decode(&row.value) {
            Ok(value) => value,
            Err(why) => return fail(print, format!("Error base 64 decoding value for key {}: {why}", row.key)),
        };
        let key = format!("{}{}", args.text("prefix"), row.key);
        let put = Put { key: key.clone(), value, flags: row.flags, dc: args.text("datacenter"), ..Put::default() };
        if let Err(why) = client.call(&put).await {
            return fail(print, format!("Error! Failed writing data for key {key}: {why}"));
        }
        print.line(format!("Imported: {key}"));
    }
    0
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cli::{args, commands};

    fn entry() -> Entry {
        Entry { key: "a/b".to_owned(), value: b"hello".to_vec(), create_index: 13, modify_index: 14, ..Entry::default() }
    }

    #[test]
    fn an_entry_in_detail_has_two_columns() {
        let expected = "CreateIndex      13\nFlags            0\nKey              a/b\nLockIndex        0\nModifyIndex      14\n\
                        Session          -\nValue            ";
        assert_eq!(String::from_utf8_lossy(&detailed(&entry(), false)), format!("{expected}hello"));
        assert_eq!(String::from_utf8_lossy(&detailed(&entry(), true)), format!("{expected}aGVsbG8="));
    }

    #[test]
    fn an_export_is_indented_with_tabs() {
        let expected = "[\n\t{\n\t\t\"key\": \"a/b\",\n\t\t\"flags\": 0,\n\t\t\"value\": \"aGVsbG8=\"\n\t}\n]";
        assert_eq!(String::from_utf8_lossy(&exported(&[entry()])), expected);
        assert_eq!(exported(&[]), b"[]");
    }

    #[test]
    fn cas_needs_an_index_and_an_index_needs_cas() {
        let check = |line: &str, zero: bool, expected: Result<Option<u64>, &str>| {
            let arguments: Vec<_> = line.split_whitespace().map(str::to_owned).collect();
            let args = args::parse(&arguments, &[commands::KV_PUT]).expect(line);
            assert_eq!(cas(&args, zero), expected.map_err(str::to_owned), "{line}");
        };
        check("", true, Ok(None));
        check("-cas", true, Err("Must specify -modify-index with -cas!"));
        check("-cas -modify-index=0", true, Ok(Some(0)));
        check("-cas -modify-index=0", false, Err("Must specify -modify-index with -cas!"));
        check("-cas -modify-index=7", false, Ok(Some(7)));
        check("-modify-index=7", false, Err("Cannot specify -modify-index without -cas!"));
    }
}
