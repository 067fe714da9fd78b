//! Registrations and deregistrations as a whole: validation, and the order in which their parts are applied.
//!
//! Contract: HTTP API, section Catalog. The texts are Consul's.

use shared::{
    catalog::{Deregistration, Registration},
    check::{Check, Transition},
};

use super::{
    Reply, check, node, service,
    tables::{Name, State, key},
    write::Write,
};

/// Why a registration is wrong in itself, before any state is looked at.
///
/// # Errors
/// Consul's text.
pub fn validate(registration: &Registration) -> Result<(), String> {
    if registration.node.is_empty() {
        return Err("Must provide node".to_owned());
    }
    if registration.address.is_empty() && !registration.skip_node_update {
        return Err("Must provide address if SkipNodeUpdate is not set".to_owned());
    }
    if !registration.id.is_empty() {
        uuid(&registration.id).map_err(|reason| format!("Bad node ID: {reason}"))?;
    }
    if let Some(service) = &registration.service {
        if !service.id.is_empty() && service.name.is_empty() {
            return Err("Must provide service name with ID".to_owned());
        }
        if matches!(service.address.as_str(), "0.0.0.0" | "::") {
            return Err("Invalid service address".to_owned());
        }
    }
    let foreign = |check: &&Check| !check.node.is_empty() && !check.node.eq_ignore_ascii_case(&registration.node);
    match checks(registration).find(foreign) {
        Some(check) => Err(format!("check node \"{}\" does not match node \"{}\"", check.node, registration.node)),
        None => Ok(()),
    }
}

fn uuid(text: &str) -> Result<(), String> {
    if text.len() != 36 {
        return Err("uuid string is wrong length".to_owned());
    }
    for (at, c) in text.char_indices() {
        let dash = matches!(at, 8 | 13 | 18 | 23);
        if dash != (c == '-') {
            return Err("uuid is improperly formatted".to_owned());
        }
        if !dash && !c.is_ascii_hexdigit() {
            return Err(format!("encoding/hex: invalid byte: U+{:04X} '{c}'", u32::from(c)));
        }
    }
    Ok(())
}

fn checks(registration: &Registration) -> impl Iterator<Item = &Check> {
    registration.checks.iter().chain(&registration.check)
}

/// Registers a node, a service on it and checks of either, all or nothing: whatever can be refused is refused before anything
/// is changed.
pub(super) fn register(write: &mut Write, registration: &Registration, transitions: &[(String, Transition)]) -> Reply {
    if let Err(reason) = refuse(&write.state, registration) {
        return Reply::Refused(reason);
    }
    node::register(write, registration);
    let on = key(&registration.node);
    if let Some(service) = &registration.service {
        service::register(write, &on, service);
    }
    for check in checks(registration) {
        let id = check::id(check);
        let told: Vec<_> = transitions.iter().filter(|(of, _)| of == id).map(|(_, transition)| transition).collect();
        check::register(write, &on, check, &told);
    }
    check::prune_history(write);
    Reply::Done(true)
}

fn refuse(state: &State, registration: &Registration) -> Result<(), String> {
    validate(registration)?;
    node::refuse(state, registration).map_err(|reason| format!("failed inserting node: {reason}"))?;
    let service = registration.service.as_ref();
    if service.is_some_and(|service| service::id(service).is_empty()) {
        return Err("failed inserting service: failed inserting service: object missing primary index".to_owned());
    }
    for check in checks(registration) {
        let node = &registration.node;
        if check::id(check).is_empty() {
            return Err(format!("failed inserting check: failed inserting check: object missing primary index on node \"{node}\""));
        }
        let of = &check.service_id;
        let comes = service.is_some_and(|service| service::id(service) == of);
        if !of.is_empty() && !comes && state.service_on(node, of).is_none() {
            return Err(format!("failed inserting check: Missing service registration on node \"{node}\""));
        }
    }
    Ok(())
}

/// Removes a service with its checks, a check, or a whole node.
pub(super) fn deregister(write: &mut Write, deregistration: &Deregistration) -> Reply {
    if deregistration.node.is_empty() {
        return Reply::Refused("Must provide node".to_owned());
    }
    let on = key(&deregistration.node);
    if !deregistration.service_id.is_empty() {
        service::remove(write, &on, &Name::from(deregistration.service_id.as_str()));
    } else if !deregistration.check_id.is_empty() {
        check::remove(write, &on, &Name::from(deregistration.check_id.as_str()));
    } else {
        node::remove(write, &on);
    }
    check::prune_history(write);
    Reply::Done(true)
}
