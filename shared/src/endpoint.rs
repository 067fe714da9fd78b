//! One description of an HTTP call for dashboard, command line and tests.

use serde::de::DeserializeOwned;

use crate::{decode::Decode, query::QueryOptions};

/// An HTTP call and its reply's type.
pub trait Endpoint {
    /// What a 2xx answer's JSON decodes to.
    type Reply: DeserializeOwned + Decode + Default;
    /// `GET`, `PUT`, ...
    const METHOD: &'static str;
    /// Path from `/v1/`, its variable parts already percent-encoded.
    fn path(&self) -> String;
    /// Query parameters, not yet encoded.
    fn query(&self) -> Vec<(&'static str, String)> {
        Vec::new()
    }
    /// JSON or raw body.
    fn body(&self) -> Option<Vec<u8>> {
        None
    }
    /// Path and query from `/v1/`, encoded.
    fn url(&self) -> String {
        let query = encode_query(&self.query());
        if query.is_empty() { self.path() } else { format!("{}?{query}", self.path()) }
    }
    /// The reply of a 2xx answer; an empty body counts as `null`.
    ///
    /// # Errors
    /// The body is not what this call answers.
    fn decode(body: &[u8]) -> serde_json::Result<Self::Reply> {
        serde_json::from_slice(if body.is_empty() { b"null" } else { body })
    }
}

/// Where and how to read: what most `GET` calls accept.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Read {
    /// Datacenter; empty means the agent's own.
    pub dc: String,
    /// Blocking, consistency, filter, ...
    pub options: QueryOptions,
}

impl Read {
    /// As query parameters.
    #[must_use]
    pub fn pairs(&self) -> Vec<(&'static str, String)> {
        let mut pairs = dc(&self.dc);
        pairs.extend(self.options.pairs());
        pairs
    }

    /// The same read, returning once the result's index exceeds `index`.
    #[must_use]
    pub fn after(mut self, index: u64) -> Self {
        self.options.index = index;
        self
    }
}

/// The `dc` parameter; none for the agent's own datacenter.
#[must_use]
pub fn dc(dc: &str) -> Vec<(&'static str, String)> {
    optional("dc", dc)
}

/// A parameter that is left out when empty.
#[must_use]
pub fn optional(name: &'static str, value: &str) -> Vec<(&'static str, String)> {
    if value.is_empty() { Vec::new() } else { vec![(name, value.to_owned())] }
}

/// One path segment, percent-encoded.
#[must_use]
pub fn segment(text: &str) -> String {
    encode_path(text, false)
}

/// A value as a JSON body.
pub(crate) fn json<T: serde::Serialize>(value: &T) -> Option<Vec<u8>> {
    let mut out = Vec::new();
    let done = value.serialize(&mut serde_json::Serializer::with_formatter(&mut out, Plain));
    done.expect("wire structs have string keys only");
    Some(out)
}

/// Compact JSON, its numbers with a point by hand: serde_json's own writer brings 10 KB of tables, the standard library's as much code.
struct Plain;

impl serde_json::ser::Formatter for Plain {
    fn write_f64<W: ?Sized + std::io::Write>(&mut self, writer: &mut W, value: f64) -> std::io::Result<()> {
        writer.write_all(number(value).as_bytes())
    }
}

/// A number with a point as it would be typed: exact wherever 15 digits are enough, as in everything that people write.
fn number(value: f64) -> String {
    const EXACT_MAX: f64 = 9_007_199_254_740_992.0;
    let sign = if value.is_sign_negative() { "-" } else { "" };
    let value = value.abs();
    let mut scale = 1.0;
    for places in 0..=22_usize {
        let scaled = (value * scale).round();
        if scaled < EXACT_MAX && scaled / scale == value {
            let digits = format!("{:0width$}", scaled as u64, width = places + 1);
            let (whole, rest) = digits.split_at(digits.len() - places);
            return if rest.is_empty() { format!("{sign}{whole}.0") } else { format!("{sign}{whole}.{rest}") };
        }
        scale *= 10.0;
    }
    let (mut digits, mut exponent) = (value, 0);
    while digits >= EXACT_MAX {
        (digits, exponent) = (digits / 10.0, exponent + 1);
    }
    while digits > 0.0 && digits < EXACT_MAX / 10.0 {
        (digits, exponent) = (digits * 10.0, exponent - 1);
    }
    format!("{sign}{}e{exponent}", digits as u64)
}

/// A value as JSON for people: one thing a line, indented by two.
#[must_use]
pub fn pretty<T: serde::Serialize>(value: &T) -> String {
    indented(&String::from_utf8_lossy(&json(value).unwrap_or_default()))
}

fn indented(compact: &str) -> String {
    let (mut out, mut depth, mut quoted, mut escaped) = (String::with_capacity(compact.len() * 2), 0_usize, false, false);
    let mut letters = compact.chars().peekable();
    let line = |out: &mut String, depth: usize| {
        out.push('\n');
        (0..depth).for_each(|_| out.push_str("  "));
    };
    while let Some(letter) = letters.next() {
        match letter {
            _ if quoted => {
                out.push(letter);
                quoted = letter != '"' || escaped;
                escaped = letter == '\\' && !escaped;
            }
            '{' | '[' => {
                out.push(letter);
                if let Some(end) = letters.next_if(|next| matches!(next, '}' | ']')) {
                    out.push(end);
                } else {
                    depth += 1;
                    line(&mut out, depth);
                }
            }
            '}' | ']' => {
                depth = depth.saturating_sub(1);
                line(&mut out, depth);
                out.push(letter);
            }
            ',' => {
                out.push(letter);
                line(&mut out, depth);
            }
            ':' => out.push_str(": "),
            _ => {
                quoted = letter == '"';
                out.push(letter);
            }
        }
    }
    out
}

/// Describes a call: `endpoint!(Type: "METHOD" -> Reply, this => path, query pairs, body bytes)`.
macro_rules! endpoint {
    ($name:ident: $method:literal -> $reply:ty, $this:ident => $path:expr $(, query $query:expr)? $(, body $body:expr)?) => {
        impl $crate::endpoint::Endpoint for $name {
            type Reply = $reply;
            const METHOD: &'static str = $method;
            fn path(&self) -> String {
                let $this = self;
                let _ = $this;
                $path.into()
            }
            $(fn query(&self) -> Vec<(&'static str, String)> {
                let $this = self;
                $query
            })?
            $(fn body(&self) -> Option<Vec<u8>> {
                let $this = self;
                $body
            })?
        }
    };
}
pub(crate) use endpoint;

/// Percent-encodes one path segment. `/` is kept when `keep_slash`, as in key/value paths.
#[must_use]
pub fn encode_path(text: &str, keep_slash: bool) -> String {
    let mut out = String::with_capacity(text.len());
    for byte in text.bytes() {
        let plain =
            byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_' | b'.' | b'~' | b':' | b'@' | b',') || (keep_slash && byte == b'/');
        if plain {
            out.push(char::from(byte));
        } else {
            out.push_str(&format!("%{byte:02X}"));
        }
    }
    out
}

/// Encodes query parameters as `a=b&c=d`, without the question mark.
#[must_use]
pub fn encode_query(pairs: &[(&'static str, String)]) -> String {
    pairs.iter().map(|(key, value)| format!("{key}={}", encode_path(value, true).replace('+', "%2B"))).collect::<Vec<_>>().join("&")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{agent, catalog, changes, check, go, health, kv, page, query::Consistency, service};

    #[test]
    fn numbers_with_a_point_come_back_as_they_were() {
        for value in [0.0, 1.0, -2.5, 0.1, 1e-7, 123_456.789, 1e15, 0.002, 99.95] {
            assert_eq!(number(value).parse(), Ok(value), "{}", number(value));
        }
        for value in [1e300_f64, 1.234_567_890_123_456_7e-300, 2.0_f64.powi(70), -1e22] {
            let back: f64 = number(value).parse().expect("a number");
            assert!((back - value).abs() <= value.abs() * 1e-14, "{} for {value}", number(value));
        }
        assert_eq!((number(2.0), number(-0.5)), ("2.0".to_owned(), "-0.5".to_owned()));
    }

    #[test]
    fn every_url_is_encoded_and_leaves_defaults_out() {
        let check = |url: String, expected: &str| assert_eq!(url, expected);
        check(catalog::GetNodes::default().url(), "catalog/nodes");
        check(kv::Get { key: "a b/c%d?".to_owned(), ..Default::default() }.url(), "kv/a%20b/c%25d%3F");
        check(kv::Delete { key: "a/".to_owned(), recurse: true, ..Default::default() }.url(), "kv/a/?recurse=");
        check(kv::Put { key: "k".to_owned(), cas: Some(0), ..Default::default() }.url(), "kv/k?cas=0");
        check(agent::DeregisterService { id: "a/b".to_owned(), ..Default::default() }.url(), "agent/service/deregister/a%2Fb");
        check(agent::DeregisterService { node: "n1".to_owned(), id: "x".to_owned() }.url(), "muster/agent/n1/service/deregister/x");
        check(check::RunNow { node: String::new(), id: "service:web".to_owned() }.url(), "agent/check/run/service:web");
        check(check::RunNow { node: "n".to_owned(), id: "c".to_owned() }.url(), "muster/check/run/n/c");
        check(
            health::GetService {
                service: "web".to_owned(),
                tags: vec!["a".to_owned(), "b c".to_owned()],
                passing: true,
                read: Read {
                    dc: "dc2".to_owned(),
                    options: QueryOptions {
                        index: 7,
                        wait: Some(go::Duration::from_secs(90)),
                        consistency: Consistency::Stale,
                        filter: "Node == \"x\"".to_owned(),
                        ..Default::default()
                    },
                },
            }
            .url(),
            "health/service/web?tag=a&tag=b%20c&passing=&dc=dc2&index=7&wait=1m30s&stale=&filter=Node%20%3D%3D%20%22x%22",
        );
        check(
            service::ListServices {
                page: page::PageQuery { offset: 100, status: vec![health::Health::Critical], ..Default::default() },
                dc: String::new(),
            }
            .url(),
            "muster/catalog/services?offset=100&status=critical",
        );
        check(
            changes::Watch { topics: vec![changes::Topic::Kv], name: "a b".to_owned(), index: 3, ..Default::default() }.url(),
            "muster/changes?topic=kv&name=a%20b&index=3",
        );
    }

    #[test]
    fn pretty_json_is_what_serde_json_writes() {
        let value = serde_json::json!({"a": [1, -2.5, {"b": {}, "c": []}], "d": "x,{}[]:\"\\\\", "e": null, "f": [true, "\\"], "g": 0.25});
        assert_eq!(pretty(&value), serde_json::to_string_pretty(&value).expect("JSON"));
    }

    #[test]
    fn an_empty_body_is_the_reply_of_calls_that_answer_nothing() {
        assert!(agent::Leave::decode(b"").is_ok());
        assert!(kv::Put::decode(b"").is_err());
    }
}
