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
    pool::{Lane, Opened},
    wire::{self, Frames},
};
use crate::rt::{Runtime, Tasks, clock};

/// How long a call may take: the longest timeout of a check, and then some.
const CALL: Duration = Duration::from_secs(90);
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

type Waiting = Arc<Mutex<HashMap<u64, oneshot::Sender<Result<AgentReply, Error>>>>>;

/// One open stream.
#[derive(Clone, Debug)]
struct Open {
    number: u64,
    down: mpsc::Sender<Down>,
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
            stream.down.send(Down::Call { id, payload, token: token.to_owned() }).await.map_err(|_| gone())?;
            answer.await.map_err(|_| gone())?
        };
        clock::timeout(CALL, call).await.unwrap_or(Err(Error::Timeout))
    }

    /// Takes a stream an agent opens; the answer's body carries the calls.
    pub(super) fn attach(&self, body: Incoming, peer: SocketAddr, admit: Admit) -> Response<Body> {
        let (down, calls) = mpsc::channel(CALLS_MAX);
        let streams = self.clone();
        let frames = Frames::new(body, ANSWER_MAX);
        self.tasks.spawn_until_shutdown("agent stream", async move { streams.read(frames, down, peer, admit).await });
        let frames = stream::unfold(calls, |mut calls| async move {
            let call = calls.recv().await?;
            Some((Ok::<_, io::Error>(Frame::data(wire::frame(&call).ok()?)), calls))
        });
        Response::new(BodyExt::boxed_unsync(StreamBody::new(Box::pin(frames))))
    }

    async fn read(&self, mut frames: Frames<Incoming>, down: mpsc::Sender<Down>, peer: SocketAddr, admit: Admit) {
        let Ok(Ok(Some(Up::Hello(greeting)))) = clock::timeout(GREETING, frames.next()).await else { return };
        if let Err(why) = admit(&greeting, peer) {
            tracing::warn!(node = greeting.node, %peer, why, "an agent's stream is refused");
            drop(down.send(Down::Refused(why)).await);
            return;
        }
        let node = greeting.node;
        let number = self.next.fetch_add(1, Ordering::Relaxed);
        let (key, waiting) = (node.to_lowercase(), Waiting::default());
        if down.send(Down::Welcome).await.is_err() {
            return;
        }
        let (replaced, mut newer) = watch::channel(false);
        let open = Open { number, down: down.clone(), waiting: waiting.clone(), replaced };
        if let Some(former) = locked(&self.open).insert(key.clone(), open) {
            former.replaced.send_replace(true);
        }
        tracing::debug!(node, "agent attached");
        loop {
            let next = tokio::select! {
                () = down.closed() => break,
                _ = newer.changed() => break,
                next = frames.next() => next,
            };
            match next {
                Ok(Some(Up::Answer { id, result })) => {
                    if let Some(answered) = locked(&waiting).remove(&id) {
                        drop(answered.send(result));
                    }
                }
                Ok(Some(Up::Hello(_))) => {}
                Ok(None) | Err(_) => break,
            }
        }
        let mut open = locked(&self.open);
        if open.get(&key).is_some_and(|stream| stream.number == number) {
            open.remove(&key);
        }
        drop(open);
        // Whoever waits learns at once that no answer comes.
        locked(&waiting).clear();
        tracing::debug!(node, "agent detached");
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

/// One stream from its opening to its end; answers why it ended.
async fn hold(pool: &Pool, to: SocketAddr, greeting: &Greeting, callee: &Arc<dyn AgentCallee>, tasks: &Tasks) -> String {
    let (up, answers) = mpsc::channel::<Up>(CALLS_MAX);
    if up.send(Up::Hello(greeting.clone())).await.is_err() {
        return "closed".to_owned();
    }
    let body = stream::unfold(answers, |mut answers| async move {
        let answer = answers.recv().await?;
        Some((Ok::<Frame<Bytes>, io::Error>(Frame::data(wire::frame(&answer).ok()?)), answers))
    });
    let body = BodyExt::boxed_unsync(StreamBody::new(Box::pin(body)));
    let opening = pool.send(to, Lane::Calls, Waits::Long, "/v1/agent", body);
    let Opened { response, seat } = match clock::timeout(GREETING, opening).await {
        Ok(Ok(opened)) => opened,
        Ok(Err(failure)) => return failure.to_string(),
        Err(_) => return "timed out".to_owned(),
    };
    let mut frames = Frames::new(response.into_body(), CALL_MAX);
    let seats = Arc::new(Semaphore::new(CALLS_MAX));
    loop {
        let next = tokio::select! {
            next = frames.next() => next,
            () = seat.must_go() => return "the server is silent".to_owned(),
        };
        match next {
            Ok(Some(Down::Welcome)) => {}
            Ok(Some(Down::Refused(why))) => return why,
            Ok(Some(Down::Call { id, payload, token })) => {
                let (callee, up) = (Arc::clone(callee), up.clone());
                let Ok(taken) = Arc::clone(&seats).try_acquire_owned() else {
                    let refusal = Err(Error::Refused("the agent has too many calls under way".to_owned()));
                    // A server that reads no answers gets none.
                    drop(up.try_send(Up::Answer { id, result: refusal }));
                    continue;
                };
                tasks.spawn_until_shutdown("agent call", async move {
                    let result = callee.call(payload, &token).await;
                    // The stream may have ended meanwhile: then the caller knows.
                    drop(up.send(Up::Answer { id, result }).await);
                    drop(taken);
                });
            }
            Ok(None) => return "the server closed it".to_owned(),
            Err(why) => return why,
        }
    }
}
