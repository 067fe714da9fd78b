//! `/v1/snapshot`, and beyond Consul `/v1/muster/snapshots` and `/v1/muster/snapshot/inspect`.
//!
//! Contract: HTTP API, section "Snapshot, operator"; see `EXTENSIONS.md`. Files pass through as they come and are never held; a
//! client that stands still for too long loses its connection.

use std::{io, sync::PoisonError, time::Duration};

use axum::{
    body::Body,
    http::{HeaderValue, header},
    response::Response,
};
use http_body_util::BodyExt as _;

use super::{
    error::Error,
    extract::Call,
    respond::{self, Unencoded},
};
use crate::{
    rpc::{self, Load},
    rt::{
        chunks::{self, Chunks},
        clock,
    },
};

/// How long a client may take for its next bytes, in either direction.
const STALL: Duration = Duration::from_secs(60);
/// How long to wait for bytes that nobody wants any more.
const DRAIN: Duration = Duration::from_secs(5);

pub(super) async fn list(call: Call) -> Result<Response, Error> {
    let answer = call.context.router.call(call.read()?, rpc::Snapshots {}).await?;
    respond::json(&call, &answer.value)
}

pub(super) async fn take(call: Call) -> Result<Response, Error> {
    let answer = call.context.router.call(call.write()?, rpc::TakeSnapshot {}).await?;
    respond::json(&call, &answer.value)
}

pub(super) async fn save(call: Call) -> Result<Response, Error> {
    let answer = call.context.router.save(call.read()?).await?;
    let mut response = Response::new(Body::from_stream(chunks::into_stream(outgoing(&call, answer.value))));
    // It is compressed already.
    response.extensions_mut().insert(Unencoded);
    respond::set_meta(response.headers_mut(), &answer.meta);
    response.headers_mut().insert(header::CONTENT_TYPE, HeaderValue::from_static("application/x-gzip"));
    Ok(response)
}

pub(super) async fn restore(call: Call) -> Result<Response, Error> {
    let file = incoming(&call);
    call.context.router.load(call.write()?, Load::Restore, file).await?;
    Ok(respond::empty())
}

pub(super) async fn inspect(call: Call) -> Result<Response, Error> {
    let file = incoming(&call);
    let answer = call.context.router.load(call.write()?, Load::Inspect, file).await?;
    respond::json(&call, &answer.value)
}

/// Passes on what the client takes in time; the rest breaks off, which the client sees.
fn outgoing(call: &Call, mut from: Chunks) -> Chunks {
    let (to, chunks) = chunks::channel();
    call.context.runtime.tasks.spawn_until_shutdown("snapshot download", async move {
        while let Some(piece) = from.recv().await {
            if !matches!(clock::timeout(STALL, to.send(piece)).await, Ok(Ok(()))) {
                return;
            }
        }
    });
    chunks
}

/// The request's body as it comes.
fn incoming(call: &Call) -> Chunks {
    let mut body = std::mem::take(&mut *call.body.lock().unwrap_or_else(PoisonError::into_inner));
    let (to, chunks) = chunks::channel();
    call.context.runtime.tasks.spawn_until_shutdown("snapshot upload", async move {
        loop {
            let frame = tokio::select! {
                biased;
                () = to.closed() => None,
                frame = clock::timeout(STALL, body.frame()) => Some(frame),
            };
            let piece = match frame {
                Some(Ok(Some(Ok(frame)))) => match frame.into_data() {
                    Ok(data) => Ok(data),
                    Err(_) => continue,
                },
                Some(Ok(Some(Err(error)))) => Err(io::Error::other(format!("the snapshot broke off: {error}"))),
                Some(Err(_)) => Err(io::Error::new(io::ErrorKind::TimedOut, "the snapshot stopped coming")),
                None => break,
                Some(Ok(None)) => return,
            };
            if to.send(piece).await.is_err() {
                break;
            }
        }
        // Nobody wants the rest: it is read all the same for a while, so that the client gets to see why.
        while matches!(clock::timeout(DRAIN, body.frame()).await, Ok(Some(Ok(_)))) {}
    });
    chunks
}
