//! Tests of the whole local state against a catalog in memory, on a paused clock.

use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex, MutexGuard},
    time::Duration,
};

use serde_json::json;
use shared::{
    agent::CheckUpdate,
    catalog::{NodeServices, Registration},
    check::{Check, Transition},
    node::Node,
    service::Service as CatalogService,
};

use super::*;
use crate::{
    localdb::LocalDb,
    rpc::{self, Answer, Changes, Handler, Operation, OperationReply, Request, Router},
    rt::{Runtime, clock, net},
};

/// What the catalog holds of the one node, and every write it took.
#[derive(Debug, Default)]
struct Held {
    node: Option<Node>,
    services: BTreeMap<String, CatalogService>,
    checks: BTreeMap<String, Check>,
    registrations: Vec<Registration>,
    transitions: Vec<(String, Transition)>,
    tokens: Vec<String>,
    deregistered: Vec<String>,
    fail: Option<rpc::Error>,
    calls: usize,
}

#[derive(Debug, Default)]
struct Catalog(Mutex<Held>);

impl Catalog {
    fn held(&self) -> MutexGuard<'_, Held> {
        self.0.lock().expect("not poisoned")
    }
}

#[async_trait::async_trait]
impl Handler for Catalog {
    async fn handle(&self, request: Request, operation: Operation) -> Result<Answer<OperationReply>, rpc::Error> {
        let mut held = self.held();
        held.calls += 1;
        if let Some(error) = &held.fail {
            return Err(error.clone());
        }
        let value = match operation {
            Operation::Register(rpc::Register { registration, transitions }) => {
                held.register(registration, transitions, request.token);
                OperationReply::Register(())
            }
            Operation::Deregister(rpc::Deregister { deregistration }) => {
                held.deregister(&deregistration.service_id, &deregistration.check_id);
                OperationReply::Deregister(())
            }
            Operation::NodeServices(_) => {
                let services = held.services.clone();
                OperationReply::NodeServices(held.node.clone().map(|node| NodeServices { node, services }))
            }
            Operation::NodeChecks(_) => OperationReply::NodeChecks(held.checks.values().cloned().collect()),
            other => panic!("not called here: {other:?}"),
        };
        Ok(Answer { meta: shared::query::QueryMeta::default(), value })
    }

    async fn changes(&self, _request: Request, _since: u64) -> Result<Changes, rpc::Error> {
        Err(rpc::Error::Stopping)
    }
}

impl Held {
    fn register(&mut self, registration: Registration, transitions: Vec<(String, Transition)>, token: String) {
        if !registration.skip_node_update {
            self.node = Some(Node {
                id: registration.id.clone(),
                name: registration.node.clone(),
                address: registration.address.clone(),
                tagged_addresses: registration.tagged_addresses.clone(),
                meta: registration.node_meta.clone(),
                ..Node::default()
            });
        }
        for service in registration.service.iter().cloned() {
            self.services.insert(service.id.clone(), service);
        }
        for check in registration.checks.iter().cloned() {
            self.checks.insert(check.id.clone(), check);
        }
        self.registrations.push(registration);
        self.transitions.extend(transitions);
        self.tokens.push(token);
    }

    fn deregister(&mut self, service_id: &str, check_id: &str) {
        self.services.remove(service_id);
        self.checks.remove(check_id);
        if !service_id.is_empty() {
            self.checks.retain(|_, check| check.service_id != service_id);
        }
        self.deregistered.push(format!("{service_id}{check_id}"));
    }

    fn status(&self, check: &str) -> String {
        self.checks.get(check).map(|check| check.status.to_string()).unwrap_or_default()
    }
}

struct Agent {
    handle: Handle,
    catalog: Arc<Catalog>,
    runtime: Runtime,
    db: LocalDb,
}

fn options() -> Options {
    Options { node_name: "n".to_owned(), node_id: "id".to_owned(), datacenter: "dc1".to_owned(), ..Options::default() }
}

async fn start_with(options: Options, definitions: Definitions, catalog: Arc<Catalog>, db: LocalDb) -> Agent {
    let runtime = Runtime::seeded(1, 1_700_000_000_000);
    let router = Router::new(Arc::clone(&catalog) as Arc<dyn Handler>);
    let handle = Service::start(options, definitions, router, db.clone(), runtime.clone()).await.expect("a start");
    Agent { handle, catalog, runtime, db }
}

async fn start() -> Agent {
    start_with(options(), Definitions::default(), Arc::default(), LocalDb::open(None).expect("memory")).await
}

impl Agent {
    async fn service(&self, json: serde_json::Value) -> Result<(), Error> {
        self.handle.register_service(serde_json::from_value(json).expect("a registration"), false, "").await
    }

    async fn check(&self, json: serde_json::Value) -> Result<(), Error> {
        self.handle.register_check(serde_json::from_value(json).expect("a definition"), "").await
    }

    async fn report(&self, check: &str, status: &str, output: &str) -> Result<(), Error> {
        self.handle.update_ttl(check, CheckUpdate { status: status.to_owned(), output: output.to_owned() }).await
    }

    fn local_status(&self, check: &str) -> String {
        self.handle.checks("").expect("no filter")[check].status.to_string()
    }

    /// Waits until the catalog is as told.
    async fn until(&self, what: impl Fn(&Held) -> bool) {
        let reached = async {
            while !what(&self.catalog.held()) {
                clock::sleep(Duration::from_millis(20)).await;
            }
        };
        clock::timeout(Duration::from_secs(300), reached).await.expect("in time");
    }

    /// Ends the agent and starts it again with the same store.
    async fn restart(self, options: Options, definitions: Definitions) -> Self {
        assert!(self.runtime.tasks.stop(Duration::from_secs(5)).await);
        start_with(options, definitions, self.catalog, self.db).await
    }
}

fn web() -> serde_json::Value {
    json!({"Name": "web", "Tags": ["a"], "Check": {"TTL": "1h"}})
}

#[tokio::test(start_paused = true)]
async fn a_registration_reaches_the_catalog_in_one_call_after_the_node() {
    let agent = start().await;
    agent.until(|held| held.node.is_some()).await;
    agent.service(json!({"Name": "web", "Token": "secret", "Checks": [{"TTL": "1h"}, {"TTL": "1h"}]})).await.expect("registered");
    agent.until(|held| held.checks.len() == 2).await;
    let held = agent.catalog.held();
    let last = held.registrations.last().expect("a registration");
    assert_eq!((held.registrations.len(), last.checks.len(), last.skip_node_update), (2, 2, true));
    assert_eq!(held.tokens.last().map(String::as_str), Some("secret"));
    assert_eq!((last.node.as_str(), last.id.as_str(), last.datacenter.as_str()), ("n", "id", "dc1"));
}

#[tokio::test(start_paused = true)]
async fn what_is_changed_behind_the_agents_back_is_repaired_within_two_minutes() {
    let agent = start().await;
    agent.service(web()).await.expect("registered");
    agent.until(|held| held.services.contains_key("web")).await;
    {
        let mut held = agent.catalog.held();
        held.services.clear();
        held.checks.clear();
        let stray = CatalogService { id: "stray".to_owned(), ..CatalogService::default() };
        let servers = CatalogService { id: "consul".to_owned(), ..CatalogService::default() };
        held.services.extend([("stray".to_owned(), stray), ("consul".to_owned(), servers)]);
        held.checks.insert("serfHealth".to_owned(), Check { id: "serfHealth".to_owned(), ..Check::default() });
    }
    let at = agent.runtime.clock.now();
    agent.until(|held| held.services.contains_key("web") && !held.services.contains_key("stray")).await;
    assert!(agent.runtime.clock.now() - at <= Duration::from_secs(121));
    let held = agent.catalog.held();
    assert_eq!(held.services.keys().collect::<Vec<_>>(), ["consul", "web"]);
    assert_eq!(held.checks.keys().collect::<Vec<_>>(), ["serfHealth", "service:web"]);
}

#[tokio::test(start_paused = true)]
async fn who_leaves_tells_the_catalog_nothing_more() {
    let agent = start().await;
    agent.service(web()).await.expect("registered");
    agent.until(|held| held.services.contains_key("web")).await;
    // A reload that nobody waited for: what it leaves behind ends no other pause.
    agent.handle.reload(Definitions::default()).await.expect("reloaded");
    agent.handle.stop_syncing();
    let before = agent.catalog.held().registrations.len();
    // The leader takes the node out.
    {
        let mut held = agent.catalog.held();
        held.node = None;
        held.services.clear();
        held.checks.clear();
    }
    agent.report("service:web", "passing", "").await.expect("reported");
    agent.handle.server_joined();
    clock::sleep(Duration::from_secs(300)).await;
    let held = agent.catalog.held();
    assert!(held.node.is_none() && held.services.is_empty() && held.registrations.len() == before, "{:?}", held.registrations);
}

#[tokio::test(start_paused = true)]
async fn a_change_of_status_is_synced_at_once_and_one_of_the_output_later() {
    let agent = start().await;
    agent.service(web()).await.expect("registered");
    agent.until(|held| held.services.contains_key("web")).await;
    let at = agent.runtime.clock.now();
    agent.report("service:web", "passing", "one").await.expect("reported");
    agent.until(|held| held.status("service:web") == "passing").await;
    assert!(agent.runtime.clock.now() - at < Duration::from_secs(1));
    let sent = agent.catalog.held().transitions.clone();
    assert_eq!(sent.len(), 1);
    assert_eq!((sent[0].0.as_str(), sent[0].1.from.as_str(), sent[0].1.to.as_str()), ("service:web", "critical", "passing"));

    let at = agent.runtime.clock.now();
    agent.report("service:web", "passing", "two").await.expect("reported");
    assert_eq!(agent.handle.checks("").expect("no filter")["service:web"].output, "two");
    let output = |held: &Held| held.checks["service:web"].output.clone();
    let reached = async {
        while output(&agent.catalog.held()) != "two" {
            clock::sleep(Duration::from_millis(100)).await;
        }
    };
    clock::timeout(Duration::from_secs(500), reached).await.expect("in time");
    let waited = agent.runtime.clock.now() - at;
    assert!(waited >= Duration::from_secs(150) && waited <= Duration::from_secs(451), "{waited:?}");
    assert_eq!(agent.catalog.held().transitions.len(), 1, "no change of status, no transition");
}

#[tokio::test(start_paused = true)]
async fn nothing_is_lost_while_no_server_answers() {
    let agent = start().await;
    agent.until(|held| held.node.is_some()).await;
    agent.catalog.held().fail = Some(rpc::Error::NoLeader);
    agent.service(web()).await.expect("registered");
    agent.report("service:web", "passing", "").await.expect("reported");
    agent.report("service:web", "warning", "").await.expect("reported");
    agent.handle.deregister_service("web").await.expect("deregistered");
    agent.service(web()).await.expect("registered");
    agent.report("service:web", "passing", "").await.expect("reported");
    let at = agent.runtime.clock.now();
    clock::sleep(Duration::from_secs(40)).await;
    agent.catalog.held().fail = None;
    agent.until(|held| held.status("service:web") == "passing").await;
    assert!(agent.runtime.clock.now() - at <= Duration::from_secs(71));
    let held = agent.catalog.held();
    assert_eq!(held.transitions.len(), 1);
    assert!(held.calls < 40, "{} calls while nobody answered", held.calls);
}

#[tokio::test(start_paused = true)]
async fn a_server_that_comes_late_is_found_within_a_second() {
    let catalog = Arc::new(Catalog::default());
    catalog.held().fail = Some(rpc::Error::NoLeader);
    let agent = start_with(options(), Definitions::default(), catalog, LocalDb::open(None).expect("memory")).await;
    clock::sleep(Duration::from_secs(5)).await;
    agent.catalog.held().fail = None;
    let at = agent.runtime.clock.now();
    agent.until(|held| held.node.is_some()).await;
    assert!(agent.runtime.clock.now() - at <= Duration::from_millis(1100));
}

#[tokio::test(start_paused = true)]
async fn one_refused_service_does_not_hold_up_the_others() {
    #[derive(Debug)]
    struct Picky(Catalog);
    #[async_trait::async_trait]
    impl Handler for Picky {
        async fn handle(&self, request: Request, operation: Operation) -> Result<Answer<OperationReply>, rpc::Error> {
            if let Operation::Register(register) = &operation
                && register.registration.service.as_ref().is_some_and(|service| service.id == "bad")
            {
                return Err(rpc::Error::Refused("no".to_owned()));
            }
            self.0.handle(request, operation).await
        }
        async fn changes(&self, request: Request, since: u64) -> Result<Changes, rpc::Error> {
            self.0.changes(request, since).await
        }
    }
    let picky = Arc::new(Picky(Catalog::default()));
    let router = Router::new(Arc::clone(&picky) as Arc<dyn Handler>);
    let db = LocalDb::open(None).expect("memory");
    let handle = Service::start(options(), Definitions::default(), router, db, Runtime::seeded(1, 0)).await.expect("a start");
    for name in ["a", "bad", "c"] {
        let registration = serde_json::from_value(json!({"Name": name})).expect("a registration");
        handle.register_service(registration, false, "").await.expect("registered");
    }
    let synced = async {
        while picky.0.held().services.len() < 2 {
            clock::sleep(Duration::from_millis(1)).await;
        }
    };
    clock::timeout(Duration::from_secs(1), synced).await.expect("in time");
}

#[tokio::test(start_paused = true)]
async fn what_does_not_exist_is_not_found() {
    let agent = start().await;
    let unknown_check = "Unknown check ID \"x\". Ensure that the check ID is passed, not the check name.";
    let unknown_service = "Unknown service ID \"x\". Ensure that the service ID is passed, not the service name.";
    assert_eq!(agent.handle.deregister_check("x").await, Err(Error::NotFound(unknown_check.to_owned())));
    assert_eq!(agent.handle.deregister_service("x").await, Err(Error::NotFound(unknown_service.to_owned())));
    assert_eq!(agent.report("x", "passing", "").await, Err(Error::NotFound(unknown_check.to_owned())));
    assert_eq!(agent.report("x", "bogus", "").await, Err(Error::BadRequest("Invalid check status: 'bogus'".to_owned())));
    assert_eq!(agent.handle.run_check("x").await.map(|_| ()), Err(Error::NotFound(unknown_check.to_owned())));
    let maintenance = agent.handle.service_maintenance("x", true, "").await;
    assert_eq!(maintenance, Err(Error::NotFound("No service registered with ID \"x\"".to_owned())));
    let orphan = agent.check(json!({"Name": "c", "TTL": "1s", "ServiceID": "x"})).await;
    assert_eq!(orphan, Err(Error::Refused("ServiceID \"x\" does not exist".to_owned())));
    assert!(agent.handle.service("x").is_none() && agent.handle.check_status("x").is_none());
}

#[tokio::test(start_paused = true)]
async fn only_checks_that_run_by_themselves_can_be_run() {
    let agent = start().await;
    agent.service(web()).await.expect("registered");
    agent.check(json!({"Name": "al", "AliasService": "web"})).await.expect("registered");
    agent.check(json!({"Name": "tcp", "TCP": "no-port", "Interval": "1h"})).await.expect("registered");
    agent.handle.node_maintenance(true, "").await.expect("done");
    let reasons = [
        ("service:web", "it is a TTL check, which waits for reports"),
        ("al", "it is an alias, which follows other checks"),
        ("_node_maintenance", "it marks maintenance"),
        ("serfHealth", "the servers set it from what gossip knows about the node"),
    ];
    for (id, why) in reasons {
        let refused = agent.handle.run_check(id).await.map(|_| ());
        assert_eq!(refused, Err(Error::BadRequest(format!("Check \"{id}\" cannot be run: {why}"))));
    }
    assert_eq!(agent.report("tcp", "passing", "").await, Err(Error::Refused("CheckID \"tcp\" does not have associated TTL".to_owned())));
    let run = agent.handle.run_check("tcp").await.expect("a run");
    assert_eq!((run.result.as_str(), run.output.as_str()), ("critical", "dial tcp: address no-port: missing port in address"));
}

#[tokio::test]
async fn a_run_by_hand_is_in_the_catalog_when_it_answers() {
    let agent = start().await;
    let listener = net::listen(([127, 0, 0, 1], 0).into()).await.expect("listen");
    let address = listener.local_addr().expect("bound");
    agent.check(json!({"Name": "tcp", "TCP": address.to_string(), "Interval": "1h"})).await.expect("registered");
    let run = agent.handle.run_check("tcp").await.expect("a run");
    let output = format!("TCP connect {address}: Success");
    assert_eq!((run.node.as_str(), run.check_id.as_str(), run.status.as_str(), run.output), ("n", "tcp", "passing", output.clone()));
    assert!(run.started_at_ms > 0);
    {
        let held = agent.catalog.held();
        assert_eq!((held.status("tcp"), held.checks["tcp"].output.clone()), ("passing".to_owned(), output));
    }
    drop(listener);
    let run = agent.handle.run_check("tcp").await.expect("a run");
    assert_eq!((run.result.as_str(), agent.catalog.held().status("tcp").as_str()), ("critical", "critical"));
    let status = agent.handle.check_status("tcp").expect("a check");
    assert_eq!((status.runnable, status.runs_in_a_row, status.running, status.last_run), (true, 1, false, Some(run)));
    assert!(status.next_run_at_ms > 0 && status.kind == "tcp" && status.definition.tcp == address.to_string());
}

#[tokio::test(start_paused = true)]
async fn a_run_by_hand_answers_without_a_server() {
    let agent = start().await;
    agent.catalog.held().fail = Some(rpc::Error::NoServers);
    agent.check(json!({"Name": "tcp", "TCP": "no-port", "Interval": "1h"})).await.expect("registered");
    let at = agent.runtime.clock.now();
    assert_eq!(agent.handle.run_check("tcp").await.expect("a run").result.as_str(), "critical");
    assert!(agent.runtime.clock.now() - at < Duration::from_secs(3));
}

#[tokio::test(start_paused = true)]
async fn a_ttl_check_expires_and_revives() {
    let agent = start().await;
    agent.service(json!({"Name": "web", "Check": {"TTL": "10s"}})).await.expect("registered");
    agent.report("service:web", "passing", "fine").await.expect("reported");
    agent.until(|held| held.status("service:web") == "passing").await;
    agent.until(|held| held.status("service:web") == "critical").await;
    let output = agent.catalog.held().checks["service:web"].output.clone();
    assert_eq!(output, "TTL expired (last output before timeout follows): fine");
    agent.report("service:web", "warning", &"x".repeat(5000)).await.expect("reported");
    agent.until(|held| held.status("service:web") == "warning").await;
    let output = agent.catalog.held().checks["service:web"].output.clone();
    assert_eq!(output, format!("{}… (captured 4096 of 5000 bytes)", "x".repeat(4096)));
}

#[tokio::test(start_paused = true)]
async fn a_service_critical_for_too_long_is_deregistered() {
    let agent = start().await;
    agent.service(json!({"Name": "web", "Check": {"TTL": "1s", "DeregisterCriticalServiceAfter": "1s"}})).await.expect("registered");
    agent.until(|held| held.services.contains_key("web")).await;
    let at = agent.runtime.clock.now();
    agent.until(|held| !held.services.contains_key("web")).await;
    let waited = agent.runtime.clock.now() - at;
    assert!(waited >= Duration::from_secs(61) && waited <= Duration::from_secs(92), "{waited:?}");
    assert!(agent.handle.services("").expect("no filter").is_empty());
}

#[tokio::test(start_paused = true)]
async fn maintenance_is_the_worst_health_and_survives_a_registration() {
    let agent = start().await;
    agent.service(web()).await.expect("registered");
    let health = |agent: &Agent| agent.handle.service_health("web").expect("a service").aggregated_status;
    assert_eq!(health(&agent), "critical");
    agent.report("service:web", "passing", "").await.expect("reported");
    assert_eq!(health(&agent), "passing");
    agent.handle.service_maintenance("web", true, "why").await.expect("done");
    agent.handle.service_maintenance("web", true, "another reason").await.expect("done");
    assert_eq!(health(&agent), "maintenance");
    assert_eq!(agent.handle.checks("").expect("no filter")["_service_maintenance:web"].notes, "why");
    let registration = serde_json::from_value(web()).expect("a registration");
    agent.handle.register_service(registration, true, "").await.expect("registered");
    assert_eq!(health(&agent), "maintenance");
    agent.until(|held| held.status("_service_maintenance:web") == "critical").await;
    agent.handle.service_maintenance("web", false, "").await.expect("done");
    agent.until(|held| !held.checks.contains_key("_service_maintenance:web")).await;
    agent.handle.node_maintenance(true, "").await.expect("done");
    assert_eq!(agent.handle.service_health_by_name("web")[0].aggregated_status, "maintenance");
    agent.handle.node_maintenance(false, "").await.expect("done");
    assert_eq!(health(&agent), "passing");
}

#[tokio::test(start_paused = true)]
async fn checks_not_in_the_body_go_only_when_asked() {
    let agent = start().await;
    agent.service(web()).await.expect("registered");
    agent.check(json!({"Name": "extra", "TTL": "1h", "ServiceID": "web"})).await.expect("registered");
    agent.service(web()).await.expect("registered");
    assert!(agent.handle.checks("").expect("no filter").contains_key("extra"));
    agent.until(|held| held.checks.contains_key("extra")).await;
    agent.handle.register_service(serde_json::from_value(web()).expect("a registration"), true, "").await.expect("registered");
    assert_eq!(agent.handle.checks("").expect("no filter").into_keys().collect::<Vec<_>>(), ["service:web"]);
    agent.until(|held| !held.checks.contains_key("extra")).await;
}

#[tokio::test(start_paused = true)]
async fn an_alias_follows_the_checks_of_its_service() {
    let agent = start().await;
    agent.check(json!({"Name": "al", "AliasService": "web"})).await.expect("registered");
    let said = async |output: &str| {
        let local = || agent.handle.checks("").expect("no filter")["al"].output.clone();
        agent.until(|_| local() == output).await;
    };
    said("Service web could not be found on node ").await;
    agent.service(web()).await.expect("registered");
    said("Aliased check \"Service 'web' check\" failing: ").await;
    agent.report("service:web", "passing", "").await.expect("reported");
    agent.until(|held| held.status("al") == "passing" && held.checks["al"].output == "All checks passing.").await;
    agent.report("service:web", "warning", "hm").await.expect("reported");
    agent.until(|held| held.status("al") == "warning").await;
}

#[tokio::test(start_paused = true)]
async fn a_services_content_hash_changes_with_its_definition() {
    let agent = start().await;
    agent.service(web()).await.expect("registered");
    let hash = agent.handle.service("web").expect("a service").content_hash;
    assert_eq!(hash.len(), 16);
    let at = agent.runtime.clock.now();
    agent.handle.service_changed("web", &hash, Duration::from_secs(3)).await;
    assert_eq!(agent.runtime.clock.now() - at, Duration::from_secs(3));
    let waiting = agent.handle.service_changed("web", &hash, Duration::from_secs(300));
    let change = agent.service(json!({"Name": "web", "Port": 1}));
    let (changed, registered) = tokio::join!(clock::timeout(Duration::from_secs(1), waiting), change);
    assert_eq!((changed, registered), (Ok(()), Ok(())));
    assert_ne!(agent.handle.service("web").expect("a service").content_hash, hash);
}

#[tokio::test(start_paused = true)]
async fn discarded_output_is_kept_nowhere() {
    let options = Options { discard_check_output: true, ..options() };
    let agent = start_with(options, Definitions::default(), Arc::default(), LocalDb::open(None).expect("memory")).await;
    agent.service(web()).await.expect("registered");
    agent.report("service:web", "passing", "secret").await.expect("reported");
    agent.until(|held| held.status("service:web") == "passing").await;
    assert_eq!(agent.catalog.held().checks["service:web"].output, "");
    assert_eq!(agent.handle.checks("").expect("no filter")["service:web"].output, "");
}

#[tokio::test(start_paused = true)]
async fn filters_select_services_and_checks() {
    let agent = start().await;
    agent.service(web()).await.expect("registered");
    agent.service(json!({"Name": "api", "Check": {"TTL": "1h", "Status": "passing"}})).await.expect("registered");
    assert_eq!(agent.handle.services("Service == web").expect("a filter").into_keys().collect::<Vec<_>>(), ["web"]);
    assert_eq!(agent.handle.checks("Status == passing").expect("a filter").into_keys().collect::<Vec<_>>(), ["service:api"]);
    assert!(matches!(agent.handle.services("Service =="), Err(Error::Refused(_))));
}

fn files(services: &[serde_json::Value], checks: &[serde_json::Value]) -> Definitions {
    let parse = |value: &serde_json::Value| value.clone();
    Definitions {
        services: services.iter().map(|value| serde_json::from_value(parse(value)).expect("a registration")).collect(),
        checks: checks.iter().map(|value| serde_json::from_value(parse(value)).expect("a definition")).collect(),
    }
}

#[tokio::test(start_paused = true)]
async fn what_the_api_registered_survives_a_restart_unless_a_file_defines_it() {
    let agent = start().await;
    agent.service(json!({"Name": "api", "Port": 1, "Check": {"TTL": "1h"}})).await.expect("registered");
    agent.service(json!({"Name": "both", "Port": 2})).await.expect("registered");
    agent.service(json!({"Name": "gone"})).await.expect("registered");
    agent.check(json!({"Name": "short", "TTL": "1s"})).await.expect("registered");
    agent.handle.deregister_service("gone").await.expect("deregistered");
    agent.handle.node_maintenance(true, "why").await.expect("done");
    agent.report("service:api", "passing", "fine").await.expect("reported");
    agent.report("short", "passing", "fine").await.expect("reported");
    clock::sleep(Duration::from_millis(900)).await;
    let agent = agent.restart(options(), files(&[json!({"Name": "both", "Port": 3}), json!({"Name": "file"})], &[])).await;
    let services = agent.handle.services("").expect("no filter");
    assert_eq!(services.iter().map(|(id, s)| (id.as_str(), s.port)).collect::<Vec<_>>(), [("api", 1), ("both", 3), ("file", 0)]);
    assert_eq!((agent.local_status("service:api"), agent.local_status("_node_maintenance")), ("passing".into(), "critical".into()));
    assert_eq!(agent.handle.checks("").expect("no filter")["_node_maintenance"].notes, "why");

    // The wall clock of a test starts anew with the agent, so the report has its whole second again.
    assert_eq!(agent.local_status("short"), "passing");
    agent.until(|held| held.status("short") == "critical").await;

    // The file's definition was the only one from then on.
    let agent = agent.restart(options(), Definitions::default()).await;
    assert_eq!(agent.handle.services("").expect("no filter").into_keys().collect::<Vec<_>>(), ["api"]);
    agent.until(|held| held.services.len() == 1).await;
}

#[tokio::test(start_paused = true)]
async fn a_reload_changes_what_files_define_and_keeps_the_rest() {
    let agent = start_with(
        options(),
        files(&[json!({"Name": "old"}), json!({"Name": "kept", "Check": {"TTL": "1h"}})], &[json!({"Name": "disk", "TTL": "1h"})]),
        Arc::default(),
        LocalDb::open(None).expect("memory"),
    )
    .await;
    agent.service(json!({"Name": "api"})).await.expect("registered");
    agent.report("service:kept", "passing", "fine").await.expect("reported");
    agent.until(|held| held.services.len() == 3).await;
    let bad = agent.handle.reload(files(&[json!({"Name": "new"})], &[json!({"Name": "x"})])).await;
    assert_eq!(bad, Err(Error::BadRequest("Invalid check: TTL must be > 0 for TTL checks".to_owned())));
    assert_eq!(agent.handle.services("").expect("no filter").len(), 3, "a bad file changes nothing");
    agent.handle.reload(files(&[json!({"Name": "new"}), json!({"Name": "kept", "Check": {"TTL": "1h"}})], &[])).await.expect("reloaded");
    agent.until(|held| held.services.keys().collect::<Vec<_>>() == ["api", "kept", "new"]).await;
    assert_eq!(agent.handle.checks("").expect("no filter").into_keys().collect::<Vec<_>>(), ["service:kept"]);
    assert_eq!(agent.local_status("service:kept"), "passing");
}

#[tokio::test(start_paused = true)]
async fn a_bad_file_stops_the_start() {
    let script = json!({"Name": "c", "Args": ["true"], "Interval": "1s"});
    let db = LocalDb::open(None).expect("memory");
    let router = Router::new(Arc::new(Catalog::default()));
    let refused = Service::start(options(), files(&[], &[script]), router, db, Runtime::seeded(1, 0)).await.map(|_| ());
    let text = "Scripts are disabled on this agent; to enable, configure 'enable_script_checks' or 'enable_local_script_checks' to true";
    assert_eq!(refused, Err(Error::Refused(text.to_owned())));
}
