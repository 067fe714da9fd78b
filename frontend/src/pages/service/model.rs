//! What the service page knows: its reads, the chosen instance, the runs under way. One value, copied to every part.

use std::{collections::BTreeMap, time::Duration};

use crate::prelude::*;
use shared::{
    agent,
    changes::{Change, Topic},
    check::{self, Check, CheckDefinition, GetHistory, History, Run},
    endpoint::Read,
    health::{Counts, GetService, Health, ServiceNode, Status},
    ui::Overview,
};

use super::view::{self, Owner};
use crate::{
    api::{Query, query, send},
    components::lanes::{self, Range},
    router::{Page, Router, use_dc, use_router},
    state::notices::{Notices, use_notices},
};

/// Runs under way at once when many are asked for.
const RUNS_AT_ONCE: usize = 8;

/// A run asked for on this page.
#[derive(Clone, PartialEq)]
pub(crate) enum Ran {
    /// Since when, milliseconds since 1970 here.
    Pending(u64),
    /// What it found, the status it met, and when that was.
    Done { run: Run, before: Status, at_ms: u64 },
    /// Why it did not run.
    Failed(String),
}

/// Node and id of an instance or of a check.
pub(crate) type Ref = (String, String);

/// The clock of the server as far as it is known here, moving every second.
pub(crate) fn clock() -> Signal<u64> {
    let overview = use_context::<Query<Overview>>();
    let here = || js_sys::Date::now() as u64;
    let now = RwSignal::new(here());
    let skew = move || {
        overview.map_or(0, |o| {
            let server = o.data.with(|d| d.as_ref().map_or(0, |d| d.now_ms));
            let at = o.at_ms.get();
            if server == 0 || at == 0 { 0 } else { server as i64 - at as i64 }
        })
    };
    if let Some(timer) = set_interval(
        move || {
            now.try_set(here());
        },
        Duration::from_secs(1),
    ) {
        on_cleanup(move || timer.clear());
    }
    // A few hundred milliseconds are the way of the answer, not a wrong clock.
    Signal::derive(move || {
        let skew = skew();
        if skew.abs() < 2_000 { now.get() } else { now.get().saturating_add_signed(skew) }
    })
}

/// Runs of checks, by node and check id.
#[derive(Clone, Copy)]
pub(crate) struct Runs {
    states: RwSignal<BTreeMap<Ref, Ran>>,
    now: Signal<u64>,
    notices: Notices,
}

impl Runs {
    pub(crate) fn new(now: Signal<u64>) -> Self {
        Self { states: RwSignal::new(BTreeMap::new()), now, notices: use_notices() }
    }

    /// The run of one check, if it was asked for here.
    pub(crate) fn of(self, check: Ref) -> Memo<Option<Ran>> {
        Memo::new(move |_| self.states.with(|states| states.get(&check).cloned()))
    }

    /// Whether any run is under way.
    pub(crate) fn busy(self) -> bool {
        self.states.with(|states| states.values().any(|ran| matches!(ran, Ran::Pending(_))))
    }

    /// Runs one check; its outcome appears at the check.
    pub(crate) fn one(self, check: Check) {
        spawn_local(async move {
            self.run(check).await;
        });
    }

    /// Runs many, some at a time, and says at the end how it went.
    pub(crate) fn all(self, checks: Vec<Check>) {
        let total = checks.len();
        if total == 0 {
            return;
        }
        let queue = StoredValue::new(checks);
        let found = StoredValue::new((0_usize, 0_usize, 0_usize));
        for _ in 0..RUNS_AT_ONCE.min(total) {
            spawn_local(async move {
                while let Some(check) = queue.try_update_value(|queue| queue.pop()).flatten() {
                    let result = self.run(check).await;
                    found.update_value(|f| {
                        f.0 += 1;
                        f.1 += usize::from(result == Some(Health::Passing));
                        f.2 += usize::from(result.is_none());
                    });
                }
                let (done, passing, unrun) = found.get_value();
                if done == total {
                    found.update_value(|f| f.0 = usize::MAX);
                    let text = match (total - passing - unrun, unrun) {
                        (0, 0) => "All of them pass.".to_owned(),
                        (bad, 0) => format!("{passing} pass, {bad} do not."),
                        (bad, unrun) => format!("{passing} pass, {bad} do not, {unrun} could not be run."),
                    };
                    self.notices.done(format!("{total} checks ran"), text);
                }
            });
        }
    }

    async fn run(self, check: Check) -> Option<Health> {
        let key = (check.node.clone(), check.id.clone());
        let started = self.now.get_untracked();
        self.states.try_update(|states| states.insert(key.clone(), Ran::Pending(started)));
        let call = check::RunNow { node: check.node.clone(), id: check.id.clone() };
        let (ran, result) = match send(&call).await {
            Ok(run) => {
                let result = view::of_status(&run.result);
                (Ran::Done { run, before: check.status, at_ms: self.now.try_get_untracked().unwrap_or(started) }, result)
            }
            Err(error) => (Ran::Failed(error.to_string()), None),
        };
        self.states.try_update(|states| states.insert(key, ran));
        result
    }
}

/// Everything the page's parts share. Copy it freely.
#[derive(Clone, Copy)]
pub(crate) struct Model {
    pub(crate) name: StoredValue<String>,
    pub(crate) router: Router,
    pub(crate) notices: Notices,
    pub(crate) rows: Query<Vec<ServiceNode>>,
    pub(crate) histories: Query<Vec<History>>,
    /// The instances, or the last that were there.
    pub(crate) shown: Memo<Vec<ServiceNode>>,
    /// When the service vanished, by this clock; 0 while it is there.
    pub(crate) gone_ms: RwSignal<u64>,
    /// Node and id of the chosen instance.
    pub(crate) selected: Memo<Option<Ref>>,
    pub(crate) now: Signal<u64>,
    pub(crate) runs: Runs,
}

impl Model {
    pub(crate) fn new(name: String) -> Self {
        let (router, dc, now) = (use_router(), use_dc(), clock());
        let read = move || Read { dc: dc.get(), ..Read::default() };
        let name = StoredValue::new(name);
        let nodes = RwSignal::new(Vec::<String>::new());
        let mine = move |change: &Change| {
            let service = change.topic == Topic::Service && name.with_value(|name| *name == change.name);
            service || (change.topic == Topic::Check && nodes.with_untracked(|nodes| nodes.contains(&change.node)))
        };
        let rows = query(move || Some(GetService { service: name.get_value(), read: read(), ..GetService::default() }), mine);
        let histories = query(
            move || Some(GetHistory { service: name.get_value(), read: read(), ..GetHistory::default() }),
            move |change| change.topic == Topic::Service && name.with_value(|name| *name == change.name),
        );
        let gone_ms = RwSignal::new(0);
        let shown = Memo::new(move |old: Option<&Vec<ServiceNode>>| {
            let new = rows.data.get().unwrap_or_default();
            match old {
                Some(old) if new.is_empty() => old.clone(),
                _ => new,
            }
        });
        Effect::new(move |_| {
            let empty = rows.data.with(|d| d.as_ref().is_some_and(Vec::is_empty));
            gone_ms.set(if empty && shown.with_untracked(|s| !s.is_empty()) { now.get_untracked() } else { 0 });
            nodes.set(shown.with(|rows| rows.iter().map(|r| r.node.name.clone()).collect()));
        });
        let asked = Memo::new(move |_| {
            router.place().with(|place| match &place.page {
                Page::Service { instance, .. } => instance.clone(),
                _ => None,
            })
        });
        // Without a choice the worst instance is shown, and stays shown when another gets worse.
        let selected = Memo::new(move |old: Option<&Option<Ref>>| {
            asked.get().or_else(|| {
                shown.with(|rows| {
                    let there = |r: &Ref| rows.iter().any(|row| row.node.name == r.0 && row.service.id == r.1);
                    match old {
                        Some(Some(old)) if there(old) => Some(old.clone()),
                        _ => view::instances(rows).into_iter().next().map(|i| (i.node, i.id)),
                    }
                })
            })
        });
        Self { name, router, notices: use_notices(), rows, histories, shown, gone_ms, selected, now, runs: Runs::new(now) }
    }

    /// The range of the lanes.
    pub(crate) fn range(self) -> Memo<Range> {
        let word = self.router.param("range");
        Memo::new(move |_| {
            let oldest = self.histories.data.with(|h| h.iter().flatten().map(|h| h.since_ms).filter(|at| *at > 0).min());
            lanes::range(&word.get(), oldest, self.now.get())
        })
    }

    /// The chosen instance; `None` when it is not there.
    pub(crate) fn instance(self) -> Memo<Option<ServiceNode>> {
        let (shown, selected) = (self.shown, self.selected);
        Memo::new(move |_| {
            let (node, id) = selected.get()?;
            shown.with(|rows| rows.iter().find(|r| r.node.name == node && r.service.id == id).cloned())
        })
    }

    /// Instances by state.
    pub(crate) fn counts(self) -> Memo<Counts> {
        let shown = self.shown;
        Memo::new(move |_| {
            let mut counts = Counts::default();
            shown.with(|rows| rows.iter().for_each(|row| counts.add(row.health())));
            counts
        })
    }

    /// The page of an instance in the address.
    pub(crate) fn page_of(self, node: &str, id: &str) -> Page {
        Page::Service { name: self.name.get_value(), tab: "instances".to_owned(), instance: Some((node.to_owned(), id.to_owned())) }
    }

    /// Every check of the service that can be run now.
    pub(crate) fn runnable(self) -> Vec<Check> {
        self.shown.with_untracked(|rows| rows.iter().flat_map(runnable).collect())
    }
}

/// The checks of an instance that can be run now, its own only.
pub(crate) fn runnable(row: &ServiceNode) -> Vec<Check> {
    let agent = view::owner(&row.checks) == Owner::Agent;
    let own = row.checks.iter().filter(|c| !c.service_id.is_empty());
    own.filter(|c| view::not_runnable(c, agent).is_none()).cloned().collect()
}

/// Turns maintenance of instances on or off, and offers to take it back.
pub(crate) fn maintain(notices: Notices, instances: Vec<Ref>, enable: bool, reason: String) {
    let what = match instances.as_slice() {
        [(_, id)] => id.clone(),
        many => format!("{} instances", many.len()),
    };
    spawn_local(async move {
        let mut failed = Vec::new();
        for (node, id) in &instances {
            let call = agent::SetServiceMaintenance { node: node.clone(), id: id.clone(), enable, reason: reason.clone() };
            if let Err(error) = send(&call).await {
                failed.push(format!("{id} on {node}: {error}"));
            }
        }
        if !failed.is_empty() {
            notices.failed(format!("Maintenance of {what} was not changed"), failed.join("\n"));
            return;
        }
        let (title, text) = if enable {
            (format!("{what} in maintenance"), "DNS and queries no longer hand it out.")
        } else {
            (format!("Maintenance of {what} ended"), "Its checks decide again.")
        };
        notices.undoable(title, text, move || maintain(notices, instances.clone(), !enable, reason.clone()));
    });
}

/// What the checks of an instance do, as their owner registered them; from the catalog where it cannot be asked.
pub(crate) async fn definitions(checks: &[Check]) -> Vec<CheckDefinition> {
    let mut out = Vec::new();
    for check in checks.iter().filter(|c| !c.service_id.is_empty() && !c.is_maintenance()) {
        let asked = send(&check::GetStatus { node: check.node.clone(), id: check.id.clone() }).await;
        out.push(asked.map_or_else(|_| of_catalog(check), |status| status.definition));
    }
    out
}

fn of_catalog(check: &Check) -> CheckDefinition {
    let d = &check.definition;
    CheckDefinition {
        id: check.id.clone(),
        name: check.name.clone(),
        notes: check.notes.clone(),
        http: d.http.clone(),
        tcp: d.tcp.clone(),
        interval: d.interval,
        timeout: d.timeout,
        deregister_critical_service_after: d.deregister_critical_service_after,
        ..CheckDefinition::default()
    }
}
