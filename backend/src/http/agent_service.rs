//! `/v1/agent/service*` and `/v1/agent/health/*`: this agent's own services.
//!
//! Contract: HTTP API, sections "Status, agent" and "Agent service health". Never leaves this agent.

use std::time::Duration;

use axum::{
    http::{HeaderName, HeaderValue, StatusCode, header},
    response::Response,
};
use serde::Serialize;
use shared::{
    agent::{AgentCheck, AgentService, ServiceHealth, ServiceRegistration},
    go,
    health::Status,
};

use super::{agent::maintenance_query, error::Error, extract::Call, query::parse_bool, respond};

const CONTENT_HASH: HeaderName = HeaderName::from_static("x-consul-contenthash");
const REASON: HeaderName = HeaderName::from_static("x-consul-reason");
/// How long a read waits for a change when it does not say.
const DEFAULT_WAIT: Duration = Duration::from_secs(300);
const MAX_WAIT: Duration = Duration::from_secs(600);

pub(super) async fn list(call: Call) -> Result<Response, Error> {
    call.refuse_namespaces()?;
    let services = call.context.local.services(call.query.get("filter"))?;
    respond::json(&call, &services)
}

/// One service; with `hash` only once its definition differs from that.
pub(super) async fn read(call: Call) -> Result<Response, Error> {
    let request = call.read()?;
    let id = call.rest.clone();
    let unknown = || Error::not_found(format!("unknown service ID: {id}"));
    let local = &call.context.local;
    let mut service = local.service(&id).ok_or_else(unknown)?;
    let hash = call.query.get("hash");
    if !hash.is_empty() && service.content_hash == hash {
        let wait = request.options.wait.map_or(DEFAULT_WAIT, |wait| wait.as_std()).min(MAX_WAIT);
        local.service_changed(&id, hash, wait).await;
        service = local.service(&id).ok_or_else(unknown)?;
    }
    let mut response = respond::json(&call, &service)?;
    if let Ok(hash) = HeaderValue::from_str(&service.content_hash) {
        response.headers_mut().insert(CONTENT_HASH, hash);
    }
    Ok(response)
}

pub(super) async fn register(mut call: Call) -> Result<Response, Error> {
    let token = call.write()?.token;
    let replace = replaces_checks(&call)?;
    let registration: ServiceRegistration = call.decode().await?;
    call.context.local.register_service(registration, replace, &token).await?;
    Ok(respond::empty())
}

/// Whether checks that are not in the registration go.
pub(super) fn replaces_checks(call: &Call) -> Result<bool, Error> {
    match call.query.find("replace-existing-checks") {
        None => Ok(false),
        Some("") => Ok(true),
        Some(value) => parse_bool(value).ok_or_else(|| Error::bad_request("Invalid value for ?replace-existing-checks")),
    }
}

pub(super) async fn deregister(call: Call) -> Result<Response, Error> {
    call.write()?;
    if call.rest.is_empty() {
        return Err(Error::internal("ServiceID missing"));
    }
    call.context.local.deregister_service(&call.rest).await?;
    Ok(respond::empty())
}

pub(super) async fn maintenance(call: Call) -> Result<Response, Error> {
    call.write()?;
    let id = call.name("Missing service ID")?;
    let (enable, reason) = maintenance_query(&call)?;
    call.context.local.service_maintenance(&id, enable, &reason).await?;
    Ok(respond::empty())
}

pub(super) async fn health_by_id(call: Call) -> Result<Response, Error> {
    call.refuse_namespaces()?;
    let id = call.name("Missing serviceID")?;
    match call.context.local.service_health(&id) {
        Some(health) => health_answer(&call, &health.aggregated_status, None, &Report::of(&health)),
        None => {
            let text = format!("ServiceId {id} not found");
            let unknown = ServiceHealth { aggregated_status: "critical".to_owned(), ..ServiceHealth::default() };
            health_answer(&call, "critical", Some(&text), &unknown)
        }
    }
}

pub(super) async fn health_by_name(call: Call) -> Result<Response, Error> {
    call.refuse_namespaces()?;
    let name = call.name("Missing service Name")?;
    let found = call.context.local.service_health_by_name(&name);
    if found.is_empty() {
        return health_answer(&call, "critical", Some(&format!("ServiceName {name} Not Found")), &found);
    }
    let worst = found.iter().map(|health| health.aggregated_status.as_str()).max_by_key(|word| badness(word)).unwrap_or("passing");
    health_answer(&call, worst, None, &found.iter().map(Report::of).collect::<Vec<_>>())
}

/// A service's health as these two endpoints write it: the definitions of checks with every field, none of them filled.
#[derive(Serialize)]
#[serde(rename_all = "PascalCase")]
struct Report<'a> {
    aggregated_status: &'a str,
    service: &'a Option<AgentService>,
    checks: Option<Vec<ReportedCheck<'a>>>,
}

#[derive(Serialize)]
#[serde(rename_all = "PascalCase")]
struct ReportedCheck<'a> {
    node: &'a str,
    #[serde(rename = "CheckID")]
    id: &'a str,
    name: &'a str,
    status: &'a Status,
    notes: &'a str,
    output: &'a str,
    #[serde(rename = "ServiceID")]
    service_id: &'a str,
    service_name: &'a str,
    service_tags: &'a [String],
    #[serde(rename = "Type")]
    kind: &'static str,
    definition: EmptyDefinition,
    create_index: u64,
    modify_index: u64,
}

#[derive(Default, Serialize)]
#[serde(rename_all = "PascalCase")]
struct EmptyDefinition {
    interval: go::Duration,
    timeout: go::Duration,
    deregister_critical_service_after: go::Duration,
    #[serde(rename = "HTTP")]
    http: &'static str,
    header: Option<()>,
    method: &'static str,
    body: &'static str,
    #[serde(rename = "TLSSkipVerify")]
    tls_skip_verify: bool,
    #[serde(rename = "TCP")]
    tcp: &'static str,
}

impl<'a> Report<'a> {
    fn of(health: &'a ServiceHealth) -> Self {
        let checks = health.checks.as_ref().map(|checks| checks.iter().map(ReportedCheck::of).collect());
        Self { aggregated_status: &health.aggregated_status, service: &health.service, checks }
    }
}

impl<'a> ReportedCheck<'a> {
    fn of(check: &'a AgentCheck) -> Self {
        Self {
            node: &check.node,
            id: &check.id,
            name: &check.name,
            status: &check.status,
            notes: &check.notes,
            output: &check.output,
            service_id: &check.service_id,
            service_name: &check.service_name,
            service_tags: &check.service_tags,
            kind: "",
            definition: EmptyDefinition::default(),
            create_index: 0,
            modify_index: 0,
        }
    }
}

fn badness(word: &str) -> u8 {
    match word {
        "passing" => 0,
        "warning" => 1,
        "critical" => 2,
        _ => 3,
    }
}

/// The health as status code, header, and either one word or JSON. `missing` is the text when there is no such service.
fn health_answer<T: Serialize>(call: &Call, word: &str, missing: Option<&str>, value: &T) -> Result<Response, Error> {
    let status = match (missing, word) {
        (Some(_), _) => StatusCode::NOT_FOUND,
        (None, "passing") => StatusCode::OK,
        (None, "warning") => StatusCode::TOO_MANY_REQUESTS,
        (None, _) => StatusCode::SERVICE_UNAVAILABLE,
    };
    let accepts_text = call.headers.get(header::ACCEPT).and_then(|v| v.to_str().ok()).is_some_and(|v| v.contains("text/plain"));
    let mut response = if call.query.get("format") == "text" || accepts_text {
        let mut response = respond::text(status, missing.unwrap_or(word));
        response.headers_mut().insert(header::CONTENT_TYPE, HeaderValue::from_static("text/plain"));
        response
    } else {
        respond::json_with(call, status, value)?
    };
    if let Ok(reason) = HeaderValue::from_str(missing.unwrap_or(word)) {
        response.headers_mut().insert(REASON, reason);
    }
    Ok(response)
}
