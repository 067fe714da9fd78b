//! Harness of the tests that need a running agent: real binaries, real sockets, temporary directories, and conditions
//! waited for with a deadline. The same scenario files run on Muster and on the real Consul.

// A test may name what the product must not.
#![allow(
    clippy::disallowed_methods,
    clippy::disallowed_types,
    clippy::print_stdout,
    clippy::print_stderr,
    reason = "tests live outside the seams"
)]

pub mod cluster;
pub mod dns;
pub mod http;
pub mod linearizable;
pub mod load;
pub mod network;
pub mod node;
pub mod normal;
pub mod oracle;
pub mod processor;
pub mod relay;
pub mod scenario;
pub mod wait;
pub mod workload;

/// The repository's root.
#[must_use]
pub fn root() -> std::path::PathBuf {
    std::path::Path::new(env!("CARGO_MANIFEST_DIR")).parent().expect("the package lies in the repository").to_path_buf()
}
