//! The gRPC check: asks the standard health service (`grpc.health.v1.Health/Check`); SERVING passes.
//!
//! Speaks just enough gRPC by hand: one unary call over one HTTP/2 connection. Contract: health checks, section "Docker, gRPC, others".

use std::{pin::pin, time::Duration};

use bytes::Bytes;
use futures_util::future::{Either, select};
use http::{HeaderMap, Method, Request, Uri, header};
use http_body_util::{BodyExt as _, Full, Limited};
use hyper::client::conn::http2;
use hyper_util::rt::{TokioExecutor, TokioIo};
use tokio::io::{AsyncRead, AsyncWrite};

use super::{Outcome, World, definition::Tls, dial};
use crate::rt::clock;

const SERVING: u64 = 1;
const ANSWER_SIZE_MAX: usize = 64 * 1024;
const CODES: [&str; 17] = [
    "OK",
    "Canceled",
    "Unknown",
    "InvalidArgument",
    "DeadlineExceeded",
    "NotFound",
    "AlreadyExists",
    "PermissionDenied",
    "ResourceExhausted",
    "FailedPrecondition",
    "Aborted",
    "OutOfRange",
    "Unimplemented",
    "Internal",
    "Unavailable",
    "DataLoss",
    "Unauthenticated",
];

/// Calls the health service at `host:port`, for one of its services if named.
pub(super) async fn run(target: &str, tls: Option<&Tls>, timeout: Duration, world: &World) -> Outcome {
    let (address, service) = target.split_once('/').unwrap_or((target, ""));
    let asked = clock::timeout(timeout, ask(address, service, tls, world)).await;
    match asked.unwrap_or_else(|_| Err("rpc error: code = DeadlineExceeded desc = context deadline exceeded".to_owned())) {
        Ok(SERVING) => Outcome::passing(format!("gRPC check {target}: success")),
        Ok(_) => Outcome::critical("gRPC application didn't report service healthy".to_owned()),
        Err(output) => Outcome::critical(output),
    }
}

fn unavailable(reason: &str) -> String {
    format!("rpc error: code = Unavailable desc = {reason}")
}

async fn ask(address: &str, service: &str, tls: Option<&Tls>, world: &World) -> Result<u64, String> {
    let dialing = |why: String| unavailable(&format!("connection error: desc = \"transport: Error while dialing {why}\""));
    let stream = dial::tcp(address).await.map_err(dialing)?;
    match tls {
        None => call("http", address, service, stream).await,
        Some(options) => {
            let host = dial::split(address).map_or(address, |(host, _)| host);
            let secured =
                world.tls.connect(&world.tasks, options, host, &[b"h2"], stream).await.map_err(|why| {
                    unavailable(&format!("connection error: desc = \"transport: authentication handshake failed: {why}\""))
                })?;
            call("https", address, service, secured).await
        }
    }
}

async fn call<S>(scheme: &str, address: &str, service: &str, stream: S) -> Result<u64, String>
where
    S: AsyncRead + AsyncWrite + Send + Unpin + 'static,
{
    let closed = |_| unavailable("connection closed");
    let uri: Uri = format!("{scheme}://{address}/grpc.health.v1.Health/Check").parse().map_err(|error| unavailable(&format!("{error}")))?;
    let mut request = Request::new(Full::new(encode(service)));
    *request.method_mut() = Method::POST;
    *request.uri_mut() = uri;
    let fixed = |text: &'static str| http::HeaderValue::from_static(text);
    request.headers_mut().insert(header::CONTENT_TYPE, fixed("application/grpc"));
    request.headers_mut().insert(header::TE, fixed("trailers"));
    request.headers_mut().insert(header::USER_AGENT, fixed("Consul Health Check"));
    let (mut sender, connection) = http2::handshake(TokioExecutor::new(), TokioIo::new(stream)).await.map_err(closed)?;
    let exchange = async {
        let response = sender.send_request(request).await.map_err(closed)?;
        if !response.status().is_success() {
            let status = response.status();
            let phrase = status.canonical_reason().unwrap_or_default();
            return Err(format!("rpc error: code = Unknown desc = {phrase}: HTTP status code {}", status.as_u16()));
        }
        let headers = response.headers().clone();
        let body = Limited::new(response.into_body(), ANSWER_SIZE_MAX).collect().await.map_err(|_| unavailable("connection closed"))?;
        verdict(body.trailers().unwrap_or(&headers))?;
        decode(&body.to_bytes()).ok_or_else(|| "rpc error: code = Internal desc = malformed answer".to_owned())
    };
    match select(pin!(exchange), pin!(connection)).await {
        Either::Left((answer, _)) => answer,
        Either::Right((_, exchange)) => exchange.await,
    }
}

/// The call's own status, which comes after the body, or instead of it.
fn verdict(headers: &HeaderMap) -> Result<(), String> {
    let text = |name: &str| headers.get(name).and_then(|value| value.to_str().ok()).unwrap_or_default();
    match text("grpc-status").parse::<usize>() {
        Ok(0) => Ok(()),
        Ok(code) => {
            let code = CODES.get(code).map_or_else(|| format!("Code({code})"), |name| (*name).to_owned());
            Err(format!("rpc error: code = {code} desc = {}", text("grpc-message")))
        }
        Err(_) => Err("rpc error: code = Internal desc = server closed the stream without sending trailers".to_owned()),
    }
}

/// `HealthCheckRequest{service = 1}` in its gRPC frame.
fn encode(service: &str) -> Bytes {
    let mut message = Vec::new();
    if !service.is_empty() {
        message.push(0x0a);
        let mut rest = service.len();
        while rest >= 0x80 {
            message.push(u8::try_from(rest & 0x7f).unwrap_or(0) | 0x80);
            rest >>= 7;
        }
        message.push(u8::try_from(rest).unwrap_or(0));
        message.extend_from_slice(service.as_bytes());
    }
    let mut frame = vec![0];
    frame.extend_from_slice(&u32::try_from(message.len()).unwrap_or(u32::MAX).to_be_bytes());
    frame.extend_from_slice(&message);
    Bytes::from(frame)
}

/// `HealthCheckResponse.status`, field 1, out of its gRPC frame; unset is 0, unknown.
fn decode(frame: &[u8]) -> Option<u64> {
    let (&compressed, rest) = frame.split_first()?;
    let (length, mut message) = rest.split_at_checked(4)?;
    let length = usize::try_from(u32::from_be_bytes(length.try_into().ok()?)).ok()?;
    if compressed != 0 || message.len() != length {
        return None;
    }
    let mut status = 0;
    while !message.is_empty() {
        let key = varint(&mut message)?;
        match key & 7 {
            0 => {
                let value = varint(&mut message)?;
                if key >> 3 == 1 {
                    status = value;
                }
            }
            2 => {
                let length = usize::try_from(varint(&mut message)?).ok()?;
                message = message.split_at_checked(length)?.1;
            }
            5 => message = message.split_at_checked(4)?.1,
            1 => message = message.split_at_checked(8)?.1,
            _ => return None,
        }
    }
    Some(status)
}

fn varint(bytes: &mut &[u8]) -> Option<u64> {
    let mut value = 0;
    for shift in (0..64).step_by(7) {
        let (&byte, rest) = bytes.split_first()?;
        *bytes = rest;
        value |= u64::from(byte & 0x7f) << shift;
        if byte < 0x80 {
            return Some(value);
        }
    }
    None
}
