//! Measures Muster beside the real Consul: start to leader, memory, registrations, key writes and reads, DNS.
//! Argument: the path of the real binary. Prints medians and ratios; absolute numbers mean little on a shared machine.

#![allow(clippy::print_stdout, clippy::disallowed_methods, clippy::disallowed_types, reason = "a command line tool outside the product")]

use std::{
    io::{BufRead as _, BufReader, Read as _, Write as _},
    net::{IpAddr, SocketAddr, TcpStream, UdpSocket},
    path::PathBuf,
    thread,
    time::{Duration, Instant},
};

use anyhow::{Context as _, Result};
use tests::{
    node::{Node, Product, Start},
    wait::wait_within,
};

/// One measured thing on one product.
struct Figure {
    name: &'static str,
    unit: &'static str,
    value: f64,
    lower_is_better: bool,
}

fn main() -> Result<()> {
    let consul = PathBuf::from(std::env::args().nth(1).context("first argument: path of the real Consul")?);
    let muster = measure(&Product::Muster)?;
    let peer = measure(&Product::Consul(consul))?;
    println!("{:<44} {:>12} {:>12} {:>8}", "", "Muster", "Consul", "better by");
    for (ours, theirs) in muster.iter().zip(&peer) {
        let ratio = if ours.lower_is_better { theirs.value / ours.value } else { ours.value / theirs.value };
        println!("{:<44} {:>12.1} {:>12.1} {:>7.1}x", format!("{} ({})", ours.name, ours.unit), ours.value, theirs.value, ratio);
    }
    Ok(())
}

fn median(mut values: Vec<f64>) -> f64 {
    values.sort_by(f64::total_cmp);
    values[values.len() / 2]
}

fn measure(product: &Product) -> Result<Vec<Figure>> {
    let mut figures = Vec::new();
    let mut add = |name, unit, value, lower_is_better| figures.push(Figure { name, unit, value, lower_is_better });
    let starts = (0..5).map(|_| Start::dev(product.clone()).start().time_to_leader.as_secs_f64() * 1e3).collect();
    add("start to leader, dev", "ms", median(starts), true);

    let node = Start::dev(product.clone()).start();
    settle(&node);
    add("memory idle, dev", "MiB", node.resident_bytes() as f64 / 1_048_576.0, true);
    for clients in [1, 16, 128] {
        let name = ["key writes, 1 client", "key writes, 16 clients", "key writes, 128 clients"]
            [[1, 16, 128].iter().position(|n| *n == clients).unwrap_or(0)];
        add(name, "1/s", requests(&node, clients, |client, at| format!("PUT /v1/kv/bench/{client}/{} HTTP/1.1", at % 100), 512), false);
    }
    add("key reads, 16 clients", "1/s", requests(&node, 16, |_, _| "GET /v1/kv/bench/0/0 HTTP/1.1".to_owned(), 0), false);
    register(&node, 3);
    add(
        "health reads of 3 instances, 16 clients",
        "1/s",
        requests(&node, 16, |_, _| "GET /v1/health/service/bench HTTP/1.1".to_owned(), 0),
        false,
    );
    for (name, cpu_name, kind) in
        [("DNS A of 3, 16 askers", "DNS A of 3, processor", 1_u16), ("DNS SRV of 3, 16 askers", "DNS SRV of 3, processor", 33)]
    {
        let (rate, cpu) = questions(&node, kind);
        add(name, "1/s", rate, false);
        add(cpu_name, "us/query", cpu, true);
    }
    drop(node);

    let node = Start::dev(product.clone()).start();
    let took = many_services(&node, 10_000);
    add("10,000 catalog registrations, 8 clients", "s", took.as_secs_f64(), true);
    settle(&node);
    add("memory with 10,000 services", "MiB", node.resident_bytes() as f64 / 1_048_576.0, true);
    let lists = (0..9).map(|_| timed(|| drop(node.http.get("/v1/internal/ui/services"))).as_secs_f64() * 1e3).collect();
    add("list of 10,000 services, whole", "ms", median(lists), true);
    if *product == Product::Muster {
        let pages = (0..9)
            .map(|_| timed(|| drop(node.http.get("/v1/muster/catalog/services?limit=50&search=service-99"))).as_secs_f64() * 1e3)
            .collect();
        println!("Muster only: one page of 50 of 10,000 services, searched: {:.1} ms", median(pages));
    }
    Ok(figures)
}

fn timed(work: impl FnOnce()) -> Duration {
    let started = Instant::now();
    work();
    started.elapsed()
}

/// Waits until the process has stopped working on what it was given.
fn settle(node: &Node) {
    let mut before = node.cpu_us();
    wait_within("the agent to settle", Duration::from_secs(30), || {
        thread::sleep(Duration::from_millis(500));
        let now = node.cpu_us();
        let quiet = now - before < 60_000;
        before = now;
        quiet.then_some(())
    });
}

/// Keep-alive requests from several clients for two seconds; answers how many a second.
fn requests(node: &Node, clients: usize, head: impl Fn(usize, usize) -> String + Send + Copy + 'static, body: usize) -> f64 {
    let address = node.http.address;
    let started = Instant::now();
    let workers: Vec<_> = (0..clients)
        .map(|client| {
            thread::spawn(move || {
                let mut stream = BufReader::new(TcpStream::connect(address).expect("connects"));
                stream.get_ref().set_nodelay(true).expect("a socket option");
                let (payload, mut sent) = (vec![b'x'; body], 0);
                while started.elapsed() < Duration::from_secs(2) {
                    let request = format!("{}\r\nHost: x\r\nContent-Length: {body}\r\n\r\n", head(client, sent));
                    stream.get_mut().write_all(&[request.as_bytes(), &payload].concat()).expect("sent");
                    answer(&mut stream);
                    sent += 1;
                }
                sent
            })
        })
        .collect();
    let total: usize = workers.into_iter().map(|worker| worker.join().expect("the client ends")).sum();
    total as f64 / started.elapsed().as_secs_f64()
}

fn answer(stream: &mut BufReader<TcpStream>) {
    let (mut length, mut chunked, mut line) = (0, false, String::new());
    loop {
        line.clear();
        stream.read_line(&mut line).expect("an answer");
        let lower = line.trim_end().to_ascii_lowercase();
        if lower.is_empty() {
            break;
        }
        if let Some(value) = lower.strip_prefix("content-length:") {
            length = value.trim().parse().expect("a length");
        }
        chunked |= lower == "transfer-encoding: chunked";
    }
    if !chunked {
        std::io::copy(&mut stream.take(length), &mut std::io::sink()).expect("a body");
        return;
    }
    loop {
        line.clear();
        stream.read_line(&mut line).expect("a chunk");
        let size = u64::from_str_radix(line.trim(), 16).expect("a size");
        std::io::copy(&mut stream.take(size + 2), &mut std::io::sink()).expect("a chunk");
        if size == 0 {
            return;
        }
    }
}

fn register(node: &Node, instances: usize) {
    for at in 0..instances {
        let body = format!(
            r#"{{"Node":"b{at}","Address":"10.1.0.{at}","Service":{{"Service":"bench","Port":80}},"Check":{{"CheckID":"c","Name":"c","Status":"passing","ServiceID":"bench"}}}}"#
        );
        assert_eq!(node.http.put("/v1/catalog/register", body).status, 200);
    }
}

/// Asks `bench.service.consul` over UDP with EDNS for two seconds; answers questions a second and microseconds of the agent's
/// processor a question.
fn questions(node: &Node, kind: u16) -> (f64, f64) {
    let server = SocketAddr::new(IpAddr::V4(node.ip), 8600);
    let mut packet = vec![0, 7, 1, 0, 0, 1, 0, 0, 0, 0, 0, 1];
    for label in ["bench", "service", "consul"] {
        packet.push(u8::try_from(label.len()).expect("short"));
        packet.extend_from_slice(label.as_bytes());
    }
    packet.extend_from_slice(&[0, 0, u8::try_from(kind).expect("small"), 0, 1, 0, 0, 41, 16, 0, 0, 0, 0, 0, 0, 0]);
    let (started, cpu) = (Instant::now(), node.cpu_us());
    let workers: Vec<_> = (0..16)
        .map(|_| {
            let packet = packet.clone();
            thread::spawn(move || {
                let socket = UdpSocket::bind("0.0.0.0:0").expect("a port");
                socket.set_read_timeout(Some(Duration::from_secs(5))).expect("a timeout");
                socket.connect(server).expect("connects");
                let (mut buffer, mut asked) = ([0; 4096], 0);
                while started.elapsed() < Duration::from_secs(2) {
                    socket.send(&packet).expect("sent");
                    socket.recv(&mut buffer).expect("an answer");
                    asked += 1;
                }
                asked
            })
        })
        .collect();
    let total: usize = workers.into_iter().map(|worker| worker.join().expect("the asker ends")).sum();
    (total as f64 / started.elapsed().as_secs_f64(), (node.cpu_us() - cpu) as f64 / total as f64)
}

/// Registers so many services on 100 external nodes; answers how long that took.
fn many_services(node: &Node, count: usize) -> Duration {
    let address = node.http.address;
    let started = Instant::now();
    let workers: Vec<_> = (0..8)
        .map(|worker| {
            thread::spawn(move || {
                let mut stream = BufReader::new(TcpStream::connect(address).expect("connects"));
                stream.get_ref().set_nodelay(true).expect("a socket option");
                for at in (worker..count).step_by(8) {
                    let body = format!(
                        r#"{{"Node":"m{}","Address":"10.2.0.{}","SkipNodeUpdate":true,"Service":{{"Service":"service-{at}","Port":80,"Tags":["t{}"]}},"Check":{{"CheckID":"c{at}","Name":"c","Status":"passing","ServiceID":"service-{at}"}}}}"#,
                        at % 100,
                        at % 100,
                        at % 7
                    );
                    let body = if at < 100 { body.replace(r#""SkipNodeUpdate":true,"#, "") } else { body };
                    let request = format!("PUT /v1/catalog/register HTTP/1.1\r\nHost: x\r\nContent-Length: {}\r\n\r\n{body}", body.len());
                    stream.get_mut().write_all(request.as_bytes()).expect("sent");
                    answer(&mut stream);
                }
            })
        })
        .collect();
    workers.into_iter().for_each(|worker| worker.join().expect("the client ends"));
    started.elapsed()
}
