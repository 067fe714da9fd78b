//! The HTTP check: one request over a fresh connection; 2xx passes, 429 warns, all else is critical.
//!
//! Never keeps a connection and never keeps more of the body than its last bytes. Contract: health checks, section "HTTP details".

use std::{
    future::Future,
    pin::{Pin, pin},
    time::Duration,
};

use base64::{Engine as _, engine::general_purpose::STANDARD};
use bytes::Bytes;
use futures_util::future::{Either, select};
use http::{HeaderMap, HeaderName, HeaderValue, Method, StatusCode, header};
use http_body_util::{BodyExt as _, Full};
use hyper::{body::Incoming, client::conn::http1};
use hyper_util::rt::TokioIo;
use reqwest::Url;
use shared::health::Status;
use tokio::io::{AsyncRead, AsyncWrite};

use super::{Outcome, World, definition::Http, dial, output::Ring};
use crate::rt::clock;

const REDIRECTS_MAX: usize = 10;
const USER_AGENT: &str = "Consul Health Check";
const ACCEPT: &str = "text/plain, text/*, */*";

/// Makes the request and judges the answer.
pub(super) async fn run(request: &Http, timeout: Duration, output_size_max: usize, world: &World) -> Outcome {
    let deadline = world.clock.now() + timeout;
    let mut body = Ring::new(output_size_max);
    let answered = match clock::timeout_at(deadline, follow(request, world)).await {
        Ok(answered) => answered,
        Err(_) => Err(failure(request, &request.url, "context deadline exceeded (Client.Timeout exceeded while awaiting headers)")),
    };
    match answered {
        Ok(answer) => {
            let status = match answer.response.status() {
                code if code.is_success() => Status::PASSING,
                StatusCode::TOO_MANY_REQUESTS => Status::WARNING,
                _ => Status::CRITICAL,
            };
            let line = answer.status_line();
            // A body that breaks off does not change the verdict: the status line has been sent.
            let _ = clock::timeout_at(deadline, answer.read(&mut body)).await;
            let output = format!("HTTP {} {}: {line} Output: {}", method(request), request.url, body.text());
            Outcome { status, output }
        }
        Err(output) => Outcome { status: Status::CRITICAL, output },
    }
}

fn method(request: &Http) -> &str {
    if request.method.is_empty() { "GET" } else { &request.method }
}

fn failure(request: &Http, url: &str, reason: &str) -> String {
    let method = method(request);
    let (first, rest) = method.split_at(method.chars().next().map_or(0, char::len_utf8));
    format!("{}{} \"{url}\": {reason}", first.to_uppercase(), rest.to_lowercase())
}

type Connection = Pin<Box<dyn Future<Output = ()> + Send>>;

/// An answer whose body is still on the wire, and the connection it comes over.
pub(super) struct Answer {
    response: http::Response<Incoming>,
    connection: Connection,
}

impl Answer {
    /// Whether the answer is a 2xx.
    pub(super) fn is_success(&self) -> bool {
        self.response.status().is_success()
    }

    /// `200 OK`, with the words the server chose.
    pub(super) fn status_line(&self) -> String {
        let status = self.response.status();
        let given = self.response.extensions().get::<hyper::ext::ReasonPhrase>();
        let phrase = given.map(|phrase| String::from_utf8_lossy(phrase.as_bytes()).into_owned());
        let phrase = phrase.unwrap_or_else(|| status.canonical_reason().unwrap_or_default().to_owned());
        format!("{} {phrase}", status.as_u16())
    }

    /// Where a redirect leads.
    fn location(&self) -> Option<String> {
        let redirects = matches!(self.response.status().as_u16(), 301 | 302 | 303 | 307 | 308);
        let location = self.response.headers().get(header::LOCATION).filter(|_| redirects)?;
        Some(String::from_utf8_lossy(location.as_bytes()).into_owned())
    }

    /// Reads the body to its end.
    pub(super) async fn read(mut self, kept: &mut Ring) {
        let body = self.response.body_mut();
        let frames = async {
            while let Some(Ok(frame)) = body.frame().await {
                if let Some(bytes) = frame.data_ref() {
                    kept.write(bytes);
                }
            }
        };
        alongside(&mut self.connection, frames).await;
    }
}

/// Sends the request and follows redirects, as Go's client does.
async fn follow(request: &Http, world: &World) -> Result<Answer, String> {
    let mut url = parse(request)?;
    let mut shown = request.url.clone();
    let mut method =
        Method::from_bytes(method(request).as_bytes()).map_err(|_| format!("net/http: invalid method {:?}", method(request)))?;
    let mut body = Bytes::from(request.body.clone());
    let mut referer = None;
    for _ in 0..REDIRECTS_MAX {
        let headers = headers(request, &url, referer.take()).map_err(|why| failure(request, &shown, &why))?;
        let sent = send(&url, &method, headers, body.clone(), request, world);
        let answer = sent.await.map_err(|why| failure(request, &shown, &why))?;
        let Some(location) = answer.location().filter(|_| !request.disable_redirects) else { return Ok(answer) };
        let next = url.join(&location).map_err(|why| failure(request, &location, &format!("failed to parse Location header: {why}")))?;
        if matches!(answer.response.status().as_u16(), 301..=303) {
            if method != Method::HEAD {
                method = Method::GET;
            }
            body = Bytes::new();
        }
        referer = Some(url.to_string());
        (url, shown) = (next, location);
    }
    Err(failure(request, &shown, "stopped after 10 redirects"))
}

fn parse(request: &Http) -> Result<Url, String> {
    let text = request.url.as_str();
    let first_segment = text.split('/').next().unwrap_or_default();
    Url::parse(text).map_err(|error| match error.to_string().as_str() {
        "relative URL without a base" if first_segment.contains(':') => {
            format!("parse \"{text}\": first path segment in URL cannot contain colon")
        }
        "relative URL without a base" => failure(request, text, "unsupported protocol scheme \"\""),
        "invalid port number" => {
            let authority = text.split('/').nth(2).unwrap_or_default();
            let port = authority.rsplit(':').next().unwrap_or_default();
            failure(request, text, &format!("dial tcp: address {port}: invalid port"))
        }
        other => format!("parse \"{text}\": {other}"),
    })
}

async fn send(url: &Url, method: &Method, headers: HeaderMap, body: Bytes, request: &Http, world: &World) -> Result<Answer, String> {
    let host = url.host_str().unwrap_or_default();
    let port = match (url.port(), url.scheme()) {
        (Some(port), "http" | "https") => port,
        (None, "http") => 80,
        (None, "https") => 443,
        (_, scheme) => return Err(format!("unsupported protocol scheme \"{scheme}\"")),
    };
    let target = match url.query() {
        Some(query) => format!("{}?{query}", url.path()),
        None => url.path().to_owned(),
    };
    let mut message = http::Request::new(Full::new(body));
    *message.method_mut() = method.clone();
    *message.uri_mut() = target.parse().map_err(|error| format!("{error}"))?;
    *message.headers_mut() = headers;
    let stream = dial::tcp(&format!("{host}:{port}")).await?;
    if url.scheme() == "https" {
        let host = host.trim_start_matches('[').trim_end_matches(']');
        let stream = world.tls.connect(&world.tasks, &request.tls, host, &[b"http/1.1"], stream).await?;
        exchange(stream, message).await
    } else {
        exchange(stream, message).await
    }
}

/// Sends a request over a fresh connection.
pub(super) async fn exchange<S>(stream: S, message: http::Request<Full<Bytes>>) -> Result<Answer, String>
where
    S: AsyncRead + AsyncWrite + Send + Unpin + 'static,
{
    let (mut sender, connection) =
        http1::Builder::new().title_case_headers(true).handshake(TokioIo::new(stream)).await.map_err(|error| reason(&error))?;
    let mut connection: Connection = Box::pin(async move {
        let _ = connection.await;
    });
    let response = alongside(&mut connection, sender.send_request(message)).await.map_err(|error| reason(&error))?;
    Ok(Answer { response, connection })
}

/// Drives the connection while something waits for what comes over it.
async fn alongside<T>(connection: &mut (impl Future<Output = ()> + Unpin), work: impl Future<Output = T>) -> T {
    match select(pin!(work), connection).await {
        Either::Left((done, _)) => done,
        Either::Right(((), work)) => work.await,
    }
}

fn reason(error: &hyper::Error) -> String {
    if error.is_incomplete_message() {
        return "EOF".to_owned();
    }
    if error.is_parse() {
        return "net/http: HTTP/1.x transport connection broken: malformed HTTP response".to_owned();
    }
    match std::error::Error::source(error).and_then(|source| source.downcast_ref::<std::io::Error>()) {
        Some(io) => dial::reason(io),
        None => error.to_string(),
    }
}

fn headers(request: &Http, url: &Url, referer: Option<String>) -> Result<HeaderMap, String> {
    let value = |text: &str| HeaderValue::from_str(text).map_err(|_| format!("net/http: invalid header field value {text:?}"));
    let mut headers = HeaderMap::new();
    let authority = url
        .port()
        .map_or_else(|| url.host_str().unwrap_or_default().to_owned(), |port| format!("{}:{port}", url.host_str().unwrap_or_default()));
    headers.insert(header::HOST, value(&authority)?);
    headers.insert(header::USER_AGENT, HeaderValue::from_static(USER_AGENT));
    headers.insert(header::ACCEPT, HeaderValue::from_static(ACCEPT));
    if let Some(referer) = referer {
        headers.insert(header::REFERER, value(&referer)?);
    }
    if !url.username().is_empty() || url.password().is_some() {
        let pair = format!("{}:{}", url.username(), url.password().unwrap_or_default());
        headers.insert(header::AUTHORIZATION, value(&format!("Basic {}", STANDARD.encode(pair)))?);
    }
    for (name, values) in &request.header {
        let name = HeaderName::from_bytes(name.as_bytes()).map_err(|_| format!("net/http: invalid header field name {name:?}"))?;
        headers.remove(&name);
        for text in values {
            headers.append(&name, value(text)?);
        }
    }
    headers.insert(header::CONNECTION, HeaderValue::from_static("close"));
    Ok(headers)
}
