//! The one writer of a durable log: takes what has queued up, writes it in order and flushes once.
//! After an error it never touches the disk again: a failed flush may have lost pages that a second one would not miss.

use std::{io, sync::Arc};

use openraft::storage::IOFlushed;
use tokio::sync::{mpsc, oneshot};

use super::{Backend, Encoded, Head, front::Shared};
use crate::{raft::types::Types, rt::Tasks};

/// Requests written with one flush at most.
const BATCH: usize = 4096;

/// Answers a waiting caller.
pub(super) type Done = oneshot::Sender<io::Result<()>>;

/// What the writer is asked to do, in order.
pub(super) enum Work {
    /// Add entries.
    Append(Encoded, IOFlushed<Types>),
    /// Replace the head; without anybody waiting it rides on the next flush.
    Head(Head, Option<Done>),
    /// Remove entries from this index on.
    Truncate(u64, Done),
    /// Remove entries up to this index.
    Purge(Head, u64, Done),
}

impl Work {
    fn needs_flush(&self) -> bool {
        !matches!(self, Self::Head(_, None))
    }
}

/// Runs until every [`super::LogStore`] is gone.
pub(super) async fn run(mut backend: Box<dyn Backend>, mut queue: mpsc::Receiver<Work>, shared: Arc<Shared>, tasks: Tasks) {
    let mut failure: Option<String> = None;
    loop {
        let mut batch = Vec::new();
        if queue.recv_many(&mut batch, BATCH).await == 0 {
            return;
        }
        if failure.is_none() {
            let step = tasks.spawn_blocking(move || {
                let result = write(backend.as_mut(), &batch);
                (backend, batch, result)
            });
            let Ok((returned, written, result)) = step.await else { return };
            (backend, batch) = (returned, written);
            if let Err(error) = result {
                tracing::error!(%error, "raft log failed; this server takes no writes until it is restarted");
                failure = Some(error.to_string());
            }
        }
        answer(batch, failure.as_deref(), &shared);
    }
}

fn write(backend: &mut dyn Backend, batch: &[Work]) -> io::Result<()> {
    for work in batch {
        match work {
            Work::Append(entries, _) => entries.iter().try_for_each(|(index, entry)| backend.append(*index, entry))?,
            Work::Head(head, _) => backend.set_head(head)?,
            Work::Truncate(from, _) => backend.truncate_from(*from)?,
            Work::Purge(head, upto, _) => {
                backend.set_head(head)?;
                backend.purge_to(*upto)?;
            }
        }
    }
    if batch.iter().any(Work::needs_flush) { backend.sync() } else { Ok(()) }
}

fn answer(batch: Vec<Work>, failure: Option<&str>, shared: &Shared) {
    let result = || failure.map_or(Ok(()), |reason| Err(io::Error::other(reason.to_owned())));
    for work in batch {
        match work {
            Work::Append(entries, flushed) => {
                if let (None, Some((last, _))) = (failure, entries.last()) {
                    shared.flushed(*last);
                }
                flushed.io_completed(result());
            }
            Work::Head(_, None) => {}
            // A caller that no longer waits needs no answer.
            Work::Head(_, Some(done)) | Work::Truncate(_, done) | Work::Purge(_, _, done) => drop(done.send(result())),
        }
    }
}
