//! Request paths: decoding, cleaning, what is printable. Pure.
//!
//! Contract: HTTP API, section "Wire format", rules on paths. Matches Go's `net/http` and Consul's filter.

use std::borrow::Cow;

/// Decodes `%xx`; `None` when an escape is broken. The bytes need not be UTF-8.
pub(super) fn decode(text: &str) -> Option<Vec<u8>> {
    let bytes = text.as_bytes();
    let mut out = Vec::with_capacity(bytes.len());
    let mut at = 0;
    while at < bytes.len() {
        if bytes[at] == b'%' {
            let digit = |offset: usize| bytes.get(at + offset).and_then(|b| char::from(*b).to_digit(16));
            let value = digit(1)? * 16 + digit(2)?;
            out.push(u8::try_from(value).ok()?);
            at += 3;
        } else {
            out.push(bytes[at]);
            at += 1;
        }
    }
    Some(out)
}

/// The path without `//`, `.` and `..`; a slash at the end stays.
pub(super) fn clean(path: &str) -> Cow<'_, str> {
    let dirty = path.split('/').skip(1).any(|part| matches!(part, "." | "..")) || path.contains("//") || !path.starts_with('/');
    if !dirty {
        return Cow::Borrowed(path);
    }
    let mut parts: Vec<&str> = Vec::new();
    for part in path.split('/') {
        match part {
            "" | "." => {}
            ".." => {
                parts.pop();
            }
            part => parts.push(part),
        }
    }
    let mut out = format!("/{}", parts.join("/"));
    if path.ends_with('/') && out != "/" {
        out.push('/');
    }
    Cow::Owned(out)
}

/// Encodes a decoded path for a `Location` header.
pub(super) fn encode(path: &str) -> String {
    let mut out = String::with_capacity(path.len());
    for byte in path.bytes() {
        if byte.is_ascii_alphanumeric() || b"-_.~/$&+,:;=@!'()*".contains(&byte) {
            out.push(char::from(byte));
        } else {
            out.push_str(&format!("%{byte:02X}"));
        }
    }
    out
}

/// Whether every character can be printed: letters, marks, digits, punctuation, symbols and the plain space.
pub(super) fn is_printable(path: &str) -> bool {
    path.chars().all(|c| {
        c == ' '
            || !(c.is_control()
                || c.is_whitespace()
                || matches!(c,
                    '\u{ad}' | '\u{600}'..='\u{605}' | '\u{61c}' | '\u{6dd}' | '\u{70f}' | '\u{180e}'
                    | '\u{200b}'..='\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2060}'..='\u{206f}'
                    | '\u{e000}'..='\u{f8ff}' | '\u{feff}' | '\u{fff9}'..='\u{fffb}' | '\u{fffe}'..='\u{ffff}'
                    | '\u{e0000}'..='\u{10ffff}'))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_are_cleaned_as_go_does_it() {
        let check = |path: &str, expected: &str| assert_eq!(clean(path), expected, "{path}");
        check("/v1/kv/a", "/v1/kv/a");
        check("/v1/kv/a//b", "/v1/kv/a/b");
        check("/v1/kv/a/../b", "/v1/kv/b");
        check("/v1/kv/./a/", "/v1/kv/a/");
        check("/v1/kv//", "/v1/kv/");
        check("/../..", "/");
        check("/", "/");
        check("//", "/");
        check("/v1/kv/a..b/.c", "/v1/kv/a..b/.c");
    }

    #[test]
    fn escapes_are_decoded_or_refused() {
        let check = |text: &str, expected: Option<&[u8]>| assert_eq!(decode(text).as_deref(), expected, "{text}");
        check("a%2Fb%20c", Some(b"a/b c"));
        check("%e2%82%ac", Some("€".as_bytes()));
        check("%ff", Some(&[255]));
        check("a+b", Some(b"a+b"));
        check("%zz", None);
        check("%2", None);
        check("%é", None);
    }

    #[test]
    fn what_cannot_be_printed_is_found() {
        let check = |path: &str, expected: bool| assert_eq!(is_printable(path), expected, "{path:?}");
        check("/v1/kv/a b-é-日本-😀", true);
        check("/v1/kv/a\u{1}", false);
        check("/v1/kv/a\u{a0}b", false);
        check("/v1/kv/a\u{200b}b", false);
        check("/v1/kv/a\u{7f}", false);
    }

    #[test]
    fn locations_are_encoded() {
        assert_eq!(encode("/v1/kv/a b/é?\""), "/v1/kv/a%20b/%C3%A9%3F%22");
    }
}
