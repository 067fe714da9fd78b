//! The server role: answers every call by authorizing it, then reading the store or proposing a command.
//!
//! Never changes the store but through Raft, and never decides who may do what: every noun function takes an authorizer.

mod agent;
mod blocking;
mod catalog;
mod changes;
mod check;
mod consensus;
mod election;
mod formation;
mod forward;
mod health;
mod kv;
mod leader;
mod list;
mod node;
mod operator;
mod rows;
mod service;
mod snapshot;
mod status;
mod ui;

#[cfg(test)]
mod tests;

use std::{
    path::PathBuf,
    sync::{Arc, Mutex, atomic::AtomicBool},
    time::Duration,
};

use shared::{agent::Member, operator::AutopilotConfiguration};
use tokio::sync::{Notify, watch};

pub use agent::AgentCalls;
use consensus::Consensus;

use crate::{
    acl::Authorizer,
    gossip, raft,
    rpc::{self, Answer, Changes, Error, Handler, Load, Operation, OperationReply, Request},
    rt::{Runtime, chunks::Chunks},
    store::Store,
};

/// How the server role is set up.
#[derive(Clone, Debug)]
pub struct Options {
    /// This datacenter.
    pub datacenter: String,
    /// This server's node name: the leader never deregisters it.
    pub node_name: String,
    /// How long a blocking read waits unless it says so.
    pub query_time_default: Duration,
    /// The longest a blocking read may wait.
    pub query_time_max: Duration,
    /// How long a call waits for a leader.
    pub rpc_hold_timeout: Duration,
    /// Form a cluster once so many servers are there that expect as many; 0 for never.
    pub bootstrap_expect: u32,
    /// This server's UUID.
    pub node_id: String,
    /// How the other servers are called; `None` for one that is alone.
    pub rpc_pool: Option<rpc::Pool>,
    /// Who they are.
    pub servers: rpc::Servers,
    /// The first autopilot configuration.
    pub autopilot: AutopilotConfiguration,
    /// How often the leader compares the catalog with the gossip pool, beside every change of the pool.
    pub reconcile_interval: Duration,
    /// Where a file that is to be restored is kept meanwhile.
    pub temp_dir: PathBuf,
}

impl Options {
    /// Consul's defaults.
    #[must_use]
    pub fn new(datacenter: &str, node_name: &str, servers: rpc::Servers) -> Self {
        Self {
            datacenter: datacenter.to_owned(),
            node_name: node_name.to_owned(),
            query_time_default: Duration::from_secs(300),
            query_time_max: Duration::from_secs(600),
            rpc_hold_timeout: Duration::from_secs(7),
            bootstrap_expect: 0,
            node_id: String::new(),
            rpc_pool: None,
            servers,
            autopilot: AutopilotConfiguration::default(),
            reconcile_interval: Duration::from_secs(60),
            temp_dir: std::env::temp_dir(),
        }
    }
}

/// The server role.
pub struct Server {
    options: Options,
    raft: Arc<dyn Consensus>,
    store: Arc<Store>,
    members: watch::Receiver<Arc<Vec<Member>>>,
    /// `None` only where there is no pool to ask.
    gossip: Option<gossip::Handle>,
    agent_calls: Arc<dyn AgentCalls>,
    runtime: Runtime,
    answers: health::Answers,
    /// Whether this server ever knew a leader: before that it answers no stale read.
    ever_led: AtomicBool,
    /// Since when each server has been as healthy as it is.
    stable: Mutex<leader::Stable>,
    /// Held while a snapshot is restored.
    restoring: tokio::sync::Mutex<()>,
    /// Tells the leader's duties that the state was replaced.
    restored: Notify,
    /// Who led and when.
    elections: Mutex<election::Elections>,
    /// Who leads now.
    leader: watch::Sender<forward::Leader>,
}

impl std::fmt::Debug for Server {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Server").field("options", &self.options).finish_non_exhaustive()
    }
}

/// One call with what every noun function needs.
#[derive(Clone, Copy)]
struct Call<'a> {
    server: &'a Server,
    request: &'a Request,
    authorizer: &'a Authorizer,
}

impl Server {
    /// A server on this Raft node and store. `pool` is the LAN pool; `agent_calls` carries calls to other nodes' agents.
    #[must_use]
    pub fn new(
        options: Options,
        raft: raft::Handle,
        store: Arc<Store>,
        pool: gossip::Handle,
        agent_calls: Arc<dyn AgentCalls>,
        runtime: Runtime,
    ) -> Self {
        let server = Self::with_consensus(options, Arc::new(raft), store, pool.subscribe(), agent_calls, runtime);
        Self { gossip: Some(pool), ..server }
    }

    fn with_consensus(
        options: Options,
        raft: Arc<dyn Consensus>,
        store: Arc<Store>,
        members: watch::Receiver<Arc<Vec<Member>>>,
        agent_calls: Arc<dyn AgentCalls>,
        runtime: Runtime,
    ) -> Self {
        let (answers, ever_led) = (health::Answers::default(), AtomicBool::new(false));
        let (stable, elections, restoring, restored) = (Mutex::default(), Mutex::default(), tokio::sync::Mutex::default(), Notify::new());
        Self {
            options,
            raft,
            store,
            members,
            gossip: None,
            agent_calls,
            runtime,
            answers,
            ever_led,
            stable,
            elections,
            restoring,
            restored,
            leader: watch::Sender::default(),
        }
    }

    /// Forms a cluster if that is to be done, and does the leader's duties whenever this server leads, until shutdown.
    pub async fn run(self: Arc<Self>) {
        let forming = futures_util::future::join(formation::run(&self), formation::tell_cluster(&self));
        futures_util::future::join3(forming, leader::run(&self), forward::watch_leader(&self)).await;
    }

    /// What the caller may do.
    fn authorizer(&self, _token: &str) -> Authorizer {
        Authorizer::allow_all()
    }

    fn check_datacenter(&self, datacenter: &str) -> Result<(), Error> {
        if datacenter.is_empty() || datacenter == self.options.datacenter { Ok(()) } else { Err(Error::NoPathToDatacenter) }
    }
}

#[async_trait::async_trait]
impl Handler for Server {
    async fn handle(&self, request: Request, operation: Operation) -> Result<Answer<OperationReply>, Error> {
        self.check_datacenter(&request.datacenter)?;
        let authorizer = self.authorizer(&request.token);
        let call = Call { server: self, request: &request, authorizer: &authorizer };
        forward::answer(call, operation).await
    }

    async fn changes(&self, request: Request, since: u64) -> Result<Changes, Error> {
        self.check_datacenter(&request.datacenter)?;
        let authorizer = self.authorizer(&request.token);
        changes::stream(self, authorizer, since)
    }

    async fn save(&self, request: Request) -> Result<Answer<Chunks>, Error> {
        self.check_datacenter(&request.datacenter)?;
        let authorizer = self.authorizer(&request.token);
        snapshot::save(Call { server: self, request: &request, authorizer: &authorizer }).await
    }

    async fn load(&self, request: Request, purpose: Load, file: Chunks) -> Result<Answer<shared::snapshot::Inspection>, Error> {
        self.check_datacenter(&request.datacenter)?;
        let authorizer = self.authorizer(&request.token);
        snapshot::load(Call { server: self, request: &request, authorizer: &authorizer }, purpose, file).await
    }
}

/// Which function answers which call. Each is boxed: the largest would otherwise set the size of what is moved for every call.
async fn dispatch(call: Call<'_>, operation: Operation) -> Result<Answer<OperationReply>, Error> {
    use Operation as O;
    use OperationReply as R;
    match operation {
        O::Leader(_) => status::leader(call).map(wrap(R::Leader)),
        O::Peers(_) => status::peers(call).map(wrap(R::Peers)),
        O::Register(it) => Box::pin(catalog::register(call, it)).await.map(wrap(R::Register)),
        O::Deregister(it) => Box::pin(catalog::deregister(call, it)).await.map(wrap(R::Deregister)),
        O::Datacenters(_) => catalog::datacenters(call).map(wrap(R::Datacenters)),
        O::Nodes(_) => Box::pin(node::nodes(call)).await.map(wrap(R::Nodes)),
        O::Services(_) => Box::pin(service::services(call)).await.map(wrap(R::Services)),
        O::CatalogServiceNodes(it) => Box::pin(catalog::service_nodes(call, it)).await.map(wrap(R::CatalogServiceNodes)),
        O::NodeServices(it) => Box::pin(node::services(call, it)).await.map(wrap(R::NodeServices)),
        O::NodeChecks(it) => Box::pin(check::of_node(call, it)).await.map(wrap(R::NodeChecks)),
        O::ServiceChecks(it) => Box::pin(check::of_service(call, it)).await.map(wrap(R::ServiceChecks)),
        O::HealthServiceNodes(it) => Box::pin(health::service_nodes(call, it)).await.map(wrap(R::HealthServiceNodes)),
        O::Checks(it) => Box::pin(check::in_state(call, it)).await.map(wrap(R::Checks)),
        O::KvGet(it) => Box::pin(kv::get(call, it)).await.map(wrap(R::KvGet)),
        O::KvList(it) => Box::pin(kv::list(call, it)).await.map(wrap(R::KvList)),
        O::KvKeys(it) => Box::pin(kv::keys(call, it)).await.map(wrap(R::KvKeys)),
        O::KvWrite(it) => Box::pin(kv::write(call, it)).await.map(wrap(R::KvWrite)),
        O::UiNodes(it) => Box::pin(ui::nodes(call, it)).await.map(wrap(R::UiNodes)),
        O::UiServices(_) => Box::pin(ui::services(call)).await.map(wrap(R::UiServices)),
        O::Overview(_) => Box::pin(ui::overview(call)).await.map(wrap(R::Overview)),
        O::ListServices(it) => Box::pin(service::list(call, it)).await.map(wrap(R::ListServices)),
        O::ListNodes(it) => Box::pin(node::list(call, it)).await.map(wrap(R::ListNodes)),
        O::ListChecks(it) => Box::pin(check::list(call, it)).await.map(wrap(R::ListChecks)),
        O::CheckHistory(it) => Box::pin(check::history(call, it)).await.map(wrap(R::CheckHistory)),
        O::RaftState(_) => Box::pin(formation::state(call)).await.map(wrap(R::RaftState)),
        O::RaftConfiguration(_) => Box::pin(operator::raft_configuration(call)).await.map(wrap(R::RaftConfiguration)),
        O::RemovePeer(it) => Box::pin(operator::remove_peer(call, it)).await.map(wrap(R::RemovePeer)),
        O::TransferLeader(it) => Box::pin(operator::transfer_leader(call, it)).await.map(wrap(R::TransferLeader)),
        O::Autopilot(_) => Box::pin(operator::autopilot(call)).await.map(wrap(R::Autopilot)),
        O::SetAutopilot(it) => Box::pin(operator::set_autopilot(call, it)).await.map(wrap(R::SetAutopilot)),
        O::AutopilotHealth(_) => Box::pin(operator::autopilot_health(call)).await.map(wrap(R::AutopilotHealth)),
        O::Raft(_) => Box::pin(operator::raft(call)).await.map(wrap(R::Raft)),
        O::Gossip(_) => Box::pin(operator::gossip(call)).await.map(wrap(R::Gossip)),
        O::Snapshots(_) => Box::pin(snapshot::list(call)).await.map(wrap(R::Snapshots)),
        O::TakeSnapshot(_) => Box::pin(snapshot::take(call)).await.map(wrap(R::TakeSnapshot)),
        O::Keyring(it) => Box::pin(operator::keyring(call, it)).await.map(wrap(R::Keyring)),
        O::AgentCall(it) => Box::pin(agent::call(call, it)).await.map(wrap(R::AgentCall)),
    }
}

fn wrap<T>(reply: impl FnOnce(T) -> OperationReply) -> impl FnOnce(Answer<T>) -> Answer<OperationReply> {
    move |answer| Answer { meta: answer.meta, value: reply(answer.value) }
}
