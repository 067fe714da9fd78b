//! What survives a restart: services, checks and maintenance registered over the API, and reports of TTL checks.
//!
//! Never stores what a configuration file defines. Contract: health checks, section "Persistence in data_dir".

use serde::{Deserialize, Serialize, de::DeserializeOwned};
use shared::{check::CheckDefinition, health::Status, service::Service};

use super::Error;
use crate::localdb::{self, Change, LocalDb};

const SERVICES: &str = "services";
const CHECKS: &str = "checks";
const REPORTS: &str = "check_state";
/// First byte of every value; the rest is MessagePack with field names.
const VERSION: u8 = 1;

/// A stored service.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(super) struct StoredService {
    pub(super) service: Service,
    #[serde(default)]
    pub(super) token: String,
}

/// A stored check.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(super) struct StoredCheck {
    pub(super) definition: CheckDefinition,
    #[serde(default)]
    pub(super) maintenance: bool,
}

/// The last report of a TTL check.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct StoredReport {
    pub(super) status: Status,
    pub(super) output: String,
    pub(super) expires_at_ms: u64,
}

/// Everything stored.
#[derive(Clone, Debug, Default)]
pub(super) struct Stored {
    pub(super) services: Vec<(String, StoredService)>,
    pub(super) checks: Vec<(String, StoredCheck)>,
    pub(super) reports: Vec<(String, StoredReport)>,
}

impl From<localdb::Error> for Error {
    fn from(error: localdb::Error) -> Self {
        Self::Refused(error.to_string())
    }
}

/// Reads everything. What cannot be read is named in the log and left where it is.
pub(super) fn load(db: &LocalDb) -> Result<Stored, Error> {
    Ok(Stored { services: table(db, SERVICES)?, checks: table(db, CHECKS)?, reports: table(db, REPORTS)? })
}

fn table<T: DeserializeOwned>(db: &LocalDb, table: &'static str) -> Result<Vec<(String, T)>, Error> {
    let mut rows = Vec::new();
    for (key, value) in db.scan(table)? {
        match decode(&value) {
            Ok(row) => rows.push((key, row)),
            Err(reason) => tracing::error!(table, key, reason, "skipping an unreadable entry of the local store"),
        }
    }
    Ok(rows)
}

fn encode<T: Serialize>(value: &T) -> Vec<u8> {
    let mut bytes = vec![VERSION];
    rmp_serde::encode::write_named(&mut bytes, value).expect("writing to memory cannot fail");
    bytes
}

fn decode<T: DeserializeOwned>(bytes: &[u8]) -> Result<T, String> {
    match bytes.split_first() {
        Some((&VERSION, rest)) => rmp_serde::from_slice(rest).map_err(|error| error.to_string()),
        Some((version, _)) => Err(format!("written by a newer version (format {version})")),
        None => Err("empty".to_owned()),
    }
}

fn put<T: Serialize>(table: &'static str, key: &str, value: &T) -> Change {
    Change::Put { table, key: key.to_owned(), value: encode(value) }
}

fn delete(table: &'static str, key: &str) -> Change {
    Change::Delete { table, key: key.to_owned() }
}

/// Stores a service.
pub(super) fn put_service(service: &Service, token: &str) -> Change {
    put(SERVICES, &service.id, &StoredService { service: service.clone(), token: token.to_owned() })
}

/// Stores a check.
pub(super) fn put_check(definition: &CheckDefinition, maintenance: bool) -> Change {
    put(CHECKS, &definition.id, &StoredCheck { definition: definition.clone(), maintenance })
}

/// Stores a report.
pub(super) fn put_report(check_id: &str, report: &StoredReport) -> Change {
    put(REPORTS, check_id, report)
}

/// Forgets a service.
pub(super) fn delete_service(id: &str) -> Change {
    delete(SERVICES, id)
}

/// Forgets a check and its report.
pub(super) fn delete_check(id: &str) -> [Change; 2] {
    [delete(CHECKS, id), delete(REPORTS, id)]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_stored_reads_back() {
        let definition: CheckDefinition =
            serde_json::from_str(r#"{"ID":"c","Name":"n","HTTP":"http://x/","Interval":"10s","Header":{"a":["b"]},"OutputMaxSize":7}"#)
                .expect("a definition");
        let stored = StoredCheck { definition, maintenance: false };
        assert_eq!(decode::<StoredCheck>(&encode(&stored)), Ok(stored));

        let service: Service =
            serde_json::from_str(r#"{"ID":"a","Service":"a","Meta":{"k":"v"},"Proxy":{"Config":{"x":[1,2.5,null]}}}"#).expect("a service");
        let stored = StoredService { service, token: "t".to_owned() };
        assert_eq!(decode::<StoredService>(&encode(&stored)), Ok(stored));
    }

    /// How samples are written and what may change is said in [`crate::samples`].
    #[test]
    fn what_this_release_stores_stays_readable() {
        const SAMPLES: crate::samples::Samples = crate::samples::Samples { module: "local", versioned: true };
        let service: Service =
            serde_json::from_str(r#"{"ID":"web1","Service":"web","Tags":["a"],"Meta":{"1k":"v"},"Port":80}"#).expect("a service");
        let service = StoredService { service, token: "t".to_owned() };
        SAMPLES.check("service", &service, &encode(&service));
        let definition: CheckDefinition =
            serde_json::from_str(r#"{"ID":"c","Name":"n","HTTP":"http://x/","Interval":"10s","Header":{"1a":["b"]},"TTL":"5s"}"#)
                .expect("a definition");
        let check = StoredCheck { definition, maintenance: true };
        SAMPLES.check("check", &check, &encode(&check));
        let report = StoredReport { status: Status::WARNING, output: "slow".to_owned(), expires_at_ms: 1_700_000_000_000 };
        SAMPLES.check("report", &report, &encode(&report));
        // One without what was added since.
        let older = |name: &str, field: &str| {
            let mut older = SAMPLES.tree(&SAMPLES.kept(name));
            assert_eq!(crate::samples::remove_field(&mut older, field), 1, "{name} has one {field}");
            SAMPLES.encode(&older)
        };
        assert_eq!(decode::<StoredService>(&older("service", "token")).map(|stored| stored.token), Ok(String::new()));
        assert_eq!(decode::<StoredCheck>(&older("check", "maintenance")).map(|stored| stored.maintenance), Ok(false));
    }

    #[test]
    fn what_is_not_readable_is_told() {
        assert_eq!(decode::<StoredReport>(&[]), Err("empty".to_owned()));
        assert_eq!(decode::<StoredReport>(&[9, 1]), Err("written by a newer version (format 9)".to_owned()));
        assert!(decode::<StoredReport>(&[VERSION, 0xc1]).is_err());
    }
}
