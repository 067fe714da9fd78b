//! Calls carried to a node's agent: it does them itself, wherever they are asked.

use tests::{
    cluster::{Cluster, DEADLINE},
    wait::wait_within,
};

#[test]
fn a_client_does_what_another_client_asks_of_it() {
    let mut cluster = Cluster::servers(3, &[]);
    let (target, asker) = (cluster.add_client(), cluster.add_client());
    cluster.settled(5);
    let (own, http) = (cluster.members[target].node().http, cluster.members[asker].node().http);
    let name = cluster.members[target].start.name.clone();
    assert_eq!(own.put("/v1/agent/service/register", r#"{"Name":"web","Port":80}"#).status, 200);
    let call = |path: &str| format!("/v1/muster/agent/{name}/{path}");
    wait_within("the stream to be open", DEADLINE, || {
        let answer = http.request("GET", &call("services"), &[], &[]).ok()?;
        (answer.status == 200).then(|| assert_eq!(answer.json()["web"]["Port"], 80))
    });
    let done = |path: &str| {
        let answer = http.put(&call(path), "");
        assert_eq!((answer.status, answer.text().as_str()), (200, ""), "{path}");
    };
    let passing = |count: usize| {
        wait_within("the catalog to follow", DEADLINE, || {
            let rows = cluster.get(asker, "/v1/health/service/web?passing");
            (rows.as_array()?.len() == count).then_some(())
        });
    };
    passing(1);

    for (path, check) in [("service/maintenance/web", "_service_maintenance:web"), ("maintenance", "_node_maintenance")] {
        done(&format!("{path}?enable=true&reason=mending"));
        let checks = cluster.get(target, "/v1/agent/checks");
        assert_eq!((&checks[check]["Status"], &checks[check]["Notes"]), (&"critical".into(), &"mending".into()), "{checks}");
        passing(0);
        done(&format!("{path}?enable=false"));
        let checks = cluster.get(target, "/v1/agent/checks");
        assert!(checks.as_object().is_some_and(serde_json::Map::is_empty), "{checks}");
        passing(1);
    }

    let refused = http.put(&call("service/maintenance/nothing?enable=true"), "");
    assert_eq!((refused.status, refused.text().as_str()), (404, "No service registered with ID \"nothing\""));
    done("service/deregister/web");
    assert_eq!(cluster.get(target, "/v1/agent/services"), serde_json::json!({}));
    passing(0);
    let unknown = http.put("/v1/muster/agent/nobody/maintenance?enable=true", "");
    assert_eq!((unknown.status, unknown.text().as_str()), (404, "Unknown node \"nobody\""));
}
