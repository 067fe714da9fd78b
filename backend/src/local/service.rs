//! The running part: what the handle shares, taking in results, and the reaper of services critical for too long.
//!
//! The state's lock is never held across an await. Contract: health checks, sections "Common numbers" and "Persistence in data_dir".

use std::{
    collections::{HashMap, HashSet},
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use shared::check::Run;
use tokio::sync::{Notify, mpsc, watch};

use super::{
    Definitions, Error, Handle, Options, alias,
    definition::{self, PlannedCheck, PlannedService, ScriptPolicy, Source},
    persist::{self, StoredReport},
    state::{News, Now, Report, State},
    sync,
};
use crate::{
    checks,
    localdb::LocalDb,
    rpc::{Request, Router},
    rt::{Runtime, clock, clock::Instant},
};

const REAP_EVERY: Duration = Duration::from_secs(30);
/// Registrations of different services do not wait for each other's disk flush.
const STRIPES: usize = 64;

/// Starts the local state.
#[derive(Debug)]
pub struct Service;

impl Service {
    /// Takes in what the files define, then what was registered over the API before, starts the checks and keeps the catalog
    /// in step from now on, until shutdown.
    ///
    /// # Errors
    /// A bad definition in a file, or the disk.
    pub async fn start(options: Options, definitions: Definitions, router: Router, db: LocalDb, runtime: Runtime) -> Result<Handle, Error> {
        let output_size_max = options.check_output_max_size;
        let (checks, results) = checks::Service::start(checks::Options { output_size_max }, runtime.clone());
        let inner = Arc::new(Inner {
            state: Mutex::new(State::new(&options.node_name)),
            options,
            changed: watch::Sender::new(0),
            checks,
            router,
            db,
            runtime,
            wake: Notify::new(),
            wake_full: Notify::new(),
            resumed: Notify::new(),
            paused: AtomicUsize::new(0),
            cluster_size: AtomicUsize::new(1),
            stripes: std::iter::repeat_with(tokio::sync::Mutex::default).take(STRIPES).collect(),
        });
        inner.checks.set_source(Arc::new(alias::LocalSource::new(&inner)));
        inner.load(definitions).await?;
        let tasks = &inner.runtime.tasks;
        tasks.spawn_until_shutdown("check results", take_results(Arc::clone(&inner), results));
        tasks.spawn_until_shutdown("critical services", reap(Arc::clone(&inner)));
        tasks.spawn_until_shutdown("anti-entropy", sync::run(Arc::clone(&inner)));
        Ok(Handle(inner))
    }
}

/// What every handle shares.
#[derive(Debug)]
pub(super) struct Inner {
    pub(super) options: Options,
    state: Mutex<State>,
    /// Counts changes of the state and of what is synced.
    pub(super) changed: watch::Sender<u64>,
    pub(super) checks: checks::Handle,
    pub(super) router: Router,
    pub(super) db: LocalDb,
    runtime: Runtime,
    pub(super) wake: Notify,
    pub(super) wake_full: Notify,
    pub(super) resumed: Notify,
    paused: AtomicUsize,
    pub(super) cluster_size: AtomicUsize,
    stripes: Vec<tokio::sync::Mutex<()>>,
}

impl Inner {
    /// Looks at or changes the state.
    pub(super) fn with<T>(&self, work: impl FnOnce(&mut State) -> T) -> T {
        work(&mut self.state.lock().unwrap_or_else(PoisonError::into_inner))
    }

    pub(super) fn now(&self) -> Instant {
        self.runtime.clock.now()
    }

    pub(super) fn clocks(&self) -> Now {
        Now { instant: self.runtime.clock.now(), wall_ms: self.runtime.clock.wall_ms() }
    }

    pub(super) fn jitter(&self, longest: Duration) -> Duration {
        self.runtime.rng.jitter(longest)
    }

    /// A call on behalf of a definition; without a token of its own it goes with the agent's.
    pub(super) fn request(&self, token: &str) -> Request {
        Request { datacenter: self.options.datacenter.clone(), token: token.to_owned(), ..Request::default() }
    }

    /// Tells whoever watches that something changed.
    pub(super) fn announce(&self) {
        self.changed.send_modify(|version| *version += 1);
    }

    /// The same, and the catalog is to be told.
    pub(super) fn announce_and_sync(&self) {
        self.announce();
        self.wake.notify_one();
    }

    pub(super) fn scripts(&self) -> ScriptPolicy {
        let Options { enable_script_checks: api, enable_local_script_checks: file, .. } = self.options;
        ScriptPolicy { api, file }
    }

    pub(super) fn stop_syncing(&self) {
        // Nobody ends this pause.
        self.paused.fetch_add(1, Ordering::SeqCst);
    }

    pub(super) fn is_paused(&self) -> bool {
        self.paused.load(Ordering::SeqCst) > 0
    }

    /// Keeps everything but results and reports out while it is held; changes of the same owner wait for each other.
    pub(super) async fn exclusive(&self, owner: &str) -> tokio::sync::MutexGuard<'_, ()> {
        let sum = owner.bytes().fold(0usize, |sum, byte| sum.wrapping_mul(31).wrapping_add(usize::from(byte)));
        self.stripes[sum % STRIPES].lock().await
    }

    /// Output as this agent keeps it.
    pub(super) fn kept_output<'a>(&self, output: &'a str) -> &'a str {
        if self.options.discard_check_output { "" } else { output }
    }

    /// How long an output-only change waits: half to one and a half of the configured time.
    pub(super) fn deferral(&self) -> Option<Duration> {
        let interval = self.options.check_update_interval;
        (!interval.is_zero()).then(|| interval / 2 + self.jitter(interval))
    }

    /// Holds a check and starts it.
    pub(super) fn hold(&self, planned: PlannedCheck, source: Source, restored: Option<(String, Duration)>) {
        let (id, checked) = (planned.definition.id.clone(), planned.checked.clone());
        // Started under the lock, so that of two registrations of one id the runner and the state are of the same one.
        self.with(|state| {
            let generation = state.put_check(planned, source);
            match checked {
                Some(checked) => self.checks.start(&id, generation, &checked, restored),
                None => self.checks.stop(&id),
            }
        });
    }

    async fn load(&self, definitions: Definitions) -> Result<(), Error> {
        self.hold_files(self.plan_files(definitions)?);
        self.hold_stored().await
    }

    fn plan_files(&self, definitions: Definitions) -> Result<(Vec<PlannedService>, Vec<PlannedCheck>), Error> {
        let scripts = self.scripts();
        let services = definitions.services.into_iter().map(|service| definition::service(service, Source::File, scripts));
        let services = services.collect::<Result<Vec<_>, _>>()?;
        let checks = definitions.checks.into_iter().map(|check| definition::check(check, Source::File, scripts));
        let checks = checks.collect::<Result<Vec<_>, _>>()?;
        for check in checks.iter().map(|check| &check.definition).filter(|check| !check.service_id.is_empty()) {
            let held = services.iter().any(|service| service.service.id == check.service_id);
            if !held && self.with(|state| !state.services.contains_key(&check.service_id)) {
                return Err(Error::Refused(format!("ServiceID \"{}\" does not exist", check.service_id)));
            }
        }
        Ok((services, checks))
    }

    fn hold_files(&self, (services, checks): (Vec<PlannedService>, Vec<PlannedCheck>)) {
        for PlannedService { service, token, checks } in services {
            self.with(|state| state.put_service(service, &token, Source::File));
            checks.into_iter().for_each(|check| self.hold(check, Source::File, None));
        }
        checks.into_iter().for_each(|check| self.hold(check, Source::File, None));
    }

    /// Takes in what was registered over the API before; what a file defines now is forgotten.
    async fn hold_stored(&self) -> Result<(), Error> {
        let stored = persist::load(&self.db)?;
        let mut reports: HashMap<_, _> = stored.reports.into_iter().collect();
        let mut forget = Vec::new();
        for (id, stored) in stored.services {
            if self.with(|state| state.services.contains_key(&id)) {
                forget.push(persist::delete_service(&id));
            } else {
                self.with(|state| state.put_service(stored.service, &stored.token, Source::Api));
            }
        }
        for (id, stored) in stored.checks {
            let service_id = &stored.definition.service_id;
            let (held, orphan) =
                self.with(|state| (state.checks.contains_key(&id), !service_id.is_empty() && !state.services.contains_key(service_id)));
            if held || orphan {
                forget.extend(persist::delete_check(&id));
                continue;
            }
            let planned = if stored.maintenance {
                Ok(PlannedCheck { definition: stored.definition, checked: None })
            } else {
                let definition = shared::check::CheckDefinition { status: String::new(), ..stored.definition };
                definition::check(definition, Source::Api, self.scripts())
            };
            match planned {
                Ok(planned) => self.restore(&id, planned, reports.remove(&id)),
                Err(reason) => tracing::error!(check = id, %reason, "leaving out a stored check"),
            }
        }
        if !forget.is_empty() {
            self.db.commit(forget).await?;
        }
        Ok(())
    }

    /// A report of a TTL check that has not expired yet counts on.
    fn restore(&self, id: &str, planned: PlannedCheck, report: Option<StoredReport>) {
        let remaining = |report: &StoredReport| report.expires_at_ms.saturating_sub(self.clocks().wall_ms);
        let Some(report) = report.filter(|report| remaining(report) > 0) else { return self.hold(planned, Source::Api, None) };
        let valid = Duration::from_millis(remaining(&report));
        self.hold(planned, Source::Api, Some((report.output.clone(), valid)));
        self.with(|state| state.restore(id, report.status, report.output));
    }

    pub(super) async fn reload(&self, definitions: Definitions) -> Result<(), Error> {
        let mut held = Vec::with_capacity(STRIPES);
        for stripe in &self.stripes {
            held.push(stripe.lock().await);
        }
        let planned = self.plan_files(definitions)?;
        self.paused.fetch_add(1, Ordering::SeqCst);
        let services: HashSet<_> = planned.0.iter().map(|service| service.service.id.clone()).collect();
        let of_services = planned.0.iter().flat_map(|service| &service.checks);
        let checks: HashSet<_> = of_services.chain(&planned.1).map(|check| check.definition.id.clone()).collect();
        let stopped = self.with(|state| state.remove_files_except(&services, &checks));
        stopped.iter().for_each(|check| self.checks.stop(check));
        self.hold_files(planned);
        let forget = services.iter().map(|id| persist::delete_service(id)).chain(checks.iter().flat_map(|id| persist::delete_check(id)));
        let forgotten = self.db.commit(forget.collect()).await;
        self.paused.fetch_sub(1, Ordering::SeqCst);
        self.resumed.notify_one();
        self.announce_and_sync();
        Ok(forgotten?)
    }
}

async fn take_results(inner: Arc<Inner>, mut results: mpsc::Receiver<checks::Event>) {
    while let Some(event) = results.recv().await {
        take_result(&inner, event);
    }
}

fn take_result(inner: &Inner, event: checks::Event) {
    let checks::Event { check_id, generation, status, outcome, ran, waiters } = event;
    let output = inner.kept_output(&outcome.output);
    let now = inner.clocks();
    let run = inner.with(|state| {
        let entry = state.checks.get_mut(&check_id).filter(|entry| entry.generation == generation)?;
        let mut run = Run {
            node: entry.check.node.clone(),
            check_id: check_id.clone(),
            result: outcome.status.clone(),
            output: outcome.output.clone(),
            ..Run::default()
        };
        if let Some(ran) = ran {
            (run.started_at_ms, run.duration_ms, entry.runs_in_a_row) = (ran.started_at_ms, ran.duration_ms, ran.runs_in_a_row);
        }
        let mut news = News::None;
        if let Some(status) = status {
            let report = Report { status, output, duration_ms: run.duration_ms, defer: inner.deferral() };
            news = state.report(&check_id, &report, now);
        }
        if !waiters.is_empty() && state.force_sync(&check_id) {
            news = News::Now;
        }
        let entry = state.checks.get_mut(&check_id)?;
        run.status = entry.check.status.clone();
        if ran.is_some() {
            entry.last_run = Some(run.clone());
        }
        Some((run, news))
    });
    let Some((run, news)) = run else { return };
    if news != News::None {
        // Also for a change put off: the sync loop has to look at its timer again.
        inner.announce_and_sync();
    }
    for waiter in waiters {
        let _ = waiter.send(run.clone());
    }
}

/// Deregisters services with a check that has been critical for longer than it allows.
async fn reap(inner: Arc<Inner>) {
    loop {
        clock::sleep(REAP_EVERY).await;
        let overdue = inner.with(|state| state.overdue_services(inner.now()));
        for service in overdue {
            tracing::info!(service, "deregistering a service that has been critical for too long");
            if let Err(error) = inner.deregister_service(&service).await {
                tracing::error!(service, %error, "cannot deregister a service that has been critical for too long");
            }
        }
    }
}
