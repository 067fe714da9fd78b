//! The UDP check: a datagram that nobody refuses passes, answered or not. Contract: health checks, section "Check types".

use std::{
    net::{Ipv4Addr, Ipv6Addr, SocketAddr},
    time::Duration,
};

use super::{Outcome, dial};
use crate::rt::{clock, net};

/// Sends one byte and waits for an answer, a refusal or the timeout.
pub(super) async fn run(address: &str, timeout: Duration) -> Outcome {
    match exchange(address, timeout).await {
        Ok(()) => Outcome::passing(format!("UDP connect {address}: Success")),
        Err(output) => Outcome::critical(output),
    }
}

async fn exchange(address: &str, timeout: Duration) -> Result<(), String> {
    let target = *dial::resolve("udp", address).await?.first().ok_or_else(|| format!("dial udp: lookup {address}: no such host"))?;
    let local = match target {
        SocketAddr::V4(_) => SocketAddr::from((Ipv4Addr::UNSPECIFIED, 0)),
        SocketAddr::V6(_) => SocketAddr::from((Ipv6Addr::UNSPECIFIED, 0)),
    };
    let failed = |what: &str, error: std::io::Error| format!("{what} udp {target}: {}", dial::reason(&error));
    let socket = net::udp(local).await.map_err(|error| failed("dial", error))?;
    socket.connect(target).await.map_err(|error| failed("dial", error))?;
    socket.send(b"\n").await.map_err(|error| failed("write", error))?;
    let mut answer = [0; 1];
    match clock::timeout(timeout, socket.recv(&mut answer)).await {
        Ok(Err(error)) => Err(failed("read", error)),
        Ok(Ok(_)) | Err(_) => Ok(()),
    }
}
