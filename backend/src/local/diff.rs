//! What the catalog has to be told: the difference between it and this agent, and the calls that remove it. Pure.
//!
//! Contract: health checks, section "Anti-entropy". Local definitions win; what the catalog has on this node and the agent does not
//! hold goes, except the service `consul` and the check `serfHealth`.

use std::collections::BTreeMap;

use shared::{
    catalog::{Deregistration, NodeServices, Registration},
    check::{Check, SERF_HEALTH},
    node::Node,
    service::{Proxy, Service},
};

use super::{Options, state::State};
use crate::rpc;

/// The service every server has; the leader looks after it.
const SERVERS: &str = "consul";

/// One call to make.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Action {
    /// Register the node itself.
    Node,
    /// Deregister a service that is gone here.
    DeregisterService(String),
    /// Deregister a check that is gone here.
    DeregisterCheck(String),
    /// Register a service with its own checks.
    Service(String),
    /// Register a check.
    Check(String),
}

/// The calls to make, in the order of their phases: the calls of one phase may be made side by side.
pub(super) fn plan(state: &State) -> [Vec<Action>; 3] {
    let node = if state.node_synced { Vec::new() } else { vec![Action::Node] };
    let gone_services = state.gone_services.iter().cloned().map(Action::DeregisterService);
    let gone_checks = state.gone_checks.iter().cloned().map(Action::DeregisterCheck);
    let services = state.services.values().filter(|entry| entry.sync.dirty).map(|entry| Action::Service(entry.service.id.clone()));
    let rides =
        |service_id: &str, token: &str| state.services.get(service_id).is_some_and(|service| service.sync.dirty && service.token == token);
    let checks = state.checks.values().filter(|entry| entry.sync.dirty && !rides(&entry.check.service_id, &entry.definition.token));
    let checks = checks.map(|entry| Action::Check(entry.check.id.clone())).collect();
    [node, gone_services.chain(gone_checks).chain(services).collect(), checks]
}

/// A registration and what it brings in step, if nothing changes meanwhile.
#[derive(Clone, Debug)]
pub(super) struct Call {
    pub(super) token: String,
    pub(super) register: rpc::Register,
    service: Option<(String, u64)>,
    checks: Vec<(String, u64, u64)>,
}

/// The registration that an action stands for; `None` when it has nothing to register any more.
pub(super) fn registration(state: &State, options: &Options, action: &Action) -> Option<Call> {
    let registration = Registration {
        id: options.node_id.clone(),
        node: options.node_name.clone(),
        address: options.address.clone(),
        datacenter: options.datacenter.clone(),
        tagged_addresses: options.tagged_addresses.clone(),
        node_meta: options.meta.clone(),
        skip_node_update: state.node_synced,
        ..Registration::default()
    };
    let mut call =
        Call { token: String::new(), register: rpc::Register { registration, transitions: Vec::new() }, service: None, checks: Vec::new() };
    match action {
        Action::Node => {}
        Action::Service(id) => {
            let entry = state.services.get(id)?;
            call.token.clone_from(&entry.token);
            call.register.registration.service = Some(entry.service.clone());
            call.service = Some((id.clone(), entry.sync.revision));
            let own = |check: &&super::state::CheckEntry| {
                check.sync.dirty && check.check.service_id == *id && check.definition.token == entry.token
            };
            for check in state.checks.values().filter(own) {
                call.add_check(check);
            }
        }
        Action::Check(id) => {
            let entry = state.checks.get(id)?;
            call.token.clone_from(&entry.definition.token);
            call.add_check(entry);
        }
        Action::DeregisterService(_) | Action::DeregisterCheck(_) => return None,
    }
    Some(call)
}

impl Call {
    fn add_check(&mut self, entry: &super::state::CheckEntry) {
        let transitions = entry.transitions.iter().map(|transition| (entry.check.id.clone(), transition.clone()));
        self.register.transitions.extend(transitions);
        let sent = entry.transitions_gone + entry.transitions.len() as u64;
        self.checks.push((entry.check.id.clone(), entry.sync.revision, sent));
        self.register.registration.checks.push(entry.check.clone());
    }

    /// The catalog took it.
    pub(super) fn done(&self, state: &mut State) {
        state.node_synced |= !self.register.registration.skip_node_update;
        if let Some((id, revision)) = &self.service
            && let Some(entry) = state.services.get_mut(id)
        {
            entry.sync.dirty &= entry.sync.revision != *revision;
        }
        for (id, revision, sent) in &self.checks {
            let Some(entry) = state.checks.get_mut(id) else { continue };
            entry.sync.dirty &= entry.sync.revision != *revision;
            while entry.transitions_gone < *sent && entry.transitions.pop_front().is_some() {
                entry.transitions_gone += 1;
            }
        }
    }

    /// The catalog will not take it, whatever is tried: the next full pass asks again.
    pub(super) fn refused(&self, state: &mut State) {
        if let Some((id, _)) = &self.service
            && let Some(entry) = state.services.get_mut(id)
        {
            entry.sync.dirty = false;
        }
        for (id, ..) in &self.checks {
            if let Some(entry) = state.checks.get_mut(id) {
                entry.sync.dirty = false;
            }
        }
    }
}

/// The deregistration that an action stands for.
pub(super) fn deregistration(options: &Options, action: &Action) -> Option<Deregistration> {
    let (service_id, check_id) = match action {
        Action::DeregisterService(id) => (id.clone(), String::new()),
        Action::DeregisterCheck(id) => (String::new(), id.clone()),
        _ => return None,
    };
    Some(Deregistration { node: options.node_name.clone(), datacenter: options.datacenter.clone(), service_id, check_id })
}

/// What the catalog has on this node: `None` when it does not know the node.
#[derive(Clone, Debug, Default)]
pub(super) struct Remote {
    pub(super) services: Option<NodeServices>,
    pub(super) checks: Vec<Check>,
}

/// Marks everything that differs for the next calls. Tags that may be changed in the catalog are copied from there. Answers
/// whether they changed anything here.
pub(super) fn compare(state: &mut State, options: &Options, remote: Remote) -> bool {
    let known = remote.services.unwrap_or_default();
    state.node_synced = same_node(&known.node, options);
    let mut tags_changed = false;
    let mut remote_services = known.services;
    let held: Vec<String> = state.services.keys().cloned().collect();
    for id in held {
        let theirs = remote_services.remove(&id);
        let Some(entry) = state.services.get_mut(&id) else { continue };
        if let Some(theirs) = &theirs
            && entry.service.enable_tag_override
            && entry.service.tags != theirs.tags
        {
            let service = Service { tags: theirs.tags.clone(), ..entry.service.clone() };
            let (token, source) = (entry.token.clone(), entry.source);
            state.put_service(service, &token, source);
            tags_changed = true;
        }
        let Some(entry) = state.services.get_mut(&id) else { continue };
        entry.sync.dirty = theirs.is_none_or(|theirs| !same_service(&entry.service, &theirs));
    }
    let surplus: Vec<String> = remote_services.into_keys().filter(|id| id != SERVERS).collect();
    state.gone_services = surplus.into_iter().collect();

    let mut remote_checks: BTreeMap<String, Check> = remote.checks.into_iter().map(|check| (check.id.clone(), check)).collect();
    for (id, entry) in &mut state.checks {
        let theirs = remote_checks.remove(id);
        entry.sync.dirty = theirs.is_none_or(|theirs| !same_check(&entry.check, &theirs, entry.deferred.is_some()));
    }
    let with_service = |check: &Check| state.gone_services.contains(&check.service_id);
    let surplus = remote_checks.into_values().filter(|check| check.id != SERF_HEALTH && !with_service(check));
    // The leader looks after its own service's checks.
    state.gone_checks = surplus.filter(|check| check.service_id != SERVERS).map(|check| check.id).collect();
    tags_changed
}

fn same_node(theirs: &Node, options: &Options) -> bool {
    theirs.id == options.node_id
        && theirs.address == options.address
        && theirs.tagged_addresses == options.tagged_addresses
        && theirs.meta == options.meta
}

fn same_service(ours: &Service, theirs: &Service) -> bool {
    let comparable = |service: &Service| Service { create_index: 0, modify_index: 0, proxy: Proxy::default(), ..service.clone() };
    comparable(ours) == comparable(theirs) && comparable_proxy(&ours.proxy) == comparable_proxy(&theirs.proxy)
}

/// An absent object and an empty one are the same.
fn comparable_proxy(proxy: &Proxy) -> Proxy {
    let mut proxy = proxy.clone();
    for part in [&mut proxy.mesh_gateway, &mut proxy.expose] {
        if part.as_object().is_some_and(serde_json::Map::is_empty) {
            *part = serde_json::Value::Null;
        }
    }
    proxy
}

fn same_check(ours: &Check, theirs: &Check, ignore_output: bool) -> bool {
    let comparable = |check: &Check| Check {
        create_index: 0,
        modify_index: 0,
        output: if ignore_output { String::new() } else { check.output.clone() },
        ..check.clone()
    };
    comparable(ours) == comparable(theirs)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::local::definition::{self, ScriptPolicy, Source};

    fn options() -> Options {
        Options { node_name: "n".to_owned(), node_id: "id".to_owned(), address: "10.0.0.1".to_owned(), ..Options::default() }
    }

    fn held(json: &str) -> State {
        let mut state = State::new("n");
        let scripts = ScriptPolicy { api: true, file: true };
        let planned =
            definition::service(serde_json::from_str(json).expect("a registration"), Source::Api, scripts).expect("a valid registration");
        state.put_service(planned.service, &planned.token, Source::Api);
        for check in planned.checks {
            state.put_check(check, Source::Api);
        }
        state
    }

    /// The catalog after every registration the agent has to make.
    fn learned(state: &mut State, options: &Options) -> Remote {
        let mut remote = Remote {
            services: Some(NodeServices {
                node: Node { id: options.node_id.clone(), address: options.address.clone(), ..Node::default() },
                ..NodeServices::default()
            }),
            ..Remote::default()
        };
        for action in plan(state).concat() {
            let call = registration(state, options, &action).expect("a registration");
            let sent = call.register.registration.clone();
            call.done(state);
            remote.checks.extend(sent.checks);
            if let (Some(service), Some(known)) = (sent.service, remote.services.as_mut()) {
                known.services.insert(service.id.clone(), service);
            }
        }
        remote
    }

    const WEB: &str = r#"{"Name":"web","Tags":["a"],"Check":{"TTL":"1h"}}"#;

    #[test]
    fn a_service_and_its_checks_go_in_one_call_after_the_node() {
        let mut state = held(WEB);
        let node = definition::check(
            serde_json::from_str(r#"{"Name":"disk","TTL":"1h"}"#).expect("json"),
            Source::Api,
            ScriptPolicy { api: true, file: true },
        );
        state.put_check(node.expect("valid"), Source::Api);
        let [first, second, third] = plan(&state);
        assert_eq!((first, second), (vec![Action::Node], vec![Action::Service("web".to_owned())]));
        assert_eq!(third, [Action::Check("disk".to_owned())]);
        let call = registration(&state, &options(), &Action::Service("web".to_owned())).expect("a call");
        assert_eq!(call.register.registration.checks.len(), 1);
    }

    #[test]
    fn nothing_is_to_be_done_when_the_catalog_agrees() {
        let (mut state, options) = (held(WEB), options());
        let remote = learned(&mut state, &options);
        assert_eq!(plan(&state).concat(), []);
        assert!(!compare(&mut state, &options, remote));
        assert_eq!(plan(&state).concat(), []);
    }

    #[test]
    fn what_was_deleted_or_edited_behind_the_agents_back_is_registered_again() {
        let options = options();
        type Edit = fn(&mut Remote);
        let edits: [(Edit, Vec<Action>); 5] = [
            (|r| r.services = None, vec![Action::Node, Action::Service("web".to_owned())]),
            (|r| r.checks.clear(), vec![Action::Check("service:web".to_owned())]),
            (|r| r.checks[0].status = shared::health::Status::PASSING, vec![Action::Check("service:web".to_owned())]),
            (
                |r| r.services.as_mut().expect("known").services.get_mut("web").expect("web").port = 9,
                vec![Action::Service("web".to_owned())],
            ),
            (|r| r.services.as_mut().expect("known").node.address = "x".to_owned(), vec![Action::Node]),
        ];
        for (at, (edit, expected)) in edits.into_iter().enumerate() {
            let mut state = held(WEB);
            let mut remote = learned(&mut state, &options);
            edit(&mut remote);
            compare(&mut state, &options, remote);
            assert_eq!(plan(&state).concat(), expected, "edit {at}");
        }
    }

    #[test]
    fn what_the_agent_does_not_hold_goes_except_what_the_leader_looks_after() {
        let (mut state, options) = (held(WEB), options());
        let mut remote = learned(&mut state, &options);
        let known = remote.services.as_mut().expect("known");
        for id in ["consul", "stray"] {
            known.services.insert(id.to_owned(), Service { id: id.to_owned(), ..Service::default() });
        }
        for (id, service_id) in [("serfHealth", ""), ("old", ""), ("stray-check", "stray")] {
            remote.checks.push(Check { id: id.to_owned(), service_id: service_id.to_owned(), ..Check::default() });
        }
        compare(&mut state, &options, remote);
        let expected = [Action::DeregisterService("stray".to_owned()), Action::DeregisterCheck("old".to_owned())];
        assert_eq!(plan(&state).concat(), expected);
    }

    #[test]
    fn tags_may_be_changed_in_the_catalog_only_with_tag_override() {
        for (json, expected) in [
            (r#"{"Name":"web","Tags":["a"],"EnableTagOverride":true,"Check":{"TTL":"1h"}}"#, "b"),
            (r#"{"Name":"web","Tags":["a"],"Check":{"TTL":"1h"}}"#, "a"),
        ] {
            let (mut state, options) = (held(json), options());
            let mut remote = learned(&mut state, &options);
            remote.services.as_mut().expect("known").services.get_mut("web").expect("web").tags = vec!["b".to_owned()];
            for check in &mut remote.checks {
                check.service_tags = vec!["b".to_owned()];
            }
            let changed = compare(&mut state, &options, remote);
            assert_eq!((state.services["web"].service.tags[0].as_str(), changed), (expected, expected == "b"));
            assert_eq!(plan(&state).concat().is_empty(), expected == "b");
        }
    }

    #[test]
    fn a_change_during_a_sync_is_not_taken_for_synced() {
        let (mut state, options) = (held(WEB), options());
        let call = registration(&state, &options, &Action::Service("web".to_owned())).expect("a call");
        state.force_sync("service:web");
        call.done(&mut state);
        assert!(!state.services["web"].sync.dirty);
        assert!(state.checks["service:web"].sync.dirty);
    }
}
