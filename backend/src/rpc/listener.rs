//! The answering side: one port for calls, change streams, Raft and the streams that agents keep open.
//!
//! Contract: cluster, section "Ports and connection types". Everything a caller sends is bounded; a caller that goes away
//! takes its call with it.

use std::{
    convert::Infallible,
    net::SocketAddr,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use bytes::Bytes;
use futures_util::stream;
use http_body_util::{BodyExt, Limited, StreamBody};
use hyper::{
    Request as HttpRequest, Response, StatusCode, Uri,
    body::{Frame, Incoming},
    server::conn::http2,
    service::service_fn,
};
use hyper_util::rt::{TokioIo, TokioTimer};

use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use super::{
    AgentStreams, Batch, Changes, Error, Greeting, Handler, Operation, PROTOCOL, Request,
    call::full,
    link::{Body, HELLO, PING, STREAMS_MAX, WINDOW},
    protocol, snapshot,
    tls::Wrap,
    wire::{self, Frames},
};
use crate::{
    rt::{
        Runtime, Shutdown, Tasks,
        chunks::Chunks,
        clock,
        executor::Executor,
        net::{Clients, TcpListener, TcpStream},
    },
    telemetry,
};

/// Bytes of a call, at least allowed: a long list of nothing but small things.
const CALL_MIN: usize = 4 << 20;
/// Bytes of one of Raft's messages, at least allowed: twice the largest registration, since an entry that is refused stops a follower
/// for good.
const RAFT_MIN: usize = 16 << 20;
/// Bytes of the entries that go along with the largest one.
const RAFT_BESIDE: usize = 2 << 20;
/// Bytes of what opens a change stream or has the state saved, at most.
const CHANGES_MAX: usize = 64 << 10;
/// Bytes of all calls being received at a time, in units of 1 KiB.
const RECEIVING_KIB: usize = 256 << 10;
/// How long the role may take to say where a change stream starts.
const OPENING: Duration = Duration::from_secs(5);
/// How long answers under way may take once the agent stops.
const GRACE: Duration = Duration::from_secs(2);

/// Takes Raft's messages; `agent` plugs the Raft node in.
#[async_trait::async_trait]
pub trait RaftReceiver: Send + Sync + 'static {
    /// UUID of this server.
    fn id(&self) -> &str;

    /// Answers one message.
    async fn receive(&self, message: &[u8]) -> Vec<u8>;

    /// Takes a snapshot: what it is, then its contents as they come.
    async fn receive_snapshot(&self, offer: &[u8], contents: Chunks) -> Vec<u8>;
}

/// Who answers what comes in.
#[derive(Clone)]
pub struct Inbound {
    /// Calls and change streams.
    pub handler: Arc<dyn Handler>,
    /// Raft, on a server.
    pub raft: Option<Arc<dyn RaftReceiver>>,
    /// The streams agents keep open.
    pub streams: AgentStreams,
    /// Whether an agent may be called by the name it greets with.
    pub admit: Admit,
    /// How connections are wrapped.
    pub wrap: Wrap,
    /// Connections of one address, at most; 0 for no limit.
    pub connections_max: usize,
    /// Bytes of the largest value a call may carry.
    pub value_max: usize,
    /// How long callers may take.
    pub patience: Patience,
    /// Room for the calls being received.
    pub receiving: Receiving,
}

/// Room for what is received at a time from all callers together, so that many large calls wait instead of filling the memory.
#[derive(Clone, Debug)]
pub struct Receiving(Arc<Semaphore>);

impl Default for Receiving {
    fn default() -> Self {
        Self::of_kib(RECEIVING_KIB)
    }
}

impl Receiving {
    /// Room for so many KiB.
    #[must_use]
    pub(super) fn of_kib(kib: usize) -> Self {
        Self(Arc::new(Semaphore::new(kib.min(Semaphore::MAX_PERMITS))))
    }

    /// Room for so many bytes, as soon as there is some.
    async fn room(&self, bytes: usize) -> Option<OwnedSemaphorePermit> {
        // Never more than there is at all: a single call passes.
        let kib = u32::try_from(bytes.div_ceil(1 << 10).min(RECEIVING_KIB)).ok()?;
        Arc::clone(&self.0).acquire_many_owned(kib).await.ok()
    }
}

/// How long callers may take.
#[derive(Clone, Copy, Debug)]
pub struct Patience {
    /// From a connection's opening to its first request.
    pub handshake: Duration,
    /// From a request's head to the end of its body.
    pub body: Duration,
}

impl Default for Patience {
    fn default() -> Self {
        Self { handshake: Duration::from_secs(5), body: Duration::from_secs(30) }
    }
}

/// Says why an agent may not be called by the name it greets with from that address.
pub type Admit = Arc<dyn Fn(&Greeting, SocketAddr) -> Result<(), String> + Send + Sync>;

/// Accepts connections until the agent stops.
pub fn serve(listener: TcpListener, inbound: Inbound, runtime: &Runtime) {
    let (tasks, shutdown) = (runtime.tasks.clone(), runtime.tasks.shutdown());
    let clients = Clients::new(inbound.connections_max);
    runtime.tasks.spawn("rpc listener", async move {
        loop {
            let accepted = tokio::select! {
                biased;
                () = shutdown.requested() => return,
                accepted = listener.accept() => accepted,
            };
            let (stream, peer) = match accepted {
                Ok(accepted) => accepted,
                Err(error) => {
                    tracing::warn!(%error, "cannot accept an rpc connection");
                    clock::sleep(Duration::from_millis(50)).await;
                    continue;
                }
            };
            telemetry::metrics().incr("rpc.accept_conn");
            let Some(seat) = clients.take(peer.ip()) else {
                tracing::warn!(%peer, "rpc connection dropped: the client has too many");
                continue;
            };
            let executor = Executor { tasks: tasks.clone(), name: "rpc call" };
            let (inbound, shutdown) = (inbound.clone(), shutdown.clone());
            tasks.spawn("rpc connection", async move {
                if let Err(why) = connection(stream, peer, inbound, executor, shutdown).await {
                    tracing::debug!(why, %peer, "rpc connection ended");
                }
                drop(seat);
            });
        }
    });
}

async fn connection(stream: TcpStream, peer: SocketAddr, inbound: Inbound, executor: Executor, shutdown: Shutdown) -> Result<(), String> {
    let handshake_by = clock::Instant::now() + inbound.patience.handshake;
    // A socket that is gone already tells so when it is read.
    let _ = stream.set_nodelay(true);
    let wrapping = clock::timeout_at(handshake_by, inbound.wrap.accept(stream)).await;
    let stream = wrapping.map_err(|_| "no handshake in time".to_owned())?.map_err(|error| error.to_string())?;
    let (greeted, tasks) = (Arc::new(AtomicBool::new(false)), executor.tasks.clone());
    let answering = service_fn(|request| {
        greeted.store(true, Ordering::Relaxed);
        let (inbound, tasks) = (inbound.clone(), tasks.clone());
        async move {
            let mut response = answer(&inbound, peer, request, &tasks).await;
            protocol::stamp(response.headers_mut(), PROTOCOL);
            Ok::<_, Infallible>(response)
        }
    });
    let connection = http2::Builder::new(executor)
        .timer(TokioTimer::new())
        .keep_alive_interval(PING.0)
        .keep_alive_timeout(PING.1)
        .initial_stream_window_size(WINDOW)
        .initial_connection_window_size(WINDOW)
        .max_frame_size(1 << 20)
        .max_concurrent_streams(STREAMS_MAX)
        .max_pending_accept_reset_streams(STREAMS_MAX as usize)
        .max_local_error_reset_streams(STREAMS_MAX as usize)
        .serve_connection(TokioIo::new(stream), answering);
    tokio::pin!(connection);
    let text = |error: hyper::Error| error.to_string();
    tokio::select! {
        ended = connection.as_mut() => return ended.map_err(text),
        () = shutdown.requested() => {}
        () = clock::sleep_until(handshake_by) => {
            if !greeted.load(Ordering::Relaxed) {
                return Err("no request in time".to_owned());
            }
            tokio::select! {
                ended = connection.as_mut() => return ended.map_err(text),
                () = shutdown.requested() => {}
            }
        }
    }
    connection.as_mut().graceful_shutdown();
    clock::timeout(GRACE, connection).await.unwrap_or(Ok(())).map_err(text)
}

fn refused(status: StatusCode, why: impl Into<Bytes>) -> Response<Body> {
    let mut response = Response::new(full(why.into()));
    *response.status_mut() = status;
    response
}

/// The body of a request, if it is short enough and arrives in time.
///
/// Raft's messages wait for nobody: there are few of them, and all calls wait for them.
async fn received(body: Incoming, longest: usize, inbound: &Inbound, is_raft: bool) -> Result<Bytes, Response<Body>> {
    let too_large = || refused(StatusCode::PAYLOAD_TOO_LARGE, format!("request is longer than {longest} bytes"));
    let told = hyper::body::Body::size_hint(&body).exact().unwrap_or(longest as u64);
    let told = usize::try_from(told).ok().filter(|told| *told <= longest).ok_or_else(too_large)?;
    let receiving = async {
        let _room = if is_raft { None } else { inbound.receiving.room(told).await };
        Limited::new(body, longest).collect().await
    };
    match clock::timeout(inbound.patience.body, receiving).await {
        Ok(Ok(body)) => Ok(body.to_bytes()),
        Ok(Err(error)) if error.is::<http_body_util::LengthLimitError>() => Err(too_large()),
        Ok(Err(error)) => Err(refused(StatusCode::BAD_REQUEST, error.to_string())),
        Err(_) => Err(refused(StatusCode::REQUEST_TIMEOUT, "request did not arrive in time")),
    }
}

impl Inbound {
    /// A value is at most as long as configured, and every byte of it takes up to two.
    fn call_max(&self) -> usize {
        CALL_MIN.max(self.value_max.saturating_mul(2).saturating_add(1 << 20))
    }

    /// An append holds the largest command there may be, and some that are smaller.
    fn raft_max(&self) -> usize {
        RAFT_MIN.max(self.call_max().saturating_add(RAFT_BESIDE))
    }
}

async fn answer(inbound: &Inbound, peer: SocketAddr, request: HttpRequest<Incoming>, tasks: &Tasks) -> Response<Body> {
    if let Err(why) = protocol::check(request.headers(), PROTOCOL) {
        return refused(StatusCode::UPGRADE_REQUIRED, why);
    }
    if let Err(why) = for_this_server(inbound, request.uri()) {
        return refused(StatusCode::MISDIRECTED_REQUEST, why);
    }
    let (path, longest) = match request.uri().path() {
        HELLO => return Response::new(full(Bytes::new())),
        "/v1/agent" => return inbound.streams.attach(request.into_body(), peer, inbound.admit.clone()),
        "/v1/raft/snapshot" => return raft_snapshot(inbound, request.into_body(), tasks).await,
        "/v1/snapshot/load" => return snapshot::load(&*inbound.handler, request.into_body(), tasks).await,
        path @ "/v1/snapshot/save" => (path.to_owned(), CHANGES_MAX),
        path @ "/v1/call" => (path.to_owned(), inbound.call_max()),
        path @ "/v1/changes" => (path.to_owned(), CHANGES_MAX),
        path @ "/v1/raft" => (path.to_owned(), inbound.raft_max()),
        path => return refused(StatusCode::NOT_FOUND, format!("rpc: {path} is not known to this release ({})", env!("CARGO_PKG_VERSION"))),
    };
    let body = match received(request.into_body(), longest, inbound, path == "/v1/raft").await {
        Ok(body) => body,
        Err(refused) => return refused,
    };
    match path.as_str() {
        "/v1/raft" => match &inbound.raft {
            Some(raft) => Response::new(full(raft.receive(&body).await.into())),
            None => refused(StatusCode::NOT_FOUND, "this agent is no server"),
        },
        "/v1/snapshot/save" => snapshot::save(&*inbound.handler, &body).await,
        "/v1/changes" => changes(inbound, &body).await,
        _ => Response::new(full(call(inbound, &body).await)),
    }
}

/// A message of Raft is only for the server it names, not for whoever has taken over its address: that one has another log, and an answer
/// of it would be counted as the other's. Earlier releases name nobody.
fn for_this_server(inbound: &Inbound, uri: &Uri) -> Result<(), String> {
    let (Some(raft), Some(id)) = (&inbound.raft, uri.query().and_then(|query| query.strip_prefix("to="))) else { return Ok(()) };
    if raft.id() == id { Ok(()) } else { Err(format!("server {id} is not here any more, {} is", raft.id())) }
}

/// A snapshot has no limit: it goes to disk as it comes.
async fn raft_snapshot(inbound: &Inbound, body: Incoming, tasks: &Tasks) -> Response<Body> {
    let Some(raft) = &inbound.raft else { return refused(StatusCode::NOT_FOUND, "this agent is no server") };
    let mut frames = Frames::new(body, CALL_MIN);
    match clock::timeout(inbound.patience.body, frames.next_bytes()).await {
        Ok(Ok(Some(offer))) => Response::new(full(raft.receive_snapshot(&offer, frames.rest(tasks, ())).await.into())),
        _ => refused(StatusCode::BAD_REQUEST, "a snapshot that does not say what it is"),
    }
}

/// What cannot be read comes from another version or from nobody we know.
fn unreadable(body: &[u8], why: &str) -> Error {
    let release = env!("CARGO_PKG_VERSION");
    match wire::decode::<(serde::de::IgnoredAny, wire::Tag)>(body) {
        Ok((_, tag)) if !Operation::NAMES.contains(&tag.0.as_str()) => Error::Refused(format!(
            "rpc error making call: rpc: can't find method {}: this server (release {release}) does not know it yet",
            tag.0.escape_debug()
        )),
        _ => Error::Refused(format!("rpc error making call: unreadable request: {why}")),
    }
}

async fn call(inbound: &Inbound, body: &[u8]) -> Bytes {
    telemetry::metrics().incr("rpc.request");
    let result = match wire::decode::<(Request, Operation)>(body) {
        Ok((request, operation)) => inbound.handler.handle(request, operation).await,
        Err(why) => Err(unreadable(body, &why)),
    };
    let unwritable = |why: String| wire::encode(&Err::<(), _>(Error::Refused(format!("rpc error making call: {why}"))));
    // Errors are plain text, which can always be written; no bytes at all read as a broken answer.
    wire::encode(&result).or_else(unwritable).unwrap_or_default()
}

async fn changes(inbound: &Inbound, body: &[u8]) -> Response<Body> {
    let opened = match wire::decode::<(Request, u64)>(body) {
        Ok((request, since)) => open(inbound, request, since).await,
        Err(why) => Err(unreadable(body, &why)),
    };
    let head = opened.as_ref().map(|(first, _)| wire::Opening { index: first.0 });
    let head = stream::iter([Ok(Frame::data(wire::frame(&head).unwrap_or_default()))]);
    let Ok((first, changes)) = opened else { return Response::new(StreamBody::new(head).boxed_unsync()) };
    let rest = stream::unfold((Some(first), changes), |(first, mut changes)| async move {
        let batch = match first {
            Some(first) => first,
            // The other side opens it anew, and hears why that does not go.
            None => changes.recv().await?.ok()?,
        };
        Some((Ok(Frame::data(wire::frame(&batch).ok()?)), (None, changes)))
    });
    Response::new(BodyExt::boxed_unsync(StreamBody::new(futures_util::StreamExt::chain(head, Box::pin(rest)))))
}

/// The stream and its first batch, which tells where it starts.
async fn open(inbound: &Inbound, request: Request, since: u64) -> Result<(Batch, Changes), Error> {
    let mut changes = inbound.handler.changes(request, since).await?;
    let first = clock::timeout(OPENING, changes.recv()).await.map_err(|_| Error::Timeout)?;
    Ok((first.ok_or(Error::Stopping)??, changes))
}
