//! Checked names.
//!
//! Contract: node and service names may be anything, but only letters, digits and dashes can be asked for
//! over DNS; metadata keys are restricted.

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
