//! What this agent knows of its pool, as operators see it: `/v1/muster/gossip` and the dashboard.

use std::time::Duration;

use shared::{agent::status, gossip as view};

use super::{roster::Detail, service::Service};

impl Service {
    pub(super) fn detail(&self) -> view::Pool {
        let now = self.now();
        let own = self.pool.me().node;
        let members = self.pool.details().into_iter().map(|Detail { member, known, suspected, accusers }| {
            let tag = |name: &str| member.tags.get(name).cloned().unwrap_or_default();
            let status = match member.status {
                _ if known.identity.node == own => "alive",
                status::ALIVE if suspected.is_some() => "suspect",
                other => status::word(other),
            };
            view::Member {
                address: known.identity.address.to_string(),
                id: known.identity.node.to_string(),
                status: status.to_owned(),
                since_ms: ms(now.saturating_sub(suspected.filter(|_| status == "suspect").unwrap_or(known.since))),
                incarnation: known.identity.incarnation,
                round_trip_us: self
                    .round_trips
                    .get(&known.identity.address)
                    .map(|trip| u64::try_from(trip.as_micros()).unwrap_or(u64::MAX)),
                role: if member.is_server() { "server" } else { "client" }.to_owned(),
                version: tag("muster"),
                accused_by: accusers,
                name: member.name,
            }
        });
        let health = self.pool.health();
        view::Pool {
            members: members.collect(),
            node: self.options.node_name.clone(),
            datacenter: self.options.datacenter.clone(),
            encrypted: self.keyring.is_encrypted(),
            keys: self.keyring.watch().borrow().len(),
            cluster: self.pool.cluster(),
            health: health.score,
            accusations: health.accusations,
            refuted: health.refuted,
            suspicion_ms: ms(self.pool.suspicion()),
            failed_kept_ms: ms(self.options.reconnect_timeout),
            left_kept_ms: ms(self.options.tombstone_timeout),
        }
    }
}

fn ms(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}
