//! Go's JSON scanner: where the first value of a body ends, or what is wrong with it in Go's words. Never decodes.

use super::DecodeError;

/// The bytes of the first JSON value; what follows it is not looked at.
///
/// # Errors
/// `EOF` when there is none, `unexpected EOF`, or the first character that does not fit.
pub(super) fn first_value(body: &[u8]) -> Result<&[u8], DecodeError> {
    let mut scan = Scan { body, at: 0 };
    scan.skip_space();
    if scan.peek().is_none() {
        return Err(DecodeError("EOF".to_owned()));
    }
    let start = scan.at;
    scan.value()?;
    Ok(&body[start..scan.at])
}

/// What a value is nested in.
enum Within {
    Object,
    Array,
}

struct Scan<'a> {
    body: &'a [u8],
    at: usize,
}

impl Scan<'_> {
    fn peek(&self) -> Option<u8> {
        self.body.get(self.at).copied()
    }

    fn skip_space(&mut self) {
        while matches!(self.peek(), Some(b' ' | b'\t' | b'\r' | b'\n')) {
            self.at += 1;
        }
    }

    /// The next byte if it fits, else the error that says what was expected.
    fn expect(&mut self, fits: impl Fn(u8) -> bool, context: &str) -> Result<u8, DecodeError> {
        match self.peek() {
            Some(byte) if fits(byte) => {
                self.at += 1;
                Ok(byte)
            }
            Some(byte) => Err(DecodeError(format!("invalid character {} {context}", quote(byte)))),
            None => Err(DecodeError("unexpected EOF".to_owned())),
        }
    }

    /// One value with everything inside it; nesting is kept on the heap, so depth cannot overflow the stack.
    fn value(&mut self) -> Result<(), DecodeError> {
        let mut nesting: Vec<Within> = Vec::new();
        loop {
            self.skip_space();
            match self
                .expect(|b| matches!(b, b'{' | b'[' | b'"' | b'-' | b'0'..=b'9' | b't' | b'f' | b'n'), "looking for beginning of value")?
            {
                b'{' => {
                    self.skip_space();
                    if self.expect(|b| matches!(b, b'}' | b'"'), KEY)? == b'"' {
                        self.key()?;
                        nesting.push(Within::Object);
                        continue;
                    }
                }
                b'[' => {
                    self.skip_space();
                    if self.peek() == Some(b']') {
                        self.at += 1;
                    } else {
                        nesting.push(Within::Array);
                        continue;
                    }
                }
                b'"' => self.string()?,
                b't' => self.literal("true")?,
                b'f' => self.literal("false")?,
                b'n' => self.literal("null")?,
                digit => self.number(digit)?,
            }
            if self.close(&mut nesting)? {
                return Ok(());
            }
        }
    }

    /// After a value: closes what ends here. Answers whether the outermost value ended; if not, the next value begins.
    fn close(&mut self, nesting: &mut Vec<Within>) -> Result<bool, DecodeError> {
        loop {
            let Some(within) = nesting.last() else { return Ok(true) };
            self.skip_space();
            let next = match within {
                Within::Object => self.expect(|b| matches!(b, b',' | b'}'), "after object key:value pair")?,
                Within::Array => self.expect(|b| matches!(b, b',' | b']'), "after array element")?,
            };
            if next == b',' {
                if matches!(within, Within::Object) {
                    self.skip_space();
                    self.expect(|b| b == b'"', KEY)?;
                    self.key()?;
                }
                return Ok(false);
            }
            nesting.pop();
        }
    }

    fn key(&mut self) -> Result<(), DecodeError> {
        self.string()?;
        self.skip_space();
        self.expect(|b| b == b':', "after object key").map(|_| ())
    }

    fn string(&mut self) -> Result<(), DecodeError> {
        loop {
            match self.expect(|b| b >= 0x20, "in string literal")? {
                b'"' => return Ok(()),
                b'\\' => {
                    let escape = |b: u8| matches!(b, b'b' | b'f' | b'n' | b'r' | b't' | b'\\' | b'/' | b'"' | b'u');
                    if self.expect(escape, "in string escape code")? == b'u' {
                        for _ in 0..4 {
                            self.expect(|b| b.is_ascii_hexdigit(), "in \\u hexadecimal character escape")?;
                        }
                    }
                }
                _ => {}
            }
        }
    }

    fn literal(&mut self, word: &str) -> Result<(), DecodeError> {
        for expected in word.bytes().skip(1) {
            self.expect(|b| b == expected, &format!("in literal {word} (expecting '{}')", char::from(expected)))?;
        }
        Ok(())
    }

    fn digits(&mut self) {
        while matches!(self.peek(), Some(b'0'..=b'9')) {
            self.at += 1;
        }
    }

    fn number(&mut self, first: u8) -> Result<(), DecodeError> {
        let lead = if first == b'-' { self.expect(|b| b.is_ascii_digit(), "in numeric literal")? } else { first };
        if lead != b'0' {
            self.digits();
        }
        if self.peek() == Some(b'.') {
            self.at += 1;
            self.expect(|b| b.is_ascii_digit(), "after decimal point in numeric literal")?;
            self.digits();
        }
        if matches!(self.peek(), Some(b'e' | b'E')) {
            self.at += 1;
            if matches!(self.peek(), Some(b'+' | b'-')) {
                self.at += 1;
            }
            self.expect(|b| b.is_ascii_digit(), "in exponent of numeric literal")?;
            self.digits();
        }
        Ok(())
    }
}

const KEY: &str = "looking for beginning of object key string";

/// A byte as Go quotes a character.
fn quote(byte: u8) -> String {
    match byte {
        b'\'' => r"'\''".to_owned(),
        b'\\' => r"'\\'".to_owned(),
        b'\n' => r"'\n'".to_owned(),
        b'\r' => r"'\r'".to_owned(),
        b'\t' => r"'\t'".to_owned(),
        0x07 => r"'\a'".to_owned(),
        0x08 => r"'\b'".to_owned(),
        0x0b => r"'\v'".to_owned(),
        0x0c => r"'\f'".to_owned(),
        0x00..0x20 | 0x7f => format!("'\\x{byte:02x}'"),
        0x80..0xa1 | 0xad => format!("'\\u{byte:04x}'"),
        _ => format!("'{}'", char::from(byte)),
    }
}

#[cfg(test)]
mod tests {
    use super::first_value;

    #[test]
    fn syntax_errors_read_as_go_writes_them() {
        let check = |body: &str, expected: &str| {
            let error = first_value(body.as_bytes()).expect_err(body);
            assert_eq!(error.0, expected, "{body}");
        };
        check("", "EOF");
        check(" \n", "EOF");
        check("{", "unexpected EOF");
        check("{b", "invalid character 'b' looking for beginning of object key string");
        check("{\"a\"}", "invalid character '}' after object key");
        check("{\"a\":}", "invalid character '}' looking for beginning of value");
        check("{\"Name\":\"x\"", "unexpected EOF");
        check("[1,", "unexpected EOF");
        check("nul", "unexpected EOF");
        check(r#"{"a":"\x"}"#, "invalid character 'x' in string escape code");
        check("{\"a\":\"\n\"}", r"invalid character '\n' in string literal");
        check("{\"a\":01}", "invalid character '1' after object key:value pair");
        check("{\"a\":1 \"b\"}", "invalid character '\"' after object key:value pair");
        check("{\"a\":tru}", "invalid character '}' in literal true (expecting 'e')");
        check("{\"a\":-}", "invalid character '}' in numeric literal");
        check("{\"a\":1e}", "invalid character '}' in exponent of numeric literal");
        check("{\"a\":1.}", "invalid character '}' after decimal point in numeric literal");
        check(r#"{"a":"\ud8"}"#, r#"invalid character '"' in \u hexadecimal character escape"#);
        check("{,}", "invalid character ',' looking for beginning of object key string");
        check("{\"a\":1,}", "invalid character '}' looking for beginning of object key string");
        check("[,]", "invalid character ',' looking for beginning of value");
        check("[1 2]", "invalid character '2' after array element");
    }

    #[test]
    fn what_follows_the_first_value_is_not_looked_at() {
        let check = |body: &str, expected: &str| {
            assert_eq!(first_value(body.as_bytes()).map(<[u8]>::to_vec), Ok(expected.as_bytes().to_vec()), "{body}");
        };
        check("{\"Name\":\"x\"} trailing", "{\"Name\":\"x\"}");
        check(" [[],{},{\"a\":[1,{\"b\":null}]}]]", "[[],{},{\"a\":[1,{\"b\":null}]}]");
        check("-0.5e+10,", "-0.5e+10");
        check("\"a\\\"b\\u00e9\" x", "\"a\\\"b\\u00e9\"");
    }

    #[test]
    fn deep_nesting_is_no_problem() {
        let body = format!("{}{}", "[".repeat(100_000), "]".repeat(100_000));
        assert_eq!(first_value(body.as_bytes()).map(<[u8]>::len), Ok(200_000));
    }
}
