//! `limits.*` through the HTTP API of real agents. Contract: HTTP API, section "Error mapping"; cluster, section "Rate limiting".

use tests::{
    cluster::{Cluster, DEADLINE},
    http::{Client, Response},
    node::{Node, Product, Start},
    wait::wait_within,
};

const ELSEWHERE: &str = "rate limit exceeded, try again later or against a different server";
const LATER: &str = "rate limit exceeded for operation that can only be performed by the leader, try again later";

/// A burst is ten seconds' worth.
fn server_limits(mode: &str, read: &str, write: &str) -> String {
    format!("-hcl=limits {{ request_limits {{ mode = \"{mode}\" read_rate = {read} write_rate = {write} }} }}")
}

fn dev(limits: String) -> Node {
    Start::dev(Product::Muster).with(limits).start()
}

/// Asks so often that the burst is over; the first refusal.
fn refusal(most: usize, ask: impl Fn() -> Response) -> Option<(u16, String)> {
    (0..most).map(|_| ask()).find(|answer| answer.status != 200).map(|answer| (answer.status, answer.text()))
}

fn write(http: &Client) -> Response {
    http.put("/v1/kv/a", "x")
}

#[test]
fn a_server_refuses_with_the_status_that_says_where_to_try_again() {
    let node = dev(server_limits("enforcing", "3", "0"));
    let http = node.http;
    assert_eq!(refusal(1, || write(&http)), Some((503, LATER.to_owned())));
    assert_eq!(refusal(1, || http.put("/v1/catalog/register", r#"{"Node":"x","Address":"10.0.0.1"}"#)), Some((503, LATER.to_owned())));
    // The agent's own services reach the catalog all the same, and so do those of the leader's duties.
    assert_eq!(http.put("/v1/agent/service/register", r#"{"Name":"web","Port":1}"#).status, 200);
    wait_within("the service in the catalog", DEADLINE, || {
        let answer = http.request("GET", "/v1/catalog/service/web", &[], &[]).ok()?;
        (answer.status == 200 && answer.json()[0]["ServiceName"] == "web").then_some(())
    });
    assert_eq!(refusal(2000, || http.get("/v1/catalog/nodes")), Some((429, ELSEWHERE.to_owned())));
    // Who leads can be asked however busy it is.
    assert_eq!(refusal(50, || http.get("/v1/status/leader")), None);
}

#[test]
fn permissive_limits_only_count() {
    let node = dev(server_limits("permissive", "0", "0"));
    let http = node.http;
    assert_eq!(refusal(20, || write(&http)), None);
    assert_eq!(refusal(20, || http.get("/v1/catalog/nodes")), None);
    let metrics = http.get("/v1/agent/metrics").json();
    let counters = metrics["Counters"].as_array().expect("a list");
    let counted = counters.iter().filter(|counter| counter["Name"].as_str().is_some_and(|name| name.ends_with("rpc.rate_limit.exceeded")));
    assert!(counted.filter_map(|counter| counter["Count"].as_u64()).sum::<u64>() >= 40, "{metrics}");
    assert!(node.log().contains("RPC exceeded allowed rate limit"), "{}", node.log());
}

#[test]
fn a_call_that_servers_pass_on_counts_once_and_a_client_limits_itself() {
    // A burst of 10 writes on each server, and one more a second: fewer than the slowest machine makes.
    let mut cluster = Cluster::servers(3, &[server_limits("enforcing", "-1", "1")]);
    let leader = cluster.leader();
    let followers = cluster.others(leader);
    for place in &followers {
        let http = cluster.members[*place].node().http;
        assert_eq!(refusal(8, || write(&http)), None, "16 pass the leader, which counts none of them");
    }
    let follower = cluster.members[followers[0]].node().http;
    assert_eq!(refusal(1000, || write(&follower)), Some((429, ELSEWHERE.to_owned())), "others can be tried");
    let http = cluster.members[leader].node().http;
    assert_eq!(refusal(1000, || write(&http)), Some((503, LATER.to_owned())), "nobody else can");

    let client = cluster.add_client();
    let config = "-hcl=limits { rpc_rate = 1 rpc_max_burst = 20 }";
    cluster.members[client].kill();
    cluster.members[client].start = cluster.members[client].start.clone().with(config);
    cluster.members[client].restart();
    let http = cluster.members[client].node().http;
    wait_within("the client to find a server", DEADLINE, || {
        let answer = http.request("GET", "/v1/status/leader", &[], &[]).ok()?;
        (answer.status == 200).then_some(())
    });
    assert_eq!(refusal(200, || http.get("/v1/catalog/nodes")), Some((429, "rate limit exceeded".to_owned())));
}
