//! A parsed document brought into shape: known keys only, right types, single maps where one map is meant; and the merge
//! of several documents.
//!
//! Knows types, not meanings: defaults and bounds are [`super::build`]'s. Contract: agent configuration, section "Sources
//! and merging".

use serde_json::{Map, Value};

use super::{
    Format,
    schema::{Key, Kind},
};

/// Problems found while shaping one document.
#[derive(Default)]
struct Shaping {
    format: Format,
    /// Keys nobody knows, with their paths.
    unknown: Vec<String>,
    /// Values of the wrong type.
    types: Vec<String>,
    /// Paths of keys that change nothing yet.
    unused: Vec<String>,
}

/// A document in shape.
#[derive(Debug)]
pub(super) struct Shaped {
    /// Its keys.
    pub(super) map: Map<String, Value>,
    /// Paths of keys that change nothing yet.
    pub(super) unused: Vec<String>,
}

/// Checks keys and types of a document and unwraps what HCL wraps.
///
/// # Errors
/// Every value of a wrong type, else every unknown key, as one text.
pub(super) fn shape(document: Map<String, Value>, schema: &'static [Key], format: Format) -> Result<Shaped, String> {
    let mut shaping = Shaping { format, ..Shaping::default() };
    let map = shaping.object(document, schema, "");
    if !shaping.types.is_empty() {
        shaping.types.sort();
        let list: Vec<_> = shaping.types.iter().map(|problem| format!("* {problem}")).collect();
        return Err(format!("{} error(s) decoding:\n\n{}", list.len(), list.join("\n")));
    }
    if !shaping.unknown.is_empty() {
        let list: Vec<_> = shaping.unknown.iter().map(|key| format!("invalid config key {key}")).collect();
        return Err(super::several(&list));
    }
    Ok(Shaped { map, unused: shaping.unused })
}

fn simplified(key: &str) -> String {
    key.chars().filter(|c| *c != '_').flat_map(char::to_lowercase).collect()
}

/// Names a key by another spelling: definitions are written in camel case too.
fn find(schema: &'static [Key], name: &str) -> Option<&'static Key> {
    if let Some(key) = schema.iter().find(|key| key.name.eq_ignore_ascii_case(name)) {
        return Some(key);
    }
    let simple = simplified(name);
    let is_definition = schema.iter().any(|key| matches!(key.name, "enable_tag_override" | "alias_node" | "destination_service_id"));
    match simple.as_str() {
        "checkid" if is_definition => schema.iter().find(|key| key.name == "id" && schema.iter().any(|key| key.name == "alias_node")),
        "dockercontainerid" | "scriptargs" => schema.iter().find(|key| simplified(key.name) == simple),
        _ if is_definition => schema.iter().find(|key| simplified(key.name) == simple),
        _ => None,
    }
}

impl Shaping {
    fn object(&mut self, document: Map<String, Value>, schema: &'static [Key], path: &str) -> Map<String, Value> {
        let mut out = Map::new();
        for (name, value) in document {
            let at = if path.is_empty() { name.clone() } else { format!("{path}.{name}") };
            let Some(key) = find(schema, &name) else {
                self.unknown.push(at);
                continue;
            };
            if value.is_null() {
                continue;
            }
            let is_leaf = !matches!(key.kind, Kind::Object(_) | Kind::One(_));
            if !key.used && is_leaf {
                self.unused.push(at.clone());
            }
            if let Some(value) = self.value(value, key.kind, &at) {
                out.insert(key.name.to_owned(), value);
            }
        }
        out
    }

    /// Go's name for the type of a value.
    fn type_name(&self, value: &Value) -> &'static str {
        match value {
            Value::Null => "nil",
            Value::Bool(_) => "bool",
            Value::Number(number) if number.is_i64() && self.format == Format::Hcl => "int",
            Value::Number(_) => "float64",
            Value::String(_) => "string",
            Value::Array(_) => "[]interface {}",
            Value::Object(_) => "map[string]interface {}",
        }
    }

    fn mistyped(&mut self, path: &str, expected: &str, value: &Value) -> Option<Value> {
        let got = self.type_name(value);
        self.types.push(format!("'{path}' expected type '{expected}', got unconvertible type '{got}'"));
        None
    }

    fn value(&mut self, value: Value, kind: Kind, path: &str) -> Option<Value> {
        match (kind, value) {
            (Kind::Bool, value @ Value::Bool(_)) | (Kind::Text, value @ Value::String(_)) => Some(value),
            (Kind::Float, value @ Value::Number(_)) => Some(value),
            (Kind::Int, Value::Number(number)) => {
                let whole = number.as_i64().or_else(|| number.as_f64().map(|float| float as i64));
                Some(Value::from(whole.unwrap_or(i64::MAX)))
            }
            (Kind::Bool, value) => self.mistyped(path, "bool", &value),
            (Kind::Int, value) => self.mistyped(path, "int", &value),
            (Kind::Float, value) => self.mistyped(path, "float64", &value),
            (Kind::Text, value) => self.mistyped(path, "string", &value),
            (Kind::Texts, value) => self.list(value, Kind::Text, path),
            (Kind::AnyList, value) => self.list(value, Kind::Any, path),
            (Kind::Any, value) => Some(unwrapped(value)),
            (Kind::Map, value) => self.by_free_key(value, Kind::Text, path),
            (Kind::Lists, value) => self.by_free_key(value, Kind::Texts, path),
            (Kind::ObjectMap(schema), value) => self.by_free_key(value, Kind::Object(schema), path),
            (Kind::Object(schema), value) => {
                let map = self.one_map(value, true, path)?;
                Some(Value::Object(self.object(map, schema, path)))
            }
            (Kind::One(schema), value) => {
                let map = self.one_map(value, false, path)?;
                Some(Value::Object(self.object(map, schema, path)))
            }
            (Kind::Objects(schema), Value::Object(map)) => {
                Some(Value::Array(vec![Value::Object(self.object(map, schema, &format!("{path}[0]")))]))
            }
            (Kind::Objects(schema), value) => self.list(value, Kind::One(schema), path),
        }
    }

    fn list(&mut self, value: Value, kind: Kind, path: &str) -> Option<Value> {
        let Value::Array(items) = value else {
            let got = self.type_name(&value);
            self.types.push(format!("'{path}': source data must be an array or slice, got {got}"));
            return None;
        };
        let items = items.into_iter().enumerate();
        Some(Value::Array(items.filter_map(|(at, item)| self.value(item, kind, &format!("{path}[{at}]"))).collect()))
    }

    fn by_free_key(&mut self, value: Value, kind: Kind, path: &str) -> Option<Value> {
        let map = self.one_map(value, true, path)?;
        let mut out = Map::new();
        for (key, value) in map {
            // HCL wraps every object; a list of texts stays a list.
            if let Some(value) = self.value(value, kind, &format!("{path}[{key}]")) {
                out.insert(key, value);
            }
        }
        Some(Value::Object(out))
    }

    fn one_map(&mut self, value: Value, repeatable: bool, path: &str) -> Option<Map<String, Value>> {
        let got = match value {
            Value::Object(map) => return Some(map),
            Value::Array(items) if items.is_empty() => return Some(Map::new()),
            Value::Array(items) if items.iter().all(Value::is_object) && (repeatable || items.len() == 1) => {
                let maps = items.into_iter().filter_map(|item| if let Value::Object(map) = item { Some(map) } else { None });
                return Some(maps.fold(Map::new(), |mut all, map| {
                    all.extend(map);
                    all
                }));
            }
            Value::Array(items) if items.len() == 1 => self.type_name(&items[0]),
            Value::Array(_) => "slice",
            other => self.type_name(&other),
        };
        self.types.push(format!("'{path}' expected a map, got '{got}'"));
        None
    }
}

/// Takes HCL's wrapping off a value of unknown shape: a list of one map becomes the map.
fn unwrapped(value: Value) -> Value {
    match value {
        Value::Array(mut items) if items.len() == 1 && items[0].is_object() => unwrapped(items.remove(0)),
        Value::Array(items) => Value::Array(items.into_iter().map(unwrapped).collect()),
        Value::Object(map) => Value::Object(map.into_iter().map(|(key, value)| (key, unwrapped(value))).collect()),
        other => other,
    }
}

/// Lays a shaped document over another: lists append, maps merge key by key, of anything else the later stands.
pub(super) fn merge(below: &mut Map<String, Value>, above: Map<String, Value>) {
    for (key, value) in above {
        match (below.get_mut(&key), value) {
            (Some(Value::Object(below)), Value::Object(above)) => merge(below, above),
            (Some(Value::Array(below)), Value::Array(mut above)) => below.append(&mut above),
            (_, value) => {
                below.insert(key, value);
            }
        }
    }
}
