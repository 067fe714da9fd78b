//! The calling side: HTTP/2 connections to other agents, one for each lane, so that bulk never delays a heartbeat. What is asked over
//! them is in `call`.
//!
//! Knows whether a call that failed may have been carried out: only what was never sent may be tried again blindly.
//! Contract: cluster, section "Ports and connection types".

use std::{
    collections::HashMap,
    net::SocketAddr,
    sync::{Arc, Mutex, MutexGuard, PoisonError, Weak},
    time::Duration,
};

use http_body_util::{BodyExt as _, Limited};
use hyper::{Request as HttpRequest, Response, body::Incoming};
use tokio::sync::watch;

use super::{
    Error, PROTOCOL,
    link::{Body, Dial, Link, PING, Seat, Waits},
    protocol,
    tls::Wrap,
};
use crate::rt::{Runtime, Tasks};

/// How the calling side behaves.
#[derive(Clone, Copy, Debug)]
pub struct Options {
    /// How long a request waits for a leader or a server.
    pub hold_timeout: Duration,
    /// How long opening a connection may take, until the other side has answered for the first time.
    pub connect_timeout: Duration,
    /// Time on top of what a call waits on purpose.
    pub call_timeout: Duration,
    /// The wait of a blocking read that names none.
    pub query_time_default: Duration,
    /// The longest wait of a blocking read.
    pub query_time_max: Duration,
    /// How long nothing may arrive on a connection while somebody waits for a quick answer, until a sign of life is asked for.
    pub silence: Duration,
    /// How long the sign of life may take.
    pub sign_of_life: Duration,
    /// How often a connection is probed, and how long the answer may take, before it counts as broken with everything under way on it.
    pub ping: (Duration, Duration),
    /// How long a connection nobody uses is kept.
    pub idle_timeout: Duration,
    /// The protocol this side says it speaks.
    pub protocol: u16,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            hold_timeout: Duration::from_secs(7),
            connect_timeout: Duration::from_secs(3),
            call_timeout: Duration::from_secs(30),
            query_time_default: Duration::from_secs(300),
            query_time_max: Duration::from_secs(600),
            silence: Duration::from_secs(1),
            sign_of_life: Duration::from_secs(2),
            ping: PING,
            idle_timeout: Duration::from_secs(120),
            protocol: PROTOCOL,
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
    /// Saved files, so that nobody waits behind them.
    Bulk,
    Raft(u8),
}

/// Where a connection is.
#[derive(Debug, Default)]
enum Place {
    #[default]
    Nowhere,
    /// Everybody who needs it waits for the same attempt; it tells nothing when it was given up.
    Dialling(watch::Receiver<Option<Result<Link, Failure>>>),
    Open(Link),
}

/// One connection, opened when it is needed.
#[derive(Debug, Default)]
struct Slot(Mutex<Place>);

fn locked<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Slot {
    fn is_in_use(&self) -> bool {
        match &*locked(&self.0) {
            Place::Nowhere => false,
            Place::Dialling(attempt) => attempt.has_changed().is_ok(),
            Place::Open(link) => link.is_usable(),
        }
    }
}

struct Inner {
    options: Options,
    wrap: Wrap,
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

/// Bytes of the text a refusal comes with, at most.
const REFUSAL_MAX: usize = 4096;

/// A request whose answer has begun; the seat is kept as long as the answer is read.
pub(super) struct Opened {
    pub(super) response: Response<Incoming>,
    pub(super) seat: Seat,
}

pub(super) fn silent() -> Failure {
    Failure::Lost("the server is silent: connection given up".to_owned())
}

impl Pool {
    /// No connections yet; they will not be wrapped.
    #[must_use]
    pub fn new(options: Options, runtime: Runtime) -> Self {
        Self::wrapped(options, Wrap::Plain, runtime)
    }

    /// No connections yet; how each will be wrapped.
    #[must_use]
    pub fn wrapped(options: Options, wrap: Wrap, runtime: Runtime) -> Self {
        Self(Arc::new(Inner { options, wrap, runtime, slots: Mutex::default() }))
    }

    /// How it behaves.
    #[must_use]
    pub fn options(&self) -> Options {
        self.0.options
    }

    pub(super) fn tasks(&self) -> &Tasks {
        &self.0.runtime.tasks
    }

    #[cfg(test)]
    pub(super) fn connections(&self) -> usize {
        locked(&self.0.slots).len()
    }

    /// The connection there is, or the one that is opened now; many callers wait for one attempt.
    pub(super) async fn link(&self, to: SocketAddr, lane: Lane) -> Result<Link, Failure> {
        let slot = Arc::clone(locked(&self.0.slots).entry((to, lane)).or_default());
        let mut attempt = {
            let mut place = locked(&slot.0);
            match &*place {
                Place::Open(link) if link.is_usable() => return Ok(link.clone()),
                Place::Dialling(attempt) if attempt.has_changed().is_ok() => attempt.clone(),
                _ => {
                    let (tell, attempt) = watch::channel(None);
                    *place = Place::Dialling(attempt.clone());
                    let dialling = dial(Arc::downgrade(&self.0), slot.clone(), (to, lane), tell);
                    self.0.runtime.tasks.spawn_until_shutdown("rpc dial", dialling);
                    attempt
                }
            }
        };
        let told = attempt.wait_for(Option::is_some).await.ok().and_then(|told| told.clone());
        told.unwrap_or_else(|| Err(Failure::NotSent(format!("dial tcp {to}: agent is shutting down"))))
    }

    /// Sends one request and waits for the head of its answer.
    pub(super) async fn send(&self, to: SocketAddr, lane: Lane, waits: Waits, path: &str, body: Body) -> Result<Opened, Failure> {
        let mut body = Some(body);
        // A connection found dead only now has sent nothing: once more on a new one.
        for _ in 0..2 {
            let Some(body_now) = body.take() else { break };
            let link = self.link(to, lane).await?;
            let full = || Failure::NotSent(format!("too many calls under way to {to}"));
            let (mut sender, seat) = link.seat(waits).ok_or_else(full)?;
            let mut request =
                HttpRequest::post(format!("http://{to}{path}")).body(body_now).map_err(|error| Failure::NotSent(error.to_string()))?;
            protocol::stamp(request.headers_mut(), self.0.options.protocol);
            let answered = tokio::select! {
                biased;
                answered = sender.try_send_request(request) => answered,
                () = seat.must_go() => return Err(silent()),
            };
            match answered {
                Ok(response) if response.status().is_success() => return Ok(Opened { response, seat }),
                Ok(response) => return Err(refusal(response).await),
                Err(mut error) => match error.take_message() {
                    Some(request) => {
                        link.retire();
                        body = Some(request.into_body());
                    }
                    None => return Err(Failure::Lost(lost(&error.into_error()))),
                },
            }
        }
        Err(Failure::NotSent(format!("dial tcp {to}: connection closed")))
    }
}

/// One attempt to open a connection, and what becomes of the connection afterwards.
async fn dial(pool: Weak<Inner>, slot: Arc<Slot>, (to, lane): (SocketAddr, Lane), tell: watch::Sender<Option<Result<Link, Failure>>>) {
    let Some(inner) = pool.upgrade() else { return };
    let options = inner.options;
    let opened = Dial { to, options, wrap: &inner.wrap, tasks: &inner.runtime.tasks }.open().await.map_err(Failure::NotSent);
    *locked(&slot.0) = opened.as_ref().map_or(Place::Nowhere, |link| Place::Open(link.clone()));
    tell.send_replace(Some(opened.clone()));
    let link = opened.ok();
    drop((slot, tell, inner));
    let silent = match link {
        Some(link) => link.watch(to, options).await,
        None => false,
    };
    let Some(inner) = pool.upgrade() else { return };
    let mut slots = locked(&inner.slots);
    if silent {
        // The same server on other connections: whoever waits there need not find out again.
        for (_, slot) in slots.iter().filter(|((address, other), _)| *address == to && *other != lane) {
            if let Place::Open(link) = &*locked(&slot.0) {
                link.give_up();
            }
        }
    }
    slots.retain(|_, slot| slot.is_in_use());
}

/// What the other side's listener refused, before anybody there was asked.
async fn refusal(response: Response<Incoming>) -> Failure {
    let status = response.status();
    let body = Limited::new(response.into_body(), REFUSAL_MAX).collect().await;
    let text = body.map(|body| String::from_utf8_lossy(&body.to_bytes()).into_owned()).unwrap_or_default();
    let text = if text.is_empty() { format!("status {status}") } else { text };
    Failure::Answered(Error::Refused(format!("rpc error making call: {text}")))
}

fn lost(error: &hyper::Error) -> String {
    if error.is_closed() || error.is_incomplete_message() { "EOF".to_owned() } else { error.to_string() }
}
