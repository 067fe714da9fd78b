//! Streams that stay open: those agents are called over, and those of changes.

use futures_util::StreamExt as _;
use http_body_util::{BodyExt as _, StreamBody};

use super::*;

/// What an agent says, as it is on the wire.
#[derive(serde::Serialize)]
enum Up {
    Hello(Greeting),
}

/// What it is told.
#[derive(Debug, PartialEq, Eq, serde::Deserialize)]
enum Down {
    Welcome,
    Refused(String),
}

/// Opens a stream by hand and keeps it open; answers what comes over it.
async fn open(pool: &Pool, to: SocketAddr, node: &str) -> (wire::Frames<hyper::body::Incoming>, link::Seat) {
    let hello = hyper::body::Frame::data(wire::frame(&Up::Hello(greeting(node))).expect("short"));
    let body = futures_util::stream::iter([Ok::<_, std::io::Error>(hello)]).chain(futures_util::stream::pending());
    let body = StreamBody::new(body).boxed_unsync();
    let opened = pool.send(to, pool::Lane::Calls, link::Waits::Long, "/v1/agent", body).await.expect("opens");
    (wire::Frames::new(opened.response.into_body(), 1000), opened.seat)
}

#[tokio::test]
async fn the_newest_stream_of_a_node_wins_and_the_former_one_ends() {
    let (server, pool) = (Running::start("one", None).await, pool(1000));
    let (mut first, _seat) = open(&pool, server.address, "web").await;
    assert_eq!(first.next().await, Ok(Some(Down::Welcome)));
    let waiting = {
        let streams = server.streams.clone();
        server.runtime.tasks.spawn("call", async move { streams.call("web", Payload::Services, "").await.map(|_| ()) })
    };
    until("the call is on its way", || server.streams.waiting("web") == 1).await;
    let (mut second, _seat) = open(&pool, server.address, "WEB").await;
    assert_eq!(second.next().await, Ok(Some(Down::Welcome)));
    let lost = clock::timeout(SOON, waiting).await.expect("told at once").expect("no panic").expect_err("no answer comes");
    assert!(matches!(lost, Error::Unreachable(_)), "{lost:?}");
    let rest = async { while let Ok(Some(_)) = first.next::<serde::de::IgnoredAny>().await {} };
    clock::timeout(SOON, rest).await.expect("the former stream ends");
    assert!(server.streams.has("web"), "the newer one stays");
}

#[tokio::test]
async fn an_agent_that_is_not_who_it_says_is_told_so() {
    let tune = |inbound: Inbound| {
        let admit: Admit = Arc::new(|greeting, from| if from.ip().is_loopback() { Err(format!("no {}", greeting.node)) } else { Ok(()) });
        Inbound { admit, ..inbound }
    };
    let stand = Stand { name: String::new(), under_way: Arc::default(), began: Arc::default(), refuses: None };
    let (server, pool) = (Running::with(Arc::new(stand), tune).await, pool(1000));
    let (mut stream, _seat) = open(&pool, server.address, "web").await;
    assert_eq!(stream.next().await, Ok(Some(Down::Refused("no web".to_owned()))));
    assert_eq!(stream.next::<Down>().await, Ok(None));
    assert!(!server.streams.has("web"));
}

/// Takes its time over every call.
struct Busy(Arc<AtomicUsize>);

#[async_trait::async_trait]
impl AgentCallee for Busy {
    async fn call(&self, _: Payload, _: &str) -> Result<AgentReply, Error> {
        self.0.fetch_add(1, Ordering::SeqCst);
        std::future::pending().await
    }
}

/// Answers with its services, which are many, unless asked for something else.
struct Talkative(usize);

#[async_trait::async_trait]
impl AgentCallee for Talkative {
    async fn call(&self, payload: Payload, _: &str) -> Result<AgentReply, Error> {
        if !matches!(payload, Payload::Services) {
            return Ok(AgentReply::Done);
        }
        let service = shared::agent::AgentService { id: "x".repeat(self.0), ..Default::default() };
        Ok(AgentReply::Services([("web".to_owned(), service)].into()))
    }
}

#[tokio::test]
async fn what_is_too_large_for_a_stream_is_refused_and_the_stream_goes_on() {
    let (server, agent) = (Running::start("one", None).await, Runtime::system());
    let servers = Servers::new(&agent.rng);
    servers.set(vec![server.server("one")]);
    attach(pool(1000), servers, greeting("web"), Arc::new(Talkative(17 << 20)), agent.clone());
    until("the agent is attached", || server.streams.has("web")).await;
    let maintenance = |bytes: usize| Payload::NodeMaintenance { enable: true, reason: "x".repeat(bytes) };
    for payload in [maintenance(5 << 20), Payload::Services] {
        let refused = clock::timeout(SOON, server.streams.call("web", payload, "")).await.expect("at once").expect_err("too large");
        assert!(matches!(&refused, Error::Refused(why) if why.starts_with("too large: ")), "{refused:?}");
    }
    let done = clock::timeout(SOON, server.streams.call("web", maintenance(10), "")).await.expect("at once");
    assert!(matches!(done, Ok(AgentReply::Done)), "{done:?}");
}

#[tokio::test]
async fn an_agent_takes_only_so_many_calls_whoever_calls() {
    let (server, agent) = (Running::start("one", None).await, Runtime::system());
    let servers = Servers::new(&agent.rng);
    servers.set(vec![server.server("one")]);
    let busy = Arc::new(AtomicUsize::new(0));
    attach(pool(1000), servers, greeting("web"), Arc::new(Busy(busy.clone())), agent.clone());
    until("it is attached", || server.streams.has("web")).await;
    let call = |number: usize| {
        let streams = server.streams.clone();
        server.runtime.tasks.spawn("call", async move { (number, streams.call("web", Payload::Services, "").await.map(|_| ())) })
    };
    let calls: Vec<_> = (0..256).map(call).collect();
    until("all are under way", || busy.load(Ordering::SeqCst) == 256).await;
    let refused = |error: Error| assert!(error.to_string().contains("too many calls under way"), "{error}");
    refused(server.streams.call("web", Payload::Services, "").await.expect_err("one too many"));
    // Whom the server no longer waits for still is at work there.
    calls.iter().for_each(tokio::task::JoinHandle::abort);
    until("nobody waits", || server.streams.waiting("web") == 0).await;
    refused(server.streams.call("web", Payload::Services, "").await.expect_err("the agent itself"));
    assert!(agent.tasks.stop(SOON).await);
}

/// Tells what it was asked for; refuses or says one batch.
struct Telling {
    asked: std::sync::Mutex<Vec<u64>>,
    refuses: Option<Error>,
}

#[async_trait::async_trait]
impl Handler for Telling {
    async fn handle(&self, _: Request, _: Operation) -> Result<Answer<OperationReply>, Error> {
        Err(Error::Stopping)
    }

    async fn changes(&self, _: Request, since: u64) -> Result<Changes, Error> {
        self.asked.lock().expect("no panic").push(since);
        if let Some(error) = &self.refuses {
            return Err(error.clone());
        }
        let (sender, receiver) = mpsc::channel(4);
        sender.try_send(Ok((since, Some(Vec::new())))).expect("there is room");
        // Stays open.
        #[allow(clippy::mem_forget, reason = "the stream shall not end")]
        std::mem::forget(sender);
        Ok(receiver)
    }
}

async fn telling(refuses: Option<Error>) -> (Arc<Telling>, Running) {
    let telling = Arc::new(Telling { asked: std::sync::Mutex::default(), refuses });
    (telling.clone(), Running::with(telling, |inbound| inbound).await)
}

#[tokio::test]
async fn a_change_stream_goes_on_from_where_it_was_opened_even_if_nothing_had_come() {
    for (since, expected) in [(0, 7), (5, 5)] {
        let (telling, server) = telling(None).await;
        let servers = Servers::new(&Rng::from_seed(1));
        servers.set(vec![server.server("well")]);
        let forwarder = Forwarder::new(pool(1000), servers, "dc1", server.runtime.clone());
        // Opened at 7 by a server that died before it said anything.
        let (_, changes) = mpsc::channel(1);
        let opened = forward::Opened { changes, index: 7, from: "dead".to_owned() };
        let (to, mut batches) = mpsc::channel(4);
        server.runtime.tasks.spawn_until_shutdown("stream", forwarder.keep(Request::default(), since, opened, to));
        let batch = clock::timeout(SOON, batches.recv()).await.expect("in time");
        assert_eq!(batch, Some(Ok((expected, Some(Vec::new())))), "asked since {since}");
        assert_eq!(*telling.asked.lock().expect("no panic"), [expected]);
    }
}

#[tokio::test]
async fn a_change_stream_that_is_refused_ends() {
    let (telling, server) = telling(Some(Error::PermissionDenied)).await;
    let servers = Servers::new(&Rng::from_seed(1));
    servers.set(vec![server.server("one")]);
    let forwarder = Forwarder::new(pool(1000), servers, "dc1", server.runtime.clone());
    assert_eq!(forwarder.changes(Request::default(), 3).await.expect_err("refused"), Error::PermissionDenied);
    let (_, changes) = mpsc::channel(1);
    let opened = forward::Opened { changes, index: 7, from: "dead".to_owned() };
    let (to, mut batches) = mpsc::channel(4);
    server.runtime.tasks.spawn_until_shutdown("stream", forwarder.keep(Request::default(), 3, opened, to));
    assert_eq!(clock::timeout(SOON, batches.recv()).await.expect("told"), Some(Err(Error::PermissionDenied)));
    assert_eq!(clock::timeout(SOON, batches.recv()).await.expect("ends"), None);
    assert_eq!(*telling.asked.lock().expect("no panic"), [3, 3], "asked once each");
}
