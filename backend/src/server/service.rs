//! Services: the catalog's list of names and the service list of the dashboard.
//!
//! Contract: HTTP API, section Catalog.

use std::{cmp::Ordering, collections::BTreeSet, sync::Arc};

use shared::{
    catalog::Services,
    check::SERF_HEALTH,
    health::Health,
    page::{Page, PageQuery},
    service::{Service, ServiceRow, TracePoint},
};

use super::{
    Call,
    list::{List, Search, Sort, Text, by_name, one_line},
};
use crate::{
    rpc::{Answer, Error, ListServices},
    store::{State, Summary, TRACE_MS, watch::Key},
};

pub(super) async fn services(call: Call<'_>) -> Result<Answer<Services>, Error> {
    let by_node = !call.request.options.node_meta.is_empty();
    let keys = [Key::Services, Key::Nodes];
    let keys = if by_node { &keys[..] } else { &keys[..1] };
    let index = |state: &State| if by_node { state.indexes.services.max(state.indexes.nodes) } else { state.indexes.services };
    call.read(keys, index, |state| Ok(if by_node { on_wanted_nodes(call, state) } else { every_name(call, state) })).await
}

fn every_name(call: Call<'_>, state: &State) -> Services {
    let readable = state.services().filter(|summary| call.may_read_service(&summary.name));
    readable.flat_map(|summary| summary.spellings.iter()).map(|(name, tags)| (name.clone(), tags.clone())).collect()
}

fn on_wanted_nodes(call: Call<'_>, state: &State) -> Services {
    let mut found = Services::new();
    for record in state.nodes().filter(|record| call.wants_node(&record.node)) {
        let readable = state.services_on(&record.node.name).filter(|instance| call.may_read_service(&instance.service.name));
        for Service { name, tags, .. } in readable.map(|instance| &*instance.service) {
            let all = found.entry(name.clone()).or_default();
            let known: BTreeSet<_> = all.drain(..).chain(tags.iter().cloned()).collect();
            all.extend(known);
        }
    }
    found
}

pub(super) async fn list(call: Call<'_>, asked: ListServices) -> Result<Answer<Page<ServiceRow>>, Error> {
    let query = asked.page;
    let sort = Sort::parse(&query.sort)?;
    order(&sort)?;
    let keys = [Key::Services, Key::Checks, Key::Nodes];
    let index = |state: &State| state.indexes.nodes.max(state.indexes.services).max(state.indexes.checks);
    call.read(&keys, index, |state| {
        let start = call.server.runtime.clock.now();
        let page = page(call, state, &query, &sort)?;
        Ok(call.timed(page, start))
    })
    .await
}

type Item<'a> = &'a Arc<Summary>;
type Order = fn(&Item<'_>, &Item<'_>) -> Ordering;

fn order(sort: &Sort<'_>) -> Result<Option<Order>, Error> {
    Ok(Some(match sort.field.to_ascii_lowercase().as_str() {
        "" | "health" | "status" => return Ok(None),
        "name" | "service" => |a, b| by_name(&a.name, &b.name),
        "instances" => |a, b| a.instances.total.cmp(&b.instances.total),
        "checks" => |a, b| a.checks.total.cmp(&b.checks.total),
        "nodes" => |a, b| a.nodes.cmp(&b.nodes),
        "kind" => |a, b| a.kind.cmp(&b.kind),
        "group" => |a, b| by_name(&a.group, &b.group),
        "source" => |a, b| a.sources.cmp(&b.sources),
        "tags" => |a, b| a.tags.cmp(&b.tags),
        "changed" | "changed_at" | "changedatms" => |a, b| a.changed_at_ms.cmp(&b.changed_at_ms),
        _ => return Err(sort.unknown()),
    }))
}

fn page(call: Call<'_>, state: &State, query: &PageQuery, sort: &Sort<'_>) -> Result<Page<ServiceRow>, Error> {
    let search = Search::parse(&query.search);
    let order = order(sort)?;
    let now_ms = call.server.runtime.clock.wall_ms();
    let list = List {
        health: &|summary: &Item<'_>| summary.health,
        matches: &|summary| {
            let in_group = query.of.is_empty() || summary.group == query.of;
            in_group && (search.finds(|| own_texts(summary)) || search.finds(|| own_texts(summary).chain(instance_texts(state, summary))))
        },
        order: order.as_ref().map(|order| order as &dyn Fn(&Item<'_>, &Item<'_>) -> Ordering),
        name: &|a, b| by_name(&a.name, &b.name),
        row: &|summary| row(state, summary, now_ms),
    };
    Ok(list.page(query, sort, state.services().filter(|summary| call.may_read_service(&summary.name))))
}

fn own_texts(summary: &Summary) -> impl Iterator<Item = Text<'_>> {
    let tags = summary.tags.iter().map(|tag| Text::Tag(tag));
    [Text::Plain(&summary.name), Text::Plain(&summary.kind)].into_iter().chain(tags)
}

/// What is known only of single instances: looked at when the summary alone does not match.
fn instance_texts<'a>(state: &'a State, summary: &'a Summary) -> impl Iterator<Item = Text<'a>> {
    state.instances_of(&summary.name).flat_map(|(record, instance)| {
        let (node, service) = (&record.node, &instance.service);
        let meta = service.meta.iter().map(|(key, value)| Text::Meta(key, value));
        let own = [Text::Plain(&service.id), Text::Plain(&service.address), Text::Node(&node.name), Text::Plain(&node.address)];
        own.into_iter().chain(meta)
    })
}

fn row(state: &State, summary: &Summary, now_ms: u64) -> ServiceRow {
    ServiceRow {
        name: summary.name.clone(),
        kind: summary.kind.clone(),
        tags: summary.tags.clone(),
        health: summary.health,
        instances: summary.instances,
        checks: summary.checks,
        nodes: summary.nodes,
        changed_at_ms: summary.changed_at_ms,
        source: summary.sources.first().cloned().unwrap_or_default(),
        group: summary.group.clone(),
        output: worst_output(state, summary),
        runnable: runnable(state, summary),
        trace: trace(&summary.trace, now_ms),
    }
}

/// Whether some agent runs one of the checks.
fn runnable(state: &State, summary: &Summary) -> bool {
    state.instances_of(&summary.name).any(|(record, instance)| {
        let node = &record.node.name;
        state.checks_of(node, &instance.service.id).any(|check| check.is_runnable()) && state.check(node, SERF_HEALTH).is_some()
    })
}

/// What the worst check of the worst instance says, when the service is not passing.
fn worst_output(state: &State, summary: &Summary) -> String {
    if summary.health <= Health::Passing {
        return String::new();
    }
    let worst = state.instances_of(&summary.name).find(|(_, instance)| instance.health == summary.health);
    let check = worst.and_then(|(record, instance)| {
        let node = &record.node.name;
        let mut checks = state.checks_of(node, &instance.service.id).chain(state.checks_of(node, ""));
        checks.find(|check| Health::of_check(check) == summary.health)
    });
    check.map(|check| one_line(if check.is_maintenance() { &check.notes } else { &check.output })).unwrap_or_default()
}

/// The states of the last hour: those that began in it, and the one it began with.
fn trace(points: &[TracePoint], now_ms: u64) -> Vec<TracePoint> {
    let hour = now_ms.saturating_sub(TRACE_MS);
    let first = points.partition_point(|point| point.at_ms <= hour).saturating_sub(1);
    points[first..].to_vec()
}
