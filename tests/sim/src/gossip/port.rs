//! A member's side of the network: packets that may be late, lost or there twice, and exchanges that break.

use std::{io, net::SocketAddr, sync::Arc};

use backend::gossip::{Exchange, Transport};
use tokio::{
    sync::{Mutex, mpsc, oneshot},
    time::sleep,
};

use super::world::{World, address, place};
use crate::{
    Bug,
    links::Fate,
    trace::{BEGINNING, digest},
};

/// Where one life of a member is plugged in.
pub(super) struct Port {
    world: Arc<World>,
    at: usize,
    life: u64,
    inbox: Mutex<mpsc::Receiver<(Vec<u8>, SocketAddr)>>,
    begun: Mutex<mpsc::Receiver<Exchange>>,
}

impl Port {
    pub(super) fn new(
        world: Arc<World>,
        at: usize,
        life: u64,
        inbox: mpsc::Receiver<(Vec<u8>, SocketAddr)>,
        begun: mpsc::Receiver<Exchange>,
    ) -> Self {
        Self { world, at, life, inbox: Mutex::new(inbox), begun: Mutex::new(begun) }
    }
}

fn broken() -> io::Error {
    io::ErrorKind::ConnectionReset.into()
}

#[async_trait::async_trait]
impl Transport for Port {
    async fn send(&self, to: SocketAddr, packet: &[u8]) -> io::Result<()> {
        let Some(to) = place(to).filter(|_| self.world.is_life(self.at, self.life)) else { return Ok(()) };
        // Nobody tells the sender that a packet got lost.
        let Fate::Arrives(times) = self.world.links.fate(self.at, to) else { return Ok(()) };
        for time in times {
            let (world, from, packet) = (self.world.clone(), self.at, packet.to_vec());
            tokio::spawn(async move {
                sleep(time).await;
                if let Some(inlets) = world.inlets(to).filter(|_| world.links.is_open(from, to)) {
                    world.trace.note(&format!("{from} -> {to} {} {:016x}", packet.len(), digest(BEGINNING, &packet)));
                    drop(inlets.packets.try_send((packet, address(from))));
                }
            });
        }
        Ok(())
    }

    async fn receive(&self) -> (Vec<u8>, SocketAddr) {
        match self.inbox.lock().await.recv().await {
            Some(packet) => packet,
            None => std::future::pending().await,
        }
    }

    async fn exchange(&self, with: SocketAddr, ours: Vec<u8>) -> io::Result<Vec<u8>> {
        let to = place(with).ok_or_else(broken)?;
        let (world, from) = (&self.world, self.at);
        if !world.is_life(from, self.life) || world.bug == Some(Bug::NoExchanges) && world.is_settled() {
            return Err(broken());
        }
        let there = match world.links.fate(from, to) {
            Fate::Arrives(times) => times[0],
            Fate::Lost => return std::future::pending().await,
            Fate::Refused(after) => {
                sleep(after).await;
                return Err(io::ErrorKind::HostUnreachable.into());
            }
        };
        sleep(there).await;
        let inlets = world.inlets(to).filter(|_| world.links.is_open(from, to)).ok_or(io::ErrorKind::ConnectionRefused)?;
        world.trace.note(&format!("{from} => {to} {} {:016x}", ours.len(), digest(BEGINNING, &ours)));
        let (answer, theirs) = oneshot::channel();
        inlets.exchanges.send(Exchange { from: address(from), theirs: ours, answer }).await.map_err(|_| broken())?;
        let theirs = theirs.await.map_err(|_| broken())?;
        let Fate::Arrives(times) = world.links.fate(to, from) else { return std::future::pending().await };
        sleep(times[0]).await;
        if !world.links.is_open(to, from) {
            return std::future::pending().await;
        }
        world.trace.note(&format!("{from} <= {to} {}", theirs.len()));
        Ok(theirs)
    }

    async fn accept(&self) -> Exchange {
        match self.begun.lock().await.recv().await {
            Some(exchange) => exchange,
            None => std::future::pending().await,
        }
    }
}
