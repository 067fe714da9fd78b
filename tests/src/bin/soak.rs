//! A long run: three servers at default timing under the full write load of 128 clients, without a change of leader.
//!
//! Argument: minutes. Fails when the term rose, a write was refused, or the servers disagree in the end.

#![allow(
    clippy::print_stdout,
    clippy::print_stderr,
    clippy::disallowed_methods,
    clippy::disallowed_types,
    reason = "a command line tool outside the product"
)]

use std::{
    sync::{Arc, atomic::AtomicU64},
    thread,
    time::{Duration, Instant},
};

use anyhow::{Context as _, Result, ensure};
use tests::{
    cluster::Cluster,
    load::{Limit, Writers, Writes},
    workload::agree,
};

/// How often it tells how it goes.
const REPORT: Duration = Duration::from_secs(30);

fn term(cluster: &Cluster, place: usize) -> u64 {
    cluster.get(place, "/v1/muster/raft")["Term"].as_u64().unwrap_or_default()
}

fn main() -> Result<()> {
    let minutes: u64 = std::env::args().nth(1).context("argument: minutes")?.parse().context("minutes are a number")?;
    let mut cluster = Cluster::servers(3, &[]);
    let leader = cluster.leader();
    let before = term(&cluster, leader);
    println!("leader {}, term {before}; 128 clients write for {minutes} min", cluster.members[leader].start.name);
    let (longest, begun) = (Duration::from_secs(minutes * 60), Instant::now());
    let next = Arc::new(AtomicU64::new(0));
    let writes = Writes { clients: 128, value_bytes: 512, prefix: "soak/", keys: 10_000, next, limit: Limit::For(longest) };
    let writers = Writers::start(vec![cluster.members[leader].node().http.address], writes);
    let mut reported = 0;
    while begun.elapsed() < longest {
        thread::sleep(REPORT.min(longest.saturating_sub(begun.elapsed())));
        let (done, mib) = (writers.done(), cluster.members[leader].node().resident_bytes() >> 20);
        let load = std::fs::read_to_string("/proc/loadavg").unwrap_or_default();
        println!(
            "{:>5.0} s: {:>9} writes, {:>6.0}/s; term {}; leader {mib} MiB; load {}",
            begun.elapsed().as_secs_f64(),
            done,
            (done - reported) as f64 / REPORT.as_secs_f64(),
            term(&cluster, leader),
            load.split(' ').next().unwrap_or_default()
        );
        reported = done;
    }
    let measured = writers.wait();
    let (now, after) = (cluster.leader(), term(&cluster, leader));
    println!(
        "{} writes, {:.0}/s; p50 {:.1} ms, p99 {:.1} ms, longest {:.0} ms; term {before} at the start, {after} at the end",
        measured.done,
        measured.per_second(),
        measured.quantile_ms(0.5),
        measured.quantile_ms(0.99),
        measured.quantile_ms(1.0)
    );
    agree(&cluster);
    ensure!(measured.refused == 0, "{} writes were refused, the last with: {}", measured.refused, measured.refusal);
    ensure!(now == leader && after == before, "the leader changed");
    Ok(())
}
