//! `validate`: whether configuration files would start an agent. And what the machine says about itself.
//!
//! Contract: command line, section "validate and config messages".

use std::path::PathBuf;

use super::{args::Args, print::Print};
use crate::config::{Format, Interface, Invocation, Machine};

/// Reads `-config-format`.
///
/// # Errors
/// It is neither of the two.
pub(super) fn format(args: &Args) -> Result<Option<Format>, String> {
    match args.get("config-format") {
        None | Some("") => Ok(None),
        Some("hcl") => Ok(Some(Format::Hcl)),
        Some("json") => Ok(Some(Format::Json)),
        Some(_) => Err("-config-format must be either 'hcl' or 'json'".to_owned()),
    }
}

/// Host name and network interfaces.
pub(super) fn machine() -> Machine {
    let interfaces = if_addrs::get_if_addrs().unwrap_or_default();
    let interfaces = interfaces.into_iter().map(|one| Interface {
        prefix: match &one.addr {
            if_addrs::IfAddr::V4(v4) => v4.prefixlen,
            if_addrs::IfAddr::V6(v6) => v6.prefixlen,
        },
        up: one.is_oper_up() || one.is_loopback(),
        address: one.ip(),
        name: one.name,
    });
    Machine { hostname: rustix::system::uname().nodename().to_string_lossy().into_owned(), interfaces: interfaces.collect() }
}

/// `validate`.
pub(super) fn validate(args: &Args, print: &mut Print) -> u8 {
    let format = match format(args) {
        Ok(format) => format,
        Err(why) => {
            print.say(why);
            return 1;
        }
    };
    if args.rest.is_empty() {
        print.say("Must specify at least one config file or directory");
        return 1;
    }
    let paths: Vec<PathBuf> = args.rest.iter().map(PathBuf::from).collect();
    match (Invocation { paths, format, machine: machine(), ..Invocation::default() }).load() {
        Ok(config) => {
            config.warnings.iter().for_each(|warning| print.say(warning));
            if !args.is_on("quiet") {
                print.line("Configuration is valid!");
            }
            0
        }
        Err(why) => {
            print.say(format!("Config validation failed: {why}"));
            1
        }
    }
}
