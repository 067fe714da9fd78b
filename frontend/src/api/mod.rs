//! How data comes and goes. Three ways, and no page does its own:
//!
//! - [`query::query`]: a read that belongs to what is on screen. It follows its request's signals and the change
//!   stream, keeps the last data when a refresh fails, retries, and ends with its page.
//! - [`fetch::send`]: one call for one action: `send(&check::RunNow { node, id }).await`.
//! - [`live::use_live`]: the change stream itself, for the few that need more than a refreshed query.

pub(crate) mod fetch;
pub(crate) mod live;
pub(crate) mod query;
mod sse;

pub(crate) use fetch::{Error, send};
pub(crate) use live::use_live;
pub(crate) use query::{Query, query};
