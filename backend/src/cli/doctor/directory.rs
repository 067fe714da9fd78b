//! A data directory: what is in it, and what that means. Opens files for reading only.
//!
//! Contract: cluster, sections "Raft" (files, recovery) and "Gossip" (keyring); agent configuration, section "Core keys".

use std::{
    collections::BTreeMap,
    fs, io,
    path::{Path, PathBuf},
};

use base64::{Engine as _, engine::general_purpose::STANDARD};
use shared::name;

use super::{Finding, bytes, disk, space};
use crate::raft::{self, Fault, Inspection, Part};

/// A file that may not be there, and what is wrong if it cannot be read.
type Text = Result<Option<String>, String>;

/// What was found in a data directory.
pub(super) struct Directory {
    pub(super) path: PathBuf,
    /// Why it cannot be looked at.
    pub(super) unreadable: Option<String>,
    pub(super) node_id: Text,
    pub(super) keyring: Text,
    /// `raft/peers.json`, which the next start will follow.
    pub(super) peers_json: Text,
    /// None on a client.
    pub(super) raft: Option<Result<Inspection, String>>,
    /// Free and all bytes of its file system.
    pub(super) space: Option<(u64, u64)>,
}

/// Looks at this directory.
pub(super) fn look(path: &Path) -> Directory {
    let text = |name: &str| match fs::read_to_string(path.join(name)) {
        Ok(text) => Ok(Some(text)),
        Err(why) if why.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(why) => Err(why.to_string()),
    };
    let raft = path.join("raft");
    Directory {
        path: path.to_owned(),
        unreadable: fs::read_dir(path).err().map(|why| why.to_string()),
        node_id: text("node-id"),
        keyring: text("serf/local.keyring"),
        peers_json: text("raft/peers.json"),
        raft: raft.exists().then(|| raft::inspect(&raft).map_err(|why| why.to_string())),
        space: space(path),
    }
}

/// What that means: each directory by itself, and all of them together.
pub(super) fn judge(directories: &[Directory]) -> Vec<Finding> {
    let mut findings = Vec::new();
    for directory in directories {
        if let Some(why) = &directory.unreadable {
            let next = "Name the directory that the agent has as data_dir, and run this as a user who may read it.";
            findings.push(Finding::problem(format!("{} cannot be read: {why}.", directory.path.display()), next));
            continue;
        }
        if directory.node_id == Ok(None) && directory.raft.is_none() {
            let next = "Name the directory that the agent has as data_dir.";
            findings.push(Finding::warning(format!("{} is no data directory of an agent.", directory.path.display()), next));
        }
        findings.extend(node_id(directory));
        findings.extend(keyring(directory));
        match &directory.raft {
            None => {}
            Some(Err(why)) => findings.push(
                Finding::problem(format!("The Raft directory cannot be read: {why}."), "Run this as the user the agent runs as.")
                    .at(&directory.path.join("raft"), None),
            ),
            Some(Ok(inspection)) => findings.extend(server(directory, inspection)),
        }
        findings.extend(directory.space.map(|(free, all)| disk(free, all, &directory.path)));
    }
    findings.extend(together(directories));
    findings
}

fn node_id(directory: &Directory) -> Option<Finding> {
    let file = directory.path.join("node-id");
    match &directory.node_id {
        Ok(None) => None,
        Ok(Some(text)) if name::is_uuid(&text.trim().to_lowercase()) => Some(Finding::ok(format!("Node id {}.", text.trim()))),
        Ok(Some(text)) => Some(
            Finding::problem(
                format!("The node id is no UUID: {:?}.", text.trim()),
                "Write the id that this server has in the Raft configuration into the file (another server's `muster operator raft \
                 list-peers` tells it), or remove the file so that the node comes back as a new one.",
            )
            .at(&file, Some(0)),
        ),
        Err(why) => {
            Some(Finding::problem(format!("The node id cannot be read: {why}."), "Give the agent's user the file back.").at(&file, None))
        }
    }
}

/// The keys of a keyring file, the primary first.
fn keys(text: &str) -> Result<Vec<String>, String> {
    let keys: Vec<String> = serde_json::from_str(text).map_err(|why| why.to_string())?;
    if keys.is_empty() {
        return Err("it holds no key".to_owned());
    }
    for key in &keys {
        let length = STANDARD.decode(key).map_err(|why| why.to_string())?.len();
        if !matches!(length, 16 | 24 | 32) {
            return Err(format!("a key has {length} bytes instead of 16, 24 or 32"));
        }
    }
    Ok(keys)
}

fn keyring(directory: &Directory) -> Option<Finding> {
    let file = directory.path.join("serf").join("local.keyring");
    let broken = |why: &str| {
        let next = "Copy serf/local.keyring from another member, or remove it and start once with `encrypt` set to the pool's key.";
        Finding::problem(format!("The gossip keyring is not usable: {why}."), next).at(&file, None)
    };
    match &directory.keyring {
        Ok(None) => None,
        Ok(Some(text)) => Some(match keys(text) {
            Ok(keys) => Finding::ok(format!("Gossip is encrypted; the keyring holds {} key(s).", keys.len())),
            Err(why) => broken(&why),
        }),
        Err(why) => Some(broken(why)),
    }
}

fn server(directory: &Directory, found: &Inspection) -> Vec<Finding> {
    let mut findings = Vec::new();
    if found.running {
        findings.push(Finding::ok("An agent is running in this directory; its files change while they are looked at."));
    }
    findings.extend(found.segments.iter().filter_map(|part| segment(part, found.running)));
    findings.extend(snapshots(found));
    if let Some((from, to)) = found.missing {
        let next =
            "This server cannot start from what it has. Restore the directory from a copy, or empty it and let the server join again.";
        findings.push(Finding::problem(format!("Raft entries {from} to {to} are in no log file and no snapshot."), next));
    }
    let sizes = found.segments.iter().chain(&found.snapshots).map(|part| part.size).sum();
    findings.push(Finding::ok(match (found.backend.as_str(), found.entries) {
        ("sled", _) => "The Raft log is kept by sled, which only a starting agent can check.".to_owned(),
        ("", _) => "There is no Raft log yet.".to_owned(),
        (_, None) => format!("The Raft log is empty (term {}).", found.term),
        (_, Some((from, to))) => format!(
            "The Raft log holds entries {from} to {to} in {} file(s), term {}; with snapshots {}.",
            found.segments.len(),
            found.term,
            bytes(sizes)
        ),
    }));
    findings.extend(configuration(directory, found));
    findings.extend(recovery(directory, found));
    findings
}

/// What becomes of a server that lost its log. Under its former id it would vote without what it had promised, and count as holding what
/// it has lost.
const REPLACE: &str = "remove raft and node-id from this server's data directory and start it: as a new server it takes the place of the \
                       one it was";

fn segment(part: &Part, running: bool) -> Option<Finding> {
    let (offset, fault) = part.fault.as_ref()?;
    Some(match fault {
        Fault::Torn if running => Finding::ok("The last log file ends within a record, as it does while an agent writes."),
        Fault::Torn => Finding::warning(
            "The Raft log has a torn end: the machine stopped while it was written.",
            "Nothing: the next start cuts it off. No acknowledged write is in it.",
        ),
        Fault::Damaged(why) => Finding::problem(
            format!("A Raft log file is damaged: {why}."),
            format!(
                "The agent will refuse to start. Look for disk errors first. Then, when the other servers have a quorum, {REPLACE}; else restore \
                 the latest snapshot."
            ),
        ),
    }
    .at(&part.path, Some(*offset)))
}

fn snapshots(found: &Inspection) -> Vec<Finding> {
    let mut findings = Vec::new();
    let whole = found.snapshots.iter().filter(|part| part.fault.is_none()).count();
    for part in &found.snapshots {
        let Some((_, Fault::Damaged(why))) = &part.fault else { continue };
        let what = format!("A snapshot cannot be read: {why}.");
        let finding = if whole > 0 {
            Finding::warning(what, "An older one is whole and will be used. Look for disk errors; the next snapshot replaces this one.")
        } else {
            Finding::problem(what, format!("When the other servers have a quorum, {REPLACE}; else restore a saved snapshot."))
        };
        findings.push(finding.at(&part.path, None));
    }
    if whole > 0 {
        findings.push(Finding::ok(format!("{whole} snapshot(s) are whole, the newest up to entry {}.", found.snapshot_index)));
    }
    findings
}

fn configuration(directory: &Directory, found: &Inspection) -> Option<Finding> {
    if found.peers.is_empty() {
        return None;
    }
    let list = found.peers.iter().map(|peer| format!("{} ({}{})", peer.name, peer.address, if peer.voter { "" } else { ", no vote" }));
    let list = list.collect::<Vec<_>>().join(", ");
    let own = directory.node_id.as_ref().ok().and_then(Option::as_deref).map(|id| id.trim().to_lowercase());
    Some(match own {
        Some(own) if !found.peers.iter().any(|peer| peer.id == own) => Finding::warning(
            format!("The last known servers are {list}; this node's id {own} is not among them."),
            "It was removed, or its node-id was replaced. As a running cluster's member it has to join again with an empty data directory.",
        ),
        _ if found.peers.iter().filter(|peer| peer.voter).count() > 1 => Finding::ok(format!(
            "The last known servers are {list}. Should half of the voters or more be lost for good, raft/peers.json makes a cluster of \
             the rest; raft/peers.info tells how."
        )),
        _ => Finding::ok(format!("The last known servers are {list}.")),
    })
}

/// A `peers.json` that waits for the next start.
fn recovery(directory: &Directory, found: &Inspection) -> Option<Finding> {
    let file = directory.path.join("raft").join("peers.json");
    let text = match &directory.peers_json {
        Ok(None) => return None,
        Ok(Some(text)) => text,
        Err(why) => {
            return Some(Finding::problem(format!("peers.json cannot be read: {why}."), "Give the agent's user the file.").at(&file, None));
        }
    };
    let next = "It is a list of {\"id\", \"address\", \"non_voter\"}, the same on every server. Mend it, or remove it.";
    // An id that was given on the command line is in no file.
    let own = directory.node_id.as_ref().ok().and_then(Option::as_deref).map(|id| id.trim().to_lowercase());
    Some(match raft::read_peers(text, own.as_deref(), &found.peers) {
        Err(why) => Finding::problem(format!("peers.json is wrong: {why}."), next).at(&file, None),
        Ok(listed) => {
            let what = format!("peers.json is in place: the next start replaces the configuration by its {} server(s).", listed.len());
            let next = "Put the same file on each of these servers while all are stopped, then start them all.";
            Finding::warning(what, next).at(&file, None)
        }
    })
}

/// What only shows when several directories are looked at together.
fn together(directories: &[Directory]) -> Vec<Finding> {
    let mut findings = Vec::new();
    let mut ids: BTreeMap<String, Vec<String>> = BTreeMap::new();
    let mut primaries: BTreeMap<String, Vec<String>> = BTreeMap::new();
    for directory in directories {
        let shown = directory.path.display().to_string();
        if let Ok(Some(id)) = &directory.node_id {
            ids.entry(id.trim().to_lowercase()).or_default().push(shown.clone());
        }
        let primary = match &directory.keyring {
            Ok(Some(text)) => keys(text).ok().and_then(|keys| keys.into_iter().next()),
            _ => None,
        };
        primaries.entry(primary.unwrap_or_default()).or_default().push(shown);
    }
    for (id, paths) in ids.iter().filter(|(_, paths)| paths.len() > 1) {
        let what = format!("{} have the same node id {id}.", paths.join(" and "));
        findings.push(Finding::problem(
            what,
            "One is a copy of the other. Remove node-id from the copy, and its raft directory if it is a server.",
        ));
    }
    if primaries.len() > 1 {
        let groups = primaries.values().map(|paths| paths.join(", ")).collect::<Vec<_>>().join(" against ");
        let next = "Members with different keys cannot hear each other. Install one key everywhere: `muster keyring -install`, then -use.";
        findings.push(Finding::problem(format!("The gossip keys differ: {groups}."), next));
    }
    findings
}
