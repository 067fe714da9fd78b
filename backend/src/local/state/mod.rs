//! What this agent holds, and what of it the catalog has yet to learn. Pure: time comes in, nothing goes out.
//!
//! Contract: health checks, sections "Status model" and "Anti-entropy".

use std::{
    collections::{BTreeMap, BTreeSet, HashSet, VecDeque},
    time::Duration,
};

use shared::{
    check::{Check, CheckDefinition, Run, SERVICE_MAINTENANCE_PREFIX, Transition},
    health::Status,
    service::Service,
};

use super::definition::{PlannedCheck, Source};
use crate::{checks::Checked, rt::clock::Instant};

/// Transitions kept for a check between two syncs.
const TRANSITIONS_MAX: usize = 64;

/// Now, on both clocks.
#[derive(Clone, Copy, Debug)]
pub(super) struct Now {
    pub(super) instant: Instant,
    pub(super) wall_ms: u64,
}

/// Whether the catalog has it as it is here.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Sync {
    pub(super) dirty: bool,
    /// Counts changes, so that a change during a sync is not taken for synced.
    pub(super) revision: u64,
}

impl Sync {
    fn changed(&mut self) {
        self.dirty = true;
        self.revision += 1;
    }
}

/// A service this agent holds.
#[derive(Clone, Debug, Default)]
pub(super) struct ServiceEntry {
    pub(super) service: Service,
    pub(super) token: String,
    pub(super) source: Source,
    pub(super) sync: Sync,
}

/// A check this agent holds.
#[derive(Clone, Debug, Default)]
pub(super) struct CheckEntry {
    pub(super) check: Check,
    pub(super) definition: CheckDefinition,
    /// `None` for maintenance.
    pub(super) checked: Option<Checked>,
    pub(super) source: Source,
    /// Results of an older generation mean nothing any more.
    pub(super) generation: u64,
    pub(super) sync: Sync,
    pub(super) critical_since: Option<Instant>,
    /// Unsynced changes of the status, and how many have left the front of the list, ever.
    pub(super) transitions: VecDeque<Transition>,
    pub(super) transitions_gone: u64,
    /// When an output-only change is to be synced.
    pub(super) deferred: Option<Instant>,
    pub(super) last_run: Option<Run>,
    pub(super) runs_in_a_row: u64,
}

/// A result to take in.
#[derive(Clone, Debug)]
pub(super) struct Report<'a> {
    pub(super) status: Status,
    pub(super) output: &'a str,
    pub(super) duration_ms: u64,
    /// How long to put off a change of the output alone; `None` syncs it at once.
    pub(super) defer: Option<Duration>,
}

/// When the catalog is to be told of a result.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum News {
    /// Never: nothing changed.
    None,
    /// Some time later: only the output changed.
    Later,
    /// At once.
    Now,
}

/// Everything this agent holds.
#[derive(Debug, Default)]
pub(super) struct State {
    /// This node's name.
    pub(super) node: String,
    pub(super) services: BTreeMap<String, ServiceEntry>,
    pub(super) checks: BTreeMap<String, CheckEntry>,
    /// Gone here, not yet from the catalog.
    pub(super) gone_services: BTreeSet<String>,
    pub(super) gone_checks: BTreeSet<String>,
    /// Whether the catalog knows this node as it is.
    pub(super) node_synced: bool,
    generations: u64,
}

impl State {
    /// Holds nothing yet.
    pub(super) fn new(node: &str) -> Self {
        Self { node: node.to_owned(), ..Self::default() }
    }

    /// Adds or replaces a service. Its checks learn its name and tags.
    pub(super) fn put_service(&mut self, service: Service, token: &str, source: Source) {
        for entry in self.checks.values_mut().filter(|entry| entry.check.service_id == service.id) {
            if entry.check.service_name != service.name || entry.check.service_tags != service.tags {
                entry.check.service_name.clone_from(&service.name);
                entry.check.service_tags.clone_from(&service.tags);
                entry.sync.changed();
            }
        }
        self.gone_services.remove(&service.id);
        let entry = self.services.entry(service.id.clone()).or_default();
        entry.sync.changed();
        token.clone_into(&mut entry.token);
        (entry.service, entry.source) = (service, source);
    }

    /// Adds or replaces a check; status and output of one with the same id stay. Answers its generation.
    pub(super) fn put_check(&mut self, planned: PlannedCheck, source: Source) -> u64 {
        let PlannedCheck { definition, checked } = planned;
        let service = self.services.get(&definition.service_id).map(|entry| &entry.service);
        let kind = checked.as_ref().map_or("maintenance", |checked| checked.kind.word());
        let status = Status::from(definition.status.as_str());
        let check = Check {
            node: self.node.clone(),
            id: definition.id.clone(),
            name: definition.name.clone(),
            status: if status.is_empty() { Status::CRITICAL } else { status },
            notes: definition.notes.clone(),
            service_id: definition.service_id.clone(),
            service_name: service.map(|service| service.name.clone()).unwrap_or_default(),
            service_tags: service.map(|service| service.tags.clone()).unwrap_or_default(),
            kind: kind.to_owned(),
            ..Check::default()
        };
        self.generations += 1;
        self.gone_checks.remove(&definition.id);
        let entry =
            self.checks.entry(definition.id.clone()).or_insert_with(|| CheckEntry { check: check.clone(), ..CheckEntry::default() });
        let (status, output) = (entry.check.status.clone(), std::mem::take(&mut entry.check.output));
        entry.check = Check { status, output, ..check };
        (entry.definition, entry.checked, entry.source, entry.generation) = (definition, checked, source, self.generations);
        entry.sync.changed();
        self.generations
    }

    /// Gives a check the status it had before a restart.
    pub(super) fn restore(&mut self, check_id: &str, status: Status, output: String) {
        if let Some(entry) = self.checks.get_mut(check_id) {
            (entry.check.status, entry.check.output) = (status, output);
            entry.sync.changed();
        }
    }

    /// Removes a service with its checks. Answers the checks' ids, or `None` when there is no such service.
    pub(super) fn remove_service(&mut self, id: &str) -> Option<Vec<String>> {
        self.services.remove(id)?;
        self.gone_services.insert(id.to_owned());
        let checks = self.check_ids_of(id);
        for check in &checks {
            // The catalog drops them with the service.
            self.checks.remove(check);
        }
        Some(checks)
    }

    /// Removes a check. Answers whether there was one.
    pub(super) fn remove_check(&mut self, id: &str) -> bool {
        let removed = self.checks.remove(id).is_some();
        if removed {
            self.gone_checks.insert(id.to_owned());
        }
        removed
    }

    /// Removes what files defined and do not define any more. Answers the removed checks' ids.
    pub(super) fn remove_files_except(&mut self, services: &HashSet<String>, checks: &HashSet<String>) -> Vec<String> {
        let gone = |source: Source, id: &String, kept: &HashSet<String>| source == Source::File && !kept.contains(id);
        let gone_services: Vec<_> = self.services.iter().filter(|(id, e)| gone(e.source, id, services)).map(|(id, _)| id.clone()).collect();
        let mut removed: Vec<_> = gone_services.iter().filter_map(|id| self.remove_service(id)).flatten().collect();
        let gone_checks: Vec<_> = self.checks.iter().filter(|(id, e)| gone(e.source, id, checks)).map(|(id, _)| id.clone()).collect();
        for id in gone_checks {
            self.remove_check(&id);
            removed.push(id);
        }
        removed
    }

    /// The checks of one instance.
    pub(super) fn check_ids_of(&self, service_id: &str) -> Vec<String> {
        self.checks.values().filter(|entry| entry.check.service_id == service_id).map(|entry| entry.check.id.clone()).collect()
    }

    /// The same without maintenance, which no registration touches.
    pub(super) fn own_check_ids(&self, service_id: &str) -> Vec<String> {
        let mut ids = self.check_ids_of(service_id);
        ids.retain(|id| !id.starts_with(SERVICE_MAINTENANCE_PREFIX));
        ids
    }

    /// A new generation for a check: results on their way mean nothing any more.
    pub(super) fn renew(&mut self, check_id: &str) -> Option<u64> {
        self.generations += 1;
        let entry = self.checks.get_mut(check_id)?;
        entry.generation = self.generations;
        Some(self.generations)
    }

    /// Takes in a result.
    pub(super) fn report(&mut self, check_id: &str, report: &Report<'_>, now: Now) -> News {
        let Some(entry) = self.checks.get_mut(check_id) else { return News::None };
        if report.status == Status::CRITICAL {
            entry.critical_since.get_or_insert(now.instant);
        } else {
            entry.critical_since = None;
        }
        let same_status = entry.check.status == report.status;
        if same_status && entry.check.output == report.output {
            return News::None;
        }
        entry.check.output = report.output.to_owned();
        if same_status {
            if let (Some(delay), false) = (report.defer, entry.sync.dirty) {
                entry.deferred.get_or_insert(now.instant + delay);
                return News::Later;
            }
            entry.sync.changed();
            return News::Now;
        }
        let from = std::mem::replace(&mut entry.check.status, report.status.clone());
        if report.status == Status::CRITICAL {
            tracing::warn!(target: "agent", check = check_id, "Check is now critical");
        } else {
            tracing::info!(target: "agent", check = check_id, from = %from, to = %report.status, "Check status updated");
        }
        if entry.transitions.len() == TRANSITIONS_MAX {
            entry.transitions.pop_front();
            entry.transitions_gone += 1;
        }
        entry.transitions.push_back(Transition {
            at_ms: now.wall_ms,
            from,
            to: report.status.clone(),
            output: report.output.to_owned(),
            duration_ms: report.duration_ms,
            index: 0,
        });
        entry.deferred = None;
        entry.sync.changed();
        News::Now
    }

    /// Marks a check for the next sync. Answers whether there is such a check.
    pub(super) fn force_sync(&mut self, check_id: &str) -> bool {
        let Some(entry) = self.checks.get_mut(check_id) else { return false };
        entry.deferred = None;
        entry.sync.changed();
        true
    }

    /// Output-only changes whose time has come go to the next sync. Answers when the next one is due.
    pub(super) fn release_deferred(&mut self, now: Instant) -> Option<Instant> {
        for entry in self.checks.values_mut().filter(|entry| entry.deferred.is_some_and(|due| due <= now)) {
            entry.deferred = None;
            entry.sync.changed();
        }
        self.checks.values().filter_map(|entry| entry.deferred).min()
    }

    /// Services with a check that has been critical for longer than it allows.
    pub(super) fn overdue_services(&self, now: Instant) -> BTreeSet<String> {
        let overdue = |entry: &&CheckEntry| {
            let allowed = entry.checked.as_ref().and_then(|checked| checked.deregister_critical_service_after);
            let since = entry.critical_since.map(|since| now.saturating_duration_since(since));
            !entry.check.service_id.is_empty() && allowed.zip(since).is_some_and(|(allowed, since)| since > allowed)
        };
        self.checks.values().filter(overdue).map(|entry| entry.check.service_id.clone()).collect()
    }
}

#[cfg(test)]
mod tests;
