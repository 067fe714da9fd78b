//! The calling side: HTTP/2 connections to other agents, one for each lane, so that bulk never delays a heartbeat.
//!
//! Knows whether a call that failed may have been carried out: only what was never sent may be tried again blindly.
//! Contract: cluster, section "Ports and connection types".

use std::{
    collections::HashMap,
    convert::Infallible,
    net::SocketAddr,
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use bytes::Bytes;
use http_body_util::{BodyExt as _, Full, Limited, combinators::UnsyncBoxBody};
use hyper::{Request as HttpRequest, Response, body::Incoming, client::conn::http2};
use hyper_util::rt::{TokioIo, TokioTimer};
use serde::{Serialize, de::DeserializeOwned};
use tokio::sync::mpsc;

use super::{
    Answer, Changes, Error, Operation, OperationReply, Request,
    wire::{self, Frames},
};
use crate::rt::{Runtime, clock, executor::Executor, net};

/// How the calling side behaves.
#[derive(Clone, Copy, Debug)]
pub struct Options {
    /// How long a request waits for a leader or a server.
    pub hold_timeout: Duration,
    /// How long opening a connection may take.
    pub connect_timeout: Duration,
    /// Time on top of what a call waits on purpose.
    pub call_timeout: Duration,
    /// The wait of a blocking read that names none.
    pub query_time_default: Duration,
    /// The longest wait of a blocking read.
    pub query_time_max: Duration,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            hold_timeout: Duration::from_secs(7),
            connect_timeout: Duration::from_secs(3),
            call_timeout: Duration::from_secs(30),
            query_time_default: Duration::from_secs(300),
            query_time_max: Duration::from_secs(600),
        }
    }
}

/// Why a call has no answer of the other side.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Failure {
    /// It never left this agent.
    #[error("rpc error getting client: failed to get conn: {0}")]
    NotSent(String),
    /// The connection broke: it may have been carried out.
    #[error("rpc error making call: {0}")]
    Lost(String),
    /// Its deadline passed: it may have been carried out.
    #[error("rpc error making call: i/o deadline reached")]
    Timeout,
    /// The other side's own refusal.
    #[error("{0}")]
    Answered(Error),
}

impl From<Failure> for Error {
    fn from(failure: Failure) -> Self {
        match failure {
            Failure::Answered(error) => error,
            Failure::Timeout => Self::Timeout,
            Failure::NotSent(_) => Self::Unreachable(failure.to_string()),
            Failure::Lost(_) => Self::Refused(failure.to_string()),
        }
    }
}

/// What a connection is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) enum Lane {
    Calls,
    Raft(u8),
}

pub(super) type Body = UnsyncBoxBody<Bytes, Infallible>;
type Sender = http2::SendRequest<Body>;

/// One connection, opened when it is needed.
#[derive(Debug, Default)]
struct Slot(tokio::sync::Mutex<Option<Sender>>);

struct Inner {
    options: Options,
    runtime: Runtime,
    slots: Mutex<HashMap<(SocketAddr, Lane), Arc<Slot>>>,
}

/// Clone-cheap handle to all connections.
#[derive(Clone)]
pub struct Pool(Arc<Inner>);

impl std::fmt::Debug for Pool {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("rpc::Pool")
    }
}

/// How often a connection is probed, and how long the answer may take.
pub(super) const PING: (Duration, Duration) = (Duration::from_secs(5), Duration::from_secs(5));
/// Bytes under way before the other side has to take some.
pub(super) const WINDOW: u32 = 8 << 20;
/// Calls at a time on one connection: an agent forwards every blocking query of its users.
pub(super) const STREAMS_MAX: u32 = 20_000;
/// Addresses nobody was reached at for which a slot is kept.
const SLOTS_MAX: usize = 4096;

impl Pool {
    /// No connections yet.
    #[must_use]
    pub fn new(options: Options, runtime: Runtime) -> Self {
        Self(Arc::new(Inner { options, runtime, slots: Mutex::default() }))
    }

    /// How it behaves.
    #[must_use]
    pub fn options(&self) -> Options {
        self.0.options
    }

    fn slot(&self, to: SocketAddr, lane: Lane) -> Arc<Slot> {
        let mut slots = self.0.slots.lock().unwrap_or_else(PoisonError::into_inner);
        if slots.len() >= SLOTS_MAX {
            slots.retain(|_, slot| slot.0.try_lock().map_or(true, |sender| sender.as_ref().is_some_and(|sender| !sender.is_closed())));
        }
        Arc::clone(slots.entry((to, lane)).or_default())
    }

    async fn sender(&self, to: SocketAddr, lane: Lane) -> Result<Sender, Failure> {
        let slot = self.slot(to, lane);
        let mut kept = slot.0.lock().await;
        if let Some(sender) = kept.as_ref().filter(|sender| !sender.is_closed()) {
            return Ok(sender.clone());
        }
        let not_sent = |why: &dyn std::fmt::Display| Failure::NotSent(format!("dial tcp {to}: {why}"));
        let stream = net::connect(to, self.0.options.connect_timeout).await.map_err(|error| not_sent(&reason(&error)))?;
        let tasks = &self.0.runtime.tasks;
        let executor = Executor { tasks: tasks.clone(), name: "rpc stream" };
        let opening = http2::Builder::new(executor)
            .timer(TokioTimer::new())
            .keep_alive_interval(PING.0)
            .keep_alive_timeout(PING.1)
            .keep_alive_while_idle(true)
            .initial_stream_window_size(WINDOW)
            .initial_connection_window_size(WINDOW)
            .max_frame_size(1 << 20)
            .initial_max_send_streams(STREAMS_MAX as usize)
            .handshake(TokioIo::new(stream));
        let (sender, connection) = clock::timeout(self.0.options.connect_timeout, opening)
            .await
            .map_err(|_| not_sent(&"i/o timeout"))?
            .map_err(|error| not_sent(&error))?;
        tasks.spawn_until_shutdown("rpc connection", async move {
            if let Err(error) = connection.await {
                tracing::debug!(%error, %to, "rpc connection ended");
            }
        });
        *kept = Some(sender.clone());
        Ok(sender)
    }

    /// Sends one request and waits for the head of its answer.
    pub(super) async fn send(&self, to: SocketAddr, lane: Lane, path: &str, body: Body) -> Result<Response<Incoming>, Failure> {
        let mut body = Some(body);
        // A connection found dead only now has sent nothing: once more on a new one.
        for _ in 0..2 {
            let Some(body_now) = body.take() else { break };
            let mut sender = self.sender(to, lane).await?;
            let request =
                HttpRequest::post(format!("http://{to}{path}")).body(body_now).map_err(|error| Failure::NotSent(error.to_string()))?;
            match sender.try_send_request(request).await {
                Ok(response) if response.status().is_success() => return Ok(response),
                Ok(response) => {
                    return Err(Failure::Answered(Error::Refused(format!("rpc error making call: status {}", response.status()))));
                }
                Err(mut error) => match error.take_message() {
                    Some(request) => body = Some(request.into_body()),
                    None => return Err(Failure::Lost(lost(&error.into_error()))),
                },
            }
        }
        Err(Failure::NotSent(format!("dial tcp {to}: connection closed")))
    }

    async fn ask<A: Serialize, R: DeserializeOwned>(&self, to: SocketAddr, path: &str, asked: &A) -> Result<R, Failure> {
        let bytes = wire::encode(asked).map_err(Failure::NotSent)?;
        let response = self.send(to, Lane::Calls, path, full(bytes)).await?;
        let bytes = collect(response).await?;
        wire::decode::<Result<R, Error>>(&bytes).map_err(Failure::Lost)?.map_err(Failure::Answered)
    }

    /// Makes one call of another agent, within its own deadline. Dropping the future cancels it there too.
    ///
    /// # Errors
    /// What the other side answers, or why it has not.
    pub async fn try_call(&self, to: SocketAddr, request: &Request, operation: &Operation) -> Result<Answer<OperationReply>, Failure> {
        let longest = self.longest(request);
        clock::timeout(longest, self.ask(to, "/v1/call", &(request, operation))).await.unwrap_or(Err(Failure::Timeout))
    }

    /// As [`Pool::try_call`], with the failure in the words callers know.
    ///
    /// # Errors
    /// As there.
    pub async fn call(&self, to: SocketAddr, request: &Request, operation: Operation) -> Result<Answer<OperationReply>, Error> {
        Ok(self.try_call(to, request, &operation).await?)
    }

    /// How long a call may take: what it waits on purpose, and then some.
    fn longest(&self, request: &Request) -> Duration {
        let options = self.0.options;
        let waits = if request.options.index > 0 {
            let asked = request.options.wait.map(|wait| wait.as_std()).filter(|wait| !wait.is_zero());
            asked.unwrap_or(options.query_time_default).min(options.query_time_max)
        } else {
            Duration::ZERO
        };
        waits + waits / 16 + options.hold_timeout + options.call_timeout
    }

    /// Opens another agent's change stream; it ends when that agent or the connection does.
    ///
    /// # Errors
    /// As for [`Pool::try_call`].
    pub async fn changes(&self, to: SocketAddr, request: &Request, since: u64) -> Result<Changes, Failure> {
        let bytes = wire::encode(&(request, since)).map_err(Failure::NotSent)?;
        let opening = self.send(to, Lane::Calls, "/v1/changes", full(bytes));
        let response = clock::timeout(self.0.options.hold_timeout, opening).await.unwrap_or(Err(Failure::Timeout))?;
        let mut frames = Frames::new(response.into_body());
        match frames.next::<Result<(), Error>>().await {
            Ok(Some(Ok(()))) => {}
            Ok(Some(Err(error))) => return Err(Failure::Answered(error)),
            Ok(None) => return Err(Failure::Lost("EOF".to_owned())),
            Err(why) => return Err(Failure::Lost(why)),
        }
        let (sender, receiver) = mpsc::channel(16);
        self.0.runtime.tasks.spawn_until_shutdown("remote change stream", async move {
            loop {
                let next = tokio::select! {
                    () = sender.closed() => return,
                    next = frames.next() => next,
                };
                match next {
                    Ok(Some(batch)) => {
                        if sender.send(batch).await.is_err() {
                            return;
                        }
                    }
                    Ok(None) | Err(_) => return,
                }
            }
        });
        Ok(receiver)
    }

    /// Carries one of Raft's messages; each lane has a connection of its own. The caller sets the deadline by dropping the future.
    ///
    /// # Errors
    /// [`Failure::NotSent`] when nobody listens there.
    pub async fn raft(&self, to: SocketAddr, lane: u8, message: Vec<u8>) -> Result<Vec<u8>, Failure> {
        let response = self.send(to, Lane::Raft(lane), "/v1/raft", full(message.into())).await?;
        Ok(collect(response).await?.into())
    }
}

pub(super) fn full(bytes: Bytes) -> Body {
    Full::new(bytes).boxed_unsync()
}

async fn collect(response: Response<Incoming>) -> Result<Bytes, Failure> {
    let body = Limited::new(response.into_body(), wire::MESSAGE_MAX).collect().await;
    body.map(http_body_util::Collected::to_bytes).map_err(|_| Failure::Lost("EOF".to_owned()))
}

/// Go's words for the usual reasons, since operators look for them.
fn reason(error: &std::io::Error) -> String {
    match error.kind() {
        std::io::ErrorKind::ConnectionRefused => "connect: connection refused".to_owned(),
        std::io::ErrorKind::TimedOut => "i/o timeout".to_owned(),
        _ => error.to_string(),
    }
}

fn lost(error: &hyper::Error) -> String {
    if error.is_closed() || error.is_incomplete_message() { "EOF".to_owned() } else { error.to_string() }
}
