//! What proves that nothing was lost: clients that write and read while servers come and go, and a check of all they saw.
//!
//! Every write that was acknowledged has to be there in the end, and the registers' histories have to be linearizable.

use std::{
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    thread,
    time::{Duration, Instant},
};

use crate::{
    cluster::{Cluster, DEADLINE},
    http::Client,
    linearizable::{Action, Operation, is_linearizable},
    wait::wait_within,
};

/// Registers several clients write and read at once.
const REGISTERS: u64 = 4;

/// Clients that write and read while servers come and go, and what they saw.
#[derive(Debug)]
pub struct Workload {
    stop: Arc<AtomicBool>,
    acknowledged: Arc<AtomicU64>,
    gaps: Arc<Mutex<(Instant, Duration)>>,
    histories: Arc<Vec<Mutex<Vec<Operation>>>>,
    clients: Vec<thread::JoinHandle<u64>>,
}

impl Workload {
    /// Four clients, each going through these agents in turn.
    #[must_use]
    pub fn start(agents: Vec<Client>) -> Self {
        Self::begin(agents, 1)
    }

    /// Four clients, each staying with one of these agents: one that answers slowly holds up nobody else's.
    #[must_use]
    pub fn start_apart(agents: Vec<Client>) -> Self {
        Self::begin(agents, 0)
    }

    fn begin(agents: Vec<Client>, step: u64) -> Self {
        let (stop, acknowledged) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicU64::new(0)));
        let gaps = Arc::new(Mutex::new((Instant::now(), Duration::ZERO)));
        let histories: Arc<Vec<_>> = Arc::new((0..REGISTERS).map(|_| Mutex::new(Vec::new())).collect());
        let (begin, next) = (Instant::now(), Arc::new(AtomicU64::new(1)));
        let clients = (0..4_u64)
            .map(|client| {
                let (stop, acknowledged, gaps, histories) = (stop.clone(), acknowledged.clone(), gaps.clone(), histories.clone());
                let (agents, next) = (agents.clone(), next.clone());
                thread::spawn(move || {
                    let now = || u64::try_from(begin.elapsed().as_micros()).unwrap_or(u64::MAX);
                    let mut written = 0;
                    for turn in 0.. {
                        if stop.load(Ordering::Relaxed) {
                            break;
                        }
                        let agent = &agents[((client + turn * step) % agents.len() as u64) as usize];
                        // A key of its own that is never overwritten: it has to be there in the end.
                        let key = format!("/v1/kv/load/{client}/{written}");
                        let done = agent.request("PUT", &key, &[], b"x").is_ok_and(|answer| answer.status == 200);
                        if done {
                            written += 1;
                            acknowledged.fetch_add(1, Ordering::Relaxed);
                            let mut gap = gaps.lock().expect("no panic while holding it");
                            *gap = (Instant::now(), gap.1.max(gap.0.elapsed()));
                        }
                        let register = turn % REGISTERS;
                        let operation =
                            if turn % 3 == client % 3 { write(agent, register, &next, now) } else { read(agent, register, now) };
                        if let Some(operation) = operation {
                            histories[register as usize].lock().expect("no panic while holding it").push(operation);
                        }
                    }
                    written
                })
            })
            .collect();
        Self { stop, acknowledged, gaps, histories, clients }
    }

    /// Waits until so many more writes were acknowledged.
    pub fn more(&self, what: &str, count: u64) {
        let before = self.acknowledged.load(Ordering::Relaxed);
        wait_within(what, DEADLINE, || (self.acknowledged.load(Ordering::Relaxed) >= before + count).then_some(()));
    }

    /// The longest time without any acknowledged write, since the beginning or the last call.
    ///
    /// # Panics
    /// A client panicked.
    #[must_use]
    pub fn longest_gap(&self) -> Duration {
        let mut gap = self.gaps.lock().expect("no panic while holding it");
        let longest = gap.1.max(gap.0.elapsed());
        *gap = (Instant::now(), Duration::ZERO);
        longest
    }

    /// Ends the clients and checks what they saw against what an agent has now.
    pub fn check(self, agent: &Client) {
        self.stop.store(true, Ordering::Relaxed);
        let counts: Vec<u64> = self.clients.into_iter().map(|client| client.join().expect("the client ends")).collect();
        for (client, count) in counts.iter().enumerate() {
            let keys = wait_within("a consistent read", DEADLINE, || {
                let answer = agent.request("GET", &format!("/v1/kv/load/{client}/?keys&consistent"), &[], &[]).ok()?;
                serde_json::from_slice::<std::collections::BTreeSet<String>>(&answer.body).ok()
            });
            for number in 0..*count {
                assert!(keys.contains(&format!("load/{client}/{number}")), "client {client}: write {number} of {count} is lost");
            }
        }
        assert!(counts.iter().sum::<u64>() > 100, "a run that writes nothing proves nothing: {counts:?}");
        for (register, history) in self.histories.iter().enumerate() {
            let history = history.lock().expect("no panic while holding it");
            assert!(is_linearizable(&history), "register {register} is not linearizable: {history:?}");
        }
    }
}

fn write(agent: &Client, register: u64, next: &AtomicU64, now: impl Fn() -> u64) -> Option<Operation> {
    let value = next.fetch_add(1, Ordering::Relaxed);
    let invoked = now();
    let returned = match agent.request("PUT", &format!("/v1/kv/register/{register}"), &[], value.to_string().as_bytes()) {
        Ok(answer) if answer.status == 200 => Some(now()),
        // Refused before anything was done: if it was done after all, some read shows it and nothing explains it.
        Ok(answer) if ["No cluster leader", "No known Consul servers"].contains(&answer.text().as_str()) => return None,
        Ok(answer) if answer.text().starts_with("this server's disk failed: ") => return None,
        Err(error) if error.kind() == std::io::ErrorKind::ConnectionRefused => return None,
        _ => None,
    };
    Some(Operation { action: Action::Write(value), invoked, returned })
}

/// A default read; one that fails tells nothing.
fn read(agent: &Client, register: u64, now: impl Fn() -> u64) -> Option<Operation> {
    let invoked = now();
    let answer = agent.request("GET", &format!("/v1/kv/register/{register}?raw"), &[], &[]).ok()?;
    let value = match answer.status {
        200 => Some(answer.text().parse().ok()?),
        404 => None,
        _ => return None,
    };
    Some(Operation { action: Action::Read(value), invoked, returned: Some(now()) })
}

/// Every member's API, with the patience that a failing cluster needs.
#[must_use]
pub fn agents(cluster: &Cluster) -> Vec<Client> {
    cluster.members.iter().map(|member| Client { timeout: Duration::from_secs(45), ..Client::new(member.start.ip.into()) }).collect()
}

/// Waits until everybody has applied the same.
pub fn agree(cluster: &Cluster) {
    wait_within("all servers to have the same state", DEADLINE, || {
        let of = |place: usize| {
            let answer = cluster.members[place].node().http.request("GET", "/v1/kv/?recurse&stale", &[], &[]).ok()?;
            (answer.status == 200).then_some(answer.body)
        };
        let states: Option<Vec<_>> = (0..cluster.members.len()).map(of).collect();
        states.is_some_and(|states| states.windows(2).all(|pair| pair[0] == pair[1])).then_some(())
    });
}
