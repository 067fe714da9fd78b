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
    tables::{Name, NodeRecord, State, empty, key},
    write::Write,
};

/// Registers the node of a registration. With `skip_node_update` a known node stays as it is.
pub(super) fn register(write: &mut Write, registration: &Registration) {
    let name = key(&registration.node);
    if registration.skip_node_update && write.state.nodes.contains_key(&name) {
        return;
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
    let old = rename(write, &node, &name).or_else(|| write.state.nodes.get(&name).map(|record| record.node.clone()));
    if let Some(old) = &old {
        (node.create_index, node.modify_index) = (old.create_index, old.modify_index);
        if **old == node {
            return;
        }
    } else {
        node.create_index = write.index;
    }
    node.modify_index = write.index;
    put(write, name, node);
}

/// The name the catalog has for a UUID.
fn name_of(state: &State, id: &str) -> Option<Name> {
    if id.is_empty() { None } else { state.node_ids.get(&key(id)).cloned() }
}

/// The node that has this UUID by now. Under another name it is removed with everything on it.
fn rename(write: &mut Write, node: &Node, name: &Name) -> Option<Arc<Node>> {
    let known = name_of(&write.state, &node.id)?;
    let old = write.state.nodes.get(&known)?.node.clone();
    if known != *name {
        remove(write, &old.name);
    }
    Some(old)
}

/// Whether the name a registration wants belongs to another node that is alive. A node without UUID gives its name up to a new one.
pub(super) fn refuse(state: &State, registration: &Registration) -> Result<(), String> {
    let Registration { id, node, address, skip_node_update, .. } = registration;
    let name = key(node);
    let known = name_of(state, id);
    let Some(other) = state.nodes.get(&name).map(|record| &record.node) else { return Ok(()) };
    if id.is_empty() || *skip_node_update || known.as_ref() == Some(&name) || (known.is_none() && other.id.is_empty()) {
        return Ok(());
    }
    if state.check(&name, SERF_HEALTH).is_none_or(|check| check.status != Status::PASSING) {
        return Ok(());
    }
    let address = if known.is_some() { format!(" ({address})") } else { String::new() };
    Err(format!(
        "Error while renaming Node ID: \"{id}\"{address}: Node name {node} is reserved by node {} with name {} ({})",
        other.id, other.name, other.address
    ))
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
