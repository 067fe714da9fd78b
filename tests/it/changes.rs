//! The change stream: what happens anywhere arrives within a second, in order, and a reader can resume.

use std::{
    io::{BufRead as _, BufReader, Write as _},
    net::TcpStream,
    time::{Duration, Instant},
};

use serde_json::Value;
use tests::node::Node;

/// An open stream and the changes it has brought so far.
struct Stream(BufReader<TcpStream>, Vec<Value>);

impl Stream {
    fn open(node: &Node, target: &str) -> Self {
        let mut stream = TcpStream::connect(node.http.address).expect("connects");
        stream.set_read_timeout(Some(Duration::from_secs(10))).expect("a timeout");
        write!(stream, "GET {target} HTTP/1.1\r\nHost: x\r\nAccept: text/event-stream\r\n\r\n").expect("sent");
        Self(BufReader::new(stream), Vec::new())
    }

    /// The next event's name and data.
    fn next(&mut self) -> (String, Value) {
        let (mut event, mut data) = (String::new(), String::new());
        loop {
            let mut line = String::new();
            assert!(self.0.read_line(&mut line).expect("the stream goes on") > 0, "the stream ended");
            let line = line.trim_end();
            if let Some(name) = line.strip_prefix("event:") {
                event = name.trim().to_owned();
            } else if let Some(text) = line.strip_prefix("data:") {
                data.push_str(text.trim());
            } else if line.is_empty() && !event.is_empty() {
                return (event, serde_json::from_str(&data).unwrap_or_else(|error| panic!("{error}: {data}")));
            }
        }
    }

    /// Reads on until a change of this object has come; answers its index.
    fn until(&mut self, topic: &str, name: &str) -> u64 {
        let started = Instant::now();
        loop {
            if let Some(change) = self.1.iter().find(|change| change["Topic"] == topic && change["Name"] == name) {
                return change["Index"].as_u64().expect("an index");
            }
            assert!(started.elapsed() < tests::wait::DEADLINE, "{topic} {name} is not among {:?}", self.1);
            let (event, data) = self.next();
            if event == "changes" {
                self.1.extend(data.as_array().expect("a list").clone());
            }
        }
    }
}

#[test]
fn a_write_arrives_within_a_second_and_a_reader_resumes_where_it_stopped() {
    let node = Node::dev();
    let mut stream = Stream::open(&node, "/v1/muster/changes");
    assert_eq!(stream.next().0, "hello");
    let sent = Instant::now();
    node.http.put("/v1/kv/a", "1");
    let first = stream.until("kv", "a");
    assert!(sent.elapsed() < Duration::from_secs(1), "arrived after {:?}", sent.elapsed());
    drop(stream);

    node.http.put("/v1/kv/b", "1");
    node.http.put("/v1/catalog/register", r#"{"Node":"e","Address":"10.0.0.1","Service":{"Service":"s"}}"#);
    let mut stream = Stream::open(&node, &format!("/v1/muster/changes?index={first}"));
    let second = stream.until("kv", "b");
    assert!(second > first);
    assert!(stream.until("service", "s") > second);
}

#[test]
fn topics_keep_the_rest_away() {
    let node = Node::dev();
    let mut stream = Stream::open(&node, "/v1/muster/changes?topic=service");
    assert_eq!(stream.next().0, "hello");
    node.http.put("/v1/kv/a", "1");
    node.http.put("/v1/catalog/register", r#"{"Node":"e","Address":"10.0.0.1","Service":{"Service":"s"}}"#);
    loop {
        let (event, data) = stream.next();
        if event != "changes" {
            continue;
        }
        assert!(data.as_array().is_some_and(|changes| changes.iter().all(|change| change["Topic"] == "service")), "{data}");
        if data.to_string().contains("\"s\"") {
            break;
        }
    }
}
