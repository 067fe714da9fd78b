//! The composition root: builds every component from the configuration, starts them in order, stops them in reverse.
//! Holds no behaviour of its own; nobody but `cli` imports it.

mod calls;
mod control;
mod identity;
mod join;
mod keyring;
mod known;
mod leave;
mod measure;
mod monitor;
mod options;
mod rejoin;
mod servers;
mod transport;

use std::{io, net::SocketAddr, sync::Arc, time::Duration};

use tokio::sync::{Notify, watch};

use crate::{
    config::{Config, Listen},
    dns, gossip, http, local,
    localdb::LocalDb,
    raft, rpc,
    rt::{Runtime, Tasks, net},
    server::Server,
    store::Store,
};

/// Why an agent does not start. The text names what to change.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// An address is taken or not this machine's.
    #[error("Failed to listen for {what} on {address}: {source}")]
    Listen {
        /// `HTTP`, `DNS`, ...
        what: &'static str,
        /// The address.
        address: String,
        /// The system's reason.
        source: io::Error,
    },
    /// The data directory.
    #[error("data directory: {0}")]
    DataDir(String),
    /// A component's own reason.
    #[error("{0}")]
    Component(String),
}

/// A running agent.
pub struct Agent {
    /// Where the HTTP API listens, first address first.
    pub http: Vec<Listen>,
    /// Where DNS listens.
    pub dns: Vec<SocketAddr>,
    /// This node's UUID.
    pub node_id: String,
    config: Config,
    runtime: Runtime,
    pool: gossip::Handle,
    db: LocalDb,
    /// `None` on a client.
    raft: Option<raft::Handle>,
    control: Arc<control::Control>,
    gave_up: watch::Receiver<bool>,
    /// Why Raft ended by itself.
    broken: watch::Receiver<Option<String>>,
}

/// How long tasks get to end at shutdown.
const STOP_GRACE: Duration = Duration::from_secs(5);

/// What every role is built on.
struct Base {
    config: Config,
    node_id: String,
    runtime: Runtime,
    pool: gossip::Handle,
    calls: rpc::Pool,
    servers: rpc::Servers,
    own: Arc<calls::Own>,
}

/// Starts an agent: sockets first, so that a taken port is told before anything is written, then the layers from below.
///
/// # Errors
/// A taken address, an unusable data directory, a bad definition, nobody of `start_join` answers.
pub async fn start(config: Config, runtime: Runtime) -> Result<Agent, Error> {
    let data_dir = |error: &dyn std::fmt::Display| Error::DataDir(error.to_string());
    let sockets = bind(&config).await?;
    let rpc_socket = if config.server { Some(bind_rpc(config.addresses.server).await?) } else { None };
    let node_id = identity::node_id(&config.node_id, config.data_dir.as_deref(), &runtime.rng).map_err(|e| data_dir(&e))?;
    if let Some(dir) = config.data_dir.as_deref().filter(|_| config.server) {
        rejoin::check(dir, config.cluster.server_rejoin_age_max, runtime.clock).map_err(|e| component(&e))?;
    }
    let db = LocalDb::open(config.data_dir.as_deref()).map_err(|e| data_dir(&e))?;
    let keyring = keyring::Keyring::load(&config).map_err(|e| data_dir(&e))?;
    let known = known::load(&db, config.cluster.rejoin_after_leave).map_err(|e| data_dir(&e))?;

    let calls = rpc::Pool::new(options::rpc(&config), runtime.clone());
    let servers = rpc::Servers::new(&runtime.rng);
    // Raft reads its log before anybody hears of this server.
    let consensus = if config.server { Some(Consensus::open(&config, &node_id, &calls, &servers, &runtime).await?) } else { None };
    let cluster = consensus.as_ref().and_then(|consensus| consensus.store.state().cluster.clone()).unwrap_or_default();
    let gossip_options = options::gossip(&config, &node_id, keyring.keys.clone(), known, cluster.to_string());
    let pool = gossip::start(gossip_options, runtime.clone()).await.map_err(|e| component(&e))?;
    runtime.tasks.spawn_until_shutdown("keyring file", keep_keyring(keyring, pool.clone(), runtime.tasks.clone()));

    let own = calls::Own::new(&config.node_name, monitor::Monitors::new(crate::telemetry::handle(), runtime.clone()));
    let state = consensus.as_ref().map(|consensus| Arc::clone(&consensus.store));
    let raft = consensus.as_ref().map(|consensus| consensus.raft.clone());
    let formed = raft.clone().zip(state.clone()).filter(|_| config.bootstrap);
    let measured = measure::Measured { pool: pool.clone(), raft, store: state };
    runtime.tasks.spawn_until_shutdown("measurements", measure::run(measured));
    let base = Base { config, node_id, runtime, pool, calls, servers, own };
    let (routed, raft) = match (consensus, rpc_socket) {
        (Some(consensus), Some(socket)) => {
            let raft = consensus.raft.clone();
            (base.serve(consensus, socket), Some(raft))
        }
        _ => (base.forward(), None),
    };
    let forming = join::Forming { formed, pool: base.pool.clone() };
    base.surfaces(sockets, routed, raft, db, forming).await
}

/// Who answers calls, and how many may pass.
struct Routed {
    handler: Arc<dyn rpc::Handler>,
    limits: rpc::LimitsHandle,
}

/// The Raft node with the state it applies to.
struct Consensus {
    raft: raft::Handle,
    store: Arc<Store>,
}

impl Consensus {
    async fn open(config: &Config, id: &str, calls: &rpc::Pool, servers: &rpc::Servers, runtime: &Runtime) -> Result<Self, Error> {
        let store = Arc::new(Store::new());
        let transport = transport::sending(calls.clone(), servers.clone());
        let started = raft::start_with(options::raft(config, id), Arc::clone(&store), runtime.clone(), transport).await;
        Ok(Self { raft: started.map_err(|e| Error::Component(format!("raft: {e}")))?, store })
    }
}

impl Base {
    /// The server role: answers calls here, on its RPC port and over the streams of the agents.
    fn serve(&self, Consensus { raft, store }: Consensus, socket: net::TcpListener) -> Routed {
        let streams = rpc::AgentStreams::new(&self.runtime.tasks);
        let calls = Arc::new(calls::Calls {
            own: Arc::clone(&self.own),
            streams: streams.clone(),
            pool: self.calls.clone(),
            servers: self.servers.clone(),
            own_id: self.node_id.clone(),
        });
        let options = options::server(&self.config, &self.node_id, &self.calls, &self.servers);
        let server = Arc::new(Server::new(options, raft.clone(), store, self.pool.clone(), calls, self.runtime.clone()));
        self.runtime.tasks.spawn_until_shutdown("server duties", Arc::clone(&server).run());
        let receiver = Arc::new(transport::Receiver { raft: raft.clone(), id: self.node_id.clone() });
        let routed = self.limited(server, move || raft.is_leader());
        let inbound = rpc::Inbound {
            handler: routed.handler.clone(),
            raft: Some(receiver),
            streams,
            admit: calls::admit(self.pool.subscribe()),
            wrap: rpc::Wrap::Plain,
            connections_max: self.config.limits.rpc_max_conns_per_client,
            value_max: self.config.limits.kv_max_value_size,
            patience: rpc::Patience::default(),
            receiving: rpc::Receiving::default(),
        };
        rpc::serve(socket, inbound, &self.runtime);
        routed
    }

    /// The client role: forwards calls to a server and keeps a stream open for those that come back.
    fn forward(&self) -> Routed {
        let (calls, servers, runtime) = (self.calls.clone(), self.servers.clone(), self.runtime.clone());
        let greeting = rpc::Greeting { node: self.config.node_name.clone(), id: self.node_id.clone() };
        rpc::attach(calls.clone(), servers.clone(), greeting, self.own.clone(), runtime.clone());
        self.limited(Arc::new(rpc::Forwarder::new(calls, servers, &self.config.datacenter, runtime)), || false)
    }

    /// Lets calls through as far as the limits allow.
    fn limited(&self, handler: Arc<dyn rpc::Handler>, leads: impl Fn() -> bool + Send + Sync + 'static) -> Routed {
        let limited = rpc::Limited::new(handler, options::limits(&self.config), leads, self.runtime.clock);
        let limits = limited.limits();
        Routed { handler: Arc::new(limited), limits }
    }

    /// The agent's own services, then what its users reach, then the others.
    async fn surfaces(
        self,
        sockets: Vec<http::Listener>,
        routed: Routed,
        raft: Option<raft::Handle>,
        db: LocalDb,
        forming: join::Forming,
    ) -> Result<Agent, Error> {
        let Self { config, node_id, runtime, pool, servers, own, .. } = self;
        let router = rpc::Router::new(routed.handler);
        let definitions = local::Definitions { services: config.services.clone(), checks: config.checks.clone() };
        let local = local::Service::start(options::local(&config, &node_id), definitions, router.clone(), db.clone(), runtime.clone())
            .await
            .map_err(|e| component(&e))?;
        own.plug(local.clone(), pool.clone());
        let following = servers::follow(pool.subscribe(), servers.clone(), local.clone(), config.datacenter.clone());
        runtime.tasks.spawn_until_shutdown("servers", following);

        let joiner = join::Joiner { pool: pool.clone(), default_port: config.addresses.serf_lan.port() };
        let control = Arc::new(control::Control {
            config: config.clone(),
            node_id: node_id.clone(),
            joiner: joiner.clone(),
            raft: raft.clone(),
            servers,
            local: local.clone(),
            limits: routed.limits,
            leave: Notify::new(),
            started: runtime.clock.now(),
            runtime: runtime.clone(),
        });
        dns::start(options::dns(&config), &config.addresses.dns, router.clone(), runtime.clone()).await.map_err(|e| component(&e))?;
        http::serve(sockets, options::http(&config), router, local, control.clone(), &runtime);
        let gave_up = find_others(joiner, forming, &config, &runtime).await?;
        let (breaking, broken) = watch::channel(None);
        if let Some(raft) = raft.clone() {
            let (pool, config, node_id) = (pool.clone(), config.clone(), node_id.clone());
            let tell = async move |reason: &str| pool.set_tags(options::failed_tags(&config, &node_id, reason)).await;
            runtime.tasks.spawn_until_shutdown("end of raft", watch_raft(raft, breaking, tell));
        }
        // Last: the members of the last run are tried before they are forgotten.
        if let Some(dir) = config.data_dir.clone().filter(|_| config.server) {
            runtime.tasks.spawn_until_shutdown("last seen", rejoin::keep(dir, runtime.clock, runtime.tasks.clone()));
        }
        runtime.tasks.spawn_until_shutdown("known members", known::follow(db.clone(), pool.subscribe(), config.node_name.clone()));
        let (http, dns) = (config.addresses.http.clone(), config.addresses.dns.clone());
        Ok(Agent { http, dns, node_id, config, runtime, pool, db, raft, control, gave_up, broken })
    }
}

/// Joins once, or fails; then keeps trying the others in the background. The receiver tells once it was given up.
async fn find_others(
    joiner: join::Joiner,
    forming: join::Forming,
    config: &Config,
    runtime: &Runtime,
) -> Result<watch::Receiver<bool>, Error> {
    let cluster = config.cluster.clone();
    if !cluster.start_join.is_empty() {
        forming.told().await;
        joiner.join(&cluster.start_join).await.map_err(Error::Component)?;
    }
    let (giving_up, gave_up) = watch::channel(false);
    if !cluster.retry_join.is_empty() {
        runtime.tasks.spawn_until_shutdown("retry join", async move {
            forming.told().await;
            let reached = joiner.join_until_reached(&cluster.retry_join, cluster.retry_interval.as_std(), cluster.retry_max).await;
            giving_up.send_replace(!reached);
        });
    }
    Ok(gave_up)
}

/// Tells when Raft ends by itself: a failed disk leaves the agent its stale reads, anything else ends it.
async fn watch_raft(raft: raft::Handle, breaking: watch::Sender<Option<String>>, tell_others: impl AsyncFn(&str)) {
    match raft.ended().await {
        raft::Ended::Disk(reason) => {
            tracing::error!(
                target: "agent",
                reason,
                "the disk of this server failed: it left the quorum and answers stale reads only; make room or replace the disk, then restart it"
            );
            // Raft says nothing any more, gossip does.
            tell_others(&reason).await;
        }
        raft::Ended::Core(reason) => drop(breaking.send(Some(reason))),
    }
    std::future::pending().await
}

/// Writes the keyring file whenever an operator changes the keys.
async fn keep_keyring(keyring: keyring::Keyring, pool: gossip::Handle, tasks: Tasks) {
    let keyring = Arc::new(keyring);
    let mut keys = pool.keys();
    while keys.changed().await.is_ok() {
        let now = keys.borrow_and_update().clone();
        let keyring = keyring.clone();
        if let Err(error) = tasks.spawn_blocking(move || keyring.save(&now)).await.map_err(io::Error::other).flatten() {
            tracing::error!(target: "agent", %error, "the keyring file is not written: a restart uses the former keys");
        }
    }
}

fn component(error: &dyn std::fmt::Display) -> Error {
    Error::Component(error.to_string())
}

async fn bind_rpc(address: SocketAddr) -> Result<net::TcpListener, Error> {
    net::listen(address).await.map_err(|source| Error::Listen { what: "RPC", address: address.to_string(), source })
}

/// The HTTP sockets, bound before anything else starts.
async fn bind(config: &Config) -> Result<Vec<http::Listener>, Error> {
    let failed = |address: String| move |source| Error::Listen { what: "HTTP", address, source };
    let mut sockets = Vec::new();
    for listen in &config.addresses.http {
        sockets.push(match listen {
            Listen::Tcp(address) => http::Listener::Tcp(net::listen(*address).await.map_err(failed(address.to_string()))?),
            Listen::Unix(path) => {
                let _ = std::fs::remove_file(path);
                http::Listener::Unix(net::UnixListener::bind(path).map_err(failed(path.display().to_string()))?)
            }
        });
    }
    Ok(sockets)
}

impl Agent {
    /// Waits until somebody leads, at most so long; answers whether somebody does.
    pub async fn wait_for_leader(&self, longest: Duration) -> bool {
        match &self.raft {
            Some(raft) => raft.wait_for_leader(longest).await,
            None => true,
        }
    }

    /// Resolves once the agent gave up joining the others; never if it does not.
    pub async fn gave_up_joining(&self) {
        let mut gave_up = self.gave_up.clone();
        if gave_up.wait_for(|gave_up| *gave_up).await.is_err() {
            std::future::pending::<()>().await;
        }
    }

    /// Resolves with the reason once Raft ended by itself, so that this agent is of no more use; never otherwise.
    pub async fn broken(&self) -> String {
        let mut broken = self.broken.clone();
        match broken.wait_for(Option::is_some).await.map(|reason| reason.clone()) {
            Ok(Some(reason)) => reason,
            _ => std::future::pending().await,
        }
    }

    /// Makes Raft panic.
    #[cfg(test)]
    pub(crate) async fn break_raft(&self) {
        if let Some(raft) = &self.raft {
            raft.break_core().await;
        }
    }

    /// Tells the others that this agent goes on purpose; a server waits until they go on without it.
    pub async fn leave(&self) {
        let drain = self.config.performance.leave_drain_time.as_std();
        self.control.local.stop_syncing();
        let raft = self.raft.as_ref();
        leave::Leaving { raft, pool: &self.pool, db: &self.db, node_id: &self.node_id, drain }.leave().await;
    }

    /// Resolves once somebody asked the agent to leave over the API.
    pub async fn leave_requested(&self) {
        self.control.leave_requested().await;
    }

    /// Reads the configuration again and applies what may change while running.
    ///
    /// # Errors
    /// The new configuration is not valid; the running one stays.
    pub async fn reload(&self) -> Result<(), local::Error> {
        local::Control::reload(&*self.control).await
    }

    /// The configuration it was started with.
    #[must_use]
    pub fn config(&self) -> &Config {
        &self.config
    }

    /// Stops everything: leadership goes to another server, then surfaces end, then Raft, whose log is closed once this returns.
    /// Answers whether all tasks ended in time.
    pub async fn stop(self) -> bool {
        if let Some(raft) = &self.raft {
            leave::hand_over(raft).await;
        }
        self.runtime.tasks.shutdown().trigger();
        if let Some(raft) = &self.raft {
            raft.shutdown().await;
        }
        self.runtime.tasks.stop(STOP_GRACE).await
    }
}
