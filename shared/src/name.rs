//! Checked names.
//!
//! Contract: node and service names may be anything, but only letters, digits and dashes can be asked for
//! over DNS; metadata keys are restricted.

use std::collections::BTreeMap;

const META_KEY_SIZE_MAX: usize = 128;
const META_VALUE_SIZE_MAX: usize = 512;
const META_PAIRS_MAX: usize = 64;
const META_KEY_RESERVED: &str = "consul-";

/// Whether DNS can carry the name as one label: letters, digits, dashes, at most 63 bytes.
#[must_use]
pub fn is_dns_label(name: &str) -> bool {
    !name.is_empty() && name.len() <= 63 && name.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-')
}

/// Whether a datacenter name is valid: `[a-z0-9-_]+`.
#[must_use]
pub fn is_datacenter(name: &str) -> bool {
    !name.is_empty() && name.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-' || b == b'_')
}

/// Whether the text has the form of a UUID: 36 characters, hex digits and dashes in their places.
#[must_use]
pub fn is_uuid(text: &str) -> bool {
    text.len() == 36
        && text.bytes().enumerate().all(|(at, b)| if matches!(at, 8 | 13 | 18 | 23) { b == b'-' } else { b.is_ascii_hexdigit() })
}

/// A key of a service's metadata that only Consul may set, and does.
pub const META_SEGMENT: &str = "consul-network-segment";

/// Checks metadata of a node or service: at most 64 pairs, keys of at most 128 letters, digits, `-` and `_`, values of at most 512
/// bytes. `allowed` are keys that may be there although they begin with `consul-`.
///
/// # Errors
/// Consul's text.
pub fn check_meta(meta: &BTreeMap<String, String>, allowed: &[&str]) -> Result<(), String> {
    if meta.len() > META_PAIRS_MAX {
        return Err(format!("Node metadata cannot contain more than {META_PAIRS_MAX} key/value pairs"));
    }
    for (key, value) in meta {
        let refused = |why: &str| Err(format!("Couldn't load metadata pair ('{key}', '{value}'): {why}"));
        if key.is_empty() {
            return refused("Key cannot be blank");
        }
        if !key.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'-' || byte == b'_') {
            return refused("Key contains invalid characters");
        }
        if key.len() > META_KEY_SIZE_MAX {
            return refused(&format!("Key is too long (limit: {META_KEY_SIZE_MAX} characters)"));
        }
        if key.starts_with(META_KEY_RESERVED) && !allowed.contains(&key.as_str()) {
            return refused(&format!("Key prefix '{META_KEY_RESERVED}' is reserved for internal use"));
        }
        if value.len() > META_VALUE_SIZE_MAX {
            return refused(&format!("Value is too long (limit: {META_VALUE_SIZE_MAX} characters)"));
        }
    }
    Ok(())
}
