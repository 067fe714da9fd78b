//! Measures clusters of three servers, Muster and the real Consul in turns, on this machine and its disk.
//!
//! First argument: the path of the real binary, or `-` to leave it out. Words after it choose parts: `writes`, `failover`, `keys`
//! (memory, snapshot and restart with 100,000 keys). Prints a table with ratios; absolute numbers mean little on a shared machine.
//! Writes are measured in rounds, each product in a new cluster each time, since such a machine is not equally quick for minutes: what
//! is printed are the medians, their ratio, and the smallest and largest ratio of a round.

#![allow(
    clippy::print_stdout,
    clippy::print_stderr,
    clippy::disallowed_methods,
    clippy::disallowed_types,
    reason = "a command line tool outside the product"
)]

use std::{
    net::SocketAddr,
    path::PathBuf,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    thread,
    time::{Duration, Instant},
};

use anyhow::{Context as _, Result};
use tests::{
    cluster::{Cluster, DEADLINE},
    http::Client,
    load::{Limit, Measured, Writers, Writes},
    node::Product,
    wait::wait_within,
};

/// Keys of a full store.
const KEYS: u64 = 100_000;
/// How long each number of clients writes.
const WINDOW: Duration = Duration::from_millis(3500);
/// How often each product's writes are measured.
const ROUNDS: usize = 3;
/// How often the leader is killed.
const KILLS: usize = 5;
/// Bytes of a value.
const VALUE: usize = 512;

/// One measured thing on one product.
#[derive(Clone, Debug)]
struct Figure {
    name: String,
    unit: &'static str,
    value: f64,
    lower_is_better: bool,
}

/// What one product did, measurement by measurement; the same name comes once a round.
#[derive(Debug, Default)]
struct Figures(Vec<Figure>);

impl Figures {
    /// Every value of this name, in the order of the rounds.
    fn of(&self, name: &str) -> Vec<f64> {
        self.0.iter().filter(|figure| figure.name == name).map(|figure| figure.value).collect()
    }

    fn more(&mut self, name: &str, unit: &'static str, value: f64) {
        self.0.push(Figure { name: name.to_owned(), unit, value, lower_is_better: false });
    }

    fn less(&mut self, name: &str, unit: &'static str, value: f64) {
        self.0.push(Figure { name: name.to_owned(), unit, value, lower_is_better: true });
    }

    fn writes(&mut self, name: &str, measured: &Measured) {
        if measured.refused > 0 {
            eprintln!("    {name}: {} refused, last: {}", measured.refused, measured.refusal);
        }
        self.more(&format!("writes, {name}"), "1/s", measured.per_second());
        self.less(&format!("  p50, {name}"), "ms", measured.quantile_ms(0.5));
        self.less(&format!("  p99, {name}"), "ms", measured.quantile_ms(0.99));
    }
}

fn main() -> Result<()> {
    let mut arguments = std::env::args().skip(1);
    let peer = arguments.next().context("first argument: path of the real Consul, or - for none")?;
    let words: Vec<String> = arguments.collect();
    println!("load of the machine before: {}", load_average());
    let products: Vec<Product> =
        std::iter::once(Product::Muster).chain((peer != "-").then(|| Product::Consul(PathBuf::from(peer)))).collect();
    let mut figures: Vec<Figures> = products.iter().map(|_| Figures::default()).collect();
    let chosen = |part: &str| words.is_empty() || words.iter().any(|word| word == part);
    if chosen("writes") {
        for _ in 0..ROUNDS {
            for (product, figures) in products.iter().zip(&mut figures) {
                writes(product, figures);
            }
        }
    }
    for (product, figures) in products.iter().zip(&mut figures) {
        if chosen("failover") {
            eprintln!("    {product:?}: fail-over");
            failover(&mut formed(product), figures);
        }
        if chosen("keys") {
            eprintln!("    {product:?}: {KEYS} keys");
            keys(&mut formed(product), figures);
        }
    }
    println!("load of the machine after: {}", load_average());
    print(&figures[0], figures.get(1));
    Ok(())
}

fn median(mut values: Vec<f64>) -> f64 {
    values.sort_by(f64::total_cmp);
    values[values.len() / 2]
}

/// A line for each name.
fn print(ours: &Figures, theirs: Option<&Figures>) {
    println!("{:<52} {:>12} {:>12} {:>10}", "", "Muster", "Consul", "better by");
    let mut shown: Vec<&str> = Vec::new();
    for Figure { name, unit, lower_is_better, .. } in &ours.0 {
        if shown.contains(&name.as_str()) {
            continue;
        }
        shown.push(name);
        let title = format!("{name} ({unit})");
        let mine = ours.of(name);
        let other = theirs.map(|theirs| theirs.of(name)).filter(|other| other.len() == mine.len());
        let Some(other) = other else {
            println!("{title:<52} {:>12.1}", median(mine));
            continue;
        };
        let ratio = |mine: f64, other: f64| if *lower_is_better { other / mine } else { mine / other };
        let mut rounds: Vec<f64> = mine.iter().zip(&other).map(|(mine, other)| ratio(*mine, *other)).collect();
        rounds.sort_by(f64::total_cmp);
        let spread = if rounds.len() > 1 { format!("  {:.1} to {:.1}", rounds[0], rounds[rounds.len() - 1]) } else { String::new() };
        let (mine, other) = (median(mine), median(other));
        println!("{title:<52} {mine:>12.1} {other:>12.1} {:>9.1}x{spread}", ratio(mine, other));
    }
}

fn load_average() -> String {
    std::fs::read_to_string("/proc/loadavg").unwrap_or_default().trim().to_owned()
}

fn formed(product: &Product) -> Cluster {
    Cluster::servers_of(product.clone(), 3, &["-retry-interval=1s".to_owned()])
}

fn address(cluster: &Cluster, place: usize) -> SocketAddr {
    cluster.members[place].node().http.address
}

fn run(agent: SocketAddr, clients: usize, next: &Arc<AtomicU64>, limit: Limit) -> Measured {
    let writes = Writes { clients, value_bytes: VALUE, prefix: "bench/", keys: KEYS, next: next.clone(), limit };
    Writers::start(vec![agent], writes).wait()
}

/// Throughput and times, through the leader and, of Muster, through a follower.
fn writes(product: &Product, figures: &mut Figures) {
    eprintln!("    {product:?}: writes");
    let mut cluster = formed(product);
    let next = &Arc::new(AtomicU64::new(0));
    for clients in [1, 16, 128, 512] {
        let leader = cluster.leader();
        run(address(&cluster, leader), clients, next, Limit::For(Duration::from_millis(500)));
        let cpu = |cluster: &Cluster| cluster.members.iter().map(|member| member.node().cpu_us()).collect::<Vec<_>>();
        let before = cpu(&cluster);
        let measured = run(address(&cluster, leader), clients, next, Limit::For(WINDOW));
        let used: Vec<u64> = cpu(&cluster).iter().zip(&before).map(|(now, then)| (now - then) / measured.done.max(1)).collect();
        eprintln!("    {clients} clients: {:.0}/s; processor us/write of each server {used:?}, leader {leader}", measured.per_second());
        figures.writes(&format!("{clients} clients"), &measured);
    }
    for clients in if *product == Product::Muster { [16, 128].as_slice() } else { &[] } {
        let leader = cluster.leader();
        let follower = cluster.others(leader)[0];
        run(address(&cluster, follower), *clients, next, Limit::For(Duration::from_millis(500)));
        let measured = run(address(&cluster, follower), *clients, next, Limit::For(WINDOW));
        figures.writes(&format!("{clients} clients through a follower"), &measured);
    }
}

/// From the kill of the leader to the first write that a survivor takes, several times.
fn failover(cluster: &mut Cluster, figures: &mut Figures) {
    let mut times: Vec<f64> = Vec::new();
    for _ in 0..KILLS {
        let leader = cluster.settled(3);
        let survivors: Vec<Client> = cluster.others(leader).iter().map(|place| cluster.members[*place].node().http).collect();
        healthy(cluster, leader);
        cluster.members[leader].kill();
        let killed = Instant::now();
        times.push(first_write(&survivors, killed).as_secs_f64());
        cluster.members[leader].restart();
    }
    times.sort_by(f64::total_cmp);
    figures.less("fail-over, median of 5", "s", times[times.len() / 2]);
    figures.less("fail-over, longest of 5", "s", times[times.len() - 1]);
    cluster.settled(3);
}

/// Waits until the leader calls everybody healthy, so that each kill meets the same cluster.
fn healthy(cluster: &Cluster, leader: usize) {
    wait_within("a healthy cluster", DEADLINE, || (cluster.get(leader, "/v1/operator/autopilot/health")["Healthy"] == true).then_some(()));
}

/// A new attempt at each survivor every 50 ms until one is answered.
fn first_write(survivors: &[Client], killed: Instant) -> Duration {
    let won = Arc::new(AtomicU64::new(0));
    let mut attempts = Vec::new();
    while won.load(Ordering::Relaxed) == 0 {
        assert!(killed.elapsed() < DEADLINE, "nobody takes writes");
        for survivor in survivors {
            let survivor = *survivor;
            let won = won.clone();
            attempts.push(thread::spawn(move || {
                if survivor.request("PUT", "/v1/kv/failover", &[], b"x").is_ok_and(|answer| answer.status == 200) {
                    won.fetch_max(1, Ordering::Relaxed);
                    return Some(killed.elapsed());
                }
                None
            }));
        }
        thread::sleep(Duration::from_millis(50));
    }
    let times = attempts.into_iter().filter_map(|attempt| attempt.join().expect("an attempt ends"));
    times.min().expect("one was answered")
}

/// Memory, snapshot and restart with a full store.
fn keys(cluster: &mut Cluster, figures: &mut Figures) {
    let next = &Arc::new(AtomicU64::new(0));
    let leader = cluster.leader();
    let filled = run(address(cluster, leader), 256, next, Limit::Count(KEYS));
    figures.more("filling 100,000 keys, 256 clients", "1/s", filled.per_second());
    let leader = cluster.leader();
    figures.less("memory of the leader, 100,000 keys", "MiB", cluster.members[leader].node().resident_bytes() as f64 / 1_048_576.0);
    snapshot(&cluster.members[leader].node().http, next, figures);
    restart(cluster, next, figures);
}

/// `GET /v1/snapshot` while 16 clients write.
fn snapshot(leader: &Client, next: &Arc<AtomicU64>, figures: &mut Figures) {
    let writers = background(leader.address, next);
    let taken: Vec<_> = (0..3)
        .map(|_| {
            let begun = Instant::now();
            let answer = leader.request("GET", "/v1/snapshot", &[], &[]);
            (begun.elapsed().as_secs_f64(), answer)
        })
        .collect();
    let measured = writers.finish();
    let mut times: Vec<f64> = Vec::new();
    for (seconds, answer) in taken {
        match answer {
            Ok(answer) if answer.status == 200 && answer.body.len() > 100_000 => times.push(seconds),
            Ok(answer) => eprintln!("    no snapshot: status {} with {} bytes", answer.status, answer.body.len()),
            Err(error) => eprintln!("    no snapshot: {error}"),
        }
    }
    if times.len() == 3 {
        times.sort_by(f64::total_cmp);
        figures.less("snapshot of 100,000 keys while 16 write, median of 3", "s", times[1]);
        figures.less("  longest write meanwhile", "ms", measured.quantile_ms(1.0));
    }
}

fn background(agent: SocketAddr, next: &Arc<AtomicU64>) -> Writers {
    let writes = Writes { clients: 16, value_bytes: VALUE, prefix: "bench/", keys: KEYS, next: next.clone(), limit: Limit::Stopped };
    let writers = Writers::start(vec![agent], writes);
    wait_within("the writers to write", DEADLINE, || (writers.done() > 100).then_some(()));
    writers
}

/// From the start of a follower's process, after a kill, to its answer with the newest value; alone, then while 16 clients write.
fn restart(cluster: &mut Cluster, next: &Arc<AtomicU64>, figures: &mut Figures) {
    let mut times: Vec<f64> = (0..3).map(|turn| restarted(cluster, turn).as_secs_f64()).collect();
    times.sort_by(f64::total_cmp);
    figures.less("restart of a follower with 100,000 keys, median of 3", "s", times[1]);
    let leader = cluster.leader();
    let writers = background(address(cluster, leader), next);
    restarted(cluster, 3);
    let measured = writers.finish();
    figures.less("  longest of 16 clients' writes while one restarts", "ms", measured.quantile_ms(1.0));
}

fn restarted(cluster: &mut Cluster, turn: usize) -> Duration {
    let leader = cluster.settled(3);
    let follower = cluster.others(leader)[0];
    let value = format!("restart {turn}");
    assert_eq!(cluster.members[leader].node().http.put("/v1/kv/restarted", &value).status, 200);
    let http = cluster.members[follower].node().http;
    let stale = || {
        let answer = http.request("GET", "/v1/kv/restarted?stale&raw", &[], &[]).ok()?;
        (answer.status == 200 && answer.text() == value).then_some(())
    };
    wait_within("the follower to have the newest value", DEADLINE, stale);
    cluster.members[follower].kill();
    let begun = Instant::now();
    cluster.members[follower].restart();
    wait_within("the restarted server to have everything", DEADLINE, stale);
    begun.elapsed()
}
