//! What both sides say about themselves with every request and answer, and who can talk to whom.
//!
//! Agents of one protocol number apart work together: fields they do not know they skip, and an operation a server does not know
//! it refuses by name. Contract: cluster, section "Upgrades and versions".

use http::{HeaderMap, HeaderName, HeaderValue};

/// The protocol this release speaks. Rises when a release could not work with the one before the last any more.
pub const PROTOCOL: u16 = 1;

const NUMBER: HeaderName = HeaderName::from_static("x-muster-rpc");
const RELEASE: HeaderName = HeaderName::from_static("x-muster-release");

/// Says what this side speaks.
pub(super) fn stamp(headers: &mut HeaderMap, protocol: u16) {
    headers.insert(NUMBER, HeaderValue::from(protocol));
    headers.insert(RELEASE, HeaderValue::from_static(env!("CARGO_PKG_VERSION")));
}

/// Whether this side can talk to the one that sent these headers.
///
/// # Errors
/// Why not, for the operator.
pub(super) fn check(headers: &HeaderMap, protocol: u16) -> Result<(), String> {
    let text = |name| headers.get(name).and_then(|value: &HeaderValue| value.to_str().ok());
    let Some(theirs) = text(NUMBER).and_then(|text| text.parse::<u16>().ok()) else {
        return Err("the other side is no Muster agent: it names no RPC protocol".to_owned());
    };
    if theirs.abs_diff(protocol) <= 1 {
        return Ok(());
    }
    let (own, release) = (env!("CARGO_PKG_VERSION"), text(RELEASE).unwrap_or("unknown"));
    Err(format!("RPC protocol {theirs} (release {release}) cannot talk to {protocol} (release {own}): upgrade one release at a time"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_release_apart_is_near_enough() {
        let headers = |protocol| {
            let mut headers = HeaderMap::new();
            stamp(&mut headers, protocol);
            headers
        };
        for theirs in [4, 5, 6] {
            assert_eq!(check(&headers(theirs), 5), Ok(()));
        }
        for theirs in [3, 7] {
            let why = check(&headers(theirs), 5).expect_err("too far apart");
            assert!(why.starts_with(&format!("RPC protocol {theirs} (release ")) && why.contains("cannot talk to 5"), "{why}");
        }
        assert!(check(&HeaderMap::new(), 5).expect_err("a stranger").contains("no Muster agent"));
    }
}
