//! Makes answers of two different agents comparable: addresses, UUIDs, indexes and times become placeholders that keep what
//! matters (which values are equal, which are zero).

use std::collections::BTreeMap;

use serde_json::{Map, Value};

/// Keys whose numbers are Raft indexes.
const INDEXES: [&str; 3] = ["CreateIndex", "ModifyIndex", "Index"];

/// One agent's placeholders. Equal values get equal placeholders throughout a scenario.
#[derive(Debug)]
pub struct Normalizer {
    address: String,
    indexes: BTreeMap<u64, usize>,
    uuids: BTreeMap<String, usize>,
}

impl Normalizer {
    /// For an agent on this address.
    #[must_use]
    pub fn new(address: &str) -> Self {
        Self { address: address.to_owned(), indexes: BTreeMap::new(), uuids: BTreeMap::new() }
    }

    fn index(&mut self, index: u64) -> String {
        if index == 0 {
            return "<index 0>".to_owned();
        }
        let next = self.indexes.len() + 1;
        format!("<index #{}>", self.indexes.entry(index).or_insert(next))
    }

    /// Text with the agent's address and its UUIDs replaced.
    pub fn text(&mut self, text: &str) -> String {
        let text = text.replace(&self.address, "<ip>");
        let mut out = String::new();
        let mut rest = text.as_str();
        while !rest.is_empty() {
            if let Some(candidate) = rest.get(..36).filter(|candidate| shared::name::is_uuid(candidate)) {
                if candidate == crate::node::ID {
                    out.push_str("<node id>");
                } else {
                    let next = self.uuids.len() + 1;
                    out.push_str(&format!("<uuid #{}>", self.uuids.entry(candidate.to_owned()).or_insert(next)));
                }
                rest = &rest[36..];
            } else {
                let step = rest.chars().next().map_or(1, char::len_utf8);
                out.push_str(&rest[..step]);
                rest = &rest[step..];
            }
        }
        out
    }

    /// A header's value.
    pub fn header(&mut self, name: &str, value: &str) -> String {
        match name.to_ascii_lowercase().as_str() {
            // Tables of the two products start at different heights: only "there is one" compares.
            "x-consul-index" => "<index>".to_owned(),
            "x-consul-lastcontact" => "<ms>".to_owned(),
            "x-consul-contenthash" => "<hash>".to_owned(),
            _ => self.text(value),
        }
    }

    /// A JSON body.
    pub fn body(&mut self, mut body: Value, ignore: &[String], unordered: bool) -> Value {
        for pointer in ignore {
            let path: Vec<&str> = pointer.split('/').skip(1).collect();
            blank(&mut body, &path);
        }
        self.value(&mut body, "");
        if unordered {
            sort(&mut body);
        }
        body
    }

    fn value(&mut self, value: &mut Value, key: &str) {
        match value {
            Value::Number(number) if INDEXES.contains(&key) => {
                if let Some(index) = number.as_u64() {
                    *value = Value::String(self.index(index));
                }
            }
            Value::String(text) if key == "ContentHash" => *text = "<hash>".to_owned(),
            Value::String(text) => *text = self.text(text),
            Value::Array(rows) => rows.iter_mut().for_each(|row| self.value(row, key)),
            Value::Object(object) => {
                let entries = std::mem::take(object);
                *object = entries
                    .into_iter()
                    .map(|(key, mut value)| {
                        self.value(&mut value, &key);
                        (self.text(&key), value)
                    })
                    .collect::<Map<_, _>>();
            }
            _ => {}
        }
    }
}

/// Sorts every list, innermost first.
fn sort(value: &mut Value) {
    match value {
        Value::Array(rows) => {
            rows.iter_mut().for_each(sort);
            rows.sort_by_key(ToString::to_string);
        }
        Value::Object(object) => object.values_mut().for_each(sort),
        _ => {}
    }
}

fn blank(value: &mut Value, path: &[&str]) {
    let Some((first, rest)) = path.split_first() else {
        *value = Value::String("<ignored>".to_owned());
        return;
    };
    match value {
        Value::Array(rows) if *first == "*" => rows.iter_mut().for_each(|row| blank(row, rest)),
        Value::Object(object) if *first == "*" => object.values_mut().for_each(|row| blank(row, rest)),
        Value::Array(rows) => {
            if let Some(row) = first.parse().ok().and_then(|at: usize| rows.get_mut(at)) {
                blank(row, rest);
            }
        }
        // A key that only one product writes is ignored by taking it away.
        Value::Object(object) if rest.is_empty() => {
            object.remove(*first);
        }
        Value::Object(object) => {
            if let Some(next) = object.get_mut(*first) {
                blank(next, rest);
            }
        }
        _ => {}
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::Normalizer;

    #[test]
    fn equal_indexes_get_equal_placeholders() {
        let mut normalizer = Normalizer::new("127.0.0.9");
        let body = json!([{"CreateIndex": 12, "ModifyIndex": 14}, {"CreateIndex": 14, "ModifyIndex": 0}]);
        let expected =
            json!([{"CreateIndex": "<index #1>", "ModifyIndex": "<index #2>"}, {"CreateIndex": "<index #2>", "ModifyIndex": "<index 0>"}]);
        assert_eq!(normalizer.body(body, &[], false), expected);
    }

    #[test]
    fn addresses_and_uuids_are_replaced_inside_text() {
        let mut normalizer = Normalizer::new("127.0.0.9");
        let text = "dial 127.0.0.9:1 for 01234567-89ab-4cde-8f01-23456789abcd, again 01234567-89ab-4cde-8f01-23456789abcd";
        assert_eq!(normalizer.text(text), "dial <ip>:1 for <uuid #1>, again <uuid #1>");
    }

    #[test]
    fn ignored_keys_are_taken_away_in_every_row() {
        let mut normalizer = Normalizer::new("127.0.0.9");
        let body = normalizer.body(json!([{"A": 1, "B": 2}, {"A": 3, "B": 4}]), &["/*/A".to_owned()], false);
        assert_eq!(body, json!([{"B": 2}, {"B": 4}]));
    }
}
