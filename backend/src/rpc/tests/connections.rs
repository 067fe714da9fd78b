//! Connections that fail in every way: swallowed, silent, broken, idle, strange, too large; and wrapped ones.

use std::sync::{Mutex, PoisonError};

use http_body_util::{BodyExt as _, StreamBody};
use rustls_pki_types::{PrivateKeyDer, ServerName};
use shared::kv;
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    sync::watch,
};

use super::*;

fn quick() -> Options {
    Options { connect_timeout: SOON, silence: Duration::from_millis(200), sign_of_life: Duration::from_secs(1), ..Options::default() }
}

fn write() -> Operation {
    KvWrite { write: kv::Write { op: kv::Op::Set, key: "k".to_owned(), flags: 0, value: b"v".to_vec() } }.into()
}

/// Answers reads with its name, counts writes; while it is told to stand still it answers nothing.
struct Counting {
    name: &'static str,
    writes: AtomicUsize,
    still: watch::Receiver<bool>,
}

impl Counting {
    fn new(name: &'static str) -> (Arc<Self>, watch::Sender<bool>) {
        let (stand_still, still) = watch::channel(false);
        (Arc::new(Self { name, writes: AtomicUsize::new(0), still }), stand_still)
    }
}

#[async_trait::async_trait]
impl Handler for Counting {
    async fn handle(&self, _: Request, operation: Operation) -> Result<Answer<OperationReply>, Error> {
        if operation.writes() {
            self.writes.fetch_add(1, Ordering::SeqCst);
        }
        let _ = self.still.clone().wait_for(|still| !still).await;
        let value = if operation.writes() { OperationReply::KvWrite(true) } else { OperationReply::Leader(self.name.to_owned()) };
        Ok(Answer { meta: Default::default(), value })
    }

    async fn changes(&self, _: Request, _: u64) -> Result<Changes, Error> {
        Err(Error::PermissionDenied)
    }
}

/// Passes bytes on until it is frozen: then both sides hear nothing, as of a process that was stopped.
struct Relay {
    address: SocketAddr,
    frozen: watch::Sender<bool>,
    accepted: Arc<AtomicUsize>,
}

async fn pass_on(mut from: impl tokio::io::AsyncRead + Unpin, mut to: impl tokio::io::AsyncWrite + Unpin, frozen: watch::Receiver<bool>) {
    let mut bytes = vec![0; 16 << 10];
    while let Ok(count) = from.read(&mut bytes).await {
        let _ = frozen.clone().wait_for(|frozen| !frozen).await;
        if count == 0 || to.write_all(&bytes[..count]).await.is_err() {
            return;
        }
    }
}

impl Relay {
    async fn to(target: SocketAddr) -> Self {
        let listener = net::listen(SocketAddr::from(([127, 0, 0, 1], 0))).await.expect("a free port");
        let address = listener.local_addr().expect("bound");
        let (frozen, freezing) = watch::channel(false);
        let accepted = Arc::new(AtomicUsize::new(0));
        let (count, tasks) = (accepted.clone(), Runtime::system().tasks);
        let starting = tasks.clone();
        tasks.spawn_until_shutdown("relay", async move {
            while let Ok((stream, _)) = listener.accept().await {
                count.fetch_add(1, Ordering::SeqCst);
                let onward = net::connect(target, SOON).await.expect("the target listens");
                let ((from, to), (back_from, back_to)) = (stream.into_split(), onward.into_split());
                starting.spawn_until_shutdown("relay there", pass_on(from, back_to, freezing.clone()));
                starting.spawn_until_shutdown("relay back", pass_on(back_from, to, freezing.clone()));
            }
        });
        Self { address, frozen, accepted }
    }
}

#[tokio::test]
async fn callers_wait_together_for_one_attempt_and_what_was_never_sent_goes_elsewhere() {
    // It is never accepted from: the kernel opens connections, nobody answers on them.
    let swallowing = net::listen(SocketAddr::from(([127, 0, 0, 1], 0))).await.expect("a free port");
    let to = swallowing.local_addr().expect("bound");
    let pool = Pool::new(Options { connect_timeout: Duration::from_millis(300), ..quick() }, Runtime::system());
    let began = clock::Instant::now();
    let calls = (0..20).map(|_| async { pool.try_call(to, &Request::default(), &write()).await });
    for answer in futures_util::future::join_all(calls).await {
        let failure = answer.expect_err("nobody answers");
        assert_eq!(failure, Failure::NotSent(format!("dial tcp {to}: i/o timeout")));
    }
    assert!(began.elapsed() < Duration::from_secs(3), "one after the other: {:?}", began.elapsed());

    let (counting, _go_on) = Counting::new("well");
    let well = Running::with(counting.clone(), |inbound| inbound).await;
    let servers = Servers::new(&Rng::from_seed(1));
    servers.set(vec![Server { address: to, ..well.server("swallows") }]);
    servers.set(vec![Server { address: to, ..well.server("swallows") }, well.server("well")]);
    let forwarder = Forwarder::new(pool, servers, "dc1", Runtime::system());
    for _ in 0..4 {
        forwarder.handle(Request::default(), write()).await.expect("the other one does it");
    }
    assert_eq!(counting.writes.load(Ordering::SeqCst), 4);
}

#[tokio::test]
async fn a_read_leaves_a_server_that_fell_silent_and_a_write_is_not_sent_again() {
    let ((hung, _), (well, _go_on)) = (Counting::new("hung"), Counting::new("well"));
    let (one, two) = (Running::with(hung.clone(), |inbound| inbound).await, Running::with(well.clone(), |inbound| inbound).await);
    let relay = Relay::to(one.address).await;
    let servers = Servers::new(&Rng::from_seed(1));
    let forwarder = Arc::new(Forwarder::new(Pool::new(quick(), Runtime::system()), servers.clone(), "dc1", Runtime::system()));
    servers.set(vec![Server { address: relay.address, ..one.server("hung") }]);
    assert_eq!(leader(forwarder.handle(Request::default(), Leader {}.into()).await.expect("still well")), "hung");

    relay.frozen.send_replace(true);
    let writing = forwarder.clone();
    let writing = one.runtime.tasks.spawn("write", async move { writing.handle(Request::default(), write()).await });
    let (asking, second) = (forwarder.clone(), two.server("well"));
    let read = async {
        let asked = asking.handle(Request::default(), Leader {}.into());
        let known = async {
            clock::sleep(Duration::from_millis(50)).await;
            servers.set(vec![Server { address: relay.address, ..one.server("hung") }, second]);
        };
        futures_util::future::join(asked, known).await.0
    };
    let began = clock::Instant::now();
    assert_eq!(leader(clock::timeout(SOON, read).await.expect("ends").expect("the other one answers")), "well");
    assert!(began.elapsed() < Duration::from_secs(9), "took {:?}", began.elapsed());
    assert!(!writing.is_finished(), "whether it was done is not known");
    assert_eq!(well.writes.load(Ordering::SeqCst), 0);
    // It only slept: what it was sent it does, once.
    relay.frozen.send_replace(false);
    clock::timeout(SOON, writing).await.expect("ends").expect("no panic").expect("done");
    assert_eq!((hung.writes.load(Ordering::SeqCst), well.writes.load(Ordering::SeqCst)), (1, 0));
}

/// What Raft counts on: it waits minutes for a large snapshot to be installed, and no longer than this for a server that is gone.
#[tokio::test]
async fn a_snapshot_to_a_server_that_fell_silent_is_given_up_with_the_connection() {
    let server = Running::start("hung", None).await;
    let relay = Relay::to(server.address).await;
    let ping = (Duration::from_millis(100), Duration::from_millis(200));
    let (pool, runtime) = (Pool::new(Options { ping, ..quick() }, Runtime::system()), Runtime::system());
    let sent = pool.raft_snapshot(relay.address, 2, "echo", b"offer", bytes(&runtime, 1 << 20, false)).await.expect("still well");
    assert_eq!(String::from_utf8_lossy(&sent), format!("offer: {} bytes, whole", 1 << 20));
    relay.frozen.send_replace(true);
    let sending = pool.raft_snapshot(relay.address, 2, "echo", b"offer", bytes(&runtime, 1 << 20, false));
    let sent = clock::timeout(SOON, sending).await.expect("given up soon");
    assert!(matches!(sent, Err(Failure::Lost(_))), "{sent:?}");
}

#[tokio::test]
async fn a_write_at_a_server_that_stays_silent_ends_with_an_unknown_outcome_and_is_not_sent_again() {
    let ((hung, _), (well, _go_on)) = (Counting::new("hung"), Counting::new("well"));
    let (one, two) = (Running::with(hung.clone(), |inbound| inbound).await, Running::with(well.clone(), |inbound| inbound).await);
    let relay = Relay::to(one.address).await;
    let (servers, pool) = (Servers::new(&Rng::from_seed(1)), Pool::new(quick(), Runtime::system()));
    servers.set(vec![Server { address: relay.address, ..one.server("hung") }]);
    pool.call(relay.address, &Request::default(), Leader {}.into()).await.expect("still well");
    servers.set(vec![Server { address: relay.address, ..one.server("hung") }, two.server("well")]);
    relay.frozen.send_replace(true);
    let began = clock::Instant::now();
    let failure = clock::timeout(SOON, pool.try_call(relay.address, &Request::default(), &write())).await.expect("ends");
    // Silence, a sign of life in vain, the last word: long before the connection's own probe gives up.
    assert!(began.elapsed() < Duration::from_secs(5), "took {:?}", began.elapsed());
    assert_eq!(failure.map(|_| ()), Err(pool::silent()));
    let forwarder = Forwarder::new(pool, servers.clone(), "dc1", Runtime::system());
    servers.set(vec![two.server("well")]);
    forwarder.handle(Request::default(), write()).await.expect("another write");
    assert_eq!(well.writes.load(Ordering::SeqCst), 1, "only that one");
}

#[tokio::test]
async fn a_slow_answer_is_no_silence() {
    let (slow, stand_still) = Counting::new("slow");
    let server = Running::with(slow, |inbound| inbound).await;
    let relay = Relay::to(server.address).await;
    let pool = Pool::new(quick(), Runtime::system());
    stand_still.send_replace(true);
    let to = relay.address;
    let asked = server.runtime.tasks.spawn("call", async move { pool.try_call(to, &Request::default(), &Leader {}.into()).await });
    // Several signs of life later.
    clock::sleep(Duration::from_millis(1500)).await;
    stand_still.send_replace(false);
    assert_eq!(leader(clock::timeout(SOON, asked).await.expect("ends").expect("no panic").expect("answers")), "slow");
    assert_eq!(relay.accepted.load(Ordering::SeqCst), 1, "on the connection it was asked on");
}

#[tokio::test]
async fn a_connection_nobody_uses_is_closed_and_opened_again_when_needed() {
    let server = Running::start("one", None).await;
    let relay = Relay::to(server.address).await;
    let pool = Pool::new(Options { idle_timeout: Duration::from_millis(50), ..quick() }, Runtime::system());
    for count in 1..=3 {
        let answer = pool.call(relay.address, &Request::default(), Leader {}.into()).await;
        assert_eq!(leader(answer.expect("answers")), "one");
        assert_eq!(relay.accepted.load(Ordering::SeqCst), count);
        until("it is closed", || pool.connections() == 0).await;
    }
}

#[tokio::test]
async fn who_says_nothing_is_sent_away() {
    let (handshake, body) = (Duration::from_millis(500), Duration::from_millis(700));
    let tune = |inbound: Inbound| Inbound { patience: Patience { handshake, body }, ..inbound };
    let server = Running::with(Counting::new("one").0, tune).await;
    let mut stream = net::connect(server.address, SOON).await.expect("connects");
    clock::timeout(SOON, stream.read_to_end(&mut Vec::new())).await.expect("closed").expect("in order");

    let pool = Pool::new(quick(), Runtime::system());
    let endless = StreamBody::new(futures_util::stream::pending::<Result<hyper::body::Frame<bytes::Bytes>, std::io::Error>>());
    let asked = pool.send(server.address, pool::Lane::Calls, link::Waits::Read, "/v1/call", endless.boxed_unsync());
    let failure = clock::timeout(SOON, asked).await.expect("ends").map(|_| ()).expect_err("refused");
    assert!(failure.to_string().contains("did not arrive in time"), "{failure}");
    // Longer than the handshake may take: a connection that was used stays.
    assert_eq!(leader(pool.call(server.address, &Request::default(), Leader {}.into()).await.expect("answers")), "one");
}

#[tokio::test]
async fn calls_wait_while_others_fill_the_room_there_is() {
    // As much as one call may have, whose length is not known.
    let tune = |inbound: Inbound| Inbound {
        patience: Patience { body: Duration::from_millis(700), ..inbound.patience },
        receiving: Receiving::of_kib(4 << 10),
        ..inbound
    };
    let server = Running::with(Counting::new("one").0, tune).await;
    let pool = Pool::new(quick(), Runtime::system());
    // The connection is there.
    assert_eq!(leader(pool.call(server.address, &Request::default(), Leader {}.into()).await.expect("answers")), "one");
    let endless = StreamBody::new(futures_util::stream::pending::<Result<hyper::body::Frame<bytes::Bytes>, std::io::Error>>());
    let order = Mutex::new(Vec::new());
    let first = async {
        let asked = pool.send(server.address, pool::Lane::Calls, link::Waits::Read, "/v1/call", endless.boxed_unsync());
        assert!(asked.await.is_err(), "it never ends");
        order.lock().unwrap_or_else(PoisonError::into_inner).push("endless");
    };
    let second = async {
        // Sent after it on the same connection.
        clock::sleep(Duration::from_millis(100)).await;
        assert_eq!(leader(pool.call(server.address, &Request::default(), Leader {}.into()).await.expect("answers")), "one");
        order.lock().unwrap_or_else(PoisonError::into_inner).push("short");
    };
    clock::timeout(SOON, futures_util::future::join(first, second)).await.expect("both end");
    assert_eq!(order.into_inner().unwrap_or_else(PoisonError::into_inner), ["endless", "short"]);
}

#[tokio::test]
async fn what_is_too_large_is_refused_with_the_limit_and_the_connection_lives() {
    let (server, pool) = (Running::start("one", None).await, Pool::new(quick(), Runtime::system()));
    let relay = Relay::to(server.address).await;
    let large = KvGet { key: "k".repeat(5 << 20) };
    let refused = pool.call(relay.address, &Request::default(), large.into()).await.expect_err("too large");
    assert_eq!(refused.to_string(), "rpc error making call: request is longer than 4194304 bytes");
    assert_eq!(leader(pool.call(relay.address, &Request::default(), Leader {}.into()).await.expect("answers")), "one");
    assert_eq!(relay.accepted.load(Ordering::SeqCst), 1);
    let refused = pool.raft(relay.address, 1, "echo", vec![0; 17 << 20]).await.expect_err("too large");
    assert_eq!(refused.to_string(), "rpc error making call: request is longer than 16777216 bytes");
    assert_eq!(pool.raft(relay.address, 1, "echo", vec![7; 9 << 20]).await.map(|answer| answer.len()), Ok(9 << 20));
}

#[tokio::test]
async fn releases_next_to_each_other_work_together_and_others_say_what_to_do() {
    let server = Running::start("one", None).await;
    let speaking = |protocol| Pool::new(Options { protocol, ..quick() }, Runtime::system());
    let newer = speaking(PROTOCOL + 1);
    assert_eq!(leader(newer.call(server.address, &Request::default(), Leader {}.into()).await.expect("answers")), "one");
    let far = speaking(PROTOCOL + 2).try_call(server.address, &Request::default(), &write()).await.expect_err("too far apart");
    assert!(matches!(&far, Failure::NotSent(why) if why.contains("cannot talk to") && why.contains("upgrade one release")), "{far:?}");

    // A newer agent asks for what this release does not have, and says more about itself than it knows.
    #[derive(serde::Serialize)]
    struct Newer {
        datacenter: String,
        token: String,
        options: QueryOptions,
        colour: u8,
    }
    #[derive(serde::Serialize)]
    enum Asked {
        Leader { urgently: bool },
        Teleport { to: String },
    }
    let request = || Newer { datacenter: String::new(), token: String::new(), options: QueryOptions::default(), colour: 7 };
    let send = async |asked: Asked| {
        let body = call::full(wire::encode(&(request(), asked)).expect("plain"));
        let opened = newer.send(server.address, pool::Lane::Calls, link::Waits::Read, "/v1/call", body).await.expect("an answer");
        let body = opened.response.into_body().collect().await.expect("whole").to_bytes();
        wire::decode::<Result<Answer<OperationReply>, Error>>(&body).expect("readable")
    };
    assert_eq!(leader(send(Asked::Leader { urgently: true }).await.expect("answers")), "one");
    let unknown = send(Asked::Teleport { to: "moon".to_owned() }).await.expect_err("unknown").to_string();
    assert!(unknown.starts_with("rpc error making call: rpc: can't find method Teleport: this server (release "), "{unknown}");
}

/// Certificates of one authority: a server's, a caller's, and the wrapping they make.
fn wrap(authority: &rcgen::CertifiedIssuer<'_, rcgen::KeyPair>, trusted: &rustls::RootCertStore) -> Wrap {
    let certificate = |name: &str| {
        let key = rcgen::KeyPair::generate().expect("a key");
        let parameters = rcgen::CertificateParams::new(vec![name.to_owned()]).expect("a name");
        let certificate = parameters.signed_by(&key, authority).expect("signed");
        (vec![certificate.der().clone()], PrivateKeyDer::try_from(key.serialize_der()).expect("a key"))
    };
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let verifier = rustls::server::WebPkiClientVerifier::builder_with_provider(Arc::new(trusted.clone()), provider.clone()).build();
    let (chain, key) = certificate("server.dc1.consul");
    let accepting = rustls::ServerConfig::builder_with_provider(provider.clone())
        .with_safe_default_protocol_versions()
        .expect("known versions")
        .with_client_cert_verifier(verifier.expect("roots"))
        .with_single_cert(chain, key)
        .expect("they belong together");
    let (chain, key) = certificate("client.dc1.consul");
    let calling = rustls::ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .expect("known versions")
        .with_root_certificates(trusted.clone())
        .with_client_auth_cert(chain, key)
        .expect("they belong together");
    Wrap::tls(Arc::new(accepting), Arc::new(calling), ServerName::try_from("server.dc1.consul").expect("a name"))
}

fn authority() -> (rcgen::CertifiedIssuer<'static, rcgen::KeyPair>, rustls::RootCertStore) {
    let mut parameters = rcgen::CertificateParams::new(Vec::new()).expect("no names");
    parameters.is_ca = rcgen::IsCa::Ca(rcgen::BasicConstraints::Unconstrained);
    let authority = rcgen::CertifiedIssuer::self_signed(parameters, rcgen::KeyPair::generate().expect("a key")).expect("signed");
    let mut roots = rustls::RootCertStore::empty();
    roots.add(authority.der().clone()).expect("a certificate");
    (authority, roots)
}

#[tokio::test]
async fn wrapped_in_tls_both_sides_have_to_prove_who_they_are() {
    let ((ours, trusted), (theirs, _)) = (authority(), authority());
    let (counting, _) = Counting::new("one");
    let wrapping = wrap(&ours, &trusted);
    let server = Running::with(counting, |inbound| Inbound { wrap: wrapping.clone(), ..inbound }).await;
    let ask = async |wrap| {
        let pool = Pool::wrapped(quick(), wrap, Runtime::system());
        pool.try_call(server.address, &Request::default(), &Leader {}.into()).await
    };
    assert_eq!(leader(ask(wrapping.clone()).await.expect("one of us")), "one");
    let large = Pool::wrapped(quick(), wrapping.clone(), Runtime::system());
    let message: Vec<u8> = (0..3_000_000_u32).map(|number| number as u8).collect();
    assert!(large.raft(server.address, 1, "echo", message.clone()).await.expect("echoes").iter().rev().eq(message.iter()));
    // It trusts our authority, and shows a certificate of another one.
    let stranger = ask(wrap(&theirs, &trusted)).await.expect_err("a stranger");
    assert!(matches!(stranger, Failure::NotSent(_)), "{stranger:?}");
    let plain = ask(Wrap::Plain).await.expect_err("not wrapped");
    assert!(matches!(plain, Failure::NotSent(_)), "{plain:?}");
    let unwrapped = Running::start("plain", None).await;
    let pool = Pool::wrapped(quick(), wrapping, Runtime::system());
    let failure = pool.try_call(unwrapped.address, &Request::default(), &Leader {}.into()).await.expect_err("it speaks no TLS");
    assert!(matches!(failure, Failure::NotSent(_)), "{failure:?}");
}

#[tokio::test]
async fn one_connection_carries_thousands_of_calls() {
    const CALLS: usize = 4000;
    let server = Running::start("one", None).await;
    let pool = Pool::new(Options::default(), Runtime::system());
    let (done, began) = (Mutex::new(0), clock::Instant::now());
    let work = (0..64).map(|_| async {
        for _ in 0..CALLS / 64 {
            assert_eq!(leader(pool.call(server.address, &Request::default(), Leader {}.into()).await.expect("answers")), "one");
            *done.lock().unwrap_or_else(PoisonError::into_inner) += 1;
        }
    });
    futures_util::future::join_all(work).await;
    let done = done.into_inner().unwrap_or_else(PoisonError::into_inner);
    println!("{done} calls on one connection: {:.0} a second", f64::from(done) / began.elapsed().as_secs_f64());
    assert_eq!(pool.connections(), 1);
}

/// Whether the other side closes a new connection instead of answering on it.
async fn is_refused(server: SocketAddr) -> bool {
    let mut stream = net::connect(server, SOON).await.expect("the kernel takes it");
    let mut rest = [0; 64];
    // A connection that is taken begins with the settings of HTTP/2.
    clock::timeout(SOON, stream.read(&mut rest)).await.expect("one or the other").map_or(true, |read| read == 0)
}

#[tokio::test]
async fn one_address_has_only_as_many_connections_as_it_may_and_gets_a_new_one_once_one_ended() {
    let (counting, _go_on) = Counting::new("one");
    let server = Running::with(counting, |inbound| Inbound { connections_max: 1, ..inbound }).await;
    let runtime = Runtime::system();
    let first = Pool::new(quick(), runtime.clone());
    let ask = async |pool: &Pool| pool.call(server.address, &Request::default(), Leader {}.into()).await;
    ask(&first).await.expect("the first is taken");
    for _ in 0..3 {
        assert!(is_refused(server.address).await, "a second one at once");
    }
    let second = Pool::new(quick(), Runtime::system());
    let error = ask(&second).await.expect_err("no room").to_string();
    assert!(error.starts_with("rpc error"), "{error}");
    // Calls of the one that was taken share it.
    let calls = futures_util::future::join_all((0..50).map(|_| ask(&first))).await;
    assert!(calls.iter().all(Result::is_ok));
    drop(first);
    assert!(runtime.tasks.stop(SOON).await, "its connection ends");
    let deadline = clock::Instant::now() + SOON;
    while let Err(error) = ask(&second).await {
        assert!(clock::Instant::now() < deadline, "{error}");
    }
}
