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
    log::Recovered,
    snapshot::{self, Archive, Image},
    types::{LogId, Membership, Snapshot, SnapshotMeta, Types},
};
use crate::{
    rt::Tasks,
    store::{Command, Reply, State, Store},
};

/// Commands applied at once at most, so that one publication does not take long.
const BATCH: usize = 512;

/// Newest snapshot, shared by the machine and its builder.
pub(super) type Newest = Arc<Mutex<Option<(SnapshotMeta, Image)>>>;

/// openraft's side of the store. Its only writer.
pub(super) struct Machine {
    store: Arc<Store>,
    applied: Option<LogId>,
    membership: Membership,
    newest: Newest,
    /// None in memory.
    archive: Option<Archive>,
    tasks: Tasks,
}

impl Machine {
    /// A machine that has applied nothing yet and keeps snapshots in memory.
    pub(super) fn in_memory(store: Arc<Store>, tasks: &Tasks) -> Self {
        let (membership, newest) = (Membership::default(), Newest::default());
        Self { store, applied: None, membership, newest, archive: None, tasks: tasks.clone() }
    }

    /// As [`Machine::in_memory`], with the snapshot that a former life left there.
    #[cfg(any(test, feature = "sim"))]
    pub(super) fn resumed(store: Arc<Store>, tasks: &Tasks, newest: Newest) -> Self {
        Self { newest, ..Self::in_memory(store, tasks) }
    }

    /// A machine that goes on from the newest snapshot of the archive.
    ///
    /// # Errors
    /// The disk.
    pub(super) fn on_disk(store: Arc<Store>, archive: Archive, tasks: &Tasks) -> io::Result<Self> {
        let mut machine = Self::in_memory(store, tasks);
        if let Some((meta, image, state)) = archive.newest()? {
            machine.store.install(state);
            (machine.applied, machine.membership) = (meta.last_log_id, meta.last_membership.clone());
            machine.newest = Arc::new(Mutex::new(Some((meta, image))));
        }
        machine.archive = Some(archive);
        Ok(machine)
    }

    /// Index of the last entry applied.
    pub(super) fn applied(&self) -> Option<u64> {
        self.applied.map(|id| id.index())
    }

    /// Id of the last entry applied.
    pub(super) fn last_applied(&self) -> Option<LogId> {
        self.applied
    }

    /// The newest configuration applied.
    pub(super) fn membership(&self) -> &Membership {
        &self.membership
    }

    /// Lets the configuration that an operator gave take the place of the one in the snapshot.
    pub(super) fn recover(&mut self, recovered: &Recovered) {
        recovered.replace(&mut self.membership);
        if let Some((meta, _)) = self.newest.lock().unwrap_or_else(PoisonError::into_inner).as_mut() {
            recovered.replace(&mut meta.last_membership);
        }
    }

    fn keeper(&self) -> Keeper {
        Keeper { newest: self.newest.clone(), archive: self.archive.clone(), tasks: self.tasks.clone() }
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
        Builder { meta, state: self.store.state(), keeper: self.keeper() }
    }

    async fn install_snapshot(&mut self, meta: &SnapshotMeta, image: Image) -> io::Result<()> {
        let state = self.tasks.spawn_blocking(move || snapshot::state(&image)).await.map_err(io::Error::other)??;
        // On disk first: the log before it goes next.
        self.keeper().keep(meta.clone(), state.clone()).await?;
        self.store.install((*state).clone());
        (self.applied, self.membership) = (meta.last_log_id, meta.last_membership.clone());
        Ok(())
    }

    async fn get_current_snapshot(&mut self) -> io::Result<Option<Snapshot>> {
        let newest = self.newest.lock().unwrap_or_else(PoisonError::into_inner).clone();
        Ok(newest.map(|(meta, snapshot)| Snapshot { meta, snapshot }))
    }
}

/// Keeps the newest snapshot, in memory or on disk.
struct Keeper {
    newest: Newest,
    archive: Option<Archive>,
    tasks: Tasks,
}

impl Keeper {
    async fn keep(&self, meta: SnapshotMeta, state: Arc<State>) -> io::Result<Image> {
        let image = match self.archive.clone() {
            Some(archive) => {
                let meta = meta.clone();
                self.tasks.spawn_blocking(move || archive.save(&meta, &state)).await.map_err(io::Error::other)??
            }
            None => Image::State(state),
        };
        *self.newest.lock().unwrap_or_else(PoisonError::into_inner) = Some((meta, image.clone()));
        Ok(image)
    }
}

/// Makes a snapshot of the state as it was when the builder was made.
pub(super) struct Builder {
    meta: SnapshotMeta,
    state: Arc<State>,
    keeper: Keeper,
}

impl RaftSnapshotBuilder<Types> for Builder {
    type SnapshotData = Image;

    async fn build_snapshot(&mut self) -> io::Result<Snapshot> {
        let snapshot = self.keeper.keep(self.meta.clone(), self.state.clone()).await?;
        Ok(Snapshot { meta: self.meta.clone(), snapshot })
    }
}
