//! The main job over the wire: DNS hands out healthy instances, and a failing check leaves the answer in time.

use std::{
    io::{Read as _, Write as _},
    net::{IpAddr, SocketAddr, TcpListener},
    sync::{
        Arc,
        atomic::{AtomicU16, Ordering},
    },
    thread,
    time::{Duration, Instant},
};

use tests::{dns, node::Node, wait::wait_until};

fn server(node: &Node) -> SocketAddr {
    SocketAddr::new(IpAddr::V4(node.ip), 8600)
}

/// A listener that answers every HTTP request with the status it is told.
fn listener() -> (u16, Arc<AtomicU16>) {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
    let port = listener.local_addr().expect("bound").port();
    let status = Arc::new(AtomicU16::new(200));
    let told = Arc::clone(&status);
    thread::spawn(move || {
        for mut stream in listener.incoming().map_while(Result::ok) {
            let mut buffer = [0; 4096];
            let _ = stream.read(&mut buffer);
            let _ = write!(stream, "HTTP/1.1 {} Told\r\nContent-Length: 2\r\nConnection: close\r\n\r\nok", told.load(Ordering::Relaxed));
        }
    });
    (port, status)
}

fn register(node: &Node, id: &str, port: u16) {
    let body = format!(
        r#"{{"Name":"web","ID":"{id}","Port":{port},"Tags":["v1"],"Check":{{"HTTP":"http://127.0.0.1:{port}/","Interval":"1s"}}}}"#
    );
    assert_eq!(node.http.put("/v1/agent/service/register", body).status, 200);
}

#[test]
fn a_failing_instance_leaves_the_answer_within_one_interval_and_comes_back() {
    let node = Node::dev();
    let ((port_one, _), (port_two, status)) = (listener(), listener());
    register(&node, "web-1", port_one);
    register(&node, "web-2", port_two);
    let ports = || {
        let answer = dns::ask(server(&node), "web.service.consul", "SRV", Some(4096)).ok()?;
        let mut ports: Vec<String> = answer.answers.iter().filter_map(|record| record.data.split(' ').nth(2).map(str::to_owned)).collect();
        ports.sort();
        Some(ports)
    };
    let mut both = vec![port_one.to_string(), port_two.to_string()];
    both.sort();
    wait_until("both instances in the answer", || (ports()? == both).then_some(()));

    status.store(503, Ordering::Relaxed);
    let failed = Instant::now();
    wait_until("the failing instance to leave", || (ports()? == [port_one.to_string()]).then_some(()));
    assert!(failed.elapsed() < Duration::from_millis(2_500), "left after {:?}, the interval is 1 s", failed.elapsed());

    status.store(200, Ordering::Relaxed);
    wait_until("the instance to come back", || (ports()? == both).then_some(()));
}

#[test]
fn nodes_services_and_the_zone_answer_as_the_contract_says() {
    let node = Node::dev();
    let register = |body: &str| assert_eq!(node.http.put("/v1/catalog/register", body).status, 200);
    register(
        r#"{"Node":"ext1","Address":"10.0.0.1","NodeMeta":{"os":"linux"},"Service":{"ID":"api1","Service":"api","Tags":["v1","Prod"],"Port":8001,"Weights":{"Passing":10,"Warning":2}}}"#,
    );
    register(
        r#"{"Node":"ext2","Address":"10.0.0.2","Service":{"Service":"api","Address":"10.9.9.2","Port":8002,"Tags":["v2"]},"Check":{"CheckID":"c","Name":"c","Status":"warning","ServiceID":"api"}}"#,
    );
    register(
        r#"{"Node":"ext3","Address":"10.0.0.3","Service":{"Service":"api","Port":8003},"Check":{"CheckID":"c","Name":"c","Status":"critical","ServiceID":"api"}}"#,
    );
    let data = |name: &str, kind: &str| {
        let answer = dns::ask(server(&node), name, kind, Some(4096)).expect("an answer");
        let mut data: Vec<String> = answer.answers.iter().map(|record| format!("{} {}", record.kind, record.data)).collect();
        data.sort();
        (answer.rcode, data.join(", "))
    };
    for (name, kind, rcode, expected) in [
        ("ext1.node.consul", "A", 0, "A 10.0.0.1"),
        ("EXT1.Node.Consul", "A", 0, "A 10.0.0.1"),
        ("ext1.node.consul", "TXT", 0, "TXT \"os=linux\""),
        ("nope.node.consul", "A", 3, ""),
        ("api.service.consul", "A", 0, "A 10.0.0.1, A 10.9.9.2"),
        ("v1.api.service.consul", "A", 0, "A 10.0.0.1"),
        ("prod.api.service.consul", "A", 0, "A 10.0.0.1"),
        ("nope.api.service.consul", "A", 3, ""),
        ("api.service.consul", "AAAA", 0, ""),
        ("api.service.consul", "SRV", 0, "SRV 1 1 8002 0a090902.addr.dc1.consul., SRV 1 10 8001 ext1.node.dc1.consul."),
        ("_api._tcp.service.consul", "SRV", 0, "SRV 1 1 8002 0a090902.addr.dc1.consul., SRV 1 10 8001 ext1.node.dc1.consul."),
        ("_api._v2.service.consul", "SRV", 0, "SRV 1 1 8002 0a090902.addr.dc1.consul."),
        ("0a000001.addr.consul", "A", 0, "A 10.0.0.1"),
        ("1.0.0.10.in-addr.arpa", "PTR", 0, "PTR ext1.node.dc1.consul."),
        ("api.service.dc9.consul", "A", 3, ""),
        ("example.com", "A", 5, ""),
    ] {
        assert_eq!(data(name, kind), (rcode, expected.to_owned()), "{name} {kind}");
    }
    let zone = dns::ask(server(&node), "consul", "SOA", None).expect("an answer");
    assert!(zone.answers[0].data.starts_with("ns.consul. hostmaster.consul. "), "{zone:?}");
    assert_eq!(zone.authority[0].data, "n1.node.dc1.consul.");
    let tcp = dns::ask_tcp(server(&node), "api.service.consul", "A").expect("an answer over TCP");
    assert_eq!(tcp.answers.len(), 2);
}
