//! Filter expressions (`?filter=`): parse once, check against the row type, select rows. Pure.
//!
//! Contract: section "Filter language" of the HTTP API.

mod evaluate;
mod parse;
mod rows;
mod schema;

pub use schema::{Field, Kind, Record, Records, Schema, Value};

/// Why an expression is not usable, with Consul's text.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("Failed to create boolean expression evaluator: {0}")]
pub struct Error(pub String);

/// A row type that filter expressions can look into.
pub trait Filterable: Record {
    /// The fields of this row type.
    fn schema() -> &'static Schema
    where
        Self: Sized;
}

/// An expression checked against one row type, ready to be asked about many rows.
#[derive(Debug)]
pub struct Filter<T> {
    condition: Option<evaluate::Condition>,
    row: std::marker::PhantomData<fn(&T)>,
}

impl<T: Filterable> Filter<T> {
    /// Parses and checks an expression; an empty one selects everything.
    ///
    /// # Errors
    /// The expression does not parse or names what the rows do not have.
    pub fn new(expression: &str) -> Result<Self, Error> {
        let condition = if expression.is_empty() {
            None
        } else {
            Some(parse::parse(expression).and_then(|parsed| evaluate::compile(&parsed, T::schema())).map_err(Error)?)
        };
        Ok(Self { condition, row: std::marker::PhantomData })
    }

    /// Whether the expression selects a row.
    #[must_use]
    pub fn selects(&self, row: &T) -> bool {
        self.condition.as_ref().is_none_or(|condition| condition.holds(row))
    }
}

/// Keeps the rows the expression selects; an empty expression keeps all.
///
/// # Errors
/// The expression does not parse or names what the rows do not have.
pub fn select<T: Filterable>(expression: &str, rows: &mut Vec<T>) -> Result<(), Error> {
    if expression.is_empty() {
        return Ok(());
    }
    let filter = Filter::new(expression)?;
    rows.retain(|row| filter.selects(row));
    Ok(())
}

#[cfg(test)]
mod tests;
