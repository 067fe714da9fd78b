//! `keyring`: the keys gossip is encrypted with, listed and changed on every member.
//!
//! Contract: command line, section "Commands"; cluster, section "Keyring".

use shared::operator::{GetKeyring, InstallKey, KeyringPool, RemoveKey, UseKey};

use super::{
    args::{self, Args},
    client::Client,
    commands::COMMANDS,
    help,
    print::Print,
};

/// What is asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Action {
    List,
    ListPrimary,
    Install,
    Use,
    Remove,
}

fn words(error: args::Error) -> String {
    match error {
        args::Error::Usage(why) => why,
        args::Error::Help => String::new(),
    }
}

/// Reads the flags.
///
/// # Errors
/// What is wrong with them; an empty text when no action is named.
fn action(args: &Args) -> Result<Action, String> {
    let named = [
        (Action::List, args.is_on("list")),
        (Action::ListPrimary, args.is_on("list-primary")),
        (Action::Install, !args.text("install").is_empty()),
        (Action::Use, !args.text("use").is_empty()),
        (Action::Remove, !args.text("remove").is_empty()),
    ];
    let mut named = named.into_iter().filter_map(|(action, is_named)| is_named.then_some(action));
    let action = named.next().ok_or_else(String::new)?;
    if named.next().is_some() {
        return Err("Only a single action is allowed".to_owned());
    }
    let relay = args.number::<i64>("relay-factor").map_err(words)?.unwrap_or_default();
    if !(0..=5).contains(&relay) {
        return Err("Error parsing relay factor: Relay factor must be in range: [0, 5]".to_owned());
    }
    if args.is_on("local-only") && !matches!(action, Action::List | Action::ListPrimary) {
        return Err("Error validating local-only: local-only can only be set for list requests".to_owned());
    }
    Ok(action)
}

/// `keyring`.
pub(super) async fn keyring(args: &Args, client: &Client, print: &mut Print) -> u8 {
    let action = match action(args) {
        Ok(asked) => asked,
        Err(why) if why.is_empty() => {
            let usage = COMMANDS.iter().find(|command| command.name == "keyring").map(help::command).unwrap_or_default();
            print.say(usage.trim_end());
            return 1;
        }
        Err(why) => {
            print.say(why);
            return 1;
        }
    };
    print.line(match action {
        Action::List => "==> Gathering installed encryption keys...",
        Action::ListPrimary => "==> Gathering installed primary encryption keys...",
        Action::Install => "==> Installing new gossip encryption key...",
        Action::Use => "==> Changing primary gossip encryption key...",
        Action::Remove => "==> Removing gossip encryption key...",
    });
    let done = match action {
        Action::List | Action::ListPrimary => client.call(&GetKeyring::default()).await.map(|mut pools| {
            pools.retain(|pool| !pool.wan || !args.is_on("local-only"));
            listed(&pools, action)
        }),
        Action::Install => client.call(&InstallKey { key: args.text("install") }).await.map(|()| String::new()),
        Action::Use => client.call(&UseKey { key: args.text("use") }).await.map(|()| String::new()),
        Action::Remove => client.call(&RemoveKey { key: args.text("remove") }).await.map(|()| String::new()),
    };
    match done {
        Ok(text) => {
            print.bytes(text.as_bytes());
            0
        }
        Err(why) => {
            print.say(format!("error: {why}"));
            1
        }
    }
}

/// A block for each pool: each key with how many of its members hold it.
fn listed(pools: &[KeyringPool], action: Action) -> String {
    let block = |pool: &KeyringPool| {
        let name = if pool.wan { "WAN".to_owned() } else { format!("{} (LAN)", pool.datacenter) };
        let keys = if action == Action::ListPrimary { &pool.primary_keys } else { &pool.keys };
        let lines: String = keys.iter().map(|(key, count)| format!("  {key} [{count}/{}]\n", pool.num_nodes)).collect();
        format!("\n{name}:\n{lines}")
    };
    pools.iter().map(block).collect()
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::*;

    #[test]
    fn every_pool_lists_its_keys_with_how_many_hold_them() {
        let keys = BTreeMap::from([("a=".to_owned(), 2), ("b=".to_owned(), 1)]);
        let primary_keys = BTreeMap::from([("b=".to_owned(), 3)]);
        let lan = KeyringPool { datacenter: "dc1".to_owned(), keys, primary_keys, num_nodes: 3, ..KeyringPool::default() };
        let wan = KeyringPool { wan: true, num_nodes: 1, ..KeyringPool::default() };
        assert_eq!(listed(&[wan, lan.clone()], Action::List), "\nWAN:\n\ndc1 (LAN):\n  a= [2/3]\n  b= [1/3]\n");
        assert_eq!(listed(&[lan], Action::ListPrimary), "\ndc1 (LAN):\n  b= [3/3]\n");
    }
}
