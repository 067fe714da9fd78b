//! What is measured by looking, so that nothing on a hot path pays for it: Raft, the state and the gossip pool, once a second.
//!
//! Counters grow by what has changed since the last look. Contract: agent configuration, section "Telemetry names".

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
    time::Duration,
};

use shared::agent::{
    Member,
    status::{ALIVE, FAILED, LEFT},
};

use crate::{
    gossip, raft,
    rt::clock::{self, Instant},
    store::Store,
    telemetry,
};

/// How often is looked.
const EVERY: Duration = Duration::from_secs(1);
/// Looks between two at what takes longer to tell: the pool's own figures.
const POOL_EVERY: u32 = 10;
/// Who comes back sooner after it failed flaps.
const FLAP: Duration = Duration::from_secs(60);

/// One measurement.
#[derive(Clone, Debug, PartialEq)]
enum Measure {
    Gauge(&'static str, f64),
    Count(&'static str, f64),
    Sample(&'static str, f64),
}

use Measure::{Count, Gauge, Sample};

impl Measure {
    fn record(&self) {
        let metrics = telemetry::metrics();
        match *self {
            Gauge(name, value) => metrics.gauge(name, &[], value),
            Count(name, amount) => metrics.add(name, &[], amount),
            Sample(name, value) => metrics.sample(name, &[], value),
        }
    }
}

/// What is looked at.
pub(super) struct Measured {
    pub(super) pool: gossip::Handle,
    /// `None` on a client.
    pub(super) raft: Option<raft::Handle>,
    /// `None` on a client.
    pub(super) store: Option<Arc<Store>>,
}

/// Looks for ever.
pub(super) async fn run(measured: Measured) {
    let Measured { pool, mut raft, store } = measured;
    let (mut consensus, mut roster) = (Consensus::default(), Roster::default());
    let (mut members, mut accusations, mut looks) = (pool.subscribe(), 0, 0_u32);
    let mut ticks = clock::interval(EVERY);
    ticks.set_missed_tick_behavior(clock::MissedTickBehavior::Skip);
    loop {
        let due = tokio::select! {
            _ = ticks.tick() => true,
            changed = members.changed() => if changed.is_err() { return } else { false },
            // A server is a candidate for less than a second.
            () = changed(&mut raft) => false,
        };
        if let Some(raft) = &raft {
            consensus.look(&raft.status(), due).iter().for_each(Measure::record);
        }
        let now = members.borrow_and_update().clone();
        roster.look(&now, Instant::now()).iter().for_each(Measure::record);
        if !due {
            continue;
        }
        if let Some(store) = &store {
            sizes(&store.state().sizes()).iter().for_each(Measure::record);
        }
        if looks.is_multiple_of(POOL_EVERY) {
            let detail = pool.detail().await;
            Gauge("memberlist.health.score", f64::from(detail.health)).record();
            Count("memberlist.msg.suspect", (detail.accusations.saturating_sub(accusations)) as f64).record();
            accusations = detail.accusations;
        }
        looks = looks.wrapping_add(1);
    }
}

async fn changed(raft: &mut Option<raft::Handle>) {
    match raft {
        Some(raft) => raft.changed().await,
        None => std::future::pending().await,
    }
}

fn sizes(sizes: &crate::store::Sizes) -> [Measure; 4] {
    let size = |name, size: usize| Gauge(name, size as f64);
    [
        size("state.nodes", sizes.nodes),
        size("state.services", sizes.services),
        size("state.service_instances", sizes.instances),
        size("state.kv_entries", sizes.keys),
    ]
}

/// Raft as it was seen last.
#[derive(Debug, Default)]
struct Consensus {
    role: String,
    term: u64,
    last_index: u64,
}

impl Consensus {
    fn look(&mut self, status: &raft::Status, due: bool) -> Vec<Measure> {
        let mut measures = Vec::new();
        let leads = status.role == "leader";
        if status.role != self.role {
            let state = match status.role.as_str() {
                "leader" => Some("raft.state.leader"),
                "candidate" => Some("raft.state.candidate"),
                "follower" | "learner" => Some("raft.state.follower"),
                _ => None,
            };
            measures.extend(state.map(|name| Count(name, 1.0)));
        }
        let appended = status.last_index.saturating_sub(self.last_index);
        if leads && self.role == status.role && self.term == status.term && appended > 0 {
            measures.push(Count("raft.apply", appended as f64));
        }
        self.role.clone_from(&status.role);
        (self.term, self.last_index) = (status.term, status.last_index);
        if due {
            measures.push(Gauge("raft.applied_index", status.applied_index as f64));
            measures.push(Gauge("raft.last_index", status.last_index as f64));
            let others = status.replicas.iter().filter(|replica| status.leader.as_ref().is_some_and(|leader| leader.id != replica.id));
            let contacts = others.filter(|_| leads).filter_map(|replica| replica.last_contact_ms);
            measures.extend(contacts.map(|ms| Sample("raft.leader.lastContact", ms as f64)));
        }
        measures
    }
}

/// The pool as it was seen last.
#[derive(Debug, Default)]
struct Roster {
    /// Status by name.
    members: BTreeMap<String, u8>,
    /// When somebody failed.
    failed: BTreeMap<String, Instant>,
}

impl Roster {
    fn look(&mut self, members: &[Member], now: Instant) -> Vec<Measure> {
        let mut measures = Vec::new();
        for member in members {
            let before = self.members.insert(member.name.clone(), member.status);
            if before == Some(member.status) {
                continue;
            }
            match member.status {
                ALIVE => {
                    measures.extend([Count("serf.member.join", 1.0), Count("memberlist.msg.alive", 1.0)]);
                    let failed = self.failed.remove(&member.name);
                    if failed.is_some_and(|at| now.saturating_duration_since(at) < FLAP) {
                        measures.push(Count("serf.member.flap", 1.0));
                    }
                }
                LEFT => measures.push(Count("serf.member.left", 1.0)),
                FAILED => {
                    measures.extend([Count("serf.member.failed", 1.0), Count("memberlist.msg.dead", 1.0)]);
                    self.failed.insert(member.name.clone(), now);
                }
                _ => {}
            }
        }
        let names: BTreeSet<&str> = members.iter().map(|member| member.name.as_str()).collect();
        self.members.retain(|name, _| names.contains(name.as_str()));
        self.failed.retain(|_, at| now.saturating_duration_since(*at) < FLAP);
        let count = |role: &str| {
            members.iter().filter(|member| member.status == ALIVE && member.tags.get("role").is_some_and(|own| own == role)).count() as f64
        };
        measures.extend([Gauge("members.servers", count("consul")), Gauge("members.clients", count("node"))]);
        measures
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn counted(measures: &[Measure]) -> Vec<(&'static str, f64)> {
        measures.iter().filter_map(|measure| if let Count(name, amount) = measure { Some((*name, *amount)) } else { None }).collect()
    }

    #[test]
    fn what_a_leader_appends_and_whom_it_hears_is_measured() {
        let peer = |id: &str| raft::Peer { id: id.to_owned(), ..raft::Peer::default() };
        let replica = |id: &str, last_contact_ms| raft::Replica { id: id.to_owned(), matched_index: 0, matched_term: 0, last_contact_ms };
        let status = |role: &str, term, last_index| raft::Status { role: role.to_owned(), term, last_index, ..raft::Status::default() };
        let mut consensus = Consensus::default();
        assert_eq!(counted(&consensus.look(&status("follower", 1, 40), true)), [("raft.state.follower", 1.0)]);
        assert_eq!(counted(&consensus.look(&status("candidate", 2, 40), false)), [("raft.state.candidate", 1.0)]);
        assert_eq!(counted(&consensus.look(&status("leader", 2, 41), false)), [("raft.state.leader", 1.0)]);
        let leading = raft::Status {
            leader: Some(peer("a")),
            replicas: vec![replica("a", Some(0)), replica("b", Some(12)), replica("c", None)],
            applied_index: 50,
            ..status("leader", 2, 51)
        };
        let measures = consensus.look(&leading, true);
        assert_eq!(counted(&measures), [("raft.apply", 10.0)]);
        assert!(measures.contains(&Gauge("raft.applied_index", 50.0)) && measures.contains(&Gauge("raft.last_index", 51.0)));
        let contacts: Vec<_> = measures.iter().filter(|measure| matches!(measure, Sample(..))).collect();
        assert_eq!(contacts, [&Sample("raft.leader.lastContact", 12.0)], "not of itself, nor of who was never heard");
        assert_eq!(counted(&consensus.look(&status("follower", 3, 60), true)), [("raft.state.follower", 1.0)], "another leader's entries");
    }

    #[tokio::test(start_paused = true)]
    async fn members_are_counted_as_they_come_and_go() {
        let member = |name: &str, status| {
            let tags = [("role".to_owned(), if name == "s" { "consul" } else { "node" }.to_owned())].into();
            Member { name: name.to_owned(), status, tags, ..Member::default() }
        };
        let (mut roster, now) = (Roster::default(), Instant::now());
        let measures = roster.look(&[member("s", ALIVE), member("c", ALIVE)], now);
        assert!(measures.contains(&Gauge("members.servers", 1.0)) && measures.contains(&Gauge("members.clients", 1.0)));
        assert_eq!(counted(&measures).iter().filter(|(name, _)| *name == "serf.member.join").count(), 2);
        let failed = roster.look(&[member("s", ALIVE), member("c", FAILED)], now);
        assert_eq!(counted(&failed), [("serf.member.failed", 1.0), ("memberlist.msg.dead", 1.0)]);
        let back = roster.look(&[member("s", ALIVE), member("c", ALIVE)], now + Duration::from_secs(5));
        assert_eq!(counted(&back), [("serf.member.join", 1.0), ("memberlist.msg.alive", 1.0), ("serf.member.flap", 1.0)]);
        assert_eq!(counted(&roster.look(&[member("s", ALIVE), member("c", LEFT)], now)), [("serf.member.left", 1.0)]);
        assert_eq!(counted(&roster.look(&[member("s", ALIVE)], now)), [], "one that is forgotten is no news");
    }
}
