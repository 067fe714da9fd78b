//! `/v1/internal/ui/*`, kept for tools that read what Consul's own UI reads. Contract: HTTP API, section "Tier 3 and internal".

use std::collections::BTreeMap;

use axum::response::Response;
use shared::{
    health::{Counts, Health},
    node::NodeDump,
    query::Consistency,
    ui::{CatalogOverview, Tally},
};

use super::{catalog::read_failed, error::Error, extract::Call, respond};
use crate::rpc::{self, Answer, TypedOperation};

pub(super) async fn nodes(call: Call) -> Result<Response, Error> {
    let answer = stale_without_leader(&call, rpc::UiNodes { node: String::new() }).await?;
    respond::internal_read(&call, &answer)
}

pub(super) async fn node(call: Call) -> Result<Response, Error> {
    let node = call.name("Missing node name")?;
    let Answer { meta, mut value } = stale_without_leader(&call, rpc::UiNodes { node }).await?;
    match value.pop() {
        Some(value) => respond::internal_read(&call, &Answer { meta, value }),
        None => Err(Error::not_found("")),
    }
}

pub(super) async fn services(call: Call) -> Result<Response, Error> {
    let answer = stale_without_leader(&call, rpc::UiServices {}).await?;
    respond::internal_read(&call, &answer)
}

pub(super) async fn catalog_overview(call: Call) -> Result<Response, Error> {
    let Answer { meta, value } = stale_without_leader(&call, rpc::UiNodes { node: String::new() }).await?;
    respond::internal_read(&call, &Answer { meta, value: overview(&value) })
}

/// These reads are for people who look what is wrong: without a leader any server's answer is better than none.
async fn stale_without_leader<O: TypedOperation + Clone>(call: &Call, operation: O) -> Result<Answer<O::Reply>, Error> {
    let mut request = call.read()?;
    match call.context.router.call(request.clone(), operation.clone()).await {
        Err(rpc::Error::NoLeader) if request.options.consistency == Consistency::Default => {
            request.options.consistency = Consistency::Stale;
            call.context.router.call(request, operation).await.map_err(read_failed)
        }
        other => other.map_err(read_failed),
    }
}

fn overview(nodes: &[NodeDump]) -> CatalogOverview {
    let mut of_nodes = Counts::default();
    let (mut of_services, mut of_checks) = (BTreeMap::<&str, Counts>::new(), BTreeMap::<&str, Counts>::new());
    for node in nodes {
        let of_node = || node.checks.iter().filter(|check| check.service_id.is_empty());
        of_nodes.add(Health::of_checks(of_node()));
        for service in &node.services {
            let own = node.checks.iter().filter(|check| check.service_id == service.id);
            of_services.entry(&service.name).or_default().add(Health::of_checks(of_node().chain(own)));
        }
        for check in &node.checks {
            of_checks.entry(&check.name).or_default().add(Health::of_check(check));
        }
    }
    let rows = |counts: BTreeMap<&str, Counts>| counts.into_iter().map(|(name, counts)| tally(name, &counts)).collect();
    CatalogOverview { nodes: vec![tally("", &of_nodes)], services: rows(of_services), checks: rows(of_checks) }
}

/// This answer knows three states: no checks count as passing, maintenance as critical.
fn tally(name: &str, counts: &Counts) -> Tally {
    Tally {
        name: name.to_owned(),
        total: counts.total,
        passing: counts.passing + counts.none,
        warning: counts.warning,
        critical: counts.critical + counts.maintenance,
    }
}

#[cfg(test)]
mod tests {
    use shared::{check::Check, health::Status, service::Service};

    use super::*;

    #[test]
    fn the_overview_counts_each_thing_by_its_worst_check() {
        let check = |id: &str, service_id: &str, status: Status| Check {
            id: id.to_owned(),
            name: id.to_owned(),
            service_id: service_id.to_owned(),
            status,
            ..Check::default()
        };
        let service = |id: &str| Service { id: id.to_owned(), name: "web".to_owned(), ..Service::default() };
        let nodes = [
            NodeDump {
                services: vec![service("w1"), service("w2")],
                checks: vec![check("serf", "", Status::PASSING), check("http", "w1", Status::CRITICAL)],
                ..NodeDump::default()
            },
            NodeDump { services: vec![service("w3")], checks: vec![check("serf", "", Status::WARNING)], ..NodeDump::default() },
        ];
        let found = overview(&nodes);
        let row = |tally: &Tally| (tally.name.clone(), tally.total, tally.passing, tally.warning, tally.critical);
        assert_eq!(found.nodes.iter().map(row).collect::<Vec<_>>(), [(String::new(), 2, 1, 1, 0)]);
        assert_eq!(found.services.iter().map(row).collect::<Vec<_>>(), [("web".to_owned(), 3, 1, 1, 1)]);
        assert_eq!(found.checks.iter().map(row).collect::<Vec<_>>(), [("http".to_owned(), 1, 0, 0, 1), ("serf".to_owned(), 2, 1, 1, 0)]);
    }
}
