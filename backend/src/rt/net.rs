//! Sockets. Everything above names these types only through here.

#![allow(clippy::disallowed_methods, reason = "this is the seam")]

use std::{
    collections::HashMap,
    io,
    net::{IpAddr, SocketAddr},
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

pub use tokio::net::{TcpListener, TcpStream, UdpSocket, UnixListener, UnixStream, lookup_host};

/// Listens on a TCP address.
///
/// # Errors
/// The address is taken or not this machine's.
pub async fn listen(address: SocketAddr) -> io::Result<TcpListener> {
    TcpListener::bind(address).await
}

/// Opens a UDP socket.
///
/// # Errors
/// The address is taken or not this machine's.
pub async fn udp(address: SocketAddr) -> io::Result<UdpSocket> {
    UdpSocket::bind(address).await
}

/// Opens a TCP connection for small messages that must not wait for more.
///
/// # Errors
/// Nobody listens there, or not within `longest`.
pub async fn connect(address: SocketAddr, longest: Duration) -> io::Result<TcpStream> {
    let connecting = super::clock::timeout(longest, TcpStream::connect(address)).await;
    let stream = connecting.map_err(|_| io::Error::new(io::ErrorKind::TimedOut, "i/o timeout"))??;
    stream.set_nodelay(true)?;
    Ok(stream)
}

/// Connections by client address.
#[derive(Clone, Debug)]
pub struct Clients {
    open: Arc<Mutex<HashMap<IpAddr, usize>>>,
    most: usize,
}

/// One counted connection; dropping it makes room.
#[derive(Debug)]
pub struct Seat {
    clients: Clients,
    address: IpAddr,
}

impl Clients {
    /// So many connections for each address; 0 for no limit.
    #[must_use]
    pub fn new(most: usize) -> Self {
        Self { open: Arc::default(), most }
    }

    /// A place for one more connection, if the address has one left.
    #[must_use]
    pub fn take(&self, address: IpAddr) -> Option<Seat> {
        let mut open = self.open.lock().unwrap_or_else(PoisonError::into_inner);
        let count = open.entry(address).or_insert(0);
        if self.most > 0 && *count >= self.most {
            return None;
        }
        *count += 1;
        Some(Seat { clients: self.clone(), address })
    }
}

impl Drop for Seat {
    fn drop(&mut self) {
        let mut open = self.clients.open.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(count) = open.get_mut(&self.address) {
            *count -= 1;
            if *count == 0 {
                open.remove(&self.address);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_client_gets_only_so_many_connections() {
        let clients = Clients::new(2);
        let (one, two) = (IpAddr::from([127, 0, 0, 1]), IpAddr::from([127, 0, 0, 2]));
        let first = clients.take(one);
        let second = clients.take(one);
        assert!(first.is_some() && second.is_some() && clients.take(one).is_none() && clients.take(two).is_some());
        drop(first);
        assert!(clients.take(one).is_some());
        drop(second);
        assert!(clients.open.lock().expect("no panic").is_empty());
    }
}
