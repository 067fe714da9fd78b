//! The state machine: takes what openraft has ready as one batch to [`Store::commit`], then answers the proposers.
//! Blank and membership entries touch no table.

use std::{
    io,
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicU64, Ordering},
    },
};

use futures_util::{Stream, StreamExt as _};
use openraft::{
    EntryPayload, OptionalSend, RaftSnapshotBuilder,
    storage::{EntryResponder, RaftStateMachine},
};

use super::{
    log::Recovered,
    logged::Logged,
    snapshot::{self, Archive, Contents, Head, Image},
    types::{LogId, Membership, Snapshot, SnapshotMeta, Types},
};
use crate::{
    rt::{Clock, Tasks},
    store::{Command, Reply, State, Store},
};

/// Commands applied at once at most, so that one publication does not take long.
const BATCH: usize = 512;

/// Newest snapshot, shared by the machine and its builder.
pub(super) type Newest = Arc<Mutex<Option<Image>>>;

/// Who takes snapshots here, as they note it, and what is needed to take them.
#[derive(Clone, Debug)]
pub(super) struct Origin {
    /// This server's name.
    pub(super) server: String,
    pub(super) clock: Clock,
    pub(super) tasks: Tasks,
}

/// openraft's side of the store. Its only writer.
pub(super) struct Machine {
    store: Arc<Store>,
    applied: Option<LogId>,
    membership: Membership,
    newest: Newest,
    /// None in memory.
    archive: Option<Archive>,
    origin: Origin,
    /// Index of the last entry applied, for whoever was answered already: openraft hears of it later.
    progress: Arc<AtomicU64>,
}

impl Machine {
    /// A machine that has applied nothing yet and keeps snapshots in memory.
    pub(super) fn in_memory(store: Arc<Store>, origin: Origin) -> Self {
        let (membership, newest) = (Membership::default(), Newest::default());
        Self { store, applied: None, membership, newest, archive: None, origin, progress: Arc::default() }
    }

    /// As [`Machine::in_memory`], with the snapshot that a former life left there.
    #[cfg(any(test, feature = "sim"))]
    pub(super) fn resumed(store: Arc<Store>, origin: Origin, newest: Newest) -> Self {
        Self { newest, ..Self::in_memory(store, origin) }
    }

    /// A machine that goes on from the newest snapshot of the archive, and what is damaged of newer ones.
    ///
    /// # Errors
    /// The disk.
    pub(super) fn on_disk(store: Arc<Store>, archive: Archive, origin: Origin) -> io::Result<(Self, Vec<String>)> {
        let mut machine = Self::in_memory(store, origin);
        let found = archive.newest()?;
        if let Some((image, state)) = found.newest {
            machine.store.install(state);
            (machine.applied, machine.membership) = (image.head.last_log_id, image.head.last_membership.clone());
            machine.newest = Arc::new(Mutex::new(Some(image)));
        }
        machine.archive = Some(archive);
        machine.note_progress();
        Ok((machine, found.damaged))
    }

    fn note_progress(&self) {
        self.progress.store(self.applied().unwrap_or(0), Ordering::SeqCst);
    }

    /// Index of the last entry applied, also of later ones.
    pub(super) fn progress(&self) -> Arc<AtomicU64> {
        self.progress.clone()
    }

    /// The newest snapshot, also of later ones.
    pub(super) fn newest(&self) -> Newest {
        self.newest.clone()
    }

    /// Where snapshots are kept; none in memory.
    pub(super) fn archive(&self) -> Option<Archive> {
        self.archive.clone()
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
        if let Some(image) = self.newest.lock().unwrap_or_else(PoisonError::into_inner).as_mut() {
            recovered.replace(&mut image.head.last_membership);
        }
    }

    fn keeper(&self) -> Keeper {
        Keeper { newest: self.newest.clone(), archive: self.archive.clone(), origin: self.origin.clone() }
    }

    /// Applies what is ready and answers it.
    fn apply_batch(&mut self, batch: Vec<EntryResponder<Types>>) {
        let mut commands: Vec<(u64, Command)> = Vec::with_capacity(batch.len());
        let mut waiting = Vec::with_capacity(batch.len());
        for (entry, responder) in batch {
            self.applied = Some(entry.log_id);
            match entry.payload {
                EntryPayload::Normal(Logged::Skipped { name, .. }) => {
                    tracing::warn!(name, index = entry.log_id.index(), "a later release wrote a log entry that this one skips");
                    waiting.push((false, responder));
                }
                EntryPayload::Normal(Logged::Known(command)) => {
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
        self.note_progress();
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
        let head = Head {
            last_log_id: self.applied,
            last_membership: self.membership.clone(),
            taken_at_ms: self.origin.clock.wall_ms(),
            size_bytes: 0,
            server: self.origin.server.clone(),
            version: env!("CARGO_PKG_VERSION").to_owned(),
        };
        Builder { head, state: self.store.state(), keeper: self.keeper() }
    }

    async fn install_snapshot(&mut self, meta: &SnapshotMeta, image: Image) -> io::Result<()> {
        // On disk first: the log before it goes next.
        let (keeper, before) = (self.keeper(), self.store.state());
        let state = self.origin.tasks.spawn_blocking(move || keeper.install(&image)).await.map_err(io::Error::other)??;
        self.store.install(State::clone(&state));
        (self.applied, self.membership) = (meta.last_log_id, meta.last_membership.clone());
        self.note_progress();
        // A large state takes a while to be freed.
        self.origin.tasks.spawn_blocking(move || drop(before));
        Ok(())
    }

    async fn get_current_snapshot(&mut self) -> io::Result<Option<Snapshot>> {
        let newest = self.newest.lock().unwrap_or_else(PoisonError::into_inner).clone();
        Ok(newest.map(|snapshot| Snapshot { meta: snapshot.head.meta(), snapshot }))
    }
}

/// Keeps the newest snapshot, in memory or on disk. Its functions block.
#[derive(Clone)]
struct Keeper {
    newest: Newest,
    archive: Option<Archive>,
    origin: Origin,
}

impl Keeper {
    fn take(&self, head: Head, state: Arc<State>) -> io::Result<Image> {
        let image = match &self.archive {
            Some(archive) => archive.save(head, &state)?,
            None => Image { head: Head { size_bytes: snapshot::size(&state)?, ..head }, contents: Contents::State(state) },
        };
        Ok(self.note(image))
    }

    /// Keeps another server's snapshot; answers its state.
    fn install(&self, image: &Image) -> io::Result<Arc<State>> {
        let state = image.state()?;
        match &image.contents {
            Contents::Received(received) => self.note(received.keep(image.head.clone())?),
            _ => self.take(image.head.clone(), state.clone())?,
        };
        Ok(state)
    }

    /// A snapshot that was being built while a newer one came is not the newest.
    fn note(&self, image: Image) -> Image {
        let mut newest = self.newest.lock().unwrap_or_else(PoisonError::into_inner);
        if newest.as_ref().is_none_or(|known| known.head.place() <= image.head.place()) {
            *newest = Some(image.clone());
        }
        image
    }
}

/// Makes a snapshot of the state as it was when the builder was made.
pub(super) struct Builder {
    head: Head,
    state: Arc<State>,
    keeper: Keeper,
}

impl RaftSnapshotBuilder<Types> for Builder {
    type SnapshotData = Image;

    async fn build_snapshot(&mut self) -> io::Result<Snapshot> {
        let (keeper, head, state) = (self.keeper.clone(), self.head.clone(), self.state.clone());
        let taking = self.keeper.origin.tasks.spawn_blocking(move || keeper.take(head, state));
        let snapshot = taking.await.map_err(io::Error::other)??;
        Ok(Snapshot { meta: snapshot.head.meta(), snapshot })
    }
}
