//! The one writer of a durable log: takes what has queued up, writes it in order and flushes once.
//! After an error it never touches the disk again: a failed flush may have lost pages that a second one would not miss.

use std::{io, sync::Arc};
#[cfg(any(test, feature = "sim"))]
use std::{
    sync::{Mutex, PoisonError},
    time::Duration,
};

use openraft::storage::IOFlushed;
use tokio::{
    sync::{mpsc, oneshot},
    task::JoinHandle,
};

use super::{Backend, Encoded, Head, front::Shared};
#[cfg(any(test, feature = "sim"))]
use crate::rt::{Rng, clock};
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
    /// Remove entries up to this index. Nobody waits for it: whoever did would stand still for as long as the disk does.
    Purge(Head, u64),
}

impl Work {
    /// A purge that is lost does no harm: the entries are still there then.
    fn needs_flush(&self) -> bool {
        !matches!(self, Self::Head(_, None) | Self::Purge(..))
    }
}

/// Where the disk's work is done.
#[derive(Clone)]
pub(in crate::raft) enum Place {
    /// On a thread that may block.
    Threads(Tasks),
    /// In the calling task, without threads, for a disk in memory whose flushes take up to so long.
    #[cfg(any(test, feature = "sim"))]
    Inline(Slowness),
}

/// How slow a disk in memory is.
#[cfg(any(test, feature = "sim"))]
#[derive(Clone)]
pub(in crate::raft) struct Slowness {
    pub(super) rng: Rng,
    pub(super) slowest_flush: Duration,
    /// Until when no flush ends.
    pub(super) stalled: Arc<Mutex<Option<clock::Instant>>>,
}

#[cfg(any(test, feature = "sim"))]
impl Slowness {
    async fn pass(&self) {
        clock::sleep(self.rng.jitter(self.slowest_flush)).await;
        let until = *self.stalled.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(until) = until.filter(|until| *until > clock::Instant::now()) {
            clock::sleep_until(until).await;
        }
    }
}

impl Place {
    /// Does work that only reads.
    pub(super) async fn read<T: Send + 'static>(&self, work: impl FnOnce() -> T + Send + 'static) -> io::Result<T> {
        match self {
            Self::Threads(tasks) => tasks.spawn_blocking(work).await.map_err(io::Error::other),
            #[cfg(any(test, feature = "sim"))]
            Self::Inline(_) => Ok(work()),
        }
    }

    /// Writes a batch and flushes it if need be; nothing comes back when the writing panicked.
    async fn write(&self, mut backend: Box<dyn Backend>, batch: Vec<Work>) -> Option<(Box<dyn Backend>, Vec<Work>, io::Result<()>)> {
        match self {
            Self::Threads(tasks) => {
                let step = tasks.spawn_blocking(move || {
                    let result = write(backend.as_mut(), &batch).and_then(|()| flush(backend.as_mut(), &batch));
                    (backend, batch, result)
                });
                step.await.ok()
            }
            #[cfg(any(test, feature = "sim"))]
            Self::Inline(slowness) => {
                let written = write(backend.as_mut(), &batch);
                slowness.pass().await;
                let result = written.and_then(|()| flush(backend.as_mut(), &batch));
                Some((backend, batch, result))
            }
        }
    }

    /// Flushes what rode along with no other flush.
    async fn finish(&self, mut backend: Box<dyn Backend>) {
        match self {
            Self::Threads(tasks) => drop(tasks.spawn_blocking(move || finish(backend.as_mut())).await),
            #[cfg(any(test, feature = "sim"))]
            Self::Inline(slowness) => {
                slowness.pass().await;
                finish(backend.as_mut());
            }
        }
    }
}

/// The last flush: nobody waits for it, so its failure is only told.
fn finish(backend: &mut dyn Backend) {
    if let Err(error) = backend.sync() {
        tracing::warn!(%error, "the last notes of the raft log are not on disk; nothing that was acknowledged is among them");
    }
}

/// Space being freed beside the writer, one thing at a time, so that no append waits for it.
#[derive(Default)]
struct Sweeping(Option<JoinHandle<()>>);

impl Sweeping {
    fn go_on(&mut self, backend: &mut dyn Backend, place: &Place) {
        if self.0.as_ref().is_some_and(|sweeping| !sweeping.is_finished()) {
            return;
        }
        let Some(sweep) = backend.sweep() else { return };
        let sweep = move || {
            if let Err(error) = sweep() {
                tracing::warn!(%error, "purged raft log segments are not removed");
            }
        };
        match place {
            Place::Threads(tasks) => self.0 = Some(tasks.spawn_blocking(sweep)),
            #[cfg(any(test, feature = "sim"))]
            Place::Inline(_) => sweep(),
        }
    }
}

/// Runs until every [`super::LogStore`] is gone; everything is on disk then, also what nobody waited for.
pub(super) async fn run(mut backend: Box<dyn Backend>, mut queue: mpsc::Receiver<Work>, shared: Arc<Shared>, place: Place) {
    let (mut failure, mut sweeping, mut unflushed): (Option<String>, _, _) = (None, Sweeping::default(), false);
    loop {
        let mut batch = Vec::new();
        if queue.recv_many(&mut batch, BATCH).await == 0 {
            if unflushed && failure.is_none() {
                place.finish(backend).await;
            }
            return;
        }
        unflushed = !batch.iter().any(Work::needs_flush);
        if failure.is_none() {
            let Some((returned, written, result)) = place.write(backend, batch).await else { return };
            (backend, batch) = (returned, written);
            if let Err(error) = result {
                tracing::error!(%error, "raft log failed; this server takes no writes until it is restarted");
                shared.failed(&error.to_string());
                failure = Some(error.to_string());
            }
        }
        answer(batch, failure.as_deref(), &shared);
        if failure.is_none() {
            sweeping.go_on(backend.as_mut(), &place);
        }
    }
}

fn write(backend: &mut dyn Backend, batch: &[Work]) -> io::Result<()> {
    for work in batch {
        match work {
            Work::Append(entries, _) => entries.iter().try_for_each(|(index, entry)| backend.append(*index, entry))?,
            Work::Head(head, _) => backend.set_head(head)?,
            Work::Truncate(from, _) => backend.truncate_from(*from)?,
            Work::Purge(head, upto) => {
                backend.set_head(head)?;
                backend.purge_to(*upto)?;
            }
        }
    }
    Ok(())
}

fn flush(backend: &mut dyn Backend, batch: &[Work]) -> io::Result<()> {
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
            Work::Head(_, None) | Work::Purge(..) => {}
            // A caller that no longer waits needs no answer.
            Work::Head(_, Some(done)) | Work::Truncate(_, done) => drop(done.send(result())),
        }
    }
}
