//! The handle every surface calls through.

use std::sync::Arc;

use serde::{Deserialize, Serialize};
use shared::{
    changes::Change,
    query::{QueryMeta, QueryOptions},
    snapshot::Inspection,
};
use tokio::sync::mpsc;

use super::{Error, Operation, OperationReply, TypedOperation};
use crate::rt::chunks::Chunks;

/// A call with everything that travels with it.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub struct Request {
    /// Target datacenter; empty means the agent's own.
    pub datacenter: String,
    /// The caller's token; empty is anonymous.
    pub token: String,
    /// How to read.
    pub options: QueryOptions,
    /// One server passed it to another, which answers it itself or fails, but never passes it on.
    #[serde(default)]
    pub forwarded: bool,
    /// An agent keeps the catalog in step with itself: no limit may stop that.
    #[serde(default)]
    pub anti_entropy: bool,
}

/// A reply and what it says about itself.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub struct Answer<T> {
    /// Index, leader, staleness.
    pub meta: QueryMeta,
    /// The reply.
    pub value: T,
}

/// What changed up to an index: `None` means "reset, read everything again".
pub type Batch = (u64, Option<Vec<Change>>);

/// The change stream. An error is its last item: why it cannot go on.
pub type Changes = mpsc::Receiver<Result<Batch, Error>>;

/// What becomes of a saved file.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Load {
    /// It is checked and described.
    Inspect,
    /// It is checked and replaces the state of the datacenter.
    Restore,
}

/// What answers calls: the server role, filled in by `server`; later also the client's forwarder.
#[async_trait::async_trait]
pub trait Handler: Send + Sync + 'static {
    /// Answers one call within its deadline. Dropping the future cancels it.
    async fn handle(&self, request: Request, operation: Operation) -> Result<Answer<OperationReply>, Error>;

    /// Streams changes after `since` (0: from now on). The first batch is sent at once and may be empty: it tells the index
    /// the stream starts at. Ends when the receiver is dropped.
    async fn changes(&self, request: Request, since: u64) -> Result<Changes, Error>;

    /// Saves the state: a file as it is written. An error among its pieces means that it broke off. Never sent twice.
    async fn save(&self, _request: Request) -> Result<Answer<Chunks>, Error> {
        Err(Error::Refused("no snapshots here".to_owned()))
    }

    /// Takes a saved file as it comes; answers what is in it once done.
    async fn load(&self, _request: Request, _purpose: Load, _file: Chunks) -> Result<Answer<Inspection>, Error> {
        Err(Error::Refused("no snapshots here".to_owned()))
    }
}

/// Clone-cheap handle to whoever answers calls.
#[derive(Clone)]
pub struct Router(Arc<dyn Handler>);

impl std::fmt::Debug for Router {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Router")
    }
}

impl Router {
    /// Calls reach this handler.
    #[must_use]
    pub fn new(handler: Arc<dyn Handler>) -> Self {
        Self(handler)
    }

    /// Makes one call.
    ///
    /// # Errors
    /// Whatever the handler answers; [`Error::Refused`] when it answers another call's reply.
    pub async fn call<O: TypedOperation>(&self, request: Request, operation: O) -> Result<Answer<O::Reply>, Error> {
        let Answer { meta, value } = self.handle(request, operation.into()).await?;
        let value = O::unwrap(value).ok_or_else(Error::unexpected_reply)?;
        Ok(Answer { meta, value })
    }

    /// Makes one call whose kind only its maker knows.
    ///
    /// # Errors
    /// Whatever the handler answers.
    pub async fn handle(&self, request: Request, operation: Operation) -> Result<Answer<OperationReply>, Error> {
        self.0.handle(request, operation).await
    }

    /// Opens the change stream.
    ///
    /// # Errors
    /// Whatever the handler answers.
    pub async fn changes(&self, request: Request, since: u64) -> Result<Changes, Error> {
        self.0.changes(request, since).await
    }

    /// Saves the state as a file.
    ///
    /// # Errors
    /// Whatever the handler answers.
    pub async fn save(&self, request: Request) -> Result<Answer<Chunks>, Error> {
        self.0.save(request).await
    }

    /// Inspects or restores a saved file.
    ///
    /// # Errors
    /// Whatever the handler answers.
    pub async fn load(&self, request: Request, purpose: Load, file: Chunks) -> Result<Answer<Inspection>, Error> {
        self.0.load(request, purpose, file).await
    }
}
