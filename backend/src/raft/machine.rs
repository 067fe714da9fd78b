//! The state machine: takes what openraft has ready as one batch to [`Store::commit`], then answers the proposers.
//! Blank and membership entries touch no table.

use std::{
    io,
    sync::{Arc, Mutex, PoisonError},
};

use futures_util::{Stream, StreamExt as _};
use openraft::{
    EntryPayload, OptionalSend, RaftSnapshotBuilder,
    storage::{EntryResponder, RaftStateMachine},
};

use super::{
    snapshot::Image,
    types::{LogId, Membership, Snapshot, SnapshotMeta, Types},
};
use crate::store::{Command, Reply, Store};

/// Commands applied at once at most, so that one publication does not take long.
const BATCH: usize = 512;

/// Newest snapshot, shared by the machine and its builder.
type Newest = Arc<Mutex<Option<(SnapshotMeta, Image)>>>;

/// openraft's side of the store. Its only writer.
pub(super) struct Machine {
    store: Arc<Store>,
    applied: Option<LogId>,
    membership: Membership,
    newest: Newest,
}

impl Machine {
    /// A machine that has applied nothing yet.
    pub(super) fn new(store: Arc<Store>) -> Self {
        Self { store, applied: None, membership: Membership::default(), newest: Newest::default() }
    }

    /// Applies what is ready and answers it.
    fn apply_batch(&mut self, batch: Vec<EntryResponder<Types>>) {
        let mut commands: Vec<(u64, Command)> = Vec::with_capacity(batch.len());
        let mut waiting = Vec::with_capacity(batch.len());
        for (entry, responder) in batch {
            self.applied = Some(entry.log_id);
            match entry.payload {
                EntryPayload::Normal(command) => {
                    commands.push((entry.log_id.index(), command));
                    waiting.push((true, responder));
                }
                EntryPayload::Membership(membership) => {
                    self.membership = Membership::new(Some(entry.log_id), membership);
                    waiting.push((false, responder));
                }
                EntryPayload::Blank => waiting.push((false, responder)),
            }
        }
        let mut replies = if commands.is_empty() { Vec::new() } else { self.store.commit(&commands) }.into_iter();
        for (is_command, responder) in waiting {
            let reply = if is_command { replies.next().expect("commit answers every command") } else { Reply::Done(true) };
            if let Some(responder) = responder {
                responder.send(reply);
            }
        }
    }
}

impl RaftStateMachine<Types> for Machine {
    type SnapshotData = Image;
    type SnapshotBuilder = Builder;

    async fn applied_state(&mut self) -> io::Result<(Option<LogId>, Membership)> {
        Ok((self.applied, self.membership.clone()))
    }

    async fn apply<S>(&mut self, entries: S) -> io::Result<()>
    where
        S: Stream<Item = io::Result<EntryResponder<Types>>> + Unpin + OptionalSend,
    {
        let mut ready = entries.ready_chunks(BATCH);
        while let Some(chunk) = ready.next().await {
            let (mut batch, mut failure) = (Vec::with_capacity(chunk.len()), None);
            for entry in chunk {
                match entry {
                    Ok(entry) if failure.is_none() => batch.push(entry),
                    Ok(_) => {}
                    Err(error) => failure = failure.or(Some(error)),
                }
            }
            self.apply_batch(batch);
            if let Some(error) = failure {
                return Err(error);
            }
        }
        Ok(())
    }

    async fn get_snapshot_builder(&mut self) -> Builder {
        let meta = SnapshotMeta { last_log_id: self.applied, last_membership: self.membership.clone() };
        Builder { meta, image: Image(self.store.state()), newest: self.newest.clone() }
    }

    async fn install_snapshot(&mut self, meta: &SnapshotMeta, image: Image) -> io::Result<()> {
        self.store.install((*image.0).clone());
        (self.applied, self.membership) = (meta.last_log_id, meta.last_membership.clone());
        *self.newest.lock().unwrap_or_else(PoisonError::into_inner) = Some((meta.clone(), image));
        Ok(())
    }

    async fn get_current_snapshot(&mut self) -> io::Result<Option<Snapshot>> {
        let newest = self.newest.lock().unwrap_or_else(PoisonError::into_inner).clone();
        Ok(newest.map(|(meta, snapshot)| Snapshot { meta, snapshot }))
    }
}

/// Makes a snapshot of the state as it was when the builder was made.
pub(super) struct Builder {
    meta: SnapshotMeta,
    image: Image,
    newest: Newest,
}

impl RaftSnapshotBuilder<Types> for Builder {
    type SnapshotData = Image;

    async fn build_snapshot(&mut self) -> io::Result<Snapshot> {
        let made = (self.meta.clone(), self.image.clone());
        *self.newest.lock().unwrap_or_else(PoisonError::into_inner) = Some(made.clone());
        Ok(Snapshot { meta: made.0, snapshot: made.1 })
    }
}
