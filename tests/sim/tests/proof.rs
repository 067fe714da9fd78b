//! The simulation itself: the same seed gives the same run, and faults put in on purpose are noticed.

#![allow(clippy::print_stderr, reason = "tests say what they found")]

use sim::{
    Bug, gossip, raft,
    run::{Request, run},
};

#[test]
fn the_same_seed_gives_the_same_raft_run_event_for_event() {
    for seed in 1..=3 {
        let (first, second) = (fresh(move || raft::run(seed, None, false)), fresh(move || raft::run(seed, None, false)));
        assert!(first.events > 1000, "{first:?}");
        assert_eq!((first.hash, first.events), (second.hash, second.events), "seed {seed}");
    }
    assert_ne!(fresh(|| raft::run(1, None, false)).hash, fresh(|| raft::run(2, None, false)).hash);
}

#[test]
fn the_same_seed_gives_the_same_gossip_run_event_for_event() {
    for seed in 1..=3 {
        let (first, second) = (fresh(move || gossip::run(seed, None, false)), fresh(move || gossip::run(seed, None, false)));
        assert!(first.events > 1000, "{first:?}");
        assert_eq!((first.hash, first.events), (second.hash, second.events), "seed {seed}");
    }
    assert_ne!(fresh(|| gossip::run(1, None, false)).hash, fresh(|| gossip::run(2, None, false)).hash);
}

/// Each run has a thread of its own, as it seeds the thread's randomness.
fn fresh<T: Send + 'static>(run: impl FnOnce() -> T + Send + 'static) -> T {
    std::thread::spawn(run).join().expect("the run does not panic")
}

/// A bug is noticed by the invariant within so many seeds, which are as many as it took several times over.
fn check_noticed(bug: Bug, invariant: &str, within: u64) {
    let request = Request {
        seeds: 1..within + 1,
        invariant: Some(invariant.to_owned()),
        bug: Some(bug),
        shown: false,
        progress: false,
        stop_at_first: true,
    };
    let summary = run(&request);
    let Some(first) = summary.violations.first() else { panic!("{bug:?} is not noticed by {invariant} within {within} seeds") };
    eprintln!("{bug:?} noticed after {} seeds, by seed {}: {}: {}", summary.seeds, first.seed, first.invariant, first.what);
    assert_eq!(first.invariant, invariant, "{}", first.what);
}

/// The simulation as a program, with these arguments: its exit code and what it prints.
fn sim(arguments: &[&str]) -> (Option<i32>, String) {
    let output = std::process::Command::new(env!("CARGO_BIN_EXE_sim")).args(arguments).output().expect("it runs");
    (output.status.code(), String::from_utf8_lossy(&output.stdout).into_owned())
}

#[test]
fn a_seed_that_fails_prints_the_command_that_shows_it_again() {
    let (code, said) = sim(&["--bug", "NoLease", "--seeds", "6", "--invariant", "lease_reads"]);
    assert_eq!(code, Some(1), "{said}");
    let mut lines = said.lines().skip_while(|line| !line.starts_with("seed "));
    let (what, command) = (lines.next().expect("a seed that failed"), lines.next().expect("its command"));
    let arguments: Vec<&str> = command.trim().strip_prefix("cargo xtask sim ").expect("a command").split(' ').collect();
    assert_eq!(arguments[0], "--seed", "{command}");
    let (code, again) = sim(&arguments);
    assert_eq!(code, Some(1), "{again}");
    assert!(again.lines().any(|line| line == what), "{what} is not seen again in {again}");
    // Without the fault the same seed holds.
    assert_eq!(sim(&arguments[..4]).0, Some(0), "{arguments:?}");
}

#[test]
fn a_log_that_acknowledges_before_it_flushed_loses_writes() {
    check_noticed(Bug::AckBeforeSync, "acked_writes_survive", 20);
}

#[test]
fn a_vote_that_is_not_on_disk_gives_two_leaders() {
    check_noticed(Bug::VoteNotPersisted, "election_safety", 40);
}

#[test]
fn a_lease_trusted_after_leadership_was_handed_over_gives_old_answers() {
    check_noticed(Bug::LeaseAfterTransfer, "lease_reads", 40);
}

#[test]
fn a_leader_that_does_not_look_at_its_lease_gives_old_answers() {
    check_noticed(Bug::NoLease, "lease_reads", 20);
    check_noticed(Bug::NoLease, "linearizable", 20);
}

#[test]
fn pools_that_never_exchange_everything_stay_apart() {
    check_noticed(Bug::NoExchanges, "gossip_converges", 20);
}
