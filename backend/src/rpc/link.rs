//! One connection to another agent: how it is opened, who uses it, when it counts as silent, when it is closed.
//!
//! A server that takes packets but answers nothing (stopped, hung, cut off) must hold up nobody: a connection is opened only
//! when the other side has answered once, and while somebody waits for a quick answer and nothing at all arrives it is asked for
//! a sign of life. Contract: cluster, sections "Ports and connection types" and "Forwarding and consistency".

use std::{
    io,
    net::SocketAddr,
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering},
    },
    time::Duration,
};

use bytes::Bytes;
use http_body_util::{BodyExt as _, Empty, combinators::UnsyncBoxBody};
use hyper::{Request as HttpRequest, client::conn::http2};
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::sync::{Notify, watch};

use super::{Options, protocol, tls::Wrap};
use crate::rt::{Tasks, clock, executor::Executor, net};

pub(super) type Body = UnsyncBoxBody<Bytes, io::Error>;
pub(super) type Sender = http2::SendRequest<Body>;

/// How often a connection is probed, and how long the answer may take, before it counts as broken.
pub(super) const PING: (Duration, Duration) = (Duration::from_secs(5), Duration::from_secs(5));
/// Bytes under way before the other side has to take some.
pub(super) const WINDOW: u32 = 8 << 20;
/// Requests at a time on one connection: an agent forwards every blocking query of its users.
pub(super) const STREAMS_MAX: u32 = 20_000;
/// Where a sign of life is asked for.
pub(super) const HELLO: &str = "/v1/hello";

/// How somebody waits for an answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Waits {
    /// A quick one, to what may have changed something: nobody else may be asked.
    Write,
    /// A quick one, to what can be asked again elsewhere.
    Read,
    /// One that takes its time; can be asked again elsewhere.
    Long,
    /// Small messages of Raft, which has its own deadlines.
    Urgent,
    /// Large ones.
    Bulk,
}

impl Waits {
    fn for_a_quick_answer(self) -> bool {
        matches!(self, Self::Write | Self::Read | Self::Urgent)
    }
}

struct State {
    /// Bytes that arrived.
    heard: Arc<AtomicU64>,
    /// Requests under way.
    open: AtomicUsize,
    /// Those of them that wait for a quick answer.
    quick: AtomicUsize,
    /// Tells of every new request and of the end of the connection.
    woken: Notify,
    /// Nobody begins anything on it any more.
    closing: AtomicBool,
    /// Nothing can be expected of it.
    silent: watch::Sender<bool>,
    /// How long a silent connection has to say something to who cannot go elsewhere.
    last_word: Duration,
}

/// Clone-cheap handle to a connection.
#[derive(Clone)]
pub(super) struct Link {
    sender: Sender,
    state: Arc<State>,
}

impl std::fmt::Debug for Link {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Link")
    }
}

/// One request under way.
pub(super) struct Seat {
    state: Arc<State>,
    waits: Waits,
}

impl Drop for Seat {
    fn drop(&mut self) {
        self.state.open.fetch_sub(1, Ordering::SeqCst);
        if self.waits.for_a_quick_answer() {
            self.state.quick.fetch_sub(1, Ordering::SeqCst);
        }
    }
}

impl Seat {
    /// Resolves once nothing can be expected of the connection: at once for who may then go elsewhere, for a write when the other side
    /// stays silent still. Never for Raft, which has its own deadlines.
    pub(super) async fn must_go(&self) {
        let raft = matches!(self.waits, Waits::Urgent | Waits::Bulk);
        if raft || self.state.silent.subscribe().wait_for(|silent| *silent).await.is_err() {
            std::future::pending::<()>().await;
        }
        if self.waits != Waits::Write {
            return;
        }
        loop {
            let before = self.state.heard.load(Ordering::Relaxed);
            clock::sleep(self.state.last_word).await;
            if self.state.heard.load(Ordering::Relaxed) == before {
                return;
            }
        }
    }
}

/// How a connection is opened.
pub(super) struct Dial<'a> {
    pub(super) to: SocketAddr,
    pub(super) options: Options,
    pub(super) wrap: &'a Wrap,
    pub(super) tasks: &'a Tasks,
}

impl Dial<'_> {
    /// Opens a connection and waits until the other side has said who it is.
    ///
    /// # Errors
    /// Why there is none, in Go's words as far as it has any.
    pub(super) async fn open(self) -> Result<Link, String> {
        let to = self.to;
        let opened = clock::timeout(self.options.connect_timeout, self.connect()).await;
        opened.unwrap_or_else(|_| Err("i/o timeout".to_owned())).map_err(|why| format!("dial tcp {to}: {why}"))
    }

    async fn connect(self) -> Result<Link, String> {
        let stream = net::connect(self.to, self.options.connect_timeout).await.map_err(|error| reason(&error))?;
        let stream = self.wrap.connect(stream).await.map_err(|error| reason(&error))?;
        let heard = stream.heard();
        let executor = Executor { tasks: self.tasks.clone(), name: "rpc stream" };
        let opening = http2::Builder::new(executor)
            .timer(TokioTimer::new())
            .keep_alive_interval(self.options.ping.0)
            .keep_alive_timeout(self.options.ping.1)
            .keep_alive_while_idle(true)
            .initial_stream_window_size(WINDOW)
            .initial_connection_window_size(WINDOW)
            .max_frame_size(1 << 20)
            .initial_max_send_streams(STREAMS_MAX as usize)
            .handshake(TokioIo::new(stream));
        let (mut sender, connection) = opening.await.map_err(|error| error.to_string())?;
        let state = State {
            heard,
            open: AtomicUsize::new(0),
            quick: AtomicUsize::new(0),
            woken: Notify::new(),
            closing: AtomicBool::new(false),
            silent: watch::Sender::new(false),
            last_word: self.options.sign_of_life,
        };
        let (state, to) = (Arc::new(state), self.to);
        let ended = state.clone();
        self.tasks.spawn_until_shutdown("rpc connection", async move {
            if let Err(error) = connection.await {
                tracing::debug!(%error, %to, "rpc connection ended");
            }
            ended.woken.notify_one();
        });
        let hello = sender.send_request(hello(to, self.options.protocol)).await.map_err(|error| error.to_string())?;
        protocol::check(hello.headers(), self.options.protocol)?;
        Ok(Link { sender, state })
    }
}

fn hello(to: SocketAddr, protocol: u16) -> HttpRequest<Body> {
    let mut request = HttpRequest::new(Empty::new().map_err(|never| match never {}).boxed_unsync());
    *request.method_mut() = hyper::Method::POST;
    // An address and a fixed path are a URI.
    *request.uri_mut() = format!("http://{to}{HELLO}").parse().unwrap_or_default();
    protocol::stamp(request.headers_mut(), protocol);
    request
}

impl Link {
    /// Whether it may be used.
    pub(super) fn is_usable(&self) -> bool {
        !self.sender.is_closed() && !self.state.closing.load(Ordering::Relaxed) && !*self.state.silent.borrow()
    }

    /// Nobody begins anything on it from now on.
    pub(super) fn retire(&self) {
        self.state.closing.store(true, Ordering::Relaxed);
        self.state.woken.notify_one();
    }

    /// Makes everybody go elsewhere who can; the others keep it until they are done.
    pub(super) fn give_up(&self) {
        self.state.silent.send_replace(true);
        self.state.woken.notify_one();
    }

    /// Takes a seat for one request; `None` when there are too many.
    pub(super) fn seat(&self, waits: Waits) -> Option<(Sender, Seat)> {
        if self.state.open.fetch_add(1, Ordering::SeqCst) >= STREAMS_MAX as usize {
            self.state.open.fetch_sub(1, Ordering::SeqCst);
            return None;
        }
        if waits.for_a_quick_answer() {
            self.state.quick.fetch_add(1, Ordering::SeqCst);
        }
        self.state.woken.notify_one();
        Some((self.sender.clone(), Seat { state: self.state.clone(), waits }))
    }

    /// Watches the connection until it ends, is idle for too long, or is silent; answers whether it is silent.
    pub(super) async fn watch(self, to: SocketAddr, options: Options) -> bool {
        let state = self.state.clone();
        while self.is_usable() {
            if state.quick.load(Ordering::SeqCst) > 0 {
                let before = state.heard.load(Ordering::Relaxed);
                let nothing = || state.heard.load(Ordering::Relaxed) == before && state.quick.load(Ordering::SeqCst) > 0;
                clock::sleep(options.silence).await;
                if nothing() && self.is_usable() {
                    let mut sender = self.sender.clone();
                    // Any byte will do: an answer may be stuck behind a large one.
                    drop(clock::timeout(options.sign_of_life, sender.send_request(hello(to, options.protocol))).await);
                    if nothing() && !self.sender.is_closed() {
                        tracing::debug!(%to, "an rpc connection is silent");
                        self.give_up();
                        return true;
                    }
                }
            } else if clock::timeout(options.idle_timeout, state.woken.notified()).await.is_err() && state.open.load(Ordering::SeqCst) == 0
            {
                self.retire();
            }
        }
        false
    }
}

/// Go's words for the usual reasons, since operators look for them.
fn reason(error: &io::Error) -> String {
    match error.kind() {
        io::ErrorKind::ConnectionRefused => "connect: connection refused".to_owned(),
        io::ErrorKind::TimedOut => "i/o timeout".to_owned(),
        _ => error.to_string(),
    }
}
