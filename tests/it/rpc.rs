//! Calls between real agents when a server stops or hangs: nothing is done twice, nobody waits longer than a call may wait.

use std::{
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
