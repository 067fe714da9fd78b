//! One description of an HTTP call for dashboard, command line and tests.

use serde::de::DeserializeOwned;

/// An HTTP call and its reply's type.
pub trait Endpoint {
    /// What a 2xx answer's JSON decodes to.
    type Reply: DeserializeOwned;
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
}

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
