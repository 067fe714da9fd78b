//! A state as bytes: version byte, then named msgpack row by row, table by table, with a checksum at the end.
//!
//! What is derived (counts, summaries' health) is not written but made again. A truncated or damaged snapshot is refused whole.

use std::{
    io::{self, Read, Write},
    sync::Arc,
};

use serde::{Deserialize, Serialize};
use shared::{
    check::Check, health::Health, kv::Entry, node::Node, operator::AutopilotConfiguration, service::Service, service::TracePoint,
};

use super::{
    history::Record,
    summary::Summary,
    tables::{Indexes, Instance, Name, NodeRecord, State, Tombstone, key, worst},
};

/// The format this code writes.
const VERSION: u8 = 1;

/// One row. Fields may be added, never renamed.
#[derive(Serialize, Deserialize)]
enum Row {
    Head { index: u64, index_base: u64, indexes: Indexes },
    Node { node: Node, changed_at_ms: u64 },
    Service { node: String, service: Service },
    Check { node: String, check: Check },
    Summary { service: String, index: u64, changed_at_ms: u64, trace: Vec<TracePoint> },
    Kv { entry: Entry },
    Tombstone { key: String, tombstone: Tombstone },
    History { record: Record },
    Autopilot { configuration: AutopilotConfiguration },
    End { rows: u64, history_next: u64 },
}

struct Out<W> {
    inner: W,
    crc: crc32fast::Hasher,
    rows: u64,
}

impl<W: Write> Out<W> {
    fn bytes(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.crc.update(bytes);
        self.inner.write_all(bytes)
    }

    fn row(&mut self, row: &Row) -> io::Result<()> {
        let bytes = rmp_serde::to_vec_named(row).map_err(io::Error::other)?;
        self.rows += 1;
        self.bytes(&bytes)
    }
}

/// Writes a state.
///
/// # Errors
/// Those of the writer.
pub fn write(state: &State, out: impl Write) -> io::Result<()> {
    let mut out = Out { inner: out, crc: crc32fast::Hasher::new(), rows: 0 };
    out.bytes(&[VERSION])?;
    out.row(&Row::Head { index: state.index, index_base: state.index_base, indexes: state.indexes })?;
    for record in state.nodes.values() {
        out.row(&Row::Node { node: (*record.node).clone(), changed_at_ms: record.changed_at_ms })?;
    }
    for ((_, node, _), instance) in &state.instances {
        out.row(&Row::Service { node: node.to_string(), service: (*instance.service).clone() })?;
    }
    for ((node, _), check) in &state.checks {
        out.row(&Row::Check { node: node.to_string(), check: (**check).clone() })?;
    }
    for (service, summary) in &state.summaries {
        let Summary { index, changed_at_ms, ref trace, .. } = **summary;
        out.row(&Row::Summary { service: service.to_string(), index, changed_at_ms, trace: trace.clone() })?;
    }
    for entry in state.kv.values() {
        out.row(&Row::Kv { entry: (**entry).clone() })?;
    }
    for (key, tombstone) in &state.tombstones {
        out.row(&Row::Tombstone { key: key.to_string(), tombstone: *tombstone })?;
    }
    for record in state.history.records.values() {
        out.row(&Row::History { record: (**record).clone() })?;
    }
    if let Some(configuration) = &state.autopilot {
        out.row(&Row::Autopilot { configuration: (**configuration).clone() })?;
    }
    let rows = out.rows;
    out.row(&Row::End { rows, history_next: state.history.next })?;
    let crc = out.crc.finalize();
    out.inner.write_all(&crc.to_le_bytes())?;
    out.inner.flush()
}

struct In<R> {
    inner: R,
    crc: crc32fast::Hasher,
}

impl<R: Read> Read for In<R> {
    fn read(&mut self, into: &mut [u8]) -> io::Result<usize> {
        let count = self.inner.read(into)?;
        self.crc.update(&into[..count]);
        Ok(count)
    }
}

fn damaged(what: impl std::fmt::Display) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, format!("snapshot: {what}"))
}

/// Reads a state back, checking it whole before answering.
///
/// # Errors
/// Those of the reader; `InvalidData` for a damaged or unknown snapshot.
pub fn read(from: impl Read) -> io::Result<State> {
    let mut from = In { inner: io::BufReader::new(from), crc: crc32fast::Hasher::new() };
    let mut version = [0];
    from.read_exact(&mut version).map_err(|_| damaged("empty"))?;
    if version[0] != VERSION {
        return Err(damaged(format_args!("format {} is not known; this version reads {VERSION}", version[0])));
    }
    let mut state = State::default();
    let mut rows = 0;
    loop {
        let row: Row = rmp_serde::from_read(&mut from).map_err(|e| damaged(format_args!("row {rows}: {e}")))?;
        if let Row::End { rows: told, history_next } = row {
            if told != rows {
                return Err(damaged(format_args!("{rows} rows where {told} were written")));
            }
            state.history.next = history_next;
            break;
        }
        insert(&mut state, row)?;
        rows += 1;
    }
    let found = from.crc.finalize();
    let mut told = [0; 4];
    from.inner.read_exact(&mut told).map_err(|_| damaged("truncated before its checksum"))?;
    if u32::from_le_bytes(told) != found {
        return Err(damaged("checksum does not match"));
    }
    if from.inner.read(&mut [0])? != 0 {
        return Err(damaged("more bytes after its checksum"));
    }
    derive(&mut state);
    Ok(state)
}

fn insert(state: &mut State, row: Row) -> io::Result<()> {
    match row {
        Row::Head { index, index_base, indexes } => (state.index, state.index_base, state.indexes) = (index, index_base, indexes),
        Row::Node { node, changed_at_ms } => {
            let name = key(&node.name);
            if !node.id.is_empty() {
                state.node_ids.insert(key(&node.id), name.clone());
            }
            state.nodes.insert(name, NodeRecord { node: Arc::new(node), changed_at_ms, ..NodeRecord::default() });
        }
        Row::Service { node, service } => {
            let (node, id, name) = (Name::from(node), Name::from(service.id.as_str()), key(&service.name));
            state.nodes.get_mut(&node).ok_or_else(|| damaged("a service without its node"))?.services += 1;
            state.services.insert((node.clone(), id.clone()), name.clone());
            state.instances.insert((name, node, id), Instance { service: Arc::new(service), ..Instance::default() });
        }
        Row::Check { node, check } => {
            let (node, id) = (Name::from(node), Name::from(check.id.as_str()));
            let record = state.nodes.get_mut(&node).ok_or_else(|| damaged("a check without its node"))?;
            let health = Health::of_check(&check);
            record.checks.add(health);
            if check.service_id.is_empty() {
                record.own_checks.add(health);
            }
            state.checks_of.insert((node.clone(), Name::from(check.service_id.as_str()), id.clone()));
            state.checks.insert((node, id), Arc::new(check));
        }
        Row::Summary { service, index, changed_at_ms, trace } => {
            state.summaries.insert(Name::from(service), Arc::new(Summary { index, changed_at_ms, trace, ..Summary::default() }));
        }
        Row::Kv { entry } => {
            state.kv.insert(Name::from(entry.key.as_str()), Arc::new(entry));
        }
        Row::Tombstone { key, tombstone } => {
            state.tombstones.insert(Name::from(key), tombstone);
        }
        Row::Autopilot { configuration } => state.autopilot = Some(Arc::new(configuration)),
        Row::History { record } => {
            let at = (key(&record.node), Name::from(record.check_id.as_str()));
            for (seq, transition) in &record.transitions {
                state.history.order.insert(*seq, (at.0.clone(), at.1.clone(), transition.at_ms));
            }
            state.history.bytes += record.bytes();
            state.history.records.insert(at, Arc::new(record));
        }
        Row::End { .. } => {}
    }
    Ok(())
}

/// Makes again what is derived from the tables.
fn derive(state: &mut State) {
    let places: Vec<_> = state.instances.keys().cloned().collect();
    for at in places {
        let mut checks = state.nodes.get(&at.1).map(|record| record.own_checks).unwrap_or_default();
        state.checks_of(&at.1, &at.2).map(|check| Health::of_check(check)).for_each(|health| checks.add(health));
        if let Some(instance) = state.instances.get_mut(&at) {
            (instance.health, instance.checks) = (worst(&checks), checks);
        }
    }
    let kept: Vec<_> = state.summaries.iter().map(|(service, summary)| (service.clone(), summary.clone())).collect();
    for (service, old) in kept {
        match Summary::compute(state.instances_of(&service)) {
            Some(new) => {
                let new = Summary { index: old.index, changed_at_ms: old.changed_at_ms, trace: old.trace.clone(), ..new };
                state.summaries.insert(service, Arc::new(new));
            }
            None => {
                state.summaries.remove(&service);
            }
        }
    }
}
