//! The TCP check: a connection that can be opened passes. Contract: health checks, section "Check types".

use std::time::Duration;

use super::{Outcome, World, definition::Tls, dial};
use crate::rt::clock;

/// Opens the connection, with TLS if asked, and closes it.
pub(super) async fn run(address: &str, tls: Option<&Tls>, timeout: Duration, world: &World) -> Outcome {
    let open = async {
        let stream = dial::tcp(address).await?;
        if let Some(options) = tls {
            let host = dial::split(address).map_or(address, |(host, _)| host);
            world.tls.connect(&world.tasks, options, host, &[], stream).await?;
        }
        Ok(())
    };
    match clock::timeout(timeout, open).await.unwrap_or_else(|_| Err(format!("dial tcp {address}: i/o timeout"))) {
        Ok(()) => Outcome::passing(format!("TCP connect {address}: Success")),
        Err(output) => Outcome::critical(output),
    }
}
