//! `catalog datacenters | nodes | services`.
//!
//! Contract: command line, section "Catalog, services, events, config".

use std::collections::BTreeMap;

use shared::{catalog, endpoint::Read, node::Node};

use super::{
    args::Args,
    client::Client,
    print::{Print, table},
    read,
};

/// `catalog datacenters`.
pub(super) async fn datacenters(client: &Client, print: &mut Print) -> u8 {
    match client.call(&catalog::GetDatacenters).await {
        Ok(names) => {
            names.iter().for_each(|name| print.line(name));
            0
        }
        Err(why) => {
            print.say(format!("Error listing datacenters: {why}"));
            1
        }
    }
}

/// How to read, of nodes with the metadata asked for; `None` once it was said what is wrong with that.
fn read_where(args: &Args, print: &mut Print) -> Option<Read> {
    let mut read = read(args);
    match args.pairs("node-meta") {
        Ok(pairs) => read.options.node_meta = pairs,
        Err(why) => {
            print.say(why);
            return None;
        }
    }
    Some(read)
}

/// `catalog nodes`.
pub(super) async fn nodes(args: &Args, client: &Client, print: &mut Print) -> u8 {
    let Some(mut read) = read_where(args, print) else { return 1 };
    read.options.near = args.text("near");
    read.options.filter = args.text("filter");
    let service = args.text("service");
    let found = if service.is_empty() {
        client.call(&catalog::GetNodes { read }).await
    } else {
        client.call(&catalog::GetService { service, tags: Vec::new(), read }).await.map(|rows| rows.into_iter().map(of_service).collect())
    };
    match found {
        Ok(nodes) if nodes.is_empty() => {
            print.say("No nodes match the given query - try expanding your search.");
            0
        }
        Ok(nodes) => {
            print.line(if args.is_on("detailed") { detailed(&nodes) } else { listed(&nodes) });
            0
        }
        Err(why) => {
            print.say(format!("Error listing nodes: {why}"));
            1
        }
    }
}

fn of_service(row: catalog::CatalogService) -> Node {
    Node {
        id: row.id,
        name: row.node,
        address: row.address,
        datacenter: row.datacenter,
        tagged_addresses: row.tagged_addresses,
        meta: row.node_meta,
        ..Node::default()
    }
}

fn listed(nodes: &[Node]) -> String {
    let mut rows = vec![["Node", "ID", "Address", "DC"].map(str::to_owned).to_vec()];
    for node in nodes {
        let short = node.id.chars().take(8).collect();
        rows.push(vec![node.name.clone(), short, node.address.clone(), node.datacenter.clone()]);
    }
    table(&rows)
}

fn detailed(nodes: &[Node]) -> String {
    let mut rows = vec![["Node", "ID", "Address", "DC", "TaggedAddresses", "Meta"].map(str::to_owned).to_vec()];
    let joined = |map: &BTreeMap<String, String>| map.iter().map(|(key, value)| format!("{key}={value}")).collect::<Vec<_>>().join(", ");
    for node in nodes {
        rows.push(vec![
            node.name.clone(),
            node.id.clone(),
            node.address.clone(),
            node.datacenter.clone(),
            joined(&node.tagged_addresses),
            joined(&node.meta),
        ]);
    }
    table(&rows)
}

/// `catalog services`.
pub(super) async fn services(args: &Args, client: &Client, print: &mut Print) -> u8 {
    let Some(read) = read_where(args, print) else { return 1 };
    let node = args.text("node");
    let found = if node.is_empty() {
        client.call(&catalog::GetServices { read }).await
    } else {
        client.call(&catalog::GetNode { node, read }).await.map(|found| {
            let mut services = catalog::Services::new();
            for service in found.map(|found| found.services).unwrap_or_default().into_values() {
                services.entry(service.name).or_default().extend(service.tags);
            }
            services
        })
    };
    match found {
        Ok(services) if services.is_empty() => {
            print.say("No services match the given query - try expanding your search.");
            0
        }
        Ok(services) => {
            print.line(named(&services, args.is_on("tags")));
            0
        }
        Err(why) => {
            print.say(format!("Error listing services: {why}"));
            1
        }
    }
}

fn named(services: &catalog::Services, tags: bool) -> String {
    if !tags {
        return services.keys().map(String::as_str).collect::<Vec<_>>().join("\n");
    }
    let row = |(name, tags): (&String, &Vec<String>)| {
        let mut tags = tags.clone();
        tags.sort();
        tags.dedup();
        vec![name.clone(), tags.join(",")]
    };
    table(&services.iter().map(row).collect::<Vec<_>>())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nodes_and_services_are_tables() {
        let node = Node {
            id: "e1f94cfc-7147-9568-3a41-f76f25aea15c".to_owned(),
            name: "n1".to_owned(),
            address: "127.0.0.45".to_owned(),
            datacenter: "dc1".to_owned(),
            tagged_addresses: BTreeMap::from([("lan".to_owned(), "a".to_owned()), ("wan".to_owned(), "b".to_owned())]),
            meta: BTreeMap::from([("x".to_owned(), "y".to_owned())]),
            ..Node::default()
        };
        assert_eq!(listed(std::slice::from_ref(&node)), "Node  ID        Address     DC\nn1    e1f94cfc  127.0.0.45  dc1");
        assert!(detailed(&[node]).ends_with("n1    e1f94cfc-7147-9568-3a41-f76f25aea15c  127.0.0.45  dc1  lan=a, wan=b     x=y"));
        let services = catalog::Services::from([("b".to_owned(), vec!["y".to_owned(), "x".to_owned()]), ("consul".to_owned(), Vec::new())]);
        assert_eq!(named(&services, false), "b\nconsul");
        assert_eq!(named(&services, true), "b       x,y\nconsul");
    }
}
