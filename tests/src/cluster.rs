//! Several agents of one datacenter: real processes, each with its own address and data directory.

use std::{net::Ipv4Addr, path::Path, time::Duration};

use serde_json::Value;
use tempfile::TempDir;

use crate::{
    network::Network,
    node::{Node, Product, Start},
    wait::wait_within,
};

/// How long a cluster may take to do what it should do in a second or two, on a busy machine.
pub const DEADLINE: Duration = Duration::from_secs(60);

/// One agent, running or not.
#[derive(Debug)]
pub struct Member {
    /// How it is started.
    pub start: Start,
    /// The process; `None` while it is down.
    pub node: Option<Node>,
}

impl Member {
    /// The running process.
    ///
    /// # Panics
    /// It is down.
    #[must_use]
    pub fn node(&self) -> &Node {
        self.node.as_ref().expect("it runs")
    }

    /// Starts it again, with the data it has.
    pub fn restart(&mut self) {
        self.node = Some(self.start.spawn());
    }

    /// SIGKILL.
    pub fn kill(&mut self) {
        if let Some(mut node) = self.node.take() {
            node.kill();
        }
    }
}

/// Servers first, then whatever was added.
#[derive(Debug)]
pub struct Cluster {
    /// Everybody.
    pub members: Vec<Member>,
    /// Where they run: each in a namespace of its own, or all on loopback addresses.
    pub network: Option<Network>,
    /// Addresses each tells the others instead of its own.
    advertised: Vec<Ipv4Addr>,
    directory: TempDir,
    product: Product,
}

impl Cluster {
    /// Servers that expect each other, started at once; waits until one leads and all are in its catalog.
    #[must_use]
    pub fn servers(count: u8, more: &[String]) -> Self {
        Self::servers_of(Product::Muster, count, more)
    }

    /// The same of either product.
    #[must_use]
    pub fn servers_of(product: Product, count: u8, more: &[String]) -> Self {
        let mut cluster = Self { product, ..Self::empty() };
        for _ in 0..count {
            cluster.add_server(count, more);
        }
        cluster.settled(usize::from(count));
        cluster
    }

    /// Nobody yet.
    ///
    /// # Panics
    /// There is no room for temporary files.
    #[must_use]
    pub fn empty() -> Self {
        let directory = TempDir::new().expect("a temporary directory");
        Self { members: Vec::new(), network: None, advertised: Vec::new(), directory, product: Product::Muster }
    }

    /// As [`Cluster::servers`], each in a namespace of this network. Those with an address in `advertised` tell it to the others.
    #[must_use]
    pub fn servers_within(network: Network, advertised: Vec<Ipv4Addr>, count: u8) -> Self {
        let mut cluster = Self { network: Some(network), advertised, ..Self::empty() };
        for _ in 0..count {
            cluster.add_server(count, &[]);
        }
        cluster.settled(usize::from(count));
        cluster
    }

    /// The network with its faults.
    ///
    /// # Panics
    /// They run on loopback addresses.
    #[must_use]
    pub fn network(&self) -> &Network {
        self.network.as_ref().expect("a cluster in namespaces")
    }

    /// The directory that holds everybody's data.
    #[must_use]
    pub fn directory(&self) -> &Path {
        self.directory.path()
    }

    fn add(&mut self, mut arguments: Vec<String>) -> usize {
        let number = u8::try_from(self.members.len() + 1).expect("few members");
        arguments.push(format!("-data-dir={}", self.directory.path().join(format!("n{number}")).display()));
        arguments.extend(self.members.iter().take(3).map(|member| format!("-retry-join={}", member.start.known_as())));
        let mut start = Start::numbered(self.product.clone(), number, arguments);
        if let Some(network) = &self.network {
            (start.ip, start.within) = (network.address(number), Some(network.namespace(number)));
            start.advertise = self.advertised.get(usize::from(number - 1)).copied();
        }
        let node = Some(start.spawn());
        self.members.push(Member { start, node });
        self.members.len() - 1
    }

    /// Starts one more server; answers its place.
    pub fn add_server(&mut self, expect: u8, more: &[String]) -> usize {
        let mut arguments = vec!["-server".to_owned(), format!("-bootstrap-expect={expect}"), "-ui".to_owned()];
        arguments.extend_from_slice(more);
        self.add(arguments)
    }

    /// Starts one more client; answers its place.
    pub fn add_client(&mut self) -> usize {
        self.add(Vec::new())
    }

    /// Waits until the running members agree on a leader and its catalog has so many living nodes; answers the leader's place.
    pub fn settled(&mut self, nodes: usize) -> usize {
        let leader = self.leader();
        wait_within("everybody to be in the catalog", DEADLINE, || {
            let answer = self.members[leader].node().http.request("GET", "/v1/health/service/consul", &[], &[]).ok()?;
            let servers = serde_json::from_slice::<Value>(&answer.body).ok()?;
            let all = self.members[leader].node().http.request("GET", "/v1/health/state/passing", &[], &[]).ok()?;
            let checks = serde_json::from_slice::<Value>(&all.body).ok()?;
            let alive = checks.as_array()?.iter().filter(|check| check["CheckID"] == "serfHealth").count();
            (servers.as_array().is_some_and(|servers| !servers.is_empty()) && alive >= nodes).then_some(())
        });
        leader
    }

    /// Waits until every running member names the same leader, which runs; answers its place.
    pub fn leader(&mut self) -> usize {
        wait_within("one leader", DEADLINE, || {
            let mut named: Option<String> = None;
            for member in &mut self.members {
                let Some(node) = member.node.as_mut() else { continue };
                node.assert_running();
                let text = node.http.request("GET", "/v1/status/leader", &[], &[]).ok()?.text();
                if named.as_ref().is_some_and(|named| *named != text) {
                    return None;
                }
                named = Some(text);
            }
            let address = named?;
            let address = address.trim().trim_matches('"').split(':').next()?.to_owned();
            let place = self.members.iter().position(|member| member.start.known_as().to_string() == address)?;
            self.members[place].node.is_some().then_some(place)
        })
    }

    /// Places of running members other than this one.
    #[must_use]
    pub fn others(&self, than: usize) -> Vec<usize> {
        (0..self.members.len()).filter(|place| *place != than && self.members[*place].node.is_some()).collect()
    }

    /// What a member answers, as JSON; `null` when it does not.
    #[must_use]
    pub fn get(&self, place: usize, path: &str) -> Value {
        let answer = self.members[place].node().http.request("GET", path, &[], &[]);
        answer.ok().and_then(|answer| serde_json::from_slice(&answer.body).ok()).unwrap_or_default()
    }
}
