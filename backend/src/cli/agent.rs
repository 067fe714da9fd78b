//! `agent`: flags and files become a configuration, the configuration an agent that runs until it is told to stop.
//!
//! Contract: command line, section "agent command".

use std::{
    io::{self, Write},
    path::PathBuf,
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use serde_json::{Map, Value};

use super::{
    args::{Args, Error as ArgsError, pair},
    keygen::VERSION,
    print::Print,
    signal::{Signals, Told},
    validate,
};
use crate::{
    agent::Agent,
    config::{Config, Invocation, Listen},
    rt::{Clock, Runtime},
    telemetry,
};

/// How a flag becomes a key.
#[derive(Clone, Copy)]
enum As {
    Text,
    Int,
    Bool,
    List,
    Pairs,
}

/// Flags and the keys they stand for, where the name differs by more than dashes.
const KEYS: &[(&str, &str, As)] = &[
    ("advertise", "advertise_addr", As::Text),
    ("advertise-wan", "advertise_addr_wan", As::Text),
    ("allow-write-http-from", "http_config.allow_write_http_from", As::List),
    ("alt-domain", "alt_domain", As::Text),
    ("bind", "bind_addr", As::Text),
    ("bootstrap", "bootstrap", As::Bool),
    ("bootstrap-expect", "bootstrap_expect", As::Int),
    ("check_output_max_size", "check_output_max_size", As::Int),
    ("client", "client_addr", As::Text),
    ("data-dir", "data_dir", As::Text),
    ("datacenter", "datacenter", As::Text),
    ("default-query-time", "default_query_time", As::Text),
    ("disable-host-node-id", "disable_host_node_id", As::Bool),
    ("disable-keyring-file", "disable_keyring_file", As::Bool),
    ("dns-port", "ports.dns", As::Int),
    ("domain", "domain", As::Text),
    ("enable-local-script-checks", "enable_local_script_checks", As::Bool),
    ("enable-script-checks", "enable_script_checks", As::Bool),
    ("encrypt", "encrypt", As::Text),
    ("grpc-port", "ports.grpc", As::Int),
    ("grpc-tls-port", "ports.grpc_tls", As::Int),
    ("http-port", "ports.http", As::Int),
    ("https-port", "ports.https", As::Int),
    ("join", "start_join", As::List),
    ("join-wan", "start_join_wan", As::List),
    ("log-file", "log_file", As::Text),
    ("log-json", "log_json", As::Bool),
    ("log-level", "log_level", As::Text),
    ("log-rotate-bytes", "log_rotate_bytes", As::Int),
    ("log-rotate-duration", "log_rotate_duration", As::Text),
    ("log-rotate-max-files", "log_rotate_max_files", As::Int),
    ("max-query-time", "max_query_time", As::Text),
    ("node", "node_name", As::Text),
    ("node-id", "node_id", As::Text),
    ("node-meta", "node_meta", As::Pairs),
    ("non-voting-server", "non_voting_server", As::Bool),
    ("pid-file", "pid_file", As::Text),
    ("primary-gateway", "primary_gateways", As::List),
    ("protocol", "protocol", As::Int),
    ("raft-protocol", "raft_protocol", As::Int),
    ("read-replica", "read_replica", As::Bool),
    ("recursor", "recursors", As::List),
    ("rejoin", "rejoin_after_leave", As::Bool),
    ("retry-interval", "retry_interval", As::Text),
    ("retry-interval-wan", "retry_interval_wan", As::Text),
    ("retry-join", "retry_join", As::List),
    ("retry-join-wan", "retry_join_wan", As::List),
    ("retry-max", "retry_max", As::Int),
    ("retry-max-wan", "retry_max_wan", As::Int),
    ("segment", "segment", As::Text),
    ("serf-lan-allowed-cidrs", "serf_lan_allowed_cidrs", As::List),
    ("serf-lan-bind", "serf_lan", As::Text),
    ("serf-lan-port", "ports.serf_lan", As::Int),
    ("serf-wan-allowed-cidrs", "serf_wan_allowed_cidrs", As::List),
    ("serf-wan-bind", "serf_wan", As::Text),
    ("serf-wan-port", "ports.serf_wan", As::Int),
    ("server", "server", As::Bool),
    ("server-port", "ports.server", As::Int),
    ("syslog", "enable_syslog", As::Bool),
    ("ui", "ui", As::Bool),
    ("ui-content-path", "ui_content_path", As::Text),
    ("ui-dir", "ui_dir", As::Text),
];

/// What the flags ask for.
///
/// # Errors
/// A number that is none, or an unknown format.
fn invocation(args: &Args) -> Result<Invocation, String> {
    let mut flags = Map::new();
    for (flag, path, kind) in KEYS {
        let Some(text) = args.get(flag) else { continue };
        let value = match kind {
            As::Text => Value::from(text),
            As::Bool => Value::from(args.is_on(flag)),
            As::List => Value::from(args.all(flag)),
            As::Pairs => args.all(flag).into_iter().map(|text| pair(text, ':')).map(|(key, value)| (key, Value::from(value))).collect(),
            As::Int => match args.number::<i64>(flag) {
                Ok(number) => Value::from(number),
                Err(ArgsError::Usage(why)) => return Err(why),
                Err(ArgsError::Help) => continue,
            },
        };
        match path.split_once('.') {
            None => drop(flags.insert((*path).to_owned(), value)),
            Some((section, key)) => {
                if let Value::Object(section) = flags.entry(section).or_insert_with(|| Value::Object(Map::new())) {
                    section.insert(key.to_owned(), value);
                }
            }
        }
    }
    let is_path = |flag: &str| matches!(flag, "config-file" | "config-dir");
    Ok(Invocation {
        dev: args.is_on("dev"),
        paths: args.flags().iter().filter(|(flag, _)| is_path(flag)).map(|(_, path)| PathBuf::from(path)).collect(),
        format: validate::format(args)?,
        flags,
        snippets: args.all("hcl").into_iter().map(str::to_owned).collect(),
        machine: validate::machine(),
    })
}

/// Holds the log back until the banner is out.
#[derive(Clone, Default)]
pub(super) struct Gate(Arc<Mutex<Option<Vec<u8>>>>);

impl Gate {
    /// Closed.
    pub(super) fn new() -> Self {
        Self(Arc::new(Mutex::new(Some(Vec::new()))))
    }

    /// Writes what was held back, and from now on at once.
    pub(super) fn open(&self) {
        if let Some(held) = self.0.lock().unwrap_or_else(PoisonError::into_inner).take() {
            let _ = io::stdout().write_all(&held);
        }
    }
}

impl Write for Gate {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        match self.0.lock().unwrap_or_else(PoisonError::into_inner).as_mut() {
            Some(held) => held.extend_from_slice(bytes),
            None => io::stdout().write_all(bytes)?,
        }
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        io::stdout().flush()
    }
}

/// `agent`.
pub(super) fn agent(args: &Args, print: &mut Print) -> u8 {
    if !args.rest.is_empty() {
        print.say(format!("==> Unexpected extra arguments: [{}]", args.rest.join(" ")));
        return 1;
    }
    let config = match invocation(args).and_then(|invocation| invocation.load().map_err(|why| why.to_string())) {
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

/// How long the banner waits for a leader: an agent that has one is ready to be used.
const LEADER: Duration = Duration::from_secs(2);

async fn run(config: Config, print: &mut Print) -> u8 {
    let gate = Gate::new();
    let runtime = Runtime::system();
    let writer = match log_writer(&config, &gate, runtime.clock) {
        Ok(writer) => writer,
        Err(why) => {
            print.say(format!("==> Failed to setup logging: {why}"));
            return 1;
        }
    };
    telemetry::init(config.log_level.parse().unwrap_or(telemetry::Level::Info), config.log_json, writer);
    keep_metrics(&config, &runtime);
    print.line("==> Starting Muster agent...");
    let (signals, started) = match Signals::watch() {
        Ok(signals) => (signals, crate::agent::start(config.clone(), runtime.clone()).await),
        Err(why) => {
            print.say(format!("==> {why}"));
            return 1;
        }
    };
    let agent = match started {
        Ok(agent) => agent,
        Err(why) => {
            gate.open();
            print.say(format!("==> {why}"));
            return 1;
        }
    };
    agent.wait_for_leader(LEADER).await;
    print.line(banner(&config, &agent.node_id));
    gate.open();
    for warning in &config.warnings {
        tracing::warn!(target: "agent", "{warning}");
    }
    if !config.unused.is_empty() {
        tracing::warn!(target: "agent", keys = config.unused.join(", "), "these configuration keys change nothing yet");
    }
    let pid_file = config.pid_file.as_deref();
    if let Some(path) = pid_file
        && let Err(why) = std::fs::write(path, format!("{}\n", std::process::id()))
    {
        print.say(format!("==> Could not write pid file {}: {why}", path.display()));
        agent.stop().await;
        return 1;
    }
    let code = until_told(agent, &config, signals).await;
    if let Some(path) = pid_file {
        let _ = std::fs::remove_file(path);
    }
    code
}

/// Standard output, and the file that is to have the log too.
fn log_writer(config: &Config, gate: &Gate, clock: Clock) -> io::Result<Box<dyn Write + Send>> {
    let Some(file) = &config.log_file else { return Ok(Box::new(gate.clone())) };
    let rotation = telemetry::Rotation { bytes_max: file.bytes_max, age_max: file.age_max.as_std(), files_max: file.files_max };
    let file = telemetry::LogFile::open(&file.path, rotation, clock)?;
    Ok(Box::new(telemetry::Tee(Box::new(gate.clone()), Box::new(file))))
}

/// Names the metrics as configured and ends their intervals.
pub(super) fn keep_metrics(config: &Config, runtime: &Runtime) {
    let settings = &config.telemetry;
    let prometheus = settings.prometheus_retention_time.0 > 0;
    telemetry::metrics().configure(telemetry::Options {
        prefix: settings.metrics_prefix.clone(),
        // As in Consul, only where metrics leave this agent: its own API names them plainly.
        hostname: if settings.disable_hostname || !prometheus { String::new() } else { config.node_name.clone() },
        allowed_prefixes: settings.allowed_prefixes.clone(),
        blocked_prefixes: settings.blocked_prefixes.clone(),
        filter_default: settings.filter_default,
        prometheus,
    });
    runtime.tasks.spawn_until_shutdown("metrics", telemetry::metrics().clone().run(runtime.clock));
}

/// Serves signals and the API's wish to leave; answers the exit code.
async fn until_told(agent: Agent, config: &Config, mut signals: Signals) -> u8 {
    let graceful = loop {
        let told = tokio::select! {
            biased;
            told = signals.next() => told,
            () = agent.leave_requested() => break true,
            () = agent.gave_up_joining() => break false,
            reason = agent.broken() => {
                tracing::error!(target: "agent", reason, "raft stopped by itself, the agent ends");
                break false;
            }
        };
        tracing::info!(target: "agent", signal = ?told, "caught");
        match told {
            Told::Reload => match agent.reload().await {
                Ok(()) => tracing::info!(target: "agent", "configuration reloaded"),
                Err(why) => tracing::error!(target: "agent", error = %why, "configuration not reloaded"),
            },
            Told::Interrupt => break !config.skip_leave_on_interrupt,
            Told::Terminate => break config.leave_on_terminate,
        }
    };
    if graceful {
        tracing::info!(target: "agent", "Gracefully shutting down agent...");
    } else {
        tracing::info!(target: "agent", "Graceful shutdown disabled. Exiting");
    }
    let end = async {
        if graceful {
            agent.leave().await;
        }
        agent.stop().await
    };
    tokio::select! {
        biased;
        _ = signals.next_end() => 1,
        _ = end => u8::from(!graceful),
    }
}

/// What an agent says of itself once it runs.
fn banner(config: &Config, node_id: &str) -> String {
    let port = |port: Option<u16>| port.map_or(-1, i32::from);
    let client = config.client_addrs.iter().map(ToString::to_string).collect::<Vec<_>>().join(" ");
    let mut rows = vec![
        ("Version", format!("'{VERSION}'")),
        ("Node ID", format!("'{node_id}'")),
        ("Node name", format!("'{}'", config.node_name)),
        ("Datacenter", format!("'{}' (Segment: '{}')", config.datacenter, if config.server { "<all>" } else { "" })),
        ("Server", format!("{} (Bootstrap: {})", config.server, config.bootstrap)),
        (
            "Client Addr",
            format!(
                "[{client}] (HTTP: {}, HTTPS: {}, gRPC: {}, DNS: {})",
                port(config.ports.http),
                port(config.ports.https),
                port(config.ports.grpc),
                port(config.ports.dns)
            ),
        ),
        ("Cluster Addr", format!("{} (LAN: {}, WAN: {})", config.advertise_addr, port(config.ports.serf_lan), port(config.ports.serf_wan))),
        ("Encrypt", "Gossip: false, TLS-Outgoing: false, TLS-Incoming: false, Auto-Encrypt-TLS: false".to_owned()),
    ];
    if let Some(url) = dashboard(config) {
        rows.push(("Dashboard", url));
    }
    for (at, command) in commands_to_try(config).into_iter().enumerate() {
        rows.push((if at == 0 { "Try" } else { "" }, command));
    }
    let lines: Vec<String> = rows
        .iter()
        .map(|(name, value)| if name.is_empty() { format!("{:20}{value}", "") } else { format!("{name:>18}: {value}") })
        .collect();
    format!("{}\n\n==> Log data will now stream in as it occurs:\n", lines.join("\n"))
}

/// A base URL of the HTTP API, without a slash at the end.
pub(super) fn api(config: &Config) -> Option<String> {
    config.addresses.http.iter().find_map(|listen| match listen {
        Listen::Tcp(address) if address.ip().is_unspecified() => Some(format!("http://127.0.0.1:{}", address.port())),
        Listen::Tcp(address) => Some(format!("http://{address}")),
        Listen::Unix(_) => None,
    })
}

/// Where the dashboard is, if it is served.
pub(super) fn dashboard(config: &Config) -> Option<String> {
    api(config).filter(|_| config.ui.enabled).map(|api| format!("{api}{}", config.ui.content_path))
}

/// Three things to do with a development agent.
fn commands_to_try(config: &Config) -> Vec<String> {
    let (Some(api), Some(dns), true) = (api(config), config.addresses.dns.first(), config.dev) else { return Vec::new() };
    vec![
        format!("curl -X PUT -d '{{\"Name\":\"web\",\"Port\":80}}' {api}/v1/agent/service/register"),
        format!("muster catalog services{}", if api.ends_with("//127.0.0.1:8500") { String::new() } else { format!(" -http-addr={api}") }),
        format!("dig @{} -p {} web.service.{} SRV", dns.ip(), dns.port(), config.dns.domain.trim_end_matches('.')),
    ]
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cli::{args, commands};

    fn of(line: &[&str]) -> Result<Invocation, String> {
        let arguments: Vec<_> = line.iter().map(|text| (*text).to_owned()).collect();
        let command = commands::COMMANDS.iter().find(|command| command.name == "agent").expect("it exists");
        invocation(&args::parse(&arguments, &[command.flags]).expect("known flags"))
    }

    #[test]
    fn every_flag_has_its_key() {
        let command = commands::COMMANDS.iter().find(|command| command.name == "agent").expect("it exists");
        for flag in command.flags {
            let special = ["config-dir", "config-file", "config-format", "dev", "hcl"].contains(&flag.name);
            assert!(special != KEYS.iter().any(|(name, _, _)| *name == flag.name), "{}", flag.name);
        }
        assert_eq!(KEYS.len() + 5, command.flags.len());
    }

    #[test]
    fn flags_become_keys() {
        let line = [
            "-dev",
            "-http-port=1",
            "-dns-port",
            "2",
            "-node-meta",
            "a:b",
            "-node-meta=c:d:e",
            "-ui=false",
            "-config-file=x",
            "-config-dir=y",
            "-hcl=z=1",
        ];
        let asked = of(&line).expect("good flags");
        let expected = serde_json::json!({"ports": {"http": 1, "dns": 2}, "node_meta": {"a": "b", "c": "d:e"}, "ui": false});
        assert_eq!(Value::Object(asked.flags), expected);
        assert!(asked.dev && asked.paths == [PathBuf::from("x"), PathBuf::from("y")] && asked.snippets == ["z=1"]);
        let bad = of(&["-http-port=x"]).expect_err("no number");
        assert_eq!(bad, "invalid value \"x\" for flag -http-port: strconv.Atoi: parsing \"x\": invalid syntax");
        assert!(of(&["-config-format=foo"]).is_err());
    }

    #[tokio::test(flavor = "multi_thread")]
    async fn a_raft_core_that_panics_ends_the_agent_with_code_1() {
        let address = "127.91.87.3";
        let line = ["-dev", "-node=n1", "-bind", address, "-client", address];
        let config = of(&line).and_then(|asked| asked.load().map_err(|why| why.0)).expect("it is valid");
        let agent = crate::agent::start(config.clone(), Runtime::system()).await.expect("it starts");
        assert!(agent.wait_for_leader(Duration::from_secs(10)).await);
        agent.break_raft().await;
        let signals = Signals::watch().expect("they can be watched");
        let ended = crate::rt::clock::timeout(Duration::from_secs(20), until_told(agent, &config, signals)).await;
        assert_eq!(ended, Ok(1), "the agent ends by itself");
    }

    #[test]
    fn the_banner_tells_where_everything_is() {
        let config = of(&["-dev", "-node=n1", "-bind=127.0.0.9", "-client=127.0.0.9"]).and_then(|asked| asked.load().map_err(|e| e.0));
        let text = banner(&config.expect("it is valid"), "id");
        for line in [
            "           Node ID: 'id'\n",
            "        Datacenter: 'dc1' (Segment: '<all>')\n",
            "            Server: true (Bootstrap: true)\n",
            "       Client Addr: [127.0.0.9] (HTTP: 8500, HTTPS: -1, gRPC: 8502, DNS: 8600)\n",
            "      Cluster Addr: 127.0.0.9 (LAN: 8301, WAN: 8302)\n",
            "         Dashboard: http://127.0.0.9:8500/ui/\n",
            "               Try: curl -X PUT",
            "                    dig @127.0.0.9 -p 8600 web.service.consul SRV\n\n==> Log data will now stream in as it occurs:\n",
        ] {
            assert!(text.contains(line), "{line:?} in {text}");
        }
    }
}
