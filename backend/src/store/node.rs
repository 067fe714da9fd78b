//! Nodes: registration, renaming by UUID, removal.
//!
//! Contract: HTTP API, section Catalog.

use std::sync::Arc;

use shared::{
    catalog::Registration,
    changes::{Kind, Topic},
    check::SERF_HEALTH,
    health::Status,
    node::Node,
};

use super::{
    tables::{Name, NodeRecord, empty, key},
    write::Write,
};

/// Registers the node of a registration. With `skip_node_update` a known node stays as it is.
pub(super) fn register(write: &mut Write, registration: &Registration) -> Result<(), String> {
    let name = key(&registration.node);
    if registration.skip_node_update && write.state.nodes.contains_key(&name) {
        return Ok(());
    }
    let mut node = Node {
        id: registration.id.clone(),
        name: registration.node.clone(),
        address: registration.address.clone(),
        datacenter: registration.datacenter.clone(),
        tagged_addresses: registration.tagged_addresses.clone(),
        meta: registration.node_meta.clone(),
        create_index: 0,
        modify_index: 0,
    };
    let renamed = claim_name(write, &node, &name).map_err(|reason| format!("failed inserting node: {reason}"))?;
    let old = renamed.or_else(|| write.state.nodes.get(&name).map(|record| record.node.clone()));
    if let Some(old) = &old {
        (node.create_index, node.modify_index) = (old.create_index, old.modify_index);
        if **old == node {
            return Ok(());
        }
    } else {
        node.create_index = write.index;
    }
    node.modify_index = write.index;
    put(write, name, node);
    Ok(())
}

/// Makes sure that the name is free for this UUID. A node that has the UUID under another name is removed with everything on
/// it, and answered.
fn claim_name(write: &mut Write, node: &Node, name: &Name) -> Result<Option<Arc<Node>>, String> {
    if node.id.is_empty() {
        return Ok(None);
    }
    let known = write.state.node_ids.get(&*key(&node.id)).cloned();
    let renames = known.as_ref().is_some_and(|known| known != name);
    if known.is_none() || renames {
        if let Some(other) = reserved_by(write, node, name, known.is_none()) {
            let address = if renames { format!(" ({})", node.address) } else { String::new() };
            return Err(format!(
                "Error while renaming Node ID: \"{}\"{address}: Node name {} is reserved by node {} with name {} ({})",
                node.id, node.name, other.id, other.name, other.address
            ));
        }
    }
    let old = known.and_then(|known| write.state.nodes.get(&known).map(|record| record.node.clone()));
    if let (true, Some(old)) = (renames, &old) {
        remove(write, &old.name);
    }
    Ok(old)
}

/// The node that holds the name with another UUID and is alive. A node without UUID gives its name up to a new one.
fn reserved_by(write: &Write, node: &Node, name: &Name, new: bool) -> Option<Arc<Node>> {
    let other = &write.state.nodes.get(name)?.node;
    if other.id.eq_ignore_ascii_case(&node.id) || (new && other.id.is_empty()) {
        return None;
    }
    let alive = write.state.check(name, SERF_HEALTH).is_some_and(|check| check.status == Status::PASSING);
    alive.then(|| other.clone())
}

fn put(write: &mut Write, name: Name, node: Node) {
    let old = write.state.nodes.get(&name).cloned();
    if let Some(old) = old.as_ref().filter(|old| !old.node.id.is_empty()) {
        write.state.node_ids.remove(&key(&old.node.id));
    }
    if !node.id.is_empty() {
        write.state.node_ids.insert(key(&node.id), name.clone());
    }
    write.touched.object(Topic::Node, "", &node.name, write.index, Kind::Set);
    write.touched.node(&name);
    let record = old.unwrap_or_else(|| NodeRecord { changed_at_ms: write.at_ms, ..NodeRecord::default() });
    write.state.nodes.insert(name.clone(), NodeRecord { node: Arc::new(node), ..record });
    write.nodes_changed();
    write.dirty_node(&name);
}

/// Removes a node with its services and checks. Does nothing when there is none.
pub(super) fn remove(write: &mut Write, node: &str) {
    let name = key(node);
    let Some(record) = write.state.nodes.get(&name).cloned() else { return };
    let services: Vec<_> = write.services_on(&name).map(|(id, _)| id).collect();
    for id in services {
        super::service::remove(write, &name, &id);
    }
    let range = write.state.checks.range((name.clone(), empty())..);
    let checks: Vec<_> = range.take_while(|((on, _), _)| *on == name).map(|((_, id), _)| id.clone()).collect();
    for id in checks {
        super::check::remove(write, &name, &id);
    }
    if !record.node.id.is_empty() {
        write.state.node_ids.remove(&key(&record.node.id));
    }
    write.state.nodes.remove(&name);
    write.touched.object(Topic::Node, "", &record.node.name, write.index, Kind::Delete);
    write.touched.node(&name);
    write.nodes_changed();
}
