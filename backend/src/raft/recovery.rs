//! `raft/peers.json`: the configuration an operator gives to servers that have lost their quorum for good.
//!
//! Read at start, applied, removed. Nothing is rewritten: the log's head notes the new configuration and the last entry there was,
//! and every configuration up to that entry is read as the new one. So the log stays as it is and Raft itself decides which of the
//! servers knows most. Three or more voters have to agree all of them on the first leader, as a joint configuration of each one
//! alone and all together: what was committed is on one of them if it is anywhere, and that one is asked. Afterwards a majority
//! is enough again.
//!
//! Must never change anything when the file is wrong. Contract: cluster, section "Raft", row "Recovery".

use std::{
    collections::{BTreeMap, BTreeSet},
    fs, io,
    net::SocketAddr,
    path::Path,
};

use openraft::EntryPayload;
use serde_json::Value;

use super::{
    Peer, codec,
    configuration::peers,
    log::{Opened, Recovered},
    machine::Machine,
    types::{Configuration, Entry, Membership, NodeId, Server},
};
use crate::rt::durable::sync_dir;

const FILE: &str = "peers.json";
const INFO: &str = "peers.info";
/// Bytes of entries looked at in one go.
const READ_BYTES: usize = 4 << 20;

/// What lies beside the log for whoever needs it one day.
const EXPLANATION: &str = "\
peers.json brings a cluster back that has lost its quorum for good.

A cluster needs more than half of its voting servers. Try to bring the missing ones back first: as long as
their data directories are whole, starting them is enough, and this file is not needed.

If too many are lost for good:

1. Stop all remaining servers.
2. Write the file peers.json into the raft directory (where this file is) of every remaining server, the same
   everywhere. It names all remaining servers, and only them:

   [
     {
       \"id\": \"adf4238a-882b-9ddc-4a9d-5b6758e4159e\",
       \"address\": \"10.1.0.1:8300\",
       \"non_voter\": false
     },
     {
       \"id\": \"8b6dda82-3103-11e7-93ae-92361f002671\",
       \"address\": \"10.1.0.2:8300\",
       \"non_voter\": false
     }
   ]

   \"id\" is the server's UUID: the content of node-id in its data directory, also in its log after \"Node ID\".
   \"address\" is its RPC address. \"non_voter\" may be left out: true makes a server that has no vote.
   A list of addresses alone, [\"10.1.0.1:8300\", \"10.1.0.2:8300\"], works for servers the log knows.

3. Start them all. Each one applies the file, says so in its log, and removes it. A wrong file changes
   nothing: the server says what is wrong and does not start.

The first leader is elected once every voter named in the file is up, so that nothing acknowledged is lost
while any of them still has it. Then new servers can join as usual. A single remaining server is a cluster
by itself; what it had not yet received from its leader is lost.

`muster doctor DATA_DIR` checks the file before you start.
";

/// What a `peers.json` says.
///
/// `own` is the server that is to follow it, where that is known. `known` are the servers of the last known configuration: they translate
/// the form that has addresses alone, and lend their names.
///
/// # Errors
/// What is wrong with it, in words for whoever wrote it.
pub fn read_peers(text: &str, own: Option<&str>, known: &[Peer]) -> Result<Vec<Peer>, String> {
    let rows: Vec<Value> = serde_json::from_str(text).map_err(|why| format!("it is not understood: {why}"))?;
    let mut found: Vec<Peer> = Vec::new();
    for (at, row) in rows.iter().enumerate() {
        let peer = peer(row, known).map_err(|why| format!("server {}: {why}", at + 1))?;
        if let Some(other) = found.iter().find(|other| other.id == peer.id || other.address == peer.address) {
            let twice = if other.id == peer.id { &peer.id } else { &peer.address };
            return Err(format!("{twice} is in it twice"));
        }
        found.push(peer);
    }
    if found.is_empty() {
        return Err("it names no server".to_owned());
    }
    if !found.iter().any(|peer| peer.voter) {
        return Err("no server in it has a vote".to_owned());
    }
    if let Some(own) = own.filter(|own| !found.iter().any(|peer| peer.id == *own)) {
        return Err(format!("it does not name this server, {own}"));
    }
    Ok(found)
}

fn peer(row: &Value, known: &[Peer]) -> Result<Peer, String> {
    let address = |text: &str| match text.parse::<SocketAddr>() {
        Ok(address) if address.port() > 0 => Ok(address.to_string()),
        _ => Err(format!("the address {text:?} is not of the form ip:port")),
    };
    if let Some(text) = row.as_str() {
        let address = address(text)?;
        let found = known.iter().find(|peer| peer.address == address);
        let found =
            found.ok_or_else(|| format!("no server of the last known configuration has the address {address}; give its id, too"))?;
        return Ok(Peer { voter: true, ..found.clone() });
    }
    let text = |key: &str| match row.get(key) {
        Some(Value::String(text)) => Ok(text.as_str()),
        Some(_) => Err(format!("{key:?} is no text")),
        None if row.is_object() => Err(format!("{key:?} is missing")),
        None => Err("it is neither {\"id\", \"address\", \"non_voter\"} nor an address".to_owned()),
    };
    let id = uuid::Uuid::parse_str(text("id")?).map_err(|_| format!("the id {:?} is no UUID", text("id").unwrap_or_default()))?.to_string();
    let address = address(text("address")?)?;
    let voter = match row.get("non_voter") {
        None => true,
        Some(Value::Bool(non_voter)) => !non_voter,
        Some(_) => return Err("\"non_voter\" is neither true nor false".to_owned()),
    };
    let name = known.iter().find(|peer| peer.id == id).map(|peer| peer.name.clone()).unwrap_or_default();
    Ok(Peer { id, name, address, voter })
}

/// The configuration these servers start with.
fn configuration(listed: &[Peer]) -> io::Result<Configuration> {
    let invalid = |why: String| io::Error::new(io::ErrorKind::InvalidData, why);
    let mut nodes = BTreeMap::new();
    let mut voters = BTreeSet::new();
    for peer in listed {
        let id = uuid::Uuid::parse_str(&peer.id).map(NodeId).map_err(|why| invalid(why.to_string()))?;
        nodes.insert(id, Server { name: peer.name.clone(), address: peer.address.clone() });
        if peer.voter {
            voters.insert(id);
        }
    }
    // A majority of one or two is all of them.
    let mut configs: Vec<BTreeSet<NodeId>> =
        if voters.len() > 2 { voters.iter().map(|id| BTreeSet::from([*id])).collect() } else { Vec::new() };
    configs.push(voters);
    Configuration::new(configs, nodes).map_err(|why| invalid(why.to_string()))
}

/// Writes the explanation, if it is not there; a full disk is no reason not to start.
pub(super) fn explain(dir: &Path) {
    let path = dir.join(INFO);
    if fs::read_to_string(&path).is_ok_and(|text| text == EXPLANATION) {
        return;
    }
    if let Err(error) = fs::write(&path, EXPLANATION) {
        tracing::warn!(%error, path = %path.display(), "the explanation of peers.json is not written");
    }
}

/// Follows a `peers.json` in this directory, `raft/` of a data directory, if there is one.
///
/// # Errors
/// The file is wrong, and nothing was changed; the disk.
pub(super) fn follow(dir: &Path, own: NodeId, opened: &mut Opened, machine: &Machine) -> io::Result<()> {
    let path = dir.join(FILE);
    let refused = |why: String| {
        let text = format!("{}: {why}. Nothing was changed; mend the file or remove it (see {INFO} beside it)", path.display());
        io::Error::new(io::ErrorKind::InvalidInput, text)
    };
    let text = match fs::read_to_string(&path) {
        Ok(text) => text,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
        Err(error) => return Err(refused(error.to_string())),
    };
    let in_log = last_configuration(opened)?;
    let known = in_log.clone().unwrap_or_else(|| machine.membership().clone());
    if opened.range.is_none() && known.membership().nodes().next().is_none() {
        return Err(refused("there is no Raft state here to recover; a server without data joins the others instead".to_owned()));
    }
    let listed = read_peers(&text, Some(&own.to_string()), &peers(&[known.membership()])).map_err(refused)?;
    let last = match opened.range {
        Some((_, last)) => entry(opened, last)?.map(|entry| entry.log_id),
        None => None,
    };
    let upto = last.max(opened.head.purged).max(machine.last_applied());
    opened.head.recovered = Some(Recovered { upto, membership: configuration(&listed)? });
    opened.backend.set_head(&opened.head)?;
    opened.backend.sync()?;
    let names: Vec<String> =
        listed.iter().map(|peer| format!("{} at {}{}", peer.id, peer.address, if peer.voter { "" } else { " (no vote)" })).collect();
    tracing::warn!(
        servers = names.join(", "),
        "peers.json replaced the raft configuration; the first leader needs the vote of every voter in it"
    );
    fs::remove_file(&path)?;
    sync_dir(dir)
}

fn entry(opened: &Opened, index: u64) -> io::Result<Option<Entry>> {
    opened.reader.read(index, index + 1, 1)?.first().map(|(_, bytes)| codec::decode(bytes)).transpose()
}

/// The newest configuration in the log, as it counts.
fn last_configuration(opened: &Opened) -> io::Result<Option<Membership>> {
    let Some((mut from, last)) = opened.range else { return Ok(None) };
    let mut found = None;
    while from <= last {
        let entries = opened.reader.read(from, last + 1, READ_BYTES)?;
        for (index, bytes) in &entries {
            let mut entry: Entry = codec::decode(bytes)?;
            opened.head.recovered.iter().for_each(|recovered| recovered.mend(&mut entry));
            if let EntryPayload::Membership(membership) = entry.payload {
                found = Some(Membership::new(Some(entry.log_id), membership));
            }
            from = index + 1;
        }
        if entries.is_empty() {
            break;
        }
    }
    Ok(found)
}

#[cfg(test)]
mod tests {
    use super::*;

    const OWN: &str = "00000000-0000-0000-0000-000000000001";
    const OTHER: &str = "00000000-0000-0000-0000-000000000002";

    fn known() -> Vec<Peer> {
        let peer = |id: &str, name: &str, address: &str| Peer { id: id.into(), name: name.into(), address: address.into(), voter: true };
        vec![peer(OWN, "one", "10.0.0.1:8300"), peer(OTHER, "two", "10.0.0.2:8300")]
    }

    fn refused(text: &str, why: &str) {
        let error = read_peers(text, Some(OWN), &known()).expect_err("is refused");
        assert!(error.contains(why), "{text}: {error}");
    }

    #[test]
    fn both_forms_are_understood() {
        let text = format!(
            "[{{\"id\": \"{}\", \"address\": \"10.0.0.7:8300\"}}, {{\"id\": \"{OTHER}\", \"address\": \"10.0.0.2:8300\", \"non_voter\": true}}]",
            OWN.to_uppercase()
        );
        let found = read_peers(&text, Some(OWN), &known()).expect("is right");
        let shown: Vec<_> = found.iter().map(|peer| (peer.id.as_str(), peer.name.as_str(), peer.address.as_str(), peer.voter)).collect();
        assert_eq!(shown, [(OWN, "one", "10.0.0.7:8300", true), (OTHER, "two", "10.0.0.2:8300", false)]);
        let found = read_peers("[\"10.0.0.2:8300\", \"10.0.0.1:8300\"]", Some(OWN), &known()).expect("is right");
        assert_eq!(found.iter().map(|peer| peer.id.as_str()).collect::<Vec<_>>(), [OTHER, OWN]);
    }

    #[test]
    fn a_wrong_file_is_refused_with_the_reason() {
        let row = |id: &str, address: &str, more: &str| format!("{{\"id\": \"{id}\", \"address\": \"{address}\"{more}}}");
        refused("[{", "it is not understood: EOF");
        refused("{}", "it is not understood: invalid type: map, expected a sequence");
        refused("[]", "it names no server");
        refused("[1]", "server 1: it is neither {\"id\", \"address\", \"non_voter\"} nor an address");
        refused("[\"10.0.0.9:8300\"]", "server 1: no server of the last known configuration has the address 10.0.0.9:8300");
        refused("[{\"address\": \"10.0.0.1:8300\"}]", "server 1: \"id\" is missing");
        refused(&format!("[{}]", row("x", "10.0.0.1:8300", "")), "server 1: the id \"x\" is no UUID");
        refused(&format!("[{}]", row(OWN, "here", "")), "server 1: the address \"here\" is not of the form ip:port");
        refused(&format!("[{}]", row(OWN, "10.0.0.1:0", "")), "is not of the form ip:port");
        refused(&format!("[{}]", row(OWN, "10.0.0.1:8300", ", \"non_voter\": 1")), "\"non_voter\" is neither true nor false");
        refused(&format!("[{}]", row(OWN, "10.0.0.1:8300", ", \"non_voter\": true")), "no server in it has a vote");
        refused(&format!("[{}]", row(OTHER, "10.0.0.2:8300", "")), "it does not name this server");
        let (one, two) = (row(OWN, "10.0.0.1:8300", ""), row(OTHER, "10.0.0.1:8300", ""));
        refused(&format!("[{one}, {one}]"), &format!("{OWN} is in it twice"));
        refused(&format!("[{one}, {two}]"), "10.0.0.1:8300 is in it twice");
    }

    #[test]
    fn three_voters_have_to_agree_all_of_them_at_first() {
        let peers = |count: u8| -> Vec<Peer> {
            let peer = |at: u8| Peer { id: uuid::Uuid::from_u128(at.into()).to_string(), voter: at != 9, ..Peer::default() };
            (1..=count).map(peer).chain([peer(9)]).collect()
        };
        let configs =
            |count| configuration(&peers(count)).expect("is valid").get_joint_config().iter().map(BTreeSet::len).collect::<Vec<_>>();
        assert_eq!((configs(1), configs(2), configs(3)), (vec![1], vec![2], vec![1, 1, 1, 3]));
        assert_eq!(configuration(&peers(3)).expect("is valid").nodes().count(), 4);
    }
}
