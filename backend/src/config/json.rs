//! JSON configuration text to a value tree, with errors in the words operators know from Go.
//!
//! Never interprets a key. Contract: agent configuration, section "Validation messages".

use serde_json::{Map, Value};

/// Parses a document to the map of its top-level keys; empty text is an empty map.
///
/// # Errors
/// What is wrong with the text.
pub(super) fn parse(text: &str) -> Result<Map<String, Value>, String> {
    if text.trim().is_empty() {
        return Ok(Map::new());
    }
    let kind = match serde_json::from_str(text) {
        Ok(Value::Object(map)) => return Ok(map),
        Ok(Value::Null) => return Ok(Map::new()),
        Ok(Value::Array(_)) => "array",
        Ok(Value::String(_)) => "string",
        Ok(Value::Bool(_)) => "bool",
        Ok(Value::Number(_)) => "number",
        Err(reason) => {
            let mut syntax = Syntax { text: text.char_indices().peekable(), depth: 0 };
            return Err(syntax.document().err().unwrap_or_else(|| reason.to_string()));
        }
    };
    Err(format!("json: cannot unmarshal {kind} into Go value of type map[string]interface {{}}"))
}

/// Finds the first thing wrong with a text that is known not to parse.
struct Syntax<'a> {
    text: std::iter::Peekable<std::str::CharIndices<'a>>,
    depth: usize,
}

/// Deeper text is not looked at; the parser refuses it first.
const DEPTH_MAX: usize = 128;

fn invalid(c: char, context: &str) -> String {
    let shown = match c {
        '\'' => "'\\''".to_owned(),
        '"' => "'\"'".to_owned(),
        c if c.is_control() => format!("'{}'", c.escape_debug()),
        c => format!("'{c}'"),
    };
    format!("invalid character {shown} {context}")
}

impl Syntax<'_> {
    fn peek(&mut self) -> Option<char> {
        while self.text.peek().is_some_and(|(_, c)| matches!(c, ' ' | '\t' | '\r' | '\n')) {
            self.text.next();
        }
        self.text.peek().map(|(_, c)| *c)
    }

    fn end() -> String {
        "unexpected end of JSON input".to_owned()
    }

    fn need(&mut self) -> Result<char, String> {
        self.peek().ok_or_else(Self::end)
    }

    fn take(&mut self) -> Option<char> {
        self.text.next().map(|(_, c)| c)
    }

    fn document(&mut self) -> Result<(), String> {
        self.value()?;
        match self.peek() {
            Some(c) => Err(invalid(c, "after top-level value")),
            None => Ok(()),
        }
    }

    fn value(&mut self) -> Result<(), String> {
        self.depth += 1;
        if self.depth > DEPTH_MAX {
            return Err("exceeded max depth".to_owned());
        }
        match self.need()? {
            '{' => self.object()?,
            '[' => self.array()?,
            '"' => self.string()?,
            't' => self.literal("true")?,
            'f' => self.literal("false")?,
            'n' => self.literal("null")?,
            '-' | '0'..='9' => self.number()?,
            c => return Err(invalid(c, "looking for beginning of value")),
        }
        self.depth -= 1;
        Ok(())
    }

    fn object(&mut self) -> Result<(), String> {
        self.take();
        if self.need()? == '}' {
            self.take();
            return Ok(());
        }
        loop {
            match self.need()? {
                '"' => self.string()?,
                c => return Err(invalid(c, "looking for beginning of object key string")),
            }
            match self.need()? {
                ':' => self.take(),
                c => return Err(invalid(c, "after object key")),
            };
            self.value()?;
            match self.need()? {
                ',' => self.take(),
                '}' => {
                    self.take();
                    return Ok(());
                }
                c => return Err(invalid(c, "after object key:value pair")),
            };
        }
    }

    fn array(&mut self) -> Result<(), String> {
        self.take();
        if self.need()? == ']' {
            self.take();
            return Ok(());
        }
        loop {
            self.value()?;
            match self.need()? {
                ',' => self.take(),
                ']' => {
                    self.take();
                    return Ok(());
                }
                c => return Err(invalid(c, "after array element")),
            };
        }
    }

    fn string(&mut self) -> Result<(), String> {
        self.take();
        loop {
            match self.take().ok_or_else(Self::end)? {
                '"' => return Ok(()),
                '\\' => match self.take().ok_or_else(Self::end)? {
                    'u' => {
                        for _ in 0..4 {
                            let c = self.take().ok_or_else(Self::end)?;
                            if !c.is_ascii_hexdigit() {
                                return Err(invalid(c, "in \\u hexadecimal character escape"));
                            }
                        }
                    }
                    '"' | '\\' | '/' | 'b' | 'f' | 'n' | 'r' | 't' => {}
                    c => return Err(invalid(c, "in string escape code")),
                },
                c if c < ' ' => return Err(invalid(c, "in string literal")),
                _ => {}
            }
        }
    }

    fn literal(&mut self, word: &str) -> Result<(), String> {
        for expected in word.chars() {
            match self.take().ok_or_else(Self::end)? {
                c if c == expected => {}
                c => return Err(invalid(c, &format!("in literal {word} (expecting '{expected}')"))),
            }
        }
        Ok(())
    }

    fn digits(&mut self, context: &str) -> Result<(), String> {
        match self.text.peek().map(|(_, c)| *c) {
            Some('0'..='9') => {}
            Some(c) => return Err(invalid(c, context)),
            None => return Err(Self::end()),
        }
        while self.text.peek().is_some_and(|(_, c)| c.is_ascii_digit()) {
            self.take();
        }
        Ok(())
    }

    fn number(&mut self) -> Result<(), String> {
        if self.text.peek().is_some_and(|(_, c)| *c == '-') {
            self.take();
        }
        if self.text.peek().is_some_and(|(_, c)| *c == '0') {
            self.take();
        } else {
            self.digits("in numeric literal")?;
        }
        if self.text.peek().is_some_and(|(_, c)| *c == '.') {
            self.take();
            self.digits("after decimal point in numeric literal")?;
        }
        if self.text.peek().is_some_and(|(_, c)| matches!(c, 'e' | 'E')) {
            self.take();
            if self.text.peek().is_some_and(|(_, c)| matches!(c, '+' | '-')) {
                self.take();
            }
            self.digits("in exponent of numeric literal")?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn check_error(text: &str, expected: &str) {
        assert_eq!(parse(text), Err(expected.to_owned()), "{text}");
    }

    #[test]
    fn objects_and_nothing_are_documents() {
        assert_eq!(parse("{\"a\": [1]}").map(Value::Object), Ok(json!({"a": [1]})));
        assert_eq!(parse(" \n"), Ok(Map::new()));
        assert_eq!(parse("null"), Ok(Map::new()));
    }

    #[test]
    fn errors_are_in_the_words_of_go() {
        let end = "unexpected end of JSON input";
        check_error("{", end);
        check_error("{\"a\"", end);
        check_error("{\"a\":1", end);
        check_error("{\"a\":\"x", end);
        check_error("{\"a\":1,}", "invalid character '}' looking for beginning of object key string");
        check_error("{,}", "invalid character ',' looking for beginning of object key string");
        check_error("{\"a\":}", "invalid character '}' looking for beginning of value");
        check_error("{\"a\":tru}", "invalid character '}' in literal true (expecting 'e')");
        check_error("{\"a\" 1}", "invalid character '1' after object key");
        check_error("{\"a\":01}", "invalid character '1' after object key:value pair");
        check_error("{\"a\":1}}", "invalid character '}' after top-level value");
        check_error("{\"a\":[1,]}", "invalid character ']' looking for beginning of value");
        check_error("{\"a\":\"\\q\"}", "invalid character 'q' in string escape code");
        check_error("// c", "invalid character '/' looking for beginning of value");
        check_error("[]", "json: cannot unmarshal array into Go value of type map[string]interface {}");
        check_error("1", "json: cannot unmarshal number into Go value of type map[string]interface {}");
        check_error("\"x\"", "json: cannot unmarshal string into Go value of type map[string]interface {}");
    }
}
