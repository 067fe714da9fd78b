//! What the node page says, as pure functions.

use shared::{
    check::{Check, History},
    health::Health,
    node::NodeDump,
    service::Service,
};

use crate::{
    components::lanes::Record,
    format,
    pages::service::{
        check_title,
        view::{rank, record},
    },
};

/// The node in a few words.
pub(crate) fn headline(node: &NodeDump) -> String {
    let of = |health: Health| node.checks.iter().filter(|c| Health::of_check(c) == health).count() as u32;
    match Health::of_node(&node.checks) {
        Health::Maintenance => "In maintenance".to_owned(),
        Health::Critical => format!("{} failing", format::plural(of(Health::Critical), "check", "checks")),
        Health::Warning => format!("{} warning", format::plural(of(Health::Warning), "check", "checks")),
        Health::Passing => "All checks passing".to_owned(),
        Health::None => "No checks".to_owned(),
    }
}

/// The node's instances with their health, worst first. A node's own checks count for each.
pub(crate) fn instances(node: &NodeDump) -> Vec<(Service, Health)> {
    let health =
        |service: &Service| Health::of_checks(node.checks.iter().filter(|c| c.service_id.is_empty() || c.service_id == service.id));
    let mut out: Vec<_> = node.services.iter().map(|s| (s.clone(), health(s))).collect();
    crate::order::sort_by(&mut out, |a, b| (rank(a.1), &a.0.id).cmp(&(rank(b.1), &b.0.id)));
    out
}

/// Every address by purpose, the main one first.
pub(crate) fn addresses(node: &NodeDump) -> Vec<(String, String)> {
    let main = (!node.address.is_empty()).then(|| ("address".to_owned(), node.address.clone()));
    main.into_iter().chain(node.tagged_addresses.clone()).collect()
}

/// A lane for each check, worst first, the node's own last.
pub(crate) fn lanes(checks: &[Check], histories: &[History]) -> Vec<(String, Record)> {
    let mut checks: Vec<&Check> = checks.iter().collect();
    crate::order::sort_by(&mut checks, |one, other| {
        let key = |c: &_| (rank(Health::of_check(c)), c.service_id.is_empty(), c.name.clone(), c.id.clone());
        key(one).cmp(&key(other))
    });
    let of = |c: &Check| histories.iter().find(|h| h.check_id == c.id).map(record).unwrap_or_default();
    checks
        .into_iter()
        .map(|c| (if c.service_id.is_empty() { check_title(c) } else { format!("{}: {}", c.service_id, check_title(c)) }, of(c)))
        .collect()
}

#[cfg(test)]
mod tests {
    use shared::health::Status;

    use super::*;

    fn check_of(id: &str, service: &str, status: Status) -> Check {
        Check { id: id.to_owned(), name: id.to_owned(), service_id: service.to_owned(), status, ..Check::default() }
    }

    #[test]
    fn instances_carry_their_own_and_the_nodes_checks() {
        let service = |id: &str| Service { id: id.to_owned(), ..Service::default() };
        let mut node = NodeDump {
            services: vec![service("a"), service("b")],
            checks: vec![check_of("serfHealth", "", Status::PASSING), check_of("x", "b", Status::WARNING)],
            ..NodeDump::default()
        };
        let told = |node: &NodeDump| instances(node).into_iter().map(|(s, h)| format!("{} {}", s.id, h.as_str())).collect::<Vec<_>>();
        assert_eq!(told(&node), ["b warning", "a passing"]);
        assert_eq!(headline(&node), "1 check warning");
        node.checks[0].status = Status::CRITICAL;
        assert_eq!(told(&node), ["a critical", "b critical"]);
    }

    #[test]
    fn lanes_name_the_instance_a_check_belongs_to() {
        let checks = [check_of("serfHealth", "", Status::PASSING), check_of("ping", "web", Status::CRITICAL)];
        let names: Vec<_> = lanes(&checks, &[]).into_iter().map(|l| l.0).collect();
        assert_eq!(names, ["web: ping", "Node liveness"]);
    }
}
