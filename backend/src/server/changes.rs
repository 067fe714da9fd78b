//! The change stream: what changed, coalesced per object, at most ten times a second.
//!
//! The first change of a quiet stream goes out at once; what follows within 100 ms goes out together. Every change passes the
//! reader's authorizer. A reader that is too far behind is told to read everything again.

use std::{collections::BTreeMap, sync::Arc, time::Duration};

use shared::changes::{Change, Topic};
use tokio::sync::mpsc;

use super::Server;
use crate::{
    acl::{Access, Authorizer},
    rpc::{self, Changes, Error},
    rt::{Shutdown, clock},
    store::{Batch, Store},
};

/// The shortest time between two batches.
const PAUSE: Duration = Duration::from_millis(100);
/// Batches a slow reader may leave unread before its stream stands still.
const QUEUE: usize = 16;

type Sender = mpsc::Sender<Result<rpc::Batch, Error>>;

/// Starts a stream after an index; 0 starts now.
pub(super) fn stream(server: &Server, authorizer: Authorizer, since: u64) -> Result<Changes, Error> {
    let shutdown = server.runtime.tasks.shutdown();
    if shutdown.is_requested() {
        return Err(Error::Stopping);
    }
    let (sender, receiver) = mpsc::channel(QUEUE);
    let store = server.store.clone();
    server.runtime.tasks.spawn("change-stream", run(store, authorizer, since, sender, shutdown));
    Ok(receiver)
}

async fn run(store: Arc<Store>, authorizer: Authorizer, since: u64, sender: Sender, shutdown: Shutdown) {
    let changes = store.changes();
    let mut pushes = changes.subscribe();
    let mut batch = if since == 0 { Ok(changes.now()) } else { changes.after(since) };
    let mut first = true;
    loop {
        let place = match batch {
            Ok(Batch { index, place, changes }) => {
                let told = coalesce(changes, &authorizer);
                if (first || !told.is_empty()) && sender.send(Ok((index, Some(told)))).await.is_err() {
                    return;
                }
                place
            }
            Err(_) => {
                let now = changes.now();
                if sender.send(Ok((now.index, None))).await.is_err() {
                    return;
                }
                now.place
            }
        };
        if !first {
            tokio::select! {
                () = clock::sleep(PAUSE) => {}
                () = sender.closed() => return,
                () = shutdown.requested() => return,
            }
        }
        first = false;
        tokio::select! {
            biased;
            () = shutdown.requested() => return,
            () = sender.closed() => return,
            pushed = pushes.changed() => if pushed.is_err() { return },
        }
        batch = changes.since(place);
    }
}

/// The last change of every object the reader may see, in index order.
fn coalesce(changes: Vec<Change>, authorizer: &Authorizer) -> Vec<Change> {
    let mut last = BTreeMap::new();
    for change in changes.into_iter().filter(|change| may_see(authorizer, change)) {
        last.insert((change.topic, change.node.clone(), change.name.clone()), change);
    }
    let mut changes: Vec<_> = last.into_values().collect();
    changes.sort_by_key(|change| change.index);
    changes
}

fn may_see(authorizer: &Authorizer, change: &Change) -> bool {
    match change.topic {
        Topic::Node => authorizer.allows(Access::NodeRead(&change.name)),
        Topic::Service => authorizer.allows(Access::ServiceRead(&change.name)),
        Topic::Check | Topic::Session => authorizer.allows(Access::NodeRead(&change.node)),
        Topic::Kv => authorizer.allows(Access::KeyRead(&change.name)),
        Topic::Raft => authorizer.allows(Access::OperatorRead),
    }
}
