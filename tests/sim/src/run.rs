//! Many seeds on every core, each in a thread of its own.

use std::{
    panic,
    sync::{
        Mutex, PoisonError,
        atomic::{AtomicU64, Ordering},
    },
    time::{Duration, Instant},
};

use crate::{Bug, Outcome, gossip, invariants, raft};

/// What to run.
#[derive(Clone, Debug)]
pub struct Request {
    /// The seeds.
    pub seeds: std::ops::Range<u64>,
    /// Only the world of this invariant, and only its verdict.
    pub invariant: Option<String>,
    /// A fault put in on purpose.
    pub bug: Option<Bug>,
    /// Print every event.
    pub shown: bool,
    /// Tell now and then how far it is.
    pub progress: bool,
    /// Stop at the first violation.
    pub stop_at_first: bool,
}

/// A seed that broke an invariant.
#[derive(Clone, Debug)]
pub struct Violation {
    /// The seed.
    pub seed: u64,
    /// The invariant.
    pub invariant: String,
    /// What is wrong.
    pub what: String,
}

/// What many seeds came to.
#[derive(Debug, Default)]
pub struct Summary {
    /// Violations by seed.
    pub violations: Vec<Violation>,
    /// Seeds that were run.
    pub seeds: u64,
    /// Counts of all runs together.
    pub totals: std::collections::BTreeMap<(&'static str, &'static str), u64>,
    /// Hash over the runs, by seed and world.
    pub hashes: std::collections::BTreeMap<(u64, &'static str), u64>,
}

type World = (&'static str, fn(u64, Option<Bug>, bool) -> Outcome);

/// The worlds an invariant is seen in; all without one.
fn worlds(invariant: Option<&str>) -> Vec<World> {
    let both: [World; 2] = [("raft", raft::run), ("gossip", gossip::run)];
    let of = |name: &str| usize::from(name == "gossip" || invariants::GOSSIP.contains(&name));
    invariant.map_or(both.to_vec(), |name| vec![both[of(name)]])
}

/// Runs seeds until there are no more.
#[must_use]
pub fn run(request: &Request) -> Summary {
    let (next, summary) = (AtomicU64::new(request.seeds.start), Mutex::new(Summary::default()));
    let cores = std::thread::available_parallelism().map_or(1, usize::from);
    let (began, told) = (Instant::now(), Mutex::new(Instant::now()));
    std::thread::scope(|scope| {
        for _ in 0..cores {
            scope.spawn(|| {
                loop {
                    let seed = next.fetch_add(1, Ordering::Relaxed);
                    let enough = request.stop_at_first && !lock(&summary).violations.is_empty();
                    if seed >= request.seeds.end || enough {
                        return;
                    }
                    one_seed(request, seed, &summary);
                    if request.progress {
                        tell(&summary, request, began, &told);
                    }
                }
            });
        }
    });
    let mut summary = summary.into_inner().unwrap_or_else(PoisonError::into_inner);
    summary.violations.sort_by_key(|violation| violation.seed);
    summary
}

fn lock<T>(mutex: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

fn tell(summary: &Mutex<Summary>, request: &Request, began: Instant, told: &Mutex<Instant>) {
    let mut told = lock(told);
    if told.elapsed() > Duration::from_secs(5) {
        *told = Instant::now();
        let (done, bad) = {
            let summary = lock(summary);
            (summary.seeds, summary.violations.len())
        };
        let all = request.seeds.end - request.seeds.start;
        println!("    {done} of {all} seeds, {bad} violations, {:.0} s", began.elapsed().as_secs_f32());
    }
}

fn one_seed(request: &Request, seed: u64, summary: &Mutex<Summary>) {
    for (name, world) in worlds(request.invariant.as_deref()) {
        let (bug, shown) = (request.bug, request.shown);
        // A thread of its own: a world seeds the randomness of its thread.
        let ended = std::thread::Builder::new().name(format!("{name} {seed}")).spawn(move || {
            panic::catch_unwind(|| world(seed, bug, shown)).map_err(|reason| {
                let text = reason.downcast_ref::<String>().cloned();
                text.or_else(|| reason.downcast_ref::<&str>().map(|text| (*text).to_owned())).unwrap_or_default()
            })
        });
        let outcome = ended.expect("a thread starts").join().expect("panics are caught inside");
        let mut summary = lock(summary);
        match outcome {
            Ok(outcome) => note(&mut summary, request, seed, name, &outcome),
            Err(panicked) => broken(&mut summary, request, seed, name, format!("panicked: {panicked}")),
        }
    }
    lock(summary).seeds += 1;
}

fn broken(summary: &mut Summary, request: &Request, seed: u64, invariant: &str, what: String) {
    if request.progress {
        println!("seed {seed}: {invariant}: {what}");
        let bug = request.bug.map_or_else(String::new, |bug| format!(" --bug {bug:?}"));
        println!("    cargo xtask sim --seed {seed} --invariant {invariant}{bug}");
    }
    summary.violations.push(Violation { seed, invariant: invariant.to_owned(), what });
}

fn note(summary: &mut Summary, request: &Request, seed: u64, world: &'static str, outcome: &Outcome) {
    summary.hashes.insert((seed, world), outcome.hash);
    for (what, count) in &outcome.counts {
        let total = summary.totals.entry((world, *what)).or_default();
        // Times do not add up.
        *total = if what.ends_with(", ms") { (*total).max(*count) } else { *total + count };
    }
    for (invariant, verdict) in &outcome.verdicts {
        if let Err(what) = verdict
            && request.invariant.as_deref().is_none_or(|only| only == *invariant || only == world)
        {
            broken(summary, request, seed, invariant, what.clone());
        }
    }
}
