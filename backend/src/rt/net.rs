//! Sockets. Everything above names these types only through here.

#![allow(clippy::disallowed_methods, reason = "this is the seam")]

use std::{io, net::SocketAddr};

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
