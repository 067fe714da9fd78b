//! What the snapshots page says. Pure; times are milliseconds since 1970.

use shared::snapshot::{Archive, Inspection, Snapshot};

use crate::{
    components::hero::{Fact, Sentence},
    format::{self, count, plural},
};

/// Bytes in the unit people read: `482 bytes`, `1.2 GB`.
pub(super) fn size(bytes: u64) -> String {
    match bytes {
        0..1_000_000_000 => format::bytes(bytes as usize),
        _ => format::decimal(bytes as f64 / 1e9, 1) + " GB",
    }
}

/// How safe the state is; `newest_ms` is when the newest was taken.
pub(super) fn sentence(archive: &Archive, newest_ms: u64, now_ms: u64) -> Sentence {
    let since = archive.snapshots.first().map_or(0, |newest| newest.index);
    let behind = archive.last_index.saturating_sub(since);
    let left = archive.threshold.saturating_sub(behind);
    let next = match left {
        0 if archive.interval_ms == 0 => "The next one is taken any moment.".to_owned(),
        0 => format!("The next one is due: it is taken within {}.", format::span(archive.interval_ms * 2)),
        left => format!("The next one is taken by itself after {} more log entries.", count(left)),
    };
    let rest = match archive.snapshots.first() {
        None => "No snapshot has been taken yet.".to_owned(),
        Some(_) if newest_ms == 0 => "The log is snapshotted.".to_owned(),
        Some(_) => match format::ago(newest_ms, now_ms).as_str() {
            "now" => "The newest snapshot was taken now.".to_owned(),
            ago => format!("The newest snapshot was taken {ago}."),
        },
    };
    let more = format!("{next} A server keeps {}.", plural(archive.retained as u32, "snapshot", "snapshots"));
    Sentence { rest, more, ..Sentence::default() }
}

/// The numbers beside it.
pub(super) fn facts(archive: &Archive) -> Vec<Fact> {
    let since = archive.snapshots.first().map_or(0, |newest| newest.index);
    vec![
        Fact::new("Last index", count(archive.last_index), String::new()),
        Fact::new("Entries since", count(archive.last_index.saturating_sub(since)), format!("of {}", count(archive.threshold))),
    ]
}

/// What a snapshot is known by in the list.
pub(super) fn key(snapshot: &Snapshot) -> (u64, u64, String) {
    (snapshot.index, snapshot.term, snapshot.taken_at.clone())
}

/// One kind of row in a file: its name, how many, how much, and its share of the largest in per cent.
pub(super) fn tables(found: &Inspection) -> Vec<(String, String, String, u64)> {
    let largest = found.tables.iter().map(|table| table.size_bytes).max().unwrap_or_default().max(1);
    let row = |table: &shared::snapshot::Table| {
        (table.name.clone(), count(table.count), size(table.size_bytes), table.size_bytes * 100 / largest)
    };
    found.tables.iter().map(row).collect()
}

/// What a file is, in pairs.
pub(super) fn about(found: &Inspection, age: &str) -> Vec<(&'static str, String)> {
    let mut out = vec![
        ("Taken", age.to_owned()),
        ("On", found.server.clone()),
        ("Datacenter", found.datacenter.clone()),
        ("Index, term", format!("{} / {}", count(found.index), count(found.term))),
        ("Written by", if found.muster.is_empty() { String::new() } else { format!("Muster {}", found.muster) }),
        ("Contents", size(found.size_bytes)),
    ];
    out.retain(|(_, value)| !value.is_empty());
    out
}

/// What restoring a file means for this datacenter.
pub(super) fn consequence(found: &Inspection, dc: &str, age: &str) -> String {
    let other = if found.datacenter.is_empty() || found.datacenter == dc {
        String::new()
    } else {
        format!(" The file is of another datacenter, {}.", found.datacenter)
    };
    format!(
        "Every node, service, check, key and session of {dc} is replaced by what this file holds, taken {age}. What was written since is gone, and there is no undo: download the state of now first.{other}"
    )
}

/// The name of a downloaded file.
pub(super) fn file_name(dc: &str, archive: &Archive) -> String {
    format!("{dc}-{}.snap", archive.last_index)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_title_says_how_old_the_newest_is_and_when_the_next_comes() {
        let archive = |indexes: &[u64]| Archive {
            snapshots: indexes.iter().map(|index| Snapshot { index: *index, ..Snapshot::default() }).collect(),
            retained: 2,
            threshold: 16_384,
            last_index: 20_000,
            interval_ms: 0,
        };
        let none = sentence(&Archive { last_index: 10, ..archive(&[]) }, 0, 0);
        assert_eq!(none.rest, "No snapshot has been taken yet.");
        assert_eq!(none.more, "The next one is taken by itself after 16,374 more log entries. A server keeps 2 snapshots.");
        let some = sentence(&archive(&[19_000]), 1_000, 3_601_000);
        assert_eq!(some.rest, "The newest snapshot was taken 1 h ago.");
        assert!(sentence(&archive(&[1]), 1, 1).more.starts_with("The next one is taken any moment."));
        let due = Archive { interval_ms: 30_000, ..archive(&[1]) };
        assert!(sentence(&due, 1, 1).more.starts_with("The next one is due: it is taken within 1 min."));
        assert_eq!(facts(&archive(&[19_000]))[1], Fact::new("Entries since", "1,000".to_owned(), "of 16,384".to_owned()));
        assert_eq!(file_name("dc1", &archive(&[])), "dc1-20000.snap");
    }

    #[test]
    fn a_file_says_what_it_holds_and_what_restoring_it_means() {
        let table = |name: &str, count, size_bytes| shared::snapshot::Table { name: name.to_owned(), count, size_bytes };
        let found = Inspection {
            index: 7,
            datacenter: "dc2".to_owned(),
            size_bytes: 2_500_000_000,
            tables: vec![table("kv", 1200, 4_000), table("nodes", 1, 1_000)],
            ..Inspection::default()
        };
        assert_eq!(tables(&found)[0], ("kv".to_owned(), "1,200".to_owned(), "4.0 KB".to_owned(), 100));
        assert_eq!(tables(&found)[1].3, 25);
        assert!(consequence(&found, "dc1", "1 h ago").ends_with("The file is of another datacenter, dc2."));
        assert!(!consequence(&found, "dc2", "1 h ago").contains("another"));
        let about = about(&found, "1 h ago");
        assert_eq!(about.last(), Some(&("Contents", "2.5 GB".to_owned())));
        assert!(!about.iter().any(|(name, _)| *name == "On"), "what is not known is not said");
    }
}
