//! Starts a Raft node: its timing, its log and newest snapshot, its tasks.
//!
//! Refuses a disk that it cannot read rather than start without what was on it. Contract: cluster, section "Raft".

use std::{
    io,
    path::Path,
    sync::{
        Arc, Mutex, OnceLock,
        atomic::{AtomicBool, AtomicU64},
    },
    time::Duration,
};

use openraft::Config;
use tokio::task::JoinHandle;

use super::{
    Error, Options,
    log::{self, LogStore, Place},
    machine::{Machine, Origin},
    network::{Network, Transport},
    proposals::Proposals,
    reception::Reception,
    recovery, schedule,
    service::{Node, Snapshots, fatal, parse_id},
    snapshot::Archive,
    types::{NodeId, Raft, Server},
};
use crate::{rt::Runtime, store::Store};

fn config(options: &Options) -> Result<Config, Error> {
    // n/5, never below 1.
    let scaled = |ms: u64| ms * u64::from(options.multiplier.max(5)) / 5;
    Config {
        cluster_name: "muster".to_owned(),
        // Also how long the answer to a heartbeat may take: a round trip of 100 ms has to fit.
        heartbeat_interval: scaled(120),
        election_timeout_min: scaled(250),
        election_timeout_max: scaled(500),
        install_snapshot_timeout: 30_000,
        max_payload_entries: 512,
        snapshot_policy: schedule::policy(options),
        max_in_snapshot_log_to_keep: options.trailing_logs,
        replication_lag_threshold: options.snapshot_threshold.saturating_mul(2).max(options.trailing_logs).max(1),
        // Whole segments go anyway; small steps only cost.
        purge_batch_size: options.snapshot_threshold.clamp(1, 1024),
        enable_pre_vote: Some(true),
        enable_leader_restore: Some(false),
        // A server that lost its disk, or was put back to an older copy, is brought up to date, as in Consul; `network` says so.
        allow_log_reversion: Some(true),
        backoff: "100ms 200ms 400ms ...1s".to_owned(),
        ..Config::default()
    }
    .validate()
    .map_err(|error| Error::Storage(error.to_string()))
}

/// Nine tenths of the time in which a follower grants no vote after hearing the leader, for clocks that do not run alike.
fn lease(options: &Options) -> Duration {
    Duration::from_millis(450 * u64::from(options.multiplier.max(5)) / 5)
}

/// What a node keeps its state in.
struct Storage {
    log: LogStore,
    /// Ends once the log is closed; `None` in memory.
    writer: Option<JoinHandle<()>>,
    machine: Machine,
}

fn origin(options: &Options, runtime: &Runtime) -> Origin {
    Origin { server: options.node_name.clone(), clock: runtime.clock, tasks: runtime.tasks.clone() }
}

/// Opens the log and starts the node.
pub(super) async fn node(options: Options, store: Arc<Store>, runtime: Runtime, transport: Arc<dyn Transport>) -> Result<Node, Error> {
    let own = parse_id(&options.node_id)?;
    let origin = origin(&options, &runtime);
    let storage = match &options.data_dir {
        Some(dir) => open(&dir.join("raft"), own, &options.log_backend, store, origin).await.map_err(failed)?,
        None => Storage { log: LogStore::in_memory(), writer: None, machine: Machine::in_memory(store, origin) },
    };
    run(options, storage, runtime, transport).await
}

/// As [`node`], on a disk in memory.
#[cfg(any(test, feature = "sim"))]
pub(super) async fn node_on(
    options: Options,
    store: Arc<Store>,
    runtime: Runtime,
    transport: Arc<dyn Transport>,
    disk: &log::faulty::Disk,
) -> Result<Node, Error> {
    let (opened, place) = disk.open_log().map_err(failed)?;
    let (log, writer) = LogStore::on_disk(opened, &runtime.tasks, place).map_err(failed)?;
    let machine = Machine::resumed(store, origin(&options, &runtime), disk.newest());
    run(options, Storage { log, writer: Some(writer), machine }, runtime, transport).await
}

/// Starts the node on what it keeps its state in.
async fn run(options: Options, storage: Storage, runtime: Runtime, transport: Arc<dyn Transport>) -> Result<Node, Error> {
    let id = parse_id(&options.node_id)?;
    let config = config(&options)?;
    let log_failure = storage.log.failure();
    let (newest, archive, tasks) = (storage.machine.newest(), storage.machine.archive(), runtime.tasks);
    let (threshold, interval, progress) = (options.snapshot_threshold, options.snapshot_interval, storage.machine.progress());
    let snapshots = Snapshots { newest, archive: archive.clone(), tasks: tasks.clone(), threshold, interval, progress };
    let network = Network { transport, tasks: tasks.clone() };
    let raft = Raft::new(id, Arc::new(config), network, storage.log, storage.machine).await.map_err(fatal)?;
    let metrics = raft.metrics();
    schedule::run(&options, raft.clone(), raft.metrics(), runtime.rng.clone(), &tasks);
    let proposals = Proposals::start(&raft, &tasks);
    let (lease, yielded_term) = (lease(&options), AtomicU64::new(0));
    let (heard, writer, stopping) = (Mutex::new(None), Mutex::new(storage.writer), AtomicBool::new(false));
    let (reception, outdated) = (Reception::new(raft.clone(), archive, tasks), OnceLock::new());
    let node =
        Node { raft, id, metrics, proposals, lease, yielded_term, heard, writer, log_failure, outdated, stopping, reception, snapshots };
    let server = Server { name: options.node_name, address: options.address };
    node.form(server, options.bootstrap).await?;
    Ok(node)
}

fn failed(error: io::Error) -> Error {
    match error.kind() {
        // What an operator has to change is no trouble of the disk.
        io::ErrorKind::InvalidInput => Error::Refused(error.to_string()),
        _ => Error::Storage(error.to_string()),
    }
}

/// Opens log and newest snapshot, off the async threads.
async fn open(dir: &Path, own: NodeId, backend: &str, store: Arc<Store>, origin: Origin) -> io::Result<Storage> {
    let (dir, backend, tasks) = (dir.to_owned(), backend.to_owned(), origin.tasks.clone());
    let opening = tasks.spawn_blocking(move || {
        let mut opened = log::open(&dir, &backend)?;
        let (mut machine, damaged) = Machine::on_disk(store, Archive::open(&dir.join("snapshots"))?, origin)?;
        // What a snapshot that cannot be read held, the one before and the log may hold too.
        if let Some(purged) = opened.head.purged.filter(|purged| machine.applied().is_none_or(|applied| applied < purged.index())) {
            let mut reason = format!("{}: no readable snapshot reaches entry {}, where the raft log begins", dir.display(), purged.index());
            damaged.iter().for_each(|damaged| reason += &format!("; {damaged}"));
            return Err(io::Error::new(io::ErrorKind::InvalidData, reason));
        }
        recovery::explain(&dir);
        recovery::follow(&dir, own, &mut opened, &machine)?;
        opened.head.recovered.iter().for_each(|recovered| machine.recover(recovered));
        Ok((opened, machine))
    });
    let (opened, machine) = opening.await.map_err(io::Error::other)??;
    let (log, writer) = LogStore::on_disk(opened, &tasks, Place::Threads(tasks.clone()))?;
    Ok(Storage { log, writer: Some(writer), machine })
}
