//! The metrics registry: counters, gauges and samples, summed up over intervals of ten seconds.
//!
//! Recording takes a shared lock on one of sixteen tables and a lock of that series alone; nothing is allocated for a
//! series that exists. Never forgets a series, so that rates and graphs do not break, and never holds more than a bound.
//! Contract: agent configuration, section "Telemetry names"; HTTP API, section "Metrics JSON".

use std::{
    collections::HashMap,
    hash::{BuildHasher, RandomState},
    sync::{
        Arc, Mutex, PoisonError, RwLock,
        atomic::{AtomicU64, AtomicUsize, Ordering},
    },
    time::Duration,
};

use super::{sketch::Sketch, view};
use crate::rt::{Clock, clock};

/// How long an interval is.
pub const INTERVAL: Duration = Duration::from_secs(10);

const SHARDS: usize = 16;
/// Series at most; what would be one more is dropped.
const SERIES_MAX: usize = 20_000;

/// How metrics are named and which are shown.
#[derive(Clone, Debug, PartialEq)]
pub struct Options {
    /// First part of every name.
    pub prefix: String,
    /// Put after the prefix in the names of gauges; empty to leave it out.
    pub hostname: String,
    /// Prefixes shown.
    pub allowed_prefixes: Vec<String>,
    /// Prefixes not shown.
    pub blocked_prefixes: Vec<String>,
    /// Whether what no prefix covers is shown.
    pub filter_default: bool,
    /// Whether the Prometheus format is on.
    pub prometheus: bool,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            prefix: "consul".to_owned(),
            hostname: String::new(),
            allowed_prefixes: Vec::new(),
            blocked_prefixes: Vec::new(),
            filter_default: true,
            prometheus: false,
        }
    }
}

/// Label names and values.
pub(super) type Labels = Vec<(String, String)>;

#[derive(Debug)]
pub(super) struct Series {
    pub name: String,
    pub labels: Labels,
    pub value: Value,
}

#[derive(Debug)]
pub(super) enum Value {
    /// The bits of a float.
    Gauge(AtomicU64),
    Counter(Mutex<Sums>),
    Sample(Mutex<Sums>),
}

#[derive(Clone, Debug, Default)]
pub(super) struct Sums {
    pub current: Sketch,
    pub last: Sketch,
    pub total_count: u64,
    pub total_sum: f64,
}

impl Sums {
    fn add(&mut self, value: f64) {
        self.current.add(value);
        self.total_count += 1;
        self.total_sum += value;
    }

    fn roll(&mut self) {
        self.last = std::mem::take(&mut self.current);
    }
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Kind {
    Gauge,
    Counter,
    Sample,
}

#[derive(Debug, Default)]
struct Inner {
    shards: [RwLock<HashMap<String, Arc<Series>>>; SHARDS],
    count: AtomicUsize,
    hasher: RandomState,
    options: RwLock<Options>,
    /// Start of the interval that is complete, milliseconds since 1970; 0 before the first is.
    complete_ms: AtomicU64,
}

/// Clone-cheap handle to a registry.
#[derive(Clone, Debug, Default)]
pub struct Metrics(Arc<Inner>);

pub(super) fn lock<T>(mutex: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Metrics {
    /// An empty registry.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Sets names and filters; takes effect at once, for what was recorded before too.
    pub fn configure(&self, options: Options) {
        *self.0.options.write().unwrap_or_else(PoisonError::into_inner) = options;
    }

    /// Names and filters.
    #[must_use]
    pub fn options(&self) -> Options {
        self.0.options.read().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Counts one.
    pub fn incr(&self, name: &str) {
        self.add(name, &[], 1.0);
    }

    /// Counts so many.
    pub fn add(&self, name: &str, labels: &[(&str, &str)], amount: f64) {
        self.record(Kind::Counter, name, labels, amount);
    }

    /// Sets a gauge.
    pub fn gauge(&self, name: &str, labels: &[(&str, &str)], value: f64) {
        self.record(Kind::Gauge, name, labels, value);
    }

    /// Adds to a sample.
    pub fn sample(&self, name: &str, labels: &[(&str, &str)], value: f64) {
        self.record(Kind::Sample, name, labels, value);
    }

    /// Adds how long something took, as milliseconds.
    pub fn timing(&self, name: &str, took: Duration) {
        self.sample(name, &[], took.as_secs_f64() * 1e3);
    }

    fn record(&self, kind: Kind, name: &str, labels: &[(&str, &str)], value: f64) {
        if labels.is_empty() {
            return self.record_as(kind, name, name, labels, value);
        }
        let mut key = name.to_owned();
        for (label, value) in labels {
            key.push('\u{1}');
            key.push_str(label);
            key.push('\u{2}');
            key.push_str(value);
        }
        self.record_as(kind, &key, name, labels, value);
    }

    fn record_as(&self, kind: Kind, key: &str, name: &str, labels: &[(&str, &str)], value: f64) {
        let shard = &self.0.shards[usize::try_from(self.0.hasher.hash_one(key) % SHARDS as u64).unwrap_or(0)];
        if let Some(series) = shard.read().unwrap_or_else(PoisonError::into_inner).get(key) {
            return series.record(value);
        }
        if self.0.count.fetch_add(1, Ordering::Relaxed) >= SERIES_MAX {
            self.0.count.fetch_sub(1, Ordering::Relaxed);
            return;
        }
        let mut table = shard.write().unwrap_or_else(PoisonError::into_inner);
        let new = || {
            let labels = labels.iter().map(|(label, value)| ((*label).to_owned(), (*value).to_owned())).collect();
            let value = match kind {
                Kind::Gauge => Value::Gauge(AtomicU64::new(0)),
                Kind::Counter => Value::Counter(Mutex::default()),
                Kind::Sample => Value::Sample(Mutex::default()),
            };
            Arc::new(Series { name: name.to_owned(), labels, value })
        };
        table.entry(key.to_owned()).or_insert_with(new).record(value);
    }

    /// Ends the current interval, which started at `started_ms`.
    pub fn roll(&self, started_ms: u64) {
        for series in self.series() {
            if let Value::Counter(sums) | Value::Sample(sums) = &series.value {
                lock(sums).roll();
            }
        }
        self.0.complete_ms.store(started_ms.max(1), Ordering::Relaxed);
    }

    /// Ends an interval every ten seconds, for ever, and measures the process itself.
    pub async fn run(self, clock: Clock) {
        let mut ticks = clock::interval(INTERVAL);
        ticks.set_missed_tick_behavior(clock::MissedTickBehavior::Skip);
        ticks.tick().await;
        loop {
            self.measure_process();
            let started_ms = clock.wall_ms();
            ticks.tick().await;
            self.roll(started_ms);
        }
    }

    /// Memory as the operating system counts it, and running tasks in the place of goroutines.
    fn measure_process(&self) {
        // The second number of statm is resident pages, the first all of them.
        let pages = std::fs::read_to_string("/proc/self/statm").unwrap_or_default();
        let mut pages = pages.split_whitespace().map(|pages| pages.parse::<f64>().unwrap_or(0.0) * rustix::param::page_size() as f64);
        if let (Some(all), Some(resident)) = (pages.next(), pages.next()) {
            self.gauge("runtime.sys_bytes", &[], all);
            self.gauge("runtime.alloc_bytes", &[], resident);
        }
        if let Ok(handle) = tokio::runtime::Handle::try_current() {
            self.gauge("runtime.num_goroutines", &[], handle.metrics().num_alive_tasks() as f64);
        }
    }

    /// Every series, in no order.
    pub(super) fn series(&self) -> Vec<Arc<Series>> {
        let tables = self.0.shards.iter().map(|shard| shard.read().unwrap_or_else(PoisonError::into_inner));
        tables.flat_map(|table| table.values().cloned().collect::<Vec<_>>()).collect()
    }

    /// The last complete interval; before there is one, the one under way since `now_ms`.
    #[must_use]
    pub fn view(&self, now_ms: u64) -> view::View {
        let complete_ms = self.0.complete_ms.load(Ordering::Relaxed);
        view::view(&self.series(), &self.options(), complete_ms, now_ms)
    }

    /// Everything since the start, in Prometheus' text format; `None` when that is off.
    #[must_use]
    pub fn prometheus(&self) -> Option<String> {
        let options = self.options();
        options.prometheus.then(|| view::prometheus(&self.series(), &options))
    }
}

impl Series {
    fn record(&self, value: f64) {
        match &self.value {
            Value::Gauge(bits) => bits.store(value.to_bits(), Ordering::Relaxed),
            Value::Counter(sums) | Value::Sample(sums) => lock(sums).add(value),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn there_is_a_bound_on_series() {
        let metrics = Metrics::new();
        for at in 0..SERIES_MAX + 100 {
            metrics.incr(&format!("n{at}"));
        }
        assert_eq!(metrics.series().len(), SERIES_MAX);
        metrics.incr("n0");
    }

    #[tokio::test(start_paused = true)]
    async fn an_interval_ends_every_ten_seconds() {
        let metrics = Metrics::new();
        let clock = Clock::starting_at(1_000_000);
        let running = clock::timeout(Duration::from_secs(15), metrics.clone().run(clock));
        metrics.incr("x");
        assert!(running.await.is_err());
        let view = metrics.view(clock.wall_ms());
        assert_eq!(view.counters.iter().find(|one| one.name == "consul.x").map(|one| one.count), Some(1));
        assert_eq!(view.timestamp, "1970-01-01 00:16:40 +0000 UTC");
    }
}
