//! Metrics as the API shows them: the JSON of one interval, and Prometheus' text.
//!
//! Pure. Contract: HTTP API, section "Metrics JSON"; agent configuration, section "Telemetry names".

use std::{
    collections::BTreeMap,
    fmt::Write as _,
    sync::{Arc, atomic::Ordering},
};

use serde::Serialize;

use super::{
    metrics::{INTERVAL, Labels, Options, Series, Sums, Value, lock},
    sketch::Sketch,
};

/// One interval: the answer of `GET /v1/agent/metrics`.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[serde(rename_all = "PascalCase")]
pub struct View {
    /// Start of the interval, `2006-01-02 15:04:05 +0000 UTC`.
    pub timestamp: String,
    /// Gauges by name.
    pub gauges: Vec<Gauge>,
    /// Always empty.
    pub points: Vec<Gauge>,
    /// Counters by name.
    pub counters: Vec<Summary>,
    /// Samples by name.
    pub samples: Vec<Summary>,
}

/// A gauge.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[serde(rename_all = "PascalCase")]
pub struct Gauge {
    /// Full name.
    pub name: String,
    /// Value.
    pub value: f64,
    /// Labels.
    pub labels: BTreeMap<String, String>,
}

/// A counter or sample over one interval.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[serde(rename_all = "PascalCase")]
pub struct Summary {
    /// Full name.
    pub name: String,
    /// How many numbers.
    pub count: u64,
    /// Their sum a second.
    pub rate: f64,
    /// Their sum.
    pub sum: f64,
    /// The least.
    pub min: f64,
    /// The greatest.
    pub max: f64,
    /// Their mean.
    pub mean: f64,
    /// Their standard deviation.
    pub stddev: f64,
    /// Labels.
    pub labels: BTreeMap<String, String>,
}

/// The longest prefix that fits decides; without one the default does.
fn is_shown(name: &str, options: &Options) -> bool {
    let longest = |prefixes: &[String]| prefixes.iter().filter(|prefix| name.starts_with(prefix.as_str())).map(String::len).max();
    match (longest(&options.allowed_prefixes), longest(&options.blocked_prefixes)) {
        (None, None) => options.filter_default,
        (allowed, blocked) => allowed > blocked,
    }
}

fn full_name(series: &Series, options: &Options) -> String {
    let host = if matches!(series.value, Value::Gauge(_)) { options.hostname.as_str() } else { "" };
    [options.prefix.as_str(), host, series.name.as_str()].into_iter().filter(|part| !part.is_empty()).collect::<Vec<_>>().join(".")
}

/// What is to be shown, by name and labels.
fn sorted<'a>(series: &'a [Arc<Series>], options: &Options) -> Vec<(String, &'a Series)> {
    let named = series.iter().map(|one| (full_name(one, options), one.as_ref()));
    // Filters speak of names without the host.
    let plain = |one: &Series| format!("{}.{}", options.prefix, one.name);
    let mut shown: Vec<_> = named.filter(|(name, one)| is_shown(name, options) && is_shown(&plain(one), options)).collect();
    shown.sort_by(|a, b| (&a.0, &a.1.labels).cmp(&(&b.0, &b.1.labels)));
    shown
}

fn label_map(labels: &Labels) -> BTreeMap<String, String> {
    labels.iter().cloned().collect()
}

pub(super) fn view(series: &[Arc<Series>], options: &Options, complete_ms: u64, now_ms: u64) -> View {
    let started_ms = if complete_ms == 0 { now_ms } else { complete_ms };
    let at = i64::try_from(started_ms).ok().and_then(|at| jiff::Timestamp::from_millisecond(at).ok()).unwrap_or_default();
    let mut view = View {
        timestamp: at.strftime("%Y-%m-%d %H:%M:%S +0000 UTC").to_string(),
        gauges: Vec::new(),
        points: Vec::new(),
        counters: Vec::new(),
        samples: Vec::new(),
    };
    for (name, one) in sorted(series, options) {
        let labels = label_map(&one.labels);
        match &one.value {
            Value::Gauge(bits) => view.gauges.push(Gauge { name, value: f64::from_bits(bits.load(Ordering::Relaxed)), labels }),
            Value::Counter(sums) => view.counters.extend(summary(name, interval(&lock(sums), complete_ms), labels)),
            Value::Sample(sums) => view.samples.extend(summary(name, interval(&lock(sums), complete_ms), labels)),
        }
    }
    view
}

fn interval(sums: &Sums, complete_ms: u64) -> &Sketch {
    if complete_ms == 0 { &sums.current } else { &sums.last }
}

fn summary(name: String, sketch: &Sketch, labels: BTreeMap<String, String>) -> Option<Summary> {
    (sketch.count > 0).then(|| Summary {
        name,
        count: sketch.count,
        rate: sketch.sum / INTERVAL.as_secs_f64(),
        sum: sketch.sum,
        min: sketch.min,
        max: sketch.max,
        mean: sketch.mean(),
        stddev: sketch.deviation(),
        labels,
    })
}

fn flat(name: &str) -> String {
    let mut flat: String = name.chars().map(|c| if c.is_ascii_alphanumeric() || c == '_' || c == ':' { c } else { '_' }).collect();
    if flat.starts_with(|c: char| c.is_ascii_digit()) {
        flat.insert(0, '_');
    }
    flat
}

fn label_text(labels: &Labels, extra: Option<(&str, &str)>) -> String {
    let own = labels.iter().map(|(label, value)| (label.as_str(), value.as_str()));
    let all: Vec<String> = own
        .chain(extra)
        .map(|(label, value)| {
            let value = value.replace('\\', "\\\\").replace('"', "\\\"").replace('\n', "\\n");
            format!("{}=\"{value}\"", flat(label).replace(':', "_"))
        })
        .collect();
    if all.is_empty() { String::new() } else { format!("{{{}}}", all.join(",")) }
}

fn number(value: f64) -> String {
    if value.is_nan() { "NaN".to_owned() } else { value.to_string() }
}

pub(super) fn prometheus(series: &[Arc<Series>], options: &Options) -> String {
    let mut out = String::new();
    let mut described = String::new();
    for (name, one) in sorted(series, options) {
        let flat = flat(&name);
        if flat != described {
            let kind = match one.value {
                Value::Gauge(_) => "gauge",
                Value::Counter(_) => "counter",
                Value::Sample(_) => "summary",
            };
            let _ = writeln!(out, "# HELP {flat} {name}\n# TYPE {flat} {kind}");
            described.clone_from(&flat);
        }
        let labels = label_text(&one.labels, None);
        match &one.value {
            Value::Gauge(bits) => {
                let _ = writeln!(out, "{flat}{labels} {}", number(f64::from_bits(bits.load(Ordering::Relaxed))));
            }
            Value::Counter(sums) => {
                let _ = writeln!(out, "{flat}{labels} {}", number(lock(sums).total_sum));
            }
            Value::Sample(sums) => {
                let sums = lock(sums).clone();
                let recent = sums.last.merged(&sums.current);
                for share in [0.5, 0.9, 0.99] {
                    let labels = label_text(&one.labels, Some(("quantile", &share.to_string())));
                    let _ = writeln!(out, "{flat}{labels} {}", number(recent.quantile(share).unwrap_or(f64::NAN)));
                }
                let _ = writeln!(out, "{flat}_sum{labels} {}\n{flat}_count{labels} {}", number(sums.total_sum), sums.total_count);
            }
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::telemetry::Metrics;

    fn recorded(options: Options) -> Metrics {
        let metrics = Metrics::new();
        metrics.configure(options);
        metrics.incr("rpc.request");
        metrics.incr("rpc.request");
        metrics.gauge("runtime.alloc_bytes", &[], 7.0);
        metrics.sample("http.GET.v1.kv._", &[("code", "2\"0")], 3.0);
        metrics
    }

    fn options() -> Options {
        Options { hostname: "h".to_owned(), prometheus: true, ..Options::default() }
    }

    #[test]
    fn json_shows_the_last_complete_interval() {
        let metrics = recorded(options());
        let first = metrics.view(5_000);
        assert_eq!(first.timestamp, "1970-01-01 00:00:05 +0000 UTC");
        assert_eq!(first.gauges[0].name, "consul.h.runtime.alloc_bytes");
        let requests = &first.counters[0];
        assert_eq!((requests.name.as_str(), requests.count, requests.sum, requests.rate), ("consul.rpc.request", 2, 2.0, 0.2));
        assert_eq!(first.samples[0].labels["code"], "2\"0");
        metrics.roll(10_000);
        metrics.incr("rpc.request");
        assert_eq!(metrics.view(15_000).counters[0].count, 2);
        metrics.roll(20_000);
        assert_eq!(metrics.view(25_000).counters[0].count, 1);
        metrics.roll(30_000);
        assert_eq!(metrics.view(35_000).counters, []);
        assert_eq!(metrics.view(35_000).gauges.len(), 1);
    }

    #[test]
    fn prometheus_series_stay() {
        let metrics = recorded(options());
        let expected = "# HELP consul_h_runtime_alloc_bytes consul.h.runtime.alloc_bytes\n\
                        # TYPE consul_h_runtime_alloc_bytes gauge\n\
                        consul_h_runtime_alloc_bytes 7\n\
                        # HELP consul_http_GET_v1_kv__ consul.http.GET.v1.kv._\n\
                        # TYPE consul_http_GET_v1_kv__ summary\n\
                        consul_http_GET_v1_kv__{code=\"2\\\"0\",quantile=\"0.5\"} 3\n\
                        consul_http_GET_v1_kv__{code=\"2\\\"0\",quantile=\"0.9\"} 3\n\
                        consul_http_GET_v1_kv__{code=\"2\\\"0\",quantile=\"0.99\"} 3\n\
                        consul_http_GET_v1_kv___sum{code=\"2\\\"0\"} 3\n\
                        consul_http_GET_v1_kv___count{code=\"2\\\"0\"} 1\n\
                        # HELP consul_rpc_request consul.rpc.request\n\
                        # TYPE consul_rpc_request counter\n\
                        consul_rpc_request 2\n";
        assert_eq!(metrics.prometheus().as_deref(), Some(expected));
        metrics.roll(1);
        metrics.roll(2);
        let later = metrics.prometheus().expect("it is on");
        assert!(later.contains("quantile=\"0.5\"} NaN\n") && later.contains("consul_rpc_request 2\n"), "{later}");
        metrics.configure(Options::default());
        assert_eq!(metrics.prometheus(), None);
    }

    #[test]
    fn the_longest_prefix_decides_what_is_shown() {
        let filtered = Options {
            allowed_prefixes: vec!["consul.rpc.request".to_owned()],
            blocked_prefixes: vec!["consul.rpc".to_owned(), "consul.runtime".to_owned()],
            ..options()
        };
        let metrics = recorded(filtered);
        metrics.incr("rpc.query");
        let view = metrics.view(0);
        assert_eq!(view.counters.iter().map(|one| one.name.as_str()).collect::<Vec<_>>(), ["consul.rpc.request"]);
        assert_eq!((view.gauges.len(), view.samples.len()), (0, 1));
    }
}
