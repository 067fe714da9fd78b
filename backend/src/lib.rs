//! Muster's agent, as a library. Modules in reading order, lowest layer first; `ARCHITECTURE.md` has the map and
//! the table of who may import whom, which `tests/it/tidy.rs` checks.

pub mod rt;
pub mod telemetry;

pub mod acl;
pub mod config;
pub mod filter;
pub mod store;

pub mod checks;
pub mod gossip;
pub mod localdb;
pub mod raft;
pub mod rpc;

pub mod local;
pub mod server;

pub mod dns;
pub mod http;

pub mod agent;
pub mod cli;

#[cfg(test)]
mod samples;
