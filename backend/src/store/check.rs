//! Checks: registration, removal, and the transitions these make.
//!
//! Contract: HTTP API, sections Catalog and Health.

use std::sync::Arc;

use shared::{
    changes::{Kind, Topic},
    check::{Check, Definition, Transition},
    health::{Health, Status},
};

use super::{history::Subject, tables::Name, write::Write};

/// The check id: the check's name unless given.
pub(super) fn id(check: &Check) -> &str {
    if check.id.is_empty() { &check.name } else { &check.id }
}

/// Registers a check on a node, and of an instance, that exist. `told` are the transitions its agent saw, oldest first.
pub(super) fn register(write: &mut Write, node: &Name, check: &Check, told: &[&Transition]) {
    let mut check = complete(write, node, check);
    let id = Name::from(check.id.as_str());
    let at = (node.clone(), id.clone());
    let old = write.state.checks.get(&at).cloned();
    let before = old.as_ref().map_or(Status::NONE, |old| old.status.clone());
    record(write, &check, (&before, &check.status.clone()), told);
    if let Some(old) = &old {
        (check.create_index, check.modify_index) = (old.create_index, old.modify_index);
        if **old == check {
            return;
        }
    } else {
        check.create_index = write.index;
    }
    check.modify_index = write.index;
    if let Some(old) = old.as_deref().filter(|old| old.service_id != check.service_id) {
        write.state.checks_of.remove(&(node.clone(), Name::from(old.service_id.as_str()), id.clone()));
        touch(write, node, old, Kind::Set);
    }
    write.state.checks_of.insert((node.clone(), Name::from(check.service_id.as_str()), id));
    write.count_check(node, old.as_deref().map(counted), Some(counted(&check)));
    touch(write, node, &check, Kind::Set);
    write.state.checks.insert(at, Arc::new(check));
}

/// Whether the check is the node's own, and the state it counts as.
fn counted(check: &Check) -> (bool, Health) {
    (check.service_id.is_empty(), Health::of_check(check))
}

/// Fills in what a registration may leave out.
fn complete(write: &Write, node: &Name, check: &Check) -> Check {
    let mut check = Check { id: id(check).to_owned(), create_index: 0, modify_index: 0, ..check.clone() };
    if check.node.is_empty() {
        check.node = write.state.nodes.get(node).map(|record| record.node.name.clone()).unwrap_or_default();
    }
    if check.status.is_empty() {
        check.status = Status::CRITICAL;
    }
    if check.kind.is_empty() {
        kind_of(&check.definition).clone_into(&mut check.kind);
    }
    check.service_name.clear();
    check.service_tags.clear();
    if let Some(instance) = write.state.service_on(node, &check.service_id) {
        check.service_name.clone_from(&instance.service.name);
        check.service_tags.clone_from(&instance.service.tags);
    }
    check
}

/// The kind a definition describes; empty when it is none that runs at an interval.
fn kind_of(definition: &Definition) -> &'static str {
    if definition.interval.is_zero() {
        return "";
    }
    let kinds = [("http", &definition.http), ("tcp", &definition.tcp), ("udp", &definition.udp), ("grpc", &definition.grpc)];
    kinds.into_iter().find(|(_, target)| !target.is_empty()).map_or("", |(kind, _)| kind)
}

fn touch(write: &mut Write, node: &Name, check: &Check, kind: Kind) {
    write.checks_changed();
    write.touched.node(node);
    write.touched.object(Topic::Check, &check.node, &check.id, write.index, kind);
    if check.service_id.is_empty() {
        write.dirty_node(node);
    } else {
        let id = Name::from(check.service_id.as_str());
        if let Some(service) = write.state.services.get(&(node.clone(), id.clone())).cloned() {
            write.dirty_instance(&service, node, &id);
        }
    }
}

fn record(write: &mut Write, check: &Check, change: (&Status, &Status), told: &[&Transition]) {
    let subject = Subject { node: &check.node, check_id: &check.id, check_name: &check.name, service_name: &check.service_name };
    let at = (write.index, write.at_ms);
    if write.state.history.record(subject, change, &check.output, told, at) {
        write.history_changed();
    }
}

/// Removes a check. Does nothing when there is none.
pub(super) fn remove(write: &mut Write, node: &Name, id: &Name) {
    let Some(check) = write.state.checks.remove(&(node.clone(), id.clone())) else { return };
    let silent = Check { output: String::new(), ..(*check).clone() };
    record(write, &silent, (&check.status, &Status::NONE), &[]);
    write.state.checks_of.remove(&(node.clone(), Name::from(check.service_id.as_str()), id.clone()));
    write.count_check(node, Some(counted(&check)), None);
    touch(write, node, &check, Kind::Delete);
}

/// Drops recorded transitions that are too old or too many.
pub(super) fn prune_history(write: &mut Write) {
    let mut history = write.state.history.clone();
    let checks = &write.state.checks;
    history.prune(write.at_ms, |at| checks.contains_key(at));
    write.state.history = history;
}
