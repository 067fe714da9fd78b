//! A call as handlers see it: path remainder, query options, token, body. Never answers anything itself.
//!
//! Contract: HTTP API, sections "Token resolution", "Consistency and caching", "Blocking queries" and "Request bodies".

use std::{
    net::{IpAddr, SocketAddr},
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use axum::{
    body::Body,
    http::{HeaderMap, Method, header},
};
use bytes::{Bytes, BytesMut};
use http_body_util::BodyExt as _;
use serde::de::DeserializeOwned;
use shared::{
    go,
    query::{Consistency, QueryOptions},
};

use super::{
    Context,
    cache::{Directives, Source},
    error::Error,
    query::Query,
};
use crate::{rpc, rt::clock};

/// Longest body of a call that names no limit of its own, bytes.
const BODY_MAX: u64 = 8 << 20;
/// Longest time a client may take to send a body.
const BODY_DEADLINE: Duration = Duration::from_secs(60);

/// One request, matched to its endpoint.
pub(super) struct Call {
    /// What handlers work with.
    pub(super) context: Arc<Context>,
    /// `GET`, `PUT`, ...
    pub(super) method: Method,
    /// The client's address, unless it came over a Unix socket.
    pub(super) peer: Option<SocketAddr>,
    /// Request headers.
    pub(super) headers: HeaderMap,
    /// Query parameters.
    pub(super) query: Query,
    /// What follows the endpoint's prefix in the decoded path.
    pub(super) rest: String,
    /// The body, taken by the handler that reads it; locked only so that calls can be shared between threads.
    pub(super) body: Mutex<Body>,
}

impl Call {
    /// Whether JSON is indented.
    pub(super) fn is_pretty(&self) -> bool {
        self.context.options.pretty || self.query.has("pretty")
    }

    /// Whether a cached answer would do.
    pub(super) fn wants_cached(&self) -> bool {
        self.context.options.use_cache && self.query.has("cached")
    }

    /// Makes a read's call, or answers what is kept of it where a cached answer would do; and where it came from then.
    pub(super) async fn cacheable<O: rpc::TypedOperation>(
        &self,
        request: rpc::Request,
        operation: O,
    ) -> Result<(rpc::Answer<O::Reply>, Option<Source>), rpc::Error> {
        if !self.wants_cached() {
            return self.context.router.call(request, operation).await.map(|answer| (answer, None));
        }
        let directives = self.headers.get(header::CACHE_CONTROL).and_then(|value| value.to_str().ok()).unwrap_or_default();
        // What is no directive was refused when the request was read.
        let asked = Directives::parse(directives).unwrap_or_default();
        self.context.cache.call(request, operation, asked).await.map(|(answer, source)| (answer, Some(source)))
    }

    /// What follows the endpoint's prefix, or status 400 with this text.
    pub(super) fn name(&self, missing: &str) -> Result<String, Error> {
        if self.rest.is_empty() { Err(Error::bad_request(missing)) } else { Ok(self.rest.clone()) }
    }

    /// The caller's token: `?token=`, `X-Consul-Token`, `Authorization: Bearer`, the agent's own; the first that is not empty.
    pub(super) fn token(&self) -> String {
        let header = |name: &str| self.headers.get(name).and_then(|value| value.to_str().ok()).unwrap_or_default();
        let mut words = header(header::AUTHORIZATION.as_str()).split_ascii_whitespace();
        let bearer = match words.next() {
            Some(scheme) if scheme.eq_ignore_ascii_case("bearer") => words.next().unwrap_or_default(),
            _ => "",
        };
        let candidates = [self.query.get("token"), header("x-consul-token"), bearer, &self.context.options.default_token];
        candidates.into_iter().find(|token| !token.is_empty()).unwrap_or_default().to_owned()
    }

    /// A write: token and datacenter.
    pub(super) fn write(&self) -> Result<rpc::Request, Error> {
        self.refuse_namespaces()?;
        Ok(rpc::Request { datacenter: self.query.get("dc").to_owned(), token: self.token(), ..rpc::Request::default() })
    }

    /// A read: token, datacenter and everything that says how to read.
    pub(super) fn read(&self) -> Result<rpc::Request, Error> {
        self.refuse_namespaces()?;
        let mut options = self.wait_options()?;
        self.add_consistency(&mut options)?;
        options.filter = self.query.get("filter").to_owned();
        options.near = match self.query.get("near") {
            "_agent" => self.context.options.node_name.clone(),
            near => near.to_owned(),
        };
        let pair =
            |text: &str| text.split_once(':').map_or_else(|| (text.to_owned(), String::new()), |(k, v)| (k.to_owned(), v.to_owned()));
        options.node_meta = self.query.all("node-meta").map(pair).collect();
        Ok(rpc::Request { datacenter: self.query.get("dc").to_owned(), token: self.token(), options, ..rpc::Request::default() })
    }

    /// A catalog or health read: unmarked ones may be stale as far as the configuration allows.
    pub(super) fn discovery_read(&self) -> Result<rpc::Request, Error> {
        let mut request = self.read()?;
        let allowed = self.context.options.discovery_max_stale;
        if !allowed.is_zero() && request.options.consistency == Consistency::Default && !self.query.has("leader") {
            request.options.consistency = Consistency::Stale;
            request.options.max_stale = Some(allowed.into());
        }
        Ok(request)
    }

    fn wait_options(&self) -> Result<QueryOptions, Error> {
        let mut options = QueryOptions::default();
        let wait = self.query.get("wait");
        if !wait.is_empty() {
            let wait: go::Duration = wait.parse().map_err(|_| Error::bad_request("Invalid wait time"))?;
            options.wait = (wait.0 > 0).then_some(wait);
        }
        let index = self.query.get("index");
        if !index.is_empty() {
            options.index = super::query::parse_uint(index).map_err(|_| Error::bad_request("Invalid index"))?;
        }
        Ok(options)
    }

    fn add_consistency(&self, options: &mut QueryOptions) -> Result<(), Error> {
        let (mut stale, consistent) = (self.query.has("stale"), self.query.has("consistent"));
        let cached = self.wants_cached();
        if cached && let Some(directives) = self.headers.get(header::CACHE_CONTROL) {
            check_cache_control(directives.to_str().unwrap_or("max-age="))?;
        }
        let age = self.query.get("max_stale");
        if !age.is_empty() {
            let parsed = age.parse().map_err(|_| Error::bad_request(format!("Invalid max_stale value {age:?}")))?;
            options.max_stale = Some(parsed);
            stale = true;
        }
        let conflict = |other: &str| Error::bad_request(format!("Cannot specify ?{other} with ?consistent, conflicting semantics."));
        options.consistency = match (stale, consistent) {
            (true, true) => return Err(conflict("stale")),
            (false, true) if cached => return Err(conflict("cached")),
            (false, true) => Consistency::Consistent,
            (true, false) => Consistency::Stale,
            (false, false) => Consistency::Default,
        };
        Ok(())
    }

    /// A namespace can only be asked for where there are some.
    pub(super) fn refuse_namespaces(&self) -> Result<(), Error> {
        let named = ["ns", "partition", "sg"].into_iter().find(|name| !self.query.get(name).is_empty());
        let by_header = self.headers.get("x-consul-namespace").is_some_and(|value| !value.is_empty());
        match named {
            None if by_header => {
                Err(Error::bad_request("Bad request: Invalid header: \"X-Consul-Namespace\" - Namespaces are a Consul Enterprise feature"))
            }
            None => Ok(()),
            Some("partition") => {
                Err(Error::bad_request("Bad request: Invalid query parameter: \"partition\" - Partitions are a Consul Enterprise feature"))
            }
            Some("sg") => {
                Err(Error::bad_request("Bad request: Invalid query parameter: \"sg\" - Sameness groups are a Consul Enterprise feature"))
            }
            Some(name) => Err(Error::bad_request(format!(
                "Bad request: Invalid query parameter: {name:?} - Namespaces are a Consul Enterprise feature"
            ))),
        }
    }

    /// Whether the client may change things, by its address.
    pub(super) fn may_write_from(&self, networks: &[(IpAddr, u8)]) -> bool {
        networks.is_empty() || self.peer.is_none_or(|peer| networks.iter().any(|network| contains(*network, peer.ip())))
    }

    /// The body as sent, at most `limit` bytes; `option` is the setting that raises the limit.
    pub(super) async fn bytes(&mut self, limit: u64, option: &str) -> Result<Bytes, Error> {
        let declared = self.headers.get(header::CONTENT_LENGTH).and_then(|v| v.to_str().ok()).and_then(|v| v.parse::<u64>().ok());
        let body = std::mem::take(self.body.get_mut().unwrap_or_else(PoisonError::into_inner));
        let reading = collect(body, limit);
        let read = clock::timeout(BODY_DEADLINE, reading).await.map_err(|_| Error::bad_request("Request body took too long"))?;
        match read.map_err(|error| Error::bad_request(format!("Request body: {error}")))? {
            (bytes, size) if size <= limit => Ok(bytes),
            (_, size) => Err(Error::too_large(declared.unwrap_or(size), limit, option)),
        }
    }

    /// The body as JSON, or status 400 in Go's words.
    pub(super) async fn decode<T: DeserializeOwned>(&mut self) -> Result<T, Error> {
        let bytes = self.bytes(BODY_MAX, "limits").await?;
        Ok(go::decode(&bytes)?)
    }
}

/// Reads a body, keeping at most `limit` bytes. What is over it is read and dropped for a while, so that the client gets to see
/// the answer, but not endlessly.
async fn collect(mut body: Body, limit: u64) -> Result<(Bytes, u64), axum::Error> {
    let (mut kept, mut size) = (BytesMut::new(), 0_u64);
    while let Some(frame) = body.frame().await {
        let Ok(data) = frame?.into_data() else { continue };
        size += data.len() as u64;
        if size <= limit {
            kept.extend_from_slice(&data);
        } else if size > limit.saturating_mul(8) {
            break;
        }
    }
    Ok((kept.freeze(), size))
}

fn check_cache_control(directives: &str) -> Result<(), Error> {
    Directives::parse(directives).map(drop).ok_or_else(|| Error::bad_request("Invalid Cache-Control header."))
}

/// Whether an address lies in a network; IPv4 addresses mapped into IPv6 count as IPv4.
fn contains((network, bits): (IpAddr, u8), address: IpAddr) -> bool {
    match (network, address.to_canonical()) {
        (IpAddr::V4(network), IpAddr::V4(address)) => {
            let shift = 32_u32.saturating_sub(u32::from(bits));
            network.to_bits().checked_shr(shift) == address.to_bits().checked_shr(shift)
        }
        (IpAddr::V6(network), IpAddr::V6(address)) => {
            let shift = 128_u32.saturating_sub(u32::from(bits));
            network.to_bits().checked_shr(shift) == address.to_bits().checked_shr(shift)
        }
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn networks_contain_what_they_should() {
        let check = |network: &str, bits: u8, address: &str, expected: bool| {
            let parse = |text: &str| text.parse::<IpAddr>().expect("an address");
            assert_eq!(contains((parse(network), bits), parse(address)), expected, "{network}/{bits} {address}");
        };
        check("127.0.0.0", 8, "127.1.2.3", true);
        check("127.0.0.0", 8, "128.0.0.1", false);
        check("0.0.0.0", 0, "9.9.9.9", true);
        check("10.0.0.1", 32, "10.0.0.1", true);
        check("10.0.0.1", 32, "10.0.0.2", false);
        check("::1", 128, "::1", true);
        check("fd00::", 8, "fd12::1", true);
        check("10.0.0.0", 8, "::ffff:10.1.1.1", true);
        check("10.0.0.0", 8, "::1", false);
    }

    #[test]
    fn cache_control_is_checked() {
        let check = |text: &str, expected: bool| assert_eq!(check_cache_control(text).is_ok(), expected, "{text}");
        check("max-age=10, must-revalidate", true);
        check("stale-if-error=5", true);
        check("max-age=x", false);
        check("bogus=1", true);
    }

    #[tokio::test]
    async fn bodies_over_the_limit_are_counted_not_kept() {
        let (kept, size) = collect(Body::from(vec![1; 100]), 40).await.expect("reads");
        assert_eq!((kept.len(), size), (0, 100));
        let (kept, size) = collect(Body::from(vec![1; 40]), 40).await.expect("reads");
        assert_eq!((kept.len(), size), (40, 40));
    }
}
