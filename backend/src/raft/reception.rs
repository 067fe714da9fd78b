//! Where other servers' snapshots come in, and what is known of those kept here.
//!
//! One at a time: the newest transfer wins, unless a deposed leader sends it. What broke off leaves nothing behind.

use std::{
    io,
    sync::{PoisonError, atomic::Ordering},
};

use openraft::async_runtime::watch::WatchReceiver as _;
use tokio::sync::watch;

use super::{
    Error, Snapshot, Snapshots, codec,
    network::{Offer, SNAPSHOT_STALL},
    service::{Node, fatal},
    snapshot::{self, Archive, Contents, Head, Image, KEEP},
    types::{self, Raft, Vote},
};
use crate::rt::{
    Tasks,
    chunks::{self, Chunks},
    clock,
};

/// Takes snapshots that other servers send.
pub(super) struct Reception {
    raft: Raft,
    /// None in memory.
    archive: Option<Archive>,
    tasks: Tasks,
    /// How many transfers have begun.
    begun: watch::Sender<u64>,
}

impl Reception {
    pub(super) fn new(raft: Raft, archive: Option<Archive>, tasks: Tasks) -> Self {
        Self { raft, archive, tasks, begun: watch::Sender::new(0) }
    }

    fn vote(&self) -> Vote {
        self.raft.metrics().borrow_watched().vote
    }

    /// Receives one snapshot and installs it; answers this server's vote, which tells a deposed leader that it is one.
    pub(super) async fn take(&self, offer: &[u8], contents: Chunks) -> Result<Vote, String> {
        let Offer { vote, head } = codec::decode(offer).map_err(|error| format!("bad offer of a snapshot: {error}"))?;
        if self.vote() > vote {
            return Ok(self.vote());
        }
        // openraft takes it for granted, so it is looked at here.
        let is_later = head.last_log_id.is_some_and(|id| id.committed_leader_id().term > vote.leader_id.term);
        if head.last_log_id.is_none() || is_later {
            return Err("a snapshot that its leader cannot have".to_owned());
        }
        let mut number = 0;
        self.begun.send_modify(|count| {
            *count += 1;
            number = *count;
        });
        let Some(image) = self.receive(number, vote, head, contents).await? else { return Ok(self.vote()) };
        let snapshot = types::Snapshot { meta: image.head.meta(), snapshot: image };
        let answer = self.raft.install_full_snapshot(vote, snapshot).await.map_err(|error| error.to_string())?;
        Ok(answer.vote)
    }

    /// Passes pieces to the thread that reads and writes them; none when a newer leader showed up meanwhile.
    async fn receive(&self, number: u64, vote: Vote, head: Head, mut contents: Chunks) -> Result<Option<Image>, String> {
        let mut begun = self.begun.subscribe();
        let (to, pieces) = chunks::channel();
        let (archive, of) = (self.archive.clone(), head.clone());
        let reading = chunks::consume(&self.tasks, pieces, move |pieces| snapshot::receive(archive.as_ref(), &of, pieces));
        let broken = loop {
            let piece = tokio::select! {
                biased;
                _ = begun.wait_for(|newest| *newest != number) => break Some("another transfer began".to_owned()),
                piece = clock::timeout(SNAPSHOT_STALL, contents.recv()) => piece,
            };
            match piece {
                _ if self.vote() > vote => break Some("another leader was elected".to_owned()),
                Ok(Some(Ok(piece))) => {
                    // The reader has failed, and says why.
                    if to.send(Ok(piece)).await.is_err() {
                        break None;
                    }
                }
                Ok(Some(Err(error))) => break Some(error.to_string()),
                Ok(None) => break None,
                Err(_) => break Some(format!("nothing came for {SNAPSHOT_STALL:?}")),
            }
        };
        if let Some(why) = &broken {
            // Ends the reader, which removes what it wrote.
            let _ = to.send(Err(io::Error::other(why.clone()))).await;
        }
        drop(to);
        let received = reading.await.map_err(|error| error.to_string())?;
        if self.vote() > vote {
            return Ok(None);
        }
        match (received, broken) {
            (Ok(received), None) => Ok(Some(Image { head, contents: Contents::Received(received.into()) })),
            (Err(error), None) => Err(error.to_string()),
            (_, Some(why)) => Err(why),
        }
    }
}

impl Node {
    /// The snapshots kept here.
    pub(super) async fn snapshots(&self) -> Result<Snapshots, Error> {
        let kept = match self.snapshots.archive.clone() {
            Some(archive) => {
                let heads = self.snapshots.tasks.spawn_blocking(move || archive.heads()).await;
                let heads = heads.map_err(|_| Error::Stopped)?.map_err(|error| Error::Storage(error.to_string()))?;
                heads.iter().map(Head::summary).collect()
            }
            None => self.newest().into_iter().collect(),
        };
        let retained = if self.snapshots.archive.is_some() { KEEP } else { 1 };
        Ok(Snapshots { kept, retained, threshold: self.snapshots.threshold, interval: self.snapshots.interval })
    }

    fn newest(&self) -> Option<Snapshot> {
        self.snapshots.newest.lock().unwrap_or_else(PoisonError::into_inner).as_ref().map(|image| image.head.summary())
    }

    /// Takes a snapshot of everything applied by now.
    pub(super) async fn take_snapshot(&self) -> Result<Snapshot, Error> {
        let mut metrics = self.metrics.clone();
        let wanted = self.snapshots.progress.load(Ordering::SeqCst);
        let taken = async {
            // One that is being taken already may be too old: then another one follows.
            loop {
                let have = metrics.borrow_watched().snapshot;
                if have.map_or(0, |id| id.index()) >= wanted {
                    return Ok(());
                }
                self.raft.trigger().snapshot().await.map_err(fatal)?;
                while metrics.borrow_watched().snapshot == have {
                    metrics.changed().await.map_err(|_| Error::Stopped)?;
                }
            }
        };
        clock::timeout(shared::snapshot::TAKE_MAX, taken).await.map_err(|_| Error::Timeout)??;
        self.newest().ok_or_else(|| Error::Refused("there is nothing to take a snapshot of".to_owned()))
    }
}
