//! `demo`: a development agent with believable services on real local listeners, some of them ill, and a filled
//! key/value store. Everything is registered over the agent's own HTTP API; no history is invented, nothing is left
//! behind.
//!
//! Contract: health checks, section "External nodes", for the nodes without an agent.

use std::{collections::BTreeMap, net::IpAddr, time::Duration};

use serde::Deserialize;
use serde_json::{Map, Value, json};
use shared::{
    agent::{CheckUpdate, RegisterService, ServiceRegistration, SetServiceMaintenance, UpdateCheck},
    catalog::{Register, Registration},
    check::{Check, CheckDefinition},
    go,
    health::Status,
    kv::Put,
    service::Service,
};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};

use super::{
    agent::{api, dashboard, keep_metrics},
    args::Args,
    client::{Client, Target},
    print::Print,
    signal, validate,
};
use crate::{
    config::{Config, Invocation},
    rt::{Clock, Runtime, clock, net},
    telemetry,
};

const SERVICES: &str = include_str!("../../../assets/examples/demo/services.json");
const NODES: &str = include_str!("../../../assets/examples/demo/nodes.json");
const KEYS: &str = include_str!("../../../assets/examples/demo/keys.json");

/// A service of the demonstration.
#[derive(Clone, Debug, Deserialize)]
struct Story {
    name: String,
    group: String,
    team: String,
    tags: Vec<String>,
    instances: u16,
    /// `http`, `tcp` or `ttl`.
    check: String,
    behaviour: Behaviour,
    interval: String,
    version: String,
    #[serde(default)]
    note: String,
    /// How many instances behave so; all of them when absent.
    ill: Option<u16>,
    /// Why its last instance is in maintenance.
    #[serde(default)]
    maintenance: String,
}

/// How an instance fares.
#[derive(Clone, Copy, Debug, Deserialize, PartialEq, Eq)]
#[serde(rename_all = "lowercase")]
enum Behaviour {
    /// Well.
    Steady,
    /// With a warning.
    Warning,
    /// It answers that it is broken.
    Failing,
    /// Now well, now broken.
    Flapping,
    /// Nobody listens.
    Dead,
}

/// A machine without an agent.
#[derive(Clone, Debug, Deserialize)]
struct External {
    node: String,
    address: String,
    meta: BTreeMap<String, String>,
    service: ExternalService,
    status: String,
    output: String,
}

#[derive(Clone, Debug, Deserialize)]
struct ExternalService {
    name: String,
    port: i64,
    tags: Vec<String>,
    meta: BTreeMap<String, String>,
}

impl Story {
    fn behaviour_of(&self, instance: u16) -> Behaviour {
        let well = self.ill.is_some_and(|ill| instance + ill < self.instances);
        if well { Behaviour::Steady } else { self.behaviour }
    }

    fn id(&self, instance: u16) -> String {
        format!("{}-{}", self.name, instance + 1)
    }

    fn registration(&self, instance: u16, ip: IpAddr, port: u16) -> ServiceRegistration {
        let id = self.id(instance);
        let at = std::net::SocketAddr::new(ip, port);
        let mut check = CheckDefinition { id: format!("{id}:{}", self.check), ..CheckDefinition::default() };
        let interval = self.interval.parse().unwrap_or(go::Duration::from_secs(10));
        match self.check.as_str() {
            "ttl" => {
                check.name = "Heartbeat".to_owned();
                check.ttl = go::Duration::from_secs(60);
            }
            "tcp" => {
                check.name = "Accepts connections".to_owned();
                check.tcp = at.to_string();
            }
            _ => {
                check.name = "Health endpoint".to_owned();
                check.http = format!("http://{at}/health");
            }
        }
        if self.check != "ttl" {
            check.interval = interval;
            check.timeout = go::Duration::from_secs(2);
        }
        let meta = [("group", &self.group), ("team", &self.team), ("version", &self.version)];
        ServiceRegistration {
            id,
            name: self.name.clone(),
            tags: self.tags.clone(),
            address: ip.to_string(),
            port: i64::from(port),
            meta: meta.into_iter().map(|(key, value)| (key.to_owned(), value.clone())).collect(),
            check: Some(check),
            ..ServiceRegistration::default()
        }
    }
}

/// How long a flapping instance stays as it is.
const SPELL_MS: u64 = 45_000;

/// Status line and body of an instance's health endpoint at a moment. `shift` keeps instances from flapping in step.
fn health(behaviour: Behaviour, note: &str, now_ms: u64, shift: u64) -> (&'static str, String) {
    let is_well = match behaviour {
        Behaviour::Steady => true,
        Behaviour::Flapping => ((now_ms + shift) / SPELL_MS).is_multiple_of(2),
        Behaviour::Warning => return ("429 Too Many Requests", json!({"status": "degraded", "reason": note}).to_string()),
        Behaviour::Failing | Behaviour::Dead => false,
    };
    if is_well {
        ("200 OK", json!({"status": "ok"}).to_string())
    } else {
        ("503 Service Unavailable", json!({"status": "error", "reason": note}).to_string())
    }
}

/// One instance's listener.
struct Instance {
    behaviour: Behaviour,
    note: String,
    shift: u64,
    clock: Clock,
}

impl Instance {
    async fn serve(self, listener: net::TcpListener) {
        // One connection at a time: who calls is this machine's own agent.
        while let Ok((stream, _)) = listener.accept().await {
            let _ = clock::timeout(Duration::from_secs(2), self.answer(stream)).await;
        }
    }

    async fn answer(&self, mut stream: net::TcpStream) -> std::io::Result<()> {
        let mut request = [0; 4096];
        let mut length = 0;
        while length < request.len() && !request[..length].ends_with(b"\r\n\r\n") {
            match stream.read(&mut request[length..]).await? {
                0 => return Ok(()),
                more => length += more,
            }
        }
        let (status, body) = health(self.behaviour, &self.note, self.clock.wall_ms(), self.shift);
        let head =
            format!("HTTP/1.1 {status}\r\nContent-Type: application/json\r\nContent-Length: {}\r\nConnection: close\r\n\r\n", body.len());
        stream.write_all(head.as_bytes()).await?;
        stream.write_all(body.as_bytes()).await?;
        stream.shutdown().await
    }
}

/// How much was set up.
#[derive(Debug, Default)]
struct Made {
    services: usize,
    instances: usize,
    nodes: usize,
    keys: usize,
}

/// `demo`.
pub(super) fn demo(args: &Args, print: &mut Print) -> u8 {
    let config = match configuration(args) {
        Ok(config) => config,
        Err(why) => {
            print.say(format!("==> {why}"));
            return 1;
        }
    };
    match tokio::runtime::Builder::new_multi_thread().enable_all().build() {
        Ok(runtime) => runtime.block_on(run(config, print)),
        Err(why) => {
            print.say(format!("==> {why}"));
            1
        }
    }
}

fn configuration(args: &Args) -> Result<Config, String> {
    let mut flags = Map::new();
    let bind = args.get("bind").unwrap_or("127.0.0.1");
    for key in ["bind_addr", "client_addr"] {
        flags.insert(key.to_owned(), bind.into());
    }
    flags.insert("log_level".to_owned(), args.get("log-level").unwrap_or("warn").into());
    flags.insert("node_name".to_owned(), "demo".into());
    // What ails a service shows at once, not after five minutes.
    flags.insert("check_update_interval".to_owned(), "2s".into());
    if let Some(port) = args.get("http-port") {
        let port: u16 = port.parse().map_err(|_| format!("invalid value {port:?} for flag -http-port"))?;
        flags.insert("ports".to_owned(), json!({ "http": port }));
    }
    let invocation = Invocation { dev: true, flags, machine: validate::machine(), ..Invocation::default() };
    invocation.load().map_err(|why| why.to_string())
}

async fn run(config: Config, print: &mut Print) -> u8 {
    let level = config.log_level.parse().unwrap_or(telemetry::Level::Warn);
    telemetry::init(level, false, Box::new(std::io::stderr()));
    let runtime = Runtime::system();
    keep_metrics(&config, &runtime);
    print.say("Starting a development agent and its services ...");
    let mut signals = match signal::Signals::watch() {
        Ok(signals) => signals,
        Err(why) => {
            print.say(format!("==> {why}"));
            return 1;
        }
    };
    let agent = match crate::agent::start(config.clone(), runtime.clone()).await {
        Ok(agent) => agent,
        Err(why) => {
            print.say(format!("==> {why}"));
            print.say("Another agent may be running here: try -bind=127.0.0.2");
            return 1;
        }
    };
    agent.wait_for_leader(Duration::from_secs(10)).await;
    let filled = tokio::select! {
        biased;
        _ = signals.next_end() => None,
        filled = fill(&config, &runtime) => Some(filled),
    };
    let code = match filled {
        None => 0,
        Some(Ok((made, client))) => {
            runtime.tasks.spawn_until_shutdown("heartbeats", heartbeats(client, stories()));
            print.line(welcome(&config, &made));
            tokio::select! {
                biased;
                _ = signals.next_end() => {}
                () = agent.leave_requested() => {}
            }
            0
        }
        Some(Err(why)) => {
            print.say(format!("==> {why}"));
            1
        }
    };
    tokio::select! {
        biased;
        _ = signals.next_end() => 1,
        _ = agent.stop() => code,
    }
}

fn stories() -> Vec<Story> {
    serde_json::from_str(SERVICES).expect("a test reads the embedded services")
}

/// Starts the listeners and registers everything.
async fn fill(config: &Config, runtime: &Runtime) -> Result<(Made, Client), String> {
    let url = api(config).ok_or("the demonstration needs the HTTP API on a port")?;
    let client = Client::new(Target::at(&url))?;
    let mut made = Made::default();
    for (key, value) in serde_json::from_str::<Map<String, Value>>(KEYS).map_err(|why| why.to_string())? {
        let value = value.as_str().unwrap_or_default().as_bytes().to_vec();
        client.call(&Put { key, value, ..Put::default() }).await.map_err(|why| why.to_string())?;
        made.keys += 1;
    }
    for external in serde_json::from_str::<Vec<External>>(NODES).map_err(|why| why.to_string())? {
        client.call(&register(external)).await.map_err(|why| why.to_string())?;
        made.nodes += 1;
    }
    for story in stories() {
        for instance in 0..story.instances {
            let port =
                listen(&story, instance, config.bind_addr, runtime).await.map_err(|why| format!("listener of {}: {why}", story.name))?;
            let registration = story.registration(instance, config.bind_addr, port);
            let call = RegisterService { registration, ..RegisterService::default() };
            client.call(&call).await.map_err(|why| format!("registering {}: {why}", story.name))?;
            made.instances += 1;
        }
        if let (false, Some(last)) = (story.maintenance.is_empty(), story.instances.checked_sub(1)) {
            let call = SetServiceMaintenance { id: story.id(last), enable: true, reason: story.maintenance.clone(), ..Default::default() };
            client.call(&call).await.map_err(|why| why.to_string())?;
        }
        made.services += 1;
    }
    Ok((made, client))
}

/// Starts an instance's listener; answers its port. A dead one had a port once.
async fn listen(story: &Story, instance: u16, ip: IpAddr, runtime: &Runtime) -> std::io::Result<u16> {
    let listener = net::listen((ip, 0).into()).await?;
    let port = listener.local_addr()?.port();
    let behaviour = story.behaviour_of(instance);
    if behaviour != Behaviour::Dead {
        let shift = story.name.bytes().map(u64::from).sum::<u64>() * 997 + u64::from(instance) * SPELL_MS / 3;
        let one = Instance { behaviour, note: story.note.clone(), shift, clock: runtime.clock };
        runtime.tasks.spawn_until_shutdown("demo listener", one.serve(listener));
    }
    Ok(port)
}

fn register(external: External) -> Register {
    let mut meta = external.meta;
    meta.insert("external-node".to_owned(), "true".to_owned());
    let (node, service) = (external.node, external.service);
    let id = format!("{}@{node}", service.name);
    let check = Check {
        node: node.clone(),
        id: format!("{id}:probe"),
        name: "External probe".to_owned(),
        status: Status::from(external.status.as_str()),
        output: external.output,
        service_id: id.clone(),
        service_name: service.name.clone(),
        ..Check::default()
    };
    let service = Service { id, name: service.name, port: service.port, tags: service.tags, meta: service.meta, ..Service::default() };
    let registration = Registration {
        node,
        address: external.address,
        node_meta: meta,
        service: Some(service),
        checks: vec![check],
        ..Registration::default()
    };
    Register { registration }
}

/// Reports for the services that report by themselves.
async fn heartbeats(client: Client, stories: Vec<Story>) {
    let mut ticks = clock::interval(Duration::from_secs(20));
    loop {
        ticks.tick().await;
        for story in stories.iter().filter(|story| story.check == "ttl") {
            for instance in 0..story.instances {
                let status = if story.behaviour_of(instance) == Behaviour::Steady { Status::PASSING } else { Status::WARNING };
                let update = CheckUpdate { status: status.as_str().to_owned(), output: story.note.clone() };
                let call = UpdateCheck { id: format!("{}:ttl", story.id(instance)), update };
                if let Err(why) = client.call(&call).await {
                    tracing::debug!(target: "agent", service = story.name, error = %why, "heartbeat not delivered");
                }
            }
        }
    }
}

fn welcome(config: &Config, made: &Made) -> String {
    let api = api(config).unwrap_or_default();
    let dns = config.addresses.dns.first().map(|dns| format!("@{} -p {}", dns.ip(), dns.port())).unwrap_or_default();
    let flag = if api.ends_with("//127.0.0.1:8500") { String::new() } else { format!(" -http-addr={api}") };
    format!(
        "\n{} services, {} instances, {} external nodes, {} keys.\n\n    Dashboard: {}\n\n          Try: muster catalog services -tags{flag}\n\
         {:15}dig {dns} checkout.service.consul SRV\n{:15}curl '{api}/v1/health/service/payments?passing'\n\n\
         Some services are ill on purpose. Ctrl-C ends everything; nothing is left behind.",
        made.services,
        made.instances,
        made.nodes,
        made.keys,
        dashboard(config).unwrap_or_default(),
        "",
        "",
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_embedded_data_tells_a_believable_story() {
        let stories = stories();
        let count = |behaviour| stories.iter().filter(|story| story.behaviour == behaviour).count();
        assert!(stories.len() >= 40);
        assert!(count(Behaviour::Failing) >= 2 && count(Behaviour::Flapping) >= 2 && count(Behaviour::Warning) >= 1);
        assert_eq!(stories.iter().filter(|story| !story.maintenance.is_empty()).count(), 1);
        let names: std::collections::BTreeSet<_> = stories.iter().map(|story| &story.name).collect();
        assert_eq!(names.len(), stories.len());
        for story in &stories {
            assert!(shared::name::is_dns_label(&story.name) && story.instances > 0, "{}", story.name);
            assert!(story.ill.is_none_or(|ill| ill <= story.instances), "{}", story.name);
            assert!(["http", "tcp", "ttl"].contains(&story.check.as_str()), "{}", story.name);
            story.interval.parse::<go::Duration>().expect("a duration");
        }
        let nodes: Vec<External> = serde_json::from_str(NODES).expect("external nodes");
        assert!(nodes.iter().all(|node| Status::from(node.status.as_str()).is_known()));
        let keys: BTreeMap<String, String> = serde_json::from_str(KEYS).expect("keys with text values");
        assert!(keys.len() >= 50);
    }

    #[test]
    fn a_flapping_instance_changes_by_the_clock() {
        let at = |now_ms| health(Behaviour::Flapping, "why", now_ms, 0).0;
        assert_eq!((at(0), at(SPELL_MS), at(2 * SPELL_MS)), ("200 OK", "503 Service Unavailable", "200 OK"));
        assert_eq!(health(Behaviour::Warning, "why", 0, 0).0, "429 Too Many Requests");
        assert_eq!(health(Behaviour::Failing, "why", 0, 0).1, "{\"reason\":\"why\",\"status\":\"error\"}");
    }

    #[test]
    fn only_the_last_instances_are_ill() {
        let mut story = stories().remove(0);
        (story.instances, story.ill, story.behaviour) = (3, Some(1), Behaviour::Failing);
        assert_eq!([0, 1, 2].map(|at| story.behaviour_of(at)), [Behaviour::Steady, Behaviour::Steady, Behaviour::Failing]);
        story.ill = None;
        assert_eq!(story.behaviour_of(0), Behaviour::Failing);
    }
}
