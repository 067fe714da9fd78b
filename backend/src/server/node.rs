//! Nodes: the catalog's lists and the node list of the dashboard.
//!
//! Contract: HTTP API, section Catalog.

use std::collections::HashMap;

use shared::{
    catalog::NodeServices as Reply,
    check::SERF_HEALTH,
    health::Health,
    node::{Node, NodeRow},
    page::{Page, PageQuery},
    service::Service,
};

use super::{
    Call,
    list::{List, Search, Sort, Text, by_name, one_line},
};
use crate::{
    acl::Access,
    rpc::{Answer, Error, ListNodes, NodeServices},
    store::{NodeRecord, State, watch::Key},
};

pub(super) async fn nodes(call: Call<'_>) -> Result<Answer<Vec<Node>>, Error> {
    call.check_filter::<Node>()?;
    call.read(
        &[Key::Nodes],
        |state| state.indexes.nodes,
        |state| {
            let wanted = state.nodes().filter(|record| call.wants_node(&record.node) && call.may_read_node(&record.node.name));
            let mut rows = wanted.map(|record| (*record.node).clone()).collect();
            call.filter(&mut rows)?;
            Ok(rows)
        },
    )
    .await
}

pub(super) async fn services(call: Call<'_>, asked: NodeServices) -> Result<Answer<Option<Reply>>, Error> {
    let node = asked.node.as_str();
    call.check_filter::<Service>()?;
    // By UUID the node's name is not known before it is there, so such a read depends on the node table.
    let by_name = call.server.store.state().node(node).map(|record| record.node.name.clone());
    let keys = [Key::Node(by_name.as_deref().unwrap_or(node)), Key::Nodes];
    let keys = if by_name.is_some() { &keys[..1] } else { &keys[..] };
    let index = |state: &State| state.node(node).map_or(1, |_| state.indexes.nodes.max(state.indexes.services));
    call.read(keys, index, |state| {
        let Some(mut reply) = state.node_services(node).filter(|reply| call.may_read_node(&reply.node.name)) else { return Ok(None) };
        let allowed = |service: &Service| call.authorizer.allows(Access::ServiceRead(&service.name));
        let mut rows: Vec<_> = std::mem::take(&mut reply.services).into_values().filter(allowed).collect();
        call.filter(&mut rows)?;
        reply.services = rows.into_iter().map(|service| (service.id.clone(), service)).collect();
        Ok(Some(reply))
    })
    .await
}

pub(super) async fn list(call: Call<'_>, asked: ListNodes) -> Result<Answer<Page<NodeRow>>, Error> {
    let query = asked.page;
    let sort = Sort::parse(&query.sort)?;
    order(&sort)?;
    let keys = [Key::Nodes, Key::Services, Key::Checks];
    let index = |state: &State| state.indexes.nodes.max(state.indexes.services).max(state.indexes.checks);
    call.read(&keys, index, |state| {
        let start = call.server.runtime.clock.now();
        let page = page(call, state, &query, &sort)?;
        Ok(call.timed(page, start))
    })
    .await
}

type Order = fn(&&NodeRecord, &&NodeRecord) -> std::cmp::Ordering;

fn order(sort: &Sort<'_>) -> Result<Option<Order>, Error> {
    Ok(Some(match sort.field.to_ascii_lowercase().as_str() {
        "" | "health" | "status" => return Ok(None),
        "name" | "node" => |a, b| by_name(&a.node.name, &b.node.name),
        "address" => |a, b| a.node.address.cmp(&b.node.address),
        "services" => |a, b| a.services.cmp(&b.services),
        "checks" => |a, b| a.checks.total.cmp(&b.checks.total),
        "changed" | "changed_at" | "changedatms" => |a, b| a.changed_at_ms.cmp(&b.changed_at_ms),
        _ => return Err(sort.unknown()),
    }))
}

fn page(call: Call<'_>, state: &State, query: &PageQuery, sort: &Sort<'_>) -> Result<Page<NodeRow>, Error> {
    let search = Search::parse(&query.search);
    let order = order(sort)?;
    let members = call.server.members.borrow().clone();
    let versions = members.iter().filter_map(|member| Some((member.name.as_str(), member.tags.get("muster")?.as_str()))).collect();
    let has = |node: &Node| query.of.is_empty() || state.services_on(&node.name).any(|i| i.service.name.eq_ignore_ascii_case(&query.of));
    let list = List {
        health: &|record: &&NodeRecord| record.health(),
        matches: &|record| has(&record.node) && search.finds(|| texts(&record.node)),
        order: order.as_ref().map(|order| order as &dyn Fn(&&NodeRecord, &&NodeRecord) -> std::cmp::Ordering),
        name: &|a, b| by_name(&a.node.name, &b.node.name),
        row: &|record| row(state, record, &versions),
    };
    Ok(list.page(query, sort, state.nodes().filter(|record| call.may_read_node(&record.node.name))))
}

fn texts(node: &Node) -> impl Iterator<Item = Text<'_>> {
    let meta = node.meta.iter().map(|(key, value)| Text::Meta(key, value));
    let addresses = node.tagged_addresses.values().map(|address| Text::Plain(address));
    [Text::Node(&node.name), Text::Plain(&node.address), Text::Plain(&node.id)].into_iter().chain(addresses).chain(meta)
}

/// `versions` are those of the pool's members, by name.
fn row(state: &State, record: &NodeRecord, versions: &HashMap<&str, &str>) -> NodeRow {
    let node = &record.node;
    let agent = state.check(&node.name, SERF_HEALTH).is_some();
    let server = state.service_on(&node.name, "consul").filter(|_| agent);
    let version = versions.get(node.name.as_str()).filter(|_| agent).copied().unwrap_or_default();
    let health = record.health();
    let worst = state.checks_on(&node.name).find(|check| health > Health::Passing && Health::of_node([&***check]) == health);
    NodeRow {
        node: (**node).clone(),
        health,
        agent,
        role: if server.is_some() {
            "server"
        } else if agent {
            "client"
        } else {
            ""
        }
        .to_owned(),
        version: version.to_owned(),
        services: record.services,
        checks: record.checks,
        changed_at_ms: record.changed_at_ms,
        output: worst.map(|check| one_line(if check.is_maintenance() { &check.notes } else { &check.output })).unwrap_or_default(),
    }
}
