//! The HTTP/2 ping check: a connection whose other end acknowledges a PING passes.
//!
//! Speaks just enough HTTP/2 by hand. Contract: health checks, section "Check types".

use std::time::Duration;

use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _};

use super::{Outcome, World, definition::Tls, dial};
use crate::rt::clock;

const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";
const EMPTY_SETTINGS: &[u8] = &[0, 0, 0, SETTINGS, 0, 0, 0, 0, 0];
const SETTINGS: u8 = 4;
const PING: u8 = 6;
const GOAWAY: u8 = 7;
const ACK: u8 = 1;
const PAYLOAD: &[u8; 8] = b"muster!!";
/// The most an end may send before it is told otherwise.
const FRAME_SIZE_MAX: usize = 16_384;

/// Connects, pings and waits for the acknowledgement.
pub(super) async fn run(address: &str, tls: Option<&Tls>, timeout: Duration, world: &World) -> Outcome {
    let work = async {
        let stream = dial::tcp(address).await.map_err(|why| format!("Failed to dial to {address}: {why}"))?;
        let pinged = match tls {
            None => ping(stream).await,
            Some(options) => {
                let host = dial::split(address).map_or(address, |(host, _)| host);
                let stream = world.tls.connect(&world.tasks, options, host, &[b"h2"], stream).await;
                ping(stream.map_err(|why| format!("Failed to dial to {address}: {why}"))?).await
            }
        };
        pinged.map_err(|why| format!("HTTP2 ping failed: {why}"))
    };
    match clock::timeout(timeout, work).await.unwrap_or_else(|_| Err("HTTP2 ping failed: context deadline exceeded".to_owned())) {
        Ok(()) => Outcome::passing("HTTP2 ping was successful".to_owned()),
        Err(output) => Outcome::critical(output),
    }
}

async fn ping(mut stream: impl AsyncRead + AsyncWrite + Unpin) -> Result<(), String> {
    let ping = [&[0, 0, 8, PING, 0, 0, 0, 0, 0], &PAYLOAD[..]].concat();
    let greeting = [PREFACE, EMPTY_SETTINGS, &ping].concat();
    stream.write_all(&greeting).await.map_err(|error| dial::reason(&error))?;
    loop {
        let mut header = [0; 9];
        read(&mut stream, &mut header).await?;
        let [high, middle, low, kind, flags, ..] = header;
        let length = usize::try_from(u32::from_be_bytes([0, high, middle, low])).unwrap_or(usize::MAX);
        if length > FRAME_SIZE_MAX {
            return Err("malformed HTTP/2 frame".to_owned());
        }
        let mut payload = vec![0; length];
        read(&mut stream, &mut payload).await?;
        match kind {
            PING if flags & ACK != 0 && payload == PAYLOAD => return Ok(()),
            GOAWAY => return Err("server sent GOAWAY".to_owned()),
            SETTINGS if flags & ACK == 0 => {
                let acknowledged = [0, 0, 0, SETTINGS, ACK, 0, 0, 0, 0];
                stream.write_all(&acknowledged).await.map_err(|error| dial::reason(&error))?;
            }
            _ => {}
        }
    }
}

async fn read(stream: &mut (impl AsyncRead + Unpin), into: &mut [u8]) -> Result<(), String> {
    match stream.read_exact(into).await {
        Ok(_) => Ok(()),
        Err(error) if error.kind() == std::io::ErrorKind::UnexpectedEof => Err("EOF".to_owned()),
        Err(error) => Err(dial::reason(&error)),
    }
}
