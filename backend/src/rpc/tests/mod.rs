//! Calls between agents over real sockets of the loopback.

use std::{
    net::SocketAddr,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use shared::{go, query::QueryOptions, snapshot::Inspection};
use tokio::sync::{Notify, mpsc};

use super::*;
use crate::rt::{
    Rng, Runtime,
    chunks::{self, Chunks},
    clock, net,
};

mod connections;
mod streams;

const SOON: Duration = Duration::from_secs(20);

/// Answers `Leader` with its name at once, blocking reads never, writes as it is told.
struct Stand {
    name: String,
    under_way: Arc<AtomicUsize>,
    began: Arc<Notify>,
    refuses: Option<Error>,
}

struct Counted(Arc<AtomicUsize>);

impl Drop for Counted {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::SeqCst);
    }
}

#[async_trait::async_trait]
impl Handler for Stand {
    async fn handle(&self, request: Request, operation: Operation) -> Result<Answer<OperationReply>, Error> {
        self.under_way.fetch_add(1, Ordering::SeqCst);
        let _counted = Counted(self.under_way.clone());
        self.began.notify_one();
        if request.options.index > 0 {
            std::future::pending::<()>().await;
        }
        if let Some(error) = &self.refuses {
            return Err(error.clone());
        }
        match operation {
            Operation::Leader(_) => Ok(Answer { meta: Default::default(), value: OperationReply::Leader(self.name.clone()) }),
            Operation::KvGet(_) => Err(Error::NotFound(request.token)),
            _ => Err(Error::Refused("another question".to_owned())),
        }
    }

    async fn changes(&self, _request: Request, since: u64) -> Result<Changes, Error> {
        let (sender, receiver) = mpsc::channel(4);
        sender.try_send(Ok((since + 1, Some(Vec::new())))).expect("there is room");
        sender.try_send(Ok((since + 2, None))).expect("there is room");
        Ok(receiver)
    }

    async fn save(&self, request: Request) -> Result<Answer<Chunks>, Error> {
        if let Some(error) = &self.refuses {
            return Err(error.clone());
        }
        let meta = shared::query::QueryMeta { index: 7, ..Default::default() };
        Ok(Answer { meta, value: bytes(&Runtime::system(), 100 << 20, request.token == "break") })
    }

    async fn load(&self, request: Request, purpose: Load, file: Chunks) -> Result<Answer<Inspection>, Error> {
        if let Some(error) = &self.refuses {
            return Err(error.clone());
        }
        let (size, id) = drained(file).await;
        let found = Inspection { id, size_bytes: size as u64, server: format!("{} {purpose:?}", request.token), ..Inspection::default() };
        Ok(Answer { meta: Default::default(), value: found })
    }
}

struct Echo;

/// Everything a stream of bytes brings, and how it ended.
async fn drained(mut bytes: Chunks) -> (usize, String) {
    let mut size = 0;
    while let Some(piece) = bytes.recv().await {
        match piece {
            Ok(piece) => size += piece.len(),
            Err(error) => return (size, error.to_string()),
        }
    }
    (size, "whole".to_owned())
}

/// A stream of so many bytes, which then breaks off or does not.
fn bytes(runtime: &Runtime, size: usize, breaks: bool) -> Chunks {
    chunks::produce(&runtime.tasks, move |out| {
        let piece = [7; 1 << 16];
        (0..size / piece.len()).try_for_each(|_| std::io::Write::write_all(out, &piece))?;
        if breaks { Err(std::io::Error::other("the disk broke")) } else { Ok(()) }
    })
}

#[async_trait::async_trait]
impl RaftReceiver for Echo {
    fn id(&self) -> &str {
        "echo"
    }

    async fn receive(&self, message: &[u8]) -> Vec<u8> {
        message.iter().rev().copied().collect()
    }

    async fn receive_snapshot(&self, offer: &[u8], contents: Chunks) -> Vec<u8> {
        let (size, end) = drained(contents).await;
        format!("{}: {size} bytes, {end}", String::from_utf8_lossy(offer)).into_bytes()
    }
}

/// One server on a port of its own.
struct Running {
    address: SocketAddr,
    runtime: Runtime,
    streams: AgentStreams,
    under_way: Arc<AtomicUsize>,
    began: Arc<Notify>,
}

impl Running {
    async fn start(name: &str, refuses: Option<Error>) -> Self {
        let (under_way, began) = (Arc::new(AtomicUsize::new(0)), Arc::new(Notify::new()));
        let stand = Stand { name: name.to_owned(), under_way: under_way.clone(), began: began.clone(), refuses };
        Self { under_way, began, ..Self::with(Arc::new(stand), |inbound| inbound).await }
    }

    async fn with(handler: Arc<dyn Handler>, tune: impl Fn(Inbound) -> Inbound) -> Self {
        let runtime = Runtime::system();
        let listener = net::listen(SocketAddr::from(([127, 0, 0, 1], 0))).await.expect("a free port");
        let address = listener.local_addr().expect("bound");
        let streams = AgentStreams::new(&runtime.tasks);
        let inbound = Inbound {
            handler,
            raft: Some(Arc::new(Echo)),
            streams: streams.clone(),
            admit: Arc::new(|_, _| Ok(())),
            wrap: Wrap::Plain,
            connections_max: 100,
            value_max: 1 << 10,
            patience: Patience::default(),
            receiving: Receiving::default(),
        };
        serve(listener, tune(inbound), &runtime);
        Self { address, runtime, streams, under_way: Arc::default(), began: Arc::default() }
    }

    fn server(&self, id: &str) -> Server {
        Server { id: id.to_owned(), name: id.to_owned(), datacenter: "dc1".to_owned(), address: self.address }
    }
}

fn pool(hold_ms: u64) -> Pool {
    Pool::new(Options { hold_timeout: Duration::from_millis(hold_ms), ..Options::default() }, Runtime::system())
}

fn greeting(node: &str) -> Greeting {
    Greeting { node: node.to_owned(), id: String::new() }
}

fn leader(answer: Answer<OperationReply>) -> String {
    Leader::unwrap(answer.value).expect("the answer to what was asked")
}

fn blocking() -> Request {
    let options = QueryOptions { index: 1, wait: Some(go::Duration(60_000_000_000)), ..QueryOptions::default() };
    Request { options, ..Request::default() }
}

async fn until(what: &str, mut reached: impl FnMut() -> bool) {
    let deadline = clock::Instant::now() + SOON;
    while !reached() {
        assert!(clock::Instant::now() < deadline, "not within {SOON:?}: {what}");
        clock::sleep(Duration::from_millis(5)).await;
    }
}

/// An address where nobody listens any more.
async fn nobody() -> SocketAddr {
    net::listen(SocketAddr::from(([127, 0, 0, 1], 0))).await.expect("a free port").local_addr().expect("bound")
}

#[tokio::test]
async fn calls_errors_raft_and_changes_go_over_one_port() {
    let (server, pool) = (Running::start("one", None).await, pool(1000));
    assert_eq!(leader(pool.call(server.address, &Request::default(), Leader {}.into()).await.expect("answers")), "one");
    let asked = Request { token: "secret".to_owned(), ..Request::default() };
    let refused = pool.call(server.address, &asked, KvGet { key: "k".to_owned() }.into()).await.expect_err("refused");
    assert_eq!(refused, Error::NotFound("secret".to_owned()), "errors keep their kind");
    let large: Vec<u8> = (0..5_000_000_u32).map(|number| number as u8).collect();
    let back = pool.raft(server.address, 2, "echo", large.clone()).await.expect("echoes");
    assert!(back.iter().rev().eq(large.iter()));
    let (index, mut changes) = pool.changes(server.address, &Request::default(), 5).await.expect("opens");
    assert_eq!(index, 6);
    assert_eq!(
        (changes.recv().await, changes.recv().await, changes.recv().await),
        (Some(Ok((6, Some(vec![])))), Some(Ok((7, None))), None)
    );
}

#[tokio::test]
async fn a_call_that_is_given_up_is_given_up_on_the_other_side_too() {
    let (server, pool) = (Running::start("one", None).await, pool(1000));
    let calls: Vec<_> = (0..500)
        .map(|_| {
            let (pool, to) = (pool.clone(), server.address);
            server.runtime.tasks.spawn("call", async move { pool.call(to, &blocking(), Leader {}.into()).await })
        })
        .collect();
    until("all wait at once on one connection", || server.under_way.load(Ordering::SeqCst) == 500).await;
    calls.iter().for_each(tokio::task::JoinHandle::abort);
    until("nobody waits any more", || server.under_way.load(Ordering::SeqCst) == 0).await;
}

#[tokio::test]
async fn nobody_listening_means_not_sent_and_a_broken_connection_means_lost() {
    let pool = pool(1000);
    let failure = pool.try_call(nobody().await, &Request::default(), &Leader {}.into()).await.expect_err("nobody there");
    assert!(matches!(&failure, Failure::NotSent(why) if why.ends_with("connect: connection refused")), "{failure:?}");
    let server = Running::start("one", None).await;
    let (asking, to) = (pool.clone(), server.address);
    let call = Runtime::system().tasks.spawn("call", async move { asking.try_call(to, &blocking(), &Leader {}.into()).await });
    server.began.notified().await;
    server.runtime.tasks.shutdown().trigger();
    let failure = clock::timeout(SOON, call).await.expect("ends").expect("does not panic").expect_err("broke");
    assert!(matches!(failure, Failure::Lost(_)), "{failure:?}");
}

#[tokio::test]
async fn a_client_goes_on_with_another_server_but_sends_no_write_twice() {
    let (dead, stopping) = (nobody().await, Running::start("stopping", Some(Error::Stopping)).await);
    let well = Running::start("well", None).await;
    let runtime = Runtime::system();
    let servers = Servers::new(&Rng::from_seed(1));
    let forwarder = Forwarder::new(pool(2000), servers.clone(), "dc1", runtime);
    let asked = || forwarder.handle(Request::default(), Leader {}.into());
    assert_eq!(asked().await.expect_err("nobody known"), Error::NoServers);
    servers.set(vec![Server { address: dead, ..well.server("dead") }, stopping.server("stopping"), well.server("well")]);
    for _ in 0..5 {
        assert_eq!(leader(asked().await.expect("one of them answers")), "well");
    }
    let elsewhere = Request { datacenter: "dc2".to_owned(), ..Request::default() };
    assert_eq!(forwarder.handle(elsewhere, Leader {}.into()).await.expect_err("unknown"), Error::NoPathToDatacenter);

    // The server ends while a write is under way: whether it was done nobody knows.
    servers.set(vec![well.server("well")]);
    let write = AgentCall { node: "n".to_owned(), payload: Payload::Services };
    let (writing, began) = (forwarder.handle(blocking(), write.into()), well.began.clone());
    let ends = async {
        until("it is under way", || well.under_way.load(Ordering::SeqCst) == 1).await;
        well.runtime.tasks.shutdown().trigger();
    };
    drop(began);
    let (answer, ()) = clock::timeout(SOON, futures_util::future::join(writing, ends)).await.expect("ends");
    assert!(matches!(answer, Err(Error::Refused(text)) if text.starts_with("rpc error making call: ")));
}

struct Callee(String);

#[async_trait::async_trait]
impl AgentCallee for Callee {
    async fn call(&self, payload: Payload, token: &str) -> Result<AgentReply, Error> {
        match payload {
            Payload::Services => Ok(AgentReply::Done),
            _ => Err(Error::NotFound(format!("{} {token}", self.0))),
        }
    }
}

#[tokio::test]
async fn an_agent_is_called_over_the_stream_it_keeps_and_moves_it_when_its_server_ends() {
    let (one, two) = (Running::start("one", None).await, Running::start("two", None).await);
    let agent = Runtime::system();
    let servers = Servers::new(&agent.rng);
    servers.set(vec![one.server("one")]);
    attach(pool(1000), servers.clone(), greeting("Web-1"), Arc::new(Callee("web".to_owned())), agent.clone());
    until("it is attached", || one.streams.has("web-1")).await;
    assert!(matches!(one.streams.call("WEB-1", Payload::Services, "").await, Ok(AgentReply::Done)));
    let run = Payload::RunCheck { check_id: "c".to_owned() };
    let answer = one.streams.call("web-1", run, "t").await.expect_err("its own refusal");
    assert_eq!(answer, Error::NotFound("web t".to_owned()));
    assert!(matches!(one.streams.call("other", Payload::Services, "").await, Err(Error::Unreachable(_))));

    servers.set(vec![two.server("two")]);
    until("it moved", || two.streams.has("web-1")).await;
    until("the former server knows", || !one.streams.has("web-1")).await;
    assert!(matches!(two.streams.call("web-1", Payload::Services, "").await, Ok(AgentReply::Done)));
    assert!(agent.tasks.stop(SOON).await, "ends at shutdown");
    until("the stream ends with the agent", || !two.streams.has("web-1")).await;
}

/// A machine that lost its disk comes back at the same address as another server.
#[tokio::test]
async fn a_message_of_raft_is_only_taken_by_the_server_it_is_for() {
    let (server, pool, runtime) = (Running::start("one", None).await, pool(1000), Runtime::system());
    let expected = "rpc error making call: server former is not here any more, echo is";
    let refused = |answer: Result<Vec<u8>, Failure>| matches!(answer, Err(Failure::Answered(Error::Refused(why))) if why == expected);
    assert!(refused(pool.raft(server.address, 1, "former", vec![1]).await));
    assert!(refused(pool.raft_snapshot(server.address, 2, "former", b"offer", bytes(&runtime, 1 << 16, false)).await));
    assert_eq!(pool.raft(server.address, 1, "echo", vec![1]).await, Ok(vec![1]));
    // Earlier releases name nobody.
    let unnamed = pool.send(server.address, pool::Lane::Raft(1), link::Waits::Bulk, "/v1/raft", call::full(vec![1].into())).await;
    assert!(unnamed.is_ok());
}

#[tokio::test]
async fn garbage_gets_an_answer_and_harms_nobody() {
    let (server, pool) = (Running::start("one", None).await, pool(1000));
    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
    let mut stream = net::connect(server.address, SOON).await.expect("connects");
    stream.write_all(&[b'x'; 10_000]).await.expect("written");
    let mut rest = Vec::new();
    // Closed by the other side, however it words it.
    drop(clock::timeout(SOON, stream.read_to_end(&mut rest)).await.expect("closed"));
    let path = pool.send(server.address, pool::Lane::Calls, link::Waits::Read, "/v1/nothing", call::full(Default::default())).await;
    assert!(path.is_err());
    let response = pool.send(server.address, pool::Lane::Calls, link::Waits::Read, "/v1/call", call::full(vec![9, 9, 9].into())).await;
    assert!(response.is_ok(), "told as an answer");
    assert_eq!(leader(pool.call(server.address, &Request::default(), Leader {}.into()).await.expect("still well")), "one");
}

#[tokio::test(flavor = "multi_thread")]
async fn snapshots_of_any_size_pass_in_both_directions_and_a_break_is_told() {
    let server = Running::start("s1", None).await;
    let (pool, runtime) = (pool(500), Runtime::system());
    let size = 100 << 20;
    let sent = pool.raft_snapshot(server.address, 2, "echo", b"offer", bytes(&runtime, size, false)).await.expect("answers");
    assert_eq!(String::from_utf8_lossy(&sent), format!("offer: {size} bytes, whole"));
    let broken = pool.raft_snapshot(server.address, 2, "echo", b"offer", bytes(&runtime, size, true)).await;
    // The stream is reset, with what was under way: the answer of a receiver that fails may or may not come.
    assert!(broken.is_err() || !String::from_utf8_lossy(&broken.expect("just seen")).contains("whole"));

    let saved = pool.save(server.address, &Request::default()).await.expect("answers");
    assert_eq!((saved.meta.index, drained(saved.value).await), (7, (size, "whole".to_owned())));
    let saved = pool.save(server.address, &Request { token: "break".to_owned(), ..Request::default() }).await.expect("begins");
    assert_ne!(drained(saved.value).await.1, "whole");

    let request = Request { token: "t".to_owned(), ..Request::default() };
    let found = pool.load(server.address, &request, Load::Inspect, bytes(&runtime, size, false)).await.expect("answers").value;
    assert_eq!((found.id.as_str(), found.size_bytes, found.server.as_str()), ("whole", size as u64, "t Inspect"));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_refusal_reaches_whoever_is_still_sending() {
    let server = Running::start("s1", Some(Error::PermissionDenied)).await;
    let (pool, runtime) = (pool(500), Runtime::system());
    let loaded = pool.load(server.address, &Request::default(), Load::Restore, bytes(&runtime, 100 << 20, false)).await;
    assert_eq!(loaded.expect_err("refused"), Failure::Answered(Error::PermissionDenied));
    let saved = pool.save(server.address, &Request::default()).await;
    assert_eq!(saved.expect_err("refused"), Failure::Answered(Error::PermissionDenied));
}

#[tokio::test]
async fn a_call_may_take_what_it_waits_on_purpose_and_what_carrying_it_out_takes() {
    let minutes = |count: u64| Duration::from_secs(60 * count);
    let options = Options { query_time_default: minutes(20), query_time_max: minutes(30), ..Options::default() };
    let slack = options.hold_timeout + options.call_timeout;
    let pool = Pool::new(options, Runtime::system());
    let run = || AgentCall { node: "web".to_owned(), payload: Payload::RunCheck { check_id: "c".to_owned() } }.into();
    let check = |wait: Option<i64>, index: u64, operation: Operation, least: Duration| {
        let options = QueryOptions { index, wait: wait.map(go::Duration::from_secs), ..QueryOptions::default() };
        let longest = pool.longest(&Request { options, ..Request::default() }, &operation);
        assert!(longest >= least + slack && longest <= least + least / 8 + slack, "{operation:?}, {wait:?}: {longest:?}");
    };
    check(None, 0, Leader {}.into(), Duration::ZERO);
    check(Some(600), 0, Leader {}.into(), Duration::ZERO);
    check(None, 1, Leader {}.into(), minutes(20));
    check(Some(1500), 1, Leader {}.into(), minutes(25));
    check(Some(7200), 1, Leader {}.into(), minutes(30));
    check(None, 0, run(), Duration::from_secs(90));
    check(None, 0, TakeSnapshot {}.into(), shared::snapshot::TAKE_MAX);
}
