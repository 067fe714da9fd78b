//! Every command: its name, what it does, its flags. Only a table; [`super::run`] dispatches on it.
//!
//! Contract: command line, sections "Commands" and "agent command".

use super::args::{Flag, switch, value};

/// Which flags a command has beside its own.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Calls {
    /// It calls nobody.
    Nobody,
    /// It calls the agent.
    Agent,
    /// It calls a server through the agent: `-datacenter` and `-stale` too.
    Server,
}

/// A command.
#[derive(Clone, Copy, Debug)]
pub(super) struct Command {
    /// Its words, such as `kv get`.
    pub(super) name: &'static str,
    /// One line for lists.
    pub(super) about: &'static str,
    /// What follows its name.
    pub(super) usage: &'static str,
    /// What it does, at length.
    pub(super) help: &'static str,
    /// Whom it calls.
    pub(super) calls: Calls,
    /// Its own flags.
    pub(super) flags: &'static [Flag],
}

const AUTOPILOT: &[Flag] = &[
    value("cleanup-dead-servers", "bool", "Remove failed servers once replacements are there."),
    value("disable-upgrade-migration", "bool", "Kept for clients; has no effect."),
    value("last-contact-threshold", "duration", "Longest silence of a healthy server."),
    value("max-trailing-logs", "number", "Entries a healthy server may trail."),
    value("min-quorum", "number", "Never go below so many servers."),
    value("redundancy-zone-tag", "string", "Kept for clients; has no effect."),
    value("server-stabilization-time", "duration", "How long a new server is healthy before it votes."),
    value("upgrade-version-tag", "string", "Kept for clients; has no effect."),
];

/// Flags of commands that read or write through a server.
pub(super) const SERVER: &[Flag] = &[
    value("datacenter", "value", "Datacenter to ask; the agent's own by default."),
    switch("stale", "Let any server answer, not only the leader."),
];

const KEYRING: &[Flag] = &[
    value("install", "string", "Add this key on every member: it opens from then on."),
    switch("list", "List the keys in the pool and how many members hold each."),
    switch("list-primary", "List the keys that members seal with."),
    switch("local-only", "Ask only this datacenter. Only with a list."),
    value("relay-factor", "int", "Accepted for Consul's sake, 0 to 5: answers come on streams, which lose nothing."),
    value("remove", "string", "Forget this key on every member; not the one in use."),
    value("use", "string", "Seal with this key on every member; it has to be installed."),
];

const fn command(
    name: &'static str,
    about: &'static str,
    usage: &'static str,
    help: &'static str,
    calls: Calls,
    flags: &'static [Flag],
) -> Command {
    Command { name, about, usage, help, calls, flags }
}

/// Names of commands that only hold others, with their line for lists and their help.
pub(super) const GROUPS: &[(&str, &str, &str)] = &[
    ("catalog", "Looks into the catalog", "Lists what the whole cluster has registered; see \"muster services\" for one agent's own."),
    ("kv", "Reads and writes keys", "Works with the key/value store: muster kv put greeting hello, muster kv get greeting."),
    ("operator", "Sees and changes the servers", "Shows who is in the Raft configuration and what autopilot does, and changes both."),
    ("operator autopilot", "Sees and changes what autopilot does", "Shows how autopilot judges the servers and changes what it does."),
    ("operator raft", "Sees and changes the Raft configuration", "Shows which servers are in the Raft configuration and changes that."),
    ("services", "Registers and deregisters services", "Changes the services of the agent that is asked."),
    ("snapshot", "Saves and restores the state", "Saves the state of a datacenter's servers to a file, restores it, tells what is in it."),
];

/// Every command, sorted by name.
pub(super) const COMMANDS: &[Command] = &[
    command("agent", "Runs an agent", "[options]", "Starts the agent and runs until it is told to stop.", Calls::Nobody, AGENT),
    command("catalog datacenters", "Lists the datacenters", "[options]", "Lists every known datacenter, one a line.", Calls::Agent, &[]),
    command("catalog nodes", "Lists the nodes", "[options]", "Lists the nodes of a datacenter.", Calls::Server, CATALOG_NODES),
    command("catalog services", "Lists the services", "[options]", "Lists the services of a datacenter.", Calls::Server, CATALOG_SERVICES),
    command(
        "demo",
        "Runs a development agent full of believable services",
        "[options]",
        "Starts a development agent with about forty services on real local listeners, some of them ill, and a filled key/value store. \
         Ctrl-C ends it; nothing is left behind.",
        Calls::Nobody,
        DEMO,
    ),
    command(
        "doctor",
        "Says what is wrong and what to do next",
        "[options] [DATA_DIR ...]",
        "Without arguments: asks the agent, tries the ports of its members, and tells a lost quorum, unreachable ports, clocks apart, keys, \
         versions or expectations that differ, a full disk. With data directories, of agents that need not run: tells damaged or torn \
         files with their offset, and what several do not agree on. Changes nothing. Exits with 0 when nothing is wrong, 1 when \
         something deserves attention, 2 when something is broken.",
        Calls::Agent,
        &[value("format", "string", "pretty or json. Default: pretty.")],
    ),
    command(
        "force-leave",
        "Declares a failed member left",
        "[options] name",
        "Moves a failed member to the state \"left\". A member that still lives comes back.",
        Calls::Agent,
        &[switch("prune", "Forget the member altogether.")],
    ),
    command("info", "Shows an agent's inner values", "[options]", "Prints what the agent counts, in sections.", Calls::Agent, &[]),
    command(
        "join",
        "Lets an agent join others",
        "[options] address ...",
        "Tells the agent to join a cluster through members that are in it.",
        Calls::Agent,
        &[switch("wan", "Join a server to servers of other datacenters.")],
    ),
    command("keygen", "Makes a gossip key", "", "Prints 32 random bytes in base64.", Calls::Nobody, &[]),
    command(
        "keyring",
        "Lists and changes the keys gossip is encrypted with",
        "[options]",
        "Exactly one of -list, -list-primary, -install, -use and -remove. To roll keys without losing anybody: install the new one, \
         use it, remove the old one. The exit code is 1 when any member fails or does not answer.",
        Calls::Agent,
        KEYRING,
    ),
    command(
        "kv delete",
        "Deletes keys",
        "[options] KEY_OR_PREFIX",
        "Deletes a key, or with -recurse all under a prefix.",
        Calls::Server,
        KV_DELETE,
    ),
    command("kv export", "Exports keys as JSON", "[options] [PREFIX]", "Prints all keys under a prefix as JSON.", Calls::Server, &[]),
    command(
        "kv get",
        "Reads keys",
        "[options] [KEY_OR_PREFIX]",
        "Prints a key's value; with -recurse or -keys what is under a prefix.",
        Calls::Server,
        KV_GET,
    ),
    command(
        "kv import",
        "Imports keys from JSON",
        "[options] [DATA]",
        "Stores the keys of an export: JSON itself, @file, or - for standard input.",
        Calls::Server,
        &[value("prefix", "string", "Put before every key.")],
    ),
    command(
        "kv put",
        "Writes a key",
        "[options] KEY [DATA]",
        "Stores a value: the text itself, @file, or - for standard input.",
        Calls::Server,
        KV_PUT,
    ),
    command("leave", "Lets an agent leave and stop", "[options]", "Tells the agent to leave the cluster and stop.", Calls::Agent, &[]),
    command(
        "maint",
        "Switches maintenance on and off",
        "[options]",
        "Takes the node or one of its services out of answers, or back. Without flags: lists what is in maintenance.",
        Calls::Agent,
        MAINT,
    ),
    command(
        "members",
        "Lists the members of the cluster",
        "[options]",
        "Lists every member the agent knows and its state.",
        Calls::Agent,
        MEMBERS,
    ),
    command(
        "monitor",
        "Streams an agent's log",
        "[options]",
        "Prints the agent's log lines from now on, until Ctrl-C.",
        Calls::Agent,
        &[
            switch("log-json", "Lines as JSON."),
            value("log-level", "string", "trace, debug, info, warn or err. Default: info."),
            value("node", "string", "The log of this node's agent, through the one that is asked."),
        ],
    ),
    command(
        "operator autopilot get-config",
        "Shows what autopilot does",
        "[options]",
        "Prints the configuration by which servers are added, promoted and removed.",
        Calls::Server,
        &[],
    ),
    command(
        "operator autopilot set-config",
        "Changes what autopilot does",
        "[options]",
        "Changes the values that are named and keeps the others.",
        Calls::Server,
        AUTOPILOT,
    ),
    command(
        "operator autopilot state",
        "Shows how autopilot judges the servers",
        "[options]",
        "Prints every server with its health, and how many can be lost.",
        Calls::Server,
        &[value("format", "string", "pretty or json. Default: pretty.")],
    ),
    command(
        "operator raft list-peers",
        "Lists the Raft servers",
        "[options]",
        "Prints who is in the Raft configuration, who leads and who votes.",
        Calls::Server,
        &[],
    ),
    command(
        "operator raft remove-peer",
        "Removes a Raft server",
        "[options]",
        "Takes a server out of the Raft configuration, by its id or its address.",
        Calls::Server,
        &[value("address", "ip:port", "RPC address of the server."), value("id", "uuid", "Id of the server.")],
    ),
    command(
        "operator raft transfer-leader",
        "Hands leadership over",
        "[options]",
        "Lets another server lead: the one named, or the one most up to date.",
        Calls::Server,
        &[value("id", "uuid", "Id of the server that is to lead.")],
    ),
    command("reload", "Lets an agent read its configuration again", "[options]", "As SIGHUP does.", Calls::Agent, &[]),
    command(
        "services deregister",
        "Deregisters services",
        "[options] [FILE ...]",
        "Removes a service by id, or those defined in files.",
        Calls::Agent,
        &[value("id", "string", "Id of the service.")],
    ),
    command(
        "services register",
        "Registers services",
        "[options] [FILE ...]",
        "Registers a service given by flags, or those defined in files.",
        Calls::Agent,
        SERVICES_REGISTER,
    ),
    command(
        "snapshot inspect",
        "Tells what is in a saved file",
        "[options] FILE",
        "Checks a file whole and prints what it is and how much of what is in it. Needs no agent.",
        Calls::Nobody,
        SNAPSHOT_INSPECT,
    ),
    command(
        "snapshot restore",
        "Restores a saved file",
        "[options] FILE",
        "Replaces the state of all servers of the datacenter by that of the file, which is checked first.",
        Calls::Server,
        &[],
    ),
    command(
        "snapshot save",
        "Saves the state to a file",
        "[options] FILE",
        "Saves the state of the servers at one moment, reads the file again and gives it its name once it is found whole. With -stale any \
         server answers, also when none leads.",
        Calls::Server,
        &[],
    ),
    command(
        "validate",
        "Checks configuration files",
        "[options] FILE_OR_DIRECTORY ...",
        "Says whether the agent would start with this configuration.",
        Calls::Nobody,
        &[
            value("config-format", "string", "Read files of any extension as 'hcl' or 'json'."),
            switch("quiet", "Print nothing when it is valid."),
        ],
    ),
    command(
        "version",
        "Prints the version",
        "[options]",
        "Prints the version.",
        Calls::Nobody,
        &[value("format", "string", "pretty or json.")],
    ),
];

const CATALOG_NODES: &[Flag] = &[
    switch("detailed", "More columns."),
    value("filter", "string", "Filter expression."),
    value("near", "string", "Sort by round trip from this node."),
    value("node-meta", "key=value", "Only nodes with this metadata; may be repeated."),
    value("service", "string", "Only nodes with this service."),
];

const CATALOG_SERVICES: &[Flag] = &[
    value("node", "string", "Only services of this node."),
    value("node-meta", "key=value", "Only services of nodes with this metadata; may be repeated."),
    switch("tags", "Show the tags."),
];

const DEMO: &[Flag] = &[
    value("bind", "address", "Where everything listens. Default: 127.0.0.1."),
    value("http-port", "port", "Port of the HTTP API and the dashboard. Default: 8500."),
    value("log-level", "string", "Level of the log on standard error. Default: warn."),
];

const KV_DELETE: &[Flag] = &[
    switch("cas", "Only if the index still is -modify-index."),
    value("modify-index", "index", "Index for -cas."),
    switch("recurse", "Everything under the prefix."),
];

const KV_GET: &[Flag] = &[
    switch("base64", "Print the value in base64."),
    switch("detailed", "Print everything about the key."),
    switch("keys", "Only names."),
    switch("recurse", "Everything under the prefix."),
    value("separator", "string", "With -keys: cut names behind this. Default: /."),
];

/// Flags of `kv put`.
pub(super) const KV_PUT: &[Flag] = &[
    switch("acquire", "Take the lock for -session."),
    switch("base64", "The value is given in base64."),
    switch("cas", "Only if the index still is -modify-index."),
    value("flags", "number", "Flags of the key."),
    value("modify-index", "index", "Index for -cas; 0 for a key that must not exist."),
    switch("release", "Give up the lock of -session."),
    value("session", "id", "Session for -acquire and -release."),
];

const MAINT: &[Flag] = &[
    switch("disable", "Out of maintenance."),
    switch("enable", "Into maintenance."),
    value("reason", "string", "Why, for people."),
    value("service", "id", "Service rather than node."),
];

const MEMBERS: &[Flag] = &[
    switch("detailed", "Show the tags."),
    value("segment", "string", "Network segment; there is but one, _all by default."),
    value("status", "regexp", "Only members in these states."),
    switch("wan", "The pool of servers of all datacenters."),
];

/// Flags of `services register`.
pub(super) const SERVICES_REGISTER: &[Flag] = &[
    value("address", "string", "Address; the node's by default."),
    value("id", "string", "Id; the name by default."),
    value("kind", "string", "Kind."),
    value("meta", "key=value", "Metadata; may be repeated."),
    value("name", "string", "Name."),
    value("port", "number", "Port."),
    value("tag", "string", "Tag; may be repeated."),
    value("tagged-address", "name=host:port", "Address for a purpose; may be repeated."),
];

const SNAPSHOT_INSPECT: &[Flag] = &[
    value("format", "string", "pretty or json. Default: pretty."),
    value("kvdepth", "number", "With -kvdetails: how many parts of a key to tell apart. Default: 2."),
    switch("kvdetails", "Tell how much the keys take, by prefix."),
    value("kvfilter", "prefix", "With -kvdetails: only keys with this prefix."),
];

const AGENT: &[Flag] = &[
    value("advertise", "address", "Address told to others."),
    value("advertise-wan", "address", "Address told to other datacenters."),
    value("allow-write-http-from", "network", "Networks that may write; may be repeated."),
    value("alt-domain", "string", "Second DNS domain."),
    value("bind", "address", "Where the cluster listeners bind."),
    switch("bootstrap", "Form a cluster of this one server."),
    value("bootstrap-expect", "number", "Form a cluster once so many servers are there."),
    value("check_output_max_size", "bytes", "Output kept of a check."),
    value("client", "address", "Where the client listeners bind."),
    value("config-dir", "path", "Directory of configuration files; may be repeated."),
    value("config-file", "path", "Configuration file; may be repeated."),
    value("config-format", "string", "Read files of any extension as 'hcl' or 'json'."),
    value("data-dir", "path", "Directory for everything durable."),
    value("datacenter", "string", "Datacenter."),
    value("default-query-time", "duration", "How long a blocking query waits unless it says."),
    switch("dev", "Development mode: one server, in memory."),
    switch("disable-host-node-id", "Make a random node id."),
    switch("disable-keyring-file", "Keep the keyring off the disk."),
    value("dns-port", "port", "DNS."),
    value("domain", "string", "DNS domain."),
    switch("enable-local-script-checks", "Script checks from files."),
    switch("enable-script-checks", "Script checks from anywhere."),
    value("encrypt", "key", "Gossip key."),
    value("grpc-port", "port", "gRPC."),
    value("grpc-tls-port", "port", "gRPC over TLS."),
    value("hcl", "snippet", "A piece of configuration; may be repeated."),
    value("http-port", "port", "HTTP API."),
    value("https-port", "port", "HTTPS API."),
    value("join", "address", "Agent to join at start; may be repeated."),
    value("join-wan", "address", "Server of another datacenter to join; may be repeated."),
    value("log-file", "path", "File to log to."),
    switch("log-json", "Log as JSON."),
    value("log-level", "string", "trace, debug, info, warn or err."),
    value("log-rotate-bytes", "bytes", "When to rotate the log file."),
    value("log-rotate-duration", "duration", "When to rotate the log file."),
    value("log-rotate-max-files", "number", "Log files kept."),
    value("max-query-time", "duration", "How long a blocking query waits at most."),
    value("node", "string", "Node name."),
    value("node-id", "uuid", "Node id."),
    value("node-meta", "key:value", "Node metadata; may be repeated."),
    switch("non-voting-server", "Accepted."),
    value("pid-file", "path", "File for the process id."),
    value("primary-gateway", "address", "Accepted."),
    value("protocol", "number", "Accepted."),
    value("raft-protocol", "number", "Raft protocol, 2 or 3."),
    switch("read-replica", "Accepted."),
    value("recursor", "address", "DNS server for other names; may be repeated."),
    switch("rejoin", "Join again after leaving."),
    value("retry-interval", "duration", "Between attempts to join."),
    value("retry-interval-wan", "duration", "Between attempts to join."),
    value("retry-join", "address", "As -join, again until it works."),
    value("retry-join-wan", "address", "As -join-wan, again until it works."),
    value("retry-max", "number", "Attempts to join; 0 for ever."),
    value("retry-max-wan", "number", "Attempts to join; 0 for ever."),
    value("segment", "string", "Not supported."),
    value("serf-lan-allowed-cidrs", "network", "Networks members may come from."),
    value("serf-lan-bind", "address", "Where LAN gossip binds."),
    value("serf-lan-port", "port", "LAN gossip."),
    value("serf-wan-allowed-cidrs", "network", "Networks members may come from."),
    value("serf-wan-bind", "address", "Where WAN gossip binds."),
    value("serf-wan-port", "port", "WAN gossip."),
    switch("server", "Server role."),
    value("server-port", "port", "RPC."),
    switch("syslog", "Log to syslog."),
    switch("ui", "Serve the dashboard."),
    value("ui-content-path", "path", "Where the dashboard is served."),
    value("ui-dir", "path", "Directory served as dashboard."),
];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn commands_are_sorted_and_their_flags_known_once() {
        assert!(COMMANDS.windows(2).all(|pair| pair[0].name < pair[1].name));
        for command in COMMANDS {
            assert!(command.flags.windows(2).all(|pair| pair[0].name < pair[1].name) || command.flags.len() < 3, "{}", command.name);
            let group = command.name.split_once(' ').map(|(group, _)| group);
            assert!(group.is_none_or(|group| GROUPS.iter().any(|(name, _, _)| *name == group)), "{}", command.name);
        }
    }
}
