//! The HTTP API: translates requests into `rpc` and `local` calls and their answers back into Consul's words.
//!
//! [`routes`] below is the table of contents; each noun has a file of its handlers. Knows no store, raft or gossip.
//! Contract: HTTP API. What Muster adds under `/v1/muster/` is described in `EXTENSIONS.md` beside this file.

use std::{
    net::{IpAddr, SocketAddr},
    sync::Arc,
    time::Duration,
};

use axum::{
    extract::Request,
    handler::HandlerWithoutStateExt as _,
    http::{Extensions, HeaderMap, Method, StatusCode, Version},
};
use hyper_util::service::TowerToHyperService;
use tower_http::{
    add_extension::AddExtension,
    catch_panic::CatchPanic,
    compression::{
        Compression,
        predicate::{DefaultPredicate, Predicate as _},
    },
};

mod cache;
mod dispatch;
mod error;
mod extract;
mod listener;
mod monitor;
mod operator;
mod path;
mod query;
mod respond;
mod routes;

mod acl;
mod agent;
mod agent_check;
mod agent_service;
mod catalog;
mod changes;
mod check;
mod health;
mod kv;
mod listing;
mod remote;
mod snapshot;
mod status;
pub mod ui;
mod ui_internal;

#[cfg(test)]
mod tests;

pub use listener::Listener;

use crate::{
    local, rpc,
    rt::{Runtime, Shutdown},
    telemetry,
};

/// How the API is set up.
#[derive(Clone, Debug)]
pub struct Options {
    /// This agent's datacenter.
    pub datacenter: String,
    /// This agent's node name.
    pub node_name: String,
    /// Indent all JSON, as a development agent does.
    pub pretty: bool,
    /// Headers added to every answer.
    pub response_headers: Vec<(String, String)>,
    /// Path prefixes that are refused.
    pub block_endpoints: Vec<String>,
    /// Networks (address, bits) writes may come from; empty means everywhere.
    pub allow_write_http_from: Vec<(IpAddr, u8)>,
    /// Serve the dashboard.
    pub ui: bool,
    /// Where the dashboard lives, with slashes at both ends.
    pub ui_content_path: String,
    /// Let characters through that cannot be printed.
    pub disable_unprintable_char_filter: bool,
    /// Longest key/value value, bytes.
    pub kv_max_value_size: u64,
    /// Heed `?cached`.
    pub use_cache: bool,
    /// Say that addresses of other datacenters are translated.
    pub translate_wan_addrs: bool,
    /// Unmarked catalog and health reads may be this old; zero asks the leader.
    pub discovery_max_stale: Duration,
    /// Token of requests that carry none.
    pub default_token: String,
    /// Open connections of one client address; 0 means any number.
    pub max_conns_per_client: usize,
    /// The process's log, for `agent/monitor`.
    pub log: Option<telemetry::Handle>,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            datacenter: "dc1".to_owned(),
            node_name: String::new(),
            pretty: false,
            response_headers: Vec::new(),
            block_endpoints: Vec::new(),
            allow_write_http_from: Vec::new(),
            ui: false,
            ui_content_path: "/ui/".to_owned(),
            disable_unprintable_char_filter: false,
            kv_max_value_size: 512 * 1024,
            use_cache: true,
            translate_wan_addrs: false,
            discovery_max_stale: Duration::ZERO,
            default_token: String::new(),
            max_conns_per_client: 200,
            log: None,
        }
    }
}

/// What handlers work with.
struct Context {
    options: Options,
    router: rpc::Router,
    cache: cache::Cache,
    local: local::Handle,
    control: Arc<dyn local::Control>,
    runtime: Runtime,
    shutdown: Shutdown,
    table: routes::Table,
}

/// The client's address; none over a Unix socket.
#[derive(Clone, Copy, Debug)]
struct Peer(Option<SocketAddr>);

/// Serves the API on these sockets until the agent stops. Returns at once; connections are tasks of the runtime.
pub fn serve(
    listeners: Vec<Listener>,
    options: Options,
    router: rpc::Router,
    local: local::Handle,
    control: Arc<dyn local::Control>,
    runtime: &Runtime,
) {
    let most = options.max_conns_per_client;
    let shutdown = runtime.tasks.shutdown();
    let cache = cache::Cache::new(router.clone(), runtime.tasks.clone(), runtime.clock);
    let context = Arc::new(Context { options, router, cache, local, control, runtime: runtime.clone(), shutdown, table: routes() });
    let handler = move |request: Request| dispatch::dispatch(context.clone(), request);
    let ended = |_: StatusCode, _: Version, _: &HeaderMap, extensions: &Extensions| extensions.get::<respond::Unencoded>().is_none();
    // No `axum::Router`: it boxes every request once a layer, and the paths are in a table of our own anyway.
    let compressed = Compression::new(handler.into_service()).compress_when(DefaultPredicate::new().and(ended));
    let answering = CatchPanic::custom(compressed, dispatch::panicked);
    let app = move |peer| TowerToHyperService::new(AddExtension::new(answering.clone(), Peer(peer)));
    for listener in listeners {
        let accepting = listener::accept(listener, app.clone(), most, runtime.clone());
        runtime.tasks.spawn("http listener", accepting);
    }
}

fn routes() -> routes::Table {
    let table = routes::Table::default()
        .get("/v1/status/leader", status::leader)
        .get("/v1/status/peers", status::peers)
        .get("/v1/agent/self", agent::info)
        .get("/v1/agent/version", agent::version)
        .get("/v1/agent/members", agent::members)
        .put("/v1/agent/maintenance", agent::maintenance)
        .put("/v1/agent/join/", agent::join)
        .put("/v1/agent/leave", agent::leave)
        .put("/v1/agent/force-leave/", agent::force_leave)
        .put("/v1/agent/reload", agent::reload)
        .get("/v1/agent/metrics", monitor::metrics)
        .get("/v1/agent/monitor", monitor::log)
        .get("/v1/agent/services", agent_service::list)
        .get("/v1/agent/service/", agent_service::read)
        .put("/v1/agent/service/register", agent_service::register)
        .put("/v1/agent/service/deregister/", agent_service::deregister)
        .put("/v1/agent/service/maintenance/", agent_service::maintenance)
        .get("/v1/agent/health/service/id/", agent_service::health_by_id)
        .get("/v1/agent/health/service/name/", agent_service::health_by_name)
        .get("/v1/agent/checks", agent_check::list)
        .put("/v1/agent/check/register", agent_check::register)
        .put("/v1/agent/check/deregister/", agent_check::deregister)
        .put("/v1/agent/check/pass/", agent_check::pass)
        .put("/v1/agent/check/warn/", agent_check::warn)
        .put("/v1/agent/check/fail/", agent_check::fail)
        .put("/v1/agent/check/update/", agent_check::update)
        .put("/v1/agent/check/run/", agent_check::run)
        .get("/v1/operator/raft/configuration", operator::raft_configuration)
        .on(Method::DELETE, "/v1/operator/raft/peer", operator::remove_peer)
        .on(Method::POST, "/v1/operator/raft/transfer-leader", operator::transfer_leader)
        .get("/v1/operator/autopilot/configuration", operator::autopilot)
        .put("/v1/operator/autopilot/configuration", operator::set_autopilot)
        .get("/v1/operator/autopilot/health", operator::autopilot_health)
        .get("/v1/operator/autopilot/state", operator::autopilot_state)
        .get("/v1/operator/keyring", operator::keyring)
        .on(Method::POST, "/v1/operator/keyring", operator::keyring)
        .put("/v1/operator/keyring", operator::keyring)
        .on(Method::DELETE, "/v1/operator/keyring", operator::keyring)
        .get("/v1/muster/raft", operator::raft)
        .get("/v1/muster/gossip", operator::gossip)
        .get("/v1/snapshot", snapshot::save)
        .put("/v1/snapshot", snapshot::restore)
        .put("/v1/muster/snapshot/inspect", snapshot::inspect)
        .get("/v1/muster/snapshots", snapshot::list)
        .put("/v1/muster/snapshots", snapshot::take)
        .on(Method::POST, "/v1/muster/snapshots", snapshot::take)
        .put("/v1/catalog/register", catalog::register)
        .put("/v1/catalog/deregister", catalog::deregister)
        .get("/v1/catalog/datacenters", catalog::datacenters)
        .get("/v1/catalog/nodes", catalog::nodes)
        .get("/v1/catalog/services", catalog::services)
        .get("/v1/catalog/service/", catalog::service)
        .get("/v1/catalog/connect/", catalog::connect)
        .get("/v1/catalog/node/", catalog::node)
        .get("/v1/catalog/node-services/", catalog::node_services)
        .get("/v1/catalog/gateway-services/", catalog::gateway_services)
        .get("/v1/health/node/", health::node)
        .get("/v1/health/checks/", health::checks)
        .get("/v1/health/service/", health::service)
        .get("/v1/health/connect/", health::connect)
        .get("/v1/health/ingress/", health::ingress)
        .get("/v1/health/state/", health::state)
        .get("/v1/kv/", kv::read)
        .put("/v1/kv/", kv::write)
        .on(Method::DELETE, "/v1/kv/", kv::delete)
        .get("/v1/internal/ui/nodes", ui_internal::nodes)
        .get("/v1/internal/ui/node/", ui_internal::node)
        .get("/v1/internal/ui/services", ui_internal::services)
        .get("/v1/internal/ui/catalog-overview", ui_internal::catalog_overview)
        .get("/v1/muster/overview", listing::overview)
        .get("/v1/muster/catalog/services", listing::services)
        .get("/v1/muster/catalog/nodes", listing::nodes)
        .get("/v1/muster/catalog/checks", listing::checks)
        .get("/v1/muster/check/history/", check::history)
        .get("/v1/muster/check/history", check::history)
        .get("/v1/muster/check/status/", check::status)
        .put("/v1/muster/check/run/", check::run)
        .get("/v1/muster/changes", changes::stream)
        .get("/v1/muster/agent/", remote::call)
        .put("/v1/muster/agent/", remote::call);
    acl::routes(table)
}
