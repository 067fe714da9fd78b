//! Accepts connections and serves HTTP/1.1 on them. Never looks at a request.
//!
//! Contract: HTTP API, sections "Response headers" (canonical case on the wire) and "Size limits" (connections per client).

use std::{
    collections::HashMap,
    net::{IpAddr, SocketAddr},
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use axum::{Extension, Router};
use hyper::server::conn::http1;
use hyper_util::{
    rt::{TokioIo, TokioTimer},
    service::TowerToHyperService,
};
use tokio::io::{AsyncRead, AsyncWrite};

use super::Peer;
use crate::rt::{
    Runtime, Shutdown, clock,
    net::{TcpListener, UnixListener},
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

/// Connections by client address.
#[derive(Clone, Debug)]
struct Clients {
    open: Arc<Mutex<HashMap<IpAddr, usize>>>,
    most: usize,
}

/// One counted connection; dropping it makes room.
struct Seat {
    clients: Clients,
    address: IpAddr,
}

impl Clients {
    fn take(&self, address: IpAddr) -> Option<Seat> {
        let mut open = self.open.lock().unwrap_or_else(PoisonError::into_inner);
        let count = open.entry(address).or_insert(0);
        if self.most > 0 && *count >= self.most {
            return None;
        }
        *count += 1;
        Some(Seat { clients: self.clone(), address })
    }
}

impl Drop for Seat {
    fn drop(&mut self) {
        let mut open = self.clients.open.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(count) = open.get_mut(&self.address) {
            *count -= 1;
            if *count == 0 {
                open.remove(&self.address);
            }
        }
    }
}

/// Accepts until the agent stops.
pub(super) async fn accept(listener: Listener, app: Router, max_conns_per_client: usize, runtime: Runtime) {
    let clients = Clients { open: Arc::default(), most: max_conns_per_client };
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
        let app = app.clone().layer(Extension(Peer(peer)));
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

async fn serve(stream: Box<dyn Stream>, app: Router, shutdown: Shutdown) {
    let connection = http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(HEADER_TIMEOUT)
        .title_case_headers(true)
        .half_close(false)
        .serve_connection(TokioIo::new(stream), TowerToHyperService::new(app));
    tokio::pin!(connection);
    tokio::select! {
        // A client that goes away in the middle is no news.
        _ = connection.as_mut() => return,
        () = shutdown.requested() => connection.as_mut().graceful_shutdown(),
    }
    let _ = clock::timeout(GRACE, connection).await;
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_client_gets_only_so_many_connections() {
        let clients = Clients { open: Arc::default(), most: 2 };
        let (one, two) = (IpAddr::from([127, 0, 0, 1]), IpAddr::from([127, 0, 0, 2]));
        let first = clients.take(one);
        let second = clients.take(one);
        assert!(first.is_some() && second.is_some() && clients.take(one).is_none() && clients.take(two).is_some());
        drop(first);
        assert!(clients.take(one).is_some());
        drop(second);
        assert!(clients.open.lock().expect("no panic").is_empty());
    }
}
