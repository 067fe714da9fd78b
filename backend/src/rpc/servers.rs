//! The servers this agent may call, in the order it tries them.
//!
//! The order is random for each agent, so that servers share the agents; a server that failed goes to the end. Contract: cluster,
//! sections "Roles" and "Forwarding and consistency".

use std::{
    net::SocketAddr,
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use tokio::sync::watch;

use crate::rt::{Rng, clock};

/// How long one order is kept.
const REBALANCE: Duration = Duration::from_secs(120);

/// A server that can be called.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Server {
    /// UUID.
    pub id: String,
    /// Node name.
    pub name: String,
    /// Its datacenter.
    pub datacenter: String,
    /// Its RPC listener.
    pub address: SocketAddr,
}

#[derive(Debug)]
struct Order {
    list: Vec<Server>,
    rebalance_at: clock::Instant,
}

#[derive(Debug)]
struct Inner {
    order: Mutex<Order>,
    rng: Rng,
    changed: watch::Sender<()>,
}

/// Clone-cheap handle to the list.
#[derive(Clone, Debug)]
pub struct Servers(Arc<Inner>);

impl Servers {
    /// Nobody yet.
    #[must_use]
    pub fn new(rng: &Rng) -> Self {
        let order = Order { list: Vec::new(), rebalance_at: clock::Instant::now() + REBALANCE };
        Self(Arc::new(Inner { order: Mutex::new(order), rng: rng.fork(), changed: watch::Sender::new(()) }))
    }

    fn order(&self) -> std::sync::MutexGuard<'_, Order> {
        self.0.order.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Replaces the list; who stays keeps its place, who is new gets a random one.
    pub fn set(&self, servers: Vec<Server>) {
        let mut order = self.order();
        let before = std::mem::take(&mut order.list);
        let mut new = servers;
        for old in &before {
            if let Some(at) = new.iter().position(|server| server.id == old.id) {
                let server = new.swap_remove(at);
                order.list.push(server);
            }
        }
        self.0.rng.shuffle(&mut new);
        for server in new {
            let place = self.0.rng.below(order.list.len() as u64 + 1);
            let place = usize::try_from(place).unwrap_or(0).min(order.list.len());
            order.list.insert(place, server);
        }
        if order.list != before {
            drop(order);
            self.0.changed.send_replace(());
        }
    }

    /// Everybody, the one to try first in front.
    #[must_use]
    pub fn list(&self) -> Vec<Server> {
        self.order().list.clone()
    }

    /// The one to try first.
    #[must_use]
    pub fn first(&self) -> Option<Server> {
        let mut order = self.order();
        if clock::Instant::now() >= order.rebalance_at {
            order.rebalance_at = clock::Instant::now() + REBALANCE + self.0.rng.jitter(REBALANCE);
            self.0.rng.shuffle(&mut order.list);
        }
        order.list.first().cloned()
    }

    /// The server with this UUID.
    #[must_use]
    pub fn find(&self, id: &str) -> Option<Server> {
        self.order().list.iter().find(|server| server.id.eq_ignore_ascii_case(id)).cloned()
    }

    /// Where the server with this UUID is: as gossip says now, or for one it does not know as was noted, `ip:port`.
    #[must_use]
    pub fn address_of(&self, id: &str, noted: &str) -> Option<SocketAddr> {
        self.find(id).map(|server| server.address).or_else(|| noted.parse().ok())
    }

    /// The server with this RPC address.
    #[must_use]
    pub fn at(&self, address: SocketAddr) -> Option<Server> {
        self.order().list.iter().find(|server| server.address == address).cloned()
    }

    /// Moves a server that did not answer to the end.
    pub fn failed(&self, id: &str) {
        let mut order = self.order();
        if let Some(at) = order.list.iter().position(|server| server.id == id) {
            let server = order.list.remove(at);
            order.list.push(server);
        }
    }

    /// Tells of every change of who is in the list.
    #[must_use]
    pub fn subscribe(&self) -> watch::Receiver<()> {
        self.0.changed.subscribe()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn server(id: u8) -> Server {
        let address = SocketAddr::from(([127, 0, 0, id], 8300));
        Server { id: id.to_string(), name: format!("s{id}"), datacenter: "dc1".to_owned(), address }
    }

    fn ids(servers: &Servers) -> Vec<String> {
        servers.list().into_iter().map(|server| server.id).collect()
    }

    #[tokio::test(start_paused = true)]
    async fn who_failed_is_tried_last_and_who_stays_keeps_its_place() {
        let servers = Servers::new(&Rng::from_seed(1));
        assert_eq!(servers.first(), None);
        servers.set((1..=3).map(server).collect());
        let first = servers.first().expect("three").id;
        servers.failed(&first);
        assert_eq!(ids(&servers).last(), Some(&first));
        let before = ids(&servers);
        servers.set((1..=4).map(server).collect());
        let kept: Vec<_> = ids(&servers).into_iter().filter(|id| id != "4").collect();
        assert_eq!(kept, before);
        servers.set(vec![server(2)]);
        assert_eq!(ids(&servers), ["2"]);
        assert_eq!(servers.find("2").map(|server| server.name).as_deref(), Some("s2"));
    }

    #[tokio::test(start_paused = true)]
    async fn agents_spread_over_the_servers() {
        let mut firsts = std::collections::BTreeMap::new();
        for seed in 0..300 {
            let servers = Servers::new(&Rng::from_seed(seed));
            servers.set((1..=3).map(server).collect());
            *firsts.entry(servers.first().expect("three").id).or_insert(0) += 1;
        }
        assert!(firsts.len() == 3 && firsts.values().all(|count| *count > 60), "{firsts:?}");
    }

    #[tokio::test(start_paused = true)]
    async fn a_change_is_told_once() {
        let servers = Servers::new(&Rng::from_seed(1));
        let mut changed = servers.subscribe();
        servers.set(vec![server(1)]);
        assert!(changed.has_changed().expect("alive"));
        changed.mark_unchanged();
        servers.set(vec![server(1)]);
        assert!(!changed.has_changed().expect("alive"));
    }
}
