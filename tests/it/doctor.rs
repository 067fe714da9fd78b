//! `muster doctor` at running agents: it tries the ports of the others, reads clocks and keyrings, and says what is wrong with them.
//!
//! The first test needs network namespaces, as `netfaults` does.

use std::{
    io::{BufRead as _, BufReader, Write as _},
    net::{Ipv4Addr, TcpListener},
    process::Command,
    thread,
    time::{Duration, SystemTime, UNIX_EPOCH},
};

use tests::{
    cluster::{Cluster, DEADLINE},
    http::Client,
    network::{Fault, Network},
    node::{Node, Product, Start, free_address, muster},
    wait::wait_within,
};

/// Its exit code and what it says of the agent there, run in that namespace if there is one.
fn doctor(ip: Ipv4Addr, within: Option<&str>) -> (Option<i32>, String) {
    let program = muster();
    let mut command = match within {
        Some(namespace) => {
            let mut command = Command::new("ip");
            command.args(["netns", "exec", namespace]).arg(&program);
            command
        }
        None => Command::new(&program),
    };
    let output = command.arg("doctor").arg(format!("-http-addr=http://{ip}:8500")).output().expect("it runs");
    (output.status.code(), String::from_utf8_lossy(&output.stdout).into_owned())
}

/// Waits until it exits with this code and says all of that. A disk of this machine that is nearly full counts for nothing.
fn says(ip: Ipv4Addr, within: Option<&str>, code: i32, expected: &[String]) {
    let mut last = (None, String::new());
    let done = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| {
        wait_within("the doctor to say it", Duration::from_secs(30), || {
            last = doctor(ip, within);
            let full = ["WARNING", "PROBLEM"].iter().any(|word| last.1.contains(&format!("{word}  The file system")));
            ((full || last.0 == Some(code)) && expected.iter().all(|text| last.1.contains(text.as_str()))).then_some(())
        });
    }));
    assert!(done.is_ok(), "expected {code} and {expected:?}, but: {last:?}");
}

#[test]
fn ports_that_nobody_reaches_or_that_refuse_are_told() {
    let mut cluster = Cluster::servers_within(Network::new(3), Vec::new(), 3);
    let leader = cluster.leader();
    let other = cluster.others(leader)[0];
    let at = cluster.members[leader].start.clone();
    let (name, ip) = (cluster.members[other].start.name.clone(), cluster.members[other].start.ip);
    let within = at.within.as_deref();
    let well =
        [format!("{} leads 3 server(s).", named(&at)), "3 of 3 members are alive.".to_owned(), "Clocks agree (n1, n2, n3).".to_owned()];
    says(at.ip, within, 0, &well);

    let number = u8::try_from(other + 1).expect("few members");
    cluster.network().fault(number, Fault::Deaf);
    let gossip = format!("PROBLEM  The gossip port {ip}:8301 of {name} cannot be reached from here: ");
    let rpc = format!("PROBLEM  The RPC port {ip}:8300 of {name} ");
    says(at.ip, within, 2, &[format!("{gossip}TCP does not answer."), format!("{rpc}does not answer.")]);
    cluster.network().heal(number);
    says(at.ip, within, 0, &well);

    cluster.members[other].kill();
    says(at.ip, within, 2, &[format!("{gossip}TCP refuses, UDP refuses."), format!("{rpc}refuses.")]);
}

fn named(start: &Start) -> String {
    format!("{} ({}:8300)", start.name, start.ip)
}

/// An agent's API at another address, with a clock that is so far ahead.
fn ahead(agent: Client, by: Duration) -> Ipv4Addr {
    let ip = free_address();
    let listener = TcpListener::bind((ip, 8500)).expect("it is free");
    thread::spawn(move || {
        for stream in listener.incoming() {
            let Ok(mut stream) = stream else { return };
            let mut lines = BufReader::new(&stream).lines().map_while(Result::ok);
            let Some(line) = lines.next() else { continue };
            // Up to the end of the head: none of these calls has a body.
            let _ = lines.find(String::is_empty);
            let mut words = line.split(' ');
            let (method, target) = (words.next().unwrap_or_default(), words.next().unwrap_or_default());
            let Ok(answer) = agent.request(method, target, &[], &[]) else { continue };
            let head = format!(
                "HTTP/1.1 {} Answer\r\nDate: {}\r\nContent-Length: {}\r\nConnection: close\r\n\r\n",
                answer.status,
                date(SystemTime::now() + by),
                answer.body.len()
            );
            let _ = stream.write_all(&[head.as_bytes(), answer.body.as_slice()].concat());
        }
    });
    ip
}

/// A time as HTTP writes it.
fn date(at: SystemTime) -> String {
    let seconds = at.duration_since(UNIX_EPOCH).expect("it is after 1970").as_secs();
    let output = Command::new("date").env("LC_ALL", "C").args(["-u", "-d", &format!("@{seconds}"), "+%a, %d %b %Y %H:%M:%S GMT"]).output();
    String::from_utf8_lossy(&output.expect("there is a date command").stdout).trim().to_owned()
}

#[test]
fn clocks_that_are_apart_and_the_disk_are_told() {
    let cluster = Cluster::servers(2, &[]);
    let start = &cluster.members[0].start;
    let disk = format!("The file system of {} has ", cluster.directory().join("n1").display());
    says(start.ip, None, 0, &["Clocks agree (n1, n2).".to_owned(), disk]);
    let later = ahead(cluster.members[0].node().http, Duration::from_secs(3600));
    let (code, said) = doctor(later, None);
    let apart = said.split("The clocks of n2 and n1 are ").nth(1).and_then(|rest| rest.split(' ').next()?.parse::<u64>().ok());
    // Each is read to a second.
    assert!(code != Some(0) && apart.is_some_and(|apart| (3598..=3602).contains(&apart)), "{code:?} {said}");
    assert!(said.contains("Turn on time synchronisation"), "{said}");
}

#[test]
fn gossip_keys_that_not_everybody_has_and_a_stranger_with_another_one_are_told() {
    let (old, new, strange) = ("AQEBAQEBAQEBAQEBAQEBAQ==", "AgICAgICAgICAgICAgICAgICAgICAgICAgICAgICAgI=", "AwMDAwMDAwMDAwMDAwMDAw==");
    let cluster = Cluster::servers(1, &[format!("-encrypt={old}")]);
    let server = cluster.members[0].node();
    let installed = server.http.request("POST", "/v1/operator/keyring", &[], format!("{{\"Key\":\"{new}\"}}").as_bytes());
    assert_eq!(installed.expect("answers").status, 200);
    let join = |number: u8, key: &str| -> Node {
        let data = format!("-data-dir={}", cluster.directory().join(format!("late{number}")).display());
        let arguments = vec![data, format!("-encrypt={key}"), format!("-retry-join={}", server.ip)];
        Start::numbered(Product::Muster, number, arguments).spawn()
    };
    // It came after the key was installed.
    let _late = join(8, old);
    let stranger = join(9, strange);
    says(server.ip, None, 1, &["WARNING  The LAN gossip key AgICAg… is on 1 of 2 members only.".to_owned()]);
    wait_within("the stranger to be refused", DEADLINE, || stranger.log().contains("join failed").then_some(()));
    let refused = ["PROBLEM  This agent knows no server.".to_owned(), "or another gossip key (encrypt).".to_owned()];
    says(stranger.ip, None, 2, &refused);
}
