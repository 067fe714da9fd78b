//! What every list of rows goes through: node metadata and the filter expression.

use shared::{node::Node, page::Page};

use super::Call;
use crate::{
    acl::Access,
    filter::{self, Filter, Filterable},
    rpc::Error,
    rt::clock::Instant,
};

impl Call<'_> {
    /// Whether a node's metadata contains every pair asked for.
    pub(super) fn wants_node(self, node: &Node) -> bool {
        self.request.options.node_meta.iter().all(|(key, value)| node.meta.get(key) == Some(value))
    }

    pub(super) fn may_read_node(self, node: &str) -> bool {
        self.authorizer.allows(Access::NodeRead(node))
    }

    pub(super) fn may_read_service(self, service: &str) -> bool {
        self.authorizer.allows(Access::ServiceRead(service))
    }

    /// The page with the time it took and the server's clock.
    pub(super) fn timed<R>(self, page: Page<R>, start: Instant) -> Page<R> {
        let took = self.server.runtime.clock.now().saturating_duration_since(start);
        Page { took_us: u64::try_from(took.as_micros()).unwrap_or(u64::MAX), now_ms: self.server.runtime.clock.wall_ms(), ..page }
    }

    /// Whether the caller narrows the rows at all.
    pub(super) fn is_narrowed(self) -> bool {
        !self.request.options.filter.is_empty() || !self.request.options.node_meta.is_empty()
    }

    /// Refuses a filter expression these rows cannot answer, before any wait.
    pub(super) fn check_filter<T: Filterable>(self) -> Result<(), Error> {
        Filter::<T>::new(&self.request.options.filter).map(|_| ()).map_err(|reason| Error::Refused(reason.to_string()))
    }

    /// Keeps the rows the filter expression selects.
    pub(super) fn filter<T: Filterable>(self, rows: &mut Vec<T>) -> Result<(), Error> {
        filter::select(&self.request.options.filter, rows).map_err(|reason| Error::Refused(reason.to_string()))
    }
}
