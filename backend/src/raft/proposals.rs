//! How proposals reach Raft: one by one while few are under way, which is quickest for each; together once there are many, which costs
//! Raft less for each.
//!
//! Never says that something was not taken once Raft may have it.

use std::sync::atomic::{AtomicUsize, Ordering};

use futures_util::{StreamExt as _, stream::FuturesUnordered};
use openraft::{errors::ClientWriteError, impls::ProgressResponder};
use tokio::sync::{mpsc, oneshot};

use super::{
    Error,
    logged::Logged,
    service::fatal,
    types::{Raft, Types},
};
use crate::{
    rt::{Shutdown, Tasks},
    store::{Command, Reply},
};

/// So many go one by one.
const FEW: usize = 32;
/// Proposals that may wait; whoever comes then waits outside.
const QUEUE: usize = 4096;
/// Proposals handed on together at most.
const BATCH: usize = 512;
/// Batches under way: one that is flushed and replicated, and one behind it.
const UNDER_WAY: usize = 2;

/// What became of a proposal: index and reply, or why Raft did not take it or did not keep it.
pub(super) type Outcome = Result<Result<(u64, Reply), ClientWriteError<Types>>, Error>;

/// A command and who waits for it.
struct Proposal {
    command: Command,
    /// Dropped without an answer when the node ended after it took the command.
    answer: oneshot::Sender<Outcome>,
}

/// Where proposals go in.
pub(super) struct Proposals {
    queue: mpsc::Sender<Proposal>,
    under_way: AtomicUsize,
}

/// Counts a proposal for as long as somebody waits for it.
struct Counted<'a>(&'a AtomicUsize);

impl Drop for Counted<'_> {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}

impl Proposals {
    /// Hands proposals on until the agent stops.
    pub(super) fn start(raft: &Raft, tasks: &Tasks) -> Self {
        let (queue, waiting) = mpsc::channel(QUEUE);
        tasks.spawn("raft proposals", run(raft.clone(), waiting, tasks.shutdown()));
        Self { queue, under_way: AtomicUsize::new(0) }
    }

    /// Proposes a command and waits for its outcome; `None` when the node ended after it took the command.
    pub(super) async fn propose(&self, raft: &Raft, command: Command) -> Option<Outcome> {
        let before = self.under_way.fetch_add(1, Ordering::Relaxed);
        let _counted = Counted(&self.under_way);
        if before >= FEW {
            let (answer, answered) = oneshot::channel();
            if self.queue.send(Proposal { command, answer }).await.is_err() {
                return Some(Err(Error::Stopped));
            }
            return answered.await.ok();
        }
        let (responder, written) = ProgressResponder::complete_only();
        if let Err(error) = raft.client_write_ff(Logged::Known(command), Some(responder)).await {
            return Some(Err(fatal(error)));
        }
        let written = written.await.ok()?;
        Some(Ok(written.map(|written| (written.log_id.index(), written.data))))
    }
}

/// Gathers proposals; what still waits when the agent stops was never taken.
async fn run(raft: Raft, mut queue: mpsc::Receiver<Proposal>, shutdown: Shutdown) {
    let (mut batch, mut under_way) = (Vec::new(), FuturesUnordered::new());
    loop {
        tokio::select! {
            biased;
            () = shutdown.requested() => break,
            Some(()) = under_way.next() => {}
            count = queue.recv_many(&mut batch, BATCH), if under_way.len() < UNDER_WAY => {
                if count == 0 {
                    break;
                }
                under_way.push(propose(&raft, std::mem::take(&mut batch)));
            }
        }
    }
    queue.close();
    while let Some(proposal) = queue.recv().await {
        // Whoever no longer waits needs no answer.
        let _ = proposal.answer.send(Err(Error::Stopped));
    }
    while let Some(()) = under_way.next().await {}
}

async fn propose(raft: &Raft, batch: Vec<Proposal>) {
    let (commands, answers): (Vec<_>, Vec<_>) =
        batch.into_iter().map(|proposal| (Logged::Known(proposal.command), proposal.answer)).unzip();
    match raft.client_write_many(commands).await {
        Ok(mut outcomes) => {
            for answer in answers {
                // The node ended: nobody knows what becomes of this one and the ones behind it.
                let Some(Ok(outcome)) = outcomes.next().await else { return };
                let _ = answer.send(Ok(outcome.map(|written| (written.log_id.index(), written.response))));
            }
        }
        Err(error) => {
            let error = fatal(error);
            answers.into_iter().for_each(|answer| drop(answer.send(Err(error.clone()))));
        }
    }
}
