//! Whether rows would make a state, told without making one: a file that is only looked at takes no room beside the state.
//!
//! Must refuse what [`super::insert`] refuses.

use std::{
    collections::BTreeSet,
    io::{self, Read},
};

use super::{Row, Rows, damaged};
use crate::store::tables::{Name, key};

/// Reads a snapshot to its end and checks it whole; tells of every row with the bytes it takes.
///
/// # Errors
/// As for [`super::read`].
pub(super) fn check(from: impl Read, mut told: impl FnMut(&Row<'_>, u64)) -> io::Result<()> {
    let (mut rows, mut nodes) = (Rows::new(from)?, BTreeSet::<Name>::new());
    loop {
        let (row, size) = rows.next()?;
        told(&row, size);
        match &row {
            // From here on it is another state's rows.
            Row::Restoring { .. } => nodes.clear(),
            Row::Node { node, .. } => drop(nodes.insert(key(&node.name))),
            Row::Service { node, .. } if !nodes.contains(&Name::from(&**node)) => return Err(damaged("a service without its node")),
            Row::Check { node, .. } if !nodes.contains(&Name::from(&**node)) => return Err(damaged("a check without its node")),
            Row::End { .. } => return Ok(()),
            _ => {}
        }
    }
}
