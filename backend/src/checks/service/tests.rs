//! Tests of when checks run and what they tell, with paused clocks where time matters.

use serde_json::json;
use shared::check::CheckDefinition;

use super::*;
use crate::{
    checks::{Alias, Aliased, Observed, check},
    rt::net,
};

fn checked(definition: serde_json::Value) -> Checked {
    let definition: CheckDefinition = serde_json::from_value(definition).expect("a definition");
    check(&definition).expect("a valid check")
}

fn start() -> (Handle, mpsc::Receiver<Event>, Runtime) {
    let runtime = Runtime::seeded(7, 1_000_000);
    let (handle, events) = Service::start(Options { output_size_max: 4096 }, runtime.clone());
    (handle, events, runtime)
}

/// A script that adds a line to a file each time it runs, then waits until a second file is there.
fn counting(directory: &std::path::Path, interval: &str) -> Checked {
    let script = format!("echo run >> {d}/runs; while [ ! -e {d}/go ]; do sleep 0.01; done", d = directory.display());
    checked(json!({"Args": ["sh", "-c", script], "Interval": interval}))
}

fn runs(directory: &std::path::Path) -> usize {
    std::fs::read_to_string(directory.join("runs")).unwrap_or_default().lines().count()
}

async fn until(what: impl Fn() -> bool) {
    let reached = async {
        while !what() {
            clock::sleep(Duration::from_millis(5)).await;
        }
    };
    clock::timeout(Duration::from_secs(10), reached).await.expect("in time");
}

#[tokio::test(start_paused = true)]
async fn a_check_runs_first_within_its_interval_and_then_after_each() {
    let (handle, mut events, runtime) = start();
    let begin = runtime.clock.now();
    let target = json!({"TCP": "no-port", "Interval": "10s"});
    handle.start("c", 3, &checked(target), None);
    let first = events.recv().await.expect("a result");
    let first_at = runtime.clock.now() - begin;
    assert!(first_at <= Duration::from_secs(10), "{first_at:?}");
    assert_eq!((first.check_id.as_str(), first.generation, first.status), ("c", 3, Some(Status::CRITICAL)));
    for round in 1..4 {
        let event = events.recv().await.expect("a result");
        assert_eq!(runtime.clock.now() - begin, first_at + Duration::from_secs(10) * round);
        assert_eq!(event.ran.expect("a run").runs_in_a_row, u64::from(round) + 1);
    }
}

#[tokio::test(start_paused = true)]
async fn a_run_by_hand_starts_the_interval_again() {
    let (handle, mut events, runtime) = start();
    handle.start("c", 1, &checked(json!({"TCP": "no-port", "Interval": "1h"})), None);
    let _answer = handle.run_now("c").await.expect("runnable");
    let event = events.recv().await.expect("a result");
    assert_eq!(event.waiters.len(), 1);
    assert_eq!(runtime.clock.now().duration_since(clock::Instant::now()), Duration::ZERO);
    let outlook = handle.outlook("c");
    assert_eq!(outlook, Outlook { next_run_at_ms: runtime.clock.wall_ms() + 3_600_000, running: false });
    let at = runtime.clock.now();
    events.recv().await.expect("the next result");
    assert_eq!(runtime.clock.now() - at, Duration::from_secs(3600));
}

#[tokio::test]
async fn presses_at_the_same_time_share_one_run() {
    let (handle, mut events, _runtime) = start();
    let directory = tempfile::tempdir().expect("a directory");
    handle.start("c", 1, &counting(directory.path(), "1h"), None);
    let _first = handle.run_now("c").await.expect("runnable");
    until(|| runs(directory.path()) == 1).await;
    assert!(handle.outlook("c").running);
    let _second = handle.run_now("c").await.expect("runnable");
    let _third = handle.run_now("c").await.expect("runnable");
    std::fs::write(directory.path().join("go"), "").expect("write");
    let event = events.recv().await.expect("a result");
    assert_eq!((event.waiters.len(), runs(directory.path())), (3, 1));
    assert!(event.ran.expect("a run").duration_ms > 0);
}

#[tokio::test]
async fn results_below_the_threshold_do_not_change_the_status() {
    let (handle, mut events, _runtime) = start();
    let address = net::listen(([127, 0, 0, 1], 0).into()).await.expect("listen").local_addr().expect("bound");
    let definition = json!({"TCP": address.to_string(), "Interval": "1h", "SuccessBeforePassing": 2});
    handle.start("c", 1, &checked(definition), None);
    let mut press = async || {
        let _answer = handle.run_now("c").await.expect("runnable");
        events.recv().await.expect("a result").status
    };
    assert_eq!(press().await, Some(Status::CRITICAL));
    let _listener = net::listen(address).await.expect("the same address again");
    assert_eq!(press().await, None);
    assert_eq!(press().await, Some(Status::PASSING));
}

#[tokio::test]
async fn a_stopped_check_says_nothing_more() {
    let (handle, mut events, _runtime) = start();
    let directory = tempfile::tempdir().expect("a directory");
    handle.start("c", 1, &counting(directory.path(), "1h"), None);
    let answer = handle.run_now("c").await.expect("runnable");
    until(|| runs(directory.path()) == 1).await;
    handle.stop("c");
    assert!(answer.await.is_err());
    assert!(handle.run_now("c").await.is_err());
    assert!(events.try_recv().is_err());
}

#[tokio::test(start_paused = true)]
async fn a_ttl_check_expires_once_unless_it_is_told_in_time() {
    let (handle, mut events, runtime) = start();
    handle.start("t", 1, &checked(json!({"TTL": "10s"})), None);
    clock::sleep(Duration::from_secs(9)).await;
    handle.reported("t", 2, "all fine", Duration::from_secs(10)).await;
    let told_at = runtime.clock.now();
    let event = events.recv().await.expect("an expiry");
    assert_eq!(runtime.clock.now() - told_at, Duration::from_secs(10));
    assert_eq!((event.generation, event.outcome.output.as_str()), (2, "TTL expired (last output before timeout follows): all fine"));
    assert!(clock::timeout(Duration::from_secs(100), events.recv()).await.is_err(), "it expires only once");
}

#[tokio::test(start_paused = true)]
async fn a_restored_report_stays_valid_for_what_is_left_of_its_time() {
    let (handle, mut events, runtime) = start();
    let begin = runtime.clock.now();
    handle.start("t", 1, &checked(json!({"TTL": "10s"})), Some(("before".to_owned(), Duration::from_secs(4))));
    let event = events.recv().await.expect("an expiry");
    assert_eq!(runtime.clock.now() - begin, Duration::from_secs(4));
    assert_eq!(event.outcome.output, "TTL expired (last output before timeout follows): before");
}

#[derive(Debug)]
struct Scripted(Mutex<Vec<Result<Observed, String>>>);

#[async_trait::async_trait]
impl Source for Scripted {
    async fn observe(&self, target: &Alias, _after: u64) -> Result<Observed, String> {
        assert_eq!(target.service_id, "db");
        let next = self.0.lock().expect("not poisoned").pop();
        match next {
            Some(answer) => answer,
            None => std::future::pending().await,
        }
    }
}

#[tokio::test(start_paused = true)]
async fn an_alias_tells_each_change_of_what_it_follows_and_survives_failures() {
    let (handle, mut events, _runtime) = start();
    let observed = |status: &str| {
        let followed = Aliased { id: "x".to_owned(), name: "x".to_owned(), status: Status::from(status), output: "o".to_owned() };
        Ok(Observed { index: 1, found: true, checks: vec![followed] })
    };
    let mut answers = vec![observed("passing"), observed("passing"), Err("no server".to_owned()), observed("warning")];
    answers.reverse();
    handle.set_source(Arc::new(Scripted(Mutex::new(answers))));
    handle.start("a", 1, &checked(json!({"AliasService": "db"})), None);
    let first = events.recv().await.expect("a result");
    assert_eq!((first.status, first.outcome.output.as_str()), (Some(Status::PASSING), "All checks passing."));
    let second = events.recv().await.expect("a result");
    assert_eq!((second.status, second.outcome.output.as_str()), (Some(Status::WARNING), "Aliased check \"x\" failing: o"));
}
