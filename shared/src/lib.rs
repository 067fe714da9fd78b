//! Muster's wire contract: the structs the HTTP API speaks, for the agent, the command line, the
//! dashboard and the tests. Every layer uses these and no copies of them.
//!
//! Compiles for the host and for wasm32; never does I/O and knows no clock. Field names, order and
//! defaults follow Consul 1.8.7; what Muster adds lives under `/v1/muster/`.

pub mod decode;
pub mod go;
pub mod name;
pub mod query;
pub mod text;

pub mod agent;
pub mod catalog;
pub mod changes;
pub mod check;
pub mod endpoint;
pub mod gossip;
pub mod health;
pub mod kv;
pub mod node;
pub mod operator;
pub mod page;
pub mod raft;
pub mod service;
pub mod snapshot;
pub mod status;
pub mod ui;
