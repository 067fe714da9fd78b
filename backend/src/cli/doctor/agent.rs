//! A running agent, asked over its HTTP API, and the ports of the members it knows, tried from here.
//!
//! Asks only what reads. Contract: HTTP API, sections "Agent" and "Snapshot, operator"; cluster, sections "Raft" and "Gossip".

use std::{
    collections::{BTreeMap, BTreeSet},
    net::{IpAddr, SocketAddr},
    path::PathBuf,
    time::Duration,
};

use futures_util::StreamExt as _;
use serde::de::DeserializeOwned;
use serde_json::Value;
use shared::{
    agent::{GetSelf, Info, Member, status::ALIVE},
    endpoint::Endpoint,
};

use super::{Finding, disk, space};
use crate::{
    cli::client::{Client, Error, Target},
    rt::{Clock, clock, net},
};

/// Longest wait for one answer: an agent without a leader takes 7 s to say so.
const ANSWER: Duration = Duration::from_secs(12);
/// Longest wait for one port.
const PORT: Duration = Duration::from_secs(1);
/// Members whose ports are tried.
const MEMBERS_MAX: usize = 64;
/// Clocks further apart than this are told; they are read to a second.
const SKEW_MAX_S: i64 = 2;

/// What trying a port told.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Port {
    /// Somebody listens; over UDP: nobody refused.
    Open,
    /// Refused: nobody listens there.
    Closed,
    /// No answer at all.
    Silent,
}

/// The ports of one member.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Ports {
    pub(super) name: String,
    pub(super) gossip: SocketAddr,
    pub(super) tcp: Port,
    pub(super) udp: Port,
    /// The RPC port, of servers.
    pub(super) rpc: Option<(SocketAddr, Port)>,
}

/// A gossip keyring as the operator API lists it.
#[derive(Clone, Debug, Default, PartialEq, serde::Deserialize)]
#[serde(rename_all = "PascalCase", default)]
pub(super) struct Ring {
    #[serde(rename = "WAN")]
    pub(super) wan: bool,
    pub(super) keys: BTreeMap<String, u64>,
    pub(super) num_nodes: u64,
}

/// Everything that was seen.
#[derive(Clone, Debug)]
pub(super) struct Seen {
    /// The agent about itself, or why it does not answer.
    pub(super) own: Result<Info, String>,
    pub(super) members: Vec<Member>,
    /// RPC address of the leader; empty without one.
    pub(super) leader: String,
    /// RPC addresses of the servers in the Raft configuration.
    pub(super) peers: Vec<String>,
    pub(super) rings: Vec<Ring>,
    pub(super) ports: Vec<Ports>,
    /// Seconds each agent's clock is ahead of this machine's, by name.
    pub(super) clocks: BTreeMap<String, i64>,
    /// Free and all bytes of the data directory, when it is on this machine.
    pub(super) space: Option<(PathBuf, u64, u64)>,
}

impl Seen {
    /// Nothing but what the agent says of itself.
    pub(super) fn only(own: Result<Info, String>) -> Self {
        let (members, peers, rings, ports) = (Vec::new(), Vec::new(), Vec::new(), Vec::new());
        Self { own, members, leader: String::new(), peers, rings, ports, clocks: BTreeMap::new(), space: None }
    }
}

/// A path that is read as JSON, whatever it holds.
struct Get(&'static str);

impl Endpoint for Get {
    type Reply = Value;
    const METHOD: &'static str = "GET";

    fn path(&self) -> String {
        self.0.to_owned()
    }
}

async fn get<T: DeserializeOwned + Default>(client: &Client, path: &'static str) -> T {
    match clock::timeout(ANSWER, client.call(&Get(path))).await {
        Ok(Ok(value)) => serde_json::from_value(value).unwrap_or_default(),
        // What it does not tell cannot be judged; what matters shows in the other answers.
        _ => T::default(),
    }
}

/// Looks at the agent that `client` calls.
pub(super) async fn look(client: &Client) -> Seen {
    let own = match clock::timeout(ANSWER, client.call(&GetSelf)).await {
        Ok(answer) => answer.map_err(|why: Error| why.to_string()),
        Err(_) => Err(format!("no answer within {} s", ANSWER.as_secs())),
    };
    let Ok(info) = &own else { return Seen::only(own) };
    let members: Vec<Member> = get(client, "agent/members").await;
    let (leader, peers, rings) =
        tokio::join!(get(client, "status/leader"), get(client, "status/peers?stale"), get(client, "operator/keyring?local-only=false"));
    let own_name = info.member.name.clone();
    let others = members.iter().filter(|member| member.name != own_name && member.status != 3).take(MEMBERS_MAX).cloned();
    let ports = futures_util::stream::iter(others).map(ports).buffer_unordered(8).filter_map(|found| async { found }).collect().await;
    let mut clocks = BTreeMap::new();
    clocks.extend(ahead(client).await.map(|seconds| (own_name.clone(), seconds)));
    for server in members.iter().filter(|member| member.is_server() && member.status == ALIVE && member.name != own_name) {
        let url = format!("http://{}", SocketAddr::new(server.addr.parse().unwrap_or(IpAddr::from([127, 0, 0, 1])), client.port()));
        if let Ok(other) = Client::new(Target::at(&url))
            && let Some(seconds) = ahead(&other).await
        {
            clocks.insert(server.name.clone(), seconds);
        }
    }
    let space = data_dir(info).and_then(|path| space(&path).map(|(free, all)| (path, free, all)));
    Seen { members, leader, peers, rings, ports, clocks, space, own }
}

/// The agent's data directory, if it is this machine's: it holds that agent's id, or, as an id that is configured is kept nowhere, the
/// agent has an address of this machine.
fn data_dir(info: &Info) -> Option<PathBuf> {
    let path = PathBuf::from(info.debug_config.get("data_dir")?.as_str()?);
    let kept = std::fs::read_to_string(path.join("node-id")).unwrap_or_default();
    let is_its_own = info.config.get("NodeID").and_then(Value::as_str) == Some(kept.trim());
    (is_its_own || path.is_dir() && is_here(&info.member.addr)).then_some(path)
}

/// Whether an address is one of this machine's.
fn is_here(address: &str) -> bool {
    let Ok(ip) = address.parse::<IpAddr>() else { return false };
    ip.is_loopback() || if_addrs::get_if_addrs().is_ok_and(|own| own.iter().any(|interface| interface.ip() == ip))
}

/// Seconds the agent's clock is ahead of this machine's.
async fn ahead(client: &Client) -> Option<i64> {
    let date = clock::timeout(PORT, client.date()).await.ok()?.ok()??;
    let here = i64::try_from(Clock::system().wall_ms() / 1000).ok()?;
    Some(seconds(&date)? - here)
}

/// Seconds since 1970 of an HTTP date, `Mon, 23 Nov 2026 01:22:09 GMT`.
pub(super) fn seconds(date: &str) -> Option<i64> {
    const MONTHS: &str = "JanFebMarAprMayJunJulAugSepOctNovDec";
    let mut words = date.split_once(", ")?.1.split([' ', ':']);
    let day: i64 = words.next()?.parse().ok()?;
    let month = i64::try_from(MONTHS.find(words.next()?)? / 3).ok()? + 1;
    let year: i64 = words.next()?.parse().ok()?;
    let mut clock = [0; 3];
    for part in &mut clock {
        *part = words.next()?.parse::<i64>().ok()?;
    }
    // Days since 1970, counting years from March so that a leap day is a year's last.
    let (year, month) = if month > 2 { (year, month - 3) } else { (year - 1, month + 9) };
    let days = year * 365 + year / 4 - year / 100 + year / 400 + (month * 153 + 2) / 5 + day - 1 - 719_468;
    Some(days * 86_400 + clock[0] * 3600 + clock[1] * 60 + clock[2])
}

async fn ports(member: Member) -> Option<Ports> {
    let ip: IpAddr = member.addr.parse().ok()?;
    let gossip = SocketAddr::new(ip, member.port);
    let rpc = member.rpc_address().filter(|_| member.is_server());
    let (tcp, udp) = tokio::join!(tcp(gossip), udp(gossip));
    let rpc = match rpc {
        Some(address) => Some((address, self::tcp(address).await)),
        None => None,
    };
    Some(Ports { name: member.name, gossip, tcp, udp, rpc })
}

async fn tcp(address: SocketAddr) -> Port {
    match clock::timeout(PORT, net::TcpStream::connect(address)).await {
        Ok(Ok(_)) => Port::Open,
        Ok(Err(_)) => Port::Closed,
        Err(_) => Port::Silent,
    }
}

/// Gossip answers only its own datagrams; but a port nobody listens on refuses any, as far as no firewall swallows that.
async fn udp(address: SocketAddr) -> Port {
    let any: IpAddr = if address.is_ipv4() { IpAddr::from([0; 4]) } else { IpAddr::from([0; 16]) };
    let probe = async {
        let socket = net::udp(SocketAddr::new(any, 0)).await?;
        socket.connect(address).await?;
        socket.send(&[0]).await?;
        socket.recv(&mut [0; 8]).await
    };
    match clock::timeout(PORT / 4, probe).await {
        Ok(Err(_)) => Port::Closed,
        Ok(Ok(_)) | Err(_) => Port::Open,
    }
}

/// What that means.
pub(super) fn judge(seen: &Seen) -> Vec<Finding> {
    let info = match &seen.own {
        Ok(info) => info,
        Err(why) => {
            let next = "Is the agent running, and is this its address? Set -http-addr, or look into its data directory: muster doctor DIR.";
            return vec![Finding::problem(format!("The agent does not answer: {why}."), next)];
        }
    };
    let text = |key: &str| info.config.get(key).and_then(Value::as_str).unwrap_or_default();
    let role = if info.config.get("Server") == Some(&Value::Bool(true)) { "server" } else { "client agent" };
    let mut findings = vec![Finding::ok(format!("{} answers: a {role} of datacenter {}.", text("NodeName"), text("Datacenter")))];
    findings.extend(quorum(seen));
    findings.extend(seen.members.iter().filter(|member| member.is_server() && member.status == ALIVE).filter_map(failed));
    findings.extend(members(seen));
    findings.extend(expectations(seen));
    findings.extend(versions(seen));
    findings.extend(seen.ports.iter().flat_map(unreachable));
    findings.extend(seen.rings.iter().flat_map(ring));
    findings.extend(clocks(&seen.clocks));
    findings.extend(seen.space.iter().map(|(path, free, all)| disk(*free, *all, path)));
    findings
}

/// The RPC address of a server, as Raft names it.
fn rpc_address(member: &Member) -> String {
    let port = member.tags.get("port").and_then(|port| port.parse().ok()).unwrap_or(8300);
    member.addr.parse().map_or_else(|_| member.addr.clone(), |ip: IpAddr| SocketAddr::new(ip, port).to_string())
}

fn quorum(seen: &Seen) -> Option<Finding> {
    let servers: Vec<&Member> = seen.members.iter().filter(|member| member.is_server()).collect();
    let alive: BTreeSet<String> = servers.iter().filter(|member| member.status == ALIVE).map(|member| rpc_address(member)).collect();
    // Gossip takes a while to miss somebody; where nobody leads, who refuses is not there either.
    let is_there = |peer: &String| alive.contains(peer) && (!seen.leader.is_empty() || !refuses(seen, peer));
    let missing: Vec<String> = seen.peers.iter().filter(|peer| !is_there(peer)).map(|peer| named(&servers, peer)).collect();
    let (all, needed) = (seen.peers.len(), seen.peers.len() / 2 + 1);
    let reached = all - missing.len();
    let missing = missing.join(", ");
    if !seen.leader.is_empty() {
        let leader = named(&servers, &seen.leader);
        return Some(match all - reached {
            0 => Finding::ok(format!("{leader} leads {all} server(s).")),
            lost if reached == needed => Finding::warning(
                format!("{leader} leads, but {lost} of {all} servers are missing: {missing}. If one more fails, nothing can be written."),
                "Start the missing servers again, or replace them: add new ones, then `muster operator raft remove-peer` the old.",
            ),
            lost => Finding::warning(
                format!("{leader} leads; {lost} of {all} servers are missing: {missing}."),
                "Start the missing servers again.",
            ),
        });
    }
    if all == 0 && servers.is_empty() {
        return Some(Finding::problem(
            "This agent knows no server.",
            "Let it join one: `muster join ADDRESS`, and set retry_join so that it finds one by itself. Where that is set, the agent's log says \
             why nobody let it in (\"join failed\"): an address that cannot be reached, another datacenter, or another gossip key (encrypt).",
        ));
    }
    if all == 0 && servers.iter().all(|server| refuses(seen, &rpc_address(server))) {
        let names: Vec<&str> = servers.iter().map(|server| server.name.as_str()).collect();
        return Some(Finding::problem(
            format!("None of the servers answers: {}.", names.join(", ")),
            "Start them again: a cluster that was formed comes back by itself once more than half of its servers run.",
        ));
    }
    Some(if all == 0 {
        let next =
            "A new cluster waits for bootstrap_expect servers; look at how many are there. For a lone server set bootstrap_expect to 1.";
        Finding::problem(format!("Nobody leads, and no cluster was formed yet; {} server(s) are there.", alive.len()), next)
    } else if reached < needed {
        Finding::problem(
            format!("The quorum is lost: {reached} of {all} servers can be reached and {needed} are needed. Missing: {missing}."),
            "Start the missing servers again. If they are lost for good, stop the others, put a peers.json that names only them into each \
             one's raft directory, and start them.",
        )
    } else {
        let next = "Wait some seconds and look again. If it stays, the servers do not reach each other's RPC port: look at their logs.";
        Finding::problem(format!("Nobody leads, although {reached} of {all} servers are there."), next)
    })
}

/// A server that runs, but whose disk failed, as it tells the others.
fn failed(member: &Member) -> Option<Finding> {
    let reason = member.tags.get(shared::agent::FAILURE_TAG)?;
    let next = "Make room or replace the disk, then restart that server; until then it answers stale reads only.";
    Some(Finding::problem(format!("The disk of {} failed, so it takes no part: {reason}.", member.name), next))
}

/// Whether nobody listens on this RPC address.
fn refuses(seen: &Seen, address: &str) -> bool {
    seen.ports.iter().filter_map(|ports| ports.rpc).any(|(rpc, port)| port == Port::Closed && rpc.to_string() == address)
}

/// A server by its name where gossip knows it.
fn named(servers: &[&Member], address: &str) -> String {
    let found = servers.iter().find(|member| rpc_address(member) == address);
    found.map_or_else(|| address.to_owned(), |member| format!("{} ({address})", member.name))
}

fn members(seen: &Seen) -> Vec<Finding> {
    let names = |status| {
        let of = seen.members.iter().filter(|member| member.status == status && !member.is_server()).map(|member| member.name.as_str());
        of.take(10).collect::<Vec<_>>().join(", ")
    };
    let alive = seen.members.iter().filter(|member| member.status == ALIVE).count();
    let mut findings = vec![Finding::ok(format!("{alive} of {} members are alive.", seen.members.len()))];
    let failed = names(4);
    if !failed.is_empty() {
        let next = "Start them again. If they are gone for good: `muster force-leave NAME`.";
        findings.push(Finding::warning(format!("Client agents have failed: {failed}."), next));
    }
    findings
}

/// Servers by the value of a tag.
fn by_tag(seen: &Seen, tag: &str) -> BTreeMap<String, Vec<String>> {
    let mut found: BTreeMap<String, Vec<String>> = BTreeMap::new();
    for member in seen.members.iter().filter(|member| member.is_server() && member.status == ALIVE) {
        if let Some(value) = member.tags.get(tag) {
            found.entry(value.clone()).or_default().push(member.name.clone());
        }
    }
    found
}

fn groups(found: &BTreeMap<String, Vec<String>>) -> String {
    found.iter().map(|(value, names)| format!("{value} on {}", names.join(", "))).collect::<Vec<_>>().join("; ")
}

fn expectations(seen: &Seen) -> Vec<Finding> {
    let mut findings = Vec::new();
    let expect = by_tag(seen, "expect");
    if expect.len() > 1 {
        let next = "Set the same bootstrap_expect on every server; it matters only until the cluster is formed.";
        findings.push(Finding::warning(format!("Servers expect different numbers of servers: {}.", groups(&expect)), next));
    }
    if let Some(names) = by_tag(seen, "bootstrap").get("1").filter(|names| names.len() > 1) {
        let next = "Start only the first server with -bootstrap; the others with -retry-join and without it.";
        findings.push(Finding::problem(format!("Several servers were started with -bootstrap: {}.", names.join(", ")), next));
    }
    let ids = by_tag(seen, "id");
    for (id, names) in ids.iter().filter(|(_, names)| names.len() > 1) {
        let next = "One machine is a copy of the other: stop it, remove node-id and raft from its data directory, start it again.";
        findings.push(Finding::problem(format!("{} have the same node id {id}.", names.join(" and ")), next));
    }
    findings
}

fn versions(seen: &Seen) -> Option<Finding> {
    let found = by_tag(seen, "muster");
    let next = "That is right during an upgrade. Bring all servers to one version, the leader last.";
    (found.len() > 1).then(|| Finding::warning(format!("Servers have different versions: {}.", groups(&found)), next))
}

fn unreachable(ports: &Ports) -> Vec<Finding> {
    let mut findings = Vec::new();
    let word = |port: Port| if port == Port::Closed { "refuses" } else { "does not answer" };
    let (name, gossip) = (&ports.name, ports.gossip);
    if ports.tcp != Port::Open || ports.udp != Port::Open {
        let broken: Vec<String> = [("TCP", ports.tcp), ("UDP", ports.udp)]
            .iter()
            .filter(|(_, port)| *port != Port::Open)
            .map(|(kind, port)| format!("{kind} {}", word(*port)))
            .collect();
        let next = "Is the agent running? If so, let TCP and UDP through between all members (firewall), and check advertise_addr.";
        findings.push(Finding::problem(
            format!("The gossip port {gossip} of {name} cannot be reached from here: {}.", broken.join(", ")),
            next,
        ));
    }
    if let Some((address, port)) = ports.rpc.filter(|(_, port)| *port != Port::Open) {
        let next = "Servers and clients need it: is the server running, is the port open between them?";
        findings.push(Finding::problem(format!("The RPC port {address} of {name} {}.", word(port)), next));
    }
    findings
}

fn ring(ring: &Ring) -> Vec<Finding> {
    let pool = if ring.wan { "WAN" } else { "LAN" };
    let partial = ring.keys.iter().filter(|(_, nodes)| **nodes < ring.num_nodes);
    let shortened = |key: &str| key.chars().take(6).collect::<String>();
    partial
        .map(|(key, nodes)| {
            let what = format!("The {pool} gossip key {}… is on {nodes} of {} members only.", shortened(key), ring.num_nodes);
            Finding::warning(
                what,
                "Install it everywhere with `muster keyring -install`, or remove it with -remove once no member uses it.",
            )
        })
        .collect()
}

fn clocks(clocks: &BTreeMap<String, i64>) -> Option<Finding> {
    let (low, high) = (clocks.iter().min_by_key(|(_, ahead)| **ahead)?, clocks.iter().max_by_key(|(_, ahead)| **ahead)?);
    let apart = high.1 - low.1;
    let next = "Turn on time synchronisation (chrony, systemd-timesyncd). Raft does not need it; sessions' times, logs and tokens do.";
    Some(if apart > SKEW_MAX_S {
        Finding::warning(format!("The clocks of {} and {} are {apart} s apart.", low.0, high.0), next)
    } else if high.1.abs() > SKEW_MAX_S {
        Finding::warning(format!("The clock of {} and this machine's are {} s apart.", high.0, high.1.abs()), next)
    } else {
        Finding::ok(format!("Clocks agree ({}).", clocks.keys().cloned().collect::<Vec<_>>().join(", ")))
    })
}
