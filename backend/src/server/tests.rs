//! The server role against a store and a stand-in for Raft that applies at once.

use std::{
    collections::BTreeMap,
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    time::Duration,
};

use futures_util::stream::{self, BoxStream};
use shared::{
    agent::Member,
    catalog::Registration,
    check::{Check, SERF_HEALTH},
    go,
    health::Health,
    kv,
    page::{Page, PageQuery},
    query::{Consistency, QueryOptions},
    service::{Service, ServiceRow},
};
use tokio::sync::watch;

use super::{
    AgentCalls, Options, Server,
    consensus::{Change, Consensus},
};
use crate::{
    raft,
    rpc::{self, Answer, Error, Payload, Request, Router},
    rt::{Runtime, clock},
    store::{Command, Reply, Store},
};

/// Raft of one server: what is proposed is applied.
struct Alone {
    store: Arc<Store>,
    index: AtomicU64,
    leads: AtomicBool,
    elections: watch::Sender<()>,
    /// Changes of the configuration that were asked for, and refused.
    tried: Mutex<Vec<Change>>,
}

impl Alone {
    fn lead(&self, leads: bool) {
        self.leads.store(leads, Ordering::SeqCst);
        self.elections.send_replace(());
    }
}

#[async_trait::async_trait]
impl Consensus for Alone {
    async fn propose(&self, command: Command) -> Result<(u64, Reply), raft::Error> {
        self.confirm_leadership(false).await?;
        let index = self.index.fetch_add(1, Ordering::SeqCst) + 1;
        Ok((index, self.store.commit(&[(index, command)]).remove(0)))
    }

    async fn confirm_leadership(&self, _quorum: bool) -> Result<(), raft::Error> {
        if self.leads.load(Ordering::SeqCst) { Ok(()) } else { Err(raft::Error::NoLeader) }
    }

    async fn wait_for_leader(&self, longest: Duration) -> bool {
        if !self.leads.load(Ordering::SeqCst) {
            clock::sleep(longest).await;
        }
        self.leads.load(Ordering::SeqCst)
    }

    fn status(&self) -> raft::Status {
        let peer = raft::Peer { id: "a".into(), name: "s1".into(), address: "127.0.0.1:8300".into(), voter: true };
        let leads = self.leads.load(Ordering::SeqCst);
        let role = if leads { "leader" } else { "follower" }.to_owned();
        raft::Status { role, leader: leads.then(|| peer.clone()), peers: vec![peer], ..raft::Status::default() }
    }

    fn leads(&self) -> bool {
        self.leads.load(Ordering::SeqCst)
    }

    async fn is_pristine(&self) -> Result<bool, raft::Error> {
        Ok(false)
    }

    async fn bootstrap(&self, _peers: Vec<raft::Peer>) -> Result<(), raft::Error> {
        Err(raft::Error::Refused("is there already".to_owned()))
    }

    async fn change(&self, change: Change) -> Result<(), raft::Error> {
        self.tried.lock().expect("not poisoned").push(change);
        Err(raft::Error::Refused("is alone".to_owned()))
    }

    async fn snapshots(&self) -> Result<raft::Snapshots, raft::Error> {
        Ok(raft::Snapshots { kept: vec![self.take_snapshot().await?], retained: 1, threshold: 100, interval: Duration::ZERO })
    }

    async fn take_snapshot(&self) -> Result<raft::Snapshot, raft::Error> {
        let index = self.index.load(Ordering::SeqCst);
        Ok(raft::Snapshot { term: 1, index, size_bytes: 10, taken_at_ms: 1_000, server: "s1".to_owned(), ..raft::Snapshot::default() })
    }

    fn changes(&self) -> BoxStream<'static, ()> {
        let receiver = self.elections.subscribe();
        Box::pin(stream::unfold(receiver, async |mut receiver| receiver.changed().await.ok().map(|()| ((), receiver))))
    }
}

/// Agents that all answer "done".
struct Done;

#[async_trait::async_trait]
impl AgentCalls for Done {
    async fn call(&self, _node: &str, _payload: Payload, _token: &str, _forwarded: bool) -> Result<rpc::AgentReply, Error> {
        Ok(rpc::AgentReply::Done)
    }
}

struct Bench {
    router: Router,
    raft: Arc<Alone>,
    store: Arc<Store>,
    server: Arc<Server>,
    members: watch::Sender<Arc<Vec<Member>>>,
    runtime: Runtime,
}

fn bench() -> Bench {
    let store = Arc::new(Store::new());
    let raft = Arc::new(Alone {
        store: store.clone(),
        index: AtomicU64::new(10),
        leads: AtomicBool::new(true),
        elections: watch::Sender::new(()),
        tried: Mutex::default(),
    });
    let (members, receiver) = watch::channel(Arc::default());
    let runtime = Runtime::seeded(1, 1_000_000);
    let options = Options::new("dc1", "s1", rpc::Servers::new(&runtime.rng));
    let server = Arc::new(Server::with_consensus(options, raft.clone(), store.clone(), receiver, Arc::new(Done), runtime.clone()));
    Bench { router: Router::new(server.clone()), raft, store, server, members, runtime }
}

fn registration(node: &str, service: &str, id: &str, status: &str) -> Registration {
    Registration {
        node: node.to_owned(),
        address: "10.0.0.1".to_owned(),
        service: Some(Service { id: id.to_owned(), name: service.to_owned(), tags: vec!["V1".to_owned()], ..Service::default() }),
        check: Some(Check { id: format!("c-{id}"), service_id: id.to_owned(), status: status.into(), ..Check::default() }),
        ..Registration::default()
    }
}

impl Bench {
    async fn register(&self, registration: Registration) -> Result<Answer<()>, Error> {
        self.router.call(Request::default(), rpc::Register { registration, transitions: Vec::new() }).await
    }

    async fn put(&self, key: &str) {
        let write = kv::Write { op: kv::Op::Set, key: key.to_owned(), flags: 0, value: b"x".to_vec() };
        assert!(self.router.call(Request::default(), rpc::KvWrite { write }).await.expect("leads").value);
    }
}

fn blocking(index: u64, wait_s: i64) -> Request {
    let options = QueryOptions { index, wait: Some(go::Duration::from_secs(wait_s)), ..QueryOptions::default() };
    Request { options, ..Request::default() }
}

fn web(passing: bool) -> rpc::HealthServiceNodes {
    rpc::HealthServiceNodes { service: "Web".to_owned(), tags: vec!["v1".to_owned()], passing }
}

#[tokio::test(start_paused = true)]
async fn health_lists_instances_and_keeps_the_answer_until_the_service_changes() {
    let bench = bench();
    bench.register(registration("n1", "web", "web1", "passing")).await.expect("valid");
    bench.register(registration("n1", "web", "web2", "critical")).await.expect("valid");
    let all = bench.router.call(Request::default(), web(false)).await.expect("leads");
    assert_eq!((all.value.len(), all.meta.index), (2, 12));
    assert_eq!(bench.router.call(Request::default(), web(true)).await.expect("leads").value.len(), 1);
    bench.register(registration("n2", "other", "other", "passing")).await.expect("valid");
    let again = bench.router.call(Request::default(), web(false)).await.expect("leads");
    assert!(Arc::ptr_eq(&all.value, &again.value), "nothing about the service changed");
    bench.register(registration("n1", "web", "web2", "passing")).await.expect("valid");
    assert_eq!(bench.router.call(Request::default(), web(true)).await.expect("leads").value.len(), 2);
    let catalog = rpc::CatalogServiceNodes { service: "web".to_owned(), tags: Vec::new() };
    let rows = bench.router.call(Request::default(), catalog).await.expect("leads").value;
    assert_eq!(rows.iter().map(|row| row.service_id.as_str()).collect::<Vec<_>>(), ["web1", "web2"]);
}

#[tokio::test(start_paused = true)]
async fn refusals_keep_the_text_of_consul() {
    let bench = bench();
    let mut bad = registration("", "web", "web", "passing");
    assert_eq!(bench.register(bad.clone()).await.map(|a| a.value), Err(Error::Refused("Must provide node".to_owned())));
    bad.node = "n1".to_owned();
    bad.datacenter = "dc9".to_owned();
    assert_eq!(bench.register(bad).await.map(|a| a.value), Err(Error::NoPathToDatacenter));
    let mut bad = registration("n1", "web", "web1", "passing");
    bad.service.as_mut().expect("given").meta.insert("bad key".to_owned(), "x".to_owned());
    let text = "failed inserting service: Invalid Service Meta for node n1 and serviceID web1: Couldn't load metadata pair ('bad key', 'x'): \
                Key contains invalid characters";
    assert_eq!(bench.register(bad).await.map(|a| a.value), Err(Error::Refused(text.to_owned())));
    let mut bad = registration("n1", "web", "web", "passing");
    bad.check.as_mut().expect("given").service_id = "nope".to_owned();
    let text = "failed inserting check: Missing service registration on node \"n1\"";
    assert_eq!(bench.register(bad).await.map(|a| a.value), Err(Error::Refused(text.to_owned())));
}

#[tokio::test(start_paused = true)]
async fn a_blocking_read_returns_on_its_change_and_not_on_others() {
    let bench = bench();
    bench.register(registration("n1", "web", "web1", "passing")).await.expect("valid");
    let start = bench.runtime.clock.now();
    let router = bench.router.clone();
    let waiting = bench.runtime.tasks.spawn("wait", async move { router.call(blocking(11, 300), web(false)).await });
    while bench.store.watches().waiters() == 0 {
        tokio::task::yield_now().await;
    }
    bench.put("a").await;
    bench.register(registration("n2", "other", "other", "passing")).await.expect("valid");
    clock::sleep(Duration::from_secs(20)).await;
    assert!(!waiting.is_finished());
    bench.register(registration("n1", "web", "web1", "critical")).await.expect("valid");
    let answer = waiting.await.expect("runs").expect("leads");
    assert_eq!((answer.meta.index, answer.value[0].health()), (14, Health::Critical));
    assert_eq!(start.elapsed().as_secs(), 20);
    assert_eq!(bench.store.watches().waiters(), 0, "a finished read watches nothing");
}

#[tokio::test(start_paused = true)]
async fn a_blocking_read_ends_after_its_wait_and_jitter_with_the_true_index() {
    let bench = bench();
    bench.put("a").await;
    for (index, wait_s, least, most) in [(11, 16, 16_000, 17_000), (9_999, 16, 16_000, 17_000), (11, 9_999, 600_000, 637_500)] {
        let start = bench.runtime.clock.now();
        let answer = bench.router.call(blocking(index, wait_s), rpc::KvGet { key: "a".to_owned() }).await.expect("leads");
        let took = start.elapsed().as_millis();
        assert!((least..=most).contains(&took), "{took} ms");
        assert_eq!(answer.meta.index, 11);
    }
}

#[tokio::test(start_paused = true)]
async fn a_blocking_read_ends_at_shutdown() {
    let bench = bench();
    bench.put("a").await;
    let router = bench.router.clone();
    let waiting =
        bench.runtime.tasks.spawn("wait", async move { router.call(blocking(11, 300), rpc::KvGet { key: "a".to_owned() }).await });
    while bench.store.watches().waiters() == 0 {
        tokio::task::yield_now().await;
    }
    bench.runtime.tasks.shutdown().trigger();
    assert_eq!(waiting.await.expect("runs").expect("answers").meta.index, 11);
}

#[tokio::test(start_paused = true)]
async fn without_a_leader_calls_wait_and_then_say_so() {
    let bench = bench();
    bench.raft.lead(false);
    let start = bench.runtime.clock.now();
    assert_eq!(bench.router.call(Request::default(), rpc::Nodes {}).await.map(|a| a.value), Err(Error::NoLeader));
    assert_eq!(start.elapsed().as_secs(), 7);
    let stale = Request { options: QueryOptions { consistency: Consistency::Stale, ..QueryOptions::default() }, ..Request::default() };
    assert_eq!(bench.router.call(stale.clone(), rpc::Nodes {}).await.map(|a| a.value), Err(Error::NoLeader), "never knew a leader");
    bench.raft.lead(true);
    bench.router.call(Request::default(), rpc::Nodes {}).await.expect("leads");
    bench.raft.lead(false);
    let answer = bench.router.call(stale, rpc::Nodes {}).await.expect("any server answers");
    assert!(!answer.meta.known_leader);
}

#[tokio::test(start_paused = true)]
async fn a_tree_of_keys_reports_the_newest_change_or_removal_in_it() {
    let bench = bench();
    for key in ["q/", "q/x/y", "q/z", "r"] {
        bench.put(key).await;
    }
    let keys = |prefix: &str, separator: &str| rpc::KvKeys { prefix: prefix.to_owned(), separator: separator.to_owned() };
    let answer = bench.router.call(Request::default(), keys("q/", "/")).await.expect("leads");
    assert_eq!((answer.value, answer.meta.index), (vec!["q/".to_owned(), "q/x/".to_owned(), "q/z".to_owned()], 13));
    let write = kv::Write { op: kv::Op::Delete, key: "q/x/y".to_owned(), flags: 0, value: Vec::new() };
    bench.router.call(Request::default(), rpc::KvWrite { write }).await.expect("leads");
    let list = rpc::KvList { prefix: "q/".to_owned() };
    assert_eq!(bench.router.call(Request::default(), list).await.expect("leads").meta.index, 15);
}

fn member(name: &str, status: u8, role: &str) -> Member {
    let tags = [("role", role), ("dc", "dc1"), ("port", "8300"), ("build", "1.2.3:abc"), ("id", "11111111-1111-1111-1111-111111111111")];
    let mut tags: BTreeMap<String, String> = tags.into_iter().map(|(k, v)| (k.to_owned(), v.to_owned())).collect();
    if name != "s1" {
        tags.insert("id".to_owned(), format!("22222222-2222-2222-2222-2222222222{:02}", name.len()));
    }
    let (addr, name) = ("127.0.0.1".to_owned(), name.to_owned());
    Member { name, addr, status, tags, protocol_min: 1, protocol_max: 5, protocol_cur: 2, ..Member::default() }
}

#[tokio::test(start_paused = true)]
async fn the_leader_keeps_the_catalog_in_step_with_the_pool() {
    let bench = bench();
    let duties = bench.server.clone();
    bench.runtime.tasks.spawn("leader", duties.run());
    let mut external = registration("ext", "db", "db", "passing");
    external.check = None;
    bench.register(external).await.expect("valid");
    let pool = |client: u8| Arc::new(vec![member("s1", 1, "consul"), member("client", client, "node")]);
    let settle = || clock::sleep(Duration::from_secs(1));

    bench.members.send_replace(pool(1));
    settle().await;
    let state = bench.store.state();
    assert_eq!(state.service_on("s1", "consul").expect("a server").service.port, 8300);
    assert_eq!(state.service_on("s1", "consul").expect("a server").service.meta["version"], "1.2.3");
    assert_eq!(state.check("client", SERF_HEALTH).expect("a member").output, "Agent alive and reachable");

    let index = state.index;
    clock::sleep(Duration::from_secs(200)).await;
    assert_eq!(bench.store.state().index, index, "a pool that did not change writes nothing");

    bench.members.send_replace(pool(4));
    settle().await;
    let state = bench.store.state();
    let check = state.check("client", SERF_HEALTH).expect("a member");
    assert_eq!((check.status.as_str(), check.output.as_str()), ("critical", "Agent not live or unreachable"));

    bench.members.send_replace(pool(3));
    settle().await;
    let state = bench.store.state();
    assert!(state.node("client").is_none() && state.node("s1").is_some() && state.node("ext").is_some());
}

#[tokio::test(start_paused = true)]
async fn a_server_that_cannot_be_added_holds_up_no_other_change() {
    let bench = bench();
    bench.runtime.tasks.spawn("leader", bench.server.clone().run());
    let server = |id: u8| {
        let uuid = format!("0000000{id}-2222-4333-8444-555555555555");
        let mut member = member(&format!("s{id}"), 1, "consul");
        member.tags.extend([("id".to_owned(), uuid), ("port".to_owned(), "8300".to_owned()), ("dc".to_owned(), "dc1".to_owned())]);
        member.addr = format!("10.0.0.{id}");
        member
    };
    bench.members.send_replace(Arc::new(vec![member("s1", 1, "consul"), server(2), server(3)]));
    clock::sleep(Duration::from_secs(1)).await;
    let tried = bench.raft.tried.lock().expect("not poisoned").clone();
    let name = |change: &Change| if let Change::Add(peer) = change { Some(peer.name.clone()) } else { None };
    let names: Vec<_> = tried.iter().filter_map(name).collect();
    assert!(names.starts_with(&["s2".to_owned(), "s3".to_owned()]), "{tried:?}");
}

#[tokio::test(start_paused = true)]
async fn old_removals_are_forgotten_by_the_leader() {
    let bench = bench();
    bench.runtime.tasks.spawn("leader", bench.server.clone().run());
    bench.put("a").await;
    let write = kv::Write { op: kv::Op::Delete, key: "a".to_owned(), flags: 0, value: Vec::new() };
    bench.router.call(Request::default(), rpc::KvWrite { write }).await.expect("leads");
    let exists = || bench.store.state().has_tombstones_before(u64::MAX);
    clock::sleep(Duration::from_secs(14 * 60)).await;
    assert!(exists());
    clock::sleep(Duration::from_secs(2 * 60)).await;
    assert!(!exists());
}

#[tokio::test(start_paused = true)]
async fn changes_come_at_once_when_quiet_and_together_when_busy() {
    let bench = bench();
    bench.put("a").await;
    let mut stream = bench.router.changes(Request::default(), 0).await.expect("open");
    assert_eq!(stream.recv().await, Some(Ok((11, Some(Vec::new())))));
    let start = bench.runtime.clock.now();
    bench.put("b").await;
    let (index, changes) = stream.recv().await.expect("open").expect("goes on");
    assert_eq!((index, changes.expect("no reset").len(), start.elapsed().as_millis()), (12, 1, 0));
    for _ in 0..5 {
        bench.put("c").await;
        bench.raft.index.fetch_add(1, Ordering::SeqCst);
        let write = kv::Write { op: kv::Op::Set, key: "c".to_owned(), flags: 7, value: Vec::new() };
        bench.router.call(Request::default(), rpc::KvWrite { write }).await.expect("leads");
    }
    let (index, changes) = stream.recv().await.expect("open").expect("goes on");
    let changes = changes.expect("no reset");
    assert_eq!((changes.len(), changes[0].name.as_str(), changes[0].index), (1, "c", index));
    assert!((100..=101).contains(&start.elapsed().as_millis()), "one batch per 100 ms");

    let mut resumed = bench.router.changes(Request::default(), 11).await.expect("open");
    assert_eq!(resumed.recv().await.expect("open").expect("goes on").1.expect("no reset").len(), 2);
    let mut future = bench.router.changes(Request::default(), 1 << 40).await.expect("open");
    assert_eq!(future.recv().await.expect("open").expect("goes on").1, None, "a position of another state is a reset");
    bench.store.install(crate::store::State::default());
    assert_eq!(resumed.recv().await.expect("open").expect("goes on").1, None, "an install is a reset");
}

#[tokio::test(start_paused = true)]
async fn a_check_nobody_can_run_is_refused_with_the_reason() {
    let bench = bench();
    bench.members.send_replace(Arc::new(vec![member("s1", 1, "consul"), member("down", 4, "node")]));
    bench.runtime.tasks.spawn("leader", bench.server.clone().run());
    clock::sleep(Duration::from_secs(1)).await;
    for (node, id, kind) in [("s1", "h", "http"), ("s1", "t", "ttl"), ("s1", "a", "alias"), ("ext", "h", "http"), ("down", "h", "http")] {
        let check = Check { id: id.to_owned(), kind: kind.to_owned(), status: "passing".into(), ..Check::default() };
        let skip_node_update = node != "ext";
        let address = "10.0.0.9".to_owned();
        let it = Registration { node: node.to_owned(), address, check: Some(check), skip_node_update, ..Registration::default() };
        bench.register(it).await.expect("valid");
    }
    let run = |node: &str, check_id: &str| {
        let payload = Payload::RunCheck { check_id: check_id.to_owned() };
        let call = rpc::AgentCall { node: node.to_owned(), payload };
        let router = bench.router.clone();
        async move { router.call(Request::default(), call).await }
    };
    assert!(run("s1", "h").await.is_ok());
    let bad = |error: &Error| matches!(error, Error::BadRequest(_));
    for (node, id) in [("s1", "t"), ("s1", "a"), ("s1", SERF_HEALTH), ("ext", "h")] {
        assert!(run(node, id).await.err().as_ref().is_some_and(bad), "{node} {id}");
    }
    assert!(matches!(run("nope", "h").await, Err(Error::NotFound(_))));
    assert!(matches!(run("s1", "nope").await, Err(Error::NotFound(_))));
    assert!(matches!(run("down", "h").await, Err(Error::Unreachable(_))));
}

/// 10,000 services on 100 nodes, the first thousand with three instances each, every seventh service critical.
fn fill(bench: &Bench) {
    let instance = |n: usize| {
        let (service, node) = (if n < 3_000 { n / 3 } else { n - 2_000 }, format!("node-{:03}", n % 100));
        let status = if service % 7 == 0 && (n >= 3_000 || n.is_multiple_of(3)) { "critical" } else { "passing" };
        let mut registration = registration(&node, &format!("service-{service:05}"), &format!("id-{n}"), status);
        let meta = &mut registration.service.as_mut().expect("given").meta;
        meta.insert("team".to_owned(), format!("team-{}", service % 20));
        Command::Register { registration: Box::new(registration), transitions: Vec::new(), at_ms: 1_000_000 }
    };
    let all: Vec<_> = (0..12_000).map(|n| (n as u64 + 20, instance(n))).collect();
    for batch in all.chunks(64) {
        assert!(bench.store.commit(batch).iter().all(|reply| *reply == Reply::Done(true)));
    }
    bench.raft.index.store(40_000, Ordering::SeqCst);
}

#[tokio::test(start_paused = true)]
async fn pages_of_ten_thousand_services_are_paged_sorted_searched_and_counted() {
    let bench = bench();
    fill(&bench);
    let list = async |page: PageQuery| {
        let router = bench.router.clone();
        let call = bench.runtime.tasks.spawn("list", async move { router.call(Request::default(), rpc::ListServices { page }).await });
        call.await.expect("runs").map(|answer| answer.value)
    };
    let page = list(PageQuery { limit: 3, ..PageQuery::default() }).await.expect("valid");
    let names = |page: &Page<ServiceRow>| page.rows.iter().map(|row| row.name.clone()).collect::<Vec<_>>();
    assert_eq!(names(&page), ["service-00000", "service-00007", "service-00014"]);
    assert_eq!((page.totals.total, page.totals.critical, page.matched), (10_000, 1_429, 10_000));
    let row = &page.rows[0];
    assert_eq!((row.instances.critical, row.instances.passing, row.nodes, row.group.as_str()), (1, 2, 3, "team-0"));
    assert_eq!(row.trace.last().map(|point| point.health), Some(Health::Critical));

    let by_name = PageQuery { offset: 9_998, sort: "name:desc".to_owned(), ..PageQuery::default() };
    assert_eq!(names(&list(by_name).await.expect("valid")), ["service-00001", "service-00000"]);
    let one_team = PageQuery { of: "team-3".to_owned(), status: vec![Health::Passing], ..PageQuery::default() };
    let page = list(one_team).await.expect("valid");
    assert_eq!((page.counts.total, page.matched, page.rows.len()), (500, page.counts.passing, 100));
    let on_node = PageQuery { search: "node:node-007 service-0".to_owned(), ..PageQuery::default() };
    assert_eq!(list(on_node).await.expect("valid").matched, 120);
    let unknown = PageQuery { sort: "bogus:asc".to_owned(), ..PageQuery::default() };
    assert_eq!(list(unknown).await.err(), Some(Error::BadRequest("Invalid sort field: \"bogus\"".to_owned())));
}

#[tokio::test(start_paused = true)]
async fn filters_and_node_metadata_narrow_rows_and_bad_ones_are_refused_at_once() {
    let bench = bench();
    let mut first = registration("n1", "web", "web1", "passing");
    first.node_meta.insert("rack".to_owned(), "r1".to_owned());
    bench.register(first).await.expect("valid");
    bench.register(registration("n2", "web", "web2", "critical")).await.expect("valid");
    let asked = |filter: &str, rack: &str, index| {
        let node_meta = if rack.is_empty() { Vec::new() } else { vec![("rack".to_owned(), rack.to_owned())] };
        let options = QueryOptions { filter: filter.to_owned(), node_meta, index, ..QueryOptions::default() };
        Request { options, ..Request::default() }
    };
    let health = async |filter: &str, rack: &str| {
        let rows = bench.router.call(asked(filter, rack, 0), web(false)).await.expect("valid").value;
        rows.iter().map(|row| row.service.id.clone()).collect::<Vec<_>>()
    };
    assert_eq!(health("Service.ID == web2", "").await, ["web2"]);
    assert_eq!(health("", "r1").await, ["web1"]);
    assert_eq!(health("Checks.Status == critical", "r1").await, [""; 0]);
    let names = bench.router.call(asked("", "r1", 0), rpc::Services {}).await.expect("valid").value;
    assert_eq!(names.into_iter().collect::<Vec<_>>(), [("web".to_owned(), vec!["V1".to_owned()])]);
    let summaries = bench.router.call(asked("Service.ID == web2", "", 0), rpc::UiServices {}).await.expect("valid").value;
    assert_eq!((summaries[0].instance_count, summaries[0].checks_critical), (1, 1));
    let error = bench.router.call(asked("Bogus == 1", "", 1 << 40), rpc::Nodes {}).await.map(|a| a.value).expect_err("no such field");
    assert_eq!(error, Error::Refused("Failed to create boolean expression evaluator: Selector \"Bogus\" is not valid".to_owned()));
}

#[tokio::test(start_paused = true)]
async fn the_duties_rest_while_somebody_else_leads_and_the_streams_hear_of_it() {
    let bench = bench();
    bench.raft.lead(false);
    let mut stream = bench.router.changes(Request::default(), 0).await.expect("open");
    stream.recv().await.expect("its start").expect("goes on");
    bench.runtime.tasks.spawn("leader", bench.server.clone().run());
    bench.members.send_replace(Arc::new(vec![member("s1", 1, "consul")]));
    clock::sleep(Duration::from_secs(100)).await;
    assert!(bench.store.state().node("s1").is_none());
    bench.raft.lead(true);
    clock::sleep(Duration::from_secs(1)).await;
    assert!(bench.store.state().node("s1").is_some());
    let mut topics = Vec::new();
    while let Ok(Ok((_, Some(changes)))) = stream.try_recv() {
        topics.extend(changes.into_iter().map(|change| change.topic));
    }
    assert!(topics.iter().filter(|topic| **topic == shared::changes::Topic::Raft).count() == 2, "{topics:?}");
}
