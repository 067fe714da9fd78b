//! The composition root: builds every component from the configuration, starts them in order, stops them in reverse.
//! Holds no behaviour of its own; nobody but `cli` imports it.

mod calls;
mod control;
mod identity;
mod options;

use std::{io, net::SocketAddr, sync::Arc, time::Duration};

use crate::{
    config::{Config, Listen},
    dns, gossip, http, local,
    localdb::LocalDb,
    raft, rpc,
    rt::{Runtime, net},
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
    /// What this version does not do yet.
    #[error("{0}")]
    Unsupported(String),
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
    raft: raft::Handle,
    control: Arc<control::Control>,
}

/// How long tasks get to end at shutdown.
const STOP_GRACE: Duration = Duration::from_secs(5);

/// Starts an agent: sockets first, so that a taken port is told before anything is written, then the layers from below.
///
/// # Errors
/// A taken address, an unusable data directory, a bad definition.
pub async fn start(config: Config, runtime: Runtime) -> Result<Agent, Error> {
    if !config.server {
        let missing = "a client agent needs a cluster of servers, which this version does not form yet: start with -dev or -server";
        return Err(Error::Unsupported(missing.to_owned()));
    }
    let sockets = bind(&config).await?;
    let node_id =
        identity::node_id(&config.node_id, config.data_dir.as_deref(), &runtime.rng).map_err(|e| Error::DataDir(e.to_string()))?;
    let db = LocalDb::open(config.data_dir.as_deref()).map_err(|e| Error::DataDir(e.to_string()))?;

    let store = Arc::new(Store::new());
    let raft = raft::start(options::raft(&config, &node_id), Arc::clone(&store), runtime.clone())
        .await
        .map_err(|e| Error::Component(format!("raft: {e}")))?;
    let pool = gossip::start(options::gossip(&config, &node_id), runtime.clone()).await.map_err(|e| Error::Component(e.to_string()))?;

    let calls = Arc::new(calls::Calls::new(&config.node_name));
    let server = Arc::new(Server::new(options::server(&config), raft.clone(), store, pool.subscribe(), calls.clone(), runtime.clone()));
    runtime.tasks.spawn_until_shutdown("leader duties", Arc::clone(&server).run());
    let limited = rpc::Limited::new(
        server,
        options::limits(&config),
        {
            let raft = raft.clone();
            move || raft.status().role == "leader"
        },
        runtime.clock,
    );
    let limits = limited.limits();
    let router = rpc::Router::new(Arc::new(limited));

    let definitions = local::Definitions { services: config.services.clone(), checks: config.checks.clone() };
    let local = local::Service::start(options::local(&config, &node_id), definitions, router.clone(), db, runtime.clone())
        .await
        .map_err(|e| Error::Component(e.to_string()))?;
    calls.plug(local.clone());

    let control = Arc::new(control::Control::new(&config, &node_id, pool, raft.clone(), local.clone(), limits, &runtime));
    let addresses = (config.addresses.http.clone(), config.addresses.dns.clone());
    dns::start(options::dns(&config), &config.addresses.dns, router.clone(), runtime.clone())
        .await
        .map_err(|e| Error::Component(e.to_string()))?;
    http::serve(sockets, options::http(&config), router, local, control.clone(), &runtime);
    Ok(Agent { http: addresses.0, dns: addresses.1, node_id, config, runtime, raft, control })
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
        self.raft.wait_for_leader(longest).await
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

    /// Stops everything: surfaces first, then Raft, whose log is closed once this returns. Answers whether all tasks ended in time.
    pub async fn stop(self) -> bool {
        self.runtime.tasks.shutdown().trigger();
        self.raft.shutdown().await;
        self.runtime.tasks.stop(STOP_GRACE).await
    }
}
