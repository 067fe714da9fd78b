//! Text of a filter expression to its syntax tree. Pure; never panics, and bounded in depth and time: every
//! alternative is read once and then continued, so nesting costs nothing extra.
//!
//! A syntax error tells the furthest place reached and everything that could have stood there, in the words
//! clients know. Contract: section "Filter language" of the HTTP API.

/// How deep parentheses and `not` may be nested.
const DEPTH_MAX: usize = 100;

/// A parsed expression.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Expression {
    /// At least one of them.
    Or(Vec<Self>),
    /// All of them.
    And(Vec<Self>),
    /// Not this.
    Not(Box<Self>),
    /// A comparison.
    Match {
        /// What is looked at.
        selector: Vec<String>,
        /// How it is compared.
        operator: Operator,
        /// What with; empty for the operators that take none.
        value: String,
    },
}

/// How a comparison compares. `contains` is `in` with its sides swapped.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Operator {
    /// `==`
    Equal,
    /// `!=`
    NotEqual,
    /// `in`
    In,
    /// `not in`
    NotIn,
    /// `is empty`
    IsEmpty,
    /// `is not empty`
    IsNotEmpty,
    /// `matches`
    Matches,
    /// `not matches`
    NotMatches,
}

impl Operator {
    /// Its name in error texts.
    pub(super) fn as_str(self) -> &'static str {
        match self {
            Self::Equal => "Equal",
            Self::NotEqual => "Not Equal",
            Self::In => "In",
            Self::NotIn => "Not In",
            Self::IsEmpty => "Is Empty",
            Self::IsNotEmpty => "Is Not Empty",
            Self::Matches => "Matches",
            Self::NotMatches => "Not Matches",
        }
    }
}

/// Operators between a selector and a value, tried in this order. Words stand between blanks.
const SELECTOR_VALUE: [(&[&str], Operator); 6] = [
    (&["=="], Operator::Equal),
    (&["!="], Operator::NotEqual),
    (&["contains"], Operator::In),
    (&["not", "contains"], Operator::NotIn),
    (&["matches"], Operator::Matches),
    (&["not", "matches"], Operator::NotMatches),
];
/// Operators after a selector alone.
const SELECTOR_ALONE: [(&[&str], Operator); 2] = [(&["is", "empty"], Operator::IsEmpty), (&["is", "not", "empty"], Operator::IsNotEmpty)];
/// Operators between a value and a selector.
const VALUE_SELECTOR: [(&[&str], Operator); 2] = [(&["in"], Operator::In), (&["not", "in"], Operator::NotIn)];

/// Parses a whole expression.
///
/// # Errors
/// The text of the syntax error.
pub(super) fn parse(text: &str) -> Result<Expression, String> {
    let mut parser = Parser { text, at: 0, depth: 0, furthest: 0, expected: Vec::new(), errors: Vec::new() };
    parser.blanks();
    let expression = parser.or();
    let whole = expression.is_some() && {
        parser.blanks();
        parser.end()
    };
    match expression {
        Some(expression) if whole && parser.errors.is_empty() => Ok(expression),
        _ => Err(parser.message()),
    }
}

struct Parser<'a> {
    text: &'a str,
    at: usize,
    depth: usize,
    /// The furthest place where something else was wanted.
    furthest: usize,
    /// What was wanted there.
    expected: Vec<&'static str>,
    /// Errors that have a text of their own.
    errors: Vec<String>,
}

impl Parser<'_> {
    fn rest(&self) -> &str {
        &self.text[self.at..]
    }

    fn wanted(&mut self, what: &'static str) {
        if self.at > self.furthest {
            self.furthest = self.at;
            self.expected.clear();
        }
        if self.at == self.furthest && !self.expected.contains(&what) {
            self.expected.push(what);
        }
    }

    /// Line, column in characters and offset in bytes of a place.
    fn position(&self, at: usize) -> String {
        let end = self.text[at..].chars().next().map_or(at, |c| at + c.len_utf8());
        let upto = &self.text[..end];
        let line = 1 + upto.matches('\n').count();
        let start = upto.rfind('\n').map_or(0, |newline| newline + 1);
        let column = upto[start..].chars().count() + usize::from(end == at);
        format!("{line}:{column} ({at})")
    }

    fn error(&mut self, at: usize, rule: &str, text: &str) {
        let error = format!("{}: rule \"{rule}\": {text}", self.position(at));
        if !self.errors.contains(&error) {
            self.errors.push(error);
        }
    }

    fn message(mut self) -> String {
        if !self.errors.is_empty() {
            return self.errors.join("\n");
        }
        let end = self.expected.contains(&"EOF");
        self.expected.retain(|what| *what != "EOF");
        self.expected.sort_unstable();
        if end {
            self.expected.push("EOF");
        }
        let last = self.expected.pop().unwrap_or("EOF");
        let list = if self.expected.is_empty() { last.to_owned() } else { format!("{} or {last}", self.expected.join(", ")) };
        format!("{}: no match found, expected: {list}", self.position(self.furthest))
    }

    /// Takes a fixed text; `quoted` is how errors name it.
    fn literal(&mut self, text: &str, quoted: &'static str) -> bool {
        let found = self.rest().starts_with(text);
        if found {
            self.at += text.len();
        } else {
            self.wanted(quoted);
        }
        found
    }

    fn word(&mut self, word: &str) -> bool {
        let quoted = match word {
            "==" => "\"==\"",
            "!=" => "\"!=\"",
            "contains" => "\"contains\"",
            "matches" => "\"matches\"",
            "not" => "\"not\"",
            "in" => "\"in\"",
            "is" => "\"is\"",
            "empty" => "\"empty\"",
            "and" => "\"and\"",
            _ => "\"or\"",
        };
        self.literal(word, quoted)
    }

    fn one(&mut self, class: impl Fn(u8) -> bool, name: &'static str) -> bool {
        let found = self.rest().bytes().next().is_some_and(class);
        if found {
            self.at += 1;
        } else {
            self.wanted(name);
        }
        found
    }

    fn many(&mut self, class: impl Fn(u8) -> bool + Copy, name: &'static str) -> bool {
        let start = self.at;
        while self.one(class, name) {}
        self.at > start
    }

    /// Blanks, if any.
    fn blanks(&mut self) -> bool {
        self.many(|b| matches!(b, b' ' | b'\t' | b'\r' | b'\n'), "[ \\t\\r\\n]")
    }

    fn end(&mut self) -> bool {
        let end = self.at == self.text.len();
        if !end {
            self.wanted("EOF");
        }
        end
    }

    /// Operands joined by a word between blanks.
    fn joined(&mut self, word: &str, operand: fn(&mut Self) -> Option<Expression>) -> Option<Vec<Expression>> {
        let mut operands = vec![operand(self)?];
        loop {
            let start = self.at;
            if self.blanks()
                && self.word(word)
                && self.blanks()
                && let Some(next) = operand(self)
            {
                operands.push(next);
                continue;
            }
            self.at = start;
            return Some(operands);
        }
    }

    fn or(&mut self) -> Option<Expression> {
        let mut operands = self.joined("or", Self::and)?;
        if operands.len() == 1 { operands.pop() } else { Some(Expression::Or(operands)) }
    }

    fn and(&mut self) -> Option<Expression> {
        let mut operands = self.joined("and", Self::not)?;
        if operands.len() == 1 { operands.pop() } else { Some(Expression::And(operands)) }
    }

    /// One level deeper, unless that is too deep.
    fn deeper(&mut self, inner: fn(&mut Self) -> Option<Expression>) -> Option<Expression> {
        if self.depth == DEPTH_MAX {
            let error = format!("{}: expression is nested more than {DEPTH_MAX} levels deep", self.position(self.at));
            self.errors = vec![error];
            return None;
        }
        self.depth += 1;
        let expression = inner(self);
        self.depth -= 1;
        expression
    }

    fn not(&mut self) -> Option<Expression> {
        let start = self.at;
        if self.word("not")
            && self.blanks()
            && let Some(inner) = self.deeper(Self::not)
        {
            return Some(Expression::Not(Box::new(inner)));
        }
        self.at = start;
        self.group()
    }

    fn group(&mut self) -> Option<Expression> {
        let start = self.at;
        if !self.literal("(", "\"(\"") {
            return self.comparison();
        }
        self.blanks();
        let inner = self.deeper(Self::or);
        if inner.is_some() {
            self.blanks();
            if self.literal(")", "\")\"") {
                return inner;
            }
            self.error(self.at, "grouping", "Unmatched parentheses");
        }
        self.at = start;
        None
    }

    /// The words of an operator; symbols need no blanks around them, words do.
    fn operator(&mut self, words: &[&str]) -> bool {
        let start = self.at;
        let symbol = !words[0].starts_with(|c: char| c.is_ascii_alphabetic());
        let found = words.iter().all(|word| (self.blanks() || symbol) && self.word(word));
        if !found {
            self.at = start;
        }
        found
    }

    fn operator_and_blanks(&mut self, words: &[&str]) -> bool {
        self.operator(words) && (self.blanks() || matches!(words[0], "==" | "!="))
    }

    fn comparison(&mut self) -> Option<Expression> {
        let start = self.at;
        if let Some(selector) = self.selector() {
            let after = self.at;
            for (words, operator) in SELECTOR_VALUE {
                if self.operator_and_blanks(words)
                    && let Some(value) = self.value()
                {
                    return Some(Expression::Match { selector, operator, value });
                }
                self.at = after;
            }
            for (words, operator) in SELECTOR_ALONE {
                if self.operator(words) {
                    return Some(Expression::Match { selector, operator, value: String::new() });
                }
            }
            self.at = start;
        }
        if let Some(value) = self.value() {
            let after = self.at;
            for (words, operator) in VALUE_SELECTOR {
                if self.operator_and_blanks(words)
                    && let Some(selector) = self.selector()
                {
                    return Some(Expression::Match { selector, operator, value });
                }
                self.at = after;
            }
        }
        self.at = start;
        None
    }

    fn identifier(&mut self) -> Option<String> {
        let start = self.at;
        if !self.one(|b| b.is_ascii_alphabetic(), "[a-zA-Z]") {
            return None;
        }
        self.many(|b| b.is_ascii_alphanumeric() || b == b'_', "[a-zA-Z0-9_]");
        Some(self.text[start..self.at].to_owned())
    }

    fn selector(&mut self) -> Option<Vec<String>> {
        let mut path = vec![self.identifier()?];
        loop {
            let start = self.at;
            if self.literal(".", "\".\"")
                && let Some(name) = self.identifier()
            {
                path.push(name);
                continue;
            }
            self.at = start;
            match self.index() {
                Some(key) => path.push(key),
                None => return Some(path),
            }
        }
    }

    fn index(&mut self) -> Option<String> {
        let start = self.at;
        if !self.literal("[", "\"[\"") {
            return None;
        }
        self.blanks();
        match self.string() {
            Some(key) => {
                self.blanks();
                if self.literal("]", "\"]\"") {
                    return Some(key);
                }
                self.error(self.at, "index", "Unclosed index expression");
            }
            None => self.error(self.at, "index", "Invalid index"),
        }
        self.at = start;
        None
    }

    fn value(&mut self) -> Option<String> {
        if let Some(path) = self.selector() {
            return Some(path.join("."));
        }
        self.number().or_else(|| self.string())
    }

    fn number(&mut self) -> Option<String> {
        let start = self.at;
        self.literal("-", "\"-\"");
        let whole = self.literal("0", "\"0\"")
            || (self.one(|b| matches!(b, b'1'..=b'9'), "[1-9]") && {
                self.many(|b| b.is_ascii_digit(), "[0-9]");
                true
            });
        if !whole {
            self.at = start;
            return None;
        }
        let point = self.at;
        if !(self.literal(".", "\".\"") && self.many(|b| b.is_ascii_digit(), "[0-9]")) {
            self.at = point;
        }
        let end = self.at;
        if self.blanks() || self.end() || self.literal(")", "\")\"") {
            self.at = end;
            return Some(self.text[start..end].to_owned());
        }
        self.error(end, "number", "Invalid number literal");
        self.at = start;
        None
    }

    fn string(&mut self) -> Option<String> {
        let start = self.at;
        let quote = if self.literal("`", "\"`\"") {
            '`'
        } else if self.literal("\"", "\"\\\"\"") {
            '"'
        } else {
            return None;
        };
        let Some(length) = self.rest().find(quote) else {
            self.error(self.text.len(), "string", "Unterminated string literal");
            self.at = start;
            return None;
        };
        let inner = self.text[self.at..self.at + length].to_owned();
        self.at += length + 1;
        let value = if quote == '`' { Some(inner.replace('\r', "")) } else { unquote(&inner) };
        if value.is_none() {
            self.error(start, "string", "invalid syntax");
        }
        // The place after a malformed string is right, only its value is not: reading goes on.
        value.or_else(|| Some(String::new()))
    }
}

/// Resolves the escapes of a double-quoted text; `None` when one is not valid or a line ends inside.
fn unquote(text: &str) -> Option<String> {
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text;
    while let Some(c) = rest.chars().next() {
        rest = &rest[c.len_utf8()..];
        if c == '\n' {
            return None;
        }
        if c != '\\' {
            bytes.extend_from_slice(c.encode_utf8(&mut [0; 4]).as_bytes());
            continue;
        }
        let escape = rest.chars().next()?;
        let mut code = |digits: usize, skip: usize, radix: u32| -> Option<u32> {
            let number = rest.get(skip..skip + digits)?;
            rest = &rest[skip + digits..];
            if number.bytes().all(|b| (b as char).is_digit(radix)) { u32::from_str_radix(number, radix).ok() } else { None }
        };
        match escape {
            'x' => bytes.push(u8::try_from(code(2, 1, 16)?).ok()?),
            '0'..='7' => bytes.push(u8::try_from(code(3, 0, 8)?).ok()?),
            'u' | 'U' => {
                let c = char::from_u32(code(if escape == 'u' { 4 } else { 8 }, 1, 16)?)?;
                bytes.extend_from_slice(c.encode_utf8(&mut [0; 4]).as_bytes());
            }
            _ => {
                bytes.push(match escape {
                    'a' => 7,
                    'b' => 8,
                    'f' => 12,
                    'n' => b'\n',
                    'r' => b'\r',
                    't' => b'\t',
                    'v' => 11,
                    '\\' => b'\\',
                    _ => return None,
                });
                rest = &rest[1..];
            }
        }
    }
    Some(String::from_utf8_lossy(&bytes).into_owned())
}
