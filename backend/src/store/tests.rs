//! The rules of the state machine, one test a rule.

use shared::{catalog::Deregistration, catalog::Registration, check::Check, health::Health, kv, service::Service};

use super::*;

const A: &str = "aaaaaaaa-aaaa-aaaa-aaaa-aaaaaaaaaaaa";
const B: &str = "bbbbbbbb-bbbb-bbbb-bbbb-bbbbbbbbbbbb";

fn node(name: &str) -> Registration {
    Registration { node: name.to_owned(), address: "10.0.0.1".to_owned(), datacenter: "dc1".to_owned(), ..Registration::default() }
}

fn service(id: &str, name: &str) -> Service {
    Service { id: id.to_owned(), name: name.to_owned(), ..Service::default() }
}

fn check(id: &str, service_id: &str, status: &str) -> Check {
    Check { id: id.to_owned(), name: id.to_owned(), service_id: service_id.to_owned(), status: status.into(), ..Check::default() }
}

fn register(registration: Registration) -> Command {
    Command::Register { registration: Box::new(registration), transitions: Vec::new(), at_ms: 1000 }
}

fn deregister(node: &str, service_id: &str, check_id: &str) -> Command {
    let (node, service_id, check_id) = (node.to_owned(), service_id.to_owned(), check_id.to_owned());
    Command::Deregister { deregistration: Deregistration { node, service_id, check_id, datacenter: String::new() }, at_ms: 2000 }
}

fn put(op: kv::Op, key: &str, value: &str) -> Command {
    Command::Kv { write: kv::Write { op, key: key.to_owned(), flags: 0, value: value.as_bytes().to_vec() }, at_ms: 1000 }
}

/// A store that counts its own indexes.
struct Bench {
    store: Store,
    next: u64,
}

impl Bench {
    fn new() -> Self {
        Self { store: Store::new(), next: 10 }
    }

    fn run(&mut self, command: Command) -> Reply {
        self.next += 1;
        self.store.commit(&[(self.next, command)]).remove(0)
    }

    fn done(&mut self, command: Command) {
        assert_eq!(self.run(command), Reply::Done(true));
    }

    fn refused(&mut self, command: Command, reason: &str) {
        let before = self.store.state();
        assert_eq!(self.run(command), Reply::Refused(reason.to_owned()));
        assert_eq!(before.indexes, self.store.state().indexes, "a refused command changes nothing");
    }

    fn state(&self) -> Arc<State> {
        self.store.state()
    }
}

fn web(node_name: &str, status: &str) -> Registration {
    Registration { service: Some(service("web", "web")), check: Some(check("c", "web", status)), ..node(node_name) }
}

#[test]
fn a_registration_creates_node_service_and_check_at_its_index() {
    let mut bench = Bench::new();
    bench.done(register(web("n1", "passing")));
    let state = bench.state();
    assert_eq!(state.node("N1").expect("case is not regarded").node.create_index, 11);
    assert_eq!(state.service_on("n1", "web").expect("registered").service.modify_index, 11);
    assert_eq!(state.check("n1", "c").expect("registered").service_name, "web");
    assert_eq!(state.service("WEB").expect("case is not regarded").health, Health::Passing);
    assert_eq!(state.service_index("web"), 11);
}

#[test]
fn an_identical_registration_changes_no_index() {
    let mut bench = Bench::new();
    bench.done(register(web("n1", "passing")));
    let before = bench.state();
    bench.done(register(web("n1", "passing")));
    let after = bench.state();
    assert_eq!((before.indexes, before.service_index("web")), (after.indexes, after.service_index("web")));
    assert_eq!(after.index, 12);
}
