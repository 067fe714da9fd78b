//! Opens connections for checks and words failures the way Go's `net` does, since people and tools match on them.
//!
//! Never sets a deadline of its own: the run as a whole has one. Contract: health checks, section "Check types".

use std::{io, net::SocketAddr};

use crate::rt::net;

/// Opens a TCP connection to `host:port`, trying every address of the host.
///
/// # Errors
/// Go's text, starting with `dial tcp`.
pub(super) async fn tcp(address: &str) -> Result<net::TcpStream, String> {
    let addresses = resolve("tcp", address).await?;
    let mut first = None;
    for address in addresses {
        match net::TcpStream::connect(address).await {
            Ok(stream) => return Ok(stream),
            Err(error) => {
                first.get_or_insert_with(|| format!("dial tcp {address}: connect: {}", reason(&error)));
            }
        }
    }
    Err(first.unwrap_or_else(|| format!("dial tcp: lookup {address}: no such host")))
}

/// Looks up `host:port`. An empty host means this machine.
///
/// # Errors
/// Go's text, starting with `dial` and the network.
pub(super) async fn resolve(network: &str, address: &str) -> Result<Vec<SocketAddr>, String> {
    let (host, port) = split(address).map_err(|why| format!("dial {network}: address {address}: {why}"))?;
    let number = port_number(port).ok_or_else(|| match port.parse::<u64>() {
        Ok(_) => format!("dial {network}: address {port}: invalid port"),
        Err(_) => format!("dial {network}: lookup {network}/{port}: Servname not supported for ai_socktype"),
    })?;
    let host = if host.is_empty() { "127.0.0.1" } else { host };
    let found: Vec<_> = match net::lookup_host((host, number)).await {
        Ok(found) => found.collect(),
        Err(_) => Vec::new(),
    };
    if found.is_empty() { Err(format!("dial {network}: lookup {host}: no such host")) } else { Ok(found) }
}

fn port_number(port: &str) -> Option<u16> {
    port.parse().ok()
}

/// Splits `host:port`, `[v6]:port`.
pub(super) fn split(address: &str) -> Result<(&str, &str), &'static str> {
    let Some(colon) = address.rfind(':') else { return Err("missing port in address") };
    let (host, port) = (&address[..colon], &address[colon + 1..]);
    if let Some(inner) = host.strip_prefix('[') {
        return inner.strip_suffix(']').map(|host| (host, port)).ok_or("missing port in address");
    }
    if host.contains(':') { Err("too many colons in address") } else { Ok((host, port)) }
}

/// What the operating system said, in Go's words: no capital, no number.
pub(super) fn reason(error: &io::Error) -> String {
    let text = error.to_string();
    let text = text.split(" (os error").next().unwrap_or(&text);
    let mut letters = text.chars();
    letters.next().map_or_else(String::new, |first| first.to_lowercase().chain(letters).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_failure_is_worded_as_go_does() {
        let listener = net::listen(SocketAddr::from(([127, 0, 0, 1], 0))).await.expect("listen");
        let free = listener.local_addr().expect("bound");
        drop(listener);
        let cases = [
            (free.to_string(), format!("dial tcp {free}: connect: connection refused")),
            ("127.0.0.1".to_owned(), "dial tcp: address 127.0.0.1: missing port in address".to_owned()),
            ("::1:80".to_owned(), "dial tcp: address ::1:80: too many colons in address".to_owned()),
            ("127.0.0.1:99999".to_owned(), "dial tcp: address 99999: invalid port".to_owned()),
        ];
        for (address, expected) in cases {
            assert_eq!(tcp(&address).await.map(|_| ()), Err(expected));
        }
    }
}
