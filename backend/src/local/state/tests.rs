//! Tests of the state: what stays over registrations, what is put off, what is recorded.

use std::time::Duration;

use shared::{check::CheckDefinition, health::Status};

use super::*;
use crate::local::definition::{self, ScriptPolicy};

const SCRIPTS: ScriptPolicy = ScriptPolicy { api: true, file: true };

fn state(registration: &str) -> State {
    let mut state = State::new("n");
    put(&mut state, registration, Source::Api);
    state
}

fn put(state: &mut State, registration: &str, source: Source) {
    let registration = serde_json::from_str(registration).expect("a registration");
    let planned = definition::service(registration, source, SCRIPTS).expect("a valid registration");
    state.put_service(planned.service, &planned.token, source);
    for check in planned.checks {
        state.put_check(check, source);
    }
}

fn put_check(state: &mut State, definition: &str) {
    let definition: CheckDefinition = serde_json::from_str(definition).expect("a definition");
    state.put_check(definition::check(definition, Source::Api, SCRIPTS).expect("a valid check"), Source::Api);
}

fn now() -> Now {
    Now { instant: Instant::now(), wall_ms: 1_000 }
}

fn report(status: Status, output: &str, defer: Option<Duration>) -> Report<'_> {
    Report { status, output, duration_ms: 7, defer }
}

const WEB: &str = r#"{"Name":"web","Tags":["a"],"Check":{"TTL":"1h"}}"#;
const CHECK: &str = "service:web";

fn sync_all(state: &mut State) {
    state.services.values_mut().for_each(|entry| entry.sync.dirty = false);
    state.checks.values_mut().for_each(|entry| entry.sync.dirty = false);
}

#[test]
fn a_new_check_is_critical_unless_its_definition_says_otherwise() {
    let mut state = state(WEB);
    put_check(&mut state, r#"{"Name":"up","TTL":"1s","Status":"passing"}"#);
    assert_eq!(state.checks[CHECK].check.status, Status::CRITICAL);
    assert_eq!(state.checks["up"].check.status, Status::PASSING);
}

#[tokio::test(start_paused = true)]
async fn status_and_output_stay_over_a_registration_of_the_same_check() {
    let mut state = state(WEB);
    state.report(CHECK, &report(Status::PASSING, "fine", None), now());
    put(&mut state, r#"{"Name":"web","Check":{"TCP":"x:1","Interval":"1s","Status":"warning"}}"#, Source::Api);
    let check = &state.checks[CHECK].check;
    assert_eq!((check.status.as_str(), check.output.as_str(), check.kind.as_str()), ("passing", "fine", "tcp"));
}

#[test]
fn checks_follow_their_services_name_and_tags() {
    let mut state = state(WEB);
    sync_all(&mut state);
    put(&mut state, r#"{"Name":"web2","ID":"web","Tags":["b"]}"#, Source::Api);
    let entry = &state.checks[CHECK];
    assert_eq!((entry.check.service_name.as_str(), entry.check.service_tags.as_slice()), ("web2", ["b".to_owned()].as_slice()));
    assert!(entry.sync.dirty);
}

#[tokio::test(start_paused = true)]
async fn a_change_of_the_output_alone_is_put_off_and_a_change_of_the_status_is_not() {
    let mut state = state(WEB);
    let (start, delay) = (now(), Duration::from_secs(300));
    let later = |output| report(Status::CRITICAL, output, Some(delay));
    sync_all(&mut state);
    assert_eq!(state.report(CHECK, &later("a"), start), News::Later);
    assert_eq!(state.report(CHECK, &later("a"), start), News::None);
    // A second change does not put it off further.
    let second = Now { instant: start.instant + Duration::from_secs(10), ..start };
    assert_eq!(state.report(CHECK, &later("b"), second), News::Later);
    assert_eq!(state.release_deferred(start.instant), Some(start.instant + delay));
    assert!(!state.checks[CHECK].sync.dirty);
    assert_eq!(state.release_deferred(start.instant + delay), None);
    assert!(state.checks[CHECK].sync.dirty);

    sync_all(&mut state);
    state.report(CHECK, &later("c"), start);
    assert_eq!(state.report(CHECK, &report(Status::PASSING, "d", Some(delay)), start), News::Now);
    assert_eq!((state.checks[CHECK].deferred, state.checks[CHECK].sync.dirty), (None, true));

    sync_all(&mut state);
    assert_eq!(state.report(CHECK, &report(Status::PASSING, "e", None), start), News::Now);
}

#[tokio::test(start_paused = true)]
async fn changes_of_the_status_are_recorded_and_bounded() {
    let mut state = state(WEB);
    for round in 0..100 {
        let status = if round % 2 == 0 { Status::PASSING } else { Status::CRITICAL };
        state.report(CHECK, &report(status, &round.to_string(), None), now());
    }
    let entry = &state.checks[CHECK];
    assert_eq!((entry.transitions.len(), entry.transitions_gone), (64, 36));
    let last = entry.transitions.back().expect("transitions");
    assert_eq!((last.from.as_str(), last.to.as_str(), last.output.as_str(), last.duration_ms), ("passing", "critical", "99", 7));
}

#[tokio::test(start_paused = true)]
async fn a_service_critical_for_longer_than_it_allows_is_overdue() {
    let mut state = state(r#"{"Name":"web","Check":{"TTL":"1h","DeregisterCriticalServiceAfter":"90s"}}"#);
    put_check(&mut state, r#"{"Name":"node-check","TTL":"1h","DeregisterCriticalServiceAfter":"90s"}"#);
    let start = now();
    let at = |seconds| start.instant + Duration::from_secs(seconds);
    assert!(state.overdue_services(at(1000)).is_empty(), "no result yet");
    state.report(CHECK, &report(Status::CRITICAL, "", None), start);
    state.report("node-check", &report(Status::CRITICAL, "", None), start);
    state.report(CHECK, &report(Status::CRITICAL, "again", None), Now { instant: at(60), ..start });
    assert!(state.overdue_services(at(90)).is_empty());
    assert_eq!(state.overdue_services(at(91)).into_iter().collect::<Vec<_>>(), ["web"]);
    state.report(CHECK, &report(Status::WARNING, "", None), start);
    assert!(state.overdue_services(at(1000)).is_empty());
}

#[test]
fn a_removed_service_takes_its_checks_along() {
    let mut state = state(WEB);
    put_check(&mut state, r#"{"Name":"extra","TTL":"1s","ServiceID":"web"}"#);
    let mut removed = state.remove_service("web").expect("a service");
    removed.sort();
    assert_eq!(removed, ["extra", CHECK]);
    assert!(state.checks.is_empty() && state.gone_services.contains("web"));
    assert_eq!(state.remove_service("web"), None);
    put(&mut state, WEB, Source::Api);
    assert!(state.gone_services.is_empty());
}

#[test]
fn what_files_no_longer_define_goes_and_the_rest_stays() {
    let mut state = state(WEB);
    put(&mut state, r#"{"Name":"old","Check":{"TTL":"1s"}}"#, Source::File);
    put(&mut state, r#"{"Name":"kept"}"#, Source::File);
    let removed = state.remove_files_except(&HashSet::from(["kept".to_owned()]), &HashSet::new());
    assert_eq!(removed, ["service:old"]);
    assert_eq!(state.services.keys().collect::<Vec<_>>(), ["kept", "web"]);
}
