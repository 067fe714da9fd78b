//! Tokens of HCL 1 text. Part of [`super::hcl`]; never fails, but remembers the last thing it could not read.
//!
//! Columns count characters and keep rising when the end of the text is read again, because the positions in error
//! messages do so.

/// A place in the text, both from 1.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Position {
    /// Line.
    pub(super) line: usize,
    /// Character in the line.
    pub(super) column: usize,
}

/// What a token is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    /// The end of the text.
    Eof,
    /// Not a token.
    Illegal,
    /// A bare word.
    Ident,
    /// A whole number.
    Integer,
    /// A number with a fraction or exponent.
    Float,
    /// `true` or `false`.
    Bool,
    /// A quoted string, quotes and escapes included.
    Text,
    /// A heredoc, already its value.
    Heredoc,
    /// `=`
    Assign,
    /// `,`
    Comma,
    /// `.`
    Period,
    /// `+`
    Add,
    /// `-`
    Sub,
    /// `{`
    LeftBrace,
    /// `}`
    RightBrace,
    /// `[`
    LeftBracket,
    /// `]`
    RightBracket,
}

impl Kind {
    /// The word error messages use.
    pub(super) fn name(self) -> &'static str {
        match self {
            Self::Eof => "EOF",
            Self::Illegal => "ILLEGAL",
            Self::Ident => "IDENT",
            Self::Integer => "NUMBER",
            Self::Float => "FLOAT",
            Self::Bool => "BOOL",
            Self::Text => "STRING",
            Self::Heredoc => "HEREDOC",
            Self::Assign => "ASSIGN",
            Self::Comma => "COMMA",
            Self::Period => "PERIOD",
            Self::Add => "ADD",
            Self::Sub => "SUB",
            Self::LeftBrace => "LBRACE",
            Self::RightBrace => "RBRACE",
            Self::LeftBracket => "LBRACK",
            Self::RightBracket => "RBRACK",
        }
    }
}

/// A token and where it starts.
#[derive(Clone, Debug)]
pub(super) struct Token {
    /// What it is.
    pub(super) kind: Kind,
    /// Its text.
    pub(super) text: String,
    /// Where it starts.
    pub(super) at: Position,
}

/// Reads tokens one by one.
#[derive(Debug)]
pub(super) struct Scanner<'a> {
    rest: std::str::Chars<'a>,
    /// Position of the character read last.
    at: Position,
    newline: bool,
    /// The last thing that could not be read.
    pub(super) error: Option<(Position, String)>,
}

fn is_ident_part(c: char) -> bool {
    c.is_alphanumeric() || matches!(c, '_' | '-' | '.')
}

impl<'a> Scanner<'a> {
    /// At the start of the text.
    pub(super) fn new(text: &'a str) -> Self {
        let text = text.strip_prefix('\u{feff}').unwrap_or(text);
        Self { rest: text.chars(), at: Position { line: 1, column: 0 }, newline: false, error: None }
    }

    fn peek(&self) -> Option<char> {
        self.rest.clone().next()
    }

    fn next(&mut self) -> Option<char> {
        if self.newline {
            self.at = Position { line: self.at.line + 1, column: 0 };
        }
        let c = self.rest.next();
        self.at.column += 1;
        self.newline = c == Some('\n');
        c
    }

    fn fail(&mut self, message: &str) {
        self.error = Some((self.at, message.to_owned()));
    }

    /// Reads on while the characters fit. Meeting the end of the text counts as reading it.
    fn take_while(&mut self, text: &mut String, fits: impl Fn(char) -> bool) {
        while let Some(c) = self.peek() {
            if !fits(c) {
                return;
            }
            text.push(c);
            self.next();
        }
        self.next();
    }

    /// The next token; at the end of the text [`Kind::Eof`], again and again.
    pub(super) fn token(&mut self) -> Token {
        let first = loop {
            match self.next() {
                Some(c) if c.is_whitespace() => {}
                Some('#') => self.skip_line(),
                Some('/') => self.comment(),
                other => break other,
            }
        };
        let at = self.at;
        let Some(c) = first else { return Token { kind: Kind::Eof, text: String::new(), at } };
        let mut text = String::from(c);
        let kind = match c {
            '"' => self.string(&mut text),
            '<' => self.heredoc(&mut text),
            '0'..='9' => self.number(&mut text),
            '-' if self.peek().is_some_and(|c| c.is_ascii_digit()) => self.number(&mut text),
            '-' => Kind::Sub,
            '+' => Kind::Add,
            '.' => Kind::Period,
            '=' => Kind::Assign,
            ',' => Kind::Comma,
            '{' => Kind::LeftBrace,
            '}' => Kind::RightBrace,
            '[' => Kind::LeftBracket,
            ']' => Kind::RightBracket,
            c if c.is_alphabetic() || c == '_' => {
                self.take_while(&mut text, is_ident_part);
                if matches!(text.as_str(), "true" | "false") { Kind::Bool } else { Kind::Ident }
            }
            _ => {
                self.fail("illegal char");
                Kind::Illegal
            }
        };
        Token { kind, text, at }
    }

    fn skip_line(&mut self) {
        while self.peek().is_some_and(|c| c != '\n') {
            self.next();
        }
    }

    fn comment(&mut self) {
        match self.peek() {
            Some('/') => self.skip_line(),
            Some('*') => {
                self.next();
                loop {
                    match self.next() {
                        Some('*') if self.peek() == Some('/') => {
                            self.next();
                            return;
                        }
                        Some(_) => {}
                        None => return self.fail("comment not terminated"),
                    }
                }
            }
            _ => self.fail("expected '/' for comment"),
        }
    }

    fn number(&mut self, text: &mut String) -> Kind {
        if text == "0" && matches!(self.peek(), Some('x' | 'X')) {
            text.extend(self.next());
            self.take_while(text, |c| c.is_ascii_hexdigit());
            return Kind::Integer;
        }
        self.take_while(text, |c| c.is_ascii_digit());
        let mut kind = Kind::Integer;
        if self.peek() == Some('.') {
            kind = Kind::Float;
            text.extend(self.next());
            self.take_while(text, |c| c.is_ascii_digit());
        }
        if matches!(self.peek(), Some('e' | 'E')) {
            kind = Kind::Float;
            text.extend(self.next());
            if matches!(self.peek(), Some('+' | '-')) {
                text.extend(self.next());
            }
            self.take_while(text, |c| c.is_ascii_digit());
        }
        kind
    }

    fn string(&mut self, text: &mut String) -> Kind {
        let mut braces = 0_usize;
        loop {
            let Some(c) = self.next() else {
                self.fail("literal not terminated");
                return Kind::Text;
            };
            if c == '\n' && braces == 0 {
                self.fail("literal not terminated");
                return Kind::Text;
            }
            text.push(c);
            match c {
                '"' if braces == 0 => return Kind::Text,
                '$' if self.peek() == Some('{') => {
                    braces += 1;
                    text.extend(self.next());
                }
                '{' if braces > 0 => braces += 1,
                '}' if braces > 0 => braces -= 1,
                '\\' if braces == 0 => match self.next() {
                    Some(c) if "abfnrtv\\\"xuU01234567".contains(c) => text.push(c),
                    Some(c) => {
                        text.push(c);
                        self.fail("illegal char escape");
                    }
                    None => {}
                },
                _ => {}
            }
        }
    }

    /// Leaves the heredoc's value in `text`.
    fn heredoc(&mut self, text: &mut String) -> Kind {
        text.clear();
        if self.next() != Some('<') {
            self.fail("heredoc expected second '<', didn't see it");
            return Kind::Heredoc;
        }
        let mut marker = String::new();
        while let Some(c) = self.next() {
            if c == '\n' {
                break;
            }
            marker.push(c);
        }
        let marker = marker.trim_end_matches('\r');
        let (indented, marker) = marker.strip_prefix('-').map_or((false, marker), |marker| (true, marker));
        if marker.is_empty() {
            self.fail("zero-length heredoc anchor");
            return Kind::Heredoc;
        }
        let mut lines: Vec<String> = Vec::new();
        let mut line = String::new();
        loop {
            let at_marker = line.trim_end_matches('\r').trim_start() == marker;
            if at_marker && self.peek().is_none_or(|c| c == '\n' || c == '\r') {
                break;
            }
            match self.next() {
                Some('\n') => lines.push(std::mem::take(&mut line)),
                Some(c) => line.push(c),
                None => {
                    self.fail("heredoc not terminated");
                    return Kind::Heredoc;
                }
            }
        }
        let prefix = &line[..line.len() - line.trim_start().len()];
        let strip = indented && lines.iter().all(|line| line.starts_with(prefix));
        for line in &lines {
            text.push_str(if strip { &line[prefix.len()..] } else { line });
            text.push('\n');
        }
        Kind::Heredoc
    }
}
