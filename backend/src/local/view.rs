//! What the agent shows of what it holds.
//!
//! Contract: HTTP API, sections "Agent" of the schemas and "Agent service health".

use std::{collections::BTreeMap, time::Duration};

use shared::{
    agent::{AgentCheck, AgentService, ServiceHealth},
    check::{Check, CheckDefinition, CheckStatus},
    health::Health,
    service::Service,
};

use super::{Error, service::Inner, state::State};
use crate::{filter, rt::clock};

impl Inner {
    pub(super) fn services(&self, expression: &str) -> Result<BTreeMap<String, AgentService>, Error> {
        let mut rows: Vec<_> =
            self.with(|state| state.services.values().map(|entry| agent_service(&entry.service, &self.options.datacenter)).collect());
        select(expression, &mut rows)?;
        Ok(rows.into_iter().map(|row| (row.id.clone(), row)).collect())
    }

    pub(super) fn checks(&self, expression: &str) -> Result<BTreeMap<String, AgentCheck>, Error> {
        let mut rows: Vec<_> = self.with(|state| state.checks.values().map(|entry| agent_check(&entry.check)).collect());
        select(expression, &mut rows)?;
        Ok(rows.into_iter().map(|row| (row.id.clone(), row)).collect())
    }

    pub(super) fn service(&self, id: &str) -> Option<AgentService> {
        let service = self.with(|state| state.services.get(id).map(|entry| entry.service.clone()))?;
        let mut shown = agent_service(&service, &self.options.datacenter);
        shown.content_hash = content_hash(&shown);
        Some(shown)
    }

    pub(super) async fn service_changed(&self, id: &str, hash: &str, wait: Duration) {
        let mut changes = self.changed.subscribe();
        let differs = changes.wait_for(|_| self.service(id).is_none_or(|service| service.content_hash != hash));
        let _ = clock::timeout(wait, differs).await;
    }

    pub(super) fn service_health(&self, id: &str) -> Option<ServiceHealth> {
        self.with(|state| {
            let service = &state.services.get(id)?.service;
            Some(health(state, service, &self.options.datacenter))
        })
    }

    pub(super) fn service_health_by_name(&self, name: &str) -> Vec<ServiceHealth> {
        self.with(|state| {
            let named = state.services.values().filter(|entry| entry.service.name == name);
            named.map(|entry| health(state, &entry.service, &self.options.datacenter)).collect()
        })
    }

    pub(super) fn check_status(&self, id: &str) -> Option<CheckStatus> {
        let entry = self.with(|state| state.checks.get(id).cloned())?;
        let outlook = self.checks.outlook(id);
        let reason = self.runnable(id).err().map(|refused| refused.to_string());
        Some(CheckStatus {
            node: entry.check.node,
            check_id: entry.check.id,
            kind: entry.check.kind,
            status: entry.check.status,
            definition: CheckDefinition { token: String::new(), ..entry.definition },
            runnable: reason.is_none(),
            reason: reason.unwrap_or_default(),
            last_run: entry.last_run,
            next_run_at_ms: outlook.next_run_at_ms,
            runs_in_a_row: entry.runs_in_a_row,
            running: outlook.running,
        })
    }
}

fn select<T: filter::Filterable>(expression: &str, rows: &mut Vec<T>) -> Result<(), Error> {
    filter::select(expression, rows).map_err(|refused| Error::Refused(refused.to_string()))
}

fn health(state: &State, service: &Service, datacenter: &str) -> ServiceHealth {
    let bears = |check: &&Check| check.service_id.is_empty() || check.service_id == service.id;
    let checks: Vec<&Check> = state.checks.values().map(|entry| &entry.check).filter(bears).collect();
    ServiceHealth {
        aggregated_status: ServiceHealth::word(Health::of_checks(checks.iter().copied())).to_owned(),
        service: Some(agent_service(service, datacenter)),
        checks: Some(checks.into_iter().map(agent_check).collect()),
    }
}

fn agent_service(service: &Service, datacenter: &str) -> AgentService {
    let service = service.clone();
    AgentService {
        proxy: (!service.kind.is_empty()).then_some(service.proxy),
        connect: (service.connect != shared::service::Connect::default()).then_some(service.connect),
        kind: service.kind,
        id: service.id,
        name: service.name,
        tags: service.tags,
        meta: service.meta,
        port: service.port,
        address: service.address,
        tagged_addresses: service.tagged_addresses,
        weights: service.weights,
        enable_tag_override: service.enable_tag_override,
        content_hash: String::new(),
        datacenter: datacenter.to_owned(),
    }
}

fn agent_check(check: &Check) -> AgentCheck {
    let check = check.clone();
    AgentCheck {
        node: check.node,
        id: check.id,
        name: check.name,
        status: check.status,
        notes: check.notes,
        output: check.output,
        service_id: check.service_id,
        service_name: check.service_name,
        service_tags: check.service_tags,
        kind: check.kind,
        ..AgentCheck::default()
    }
}

/// The same for the same definition, today and after an upgrade of the compiler: FNV-1a over its JSON.
fn content_hash(service: &AgentService) -> String {
    let json = serde_json::to_vec(service).expect("a service is always JSON");
    let hash = json.iter().fold(0xcbf2_9ce4_8422_2325_u64, |hash, byte| (hash ^ u64::from(*byte)).wrapping_mul(0x0100_0000_01b3));
    format!("{hash:016x}")
}
