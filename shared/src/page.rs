//! Lists that the server pages, sorts, filters and counts: `/v1/muster/catalog/*`.

use crate::decode::Decode;
use serde::{Deserialize, Serialize};

use crate::health::{Counts, Health};

/// Most rows one page may hold.
pub const LIMIT_MAX: u32 = 500;
/// Rows in a page when nothing is asked for.
pub const LIMIT_DEFAULT: u32 = 100;

/// Which rows, in which order.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, Decode)]
#[serde(default)]
pub struct PageQuery {
    /// First row, counted from 0.
    pub offset: u32,
    /// How many rows; 0 means [`LIMIT_DEFAULT`], more than [`LIMIT_MAX`] is cut.
    pub limit: u32,
    /// `field:asc` or `field:desc`; empty is worst health first, then name.
    pub sort: String,
    /// Only rows in one of these states; empty keeps all.
    pub status: Vec<Health>,
    /// Words that must all occur in the row's name, tags, node, address or metadata. `tag:x`, `node:x` and
    /// `meta.key=x` look in one place; `*` stands for any text.
    pub search: String,
    /// Only rows of this service, node or group, by list: empty keeps all.
    pub of: String,
}

impl PageQuery {
    /// As query parameters; defaults are left out.
    #[must_use]
    pub fn pairs(&self) -> Vec<(&'static str, String)> {
        let mut pairs = Vec::new();
        for (name, number) in [("offset", self.offset), ("limit", self.limit)] {
            if number > 0 {
                pairs.push((name, number.to_string()));
            }
        }
        if !self.status.is_empty() {
            pairs.push(("status", self.status.iter().map(|state| state.as_str()).collect::<Vec<_>>().join(",")));
        }
        for (name, text) in [("sort", &self.sort), ("search", &self.search), ("of", &self.of)] {
            if !text.is_empty() {
                pairs.push((name, text.clone()));
            }
        }
        pairs
    }
}

/// One page of rows with counts over everything that matches.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, Decode)]
#[serde(rename_all = "PascalCase")]
pub struct Page<T> {
    /// The rows.
    pub rows: Vec<T>,
    /// First row, counted from 0.
    pub offset: u32,
    /// Rows that match, before paging.
    pub matched: u32,
    /// Everything by state, before `status` and after `search`.
    pub counts: Counts,
    /// Everything by state, unfiltered.
    pub totals: Counts,
    /// How long the server took, microseconds.
    pub took_us: u64,
    /// The server's clock, milliseconds since 1970: ages are counted from here.
    pub now_ms: u64,
}

impl<T> Default for Page<T> {
    fn default() -> Self {
        Self { rows: Vec::new(), offset: 0, matched: 0, counts: Counts::default(), totals: Counts::default(), took_us: 0, now_ms: 0 }
    }
}
