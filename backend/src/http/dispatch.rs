//! From a request to its handler: path rules, method rules, the configuration's gates, headers every answer has.
//!
//! Contract: HTTP API, section "Wire format", rows from "Root" to "Config gates".

use std::{sync::Arc, time::Duration};

use axum::{
    body::Body,
    extract::Request,
    http::{HeaderMap, HeaderName, HeaderValue, Method, StatusCode, Uri, header},
    response::Response,
};

use super::{Context, Options, Peer, error::Error, extract::Call, path, query::Query, respond, routes::Match, ui};
use crate::{rt::clock, telemetry};

/// No request takes longer: the longest blocking query is 10 minutes and a sixteenth.
const DEADLINE: Duration = Duration::from_secs(660);

const NOT_AN_ENDPOINT: &str = "Invalid URL path: not a recognized HTTP API endpoint\n";
const NOT_THE_API: &str = "Invalid URL path: if attempting to use the HTTP API, ensure the path starts with '/v1/'\n";
const NO_UI: &str = "Consul Agent: UI disabled. To enable, set ui_config.enabled=true in the agent configuration and restart.";

/// Answers one request.
pub(super) async fn dispatch(context: Arc<Context>, request: Request) -> Response {
    let started = context.runtime.clock.now();
    let (method, uri) = (request.method().clone(), request.uri().clone());
    let peer = request.extensions().get::<Peer>().and_then(|peer| peer.0);
    let mut response = answer(&context, peer, request).await;
    let from = peer.map_or_else(|| "@".to_owned(), |peer| peer.to_string());
    tracing::debug!(
        %method, url = redacted(&uri), %from, status = response.status().as_u16(),
        latency = %shared::go::Duration::from(started.elapsed()), "Request finished"
    );
    for (name, value) in &context.options.response_headers {
        if let (Ok(name), Ok(value)) = (HeaderName::try_from(name.as_str()), HeaderValue::from_str(value)) {
            response.headers_mut().insert(name, value);
        }
    }
    response
}

/// The path with its query, without the token.
fn redacted(uri: &Uri) -> String {
    let Some(query) = uri.query() else { return uri.path().to_owned() };
    let parts = query.split('&').map(|part| if part.starts_with("token=") { "token=<hidden>" } else { part });
    format!("{}?{}", uri.path(), parts.collect::<Vec<_>>().join("&"))
}

async fn answer(context: &Arc<Context>, peer: Option<std::net::SocketAddr>, request: Request) -> Response {
    let Some(decoded) = path::decode(request.uri().path()) else {
        let mut response = respond::text(StatusCode::BAD_REQUEST, "400 Bad Request");
        response.headers_mut().insert(header::CONNECTION, HeaderValue::from_static("close"));
        return response;
    };
    let Ok(path) = String::from_utf8(decoded) else {
        return respond::text(StatusCode::BAD_REQUEST, "Invalid URL path: not UTF-8");
    };
    if !context.options.disable_unprintable_char_filter && !path::is_printable(&path) {
        return Error::bad_request("").into_response();
    }
    let with_body = matches!(*request.method(), Method::GET | Method::HEAD);
    let to = |path: &str| {
        let query = request.uri().query().map_or_else(String::new, |query| format!("?{query}"));
        respond::redirect(&format!("{}{query}", path::encode(path)), with_body)
    };
    let cleaned = path::clean(&path);
    // The dashboard reads its addresses itself: there a key may have any slashes.
    if cleaned != path && below_ui(&context.options, &path).is_none() {
        return to(&cleaned);
    }
    match context.table.find(&path) {
        Match::AddSlash => to(&format!("{path}/")),
        Match::Nothing => unmatched(context, &path, &request),
        Match::Found(endpoint, end) => {
            let mut response = if context.options.block_endpoints.iter().any(|prefix| path.starts_with(prefix.as_str())) {
                respond::text(StatusCode::FORBIDDEN, "Endpoint is blocked by agent configuration")
            } else {
                let method = request.method().clone();
                match endpoint.handler(&method) {
                    Some((metric, handler)) => {
                        let call = call(context, peer, request, path[end..].to_owned());
                        let started = context.runtime.clock.now();
                        let answered = run(&method, call, handler).await;
                        telemetry::metrics().timing(metric, started.elapsed());
                        answered
                    }
                    None => refuse_method(&method, &endpoint.allow()),
                }
            };
            if context.options.translate_wan_addrs {
                response.headers_mut().insert("x-consul-translate-addresses", HeaderValue::from_static("true"));
            }
            response.headers_mut().entry(header::VARY).or_insert(HeaderValue::from_static("Accept-Encoding"));
            response
        }
    }
}

fn call(context: &Arc<Context>, peer: Option<std::net::SocketAddr>, request: Request, rest: String) -> Call {
    let (parts, body) = request.into_parts();
    let query = Query::parse(parts.uri.query().unwrap_or_default());
    Call { context: context.clone(), method: parts.method, peer, headers: parts.headers, query, rest, body: std::sync::Mutex::new(body) }
}

async fn run<F>(method: &Method, call: Call, handler: impl Fn(Call) -> F) -> Response
where
    F: Future<Output = Result<Response, Error>>,
{
    let networks = &call.context.options.allow_write_http_from;
    if method != Method::GET && !call.may_write_from(networks) {
        return respond::text(StatusCode::FORBIDDEN, "Access is restricted");
    }
    let context = call.context.clone();
    let answering = clock::timeout(DEADLINE, handler(call));
    let answered = tokio::select! {
        biased;
        answered = answering => answered.unwrap_or_else(|_| Err(crate::rpc::Error::Timeout.into())),
        () = context.shutdown.requested() => Err(crate::rpc::Error::Stopping.into()),
    };
    answered.unwrap_or_else(|error| {
        if error.status().is_server_error() {
            tracing::debug!(?error, "request failed");
        }
        error.into_response()
    })
}

fn refuse_method(method: &Method, allow: &str) -> Response {
    let mut response = if method == Method::OPTIONS {
        respond::empty()
    } else {
        respond::text(StatusCode::METHOD_NOT_ALLOWED, format!("method {method} not allowed"))
    };
    if let Ok(allow) = HeaderValue::from_str(allow) {
        response.headers_mut().insert(header::ALLOW, allow);
    }
    response
}

/// The root, the dashboard, and paths nobody knows.
fn unmatched(context: &Arc<Context>, path: &str, request: &Request) -> Response {
    let options = &context.options;
    let with_body = matches!(*request.method(), Method::GET | Method::HEAD);
    if path == "/" && options.ui_content_path != "/" {
        return if options.ui { to_ui(request.headers(), options, with_body) } else { respond::text(StatusCode::OK, NO_UI) };
    }
    if let Some(file) = below_ui(options, path) {
        return if with_body {
            ui::respond(&options.ui_content_path, file, request.headers())
        } else {
            refuse_method(request.method(), "GET,HEAD")
        };
    }
    if options.ui && format!("{path}/") == options.ui_content_path {
        return to_ui(request.headers(), options, with_body);
    }
    let mut response = respond::text(StatusCode::NOT_FOUND, if path.starts_with("/v1/") { NOT_AN_ENDPOINT } else { NOT_THE_API });
    response.extensions_mut().insert(respond::Unencoded);
    response
}

/// What of a path is below the dashboard's root.
fn below_ui<'a>(options: &Options, path: &'a str) -> Option<&'a str> {
    path.strip_prefix(options.ui_content_path.as_str()).filter(|_| options.ui && !path.starts_with("/v1/"))
}

/// To the dashboard; behind a proxy that names its prefix, below that.
fn to_ui(headers: &HeaderMap, options: &Options, with_body: bool) -> Response {
    if headers.contains_key("x-forwarded-prefix") {
        return ui::redirect(&options.ui_content_path, headers);
    }
    respond::redirect(&options.ui_content_path, with_body)
}

/// Where a handler panicked: the client gets a status, the log the reason.
#[allow(clippy::needless_pass_by_value, reason = "the signature is tower-http's")]
pub(super) fn panicked(reason: Box<dyn std::any::Any + Send + 'static>) -> Response<Body> {
    let text = reason.downcast_ref::<String>().map(String::as_str).or_else(|| reason.downcast_ref::<&str>().copied());
    tracing::error!(reason = text.unwrap_or("unknown"), "request handler panicked");
    respond::text(StatusCode::INTERNAL_SERVER_ERROR, "Internal error: the request handler failed; see the agent's log")
}
