//! Calls to a node's agent: answered here for this node, carried to the others over the streams they keep to the servers.

use std::{
    net::{IpAddr, SocketAddr},
    sync::{Arc, OnceLock},
};

use futures_util::{Stream, StreamExt as _, stream::FuturesUnordered};
use shared::agent::Member;
use tokio::sync::watch;

use super::monitor::Monitors;
use crate::{
    gossip, local,
    rpc::{self, AgentCall, AgentReply, Error, Failure, Payload, Request},
    server::AgentCalls,
};

/// This node's agent as the servers see it.
pub(super) struct Own {
    node_name: String,
    /// Filled once the local layer runs; on a server it needs the server role first.
    local: OnceLock<local::Handle>,
    pool: OnceLock<gossip::Handle>,
    monitors: Monitors,
}

impl Own {
    pub(super) fn new(node_name: &str, monitors: Monitors) -> Arc<Self> {
        Arc::new(Self { node_name: node_name.to_owned(), local: OnceLock::new(), pool: OnceLock::new(), monitors })
    }

    pub(super) fn plug(&self, local: local::Handle, pool: gossip::Handle) {
        let _ = self.local.set(local);
        let _ = self.pool.set(pool);
    }

    fn is(&self, node: &str) -> bool {
        node.eq_ignore_ascii_case(&self.node_name)
    }
}

impl From<local::Error> for Error {
    fn from(error: local::Error) -> Self {
        match error {
            local::Error::BadRequest(text) => Self::BadRequest(text),
            local::Error::NotFound(text) => Self::NotFound(text),
            local::Error::Refused(text) => Self::Refused(text),
            local::Error::PermissionDenied => Self::PermissionDenied,
        }
    }
}

#[async_trait::async_trait]
impl rpc::AgentCallee for Own {
    async fn call(&self, payload: Payload, token: &str) -> Result<AgentReply, Error> {
        let starting = || Error::Unreachable(format!("the agent of node {:?} is still starting", self.node_name));
        let local = self.local.get().ok_or_else(starting)?;
        Ok(match payload {
            Payload::RunCheck { check_id } => AgentReply::Run(Box::new(local.run_check(&check_id).await?)),
            Payload::CheckStatus { check_id } => {
                let unknown = || Error::NotFound(format!("Unknown check ID {check_id:?} on node {:?}", self.node_name));
                AgentReply::CheckStatus(Box::new(local.check_status(&check_id).ok_or_else(unknown)?))
            }
            Payload::RegisterService { registration, replace_existing_checks } => {
                local.register_service(*registration, replace_existing_checks, token).await?;
                AgentReply::Done
            }
            Payload::DeregisterService { service_id } => {
                local.deregister_service(&service_id).await?;
                AgentReply::Done
            }
            Payload::ServiceMaintenance { service_id, enable, reason } => {
                local.service_maintenance(&service_id, enable, &reason).await?;
                AgentReply::Done
            }
            Payload::NodeMaintenance { enable, reason } => {
                local.node_maintenance(enable, &reason).await?;
                AgentReply::Done
            }
            Payload::Services => AgentReply::Services(local.services("")?),
            Payload::OpenMonitor { level, json } => AgentReply::Monitor(self.monitors.open(&level, json)?),
            Payload::ReadMonitor { id, part } => AgentReply::LogLines(self.monitors.read(id, part).await?),
            Payload::Gossip => AgentReply::Gossip(Box::new(self.pool.get().ok_or_else(starting)?.detail().await)),
        })
    }
}

/// Lets agents be called only by names that gossip knows, from that member's address or with its id. Until agents have
/// certificates this keeps out mistakes, not attackers: an id is no secret.
pub(super) fn admit(members: watch::Receiver<Arc<Vec<Member>>>) -> rpc::Admit {
    Arc::new(move |greeting, from| known(&members.borrow(), greeting, from))
}

fn known(members: &[Member], greeting: &rpc::Greeting, from: SocketAddr) -> Result<(), String> {
    let member = members.iter().find(|member| member.name.eq_ignore_ascii_case(&greeting.node));
    let member = member.ok_or_else(|| format!("{:?} is no member of the gossip pool", greeting.node))?;
    let same_id = !greeting.id.is_empty() && member.tags.get("id").is_some_and(|id| id.eq_ignore_ascii_case(&greeting.id));
    if same_id || member.addr.parse::<IpAddr>().is_ok_and(|address| address == from.ip().to_canonical()) {
        return Ok(());
    }
    Err(format!("member {:?} is at {} and has another id", member.name, member.addr))
}

/// How a server reaches the agent of any node.
pub(super) struct Calls {
    pub(super) own: Arc<Own>,
    pub(super) streams: rpc::AgentStreams,
    pub(super) pool: rpc::Pool,
    pub(super) servers: rpc::Servers,
    pub(super) own_id: String,
}

impl Calls {
    /// Asks another server, which must answer from what it holds itself.
    async fn ask(&self, server: rpc::Server, node: &str, payload: Payload, token: &str) -> Result<AgentReply, Failure> {
        let request = Request { token: token.to_owned(), forwarded: true, ..Request::default() };
        let call = AgentCall { node: node.to_owned(), payload };
        let answer = self.pool.try_call(server.address, &request, &call.into()).await?;
        <AgentCall as rpc::TypedOperation>::unwrap(answer.value).ok_or_else(|| Failure::Answered(Error::unexpected_reply()))
    }

    /// The server that is this node, or else every other one: one of them holds the node's stream.
    fn others(&self, node: &str) -> Vec<rpc::Server> {
        let servers = self.servers.list();
        match servers.iter().find(|server| server.name.eq_ignore_ascii_case(node)) {
            Some(server) => vec![server.clone()],
            None => servers.iter().filter(|server| server.id != self.own_id).cloned().collect(),
        }
    }
}

#[async_trait::async_trait]
impl AgentCalls for Calls {
    async fn call(&self, node: &str, payload: Payload, token: &str, forwarded: bool) -> Result<AgentReply, Error> {
        if self.own.is(node) {
            return rpc::AgentCallee::call(&*self.own, payload, token).await;
        }
        if self.streams.has(node) {
            return self.streams.call(node, payload, token).await;
        }
        let nowhere = || Error::Unreachable(format!("no agent of node {node:?} is connected to a server"));
        if forwarded {
            return Err(nowhere());
        }
        let asked: FuturesUnordered<_> =
            self.others(node).into_iter().map(|server| self.ask(server, node, payload.clone(), token)).collect();
        first_answer(asked).await.unwrap_or_else(|| Err(nowhere()))
    }
}

/// What the server says that holds the node's stream. The others say that they do not, or cannot be asked: only when nobody holds it is
/// it told that one may have carried the call out and could not say so. None when it reached nobody.
async fn first_answer(mut asked: impl Stream<Item = Result<AgentReply, Failure>> + Unpin) -> Option<Result<AgentReply, Error>> {
    let mut unknown = None;
    while let Some(answer) = asked.next().await {
        match answer {
            Err(Failure::NotSent(_) | Failure::Answered(Error::Unreachable(_) | Error::Stopping | Error::NoLeader)) => {}
            Err(failure @ (Failure::Lost(_) | Failure::Timeout | Failure::Answered(Error::Timeout))) => {
                unknown = Some(Err(failure.into()));
            }
            answer => return Some(answer.map_err(Into::into)),
        }
    }
    unknown
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn the_server_that_holds_the_stream_answers_whatever_becomes_of_the_others() {
        let asked = async |answers: Vec<Result<AgentReply, Failure>>| {
            first_answer(futures_util::stream::iter(answers)).await.map(|answer| answer.map(|_| ()))
        };
        let (lost, elsewhere) = (|| Err(Failure::Lost("EOF".to_owned())), || Err(Failure::Answered(Error::Unreachable("no".to_owned()))));
        let refused = || Err(Failure::Answered(Error::NotFound("Unknown check ID".to_owned())));
        assert_eq!(asked(vec![lost(), elsewhere(), Ok(AgentReply::Done)]).await, Some(Ok(())));
        assert_eq!(asked(vec![Err(Failure::Timeout), refused()]).await, Some(Err(Error::NotFound("Unknown check ID".to_owned()))));
        assert_eq!(asked(vec![Err(Failure::Timeout), elsewhere()]).await, Some(Err(Error::Timeout)), "it may have been done");
        assert_eq!(asked(vec![lost(), elsewhere()]).await, Some(Err(Error::Refused("rpc error making call: EOF".to_owned()))));
        assert_eq!(asked(vec![elsewhere(), Err(Failure::NotSent("refused".to_owned()))]).await, None);
    }

    #[test]
    fn an_agent_is_called_by_a_name_that_gossip_knows_at_its_address_or_by_its_id() {
        let tags = [("id".to_owned(), "AA-1".to_owned())].into();
        let member = Member { name: "web".to_owned(), addr: "10.0.0.1".to_owned(), tags, ..Member::default() };
        let known = |node: &str, id: &str, from: [u8; 4]| {
            let greeting = rpc::Greeting { node: node.to_owned(), id: id.to_owned() };
            known(std::slice::from_ref(&member), &greeting, SocketAddr::from((from, 4000)))
        };
        assert_eq!(known("Web", "", [10, 0, 0, 1]), Ok(()));
        assert_eq!(known("web", "aa-1", [10, 0, 0, 9]), Ok(()));
        assert!(known("web", "bb-2", [10, 0, 0, 9]).expect_err("a stranger").contains("10.0.0.1"));
        assert!(known("web", "", [10, 0, 0, 9]).is_err());
        assert!(known("db", "aa-1", [10, 0, 0, 1]).expect_err("unknown").contains("no member"));
    }
}
