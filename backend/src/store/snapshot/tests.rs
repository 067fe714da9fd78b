//! What is written is read again, what is damaged or foreign is told apart; samples of earlier versions still load.

use std::io::Write as _;

use flate2::{Compression, read::GzDecoder, write::GzEncoder};
use shared::kv;

use super::{file::About, *};
use crate::{
    samples::{self, Value},
    store::{Command, Store},
};

fn put(key: &str, value: &[u8]) -> Command {
    Command::Kv { write: kv::Write { op: kv::Op::Set, key: key.to_owned(), flags: 1, value: value.to_vec() }, at_ms: 5 }
}

fn state(keys: u64) -> State {
    let store = Store::new();
    let batch: Vec<_> = (1..=keys).map(|at| (at, put(&format!("app/{at}"), &[7; 100]))).collect();
    store.commit(&batch);
    State::clone(&store.state())
}

fn about() -> About {
    let origin = file::Origin { version: "0.1.0".to_owned(), datacenter: "dc1".to_owned(), ..file::Origin::default() };
    About { term: 3, taken_at_ms: 1_700_000_000_123, servers: vec![file::Server::default()], origin }
}

fn saved(state: &State) -> Vec<u8> {
    let mut bytes = Vec::new();
    file::write(&about(), state, &mut bytes).expect("memory");
    bytes
}

/// The entries of a saved file, changed by `change`, as a file again.
fn rebuilt(file: &[u8], change: impl Fn(&str, Vec<u8>) -> Option<Vec<u8>>) -> Vec<u8> {
    let mut out = tar::Builder::new(GzEncoder::new(Vec::new(), Compression::fast()));
    for entry in tar::Archive::new(GzDecoder::new(file)).entries().expect("an archive") {
        let mut entry = entry.expect("whole");
        let name = entry.path().expect("a name").display().to_string();
        let mut bytes = Vec::new();
        entry.read_to_end(&mut bytes).expect("whole");
        if let Some(bytes) = change(&name, bytes) {
            let mut header = tar::Header::new_ustar();
            header.set_size(bytes.len() as u64);
            out.append_data(&mut header, name, &bytes[..]).expect("memory");
        }
    }
    out.into_inner().and_then(GzEncoder::finish).expect("memory")
}

/// The same with right sums.
fn resealed(file: &[u8], change: impl Fn(&str, Vec<u8>) -> Vec<u8>) -> Vec<u8> {
    use sha2::Digest as _;
    let sums = std::cell::RefCell::new(String::new());
    rebuilt(file, |name, bytes| {
        if name == "SHA256SUMS" {
            return Some(sums.borrow().clone().into_bytes());
        }
        let bytes = change(name, bytes);
        let sum: String = sha2::Sha256::digest(&bytes).iter().map(|byte| format!("{byte:02x}")).collect();
        sums.borrow_mut().push_str(&format!("{sum}  {name}\n"));
        Some(bytes)
    })
}

fn check_refused(file: &[u8], expected: &str) {
    let error = file::check(file).expect_err(expected).to_string();
    assert_eq!(error, expected);
}

#[test]
fn a_saved_file_tells_what_is_in_it() {
    let state = state(200);
    let found = file::check(&saved(&state)[..]).expect("whole");
    let back = file::state(&saved(&state)[..]).expect("whole");
    assert_eq!((back.index, back.kv.len()), (200, 200));
    assert_eq!((found.id.as_str(), found.index, found.term, found.version), ("3-200-1700000000123", 200, 3, 1));
    assert_eq!((found.muster.as_str(), found.datacenter.as_str()), ("0.1.0", "dc1"));
    let mut plain = Vec::new();
    write(&state, &mut plain).expect("memory");
    assert_eq!(found.size_bytes, plain.len() as u64);
    assert_eq!((found.tables[0].name.as_str(), found.tables[0].count), ("kv", 200));
    // Version and checksum belong to no row.
    assert_eq!(found.tables.iter().map(|table| table.size_bytes).sum::<u64>() + 5, found.size_bytes);
}

#[test]
fn a_saved_file_is_an_archive_like_consuls() {
    let file = saved(&state(3));
    let mut names = Vec::new();
    for entry in tar::Archive::new(GzDecoder::new(&file[..])).entries().expect("an archive") {
        let entry = entry.expect("whole");
        names.push((entry.path().expect("a name").display().to_string(), entry.header().mode().expect("a mode")));
    }
    assert_eq!(names, [("meta.json".to_owned(), 0o600), ("state.bin".to_owned(), 0o600), ("SHA256SUMS".to_owned(), 0o600)]);
}

#[test]
fn a_damaged_file_is_refused_in_the_words_operators_know() {
    let good = saved(&state(300));
    let read = "failed to read snapshot file: ";
    check_refused(b"", "failed to decompress snapshot: EOF");
    check_refused(b"hello", "failed to decompress snapshot: unexpected EOF");
    check_refused(b"certainly not gzip'd", "failed to decompress snapshot: gzip: invalid header");
    check_refused(&good[..100], &format!("{read}failed reading snapshot: unexpected EOF"));
    check_refused(&good[..good.len() - 4], "unexpected EOF");
    check_refused(&[&good[..], b"more and more and more"].concat(), "gzip: invalid header");
    let integrity = |what: &str| format!("{read}failed checking integrity of snapshot: {what}");
    let without = |gone: &str| rebuilt(&good, |name, bytes| (name != gone).then_some(bytes));
    check_refused(&without("SHA256SUMS"), &integrity("file missing for \"meta.json\""));
    check_refused(&without("meta.json"), &integrity("hash check failed for \"meta.json\""));
    check_refused(&without("state.bin"), &integrity("hash check failed for \"state.bin\""));
    let flipped = rebuilt(&good, |name, mut bytes| {
        if name == "state.bin" {
            let at = bytes.len() / 2;
            bytes[at] ^= 1;
        }
        Some(bytes)
    });
    check_refused(&flipped, &integrity("hash check failed for \"state.bin\""));
    for at in (0..good.len()).step_by(97) {
        let mut bytes = good.clone();
        bytes[at] ^= 8;
        // The head of the compressed bytes holds a time and a name of the system, which mean nothing.
        assert!((4..10).contains(&at) || file::check(&bytes[..]).is_err(), "a bit at {at}");
    }
}

#[test]
fn a_file_of_another_product_or_a_newer_format_is_told_apart() {
    let good = saved(&state(3));
    let consul = resealed(&good, |name, bytes| match name {
        "meta.json" => {
            br#"{"Version":1,"ID":"2-14-1","Index":14,"Term":2,"Peers":"ka8=","Configuration":{"Servers":[]},"Size":3}"#.to_vec()
        }
        "state.bin" => vec![0x81, 0xa9, 0x4c],
        _ => bytes,
    });
    let told = "it was not saved by Muster: the state in it is another product's, most likely Consul's, which Muster cannot read";
    check_refused(&consul, &format!("failed to read snapshot file: {told}"));
    let newer = resealed(&good, |name, bytes| match name {
        "meta.json" => String::from_utf8(bytes).expect("JSON").replace("{\"Version\":1", "{\"Version\":2").into_bytes(),
        _ => bytes,
    });
    let told = "format version 2 is newer than this release reads, which is 1: upgrade Muster first";
    check_refused(&newer, &format!("failed to read snapshot file: {told}"));
    let rows = resealed(&good, |name, mut bytes| {
        if name == "state.bin" {
            bytes[0] = 9;
        }
        bytes
    });
    check_refused(&rows, "failed to read snapshot file: snapshot: format 9 is not known; this version reads 1");
}

#[test]
fn rows_come_in_batches_that_make_the_same_state() {
    let state = state(12_000);
    let file = saved(&state);
    let mut batches = Vec::new();
    file::rows(&file[..], |rows| {
        batches.push(rows);
        Ok(())
    })
    .expect("whole");
    assert!(batches.len() > 2 && batches.iter().all(|rows| rows.len() < BATCH + 1000), "{}", batches.len());
    let mut back = State::default();
    for rows in batches {
        let mut rows = io::Cursor::new(rows);
        while rows.position() < rows.get_ref().len() as u64 {
            insert(&mut back, rmp_serde::from_read(&mut rows).expect("a row")).expect("fits");
        }
    }
    assert!(back.kv.iter().eq(state.kv.iter()) && back.index == state.index);
}

/// Rows as another version may have written them.
fn handmade(rows: &[serde_json::Value]) -> Vec<u8> {
    let mut bytes = vec![VERSION];
    for row in rows {
        bytes.write_all(&rmp_serde::to_vec_named(row).expect("plain values")).expect("memory");
    }
    let crc = crc32fast::hash(&bytes);
    bytes.extend(crc.to_le_bytes());
    bytes
}

#[test]
fn fields_that_are_new_or_missing_do_not_matter() {
    let rows = [
        serde_json::json!({"Head": {"index": 9, "index_base": 2, "indexes": {"kv": 9, "novel": 3}, "later": true}}),
        serde_json::json!({"Node": {"node": {"Node": "n1", "Colour": "red"}}}),
        serde_json::json!({"Kv": {"entry": {"Key": "a", "ModifyIndex": 9}}}),
        serde_json::json!({"End": {"rows": 3}}),
    ];
    let state = read(&handmade(&rows)[..]).expect("read");
    assert_eq!((state.index, state.index_base, state.indexes.kv, state.restored_at), (9, 2, 9, 0));
    assert_eq!(state.kv("a").map(|entry| entry.modify_index), Some(9));
    assert_eq!(state.nodes().count(), 1);
}

#[test]
fn every_kind_of_row_is_read_with_the_fields_that_the_next_release_adds() {
    let kept = include_bytes!("../testdata/snapshot-v1.bin");
    let (mut newer, mut kinds) = (vec![VERSION], BTreeMap::new());
    let mut rows = io::Cursor::new(&kept[1..kept.len() - 4]);
    while rows.position() < rows.get_ref().len() as u64 {
        let mut row: Value = rmp_serde::from_read(&mut rows).expect("a row");
        let Value::Map(variant) = &row else { panic!("{row:?} is no row") };
        let kind = format!("{:?}", variant[0].0);
        *kinds.entry(kind).or_insert(0) += samples::add_fields(&mut row);
        rmp_serde::encode::write_named(&mut newer, &row).expect("memory");
    }
    assert!(kinds.len() > 4 && kinds.values().all(|added| *added > 0), "{kinds:?}");
    newer.extend(crc32fast::hash(&newer).to_le_bytes());
    let written = |bytes: &[u8]| {
        let mut now = Vec::new();
        write(&read(bytes).expect("read"), &mut now).expect("memory");
        now
    };
    assert!(written(&newer) == written(kept), "what was added is left out, and all else is as it was");
}

#[test]
fn a_kind_of_row_nobody_knows_is_refused() {
    let rows = [serde_json::json!({"Hologram": {"of": "x"}}), serde_json::json!({"End": {"rows": 1}})];
    let error = read(&handmade(&rows)[..]).expect_err("refused").to_string();
    assert!(error.starts_with("snapshot: row 0: ") && error.contains("Hologram"), "{error}");
}

/// A file that is only looked at is refused for what it would be refused for if a state were made of it.
#[test]
fn rows_that_make_no_state_are_refused_without_making_one() {
    let node = |name: &str| serde_json::json!({"Node": {"node": {"Node": name, "Address": "10.0.0.1"}}});
    let service = |name: &str| serde_json::json!({"Service": {"node": name, "service": {"ID": "web", "Service": "web"}}});
    let check = |name: &str| serde_json::json!({"Check": {"node": name, "check": {"Node": name, "CheckID": "c", "Name": "c"}}});
    let restoring = || serde_json::json!({"Restoring": {"id": "r", "next": 1, "at_ms": 5, "history_next": 0}});
    let cases = [
        (vec![node("n1"), service("n1"), check("n1")], None),
        // Names are told apart in lower case.
        (vec![node("N1"), service("n1"), check("n1")], None),
        (vec![service("n1"), node("n1")], Some("snapshot: a service without its node")),
        (vec![node("n1"), check("n2")], Some("snapshot: a check without its node")),
        (vec![node("n1"), restoring(), node("n2"), service("n2")], None),
        (vec![node("n1"), restoring(), service("n1")], Some("snapshot: a service without its node")),
    ];
    for (mut rows, expected) in cases {
        rows.push(serde_json::json!({"End": {"rows": rows.len()}}));
        let bytes = handmade(&rows);
        let made = read(&bytes[..]).map(drop).map_err(|error| error.to_string());
        assert_eq!(made.as_ref().err().map(String::as_str), expected, "{rows:?}");
        assert_eq!(trial::check(&bytes[..], |_, _| {}).map_err(|error| error.to_string()), made, "{rows:?}");
    }
}

#[test]
fn a_saved_file_of_the_first_release_still_loads() {
    let kept = include_bytes!("../testdata/saved-v1.snap");
    let found = file::check(&kept[..]).expect("once written, always read");
    let state = file::state(&kept[..]).expect("once written, always read");
    assert_eq!((found.version, found.index, found.muster.as_str()), (1, state.index, "0.1.0"));
    assert_eq!(state.kv("app/20").map(|entry| entry.value.clone()), Some(b"value 20".to_vec()));
    assert!(state.node("n1").is_some() && state.service("web").is_some());
}
