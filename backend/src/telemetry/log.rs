//! The log: a `tracing` layer that writes lines, keeps the last ones and streams them to whoever monitors.
//!
//! The level can change while running, and every monitor has its own; a line nobody wants costs one check of its call
//! site's cached interest. A monitor that cannot keep up loses lines and is told how many.

use std::{
    collections::VecDeque,
    fmt,
    io::Write,
    sync::{
        Arc, Mutex, OnceLock, PoisonError,
        atomic::{AtomicU8, AtomicUsize, Ordering},
    },
};

use serde_json::Value;
use tokio::sync::broadcast;
use tracing::{Event, Metadata, Subscriber, field::Field, level_filters::LevelFilter, subscriber::Interest};
use tracing_subscriber::{
    Layer,
    layer::{Context, SubscriberExt as _},
};

use super::record::{Level, Record};
use crate::rt::Clock;

/// Lines kept for a first look.
const KEPT: usize = 512;
/// Lines a monitor may be behind before it loses some.
const BEHIND_MAX: usize = 1024;

struct Shared {
    clock: Clock,
    json: bool,
    level: AtomicU8,
    /// Monitors by level.
    monitors: [AtomicUsize; 5],
    kept: Mutex<VecDeque<Arc<Record>>>,
    stream: broadcast::Sender<Arc<Record>>,
    writer: Mutex<Box<dyn Write + Send>>,
}

const LEVELS: [Level; 5] = [Level::Trace, Level::Debug, Level::Info, Level::Warn, Level::Error];

impl Shared {
    fn level(&self) -> Level {
        LEVELS[usize::from(self.level.load(Ordering::Relaxed)).min(4)]
    }

    /// The most detail anybody wants.
    fn finest(&self) -> Level {
        let monitored = LEVELS.into_iter().find(|level| self.monitors[*level as usize].load(Ordering::Relaxed) > 0);
        monitored.map_or(self.level(), |level| level.min(self.level()))
    }

    fn wants(&self, metadata: &Metadata<'_>) -> bool {
        Level::of(*metadata.level()) >= floor(metadata.target(), self.finest())
    }

    fn lock<T: ?Sized>(mutex: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
        mutex.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Libraries speak to their own developers: of theirs only warnings are shown, and at `trace` what they inform about. openraft warns of
/// every message that does not arrive, several times a second while a server is down: shown at `debug`; who leads and that nobody
/// does is said by `server`.
fn floor(target: &str, level: Level) -> Level {
    if is_own(target) {
        level
    } else if target.starts_with("openraft") && level > Level::Debug {
        Level::Error
    } else if level == Level::Trace {
        Level::Info
    } else {
        level.max(Level::Warn)
    }
}

fn is_own(target: &str) -> bool {
    matches!(target.split("::").next(), Some("backend" | "muster" | "agent"))
}

/// `backend::server::kv` says it as `agent.server`; a library by its name.
fn module(target: &str) -> String {
    let mut parts = target.split("::");
    let first = parts.next().unwrap_or_default();
    match parts.next() {
        _ if !is_own(target) => first.to_owned(),
        None | Some("agent") => "agent".to_owned(),
        Some(part) => format!("agent.{part}"),
    }
}

/// Clone-cheap handle to the log.
#[derive(Clone)]
pub struct Handle(Arc<Shared>);

impl fmt::Debug for Handle {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Handle({})", self.0.level())
    }
}

impl Handle {
    /// The level written.
    #[must_use]
    pub fn level(&self) -> Level {
        self.0.level()
    }

    /// Changes the level written, at once.
    pub fn set_level(&self, level: Level) {
        self.0.level.store(level as u8, Ordering::Relaxed);
        tracing::callsite::rebuild_interest_cache();
    }

    /// The last lines of at least this level, oldest first.
    #[must_use]
    pub fn recent(&self, level: Level) -> Vec<Arc<Record>> {
        Shared::lock(&self.0.kept).iter().filter(|record| record.level >= level).cloned().collect()
    }

    /// Streams lines of at least this level from now on.
    #[must_use]
    pub fn subscribe(&self, level: Level) -> Subscription {
        self.0.monitors[level as usize].fetch_add(1, Ordering::Relaxed);
        tracing::callsite::rebuild_interest_cache();
        Subscription { log: self.clone(), level, lines: self.0.stream.subscribe() }
    }
}

/// A stream of log lines.
#[derive(Debug)]
pub struct Subscription {
    log: Handle,
    level: Level,
    lines: broadcast::Receiver<Arc<Record>>,
}

impl Subscription {
    /// The next line; `None` once the log has ended. Lines lost because the reader was too slow are told as a line.
    pub async fn next(&mut self) -> Option<Arc<Record>> {
        loop {
            match self.lines.recv().await {
                Ok(record) if record.level >= floor_of(&record, self.level) => return Some(record),
                Ok(_) => {}
                Err(broadcast::error::RecvError::Lagged(lost)) => {
                    return Some(Arc::new(Record {
                        at_ms: self.log.0.clock.wall_ms(),
                        level: Level::Warn,
                        module: "agent".to_owned(),
                        message: format!("Monitor dropped {lost} log lines"),
                        fields: Vec::new(),
                    }));
                }
                Err(broadcast::error::RecvError::Closed) => return None,
            }
        }
    }
}

fn floor_of(record: &Record, level: Level) -> Level {
    if record.module.starts_with("agent") { level } else { floor(&record.module, level) }
}

impl Drop for Subscription {
    fn drop(&mut self) {
        self.log.0.monitors[self.level as usize].fetch_sub(1, Ordering::Relaxed);
        tracing::callsite::rebuild_interest_cache();
    }
}

struct LogLayer(Arc<Shared>);

impl<S: Subscriber> Layer<S> for LogLayer {
    fn register_callsite(&self, metadata: &'static Metadata<'static>) -> Interest {
        // Cached until the level or the monitors change.
        if self.0.wants(metadata) { Interest::always() } else { Interest::never() }
    }

    fn enabled(&self, metadata: &Metadata<'_>, _: Context<'_, S>) -> bool {
        self.0.wants(metadata)
    }

    fn max_level_hint(&self) -> Option<LevelFilter> {
        Some(match self.0.finest() {
            Level::Trace => LevelFilter::TRACE,
            Level::Debug => LevelFilter::DEBUG,
            Level::Info => LevelFilter::INFO,
            Level::Warn => LevelFilter::WARN,
            Level::Error => LevelFilter::ERROR,
        })
    }

    fn on_event(&self, event: &Event<'_>, _: Context<'_, S>) {
        let metadata = event.metadata();
        let mut fields = Fields::default();
        event.record(&mut fields);
        let record = Arc::new(Record {
            at_ms: self.0.clock.wall_ms(),
            level: Level::of(*metadata.level()),
            module: module(metadata.target()),
            message: fields.message,
            fields: fields.rest,
        });
        if record.level >= floor(metadata.target(), self.0.level()) {
            let indent = if self.0.json { "" } else { "    " };
            // A log that cannot be written must not stop the agent.
            let _ = Shared::lock(&self.0.writer).write_all(format!("{indent}{}\n", record.line(self.0.json)).as_bytes());
            let mut kept = Shared::lock(&self.0.kept);
            if kept.len() == KEPT {
                kept.pop_front();
            }
            kept.push_back(record.clone());
        }
        // Fails only when nobody monitors.
        let _ = self.0.stream.send(record);
    }
}

#[derive(Default)]
struct Fields {
    message: String,
    rest: Vec<(&'static str, Value)>,
}

impl Fields {
    fn put(&mut self, field: &Field, value: Value) {
        match (field.name(), value) {
            ("message", Value::String(text)) => self.message = text,
            (name, value) => self.rest.push((name, value)),
        }
    }
}

impl tracing::field::Visit for Fields {
    fn record_f64(&mut self, field: &Field, value: f64) {
        self.put(field, value.into());
    }

    fn record_i64(&mut self, field: &Field, value: i64) {
        self.put(field, value.into());
    }

    fn record_u64(&mut self, field: &Field, value: u64) {
        self.put(field, value.into());
    }

    fn record_bool(&mut self, field: &Field, value: bool) {
        self.put(field, value.into());
    }

    fn record_str(&mut self, field: &Field, value: &str) {
        self.put(field, value.into());
    }

    fn record_debug(&mut self, field: &Field, value: &dyn fmt::Debug) {
        self.put(field, format!("{value:?}").into());
    }
}

/// A log and the layer that feeds it, for a subscriber of one's own.
pub fn layer<S: Subscriber>(level: Level, json: bool, clock: Clock, writer: Box<dyn Write + Send>) -> (Handle, impl Layer<S>) {
    let shared = Arc::new(Shared {
        clock,
        json,
        level: AtomicU8::new(level as u8),
        monitors: Default::default(),
        kept: Mutex::default(),
        stream: broadcast::Sender::new(BEHIND_MAX),
        writer: Mutex::new(writer),
    });
    (Handle(shared.clone()), LogLayer(shared))
}

static PROCESS: OnceLock<Handle> = OnceLock::new();

/// Makes this the process's log. The first call decides; a later one answers the first one's log.
pub fn init(level: Level, json: bool, writer: Box<dyn Write + Send>) -> Handle {
    PROCESS
        .get_or_init(|| {
            let (handle, layer) = layer(level, json, Clock::system(), writer);
            // Fails only when an embedder has a subscriber of its own; then that one has the lines.
            let _ = tracing::subscriber::set_global_default(tracing_subscriber::registry().with(layer));
            handle
        })
        .clone()
}

/// The process's log, once [`init`] was called.
#[must_use]
pub fn handle() -> Option<Handle> {
    PROCESS.get().cloned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(Clone, Default)]
    struct Sink(Arc<Mutex<Vec<u8>>>);

    impl Write for Sink {
        fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
            Shared::lock(&self.0).extend_from_slice(bytes);
            Ok(bytes.len())
        }

        fn flush(&mut self) -> std::io::Result<()> {
            Ok(())
        }
    }

    impl Sink {
        fn text(&self) -> String {
            String::from_utf8_lossy(&Shared::lock(&self.0)).into_owned()
        }
    }

    fn log(level: Level) -> (Handle, Sink, tracing::subscriber::DefaultGuard) {
        let sink = Sink::default();
        let (handle, layer) = layer(level, false, Clock::system(), Box::new(sink.clone()));
        let guard = tracing::subscriber::set_default(tracing_subscriber::registry().with(layer));
        (handle, sink, guard)
    }

    #[test]
    fn lines_below_the_level_are_not_written_and_the_level_can_change() {
        let (handle, sink, _guard) = log(Level::Info);
        tracing::debug!("first");
        tracing::info!(count = 3, name = %"x", "second");
        handle.set_level(Level::Debug);
        tracing::debug!("third");
        let text = sink.text();
        assert!(!text.contains("first"), "{text}");
        assert!(text.contains(" [INFO]  agent.telemetry: second: count=3 name=x\n"), "{text}");
        assert!(text.contains(" [DEBUG] agent.telemetry: third\n"), "{text}");
        assert_eq!(handle.recent(Level::Info).len(), 1);
        assert_eq!(handle.recent(Level::Trace).len(), 2);
    }

    #[test]
    fn libraries_are_heard_only_when_they_warn() {
        let (_handle, sink, _guard) = log(Level::Debug);
        tracing::info!(target: "openraft::engine", "chatter");
        tracing::warn!(target: "openraft::engine", "trouble");
        assert!(!sink.text().contains("chatter") && sink.text().contains("openraft: trouble"), "{}", sink.text());
    }

    #[test]
    fn what_openraft_warns_of_by_the_second_is_for_debugging() {
        let (_handle, sink, _guard) = log(Level::Info);
        tracing::warn!(target: "openraft::engine", "a peer is down");
        tracing::error!(target: "openraft::engine", "broken");
        tracing::warn!(target: "hyper::proto", "trouble");
        assert!(!sink.text().contains("a peer is down"), "{}", sink.text());
        assert!(sink.text().contains("openraft: broken") && sink.text().contains("hyper: trouble"), "{}", sink.text());
    }

    #[tokio::test]
    async fn a_monitor_has_its_own_level() {
        let (handle, sink, _guard) = log(Level::Warn);
        let mut fine = handle.subscribe(Level::Debug);
        let mut coarse = handle.subscribe(Level::Error);
        tracing::debug!("one");
        tracing::error!("two");
        assert_eq!(fine.next().await.map(|record| record.message.clone()).as_deref(), Some("one"));
        assert_eq!(fine.next().await.map(|record| record.message.clone()).as_deref(), Some("two"));
        assert_eq!(coarse.next().await.map(|record| record.message.clone()).as_deref(), Some("two"));
        assert!(!sink.text().contains("one"));
    }

    #[tokio::test]
    async fn a_slow_monitor_is_told_what_it_lost() {
        let (handle, _sink, _guard) = log(Level::Info);
        let mut slow = handle.subscribe(Level::Info);
        for at in 0..BEHIND_MAX + 5 {
            tracing::info!(at, "line");
        }
        assert_eq!(slow.next().await.map(|record| record.message.clone()).as_deref(), Some("Monitor dropped 5 log lines"));
    }

    #[test]
    fn modules_are_named_by_their_layer() {
        for (target, expected) in
            [("backend::server::kv", "agent.server"), ("backend::agent", "agent"), ("backend", "agent"), ("sled::pagecache", "sled")]
        {
            assert_eq!(module(target), expected);
        }
    }
}
