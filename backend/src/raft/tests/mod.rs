//! Whole nodes: a single server in memory and on disk, killed and reopened; three servers over an in-memory transport.

mod powercuts;
mod releases;
mod reversion;
mod stalls;

use std::{
    collections::{BTreeMap, BTreeSet},
    path::Path,
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use openraft::async_runtime::watch::WatchReceiver as _;
use shared::kv;

use super::*;
use crate::{
    rt::{chunks::Chunks, clock},
    samples,
};

const SOON: Duration = Duration::from_secs(20);

fn options(id: u8) -> Options {
    Options {
        node_id: uuid::Uuid::from_u128(id.into()).to_string(),
        node_name: format!("server-{id}"),
        address: format!("127.0.0.{id}:8300"),
        data_dir: None,
        log_backend: "wal".to_owned(),
        multiplier: 5,
        bootstrap: true,
        snapshot_threshold: 16384,
        snapshot_interval: Duration::ZERO,
        trailing_logs: 10000,
    }
}

fn put(key: &str) -> Command {
    Command::Kv { write: kv::Write { op: kv::Op::Set, key: key.to_owned(), flags: 0, value: key.as_bytes().to_vec() }, at_ms: 1 }
}

fn has(store: &Store, key: &str) -> bool {
    store.state().kv(key).is_some_and(|entry| entry.value == key.as_bytes())
}

fn is_handle<T: Clone + Send + Sync + 'static>(_: &T) {}

#[tokio::test(start_paused = true)]
async fn a_sole_server_leads_at_once_and_applies_commands() {
    let runtime = Runtime::system();
    let began = runtime.clock.now();
    let store = Arc::new(Store::new());
    let handle = start(options(1), store.clone(), runtime).await.expect("starts");
    is_handle(&handle);
    assert!(handle.wait_for_leader(SOON).await);
    // On a paused clock only waiting takes time: no election timeout has passed.
    assert!(began.elapsed() < Duration::from_millis(100), "waited {:?}", began.elapsed());
    let (first, reply) = handle.propose(put("a")).await.expect("leads");
    assert_eq!(reply, Reply::Done(true));
    let (second, _) = handle.propose(put("b")).await.expect("leads");
    assert_eq!(second, first + 1);
    assert!(has(&store, "a") && has(&store, "b"));
    let status = handle.status();
    assert_eq!((status.role.as_str(), status.peers.len(), status.last_quorum_ms), ("leader", 1, Some(0)));
    assert_eq!(status.leader.map(|peer| peer.address), Some("127.0.0.1:8300".to_owned()));
    handle.confirm_leadership(false).await.expect("lease");
    handle.confirm_leadership(true).await.expect("quorum of one");
    handle.shutdown().await;
    assert_eq!(handle.propose(put("c")).await, Err(Error::Stopped));
}

#[test]
fn a_leader_under_load_tells_its_status_and_goes_on() {
    let threads = tokio::runtime::Builder::new_multi_thread().worker_threads(3).enable_all().build().expect("a runtime");
    let (ended, wait) = std::sync::mpsc::channel();
    threads.spawn(async move {
        let handle = start(options(1), Arc::new(Store::new()), Runtime::system()).await.expect("starts");
        assert!(handle.wait_for_leader(SOON).await);
        for _ in 0..2 {
            let (handle, ended) = (handle.clone(), ended.clone());
            std::thread::spawn(move || {
                (0..50_000).for_each(|_| drop((handle.status(), handle.contact())));
                ended.send(()).expect("waited for");
            });
        }
        for _ in 0..2_000 {
            handle.propose(put("a")).await.expect("leads");
        }
        ended.send(()).expect("waited for");
    });
    let all = (0..3).all(|_| wait.recv_timeout(SOON).is_ok());
    // Threads that wait for ever would hold up an ordinary end.
    threads.shutdown_background();
    assert!(all, "whoever asks and the node itself wait for each other");
}

#[tokio::test]
async fn a_server_that_may_not_bootstrap_waits_for_others() {
    let handle = start(Options { bootstrap: false, ..options(1) }, Arc::new(Store::new()), Runtime::system()).await.expect("starts");
    assert!(!handle.wait_for_leader(Duration::from_millis(700)).await);
    assert_eq!(handle.propose(put("a")).await, Err(Error::NoLeader));
    assert_eq!(handle.confirm_leadership(false).await, Err(Error::NoLeader));
    assert_eq!(handle.status().leader, None);
}

#[tokio::test]
async fn a_node_id_that_is_no_uuid_is_refused() {
    let options = Options { node_id: "server-1".to_owned(), ..options(1) };
    let error = start(options, Arc::new(Store::new()), Runtime::system()).await.expect_err("refused");
    assert!(error.to_string().starts_with("node id \"server-1\": "), "{error}");
}

/// Starts on a directory that a killed process may still hold for a moment.
async fn reopen(options: &Options) -> (Handle, Arc<Store>) {
    let deadline = clock::Instant::now() + SOON;
    loop {
        let store = Arc::new(Store::new());
        match start(options.clone(), store.clone(), Runtime::system()).await {
            Ok(handle) => {
                assert!(handle.wait_for_leader(SOON).await, "leads");
                return (handle, store);
            }
            Err(error) => assert!(clock::Instant::now() < deadline, "{error}"),
        }
        tokio::task::yield_now().await;
    }
}

/// Proposes keys from many tasks at once and ends the process's runtime in the midst of it; answers the acknowledged ones.
fn work_until_killed(options: &Options, life: usize) -> Vec<String> {
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().expect("a runtime");
    let acknowledged = Arc::new(Mutex::new(Vec::new()));
    runtime.block_on(async {
        let (handle, _) = reopen(options).await;
        let (enough, mut proposed) = tokio::sync::mpsc::channel(1024);
        for task in 0..16 {
            let (handle, acknowledged, enough) = (handle.clone(), acknowledged.clone(), enough.clone());
            #[allow(clippy::disallowed_methods, reason = "a test's own tasks")]
            tokio::spawn(async move {
                for number in 0.. {
                    let key = format!("{life}/{task}/{number}");
                    if handle.propose(put(&key)).await.is_err() {
                        return;
                    }
                    acknowledged.lock().unwrap_or_else(PoisonError::into_inner).push(key);
                    if enough.send(()).await.is_err() {
                        return;
                    }
                }
            });
        }
        for _ in 0..300 {
            proposed.recv().await.expect("proposals go on");
        }
    });
    // No shutdown: everything stops where it is.
    runtime.shutdown_background();
    let acknowledged = acknowledged.lock().unwrap_or_else(PoisonError::into_inner).clone();
    assert!(acknowledged.len() >= 300);
    acknowledged
}

fn check_kills(dir: &Path, backend: &str, snapshot_threshold: u64) {
    let options = Options {
        data_dir: Some(dir.to_owned()),
        log_backend: backend.to_owned(),
        snapshot_threshold,
        trailing_logs: snapshot_threshold / 2,
        ..options(1)
    };
    let mut acknowledged = Vec::new();
    for life in 0..4 {
        acknowledged.extend(work_until_killed(&options, life));
    }
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().expect("a runtime");
    runtime.block_on(async {
        let (handle, store) = reopen(&options).await;
        let lost: Vec<_> = acknowledged.iter().filter(|key| !has(&store, key)).collect();
        assert!(lost.is_empty(), "{backend}: lost {lost:?}");
        if snapshot_threshold < 1000 {
            assert!(handle.status().snapshot_index > 0, "{:?}", handle.status());
            assert!(std::fs::read_dir(dir.join("raft/snapshots")).expect("lists").count() > 0);
        }
        handle.shutdown().await;
        // A clean stop leaves nothing locked.
        let again = start(options.clone(), Arc::new(Store::new()), Runtime::system()).await.expect("opens at once");
        assert!(again.wait_for_leader(SOON).await);
    });
}

#[test]
fn a_killed_server_has_every_acknowledged_write_with_the_wal() {
    check_kills(tempfile::tempdir().expect("temp dir").path(), "wal", 16384);
}

#[test]
fn a_killed_server_has_every_acknowledged_write_with_sled() {
    check_kills(tempfile::tempdir().expect("temp dir").path(), "sled", 16384);
}

#[test]
fn a_killed_server_has_every_acknowledged_write_across_snapshots() {
    check_kills(tempfile::tempdir().expect("temp dir").path(), "wal", 100);
    check_kills(tempfile::tempdir().expect("temp dir").path(), "sled", 100);
}

#[tokio::test]
async fn a_log_without_the_snapshot_it_begins_after_refuses_to_start() {
    let dir = tempfile::tempdir().expect("temp dir");
    let options = Options { data_dir: Some(dir.path().to_owned()), snapshot_threshold: 20, trailing_logs: 0, ..options(1) };
    let (handle, _) = reopen(&options).await;
    let deadline = clock::Instant::now() + SOON;
    for number in 0.. {
        handle.propose(put(&number.to_string())).await.expect("leads");
        if handle.status().snapshot_index > 100 {
            break;
        }
        assert!(clock::Instant::now() < deadline, "{:?}", handle.status());
    }
    handle.shutdown().await;
    std::fs::remove_dir_all(dir.path().join("raft/snapshots")).expect("removes");
    let error = start(options, Arc::new(Store::new()), Runtime::system()).await.expect_err("refused").to_string();
    assert!(error.contains("no readable snapshot reaches entry "), "{error}");
}

#[tokio::test(start_paused = true)]
async fn snapshots_are_taken_at_the_interval_once_enough_came_and_keep_the_trailing_logs() {
    let (threshold, trailing, interval) = (20, 30, Duration::from_secs(30));
    let options = Options { snapshot_threshold: threshold, trailing_logs: trailing, snapshot_interval: interval, ..options(1) };
    let handle = start(options, Arc::new(Store::new()), Runtime::seeded(1, 0)).await.expect("starts");
    assert!(handle.wait_for_leader(SOON).await);
    let began = clock::Instant::now();
    let propose = async |count: u64| {
        for number in 0..count {
            handle.propose(put(&number.to_string())).await.expect("leads");
        }
    };
    let taken = || handle.status().snapshot_index;
    propose(threshold + 5).await;
    clock::sleep_until(began + interval - Duration::from_millis(1)).await;
    assert_eq!(taken(), 0, "it is not looked yet");
    clock::sleep_until(began + interval * 2 + SECOND).await;
    let first = taken();
    assert!(first > threshold, "{first}");
    propose(threshold - 1).await;
    clock::sleep(interval * 10).await;
    assert_eq!(taken(), first, "too few since");
    propose(1).await;
    clock::sleep(interval * 2 + SECOND).await;
    assert_eq!(taken(), first + threshold);
    // So many that a restart would read for long: at once.
    let before = clock::Instant::now();
    propose(threshold * 16).await;
    wait_until("a snapshot", || taken() > first + threshold).await;
    assert!(before.elapsed() < interval / 10, "{:?}", before.elapsed());
    wait_until("the log before it to go", || purged(&handle) + trailing >= taken().saturating_sub(threshold)).await;
    assert!(purged(&handle) + trailing <= taken(), "{} of {}", purged(&handle), taken());
    handle.shutdown().await;
}

const SECOND: Duration = Duration::from_secs(1);

/// The last entry that the log no longer has.
fn purged(handle: &Handle) -> u64 {
    handle.node.metrics.borrow_watched().purged.map_or(0, |id| id.index())
}

/// Connects servers in one process; links can be cut.
#[derive(Clone, Default)]
struct Hub(Arc<Mutex<Servers>>);

#[derive(Default)]
struct Servers {
    handles: BTreeMap<String, Handle>,
    cut: BTreeSet<String>,
    /// These get no answers, while what they send arrives.
    deaf: BTreeSet<String>,
    /// Bytes of the longest message with log entries.
    longest: usize,
    /// These are of a later release, whose messages and answers have more fields; and how many fields they added.
    newer: BTreeSet<String>,
    added: usize,
}

struct Port(Hub, String);

#[async_trait::async_trait]
impl Transport for Port {
    async fn call(&self, peer: &Peer, lane: Lane, message: Vec<u8>) -> Result<Vec<u8>, TransportError> {
        if lane == Lane::Log {
            let mut servers = self.0.0.lock().unwrap_or_else(PoisonError::into_inner);
            servers.longest = servers.longest.max(message.len());
        }
        match self.server(peer) {
            Some(server) => {
                let answer = server.receive(&self.0.worded_by(&self.1, message)).await;
                let answer = self.0.worded_by(&peer.address, answer);
                if self.0.0.lock().unwrap_or_else(PoisonError::into_inner).deaf.contains(&self.1) {
                    std::future::pending::<()>().await;
                }
                Ok(answer)
            }
            None => Err(TransportError::Unreachable(peer.address.clone())),
        }
    }

    async fn send_snapshot(&self, peer: &Peer, offer: Vec<u8>, contents: Chunks) -> Result<Vec<u8>, TransportError> {
        match self.server(peer) {
            Some(server) => {
                let answer = server.receive_snapshot(&self.0.worded_by(&self.1, offer), contents).await;
                Ok(self.0.worded_by(&peer.address, answer))
            }
            None => Err(TransportError::Unreachable(peer.address.clone())),
        }
    }
}

impl Port {
    fn server(&self, peer: &Peer) -> Option<Handle> {
        let servers = self.0.0.lock().unwrap_or_else(PoisonError::into_inner);
        let cut = servers.cut.contains(&peer.address) || servers.cut.contains(&self.1);
        servers.handles.get(&peer.address).filter(|_| !cut).cloned()
    }
}

impl Hub {
    /// What a server says, as its release words it.
    fn worded_by(&self, address: &str, bytes: Vec<u8>) -> Vec<u8> {
        let mut servers = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if !servers.newer.contains(address) {
            return bytes;
        }
        let mut tree = codec::decode(&bytes).expect("is ours");
        servers.added += samples::add_fields(&mut tree);
        codec::encode(&tree).expect("encodes")
    }

    fn cut(&self, address: &str, cut: bool) {
        let mut servers = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if cut {
            servers.cut.insert(address.to_owned())
        } else {
            servers.cut.remove(address)
        };
    }

    async fn start(&self, options: Options) -> (Handle, Arc<Store>) {
        let (store, port) = (Arc::new(Store::new()), Port(self.clone(), options.address.clone()));
        let address = options.address.clone();
        let handle = start_with(options, store.clone(), Runtime::system(), Arc::new(port)).await.expect("starts");
        self.0.lock().unwrap_or_else(PoisonError::into_inner).handles.insert(address, handle.clone());
        (handle, store)
    }
}

async fn wait_until(what: &str, mut reached: impl FnMut() -> bool) {
    let deadline = clock::Instant::now() + SOON;
    while !reached() {
        assert!(clock::Instant::now() < deadline, "not within {SOON:?}: {what}");
        clock::sleep(Duration::from_millis(5)).await;
    }
}

/// Three servers with a leader, which comes first.
async fn cluster(hub: &Hub, tune: impl Fn(Options) -> Options) -> Vec<(Handle, Arc<Store>)> {
    let mut servers = vec![hub.start(tune(options(1))).await];
    assert!(servers[0].0.wait_for_leader(SOON).await);
    for id in 2..=3 {
        servers.push(hub.start(tune(Options { bootstrap: false, ..options(id) })).await);
        let peer = Peer { id: options(id).node_id, name: options(id).node_name, address: options(id).address, voter: true };
        // Whoever just began to lead, or lost the others for a moment on a busy machine, changes nothing yet.
        changed(&servers[0].0, async |leader| leader.add_learner(&peer).await).await;
        changed(&servers[0].0, async |leader| leader.promote(&peer.id).await).await;
    }
    servers
}

/// Changes the configuration once this server leads.
async fn changed(leader: &Handle, change: impl AsyncFn(&Handle) -> Result<(), Error>) {
    let deadline = clock::Instant::now() + SOON;
    while let Err(error) = change(leader).await {
        let passes = matches!(error, Error::NoLeader | Error::NotLeader { .. } | Error::Refused(_));
        assert!(passes && clock::Instant::now() < deadline, "{error}");
        clock::sleep(Duration::from_millis(5)).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_server_is_a_voter_or_gone_only_once_the_others_have_agreed() {
    let hub = Hub::default();
    let servers = cluster(&hub, |options| options).await;
    let leader = servers[0].0.clone();
    let _fourth = hub.start(Options { bootstrap: false, ..options(4) }).await;
    let peer = Peer { id: options(4).node_id, name: options(4).node_name, address: options(4).address, voter: true };
    changed(&leader, async |leader| leader.add_learner(&peer).await).await;
    let told = |leader: &Handle| leader.status().peers.into_iter().find(|row| row.id == peer.id).map(|row| row.voter);
    for remove in [false, true] {
        assert_eq!(told(&leader), Some(remove));
        // The leader alone counts as nobody.
        ["127.0.0.2:8300", "127.0.0.3:8300"].iter().for_each(|address| hub.cut(address, true));
        let before = leader.status().last_index;
        let (changing, id) = (leader.clone(), peer.id.clone());
        let change = async move { if remove { changing.remove(&id).await } else { changing.promote(&id).await } };
        let changing = Runtime::system().tasks.spawn("change", change);
        wait_until("the change is begun", || leader.status().last_index > before).await;
        let status = leader.status();
        assert_eq!(told(&leader), Some(false), "removed: {remove}: {:?}", status.peers);
        assert_eq!(status.voter_sets.iter().map(Vec::len).collect::<Vec<_>>().iter().sum::<usize>(), 7, "{:?}", status.voter_sets);
        ["127.0.0.2:8300", "127.0.0.3:8300"].iter().for_each(|address| hub.cut(address, false));
        changing.await.expect("ends").expect("is agreed on");
        assert_eq!(told(&leader), (!remove).then_some(true), "whoever asks after the answer sees it");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn three_servers_replicate_and_survive_the_loss_of_their_leader() {
    let hub = Hub::default();
    let servers = cluster(&hub, |options| options).await;
    for number in 0..50 {
        servers[0].0.propose(put(&format!("before/{number}"))).await.expect("leads");
    }
    wait_until("everybody has everything", || servers.iter().all(|(_, store)| has(store, "before/49"))).await;
    assert_eq!(servers[1].0.status().peers.len(), 3);
    let hint = Error::NotLeader { hint: Some("127.0.0.1:8300".to_owned()) };
    assert_eq!(servers[1].0.propose(put("elsewhere")).await, Err(hint.clone()));
    assert_eq!(servers[2].0.confirm_leadership(true).await, Err(hint));

    let mut watching = servers[1].0.clone();
    hub.cut("127.0.0.1:8300", true);
    clock::timeout(SOON, watching.changed()).await.expect("hears of the change");
    let leads = |server: &(Handle, Arc<Store>)| server.0.status().role == "leader";
    wait_until("another one leads", || servers[1..].iter().any(leads)).await;
    let leader = servers[1..].iter().find(|server| leads(server)).expect("just seen");
    assert!(leader.0.wait_for_leader(SOON).await);
    leader.0.propose(put("after")).await.expect("two of three are enough");
    // The old one leads nobody and must not answer consistent reads.
    assert!(clock::timeout(SOON, servers[0].0.confirm_leadership(true)).await.is_ok_and(|confirmed| confirmed.is_err()));
    assert!(!has(&servers[0].1, "after"));

    hub.cut("127.0.0.1:8300", false);
    wait_until("the old leader catches up", || has(&servers[0].1, "after")).await;
    assert_eq!(servers.iter().filter(|server| leads(server)).count(), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_write_the_leader_had_taken_when_it_stopped_is_never_called_undone() {
    let hub = Hub::default();
    let servers = cluster(&hub, |options| options).await;
    servers[0].0.propose(put("before")).await.expect("leads");
    let before = servers[0].0.status().last_index;
    // The others get the entry, their acknowledgements get lost.
    hub.0.lock().unwrap_or_else(PoisonError::into_inner).deaf.insert("127.0.0.1:8300".to_owned());
    let writing = {
        let leader = servers[0].0.clone();
        Runtime::system().tasks.spawn("write", async move { leader.propose(put("in flight")).await })
    };
    wait_until("the others have it", || servers[1..].iter().any(|(handle, _)| handle.status().last_index > before)).await;
    servers[0].0.shutdown().await;
    assert_eq!(writing.await.expect("ends"), Err(Error::Lost), "another server may do it, so nobody may send it again");
    wait_until("the next leader does it", || servers[1..].iter().all(|(_, store)| has(store, "in flight"))).await;
    assert_eq!(servers[0].0.propose(put("after")).await, Err(Error::Stopped), "never taken: to be sent elsewhere");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_leader_that_removes_itself_says_so_at_once_and_another_leads() {
    let hub = Hub::default();
    let servers = cluster(&hub, |options| options).await;
    let began = clock::Instant::now();
    let own = options(1).node_id;
    changed(&servers[0].0, async |leader| leader.remove(&own).await).await;
    assert!(began.elapsed() < Duration::from_secs(5), "{:?}", began.elapsed());
    // openraft hands leadership over a little later: others may write from then on, so its state may be old.
    assert!(!servers[0].0.leads(), "its lease ended with its vote");
    wait_until("another leads", || servers[1..].iter().any(|(handle, _)| handle.leads())).await;
    let leader = &servers[1..].iter().find(|(handle, _)| handle.leads()).expect("just seen").0;
    wait_until("two are left", || leader.status().peers.len() == 2).await;
    assert!(leader.status().peers.iter().all(|peer| peer.voter && peer.id != own));
}

/// Until one of them takes it: on a busy machine a leader may be late with its heartbeats.
async fn propose_to_whoever_leads(servers: &[(Handle, Arc<Store>)], command: &Command) {
    let deadline = clock::Instant::now() + SOON;
    for (handle, _) in servers.iter().cycle() {
        match handle.propose(command.clone()).await {
            Ok(_) => return,
            Err(error) => assert!(clock::Instant::now() < deadline, "{error}"),
        }
        clock::sleep(Duration::from_millis(5)).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn large_values_reach_a_server_that_was_away_in_messages_of_a_few_megabytes() {
    const VALUE: usize = 512 << 10;
    // Far more than a message may have, far fewer than its 512 entries.
    const COUNT: u32 = 64;
    let hub = Hub::default();
    let dirs: Vec<_> = (0..3).map(|_| tempfile::tempdir().expect("temp dir")).collect();
    let servers = cluster(&hub, |options| {
        let at = usize::from(options.node_name.ends_with('2')) + 2 * usize::from(options.node_name.ends_with('3'));
        Options { data_dir: Some(dirs[at].path().to_owned()), ..options }
    })
    .await;
    hub.cut("127.0.0.3:8300", true);
    for number in 0..COUNT {
        // Bytes that msgpack writes as two each where it can.
        let write = kv::Write { op: kv::Op::Set, key: format!("large/{number}"), flags: 0, value: vec![200; VALUE] };
        propose_to_whoever_leads(&servers[..2], &Command::Kv { write, at_ms: 1 }).await;
    }
    hub.cut("127.0.0.3:8300", false);
    let arrived = |number: u32| servers[2].1.state().kv(&format!("large/{number}")).is_some_and(|entry| entry.value.len() == VALUE);
    wait_until("the third has everything", || (0..COUNT).all(arrived)).await;
    let longest = hub.0.lock().unwrap_or_else(PoisonError::into_inner).longest;
    assert!((VALUE..4 << 20).contains(&longest), "a message of {longest} bytes");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_server_that_was_away_while_the_leader_made_snapshots_catches_up() {
    let hub = Hub::default();
    let dirs: Vec<_> = (0..3).map(|_| tempfile::tempdir().expect("temp dir")).collect();
    let servers = cluster(&hub, |options| {
        let at = usize::from(options.node_name.ends_with('2')) + 2 * usize::from(options.node_name.ends_with('3'));
        Options { snapshot_threshold: 50, trailing_logs: 5, data_dir: Some(dirs[at].path().to_owned()), ..options }
    })
    .await;
    hub.cut("127.0.0.3:8300", true);
    for number in 0..300 {
        servers[0].0.propose(put(&format!("{number}"))).await.expect("leads");
    }
    wait_until("the leader made a snapshot", || servers[0].0.status().snapshot_index > 100).await;
    assert!(!has(&servers[2].1, "299"));
    hub.cut("127.0.0.3:8300", false);
    // By the log or by a snapshot: which of them depends on what the leader has purged by now.
    wait_until("the third has everything", || (0..300).all(|number| has(&servers[2].1, &number.to_string()))).await;
}

/// Three servers on these directories; nobody has to lead yet.
async fn restarted(hub: &Hub, dirs: &[tempfile::TempDir], ids: &[u8]) -> Vec<(Handle, Arc<Store>)> {
    let mut servers = Vec::new();
    for id in ids {
        let data_dir = Some(dirs[usize::from(*id) - 1].path().to_owned());
        servers.push(hub.start(Options { bootstrap: false, data_dir, ..options(*id) }).await);
    }
    servers
}

#[tokio::test(flavor = "multi_thread")]
async fn servers_given_the_same_peers_json_need_each_other_once_and_keep_what_one_of_them_has() {
    let dirs: Vec<_> = (0..3).map(|_| tempfile::tempdir().expect("temp dir")).collect();
    let hub = Hub::default();
    let servers = cluster(&hub, |options| {
        let at = usize::from(options.node_name.ends_with('2')) + 2 * usize::from(options.node_name.ends_with('3'));
        Options { data_dir: Some(dirs[at].path().to_owned()), ..options }
    })
    .await;
    // What the third never got.
    hub.cut("127.0.0.3:8300", true);
    servers[0].0.propose(put("two")).await.expect("leads");
    for (handle, _) in &servers {
        handle.shutdown().await;
    }
    let row = |id: u8| format!("{{\"id\": \"{}\", \"address\": \"{}\"}}", options(id).node_id, options(id).address);
    let file = format!("[{}, {}, {}]", row(1), row(2), row(3));
    dirs.iter().for_each(|dir| std::fs::write(dir.path().join("raft/peers.json"), &file).expect("writes"));
    hub.cut("127.0.0.3:8300", false);

    // Two of three, of which one lacks it: no leader, although it would be a majority.
    let hub = Hub::default();
    let early = restarted(&hub, &dirs, &[2, 3]).await;
    let elected = wait_until("one of two leads", || early.iter().any(|(handle, _)| handle.leads()));
    assert!(clock::timeout(Duration::from_millis(1500), elected).await.is_err(), "a majority is not enough at first");
    let first = restarted(&hub, &dirs, &[1]).await;
    wait_until("one leads", || first.iter().chain(&early).any(|(handle, _)| handle.leads())).await;
    let servers: Vec<_> = first.into_iter().chain(early).collect();
    let (leader, _) = servers.iter().find(|(handle, _)| handle.leads()).expect("just seen");
    leader.settle().await.expect("is finished");
    leader.propose(put("three")).await.expect("leads");
    wait_until("everybody has everything", || servers.iter().all(|(_, store)| has(store, "two") && has(store, "three"))).await;
    assert!(dirs.iter().all(|dir| !dir.path().join("raft/peers.json").exists()));
    // From now on a majority is enough, also after a restart.
    for (handle, _) in &servers {
        handle.shutdown().await;
    }
    let hub = Hub::default();
    let two = restarted(&hub, &dirs, &[2, 3]).await;
    wait_until("one of two leads", || two.iter().any(|(handle, _)| handle.leads())).await;
    assert!(two.iter().all(|(_, store)| has(store, "two")));
}

/// A server on a disk that loses what was not flushed.
struct Mortal {
    disk: faulty::Disk,
    server: Option<(Handle, Arc<Store>)>,
}

impl Hub {
    async fn start_on(&self, id: u8, first: bool, disk: &faulty::Disk) -> (Handle, Arc<Store>) {
        let options = Options { bootstrap: first, snapshot_threshold: 40, trailing_logs: 10, ..options(id) };
        let (store, port) = (Arc::new(Store::new()), Port(self.clone(), options.address.clone()));
        let address = options.address.clone();
        let handle = start_on(options, store.clone(), Runtime::seeded(id.into(), 0), Arc::new(port), disk).await.expect("starts");
        self.0.lock().unwrap_or_else(PoisonError::into_inner).handles.insert(address, handle.clone());
        (handle, store)
    }

    /// The machine dies: its disk first, so that it acknowledges nothing any more.
    async fn crash(&self, server: &mut Mortal, id: u8) {
        server.disk = server.disk.crash();
        self.0.lock().unwrap_or_else(PoisonError::into_inner).handles.remove(&options(id).address);
        if let Some((handle, _)) = server.server.take() {
            handle.shutdown().await;
        }
    }
}

#[tokio::test(start_paused = true)]
async fn a_leader_whose_disk_fails_steps_down_says_why_and_the_others_go_on() {
    for (kind, reason) in [(std::io::ErrorKind::StorageFull, "No space left on device"), (std::io::ErrorKind::Other, "Input/output error")]
    {
        let (hub, servers) = mortals(7).await;
        let (leader, store) = servers[0].server.as_ref().expect("runs");
        leader.propose(put("before")).await.expect("leads");
        servers[0].disk.fail(kind, reason);
        let refused = leader.propose(put("lost")).await.expect_err("is not on disk");
        assert!(refused.to_string().contains(reason), "{refused}");
        assert_eq!(clock::timeout(SOON, leader.ended()).await, Ok(Ended::Disk(reason.to_owned())));
        // A disk that works again is not trusted: nobody knows what it lost.
        servers[0].disk.heal();
        assert!(leader.propose(put("again")).await.is_err());
        let status = leader.status();
        assert_eq!((status.role.as_str(), status.failure.as_deref(), status.leader), ("shutdown", Some(reason), None));
        assert!(has(store, "before"), "what it had can be read");
        wait_until("another leads", || servers[1..].iter().any(|server| server.server.as_ref().is_some_and(|it| it.0.leads()))).await;
        assert!(put_somewhere(&servers[1..], "after").await);
        drop(hub);
    }
}

#[tokio::test(start_paused = true)]
async fn a_core_that_panics_is_told_from_one_that_was_stopped() {
    let handle = start(options(1), Arc::new(Store::new()), Runtime::system()).await.expect("starts");
    let stopped = handle.clone();
    assert!(handle.wait_for_leader(SOON).await);
    handle.break_core().await;
    assert_eq!(clock::timeout(SOON, handle.ended()).await, Ok(Ended::Core("panicked".to_owned())));
    let handle = start(options(1), Arc::new(Store::new()), Runtime::system()).await.expect("starts");
    handle.shutdown().await;
    assert!(clock::timeout(SOON, handle.ended()).await.is_err(), "somebody stopped it");
    drop(stopped);
}

/// Puts a key through whoever leads; answers whether it was acknowledged.
async fn put_somewhere(servers: &[Mortal], key: &str) -> bool {
    for (handle, _) in servers.iter().filter_map(|server| server.server.as_ref()) {
        if clock::timeout(Duration::from_secs(1), handle.propose(put(key))).await.is_ok_and(|done| done.is_ok()) {
            return true;
        }
    }
    // Time passes only while everybody waits.
    clock::sleep(Duration::from_millis(20)).await;
    false
}

/// Three servers on such disks; the first leads.
async fn mortals(seed: u64) -> (Hub, Vec<Mortal>) {
    let (hub, rng, mut servers) = (Hub::default(), crate::rt::Rng::from_seed(seed), Vec::new());
    for id in 1..=3 {
        let disk = faulty::Disk::new(&rng, Duration::from_millis(8));
        servers.push(Mortal { server: Some(hub.start_on(id, id == 1, &disk).await), disk });
    }
    let leader = servers[0].server.as_ref().expect("runs").0.clone();
    assert!(leader.wait_for_leader(SOON).await);
    for id in 2..=3 {
        let peer = Peer { id: options(id).node_id, name: options(id).node_name, address: options(id).address, voter: true };
        leader.add_learner(&peer).await.expect("joins");
        leader.promote(&peer.id).await.expect("votes");
    }
    (hub, servers)
}

/// Crashes one, two or all of three servers again and again, in the midst of writes.
async fn survives_crashes(seed: u64) {
    let rng = crate::rt::Rng::from_seed(seed);
    let (hub, mut servers) = mortals(seed).await;
    let mut acknowledged = Vec::new();
    for round in 0..8 {
        let writing = async {
            for number in 0.. {
                let keys: Vec<String> = (0..4).map(|client| format!("{round}/{number}/{client}")).collect();
                let puts = futures_util::future::join_all(keys.iter().map(|key| put_somewhere(&servers, key))).await;
                acknowledged.extend(keys.into_iter().zip(puts).filter(|(_, done)| *done).map(|(key, _)| key));
            }
        };
        let _ = clock::timeout(rng.jitter(Duration::from_millis(500)), writing).await;
        let victims: Vec<u8> = (1..=3).filter(|_| rng.below(2) == 0).collect();
        for id in &victims {
            hub.crash(&mut servers[usize::from(*id) - 1], *id).await;
        }
        for id in victims {
            let server = &mut servers[usize::from(id) - 1];
            server.server = Some(hub.start_on(id, false, &server.disk).await);
        }
    }
    let deadline = clock::Instant::now() + SOON;
    while !put_somewhere(&servers, "last").await {
        assert!(clock::Instant::now() < deadline, "seed {seed}: nobody leads in the end");
        clock::sleep(Duration::from_millis(50)).await;
    }
    acknowledged.push("last".to_owned());
    wait_until("everybody has everything that was acknowledged", || {
        servers.iter().filter_map(|server| server.server.as_ref()).all(|(_, store)| acknowledged.iter().all(|key| has(store, key)))
    })
    .await;
    assert!(acknowledged.len() > 50, "seed {seed}: a run that writes nothing proves nothing: {}", acknowledged.len());
    for server in servers {
        server.server.expect("runs").0.shutdown().await;
    }
}

#[tokio::test(start_paused = true)]
async fn a_cluster_whose_machines_crash_loses_nothing_acknowledged() {
    for seed in 0..4 {
        survives_crashes(seed).await;
    }
}
