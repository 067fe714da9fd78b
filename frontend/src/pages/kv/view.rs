//! What the key/value page says, as pure functions: the tree's rows, a key's parts, what a conflict is.
//!
//! Contract: HTTP API, section KV. Keys are exact and may hold any text; `/` only looks like a folder.

use std::collections::{BTreeMap, BTreeSet};

use shared::kv::Entry;

use crate::components::tree::Row;

/// Most bytes a value may hold unless the agent is configured otherwise.
pub(crate) const VALUE_MAX: usize = 512 * 1024;
/// More keys than this are deleted only after their prefix has been typed.
pub(crate) const TYPE_TO_CONFIRM: usize = 20;

/// The rows under the root, depth first. `listed` holds the answer of `?keys&separator=/` for each folder asked.
pub(crate) fn rows(listed: &BTreeMap<String, Vec<String>>, open: &BTreeSet<String>) -> Vec<Row> {
    let mut out = Vec::new();
    add_rows("", 1, listed, open, &mut out);
    out
}

fn add_rows(folder: &str, level: usize, listed: &BTreeMap<String, Vec<String>>, open: &BTreeSet<String>, out: &mut Vec<Row>) {
    let Some(keys) = listed.get(folder) else { return };
    // Folders first, then keys, each by name: `keys` comes sorted. The folder's own entry (`a/`) is not its child.
    for folders in [true, false] {
        for key in keys.iter().filter(|k| k.as_str() != folder && k.ends_with('/') == folders) {
            let is_open = open.contains(key);
            out.push(Row {
                key: key.clone(),
                label: label(key).to_owned(),
                level,
                open: folders.then_some(is_open),
                waiting: folders && is_open && !listed.contains_key(key),
            });
            if folders && is_open {
                add_rows(key, level + 1, listed, open, out);
            }
        }
    }
}

/// The keys that hold every word of a search, at most `most`, and how many there are in all.
pub(crate) fn found(keys: &[String], search: &str, most: usize) -> (Vec<String>, usize) {
    let words: Vec<String> = search.to_lowercase().split_whitespace().map(str::to_owned).collect();
    let (mut out, mut all) = (Vec::new(), 0);
    for key in keys {
        let lower = key.to_lowercase();
        if words.iter().all(|word| lower.contains(word)) {
            all += 1;
            if out.len() < most {
                out.push(key.clone());
            }
        }
    }
    (out, all)
}

/// The last part of a key, with its slash if it is a folder.
pub(crate) fn label(key: &str) -> &str {
    let body = key.strip_suffix('/').unwrap_or(key);
    &key[body.rfind('/').map_or(0, |at| at + 1)..]
}

/// The folder a key lies in; empty for the root.
pub(crate) fn parent(key: &str) -> &str {
    &key[..key.len() - label(key).len()]
}

/// Every folder above a key, outermost first.
pub(crate) fn ancestors(key: &str) -> Vec<String> {
    let body = key.strip_suffix('/').unwrap_or(key);
    body.match_indices('/').map(|(at, _)| key[..=at].to_owned()).collect()
}

/// Why a new key cannot be made, for people; `None` when it can.
pub(crate) fn key_problem(key: &str) -> Option<&'static str> {
    match key {
        "" => Some("Give the key a name."),
        k if k.starts_with('/') => Some("A key does not begin with a slash."),
        k if k.contains("//") => Some("Two slashes in a row make a folder without a name."),
        k if k.split('/').any(|word| matches!(word, "." | "..")) => Some("No address can name a key with . or .. between its slashes."),
        k if k.len() > 8_192 => Some("A key is at most 8,192 bytes long."),
        _ => None,
    }
}

/// The text of a value; `None` when the bytes are not UTF-8.
pub(crate) fn text(bytes: &[u8]) -> Option<String> {
    std::str::from_utf8(bytes).ok().map(str::to_owned)
}

/// The first bytes as `offset  hex  text` lines.
pub(crate) fn hex(bytes: &[u8], most: usize) -> String {
    let mut out = String::new();
    for (row, chunk) in bytes[..bytes.len().min(most)].chunks(16).enumerate() {
        let hex: String = chunk.iter().map(|b| format!("{b:02x} ")).collect();
        let text: String = chunk.iter().map(|b| if b.is_ascii_graphic() || *b == b' ' { char::from(*b) } else { '.' }).collect();
        out.push_str(&format!("{:06x}  {hex:48} {text}\n", row * 16));
    }
    out
}

/// What happened to the stored entry while a draft was open.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Moved {
    /// It still is what the draft began with.
    No,
    /// Only its index or its lock moved; the value is the same.
    IndexOnly,
    /// Its value is another one.
    Changed,
    /// It was removed.
    Deleted,
    /// It was made meanwhile.
    Created,
}

/// Compares what the draft began with to what is stored now.
pub(crate) fn moved(base: Option<&Entry>, stored: Option<&Entry>) -> Moved {
    match (base, stored) {
        (None, None) => Moved::No,
        (None, Some(_)) => Moved::Created,
        (Some(_), None) => Moved::Deleted,
        (Some(a), Some(b)) if a.modify_index == b.modify_index => Moved::No,
        (Some(a), Some(b)) if a.value == b.value && a.flags == b.flags => Moved::IndexOnly,
        _ => Moved::Changed,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn listed(folders: &[(&str, &[&str])]) -> BTreeMap<String, Vec<String>> {
        folders.iter().map(|(f, keys)| ((*f).to_owned(), keys.iter().map(|k| (*k).to_owned()).collect())).collect()
    }

    #[test]
    fn rows_are_depth_first_with_folders_before_keys() {
        let listed = listed(&[("", &["a", "b/", "c", "d/"]), ("b/", &["b/", "b/x", "b/y/"])]);
        let open = ["b/", "d/"].map(str::to_owned).into();
        let got: Vec<_> = rows(&listed, &open).into_iter().map(|r| format!("{} {} {:?} {}", r.level, r.label, r.open, r.waiting)).collect();
        assert_eq!(
            got,
            [
                "1 b/ Some(true) false",
                "2 y/ Some(false) false",
                "2 x None false",
                "1 d/ Some(true) true",
                "1 a None false",
                "1 c None false"
            ]
        );
    }

    #[test]
    fn keys_fall_into_parts() {
        for (key, l, p, above) in [
            ("a", "a", "", vec![]),
            ("a/b", "b", "a/", vec!["a/"]),
            ("a/b/", "b/", "a/", vec!["a/"]),
            ("a/", "a/", "", vec![]),
            ("ä/ö/ü", "ü", "ä/ö/", vec!["ä/", "ä/ö/"]),
            ("/a", "a", "/", vec!["/"]),
            ("", "", "", vec![]),
        ] {
            assert_eq!((label(key), parent(key), ancestors(key)), (l, p, above.into_iter().map(str::to_owned).collect()), "{key}");
        }
    }

    #[test]
    fn a_search_needs_every_word_and_counts_what_it_does_not_show() {
        let keys = ["pay/limits.json", "pay/fees", "edge/limits"].map(str::to_owned);
        assert_eq!(found(&keys, "LIM pay", 9), (vec!["pay/limits.json".to_owned()], 1));
        assert_eq!(found(&keys, "limits", 1).1, 2);
    }

    #[test]
    fn a_conflict_is_told_from_the_indexes_and_values() {
        let entry = |index, value: &str| Entry { modify_index: index, value: value.into(), ..Entry::default() };
        let (a, b, c) = (entry(1, "x"), entry(2, "y"), entry(3, "x"));
        let check = |base, stored, expected| assert_eq!(moved(base, stored), expected);
        check(None, None, Moved::No);
        check(Some(&a), Some(&a), Moved::No);
        check(Some(&a), Some(&b), Moved::Changed);
        check(Some(&a), Some(&c), Moved::IndexOnly);
        check(Some(&a), None, Moved::Deleted);
        check(None, Some(&a), Moved::Created);
    }

    #[test]
    fn bytes_that_are_not_text_are_shown_as_hex() {
        assert_eq!(text(b"\xff\x00"), None);
        assert_eq!(text("ü".as_bytes()).as_deref(), Some("ü"));
        assert!(hex(b"AB\x00", 64).starts_with("000000  41 42 00 "));
        assert!(hex(b"AB\x00", 64).ends_with(" AB.\n"));
        assert_eq!(hex(&[0; 40], 32).lines().count(), 2);
    }

    #[test]
    fn names_that_make_trouble_are_refused() {
        for (key, good) in
            [("a/b", true), ("", false), ("/a", false), ("a//b", false), ("a b", true), ("a/./b", false), ("..", false), ("a/..b", true)]
        {
            assert_eq!(key_problem(key).is_none(), good, "{key}");
        }
    }
}
