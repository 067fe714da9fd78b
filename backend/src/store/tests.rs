//! The rules of the state machine, one test a rule.

use std::collections::BTreeMap;

use proptest::prelude::*;
use shared::{
    catalog::{Deregistration, Registration},
    changes::{Kind, Topic},
    check::{Check, Definition, NODE_MAINTENANCE, SERF_HEALTH, Transition},
    go,
    health::{Counts, Health},
    kv,
    service::Service,
};

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

#[test]
fn a_batch_is_published_once_and_answers_in_order() {
    let store = Store::new();
    let batch = [(5, put(kv::Op::Set, "a", "1")), (6, put(kv::Op::Cas(9), "a", "2")), (7, put(kv::Op::Cas(5), "a", "3"))];
    assert_eq!(store.commit(&batch), [Reply::Done(true), Reply::Done(false), Reply::Done(true)]);
    assert_eq!((store.state().index, store.state().kv("a").expect("set").modify_index), (7, 7));
}

#[test]
fn refusals_of_registrations_use_the_texts_of_consul() {
    let mut bench = Bench::new();
    bench.done(register(Registration { id: A.to_owned(), ..web("n1", "passing") }));
    bench.done(register(Registration { check: Some(check(SERF_HEALTH, "", "passing")), skip_node_update: true, ..node("n1") }));
    let mut check_refused = |registration: Registration, reason: &str| bench.refused(register(registration), reason);
    check_refused(node(""), "Must provide node");
    check_refused(Registration { address: String::new(), ..node("n2") }, "Must provide address if SkipNodeUpdate is not set");
    check_refused(Registration { id: "short".to_owned(), ..node("n2") }, "Bad node ID: uuid string is wrong length");
    let id = A.replace('-', "a");
    check_refused(Registration { id, ..node("n2") }, "Bad node ID: uuid is improperly formatted");
    let id = A.replacen('a', "z", 1);
    check_refused(Registration { id, ..node("n2") }, "Bad node ID: encoding/hex: invalid byte: U+007A 'z'");
    check_refused(Registration { service: Some(service("x", "")), ..node("n2") }, "Must provide service name with ID");
    let empty = "failed inserting service: failed inserting service: object missing primary index";
    check_refused(Registration { service: Some(service("", "")), ..node("n2") }, empty);
    let any = Service { address: "0.0.0.0".to_owned(), ..service("x", "x") };
    check_refused(Registration { service: Some(any), ..node("n2") }, "Invalid service address");
    let missing = "failed inserting check: Missing service registration on node \"n1\"";
    check_refused(Registration { check: Some(check("x", "nope", "passing")), ..node("n1") }, missing);
    let unnamed = "failed inserting check: failed inserting check: object missing primary index on node \"n1\"";
    check_refused(Registration { check: Some(check("", "", "passing")), ..node("n1") }, unnamed);
    let foreign = Check { node: "zz".to_owned(), ..check("x", "", "passing") };
    check_refused(Registration { check: Some(foreign), ..node("n1") }, "check node \"zz\" does not match node \"n1\"");
    let reserved = format!(
        "failed inserting node: Error while renaming Node ID: \"{B}\": Node name N1 is reserved by node {A} with name n1 (10.0.0.1)"
    );
    check_refused(Registration { id: B.to_owned(), ..node("N1") }, &reserved);
    bench.refused(deregister("", "", ""), "Must provide node");
}

#[test]
fn a_name_conflict_when_renaming_names_the_address_too() {
    let mut bench = Bench::new();
    let alive = Some(check(SERF_HEALTH, "", "passing"));
    bench.done(register(Registration { id: A.to_owned(), check: alive, ..node("n1") }));
    bench.done(register(Registration { id: B.to_owned(), ..node("n2") }));
    let reason = format!(
        "failed inserting node: Error while renaming Node ID: \"{B}\" (10.0.0.1): Node name n1 is reserved by node {A} with name n1 (10.0.0.1)"
    );
    bench.refused(register(Registration { id: B.to_owned(), ..node("n1") }), &reason);
}

#[test]
fn a_node_that_is_not_alive_gives_its_name_to_another_uuid() {
    let mut bench = Bench::new();
    bench.done(register(Registration { id: A.to_owned(), ..node("n1") }));
    bench.done(register(Registration { id: B.to_owned(), ..node("n1") }));
    assert_eq!(bench.state().node("n1").expect("there").node.id, B);
    assert!(bench.state().node(A).is_none());
    assert!(bench.state().node(B).is_some(), "a node is found by UUID");
}

#[test]
fn a_known_uuid_under_a_new_name_renames_the_node_and_drops_what_was_on_it() {
    let mut bench = Bench::new();
    bench.done(register(Registration { id: A.to_owned(), ..web("n1", "passing") }));
    bench.done(register(Registration { id: A.to_owned(), ..node("n2") }));
    let state = bench.state();
    let renamed = &state.node("n2").expect("renamed").node;
    assert_eq!((renamed.create_index, renamed.modify_index), (11, 12));
    assert!(state.node("n1").is_none() && state.check("n1", "c").is_none() && state.service("web").is_none());
    assert_eq!(state.service_index("web"), 12);
}

#[test]
fn registering_again_replaces_the_whole_node_unless_told_to_skip_it() {
    let mut bench = Bench::new();
    let meta = BTreeMap::from([("a".to_owned(), "b".to_owned())]);
    bench.done(register(Registration { node_meta: meta.clone(), tagged_addresses: meta.clone(), ..node("n1") }));
    bench.done(register(Registration { skip_node_update: true, address: String::new(), ..node("n1") }));
    assert_eq!(bench.state().node("n1").expect("there").node.meta, meta);
    bench.done(register(node("n1")));
    let state = bench.state();
    let node = &state.node("n1").expect("there").node;
    assert!(node.meta.is_empty() && node.tagged_addresses.is_empty());
}

#[test]
fn a_check_gets_what_its_registration_left_out() {
    let mut bench = Bench::new();
    let definition = Definition { http: "http://x".to_owned(), interval: go::Duration::from_secs(10), ..Definition::default() };
    let given = Check { name: "named".to_owned(), service_id: "web".to_owned(), definition, ..Check::default() };
    let tagged = Service { tags: vec!["t".to_owned()], ..service("", "web") };
    bench.done(register(Registration { service: Some(tagged), checks: vec![given], ..node("n1") }));
    let state = bench.state();
    let check = state.check("n1", "named").expect("its id is its name");
    assert_eq!((check.status.as_str(), check.kind.as_str(), check.node.as_str()), ("critical", "http", "n1"));
    assert_eq!((check.service_name.as_str(), &check.service_tags[..]), ("web", &["t".to_owned()][..]));
}

#[test]
fn an_odd_status_is_stored_as_given_and_counts_as_critical() {
    let mut bench = Bench::new();
    bench.done(register(web("n1", "weird")));
    assert_eq!(bench.state().check("n1", "c").expect("there").status.as_str(), "weird");
    assert_eq!(bench.state().service("web").expect("there").health, Health::Critical);
}

#[test]
fn deregistering_takes_what_belongs_to_it() {
    let mut bench = Bench::new();
    let registration = Registration { checks: vec![check("nodecheck", "", "passing")], ..web("n1", "passing") };
    bench.done(register(registration.clone()));
    bench.done(deregister("N1", "web", ""));
    assert!(bench.state().check("n1", "c").is_none() && bench.state().check("n1", "nodecheck").is_some());
    bench.done(deregister("n1", "", "nodecheck"));
    assert!(bench.state().check("n1", "nodecheck").is_none() && bench.state().node("n1").is_some());
    bench.done(register(registration));
    bench.done(deregister("n1", "", ""));
    let state = bench.state();
    assert!(state.node("n1").is_none() && state.checks().next().is_none() && state.services().next().is_none());
    let before = state.indexes;
    bench.done(deregister("n1", "", ""));
    assert_eq!(bench.state().indexes, before, "nothing to remove changes nothing");
}

#[test]
fn the_index_of_a_service_follows_what_bears_on_it_and_nothing_else() {
    let mut bench = Bench::new();
    bench.done(register(web("n1", "passing")));
    bench.done(register(Registration { service: Some(service("db", "db")), ..node("n2") }));
    bench.done(put(kv::Op::Set, "a", "1"));
    assert_eq!(bench.state().service_index("web"), 11);
    let mut raised = |command: Command, expected: bool| {
        let before = bench.state().service_index("web");
        bench.done(command);
        assert_eq!(bench.state().service_index("web") > before, expected);
    };
    raised(register(web("n1", "critical")), true);
    raised(register(Registration { check: Some(check("nodecheck", "", "passing")), ..node("n1") }), true);
    raised(register(Registration { address: "10.9.9.9".to_owned(), ..node("n1") }), true);
    raised(register(Registration { address: "10.9.9.9".to_owned(), ..node("n2") }), false);
    raised(deregister("n2", "db", ""), false);
    raised(deregister("n1", "", "nodecheck"), true);
    raised(deregister("n1", "web", ""), true);
    assert_eq!(bench.state().service_index("web"), bench.state().service_index("never seen"));
}

#[test]
fn an_instance_that_changes_its_name_leaves_the_old_service() {
    let mut bench = Bench::new();
    bench.done(register(web("n1", "passing")));
    bench.done(register(Registration { service: Some(service("web", "other")), ..node("n1") }));
    let state = bench.state();
    assert!(state.service("web").is_none());
    assert_eq!(state.service("other").expect("there").health, Health::Passing, "its check stays");
    assert_eq!(state.node("n1").expect("there").services, 1);
}

#[test]
fn maintenance_of_a_node_bears_on_its_services() {
    let mut bench = Bench::new();
    bench.done(register(web("n1", "passing")));
    bench.done(register(Registration { check: Some(check(NODE_MAINTENANCE, "", "critical")), ..node("n1") }));
    assert_eq!(bench.state().service("web").expect("there").health, Health::Maintenance);
    bench.done(deregister("n1", "", NODE_MAINTENANCE));
    assert_eq!(bench.state().service("web").expect("there").health, Health::Passing);
}

#[test]
fn keys_follow_the_rules_of_conditional_writes() {
    let mut bench = Bench::new();
    let mut check =
        |op: kv::Op, key: &str, expected: bool| assert_eq!(bench.run(put(op.clone(), key, "v")), Reply::Done(expected), "{op:?} {key}");
    check(kv::Op::Cas(5), "a", false);
    check(kv::Op::Cas(0), "a", true); // index 12
    check(kv::Op::Cas(0), "a", false);
    check(kv::Op::Set, "a", true); // same value: still 12
    check(kv::Op::Cas(12), "a", true);
    check(kv::Op::DeleteCas(0), "a", false);
    check(kv::Op::DeleteCas(7), "missing", true);
    check(kv::Op::DeleteCas(12), "a", true);
    check(kv::Op::Delete, "a", true);
    check(kv::Op::Unlock(A.to_owned()), "a", false);
    bench.refused(put(kv::Op::Lock(String::new()), "a", ""), "missing session");
    bench.refused(put(kv::Op::Lock("abc".to_owned()), "a", ""), "failed session lookup: index error: UUID must be 36 characters");
    bench.refused(put(kv::Op::Lock(A.to_owned()), "a", ""), &format!("invalid session \"{A}\""));
}

#[test]
fn a_removed_key_keeps_its_prefix_from_falling_until_it_is_reaped() {
    let mut bench = Bench::new();
    for key in ["p/a", "p/b", "q"] {
        bench.done(put(kv::Op::Set, key, "1"));
    }
    bench.done(put(kv::Op::DeleteTree, "p/", ""));
    let state = bench.state();
    assert_eq!((state.kv_index("p/"), state.kv_index("q"), state.kv_index("zz"), state.kv_index("")), (14, 13, 14, 14));
    bench.done(put(kv::Op::Set, "q", "2"));
    assert!(bench.state().has_tombstones_before(1001));
    bench.done(Command::Reap { tombstones_before_ms: 1001, at_ms: 5000 });
    let state = bench.state();
    assert!(!state.has_tombstones_before(u64::MAX));
    assert_eq!(state.kv_index("p/"), 15, "with nothing left the table's index counts");
}

fn statuses(record: &Record) -> Vec<(u64, String)> {
    record.transitions.iter().map(|(_, t)| (t.at_ms, format!("{}>{}", t.from.as_str(), t.to.as_str()))).collect()
}

fn sync(status: &str, transitions: Vec<Transition>, at_ms: u64) -> Command {
    let transitions = transitions.into_iter().map(|transition| ("c".to_owned(), transition)).collect();
    Command::Register { registration: Box::new(web("n1", status)), transitions, at_ms }
}

fn transition(at_ms: u64, from: &str, to: &str) -> Transition {
    Transition { at_ms, from: from.into(), to: to.into(), ..Transition::default() }
}

#[test]
fn transitions_are_those_the_agent_tells_and_else_made_from_the_change() {
    let mut bench = Bench::new();
    bench.done(sync("passing", Vec::new(), 1000));
    let flap = vec![transition(2000, "passing", "critical"), transition(2500, "critical", "passing")];
    bench.done(sync("passing", flap.clone(), 3000));
    bench.done(sync("passing", flap, 3500)); // told again: kept once
    bench.done(sync("warning", vec![transition(4000, "passing", "critical")], 5000)); // told only in part
    bench.done(deregister("n1", "", "c"));
    let state = bench.state();
    let record = state.history().of("n1", "c").expect("recorded");
    let expected = [(1000, ">passing"), (2000, "passing>critical"), (2500, "critical>passing"), (4000, "passing>critical")];
    let expected = expected.into_iter().chain([(5000, "critical>warning"), (2000, "warning>")]);
    assert_eq!(statuses(record), expected.map(|(at, text)| (at, text.to_owned())).collect::<Vec<_>>());
    assert_eq!((record.since_ms, record.service_name.as_str()), (1000, "web"));
}

#[test]
fn history_is_bounded_by_number_age_and_size() {
    let mut bench = Bench::new();
    for n in 0..300_u64 {
        bench.done(sync(if n % 2 == 0 { "passing" } else { "critical" }, Vec::new(), 1000 + n));
    }
    let state = bench.state();
    let record = state.history().of("n1", "c").expect("recorded");
    assert_eq!((record.transitions.len(), record.since_ms), (256, 1000 + 43));
    let week = 1000 + 299 + AGE_MS_MAX;
    bench.done(Command::Reap { tombstones_before_ms: 0, at_ms: week });
    assert_eq!(bench.state().history().of("n1", "c").expect("still registered").transitions.len(), 1);
    bench.done(Command::Reap { tombstones_before_ms: 0, at_ms: week + 1 });
    assert_eq!(bench.state().history().of("n1", "c").expect("still registered").transitions.len(), 0);
    assert_eq!(bench.state().history().bytes(), 0);
}

#[test]
fn the_change_ring_tells_what_happened_to_which_object() {
    let mut bench = Bench::new();
    bench.done(register(web("n1", "passing")));
    bench.done(put(kv::Op::Set, "a", "1"));
    bench.done(put(kv::Op::Delete, "a", ""));
    bench.done(deregister("n1", "web", ""));
    let read = |after| {
        let batch = bench.store.changes().after(after).expect("kept");
        batch.changes.into_iter().map(|c| (c.topic, c.name, c.node, c.index, c.kind)).collect::<Vec<_>>()
    };
    let key = |index, kind| (Topic::Kv, "a".to_owned(), String::new(), index, kind);
    assert_eq!(read(11)[..2], [key(12, Kind::Set), key(13, Kind::Delete)]);
    let web = (Topic::Service, "web".to_owned(), String::new(), 14, Kind::Delete);
    let check = (Topic::Check, "c".to_owned(), "n1".to_owned(), 14, Kind::Delete);
    assert_eq!(read(13), [web, check]);
    assert!(read(14).is_empty());
    assert_eq!(bench.store.changes().after(15).err(), Some(Reset));
}

#[tokio::test]
async fn ten_thousand_waiters_sleep_through_everybody_elses_writes() {
    use futures_util::FutureExt as _;
    let mut bench = Bench::new();
    let keys: Vec<_> = (0..9_000).map(|n| format!("k/{n:05}")).collect();
    let prefixes: Vec<_> = (0..1_000).map(|n| format!("p/{n:04}/")).collect();
    let watches = bench.store.watches().clone();
    let mut waits: Vec<_> = keys.iter().map(|key| watches.subscribe(watch::Key::Kv(key))).collect();
    waits.extend(prefixes.iter().map(|prefix| watches.subscribe(watch::Key::KvPrefix(prefix))));
    assert_eq!(watches.waiters(), 10_000);
    for n in 0..2_000 {
        bench.done(put(kv::Op::Set, &format!("other/{n}"), "1"));
    }
    bench.done(register(web("n1", "passing")));
    let woken = |waits: &mut Vec<watch::Subscription>| waits.iter_mut().filter_map(|wait| wait.changed().now_or_never()).count();
    assert_eq!(woken(&mut waits), 0, "no spurious wake-up");
    bench.done(put(kv::Op::Set, "k/00042", "1"));
    bench.done(put(kv::Op::Set, "p/0007/x", "1"));
    let at: Vec<_> = waits.iter_mut().enumerate().filter_map(|(at, wait)| wait.changed().now_or_never().map(|()| at)).collect();
    assert_eq!(at, [42, 9_007]);
    drop(waits);
    assert_eq!(watches.waiters(), 0);
}

#[test]
fn an_install_raises_every_watch_and_resets_the_ring() {
    use futures_util::FutureExt as _;
    let bench = Bench::new();
    let mut wait = bench.store.watches().subscribe(watch::Key::Service("web"));
    let place = bench.store.changes().now().place;
    bench.store.install(State { index: 50, index_base: 40, ..State::default() });
    assert!(wait.changed().now_or_never().is_some());
    assert_eq!(bench.store.changes().since(place).err(), Some(Reset));
    bench.store.commit(&[(11, put(kv::Op::Set, "a", "1"))]);
    assert_eq!(bench.state().kv("a").expect("set").modify_index, 51, "the base is added");
}

/// Everything derived, made again from the tables.
fn assert_consistent(state: &State) {
    let mut summaries = BTreeMap::new();
    for summary in state.services() {
        let again = Summary::compute(state.instances_of(&summary.name)).expect("it has instances");
        let Summary { index, changed_at_ms, trace, .. } = (**summary).clone();
        assert_eq!(**summary, Summary { index, changed_at_ms, trace, ..again });
        assert_eq!(summary.trace.last().map(|point| point.health), Some(summary.health));
        summaries.insert(summary.name.clone(), 0);
    }
    let mut total = 0;
    for record in state.nodes() {
        let node = &record.node.name;
        let (mut all, mut own) = (Counts::default(), Counts::default());
        state.checks_on(node).for_each(|check| all.add(Health::of_check(check)));
        state.checks_of(node, "").for_each(|check| own.add(Health::of_check(check)));
        assert_eq!((record.checks, record.own_checks), (all, own));
        assert_eq!(record.health(), Health::of_node(state.checks_on(node).map(|check| &**check)));
        let mut services = 0;
        for instance in state.services_on(node) {
            services += 1;
            let checks: Vec<_> = state.checks_of(node, "").chain(state.checks_of(node, &instance.service.id)).collect();
            assert_eq!(instance.health, Health::of_checks(checks.iter().map(|check| &***check)));
            assert_eq!(instance.checks.total as usize, checks.len());
            *summaries.get_mut(&instance.service.name).expect("a summary for every instance") += 1;
        }
        assert_eq!(record.services, services);
        total += state.checks_on(node).count();
    }
    assert_eq!(total, state.checks().count(), "no check without its node");
    assert!(summaries.values().all(|instances| *instances > 0));
    let recorded: usize = state.history().all().map(|record| record.transitions.len()).sum();
    assert_eq!(recorded, state.history().newest().count());
}

fn commands() -> impl Strategy<Value = Vec<Command>> {
    let name = |prefix: &'static str| (0..3_u8).prop_map(move |n| format!("{prefix}{n}"));
    let status = prop_oneof![Just("passing"), Just("warning"), Just("critical"), Just("odd"), Just("")];
    let check_id = prop_oneof![name("c"), Just(SERF_HEALTH.to_owned()), Just(NODE_MAINTENANCE.to_owned())];
    let id = prop_oneof![Just(String::new()), Just(A.to_owned()), Just(B.to_owned())];
    let registration = (name("n"), id, name("web"), name("s"), check_id, status, any::<[bool; 4]>(), 0..3_u8);
    let registration = registration.prop_map(|(node_name, id, service_name, service_id, check_id, status, flags, meta)| {
        let [with_service, with_check, of_service, skip_node_update] = flags;
        let of = if of_service { service_id.as_str() } else { "" };
        let node_meta = BTreeMap::from([("m".to_owned(), meta.to_string())]);
        let registration = Registration {
            id,
            node_meta,
            service: with_service.then(|| service(&service_id, &service_name)),
            check: with_check.then(|| check(&check_id, of, status)),
            skip_node_update,
            ..node(&node_name)
        };
        register(registration)
    });
    let removal = (name("n"), prop_oneof![Just(String::new()), name("s")], prop_oneof![Just(String::new()), name("c")]);
    let removal = removal.prop_map(|(node, service, check)| deregister(&node, &service, &check));
    let op = prop_oneof![Just(kv::Op::Set), (0..40_u64).prop_map(kv::Op::Cas), Just(kv::Op::Delete), Just(kv::Op::DeleteTree)];
    let key = (op, prop_oneof![name("k/"), name("k"), Just("k".to_owned())], name("v")).prop_map(|(op, key, value)| put(op, &key, &value));
    proptest::collection::vec(prop_oneof![5 => registration, 2 => removal, 1 => key], 1..60)
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(96))]

    #[test]
    fn what_is_derived_always_equals_what_the_tables_say(commands in commands()) {
        let mut bench = Bench::new();
        for command in commands {
            let before = bench.state();
            let reply = bench.run(command);
            let after = bench.state();
            prop_assert!(after.index > before.index);
            for service in ["web0", "web1", "web2"] {
                prop_assert!(after.service_index(service) >= before.service_index(service), "indexes only rise");
            }
            prop_assert!(after.kv_index("k") >= before.kv_index("k"));
            if let Reply::Refused(_) = reply {
                prop_assert_eq!(before.indexes, after.indexes);
            }
        }
        assert_consistent(&bench.state());
    }

    #[test]
    fn a_snapshot_brings_everything_back_and_refuses_damage(commands in commands(), at in any::<proptest::sample::Index>(), bit in 0..8_u8) {
        let mut bench = Bench::new();
        commands.into_iter().for_each(|command| drop(bench.run(command)));
        let state = bench.state();
        let mut bytes = Vec::new();
        snapshot::write(&state, &mut bytes).expect("memory");
        let back = snapshot::read(&bytes[..]).expect("whole");
        assert_same(&state, &back);
        assert_consistent(&back);
        let at = at.index(bytes.len());
        prop_assert!(snapshot::read(&bytes[..at]).is_err(), "truncated at {at}");
        bytes[at] ^= 1 << bit;
        prop_assert!(snapshot::read(&bytes[..]).is_err(), "damaged at {at}");
    }
}

fn assert_same(a: &State, b: &State) {
    assert_eq!((a.index, a.index_base, a.indexes), (b.index, b.index_base, b.indexes));
    assert!(a.nodes.iter().eq(b.nodes.iter()) && a.node_ids.iter().eq(b.node_ids.iter()));
    assert!(a.services.iter().eq(b.services.iter()) && a.instances.iter().eq(b.instances.iter()));
    assert!(a.checks.iter().eq(b.checks.iter()) && a.checks_of.iter().eq(b.checks_of.iter()));
    assert!(a.summaries.iter().eq(b.summaries.iter()));
    assert!(a.kv.iter().eq(b.kv.iter()) && a.tombstones.iter().eq(b.tombstones.iter()));
    assert!(a.history.records.iter().eq(b.history.records.iter()) && a.history.order.iter().eq(b.history.order.iter()));
    assert_eq!((a.history.next, a.history.bytes), (b.history.next, b.history.bytes));
}

/// A state with a row of every kind.
fn sample() -> Bench {
    let mut bench = Bench::new();
    let meta = BTreeMap::from([("group".to_owned(), "shop".to_owned())]);
    let it = Service { tags: vec!["v1".to_owned()], port: 80, meta, ..service("web", "web") };
    let registration = Registration { id: A.to_owned(), service: Some(it), ..web("n1", "passing") };
    bench.done(register(registration));
    bench.done(sync("critical", vec![transition(1500, "passing", "critical")], 2000));
    bench.done(put(kv::Op::Set, "a/b", "value"));
    bench.done(put(kv::Op::Set, "gone", "value"));
    bench.done(put(kv::Op::Delete, "gone", ""));
    bench
}

#[test]
fn a_snapshot_of_the_first_format_still_loads() {
    let golden = include_bytes!("testdata/snapshot-v1.bin");
    let state = snapshot::read(&golden[..]).expect("once written, always read");
    assert_same(&state, &sample().state());
}

#[test]
fn a_snapshot_of_an_unknown_format_says_so() {
    let error = snapshot::read(&[9, 9, 9][..]).expect_err("unknown");
    assert_eq!(error.to_string(), "snapshot: format 9 is not known; this version reads 1");
}

/// Proposes a saved state in batches of rows, as the leader does.
fn restore(bench: &mut Bench, id: &str, saved: &State) -> Vec<Command> {
    let mut file = Vec::new();
    snapshot::file::write(&snapshot::file::About::default(), saved, &mut file).expect("memory");
    let mut steps = Vec::new();
    snapshot::file::rows(&file[..], |rows| {
        steps.push(RestoreStep::Rows { number: steps.len() as u64, format: snapshot::VERSION, rows });
        Ok(())
    })
    .expect("whole");
    let batches = steps.len() as u64;
    steps.push(RestoreStep::Finish { batches });
    let commands = steps.into_iter().map(|step| Command::Restore { id: id.to_owned(), step, at_ms: 3000 });
    commands.inspect(|command| assert_eq!(bench.run(command.clone()), Reply::Done(true))).collect()
}

#[test]
fn a_restore_replaces_everything_and_only_raises_indexes() {
    let saved = sample().state();
    // A younger cluster, whose indexes are lower than those of the file, and an older one.
    for mut bench in [Bench { next: 0, ..Bench::new() }, Bench { next: 1000, ..Bench::new() }] {
        bench.done(put(kv::Op::Set, "gone/too", "x"));
        let before = bench.state();
        restore(&mut bench, "r1", &saved);
        let after = bench.state();
        assert!(after.index > before.index && after.index > saved.index, "{} {}", after.index, saved.index);
        assert_eq!((after.restored_at, after.index), (after.index, after.index_base + bench.next));
        assert!(after.kv("gone/too").is_none() && after.kv("a/b").is_some());
        let settled = State { index: saved.index, index_base: saved.index_base, restored_at: 0, ..State::clone(&after) };
        assert_same(&settled, &saved);
        assert_consistent(&after);
        assert!(after.service_index("web") >= after.restored_at);
        bench.done(put(kv::Op::Set, "next", "x"));
        assert!(bench.state().kv("next").expect("just put").modify_index > after.index);
    }
}

#[test]
fn a_restore_wakes_every_reader_and_resets_the_ring() {
    let mut bench = sample();
    let place = bench.store.changes().now().place;
    let watch = bench.store.watches().subscribe(watch::Key::Kv("nobody/touches/this"));
    let saved = bench.state();
    restore(&mut bench, "r1", &saved);
    let mut watch = watch;
    assert!(futures_util::FutureExt::now_or_never(watch.changed()).is_some(), "woken");
    assert!(bench.store.changes().since(place).is_err(), "reset");
}

#[test]
fn a_snapshot_taken_midway_carries_the_restore_on() {
    let saved = sample().state();
    let mut whole = Bench::new();
    let commands = restore(&mut whole, "r1", &saved);
    let mut cut = Bench::new();
    for command in commands {
        cut.done(command);
        // Another server installs what this one has, after every step.
        let mut bytes = Vec::new();
        snapshot::write(&cut.state(), &mut bytes).expect("memory");
        cut.store.install(snapshot::read(&bytes[..]).expect("whole"));
    }
    assert_same(&cut.state(), &whole.state());
    assert!(cut.state().settled().restoring.is_none());
}

#[test]
fn steps_that_do_not_fit_change_nothing_that_is_served() {
    let mut bench = sample();
    let before = bench.state();
    let step = |id: &str, step| Command::Restore { id: id.to_owned(), step, at_ms: 3000 };
    let rows = |number| RestoreStep::Rows { number, format: snapshot::VERSION, rows: Vec::new() };
    let refused = |reply: Reply| matches!(reply, Reply::Refused(_));
    assert!(refused(bench.run(step("r1", RestoreStep::Finish { batches: 0 }))));
    assert!(refused(bench.run(step("r1", rows(3)))));
    bench.done(step("r1", rows(0)));
    bench.done(step("r2", rows(0)));
    assert!(refused(bench.run(step("r1", rows(1)))), "another one has begun");
    assert!(refused(bench.run(step("r2", RestoreStep::Finish { batches: 2 }))), "one is missing");
    assert!(refused(bench.run(step("r2", RestoreStep::Rows { number: 1, format: 99, rows: Vec::new() }))));
    assert!(refused(bench.run(step("r2", RestoreStep::Rows { number: 1, format: snapshot::VERSION, rows: vec![0xc1, 1] }))));
    bench.done(step("r3", rows(0)));
    assert!(bench.state().has_stale_restore(3000 + 11 * 60_000) && !bench.state().has_stale_restore(3000));
    bench.done(Command::Reap { tombstones_before_ms: 0, at_ms: 3000 + 11 * 60_000 });
    assert!(bench.state().restoring.is_none(), "nobody goes on with it");
    bench.done(step("r4", rows(0)));
    bench.done(step("r4", RestoreStep::Abandon));
    assert!(bench.state().restoring.is_none());
    assert_eq!((bench.state().restored_at, bench.state().kv.len()), (0, before.kv.len()));
}
