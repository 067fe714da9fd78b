//! A parsed expression checked against a schema, and asked about rows. Pure.
//!
//! A path through a list holds when it holds for any element. A missing map key makes `==` and `in` false and
//! everything else true, as Consul has it.

use regex::Regex;

use super::{
    parse::{Expression, Operator},
    schema::{Kind, Record, Schema, Value},
};

/// A checked expression.
#[derive(Debug)]
pub(super) enum Condition {
    Or(Vec<Self>),
    And(Vec<Self>),
    Not(Box<Self>),
    Match { path: Vec<Step>, kind: Kind, operator: Operator, test: Test },
}

/// One step of a selector.
#[derive(Debug)]
pub(super) enum Step {
    /// A field of a record, or of any record of a list.
    Field(&'static str, Kind),
    /// An entry of a map.
    Key(String),
}

/// What a value is compared with.
#[derive(Debug)]
pub(super) enum Test {
    Nothing,
    Text(String),
    Number(i64),
    Bool(bool),
    Regex(Regex),
}

/// Checks an expression against the fields there are.
///
/// # Errors
/// The text of the first problem, from the left.
pub(super) fn compile(expression: &Expression, schema: &'static Schema) -> Result<Condition, String> {
    let all = |parts: &[Expression]| parts.iter().map(|part| compile(part, schema)).collect::<Result<Vec<_>, _>>();
    Ok(match expression {
        Expression::Or(parts) => Condition::Or(all(parts)?),
        Expression::And(parts) => Condition::And(all(parts)?),
        Expression::Not(inner) => Condition::Not(Box::new(compile(inner, schema)?)),
        Expression::Match { selector, operator, value } => {
            let (path, kind) = resolve(selector, schema)?;
            let name = selector.join(".");
            if !allows(kind, *operator) {
                return Err(format!("Invalid match operator \"{}\" for selector \"{name}\"", operator.as_str()));
            }
            let coerce = |why: String| format!("Failed to coerce value {} for selector \"{name}\": {why}", quote(value));
            let test = match (operator, kind) {
                (Operator::IsEmpty | Operator::IsNotEmpty, _) => Test::Nothing,
                (Operator::Matches | Operator::NotMatches, _) => Test::Regex(regex(value)?),
                (_, Kind::Number) => Test::Number(parse_int(value).map_err(coerce)?),
                (_, Kind::Bool) => Test::Bool(parse_bool(value).map_err(coerce)?),
                _ => Test::Text(value.clone()),
            };
            Condition::Match { path, kind, operator: *operator, test }
        }
    })
}

/// Follows a selector through the schema.
fn resolve(selector: &[String], schema: &'static Schema) -> Result<(Vec<Step>, Kind), String> {
    let mut kind = Kind::One(schema);
    let mut path = Vec::with_capacity(selector.len());
    for (at, name) in selector.iter().enumerate() {
        let invalid = || format!("Selector \"{}\" is not valid", selector[..=at].join("."));
        match kind {
            Kind::One(schema) | Kind::Many(schema) => {
                let field = schema.0.iter().find(|field| field.name == name).ok_or_else(invalid)?;
                kind = field.kind;
                path.push(Step::Field(field.name, kind));
            }
            Kind::TextMap => {
                kind = Kind::Text;
                path.push(Step::Key(name.clone()));
            }
            Kind::Map(schema) => {
                kind = Kind::One(schema);
                path.push(Step::Key(name.clone()));
            }
            Kind::Text | Kind::Number | Kind::Bool | Kind::Texts => return Err(invalid()),
        }
    }
    Ok((path, kind))
}

fn allows(kind: Kind, operator: Operator) -> bool {
    use Operator::{Equal, In, IsEmpty, IsNotEmpty, Matches, NotEqual, NotIn, NotMatches};
    match kind {
        Kind::Text => matches!(operator, Equal | NotEqual | In | NotIn | Matches | NotMatches),
        Kind::Number | Kind::Bool => matches!(operator, Equal | NotEqual),
        Kind::Texts | Kind::TextMap | Kind::Map(_) => matches!(operator, In | NotIn | IsEmpty | IsNotEmpty),
        Kind::Many(_) => matches!(operator, IsEmpty | IsNotEmpty),
        Kind::One(_) => false,
    }
}

impl Condition {
    /// Whether a row fulfils it.
    pub(super) fn holds(&self, row: &dyn Record) -> bool {
        match self {
            Self::Or(parts) => parts.iter().any(|part| part.holds(row)),
            Self::And(parts) => parts.iter().all(|part| part.holds(row)),
            Self::Not(inner) => !inner.holds(row),
            Self::Match { path, kind, operator, test } => follow(Value::One(row), path, Match { kind: *kind, operator: *operator, test }),
        }
    }
}

#[derive(Clone, Copy)]
struct Match<'a> {
    kind: Kind,
    operator: Operator,
    test: &'a Test,
}

impl Match<'_> {
    fn of_missing_key(self) -> bool {
        !matches!(self.operator, Operator::Equal | Operator::In)
    }
}

/// Walks the rest of the path from a value, then compares.
fn follow(value: Value<'_>, path: &[Step], compared: Match<'_>) -> bool {
    let Some((step, rest)) = path.split_first() else { return compare(value, compared) };
    match (step, value) {
        (Step::Field(name, kind), Value::One(record)) => enter(record.field(name), *kind, rest, compared),
        (Step::Field(name, kind), Value::Many(records)) => records.any(&mut |record| enter(record.field(name), *kind, rest, compared)),
        (Step::Field(..), Value::Json(serde_json::Value::Array(elements))) => {
            elements.iter().any(|element| follow(Value::Json(element), path, compared))
        }
        (Step::Field(name, kind), Value::Json(json)) => {
            enter(json.get(name).filter(|part| !part.is_null()).map_or(Value::Nothing, Value::Json), *kind, rest, compared)
        }
        (Step::Field(_, kind), _) => enter(Value::Nothing, *kind, rest, compared),
        (Step::Key(key), Value::TextMap(map)) => {
            map.get(key).map_or_else(|| compared.of_missing_key(), |text| follow(Value::Text(text), rest, compared))
        }
        (Step::Key(key), Value::Many(records)) => {
            records.get(key).map_or_else(|| compared.of_missing_key(), |record| follow(Value::One(record), rest, compared))
        }
        (Step::Key(_), _) => compared.of_missing_key(),
    }
}

/// Goes on from a field's value. Within an absent list nothing holds; within an absent record every field has its
/// empty value.
fn enter(value: Value<'_>, kind: Kind, rest: &[Step], compared: Match<'_>) -> bool {
    let no_elements = matches!((value, kind), (Value::Nothing, Kind::Many(_))) && !rest.is_empty();
    !no_elements && follow(value, rest, compared)
}

fn compare(value: Value<'_>, compared: Match<'_>) -> bool {
    let positive = match compared.kind {
        Kind::Text => {
            let text = match value {
                Value::Text(text) => text,
                Value::Json(json) => json.as_str().unwrap_or_default(),
                _ => "",
            };
            match (compared.operator, compared.test) {
                (Operator::Equal | Operator::NotEqual, Test::Text(wanted)) => text == wanted,
                (Operator::In | Operator::NotIn, Test::Text(wanted)) => text.contains(wanted.as_str()),
                (_, Test::Regex(regex)) => regex.is_match(text),
                _ => false,
            }
        }
        Kind::Number => {
            let number = match value {
                Value::Number(number) => number,
                Value::Json(json) => json.as_i64().unwrap_or_default(),
                _ => 0,
            };
            matches!(compared.test, Test::Number(wanted) if *wanted == number)
        }
        Kind::Bool => {
            let is = match value {
                Value::Bool(is) => is,
                Value::Json(json) => json.as_bool().unwrap_or_default(),
                _ => false,
            };
            matches!(compared.test, Test::Bool(wanted) if *wanted == is)
        }
        Kind::Texts | Kind::TextMap | Kind::Map(_) | Kind::Many(_) | Kind::One(_) => match compared.test {
            Test::Text(wanted) => contains(value, wanted),
            _ => is_empty(value),
        },
    };
    let negated = matches!(compared.operator, Operator::NotEqual | Operator::NotIn | Operator::NotMatches | Operator::IsNotEmpty);
    positive != negated
}

fn contains(value: Value<'_>, wanted: &str) -> bool {
    match value {
        Value::Texts(texts) => texts.iter().any(|text| text == wanted),
        Value::TextMap(map) => map.contains_key(wanted),
        Value::Many(records) => records.get(wanted).is_some(),
        _ => false,
    }
}

fn is_empty(value: Value<'_>) -> bool {
    match value {
        Value::Texts(texts) => texts.is_empty(),
        Value::TextMap(map) => map.is_empty(),
        Value::Many(records) => records.is_empty(),
        Value::Json(serde_json::Value::Array(elements)) => elements.is_empty(),
        Value::Json(serde_json::Value::Object(map)) => map.is_empty(),
        _ => true,
    }
}

/// A text in double quotes with Go's escapes.
fn quote(text: &str) -> String {
    let mut quoted = String::with_capacity(text.len() + 2);
    quoted.push('"');
    for c in text.chars() {
        match c {
            '"' => quoted.push_str("\\\""),
            '\\' => quoted.push_str("\\\\"),
            '\n' => quoted.push_str("\\n"),
            '\r' => quoted.push_str("\\r"),
            '\t' => quoted.push_str("\\t"),
            c if c.is_control() => quoted.push_str(&format!("\\x{:02x}", u32::from(c))),
            c => quoted.push(c),
        }
    }
    quoted.push('"');
    quoted
}

/// A whole number as Go reads it with base 0: `0x`, `0o`, `0b` and `0` prefixes, `_` between digits.
fn parse_int(text: &str) -> Result<i64, String> {
    let syntax = || format!("strconv.ParseInt: parsing {}: invalid syntax", quote(text));
    let (negative, digits) = match text.as_bytes().first() {
        Some(b'-') => (true, &text[1..]),
        Some(b'+') => (false, &text[1..]),
        _ => (false, text),
    };
    let prefix = digits.get(..2).map(str::to_ascii_lowercase);
    let (radix, body, prefixed) = match prefix.as_deref() {
        Some("0x") => (16, &digits[2..], true),
        Some("0o") => (8, &digits[2..], true),
        Some("0b") => (2, &digits[2..], true),
        Some(_) if digits.starts_with('0') => (8, &digits[1..], true),
        _ => (10, digits, false),
    };
    let body = if prefixed { body.strip_prefix('_').unwrap_or(body) } else { body };
    if body.is_empty() || body.starts_with('_') || body.ends_with('_') || body.contains("__") {
        return Err(syntax());
    }
    let plain: String = body.chars().filter(|c| *c != '_').collect();
    if !plain.chars().all(|c| c.is_digit(radix)) {
        return Err(syntax());
    }
    let range = || format!("strconv.ParseInt: parsing {}: value out of range", quote(text));
    let number = i128::from_str_radix(&plain, radix).map_err(|_| range())?;
    i64::try_from(if negative { -number } else { number }).map_err(|_| range())
}

fn parse_bool(text: &str) -> Result<bool, String> {
    match text {
        "1" | "t" | "T" | "TRUE" | "true" | "True" => Ok(true),
        "0" | "f" | "F" | "FALSE" | "false" | "False" => Ok(false),
        _ => Err(format!("strconv.ParseBool: parsing {}: invalid syntax", quote(text))),
    }
}

fn regex(pattern: &str) -> Result<Regex, String> {
    Regex::new(pattern).map_err(|error| {
        let text = error.to_string();
        let (why, part) = if text.contains("unclosed character class") {
            ("missing closing ]", pattern.find('[').map_or(pattern, |at| &pattern[at..]))
        } else if text.contains("unclosed group") {
            ("missing closing )", pattern)
        } else if text.contains("unopened group") {
            ("unexpected )", pattern)
        } else if text.contains("repetition operator missing expression") {
            ("missing argument to repetition operator", pattern.find(['*', '+', '?', '{']).map_or(pattern, |at| &pattern[at..=at]))
        } else if text.contains("size limit") || text.contains("nest limit") {
            ("expression too large", pattern)
        } else {
            ("invalid syntax", pattern)
        };
        format!("Failed to compile regular expression {}: error parsing regexp: {why}: `{part}`", quote(pattern))
    })
}
