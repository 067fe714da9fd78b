//! One log line: its parts, and the two forms it is written in.
//!
//! Pure. Contract: command line, section "Start-up output"; HTTP API, `agent/monitor`.

use std::{
    fmt::{self, Write as _},
    str::FromStr,
};

use serde_json::{Map, Value};

/// How much a line matters. Ordered from most to least detail.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Level {
    /// Everything.
    Trace,
    /// What an operator debugs with.
    Debug,
    /// What happens.
    Info,
    /// What may go wrong.
    Warn,
    /// What went wrong.
    Error,
}

/// A word that is no level.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("Unknown log level: {0}")]
pub struct UnknownLevel(pub String);

impl FromStr for Level {
    type Err = UnknownLevel;

    fn from_str(word: &str) -> Result<Self, UnknownLevel> {
        match word.to_lowercase().as_str() {
            "trace" => Ok(Self::Trace),
            "debug" => Ok(Self::Debug),
            "info" => Ok(Self::Info),
            "warn" | "warning" => Ok(Self::Warn),
            "err" | "error" => Ok(Self::Error),
            _ => Err(UnknownLevel(word.to_owned())),
        }
    }
}

impl Level {
    /// In lower case.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Trace => "trace",
            Self::Debug => "debug",
            Self::Info => "info",
            Self::Warn => "warn",
            Self::Error => "error",
        }
    }

    pub(super) fn of(level: tracing::Level) -> Self {
        match level {
            tracing::Level::TRACE => Self::Trace,
            tracing::Level::DEBUG => Self::Debug,
            tracing::Level::INFO => Self::Info,
            tracing::Level::WARN => Self::Warn,
            tracing::Level::ERROR => Self::Error,
        }
    }
}

impl fmt::Display for Level {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// One log line.
#[derive(Clone, Debug, PartialEq)]
pub struct Record {
    /// When, milliseconds since 1970.
    pub at_ms: u64,
    /// How much it matters.
    pub level: Level,
    /// Who says it, such as `agent.server`.
    pub module: String,
    /// What is said.
    pub message: String,
    /// With what values, in the order given.
    pub fields: Vec<(&'static str, Value)>,
}

fn timestamp(at_ms: u64) -> String {
    let at = i64::try_from(at_ms).ok().and_then(|at| jiff::Timestamp::from_millisecond(at).ok());
    at.unwrap_or(jiff::Timestamp::UNIX_EPOCH).strftime("%Y-%m-%dT%H:%M:%S%.3fZ").to_string()
}

/// A value as it stands behind `key=`.
fn shown(value: &Value) -> String {
    let text = match value {
        Value::String(text) => text.clone(),
        other => other.to_string(),
    };
    let needs_quotes = text.chars().any(|c| c.is_whitespace() || c.is_control() || c == '"');
    if needs_quotes { format!("{text:?}") } else { text }
}

impl Record {
    /// `2026-11-22T19:01:06.000Z [INFO]  agent.server: message: key=value`
    #[must_use]
    pub fn human(&self) -> String {
        let level = match self.level {
            Level::Trace => "[TRACE]",
            Level::Debug => "[DEBUG]",
            Level::Info => "[INFO] ",
            Level::Warn => "[WARN] ",
            Level::Error => "[ERROR]",
        };
        // A line feed in a message must not look like a second line of the log.
        let message = self.message.replace('\n', "\\n");
        let mut line = format!("{} {level} {}: {message}", timestamp(self.at_ms), self.module);
        for (at, (key, value)) in self.fields.iter().enumerate() {
            let before = if at == 0 && !self.message.is_empty() { ": " } else { " " };
            let _ = write!(line, "{before}{key}={}", shown(value));
        }
        line
    }

    /// One JSON object with `@level`, `@message`, `@module`, `@timestamp` and the fields.
    #[must_use]
    pub fn json(&self) -> String {
        let mut object = Map::new();
        object.insert("@level".to_owned(), self.level.as_str().into());
        object.insert("@message".to_owned(), self.message.clone().into());
        object.insert("@module".to_owned(), self.module.clone().into());
        object.insert("@timestamp".to_owned(), timestamp(self.at_ms).into());
        for (key, value) in &self.fields {
            object.insert((*key).to_owned(), value.clone());
        }
        Value::Object(object).to_string()
    }

    /// In the form asked for.
    #[must_use]
    pub fn line(&self, json: bool) -> String {
        if json { self.json() } else { self.human() }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn record(level: Level, fields: Vec<(&'static str, Value)>) -> Record {
        Record { at_ms: 1_795_374_066_007, level, module: "agent.server".to_owned(), message: "it is up".to_owned(), fields }
    }

    #[test]
    fn lines_read_like_the_ones_operators_know() {
        let check = |level, fields, expected: &str| assert_eq!(record(level, fields).human(), expected);
        check(Level::Info, vec![], "2026-11-22T19:01:06.007Z [INFO]  agent.server: it is up");
        check(
            Level::Debug,
            vec![("a", 1.into()), ("b", "x y".into()), ("c", "".into()), ("d", true.into())],
            "2026-11-22T19:01:06.007Z [DEBUG] agent.server: it is up: a=1 b=\"x y\" c= d=true",
        );
        check(Level::Error, vec![("why", "a\nb".into())], "2026-11-22T19:01:06.007Z [ERROR] agent.server: it is up: why=\"a\\nb\"");
    }

    #[test]
    fn json_lines_carry_the_same() {
        assert_eq!(
            record(Level::Warn, vec![("a", 1.into())]).json(),
            "{\"@level\":\"warn\",\"@message\":\"it is up\",\"@module\":\"agent.server\",\
             \"@timestamp\":\"2026-11-22T19:01:06.007Z\",\"a\":1}"
        );
    }

    #[test]
    fn levels_are_read_in_any_case() {
        for (word, level) in [("TRACE", Level::Trace), ("warn", Level::Warn), ("ERR", Level::Error), ("error", Level::Error)] {
            assert_eq!(word.parse(), Ok(level));
        }
        assert_eq!("bogus".parse::<Level>().map_err(|e| e.to_string()), Err("Unknown log level: bogus".to_owned()));
    }
}
