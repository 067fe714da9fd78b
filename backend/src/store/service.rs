//! Service instances: registration and removal.
//!
//! Contract: HTTP API, section Catalog.

use std::sync::Arc;

use shared::service::Service;

use super::{
    tables::{Instance, Name, key},
    write::Write,
};

/// Registers an instance on a node that exists.
pub(super) fn register(write: &mut Write, node: &Name, service: &Service) -> Result<(), String> {
    let mut service = service.clone();
    if service.id.is_empty() && service.name.is_empty() {
        return Err("failed inserting service: failed inserting service: object missing primary index".to_owned());
    }
    if service.id.is_empty() {
        service.id.clone_from(&service.name);
    }
    let id = Name::from(service.id.as_str());
    let name = key(&service.name);
    let old = write.state.service_on(node, &id).map(|instance| instance.service.clone());
    if let Some(old) = &old {
        (service.create_index, service.modify_index) = (old.create_index, old.modify_index);
        if **old == service {
            return Ok(());
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
    Ok(())
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
