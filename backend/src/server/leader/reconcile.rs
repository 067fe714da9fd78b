//! What must be written so that the catalog shows the gossip pool as it is. Pure.
//!
//! Contract: health checks, section serfHealth and member life cycle. Nodes without `serfHealth` are never touched.

use std::collections::BTreeSet;

use shared::{
    agent::{
        Member,
        status::{ALIVE, FAILED, LEAVING, LEFT},
    },
    catalog::{Deregistration, Registration},
    check::{Check, SERF_HEALTH},
    health::Status,
    service::Service,
};

use crate::store::{Command, State};

/// The commands that bring the catalog in step, none when it is.
pub(super) fn plan(state: &State, members: &[Member], datacenter: &str, own_name: &str, at_ms: u64) -> Vec<Command> {
    let ids: BTreeSet<String> = members.iter().map(id).collect();
    let own = |name: &str| name.eq_ignore_ascii_case(own_name);
    let mut commands = Vec::new();
    let mut known = BTreeSet::new();
    for member in members.iter().filter(|member| member.tags.get("dc").is_none_or(|dc| dc == datacenter)) {
        known.insert(member.name.to_lowercase());
        match member.status {
            ALIVE | LEAVING => {
                commands.extend(displaced(state, member, &ids).then(|| remove(&member.name, at_ms)));
                commands.extend(alive(state, member, datacenter, at_ms));
            }
            FAILED => commands.extend(failed(state, member, datacenter, at_ms)),
            LEFT if !own(&member.name) && state.node(&member.name).is_some() => commands.push(remove(&member.name, at_ms)),
            _ => {}
        }
    }
    let gone = |name: &&str| !known.contains(&name.to_lowercase()) && !own(name) && state.check(name, SERF_HEALTH).is_some();
    commands.extend(state.nodes().map(|record| record.node.name.as_str()).filter(gone).map(|name| remove(name, at_ms)));
    commands
}

/// Whether the catalog has the member's name for another node, which is not in the pool any more: one that lost its disk and came back.
fn displaced(state: &State, member: &Member, ids: &BTreeSet<String>) -> bool {
    let former = state.node(&member.name).map(|record| record.node.id.to_lowercase()).unwrap_or_default();
    state.check(&member.name, SERF_HEALTH).is_some() && !former.is_empty() && !id(member).is_empty() && !ids.contains(&former)
}

/// A member's UUID in lower case; empty when it tells none.
fn id(member: &Member) -> String {
    member.tags.get("id").map(|id| id.to_lowercase()).unwrap_or_default()
}

fn serf_health(name: &str, status: Status, output: &str) -> Check {
    Check {
        node: name.to_owned(),
        id: SERF_HEALTH.to_owned(),
        name: "Serf Health Status".to_owned(),
        status,
        output: output.to_owned(),
        ..Check::default()
    }
}

/// Registers the member with its check, and a server with its service, unless the catalog shows just that. What the agent
/// itself says about its node is left as it is.
fn alive(state: &State, member: &Member, datacenter: &str, at_ms: u64) -> Option<Command> {
    let check = serf_health(&member.name, Status::PASSING, "Agent alive and reachable");
    let service = server_service(member);
    let node = state.node(&member.name).map(|record| &record.node);
    let id = id_of(state, member);
    let same_node = node.is_some_and(|node| node.address == member.addr && node.id.eq_ignore_ascii_case(&id));
    let same_check = shows(state, &member.name, &check);
    let same_service = service.as_ref().is_none_or(|service| {
        let found = state.service_on(&member.name, &service.id).map(|instance| &instance.service);
        found.is_some_and(|found| Service { create_index: 0, modify_index: 0, ..(**found).clone() } == *service)
    });
    if same_node && same_check && same_service {
        return None;
    }
    let registration = Registration {
        id,
        node: member.name.clone(),
        address: member.addr.clone(),
        datacenter: datacenter.to_owned(),
        node_meta: node.map(|node| node.meta.clone()).unwrap_or_default(),
        service,
        check: Some(check),
        // A node that is not there yet may be registered by its own agent before this is applied.
        skip_node_update: same_node || node.is_none(),
        ..Registration::default()
    };
    Some(Command::Register { registration: Box::new(registration), transitions: Vec::new(), at_ms })
}

fn failed(state: &State, member: &Member, datacenter: &str, at_ms: u64) -> Option<Command> {
    let check = serf_health(&member.name, Status::CRITICAL, "Agent not live or unreachable");
    if shows(state, &member.name, &check) {
        return None;
    }
    let registration = Registration {
        id: id_of(state, member),
        node: member.name.clone(),
        address: member.addr.clone(),
        datacenter: datacenter.to_owned(),
        check: Some(check),
        skip_node_update: true,
        ..Registration::default()
    };
    Some(Command::Register { registration: Box::new(registration), transitions: Vec::new(), at_ms })
}

/// The member's UUID; for one that tells none, the UUID the catalog has.
fn id_of(state: &State, member: &Member) -> String {
    let told = member.tags.get("id").filter(|id| !id.is_empty()).cloned();
    told.or_else(|| state.node(&member.name).map(|record| record.node.id.clone())).unwrap_or_default()
}

fn shows(state: &State, node: &str, check: &Check) -> bool {
    state.check(node, &check.id).is_some_and(|found| found.status == check.status && found.output == check.output)
}

fn remove(name: &str, at_ms: u64) -> Command {
    let deregistration = Deregistration { node: name.to_owned(), ..Deregistration::default() };
    Command::Deregister { deregistration, at_ms }
}

/// The service every server has: `consul`, on its RPC port.
fn server_service(member: &Member) -> Option<Service> {
    if !member.is_server() {
        return None;
    }
    let tag = |name: &str| member.tag(name);
    let meta = [
        ("non_voter", (tag("nonvoter") == Some("1")).to_string()),
        ("raft_version", tag("raft_vsn").unwrap_or("3").to_owned()),
        ("serf_protocol_current", member.protocol_cur.to_string()),
        ("serf_protocol_max", member.protocol_max.to_string()),
        ("serf_protocol_min", member.protocol_min.to_string()),
        ("version", tag("build").unwrap_or_default().split(':').next().unwrap_or_default().to_owned()),
    ];
    Some(Service {
        id: "consul".to_owned(),
        name: "consul".to_owned(),
        port: tag("port").and_then(|port| port.parse().ok()).unwrap_or(0),
        meta: meta.into_iter().map(|(key, value)| (key.to_owned(), value)).collect(),
        ..Service::default()
    })
}

#[cfg(test)]
mod tests {
    use shared::catalog::NodeServices;

    use super::*;
    use crate::store::Store;

    fn member(name: &str, addr: &str) -> Member {
        let tags = [("role", "node"), ("dc", "dc1"), ("id", "11111111-1111-1111-1111-111111111111")];
        let tags = tags.into_iter().map(|(key, value)| (key.to_owned(), value.to_owned())).collect();
        Member { name: name.to_owned(), addr: addr.to_owned(), status: ALIVE, tags, ..Member::default() }
    }

    fn run(store: &Store, commands: Vec<Command>) {
        for command in commands {
            let index = store.state().index + 1;
            store.commit(&[(index, command)]);
        }
    }

    fn own_registration(member: &Member) -> Command {
        let registration = Registration {
            id: member.tags["id"].clone(),
            node: member.name.clone(),
            address: member.addr.clone(),
            datacenter: "dc1".to_owned(),
            tagged_addresses: [("lan".to_owned(), member.addr.clone())].into(),
            node_meta: [("rack".to_owned(), "r1".to_owned())].into(),
            ..Registration::default()
        };
        Command::Register { registration: Box::new(registration), transitions: Vec::new(), at_ms: 1 }
    }

    fn node(store: &Store) -> NodeServices {
        store.state().node_services("n1").expect("registered")
    }

    #[test]
    fn what_an_agent_says_about_its_node_survives_a_plan_made_before_it() {
        let (store, member) = (Store::new(), member("n1", "10.0.0.1"));
        let plan = plan(&store.state(), std::slice::from_ref(&member), "dc1", "s1", 1);
        run(&store, vec![own_registration(&member)]);
        run(&store, plan);
        assert_eq!(node(&store).node.meta["rack"], "r1");
        assert_eq!(node(&store).node.tagged_addresses["lan"], "10.0.0.1");
        assert!(store.state().check("n1", SERF_HEALTH).is_some());
    }

    #[test]
    fn a_member_with_a_new_address_is_updated_and_keeps_its_metadata() {
        let (store, old) = (Store::new(), member("n1", "10.0.0.1"));
        run(&store, vec![own_registration(&old)]);
        let new = [member("n1", "10.0.0.2")];
        run(&store, plan(&store.state(), &new, "dc1", "s1", 1));
        assert_eq!((node(&store).node.address.as_str(), node(&store).node.meta["rack"].as_str()), ("10.0.0.2", "r1"));
        assert!(plan(&store.state(), &new, "dc1", "s1", 1).is_empty(), "nothing left to do");
    }

    #[test]
    fn a_member_that_comes_back_as_another_node_takes_its_former_selfs_place() {
        let (store, old) = (Store::new(), member("n1", "10.0.0.1"));
        run(&store, plan(&store.state(), std::slice::from_ref(&old), "dc1", "s1", 1));
        run(&store, vec![own_registration(&old)]);
        let mut new = old.clone();
        new.tags.insert("id".to_owned(), "22222222-2222-2222-2222-222222222222".to_owned());
        let mut both = [old, new.clone()];
        both[0].name = "n0".to_owned();
        assert!(
            !plan(&store.state(), &both, "dc1", "s1", 1).iter().any(|command| matches!(command, Command::Deregister { .. })),
            "it lives"
        );
        run(&store, plan(&store.state(), std::slice::from_ref(&new), "dc1", "s1", 1));
        assert_eq!(node(&store).node.id, new.tags["id"]);
        assert!(plan(&store.state(), &[new], "dc1", "s1", 1).is_empty(), "nothing left to do");
    }

    #[test]
    fn members_of_other_datacenters_and_the_leader_itself_are_left_alone() {
        let store = Store::new();
        let mut other = member("far", "10.0.0.9");
        other.tags.insert("dc".to_owned(), "dc2".to_owned());
        assert!(plan(&store.state(), &[other], "dc1", "s1", 1).is_empty());
        run(&store, plan(&store.state(), &[member("s1", "10.0.0.1")], "dc1", "s1", 1));
        assert!(plan(&store.state(), &[], "dc1", "S1", 1).is_empty(), "its own node stays");
        assert_eq!(plan(&store.state(), &[], "dc1", "other", 1).len(), 1, "a node that left the pool goes");
    }
}
