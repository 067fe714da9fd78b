//! Reading the API's JSON into the wire structs in few bytes of code: what the dashboard does in place of serde.
//!
//! serde compiles a visitor for every struct, each with its own slots, defaults and errors: a quarter of the dashboard.
//! Here the reader exists once and a struct is a table of names and a match. `#[derive(Decode)]` makes both from serde's
//! attributes; the tests hold both ways against each other. A missing field is its default. Agents and the command
//! line keep serde.

use std::collections::BTreeMap;

pub use shared_macro::Decode;

/// Arrays and objects in each other, at most.
const DEPTH_MAX: u32 = 64;

/// Where a text stops to make sense, and what should stand there.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Fault {
    /// Line, from 1.
    pub line: usize,
    /// Column in bytes, from 1.
    pub column: usize,
    /// `a number`, `the end`, ...
    pub wanted: &'static str,
}

impl std::fmt::Display for Fault {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("expected ")?;
        f.write_str(self.wanted)?;
        f.write_str(" on line ")?;
        f.write_str(&self.line.to_string())
    }
}

type Done = Result<(), Fault>;

/// What can be read from JSON.
pub trait Decode {
    /// Reads the next value into this one, which is its default so far.
    ///
    /// # Errors
    /// The text is not JSON, or another kind of value.
    fn fill(&mut self, from: &mut Reader<'_>) -> Done;
}

/// Reads a whole text.
///
/// # Errors
/// The text is not JSON, not of this shape, or goes on behind it.
pub fn read<T: Decode + Default>(text: &[u8]) -> Result<T, Fault> {
    whole(Reader::new(text, false))
}

/// Reads a whole text written by a person: keys in any case, with or without underscores; `null` is the default.
///
/// # Errors
/// As [`read`].
pub fn read_loosely<T: Decode + Default>(text: &[u8]) -> Result<T, Fault> {
    whole(Reader::new(text, true))
}

/// Whether a text is JSON.
///
/// # Errors
/// Where it is not.
pub fn check(text: &[u8]) -> Done {
    let mut reader = Reader::new(text, false);
    reader.skip()?;
    reader.end()
}

fn whole<T: Decode + Default>(mut reader: Reader<'_>) -> Result<T, Fault> {
    let mut out = T::default();
    out.fill(&mut reader)?;
    reader.end()?;
    Ok(out)
}

/// A place in a JSON text.
pub struct Reader<'a> {
    text: &'a [u8],
    at: usize,
    depth: u32,
    loose: bool,
}

impl<'a> Reader<'a> {
    fn new(text: &'a [u8], loose: bool) -> Self {
        Self { text, at: 0, depth: 0, loose }
    }

    /// The fault of finding something else here.
    #[must_use]
    pub fn fault(&self, wanted: &'static str) -> Fault {
        let before = &self.text[..self.at.min(self.text.len())];
        let line = before.iter().filter(|byte| **byte == b'\n').count() + 1;
        let column = before.iter().rev().take_while(|byte| **byte != b'\n').count() + 1;
        Fault { line, column, wanted }
    }

    fn peek(&mut self) -> u8 {
        while let Some(byte) = self.text.get(self.at) {
            if !matches!(byte, b' ' | b'\t' | b'\r' | b'\n') {
                return *byte;
            }
            self.at += 1;
        }
        0
    }

    fn take(&mut self, byte: u8) -> bool {
        let found = self.peek() == byte;
        self.at += usize::from(found);
        found
    }

    fn need(&mut self, byte: u8, wanted: &'static str) -> Done {
        if self.take(byte) { Ok(()) } else { Err(self.fault(wanted)) }
    }

    fn end(&mut self) -> Done {
        self.peek();
        if self.at == self.text.len() { Ok(()) } else { Err(self.fault("the end")) }
    }

    fn literal(&mut self, word: &str) -> bool {
        self.peek();
        let found = self.text[self.at..].starts_with(word.as_bytes());
        self.at += if found { word.len() } else { 0 };
        found
    }

    /// Takes a `null`, if that is next.
    pub fn null(&mut self) -> bool {
        self.literal("null")
    }

    fn default(&mut self) -> bool {
        self.loose && self.null()
    }

    /// An object: calls back with the place of each key in `names`, or one past them, and then reads the value. A key's
    /// last value counts. `null` is an object without keys.
    ///
    /// # Errors
    /// There is no object here, or the callback's.
    pub fn object(&mut self, names: &[&str], each: &mut dyn FnMut(usize, &mut Self) -> Done) -> Done {
        let loose = self.loose;
        self.map(&mut |key, from| {
            let exact = names.iter().position(|name| *name == key);
            let found = exact.or_else(|| names.iter().position(|name| loose && alike(name, &key)));
            each(found.unwrap_or(names.len()), from)
        })
    }

    /// An object with any keys.
    ///
    /// # Errors
    /// As [`Reader::object`].
    pub fn map(&mut self, each: &mut dyn FnMut(String, &mut Self) -> Done) -> Done {
        if self.null() {
            return Ok(());
        }
        self.need(b'{', "an object")?;
        self.deeper()?;
        if !self.take(b'}') {
            loop {
                let mut key = String::new();
                self.text(&mut key)?;
                self.need(b':', "a colon")?;
                each(key, self)?;
                if !self.take(b',') {
                    break;
                }
            }
            self.need(b'}', "a comma or the object's end")?;
        }
        self.depth -= 1;
        Ok(())
    }

    /// An array; `null` is an empty one.
    ///
    /// # Errors
    /// There is no array here, or the callback's.
    pub fn array(&mut self, each: &mut dyn FnMut(&mut Self) -> Done) -> Done {
        if self.null() {
            return Ok(());
        }
        self.need(b'[', "an array")?;
        self.deeper()?;
        if !self.take(b']') {
            loop {
                each(self)?;
                if !self.take(b',') {
                    break;
                }
            }
            self.need(b']', "a comma or the array's end")?;
        }
        self.depth -= 1;
        Ok(())
    }

    fn deeper(&mut self) -> Done {
        self.depth += 1;
        if self.depth > DEPTH_MAX { Err(self.fault("less depth")) } else { Ok(()) }
    }

    /// A string.
    ///
    /// # Errors
    /// There is none here.
    pub fn text(&mut self, out: &mut String) -> Done {
        if self.default() {
            return Ok(());
        }
        self.need(b'"', "a string")?;
        out.clear();
        loop {
            let start = self.at;
            while self.text.get(self.at).is_some_and(|byte| !matches!(byte, b'"' | b'\\' | 0..0x20)) {
                self.at += 1;
            }
            match std::str::from_utf8(&self.text[start..self.at]) {
                Ok(part) => out.push_str(part),
                Err(_) => return Err(self.fault("text in UTF-8")),
            }
            match self.text.get(self.at) {
                Some(b'"') => break,
                Some(b'\\') => out.push(self.escape()?),
                _ => return Err(self.fault("the string's end")),
            }
        }
        self.at += 1;
        Ok(())
    }

    fn escape(&mut self) -> Result<char, Fault> {
        let letter = self.text.get(self.at + 1).copied().unwrap_or_default();
        self.at += 2;
        Ok(match letter {
            b'"' | b'\\' | b'/' => char::from(letter),
            b'b' => '\u{8}',
            b'f' => '\u{c}',
            b'n' => '\n',
            b'r' => '\r',
            b't' => '\t',
            b'u' => {
                let first = self.hex()?;
                let code = match first {
                    0xd800..0xdc00 if self.text[self.at..].starts_with(b"\\u") => {
                        self.at += 2;
                        let second = self.hex()?;
                        if !(0xdc00..0xe000).contains(&second) {
                            return Err(self.fault("the other half of a character"));
                        }
                        0x10000 + ((first - 0xd800) << 10) + (second - 0xdc00)
                    }
                    one => one,
                };
                char::from_u32(code).ok_or_else(|| self.fault("a character"))?
            }
            _ => return Err(self.fault("an escape")),
        })
    }

    fn hex(&mut self) -> Result<u32, Fault> {
        let digits = self.text.get(self.at..self.at + 4).and_then(|digits| std::str::from_utf8(digits).ok());
        let code = digits.filter(|digits| !digits.starts_with('+')).and_then(|digits| u32::from_str_radix(digits, 16).ok());
        self.at += 4;
        code.ok_or_else(|| self.fault("four digits"))
    }

    /// A string that is one of some words: its place among them, or one past.
    ///
    /// # Errors
    /// There is no string here.
    pub fn word(&mut self, words: &[&str]) -> Result<usize, Fault> {
        let mut text = String::new();
        self.text(&mut text)?;
        Ok(words.iter().position(|word| *word == text).unwrap_or(words.len()))
    }

    /// Base64 text; `null` is no bytes.
    ///
    /// # Errors
    /// There is none here.
    pub fn base64(&mut self, out: &mut Vec<u8>) -> Done {
        use base64::{Engine as _, engine::general_purpose::STANDARD};
        out.clear();
        if self.null() {
            return Ok(());
        }
        let mut text = String::new();
        self.text(&mut text)?;
        *out = STANDARD.decode(text).map_err(|_| self.fault("base64"))?;
        Ok(())
    }

    /// Whether a string is next.
    pub fn is_text(&mut self) -> bool {
        self.peek() == b'"'
    }

    /// The text of a number.
    fn number(&mut self) -> Result<&'a str, Fault> {
        self.peek();
        let start = self.at;
        while self.text.get(self.at).is_some_and(|byte| matches!(byte, b'0'..=b'9' | b'-' | b'+' | b'.' | b'e' | b'E')) {
            self.at += 1;
        }
        let text = std::str::from_utf8(&self.text[start..self.at]).unwrap_or_default();
        if is_number(text) { Ok(text) } else { Err(self.fault("a number")) }
    }

    fn signed(&mut self) -> Result<i64, Fault> {
        let number = if self.default() { "0" } else { self.number()? };
        number.parse().map_err(|_| self.fault("a whole number"))
    }

    fn unsigned(&mut self) -> Result<u64, Fault> {
        let number = if self.default() { "0" } else { self.number()? };
        number.parse().map_err(|_| self.fault("a whole number"))
    }

    /// Any value, which is not looked at.
    ///
    /// # Errors
    /// There is none here.
    pub fn skip(&mut self) -> Done {
        match self.peek() {
            b'{' => self.map(&mut |_, from| from.skip()),
            b'[' => self.array(&mut |from| from.skip()),
            b'"' => self.text(&mut String::new()),
            b't' | b'f' | b'n' if self.literal("true") || self.literal("false") || self.null() => Ok(()),
            b'-' | b'0'..=b'9' => self.number().map(drop),
            _ => Err(self.fault("a value")),
        }
    }
}

/// Whether two keys differ in case and underscores only.
fn alike(one: &str, other: &str) -> bool {
    let letters = |text: &'_ str| text.bytes().filter(|byte| *byte != b'_').map(|byte| byte.to_ascii_lowercase()).collect::<Vec<u8>>();
    letters(one) == letters(other)
}

/// The value of a JSON number. Exact up to 15 digits and powers of 22, and close beyond: the standard library's way
/// is exact everywhere, by tables of 10 KB.
fn float(text: &str) -> f64 {
    let (sign, rest) = text.strip_prefix('-').map_or((1.0, text), |rest| (-1.0, rest));
    let (mantissa, exponent) = rest.split_once(['e', 'E']).unwrap_or((rest, "0"));
    let (whole, fraction) = mantissa.split_once('.').unwrap_or((mantissa, ""));
    let mut power: i32 = exponent.trim_start_matches('+').parse().unwrap_or(if exponent.starts_with('-') { -400 } else { 400 });
    let mut digits = 0_u64;
    for (at, digit) in whole.bytes().chain(fraction.bytes()).enumerate() {
        let behind = at >= whole.len();
        if digits < u64::MAX / 10 - 1 {
            digits = digits * 10 + u64::from(digit - b'0');
            power = power.saturating_sub(i32::from(behind));
        } else {
            power = power.saturating_add(i32::from(!behind));
        }
    }
    let size = 10_f64.powi(power.saturating_abs().min(400));
    sign * if digits == 0 {
        0.0
    } else if power < 0 {
        digits as f64 / size
    } else {
        digits as f64 * size
    }
}

/// JSON's grammar of numbers: no leading zeros, digits on both sides of the point.
#[must_use]
pub fn is_number(text: &str) -> bool {
    let rest = text.strip_prefix('-').unwrap_or(text);
    let (mantissa, exponent) = rest.split_once(['e', 'E']).map_or((rest, None), |(mantissa, exponent)| (mantissa, Some(exponent)));
    let (whole, fraction) = mantissa.split_once('.').map_or((mantissa, None), |(whole, fraction)| (whole, Some(fraction)));
    let digits = |text: &str| !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
    digits(whole)
        && (whole == "0" || !whole.starts_with('0'))
        && fraction.is_none_or(digits)
        && exponent.is_none_or(|exponent| digits(exponent.strip_prefix(['+', '-']).unwrap_or(exponent)))
}

impl Decode for () {
    fn fill(&mut self, from: &mut Reader<'_>) -> Done {
        if from.null() { Ok(()) } else { Err(from.fault("nothing")) }
    }
}

impl Decode for bool {
    fn fill(&mut self, from: &mut Reader<'_>) -> Done {
        *self = from.literal("true");
        if *self || from.literal("false") || from.default() { Ok(()) } else { Err(from.fault("true or false")) }
    }
}

impl Decode for String {
    fn fill(&mut self, from: &mut Reader<'_>) -> Done {
        from.text(self)
    }
}

macro_rules! integers {
    ($read:ident: $($kind:ty),*) => {$(
        impl Decode for $kind {
            fn fill(&mut self, from: &mut Reader<'_>) -> Done {
                *self = from.$read()?.try_into().map_err(|_| from.fault("a number in range"))?;
                Ok(())
            }
        }
    )*};
}
integers!(signed: i32, i64);
integers!(unsigned: u8, u16, u32, u64, usize);

impl Decode for f64 {
    fn fill(&mut self, from: &mut Reader<'_>) -> Done {
        if !from.default() {
            *self = float(from.number()?);
        }
        Ok(())
    }
}

impl<T: Decode + Default> Decode for Option<T> {
    fn fill(&mut self, from: &mut Reader<'_>) -> Done {
        *self = None;
        if from.null() { Ok(()) } else { self.insert(T::default()).fill(from) }
    }
}

impl<T: Decode + Default> Decode for Box<T> {
    fn fill(&mut self, from: &mut Reader<'_>) -> Done {
        (**self).fill(from)
    }
}

impl<T: Decode + Default> Decode for Vec<T> {
    fn fill(&mut self, from: &mut Reader<'_>) -> Done {
        self.clear();
        from.array(&mut |from| {
            let mut item = T::default();
            item.fill(from)?;
            self.push(item);
            Ok(())
        })
    }
}

impl<A: Decode, B: Decode> Decode for (A, B) {
    fn fill(&mut self, from: &mut Reader<'_>) -> Done {
        let mut at = 0;
        from.array(&mut |from| {
            at += 1;
            match at {
                1 => self.0.fill(from),
                2 => self.1.fill(from),
                _ => Err(from.fault("two values")),
            }
        })?;
        if at == 2 { Ok(()) } else { Err(from.fault("two values")) }
    }
}

impl<T: Decode + Default> Decode for BTreeMap<String, T> {
    fn fill(&mut self, from: &mut Reader<'_>) -> Done {
        self.clear();
        from.map(&mut |key, from| {
            let mut value = T::default();
            value.fill(from)?;
            self.insert(key, value);
            Ok(())
        })
    }
}

impl Decode for serde_json::Value {
    fn fill(&mut self, from: &mut Reader<'_>) -> Done {
        use serde_json::Value;
        *self = match from.peek() {
            b'{' => {
                let mut object = serde_json::Map::new();
                from.map(&mut |key, from| {
                    let mut value = Value::Null;
                    value.fill(from)?;
                    object.insert(key, value);
                    Ok(())
                })?;
                Value::Object(object)
            }
            b'[' => {
                let mut items = Vec::new();
                items.fill(from)?;
                Value::Array(items)
            }
            b'"' => {
                let mut text = String::new();
                from.text(&mut text)?;
                Value::String(text)
            }
            b't' if from.literal("true") => Value::Bool(true),
            b'f' if from.literal("false") => Value::Bool(false),
            b'n' if from.null() => Value::Null,
            _ => {
                let number = from.number()?;
                match (number.parse::<u64>(), number.parse::<i64>()) {
                    (Ok(whole), _) => Value::from(whole),
                    (_, Ok(whole)) => Value::from(whole),
                    _ => Value::from(float(number)),
                }
            }
        };
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use std::fmt::Debug;

    use serde::{Serialize, de::DeserializeOwned};
    use serde_json::json;

    use super::*;
    use crate::{
        agent::{Info, Member, ServiceRegistration},
        changes::Change,
        check::{Check, CheckStatus, History, Run},
        go,
        health::ServiceNode,
        kv::Entry,
        node::NodeRow,
        page::Page,
        service::ServiceRow,
        ui::Overview,
    };

    /// Both ways read the same from a text, and from what serde writes of it.
    fn same<T: Decode + Default + DeserializeOwned + Serialize + PartialEq + Debug>(value: serde_json::Value) {
        let text = value.to_string();
        let by_serde: T = serde_json::from_str(&text).expect("serde reads the sample");
        assert_eq!(read::<T>(text.as_bytes()).as_ref(), Ok(&by_serde), "{text}");
        let written = serde_json::to_vec_pretty(&by_serde).expect("wire structs are JSON");
        assert_eq!(read::<T>(&written).as_ref(), Ok(&by_serde));
        assert_ne!(by_serde, T::default(), "the sample says something");
    }

    #[test]
    fn wire_structs_are_read_as_serde_reads_them() {
        let check = json!({"Node": "n1", "CheckID": "c", "Name": "a \"b\" \u{e4}\u{1f600}\n", "Status": "critical", "ServiceTags": ["a", "b"],
            "Output": "\\ / \t", "Type": "http", "Definition": {"Interval": "10s", "HTTP": "http://x", "Header": {"a": ["b"]}}, "CreateIndex": 7,
            "Unknown": [{"deep": [1.5e3, null, true]}]});
        same::<Check>(check.clone());
        same::<Vec<ServiceNode>>(
            json!([{"Node": {"ID": "i", "Node": "n1", "Address": "1.2.3.4", "Meta": {"k": "v"}, "TaggedAddresses": null},
            "Service": {"ID": "w", "Service": "web", "Port": 80, "Tags": null, "Weights": {"Passing": 1, "Warning": 2}, "Meta": {"a": "b"}},
            "Checks": [check]}]),
        );
        same::<ServiceRegistration>(
            json!({"Name": "web", "Port": 8080, "Check": {"TTL": "1m30s", "Args": ["a", "b c"]}, "Checks": [{"TCP": "x:1",
            "Interval": "500ms", "DeregisterCriticalServiceAfter": "90m"}], "Weights": {"Passing": 3, "Warning": 1}, "Connect": {"Native": true}}),
        );
        same::<Page<ServiceRow>>(json!({"Matched": 2, "Offset": 0, "Rows": [{"Name": "web", "Health": "warning", "Tags": ["x"],
            "Trace": [{"AtMs": 5, "Health": "passing"}]}], "Counts": {"Total": 2, "Passing": 1}, "Totals": {"Total": 5}, "TookUs": 3, "NowMs": 4}));
        same::<Page<NodeRow>>(
            json!({"Matched": 1, "Rows": [{"Node": {"Node": "n", "Address": "::1"}, "Health": "critical"}], "Offset": 0, "Counts": {}, "Totals": {}, "TookUs": 3, "NowMs": 4}),
        );
        same::<Overview>(json!({"Services": {"Total": 3, "Critical": 1}}));
        same::<Vec<Entry>>(
            json!([{"Key": "a/b", "Value": "aGFsbG8=", "Flags": 18_446_744_073_709_551_615_u64, "LockIndex": 1}, {"Key": "c", "Value": null}]),
        );
        same::<Vec<Change>>(json!([{"Topic": "kv", "Name": "a", "Index": 9, "Kind": "delete"}]));
        same::<CheckStatus>(
            json!({"Kind": "http", "Runnable": true, "NextRunAtMs": 1_700_000_000_000_u64, "LastRun": {"Result": "passing"}}),
        );
        same::<History>(
            json!({"Node": "n", "CheckID": "c", "SinceMs": 4, "Transitions": [{"AtMs": 5, "From": "", "To": "passing", "Output": "ok"}]}),
        );
        same::<Run>(json!({"Status": "passing", "Result": "critical", "Output": "x", "DurationMs": 12}));
        same::<Vec<Member>>(json!([{"Name": "n", "Addr": "127.0.0.1", "Port": 8301, "Tags": {"role": "consul"}, "Status": 1}]));
        same::<Info>(
            json!({"Config": {"Datacenter": "dc1", "n": -1, "f": 0.5}, "Coord": {"Vec": [0.25, -1e-3], "Error": 1.5}, "Member": {"Name": "n"}}),
        );
    }

    #[test]
    fn what_people_write_is_read_as_the_agent_reads_it() {
        for text in [
            r#"{"name": "web", "PORT": 1, "enable_tag_override": true, "check": {"http": "http://x", "interval": "10s", "deregister_critical_service_after": "1m"}}"#,
            r#"{"Name": "web", "Tags": null, "Port": null, "Check": null, "Meta": {"A_b": "c"}}"#,
        ] {
            let agents: ServiceRegistration = go::decode(text.as_bytes()).expect("the agent reads it");
            assert_eq!(read_loosely(text.as_bytes()), Ok(agents), "{text}");
        }
    }

    #[test]
    fn a_text_is_json_exactly_when_serde_says_so() {
        let deep = "[".repeat(70) + &"]".repeat(70);
        let texts = [
            "",
            " ",
            "null",
            "true",
            "nul",
            "nulll",
            "1",
            "-1",
            "01",
            "1.",
            ".5",
            "1.5",
            "1e5",
            "1E+5",
            "1e",
            "-",
            "+1",
            "0x1",
            "\"\"",
            "\"a",
            "\"\\x\"",
            "\"\\u00e4\"",
            "\"\\ud83d\\ude00\"",
            "\"\\ud83d\"",
            "\"\\u12\"",
            "\"\u{1}\"",
            "[]",
            "[1,]",
            "[1 2]",
            "[1,2] ",
            "[,]",
            "{}",
            "{\"a\":1}",
            "{\"a\":1,}",
            "{a:1}",
            "{\"a\" 1}",
            "{\"a\":}",
            "{} x",
            "[1]]",
            "\t[ 1 , {\"a\" : [ null ] } ]\n",
            "'a'",
            "// c",
            "NaN",
        ];
        for text in texts {
            // With a string in its place, for what serde skips it does not look into.
            assert_eq!(check(text.as_bytes()).is_ok(), serde_json::from_str::<serde_json::Value>(text).is_ok(), "{text:?}");
        }
        assert!(check(deep.as_bytes()).is_err(), "no text makes the reader run out of stack");
        assert!(check(b"\"\xff\"").is_err());
    }

    #[test]
    fn numbers_with_a_point_are_what_the_standard_library_reads() {
        for text in
            ["0", "-0.0", "1.5", "0.001", "-12.25e2", "1e22", "3E-5", "123456789.012345", "5e-1", "1e400", "1e-400", "0e999999999999"]
        {
            assert_eq!(float(text), text.parse::<f64>().expect("a number"), "{text}");
        }
        let long: f64 = "0.12345678901234567890123".parse().expect("a number");
        assert!((float("0.12345678901234567890123") - long).abs() < 1e-15);
    }

    #[test]
    fn a_fault_says_where_it_is_and_what_should_be_there() {
        let fault = check(b"{\n  \"a\": 1\n  \"b\": 2\n}").expect_err("a comma is missing");
        assert_eq!((fault.line, fault.column, fault.to_string().as_str()), (3, 3, "expected a comma or the object's end on line 3"));
        for (text, wanted) in [("\"x\"", "a number"), ("1.5", "a whole number"), ("-1", "a whole number"), ("null", "a number")] {
            assert_eq!(read::<u64>(text.as_bytes()).expect_err("no number").wanted, wanted, "{text}");
        }
        assert_eq!(read::<u8>(b"256").expect_err("too large").wanted, "a number in range");
    }
}
