//! Snapshots between whole servers in one process, over a transport that damages, holds and counts what it carries.

use std::{
    collections::{BTreeMap, BTreeSet},
    path::Path,
    sync::{Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use openraft::async_runtime::watch::WatchReceiver as _;
use shared::kv;
use tokio::sync::watch;

use super::*;
use crate::{
    raft::{
        Handle, Lane, Options, Peer, Transport, TransportError, codec,
        network::{Answer, Offer},
        start_with, types,
    },
    rt::{
        Runtime, Tasks,
        chunks::{self, Chunks},
        clock,
    },
    store::{Command, Store},
};

const SOON: Duration = Duration::from_secs(60);

/// What becomes of a snapshot on its way.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum Fate {
    #[default]
    Arrives,
    /// One bit of the second piece is another.
    Damaged,
    /// The stream ends early, without saying so.
    CutShort,
    /// Nothing comes after the first piece.
    Held,
}

#[derive(Default)]
struct Net {
    handles: BTreeMap<String, Handle>,
    cut: BTreeSet<String>,
    /// Of the snapshots to come, by sender.
    fates: BTreeMap<String, Vec<Fate>>,
    /// Sender, receiver and bytes of every snapshot that was begun.
    sent: Vec<(String, String, usize)>,
    /// Bytes of log messages by receiver.
    logged: BTreeMap<String, usize>,
}

#[derive(Clone, Default)]
struct Hub(Arc<Mutex<Net>>);

struct Port(Hub, String);

impl Hub {
    fn net(&self) -> MutexGuard<'_, Net> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn cut(&self, address: &str, cut: bool) {
        let mut net = self.net();
        if cut {
            net.cut.insert(address.to_owned())
        } else {
            net.cut.remove(address)
        };
    }

    fn fate(&self, from: &str, fates: &[Fate]) {
        self.net().fates.insert(from.to_owned(), fates.iter().rev().copied().collect());
    }

    async fn start(&self, options: Options) -> Server {
        let (store, address) = (Arc::new(Store::new()), options.address.clone());
        let port = Arc::new(Port(self.clone(), address.clone()));
        let handle = start_with(options.clone(), store.clone(), Runtime::system(), port).await.expect("starts");
        self.net().handles.insert(address.clone(), handle.clone());
        Server { handle, store, address, options }
    }
}

impl Port {
    fn server(&self, peer: &Peer) -> Result<Handle, TransportError> {
        let net = self.0.net();
        let cut = net.cut.contains(&peer.address) || net.cut.contains(&self.1);
        let found = net.handles.get(&peer.address).filter(|_| !cut).cloned();
        found.ok_or_else(|| TransportError::Unreachable(peer.address.clone()))
    }
}

#[async_trait::async_trait]
impl Transport for Port {
    async fn call(&self, peer: &Peer, lane: Lane, message: Vec<u8>) -> Result<Vec<u8>, TransportError> {
        let server = self.server(peer)?;
        if lane == Lane::Log {
            *self.0.net().logged.entry(peer.address.clone()).or_default() += message.len();
        }
        Ok(server.receive(&message).await)
    }

    async fn send_snapshot(&self, peer: &Peer, offer: Vec<u8>, mut contents: Chunks) -> Result<Vec<u8>, TransportError> {
        let server = self.server(peer)?;
        let (at, fate) = {
            let mut net = self.0.net();
            net.sent.push((self.1.clone(), peer.address.clone(), 0));
            (net.sent.len() - 1, net.fates.get_mut(&self.1).and_then(Vec::pop).unwrap_or_default())
        };
        let (to, chunks) = chunks::channel();
        let carrying = async {
            let mut number = 0;
            while let Some(piece) = contents.recv().await {
                let mut piece = piece.expect("nothing breaks while it is read");
                self.0.net().sent[at].2 += piece.len();
                number += 1;
                if number == 2 {
                    match fate {
                        Fate::Arrives => {}
                        Fate::CutShort => break,
                        Fate::Held => std::future::pending::<()>().await,
                        Fate::Damaged => {
                            let mut bytes = piece.to_vec();
                            bytes[1000] ^= 4;
                            piece = bytes.into();
                        }
                    }
                }
                if to.send(Ok(piece)).await.is_err() {
                    break;
                }
            }
            drop(to);
        };
        let (answer, ()) = futures_util::future::join(server.receive_snapshot(&offer, chunks), carrying).await;
        Ok(answer)
    }
}

struct Server {
    handle: Handle,
    store: Arc<Store>,
    address: String,
    options: Options,
}

impl Server {
    fn leads(&self) -> bool {
        self.handle.status().role == "leader"
    }

    fn value(&self, key: &str) -> Option<usize> {
        self.store.state().kv(key).map(|entry| entry.value.len())
    }

    async fn put(&self, key: &str, size: usize) {
        let write = kv::Write { op: kv::Op::Set, key: key.to_owned(), flags: 0, value: vec![7; size] };
        self.handle.propose(Command::Kv { write, at_ms: 1 }).await.expect("leads");
    }

    fn peer(&self) -> Peer {
        let Options { node_id, node_name, address, .. } = self.options.clone();
        Peer { id: node_id, name: node_name, address, voter: true }
    }

    fn archive(&self) -> PathBuf {
        self.options.data_dir.as_ref().expect("on disk").join("raft/snapshots")
    }

    /// What is being written there.
    fn unfinished(&self) -> usize {
        let entries = std::fs::read_dir(self.archive()).expect("lists");
        entries.filter(|entry| entry.as_ref().is_ok_and(|entry| entry.file_name().to_string_lossy().starts_with("tmp-"))).count()
    }
}

fn options(id: u8, dir: &Path) -> Options {
    Options {
        node_id: uuid::Uuid::from_u128(id.into()).to_string(),
        node_name: format!("server-{id}"),
        address: format!("127.0.0.{id}:8300"),
        data_dir: Some(dir.join(id.to_string())),
        log_backend: "wal".to_owned(),
        multiplier: 5,
        bootstrap: id == 1,
        // Also how many entries are purged at a time.
        snapshot_threshold: 5,
        snapshot_interval: Duration::ZERO,
        trailing_logs: 0,
    }
}

async fn wait_until(what: &str, mut reached: impl FnMut() -> bool) {
    let deadline = clock::Instant::now() + SOON;
    while !reached() {
        assert!(clock::Instant::now() < deadline, "not within {SOON:?}: {what}");
        clock::sleep(Duration::from_millis(5)).await;
    }
}

/// So many servers; the first leads.
async fn cluster(hub: &Hub, dir: &Path, count: u8) -> Vec<Server> {
    let first = options(1, dir);
    // A cluster of one is for what is large: a few snapshots of it are enough.
    let first = Options { snapshot_threshold: if count == 1 { 50 } else { first.snapshot_threshold }, ..first };
    let mut servers = vec![hub.start(first).await];
    assert!(servers[0].handle.wait_for_leader(SOON).await);
    for id in 2..=count {
        let server = hub.start(options(id, dir)).await;
        servers[0].handle.add_learner(&server.peer()).await.expect("joins");
        servers[0].handle.promote(&server.peer().id).await.expect("votes");
        servers.push(server);
    }
    servers
}

/// Up to where the log is gone.
fn purged(server: &Server) -> u64 {
    server.handle.node.metrics.borrow_watched().purged.map_or(0, |id| id.index())
}

/// Writes until none of these has the log that one who is away would need, which makes it need a snapshot. The first leads.
async fn outrun(servers: &[Server], away: &Server) {
    let deadline = clock::Instant::now() + SOON;
    let needs = away.handle.status().last_index;
    for number in 0.. {
        if servers.iter().all(|server| purged(server) > needs) {
            return;
        }
        assert!(clock::Instant::now() < deadline, "the log is not purged: {:?}", servers[0].handle.status());
        servers[0].put(&format!("more/{number}"), 1).await;
        clock::sleep(Duration::from_millis(5)).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_new_server_gets_more_than_any_message_holds_as_a_snapshot() {
    let (hub, dir) = (Hub::default(), tempfile::tempdir().expect("temp dir"));
    let leader = cluster(&hub, dir.path(), 1).await.remove(0);
    for number in 0..68 {
        leader.put(&number.to_string(), 1 << 20).await;
    }
    let taken = leader.handle.take_snapshot().await.expect("takes one");
    assert!(taken.size_bytes > 64 << 20, "{taken:?}");
    let again = leader.handle.take_snapshot().await.expect("nothing changed");
    assert_eq!(again, taken);

    let follower = hub.start(options(2, dir.path())).await;
    leader.handle.add_learner(&follower.peer()).await.expect("joins");
    wait_until("the new server has everything", || (0..68).all(|number| follower.value(&number.to_string()) == Some(1 << 20))).await;
    let sent = hub.net().sent.clone();
    let logged = hub.net().logged.clone();
    assert_eq!(sent, [(leader.address.clone(), follower.address.clone(), usize::try_from(taken.size_bytes).expect("fits"))]);
    assert!(logged[&follower.address] < 4 << 20, "what came by the log is only the end of it: {logged:?}");
    let kept = follower.handle.snapshots().await.expect("lists").kept;
    assert_eq!(kept, [taken], "with who took it and when");
    wait_until("nothing is left over", || follower.unfinished() == 0).await;
    for server in [leader, follower] {
        server.handle.shutdown().await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_transfer_that_is_damaged_or_cut_short_changes_nothing_and_is_tried_again() {
    let (hub, dir) = (Hub::default(), tempfile::tempdir().expect("temp dir"));
    let servers = cluster(&hub, dir.path(), 3).await;
    servers[0].put("old", 3).await;
    wait_until("the third has the old value", || servers[2].value("old") == Some(3)).await;
    hub.cut(&servers[2].address, true);
    for number in 0..8 {
        servers[0].put(&number.to_string(), 200 << 10).await;
    }
    servers[0].put("old", 4).await;
    outrun(&servers[..1], &servers[2]).await;
    let (told, mut seen) = watch::channel(Vec::new());
    hub.fate(&servers[0].address, &[Fate::Damaged, Fate::CutShort]);
    hub.cut(&servers[2].address, false);
    wait_until("it was sent three times", || {
        let count = hub.net().sent.len();
        if count < 3 {
            // Whatever arrived until now was refused as a whole.
            let here: Vec<_> = ["old", "7"].map(|key| servers[2].value(key)).to_vec();
            told.send_replace(here);
        }
        count >= 3
    })
    .await;
    assert_eq!(*seen.borrow_and_update(), [Some(3), None], "the old state stays until the new one is whole");
    wait_until("the third has everything", || servers[2].value("old") == Some(4) && servers[2].value("7").is_some()).await;
    wait_until("nothing is left over", || servers[2].unfinished() == 0).await;
    for server in servers {
        server.handle.shutdown().await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_new_leader_takes_over_midway_and_the_old_one_is_told() {
    let (hub, dir) = (Hub::default(), tempfile::tempdir().expect("temp dir"));
    let servers = cluster(&hub, dir.path(), 3).await;
    hub.cut(&servers[2].address, true);
    for number in 0..8 {
        servers[0].put(&number.to_string(), 200 << 10).await;
    }
    outrun(&servers[..2], &servers[2]).await;
    wait_until("the second has everything", || servers[1].value("7").is_some()).await;
    hub.fate(&servers[0].address, &[Fate::Held; 64]);
    hub.cut(&servers[2].address, false);
    wait_until("half of it has come", || servers[2].unfinished() == 1 && !hub.net().sent.is_empty()).await;
    let old = codec::encode(&Offer { vote: vote(&servers[0]), head: Head::default() });
    hub.cut(&servers[0].address, true);
    wait_until("another one leads", || servers[1..].iter().any(Server::leads)).await;
    assert!(servers[1].leads(), "the third lacks entries");
    wait_until("the third has everything", || servers[2].value("7").is_some()).await;
    let (last, to, _) = hub.net().sent.last().cloned().expect("sent");
    assert_eq!((last, to), (servers[1].address.clone(), servers[2].address.clone()));
    wait_until("nothing is left over", || servers[2].unfinished() == 0).await;

    // What the old leader still sends is not even read: it learns that it is deposed.
    let contents = chunks::produce(&Tasks::new(), |out| Write::write_all(out, b"not looked at"));
    let answer = servers[2].handle.receive_snapshot(&old.expect("encodes"), contents).await;
    let Ok(Answer::Snapshot(answer)) = codec::decode(&answer) else { panic!("another answer") };
    assert!(answer.vote > vote(&servers[0]), "{answer:?}");
    assert!(servers[2].value("7").is_some());
    for server in servers {
        server.handle.shutdown().await;
    }
}

fn vote(server: &Server) -> types::Vote {
    let id = types::NodeId(uuid::Uuid::parse_str(&server.options.node_id).expect("a UUID"));
    types::Vote::new_committed(server.handle.status().term, id)
}

#[tokio::test(flavor = "multi_thread")]
async fn a_damaged_newest_snapshot_is_passed_over_only_where_the_log_reaches_back() {
    let (hub, dir) = (Hub::default(), tempfile::tempdir().expect("temp dir"));
    let mut options = Options { trailing_logs: 1000, snapshot_threshold: 1000, ..options(1, dir.path()) };
    let server = hub.start(options.clone()).await;
    assert!(server.handle.wait_for_leader(SOON).await);
    for round in ["a", "b"] {
        server.put(round, 10).await;
        server.handle.take_snapshot().await.expect("takes one");
    }
    server.put("c", 10).await;
    let kept = server.handle.snapshots().await.expect("lists").kept;
    assert_eq!(kept.len(), 2);
    let place = |snapshot: &crate::raft::Snapshot| server.archive().join(format!("{}-{}", snapshot.term, snapshot.index));
    let (newest, early, aside) = (place(&kept[0]).join("state.bin"), place(&kept[1]), dir.path().join("early"));
    std::fs::create_dir(&aside).expect("creates");
    for name in ["meta", "state.bin"] {
        std::fs::copy(early.join(name), aside.join(name)).expect("copies");
    }
    server.handle.shutdown().await;
    std::fs::write(&newest, b"\x01 not a snapshot").expect("damages it");
    let server = hub.start(options.clone()).await;
    assert!(server.handle.wait_for_leader(SOON).await);
    wait_until("everything is there", || ["a", "b", "c"].into_iter().all(|key| server.value(key) == Some(10))).await;

    // Once the log begins after the older one, the newest is needed, and named.
    server.handle.shutdown().await;
    (options.trailing_logs, options.snapshot_threshold) = (0, 3);
    let server = hub.start(options.clone()).await;
    assert!(server.handle.wait_for_leader(SOON).await);
    for number in 0..20 {
        server.put(&number.to_string(), 10).await;
    }
    server.handle.take_snapshot().await.expect("takes one");
    wait_until("the early log is gone", || purged(&server) > kept[1].index).await;
    let newest = server.handle.snapshots().await.expect("lists").kept.remove(0);
    let newest = server.archive().join(format!("{}-{}", newest.term, newest.index));
    server.handle.shutdown().await;
    for entry in std::fs::read_dir(server.archive()).expect("lists") {
        let path = entry.expect("lists").path();
        if path != newest {
            std::fs::remove_dir_all(path).expect("removes");
        }
    }
    std::fs::rename(&aside, &early).expect("puts it back");
    let newest = newest.join("state.bin");
    std::fs::write(&newest, b"").expect("damages it");
    let error = start_with(options, Arc::new(Store::new()), Runtime::system(), Arc::new(Port(hub, String::new()))).await;
    let error = error.expect_err("refused").to_string();
    assert!(error.contains("no readable snapshot reaches entry ") && error.contains(&newest.display().to_string()), "{error}");
}
