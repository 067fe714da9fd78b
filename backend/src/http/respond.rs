//! Answers: JSON the way Go writes it, and the `X-Consul-*` headers.
//!
//! Contract: HTTP API, sections "Wire format" and "Response headers". Header names go over the wire in canonical case,
//! which the listener sees to.

use std::io;

use axum::{
    body::Body,
    http::{HeaderMap, HeaderName, HeaderValue, StatusCode, header},
    response::Response,
};
use serde::Serialize;
use serde_json::ser::{CharEscape, CompactFormatter, Formatter, PrettyFormatter};
use shared::query::QueryMeta;

use super::{cache::Source, error::Error, extract::Call};
use crate::rpc::Answer;

const INDEX: HeaderName = HeaderName::from_static("x-consul-index");
const KNOWN_LEADER: HeaderName = HeaderName::from_static("x-consul-knownleader");
const LAST_CONTACT: HeaderName = HeaderName::from_static("x-consul-lastcontact");
const EFFECTIVE_CONSISTENCY: HeaderName = HeaderName::from_static("x-consul-effective-consistency");
const CACHE: HeaderName = HeaderName::from_static("x-cache");

/// Marks an answer that is sent as it is made, uncompressed: streams, and what is no endpoint's answer.
#[derive(Clone, Copy, Debug)]
pub(super) struct Unencoded;

/// How lists of tags without tags are written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum NoTags {
    /// As every other list.
    Empty,
    /// As Go writes a list that was never made.
    Null,
}

/// A JSON answer with status 200.
pub(super) fn json<T: Serialize + ?Sized>(call: &Call, value: &T) -> Result<Response, Error> {
    json_with(call, StatusCode::OK, value)
}

/// A JSON answer.
pub(super) fn json_with<T: Serialize + ?Sized>(call: &Call, status: StatusCode, value: &T) -> Result<Response, Error> {
    encoded(call, status, value, NoTags::Empty)
}

fn encoded<T: Serialize + ?Sized>(call: &Call, status: StatusCode, value: &T, no_tags: NoTags) -> Result<Response, Error> {
    let body = encode(value, call.is_pretty(), no_tags).map_err(|error| Error::internal(error.to_string()))?;
    let mut response = Response::new(Body::from(body));
    *response.status_mut() = status;
    response.headers_mut().insert(header::CONTENT_TYPE, HeaderValue::from_static("application/json"));
    Ok(response)
}

/// Status 200 without a body.
pub(super) fn empty() -> Response {
    Response::new(Body::empty())
}

/// Plain text.
pub(super) fn text(status: StatusCode, text: impl Into<String>) -> Response {
    Error::new(status, text).into_response()
}

/// A read's answer with its index.
pub(super) fn read<T: Serialize>(call: &Call, answer: &Answer<T>) -> Result<Response, Error> {
    let mut response = json(call, &answer.value)?;
    set_meta(response.headers_mut(), &answer.meta);
    Ok(response)
}

/// The same for the internal endpoints of the UI, which write lists of tags without tags as `null`.
pub(super) fn internal_read<T: Serialize>(call: &Call, answer: &Answer<T>) -> Result<Response, Error> {
    let mut response = encoded(call, StatusCode::OK, &answer.value, NoTags::Null)?;
    set_meta(response.headers_mut(), &answer.meta);
    Ok(response)
}

/// The same for catalog and health, which also tell how the answer was read.
pub(super) fn consistent_read<T: Serialize>(call: &Call, answer: &Answer<T>) -> Result<Response, Error> {
    let mut response = read(call, answer)?;
    response.headers_mut().insert(EFFECTIVE_CONSISTENCY, HeaderValue::from_static(answer.meta.consistency.as_str()));
    Ok(response)
}

/// The same for endpoints that may be asked for a cached answer, and where it came from then.
pub(super) fn cacheable_read<T: Serialize>(call: &Call, answer: &Answer<T>, source: Option<Source>) -> Result<Response, Error> {
    let mut response = consistent_read(call, answer)?;
    set_source(response.headers_mut(), source);
    Ok(response)
}

/// Whether an answer was kept, and for how long.
pub(super) fn set_source(headers: &mut HeaderMap, source: Option<Source>) {
    match source {
        Some(Source::Kept(age)) => {
            headers.insert(CACHE, HeaderValue::from_static("HIT"));
            headers.insert(header::AGE, HeaderValue::from(age.as_secs_f64().round() as u64));
        }
        Some(Source::Fetched) => drop(headers.insert(CACHE, HeaderValue::from_static("MISS"))),
        None => {}
    }
}

/// Index, leader and staleness. An index of 0 would make clients spin, so it is written as 1.
pub(super) fn set_meta(headers: &mut HeaderMap, meta: &QueryMeta) {
    headers.insert(INDEX, HeaderValue::from(meta.index.max(1)));
    headers.insert(KNOWN_LEADER, HeaderValue::from_static(if meta.known_leader { "true" } else { "false" }));
    headers.insert(LAST_CONTACT, HeaderValue::from(meta.last_contact_ms));
}

/// A permanent redirect as Go's server writes it.
pub(super) fn redirect(location: &str, with_body: bool) -> Response {
    let quoted = location.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;").replace('"', "&#34;").replace('\'', "&#39;");
    let body = if with_body { format!("<a href=\"{quoted}\">Moved Permanently</a>.\n\n") } else { String::new() };
    let mut response = Response::new(Body::from(body));
    response.extensions_mut().insert(Unencoded);
    *response.status_mut() = StatusCode::MOVED_PERMANENTLY;
    if with_body {
        response.headers_mut().insert(header::CONTENT_TYPE, HeaderValue::from_static("text/html; charset=utf-8"));
    }
    match HeaderValue::from_str(location) {
        Ok(location) => response.headers_mut().insert(header::LOCATION, location),
        Err(_) => return Error::bad_request("").into_response(),
    };
    response
}

/// JSON text: compact, or indented by four spaces and ended by a newline.
fn encode<T: Serialize + ?Sized>(value: &T, pretty: bool, no_tags: NoTags) -> serde_json::Result<Vec<u8>> {
    let mut out = Vec::with_capacity(256);
    if pretty {
        let format = GoFormat::new(PrettyFormatter::with_indent(b"    "), no_tags);
        value.serialize(&mut serde_json::Serializer::with_formatter(&mut out, format))?;
        out.push(b'\n');
    } else {
        value.serialize(&mut serde_json::Serializer::with_formatter(&mut out, GoFormat::new(CompactFormatter, no_tags)))?;
    }
    Ok(out)
}

/// Escapes in strings what Go escapes: `<`, `>`, `&` and the two line separators. Writes empty lists of tags as told.
struct GoFormat<F> {
    inner: F,
    no_tags: NoTags,
    /// The key being written, or of the value being written.
    key: String,
    in_key: bool,
    /// A list of tags has begun, but nothing of it is written yet.
    held: bool,
}

impl<F> GoFormat<F> {
    fn new(inner: F, no_tags: NoTags) -> Self {
        Self { inner, no_tags, key: String::new(), in_key: false, held: false }
    }
}

impl<F: Formatter> Formatter for GoFormat<F> {
    fn write_string_fragment<W: ?Sized + io::Write>(&mut self, writer: &mut W, fragment: &str) -> io::Result<()> {
        if self.in_key {
            self.key.push_str(fragment);
        }
        let mut rest = fragment;
        while let Some(at) = rest.find(['<', '>', '&', '\u{2028}', '\u{2029}']) {
            writer.write_all(&rest.as_bytes()[..at])?;
            let special = rest[at..].chars().next().expect("just found");
            write!(writer, "\\u{:04x}", u32::from(special))?;
            rest = &rest[at + special.len_utf8()..];
        }
        writer.write_all(rest.as_bytes())
    }

    fn write_f64<W: ?Sized + io::Write>(&mut self, writer: &mut W, value: f64) -> io::Result<()> {
        // Go leaves the fraction out where there is none.
        if value.fract() == 0.0 && value.abs() < 1e21 { write!(writer, "{value:.0}") } else { self.inner.write_f64(writer, value) }
    }

    fn write_char_escape<W: ?Sized + io::Write>(&mut self, writer: &mut W, escape: CharEscape) -> io::Result<()> {
        match escape {
            CharEscape::Backspace => writer.write_all(b"\\u0008"),
            CharEscape::FormFeed => writer.write_all(b"\\u000c"),
            other => self.inner.write_char_escape(writer, other),
        }
    }

    fn begin_array<W: ?Sized + io::Write>(&mut self, writer: &mut W) -> io::Result<()> {
        let key = std::mem::take(&mut self.key);
        self.held = self.no_tags == NoTags::Null && matches!(key.as_str(), "Tags" | "ServiceTags");
        if self.held { Ok(()) } else { self.inner.begin_array(writer) }
    }

    fn end_array<W: ?Sized + io::Write>(&mut self, writer: &mut W) -> io::Result<()> {
        if std::mem::take(&mut self.held) { writer.write_all(b"null") } else { self.inner.end_array(writer) }
    }

    fn begin_array_value<W: ?Sized + io::Write>(&mut self, writer: &mut W, first: bool) -> io::Result<()> {
        if std::mem::take(&mut self.held) {
            self.inner.begin_array(writer)?;
        }
        self.inner.begin_array_value(writer, first)
    }

    fn end_array_value<W: ?Sized + io::Write>(&mut self, writer: &mut W) -> io::Result<()> {
        self.inner.end_array_value(writer)
    }

    fn begin_object<W: ?Sized + io::Write>(&mut self, writer: &mut W) -> io::Result<()> {
        self.inner.begin_object(writer)
    }

    fn end_object<W: ?Sized + io::Write>(&mut self, writer: &mut W) -> io::Result<()> {
        self.inner.end_object(writer)
    }

    fn begin_object_key<W: ?Sized + io::Write>(&mut self, writer: &mut W, first: bool) -> io::Result<()> {
        self.key.clear();
        self.in_key = true;
        self.inner.begin_object_key(writer, first)
    }

    fn end_object_key<W: ?Sized + io::Write>(&mut self, writer: &mut W) -> io::Result<()> {
        self.in_key = false;
        self.inner.end_object_key(writer)
    }

    fn begin_object_value<W: ?Sized + io::Write>(&mut self, writer: &mut W) -> io::Result<()> {
        self.inner.begin_object_value(writer)
    }

    fn end_object_value<W: ?Sized + io::Write>(&mut self, writer: &mut W) -> io::Result<()> {
        self.key.clear();
        self.inner.end_object_value(writer)
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::{NoTags, encode};

    #[test]
    fn json_is_written_as_go_writes_it() {
        let check = |value: serde_json::Value, pretty: bool, expected: &str| {
            assert_eq!(String::from_utf8(encode(&value, pretty, NoTags::Empty).expect("encodes")).expect("UTF-8"), expected);
        };
        check(json!({"a": [1, "x"], "b": {}, "c": []}), false, r#"{"a":[1,"x"],"b":{},"c":[]}"#);
        check(json!({"a": [1], "b": {}, "c": []}), true, "{\n    \"a\": [\n        1\n    ],\n    \"b\": {},\n    \"c\": []\n}\n");
        check(json!([109_015_040.0, -2.0, 0.5]), false, "[109015040,-2,0.5]");
        check(json!("<a & b>\u{2028}\u{8}\u{c}\n\t\"é"), false, "\"\\u003ca \\u0026 b\\u003e\\u2028\\u0008\\u000c\\n\\t\\\"é\"");
    }

    #[test]
    fn lists_of_tags_without_tags_are_null_where_asked() {
        let value = json!([{"A": [], "ServiceTags": [], "Tags": ["x"]}, {"Tags": []}, []]);
        let encoded = encode(&value, false, NoTags::Null).expect("encodes");
        assert_eq!(String::from_utf8(encoded).expect("UTF-8"), r#"[{"A":[],"ServiceTags":null,"Tags":["x"]},{"Tags":null},[]]"#);
    }
}
