//! The command line: finds the command, reads its flags, runs it, answers its exit code.
//!
//! Everything but `agent` and `demo` speaks to an agent over its HTTP API. Contract: command line.

mod agent;
mod args;
mod catalog;
mod client;
mod commands;
mod demo;
mod doctor;
mod help;
mod keygen;
mod keyring;
mod kv;
mod maint;
mod members;
mod monitor;
mod operator;
mod print;
mod services;
mod signal;
mod snapshot;
mod validate;

use std::{fs, io::Read as _};

use args::Args;
use client::{Client, Target};
use commands::{COMMANDS, Calls, Command, GROUPS};
use print::Print;
use shared::{endpoint, query};

/// Unknown or no command.
const UNKNOWN: u8 = 127;

/// Runs the process's command line; answers the exit code.
#[must_use]
pub fn main() -> u8 {
    let arguments: Vec<String> = std::env::args_os().skip(1).map(|text| text.to_string_lossy().into_owned()).collect();
    let mut print = Print::standard();
    run(&arguments, &|name| std::env::var(name).ok(), &mut print)
}

/// Runs a command line.
fn run(arguments: &[String], environment: &dyn Fn(&str) -> Option<String>, print: &mut Print) -> u8 {
    let (command, rest) = match find(arguments) {
        Found::Command(command, rest) => (command, rest),
        Found::Answer(text, 0) => {
            print.bytes(text.as_bytes());
            return 0;
        }
        Found::Answer(text, code) => {
            print.say(text.trim_end());
            return code;
        }
    };
    let mut known = vec![command.flags];
    if command.calls != Calls::Nobody {
        known.push(client::FLAGS);
    }
    if command.calls == Calls::Server {
        known.push(commands::SERVER);
    }
    let args = match args::parse(rest, &known) {
        Ok(args) => args,
        Err(args::Error::Help) => {
            print.bytes(help::command(command).as_bytes());
            return 0;
        }
        Err(args::Error::Usage(why)) => {
            print.say(why);
            print.say(help::usage(&known).trim_end());
            return 1;
        }
    };
    if let Err(why) = arity(command, &args) {
        print.say(format!("{why}\n\n{}", help::command(command).trim_end()));
        return 1;
    }
    execute(command, &args, environment, print)
}

/// What the first words mean.
enum Found<'a> {
    Command(&'static Command, &'a [String]),
    /// A text, and the code to exit with.
    Answer(String, u8),
}

fn find(arguments: &[String]) -> Found<'_> {
    let unknown = || Found::Answer(help::overview(), UNKNOWN);
    let Some(first) = arguments.first() else { return unknown() };
    match first.as_str() {
        "-v" | "-version" | "--version" => return find_command("version", &arguments[1..]).unwrap_or_else(unknown),
        "-h" | "-help" | "--help" => return Found::Answer(help::overview(), 0),
        _ => {}
    }
    let Some((group, _, _)) = GROUPS.iter().find(|(name, _, _)| name == first) else {
        return find_command(first, &arguments[1..]).unwrap_or_else(unknown);
    };
    let inner = arguments.get(1).map(String::as_str).unwrap_or_default();
    if matches!(inner, "-h" | "-help" | "--help") {
        return Found::Answer(help::group(group), 0);
    }
    let third = arguments.get(2).map(String::as_str).unwrap_or_default();
    let path = format!("{group} {inner}");
    // `operator` holds groups of its own.
    let nearest = GROUPS.iter().map(|(name, _, _)| name).find(|name| **name == path).unwrap_or(group);
    if nearest != group && matches!(third, "-h" | "-help" | "--help") {
        return Found::Answer(help::group(nearest), 0);
    }
    find_command(&path, arguments.get(2..).unwrap_or_default())
        .or_else(|| find_command(&format!("{path} {third}"), arguments.get(3..).unwrap_or_default()))
        .unwrap_or_else(|| Found::Answer(help::group(nearest), 1))
}

fn find_command<'a>(name: &str, rest: &'a [String]) -> Option<Found<'a>> {
    COMMANDS.iter().find(|command| command.name == name).map(|command| Found::Command(command, rest))
}

/// Whether there are as many arguments as the command needs, where that is answered with its help.
fn arity(command: &Command, args: &Args) -> Result<(), String> {
    match (command.name, args.rest.len()) {
        ("join", 0) => Err("At least one address to join must be specified.".to_owned()),
        ("force-leave", count) if count != 1 => Err("A single node name must be specified to force leave.".to_owned()),
        ("leave", count) if count > 0 => Err(format!("Error found unexpected args: [{}]", args.rest.join(" "))),
        _ => Ok(()),
    }
}

fn execute(command: &Command, args: &Args, environment: &dyn Fn(&str) -> Option<String>, print: &mut Print) -> u8 {
    match command.name {
        "agent" => return agent::agent(args, print),
        "demo" => return demo::demo(args, print),
        "doctor" => return doctor::doctor(args, environment, print),
        "keygen" => return keygen::keygen(print),
        "snapshot inspect" => return snapshot::inspect(args, print),
        "version" => return keygen::version(args, print),
        "validate" => return validate::validate(args, print),
        _ => {}
    }
    let client = match Target::new(args, environment).and_then(Client::new) {
        Ok(client) => client,
        Err(why) => {
            print.say(format!("Error connecting to Muster agent: {why}"));
            return 1;
        }
    };
    match tokio::runtime::Builder::new_current_thread().enable_all().build() {
        Ok(runtime) => runtime.block_on(call(command.name, args, &client, print)),
        Err(why) => {
            print.say(format!("Error starting: {why}"));
            1
        }
    }
}

async fn call(name: &str, args: &Args, client: &Client, print: &mut Print) -> u8 {
    match name {
        "catalog datacenters" => catalog::datacenters(client, print).await,
        "catalog nodes" => catalog::nodes(args, client, print).await,
        "catalog services" => catalog::services(args, client, print).await,
        "force-leave" => members::force_leave(args, client, print).await,
        "info" => monitor::info(client, print).await,
        "join" => members::join(args, client, print).await,
        "keyring" => keyring::keyring(args, client, print).await,
        "kv delete" => kv::delete(args, client, print).await,
        "kv export" => kv::export(args, client, print).await,
        "kv get" => kv::get(args, client, print).await,
        "kv import" => kv::import(args, client, print).await,
        "kv put" => kv::put(args, client, print).await,
        "leave" => members::leave(client, print).await,
        "maint" => maint::maint(args, client, print).await,
        "members" => members::members(args, client, print).await,
        "monitor" => monitor::monitor(args, client, print).await,
        "operator autopilot get-config" => operator::get_autopilot(args, client, print).await,
        "operator autopilot set-config" => operator::set_autopilot(args, client, print).await,
        "operator autopilot state" => operator::autopilot_state(args, client, print).await,
        "operator raft list-peers" => operator::list_peers(args, client, print).await,
        "operator raft remove-peer" => operator::remove_peer(args, client, print).await,
        "operator raft transfer-leader" => operator::transfer_leader(args, client, print).await,
        "reload" => monitor::reload(client, print).await,
        "services deregister" => services::deregister(args, client, print).await,
        "services register" => services::register(args, client, print).await,
        "snapshot restore" => snapshot::restore(args, client, print).await,
        "snapshot save" => snapshot::save(args, client, print).await,
        other => {
            print.say(format!("{other}: not built into this binary"));
            UNKNOWN
        }
    }
}

/// Where to read: `-datacenter` and `-stale`.
fn read(args: &Args) -> endpoint::Read {
    let consistency = if args.is_on("stale") { query::Consistency::Stale } else { query::Consistency::Default };
    endpoint::Read { dc: args.text("datacenter"), options: query::QueryOptions { consistency, ..query::QueryOptions::default() } }
}

/// A value as arguments give it: the text itself, `@file`, or `-` for standard input.
fn input(text: &str) -> Result<Vec<u8>, String> {
    if text == "-" {
        let mut bytes = Vec::new();
        std::io::stdin().read_to_end(&mut bytes).map_err(|why| format!("Failed to read stdin: {why}"))?;
        return Ok(bytes);
    }
    let Some(path) = text.strip_prefix('@') else { return Ok(text.as_bytes().to_vec()) };
    fs::read(path).map_err(|why| {
        let reason = why.to_string();
        let reason = match why.kind() {
            std::io::ErrorKind::NotFound => "no such file or directory",
            _ => reason.split(" (os error").next().unwrap_or_default(),
        };
        format!("Failed to read file: open {path}: {reason}")
    })
}

#[cfg(test)]
mod tests;
