//! `keygen` and `version`: what needs no agent.

use base64::{Engine as _, engine::general_purpose::STANDARD};

use super::{args::Args, print::Print};
use crate::rt::rng;

/// The version as the agent reports it.
pub(super) const VERSION: &str = env!("CARGO_PKG_VERSION");

/// `keygen`: 32 random bytes.
pub(super) fn keygen(print: &mut Print) -> u8 {
    print.line(STANDARD.encode(rng::entropy::<32>()));
    0
}

/// `version`.
pub(super) fn version(args: &Args, print: &mut Print) -> u8 {
    match args.get("format").unwrap_or("pretty") {
        "json" => {
            let version = serde_json::json!({
                "Version": VERSION,
                "Revision": "",
                "Prerelease": "",
                "RPC": {"Default": 2, "Min": 2, "Max": 3},
            });
            print.line(format!("{version:#}"));
            0
        }
        "pretty" => {
            print.line(format!("Muster v{VERSION}"));
            print.line(
                "Protocol 2 spoken by default, understands 2 to 3 (agent will automatically use protocol >2 when speaking to compatible \
                 agents)",
            );
            print.line("");
            0
        }
        other => {
            print.say(format!("Invalid format {other:?}: pretty and json are known"));
            1
        }
    }
}
