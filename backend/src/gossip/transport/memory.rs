//! Pools in one process: packets and exchanges go through queues, and links can be cut.

use std::{
    collections::{BTreeMap, BTreeSet},
    io,
    net::SocketAddr,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use tokio::sync::{Mutex as AsyncMutex, mpsc, oneshot};

use super::{Exchange, Transport};
use crate::rt::Rng;

/// Packets that may wait; more are lost, as on a socket.
const QUEUE: usize = 1024;

/// Connects pools in one process.
#[derive(Clone, Debug, Default)]
pub struct Hub(Arc<Mutex<Links>>);

/// Where a pool takes packets, with their senders, and exchanges.
type Inlets = (mpsc::Sender<(Vec<u8>, SocketAddr)>, mpsc::Sender<Exchange>);

#[derive(Debug, Default)]
struct Links {
    ports: BTreeMap<SocketAddr, Inlets>,
    cut: BTreeSet<SocketAddr>,
    /// On which side of a partition an address is; 0 unless told.
    sides: BTreeMap<SocketAddr, u8>,
    /// Whose process is gone.
    closed: BTreeSet<SocketAddr>,
    /// Packets of a hundred that get lost, and what decides which.
    loss: Option<(u8, Rng)>,
}

impl Hub {
    fn links(&self) -> MutexGuard<'_, Links> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// A place in the hub.
    #[must_use]
    pub fn open(&self, address: SocketAddr) -> Arc<dyn Transport> {
        let (packets, inbox) = mpsc::channel(QUEUE);
        let (exchanges, begun) = mpsc::channel(QUEUE);
        self.links().ports.insert(address, (packets, exchanges));
        Arc::new(Port { hub: self.clone(), address, inbox: AsyncMutex::new(inbox), begun: AsyncMutex::new(begun) })
    }

    /// From now on nothing reaches or leaves this address.
    pub fn cut(&self, address: SocketAddr) {
        self.links().cut.insert(address);
    }

    /// Undoes [`Hub::cut`].
    pub fn heal(&self, address: SocketAddr) {
        self.links().cut.remove(&address);
    }

    /// Parts these addresses from all others; [`Hub::rejoin`] undoes it.
    pub fn part(&self, addresses: &[SocketAddr]) {
        self.links().sides = addresses.iter().map(|address| (*address, 1)).collect();
    }

    /// Undoes [`Hub::part`].
    pub fn rejoin(&self) {
        self.links().sides.clear();
    }

    /// From now on so many packets of a hundred get lost. Exchanges do not: they repeat what is lost.
    pub fn lose(&self, percent: u8, seed: u64) {
        self.links().loss = Some((percent, Rng::from_seed(seed)));
    }

    /// The process at this address is gone: its port is closed.
    pub fn close(&self, address: SocketAddr) {
        self.links().closed.insert(address);
    }

    fn loses(&self) -> bool {
        self.links().loss.as_ref().is_some_and(|(percent, rng)| rng.below(100) < u64::from(*percent))
    }

    fn reach(&self, from: SocketAddr, to: SocketAddr) -> io::Result<Inlets> {
        let links = self.links();
        let side = |address| links.sides.get(&address).copied().unwrap_or_default();
        match links.ports.get(&to) {
            Some(_) if links.closed.contains(&from) || links.closed.contains(&to) => Err(io::ErrorKind::ConnectionRefused.into()),
            Some(port) if !links.cut.contains(&from) && !links.cut.contains(&to) && side(from) == side(to) => Ok(port.clone()),
            _ => Err(io::Error::new(io::ErrorKind::HostUnreachable, format!("{to} cannot be reached"))),
        }
    }
}

struct Port {
    hub: Hub,
    address: SocketAddr,
    inbox: AsyncMutex<mpsc::Receiver<(Vec<u8>, SocketAddr)>>,
    begun: AsyncMutex<mpsc::Receiver<Exchange>>,
}

#[async_trait::async_trait]
impl Transport for Port {
    async fn send(&self, to: SocketAddr, packet: &[u8]) -> io::Result<()> {
        // Nobody tells the sender that a packet got lost.
        if let Ok((packets, _)) = self.hub.reach(self.address, to)
            && !self.hub.loses()
        {
            drop(packets.try_send((packet.to_vec(), self.address)));
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
        let broken = || io::Error::from(io::ErrorKind::ConnectionReset);
        let (_, exchanges) = self.hub.reach(self.address, with)?;
        let (answer, theirs) = oneshot::channel();
        exchanges.send(Exchange { from: self.address, theirs: ours, answer }).await.map_err(|_| broken())?;
        theirs.await.map_err(|_| broken())
    }

    async fn accept(&self) -> Exchange {
        match self.begun.lock().await.recv().await {
            Some(exchange) => exchange,
            None => std::future::pending().await,
        }
    }
}
