//! Pools in one process: packets and exchanges go through queues, and links can be cut.

use std::{
    collections::{BTreeMap, BTreeSet},
    io,
    net::SocketAddr,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use tokio::sync::{Mutex as AsyncMutex, mpsc, oneshot};

use super::{Exchange, Transport};

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

    fn reach(&self, from: SocketAddr, to: SocketAddr) -> io::Result<Inlets> {
        let links = self.links();
        match links.ports.get(&to) {
            Some(port) if !links.cut.contains(&from) && !links.cut.contains(&to) => Ok(port.clone()),
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
        if let Ok((packets, _)) = self.hub.reach(self.address, to) {
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
