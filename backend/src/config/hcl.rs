//! HCL 1 text to a value tree: attributes, labelled and repeated blocks, lists, heredocs and comments.
//!
//! Never interprets a key and never touches anything but the text. Every object that stands behind a key becomes a list
//! of maps, as repeated blocks append; [`super::tree`] gives keys that take one map the merged map.
//! Contract: agent configuration, section "Sources and merging"; the error texts are those operators know.

use serde_json::{Map, Number, Value};

use super::hcl_scan::{Kind, Position, Scanner, Token};

/// Parses a document to the map of its top-level keys.
///
/// # Errors
/// `At <line>:<column>: <what is wrong>`.
pub(super) fn parse(text: &str) -> Result<Map<String, Value>, String> {
    let mut parser = Parser { scanner: Scanner::new(text), peeked: None };
    let result = parser.items(false, 0);
    // What the scanner could not read explains more than what the parser then missed.
    if let Some((at, message)) = parser.scanner.error.take() {
        return Err(located(at, &message));
    }
    result
}

fn located(at: Position, message: &str) -> String {
    format!("At {}:{}: {message}", at.line, at.column)
}

struct Parser<'a> {
    scanner: Scanner<'a>,
    peeked: Option<Token>,
}

/// Blocks may nest so deep; a stack overflow would end the agent.
const DEPTH_MAX: usize = 64;

impl Parser<'_> {
    fn next(&mut self) -> Token {
        self.peeked.take().unwrap_or_else(|| self.scanner.token())
    }

    fn peek(&mut self) -> Kind {
        if self.peeked.is_none() {
            self.peeked = Some(self.scanner.token());
        }
        self.peeked.as_ref().map_or(Kind::Eof, |token| token.kind)
    }

    fn items(&mut self, nested: bool, depth: usize) -> Result<Map<String, Value>, String> {
        let mut map = Map::new();
        loop {
            if self.scanner.error.is_some() || self.peek() == Kind::Eof || (nested && self.peek() == Kind::RightBrace) {
                return Ok(map);
            }
            let (keys, value) = self.item(depth)?;
            add(&mut map, &keys, value);
            if self.peek() == Kind::Comma {
                self.next();
            }
        }
    }

    fn item(&mut self, depth: usize) -> Result<(Vec<String>, Value), String> {
        let mut keys: Vec<Token> = Vec::new();
        loop {
            let token = self.next();
            match token.kind {
                Kind::Ident | Kind::Text => keys.push(token),
                Kind::Assign if keys.len() == 1 => return Ok((names(&keys)?, self.value(depth)?)),
                Kind::Assign if keys.len() > 1 => return Err(located(token.at, "nested object expected: LBRACE got: ASSIGN")),
                Kind::Assign => return Err(located(token.at, "no object keys found!")),
                Kind::LeftBrace if keys.is_empty() => {
                    return Err(located(token.at, "expected: IDENT | STRING got: LBRACE"));
                }
                Kind::LeftBrace => {
                    let names = names(&keys)?;
                    return Ok((names, self.object(&token, depth)?));
                }
                Kind::Eof | Kind::Illegal if !keys.is_empty() => {
                    let text = keys.iter().map(|key| key.text.as_str()).collect::<Vec<_>>().join(" ");
                    let message = format!("key '{text}' expected start of object ('{{') or assignment ('=')");
                    return Err(located(token.at, &message));
                }
                other => {
                    return Err(located(token.at, &format!("expected: IDENT | STRING | ASSIGN | LBRACE got: {}", other.name())));
                }
            }
        }
    }

    fn object(&mut self, open: &Token, depth: usize) -> Result<Value, String> {
        if depth >= DEPTH_MAX {
            return Err(located(open.at, &format!("objects are nested deeper than {DEPTH_MAX}")));
        }
        let map = self.items(true, depth + 1)?;
        if self.peek() == Kind::Eof {
            // The end of the text has been seen once by the item list; where it is told is one further on.
            self.peeked = None;
        }
        let close = self.next();
        if close.kind != Kind::RightBrace {
            return Err(located(close.at, &format!("object expected closing RBRACE got: {}", close.kind.name())));
        }
        Ok(Value::Array(vec![Value::Object(map)]))
    }

    fn value(&mut self, depth: usize) -> Result<Value, String> {
        let token = self.next();
        match token.kind {
            Kind::LeftBrace => self.object(&token, depth),
            Kind::LeftBracket => self.list(&token, depth),
            Kind::Integer | Kind::Float | Kind::Bool | Kind::Text | Kind::Heredoc => literal(&token),
            other => {
                let Position { line, column } = token.at;
                Err(located(token.at, &format!("Unknown token: {line}:{column} {} {}", other.name(), token.text)))
            }
        }
    }

    fn list(&mut self, open: &Token, depth: usize) -> Result<Value, String> {
        if depth >= DEPTH_MAX {
            return Err(located(open.at, &format!("lists are nested deeper than {DEPTH_MAX}")));
        }
        let mut items = Vec::new();
        let mut need_comma = false;
        loop {
            let token = self.next();
            let starts_value = !matches!(token.kind, Kind::Comma | Kind::RightBracket);
            if need_comma && starts_value {
                return Err(located(token.at, &format!("error parsing list, expected comma or list end, got: {}", token.kind.name())));
            }
            match token.kind {
                Kind::Integer | Kind::Float | Kind::Bool | Kind::Text | Kind::Heredoc => items.push(literal(&token)?),
                Kind::Comma => {}
                Kind::LeftBrace => match self.object(&token, depth + 1) {
                    Ok(Value::Array(mut one)) => items.append(&mut one),
                    Ok(other) => items.push(other),
                    Err(reason) => {
                        return Err(located(token.at, &format!("error while trying to parse object within list: {reason}")));
                    }
                },
                Kind::LeftBracket => items.push(self.list(&token, depth + 1)?),
                Kind::RightBracket => return Ok(Value::Array(items)),
                other => return Err(located(token.at, &format!("unexpected token while parsing list: {}", other.name()))),
            }
            need_comma = token.kind != Kind::Comma;
        }
    }
}

fn names(keys: &[Token]) -> Result<Vec<String>, String> {
    keys.iter().map(|key| if key.kind == Kind::Text { unquote(key) } else { Ok(key.text.clone()) }).collect()
}

/// Puts a value under its keys. Objects of the same key append; of anything else the last one stands.
fn add(map: &mut Map<String, Value>, keys: &[String], value: Value) {
    let Some((first, labels)) = keys.split_first() else { return };
    let value = labels.iter().rev().fold(value, |inner, label| {
        let mut outer = Map::new();
        outer.insert(label.clone(), inner);
        Value::Array(vec![Value::Object(outer)])
    });
    let is_block = |value: &Value| matches!(value, Value::Array(items) if !items.is_empty() && items.iter().all(Value::is_object));
    match (map.get_mut(first), value) {
        (Some(Value::Array(before)), value) if before.iter().all(Value::is_object) && is_block(&value) => {
            if let Value::Array(mut more) = value {
                before.append(&mut more);
            }
        }
        (_, value) => {
            map.insert(first.clone(), value);
        }
    }
}

fn literal(token: &Token) -> Result<Value, String> {
    match token.kind {
        Kind::Bool => Ok(Value::Bool(token.text == "true")),
        Kind::Integer => integer(&token.text).map(|number| Value::Number(number.into())),
        Kind::Float => token
            .text
            .parse::<f64>()
            .ok()
            .and_then(Number::from_f64)
            .map(Value::Number)
            .ok_or_else(|| format!("strconv.ParseFloat: parsing \"{}\": invalid syntax", token.text)),
        Kind::Heredoc => Ok(Value::String(token.text.clone())),
        _ => unquote(token).map(Value::String),
    }
}

fn integer(text: &str) -> Result<i64, String> {
    let (sign, digits) = text.strip_prefix('-').map_or(("", text), |digits| ("-", digits));
    let parsed = if let Some(hex) = digits.strip_prefix("0x").or_else(|| digits.strip_prefix("0X")) {
        i64::from_str_radix(&format!("{sign}{hex}"), 16)
    } else if digits.len() > 1 && digits.starts_with('0') {
        i64::from_str_radix(&format!("{sign}{}", &digits[1..]), 8)
    } else {
        text.parse()
    };
    parsed.map_err(|reason| {
        let why = match reason.kind() {
            std::num::IntErrorKind::PosOverflow | std::num::IntErrorKind::NegOverflow => "value out of range",
            _ => "invalid syntax",
        };
        format!("strconv.ParseInt: parsing \"{text}\": {why}")
    })
}

/// The text between the quotes, escapes resolved. What stands inside `${}` is kept as written.
fn unquote(token: &Token) -> Result<String, String> {
    let inner = token.text.get(1..token.text.len().saturating_sub(1)).unwrap_or_default();
    let invalid = || located(token.at, "invalid syntax");
    let mut out = String::with_capacity(inner.len());
    let mut chars = inner.chars().peekable();
    let mut braces = 0_usize;
    while let Some(c) = chars.next() {
        if c == '$' && chars.peek() == Some(&'{') {
            braces += 1;
            out.push(c);
            out.extend(chars.next());
            continue;
        }
        match c {
            '{' if braces > 0 => braces += 1,
            '}' if braces > 0 => braces -= 1,
            _ => {}
        }
        if c != '\\' || braces > 0 {
            out.push(c);
            continue;
        }
        out.push(match chars.next().ok_or_else(invalid)? {
            'a' => '\x07',
            'b' => '\x08',
            'f' => '\x0c',
            'n' => '\n',
            'r' => '\r',
            't' => '\t',
            'v' => '\x0b',
            '\\' => '\\',
            '"' => '"',
            'x' => code(&mut chars, 2, 16, "").ok_or_else(invalid)?,
            'u' => code(&mut chars, 4, 16, "").ok_or_else(invalid)?,
            'U' => code(&mut chars, 8, 16, "").ok_or_else(invalid)?,
            first @ '0'..='7' => code(&mut chars, 2, 8, &first.to_string()).ok_or_else(invalid)?,
            _ => return Err(invalid()),
        });
    }
    Ok(out)
}

fn code(chars: &mut impl Iterator<Item = char>, digits: usize, radix: u32, first: &str) -> Option<char> {
    let text: String = first.chars().chain(chars.take(digits)).collect();
    if text.len() != first.len() + digits {
        return None;
    }
    u32::from_str_radix(&text, radix).ok().and_then(char::from_u32)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn check(text: &str, expected: Value) {
        assert_eq!(parse(text).map(Value::Object), Ok(expected), "{text}");
    }

    fn check_error(text: &str, expected: &str) {
        assert_eq!(parse(text).map(Value::Object), Err(expected.to_owned()), "{text}");
    }

    #[test]
    fn values_have_their_types() {
        check("", json!({}));
        check("a = 1 b = \"x\"\nc = true, d = 1.5", json!({"a": 1, "b": "x", "c": true, "d": 1.5}));
        check("a = -3\nb = 0x1F\nc = 010\nd = 1e3\ne=false", json!({"a": -3, "b": 31, "c": 8, "d": 1000.0, "e": false}));
        check("a = [1, 2,\n 3,]", json!({"a": [1, 2, 3]}));
        check("a = [[\"x\"], []]", json!({"a": [["x"], []]}));
        check("\"quoted key\" = 1\na-b.c_d = 2", json!({"quoted key": 1, "a-b.c_d": 2}));
        check("a = 1\na = 2", json!({"a": 2}));
    }

    #[test]
    fn strings_resolve_their_escapes() {
        check(r#"a = "q\"\\\n\t\x41\u00e4\U0001F600\101""#, json!({"a": "q\"\\\n\tA\u{e4}\u{1F600}A"}));
        check(r#"a = "${foo("bar")} and ü""#, json!({"a": "${foo(\"bar\")} and ü"}));
    }

    #[test]
    fn blocks_become_lists_and_repeated_blocks_append() {
        check("a { b = 1 }", json!({"a": [{"b": 1}]}));
        check("a { b = 1 }\na { b = 2 }", json!({"a": [{"b": 1}, {"b": 2}]}));
        check("a = { b = 1 }", json!({"a": [{"b": 1}]}));
        check("a = [{ b = 1 }, { b { c = 2 } }]", json!({"a": [{"b": 1}, {"b": [{"c": 2}]}]}));
        check("service \"web\" \"x\" { port = 1 }", json!({"service": [{"web": [{"x": [{"port": 1}]}]}]}));
        check("a {}", json!({"a": [{}]}));
    }

    #[test]
    fn comments_are_skipped() {
        check("# one\n// two\na = 1 # three\n/* four\n */ b = 2 // five", json!({"a": 1, "b": 2}));
        check("a = [ # one\n 1, // two\n /* three */ 2 ]", json!({"a": [1, 2]}));
    }

    #[test]
    fn heredocs_keep_their_lines() {
        check("a = <<EOF\nfoo\n  bar\nEOF\nb = 1", json!({"a": "foo\n  bar\n", "b": 1}));
        check("a = <<-EOF\n    foo\n      bar\n    EOF\n", json!({"a": "foo\n  bar\n"}));
        check("a = <<EOF\nEOF\n", json!({"a": ""}));
    }

    #[test]
    fn errors_say_where_and_what() {
        check_error("a b", "At 1:5: key 'a b' expected start of object ('{') or assignment ('=')");
        check_error("a", "At 1:3: key 'a' expected start of object ('{') or assignment ('=')");
        check_error("a = [1,", "At 1:8: unexpected token while parsing list: EOF");
        check_error("a = [1 2]", "At 1:8: error parsing list, expected comma or list end, got: NUMBER");
        check_error("a {", "At 1:5: object expected closing RBRACE got: EOF");
        check_error("a b c {", "At 1:9: object expected closing RBRACE got: EOF");
        check_error("a = \"x", "At 1:7: literal not terminated");
        check_error("\"a", "At 1:3: literal not terminated");
        check_error("= 1", "At 1:1: no object keys found!");
        check_error("a = 1 }", "At 1:7: expected: IDENT | STRING | ASSIGN | LBRACE got: RBRACE");
        check_error("a \"b\" \"c\" = 1", "At 1:11: nested object expected: LBRACE got: ASSIGN");
        check_error("a = 08", "strconv.ParseInt: parsing \"08\": invalid syntax");
        check_error("a = <<EOF\nfoo", "At 2:4: heredoc not terminated");
        check_error("a = @", "At 1:5: illegal char");
        check_error("@", "At 1:1: illegal char");
        check_error("1 = 2", "At 1:1: expected: IDENT | STRING | ASSIGN | LBRACE got: NUMBER");
        check_error("a, b", "At 1:2: expected: IDENT | STRING | ASSIGN | LBRACE got: COMMA");
        check_error("/* x", "At 1:5: comment not terminated");
        check_error("a = foo", "At 1:5: Unknown token: 1:5 IDENT foo");
        check_error(
            "a = [{]",
            "At 1:6: error while trying to parse object within list: At 1:7: expected: IDENT | STRING | ASSIGN | LBRACE got: RBRACK",
        );
        check_error("[", "At 1:1: expected: IDENT | STRING | ASSIGN | LBRACE got: LBRACK");
        check_error("a = -", "At 1:5: Unknown token: 1:5 SUB -");
        check_error("a = 1x", "At 1:8: key 'x' expected start of object ('{') or assignment ('=')");
        check_error("a = \"\\q\"", "At 1:7: illegal char escape");
        check_error("\n\n  a = foo", "At 3:7: Unknown token: 3:7 IDENT foo");
    }

    #[test]
    fn deep_nesting_is_refused() {
        assert!(parse(&"a {".repeat(10_000)).is_err());
        assert!(parse(&format!("a = {}", "[".repeat(10_000))).is_err());
    }

    proptest::proptest! {
        #[test]
        fn any_text_is_answered(text in "[a-c{}\\[\\]=\",\\\\\n<E#/*0-9.x$-]{0,40}") {
            let _ = parse(&text);
        }
    }
}
