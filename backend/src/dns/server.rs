//! Sockets and look-ups: reads questions from UDP and TCP, asks the servers, sends what `answer` built.
//!
//! Every question has a deadline, and the number of questions and connections at work is bounded. Contract: DNS.

use std::{
    collections::HashMap,
    net::{IpAddr, SocketAddr},
    str::FromStr as _,
    sync::Arc,
    time::Duration,
};

use hickory_server::proto::{
    op::{Message, MessageType, OpCode, ResponseCode},
    rr::{Name, RecordType},
    serialize::binary::BinDecodable as _,
};
use shared::{
    go,
    health::ServiceNode,
    node::Node,
    query::{Consistency, QueryOptions},
};
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    sync::{Mutex, Semaphore},
};

use super::{
    Error, Options,
    answer::{self, Reverse, Scope, Sections, Transport},
    name::{self, Target},
};
use crate::{
    rpc::{self, HealthServiceNodes, NodeServices, Nodes, Request, Router, Services, TypedOperation},
    rt::{
        Runtime, Shutdown,
        clock::{Instant, timeout},
        net::{self, TcpListener, TcpStream, UdpSocket},
    },
    telemetry,
};

/// A question's answer is given up after this; longer than the servers hold a call while nobody leads.
const DEADLINE: Duration = Duration::from_secs(10);
/// A TCP connection without a question is closed after this.
const IDLE: Duration = Duration::from_secs(10);
/// UDP questions at work at once; more wait in the socket.
const QUESTIONS_MAX: usize = 1_024;
/// TCP connections open at once; more wait to be accepted.
const CONNECTIONS_MAX: usize = 256;
/// How long the index of addresses is used before it is read again.
const REVERSE_AGE: Duration = Duration::from_secs(1);
/// The name servers report themselves under.
const SERVER_SERVICE: &str = "consul";
/// Milliseconds without contact after which an answer counts as stale.
const STALE_MS: u64 = 5_000;

/// A running DNS server. Dropping it does not stop it: the agent's shutdown or [`Handle::stop`] does.
#[derive(Debug)]
pub struct Handle {
    addresses: Vec<SocketAddr>,
    shutdown: Shutdown,
}

impl Handle {
    /// Where it listens, UDP and TCP.
    #[must_use]
    pub fn addresses(&self) -> &[SocketAddr] {
        &self.addresses
    }

    /// Stops answering.
    pub fn stop(&self) {
        self.shutdown.trigger();
    }
}

/// Listens on the addresses, UDP and TCP; port 0 takes a free one.
///
/// # Errors
/// The domain is no DNS name, or an address cannot be used.
pub async fn start(options: Options, addresses: &[SocketAddr], router: Router, runtime: Runtime) -> Result<Handle, Error> {
    let shutdown = runtime.tasks.shutdown().child();
    let service = Arc::new(Service::new(options, router, runtime.clone())?);
    let mut bound = Vec::with_capacity(addresses.len());
    for address in addresses {
        let listen = |source| Error::Listen { address: *address, source };
        let listener = net::listen(*address).await.map_err(listen)?;
        let local = listener.local_addr().map_err(listen)?;
        let socket = net::udp(local).await.map_err(listen)?;
        bound.push(local);
        let (udp, tcp) = (Arc::clone(&service), Arc::clone(&service));
        let (udp_stop, tcp_stop) = (shutdown.clone(), shutdown.clone());
        runtime.tasks.spawn("dns udp", async move { udp.udp(Arc::new(socket), udp_stop).await });
        runtime.tasks.spawn("dns tcp", async move { tcp.tcp(listener, tcp_stop).await });
    }
    Ok(Handle { addresses: bound, shutdown })
}

/// A domain answered for.
#[derive(Debug)]
struct Domain {
    name: Name,
    labels: Vec<String>,
}

impl Domain {
    fn new(text: &str) -> Option<Self> {
        let text = text.trim_matches('.').to_ascii_lowercase();
        let mut name = Name::from_str(&text).ok()?;
        name.set_fqdn(true);
        Some(Self { labels: labels(&name), name })
    }
}

fn labels(name: &Name) -> Vec<String> {
    name.iter().map(|label| String::from_utf8_lossy(label).to_ascii_lowercase()).collect()
}

/// Turns questions into responses.
#[derive(Debug)]
pub(super) struct Service {
    options: Options,
    main: Domain,
    domains: Vec<Domain>,
    router: Router,
    runtime: Runtime,
    reverse: Mutex<Option<(Instant, Arc<ReverseIndex>)>>,
}

#[derive(Debug, Default)]
struct ReverseIndex {
    nodes: HashMap<IpAddr, Vec<Reverse>>,
    services: HashMap<IpAddr, Vec<Reverse>>,
}

impl Service {
    /// # Errors
    /// A domain is no DNS name.
    pub(super) fn new(options: Options, router: Router, runtime: Runtime) -> Result<Self, Error> {
        let domain = |text: &str| Domain::new(text).ok_or_else(|| Error::Domain(text.to_owned()));
        let main = domain(&options.domain)?;
        let mut domains = vec![domain(&options.domain)?];
        if !options.alt_domain.trim_matches('.').is_empty() {
            domains.push(domain(&options.alt_domain)?);
        }
        // The longest match decides.
        domains.sort_by_key(|domain| std::cmp::Reverse(domain.labels.len()));
        Ok(Self { options, main, domains, router, runtime, reverse: Mutex::default() })
    }

    async fn udp(self: Arc<Self>, socket: Arc<UdpSocket>, shutdown: Shutdown) {
        let places = Arc::new(Semaphore::new(QUESTIONS_MAX));
        let mut buffer = vec![0; usize::from(u16::MAX)];
        loop {
            let Ok(place) = Arc::clone(&places).acquire_owned().await else { return };
            let received = tokio::select! {
                biased;
                () = shutdown.requested() => return,
                received = socket.recv_from(&mut buffer) => received,
            };
            // An error here is an earlier reply that could not be delivered.
            let Ok((length, from)) = received else { continue };
            let Some(request) = read(&buffer[..length]) else { continue };
            let (service, socket) = (Arc::clone(&self), Arc::clone(&socket));
            self.runtime.tasks.spawn("dns question", async move {
                if let Some(reply) = service.respond(&request, true).await
                    && let Err(error) = socket.send_to(&reply, from).await
                {
                    tracing::debug!(%from, %error, "cannot send a DNS response");
                }
                drop(place);
            });
        }
    }

    async fn tcp(self: Arc<Self>, listener: TcpListener, shutdown: Shutdown) {
        let places = Arc::new(Semaphore::new(CONNECTIONS_MAX));
        loop {
            let Ok(place) = Arc::clone(&places).acquire_owned().await else { return };
            let accepted = tokio::select! {
                biased;
                () = shutdown.requested() => return,
                accepted = listener.accept() => accepted,
            };
            let Ok((stream, from)) = accepted else {
                // Out of descriptors: give the others time to close theirs.
                crate::rt::clock::sleep(Duration::from_millis(50)).await;
                continue;
            };
            let (service, shutdown) = (Arc::clone(&self), shutdown.clone());
            self.runtime.tasks.spawn("dns connection", async move {
                tokio::select! {
                    biased;
                    () = shutdown.requested() => {}
                    ended = service.connection(stream) => if let Err(error) = ended {
                        tracing::debug!(%from, %error, "DNS connection ended");
                    },
                }
                drop(place);
            });
        }
    }

    /// Answers the questions of one connection, one after the other.
    async fn connection(&self, mut stream: TcpStream) -> std::io::Result<()> {
        let mut buffer = Vec::new();
        loop {
            let Ok(length) = timeout(IDLE, stream.read_u16()).await else { return Ok(()) };
            let length = match length {
                Err(error) if error.kind() == std::io::ErrorKind::UnexpectedEof => return Ok(()),
                other => other?,
            };
            buffer.resize(usize::from(length), 0);
            timeout(IDLE, stream.read_exact(&mut buffer)).await??;
            let Some(request) = read(&buffer) else { return Ok(()) };
            let Some(reply) = self.respond(&request, false).await else { return Ok(()) };
            let mut framed = Vec::with_capacity(reply.len() + 2);
            framed.extend_from_slice(&u16::try_from(reply.len()).unwrap_or(u16::MAX).to_be_bytes());
            framed.extend_from_slice(&reply);
            timeout(IDLE, stream.write_all(&framed)).await??;
        }
    }

    /// The response's bytes, or nothing when there is nothing to respond to.
    pub(super) async fn respond(&self, request: &Message, udp: bool) -> Option<Vec<u8>> {
        let began = self.runtime.clock.now();
        let sections = match timeout(DEADLINE, self.sections(request)).await {
            Ok(sections) => sections,
            Err(_) => Sections::only(ResponseCode::ServFail),
        };
        let transport = Transport { udp, edns: request.edns.as_ref() };
        let answer = answer::message(&request.metadata, &request.queries, sections, transport, &self.options);
        let is_reverse =
            request.queries.first().is_some_and(|it| it.name().iter().next_back().is_some_and(|last| last.eq_ignore_ascii_case(b"arpa")));
        let took = self.runtime.clock.now().saturating_duration_since(began).as_secs_f64() * 1e3;
        let name = if is_reverse { "dns.ptr_query" } else { "dns.domain_query" };
        telemetry::metrics().sample(name, &[("node", &self.options.node_name)], took);
        answer
    }

    async fn sections(&self, request: &Message) -> Sections {
        if !matches!(request.metadata.op_code, OpCode::Query | OpCode::Notify) {
            return Sections::only(ResponseCode::NotImp);
        }
        let [question] = request.queries.as_slice() else { return Sections::only(ResponseCode::FormErr) };
        let kind = question.query_type();
        if matches!(kind, RecordType::AXFR | RecordType::IXFR) {
            return Sections::only(ResponseCode::NotImp);
        }
        let asked = labels(question.name());
        let now = u32::try_from(self.runtime.clock.wall_ms() / 1_000).unwrap_or(u32::MAX);
        let scope = Scope { options: &self.options, domain: &self.main.name, owner: question.name(), kind, now };
        let looked_up = if let Some(address) = name::reverse(&asked) {
            self.reverse(scope, address).await
        } else {
            let found = self.domains.iter().find_map(|domain| Some((domain, name::within(&asked, &domain.labels)?)));
            let Some((domain, labels)) = found else { return Sections::only(ResponseCode::Refused) };
            self.lookup(Scope { domain: &domain.name, ..scope }, labels).await
        };
        looked_up.unwrap_or_else(|error| match error {
            rpc::Error::NoPathToDatacenter | rpc::Error::PermissionDenied | rpc::Error::NotFound(_) => scope.missing(),
            error => {
                tracing::warn!(name = %question.name(), %error, "cannot look up a DNS name");
                Sections::only(ResponseCode::ServFail)
            }
        })
    }

    async fn lookup(&self, scope: Scope<'_>, labels: &[String]) -> Result<Sections, rpc::Error> {
        if matches!(scope.kind, RecordType::NS | RecordType::SOA) {
            let instances = self.instances(SERVER_SERVICE, "").await?;
            let mut servers = answer::servers(&instances);
            self.runtime.rng.shuffle(&mut servers);
            return Ok(scope.zone(&servers));
        }
        match name::parse(labels, scope.kind == RecordType::SRV) {
            Target::Node { node, datacenter } => {
                let found = self.call(&datacenter, NodeServices { node }).await?;
                Ok(found.map_or_else(|| scope.missing(), |found| scope.node(&found.node)))
            }
            Target::Service { service, tag, datacenter } => {
                let instances = self.instances(&service, &datacenter).await?;
                Ok(scope.service(&service, &tag, &instances, &|order| self.runtime.rng.shuffle(order)))
            }
            Target::Address(address) => Ok(scope.literal(address)),
            Target::Unknown => Ok(scope.missing()),
        }
    }

    /// All instances of a service, shared with the servers' cache: tags and health are looked at here.
    async fn instances(&self, service: &str, datacenter: &str) -> Result<Arc<Vec<ServiceNode>>, rpc::Error> {
        self.call(datacenter, HealthServiceNodes { service: service.to_owned(), tags: Vec::new(), passing: false }).await
    }

    /// Asks any server when that is allowed, and the leader when the answer is too old.
    async fn call<O: TypedOperation + Clone>(&self, datacenter: &str, operation: O) -> Result<O::Reply, rpc::Error> {
        let request = |consistency| Request {
            datacenter: datacenter.to_owned(),
            token: self.options.token.clone(),
            options: QueryOptions { consistency, max_stale: Some(go::Duration::from(self.options.max_stale)), ..QueryOptions::default() },
            ..Request::default()
        };
        if self.options.allow_stale {
            let answer = self.router.call(request(Consistency::Stale), operation.clone()).await?;
            if answer.meta.last_contact_ms > STALE_MS {
                telemetry::metrics().incr("dns.stale_queries");
            }
            if u128::from(answer.meta.last_contact_ms) <= self.options.max_stale.as_millis() {
                return Ok(answer.value);
            }
        }
        Ok(self.router.call(request(Consistency::Default), operation).await?.value)
    }

    async fn reverse(&self, scope: Scope<'_>, address: Option<IpAddr>) -> Result<Sections, rpc::Error> {
        let Some(address) = address else { return Ok(scope.missing()) };
        let index = self.reverse_index().await?;
        let names = index.nodes.get(&address).or_else(|| index.services.get(&address));
        Ok(scope.reverse(names.map_or(&[], Vec::as_slice)))
    }

    /// Who has which address. Reading it costs the whole catalog, so it is kept for a moment and read by one at a time.
    async fn reverse_index(&self) -> Result<Arc<ReverseIndex>, rpc::Error> {
        let mut kept = self.reverse.lock().await;
        let now = self.runtime.clock.now();
        if let Some((read, index)) = kept.as_ref().filter(|(read, _)| now.duration_since(*read) < REVERSE_AGE) {
            tracing::trace!(age = ?now.duration_since(*read), "address index reused");
            return Ok(Arc::clone(index));
        }
        let mut index = ReverseIndex::default();
        let nodes: Vec<Node> = self.call("", Nodes {}).await?;
        for node in nodes {
            if let Ok(address) = node.address.parse() {
                let found = Reverse { name: node.name, kind: "node", datacenter: node.datacenter };
                index.nodes.entry(address).or_default().push(found);
            }
        }
        for service in self.call("", Services {}).await?.into_keys() {
            for instance in self.instances(&service, "").await?.iter() {
                let Ok(address) = instance.service.address.parse() else { continue };
                let found = Reverse { name: service.clone(), kind: "service", datacenter: instance.node.datacenter.clone() };
                let names = index.services.entry(address).or_default();
                if !names.contains(&found) {
                    names.push(found);
                }
            }
        }
        let index = Arc::new(index);
        *kept = Some((self.runtime.clock.now(), Arc::clone(&index)));
        Ok(index)
    }
}

/// A request, or nothing when the bytes are none.
fn read(bytes: &[u8]) -> Option<Message> {
    let message = Message::from_bytes(bytes).ok()?;
    (message.metadata.message_type == MessageType::Query).then_some(message)
}
