//! The agent this dashboard comes from: its name, version, role and datacenter, and the datacenters it knows.

use crate::prelude::*;
use shared::{agent, catalog, changes::Topic};

use crate::api::{Query, query};

/// What is known of the agent. Copy it freely.
#[derive(Clone, Copy)]
pub(crate) struct Agent {
    pub(crate) about: Query<agent::Info>,
    pub(crate) datacenters: Query<Vec<String>>,
}

/// The agent this dashboard comes from.
pub(crate) fn use_agent() -> Agent {
    expect_context()
}

/// Asks the agent about itself and provides the answer. Needs the change stream.
pub(crate) fn provide() -> Agent {
    let agent = Agent {
        about: query(|| Some(agent::GetSelf), |change| change.topic == Topic::Raft),
        datacenters: query(|| Some(catalog::GetDatacenters), |_| false),
    };
    provide_context(agent);
    agent
}

/// A text of the agent's configuration.
pub(crate) fn config<'a>(about: &'a agent::Info, key: &str) -> &'a str {
    about.config.get(key).and_then(|value| value.as_str()).unwrap_or_default()
}
