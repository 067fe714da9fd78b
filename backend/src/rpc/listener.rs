//! The answering side: one port for calls, change streams, Raft and the streams that agents keep open.
//!
//! Contract: cluster, section "Ports and connection types". Everything a caller sends is bounded; a caller that goes away
//! takes its call with it.

use std::{convert::Infallible, sync::Arc, time::Duration};

use bytes::Bytes;
use futures_util::stream;
use http_body_util::{BodyExt, Limited, StreamBody};
use hyper::{
    Request as HttpRequest, Response, StatusCode,
    body::{Frame, Incoming},
    server::conn::http2,
    service::service_fn,
};
use hyper_util::rt::{TokioIo, TokioTimer};

use super::{
    AgentStreams, Error, Handler, Operation, Request,
    pool::{Body, PING, STREAMS_MAX, WINDOW, full},
    wire,
};
use crate::rt::{
    Runtime, Shutdown, clock,
    executor::Executor,
    net::{Clients, TcpListener, TcpStream},
};

/// Bytes of one request, at most.
const REQUEST_MAX: usize = 64 << 20;
/// How long answers under way may take once the agent stops.
const GRACE: Duration = Duration::from_secs(2);

/// Takes Raft's messages; `agent` plugs the Raft node in.
#[async_trait::async_trait]
pub trait RaftReceiver: Send + Sync + 'static {
    /// Answers one message.
    async fn receive(&self, message: &[u8]) -> Vec<u8>;
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
    /// Connections of one address, at most; 0 for no limit.
    pub connections_max: usize,
}

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
            let Some(seat) = clients.take(peer.ip()) else {
                tracing::warn!(%peer, "rpc connection dropped: the client has too many");
                continue;
            };
            let executor = Executor { tasks: tasks.clone(), name: "rpc call" };
            let (inbound, shutdown) = (inbound.clone(), shutdown.clone());
            tasks.spawn("rpc connection", async move {
                if let Err(error) = connection(stream, inbound, executor, shutdown).await {
                    tracing::debug!(%error, %peer, "rpc connection ended");
                }
                drop(seat);
            });
        }
    });
}

async fn connection(stream: TcpStream, inbound: Inbound, executor: Executor, shutdown: Shutdown) -> Result<(), hyper::Error> {
    // A socket that is gone already tells so when it is read.
    let _ = stream.set_nodelay(true);
    let answering = service_fn(move |request| {
        let inbound = inbound.clone();
        async move { Ok::<_, Infallible>(answer(&inbound, request).await) }
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
    tokio::select! {
        ended = connection.as_mut() => return ended,
        () = shutdown.requested() => connection.as_mut().graceful_shutdown(),
    }
    clock::timeout(GRACE, connection).await.unwrap_or(Ok(()))
}

fn refused(status: StatusCode) -> Response<Body> {
    let mut response = Response::new(full(Bytes::new()));
    *response.status_mut() = status;
    response
}

async fn answer(inbound: &Inbound, request: HttpRequest<Incoming>) -> Response<Body> {
    let path = request.uri().path().to_owned();
    if path == "/v1/agent" {
        return inbound.streams.attach(request.into_body());
    }
    let Ok(body) = Limited::new(request.into_body(), REQUEST_MAX).collect().await else {
        return refused(StatusCode::PAYLOAD_TOO_LARGE);
    };
    let body = body.to_bytes();
    match path.as_str() {
        "/v1/raft" => match &inbound.raft {
            Some(raft) => Response::new(full(raft.receive(&body).await.into())),
            None => refused(StatusCode::NOT_FOUND),
        },
        "/v1/call" => Response::new(full(call(inbound, &body).await)),
        "/v1/changes" => changes(inbound, &body).await,
        _ => refused(StatusCode::NOT_FOUND),
    }
}

/// What cannot be read comes from another version or from nobody we know.
fn unreadable(why: &str) -> Error {
    Error::Refused(format!("rpc error making call: unreadable request: {why}"))
}

async fn call(inbound: &Inbound, body: &[u8]) -> Bytes {
    let result = match wire::decode::<(Request, Operation)>(body) {
        Ok((request, operation)) => inbound.handler.handle(request, operation).await,
        Err(why) => Err(unreadable(&why)),
    };
    let unwritable = |why: String| wire::encode(&Err::<(), _>(Error::Refused(format!("rpc error making call: {why}"))));
    // Errors are plain text, which can always be written; no bytes at all read as a broken answer.
    wire::encode(&result).or_else(unwritable).unwrap_or_default()
}

async fn changes(inbound: &Inbound, body: &[u8]) -> Response<Body> {
    let opened = match wire::decode::<(Request, u64)>(body) {
        Ok((request, since)) => inbound.handler.changes(request, since).await,
        Err(why) => Err(unreadable(&why)),
    };
    let head = wire::frame(&opened.as_ref().map(|_| ())).unwrap_or_default();
    let first = stream::iter([Ok(Frame::data(head))]);
    let Ok(changes) = opened else { return Response::new(StreamBody::new(first).boxed_unsync()) };
    let rest = stream::unfold(changes, |mut changes| async move {
        let batch = changes.recv().await?;
        Some((Ok::<_, Infallible>(Frame::data(wire::frame(&batch).ok()?)), changes))
    });
    Response::new(BodyExt::boxed_unsync(StreamBody::new(futures_util::StreamExt::chain(first, Box::pin(rest)))))
}
