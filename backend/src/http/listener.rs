//! Accepts connections and serves HTTP/1.1 on them. Never looks at a request.
//!
//! Contract: HTTP API, sections "Response headers" (canonical case on the wire) and "Size limits" (connections per client).

use std::{convert::Infallible, net::SocketAddr, time::Duration};

use axum::http::{Request, Response};
use hyper::{
    body::{Body, Incoming},
    server::conn::http1,
    service::Service,
};
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::io::{AsyncRead, AsyncWrite};

use crate::rt::{
    Runtime, Shutdown, clock,
    net::{Clients, TcpListener, UnixListener},
};

/// Longer than Go clients keep idle connections (90 s), so that we are never the ones to close a connection in use.
const HEADER_TIMEOUT: Duration = Duration::from_secs(120);
/// How long answers under way may take once the agent stops.
const GRACE: Duration = Duration::from_secs(2);

/// A socket that accepts HTTP connections.
#[derive(Debug)]
pub enum Listener {
    /// TCP.
    Tcp(TcpListener),
    /// A Unix socket.
    Unix(UnixListener),
}

/// Accepts until the agent stops; `app` makes what answers one client's connection.
pub(super) async fn accept<A, S, B>(listener: Listener, app: A, max_conns_per_client: usize, runtime: Runtime)
where
    A: Fn(Option<SocketAddr>) -> S,
    S: Service<Request<Incoming>, Response = Response<B>, Error = Infallible> + Send + 'static,
    S::Future: Send,
    B: Body<Error: Into<Box<dyn std::error::Error + Send + Sync>>, Data: Send> + Send + 'static,
{
    let clients = Clients::new(max_conns_per_client);
    let shutdown = runtime.tasks.shutdown();
    loop {
        let accepted = tokio::select! {
            biased;
            () = shutdown.requested() => return,
            accepted = accept_one(&listener) => accepted,
        };
        let (stream, peer) = match accepted {
            Ok(accepted) => accepted,
            Err(error) => {
                // Out of file descriptors or a connection that is gone already; busy looping would make it worse.
                tracing::warn!(%error, "cannot accept a connection");
                clock::sleep(Duration::from_millis(50)).await;
                continue;
            }
        };
        let seat = match peer {
            Some(peer) => match clients.take(peer.ip()) {
                Some(seat) => Some(seat),
                None => {
                    tracing::debug!(%peer, "connection dropped: client has too many");
                    continue;
                }
            },
            None => None,
        };
        let app = app(peer);
        let shutdown = shutdown.clone();
        runtime.tasks.spawn("http connection", async move {
            serve(stream, app, shutdown).await;
            drop(seat);
        });
    }
}

trait Stream: AsyncRead + AsyncWrite + Send + Unpin {}
impl<T: AsyncRead + AsyncWrite + Send + Unpin> Stream for T {}

async fn accept_one(listener: &Listener) -> std::io::Result<(Box<dyn Stream>, Option<SocketAddr>)> {
    match listener {
        Listener::Tcp(listener) => {
            let (stream, peer) = listener.accept().await?;
            // Answers are written in one piece; waiting for more only delays them.
            stream.set_nodelay(true)?;
            Ok((Box::new(stream), Some(peer)))
        }
        Listener::Unix(listener) => Ok((Box::new(listener.accept().await?.0), None)),
    }
}

async fn serve<S, B>(stream: Box<dyn Stream>, app: S, shutdown: Shutdown)
where
    S: Service<Request<Incoming>, Response = Response<B>, Error = Infallible>,
    B: Body<Error: Into<Box<dyn std::error::Error + Send + Sync>>> + 'static,
{
    let connection = http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(HEADER_TIMEOUT)
        .title_case_headers(true)
        .half_close(false)
        .serve_connection(TokioIo::new(stream), app);
    tokio::pin!(connection);
    tokio::select! {
        // A client that goes away in the middle is no news.
        _ = connection.as_mut() => return,
        () = shutdown.requested() => connection.as_mut().graceful_shutdown(),
    }
    let _ = clock::timeout(GRACE, connection).await;
}
