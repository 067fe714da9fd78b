//! Runs the checks: one task each, all results on one bounded channel.
//!
//! A run asked for by hand is a run like any other: it shares one that is under way, its result counts, and the interval starts
//! again at its end. Never touches the catalog. Contract: health checks, sections "Status model" and "Thresholds".

use std::{
    collections::HashMap,
    sync::{
        Arc, Mutex, MutexGuard, OnceLock, PoisonError,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    time::Duration,
};

use shared::{check::Run, health::Status};
use tokio::sync::{mpsc, oneshot};

use super::{
    Outcome, World,
    alias::{self, Source},
    definition::{Checked, Kind},
    run,
    schedule::{Schedule, Streak},
    tls, ttl,
};
use crate::rt::{Runtime, Shutdown, clock};

const EVENTS_MAX: usize = 1024;
const WAITERS_MAX: usize = 64;

/// Limits that hold for every check.
#[derive(Clone, Copy, Debug)]
pub struct Options {
    /// Output kept, bytes.
    pub output_size_max: usize,
}

/// A result, for whoever keeps the checks' states.
#[derive(Debug)]
pub struct Event {
    /// Which check.
    pub check_id: String,
    /// What it was started or last reported with: an event of an older generation means nothing any more.
    pub generation: u64,
    /// The status from now on; `None` while thresholds hold it back.
    pub status: Option<Status>,
    /// What was found.
    pub outcome: Outcome,
    /// The run, when it was one.
    pub ran: Option<Ran>,
    /// Who asked for the run and waits.
    pub waiters: Vec<oneshot::Sender<Run>>,
}

/// When a run was, and how it compares to the ones before.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Ran {
    /// Start, milliseconds since 1970.
    pub started_at_ms: u64,
    /// Duration, milliseconds.
    pub duration_ms: u64,
    /// Runs in a row with the same result, this one included.
    pub runs_in_a_row: u64,
}

/// What comes next.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Outlook {
    /// Start of the next run, milliseconds since 1970; 0 when none is planned.
    pub next_run_at_ms: u64,
    /// Whether a run is under way.
    pub running: bool,
}

/// The check has no runner that can be told to run.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct NotRunnable;

/// Starts the checks' tasks. Has nothing to run itself: see [`Service::start`].
#[derive(Debug)]
pub struct Service;

impl Service {
    /// A handle without checks, and the channel their results come on.
    #[must_use]
    pub fn start(options: Options, runtime: Runtime) -> (Handle, mpsc::Receiver<Event>) {
        let (events, results) = mpsc::channel(EVENTS_MAX);
        let world = Arc::new(World { clock: runtime.clock, tasks: runtime.tasks.clone(), tls: tls::Connector::default() });
        let inner = Inner { options, runtime, world, events, runners: Mutex::default(), source: OnceLock::new() };
        (Handle(Arc::new(inner)), results)
    }
}

/// Clone-cheap handle to the running checks.
#[derive(Clone, Debug)]
pub struct Handle(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    options: Options,
    runtime: Runtime,
    world: Arc<World>,
    events: mpsc::Sender<Event>,
    runners: Mutex<HashMap<String, Runner>>,
    source: OnceLock<Arc<dyn Source>>,
}

#[derive(Debug)]
struct Runner {
    stop: Shutdown,
    progress: Arc<Progress>,
    commands: mpsc::Sender<Command>,
}

impl Drop for Runner {
    fn drop(&mut self) {
        self.stop.trigger();
    }
}

#[derive(Debug, Default)]
struct Progress {
    next_run_at_ms: AtomicU64,
    running: AtomicBool,
}

#[derive(Debug)]
enum Command {
    /// Run now, or share the run under way.
    Run(oneshot::Sender<Run>),
    /// A TTL report came in.
    Reported { generation: u64, output: String, valid: Duration },
}

impl Handle {
    /// Tells where alias checks look. Only the first call counts.
    pub fn set_source(&self, source: Arc<dyn Source>) {
        let _ = self.0.source.set(source);
    }

    /// Starts a check, in place of one with the same id. `restored` is the last report of a TTL check and how long it stays valid.
    pub fn start(&self, check_id: &str, generation: u64, checked: &Checked, restored: Option<(String, Duration)>) {
        let inner = &self.0;
        let (commands, inbox) = mpsc::channel(WAITERS_MAX);
        let stop = inner.runtime.tasks.shutdown().child();
        let progress = Arc::new(Progress::default());
        let task = Task {
            check_id: check_id.to_owned(),
            generation,
            checked: checked.clone(),
            output_size_max: checked.output_size_max.min(inner.options.output_size_max),
            world: Arc::clone(&inner.world),
            events: inner.events.clone(),
            inbox,
            progress: Arc::clone(&progress),
        };
        self.runners().insert(check_id.to_owned(), Runner { stop: stop.clone(), progress, commands });
        let delay = inner.runtime.rng.jitter(checked.interval);
        let source = inner.source.get().cloned();
        inner.runtime.tasks.spawn("check", async move {
            tokio::select! {
                biased;
                () = stop.requested() => {}
                () = task.work(delay, restored, source) => {}
            }
        });
    }

    /// Stops a check. A run under way is dropped.
    pub fn stop(&self, check_id: &str) {
        self.runners().remove(check_id);
    }

    /// Runs a check now. The answer comes once whoever reads the events has taken the result in.
    ///
    /// # Errors
    /// No such check, or it does not run by itself.
    pub async fn run_now(&self, check_id: &str) -> Result<oneshot::Receiver<Run>, NotRunnable> {
        let commands = self.runners().get(check_id).map(|runner| runner.commands.clone()).ok_or(NotRunnable)?;
        let (waiter, answer) = oneshot::channel();
        commands.send(Command::Run(waiter)).await.map_err(|_| NotRunnable)?;
        Ok(answer)
    }

    /// Tells a TTL check that a report came in, which restarts its time.
    pub async fn reported(&self, check_id: &str, generation: u64, output: &str, valid: Duration) {
        let commands = self.runners().get(check_id).map(|runner| runner.commands.clone());
        if let Some(commands) = commands {
            let _ = commands.send(Command::Reported { generation, output: output.to_owned(), valid }).await;
        }
    }

    /// What comes next for a check.
    #[must_use]
    pub fn outlook(&self, check_id: &str) -> Outlook {
        self.runners().get(check_id).map_or_else(Outlook::default, |runner| Outlook {
            next_run_at_ms: runner.progress.next_run_at_ms.load(Ordering::Relaxed),
            running: runner.progress.running.load(Ordering::Relaxed),
        })
    }

    fn runners(&self) -> MutexGuard<'_, HashMap<String, Runner>> {
        self.0.runners.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

struct Task {
    check_id: String,
    generation: u64,
    checked: Checked,
    output_size_max: usize,
    world: Arc<World>,
    events: mpsc::Sender<Event>,
    inbox: mpsc::Receiver<Command>,
    progress: Arc<Progress>,
}

impl Task {
    async fn work(self, delay: Duration, restored: Option<(String, Duration)>, source: Option<Arc<dyn Source>>) {
        match &self.checked.kind {
            Kind::Ttl { ttl } => {
                let (output, valid) = restored.unwrap_or((String::new(), *ttl));
                self.expire(output, valid).await;
            }
            Kind::Alias(alias) => {
                if let Some(source) = source {
                    let alias = alias.clone();
                    self.follow(&alias, source.as_ref()).await;
                }
            }
            _ => self.repeat(delay).await,
        }
    }

    async fn repeat(mut self, delay: Duration) {
        let mut schedule = Schedule::new(self.world.clock.now(), self.checked.interval, delay);
        let mut streak = Streak::new(self.checked.thresholds);
        let (mut previous, mut runs_in_a_row) = (Status::NONE, 0);
        loop {
            self.plan(schedule.next());
            let mut waiters = Vec::new();
            tokio::select! {
                biased;
                command = self.inbox.recv() => match command {
                    Some(Command::Run(waiter)) => waiters.push(waiter),
                    Some(Command::Reported { .. }) => continue,
                    None => return,
                },
                () = clock::sleep_until(schedule.next()) => {}
            }
            let (outcome, started_at_ms, duration) = self.run_once(&mut waiters).await;
            schedule.ran(self.world.clock.now());
            self.plan(schedule.next());
            runs_in_a_row = if outcome.status == previous { runs_in_a_row + 1 } else { 1 };
            previous = outcome.status.clone();
            let duration_ms = u64::try_from(duration.as_millis()).unwrap_or(u64::MAX);
            let ran = Some(Ran { started_at_ms, duration_ms, runs_in_a_row });
            let status = streak.record(&outcome.status);
            if !self.tell(status, outcome, ran, waiters).await {
                return;
            }
        }
    }

    /// Runs the check; presses that come meanwhile share the run.
    async fn run_once(&mut self, waiters: &mut Vec<oneshot::Sender<Run>>) -> (Outcome, u64, Duration) {
        let (started_at_ms, started) = (self.world.clock.wall_ms(), self.world.clock.now());
        self.progress.running.store(true, Ordering::Relaxed);
        let run = run(&self.checked.kind, self.checked.timeout, self.output_size_max, &self.world);
        let mut run = std::pin::pin!(run);
        let outcome = loop {
            tokio::select! {
                biased;
                outcome = &mut run => break outcome,
                Some(command) = self.inbox.recv() => if let Command::Run(waiter) = command {
                    waiters.push(waiter);
                },
            }
        };
        self.progress.running.store(false, Ordering::Relaxed);
        (outcome, started_at_ms, self.world.clock.now() - started)
    }

    async fn expire(mut self, mut output: String, mut valid: Duration) {
        let mut expires = self.world.clock.now() + valid;
        let mut expired = false;
        loop {
            tokio::select! {
                biased;
                command = self.inbox.recv() => match command {
                    Some(Command::Reported { generation, output: reported, valid: longer }) => {
                        (self.generation, output, valid, expired) = (generation, reported, longer, false);
                        expires = self.world.clock.now() + valid;
                    }
                    // Dropping the waiter tells it that nothing ran.
                    Some(Command::Run(_)) => {}
                    None => return,
                },
                () = clock::sleep_until(expires), if !expired => {
                    expired = true;
                    let outcome = Outcome::critical(ttl::expired(&output));
                    if !self.tell(Some(Status::CRITICAL), outcome, None, Vec::new()).await {
                        return;
                    }
                }
            }
        }
    }

    async fn follow(self, alias: &super::Alias, source: &dyn Source) {
        let mut follower = alias::Follower::default();
        loop {
            let outcome = follower.next(&self.check_id, alias, source).await;
            if let Some(outcome) = outcome
                && !self.tell(Some(outcome.status.clone()), outcome, None, Vec::new()).await
            {
                return;
            }
        }
    }

    fn plan(&self, next: clock::Instant) {
        let wait = next.saturating_duration_since(self.world.clock.now());
        let at_ms = self.world.clock.wall_ms() + u64::try_from(wait.as_millis()).unwrap_or(0);
        self.progress.next_run_at_ms.store(at_ms, Ordering::Relaxed);
    }

    /// Answers whether anybody still listens.
    async fn tell(&self, status: Option<Status>, outcome: Outcome, ran: Option<Ran>, waiters: Vec<oneshot::Sender<Run>>) -> bool {
        let event = Event { check_id: self.check_id.clone(), generation: self.generation, status, outcome, ran, waiters };
        self.events.send(event).await.is_ok()
    }
}

#[cfg(test)]
mod tests;
