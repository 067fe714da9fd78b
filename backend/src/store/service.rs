//! Service instances: registration and removal.
//!
//! Contract: HTTP API, section Catalog.

use std::sync::Arc;

use shared::service::Service;

use super::{
    tables::{Instance, Name, key},
    write::Write,
};

/// The instance id: the service's name unless given.
#[must_use]
pub fn id(service: &Service) -> &str {
    if service.id.is_empty() { &service.name } else { &service.id }
}

/// Registers an instance on a node that exists.
pub(super) fn register(write: &mut Write, node: &Name, service: &Service) {
    let id = Name::from(id(service));
    let mut service = Service { id: id.to_string(), create_index: 0, modify_index: 0, ..service.clone() };
    let name = key(&service.name);
    let old = write.state.service_on(node, &id).map(|instance| instance.service.clone());
    if let Some(old) = &old {
        (service.create_index, service.modify_index) = (old.create_index, old.modify_index);
        if **old == service {
            return;
        }
    } else {
        service.create_index = write.index;
    }
    service.modify_index = write.index;
    let before = write.state.services.insert((node.clone(), id.clone()), name.clone());
    if let Some(before) = before.filter(|before| *before != name) {
        write.state.instances.remove(&(before.clone(), node.clone(), id.clone()));
        write.dirty_instance(&before, node, &id);
    }
    if old.is_none()
        && let Some(record) = write.state.nodes.get_mut(node)
    {
        record.services += 1;
    }
    let instance = Instance { service: Arc::new(service), ..Instance::default() };
    write.state.instances.insert((name.clone(), node.clone(), id.clone()), instance);
    write.dirty_instance(&name, node, &id);
    write.touched.node(node);
    write.services_changed();
}

/// Removes an instance and its checks. Does nothing when there is none.
pub(super) fn remove(write: &mut Write, node: &Name, id: &Name) {
    let Some(name) = write.state.services.remove(&(node.clone(), id.clone())) else { return };
    let checks: Vec<Name> = write.state.checks_of(node, id).map(|check| Name::from(check.id.as_str())).collect();
    for check in checks {
        super::check::remove(write, node, &check);
    }
    write.state.instances.remove(&(name.clone(), node.clone(), id.clone()));
    if let Some(record) = write.state.nodes.get_mut(node) {
        record.services -= 1;
    }
    write.dirty_instance(&name, node, id);
    write.touched.node(node);
    write.services_changed();
}
