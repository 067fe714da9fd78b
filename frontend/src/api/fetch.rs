//! One HTTP call: an [`Endpoint`] out, its reply or an [`Error`] back. The token travels in `X-Consul-Token`, never in
//! an address.

use std::{
    cell::{Cell, RefCell},
    fmt,
};

use crate::prelude::*;
use js_sys::{ArrayBuffer, Uint8Array};
use shared::{
    decode::{self, Decode},
    endpoint::Endpoint,
};
use wasm_bindgen::{JsCast, JsValue};
use wasm_bindgen_futures::JsFuture;
use web_sys::{AbortSignal, Blob, Headers, RequestInit, Response};

/// Why there is no reply.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Error {
    /// The agent could not be reached.
    Unreachable,
    /// The agent said no: status and its text.
    Refused { status: u16, text: String },
    /// The reply is not what the call answers.
    Garbled(String),
    /// The page no longer wants it.
    Aborted,
}

impl Error {
    /// Whether a token, or a better one, would help.
    pub(crate) fn is_denied(&self) -> bool {
        matches!(self, Self::Refused { status: 401 | 403, .. })
    }

    /// Whether there is no such thing.
    pub(crate) fn is_missing(&self) -> bool {
        matches!(self, Self::Refused { status: 404, .. })
    }

    /// Whether the same call may succeed in a moment.
    pub(crate) fn is_passing(&self) -> bool {
        matches!(self, Self::Unreachable | Self::Refused { status: 429 | 500..=599, .. })
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Unreachable => f.write_str("The agent does not answer."),
            Self::Refused { status, text } if text.trim().is_empty() => write!(f, "The agent answered with status {status}."),
            Self::Refused { text, .. } => f.write_str(text.trim()),
            Self::Garbled(why) => write!(f, "The agent's answer makes no sense here: {why}"),
            Self::Aborted => f.write_str("Cancelled."),
        }
    }
}

/// A 2xx answer.
pub(super) struct Answer {
    pub(super) body: Vec<u8>,
    /// From call to last byte, milliseconds.
    pub(super) took_ms: f64,
}

/// A call before it is sent.
#[derive(Clone, PartialEq)]
pub(super) struct Call {
    pub(super) method: &'static str,
    /// Path and query from `/v1/`.
    pub(super) url: String,
    pub(super) body: Option<Vec<u8>>,
}

impl Call {
    pub(super) fn of<E: Endpoint>(endpoint: &E) -> Self {
        Self { method: E::METHOD, url: endpoint.url(), body: endpoint.body() }
    }
}

thread_local! {
    static STALE: Cell<bool> = const { Cell::new(false) };
    static TOKEN: RefCell<String> = const { RefCell::new(String::new()) };
}

/// The token every later call carries; empty sends none.
pub(crate) fn set_token(token: &str) {
    TOKEN.with_borrow_mut(|held| token.clone_into(held));
}

/// Whether every later read is content with what any server has: nobody leads, and the others would only wait.
pub(crate) fn set_stale(stale: bool) {
    STALE.set(stale);
}

/// The address of a call, as it is sent now.
fn address(call: &Call) -> String {
    let url = &call.url;
    if call.method != "GET" || !STALE.get() || url.contains("stale") {
        return url.clone();
    }
    format!("{url}{}stale=", if url.contains('?') { '&' } else { '?' })
}

/// One call for one action.
pub(crate) async fn send<E: Endpoint>(endpoint: &E) -> Result<E::Reply, Error> {
    let answer = call(&Call::of(endpoint), None).await?;
    reply(&answer.body)
}

/// What a body says; an empty one counts as `null`.
pub(super) fn reply<T: Decode + Default>(body: &[u8]) -> Result<T, Error> {
    decode::read(if body.is_empty() { b"null" } else { body }).map_err(|fault| Error::Garbled(fault.to_string()))
}

/// The whole body of a 2xx answer.
pub(super) async fn call(call: &Call, abort: Option<&AbortSignal>) -> Result<Answer, Error> {
    let start = now_ms();
    let body = whole(open(call, abort).await?).await?;
    Ok(Answer { body, took_ms: now_ms() - start })
}

/// One call whose body is a file, which the browser reads as it sends it.
pub(crate) async fn send_file<E: Endpoint>(endpoint: &E, file: &Blob) -> Result<E::Reply, Error> {
    let call = Call { body: None, ..Call::of(endpoint) };
    let body = whole(sent(&call, None, Some(file.as_ref())).await?).await?;
    reply(&body)
}

/// The address of something to be saved as a file; no token goes with it.
pub(crate) fn download(url: &str) -> String {
    root(&address(&Call { method: "GET", url: url.to_owned(), body: None }))
}

/// The body of a 2xx answer; what the agent said otherwise.
async fn whole(response: Response) -> Result<Vec<u8>, Error> {
    let buffer = response.array_buffer().map_err(|error| failed(&error))?;
    let buffer = JsFuture::from(buffer).await.map_err(|error| failed(&error))?;
    let body = Uint8Array::new(&buffer.unchecked_into::<ArrayBuffer>()).to_vec();
    if response.ok() {
        Ok(body)
    } else {
        Err(Error::Refused { status: response.status(), text: String::from_utf8_lossy(&body).into_owned() })
    }
}

/// An answer whose body has not been read.
pub(super) async fn open(call: &Call, abort: Option<&AbortSignal>) -> Result<Response, Error> {
    let body = call.body.as_deref().map(Uint8Array::from);
    sent(call, abort, body.as_ref().map(AsRef::as_ref)).await
}

async fn sent(call: &Call, abort: Option<&AbortSignal>, body: Option<&JsValue>) -> Result<Response, Error> {
    let headers = Headers::new().map_err(|error| failed(&error))?;
    let token = TOKEN.with_borrow(Clone::clone);
    if !token.is_empty() {
        headers.set("X-Consul-Token", &token).map_err(|error| failed(&error))?;
    }
    let init = RequestInit::new();
    init.set_method(call.method);
    init.set_headers(&headers);
    init.set_signal(abort);
    if let Some(body) = body {
        init.set_body(body);
    }
    let response = JsFuture::from(window().fetch_with_str_and_init(&root(&address(call)), &init)).await.map_err(|error| failed(&error))?;
    Ok(response.unchecked_into())
}

/// The address of the API's path `url`: index.html carries where the API is.
fn root(url: &str) -> String {
    crate::router::told("api") + url
}

fn failed(error: &JsValue) -> Error {
    let name = js_sys::Reflect::get(error, &"name".into()).ok().and_then(|name| name.as_string());
    if name.as_deref() == Some("AbortError") { Error::Aborted } else { Error::Unreachable }
}

/// The browser's monotonic clock, milliseconds.
pub(super) fn now_ms() -> f64 {
    window().performance().map_or(0.0, |performance| performance.now())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_are_stale_while_nobody_leads_and_writes_never() {
        let call = |method: &'static str, url: &str| Call { method, url: url.to_owned(), body: None };
        let sent = |stale: bool, it: &Call| {
            set_stale(stale);
            address(it)
        };
        let read = call("GET", "muster/overview");
        assert_eq!((sent(false, &read).as_str(), sent(true, &read).as_str()), ("muster/overview", "muster/overview?stale="));
        assert_eq!(sent(true, &call("GET", "kv/a?recurse=")), "kv/a?recurse=&stale=");
        assert_eq!(sent(true, &call("GET", "muster/raft?stale=")), "muster/raft?stale=");
        assert_eq!(sent(true, &call("PUT", "kv/a")), "kv/a");
        set_stale(false);
    }

    #[test]
    fn an_error_says_what_the_agent_said() {
        let refused = |status, text: &str| Error::Refused { status, text: text.to_owned() };
        let cases = [
            (Error::Unreachable, "The agent does not answer.", true),
            (refused(500, "No cluster leader\n"), "No cluster leader", true),
            (refused(502, ""), "The agent answered with status 502.", true),
            (refused(403, "Permission denied"), "Permission denied", false),
        ];
        for (error, text, passing) in cases {
            assert_eq!((error.to_string().as_str(), error.is_passing()), (text, passing));
        }
        assert!(refused(403, "").is_denied() && refused(404, "").is_missing() && !refused(404, "").is_denied());
    }
}
