//! What row types tell about their fields, and how their values are reached without copying. Pure.

use std::collections::BTreeMap;

use shared::health::Status;

/// The fields a row type offers.
#[derive(Debug)]
pub struct Schema(pub &'static [Field]);

/// One field.
#[derive(Debug)]
pub struct Field {
    /// Its name in expressions and in JSON.
    pub name: &'static str,
    /// What it holds.
    pub kind: Kind,
}

/// What a field holds.
#[derive(Clone, Copy, Debug)]
pub enum Kind {
    /// A text.
    Text,
    /// A whole number.
    Number,
    /// True or false.
    Bool,
    /// A list of texts.
    Texts,
    /// Texts by key.
    TextMap,
    /// Fields of its own.
    One(&'static Schema),
    /// A list of such.
    Many(&'static Schema),
    /// Such by key.
    Map(&'static Schema),
}

/// A field's value, borrowed from its row.
#[derive(Clone, Copy)]
pub enum Value<'a> {
    /// A text.
    Text(&'a str),
    /// A whole number.
    Number(i64),
    /// True or false.
    Bool(bool),
    /// A list of texts.
    Texts(&'a [String]),
    /// Texts by key.
    TextMap(&'a BTreeMap<String, String>),
    /// Fields of its own.
    One(&'a dyn Record),
    /// A list or map of such.
    Many(&'a dyn Records),
    /// A part carried as it was sent; read by the field's kind.
    Json(&'a serde_json::Value),
    /// Absent: reads as the kind's empty value.
    Nothing,
}

/// Something with named fields.
pub trait Record {
    /// The value of one of its schema's fields.
    fn field(&self, name: &str) -> Value<'_>;
}

/// Several records, by place or by key.
pub trait Records {
    /// How many.
    fn len(&self) -> usize;
    /// Whether there are none.
    fn is_empty(&self) -> bool {
        self.len() == 0
    }
    /// Whether one of them satisfies the predicate.
    fn any(&self, predicate: &mut dyn FnMut(&dyn Record) -> bool) -> bool;
    /// The one with this key, in a map.
    fn get(&self, key: &str) -> Option<&dyn Record>;
}

impl<T: Record> Records for Vec<T> {
    fn len(&self) -> usize {
        Vec::len(self)
    }
    fn any(&self, predicate: &mut dyn FnMut(&dyn Record) -> bool) -> bool {
        self.iter().any(|record| predicate(record))
    }
    fn get(&self, _key: &str) -> Option<&dyn Record> {
        None
    }
}

impl<T: Record> Records for BTreeMap<String, T> {
    fn len(&self) -> usize {
        BTreeMap::len(self)
    }
    fn any(&self, predicate: &mut dyn FnMut(&dyn Record) -> bool) -> bool {
        self.values().any(|record| predicate(record))
    }
    fn get(&self, key: &str) -> Option<&dyn Record> {
        BTreeMap::get(self, key).map(|record| record as &dyn Record)
    }
}

/// How a Rust type shows itself as a value.
pub(super) trait Shown {
    /// Borrowed as a value.
    fn shown(&self) -> Value<'_>;
}

macro_rules! shown {
    ($($type:ty => |$value:ident| $shown:expr;)*) => {
        $(impl Shown for $type { fn shown(&self) -> Value<'_> { let $value = self; $shown } })*
    };
}

shown! {
    String => |value| Value::Text(value);
    Status => |value| Value::Text(value.as_str());
    bool => |value| Value::Bool(*value);
    i64 => |value| Value::Number(*value);
    u16 => |value| Value::Number(i64::from(*value));
    u8 => |value| Value::Number(i64::from(*value));
    Vec<String> => |value| Value::Texts(value);
    BTreeMap<String, String> => |value| Value::TextMap(value);
    serde_json::Value => |value| Value::Json(value);
}

impl<T: Shown> Shown for Option<T> {
    fn shown(&self) -> Value<'_> {
        self.as_ref().map_or(Value::Nothing, Shown::shown)
    }
}
