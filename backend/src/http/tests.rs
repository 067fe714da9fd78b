//! The API over real sockets: what clients see on the wire, with scripted servers behind it and a real local state.
//!
//! Expected answers are those of Consul 1.8.7 unless a case says otherwise.

use std::{
    net::SocketAddr,
    sync::{Arc, Mutex},
    time::Duration,
};

use shared::{
    agent::{Info, Member},
    health::ServiceNode,
    kv::{Entry, Op},
    node::Node,
    query::{Consistency, QueryMeta},
};
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    sync::mpsc,
};

use tracing_subscriber::layer::SubscriberExt as _;

use super::{Listener, Options, serve};
use crate::{
    local,
    localdb::LocalDb,
    rpc::{self, Answer, Changes, Handler, Operation, OperationReply, Request, Router},
    rt::{
        Clock, Runtime, clock,
        net::{self, TcpStream},
    },
    telemetry,
};

type Script = dyn Fn(&Operation) -> Result<OperationReply, rpc::Error> + Send + Sync;

/// Servers that answer from a script and remember what they were asked.
struct Servers {
    script: Box<Script>,
    asked: Mutex<Vec<(Request, Operation)>>,
}

#[async_trait::async_trait]
impl Handler for Servers {
    async fn handle(&self, request: Request, operation: Operation) -> Result<Answer<OperationReply>, rpc::Error> {
        let meta = QueryMeta { index: 42, known_leader: true, last_contact_ms: 0, consistency: request.options.consistency };
        let reply = (self.script)(&operation);
        self.asked.lock().expect("no panic").push((request, operation));
        Ok(Answer { meta, value: reply? })
    }

    async fn changes(&self, _request: Request, since: u64) -> Result<Changes, rpc::Error> {
        let (sender, changes) = mpsc::channel(4);
        sender.send(Ok((since, Some(Vec::new())))).await.expect("the stream is open");
        // Kept open until the reader goes.
        Runtime::system().tasks.spawn("change stream", async move { sender.closed().await });
        Ok(changes)
    }
}

struct Nobody;

#[async_trait::async_trait]
impl local::Control for Nobody {
    fn members(&self, wan: bool) -> Option<Vec<Member>> {
        (!wan).then(Vec::new)
    }
    async fn info(&self) -> Info {
        Info::default()
    }
    async fn reload(&self) -> Result<(), local::Error> {
        Err(local::Error::Refused("bad file".to_owned()))
    }
    async fn leave(&self) -> Result<(), local::Error> {
        Ok(())
    }
    async fn join(&self, _address: &str, _wan: bool) -> Result<usize, local::Error> {
        Ok(1)
    }
    async fn force_leave(&self, node: &str, _prune: bool) -> Result<(), local::Error> {
        Err(local::Error::Refused(format!("agent: No node found with name '{node}'")))
    }
}

struct Api {
    address: SocketAddr,
    servers: Arc<Servers>,
    runtime: Runtime,
}

impl Api {
    async fn start(options: Options, script: impl Fn(&Operation) -> Result<OperationReply, rpc::Error> + Send + Sync + 'static) -> Self {
        let servers = Arc::new(Servers { script: Box::new(script), asked: Mutex::default() });
        let router = Router::new(servers.clone());
        let runtime = Runtime::system();
        let db = LocalDb::open(None).expect("a store in memory");
        let node = local::Options { node_name: "n1".to_owned(), datacenter: "dc1".to_owned(), ..local::Options::default() };
        let started = local::Service::start(node, local::Definitions::default(), router.clone(), db, runtime.clone());
        let local = started.await.expect("starts");
        let socket = net::listen(SocketAddr::from(([127, 0, 0, 1], 0))).await.expect("a free port");
        let address = socket.local_addr().expect("bound");
        let options = Options { node_name: "n1".to_owned(), ..options };
        serve(vec![Listener::Tcp(socket)], options, router, local, Arc::new(Nobody), &runtime);
        Self { address, servers, runtime }
    }

    async fn open(&self, request: &str) -> TcpStream {
        let (head, body) = request.split_once("\n\n").unwrap_or((request, ""));
        let mut lines = head.lines();
        let mut raw = format!("{} HTTP/1.1\r\nHost: x\r\n", lines.next().expect("a request line"));
        lines.for_each(|line| raw.push_str(&format!("{line}\r\n")));
        if !body.is_empty() && !head.contains("chunked") {
            raw.push_str(&format!("Content-Length: {}\r\n", body.len()));
        }
        let mut stream = TcpStream::connect(self.address).await.expect("connects");
        stream.write_all(format!("{raw}\r\n{body}").as_bytes()).await.expect("sends");
        stream
    }

    /// Sends `METHOD path`, header lines and after an empty line the body; answers head and body.
    async fn ask(&self, request: &str) -> (String, String) {
        let (first, rest) = request.split_once('\n').unwrap_or((request, ""));
        let mut stream = self.open(&format!("{first}\nConnection: close\n{rest}")).await;
        let mut answer = Vec::new();
        clock::timeout(Duration::from_secs(20), stream.read_to_end(&mut answer)).await.expect("an answer in time").expect("reads");
        let answer = String::from_utf8_lossy(&answer).into_owned();
        let (head, body) = answer.split_once("\r\n\r\n").expect("a whole answer");
        (head.to_owned(), body.to_owned())
    }

    async fn check(&self, request: &str, status: u16, body: &str) {
        let (head, got) = self.ask(request).await;
        assert!(head.starts_with(&format!("HTTP/1.1 {status} ")), "{request}: {head}\n{got}");
        assert_eq!(got, body, "{request}");
    }

    async fn check_headers(&self, request: &str, wanted: &[&str], unwanted: &[&str]) {
        let (head, _) = self.ask(request).await;
        for line in wanted {
            assert!(head.lines().any(|got| got == *line), "{request}: no {line} in\n{head}");
        }
        for name in unwanted {
            assert!(!head.lines().any(|got| got.starts_with(name)), "{request}: {name} in\n{head}");
        }
    }

    fn last(&self) -> (Request, Operation) {
        self.servers.asked.lock().expect("no panic").last().cloned().expect("the servers were asked")
    }
}

/// Reads a stream until the text occurs.
async fn read_until(stream: &mut TcpStream, text: &str) -> String {
    let (mut part, mut answer) = (vec![0; 2048], String::new());
    while !answer.contains(text) {
        let read = clock::timeout(Duration::from_secs(20), stream.read(&mut part)).await.expect("in time").expect("reads");
        assert_ne!(read, 0, "ended: {answer}");
        answer.push_str(&String::from_utf8_lossy(&part[..read]));
    }
    answer
}

/// Servers with one key, one node, one instance.
fn small(operation: &Operation) -> Result<OperationReply, rpc::Error> {
    let entry = || Entry { key: "a/b".to_owned(), value: b"<v>".to_vec(), create_index: 3, modify_index: 4, ..Entry::default() };
    Ok(match operation {
        Operation::KvGet(get) => OperationReply::KvGet((get.key == "a/b").then(entry)),
        Operation::KvList(list) => OperationReply::KvList("a/b".starts_with(&list.prefix).then(entry).into_iter().collect()),
        Operation::KvKeys(_) => OperationReply::KvKeys(vec!["a/".to_owned()]),
        Operation::KvWrite(_) => OperationReply::KvWrite(true),
        Operation::Leader(_) => OperationReply::Leader("127.0.0.1:8300".to_owned()),
        Operation::Nodes(_) => return Err(rpc::Error::NoLeader),
        Operation::NodeServices(_) => OperationReply::NodeServices(None),
        Operation::HealthServiceNodes(_) => {
            let node = Node { name: "n1".to_owned(), ..Node::default() };
            OperationReply::HealthServiceNodes(Arc::new(vec![ServiceNode { node, ..ServiceNode::default() }]))
        }
        Operation::Register(_) => OperationReply::Register(()),
        Operation::Datacenters(_) => return Err(rpc::Error::NoPathToDatacenter),
        Operation::Services(_) => return Err(rpc::Error::PermissionDenied),
        Operation::AgentCall(_) => return Err(rpc::Error::Unreachable("node n9 cannot be reached".to_owned())),
        _ => return Err(rpc::Error::Refused("not in the script".to_owned())),
    })
}

#[tokio::test]
async fn paths_and_methods_follow_consuls_rules() {
    let api = Api::start(Options { ui: true, ..Options::default() }, small).await;
    api.check("GET /", 301, "<a href=\"/ui/\">Moved Permanently</a>.\n\n").await;
    // What is below the dashboard's root is its own business.
    let (head, _) = api.ask("GET /ui/dc1/kv/a%2F%2Fb").await;
    assert!(!head.starts_with("HTTP/1.1 301"), "a key keeps its slashes: {head}");
    api.check("GET /v1/kv", 301, "<a href=\"/v1/kv/\">Moved Permanently</a>.\n\n").await;
    api.check("PUT /v1/kv\n\nx", 301, "").await;
    api.check_headers("GET /v1/kv/a//b?raw&x=1", &["Location: /v1/kv/a/b?raw&x=1"], &[]).await;
    api.check_headers("GET /v1/kv/a%2F%2Fb", &["Location: /v1/kv/a/b"], &[]).await;
    api.check_headers("GET /v1/kv/x%20y/../b", &["Location: /v1/kv/b"], &[]).await;
    api.check("GET /v1/kv/a%2Fb?raw", 200, "<v>").await;
    api.check("GET /v1/kv/a%01b", 400, "").await;
    api.check("GET /v1/kv/%zz", 400, "400 Bad Request").await;
    api.check("POST /v1/kv/a", 405, "method POST not allowed").await;
    api.check("HEAD /v1/status/leader", 405, "").await;
    api.check("OPTIONS /v1/kv/a", 200, "").await;
    api.check_headers("OPTIONS /v1/kv/a", &["Allow: OPTIONS,GET,PUT,DELETE", "Vary: Accept-Encoding", "Content-Length: 0"], &["X-Consul"])
        .await;
    api.check("GET /v1/nothing", 404, "Invalid URL path: not a recognized HTTP API endpoint\n").await;
    let not_the_api = "Invalid URL path: if attempting to use the HTTP API, ensure the path starts with '/v1/'\n";
    api.check("GET /other", 404, not_the_api).await;
    let api = Api::start(Options::default(), small).await;
    let (head, body) = api.ask("GET /").await;
    assert!(head.starts_with("HTTP/1.1 200 ") && body.starts_with("Consul Agent"), "{head}\n{body}");
}

#[tokio::test]
async fn headers_are_in_canonical_case_and_complete() {
    let api =
        Api::start(Options { response_headers: vec![("X-Frame-Options".to_owned(), "DENY".to_owned())], ..Options::default() }, small)
            .await;
    let meta = ["X-Consul-Index: 42", "X-Consul-Knownleader: true", "X-Consul-Lastcontact: 0"];
    let all = [&meta[..], &["Content-Type: application/json", "Vary: Accept-Encoding", "X-Frame-Options: DENY"]].concat();
    api.check_headers("GET /v1/kv/a/b", &all, &["X-Consul-Effective-Consistency", "Content-Encoding"]).await;
    api.check_headers("GET /v1/kv/none", &meta, &["Content-Type"]).await;
    let stale = [&meta[..], &["X-Consul-Effective-Consistency: stale", "X-Cache: MISS"]].concat();
    api.check_headers("GET /v1/health/service/web?stale&cached", &stale, &[]).await;
    api.check_headers("GET /v1/health/service/web", &["X-Consul-Effective-Consistency: leader"], &["X-Cache"]).await;
    let failed = ["X-Consul-Index: 1", "X-Consul-Knownleader: false", "Content-Type: text/plain; charset=utf-8"];
    api.check_headers("GET /v1/catalog/nodes", &failed, &["X-Consul-Effective-Consistency"]).await;
    let raw = ["Content-Type: text/plain", "Content-Security-Policy: sandbox", "X-Content-Type-Options: nosniff", "X-Consul-Index: 42"];
    api.check_headers("GET /v1/kv/a/b?raw", &raw, &[]).await;
    // Several values have no raw form.
    api.check_headers("GET /v1/kv/a?raw&recurse", &["Content-Type: application/json"], &["Content-Security-Policy"]).await;
    let zipped = "GET /v1/health/service/web\nAccept-Encoding: gzip";
    api.check_headers(zipped, &["Content-Encoding: gzip", "Vary: Accept-Encoding"], &[]).await;
    let mut stream = api.open("GET /v1/muster/changes\nAccept-Encoding: gzip").await;
    let answer = read_until(&mut stream, "event: hello").await;
    assert!(answer.contains("Content-Type: text/event-stream") && !answer.contains("Content-Encoding"), "{answer}");
}

#[tokio::test]
async fn keys_and_values_travel_unchanged() {
    let api = Api::start(Options { kv_max_value_size: 8, ..Options::default() }, small).await;
    let entry = r#"[{"LockIndex":0,"Key":"a/b","Flags":0,"Value":"PHY+","CreateIndex":3,"ModifyIndex":4}]"#;
    api.check("GET /v1/kv/a/b", 200, entry).await;
    api.check("GET /v1/kv/a?recurse", 200, entry).await;
    api.check("GET /v1/kv/?keys&separator=/&pretty", 200, "[\n    \"a/\"\n]\n").await;
    api.check("GET /v1/kv/none", 404, "").await;
    api.check("GET /v1/kv/", 400, "Missing key name").await;
    api.check("PUT /v1/kv/q%3F%20%C3%A9/%2ex?flags=7&cas=9&dc=dc2\n\nvalue", 200, "true").await;
    let (request, Operation::KvWrite(put)) = api.last() else { panic!("not a write") };
    assert_eq!((put.write.key.as_str(), put.write.flags, put.write.op, put.write.value), ("q? é/.x", 7, Op::Cas(9), b"value".to_vec()));
    assert_eq!(request.datacenter, "dc2");
    api.check("DELETE /v1/kv/a?recurse", 200, "true").await;
    api.check("PUT /v1/kv/a?cas=1&acquire=zz\n\nx", 400, "Conflicting flags: acquire=zz&cas=1").await;
    api.check("DELETE /v1/kv/a?recurse&cas=1", 400, "Conflicting flags: cas=1&recurse=").await;
    api.check("PUT /v1/kv/a?flags=abc\n\nx", 500, "strconv.ParseUint: parsing \"abc\": invalid syntax").await;
    api.check("PUT /v1/kv/a\n\n12345678", 200, "true").await;
    let too_large = "Request body(9 bytes) too large, max size: 8 bytes. \
                     See https://www.consul.io/docs/agent/options.html#kv_max_value_size.";
    api.check("PUT /v1/kv/a\n\n123456789", 413, too_large).await;
    let chunked = "PUT /v1/kv/a\nTransfer-Encoding: chunked\n\n9\r\n123456789\r\n0\r\n\r\n";
    api.check(chunked, 413, too_large).await;
}

#[tokio::test]
async fn query_options_reach_the_servers_or_are_refused() {
    let api = Api::start(Options { default_token: "agents".to_owned(), ..Options::default() }, small).await;
    let ask = "GET /v1/health/service/web?index=5&wait=9.98s&stale&near=_agent&node-meta=a:b:c&node-meta=d&tag=x&tag=y&passing=1";
    let (head, _) = api.ask(&format!("{ask}\nAuthorization: bearer  secret more")).await;
    assert!(head.starts_with("HTTP/1.1 200 "), "{head}");
    let (request, Operation::HealthServiceNodes(wanted)) = api.last() else { panic!("not a health read") };
    let options = request.options;
    assert_eq!((options.index, options.wait.map(|wait| wait.0), options.consistency), (5, Some(9_980_000_000), Consistency::Stale));
    assert_eq!((options.near.as_str(), request.token.as_str()), ("n1", "secret"));
    assert_eq!(options.node_meta, [("a".to_owned(), "b:c".to_owned()), ("d".to_owned(), String::new())]);
    assert_eq!((wanted.tags, wanted.passing), (vec!["x".to_owned(), "y".to_owned()], true));
    for (request, token) in [
        ("GET /v1/kv/a?token=q\nX-Consul-Token: h", "q"),
        ("GET /v1/kv/a?token=\nX-Consul-Token: h\nAuthorization: Bearer b", "h"),
        ("GET /v1/kv/a\nAuthorization: Basic b", "agents"),
    ] {
        api.ask(request).await;
        assert_eq!(api.last().0.token, token, "{request}");
    }
    api.check("GET /v1/kv/a?index=x", 400, "Invalid index").await;
    api.check("GET /v1/kv/a?wait=10", 400, "Invalid wait time").await;
    api.check("GET /v1/kv/a?max_stale=x", 400, "Invalid max_stale value \"x\"").await;
    api.check("GET /v1/kv/a?stale&consistent", 400, "Cannot specify ?stale with ?consistent, conflicting semantics.").await;
    api.check("GET /v1/kv/a?cached&consistent", 400, "Cannot specify ?cached with ?consistent, conflicting semantics.").await;
    api.check("GET /v1/health/service/x?passing=zz", 400, "Invalid value for ?passing").await;
    let namespaces = "Bad request: Invalid query parameter: \"ns\" - Namespaces are a Consul Enterprise feature";
    api.check("GET /v1/kv/a?ns=x", 400, namespaces).await;
}

#[tokio::test]
async fn failures_have_consuls_status_and_text() {
    let api = Api::start(Options { block_endpoints: vec!["/v1/agent/self".to_owned()], ..Options::default() }, small).await;
    api.check("GET /v1/catalog/nodes", 500, "No cluster leader").await;
    api.check("GET /v1/catalog/datacenters", 500, "No path to datacenter").await;
    api.check("GET /v1/catalog/services", 403, "Permission denied").await;
    api.check("GET /v1/catalog/service/", 400, "Missing service name").await;
    api.check("GET /v1/catalog/node/x", 200, "null").await;
    api.check("GET /v1/catalog/node-services/x", 200, r#"{"Node":null,"Services":null}"#).await;
    api.check("GET /v1/agent/self", 403, "Endpoint is blocked by agent configuration").await;
    api.check("GET /v1/acl/tokens", 401, "ACL support disabled").await;
    api.check("PUT /v1/agent/token/default", 401, "ACL support disabled").await;
    api.check("PUT /v1/agent/reload", 500, "bad file").await;
    api.check(
        "PUT /v1/catalog/register\n\n{b",
        400,
        "Request decode failed: invalid character 'b' looking for beginning of object key string",
    )
    .await;
    api.check("PUT /v1/catalog/register", 400, "Request decode failed: EOF").await;
    api.check("PUT /v1/catalog/register\n\n{\"node\":\"n\",\"Later\":1}", 200, "true").await;
    api.check("GET /v1/muster/check/status/n9/c", 502, "node n9 cannot be reached").await;
    let register = "PUT /v1/muster/agent/n9/service/register?replace-existing-checks\n\n{\"name\":\"web\"}";
    api.check(register, 502, "node n9 cannot be reached").await;
    let (_, Operation::AgentCall(carried)) = api.last() else { panic!("not an agent call") };
    let rpc::Payload::RegisterService { registration, replace_existing_checks } = carried.payload else { panic!("not a registration") };
    assert_eq!((carried.node.as_str(), registration.name.as_str(), replace_existing_checks), ("n9", "web", true));
    api.check("GET /v1/muster/agent/n9/maintenance?enable=true", 405, "method GET not allowed").await;
    api.check("PUT /v1/muster/agent/n9/maintenance", 400, "Missing value for enable").await;
    api.check("GET /v1/muster/agent/n9/monitor", 502, "node n9 cannot be reached").await;
    api.check("GET /v1/muster/agent/n9/monitor?loglevel=bogus", 400, "Unknown log level: bogus").await;
    api.check("PUT /v1/muster/agent/n9/monitor", 405, "method PUT not allowed").await;
    api.check("GET /v1/muster/check/history", 400, "Missing node name or ?service").await;
    api.check("GET /v1/muster/changes?topic=x", 400, "Invalid topic: \"x\" is none of node, service, check, kv, session, raft").await;
    api.check("GET /v1/muster/catalog/services?limit=9999", 400, "Invalid limit: at most 500 rows a page").await;
    let only_there = Options { allow_write_http_from: vec![("10.0.0.0".parse().expect("an address"), 8)], ..Options::default() };
    let api = Api::start(only_there, small).await;
    api.check("PUT /v1/kv/a\n\nx", 403, "Access is restricted").await;
    api.check("GET /v1/kv/a/b?raw", 200, "<v>").await;
}

#[tokio::test]
async fn a_service_lives_through_the_agents_api() {
    let api = Api::start(Options::default(), small).await;
    api.check("GET /v1/agent/services", 200, "{}").await;
    api.check("PUT /v1/agent/service/register\n\n{\"name\":\"web\",\"port\":80,\"check\":{\"ttl\":\"10s\"}}", 200, "").await;
    let (head, body) = api.ask("GET /v1/agent/service/web").await;
    let service: shared::agent::AgentService = serde_json::from_str(&body).expect("a service");
    assert!(head.contains(&format!("X-Consul-Contenthash: {}", service.content_hash)) && service.port == 80, "{head}\n{body}");
    api.check("GET /v1/agent/health/service/id/web?format=text", 503, "critical").await;
    api.check("PUT /v1/agent/check/pass/service:web?note=fine", 200, "").await;
    api.check("GET /v1/agent/health/service/name/web\nAccept: text/plain", 200, "passing").await;
    api.check("PUT /v1/agent/check/update/service:web\n\n{\"Status\":\"bogus\"}", 400, "Invalid check status: 'bogus'").await;
    api.check("PUT /v1/agent/service/maintenance/web", 400, "Missing value for enable").await;
    api.check("PUT /v1/agent/service/maintenance/web?enable=zz", 400, "Invalid value for enable: \"zz\"").await;
    api.check("PUT /v1/agent/service/maintenance/web?enable=true&reason=why", 200, "").await;
    api.check("GET /v1/agent/health/service/id/web?format=text", 503, "maintenance").await;
    api.check("GET /v1/agent/service/nope", 404, "unknown service ID: nope").await;
    api.check("GET /v1/agent/health/service/id/nope?format=text", 404, "ServiceId nope not found").await;
    api.check("GET /v1/agent/health/service/id/nope", 404, r#"{"AggregatedStatus":"critical","Service":null,"Checks":null}"#).await;
    api.check("PUT /v1/agent/service/deregister/web", 200, "").await;
    api.check("GET /v1/agent/services", 200, "{}").await;
}

#[tokio::test]
async fn a_blocked_hash_read_returns_when_the_definition_changes() {
    let api = Api::start(Options::default(), small).await;
    let register = |port: u16| format!("PUT /v1/agent/service/register\n\n{{\"Name\":\"web\",\"Port\":{port}}}");
    api.ask(&register(80)).await;
    let (_, body) = api.ask("GET /v1/agent/service/web").await;
    let service: shared::agent::AgentService = serde_json::from_str(&body).expect("a service");
    let read = format!("GET /v1/agent/service/web?wait=15s&hash={}", service.content_hash);
    let register = register(81);
    let (blocked, _) = tokio::join!(api.ask(&read), api.ask(&register));
    let changed: shared::agent::AgentService = serde_json::from_str(&blocked.1).expect("a service");
    assert_eq!(changed.port, 81);
}

#[tokio::test]
async fn the_log_is_streamed_as_it_is_written() {
    let (log, layer) = telemetry::layer(telemetry::Level::Info, false, Clock::system(), Box::new(std::io::sink()));
    let _guard = tracing::subscriber::set_default(tracing_subscriber::registry().with(layer));
    let api = Api::start(Options { log: Some(log), ..Options::default() }, small).await;
    api.check("GET /v1/agent/monitor?loglevel=bogus", 400, "Unknown log level: bogus").await;
    let mut stream = api.open("GET /v1/agent/monitor?loglevel=debug&logjson\nAccept-Encoding: gzip").await;
    let head = read_until(&mut stream, "\r\n\r\n").await;
    assert!(head.starts_with("HTTP/1.1 200 ") && !head.contains("Content-Encoding"), "{head}");
    api.ask("GET /v1/status/leader?token=secret&x=1").await;
    let lines = read_until(&mut stream, "Request finished").await;
    assert!(lines.contains(r#""url":"/v1/status/leader?token=<hidden>&x=1""#), "{lines}");
}

#[tokio::test]
async fn connections_are_kept_and_end_with_the_agent() {
    let api = Api::start(Options { max_conns_per_client: 1, ..Options::default() }, small).await;
    let mut stream = api.open("GET /v1/status/leader").await;
    let mut answer = [0; 512];
    for _ in 0..2 {
        let read = stream.read(&mut answer).await.expect("reads");
        assert!(String::from_utf8_lossy(&answer[..read]).ends_with("\"127.0.0.1:8300\""));
        stream.write_all(b"GET /v1/status/leader HTTP/1.1\r\nHost: x\r\n\r\n").await.expect("sends");
    }
    let mut second = TcpStream::connect(api.address).await.expect("connects");
    assert_eq!(second.read(&mut answer).await.unwrap_or(0), 0, "one connection is the most");
    assert!(api.runtime.tasks.stop(Duration::from_secs(10)).await, "everything ends in time");
}
