//! Keeps the catalog in step with this agent: a partial pass after every change, a full pass every minute or more.
//!
//! Only makes the calls that `diff` plans. Contract: health checks, section "Anti-entropy".

use std::{sync::Arc, time::Duration};

use futures_util::{StreamExt as _, stream};

use super::{
    Inner,
    diff::{self, Action, Remote},
};
use crate::{
    rpc,
    rt::{clock, clock::Instant},
};

const FULL_EVERY: Duration = Duration::from_secs(60);
const RETRY_AFTER: Duration = Duration::from_secs(15);
/// Until the first pass succeeds nobody has told us that a server is there, so we ask more often.
const RETRY_AT_START: Duration = Duration::from_secs(1);
const JOIN_DELAY_MAX: Duration = Duration::from_secs(3);
const CALLS_AT_ONCE: usize = 16;

/// How much longer everything takes in a cluster of so many nodes.
fn scale(nodes: usize) -> u32 {
    if nodes <= 128 { 1 } else { nodes.next_power_of_two().ilog2() - 7 + 1 }
}

/// Runs until shutdown.
pub(super) async fn run(inner: Arc<Inner>) {
    let mut ever_synced = false;
    let mut full_at = inner.now();
    loop {
        let deferred = inner.with(|state| state.release_deferred(inner.now()));
        let wake_at = deferred.map_or(full_at, |deferred| deferred.min(full_at));
        tokio::select! {
            biased;
            () = inner.wake_full.notified() => full_at = inner.now() + inner.jitter(JOIN_DELAY_MAX * inner.scale()),
            () = clock::sleep_until(wake_at) => {}
            () = inner.wake.notified() => {}
        }
        if inner.is_paused() {
            inner.resumed.notified().await;
            full_at = inner.now();
            continue;
        }
        inner.with(|state| state.release_deferred(inner.now()));
        let full = inner.now() >= full_at;
        let pass = if full { full_pass(&inner).await } else { partial_pass(&inner).await };
        // A refusal comes of a server too, and asking more often does not change its mind.
        ever_synced |= full && pass.is_ok();
        full_at = next_full(&inner, full_at, full, pass == Ok(true), ever_synced);
        inner.announce();
    }
}

fn next_full(inner: &Inner, full_at: Instant, full: bool, done: bool, ever_synced: bool) -> Instant {
    let period = FULL_EVERY * inner.scale();
    match (done, full) {
        (true, true) => inner.now() + period + inner.jitter(period),
        (true, false) => full_at,
        (false, _) if !ever_synced => inner.now() + RETRY_AT_START,
        (false, true) => inner.now() + RETRY_AFTER + inner.jitter(RETRY_AFTER),
        (false, false) => full_at.min(inner.now() + RETRY_AFTER + inner.jitter(RETRY_AFTER)),
    }
}

impl Inner {
    fn syncing(&self, token: &str) -> rpc::Request {
        rpc::Request { anti_entropy: true, ..self.request(token) }
    }

    fn scale(&self) -> u32 {
        scale(self.cluster_size.load(std::sync::atomic::Ordering::Relaxed))
    }
}

/// No server answered.
#[derive(Debug, PartialEq, Eq)]
struct Unanswered;

/// Reads what the catalog has, then makes it agree. Answers whether it does.
async fn full_pass(inner: &Inner) -> Result<bool, Unanswered> {
    match read(inner).await {
        Ok(remote) => {
            inner.with(|state| diff::compare(state, &inner.options, remote));
            partial_pass(inner).await
        }
        Err(error) => {
            tracing::warn!(%error, "cannot read this node from the catalog");
            Err(Unanswered)
        }
    }
}

async fn read(inner: &Inner) -> Result<Remote, rpc::Error> {
    let node = || inner.options.node_name.clone();
    let services = inner.router.call(inner.syncing(""), rpc::NodeServices { node: node() }).await?.value;
    let checks = inner.router.call(inner.syncing(""), rpc::NodeChecks { node: node() }).await?.value;
    Ok(Remote { services, checks })
}

/// Tells the catalog what is known to differ. Answers whether all of it was taken.
async fn partial_pass(inner: &Inner) -> Result<bool, Unanswered> {
    let mut all = true;
    for phase in 0..3 {
        let mut actions = inner.with(|state| diff::plan(state));
        let actions = std::mem::take(&mut actions[phase]);
        let mut calls = stream::iter(actions).map(|action| perform(inner, action)).buffer_unordered(CALLS_AT_ONCE);
        while let Some(result) = calls.next().await {
            match result {
                Ok(done) => all &= done,
                // Nobody answers: every other call would fail too.
                Err(()) => return Err(Unanswered),
            }
        }
    }
    Ok(all)
}

/// Makes one call. Answers whether the catalog took it; an error means that no server answers.
async fn perform(inner: &Inner, action: Action) -> Result<bool, ()> {
    let result = if let Some(deregistration) = diff::deregistration(&inner.options, &action) {
        let result = inner.router.call(inner.syncing(""), rpc::Deregister { deregistration }).await;
        if matches!(result, Ok(_) | Err(rpc::Error::PermissionDenied)) {
            inner.with(|state| match &action {
                Action::DeregisterService(id) => state.gone_services.remove(id),
                Action::DeregisterCheck(id) => state.gone_checks.remove(id),
                _ => false,
            });
        }
        result.map(|_| ())
    } else {
        let Some(call) = inner.with(|state| diff::registration(state, &inner.options, &action)) else { return Ok(true) };
        let result = inner.router.call(inner.syncing(&call.token), call.register.clone()).await;
        match &result {
            Ok(_) => inner.with(|state| call.done(state)),
            Err(rpc::Error::PermissionDenied) => inner.with(|state| call.refused(state)),
            Err(_) => {}
        }
        result.map(|_| ())
    };
    inner.announce();
    match result {
        Ok(()) => {
            match &action {
                Action::Node => tracing::info!(target: "agent", "Synced node info"),
                Action::Service(id) => tracing::info!(target: "agent", service = id, "Synced service"),
                Action::Check(id) => tracing::info!(target: "agent", check = id, "Synced check"),
                Action::DeregisterService(id) => tracing::info!(target: "agent", service = id, "Deregistered service"),
                Action::DeregisterCheck(id) => tracing::info!(target: "agent", check = id, "Deregistered check"),
            }
            Ok(true)
        }
        Err(rpc::Error::PermissionDenied) => {
            tracing::warn!(?action, "the catalog denies this agent's change");
            Ok(true)
        }
        Err(error @ (rpc::Error::BadRequest(_) | rpc::Error::Refused(_) | rpc::Error::NotFound(_))) => {
            tracing::warn!(?action, %error, "the catalog refuses this agent's change");
            Ok(false)
        }
        Err(error) => {
            tracing::warn!(?action, %error, "cannot reach the catalog");
            Err(())
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bigger_clusters_sync_less_often() {
        for (nodes, expected) in [(1, 1), (128, 1), (129, 2), (256, 2), (257, 3), (512, 3), (1024, 4)] {
            assert_eq!(scale(nodes), expected, "{nodes}");
        }
    }
}
