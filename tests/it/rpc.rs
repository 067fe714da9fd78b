//! Calls between real agents when a server stops or hangs: nothing is done twice, nobody waits longer than a call may wait.

use std::{
    io::Write as _,
    net::TcpStream,
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    thread,
    time::{Duration, Instant},
};

use tests::{
    cluster::{Cluster, DEADLINE},
    http::Client,
    processor::Processor,
    wait::wait_within,
};

/// What one writer saw, who alone writes its key.
#[derive(Debug, Default)]
struct Seen {
    done: u64,
    unknown: u64,
    /// Refused because of the index, although nobody else writes: an earlier sending of the same write had been done.
    twice: u64,
}

/// Counts up by check-and-set until told to stop; goes by the index it read whenever it does not know what became of a write.
fn count_up(agent: Client, key: &str, stop: &AtomicBool, done: &AtomicU64) -> Seen {
    let mut seen = Seen::default();
    let mut at: Option<(u64, u64)> = None;
    while !stop.load(Ordering::Relaxed) {
        let Some((index, value)) = at else {
            at = agent.request("GET", &format!("/v1/kv/{key}"), &[], &[]).ok().and_then(|answer| match answer.status {
                200 => {
                    let entry = &answer.json()[0];
                    Some((entry["ModifyIndex"].as_u64()?, entry["Flags"].as_u64()?))
                }
                404 => Some((0, 0)),
                _ => None,
            });
            continue;
        };
        let target = format!("/v1/kv/{key}?cas={index}&flags={}", value + 1);
        match agent.request("PUT", &target, &[], b"x") {
            Ok(answer) if answer.status == 200 && answer.text().trim() == "true" => {
                seen.done += 1;
                done.fetch_add(1, Ordering::Relaxed);
            }
            Ok(answer) if answer.status == 200 => seen.twice += 1,
            _ => seen.unknown += 1,
        }
        // The index of what was written is only known by reading it.
        at = None;
    }
    seen
}

#[test]
fn a_leader_that_stops_with_writes_in_flight_does_none_twice() {
    let mut cluster = Cluster::servers(3, &[]);
    let (stop, done) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicU64::new(0)));
    let agents: Vec<Client> = cluster.members.iter().map(|member| member.node().http).collect();
    let writers: Vec<_> = (0..12)
        .map(|writer| {
            let (agent, stop, done) = (agents[writer % agents.len()], stop.clone(), done.clone());
            thread::spawn(move || count_up(agent, &format!("count/{writer}"), &stop, &done))
        })
        .collect();
    let more = |count: u64| {
        let before = done.load(Ordering::Relaxed);
        wait_within("more writes", DEADLINE, || (done.load(Ordering::Relaxed) >= before + count).then_some(()));
    };
    for _ in 0..2 {
        more(100);
        let leader = cluster.leader();
        let mut node = cluster.members[leader].node.take().expect("it runs");
        node.end_by("INT");
        more(50);
        cluster.members[leader].restart();
        cluster.leader();
    }
    stop.store(true, Ordering::Relaxed);
    let seen: Vec<Seen> = writers.into_iter().map(|writer| writer.join().expect("ends")).collect();
    assert!(seen.iter().all(|seen| seen.twice == 0), "{seen:?}");
    let http = agents[cluster.leader()];
    for (writer, seen) in seen.iter().enumerate() {
        let entry = wait_within("the count", DEADLINE, || {
            let answer = http.request("GET", &format!("/v1/kv/count/{writer}?consistent"), &[], &[]).ok()?;
            (answer.status == 200).then(|| answer.json()[0]["Flags"].as_u64()).flatten()
        });
        assert!((seen.done..=seen.done + seen.unknown).contains(&entry), "{entry} of {seen:?}");
    }
}

#[test]
fn a_server_that_hangs_holds_up_nobody_for_long() {
    let mut cluster = Cluster::servers(3, &[]);
    let client = cluster.add_client();
    cluster.settled(4);
    let leader = cluster.leader();
    let put = cluster.members[leader].node().http.put("/v1/kv/a", "1");
    assert_eq!(put.status, 200);
    let askers: Vec<(usize, Client)> =
        cluster.others(leader).into_iter().map(|place| (place, cluster.members[place].node().http)).collect();
    for (_, http) in &askers {
        // The connections are open and have been used.
        wait_within("a first answer", DEADLINE, || (http.request("GET", "/v1/kv/a?raw", &[], &[]).ok()?.text() == "1").then_some(()));
    }
    cluster.members[leader].node().signal("STOP");
    let asked: Vec<_> = askers
        .into_iter()
        .map(|(place, http)| {
            thread::spawn(move || {
                let began = Instant::now();
                let answer = http.request("GET", "/v1/kv/a?raw", &[], &[]);
                (place, answer.map(|answer| (answer.status, answer.text())), began.elapsed())
            })
        })
        .collect();
    for asked in asked {
        let (place, answer, took) = asked.join().expect("ends");
        let who = if place == client { "client" } else { "follower" };
        println!("a {who} answered {} ms after its leader began to hang", took.as_millis());
        assert_eq!(answer.expect("an answer"), (200, "1".to_owned()), "{who} after {took:?}");
        // Consul's hold timeout; without a limit of silence it took the connection's ping, up to 10 s.
        assert!(took < Duration::from_secs(7), "a {who} waited {took:?}");
    }
    cluster.members[leader].node().signal("CONT");
}

#[test]
fn a_write_at_a_leader_that_hangs_ends_although_nobody_else_can_lead() {
    let mut cluster = Cluster::servers(3, &[]);
    let leader = cluster.leader();
    let others = cluster.others(leader);
    let http = cluster.members[others[0]].node().http;
    wait_within("a first write", DEADLINE, || (http.request("PUT", "/v1/kv/a", &[], b"1").ok()?.status == 200).then_some(()));
    cluster.members[others[1]].kill();
    cluster.members[leader].node().signal("STOP");
    let (began, before) = (Instant::now(), Processor::now(&cluster));
    let answer = http.request("PUT", "/v1/kv/a", &[], b"2").expect("an answer");
    let (took, after) = (began.elapsed(), Processor::now(&cluster));
    println!("a write in flight ended {} ms after its leader began to hang: {}", took.as_millis(), answer.text());
    assert_eq!(answer.status, 500, "{}", answer.text());
    // A second of silence, two for a sign of life, two for the last word; the connection's own probe takes up to ten.
    assert!(took < Duration::from_secs(7).mul_f64(before.patience(&after)), "{took:?}");
    cluster.members[leader].node().signal("CONT");
    cluster.members[others[1]].restart();
    // It was sent once: whoever looks afterwards finds one of the two.
    cluster.settled(3);
    let now = wait_within("a read", DEADLINE, || {
        let answer = http.request("GET", "/v1/kv/a?raw&consistent", &[], &[]).ok()?;
        (answer.status == 200).then(|| answer.text())
    });
    assert!(["1", "2"].contains(&now.as_str()), "{now}");
}

/// So many blocking reads of a key that nobody writes, asked of this member; they wait as long as their connections live.
fn blocking_reads(cluster: &Cluster, place: usize, count: usize) -> Vec<TcpStream> {
    let ip = cluster.members[place].node().ip;
    let ask = |number: usize| {
        let mut stream = TcpStream::connect((ip, 8500)).expect("connects");
        let request = format!("GET /v1/kv/nobody/{number}?index=1000000000&wait=300s HTTP/1.1\r\nHost: {ip}\r\n\r\n");
        stream.write_all(request.as_bytes()).expect("is sent");
        stream
    };
    (0..count).map(ask).collect()
}

/// Tasks of a member: every call that it has under way is one.
fn tasks(cluster: &Cluster, place: usize) -> i64 {
    let tasks = cluster.get(place, "/v1/agent/self")["Stats"]["runtime"]["tasks"].as_str().and_then(|tasks| tasks.parse().ok());
    tasks.unwrap_or_default()
}

#[test]
fn a_caller_that_goes_away_takes_its_calls_through_two_agents_with_it() {
    const READS: usize = 100;
    let mut cluster = Cluster::servers(3, &[]);
    let client = cluster.add_client();
    cluster.settled(4);
    let servers = [0, 1, 2];
    let all = |cluster: &Cluster| servers.iter().map(|place| tasks(cluster, *place)).sum::<i64>();
    // The agent has found its servers and used them.
    wait_within("the client's first answer", DEADLINE, || {
        (cluster.members[client].node().http.request("GET", "/v1/kv/nobody", &[], &[]).ok()?.status == 404).then_some(())
    });
    let (before, reads) = (all(&cluster), i64::try_from(READS).expect("few"));
    let waiting = blocking_reads(&cluster, client, READS);
    wait_within("the servers to be asked", DEADLINE, || (all(&cluster) >= before + reads).then_some(()));
    let own = tasks(&cluster, client);
    drop(waiting);
    wait_within("the servers to hear that nobody waits any more", DEADLINE, || (all(&cluster) < before + reads / 10).then_some(()));
    wait_within("the client agent to forget them too", DEADLINE, || (tasks(&cluster, client) <= own - reads * 9 / 10).then_some(()));
}

#[test]
fn a_server_that_is_asked_much_stops_at_once() {
    // Consul's own grace for answers under way is not to be used up by reads that only wait.
    const STOP: Duration = Duration::from_secs(1);
    let mut cluster = Cluster::servers(3, &[]);
    let client = cluster.add_client();
    cluster.settled(4);
    let leader = cluster.leader();
    let order = [cluster.others(leader)[0], leader];
    let places = [0, 1, 2, client];
    let mut waiting: Vec<TcpStream> = Vec::new();
    for place in order {
        let before_asking: Vec<i64> =
            places.iter().filter(|at| cluster.members[**at].node.is_some()).map(|at| tasks(&cluster, *at)).collect();
        for at in places {
            if cluster.members[at].node.is_some() {
                waiting.extend(blocking_reads(&cluster, at, 5));
            }
        }
        wait_within("the reads to wait", DEADLINE, || {
            let now = places.iter().filter(|at| cluster.members[**at].node.is_some()).map(|at| tasks(&cluster, *at));
            now.zip(&before_asking).all(|(now, before)| now >= before + 5).then_some(())
        });
        let mut node = cluster.members[place].node.take().expect("it runs");
        let (began, before) = (Instant::now(), Processor::now(&cluster));
        assert_eq!(node.end_by("INT"), Some(1), "{}", node.log());
        let (took, after) = (began.elapsed(), Processor::now(&cluster));
        println!("a server with reads under way stopped in {} ms", took.as_millis());
        assert!(took < STOP.mul_f64(before.patience(&after)), "{took:?}");
        cluster.members[place].restart();
        cluster.settled(4);
    }
}
