//! How a pool reaches the others: packets that may get lost, and exchanges that may not. On sockets or in memory.

pub(super) mod memory;
mod sockets;

use std::{io, net::SocketAddr};

pub(super) use sockets::Sockets;
use tokio::sync::oneshot;

/// Carries packets and exchanges. [`Transport::receive`] and [`Transport::accept`] are called by one task, and may be
/// dropped while they wait without losing anything.
#[async_trait::async_trait]
pub trait Transport: Send + Sync + 'static {
    /// Sends a packet that may get lost.
    async fn send(&self, to: SocketAddr, packet: &[u8]) -> io::Result<()>;
    /// The next packet of anybody, and whose.
    async fn receive(&self) -> (Vec<u8>, SocketAddr);
    /// Tells somebody everything and is told everything. The caller sets the deadline by dropping the future.
    async fn exchange(&self, with: SocketAddr, ours: Vec<u8>) -> io::Result<Vec<u8>>;
    /// The next exchange somebody else began.
    async fn accept(&self) -> Exchange;
}

/// An exchange somebody else began.
#[derive(Debug)]
pub struct Exchange {
    /// Who began it.
    pub from: SocketAddr,
    /// What they told.
    pub theirs: Vec<u8>,
    /// Takes what they are told; dropping it refuses.
    pub answer: oneshot::Sender<Vec<u8>>,
}
