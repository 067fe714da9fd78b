//! `/v1/agent/metrics` and `/v1/agent/monitor`: what the agent says about itself.
//!
//! Contract: HTTP API, sections "Status, agent" and "Metrics JSON". The log stream is never compressed or buffered, unlike
//! Consul 1.8.7, whose label on it breaks clients.

use axum::{
    body::Body,
    http::{HeaderValue, StatusCode, header},
    response::Response,
};
use futures_util::stream;

use super::{
    error::Error,
    extract::Call,
    respond::{self, Unencoded},
};
use crate::telemetry;

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
    let level = match call.query.get("loglevel") {
        "" => telemetry::Level::Info,
        word => word.parse().map_err(|error: telemetry::UnknownLevel| Error::bad_request(error.to_string()))?,
    };
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
    let mut response = Response::new(body);
    response.extensions_mut().insert(Unencoded);
    response.headers_mut().insert(header::CONTENT_TYPE, HeaderValue::from_static("text/plain; charset=utf-8"));
    Ok(response)
}
