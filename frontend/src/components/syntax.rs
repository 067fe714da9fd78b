//! A small tokenizer for the values people keep: JSON, YAML and HCL. It colours and finds plain mistakes.
//!
//! Pure. Never changes text: the tokens' pieces put together are the text, byte for byte. Only JSON is really
//! parsed; for YAML and HCL the check finds what surely is wrong and claims no more.

use shared::decode;

/// What a value is written in.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) enum Language {
    /// Anything else.
    #[default]
    Text,
    /// JSON.
    Json,
    /// YAML.
    Yaml,
    /// HashiCorp's configuration language.
    Hcl,
}

impl Language {
    /// All, in the order they are offered.
    pub(crate) const ALL: [Self; 4] = [Self::Text, Self::Json, Self::Yaml, Self::Hcl];

    /// Name for people.
    #[must_use]
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Text => "Text",
            Self::Json => "JSON",
            Self::Yaml => "YAML",
            Self::Hcl => "HCL",
        }
    }

    /// From the end of the key, else from the text itself.
    #[must_use]
    pub(crate) fn detect(key: &str, text: &str) -> Self {
        match key.rsplit('.').next().unwrap_or_default().to_ascii_lowercase().as_str() {
            "json" => return Self::Json,
            "yaml" | "yml" => return Self::Yaml,
            "hcl" | "tf" | "nomad" => return Self::Hcl,
            "txt" | "md" => return Self::Text,
            _ => {}
        }
        let head = text.trim_start();
        if head.starts_with(['{', '[']) && decode::check(text.as_bytes()).is_ok() {
            return Self::Json;
        }
        let (mut yaml, mut hcl, mut all) = (0, 0, 0);
        for line in text.lines().map(str::trim).filter(|l| !l.is_empty() && !l.starts_with('#')).take(40) {
            all += 1;
            let key_end = line.find(|c: char| !(c.is_alphanumeric() || matches!(c, '_' | '-' | '.'))).unwrap_or(line.len());
            let rest = line[key_end..].trim_start();
            if key_end > 0 && (rest.starts_with('=') || rest.ends_with('{')) || line == "}" {
                hcl += 1;
            } else if key_end > 0 && (rest == ":" || rest.starts_with(": ")) || line.starts_with("- ") || line == "---" {
                yaml += 1;
            }
        }
        match all {
            0 | 1 => Self::Text,
            _ if yaml * 5 >= all * 4 => Self::Yaml,
            _ if hcl * 5 >= all * 4 => Self::Hcl,
            _ => Self::Text,
        }
    }
}

/// What a piece of text is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Class {
    /// Nothing special.
    Plain,
    /// A key.
    Key,
    /// Quoted text.
    Text,
    /// A number.
    Number,
    /// `true`, `null`, ...
    Literal,
    /// Punctuation and comments.
    Dim,
}

impl Class {
    /// Its CSS class.
    #[must_use]
    pub(crate) fn css(self) -> &'static str {
        match self {
            Self::Plain => "",
            Self::Key => "k",
            Self::Text => "str",
            Self::Number => "nu",
            Self::Literal => "lit",
            Self::Dim => "pn",
        }
    }
}

/// The text in classed pieces; neighbours of one class are joined.
#[must_use]
pub(crate) fn pieces(language: Language, text: &str) -> Vec<(Class, &str)> {
    if language == Language::Text {
        return if text.is_empty() { Vec::new() } else { vec![(Class::Plain, text)] };
    }
    let mut scan = Scan { text, language, at: 0, out: Vec::new(), line_start: true };
    while scan.at < text.len() {
        scan.step();
    }
    scan.out
}

struct Scan<'a> {
    text: &'a str,
    language: Language,
    at: usize,
    out: Vec<(Class, &'a str)>,
    /// Whether a key may begin here.
    line_start: bool,
}

impl<'a> Scan<'a> {
    fn step(&mut self) {
        let rest = &self.text[self.at..];
        let Some(first) = rest.chars().next() else { return };
        let yaml = self.language == Language::Yaml;
        let len = match first {
            '\n' => {
                self.line_start = true;
                return self.emit(Class::Plain, 1);
            }
            c if c.is_whitespace() => {
                let len = rest.find(|c: char| !c.is_whitespace() || c == '\n').unwrap_or(rest.len());
                return self.emit(Class::Plain, len);
            }
            '#' if self.language != Language::Json => return self.emit(Class::Dim, line_len(rest)),
            '/' if self.language == Language::Hcl && rest.starts_with("//") => return self.emit(Class::Dim, line_len(rest)),
            '/' if self.language == Language::Hcl && rest.starts_with("/*") => {
                return self.emit(Class::Dim, rest.find("*/").map_or(rest.len(), |end| end + 2));
            }
            '"' => quoted_len(rest, '"'),
            '\'' if yaml => quoted_len(rest, '\''),
            '-' if yaml && self.line_start && (rest.starts_with("- ") || rest.starts_with("-\n") || rest.starts_with("---")) => {
                let len = rest.find(|c| c != '-').unwrap_or(rest.len());
                return self.emit(Class::Dim, len);
            }
            '{' | '}' | '[' | ']' | ',' | ':' | '=' | '|' | '>' | '&' | '*' | '(' | ')' => {
                self.line_start = matches!(first, '{' | '[' | ',') || (self.line_start && first != ':' && first != '=');
                return self.emit(Class::Dim, first.len_utf8());
            }
            _ => self.word_len(rest),
        };
        let class = self.class(&rest[..len], &rest[len..]);
        self.line_start = false;
        self.emit(class, len);
    }

    fn word_len(&self, rest: &str) -> usize {
        if self.language == Language::Yaml {
            // A plain YAML scalar runs to the end of the line, to `: ` or to a comment.
            let line = &rest[..line_len(rest)];
            let stops = [line.find(": "), line.find(" #"), line.strip_suffix(':').map(str::len)];
            let end = stops.into_iter().flatten().min().unwrap_or(line.len());
            let flow = line.find([',', ']', '}']).filter(|_| self.in_flow()).unwrap_or(line.len());
            return line[..end.min(flow)].trim_end().len().max(first_len(rest));
        }
        rest.find(|c: char| !(c.is_alphanumeric() || matches!(c, '_' | '-' | '.' | '+' | '$' | '%')))
            .unwrap_or(rest.len())
            .max(first_len(rest))
    }

    fn in_flow(&self) -> bool {
        let line = self.text[..self.at].rsplit('\n').next().unwrap_or_default();
        line.contains(['[', '{'])
    }

    fn class(&self, word: &str, after: &str) -> Class {
        let after = &after[..line_len(after)];
        let next = after.trim_start();
        let key = match self.language {
            Language::Json => word.starts_with('"') && next.starts_with(':'),
            Language::Yaml => next == ":" || next.starts_with(": "),
            _ => self.line_start && (next.starts_with(['=', '{']) || next.starts_with('"')),
        };
        if key {
            Class::Key
        } else if word.starts_with(['"', '\'']) {
            Class::Text
        } else if matches!(word, "true" | "false" | "null")
            || (self.language == Language::Yaml && matches!(word, "~" | "yes" | "no" | "on" | "off"))
        {
            Class::Literal
        } else if decode::is_number(word) {
            Class::Number
        } else if self.language == Language::Yaml {
            Class::Text
        } else {
            Class::Plain
        }
    }

    fn emit(&mut self, class: Class, len: usize) {
        let start = self.at;
        self.at += len;
        if let Some((last, piece)) = self.out.last_mut()
            && *last == class
        {
            let begin = start - piece.len();
            *piece = &self.text[begin..self.at];
            return;
        }
        self.out.push((class, &self.text[start..self.at]));
    }
}

fn first_len(text: &str) -> usize {
    text.chars().next().map_or(0, char::len_utf8)
}

fn line_len(text: &str) -> usize {
    text.find('\n').unwrap_or(text.len())
}

/// Length of a quoted string that starts the text; it ends at the line's end at the latest.
fn quoted_len(text: &str, quote: char) -> usize {
    let mut escaped = false;
    for (at, c) in text.char_indices().skip(1) {
        if c == '\n' {
            return at;
        }
        if escaped {
            escaped = false;
        } else if c == '\\' && quote == '"' {
            escaped = true;
        } else if c == quote {
            return at + 1;
        }
    }
    text.len()
}

/// What the check found.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Verdict {
    /// Nothing can be said about plain text.
    Unchecked,
    /// Parses.
    Valid,
    /// No plain mistake found; not a full parse.
    Plausible,
    /// Wrong: line and column from 1, and why.
    Wrong {
        /// Line.
        line: usize,
        /// Column.
        column: usize,
        /// Why, for people.
        why: String,
    },
}

/// Looks for mistakes.
#[must_use]
pub(crate) fn check(language: Language, text: &str) -> Verdict {
    match language {
        Language::Text => Verdict::Unchecked,
        Language::Json => match decode::check(text.as_bytes()) {
            Ok(()) => Verdict::Valid,
            Err(fault) => Verdict::Wrong { line: fault.line, column: fault.column, why: format!("expected {}", fault.wanted) },
        },
        Language::Yaml => yaml_tabs(text).unwrap_or_else(|| brackets(language, text)),
        Language::Hcl => brackets(language, text),
    }
}

fn yaml_tabs(text: &str) -> Option<Verdict> {
    text.split('\n').enumerate().find_map(|(at, line)| {
        let indent = &line[..line.len() - line.trim_start().len()];
        let tab = indent.find('\t').filter(|_| !line.trim().is_empty())?;
        Some(Verdict::Wrong { line: at + 1, column: tab + 1, why: "a tab cannot indent YAML".to_owned() })
    })
}

/// Brackets outside quotes and comments must pair up.
fn brackets(language: Language, text: &str) -> Verdict {
    let mut open: Vec<(char, usize)> = Vec::new();
    let mut at = 0;
    for (class, piece) in pieces(language, text) {
        let comment = piece.starts_with('#') || piece.starts_with("//") || piece.starts_with("/*");
        if class == Class::Dim && !comment {
            for (offset, c) in piece.char_indices() {
                match c {
                    '{' | '[' | '(' => open.push((c, at + offset)),
                    '}' | ']' | ')' => match open.pop() {
                        Some((o, _)) if closes(o) == c => {}
                        Some((o, from)) => {
                            return wrong(text, at + offset, format!("`{c}` here, but `{o}` of line {} is open", place(text, from).0));
                        }
                        None => return wrong(text, at + offset, format!("`{c}` closes nothing")),
                    },
                    _ => {}
                }
            }
        }
        at += piece.len();
    }
    match open.pop() {
        Some((c, from)) => wrong(text, from, format!("`{c}` is never closed")),
        None => Verdict::Plausible,
    }
}

fn closes(open: char) -> char {
    match open {
        '{' => '}',
        '[' => ']',
        _ => ')',
    }
}

fn wrong(text: &str, at: usize, why: String) -> Verdict {
    let (line, column) = place(text, at);
    Verdict::Wrong { line, column, why }
}

/// Line and column of a byte, both from 1.
#[must_use]
pub(crate) fn place(text: &str, at: usize) -> (usize, usize) {
    let mut end = at.min(text.len());
    while !text.is_char_boundary(end) {
        end -= 1;
    }
    let head = &text[..end];
    let line = head.matches('\n').count() + 1;
    (line, head.rsplit('\n').next().unwrap_or_default().chars().count() + 1)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pieces_are_the_text_byte_for_byte() {
        let texts = [
            "{\"a\": [1, -2.5e3, true, null, \"x\\\"y\"]}",
            "{\"open: 1\n}",
            "a: 1\n- b: \"c\" # why\nc:\n  - d, e\nf: [x, y]\nünï: 'ö''",
            "job \"web\" {\n  count = 3 // three\n  /* open",
            "\u{feff}☃:☃\n\t\r\n'",
            "",
            "-",
            "---\n- -1",
        ];
        for language in Language::ALL {
            for text in texts {
                assert_eq!(pieces(language, text).iter().map(|p| p.1).collect::<String>(), text, "{language:?}");
            }
        }
    }

    #[test]
    fn classes_follow_the_language() {
        let check = |language, text: &str, expected: &[(Class, &str)]| {
            let got: Vec<_> = pieces(language, text).into_iter().filter(|p| !p.1.trim().is_empty()).map(|p| (p.0, p.1.trim())).collect();
            assert_eq!(got, expected, "{text}");
        };
        use Class::*;
        check(Language::Json, "{\"a\": \"b\"}", &[(Dim, "{"), (Key, "\"a\""), (Dim, ":"), (Text, "\"b\""), (Dim, "}")]);
        check(Language::Json, "[1,false]", &[(Dim, "["), (Number, "1"), (Dim, ","), (Literal, "false"), (Dim, "]")]);
        check(Language::Yaml, "port: 80 # x", &[(Key, "port"), (Dim, ":"), (Number, "80"), (Dim, "# x")]);
        check(Language::Yaml, "- url: http://a:1", &[(Dim, "-"), (Key, "url"), (Dim, ":"), (Text, "http://a:1")]);
        check(Language::Hcl, "count = 3", &[(Key, "count"), (Dim, "="), (Number, "3")]);
        check(Language::Hcl, "job \"web\" {", &[(Key, "job"), (Text, "\"web\""), (Dim, "{")]);
    }

    #[test]
    fn language_comes_from_the_key_or_the_text() {
        let check = |key: &str, text: &str, expected| assert_eq!(Language::detect(key, text), expected, "{key} {text}");
        check("a/limits.json", "nonsense", Language::Json);
        check("a/b.yml", "", Language::Yaml);
        check("a/b", "{\"a\":1}", Language::Json);
        check("a/b", "{ not json", Language::Text);
        check("a/b", "a: 1\nb: 2", Language::Yaml);
        check("a/b", "a = 1\nb {\n}", Language::Hcl);
        check("a/b", "hello world", Language::Text);
        check("a/b", "10.0.0.1:80", Language::Text);
        check("motd", "Note: the\nquick brown\nfox", Language::Text);
    }

    #[test]
    fn check_names_the_place_of_a_mistake() {
        let at = |language, text: &str| match check(language, text) {
            Verdict::Wrong { line, column, .. } => (line, column),
            other => panic!("{other:?} for {text}"),
        };
        assert_eq!(check(Language::Json, "{\"a\":1}"), Verdict::Valid);
        assert_eq!(at(Language::Json, "{\n \"a\":1,\n}"), (3, 1));
        assert_eq!(at(Language::Yaml, "a:\n\tb: 1"), (2, 1));
        assert_eq!(at(Language::Yaml, "a: [1, 2"), (1, 4));
        assert_eq!(check(Language::Yaml, "a: [1, 2]\nb: c"), Verdict::Plausible);
        assert_eq!(at(Language::Hcl, "a {\n b = \"}\"\n"), (1, 3));
        assert_eq!(check(Language::Hcl, "a { # {\n b = \"}\"\n}"), Verdict::Plausible);
        assert_eq!(check(Language::Text, "{"), Verdict::Unchecked);
    }
}
