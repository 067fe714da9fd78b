//! Snapshots: what a leader keeps on disk, and what a saved file holds. Contract: HTTP API, section "Snapshot, operator".

use crate::decode::Decode;
use serde::{Deserialize, Serialize};

use crate::endpoint::{self, Read, endpoint};

/// How long taking a snapshot may last.
pub const TAKE_MAX: std::time::Duration = std::time::Duration::from_secs(120);

/// A snapshot a server keeps.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, Decode)]
#[serde(rename_all = "PascalCase", default)]
pub struct Snapshot {
    /// Raft log index of its last entry.
    pub index: u64,
    /// Term of that entry.
    pub term: u64,
    /// Bytes of its contents, not compressed.
    pub size_bytes: u64,
    /// When it was taken, RFC 3339.
    pub taken_at: String,
    /// Name of the server that took it.
    pub server: String,
    /// Version of Muster that took it; empty when it was not noted.
    pub version: String,
}

/// `GET /v1/muster/snapshots`: what the leader keeps, newest first.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, Decode)]
#[serde(rename_all = "PascalCase", default)]
pub struct Archive {
    /// Newest first.
    pub snapshots: Vec<Snapshot>,
    /// How many are kept.
    pub retained: usize,
    /// Log entries after which the next one is taken by itself.
    pub threshold: u64,
    /// How often it is looked whether so many came, milliseconds; up to twice that, so that servers do not all do it at once.
    pub interval_ms: u64,
    /// Last log index of the leader.
    pub last_index: u64,
}

/// How much of a saved file one kind of row takes.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, Decode)]
#[serde(rename_all = "PascalCase", default)]
pub struct Table {
    /// `nodes`, `services`, `checks`, `kv`, ...
    pub name: String,
    /// Rows.
    pub count: u64,
    /// Bytes, not compressed.
    pub size_bytes: u64,
}

/// What a saved file holds: the answer to `PUT /v1/muster/snapshot/inspect`.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, Decode)]
#[serde(rename_all = "PascalCase", default)]
pub struct Inspection {
    /// `term-index-milliseconds`.
    #[serde(rename = "ID")]
    pub id: String,
    /// Index of the last change in it.
    pub index: u64,
    /// Raft term in which it was taken.
    pub term: u64,
    /// Version of the file's format.
    pub version: u64,
    /// Version of Muster that wrote it.
    pub muster: String,
    /// When it was taken, RFC 3339.
    pub taken_at: String,
    /// Datacenter it was taken in.
    pub datacenter: String,
    /// Name of the server it was taken on.
    pub server: String,
    /// Bytes of its contents, not compressed.
    pub size_bytes: u64,
    /// By kind of row, largest first.
    pub tables: Vec<Table>,
}

/// `GET /v1/muster/snapshots`.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct GetArchive {
    /// Where and how to read.
    pub read: Read,
}
endpoint!(GetArchive: "GET" -> Archive, this => "muster/snapshots", query this.read.pairs());

/// `POST /v1/muster/snapshots`: take one now; answers it, or the newest when nothing changed since.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Take {
    /// Datacenter; empty means the agent's own.
    pub dc: String,
}
endpoint!(Take: "POST" -> Snapshot, this => "muster/snapshots", query endpoint::dc(&this.dc));

/// `PUT /v1/muster/snapshot/inspect`: what a file holds; status 400 with the reason when it is damaged or foreign. Changes nothing.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Inspect {
    /// The saved file.
    pub file: Vec<u8>,
}
endpoint!(Inspect: "PUT" -> Inspection, this => "muster/snapshot/inspect", body Some(this.file.clone()));

/// `PUT /v1/snapshot`: replaces the state of the whole datacenter by a saved file's.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Restore {
    /// The saved file.
    pub file: Vec<u8>,
    /// Datacenter; empty means the agent's own.
    pub dc: String,
}
endpoint!(Restore: "PUT" -> (), this => "snapshot", query endpoint::dc(&this.dc), body Some(this.file.clone()));

#[cfg(test)]
mod tests {
    use super::*;
    use crate::endpoint::Endpoint as _;

    #[test]
    fn names_on_the_wire_are_those_agreed_on() {
        let table = Table { name: "kv".to_owned(), count: 2, size_bytes: 9 };
        let found = Inspection { index: 7, term: 3, version: 1, tables: vec![table], ..Inspection::default() };
        let json = serde_json::to_value(&found).expect("plain values");
        for name in ["ID", "Index", "Term", "Version", "Muster", "TakenAt", "Datacenter", "Server", "SizeBytes", "Tables"] {
            assert!(json.get(name).is_some(), "{name} in {json}");
        }
        assert_eq!(json["Tables"][0], serde_json::json!({"Name": "kv", "Count": 2, "SizeBytes": 9}));
        let kept = serde_json::to_value(Archive { snapshots: vec![Snapshot::default()], ..Archive::default() }).expect("plain values");
        assert_eq!(kept["Snapshots"][0]["TakenAt"], "");
        assert_eq!((Take { dc: "dc2".to_owned() }.url(), Restore::default().url()), ("muster/snapshots?dc=dc2".into(), "snapshot".into()));
    }
}
