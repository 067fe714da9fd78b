//! The autopilot configuration, once an operator has changed it, and the id by which clusters are told apart.

use std::sync::Arc;

use shared::operator::AutopilotConfiguration;

use super::{Reply, write::Write};

/// Replaces it, with `cas` only if it was last changed at that index; 0 means "never yet".
pub(super) fn set_autopilot(write: &mut Write, configuration: &AutopilotConfiguration, cas: Option<u64>) -> Reply {
    let index = write.index;
    let state = &mut write.state;
    let current = state.autopilot.as_deref();
    let modified = current.map_or(0, |current| current.modify_index);
    if cas.is_some_and(|cas| cas != modified) {
        return Reply::Done(false);
    }
    let create_index = current.map_or(index, |current| current.create_index);
    state.autopilot = Some(Arc::new(AutopilotConfiguration { create_index, modify_index: index, ..configuration.clone() }));
    Reply::Done(true)
}

/// Names the cluster, once: the first leader draws the id, and it stays for good.
pub(super) fn name_cluster(write: &mut Write, id: &str) -> Reply {
    let named = write.state.cluster.is_some();
    if !named {
        write.state.cluster = Some(Arc::from(id));
    }
    Reply::Done(!named)
}
