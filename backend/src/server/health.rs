//! The instances of a service with their checks, and the kept answers of that read.
//!
//! Contract: HTTP API, section Health.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, PoisonError},
};

use shared::health::{Health, ServiceNode};

use super::Call;
use crate::{
    acl::Access,
    rpc::{Answer, Error, HealthServiceNodes},
    store::{Instance, NodeRecord, State, watch::Key},
};

/// Most answers kept.
const ANSWERS_MAX: usize = 4096;

/// Service in lower case, tags in lower case and sorted, only passing.
type Question = (String, Vec<String>, bool);

#[derive(Debug)]
struct Kept {
    index: u64,
    used: u64,
    rows: Arc<Vec<ServiceNode>>,
}

#[derive(Debug, Default)]
struct Table {
    answers: HashMap<Question, Kept>,
    clock: u64,
}

/// Answers that stay valid as long as their service's index, so that DNS and HTTP do not build an unchanged answer again.
/// Bounded: the least recently used one goes.
#[derive(Debug, Default)]
pub(super) struct Answers(Mutex<Table>);

impl Answers {
    fn get(&self, question: &Question, index: u64) -> Option<Arc<Vec<ServiceNode>>> {
        let mut table = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        table.clock += 1;
        let now = table.clock;
        let kept = table.answers.get_mut(question).filter(|kept| kept.index == index)?;
        kept.used = now;
        Some(kept.rows.clone())
    }

    fn put(&self, question: Question, index: u64, rows: &Arc<Vec<ServiceNode>>) {
        let mut table = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if table.answers.len() >= ANSWERS_MAX && !table.answers.contains_key(&question) {
            // A quarter goes at once, so that this scan is rare.
            let mut used: Vec<_> = table.answers.values().map(|kept| kept.used).collect();
            let (_, limit, _) = used.select_nth_unstable(ANSWERS_MAX / 4);
            let limit = *limit;
            table.answers.retain(|_, kept| kept.used > limit);
        }
        let used = table.clock;
        table.answers.insert(question, Kept { index, used, rows: rows.clone() });
    }
}

pub(super) async fn service_nodes(call: Call<'_>, asked: HealthServiceNodes) -> Result<Answer<Arc<Vec<ServiceNode>>>, Error> {
    let HealthServiceNodes { service, tags, passing } = asked;
    call.check_filter::<ServiceNode>()?;
    call.read(
        &[Key::Service(&service)],
        |state| state.service_index(&service),
        |state| {
            if call.is_narrowed() || !call.authorizer.allows(Access::ServiceRead(&service)) {
                let mut rows = rows(call, state, &service, &tags, passing).collect();
                call.filter(&mut rows)?;
                return Ok(Arc::new(rows));
            }
            let mut sorted: Vec<_> = tags.iter().map(|tag| tag.to_lowercase()).collect();
            sorted.sort_unstable();
            let question = (service.to_lowercase(), sorted, passing);
            let index = state.service_index(&service);
            let answers = &call.server.answers;
            let kept = answers.get(&question, index).unwrap_or_else(|| {
                let rows = Arc::new(every_row(state, &service, &tags, passing).collect());
                if state.service(&service).is_some() {
                    answers.put(question, index, &rows);
                }
                rows
            });
            let allowed = |row: &&ServiceNode| call.authorizer.allows(Access::NodeRead(&row.node.name));
            let all = kept.iter().filter(allowed).count() == kept.len();
            Ok(if all { kept } else { Arc::new(kept.iter().filter(allowed).cloned().collect()) })
        },
    )
    .await
}

/// The instances the caller may see and asked for, in the one order both catalog and health answer in.
pub(super) fn rows<'a>(
    call: Call<'a>,
    state: &'a State,
    service: &'a str,
    tags: &'a [String],
    passing: bool,
) -> impl Iterator<Item = ServiceNode> + 'a {
    let allowed = move |node: &str| call.authorizer.allows(Access::NodeRead(node)) && call.authorizer.allows(Access::ServiceRead(service));
    every_row(state, service, tags, passing).filter(move |row| call.wants_node(&row.node) && allowed(&row.node.name))
}

fn every_row<'a>(state: &'a State, service: &'a str, tags: &'a [String], passing: bool) -> impl Iterator<Item = ServiceNode> + 'a {
    let wanted = move |instance: &Instance| {
        let has = |tag: &String| instance.service.tags.iter().any(|t| t.to_lowercase() == tag.to_lowercase());
        tags.iter().all(has) && (!passing || instance.health <= Health::Passing)
    };
    state.instances_of(service).filter(move |(_, instance)| wanted(instance)).map(|(node, instance)| row(state, node, instance))
}

/// An instance with its node's checks first, then its own.
pub(super) fn row(state: &State, record: &NodeRecord, instance: &Instance) -> ServiceNode {
    let (node, service) = (&record.node, &instance.service);
    let checks = state.checks_of(&node.name, "").chain(state.checks_of(&node.name, &service.id));
    let checks = checks.map(|check| (**check).clone()).collect();
    ServiceNode { node: (**node).clone(), service: (**service).clone(), checks }
}
