//! Calls that go down to an agent: every client agent keeps one stream open to a server, so that nothing has to listen on clients.
//!
//! The agent's request body carries its name and its answers, the response body the calls. A stream that a node opens anew
//! replaces its former one.

use std::{
    collections::HashMap,
    io,
    net::SocketAddr,
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use bytes::Bytes;
use futures_util::stream;
use http_body_util::{BodyExt, StreamBody};
use hyper::{
    Response,
    body::{Frame, Incoming},
};
use serde::{Deserialize, Serialize};
use tokio::sync::{Semaphore, mpsc, oneshot, watch};

use super::{
    Admit, AgentReply, Error, Payload, Pool, Servers,
    link::{Body, Waits},
    operation::AGENT_CALL,
    pool::{Lane, Opened},
    wire::{self, Frames},
};
use crate::rt::{Runtime, Tasks, clock};

/// Calls under way on one stream.
const CALLS_MAX: usize = 256;
/// The pause before a lost stream is opened again; it doubles.
const PAUSE: (Duration, Duration) = (Duration::from_millis(100), Duration::from_secs(2));
/// How long the other side may take to greet.
const GREETING: Duration = Duration::from_secs(5);

/// What a node's agent does when it is called; `agent` fills it in.
#[async_trait::async_trait]
pub trait AgentCallee: Send + Sync + 'static {
    /// Answers one call made with the caller's token.
    async fn call(&self, payload: Payload, token: &str) -> Result<AgentReply, Error>;
}

/// Bytes of what an agent says at a time, at most: all its services.
const ANSWER_MAX: usize = 16 << 20;
/// Bytes of what an agent is told at a time, at most: a registration.
const CALL_MAX: usize = 4 << 20;

/// Who an agent says it is.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Greeting {
    /// Its node's name.
    pub node: String,
    /// Its node's UUID.
    #[serde(default)]
    pub id: String,
}

/// From the server.
#[derive(Debug, Serialize, Deserialize)]
enum Down {
    /// The stream is open.
    Welcome,
    /// The agent may not be called by that name; why.
    Refused(String),
    Call {
        id: u64,
        payload: Payload,
        token: String,
    },
}

/// From the agent.
#[derive(Debug, Serialize, Deserialize)]
enum Up {
    Hello(Greeting),
    Answer { id: u64, result: Result<AgentReply, Error> },
}

/// What a message is that cannot be read: a later release has more kinds of them, and more that an agent can be asked or answer.
#[derive(Debug, PartialEq, Eq)]
enum Unreadable {
    /// Of a kind that this release does not have: it is skipped.
    Kind(String),
    /// One with a number that waits for an end.
    Numbered(u64),
    /// No message at all.
    Noise,
}

/// Looks what cannot be read. `known` are the kinds there are, `numbered` is the one with a number.
fn unreadable(bytes: &[u8], known: &[&str], numbered: &str) -> Unreadable {
    #[derive(Deserialize)]
    struct Numbered {
        id: u64,
    }
    match wire::decode::<wire::Tag>(bytes) {
        Ok(wire::Tag(kind)) if kind == numbered => {
            let found = wire::decode::<HashMap<String, Numbered>>(bytes).ok().and_then(|found| found.into_values().next());
            found.map_or(Unreadable::Noise, |found| Unreadable::Numbered(found.id))
        }
        Ok(wire::Tag(kind)) if !known.contains(&kind.as_str()) => Unreadable::Kind(kind),
        _ => Unreadable::Noise,
    }
}

type Waiting = Arc<Mutex<HashMap<u64, oneshot::Sender<Result<AgentReply, Error>>>>>;

/// One open stream.
#[derive(Clone, Debug)]
struct Open {
    number: u64,
    /// Calls as frames: what is too large for one is refused before it gets here.
    down: mpsc::Sender<Bytes>,
    waiting: Waiting,
    /// Ends it.
    replaced: watch::Sender<bool>,
}

/// The streams a server holds, by node. Cheap to clone.
#[derive(Clone, Debug)]
pub struct AgentStreams {
    open: Arc<Mutex<HashMap<String, Open>>>,
    next: Arc<AtomicU64>,
    tasks: Tasks,
}

fn locked<T>(mutex: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl AgentStreams {
    /// None yet.
    #[must_use]
    pub fn new(tasks: &Tasks) -> Self {
        Self { open: Arc::default(), next: Arc::default(), tasks: tasks.clone() }
    }

    /// Whether a node's agent holds a stream to this server.
    #[must_use]
    pub fn has(&self, node: &str) -> bool {
        locked(&self.open).contains_key(&node.to_lowercase())
    }

    #[cfg(test)]
    pub(super) fn waiting(&self, node: &str) -> usize {
        let open = locked(&self.open);
        open.get(&node.to_lowercase()).map_or(0, |stream| locked(&stream.waiting).values().filter(|waiting| !waiting.is_closed()).count())
    }

    /// Calls a node's agent.
    ///
    /// # Errors
    /// Its own refusal; [`Error::Unreachable`] when there is no stream or it ends meanwhile; [`Error::Timeout`].
    pub async fn call(&self, node: &str, payload: Payload, token: &str) -> Result<AgentReply, Error> {
        let gone = || Error::Unreachable(format!("the agent of node {node:?} is not connected any more"));
        let stream = locked(&self.open).get(&node.to_lowercase()).cloned().ok_or_else(gone)?;
        let id = self.next.fetch_add(1, Ordering::Relaxed);
        let frame = framed(&Down::Call { id, payload, token: token.to_owned() }, CALL_MAX).map_err(Error::Refused)?;
        let (answered, answer) = oneshot::channel();
        {
            let mut waiting = locked(&stream.waiting);
            waiting.retain(|_, waiting| !waiting.is_closed());
            if waiting.len() >= CALLS_MAX {
                return Err(Error::Refused(format!("the agent of node {node:?} has too many calls under way")));
            }
            waiting.insert(id, answered);
        }
        let call = async {
            stream.down.send(frame).await.map_err(|_| gone())?;
            answer.await.map_err(|_| gone())?
        };
        clock::timeout(AGENT_CALL, call).await.unwrap_or(Err(Error::Timeout))
    }

    /// Takes a stream an agent opens; the answer's body carries the calls.
    pub(super) fn attach(&self, body: Incoming, peer: SocketAddr, admit: Admit) -> Response<Body> {
        let (down, calls) = mpsc::channel(CALLS_MAX);
        let streams = self.clone();
        let frames = Frames::new(body, ANSWER_MAX);
        self.tasks.spawn_until_shutdown("agent stream", async move { streams.read(frames, down, peer, admit).await });
        Response::new(outgoing(calls))
    }

    async fn read(&self, mut frames: Frames<Incoming>, down: mpsc::Sender<Bytes>, peer: SocketAddr, admit: Admit) {
        let Ok(Ok(Some(Up::Hello(greeting)))) = clock::timeout(GREETING, frames.next()).await else { return };
        if let Err(why) = admit(&greeting, peer) {
            tracing::warn!(node = greeting.node, %peer, why, "an agent's stream is refused");
            if let Ok(refused) = framed(&Down::Refused(why), CALL_MAX) {
                drop(down.send(refused).await);
            }
            return;
        }
        let node = greeting.node;
        let number = self.next.fetch_add(1, Ordering::Relaxed);
        let waiting = Waiting::default();
        let Ok(welcome) = framed(&Down::Welcome, CALL_MAX) else { return };
        if down.send(welcome).await.is_err() {
            return;
        }
        let (replaced, mut newer) = watch::channel(false);
        let open = Open { number, down: down.clone(), waiting: waiting.clone(), replaced };
        let attached = Attached { streams: self, key: node.to_lowercase(), number, waiting: &waiting };
        if let Some(former) = locked(&self.open).insert(attached.key.clone(), open) {
            former.replaced.send_replace(true);
        }
        tracing::debug!(node, "agent attached");
        loop {
            let next = tokio::select! {
                () = down.closed() => break,
                _ = newer.changed() => break,
                next = frames.next_bytes() => next,
            };
            let Ok(Some(bytes)) = next else { break };
            let (id, result) = match wire::decode::<Up>(&bytes) {
                Ok(Up::Answer { id, result }) => (id, result),
                Ok(Up::Hello(_)) => continue,
                Err(why) => match unreadable(&bytes, &["Hello", "Answer"], "Answer") {
                    Unreadable::Numbered(id) => {
                        (id, Err(Error::Refused(format!("unreadable answer of the agent of node {node:?}: {why}"))))
                    }
                    Unreadable::Kind(_) => continue,
                    Unreadable::Noise => break,
                },
            };
            if let Some(answered) = locked(&waiting).remove(&id) {
                drop(answered.send(result));
            }
        }
        tracing::debug!(node, "agent detached");
        drop(attached);
    }
}

/// A stream among those that are open, as long as it is read: also a stop of this server takes it out, or it would keep its
/// connection open.
struct Attached<'a> {
    streams: &'a AgentStreams,
    key: String,
    number: u64,
    waiting: &'a Waiting,
}

impl Drop for Attached<'_> {
    fn drop(&mut self) {
        let mut open = locked(&self.streams.open);
        if open.get(&self.key).is_some_and(|stream| stream.number == self.number) {
            open.remove(&self.key);
        }
        drop(open);
        // Whoever waits learns at once that no answer comes.
        locked(self.waiting).clear();
    }
}

/// Keeps a stream open to one of the servers until the agent stops.
pub fn attach(pool: Pool, servers: Servers, greeting: Greeting, callee: Arc<dyn AgentCallee>, runtime: Runtime) {
    let tasks = runtime.tasks.clone();
    tasks.spawn_until_shutdown("agent stream", async move {
        let mut pause = PAUSE.0;
        loop {
            let mut changed = servers.subscribe();
            let Some(server) = servers.first() else {
                // The list lives as long as the agent.
                let _ = changed.changed().await;
                continue;
            };
            let gone = async {
                while servers.find(&server.id).is_some_and(|now| now.address == server.address) {
                    let _ = changed.changed().await;
                }
            };
            let opened = clock::Instant::now();
            let why = tokio::select! {
                () = gone => "the server left".to_owned(),
                ended = hold(&pool, server.address, &greeting, &callee, &runtime.tasks) => ended,
            };
            tracing::debug!(server = server.name, why, "agent stream ended");
            servers.failed(&server.id);
            pause = if opened.elapsed() > PAUSE.1 { PAUSE.0 } else { (pause * 2).min(PAUSE.1) };
            clock::sleep(runtime.rng.jitter(pause)).await;
        }
    });
}

/// A message as a frame that the other side takes, or why it is none.
fn framed<T: Serialize>(message: &T, max: usize) -> Result<Bytes, String> {
    let frame = wire::frame(message)?;
    if frame.len() > max {
        return Err(format!("too large: {} bytes, at most {max} go over an agent's stream", frame.len()));
    }
    Ok(frame)
}

/// Frames as they come.
fn outgoing(frames: mpsc::Receiver<Bytes>) -> Body {
    let frames = stream::unfold(frames, |mut frames| async move { Some((Ok::<_, io::Error>(Frame::data(frames.recv().await?)), frames)) });
    BodyExt::boxed_unsync(StreamBody::new(Box::pin(frames)))
}

/// An answer as a frame. One that is too large, or cannot be written, is told to the caller and ends nothing.
fn answer(id: u64, result: Result<AgentReply, Error>) -> Bytes {
    let refused = |why| framed(&Up::Answer { id, result: Err(Error::Refused(why)) }, ANSWER_MAX);
    framed(&Up::Answer { id, result }, ANSWER_MAX).or_else(refused).unwrap_or_default()
}

/// One stream from its opening to its end; answers why it ended.
async fn hold(pool: &Pool, to: SocketAddr, greeting: &Greeting, callee: &Arc<dyn AgentCallee>, tasks: &Tasks) -> String {
    let (up, answers) = mpsc::channel::<Bytes>(CALLS_MAX);
    let hello = match framed(&Up::Hello(greeting.clone()), ANSWER_MAX) {
        Ok(hello) => hello,
        Err(why) => return why,
    };
    if up.send(hello).await.is_err() {
        return "closed".to_owned();
    }
    let opening = pool.send(to, Lane::Calls, Waits::Long, "/v1/agent", outgoing(answers));
    let Opened { response, seat } = match clock::timeout(GREETING, opening).await {
        Ok(Ok(opened)) => opened,
        Ok(Err(failure)) => return failure.to_string(),
        Err(_) => return "timed out".to_owned(),
    };
    let mut frames = Frames::new(response.into_body(), CALL_MAX);
    let seats = Arc::new(Semaphore::new(CALLS_MAX));
    loop {
        let next = tokio::select! {
            next = frames.next_bytes() => next,
            () = seat.must_go() => return "the server is silent".to_owned(),
        };
        let bytes = match next {
            Ok(Some(bytes)) => bytes,
            Ok(None) => return "the server closed it".to_owned(),
            Err(why) => return why,
        };
        match wire::decode::<Down>(&bytes) {
            Ok(Down::Welcome) => {}
            Ok(Down::Refused(why)) => return why,
            Ok(Down::Call { id, payload, token }) => {
                let (callee, up) = (Arc::clone(callee), up.clone());
                let Ok(taken) = Arc::clone(&seats).try_acquire_owned() else {
                    let refusal = Err(Error::Refused("the agent has too many calls under way".to_owned()));
                    // A server that reads no answers gets none.
                    drop(up.try_send(answer(id, refusal)));
                    continue;
                };
                tasks.spawn_until_shutdown("agent call", async move {
                    let result = callee.call(payload, &token).await;
                    // The stream may have ended meanwhile: then the caller knows.
                    drop(up.send(answer(id, result)).await);
                    drop(taken);
                });
            }
            Err(why) => match unreadable(&bytes, &["Welcome", "Refused", "Call"], "Call") {
                Unreadable::Numbered(id) => {
                    let release = env!("CARGO_PKG_VERSION");
                    let refusal = Error::Refused(format!("the agent (release {release}) does not know what it is asked: {why}"));
                    drop(up.try_send(answer(id, Err(refusal))));
                }
                Unreadable::Kind(kind) => tracing::debug!(kind, "a message of a later release is skipped"),
                Unreadable::Noise => return why,
            },
        }
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use shared::{agent, check, gossip};

    use super::{super::samples::SAMPLES, *};
    use crate::samples::rename;

    fn payloads() -> Vec<(&'static str, Payload)> {
        let text = |text: &str| text.to_owned();
        let registration = Box::new(agent::ServiceRegistration { name: text("web"), port: 80, ..Default::default() });
        vec![
            ("run-check", Payload::RunCheck { check_id: text("c1") }),
            ("check-status", Payload::CheckStatus { check_id: text("c1") }),
            ("register-service", Payload::RegisterService { registration, replace_existing_checks: true }),
            ("deregister-service", Payload::DeregisterService { service_id: text("web") }),
            ("service-maintenance", Payload::ServiceMaintenance { service_id: text("web"), enable: true, reason: text("why") }),
            ("node-maintenance", Payload::NodeMaintenance { enable: false, reason: text("") }),
            ("services", Payload::Services),
            ("gossip", Payload::Gossip),
            ("open-monitor", Payload::OpenMonitor { level: text("debug"), json: true }),
            ("read-monitor", Payload::ReadMonitor { id: 5, part: 2 }),
        ]
    }

    fn replies() -> Vec<(&'static str, AgentReply)> {
        let run = check::Run { node: "n1".to_owned(), check_id: "c1".to_owned(), duration_ms: 5, ..Default::default() };
        let status = check::CheckStatus { check_id: "c1".to_owned(), last_run: Some(run.clone()), ..Default::default() };
        let service = agent::AgentService { id: "web".to_owned(), port: 80, ..Default::default() };
        let pool = gossip::Pool { node: "n1".to_owned(), ..Default::default() };
        vec![
            ("done", AgentReply::Done),
            ("run", AgentReply::Run(Box::new(run))),
            ("check-status", AgentReply::CheckStatus(Box::new(status))),
            ("services", AgentReply::Services(BTreeMap::from([("1web".to_owned(), service)]))),
            ("gossip", AgentReply::Gossip(Box::new(pool))),
            ("monitor", AgentReply::Monitor(5)),
            ("log-lines", AgentReply::LogLines(vec!["line".to_owned()])),
        ]
    }

    fn check<T: Serialize + serde::de::DeserializeOwned + std::fmt::Debug>(name: &str, value: &T) {
        SAMPLES.check(name, value, &wire::encode(value).expect("encodes"));
    }

    #[test]
    fn what_goes_over_an_agents_stream_stays_readable() {
        check("stream-welcome", &Down::Welcome);
        check("stream-refused", &Down::Refused("why".to_owned()));
        for (name, payload) in payloads() {
            check(&format!("stream-call-{name}"), &Down::Call { id: 7, payload, token: "t".to_owned() });
        }
        check("stream-hello", &Up::Hello(Greeting { node: "n1".to_owned(), id: "i".to_owned() }));
        for (name, reply) in replies() {
            check(&format!("stream-answer-{name}"), &Up::Answer { id: 7, result: Ok(reply) });
        }
        check("stream-answer-refused", &Up::Answer { id: 7, result: Err(Error::NotFound("why".to_owned())) });
    }

    #[test]
    fn what_a_later_release_asks_is_told_from_noise() {
        let later = |name: &str, from: &str, to: &str| {
            let mut tree = SAMPLES.tree(&SAMPLES.kept(name));
            rename(&mut tree, from, to);
            SAMPLES.encode(&tree)
        };
        let known = &["Welcome", "Refused", "Call"];
        let asked = later("stream-call-run-check", "RunCheck", "RunChecks");
        assert!(wire::decode::<Down>(&asked).expect_err("not known").contains("RunChecks"));
        assert_eq!(unreadable(&asked, known, "Call"), Unreadable::Numbered(7));
        let answered = later("stream-answer-run", "Run", "Runs");
        assert_eq!(unreadable(&answered, &["Hello", "Answer"], "Answer"), Unreadable::Numbered(7));
        let kind = later("stream-call-run-check", "Call", "Move");
        assert_eq!(unreadable(&kind, known, "Call"), Unreadable::Kind("Move".to_owned()));
        assert_eq!(unreadable(&later("stream-welcome", "Welcome", "Pause"), known, "Call"), Unreadable::Kind("Pause".to_owned()));
        assert_eq!(unreadable(&[1, 0xc1], known, "Call"), Unreadable::Noise);
        assert_eq!(unreadable(&[9, 1], known, "Call"), Unreadable::Noise);
    }
}
