//! Clients: they write keys once, change registers blindly and by comparing, append to lists and read, each through any server, and tell
//! what they were promised. An outcome that nobody can know is told as such.

use std::{sync::Arc, time::Duration};

use backend::{
    raft::Error,
    rt::Rng,
    store::{Command, Reply, State},
};
use shared::kv::{Op, Write};
use tests::linearizable::Action;
use tokio::time::{Instant, sleep, timeout_at};

use super::world::{Life, World, place};
use crate::{Bug, invariants::acked_writes_survive::numbers_of};

/// Prefix of the registers.
pub(super) const REGISTERS: &str = "register/";
const LISTS: u64 = 2;
/// How long a client waits for one operation.
const PATIENCE: Duration = Duration::from_secs(5);

/// Keys of the registers.
pub(super) fn registers() -> Vec<String> {
    (0..6).map(|number| format!("{REGISTERS}{number}")).collect()
}

/// What became of a write.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Written {
    /// It was applied at this index; whether its condition held.
    Done(u64, bool),
    /// It never will be.
    NotDone,
    /// Nobody knows.
    Unknown,
}

/// What a read found.
struct Found {
    server: usize,
    /// No quorum was asked.
    leased: bool,
    /// The index a client is told.
    index: u64,
    /// The key's own index; 0 when there is none.
    modified: u64,
    value: Option<Vec<u8>>,
}

/// One client.
struct Client {
    world: Arc<World>,
    number: usize,
    rng: Rng,
    /// Values written so far.
    written: u64,
}

/// Works until the world says that it is over.
pub(super) async fn run(world: Arc<World>, number: usize) {
    let rng = world.rng.fork();
    let mut client = Client { world, number, rng, written: 0 };
    while !client.world.is_over() {
        sleep(Duration::from_micros(500 + client.rng.below(40_000))).await;
        match client.rng.below(100) {
            0..30 => client.write_once().await,
            30..45 => client.overwrite().await,
            45..60 => client.compare_and_set().await,
            60..65 => client.append().await,
            kind => client.look(kind < 90).await,
        }
    }
}

/// One more write, by nobody in particular; its index.
pub(super) async fn write_once_more(world: &Arc<World>, deadline: Instant) -> Option<u64> {
    while Instant::now() < deadline {
        let at = usize::try_from(world.rng.below(world.size() as u64)).unwrap_or(0);
        if let Written::Done(index, _) = propose(world, at, kv("last", Op::Set, b"write".to_vec())).await {
            return Some(index);
        }
    }
    None
}

fn kv(key: &str, op: Op, value: Vec<u8>) -> Command {
    Command::Kv { write: Write { op, key: key.to_owned(), flags: 0, value }, at_ms: 1 }
}

impl Client {
    fn anywhere(&self) -> usize {
        usize::try_from(self.rng.below(self.world.size() as u64)).unwrap_or(0)
    }

    fn register(&self) -> String {
        registers().swap_remove(usize::try_from(self.rng.below(6)).unwrap_or(0))
    }

    /// A value nobody else ever writes.
    fn value(&mut self) -> u64 {
        self.written += 1;
        self.number as u64 * 1_000_000 + self.written
    }

    async fn propose(&self, key: &str, op: Op, value: Vec<u8>) -> Written {
        let at = self.anywhere();
        self.world.trace.note(&format!("client {} {op:?} {key} at {at}", self.number));
        let written = propose(&self.world, at, kv(key, op, value)).await;
        self.world.trace.note(&format!("client {} {written:?}", self.number));
        self.world.evidence().count(match written {
            Written::Done(..) => "writes done",
            Written::NotDone => "writes refused",
            Written::Unknown => "writes with an unknown outcome",
        });
        written
    }

    async fn write_once(&mut self) {
        let number = self.value();
        let (key, value) = (format!("once/{}/{number}", self.number), format!("v{number}").into_bytes());
        if let Written::Done(_, true) = self.propose(&key, Op::Set, value.clone()).await {
            self.world.evidence().acked.wrote(&key, &value);
        }
    }

    async fn overwrite(&mut self) {
        let (register, number) = (self.register(), self.value());
        let invoked = self.world.tick();
        let written = self.propose(&register, Op::Set, number.to_string().into_bytes()).await;
        self.told(&register, written, invoked, Action::Write(number), None);
    }

    async fn compare_and_set(&mut self) {
        let (register, number) = (self.register(), self.value());
        let Some(found) = self.read(&register, true).await else { return };
        let from = found.value.as_deref().map(number_of);
        let invoked = self.world.tick();
        let written = self.propose(&register, Op::Cas(found.modified), number.to_string().into_bytes()).await;
        self.told(&register, written, invoked, Action::Swap { from, to: number }, Some(Action::NoSwap { from }));
    }

    /// Notes what became of a write of a register, which `otherwise` describes when its condition did not hold.
    fn told(&self, register: &str, written: Written, invoked: u64, done: Action, otherwise: Option<Action>) {
        let returned = self.world.tick();
        let mut evidence = self.world.evidence();
        match (written, otherwise) {
            (Written::Done(_, false), Some(otherwise)) => evidence.histories.did(register, otherwise, invoked, Some(returned)),
            (Written::Done(index, _), _) => {
                evidence.leases.acked(register, index);
                evidence.histories.did(register, done, invoked, Some(returned));
            }
            (Written::Unknown, _) => evidence.histories.did(register, done, invoked, None),
            (Written::NotDone, _) => {}
        }
    }

    async fn append(&mut self) {
        let (list, number) = (format!("list/{}", self.rng.below(LISTS)), self.value());
        let Some(found) = self.read(&list, true).await else { return };
        let mut numbers = numbers_of(&found.value.unwrap_or_default());
        numbers.push(number);
        let text = numbers.iter().map(u64::to_string).collect::<Vec<_>>().join(",");
        if let Written::Done(index, true) = self.propose(&list, Op::Cas(found.modified), text.into_bytes()).await {
            let mut evidence = self.world.evidence();
            evidence.leases.acked(&list, index);
            evidence.acked.appended(&list, number);
        }
    }

    /// Reads a register and notes what it was.
    async fn look(&self, default: bool) {
        let register = self.register();
        let invoked = self.world.tick();
        let Some(found) = self.read(&register, default).await else { return };
        let read = Action::Read(found.value.as_deref().map(number_of));
        let returned = self.world.tick();
        self.world.evidence().histories.did(&register, read, invoked, Some(returned));
    }

    /// A default or a consistent read; nothing when nobody answers in time.
    async fn read(&self, key: &str, default: bool) -> Option<Found> {
        let floor = self.world.evidence().leases.floor(key);
        let found = read(&self.world, self.anywhere(), key, default).await?;
        self.world.trace.note(&format!("client {} read {key} at {} as of {}", self.number, found.server, found.index));
        self.world.evidence().leases.read(key, found.server, floor, found.index, found.leased);
        Some(found)
    }
}

fn number_of(value: &[u8]) -> u64 {
    String::from_utf8_lossy(value).parse().unwrap_or(u64::MAX)
}

/// Where to go after an answer that nothing was done; `None` when another server should be tried at random.
async fn elsewhere(world: &World, error: &Error) -> usize {
    if let Error::NotLeader { hint: Some(address) } = error
        && let Some(at) = place(address)
    {
        sleep(Duration::from_micros(300 + world.rng.below(2000))).await;
        return at;
    }
    sleep(Duration::from_millis(25)).await;
    usize::try_from(world.rng.below(world.size() as u64)).unwrap_or(0)
}

/// Takes a write to whoever leads, as servers forward it.
async fn propose(world: &Arc<World>, mut at: usize, command: Command) -> Written {
    let deadline = Instant::now() + PATIENCE;
    while Instant::now() < deadline {
        let Some(life) = world.life(at) else {
            at = elsewhere(world, &Error::NoLeader).await;
            continue;
        };
        let proposed = tokio::select! {
            biased;
            // What it did with its last breath nobody knows.
            () = life.ended() => return Written::Unknown,
            proposed = timeout_at(deadline, life.handle.propose(command.clone())) => proposed,
        };
        match proposed {
            Ok(Ok((index, Reply::Done(done)))) => return Written::Done(index, done),
            Ok(Ok((_, Reply::Refused(_))) | Err(Error::Refused(_))) => return Written::NotDone,
            Ok(Err(error @ (Error::NoLeader | Error::NotLeader { .. }))) => at = elsewhere(world, &error).await,
            Ok(Err(_)) | Err(_) => return Written::Unknown,
        }
    }
    Written::NotDone
}

async fn read(world: &Arc<World>, mut at: usize, key: &str, default: bool) -> Option<Found> {
    let deadline = Instant::now() + PATIENCE;
    while Instant::now() < deadline {
        let Some(life) = world.life(at) else {
            at = elsewhere(world, &Error::NoLeader).await;
            continue;
        };
        if default && may_answer_at_once(world, &life) {
            return Some(answer(&life, key, true));
        }
        let confirmed = tokio::select! {
            biased;
            () = life.ended() => Err(Error::NoLeader),
            confirmed = timeout_at(deadline, life.handle.confirm_leadership(!default)) => confirmed.unwrap_or(Err(Error::NoLeader)),
        };
        match confirmed {
            Ok(()) => return Some(answer(&life, key, false)),
            Err(error) => at = elsewhere(world, &error).await,
        }
    }
    None
}

/// Whether a server answers default reads without asking anybody.
fn may_answer_at_once(world: &World, life: &Life) -> bool {
    match world.bug {
        Some(Bug::LeaseAfterTransfer) => life.handle.holds_lease(),
        Some(Bug::NoLease) => life.handle.status().role == "leader",
        _ => life.handle.leads(),
    }
}

fn answer(life: &Life, key: &str, leased: bool) -> Found {
    let state: Arc<State> = life.store.state();
    let entry = state.kv(key);
    let modified = entry.map_or(0, |entry| entry.modify_index);
    let index = entry.map_or(state.indexes.kv, |entry| entry.modify_index);
    Found { server: life.at, leased, index, modified, value: entry.map(|entry| entry.value.clone()) }
}
