//! Tests against real agent processes: `cargo xtask test` builds the binary and sets `MUSTER_BIN`.

#![allow(
    clippy::disallowed_methods,
    clippy::disallowed_types,
    clippy::print_stdout,
    clippy::print_stderr,
    reason = "tests live outside the seams"
)]

mod address;
mod admission;
mod agent;
mod calls;
mod changes;
mod checks;
mod cli;
mod client;
mod cluster;
mod disk;
mod dns;
mod doctor;
mod durability;
mod gossip;
mod limits;
mod netfaults;
mod operator;
mod recovery;
mod rolling;
mod rpc;
mod scenarios;
mod snapshot;
mod tidy;
