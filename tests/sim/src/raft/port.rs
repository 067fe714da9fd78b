//! A server's side of the network: every message is on its way alone, may be late, lost or there twice, and arrives also when its
//! sender no longer waits.

use std::{sync::Arc, time::Duration};

use backend::{
    raft::{Lane, Peer, Transport, TransportError},
    rt::chunks::{self, Chunks},
};
use tokio::{
    sync::oneshot,
    time::{sleep, timeout},
};

use super::world::{World, place};
use crate::{
    links::Fate,
    trace::{BEGINNING, digest},
};

/// When a connection over which nothing comes counts as broken, as pings find out: see `rpc::link`. Short messages have deadlines of
/// their own that end before.
const SILENT: Duration = Duration::from_secs(10);

type Answer = Result<Vec<u8>, TransportError>;

/// Where one life of a server is plugged in.
pub(super) struct Port {
    world: Arc<World>,
    at: usize,
    life: u64,
}

impl Port {
    pub(super) fn new(world: Arc<World>, at: usize, life: u64) -> Self {
        Self { world, at, life }
    }
}

/// One message on its way.
struct Letter {
    world: Arc<World>,
    from: (usize, u64),
    to: usize,
    lane: Lane,
    message: Vec<u8>,
    /// What follows it, when it is the offer of a snapshot, and whether all of it arrives.
    snapshot: Option<(Vec<Vec<u8>>, bool)>,
    /// Who waits for the answer; nobody for a second copy.
    answer: Option<oneshot::Sender<Answer>>,
}

#[async_trait::async_trait]
impl Transport for Port {
    async fn call(&self, peer: &Peer, lane: Lane, message: Vec<u8>) -> Answer {
        self.post(peer, lane, message, None).await
    }

    async fn send_snapshot(&self, peer: &Peer, offer: Vec<u8>, mut contents: Chunks) -> Answer {
        let mut pieces = Vec::new();
        while let Some(piece) = contents.recv().await {
            pieces.push(piece.map_err(|error| TransportError::Broken(error.to_string()))?.to_vec());
        }
        let whole = self.world.rng.below(8) > 0;
        let silent = || Err(TransportError::Broken("connection lost".to_owned()));
        timeout(SILENT, self.post(peer, Lane::Snapshot, offer, Some((pieces, whole)))).await.unwrap_or_else(|_| silent())
    }
}

impl Port {
    async fn post(&self, peer: &Peer, lane: Lane, message: Vec<u8>, snapshot: Option<(Vec<Vec<u8>>, bool)>) -> Answer {
        let nobody = || TransportError::Unreachable(peer.address.clone());
        let to = place(&peer.address).ok_or_else(nobody)?;
        if !self.world.lives(self.at, self.life) {
            return std::future::pending().await;
        }
        let (answer, answered) = oneshot::channel();
        match self.world.links.fate(self.at, to) {
            Fate::Lost => return std::future::pending().await,
            Fate::Refused(after) => {
                sleep(after).await;
                return Err(nobody());
            }
            Fate::Arrives(times) => {
                let mut answer = Some(answer);
                for time in times {
                    let (world, message, answer) = (self.world.clone(), message.clone(), answer.take());
                    let letter = Letter { world, from: (self.at, self.life), to, lane, message, snapshot: snapshot.clone(), answer };
                    tokio::spawn(async move {
                        sleep(time).await;
                        letter.arrive().await;
                    });
                }
            }
        }
        match answered.await {
            Ok(answer) => answer,
            // Lost on its way, here or back.
            Err(_) => std::future::pending().await,
        }
    }
}

impl Letter {
    async fn arrive(self) {
        let (world, to, from) = (self.world, self.to, self.from);
        if !world.links.is_open(from.0, to) {
            return;
        }
        let hash = digest(BEGINNING, &self.message);
        world.trace.note(&format!("{}/{} -> {to} {:?} {} {hash:016x}", from.0, from.1, self.lane, self.message.len()));
        let Some(life) = world.life(to) else {
            let gone = Err(TransportError::Unreachable(format!("connection to server {to} refused")));
            return Self::reply(&world, to, from, self.answer, gone).await;
        };
        let taken = async {
            match self.snapshot {
                None => life.handle.receive(&self.message).await,
                Some((pieces, whole)) => {
                    world.evidence().count(if whole { "snapshots sent" } else { "snapshots broken off" });
                    life.handle.receive_snapshot(&self.message, contents(pieces, whole)).await
                }
            }
        };
        let answer = tokio::select! {
            biased;
            () = life.ended() => Err(TransportError::Broken("connection reset".to_owned())),
            answer = taken => Ok(answer),
        };
        if answer.is_ok() {
            world.look_at(&life);
        }
        Self::reply(&world, to, from, self.answer, answer).await;
    }

    async fn reply(world: &World, by: usize, from: (usize, u64), waiting: Option<oneshot::Sender<Answer>>, answer: Answer) {
        let (Some(waiting), Fate::Arrives(times)) = (waiting, world.links.fate(by, from.0)) else { return };
        sleep(times[0]).await;
        if world.links.is_open(by, from.0) && world.lives(from.0, from.1) {
            let length = answer.as_ref().map_or(0, Vec::len);
            world.trace.note(&format!("{}/{} <- {by} {length}", from.0, from.1));
            // It may have given up meanwhile.
            drop(waiting.send(answer));
        }
    }
}

/// The pieces as they come, or their beginning and an error.
fn contents(pieces: Vec<Vec<u8>>, whole: bool) -> Chunks {
    let (to, contents) = chunks::channel();
    tokio::spawn(async move {
        let count = if whole { pieces.len() } else { pieces.len() / 2 };
        for piece in pieces.into_iter().take(count) {
            if to.send(Ok(piece.into())).await.is_err() {
                return;
            }
        }
        if !whole {
            // It may not be heard any more.
            let _ = to.send(Err(std::io::ErrorKind::ConnectionReset.into())).await;
        }
    });
    contents
}
