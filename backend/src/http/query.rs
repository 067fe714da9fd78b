//! The query string and the values Go's parsers accept in it. Pure.

use std::collections::BTreeMap;

use super::path;

/// The query parameters, decoded, in the order given.
#[derive(Clone, Debug, Default)]
pub(super) struct Query(Vec<(String, String)>);

impl Query {
    /// Parses a raw query string; what does not decode is left out.
    pub(super) fn parse(raw: &str) -> Self {
        let text = |part: &str| path::decode(&part.replace('+', " ")).map(|bytes| String::from_utf8_lossy(&bytes).into_owned());
        let pair = |part: &str| {
            let (key, value) = part.split_once('=').unwrap_or((part, ""));
            Some((text(key)?, text(value)?))
        };
        Self(raw.split('&').filter(|part| !part.is_empty()).filter_map(pair).collect())
    }

    /// The first value, empty when the parameter is not there.
    pub(super) fn get(&self, name: &str) -> &str {
        self.0.iter().find(|(key, _)| key == name).map_or("", |(_, value)| value)
    }

    /// Whether the parameter is there, with whatever value.
    pub(super) fn has(&self, name: &str) -> bool {
        self.0.iter().any(|(key, _)| key == name)
    }

    /// The first value, if the parameter is there.
    pub(super) fn find(&self, name: &str) -> Option<&str> {
        self.has(name).then(|| self.get(name))
    }

    /// Every value of a parameter.
    pub(super) fn all(&self, name: &str) -> impl Iterator<Item = &str> {
        self.0.iter().filter(move |(key, _)| key == name).map(|(_, value)| value.as_str())
    }

    /// Written out again, sorted by name, as Go's `url.Values.Encode` does.
    pub(super) fn encode(&self) -> String {
        let mut sorted: BTreeMap<&str, Vec<&str>> = BTreeMap::new();
        for (key, value) in &self.0 {
            sorted.entry(key).or_default().push(value);
        }
        let escape = |text: &str| {
            shared::endpoint::encode_path(text, false).replace("%20", "+").replace(':', "%3A").replace(',', "%2C").replace('@', "%40")
        };
        let pairs = sorted.iter().flat_map(|(key, values)| values.iter().map(|value| format!("{}={}", escape(key), escape(value))));
        pairs.collect::<Vec<_>>().join("&")
    }
}

/// A boolean as Go's `strconv.ParseBool` reads it.
pub(super) fn parse_bool(text: &str) -> Option<bool> {
    match text {
        "1" | "t" | "T" | "TRUE" | "true" | "True" => Some(true),
        "0" | "f" | "F" | "FALSE" | "false" | "False" => Some(false),
        _ => None,
    }
}

/// A number as Go's `strconv.ParseUint` reads it, with its error text.
pub(super) fn parse_uint(text: &str) -> Result<u64, String> {
    let failed = |why: &str| format!("strconv.ParseUint: parsing {text:?}: {why}");
    if text.is_empty() || !text.bytes().all(|b| b.is_ascii_digit()) {
        return Err(failed("invalid syntax"));
    }
    text.parse().map_err(|_| failed("value out of range"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parameters_are_read_in_all_their_forms() {
        let query = Query::parse("recurse&tag=a&tag=b+c%2F&bad=%zz&empty=&=x");
        assert!(query.has("recurse") && query.has("empty") && !query.has("bad"));
        assert_eq!(query.all("tag").collect::<Vec<_>>(), ["a", "b c/"]);
        assert_eq!((query.get("tag"), query.find("recurse"), query.find("nope")), ("a", Some(""), None));
        assert_eq!(query.encode(), "=x&empty=&recurse=&tag=a&tag=b+c%2F");
    }

    #[test]
    fn numbers_fail_in_gos_words() {
        let check = |text: &str, expected: Result<u64, &str>| assert_eq!(parse_uint(text), expected.map_err(str::to_owned));
        check("18446744073709551615", Ok(u64::MAX));
        check("abc", Err("strconv.ParseUint: parsing \"abc\": invalid syntax"));
        check("", Err("strconv.ParseUint: parsing \"\": invalid syntax"));
        check("-1", Err("strconv.ParseUint: parsing \"-1\": invalid syntax"));
        check("18446744073709551616", Err("strconv.ParseUint: parsing \"18446744073709551616\": value out of range"));
    }
}
