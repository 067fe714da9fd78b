//! A pool of this release and of a later one, whose questions and answers on streams have fields that are not known here.
//!
//! Contract: cluster, section "Upgrades and versions".

use std::sync::atomic::{AtomicUsize, Ordering};

use tokio::sync::oneshot;

use super::*;
use crate::{rt::Tasks, samples};

/// The port of a member of a later release.
struct Newer {
    port: Arc<dyn Transport>,
    added: Arc<AtomicUsize>,
    tasks: Tasks,
}

/// What this release says, as a later one words it: plain bytes, as without keys.
fn worded(bytes: &[u8], added: &AtomicUsize) -> Vec<u8> {
    let (first, rest) = bytes.split_first().expect("is ours");
    let mut tree = exchange::decode(rest).expect("is ours");
    added.fetch_add(samples::add_fields(&mut tree), Ordering::Relaxed);
    [&[*first][..], &exchange::encode(&tree)].concat()
}

#[async_trait::async_trait]
impl Transport for Newer {
    async fn send(&self, to: SocketAddr, packet: &[u8]) -> std::io::Result<()> {
        self.port.send(to, packet).await
    }

    async fn receive(&self) -> (Vec<u8>, SocketAddr) {
        self.port.receive().await
    }

    async fn exchange(&self, with: SocketAddr, ours: Vec<u8>) -> std::io::Result<Vec<u8>> {
        self.port.exchange(with, worded(&ours, &self.added)).await
    }

    async fn accept(&self) -> Exchange {
        let Exchange { from, theirs, answer: on } = self.port.accept().await;
        let (answer, ours) = oneshot::channel::<Vec<u8>>();
        let added = self.added.clone();
        self.tasks.spawn_until_shutdown("worded", async move {
            // Dropped when the question is refused.
            if let Ok(ours) = ours.await {
                drop(on.send(worded(&ours, &added)));
            }
        });
        Exchange { from, theirs, answer }
    }
}

#[tokio::test(start_paused = true)]
async fn members_of_two_releases_join_tell_refute_and_leave() {
    let (hub, added) = (Hub::default(), Arc::new(AtomicUsize::new(0)));
    let pools: Vec<_> = (1..=6)
        .map(|id: u8| {
            let runtime = Runtime::seeded(id.into(), 1_700_000_000_000);
            let port = hub.open(SocketAddr::from(([127, 0, 0, id], 8301)));
            // Names of tags are no fields: those here are told from them by how they begin.
            let options = Options { tags: BTreeMap::from([("1role".to_owned(), "consul".to_owned())]), ..options(id) };
            let newer = Newer { port: port.clone(), added: added.clone(), tasks: runtime.tasks.clone() };
            let port = if id.is_multiple_of(2) { Arc::new(newer) } else { port };
            start_with(options, runtime, port).expect("starts")
        })
        .collect();
    // Older ones ask a newer one, and newer ones an older one.
    for (id, handle) in (1_u8..).zip(&pools) {
        handle.join(options(if id.is_multiple_of(2) { 1 } else { 2 }).bind).await.expect("joins");
    }
    let all = |members: &[(String, u8)]| members.len() == 6 && members.iter().all(|(_, status)| *status == 1);
    for handle in &pools {
        wait_for(handle, Duration::from_secs(30), all).await;
    }
    // Without packets accusations are answered on streams alone.
    hub.lose(100, 1);
    clock::sleep(Duration::from_secs(40)).await;
    for handle in &pools {
        wait_for(handle, Duration::ZERO, all).await;
        assert!(handle.detail().await.refuted > 0);
    }
    hub.lose(0, 1);
    // What both kinds tell of themselves comes over.
    for (id, handle) in (1_u8..).zip(&pools) {
        handle.set_tags(BTreeMap::from([("1long".to_owned(), format!("{id}").repeat(1000))])).await;
    }
    for handle in &pools {
        let mut members = handle.subscribe();
        let told =
            |members: &Arc<Vec<Member>>| members.iter().all(|member| member.tags.get("1long").is_some_and(|value| value.len() == 1000));
        clock::timeout(Duration::from_secs(60), members.wait_for(told)).await.expect("told").expect("runs");
    }
    for at in [4, 5] {
        pools[at].leave().await;
    }
    for handle in &pools[..4] {
        let left = |members: &[(String, u8)]| members.iter().filter(|(_, status)| *status == 3).count() == 2;
        wait_for(handle, Duration::from_secs(30), left).await;
    }
    let keys = pools[0].keyring(KeyringRequest::List).await;
    assert_eq!((keys.nodes, keys.messages.len()), (4, 4), "both kinds answer: {:?}", keys.messages);
    assert!(added.load(Ordering::Relaxed) > 500, "{added:?} fields were added");
}
