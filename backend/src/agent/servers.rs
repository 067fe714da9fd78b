//! From the gossip pool to the list of servers that calls go to, and to whoever has to know about a new one.
//!
//! Contract: cluster, section "Tags".

use std::{collections::BTreeSet, sync::Arc};

use shared::agent::{Member, status::ALIVE};
use tokio::sync::watch;

use crate::{local, rpc};

/// The server a member is, if it is one of this datacenter that can be called.
pub(super) fn server(member: &Member, datacenter: &str) -> Option<rpc::Server> {
    let address = member.rpc_address().filter(|_| member.serves(datacenter))?;
    let id = member.tag("id").unwrap_or_default().to_owned();
    Some(rpc::Server { id, name: member.name.clone(), datacenter: datacenter.to_owned(), address })
}

fn living(members: &[Member], datacenter: &str) -> Vec<rpc::Server> {
    members.iter().filter(|member| member.status == ALIVE).filter_map(|member| server(member, datacenter)).collect()
}

/// Keeps the list in step with the pool and tells anti-entropy of new servers and of the pool's size, until the pool ends.
pub(super) async fn follow(
    mut members: watch::Receiver<Arc<Vec<Member>>>,
    servers: rpc::Servers,
    local: local::Handle,
    datacenter: String,
) {
    let mut known = BTreeSet::new();
    loop {
        let now = members.borrow_and_update().clone();
        let list = living(&now, &datacenter);
        let ids: BTreeSet<String> = list.iter().map(|server| server.id.clone()).collect();
        let joined = !ids.is_subset(&known);
        known = ids;
        servers.set(list);
        local.set_cluster_size(now.iter().filter(|member| member.status == ALIVE).count());
        if joined {
            local.server_joined();
        }
        if members.changed().await.is_err() {
            return;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn member(role: &str, dc: &str, addr: &str, port: &str) -> Member {
        let tags = [("role", role), ("dc", dc), ("id", "x"), ("port", port)];
        let tags = tags.into_iter().map(|(key, value)| (key.to_owned(), value.to_owned())).collect();
        Member { name: "s".to_owned(), addr: addr.to_owned(), port: 8301, status: ALIVE, tags, ..Member::default() }
    }

    #[test]
    fn only_servers_of_the_datacenter_are_called() {
        let address = |member: &Member| server(member, "dc1").map(|server| server.address.to_string());
        assert_eq!(address(&member("consul", "dc1", "10.0.0.1", "8300")).as_deref(), Some("10.0.0.1:8300"));
        assert_eq!(address(&member("consul", "dc1", "::1", "8300")).as_deref(), Some("[::1]:8300"));
        for other in [member("node", "dc1", "10.0.0.1", "8300"), member("consul", "dc2", "10.0.0.1", "8300")] {
            assert_eq!(address(&other), None);
        }
        for broken in [member("consul", "dc1", "host", "8300"), member("consul", "dc1", "10.0.0.1", "none")] {
            assert_eq!(address(&broken), None);
        }
        let mut failed = member("consul", "dc1", "10.0.0.1", "8300");
        failed.status = 4;
        assert!(living(&[failed], "dc1").is_empty());
    }
}
