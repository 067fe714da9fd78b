//! Tests of the runners against real listeners on this machine.

use std::{
    convert::Infallible,
    net::SocketAddr,
    sync::{Arc, Mutex},
    time::Duration,
};

use ::http::{HeaderMap, HeaderValue, Response};
use bytes::Bytes;
use http_body_util::{BodyExt as _, StreamBody};
use hyper::{body::Frame, service::service_fn};
use hyper_util::rt::{TokioExecutor, TokioIo};
use shared::check::CheckDefinition;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};

use super::*;
use crate::rt::{Runtime, net};

const LOOPBACK: SocketAddr = SocketAddr::new(std::net::IpAddr::V4(std::net::Ipv4Addr::LOCALHOST), 0);

async fn outcome(definition: serde_json::Value) -> Outcome {
    let definition: CheckDefinition = serde_json::from_value(definition).expect("a definition");
    let checked = check(&definition).expect("a valid check");
    let runtime = Runtime::system();
    let world = World { clock: runtime.clock, tasks: runtime.tasks, tls: tls::Connector::default() };
    run(&checked.kind, checked.timeout, checked.output_size_max, &world).await
}

fn expect(found: &Outcome, status: &str, output: &str) {
    assert_eq!((found.status.as_str(), found.output.as_str()), (status, output));
}

/// An HTTP server that answers each path with fixed bytes and keeps the requests. `/silent` gets no answer.
struct Web {
    address: SocketAddr,
    requests: Arc<Mutex<Vec<String>>>,
}

const ANSWERS: [(&str, &str); 9] = [
    ("/ok", "HTTP/1.1 200 OK\r\n\r\nfine"),
    ("/none", "HTTP/1.1 204 No Content\r\n\r\n"),
    ("/busy", "HTTP/1.1 429 Too Many Requests\r\n\r\nlater"),
    ("/bad", "HTTP/1.1 500 Own Words\r\n\r\noh no"),
    ("/moved", "HTTP/1.1 301 Moved Permanently\r\nLocation: /ok\r\n\r\n"),
    ("/kept", "HTTP/1.1 307 Temporary Redirect\r\nLocation: /ok\r\n\r\n"),
    ("/loop", "HTTP/1.1 302 Found\r\nLocation: /loop\r\n\r\n"),
    ("/cut", "HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\nabc"),
    ("/close", ""),
];

async fn web(tls: Option<tokio_rustls::TlsAcceptor>) -> Web {
    let listener = net::listen(LOOPBACK).await.expect("listen");
    let web = Web { address: listener.local_addr().expect("bound"), requests: Arc::default() };
    let requests = Arc::clone(&web.requests);
    Runtime::system().tasks.spawn("web", async move {
        while let Ok((stream, _)) = listener.accept().await {
            match &tls {
                None => answer(stream, &requests).await,
                Some(acceptor) => {
                    if let Ok(stream) = acceptor.accept(stream).await {
                        answer(stream, &requests).await;
                    }
                }
            }
        }
    });
    web
}

async fn answer(mut stream: impl tokio::io::AsyncRead + tokio::io::AsyncWrite + Unpin, requests: &Mutex<Vec<String>>) {
    let mut request = String::new();
    while !complete(&request) {
        let mut chunk = [0; 4096];
        match stream.read(&mut chunk).await {
            // A TLS greeting.
            Ok(_) if chunk[0] == 0x16 => {
                let _ = stream.write_all(b"HTTP/1.1 400 Bad Request\r\n\r\n").await;
                return;
            }
            Ok(read @ 1..) => request.push_str(&String::from_utf8_lossy(&chunk[..read])),
            _ => return,
        }
    }
    let path = request.split(' ').nth(1).unwrap_or_default().to_owned();
    requests.lock().expect("not poisoned").push(request);
    if path == "/silent" {
        // Reads until the check gives up.
        let _ = stream.read(&mut [0; 1]).await;
        return;
    }
    if path == "/big" {
        let body = "x".repeat(6000) + "end";
        let _ = stream.write_all(format!("HTTP/1.1 200 OK\r\n\r\n{body}").as_bytes()).await;
    } else if let Some((_, bytes)) = ANSWERS.iter().find(|(known, _)| *known == path.split('?').next().unwrap_or_default()) {
        let _ = stream.write_all(bytes.as_bytes()).await;
    }
    let _ = stream.shutdown().await;
}

fn complete(request: &str) -> bool {
    let Some((head, body)) = request.split_once("\r\n\r\n") else { return false };
    let length = head.to_lowercase().lines().find_map(|line| line.strip_prefix("content-length: ").and_then(|n| n.parse().ok()));
    body.len() >= length.unwrap_or(0)
}

async fn free_address() -> SocketAddr {
    net::listen(LOOPBACK).await.expect("listen").local_addr().expect("bound")
}

#[tokio::test]
async fn http_judges_by_the_status_code() {
    let web = web(None).await;
    let base = format!("http://{}", web.address);
    let cases = [
        ("/ok", "passing", "200 OK Output: fine"),
        ("/none", "passing", "204 No Content Output: "),
        ("/busy", "warning", "429 Too Many Requests Output: later"),
        ("/bad", "critical", "500 Own Words Output: oh no"),
        ("/moved", "passing", "200 OK Output: fine"),
        ("/cut", "passing", "200 OK Output: abc"),
    ];
    for (path, status, output) in cases {
        let found = outcome(serde_json::json!({"HTTP": format!("{base}{path}"), "Interval": "1s"})).await;
        expect(&found, status, &format!("HTTP GET {base}{path}: {output}"));
    }
    let found = outcome(serde_json::json!({"HTTP": format!("{base}/moved"), "Interval": "1s", "DisableRedirects": true})).await;
    expect(&found, "critical", &format!("HTTP GET {base}/moved: 301 Moved Permanently Output: "));
}

#[tokio::test]
async fn http_words_failures_as_consul_does() {
    let web = web(None).await;
    let (base, free) = (format!("http://{}", web.address), free_address().await);
    let cases = [
        (format!("http://{free}/"), format!("Get \"http://{free}/\": dial tcp {free}: connect: connection refused")),
        (format!("{base}/close"), format!("Get \"{base}/close\": EOF")),
        (format!("{base}/loop"), "Get \"/loop\": stopped after 10 redirects".to_owned()),
        (
            format!("{base}/silent"),
            format!("Get \"{base}/silent\": context deadline exceeded (Client.Timeout exceeded while awaiting headers)"),
        ),
        ("http://127.0.0.1:99999/".to_owned(), "Get \"http://127.0.0.1:99999/\": dial tcp: address 99999: invalid port".to_owned()),
        ("ftp://127.0.0.1/".to_owned(), "Get \"ftp://127.0.0.1/\": unsupported protocol scheme \"ftp\"".to_owned()),
        ("127.0.0.1:80".to_owned(), "parse \"127.0.0.1:80\": first path segment in URL cannot contain colon".to_owned()),
        ("nowhere".to_owned(), "Get \"nowhere\": unsupported protocol scheme \"\"".to_owned()),
        (
            format!("https://{}/ok", web.address),
            format!("Get \"https://{}/ok\": tls: first record does not look like a TLS handshake", web.address),
        ),
    ];
    for (url, output) in cases {
        let found = outcome(serde_json::json!({"HTTP": url, "Interval": "1s", "Timeout": "300ms"})).await;
        expect(&found, "critical", &output);
    }
}

#[tokio::test]
async fn http_keeps_the_last_bytes_of_the_body() {
    let web = web(None).await;
    let url = format!("http://{}/big", web.address);
    let found = outcome(serde_json::json!({"HTTP": url, "Interval": "1s", "OutputMaxSize": 5})).await;
    expect(&found, "passing", &format!("HTTP GET {url}: 200 OK Output: xxend"));
}

#[tokio::test]
async fn http_sends_consuls_headers_and_the_definitions() {
    let web = web(None).await;
    let take = || std::mem::take(&mut *web.requests.lock().expect("not poisoned"));
    outcome(serde_json::json!({"HTTP": format!("http://{}/ok?a=1#f", web.address), "Interval": "1s"})).await;
    let expected = format!(
        "GET /ok?a=1 HTTP/1.1\r\nHost: {}\r\nUser-Agent: Consul Health Check\r\nAccept: text/plain, text/*, */*\r\n\
         Connection: close\r\n\r\n",
        web.address
    );
    assert_eq!(take(), [expected]);

    let definition = serde_json::json!({
        "HTTP": format!("http://u:p@{}/kept", web.address), "Interval": "1s", "Method": "POST", "Body": "hello",
        "Header": {"Host": ["foo.example"], "X-A": ["1", "2"], "User-Agent": ["mine"]},
    });
    outcome(definition).await;
    let sent = take();
    assert_eq!(sent.len(), 2, "a 307 keeps method and body");
    for request in sent {
        let request = request.to_lowercase();
        for line in ["host: foo.example", "x-a: 1", "x-a: 2", "user-agent: mine", "authorization: basic dtpw", "\r\n\r\nhello"] {
            assert!(request.starts_with("post ") && request.contains(line), "{line} in {request}");
        }
    }
}

fn acceptor(alpn: &[&[u8]]) -> tokio_rustls::TlsAcceptor {
    let made = rcgen::generate_simple_self_signed(vec!["localhost".to_owned()]).expect("a certificate");
    let key = rustls_pki_types::PrivateKeyDer::Pkcs8(made.signing_key.serialize_der().into());
    let config = rustls::ServerConfig::builder_with_provider(Arc::new(rustls::crypto::ring::default_provider()))
        .with_safe_default_protocol_versions()
        .expect("default versions")
        .with_no_client_auth()
        .with_single_cert(vec![made.cert.der().clone()], key);
    let mut config = config.expect("a matching key");
    config.alpn_protocols = alpn.iter().map(|protocol| protocol.to_vec()).collect();
    Arc::new(config).into()
}

#[tokio::test]
async fn https_verifies_unless_told_otherwise() {
    let web = web(Some(acceptor(&[]))).await;
    let url = format!("https://{}/ok", web.address);
    let found = outcome(serde_json::json!({"HTTP": url, "Interval": "1s"})).await;
    expect(&found, "critical", &format!("Get \"{url}\": x509: certificate signed by unknown authority"));
    let found = outcome(serde_json::json!({"HTTP": url, "Interval": "1s", "TLSSkipVerify": true})).await;
    expect(&found, "passing", &format!("HTTP GET {url}: 200 OK Output: fine"));
}

#[tokio::test]
async fn tcp_passes_when_the_connection_opens() {
    let (web, free) = (web(Some(acceptor(&[]))).await, free_address().await);
    let found = outcome(serde_json::json!({"TCP": web.address.to_string(), "Interval": "1s"})).await;
    expect(&found, "passing", &format!("TCP connect {}: Success", web.address));
    let found = outcome(serde_json::json!({"TCP": free.to_string(), "Interval": "1s"})).await;
    expect(&found, "critical", &format!("dial tcp {free}: connect: connection refused"));
    let found = outcome(serde_json::json!({"TCP": "127.0.0.1", "Interval": "1s"})).await;
    expect(&found, "critical", "dial tcp: address 127.0.0.1: missing port in address");
    let tls = |skip| serde_json::json!({"TCP": web.address.to_string(), "Interval": "1s", "TCPUseTLS": true, "TLSSkipVerify": skip});
    expect(&outcome(tls(true)).await, "passing", &format!("TCP connect {}: Success", web.address));
    expect(&outcome(tls(false)).await, "critical", "x509: certificate signed by unknown authority");
}

#[tokio::test]
async fn tcp_gives_up_after_its_timeout() {
    // A listener whose queue is full answers no more connections.
    let socket = tokio::net::TcpSocket::new_v4().expect("a socket");
    socket.bind(LOOPBACK).expect("bind");
    let listener = socket.listen(1).expect("listen");
    let address = listener.local_addr().expect("bound");
    let mut held = Vec::new();
    while let Ok(Ok(stream)) = crate::rt::clock::timeout(Duration::from_millis(100), net::TcpStream::connect(address)).await {
        held.push(stream);
    }
    let found = outcome(serde_json::json!({"TCP": address.to_string(), "Interval": "1s", "Timeout": "100ms"})).await;
    expect(&found, "critical", &format!("dial tcp {address}: i/o timeout"));
}

#[tokio::test]
async fn udp_passes_unless_refused() {
    let define = |address: SocketAddr| serde_json::json!({"UDP": address.to_string(), "Interval": "1s", "Timeout": "200ms"});
    let silent = net::udp(LOOPBACK).await.expect("a socket");
    let address = silent.local_addr().expect("bound");
    expect(&outcome(define(address)).await, "passing", &format!("UDP connect {address}: Success"));
    let echo = async {
        let mut byte = [0; 1];
        // The datagram of the first run is still there.
        for _ in 0..2 {
            let (_, from) = silent.recv_from(&mut byte).await.expect("a datagram");
            let _ = silent.send_to(&byte, from).await;
        }
    };
    let (answered, ()) = tokio::join!(outcome(define(address)), echo);
    expect(&answered, "passing", &format!("UDP connect {address}: Success"));
    drop(silent);
    expect(&outcome(define(address)).await, "critical", &format!("read udp {address}: connection refused"));
}

#[tokio::test]
async fn a_script_is_judged_by_its_exit_code() {
    let cases = [
        (vec!["sh", "-c", "echo out; echo err >&2"], "passing", "out\nerr\n"),
        (vec!["sh", "-c", "echo hm; exit 1"], "warning", "hm\n"),
        (vec!["sh", "-c", "exit 2"], "critical", ""),
        (vec!["sh", "-c", "kill -9 $$"], "critical", ""),
        (vec!["/no/such"], "critical", "fork/exec /no/such: no such file or directory"),
        (vec!["no-such-program"], "critical", "exec: \"no-such-program\": executable file not found in $PATH"),
    ];
    for (args, status, output) in cases {
        expect(&outcome(serde_json::json!({"Args": args, "Interval": "1s"})).await, status, output);
    }
    let found = outcome(serde_json::json!({"Args": ["seq", "1", "3000"], "Interval": "1s", "OutputMaxSize": 20})).await;
    expect(&found, "passing", "Captured 20 of 13893 bytes\n...\n2997\n2998\n2999\n3000\n");
}

#[tokio::test]
async fn a_script_that_takes_too_long_is_killed_with_all_its_children() {
    let directory = tempfile::tempdir().expect("a directory");
    let (pid, fifo) = (directory.path().join("pid"), directory.path().join("fifo"));
    let script = format!("mkfifo {f}; (echo $BASHPID; cat {f}) & echo $! > {p}; echo hi; wait", f = fifo.display(), p = pid.display());
    let found = outcome(serde_json::json!({"Args": ["sh", "-c", script], "Interval": "1s", "Timeout": "700ms"})).await;
    assert_eq!(found.status, Status::CRITICAL);
    assert!(found.output.starts_with("Timed out (700ms) running check\n\n") && found.output.contains("hi\n"), "{}", found.output);
    let child: i32 = std::fs::read_to_string(pid).expect("the child's id").trim().parse().expect("a number");
    let child = rustix::process::Pid::from_raw(child).expect("not zero");
    let ended = async {
        while alive(child) {
            crate::rt::clock::sleep(Duration::from_millis(10)).await;
        }
    };
    crate::rt::clock::timeout(Duration::from_secs(5), ended).await.expect("the child was killed too");
}

/// Whether a process runs: one that has ended but was not yet waited for does not.
fn alive(process: rustix::process::Pid) -> bool {
    let stat = std::fs::read_to_string(format!("/proc/{}/stat", process.as_raw_nonzero())).unwrap_or_default();
    stat.rsplit(") ").next().is_some_and(|rest| !rest.is_empty() && !rest.starts_with('Z'))
}

/// A health service that knows `up` (serving), `down` (not serving) and nothing else.
async fn health_service(tls: Option<tokio_rustls::TlsAcceptor>) -> SocketAddr {
    let listener = net::listen(LOOPBACK).await.expect("listen");
    let address = listener.local_addr().expect("bound");
    let tasks = Runtime::system().tasks;
    tasks.clone().spawn("grpc", async move {
        while let Ok((stream, _)) = listener.accept().await {
            let server = hyper::server::conn::http2::Builder::new(TokioExecutor::new());
            match tls.clone() {
                None => drop(tasks.spawn("grpc", server.serve_connection(TokioIo::new(stream), service_fn(healthy)))),
                Some(acceptor) => {
                    if let Ok(stream) = acceptor.accept(stream).await {
                        drop(tasks.spawn("grpc", server.serve_connection(TokioIo::new(stream), service_fn(healthy))));
                    }
                }
            }
        }
    });
    address
}

type Answer = Response<StreamBody<futures_util::stream::Iter<std::vec::IntoIter<Result<Frame<Bytes>, Infallible>>>>>;

async fn healthy(request: ::http::Request<hyper::body::Incoming>) -> Result<Answer, Infallible> {
    assert_eq!(request.uri().path(), "/grpc.health.v1.Health/Check");
    assert_eq!(request.headers()["content-type"], "application/grpc");
    let asked = request.into_body().collect().await.expect("a body").to_bytes();
    let (frame, code, message) = match &asked[..] {
        [0, 0, 0, 0, 0] | [0, 0, 0, 0, 4, 0x0a, 2, b'u', b'p'] => (vec![0, 0, 0, 0, 2, 0x08, 1], "0", ""),
        [0, 0, 0, 0, 6, 0x0a, 4, b'd', b'o', b'w', b'n'] => (vec![0, 0, 0, 0, 2, 0x08, 2], "0", ""),
        _ => (Vec::new(), "5", "unknown service"),
    };
    let mut trailers = HeaderMap::new();
    trailers.insert("grpc-status", HeaderValue::from_static(code));
    trailers.insert("grpc-message", HeaderValue::from_static(message));
    let frames = vec![Ok(Frame::data(Bytes::from(frame))), Ok(Frame::trailers(trailers))];
    Ok(Response::new(StreamBody::new(futures_util::stream::iter(frames))))
}

#[tokio::test]
async fn grpc_asks_the_standard_health_service() {
    let (address, free) = (health_service(None).await, free_address().await);
    let cases = [
        (format!("{address}"), "passing", format!("gRPC check {address}: success")),
        (format!("{address}/up"), "passing", format!("gRPC check {address}/up: success")),
        (format!("{address}/down"), "critical", "gRPC application didn't report service healthy".to_owned()),
        (format!("{address}/other"), "critical", "rpc error: code = NotFound desc = unknown service".to_owned()),
        (
            format!("{free}"),
            "critical",
            format!(
                "rpc error: code = Unavailable desc = connection error: desc = \"transport: Error while dialing dial tcp {free}: connect: \
                 connection refused\""
            ),
        ),
    ];
    for (target, status, output) in cases {
        expect(&outcome(serde_json::json!({"GRPC": target, "Interval": "1s"})).await, status, &output);
    }
}

#[tokio::test]
async fn grpc_speaks_tls() {
    let address = health_service(Some(acceptor(&[b"h2"]))).await;
    let found =
        outcome(serde_json::json!({"GRPC": address.to_string(), "GRPCUseTLS": true, "TLSSkipVerify": true, "Interval": "1s"})).await;
    expect(&found, "passing", &format!("gRPC check {address}: success"));
    let found = outcome(serde_json::json!({"GRPC": address.to_string(), "GRPCUseTLS": true, "Interval": "1s"})).await;
    assert!(found.output.contains("x509: certificate signed by unknown authority"), "{}", found.output);
}

#[tokio::test]
async fn h2ping_passes_when_the_ping_is_acknowledged() {
    let (address, secured) = (health_service(None).await, health_service(Some(acceptor(&[b"h2"]))).await);
    let plain = serde_json::json!({"H2PING": address.to_string(), "H2PingUseTLS": false, "Interval": "1s"});
    expect(&outcome(plain).await, "passing", "HTTP2 ping was successful");
    let tls = serde_json::json!({"H2PING": secured.to_string(), "TLSSkipVerify": true, "Interval": "1s"});
    expect(&outcome(tls).await, "passing", "HTTP2 ping was successful");
    let free = free_address().await;
    let refused = serde_json::json!({"H2PING": free.to_string(), "H2PingUseTLS": false, "Interval": "1s"});
    expect(&outcome(refused).await, "critical", &format!("Failed to dial to {free}: dial tcp {free}: connect: connection refused"));
    let web = web(None).await;
    let other = serde_json::json!({"H2PING": web.address.to_string(), "H2PingUseTLS": false, "Interval": "1s", "Timeout": "2s"});
    assert!(outcome(other).await.output.starts_with("HTTP2 ping failed: "));
}
