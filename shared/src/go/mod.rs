//! Go's JSON habits: durations as strings, byte strings as base64, `null` beside `[]`, keys in any case.
//!
//! Contract: section "Request bodies" of the HTTP API.

use std::{fmt, str::FromStr};

use crate::decode::{Decode, Fault, Reader};
use serde::{Deserialize, Deserializer, Serialize, Serializer, de};

mod decode;
mod scan;

pub use decode::{DecodeError, decode, decode_value};

/// A length of time in nanoseconds, written the way Go writes it (`1m30s`).
///
/// Reads a string with a unit or a bare number of nanoseconds; writes a string.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Duration(pub i64);

impl Duration {
    /// From whole seconds.
    #[must_use]
    pub const fn from_secs(seconds: i64) -> Self {
        Self(seconds * 1_000_000_000)
    }

    /// From whole milliseconds.
    #[must_use]
    pub const fn from_millis(milliseconds: i64) -> Self {
        Self(milliseconds * 1_000_000)
    }

    /// As the standard library's type; negative becomes zero.
    #[must_use]
    pub fn as_std(self) -> std::time::Duration {
        std::time::Duration::from_nanos(u64::try_from(self.0).unwrap_or(0))
    }

    /// Whether it is exactly zero.
    #[must_use]
    pub const fn is_zero(&self) -> bool {
        self.0 == 0
    }
}

impl From<std::time::Duration> for Duration {
    fn from(value: std::time::Duration) -> Self {
        Self(i64::try_from(value.as_nanos()).unwrap_or(i64::MAX))
    }
}

const UNITS: [(&str, i64); 8] = [
    ("ns", 1),
    ("us", 1_000),
    ("µs", 1_000),
    ("μs", 1_000),
    ("ms", 1_000_000),
    ("s", 1_000_000_000),
    ("m", 60_000_000_000),
    ("h", 3_600_000_000_000),
];

/// Why a duration does not parse, in Go's words.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DurationError(String);

impl fmt::Display for DurationError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::error::Error for DurationError {}

impl FromStr for Duration {
    type Err = DurationError;

    fn from_str(text: &str) -> Result<Self, DurationError> {
        let invalid = || DurationError(format!("time: invalid duration \"{text}\""));
        let (sign, mut rest) = match text.as_bytes().first() {
            Some(b'-') => (-1.0, &text[1..]),
            Some(b'+') => (1.0, &text[1..]),
            _ => (1.0, text),
        };
        if rest == "0" {
            return Ok(Self(0));
        }
        if rest.is_empty() {
            return Err(invalid());
        }
        let mut total = 0.0_f64;
        while !rest.is_empty() {
            let digits = rest.find(|c: char| !c.is_ascii_digit() && c != '.').unwrap_or(rest.len());
            let (whole, fraction) = rest[..digits].split_once('.').unwrap_or((&rest[..digits], ""));
            if (whole.is_empty() && fraction.is_empty()) || fraction.contains('.') {
                return Err(invalid());
            }
            // By hand, for the standard library's way brings tables of 10 KB into the dashboard.
            let value = |digits: &str| digits.bytes().fold(0.0_f64, |value, digit| value * 10.0 + f64::from(digit - b'0'));
            let amount = value(whole) + value(fraction) / 10_f64.powi(i32::try_from(fraction.len()).unwrap_or(i32::MAX));
            rest = &rest[digits..];
            let end = rest.find(|c: char| c.is_ascii_digit() || c == '.').unwrap_or(rest.len());
            let (unit, tail) = rest.split_at(end);
            rest = tail;
            if unit.is_empty() {
                return Err(DurationError(format!("time: missing unit in duration \"{text}\"")));
            }
            let Some((_, scale)) = UNITS.iter().find(|(name, _)| *name == unit) else {
                return Err(DurationError(format!("time: unknown unit \"{unit}\" in duration \"{text}\"")));
            };
            total += amount * *scale as f64;
        }
        if total >= i64::MAX as f64 {
            return Err(invalid());
        }
        Ok(Self((sign * total) as i64))
    }
}

impl fmt::Display for Duration {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let nanos = self.0.unsigned_abs();
        if nanos == 0 {
            return f.write_str("0s");
        }
        if self.0 < 0 {
            f.write_str("-")?;
        }
        let fraction = |f: &mut fmt::Formatter<'_>, scale: u64, unit: &str| {
            let digits = scale.ilog10() as usize;
            let text = format!("{}.{:0digits$}", nanos / scale, nanos % scale);
            let text = if scale == 1 { nanos.to_string() } else { text.trim_end_matches('0').trim_end_matches('.').to_owned() };
            write!(f, "{text}{unit}")
        };
        match nanos {
            0..1_000 => fraction(f, 1, "ns"),
            1_000..1_000_000 => fraction(f, 1_000, "µs"),
            1_000_000..1_000_000_000 => fraction(f, 1_000_000, "ms"),
            _ => {
                let (hours, minutes) = (nanos / 3_600_000_000_000, nanos / 60_000_000_000 % 60);
                if hours > 0 {
                    write!(f, "{hours}h")?;
                }
                if hours > 0 || minutes > 0 {
                    write!(f, "{minutes}m")?;
                }
                let rest = nanos % 60_000_000_000;
                let text = format!("{}.{:09}", rest / 1_000_000_000, rest % 1_000_000_000);
                write!(f, "{}s", text.trim_end_matches('0').trim_end_matches('.'))
            }
        }
    }
}

impl Serialize for Duration {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl Decode for Duration {
    fn fill(&mut self, from: &mut Reader<'_>) -> Result<(), Fault> {
        if !from.is_text() {
            return self.0.fill(from);
        }
        let mut text = String::new();
        from.text(&mut text)?;
        *self = if text.is_empty() { Self(0) } else { text.parse().map_err(|_| from.fault("a duration such as \"10s\""))? };
        Ok(())
    }
}

impl<'de> Deserialize<'de> for Duration {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Visitor;
        impl de::Visitor<'_> for Visitor {
            type Value = Duration;
            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a duration such as \"10s\", or a number of nanoseconds")
            }
            fn visit_str<E: de::Error>(self, text: &str) -> Result<Duration, E> {
                if text.is_empty() { Ok(Duration(0)) } else { text.parse().map_err(E::custom) }
            }
            fn visit_i64<E: de::Error>(self, nanos: i64) -> Result<Duration, E> {
                Ok(Duration(nanos))
            }
            fn visit_u64<E: de::Error>(self, nanos: u64) -> Result<Duration, E> {
                i64::try_from(nanos).map(Duration).map_err(E::custom)
            }
            fn visit_f64<E: de::Error>(self, nanos: f64) -> Result<Duration, E> {
                Ok(Duration(nanos as i64))
            }
        }
        deserializer.deserialize_any(Visitor)
    }
}

/// Serde adapter for byte strings: base64 text in JSON (`null` when empty), raw bytes elsewhere.
pub mod bytes {
    use base64::{Engine as _, engine::general_purpose::STANDARD};
    use serde::{Deserialize, Deserializer, Serializer, de};

    /// Writes `null` for no bytes.
    ///
    /// # Errors
    /// Only those of the serializer.
    pub fn serialize<S: Serializer>(value: &Vec<u8>, serializer: S) -> Result<S::Ok, S::Error> {
        if !serializer.is_human_readable() {
            return serializer.serialize_bytes(value);
        }
        if value.is_empty() { serializer.serialize_none() } else { serializer.serialize_str(&STANDARD.encode(value)) }
    }

    /// Reads base64 text, `null` or raw bytes.
    ///
    /// # Errors
    /// Text that is not base64.
    pub fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Vec<u8>, D::Error> {
        if !deserializer.is_human_readable() {
            struct Raw;
            impl<'de> de::Visitor<'de> for Raw {
                type Value = Vec<u8>;
                fn expecting(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                    f.write_str("bytes")
                }
                fn visit_bytes<E: de::Error>(self, bytes: &[u8]) -> Result<Vec<u8>, E> {
                    Ok(bytes.to_vec())
                }
                fn visit_byte_buf<E: de::Error>(self, bytes: Vec<u8>) -> Result<Vec<u8>, E> {
                    Ok(bytes)
                }
                fn visit_seq<A: de::SeqAccess<'de>>(self, mut seq: A) -> Result<Vec<u8>, A::Error> {
                    let mut bytes = Vec::new();
                    while let Some(byte) = seq.next_element()? {
                        bytes.push(byte);
                    }
                    Ok(bytes)
                }
            }
            return deserializer.deserialize_byte_buf(Raw);
        }
        match Option::<String>::deserialize(deserializer)? {
            Some(text) => STANDARD.decode(text).map_err(de::Error::custom),
            None => Ok(Vec::new()),
        }
    }
}

/// Serde adapter: an empty list is written as `null`.
pub mod null_list {
    use serde::{Deserialize, Deserializer, Serialize, Serializer};

    /// Writes `null` for an empty list.
    ///
    /// # Errors
    /// Only those of the serializer.
    pub fn serialize<T: Serialize, S: Serializer>(value: &Vec<T>, serializer: S) -> Result<S::Ok, S::Error> {
        if value.is_empty() { serializer.serialize_none() } else { value.serialize(serializer) }
    }

    /// Reads `null` as an empty list.
    ///
    /// # Errors
    /// Only those of the deserializer.
    pub fn deserialize<'de, T: Deserialize<'de>, D: Deserializer<'de>>(deserializer: D) -> Result<Vec<T>, D::Error> {
        Ok(Option::deserialize(deserializer)?.unwrap_or_default())
    }
}

/// Serde adapter: an empty map is written as `null`.
pub mod null_map {
    use std::collections::BTreeMap;

    use serde::{Deserialize, Deserializer, Serialize, Serializer};

    /// Writes `null` for an empty map.
    ///
    /// # Errors
    /// Only those of the serializer.
    pub fn serialize<V: Serialize, S: Serializer>(value: &BTreeMap<String, V>, serializer: S) -> Result<S::Ok, S::Error> {
        if value.is_empty() { serializer.serialize_none() } else { value.serialize(serializer) }
    }

    /// Reads `null` as an empty map.
    ///
    /// # Errors
    /// Only those of the deserializer.
    pub fn deserialize<'de, V: Deserialize<'de>, D: Deserializer<'de>>(deserializer: D) -> Result<BTreeMap<String, V>, D::Error> {
        Ok(Option::deserialize(deserializer)?.unwrap_or_default())
    }
}

/// Whether a value is its type's zero value: for `skip_serializing_if`.
#[must_use]
pub fn is_default<T: Default + PartialEq>(value: &T) -> bool {
    *value == T::default()
}
