//! Groups the batches of callers that arrive together into one write and one disk flush.
//!
//! Whoever comes while nobody writes starts the writer; the writer goes on until nobody waits. After a disk error it
//! never writes again: a second flush would not notice what the first one lost.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::sync::{Semaphore, oneshot};

use super::{
    Change, Error,
    table::{Reader, Tables},
};
use crate::rt::Tasks;

/// Batches that may wait; more wait for a place.
const WAITING: usize = 4096;

/// A batch and whom to tell.
type Waiting = (Vec<Change>, oneshot::Sender<Result<(), Error>>);

/// The queue in front of the tables.
#[derive(Debug)]
pub(super) struct Group {
    reader: Reader,
    places: Semaphore,
    queue: Mutex<Queue>,
    tasks: Tasks,
}

#[derive(Debug)]
struct Queue {
    waiting: Vec<Waiting>,
    /// Here while nobody writes.
    idle: Option<Tables>,
    failure: Option<Error>,
}

impl Group {
    pub(super) fn new(tables: Tables) -> Self {
        Self {
            reader: tables.reader(),
            places: Semaphore::new(WAITING),
            queue: Mutex::new(Queue { waiting: Vec::new(), idle: Some(tables), failure: None }),
            tasks: Tasks::new(),
        }
    }

    pub(super) fn reader(&self) -> &Reader {
        &self.reader
    }

    fn queue(&self) -> MutexGuard<'_, Queue> {
        self.queue.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) async fn commit(self: &Arc<Self>, batch: Vec<Change>) -> Result<(), Error> {
        let stopped = |_| Error("stopped".to_owned());
        let _place = self.places.acquire().await.map_err(|_| Error("stopped".to_owned()))?;
        let (done, result) = oneshot::channel();
        let idle = {
            let mut queue = self.queue();
            if let Some(failure) = &queue.failure {
                return Err(failure.clone());
            }
            queue.waiting.push((batch, done));
            queue.idle.take()
        };
        if let Some(tables) = idle {
            let group = self.clone();
            // The writer tells each caller the outcome, this one too.
            drop(self.tasks.spawn_blocking(move || group.write(tables)));
        }
        result.await.map_err(stopped)?
    }

    fn write(&self, mut tables: Tables) {
        loop {
            let waiting = {
                let mut queue = self.queue();
                if queue.waiting.is_empty() {
                    queue.idle = Some(tables);
                    return;
                }
                std::mem::take(&mut queue.waiting)
            };
            let (changes, callers): (Vec<_>, Vec<_>) = waiting.into_iter().unzip();
            let result = tables.write(&changes.concat()).map_err(|error| Error(error.to_string()));
            if let Err(failure) = &result {
                tracing::error!(%failure, "local store failed; it takes no writes until the agent is restarted");
                let mut queue = self.queue();
                queue.failure = Some(failure.clone());
                // Whoever came meanwhile learns it too, by the end of its channel.
                queue.waiting.drain(..).for_each(|(_, caller)| drop(caller.send(result.clone())));
            }
            callers.into_iter().for_each(|caller| drop(caller.send(result.clone())));
            if result.is_err() {
                return;
            }
        }
    }
}
