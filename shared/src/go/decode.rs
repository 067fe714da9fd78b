//! Decoding of request bodies the way Go's `encoding/json` and Consul's handlers do it.
//!
//! Contract: section "Request bodies" of the HTTP API. Keys are matched without regard to case and underscores, since
//! clients send `ttl`, `TTL` and `service_id`; `null` is the same as leaving the field out.

use std::fmt;

use serde::{
    de::{self, DeserializeOwned, DeserializeSeed, IntoDeserializer as _, Visitor},
    forward_to_deserialize_any,
};
use serde_json::{Map, Value};

use super::scan;

/// Why a body does not decode, in Go's words.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DecodeError(pub String);

impl fmt::Display for DecodeError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::error::Error for DecodeError {}

impl de::Error for DecodeError {
    fn custom<T: fmt::Display>(message: T) -> Self {
        Self(message.to_string())
    }

    fn invalid_type(unexpected: de::Unexpected<'_>, expected: &dyn de::Expected) -> Self {
        Self(format!("json: cannot unmarshal {unexpected} into {expected}"))
    }
}

/// Decodes the first JSON value of a body: keys in any case, with or without underscores; `null` means the field's
/// default; unknown keys are ignored.
///
/// # Errors
/// Syntax errors and wrong types, in Go's words.
pub fn decode<T: DeserializeOwned>(body: &[u8]) -> Result<T, DecodeError> {
    let text = String::from_utf8_lossy(scan::first_value(body)?);
    decode_value(serde_json::from_str(&text).map_err(de::Error::custom)?)
}

/// The same for a value that has been parsed already, such as a part of a configuration file.
///
/// # Errors
/// Wrong types, in Go's words.
pub fn decode_value<T: DeserializeOwned>(value: Value) -> Result<T, DecodeError> {
    T::deserialize(Decoder { value, place: Place::Root })
}

/// Where in the body a value stands, for error texts.
#[derive(Clone, Copy)]
enum Place<'a> {
    Root,
    Field { above: &'a Place<'a>, owner: &'static str, field: &'static str },
}

impl Place<'_> {
    fn path(&self) -> String {
        match self {
            Self::Root => String::new(),
            Self::Field { above, field, .. } => format!("{}.{field}", above.path()),
        }
    }
}

/// What the Consul source calls our struct, as far as it shows in error texts.
fn go_name(name: &str) -> &str {
    match name {
        "Registration" => "RegisterRequest",
        "Deregistration" => "DeregisterRequest",
        "Service" => "NodeService",
        "Check" => "HealthCheck",
        "CheckUpdate" => "checkUpdate",
        "ServiceRegistration" | "CheckDefinition" => "",
        "Definition" => "HealthCheckDefinition",
        other => other,
    }
}

/// One value on its way into a Rust type.
struct Decoder<'a> {
    value: Value,
    place: Place<'a>,
}

impl Decoder<'_> {
    /// `json: cannot unmarshal string into Go struct field .Port of type int`.
    fn mismatch(&self, wanted: &str) -> DecodeError {
        let got = match &self.value {
            Value::Null => "null".to_owned(),
            Value::Bool(_) => "bool".to_owned(),
            Value::Number(number) if wanted == "int" => format!("number {number}"),
            Value::Number(_) => "number".to_owned(),
            Value::String(_) => "string".to_owned(),
            Value::Array(_) => "array".to_owned(),
            Value::Object(_) => "object".to_owned(),
        };
        let target = match self.place {
            Place::Root => "value".to_owned(),
            Place::Field { owner, .. } => format!("struct field {}{}", go_name(owner), self.place.path()),
        };
        DecodeError(format!("json: cannot unmarshal {got} into Go {target} of type {wanted}"))
    }
}

/// Hands an integer to the visitor, whatever width it asked for.
macro_rules! integers {
    ($($method:ident)*) => {$(
        fn $method<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, DecodeError> {
            match &self.value {
                Value::Null => visitor.visit_u64(0),
                Value::Number(number) => match (number.as_u64(), number.as_i64()) {
                    (Some(number), _) => visitor.visit_u64(number),
                    (None, Some(number)) => visitor.visit_i64(number),
                    (None, None) => Err(self.mismatch("int")),
                },
                _ => Err(self.mismatch("int")),
            }
        }
    )*};
}

impl<'de> de::Deserializer<'de> for Decoder<'_> {
    type Error = DecodeError;

    fn deserialize_any<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, DecodeError> {
        match self.value {
            Value::Null => visitor.visit_unit(),
            Value::Bool(value) => visitor.visit_bool(value),
            Value::Number(number) => match (number.as_u64(), number.as_i64()) {
                (Some(number), _) => visitor.visit_u64(number),
                (None, Some(number)) => visitor.visit_i64(number),
                (None, None) => visitor.visit_f64(number.as_f64().unwrap_or_default()),
            },
            Value::String(text) => visitor.visit_string(text),
            Value::Array(items) => visitor.visit_seq(Items { items: items.into_iter(), place: self.place }),
            Value::Object(object) => visitor.visit_map(Pairs::plain(object, self.place)),
        }
    }

    integers! { deserialize_i8 deserialize_i16 deserialize_i32 deserialize_i64 deserialize_u8 deserialize_u16 deserialize_u32 deserialize_u64 }

    fn deserialize_f32<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, DecodeError> {
        self.deserialize_f64(visitor)
    }

    fn deserialize_f64<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, DecodeError> {
        match &self.value {
            Value::Null => visitor.visit_f64(0.0),
            Value::Number(number) => visitor.visit_f64(number.as_f64().unwrap_or_default()),
            _ => Err(self.mismatch("float64")),
        }
    }

    fn deserialize_bool<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, DecodeError> {
        match &self.value {
            Value::Null => visitor.visit_bool(false),
            Value::Bool(value) => visitor.visit_bool(*value),
            _ => Err(self.mismatch("bool")),
        }
    }

    fn deserialize_str<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, DecodeError> {
        match self.value {
            Value::Null => visitor.visit_str(""),
            Value::String(text) => visitor.visit_string(text),
            _ => Err(self.mismatch("string")),
        }
    }

    fn deserialize_string<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, DecodeError> {
        self.deserialize_str(visitor)
    }

    fn deserialize_option<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, DecodeError> {
        if self.value.is_null() { visitor.visit_none() } else { visitor.visit_some(self) }
    }

    fn deserialize_seq<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, DecodeError> {
        match self.value {
            Value::Null => visitor.visit_seq(Items { items: Vec::new().into_iter(), place: self.place }),
            Value::Array(items) => visitor.visit_seq(Items { items: items.into_iter(), place: self.place }),
            _ => Err(self.mismatch("[]string")),
        }
    }

    fn deserialize_map<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, DecodeError> {
        match self.value {
            Value::Null => visitor.visit_map(Pairs::plain(Map::new(), self.place)),
            Value::Object(object) => visitor.visit_map(Pairs::plain(object, self.place)),
            _ => Err(self.mismatch("map[string]string")),
        }
    }

    fn deserialize_struct<V: Visitor<'de>>(
        self,
        name: &'static str,
        fields: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, DecodeError> {
        match self.value {
            Value::Null => visitor.visit_map(Pairs::plain(Map::new(), self.place)),
            Value::Object(object) => visitor.visit_map(Pairs::fields(object, self.place, name, fields)),
            _ => Err(self.mismatch(&format!("structs.{}", if go_name(name).is_empty() { name } else { go_name(name) }))),
        }
    }

    fn deserialize_newtype_struct<V: Visitor<'de>>(self, _name: &'static str, visitor: V) -> Result<V::Value, DecodeError> {
        visitor.visit_newtype_struct(self)
    }

    fn deserialize_enum<V: Visitor<'de>>(
        self,
        name: &'static str,
        variants: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, DecodeError> {
        self.value.into_deserializer().deserialize_enum(name, variants, visitor).map_err(de::Error::custom)
    }

    forward_to_deserialize_any! { i128 u128 char bytes byte_buf unit unit_struct tuple tuple_struct identifier ignored_any }
}

/// The items of an array.
struct Items<'a> {
    items: std::vec::IntoIter<Value>,
    place: Place<'a>,
}

impl<'de> de::SeqAccess<'de> for Items<'_> {
    type Error = DecodeError;

    fn next_element_seed<T: DeserializeSeed<'de>>(&mut self, seed: T) -> Result<Option<T::Value>, DecodeError> {
        let Some(value) = self.items.next() else { return Ok(None) };
        seed.deserialize(Decoder { value, place: self.place }).map(Some)
    }
}

/// A key on its way to the visitor: a struct's field, or any text.
enum Key {
    Field(&'static str),
    Text(String),
}

/// The pairs of an object.
struct Pairs<'a> {
    pairs: std::vec::IntoIter<(Key, Value)>,
    place: Place<'a>,
    owner: &'static str,
    next: Option<(Option<&'static str>, Value)>,
}

/// Two spellings of one field; sent together, the first wins unless it is empty.
const SAME: [(&str, &str); 2] = [("ID", "CheckID"), ("Args", "ScriptArgs")];

impl<'a> Pairs<'a> {
    fn plain(object: Map<String, Value>, place: Place<'a>) -> Self {
        let pairs: Vec<_> = object.into_iter().map(|(key, value)| (Key::Text(key), value)).collect();
        Self { pairs: pairs.into_iter(), place, owner: "", next: None }
    }

    /// Each field at most once: an exact key beats one that only matches without regard to case and underscores.
    fn fields(object: Map<String, Value>, place: Place<'a>, owner: &'static str, fields: &'static [&'static str]) -> Self {
        let mut found: Vec<(&'static str, bool, Value)> = Vec::new();
        for (key, value) in object {
            if value.is_null() {
                continue;
            }
            let exact = fields.iter().copied().find(|field| *field == key);
            let Some(field) = exact.or_else(|| fields.iter().copied().find(|field| folded_eq(field, &key))) else { continue };
            match found.iter_mut().find(|(known, ..)| *known == field) {
                Some(known) if exact.is_some() || !known.1 => *known = (field, exact.is_some(), value),
                Some(_) => {}
                None => found.push((field, exact.is_some(), value)),
            }
        }
        for (first, second) in SAME {
            let has = |name: &str| found.iter().position(|(field, ..)| *field == name);
            if let (Some(one), Some(other)) = (has(first), has(second)) {
                let empty = |value: &Value| value.as_str() == Some("") || value.as_array().is_some_and(Vec::is_empty);
                found.remove(if empty(&found[one].2) { one } else { other });
            }
        }
        let pairs: Vec<_> = found.into_iter().map(|(field, _, value)| (Key::Field(field), value)).collect();
        Self { pairs: pairs.into_iter(), place, owner, next: None }
    }
}

impl<'de> de::MapAccess<'de> for Pairs<'_> {
    type Error = DecodeError;

    fn next_key_seed<K: DeserializeSeed<'de>>(&mut self, seed: K) -> Result<Option<K::Value>, DecodeError> {
        let Some((key, value)) = self.pairs.next() else { return Ok(None) };
        match key {
            Key::Field(field) => {
                self.next = Some((Some(field), value));
                seed.deserialize(field.into_deserializer()).map(Some)
            }
            Key::Text(text) => {
                self.next = Some((None, value));
                seed.deserialize(text.into_deserializer()).map(Some)
            }
        }
    }

    fn next_value_seed<T: DeserializeSeed<'de>>(&mut self, seed: T) -> Result<T::Value, DecodeError> {
        let (field, value) = self.next.take().expect("serde asks for a value only after its key");
        match field {
            Some(field) => seed.deserialize(Decoder { value, place: Place::Field { above: &self.place, owner: self.owner, field } }),
            None => seed.deserialize(Decoder { value, place: self.place }),
        }
    }
}

/// Whether two names are the same without regard to case and underscores.
fn folded_eq(one: &str, other: &str) -> bool {
    let fold = |text: &str| text.bytes().filter(|b| *b != b'_').map(|b| b.to_ascii_lowercase()).collect::<Vec<_>>();
    fold(one) == fold(other)
}

#[cfg(test)]
mod tests {
    use super::decode;
    use crate::{
        agent::{CheckUpdate, ServiceRegistration},
        catalog::Registration,
        check::CheckDefinition,
        go::Duration,
    };

    #[test]
    fn keys_match_in_any_case_and_with_underscores() {
        let check = |body: &str| {
            let service: ServiceRegistration = decode(body.as_bytes()).expect(body);
            assert_eq!(service.name, "web", "{body}");
            assert!(service.enable_tag_override, "{body}");
            assert_eq!(service.check.expect("a check").deregister_critical_service_after, Duration::from_secs(60), "{body}");
        };
        check(r#"{"Name":"web","EnableTagOverride":true,"Check":{"DeregisterCriticalServiceAfter":"1m"}}"#);
        check(r#"{"name":"web","enable_tag_override":true,"check":{"deregister_critical_service_after":"60s"}}"#);
        check(r#"{"NAME":"web","enabletagoverride":true,"CHECK":{"deregistercriticalserviceafter":60000000000}}"#);
    }

    #[test]
    fn null_is_the_default_and_unknown_keys_are_ignored() {
        let service: ServiceRegistration =
            decode(br#"{"Name":"a","Tags":null,"Port":null,"Meta":{"k":null},"Check":null,"Locality":{"x":[1]}}"#).expect("decodes");
        assert_eq!(service.meta.get("k").map(String::as_str), Some(""));
        assert_eq!((service.tags.len(), service.port, service.check), (0, 0, None));
        assert_eq!(decode::<ServiceRegistration>(b"null"), Ok(ServiceRegistration::default()));
    }

    #[test]
    fn an_exact_key_wins_and_two_spellings_do_not_clash() {
        let service: ServiceRegistration = decode(br#"{"NAME":"x","Name":"y","name":"z"}"#).expect("decodes");
        assert_eq!(service.name, "y");
        let check: CheckDefinition = decode(br#"{"ID":"","CheckID":"c","Args":["a"],"script_args":["b"]}"#).expect("decodes");
        assert_eq!((check.id.as_str(), check.args), ("c", vec!["a".to_owned()]));
    }

    #[test]
    fn odd_check_keys_are_read() {
        let check: CheckDefinition = decode(
            br#"{"h2ping":"a:1","h2ping_use_tls":false,"tls_skip_verify":true,"TTL":"15.5s","docker_container_id":"d","os_service":"s"}"#,
        )
        .expect("decodes");
        assert_eq!((check.h2ping.as_str(), check.h2ping_use_tls, check.tls_skip_verify), ("a:1", Some(false), true));
        assert_eq!((check.ttl, check.docker_container_id.as_str(), check.os_service.as_str()), (Duration(15_500_000_000), "d", "s"));
    }

    #[test]
    fn opaque_parts_keep_their_keys() {
        let body = br#"{"Connect":{"SidecarService":{"port":1.5,"Proxy":{"x_y":[null,-1,true]}}}}"#;
        let service: ServiceRegistration = decode(body).expect("decodes");
        let sidecar = service.connect.expect("set").sidecar_service.expect("set");
        assert_eq!(sidecar, serde_json::json!({"port": 1.5, "Proxy": {"x_y": [null, -1, true]}}));
    }

    #[test]
    fn wrong_types_read_as_go_writes_them() {
        fn check<T: serde::de::DeserializeOwned + std::fmt::Debug>(body: &str, expected: &str) {
            assert_eq!(decode::<T>(body.as_bytes()).expect_err(body).0, expected, "{body}");
        }
        check::<ServiceRegistration>(r#"{"Name":1}"#, "json: cannot unmarshal number into Go struct field .Name of type string");
        check::<ServiceRegistration>(r#"{"Port":"x"}"#, "json: cannot unmarshal string into Go struct field .Port of type int");
        check::<ServiceRegistration>(r#"{"Port":1.5}"#, "json: cannot unmarshal number 1.5 into Go struct field .Port of type int");
        check::<ServiceRegistration>(r#"{"Tags":"x"}"#, "json: cannot unmarshal string into Go struct field .Tags of type []string");
        check::<ServiceRegistration>(r#"{"Tags":[1]}"#, "json: cannot unmarshal number into Go struct field .Tags of type string");
        check::<ServiceRegistration>(r#"{"Meta":{"a":1}}"#, "json: cannot unmarshal number into Go struct field .Meta of type string");
        check::<ServiceRegistration>(
            r#"{"Weights":{"Passing":"a"}}"#,
            "json: cannot unmarshal string into Go struct field Weights.Weights.Passing of type int",
        );
        check::<ServiceRegistration>(r#"{"Check":{"TTL":"1x"}}"#, r#"time: unknown unit "x" in duration "1x""#);
        check::<ServiceRegistration>(r#"{"Check":{"TTL":"x"}}"#, r#"time: invalid duration "x""#);
        check::<ServiceRegistration>(
            r#"{"EnableTagOverride":"yes"}"#,
            "json: cannot unmarshal string into Go struct field .EnableTagOverride of type bool",
        );
        check::<Registration>(r#"{"Node":1}"#, "json: cannot unmarshal number into Go struct field RegisterRequest.Node of type string");
        check::<Registration>(
            r#"{"Service":{"Port":"x"}}"#,
            "json: cannot unmarshal string into Go struct field NodeService.Service.Port of type int",
        );
        check::<Registration>(
            r#"{"Checks":[{"Status":5}]}"#,
            "json: cannot unmarshal number into Go struct field HealthCheck.Checks.Status of type string",
        );
        check::<Registration>("[]", "json: cannot unmarshal array into Go value of type structs.RegisterRequest");
        check::<CheckUpdate>(r#"{"Status":1}"#, "json: cannot unmarshal number into Go struct field checkUpdate.Status of type string");
    }
}
