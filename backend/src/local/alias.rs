//! Where alias checks look: this agent's own checks, or another node's in the catalog.
//!
//! Contract: health checks, section "Alias details".

use std::{
    sync::{Arc, Weak},
    time::Duration,
};

use shared::{
    check::Check,
    go,
    query::{Consistency, QueryOptions},
};

use super::service::Inner;
use crate::{
    checks::{Alias, Aliased, Observed, Source},
    rpc,
    rt::clock,
};

const WAIT_MAX: Duration = Duration::from_secs(60);

/// Reads the agent's state without keeping it alive.
#[derive(Debug)]
pub(super) struct LocalSource(Weak<Inner>);

impl LocalSource {
    pub(super) fn new(inner: &Arc<Inner>) -> Self {
        Self(Arc::downgrade(inner))
    }
}

#[async_trait::async_trait]
impl Source for LocalSource {
    async fn observe(&self, target: &Alias, after: u64) -> Result<Observed, String> {
        let inner = self.0.upgrade().ok_or("the agent stops")?;
        if target.node.is_empty() || target.node.eq_ignore_ascii_case(&inner.options.node_name) {
            Ok(own(&inner, target, after).await)
        } else {
            remote(&inner, target, after).await.map_err(|error| error.to_string())
        }
    }
}

fn aliased(check: &Check) -> Aliased {
    Aliased { id: check.id.clone(), name: check.name.clone(), status: check.status.clone(), output: check.output.clone() }
}

fn bears_on(check: &Check, target: &Alias) -> bool {
    check.service_id.is_empty() || check.service_id == target.service_id
}

async fn own(inner: &Inner, target: &Alias, after: u64) -> Observed {
    let mut changes = inner.changed.subscribe();
    // Versions start at 0, indexes at 1.
    let news = changes.wait_for(|version| version + 1 > after);
    let _ = clock::timeout(WAIT_MAX, news).await;
    let index = *changes.borrow() + 1;
    inner.with(|state| Observed {
        index,
        found: target.service_id.is_empty() || state.services.contains_key(&target.service_id),
        checks: state.checks.values().map(|entry| &entry.check).filter(|check| bears_on(check, target)).map(aliased).collect(),
    })
}

async fn remote(inner: &Inner, target: &Alias, after: u64) -> Result<Observed, rpc::Error> {
    let request = |index| rpc::Request {
        options: QueryOptions {
            index,
            wait: Some(go::Duration::from(WAIT_MAX)),
            consistency: Consistency::Stale,
            ..QueryOptions::default()
        },
        ..inner.request("")
    };
    let checks = inner.router.call(request(after), rpc::NodeChecks { node: target.node.clone() }).await?;
    let found = if target.service_id.is_empty() {
        true
    } else {
        let services = inner.router.call(request(0), rpc::NodeServices { node: target.node.clone() }).await?.value;
        services.is_some_and(|services| services.services.contains_key(&target.service_id))
    };
    let checks_of_target = checks.value.iter().filter(|check| bears_on(check, target)).map(aliased).collect();
    Ok(Observed { index: checks.meta.index.max(1), found, checks: checks_of_target })
}
