//! What the server needs of Raft, so that tests can do without it. Implemented by `raft::Handle` alone otherwise.

use std::{sync::atomic::Ordering, time::Duration};

use futures_util::stream::{self, BoxStream};
use shared::query::Consistency;

use super::Server;
use crate::{
    raft::{self, Status},
    rpc::Error,
    rt::clock,
    store::{Command, Reply},
};

/// The longest a write may take once somebody leads.
const WRITE_DEADLINE: Duration = Duration::from_secs(30);
/// How long to wait before asking again, when somebody leads but did not accept.
const RETRY: Duration = Duration::from_millis(25);

#[async_trait::async_trait]
pub(super) trait Consensus: Send + Sync {
    async fn propose(&self, command: Command) -> Result<(u64, Reply), raft::Error>;
    async fn confirm_leadership(&self, quorum: bool) -> Result<(), raft::Error>;
    async fn wait_for_leader(&self, longest: Duration) -> bool;
    fn status(&self) -> Status;
    /// One item whenever the leader or the configuration changed; the first may tell of a change before the call.
    fn changes(&self) -> BoxStream<'static, ()>;
}

#[async_trait::async_trait]
impl Consensus for raft::Handle {
    async fn propose(&self, command: Command) -> Result<(u64, Reply), raft::Error> {
        raft::Handle::propose(self, command).await
    }

    async fn confirm_leadership(&self, quorum: bool) -> Result<(), raft::Error> {
        raft::Handle::confirm_leadership(self, quorum).await
    }

    async fn wait_for_leader(&self, longest: Duration) -> bool {
        raft::Handle::wait_for_leader(self, longest).await
    }

    fn status(&self) -> Status {
        raft::Handle::status(self)
    }

    fn changes(&self) -> BoxStream<'static, ()> {
        let next = async |mut handle: raft::Handle| {
            handle.changed().await;
            Some(((), handle))
        };
        Box::pin(stream::unfold(self.clone(), next))
    }
}

/// What a Raft error means to the caller.
fn refusal(error: raft::Error) -> Error {
    match error {
        raft::Error::NoLeader | raft::Error::NotLeader { .. } => Error::NoLeader,
        raft::Error::Storage(reason) => Error::Refused(format!("raft storage: {reason}")),
        raft::Error::Stopped => Error::Stopping,
    }
}

impl Server {
    /// Tries until somebody leads, for at most `rpc_hold_timeout`.
    async fn hold<T, F>(&self, attempt: impl Fn() -> F) -> Result<T, Error>
    where
        F: Future<Output = Result<T, raft::Error>>,
    {
        let deadline = self.runtime.clock.now() + self.options.rpc_hold_timeout;
        loop {
            match attempt().await {
                Ok(value) => return Ok(value),
                Err(raft::Error::NoLeader | raft::Error::NotLeader { .. }) => {}
                Err(error) => return Err(refusal(error)),
            }
            let left = deadline.saturating_duration_since(self.runtime.clock.now());
            if left.is_zero() || !self.raft.wait_for_leader(left).await {
                return Err(Error::NoLeader);
            }
            clock::sleep(RETRY.min(left)).await;
        }
    }

    /// Replicates a command; answers whether a conditional write was done.
    pub(super) async fn propose(&self, command: Command) -> Result<bool, Error> {
        let proposal = self.hold(|| self.raft.propose(command.clone()));
        let (_, reply) = clock::timeout(self.options.rpc_hold_timeout + WRITE_DEADLINE, proposal).await.map_err(|_| Error::Timeout)??;
        match reply {
            Reply::Done(done) => Ok(done),
            Reply::Refused(reason) => Err(Error::Refused(reason)),
        }
    }

    /// Makes sure that this server may answer a read as fresh as asked for.
    pub(super) async fn ensure_fresh(&self, consistency: Consistency) -> Result<(), Error> {
        match consistency {
            Consistency::Stale if self.ever_led.load(Ordering::Relaxed) || self.raft.status().leader.is_some() => {}
            Consistency::Stale => return Err(Error::NoLeader),
            Consistency::Default => self.hold(|| self.raft.confirm_leadership(false)).await?,
            Consistency::Consistent => self.hold(|| self.raft.confirm_leadership(true)).await?,
        }
        self.ever_led.store(true, Ordering::Relaxed);
        Ok(())
    }
}
