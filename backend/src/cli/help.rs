//! Help texts. Pure.
//!
//! Contract: command line, section "General rules".

use super::{
    args::Flag,
    client,
    commands::{COMMANDS, Calls, Command, GROUPS, SERVER},
};

fn listed(rows: &[(&str, &str)]) -> String {
    let width = rows.iter().map(|(name, _)| name.len()).max().unwrap_or(0) + 4;
    rows.iter().map(|(name, about)| format!("    {name:width$}{about}\n")).collect()
}

/// The list of commands.
pub(super) fn overview() -> String {
    let mut rows: Vec<(&str, &str)> = COMMANDS.iter().filter(|command| !command.name.contains(' ')).map(|c| (c.name, c.about)).collect();
    rows.extend(GROUPS.iter().filter(|(name, _, _)| !name.contains(' ')).map(|(name, about, _)| (*name, *about)));
    rows.sort_unstable();
    format!("Usage: muster [--version] [--help] <command> [<args>]\n\nAvailable commands are:\n{}", listed(&rows))
}

/// The help of a command that only holds others.
pub(super) fn group(name: &str) -> String {
    let help = GROUPS.iter().find(|(group, _, _)| *group == name).map_or("", |(_, _, help)| help);
    let groups = GROUPS.iter().map(|(group, about, _)| (*group, *about));
    let all = groups.chain(COMMANDS.iter().map(|command| (command.name, command.about)));
    let inner = all.filter_map(|(inner, about)| Some((inner.strip_prefix(name)?.strip_prefix(' ')?, about)));
    let mut rows: Vec<(&str, &str)> = inner.filter(|(inner, _)| !inner.contains(' ')).collect();
    rows.sort_unstable();
    format!("Usage: muster {name} <subcommand> [options] [args]\n\n{}\n\nSubcommands:\n{}", wrapped(help, 2), listed(&rows))
}

/// The help of a command.
pub(super) fn command(command: &Command) -> String {
    let mut text = format!("Usage: muster {} {}", command.name, command.usage).trim_end().to_owned();
    text.push_str(&format!("\n\n{}\n", wrapped(command.help, 2)));
    if command.calls != Calls::Nobody {
        text.push_str(&format!("\nHTTP API Options\n{}", flags(client::FLAGS)));
    }
    if command.calls == Calls::Server {
        text.push_str(&flags(SERVER));
    }
    if !command.flags.is_empty() {
        text.push_str(&format!("\nCommand Options\n{}", flags(command.flags)));
    }
    text
}

fn flags(flags: &[Flag]) -> String {
    let one = |flag: &Flag| {
        let value = if flag.value.is_empty() { String::new() } else { format!("=<{}>", flag.value) };
        format!("\n  -{}{value}\n{}\n", flag.name, wrapped(flag.help, 5))
    };
    flags.iter().map(one).collect()
}

/// What follows a wrong flag: the flags in short.
pub(super) fn usage(known: &[&[Flag]]) -> String {
    let mut all: Vec<&Flag> = known.iter().flat_map(|flags| flags.iter()).collect();
    all.sort_by_key(|flag| flag.name);
    let one = |flag: &&Flag| format!("  -{} {}", flag.name, flag.value).trim_end().to_owned() + &format!("\n    \t{}\n", flag.help);
    format!("Usage:\n{}", all.iter().map(one).collect::<String>())
}

/// Lines of at most 76 columns, indented.
fn wrapped(text: &str, indent: usize) -> String {
    let mut lines = vec![String::new()];
    for word in text.split_whitespace() {
        let line = lines.last_mut().expect("there is always a line");
        if !line.is_empty() && line.len() + word.len() + 1 + indent > 76 {
            lines.push(word.to_owned());
        } else {
            if !line.is_empty() {
                line.push(' ');
            }
            line.push_str(word);
        }
    }
    lines.iter().map(|line| format!("{:indent$}{line}", "")).collect::<Vec<_>>().join("\n")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_command_can_be_found_from_the_overview() {
        let overview = overview();
        for part in ["\n    agent ", "\n    kv ", "\n    version "] {
            assert!(overview.contains(part), "{part}: {overview}");
        }
        assert!(group("kv").contains("\n    put ") && !group("kv").contains("nodes"));
        assert!(group("operator").contains("\n    raft ") && !group("operator").contains("list-peers"));
        assert!(group("operator raft").contains("\n    list-peers ") && !group("operator raft").contains("get-config"));
        assert!(!overview.contains("operator raft"));
        let get = COMMANDS.iter().find(|command| command.name == "kv get").map(command).expect("it exists");
        assert!(get.starts_with("Usage: muster kv get [options] [KEY_OR_PREFIX]\n\n  Prints"));
        for part in ["HTTP API Options\n", "  -http-addr=<address>\n", "  -stale\n", "Command Options\n", "  -recurse\n"] {
            assert!(get.contains(part), "{part}");
        }
        assert!(get.lines().all(|line| line.len() <= 80));
    }
}
