//! `/v1/kv/*`. Contract: HTTP API, section "KV and transactions". A key is everything after the prefix, whatever it holds.

use axum::{
    body::Body,
    http::{HeaderValue, StatusCode, header},
    response::Response,
};
use shared::{
    kv::{Entry, Op, Write},
    query::QueryMeta,
};

use super::{error::Error, extract::Call, query::parse_uint, respond};
use crate::rpc::{self, Answer};

const MISSING_KEY: &str = "Missing key name";

pub(super) async fn read(call: Call) -> Result<Response, Error> {
    let request = call.read()?;
    let router = &call.context.router;
    if call.query.has("keys") {
        let (prefix, separator) = (call.rest.clone(), call.query.get("separator").to_owned());
        let answer = router.call(request, rpc::KvKeys { prefix, separator }).await?;
        // The whole store is always there, even when it holds nothing.
        return if answer.value.is_empty() && !call.rest.is_empty() { Ok(nothing(&answer.meta)) } else { respond::read(&call, &answer) };
    }
    let Answer { meta, value } = if call.query.has("recurse") {
        router.call(request, rpc::KvList { prefix: call.rest.clone() }).await?
    } else {
        let key = call.name(MISSING_KEY)?;
        let answer = router.call(request, rpc::KvGet { key }).await?;
        Answer { meta: answer.meta, value: answer.value.into_iter().collect() }
    };
    match value.first() {
        None => Ok(nothing(&meta)),
        // Several keys have no raw form.
        Some(first) if call.query.has("raw") && !call.query.has("recurse") => Ok(raw(first, &meta)),
        Some(_) => respond::read(&call, &Answer { meta, value }),
    }
}

/// Status 404 with the index to wait from.
fn nothing(meta: &QueryMeta) -> Response {
    let mut response = Error::new(StatusCode::NOT_FOUND, "").into_response();
    respond::set_meta(response.headers_mut(), meta);
    response
}

/// The value as stored. It may be a page somebody else wrote, so browsers are told not to run it.
fn raw(entry: &Entry, meta: &QueryMeta) -> Response {
    let mut response = Response::new(Body::from(entry.value.clone()));
    let headers = response.headers_mut();
    headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("text/plain"));
    headers.insert(header::CONTENT_SECURITY_POLICY, HeaderValue::from_static("sandbox"));
    headers.insert(header::X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
    respond::set_meta(headers, meta);
    response
}

pub(super) async fn write(mut call: Call) -> Result<Response, Error> {
    let request = call.write()?;
    let key = call.name(MISSING_KEY)?;
    refuse_conflicts(&call, &["cas", "acquire", "release"])?;
    let flags = match call.query.get("flags") {
        "" => 0,
        flags => parse_uint(flags).map_err(Error::internal)?,
    };
    let op = if let Some(index) = call.query.find("cas") {
        Op::Cas(parse_uint(index).map_err(Error::internal)?)
    } else if let Some(session) = call.query.find("acquire") {
        Op::Lock(session.to_owned())
    } else if let Some(session) = call.query.find("release") {
        Op::Unlock(session.to_owned())
    } else {
        Op::Set
    };
    let limit = call.context.options.kv_max_value_size;
    let value = call.bytes(limit, "kv_max_value_size").await?.to_vec();
    done(&call, request, Write { op, key, flags, value }).await
}

pub(super) async fn delete(call: Call) -> Result<Response, Error> {
    let request = call.write()?;
    refuse_conflicts(&call, &["recurse", "cas"])?;
    let (op, key) = if call.query.has("recurse") {
        (Op::DeleteTree, call.rest.clone())
    } else {
        let key = call.name(MISSING_KEY)?;
        match call.query.find("cas") {
            Some(index) => (Op::DeleteCas(parse_uint(index).map_err(Error::internal)?), key),
            None => (Op::Delete, key),
        }
    };
    done(&call, request, Write { op, key, flags: 0, value: Vec::new() }).await
}

async fn done(call: &Call, request: rpc::Request, write: Write) -> Result<Response, Error> {
    let answer = call.context.router.call(request, rpc::KvWrite { write }).await?;
    respond::json(call, &answer.value)
}

fn refuse_conflicts(call: &Call, flags: &[&str]) -> Result<(), Error> {
    if flags.iter().filter(|flag| call.query.has(flag)).count() > 1 {
        return Err(Error::bad_request(format!("Conflicting flags: {}", call.query.encode())));
    }
    Ok(())
}
