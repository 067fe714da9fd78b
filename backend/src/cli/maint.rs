//! `maint`: maintenance of this node or of one of its services.
//!
//! Contract: command line, section "Cluster and agent".

use std::collections::BTreeMap;

use shared::{
    agent::{AgentCheck, GetChecks, SetNodeMaintenance, SetServiceMaintenance},
    check::{NODE_MAINTENANCE, SERVICE_MAINTENANCE_PREFIX},
};

use super::{
    args::Args,
    client::Client,
    print::{Print, quoted},
};

/// `maint`.
pub(super) async fn maint(args: &Args, client: &Client, print: &mut Print) -> u8 {
    let (enable, disable, id) = (args.is_on("enable"), args.is_on("disable"), args.text("service"));
    if enable && disable {
        print.say("Only one of -enable or -disable may be provided");
        return 1;
    }
    if !enable && !disable {
        if !id.is_empty() {
            print.say("Service requires either -enable or -disable");
            return 1;
        }
        if !args.text("reason").is_empty() {
            print.say("Reason may only be provided with -enable");
            return 1;
        }
        return list(client, print).await;
    }
    let reason = args.text("reason");
    let done = if id.is_empty() {
        client.call(&SetNodeMaintenance { enable, reason, ..SetNodeMaintenance::default() }).await
    } else {
        client.call(&SetServiceMaintenance { id: id.clone(), enable, reason, ..SetServiceMaintenance::default() }).await
    };
    let noun = if id.is_empty() { "node" } else { "service" };
    match done {
        Ok(()) => {
            let word = if enable { "enabled" } else { "disabled" };
            print.line(match id.as_str() {
                "" => format!("Node maintenance is now {word}"),
                id => format!("Service maintenance is now {word} for {}", quoted(id)),
            });
            0
        }
        Err(why) => {
            print.say(format!("Error {} {noun} maintenance: {why}", if enable { "enabling" } else { "disabling" }));
            1
        }
    }
}

async fn list(client: &Client, print: &mut Print) -> u8 {
    match client.call(&GetChecks::default()).await {
        Ok(checks) => {
            print.bytes(listed(&checks).as_bytes());
            0
        }
        Err(why) => {
            print.say(format!("Error getting checks: {why}"));
            1
        }
    }
}

fn listed(checks: &BTreeMap<String, AgentCheck>) -> String {
    let block = |(id, check): (&String, &AgentCheck)| {
        if id == NODE_MAINTENANCE {
            format!("Node:\n  Name:   {}\n  Reason: {}\n\n", check.node, check.notes)
        } else if id.starts_with(SERVICE_MAINTENANCE_PREFIX) {
            format!("Service:\n  ID:     {}\n  Reason: {}\n\n", check.service_id, check.notes)
        } else {
            String::new()
        }
    };
    checks.iter().map(block).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn maintenance_is_listed_in_blocks() {
        let check = |service: &str| AgentCheck {
            node: "n1".to_owned(),
            service_id: service.to_owned(),
            notes: "foo".to_owned(),
            ..AgentCheck::default()
        };
        let checks = [(NODE_MAINTENANCE, check("")), ("_service_maintenance:web", check("web")), ("web-http", check("web"))];
        let checks = checks.into_iter().map(|(id, check)| (id.to_owned(), check)).collect();
        assert_eq!(listed(&checks), "Node:\n  Name:   n1\n  Reason: foo\n\nService:\n  ID:     web\n  Reason: foo\n\n");
    }
}
