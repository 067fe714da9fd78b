//! Health checks: what a definition means, and running it: one task a check, results on one channel.
//!
//! Knows nothing of services, the catalog or who listens. Contract: health checks, sections "Check types" to "Docker, gRPC, others".

mod alias;
mod definition;
mod dial;
mod docker;
mod grpc;
mod h2ping;
mod http;
mod os_service;
mod output;
mod schedule;
mod script;
mod service;
mod tcp;
mod tls;
mod ttl;
mod udp;

use shared::health::Status;

pub use alias::{Aliased, Observed, Source};
pub use definition::{Alias, Checked, Http, Kind, OUTPUT_SIZE_MAX, Tls, check};
pub use output::cut_report;
pub use schedule::{Schedule, Streak, Thresholds};
pub use service::{Event, Handle, NotRunnable, Options, Outlook, Ran, Service};

use crate::rt::{Clock, Tasks};

/// What one run found.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Outcome {
    /// `passing`, `warning` or `critical`.
    pub status: Status,
    /// What it said.
    pub output: String,
}

impl Outcome {
    fn passing(output: String) -> Self {
        Self { status: Status::PASSING, output }
    }

    fn critical(output: String) -> Self {
        Self { status: Status::CRITICAL, output }
    }
}

/// What runners need from outside.
#[derive(Debug)]
struct World {
    clock: Clock,
    tasks: Tasks,
    tls: tls::Connector,
}

/// Runs a check once. TTL and alias checks have nothing to run.
async fn run(kind: &Kind, timeout: std::time::Duration, output_size_max: usize, world: &World) -> Outcome {
    match kind {
        Kind::Script { args } => script::run(args, timeout, output_size_max).await,
        Kind::Http(request) => http::run(request, timeout, output_size_max, world).await,
        Kind::Tcp { address, tls } => tcp::run(address, tls.as_ref(), timeout, world).await,
        Kind::Udp { address } => udp::run(address, timeout).await,
        Kind::Grpc { target, tls } => grpc::run(target, tls.as_ref(), timeout, world).await,
        Kind::Docker { container, shell, args } => {
            let joined = [shell.clone(), "-c".to_owned(), args.join(" ")];
            let command = if shell.is_empty() { args.as_slice() } else { &joined };
            docker::run(container, command, timeout, output_size_max).await
        }
        Kind::H2Ping { address, tls } => h2ping::run(address, tls.as_ref(), timeout, world).await,
        Kind::OsService { name } => os_service::run(name, timeout, output_size_max).await,
        Kind::Ttl { .. } | Kind::Alias(_) => Outcome::critical(format!("a check of type {} cannot be run", kind.word())),
    }
}

#[cfg(test)]
mod tests;
