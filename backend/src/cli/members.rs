//! `members`, `join`, `leave`, `force-leave`.
//!
//! Contract: command line, section "Cluster and agent".

use shared::agent;

use super::{
    args::Args,
    client::Client,
    print::{Print, table},
};

/// Answered by `members` when nothing matches.
const NO_MATCH: u8 = 2;

/// `members`.
pub(super) async fn members(args: &Args, client: &Client, print: &mut Print) -> u8 {
    let status = match regex::Regex::new(args.get("status").unwrap_or(".*")) {
        Ok(status) => status,
        Err(why) => {
            print.say(format!("Failed to compile status regexp: {why}"));
            return 1;
        }
    };
    match client.call(&agent::GetMembers { wan: args.is_on("wan"), segment: args.text("segment") }).await {
        Ok(members) => {
            let mut members = members.unwrap_or_default();
            members.retain(|member| status.is_match(agent::status::word(member.status)));
            if members.is_empty() {
                return NO_MATCH;
            }
            print.line(if args.is_on("detailed") { detailed(&mut members) } else { listed(&mut members) });
            0
        }
        Err(why) => {
            print.say(format!("Error retrieving members: {why}"));
            1
        }
    }
}

fn segment(member: &agent::Member) -> &str {
    match (member.tags.get("role").map(String::as_str), member.tags.get("segment").map(String::as_str)) {
        (Some("consul"), _) => "<all>",
        (_, None | Some("")) => "<default>",
        (_, Some(segment)) => segment,
    }
}

fn address(member: &agent::Member) -> String {
    match member.addr.parse() {
        Ok(ip) => std::net::SocketAddr::new(ip, member.port).to_string(),
        Err(_) => format!("{}:{}", member.addr, member.port),
    }
}

fn sort(members: &mut [agent::Member]) {
    members.sort_by(|a, b| (segment(a), &a.name).cmp(&(segment(b), &b.name)));
}

fn listed(members: &mut [agent::Member]) -> String {
    sort(members);
    let header = ["Node", "Address", "Status", "Type", "Build", "Protocol", "DC", "Segment"];
    let mut rows = vec![header.map(str::to_owned).to_vec()];
    for member in members.iter() {
        let tag = |name: &str| member.tags.get(name).map_or("", String::as_str);
        let kind = match tag("role") {
            "node" => "client",
            "consul" => "server",
            _ => "unknown",
        };
        let build = match tag("build").split(':').next().unwrap_or_default() {
            "" => "< 0.3",
            build => build,
        };
        rows.push(
            [&member.name, &address(member), agent::status::word(member.status), kind, build, tag("vsn"), tag("dc"), segment(member)]
                .map(|cell: &str| cell.to_owned())
                .to_vec(),
        );
    }
    table(&rows)
}

fn detailed(members: &mut [agent::Member]) -> String {
    sort(members);
    let mut rows = vec![["Node", "Address", "Status", "Tags"].map(str::to_owned).to_vec()];
    for member in members.iter() {
        let mut tags = member.tags.clone();
        tags.insert("segment".to_owned(), segment(member).to_owned());
        let tags = tags.iter().map(|(key, value)| format!("{key}={value}")).collect::<Vec<_>>().join(",");
        rows.push(vec![member.name.clone(), address(member), agent::status::word(member.status).to_owned(), tags]);
    }
    table(&rows)
}

/// `join`.
pub(super) async fn join(args: &Args, client: &Client, print: &mut Print) -> u8 {
    let mut joined = 0;
    for address in &args.rest {
        match client.call(&agent::Join { address: address.clone(), wan: args.is_on("wan") }).await {
            Ok(()) => joined += 1,
            Err(why) => print.say(format!("Error joining address '{address}': {why}")),
        }
    }
    if joined == 0 {
        print.say("Failed to join any nodes.");
        return 1;
    }
    print.line(format!("Successfully joined cluster by contacting {joined} nodes."));
    0
}

/// `leave`.
pub(super) async fn leave(client: &Client, print: &mut Print) -> u8 {
    match client.call(&agent::Leave).await {
        Ok(()) => {
            print.line("Graceful leave complete");
            0
        }
        Err(why) => {
            print.say(format!("Error leaving: {why}"));
            1
        }
    }
}

/// `force-leave`.
pub(super) async fn force_leave(args: &Args, client: &Client, print: &mut Print) -> u8 {
    let node = args.rest.first().cloned().unwrap_or_default();
    match client.call(&agent::ForceLeave { node, prune: args.is_on("prune") }).await {
        Ok(()) => 0,
        Err(why) => {
            print.say(format!("Error force leaving: {why}"));
            1
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn member(name: &str, role: &str, status: u8) -> agent::Member {
        let tags = [("role", role), ("build", "1.8.7:"), ("dc", "dc1"), ("vsn", "2"), ("segment", "")];
        agent::Member {
            name: name.to_owned(),
            addr: "127.0.0.1".to_owned(),
            port: 8301,
            status,
            tags: tags.into_iter().map(|(key, value)| (key.to_owned(), value.to_owned())).collect(),
            ..agent::Member::default()
        }
    }

    #[test]
    fn members_are_listed_servers_first() {
        let mut members = [member("b", "node", 4), member("z", "consul", 1)];
        assert_eq!(
            listed(&mut members),
            "Node  Address         Status  Type    Build  Protocol  DC   Segment\n\
             z     127.0.0.1:8301  alive   server  1.8.7  2         dc1  <all>\n\
             b     127.0.0.1:8301  failed  client  1.8.7  2         dc1  <default>"
        );
        assert_eq!(
            detailed(&mut members[..1]),
            "Node  Address         Status  Tags\n\
             z     127.0.0.1:8301  alive   build=1.8.7:,dc=dc1,role=consul,segment=<all>,vsn=2"
        );
    }
}
