//! `cargo xtask sim`: `--seeds N` runs the seeds 1 to N (`--from M` begins later), `--seed S` one of them, `--invariant NAME` only its
//! world (`raft` or `gossip` for all of one), `--bug NAME` puts a fault in, `--trace` prints every event. Ends with 1 when an invariant
//! does not hold, and prints how to see it again.

#![allow(clippy::print_stdout, clippy::print_stderr, reason = "a program for people")]

use std::{process::ExitCode, time::Instant};

use sim::{
    Bug, invariants,
    run::{Request, Summary, run},
};

const USAGE: &str = "usage: cargo xtask sim [[--from M] --seeds N | --seed S] [--invariant NAME] [--bug NAME] [--trace]";

fn main() -> ExitCode {
    let request = match parse(std::env::args().skip(1)) {
        Ok(request) => request,
        Err(why) => {
            eprintln!("{why}\n{USAGE}");
            return ExitCode::from(2);
        }
    };
    #[allow(clippy::disallowed_methods, reason = "a stop-watch outside the worlds")]
    let began = Instant::now();
    let summary = run(&request);
    report(&summary, began.elapsed().as_secs_f32());
    if summary.violations.is_empty() { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

fn parse(arguments: impl Iterator<Item = String>) -> Result<Request, String> {
    let mut request = Request { seeds: 1..51, invariant: None, bug: None, shown: false, progress: true, stop_at_first: false };
    let mut arguments = arguments.peekable();
    while let Some(flag) = arguments.next() {
        let mut value = || arguments.next().ok_or_else(|| format!("{flag} needs a value"));
        match flag.as_str() {
            "--seeds" => request.seeds.end = number(&value()?)?.saturating_add(1),
            "--from" => request.seeds.start = number(&value()?)?,
            "--seed" => {
                let seed = number(&value()?)?;
                request.seeds = seed..seed + 1;
            }
            "--invariant" => request.invariant = Some(known(value()?)?),
            "--bug" => request.bug = Some(bug(&value()?)?),
            "--trace" => request.shown = true,
            _ => return Err(format!("unknown flag {flag}")),
        }
    }
    Ok(request)
}

fn number(text: &str) -> Result<u64, String> {
    text.parse().map_err(|_| format!("{text:?} is no number"))
}

fn known(name: String) -> Result<String, String> {
    let all = || invariants::RAFT.iter().chain(&invariants::GOSSIP).chain(&["progress", "raft", "gossip"]);
    if all().any(|known| *known == name) {
        return Ok(name);
    }
    Err(format!("unknown invariant {name}; there are {}", all().copied().collect::<Vec<_>>().join(", ")))
}

fn bug(name: &str) -> Result<Bug, String> {
    let known = |bug: &Bug| format!("{bug:?}") == name;
    Bug::ALL.into_iter().find(known).ok_or_else(|| format!("unknown bug {name}; there are {:?}", Bug::ALL))
}

fn report(summary: &Summary, seconds: f32) {
    for ((world, what), total) in &summary.totals {
        println!("    {world:>6}: {total:>9} {what}");
    }
    if summary.seeds == 1 {
        for ((seed, world), hash) in &summary.hashes {
            println!("    {world:>6}: seed {seed} has the hash {hash:016x}");
        }
    }
    println!("    {} seeds in {seconds:.1} s: {} violations", summary.seeds, summary.violations.len());
}
