//! `/v1/agent/metrics` and `/v1/agent/monitor`: what the agent says about itself; `/v1/muster/agent/:node/monitor`, what another one says.
//!
//! Contract: HTTP API, sections "Status, agent" and "Metrics JSON"; `EXTENSIONS.md`. A log stream is never compressed or buffered,
//! unlike Consul 1.8.7, whose label on it breaks clients.

use std::{sync::Arc, time::Duration};

use axum::{
    body::Body,
    http::{HeaderValue, StatusCode, header},
    response::Response,
};
use futures_util::stream;

use super::{
    Context,
    error::Error,
    extract::Call,
    respond::{self, Unencoded},
};
use crate::{
    rpc::{self, AgentCall, AgentReply, Payload},
    rt::clock,
    telemetry,
};

/// How long a log goes on being followed while its agent cannot be reached: a server that went takes streams with it.
const LOST: Duration = Duration::from_secs(10);
/// The pause before the next try.
const PAUSE: Duration = Duration::from_millis(500);

/// What Prometheus calls its text format.
const EXPOSITION: HeaderValue = HeaderValue::from_static("text/plain; version=0.0.4; charset=utf-8");

pub(super) async fn metrics(call: Call) -> Result<Response, Error> {
    if call.query.get("format") != "prometheus" {
        return respond::json(&call, &telemetry::metrics().view(call.context.runtime.clock.wall_ms()));
    }
    let off = || Error::new(StatusCode::UNSUPPORTED_MEDIA_TYPE, "Prometheus is not enabled since its retention time is not positive");
    let mut response = Response::new(Body::from(telemetry::metrics().prometheus().ok_or_else(off)?));
    response.headers_mut().insert(header::CONTENT_TYPE, EXPOSITION);
    Ok(response)
}

pub(super) async fn log(call: Call) -> Result<Response, Error> {
    let level = level(&call)?;
    let json = call.query.has("logjson");
    let Some(log) = &call.context.options.log else { return Err(Error::internal("This agent's log cannot be streamed")) };
    let (lines, shutdown) = (log.subscribe(level), call.context.shutdown.clone());
    let body = Body::from_stream(stream::unfold((lines, shutdown), move |(mut lines, shutdown)| async move {
        let line = tokio::select! {
            biased;
            () = shutdown.requested() => return None,
            line = lines.next() => line?.line(json),
        };
        Some((Ok::<_, std::convert::Infallible>(format!("{line}\n")), (lines, shutdown)))
    }));
    Ok(streamed(body))
}

fn level(call: &Call) -> Result<telemetry::Level, Error> {
    match call.query.get("loglevel") {
        "" => Ok(telemetry::Level::Info),
        word => word.parse().map_err(|error: telemetry::UnknownLevel| Error::bad_request(error.to_string())),
    }
}

fn streamed(body: Body) -> Response {
    let mut response = Response::new(body);
    response.extensions_mut().insert(Unencoded);
    response.headers_mut().insert(header::CONTENT_TYPE, HeaderValue::from_static("text/plain; charset=utf-8"));
    response
}

/// The log of another node's agent, as [`log`] streams this one's. A stream that breaks off has lost that agent.
pub(super) async fn remote(call: Call, request: rpc::Request, node: String) -> Result<Response, Error> {
    let (level, json) = (level(&call)?, call.query.has("logjson"));
    let mut following = Following { context: Arc::clone(&call.context), request, node, id: 0, part: 0 };
    let opening = Payload::OpenMonitor { level: level.as_str().to_owned(), json };
    let AgentReply::Monitor(id) = following.call(opening).await? else {
        return Err(rpc::Error::unexpected_reply().into());
    };
    following.id = id;
    let shutdown = call.context.shutdown.clone();
    Ok(streamed(Body::from_stream(stream::unfold(Some((following, shutdown)), |state| async move {
        let (mut following, shutdown) = state?;
        let lines = tokio::select! {
            biased;
            () = shutdown.requested() => return None,
            lines = following.next() => lines,
        };
        Some(match lines {
            Ok(lines) => (Ok(lines), Some((following, shutdown))),
            Err(why) => (Err(std::io::Error::other(why)), None),
        })
    }))))
}

/// A log that is followed part by part.
struct Following {
    context: Arc<Context>,
    request: rpc::Request,
    node: String,
    id: u64,
    /// The last part that came.
    part: u64,
}

impl Following {
    async fn call(&self, payload: Payload) -> Result<AgentReply, rpc::Error> {
        let operation = AgentCall { node: self.node.clone(), payload };
        Ok(self.context.router.call(self.request.clone(), operation).await?.value)
    }

    /// The next lines; asks for the same ones again as long as nobody knows what became of them.
    async fn next(&mut self) -> Result<String, rpc::Error> {
        let mut give_up_at = None;
        loop {
            match self.call(Payload::ReadMonitor { id: self.id, part: self.part + 1 }).await {
                Ok(AgentReply::LogLines(lines)) => {
                    (self.part, give_up_at) = (self.part + 1, None);
                    if !lines.is_empty() {
                        return Ok(lines.iter().fold(String::new(), |text, line| text + line + "\n"));
                    }
                }
                Ok(_) => return Err(rpc::Error::unexpected_reply()),
                Err(why @ (rpc::Error::NotFound(_) | rpc::Error::BadRequest(_) | rpc::Error::PermissionDenied)) => return Err(why),
                Err(why) => {
                    let now = clock::Instant::now();
                    if now >= *give_up_at.get_or_insert(now + LOST) {
                        return Err(why);
                    }
                    clock::sleep(PAUSE).await;
                }
            }
        }
    }
}
