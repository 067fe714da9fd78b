//! Checks: the health reads, the check list of the dashboard, and the recorded transitions.
//!
//! Contract: HTTP API, section Health.

use std::{cmp::Ordering, sync::Arc};

use shared::{
    check::{Check, CheckRow, History},
    health::Health,
    page::{Page, PageQuery},
};

use super::{
    Call,
    list::{List, Search, Sort, Text, by_name},
};
use crate::{
    rpc::{Answer, CheckHistory, Checks, Error, ListChecks, NodeChecks, ServiceChecks},
    store::{Record, State, watch::Key},
};

/// What "the last hour" is, milliseconds.
const HOUR_MS: u64 = 3_600_000;

fn may_read(call: Call<'_>, check: &Check) -> bool {
    call.may_read_node(&check.node) && (check.service_name.is_empty() || call.may_read_service(&check.service_name))
}

fn rows<'a>(call: Call<'_>, state: &State, checks: impl Iterator<Item = &'a Arc<Check>>) -> Result<Vec<Check>, Error> {
    let any = call.request.options.node_meta.is_empty();
    let wanted = |check: &&Arc<Check>| any || state.node(&check.node).is_some_and(|record| call.wants_node(&record.node));
    let mut rows = checks.filter(|check| may_read(call, check)).filter(wanted).map(|check| (**check).clone()).collect();
    call.filter(&mut rows)?;
    Ok(rows)
}

pub(super) async fn of_node(call: Call<'_>, asked: NodeChecks) -> Result<Answer<Vec<Check>>, Error> {
    call.check_filter::<Check>()?;
    let node = asked.node.as_str();
    call.read(&[Key::Node(node)], |state| state.indexes.checks, |state| rows(call, state, state.checks_on(node))).await
}

pub(super) async fn of_service(call: Call<'_>, asked: ServiceChecks) -> Result<Answer<Vec<Check>>, Error> {
    call.check_filter::<Check>()?;
    let service = asked.service.as_str();
    call.read(
        &[Key::Service(service)],
        |state| state.service_index(service),
        |state| {
            let instances = state.instances_of(service);
            rows(call, state, instances.flat_map(|(record, instance)| state.checks_of(&record.node.name, &instance.service.id)))
        },
    )
    .await
}

pub(super) async fn in_state(call: Call<'_>, asked: Checks) -> Result<Answer<Vec<Check>>, Error> {
    call.check_filter::<Check>()?;
    let by_node = !call.request.options.node_meta.is_empty();
    let keys = [Key::Checks, Key::Nodes];
    let index = |state: &State| if by_node { state.indexes.checks.max(state.indexes.nodes) } else { state.indexes.checks };
    call.read(if by_node { &keys[..] } else { &keys[..1] }, index, |state| {
        rows(call, state, state.checks().filter(|check| asked.state == "any" || check.status.as_str() == asked.state))
    })
    .await
}

pub(super) async fn history(call: Call<'_>, asked: CheckHistory) -> Result<Answer<Vec<History>>, Error> {
    let CheckHistory { node, check_id, service } = asked;
    call.read(
        &[Key::History],
        |state| state.indexes.history,
        |state| {
            let log = state.history();
            let wanted = |record: &Record| {
                let of_service = service.is_empty() || record.service_name.eq_ignore_ascii_case(&service);
                let readable = record.service_name.is_empty() || call.may_read_service(&record.service_name);
                of_service && readable && (check_id.is_empty() || record.check_id == check_id) && call.may_read_node(&record.node)
            };
            let found: Box<dyn Iterator<Item = &Arc<Record>>> = match (node.is_empty(), check_id.is_empty()) {
                (false, false) => Box::new(log.of(&node, &check_id).into_iter()),
                (false, true) => Box::new(log.on(&node)),
                (true, _) => Box::new(log.all()),
            };
            Ok(found.filter(|record| wanted(record)).map(|record| record.to_history()).collect())
        },
    )
    .await
}

pub(super) async fn list(call: Call<'_>, asked: ListChecks) -> Result<Answer<Page<CheckRow>>, Error> {
    let query = asked.page;
    let sort = Sort::parse(&query.sort)?;
    known_order(&sort)?;
    let index = |state: &State| state.indexes.checks.max(state.indexes.history);
    call.read(&[Key::Checks, Key::History], index, |state| {
        let start = call.server.runtime.clock.now();
        let page = page(call, state, &query, &sort);
        Ok(call.timed(page, start))
    })
    .await
}

type Item<'a> = &'a Arc<Check>;

fn known_order(sort: &Sort<'_>) -> Result<(), Error> {
    match sort.field.to_ascii_lowercase().as_str() {
        "" | "health" | "status" | "name" | "check" | "node" | "service" | "type" | "kind" | "changed" | "changed_at" | "changedatms" => {
            Ok(())
        }
        _ => Err(sort.unknown()),
    }
}

fn page(call: Call<'_>, state: &State, query: &PageQuery, sort: &Sort<'_>) -> Page<CheckRow> {
    let search = Search::parse(&query.search);
    let changed = |check: &Check| state.history().of(&check.node, &check.id).map_or(0, |record| record.changed_at_ms());
    let field = sort.field.to_ascii_lowercase();
    let order = |a: &Item<'_>, b: &Item<'_>| -> Ordering {
        match field.as_str() {
            "node" => by_name(&a.node, &b.node),
            "service" => by_name(&a.service_name, &b.service_name),
            "type" | "kind" => a.kind.cmp(&b.kind),
            "changed" | "changed_at" | "changedatms" => changed(a).cmp(&changed(b)),
            _ => by_name(&a.name, &b.name),
        }
    };
    let now_ms = call.server.runtime.clock.wall_ms();
    let list = List {
        health: &|check: &Item<'_>| Health::of_check(check),
        matches: &|check| {
            let of = query.of.is_empty() || check.service_name.eq_ignore_ascii_case(&query.of);
            of && search.finds(|| texts(check))
        },
        order: (!matches!(field.as_str(), "" | "health" | "status")).then_some(&order),
        name: &|a, b| by_name(&a.name, &b.name).then_with(|| by_name(&a.node, &b.node)).then_with(|| a.id.cmp(&b.id)),
        row: &|check| row(state, check, now_ms),
    };
    list.page(query, sort, state.checks().filter(|check| may_read(call, check)))
}

fn texts(check: &Check) -> impl Iterator<Item = Text<'_>> {
    let tags = check.service_tags.iter().map(|tag| Text::Tag(tag));
    let own = [&check.name, &check.id, &check.service_name, &check.service_id, &check.kind, &check.output, &check.notes];
    own.into_iter().map(|text| Text::Plain(text)).chain([Text::Node(&check.node)]).chain(tags)
}

fn row(state: &State, check: &Check, now_ms: u64) -> CheckRow {
    let record = state.history().of(&check.node, &check.id);
    CheckRow {
        check: check.clone(),
        changed_at_ms: record.map_or(0, |record| record.changed_at_ms()),
        changes_last_hour: record.map_or(0, |record| record.count_since(now_ms.saturating_sub(HOUR_MS))),
    }
}
