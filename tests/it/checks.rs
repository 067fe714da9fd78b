//! "Run check now": from the agent that owns the check, and from anywhere by node.

use std::net::TcpListener;

use tests::{node::Node, wait::wait_until};

#[test]
fn a_run_now_answers_with_its_outcome_and_the_catalog_has_it() {
    let node = Node::dev();
    let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
    let address = listener.local_addr().expect("bound").to_string();
    let body = format!(r#"{{"Name":"db","Check":{{"TCP":"{address}","Interval":"1h"}}}}"#);
    assert_eq!(node.http.put("/v1/agent/service/register", body).status, 200);

    let run = node.http.put("/v1/agent/check/run/service:db", "");
    assert_eq!(run.status, 200, "{}", run.text());
    assert_eq!(run.json()["Result"], "passing");
    assert_eq!(run.json()["Output"], format!("TCP connect {address}: Success"));
    assert_eq!(node.http.get("/v1/health/checks/db").json()[0]["Status"], "passing");

    drop(listener);
    let run = node.http.put("/v1/muster/check/run/n1/service:db", "");
    assert_eq!(run.status, 200, "{}", run.text());
    assert_eq!(run.json()["Status"], "critical");
    assert_eq!(node.http.get("/v1/health/checks/db").json()[0]["Status"], "critical");

    let history = node.http.get("/v1/muster/check/history/n1/service:db").json();
    let transitions = history["Transitions"].as_array().or_else(|| history[0]["Transitions"].as_array()).expect("transitions").clone();
    let states: Vec<&str> = transitions.iter().filter_map(|transition| transition["To"].as_str()).collect();
    assert!(states.ends_with(&["passing", "critical"]), "{history}");
    assert!(transitions.iter().all(|transition| transition["AtMs"].as_u64() > Some(1_600_000_000_000)), "{history}");

    let status = node.http.get("/v1/muster/check/status/n1/service:db").json();
    assert_eq!(status["Definition"]["TCP"], address);
    assert_eq!(status["Runnable"], true);
    assert_eq!(status["LastRun"]["Result"], "critical");
}

#[test]
fn what_cannot_be_run_says_why() {
    let node = Node::dev();
    assert_eq!(node.http.put("/v1/agent/check/register", r#"{"Name":"report","TTL":"1h"}"#).status, 200);
    node.http.put("/v1/catalog/register", r#"{"Node":"ext","Address":"10.0.0.1","Check":{"CheckID":"c","Name":"c","Status":"passing"}}"#);
    wait_until("the check in the catalog", || node.http.get("/v1/health/node/n1").text().contains("report").then_some(()));
    for (target, status) in [
        ("/v1/agent/check/run/report", 400),
        ("/v1/muster/check/run/n1/report", 400),
        ("/v1/muster/check/run/n1/serfHealth", 400),
        ("/v1/muster/check/run/ext/c", 400),
        ("/v1/agent/check/run/nope", 404),
        ("/v1/muster/check/run/nope/nope", 404),
    ] {
        let answer = node.http.put(target, "");
        assert_eq!(answer.status, status, "{target}: {}", answer.text());
        assert!(answer.text().len() > 10, "{target} says why: {:?}", answer.text());
    }
}
