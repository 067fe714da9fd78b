//! Registrations, and the catalog's view of a service.
//!
//! Contract: HTTP API, section Catalog.

use shared::{
    catalog::{CatalogService, Registration},
    health::ServiceNode,
    name,
};

use super::{Call, health};
use crate::{
    acl::Access,
    rpc::{Answer, CatalogServiceNodes, Deregister, Error, Register},
    store::{self, Command, watch::Key},
};

/// Bytes of a registration in the log, at most: an entry that no message to another server can carry would stop it for good.
const REGISTRATION_MAX: usize = 8 << 20;

/// How many bytes this takes in the log.
fn size<T: serde::Serialize>(value: &T) -> usize {
    struct Count(usize);
    impl std::io::Write for Count {
        fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
            self.0 += bytes.len();
            Ok(bytes.len())
        }
        fn flush(&mut self) -> std::io::Result<()> {
            Ok(())
        }
    }
    let mut count = Count(0);
    // Plain data, which msgpack can always write.
    rmp_serde::encode::write_named(&mut count, value).map_or(usize::MAX, |()| count.0)
}

/// Refused before it is proposed: what is in the log already stays as it is.
fn refuse_meta(registration: &Registration) -> Result<(), String> {
    let Some(service) = &registration.service else { return Ok(()) };
    name::check_meta(&service.meta, &[name::META_SEGMENT]).map_err(|why| {
        let (node, id) = (&registration.node, store::service_id(service));
        format!("failed inserting service: Invalid Service Meta for node {node} and serviceID {id}: {why}")
    })
}

pub(super) async fn register(call: Call<'_>, asked: Register) -> Result<Answer<()>, Error> {
    let Register { mut registration, transitions } = asked;
    call.server.check_datacenter(&registration.datacenter)?;
    registration.datacenter.clone_from(&call.server.options.datacenter);
    store::validate(&registration).map_err(Error::Refused)?;
    refuse_meta(&registration).map_err(Error::Refused)?;
    if size(&(&registration, &transitions)) > REGISTRATION_MAX {
        return Err(Error::Refused(format!("Request body(registration) too large, max size: {REGISTRATION_MAX} bytes")));
    }
    let node = call.authorizer.allows(Access::NodeWrite(&registration.node));
    let service = registration.service.as_ref().is_none_or(|s| call.authorizer.allows(Access::ServiceWrite(&s.name)));
    if !node || !service {
        return Err(Error::PermissionDenied);
    }
    let at_ms = call.server.runtime.clock.wall_ms();
    call.server.propose(Command::Register { registration: Box::new(registration), transitions, at_ms }).await?;
    Ok(call.answer(0, ()))
}

pub(super) async fn deregister(call: Call<'_>, asked: Deregister) -> Result<Answer<()>, Error> {
    let deregistration = asked.deregistration;
    call.server.check_datacenter(&deregistration.datacenter)?;
    if deregistration.node.is_empty() {
        return Err(Error::Refused("Must provide node".to_owned()));
    }
    let node = call.authorizer.allows(Access::NodeWrite(&deregistration.node));
    let state = call.server.store.state();
    let of_service = state.service_on(&deregistration.node, &deregistration.service_id);
    let service = of_service.is_some_and(|s| call.authorizer.allows(Access::ServiceWrite(&s.service.name)));
    if !node && !service {
        return Err(Error::PermissionDenied);
    }
    call.server.propose(Command::Deregister { deregistration, at_ms: call.server.runtime.clock.wall_ms() }).await?;
    Ok(call.answer(0, ()))
}

pub(super) fn datacenters(call: Call<'_>) -> Result<Answer<Vec<String>>, Error> {
    Ok(call.answer(0, vec![call.server.options.datacenter.clone()]))
}

pub(super) async fn service_nodes(call: Call<'_>, asked: CatalogServiceNodes) -> Result<Answer<Vec<CatalogService>>, Error> {
    let CatalogServiceNodes { service, tags } = asked;
    call.check_filter::<CatalogService>()?;
    call.read(
        &[Key::Service(&service)],
        |state| state.service_index(&service),
        |state| {
            let rows = health::rows(call, state, &service, &tags, false);
            let mut rows = rows.map(|row| catalog_row(&row)).collect();
            call.filter(&mut rows)?;
            Ok(rows)
        },
    )
    .await
}

fn catalog_row(row: &ServiceNode) -> CatalogService {
    let (node, service) = (&row.node, row.service.clone());
    CatalogService {
        id: node.id.clone(),
        node: node.name.clone(),
        address: node.address.clone(),
        datacenter: node.datacenter.clone(),
        tagged_addresses: node.tagged_addresses.clone(),
        node_meta: node.meta.clone(),
        service_kind: service.kind,
        service_id: service.id,
        service_name: service.name,
        service_tags: service.tags,
        service_address: service.address,
        service_tagged_addresses: service.tagged_addresses,
        service_weights: service.weights,
        service_meta: service.meta,
        service_port: service.port,
        service_enable_tag_override: service.enable_tag_override,
        service_proxy: service.proxy,
        service_connect: service.connect,
        create_index: service.create_index,
        modify_index: service.modify_index,
    }
}
