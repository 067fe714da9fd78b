//! What a registration asks the agent to hold: validated, with ids and defaults filled in. Pure.
//!
//! Contract: HTTP API, sections "Service registration body" and "Check definition body".

use std::{collections::BTreeMap, net::IpAddr};

use shared::{
    agent::ServiceRegistration,
    check::{CheckDefinition, NODE_MAINTENANCE, SERVICE_MAINTENANCE_PREFIX},
    health::Status,
    name,
    service::{Proxy, Service, ServiceAddress, Weights},
};

use super::Error;
use crate::checks::{self, Checked};

const WEIGHT_MAX: i64 = 65_535;

/// Where a definition came from.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) enum Source {
    /// The API: persisted.
    #[default]
    Api,
    /// A configuration file: read again at every start.
    File,
}

/// Which sources may define checks that run programs.
#[derive(Clone, Copy, Debug)]
pub(super) struct ScriptPolicy {
    pub(super) api: bool,
    pub(super) file: bool,
}

impl ScriptPolicy {
    fn allow(self, checked: &Checked, source: Source) -> Result<(), Error> {
        let refused = match source {
            _ if !checked.kind.is_script() || self.api => return Ok(()),
            Source::File if self.file => return Ok(()),
            Source::File => {
                "Scripts are disabled on this agent; to enable, configure 'enable_script_checks' or 'enable_local_script_checks' to true"
            }
            Source::Api => "Scripts are disabled on this agent from remote calls; to enable, configure 'enable_script_checks' to true",
        };
        Err(Error::Refused(refused.to_owned()))
    }
}

/// A check ready to be held.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct PlannedCheck {
    /// The definition, with id and name filled in.
    pub(super) definition: CheckDefinition,
    /// What it means; `None` for maintenance.
    pub(super) checked: Option<Checked>,
}

/// A service ready to be held.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct PlannedService {
    pub(super) service: Service,
    pub(super) token: String,
    pub(super) checks: Vec<PlannedCheck>,
}

/// Validates a service registration and fills in what it leaves out.
pub(super) fn service(registration: ServiceRegistration, source: Source, scripts: ScriptPolicy) -> Result<PlannedService, Error> {
    let bad = |text: &str| Error::BadRequest(text.to_owned());
    if registration.name.is_empty() {
        return Err(bad("Missing service name"));
    }
    if registration.address.parse::<IpAddr>().is_ok_and(|ip| ip.is_unspecified()) {
        return Err(bad("Invalid service address"));
    }
    name::check_meta(&registration.meta, &[name::META_SEGMENT]).map_err(|why| Error::BadRequest(format!("Invalid Service Meta: {why}")))?;
    let id = if registration.id.is_empty() { registration.name.clone() } else { registration.id.clone() };
    let checks = service_checks(&registration, &id, source, scripts)?;
    validate_weights(registration.weights).map_err(|why| Error::BadRequest(format!("Invalid Weights: {why}")))?;
    validate_proxy(&registration)?;
    let mut tagged_addresses = registration.tagged_addresses;
    add_ip_addresses(&registration.address, registration.port, &mut tagged_addresses);
    let service = Service {
        kind: registration.kind,
        id,
        name: registration.name,
        tags: registration.tags,
        address: registration.address,
        tagged_addresses,
        meta: registration.meta,
        port: registration.port,
        weights: registration.weights.unwrap_or_default(),
        enable_tag_override: registration.enable_tag_override,
        proxy: complete(registration.proxy.unwrap_or_default()),
        connect: registration.connect.unwrap_or_default(),
        ..Service::default()
    };
    Ok(PlannedService { service, token: registration.token, checks })
}

/// Validates a check registration and fills in what it leaves out.
pub(super) fn check(mut definition: CheckDefinition, source: Source, scripts: ScriptPolicy) -> Result<PlannedCheck, Error> {
    if definition.name.is_empty() {
        return Err(Error::BadRequest("Missing check name".to_owned()));
    }
    if !definition.status.is_empty() && !Status::from(definition.status.as_str()).is_known() {
        return Err(Error::BadRequest("Bad check status".to_owned()));
    }
    if definition.id.is_empty() {
        definition.id.clone_from(&definition.name);
    }
    let checked = checked(&definition, source, scripts)?;
    Ok(PlannedCheck { definition, checked: Some(checked) })
}

/// The check that marks the node, or with a service id that instance, as in maintenance.
pub(super) fn maintenance(service_id: &str, reason: &str) -> PlannedCheck {
    let (id, name, what) = if service_id.is_empty() {
        (NODE_MAINTENANCE.to_owned(), "Node Maintenance Mode", "node")
    } else {
        (format!("{SERVICE_MAINTENANCE_PREFIX}{service_id}"), "Service Maintenance Mode", "service")
    };
    let notes = if reason.is_empty() {
        format!("Maintenance mode is enabled for this {what}, but no reason was provided. This is a default message.")
    } else {
        reason.to_owned()
    };
    let definition = CheckDefinition {
        id,
        name: name.to_owned(),
        notes,
        service_id: service_id.to_owned(),
        status: Status::CRITICAL.to_string(),
        ..CheckDefinition::default()
    };
    PlannedCheck { definition, checked: None }
}

fn checked(definition: &CheckDefinition, source: Source, scripts: ScriptPolicy) -> Result<Checked, Error> {
    let checked = checks::check(definition).map_err(|why| Error::BadRequest(format!("Invalid check: {why}")))?;
    scripts.allow(&checked, source)?;
    Ok(checked)
}

fn service_checks(
    registration: &ServiceRegistration,
    service_id: &str,
    source: Source,
    scripts: ScriptPolicy,
) -> Result<Vec<PlannedCheck>, Error> {
    // An empty `Check` object means none.
    let single = registration.check.iter().filter(|check| **check != CheckDefinition::default());
    let given: Vec<_> = single.chain(&registration.checks).collect();
    let number = given.len() > 1;
    let mut planned = Vec::with_capacity(given.len());
    for (at, check) in given.into_iter().enumerate() {
        if !check.status.is_empty() && !Status::from(check.status.as_str()).is_known() {
            return Err(Error::BadRequest("Status for checks must 'passing', 'warning', 'critical'".to_owned()));
        }
        let mut definition = check.clone();
        definition.service_id = service_id.to_owned();
        if definition.id.is_empty() {
            definition.id = if number { format!("service:{service_id}:{}", at + 1) } else { format!("service:{service_id}") };
        }
        if definition.name.is_empty() {
            definition.name = format!("Service '{}' check", registration.name);
        }
        if definition.token.is_empty() {
            definition.token.clone_from(&registration.token);
        }
        let checked = checked(&definition, source, scripts)?;
        planned.push(PlannedCheck { definition, checked: Some(checked) });
    }
    Ok(planned)
}

fn validate_weights(weights: Option<Weights>) -> Result<(), &'static str> {
    let Some(Weights { passing, warning }) = weights else { return Ok(()) };
    if passing < 1 {
        return Err("Passing must be greater than 0");
    }
    let range = 0..=WEIGHT_MAX;
    if range.contains(&passing) && range.contains(&warning) { Ok(()) } else { Err("DNS Weight must be between 0 and 65535") }
}

fn validate_proxy(registration: &ServiceRegistration) -> Result<(), Error> {
    if registration.kind != "connect-proxy" {
        return Ok(());
    }
    let mut refusals = Vec::new();
    if registration.proxy.as_ref().is_none_or(|proxy| proxy.destination_service_name.is_empty()) {
        refusals.push("Proxy.DestinationServiceName must be non-empty for Connect proxy services");
    }
    if registration.port == 0 {
        refusals.push("Port must be set for a Connect proxy");
    }
    if refusals.is_empty() {
        return Ok(());
    }
    let count = if refusals.len() == 1 { "1 error".to_owned() } else { format!("{} errors", refusals.len()) };
    Err(Error::BadRequest(format!("{count} occurred:\n\t* {}\n\n", refusals.join("\n\t* "))))
}

/// An address that is an IP stands under its purposes too, unless the registration says otherwise.
fn add_ip_addresses(address: &str, port: i64, tagged: &mut BTreeMap<String, ServiceAddress>) {
    let keys = match address.parse() {
        Ok(IpAddr::V4(_)) => ["lan_ipv4", "wan_ipv4"],
        Ok(IpAddr::V6(_)) => ["lan_ipv6", "wan_ipv6"],
        Err(_) => return,
    };
    for key in keys {
        tagged.entry(key.to_owned()).or_insert_with(|| ServiceAddress { address: address.to_owned(), port });
    }
}

/// The same empty objects a catalog that went through JSON has.
fn complete(mut proxy: Proxy) -> Proxy {
    for part in [&mut proxy.mesh_gateway, &mut proxy.expose] {
        if part.is_null() {
            *part = serde_json::Value::Object(serde_json::Map::new());
        }
    }
    proxy
}

#[cfg(test)]
mod tests {
    use super::*;

    const SCRIPTS_OFF: ScriptPolicy = ScriptPolicy { api: false, file: false };

    fn plan(json: &str) -> Result<PlannedService, Error> {
        service(serde_json::from_str(json).expect("a registration"), Source::Api, SCRIPTS_OFF)
    }

    #[test]
    fn a_bad_service_is_refused_with_consuls_text() {
        let bad = |text: &str| Error::BadRequest(text.to_owned());
        let cases = [
            (r#"{}"#, bad("Missing service name")),
            (r#"{"ID":"x"}"#, bad("Missing service name")),
            (r#"{"Name":"a","Address":"0.0.0.0"}"#, bad("Invalid service address")),
            (r#"{"Name":"a","Address":"::"}"#, bad("Invalid service address")),
            (
                r#"{"Name":"a","Meta":{"bad key!":"x"}}"#,
                bad("Invalid Service Meta: Couldn't load metadata pair ('bad key!', 'x'): Key contains invalid characters"),
            ),
            (r#"{"Name":"a","Weights":{"Passing":0,"Warning":1}}"#, bad("Invalid Weights: Passing must be greater than 0")),
            (r#"{"Name":"a","Weights":{"Passing":1,"Warning":70000}}"#, bad("Invalid Weights: DNS Weight must be between 0 and 65535")),
            (r#"{"Name":"a","Check":{"Status":"bogus","TTL":"1s"}}"#, bad("Status for checks must 'passing', 'warning', 'critical'")),
            (r#"{"Name":"a","Checks":[{}]}"#, bad("Invalid check: TTL must be > 0 for TTL checks")),
            (
                r#"{"Name":"a","Check":{"Args":["true"],"Interval":"1s"}}"#,
                Error::Refused(
                    "Scripts are disabled on this agent from remote calls; to enable, configure 'enable_script_checks' to true".to_owned(),
                ),
            ),
            (
                r#"{"Name":"a","Kind":"connect-proxy"}"#,
                bad("2 errors occurred:\n\t* Proxy.DestinationServiceName must be non-empty for Connect proxy services\n\t* \
                     Port must be set for a Connect proxy\n\n"),
            ),
        ];
        for (json, expected) in cases {
            assert_eq!(plan(json), Err(expected), "{json}");
        }
    }

    #[test]
    fn the_checks_of_a_service_get_ids_and_names() {
        let ids = |json| -> Vec<(String, String)> {
            let planned = plan(json).expect("valid");
            planned.checks.into_iter().map(|c| (c.definition.id, c.definition.name)).collect()
        };
        let pair = |id: &str, name: &str| (id.to_owned(), name.to_owned());
        assert_eq!(ids(r#"{"Name":"a","Check":{}}"#), []);
        assert_eq!(ids(r#"{"Name":"a","ID":"a1","Check":{"TTL":"1s"}}"#), [pair("service:a1", "Service 'a' check")]);
        assert_eq!(
            ids(r#"{"Name":"a","Check":{"TTL":"1s"},"Checks":[{"TTL":"1s","Name":"n"},{"TTL":"1s","CheckID":"own"}]}"#),
            [pair("service:a:1", "Service 'a' check"), pair("service:a:2", "n"), pair("own", "Service 'a' check")]
        );
    }

    #[test]
    fn an_ip_address_stands_under_its_purposes() {
        let keys = |json| plan(json).expect("valid").service.tagged_addresses.into_keys().collect::<Vec<_>>();
        assert_eq!(keys(r#"{"Name":"a","Address":"10.1.1.1"}"#), ["lan_ipv4", "wan_ipv4"]);
        assert_eq!(keys(r#"{"Name":"a","Address":"fd00::1"}"#), ["lan_ipv6", "wan_ipv6"]);
        assert_eq!(keys(r#"{"Name":"a","Address":"ex.org","TaggedAddresses":{"lan":{"Address":"1.2.3.4"}}}"#), ["lan"]);
    }

    #[test]
    fn a_bad_check_is_refused_with_consuls_text() {
        let cases = [
            (r#"{}"#, "Missing check name"),
            (r#"{"ID":"x","TTL":"5s"}"#, "Missing check name"),
            (r#"{"Name":"c","Status":"bogus"}"#, "Bad check status"),
            (r#"{"Name":"c"}"#, "Invalid check: TTL must be > 0 for TTL checks"),
        ];
        for (json, expected) in cases {
            let planned = check(serde_json::from_str(json).expect("a definition"), Source::Api, SCRIPTS_OFF);
            assert_eq!(planned, Err(Error::BadRequest(expected.to_owned())), "{json}");
        }
    }

    #[test]
    fn files_may_define_scripts_when_only_the_local_switch_is_on() {
        let script = || serde_json::from_str(r#"{"Name":"c","Args":["true"],"Interval":"1s"}"#).expect("a definition");
        let scripts = ScriptPolicy { api: false, file: true };
        assert!(check(script(), Source::File, scripts).is_ok());
        assert!(check(script(), Source::Api, scripts).is_err());
        assert!(check(script(), Source::File, SCRIPTS_OFF).is_err());
    }

    #[test]
    fn maintenance_has_consuls_ids_and_notes() {
        let node = maintenance("", "").definition;
        assert_eq!((node.id.as_str(), node.name.as_str()), ("_node_maintenance", "Node Maintenance Mode"));
        assert_eq!(node.notes, "Maintenance mode is enabled for this node, but no reason was provided. This is a default message.");
        let service = maintenance("web1", "because").definition;
        assert_eq!((service.id.as_str(), service.notes.as_str()), ("_service_maintenance:web1", "because"));
    }
}
