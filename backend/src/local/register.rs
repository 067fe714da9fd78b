//! Registering, deregistering, maintenance, TTL reports and runs by hand.
//!
//! Each change is on disk before it takes effect. Contract: HTTP API, section "Status, agent", and health checks, sections
//! "Maintenance mode" and "TTL details".

use std::time::Duration;

use shared::{
    agent::{CheckUpdate, ServiceRegistration},
    check::{CheckDefinition, Run, SERF_HEALTH},
    health::Status,
};

use super::{
    Error,
    definition::{self, PlannedService, Source},
    persist::{self, StoredReport},
    service::Inner,
    state::Report,
};
use crate::{
    checks::{self, Kind},
    rt::clock,
};

/// How much longer than its own timeout a run may take to answer.
const RUN_GRACE: Duration = Duration::from_secs(5);
/// How long a run by hand waits for the catalog to have its result.
const SYNC_WAIT_MAX: Duration = Duration::from_secs(2);

fn unknown_check(id: &str) -> Error {
    Error::NotFound(format!("Unknown check ID \"{id}\". Ensure that the check ID is passed, not the check name."))
}

fn unknown_service(id: &str) -> Error {
    Error::NotFound(format!("Unknown service ID \"{id}\". Ensure that the service ID is passed, not the service name."))
}

impl Inner {
    pub(super) async fn register_service(&self, registration: ServiceRegistration, replace_existing_checks: bool) -> Result<(), Error> {
        let planned = definition::service(registration, Source::Api, self.scripts())?;
        let PlannedService { service, token, checks } = planned;
        let _exclusive = self.exclusive(&service.id).await;
        let stay = |id: &String| checks.iter().any(|check| check.definition.id == *id);
        let surplus: Vec<String> = if replace_existing_checks {
            self.with(|state| state.own_check_ids(&service.id)).into_iter().filter(|id| !stay(id)).collect()
        } else {
            Vec::new()
        };
        let mut batch = vec![persist::put_service(&service, &token)];
        batch.extend(checks.iter().map(|check| persist::put_check(&check.definition, false)));
        batch.extend(surplus.iter().flat_map(|id| persist::delete_check(id)));
        self.db.commit(batch).await?;
        self.with(|state| {
            surplus.iter().for_each(|id| {
                state.remove_check(id);
            });
            state.put_service(service, &token, Source::Api);
        });
        surplus.iter().for_each(|id| self.checks.stop(id));
        checks.into_iter().for_each(|check| self.hold(check, Source::Api, None));
        self.announce_and_sync();
        Ok(())
    }

    pub(super) async fn deregister_service(&self, id: &str) -> Result<(), Error> {
        if id.is_empty() {
            return Err(Error::Refused("ServiceID missing".to_owned()));
        }
        let _exclusive = self.exclusive(id).await;
        let known = self.with(|state| state.services.contains_key(id).then(|| state.check_ids_of(id)));
        let Some(checks) = known else { return Err(unknown_service(id)) };
        let mut batch = vec![persist::delete_service(id)];
        batch.extend(checks.iter().flat_map(|check| persist::delete_check(check)));
        self.db.commit(batch).await?;
        let removed = self.with(|state| state.remove_service(id)).unwrap_or_default();
        removed.iter().for_each(|check| self.checks.stop(check));
        self.announce_and_sync();
        Ok(())
    }

    pub(super) async fn register_check(&self, definition: CheckDefinition) -> Result<(), Error> {
        let planned = definition::check(definition, Source::Api, self.scripts())?;
        let service_id = planned.definition.service_id.clone();
        let owner = if service_id.is_empty() { &planned.definition.id } else { &service_id };
        let _exclusive = self.exclusive(owner).await;
        if !service_id.is_empty() && self.with(|state| !state.services.contains_key(&service_id)) {
            return Err(Error::Refused(format!("ServiceID \"{service_id}\" does not exist")));
        }
        self.db.commit(vec![persist::put_check(&planned.definition, false)]).await?;
        self.hold(planned, Source::Api, None);
        self.announce_and_sync();
        Ok(())
    }

    pub(super) async fn deregister_check(&self, id: &str) -> Result<(), Error> {
        if id.is_empty() {
            return Err(Error::Refused("CheckID missing".to_owned()));
        }
        let service_id = self.with(|state| state.checks.get(id).map(|entry| entry.check.service_id.clone()));
        let Some(service_id) = service_id else { return Err(unknown_check(id)) };
        let _exclusive = self.exclusive(if service_id.is_empty() { id } else { &service_id }).await;
        self.db.commit(persist::delete_check(id).into()).await?;
        if !self.with(|state| state.remove_check(id)) {
            return Err(unknown_check(id));
        }
        self.checks.stop(id);
        self.announce_and_sync();
        Ok(())
    }

    pub(super) async fn update_ttl(&self, id: &str, update: CheckUpdate) -> Result<(), Error> {
        let status = Status::from(update.status.as_str());
        if !status.is_known() {
            return Err(Error::BadRequest(format!("Invalid check status: '{}'", update.status)));
        }
        let entry = self.with(|state| state.checks.get(id).map(|entry| entry.checked.clone()));
        let checked = entry.ok_or_else(|| unknown_check(id))?;
        let Some(checked) = checked else { return Err(no_ttl(id)) };
        let Kind::Ttl { ttl } = checked.kind else { return Err(no_ttl(id)) };
        let size_max = checked.output_size_max.min(self.options.check_output_max_size);
        let output = checks::cut_report(&update.output, size_max);
        let now = self.clocks();
        let expires_at_ms = now.wall_ms.saturating_add(u64::try_from(ttl.as_millis()).unwrap_or(u64::MAX));
        let stored = StoredReport { status: status.clone(), output: output.clone(), expires_at_ms };
        self.db.commit(vec![persist::put_report(id, &stored)]).await?;
        let report = Report { status, output: self.kept_output(&output), duration_ms: 0, defer: self.deferral() };
        // A new generation, so that an expiry on its way does not undo this report.
        let generation = self.with(|state| {
            state.report(id, &report, now);
            state.renew(id)
        });
        let generation = generation.ok_or_else(|| unknown_check(id))?;
        self.checks.reported(id, generation, &output, ttl).await;
        self.announce_and_sync();
        Ok(())
    }

    pub(super) async fn service_maintenance(&self, id: &str, enable: bool, reason: &str) -> Result<(), Error> {
        if self.with(|state| !state.services.contains_key(id)) {
            return Err(Error::NotFound(format!("No service registered with ID \"{id}\"")));
        }
        self.maintenance(id, enable, reason).await
    }

    /// Maintenance of an instance, or with an empty id of the node.
    pub(super) async fn maintenance(&self, service_id: &str, enable: bool, reason: &str) -> Result<(), Error> {
        let planned = definition::maintenance(service_id, reason);
        let id = planned.definition.id.clone();
        let _exclusive = self.exclusive(if service_id.is_empty() { &id } else { service_id }).await;
        let enabled = self.with(|state| state.checks.contains_key(&id));
        if enabled == enable {
            return Ok(());
        }
        if enable {
            self.db.commit(vec![persist::put_check(&planned.definition, true)]).await?;
            self.hold(planned, Source::Api, None);
        } else {
            self.db.commit(persist::delete_check(&id).into()).await?;
            self.with(|state| state.remove_check(&id));
        }
        self.announce_and_sync();
        Ok(())
    }

    pub(super) async fn run_check(&self, id: &str) -> Result<Run, Error> {
        let timeout = self.runnable(id)?;
        let gone = || Error::NotFound(format!("Check \"{id}\" was removed while it ran"));
        let answer = self.checks.run_now(id).await.map_err(|_| gone())?;
        let run =
            clock::timeout(timeout + RUN_GRACE, answer).await.map_err(|_| Error::Refused("the run did not end in time".to_owned()))?;
        let run = run.map_err(|_| gone())?;
        let mut changes = self.changed.subscribe();
        let synced = changes.wait_for(|_| self.with(|state| state.checks.get(id).is_none_or(|entry| !entry.sync.dirty)));
        // Without a server the result still counts; it is synced later.
        let _ = clock::timeout(SYNC_WAIT_MAX, synced).await;
        Ok(run)
    }

    /// How long a run of the check may take, or why it cannot be run.
    pub(super) fn runnable(&self, id: &str) -> Result<Duration, Error> {
        let refused = |why: &str| Err(Error::BadRequest(format!("Check \"{id}\" cannot be run: {why}")));
        if id == SERF_HEALTH {
            return refused("the servers set it from what gossip knows about the node");
        }
        let entry = self.with(|state| state.checks.get(id).map(|entry| entry.checked.clone())).ok_or_else(|| unknown_check(id))?;
        let Some(checked) = entry else { return refused("it marks maintenance") };
        match checked.kind {
            Kind::Ttl { .. } => refused("it is a TTL check, which waits for reports"),
            Kind::Alias(_) => refused("it is an alias, which follows other checks"),
            _ => Ok(checked.timeout),
        }
    }
}

fn no_ttl(id: &str) -> Error {
    Error::Refused(format!("CheckID \"{id}\" does not have associated TTL"))
}
