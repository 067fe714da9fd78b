//! Calls carried to a node's agent: it does them itself, wherever they are asked.

use std::{
    io::Write as _,
    net::TcpStream,
    process::{Child, Command, Stdio},
    sync::{Arc, Mutex},
    thread,
};

use tests::{
    cluster::{Cluster, DEADLINE},
    http::Client,
    node::muster,
    wait::wait_within,
};

/// Something that is read as it comes.
#[derive(Clone, Default)]
struct Stream(Arc<Mutex<(String, bool)>>);

impl Stream {
    fn of(mut from: impl std::io::Read + Send + 'static) -> Self {
        let stream = Self::default();
        let kept = stream.clone();
        thread::spawn(move || {
            let mut piece = [0; 4096];
            while let Ok(read @ 1..) = from.read(&mut piece) {
                kept.0.lock().expect("no panic while holding it").0.push_str(&String::from_utf8_lossy(&piece[..read]));
            }
            kept.0.lock().expect("no panic while holding it").1 = true;
        });
        stream
    }

    /// The log of a node's agent, as an agent streams it; waits for its head.
    fn log(agent: &Client, node: &str) -> Self {
        let mut stream = TcpStream::connect(agent.address).expect("connects");
        let request = format!("GET /v1/muster/agent/{node}/monitor?loglevel=debug HTTP/1.1\r\nHost: {}\r\n\r\n", agent.address);
        stream.write_all(request.as_bytes()).expect("is sent");
        let stream = Self::of(stream);
        wait_within("the head of the answer", DEADLINE, || stream.text().contains("\r\n\r\n").then_some(()));
        assert!(stream.text().starts_with("HTTP/1.1 200 OK\r\n"), "{}", stream.text());
        stream
    }

    fn text(&self) -> String {
        self.0.lock().expect("no panic while holding it").0.clone()
    }

    fn has_ended(&self) -> bool {
        self.0.lock().expect("no panic while holding it").1
    }
}

/// A child that ends with its test.
struct Running(Child);

impl Drop for Running {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

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

#[test]
fn the_log_of_a_client_is_followed_from_every_agent_also_when_servers_go() {
    let mut cluster = Cluster::servers(3, &[]);
    let (target, asker) = (cluster.add_client(), cluster.add_client());
    cluster.settled(5);
    let (own, name) = (cluster.members[target].node().http, cluster.members[target].start.name.clone());
    for place in 0..cluster.members.len() {
        wait_within("the stream to be open", DEADLINE, || {
            let answer = cluster.members[place].node().http.request("GET", &format!("/v1/muster/agent/{name}/services"), &[], &[]).ok()?;
            (answer.status == 200).then_some(())
        });
    }
    let mut streams: Vec<Stream> = cluster.members.iter().map(|member| Stream::log(&member.node().http, &name)).collect();
    let mut command = Command::new(muster());
    let arguments = ["monitor", "-log-level=debug", "-log-json", &format!("-node={name}")].map(str::to_owned);
    command.args(arguments).env("CONSUL_HTTP_ADDR", cluster.members[asker].node().http.address.to_string());
    let mut command = Running(command.stdout(Stdio::piped()).spawn().expect("the command runs"));
    let printed = Stream::of(command.0.stdout.take().expect("piped"));

    let told = |streams: &[Stream], mark: &str| {
        // What is asked of the agent is in its log, once.
        assert_eq!(own.get(&format!("/v1/agent/self?{mark}")).status, 200);
        for (place, stream) in streams.iter().enumerate() {
            let line = format!("url=/v1/agent/self?{mark} ");
            wait_within(&format!("{mark} at {place}"), DEADLINE, || stream.text().contains(&line).then_some(()));
            assert_eq!(stream.text().matches(&line).count(), 1, "{}", stream.text());
        }
    };
    told(&streams, "mark=1");
    // The command has begun at some time: from then on it prints as well.
    wait_within("the command to print", DEADLINE, || {
        let _ = own.get("/v1/agent/self?printed");
        printed.text().contains(r#""url":"/v1/agent/self?printed""#).then_some(())
    });

    // Whoever carried the calls is gone, one after the other: the streams of the other agents go on.
    for _ in 0..2 {
        let leader = cluster.leader();
        cluster.members[leader].kill();
        let survivors = cluster.others(leader);
        told(&survivors.iter().map(|place| streams[*place].clone()).collect::<Vec<_>>(), &format!("without={leader}"));
        cluster.members[leader].restart();
        cluster.settled(5);
        streams[leader] = Stream::log(&cluster.members[leader].node().http, &name);
    }
    // With the agent its log ends, and everybody can tell: the answer is cut off.
    cluster.members[target].kill();
    cluster.members[target].restart();
    for stream in &streams {
        wait_within("the stream to end", DEADLINE, || stream.has_ended().then_some(()));
        assert!(!stream.text().ends_with("0\r\n\r\n"), "{}", stream.text());
    }
    let unknown = cluster.members[asker].node().http.get("/v1/muster/agent/nobody/monitor");
    assert_eq!((unknown.status, unknown.text().as_str()), (404, "Unknown node \"nobody\""));
}
