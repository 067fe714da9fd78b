//! Finding the others: addresses as an operator writes them, tried at start or until somebody answers.
//!
//! Must never give up quietly. Contract: agent configuration, keys `start_join`, `retry_join`, `retry_interval`, `retry_max`.

use std::{net::SocketAddr, sync::Arc, time::Duration};

use crate::{
    gossip, raft,
    rt::{clock, net},
    store::Store,
};

/// How long a look-up of a name may take.
const LOOKUP: Duration = Duration::from_secs(5);
/// The pause after the first failed round; it doubles up to the configured interval.
const FIRST_PAUSE: Duration = Duration::from_secs(1);

/// `host`, `host:port`, `::1` or `[::1]:port`, with what stands for a port that is left out.
fn host_and_port(text: &str, default_port: u16) -> Result<(String, u16), String> {
    let bad_port = |port: &str| format!("{text:?}: {port:?} is no port");
    if let Some(rest) = text.strip_prefix('[') {
        let (host, after) = rest.split_once(']').ok_or_else(|| format!("{text:?}: no closing bracket"))?;
        return match after.strip_prefix(':') {
            Some(port) => Ok((host.to_owned(), port.parse().map_err(|_| bad_port(port))?)),
            None if after.is_empty() => Ok((host.to_owned(), default_port)),
            None => Err(format!("{text:?}: unexpected text after the bracket")),
        };
    }
    match text.split_once(':') {
        // More than one colon without brackets is an IPv6 address.
        Some((host, port)) if !port.contains(':') => Ok((host.to_owned(), port.parse().map_err(|_| bad_port(port))?)),
        _ => Ok((text.to_owned(), default_port)),
    }
}

/// Every address a text stands for.
async fn resolve(text: &str, default_port: u16) -> Result<Vec<SocketAddr>, String> {
    let (host, port) = host_and_port(text.trim(), default_port)?;
    if host.is_empty() {
        return Err(format!("{text:?} names no host"));
    }
    let found = clock::timeout(LOOKUP, net::lookup_host((host.as_str(), port))).await;
    let found: Vec<_> = match found {
        Ok(Ok(found)) => found.collect(),
        Ok(Err(error)) => return Err(format!("Failed to resolve {text}: {error}")),
        Err(_) => return Err(format!("Failed to resolve {text}: timed out")),
    };
    if found.is_empty() { Err(format!("Failed to resolve {text}: no addresses")) } else { Ok(found) }
}

/// How long a server that was told to bootstrap may take to form its cluster before it looks for others all the same.
const FORMED: Duration = Duration::from_secs(10);
/// How often it looks whether it has.
const FORMED_YET: Duration = Duration::from_millis(20);

/// A server that forms a cluster of its own: the others have to see that it does when it asks them to let it in, for two clusters are
/// never merged. Without that it would be let in before it has done so.
pub(super) struct Forming {
    /// `None` when it forms none.
    pub(super) formed: Option<(raft::Handle, Arc<Store>)>,
    pub(super) pool: gossip::Handle,
}

impl Forming {
    /// Resolves once the pool tells which cluster this server is of.
    pub(super) async fn told(&self) {
        let Some((raft, store)) = &self.formed else { return };
        // With others in its configuration it needs them to know.
        if raft.status().peers.len() > 1 {
            return;
        }
        let telling = async {
            loop {
                let id = store.state().cluster.clone();
                if let Some(id) = id {
                    return self.pool.set_cluster(id.to_string()).await;
                }
                clock::sleep(FORMED_YET).await;
            }
        };
        if clock::timeout(FORMED, telling).await.is_err() {
            tracing::warn!(target: "agent", "no cluster is formed yet, others are looked for");
        }
    }
}

/// Who joins: the pool, and what stands for a port that is left out.
#[derive(Clone, Debug)]
pub(super) struct Joiner {
    pub(super) pool: gossip::Handle,
    pub(super) default_port: u16,
}

impl Joiner {
    /// Joins whoever can be reached; answers how many were.
    ///
    /// # Errors
    /// Nobody could be: every reason, in the words operators know.
    pub(super) async fn join(&self, addresses: &[String]) -> Result<usize, String> {
        let (mut joined, mut problems) = (0, Vec::new());
        for text in addresses {
            match resolve(text, self.default_port).await {
                Ok(found) => {
                    for address in found {
                        match self.pool.join(address).await {
                            Ok(()) => joined += 1,
                            Err(why) => problems.push(format!("Failed to join {}: {why}", address.ip())),
                        }
                    }
                }
                Err(why) => problems.push(why),
            }
        }
        if joined > 0 || addresses.is_empty() {
            return Ok(joined);
        }
        let (count, noun) = (problems.len(), if problems.len() == 1 { "error" } else { "errors" });
        let list: String = problems.iter().map(|problem| format!("\t* {problem}\n")).collect();
        Err(format!("{count} {noun} occurred:\n{list}\n"))
    }

    /// Tries until somebody answers; answers whether somebody did before the rounds were over (`rounds_max` 0: never over).
    pub(super) async fn join_until_reached(&self, addresses: &[String], interval: Duration, rounds_max: u32) -> bool {
        tracing::info!(target: "agent", cluster = "LAN", addresses = addresses.join(", "), "joining cluster");
        // Who counts rounds means the interval; who waits forever is better served by a quick second try.
        let mut pause = if rounds_max == 0 { FIRST_PAUSE.min(interval) } else { interval };
        let mut round = 0;
        loop {
            match self.join(addresses).await {
                Ok(agents) => {
                    tracing::info!(target: "agent", cluster = "LAN", agents, "join completed");
                    return true;
                }
                Err(why) => {
                    round += 1;
                    if rounds_max > 0 && round >= rounds_max {
                        tracing::error!(target: "agent", cluster = "LAN", error = why.trim(), "max join retry exhausted, exiting");
                        return false;
                    }
                    tracing::warn!(target: "agent", cluster = "LAN", error = why.trim(), retry_in = ?pause, "join failed, will retry");
                }
            }
            clock::sleep(pause).await;
            pause = (pause * 2).min(interval);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(text: &str, expected: Result<(&str, u16), ()>) {
        let expected = expected.map(|(host, port)| (host.to_owned(), port));
        assert_eq!(host_and_port(text, 8301).map_err(|_| ()), expected, "{text}");
    }

    #[test]
    fn addresses_are_read_as_operators_write_them() {
        check("10.0.0.1", Ok(("10.0.0.1", 8301)));
        check("10.0.0.1:1", Ok(("10.0.0.1", 1)));
        check("a.example", Ok(("a.example", 8301)));
        check("a.example:2", Ok(("a.example", 2)));
        check("::1", Ok(("::1", 8301)));
        check("[::1]", Ok(("::1", 8301)));
        check("[::1]:3", Ok(("::1", 3)));
        for bad in ["10.0.0.1:x", "10.0.0.1:70000", "[::1", "[::1]x"] {
            check(bad, Err(()));
        }
    }

    #[tokio::test]
    async fn a_name_that_is_none_is_told() {
        assert!(resolve("", 1).await.is_err());
        assert_eq!(resolve("127.0.0.9", 5).await, Ok(vec![SocketAddr::from(([127, 0, 0, 9], 5))]));
    }
}
