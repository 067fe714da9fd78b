//! The Raft configuration follows the gossip pool: new servers are added, healthy ones get a vote, those that left or died go.
//!
//! Everything here is a function over values; `leader` carries the plan out, one change at a time.
//! Contract: cluster, sections "Raft" and "Continuous"; HTTP API, section "Snapshot, operator".

use std::{
    collections::{BTreeMap, BTreeSet},
    time::Duration,
};

use shared::{
    agent::{
        Member,
        status::{self, ALIVE, FAILED, LEFT},
    },
    go, name,
    operator::{AutopilotConfiguration, AutopilotHealth, ServerHealth},
};

use crate::{
    raft::{Peer, Status},
    rt::clock::Instant,
    server::{consensus::Change, formation::expected_by},
};

/// Since when each server has been as healthy as it is now.
pub(in crate::server) type Stable = BTreeMap<String, (bool, Instant, u64)>;

/// Servers of the pool by UUID, a living one before another of the same id.
fn servers<'a>(members: &'a [Member], datacenter: &str) -> BTreeMap<&'a str, &'a Member> {
    let mut servers: BTreeMap<&str, &Member> = BTreeMap::new();
    for member in members.iter().filter(|member| member.serves(datacenter)) {
        let Some(id) = member.tags.get("id").filter(|id| name::is_uuid(id)) else { continue };
        let kept = servers.entry(id).or_insert(member);
        if member.status < kept.status {
            *kept = member;
        }
    }
    servers
}

/// What is known of the cluster at one moment.
pub(in crate::server) struct View<'a> {
    pub(in crate::server) status: &'a Status,
    pub(in crate::server) members: &'a [Member],
    pub(in crate::server) datacenter: &'a str,
    pub(in crate::server) configuration: &'a AutopilotConfiguration,
    pub(in crate::server) now: Instant,
    pub(in crate::server) wall_ms: u64,
}

impl View<'_> {
    fn is_healthy(&self, peer: &Peer, member: Option<&&Member>) -> bool {
        let replica = self.status.replicas.iter().find(|replica| replica.id == peer.id);
        let leads = self.status.leader.as_ref().is_some_and(|leader| leader.id == peer.id);
        let alive = member.is_some_and(|member| member.status == ALIVE);
        let threshold = u64::try_from(self.configuration.last_contact_threshold.as_std().as_millis()).unwrap_or(u64::MAX);
        let follows = replica.is_some_and(|replica| {
            let heard = replica.last_contact_ms.is_some_and(|ms| ms <= threshold);
            heard && self.status.last_index.saturating_sub(replica.matched_index) <= self.configuration.max_trailing_logs
        });
        alive && (leads || follows)
    }

    /// Judges every server of the configuration and notes since when.
    pub(in crate::server) fn health(&self, stable: &mut Stable) -> AutopilotHealth {
        let servers = servers(self.members, self.datacenter);
        let mut health = AutopilotHealth { healthy: true, ..AutopilotHealth::default() };
        for peer in &self.status.peers {
            let member = servers.get(peer.id.as_str());
            let healthy = self.is_healthy(peer, member);
            let since = stable.entry(peer.id.clone()).or_insert((healthy, self.now, self.wall_ms));
            if since.0 != healthy {
                *since = (healthy, self.now, self.wall_ms);
            }
            let replica = self.status.replicas.iter().find(|replica| replica.id == peer.id);
            let leader = self.status.leader.as_ref().is_some_and(|leader| leader.id == peer.id);
            let contact = replica.and_then(|replica| replica.last_contact_ms).map(Duration::from_millis);
            let build = member.and_then(|member| member.tags.get("build")).map_or("", String::as_str);
            health.healthy &= healthy;
            health.servers.push(ServerHealth {
                id: peer.id.clone(),
                name: peer.name.clone(),
                address: peer.address.clone(),
                serf_status: member.map_or("none", |member| status::word(member.status)).to_owned(),
                version: build.split(':').next().unwrap_or_default().to_owned(),
                leader,
                // -1ns: never heard.
                last_contact: if leader { go::Duration(0) } else { contact.map_or(go::Duration(-1), Into::into) },
                // Whoever leads has begun its term with an entry of its own.
                last_term: if leader { self.status.term } else { replica.map_or(0, |replica| replica.matched_term) },
                last_index: if leader { self.status.last_index } else { replica.map_or(0, |replica| replica.matched_index) },
                healthy,
                voter: peer.voter,
                stable_since: rfc3339(since.2),
            });
        }
        stable.retain(|id, _| self.status.peers.iter().any(|peer| peer.id == *id));
        health.failure_tolerance = tolerance(&health.servers, &self.status.voter_sets);
        health
    }

    /// What to change next, the most urgent first; one change may make the others needless.
    pub(in crate::server) fn plan(&self, stable: &Stable) -> Vec<Change> {
        let servers = servers(self.members, self.datacenter);
        let peer = |id: &str| self.status.peers.iter().find(|peer| peer.id == id);
        let mut changes: Vec<Change> = self.displaced(&servers).into_iter().map(Change::Remove).collect();
        for (id, member) in servers.iter().filter(|(_, member)| member.status == ALIVE) {
            let Some(address) = member.rpc_address() else { continue };
            let address = address.to_string();
            let told = Peer { id: (*id).to_owned(), name: member.name.clone(), address, voter: false };
            match peer(id) {
                None => changes.push(Change::Add(told)),
                Some(known) if known.address != told.address || known.name != told.name => changes.push(Change::Move(told)),
                Some(_) => {}
            }
        }
        let own = self.status.leader.as_ref().map_or("", |leader| leader.id.as_str());
        for peer in self.status.peers.iter().filter(|peer| peer.id != own) {
            if servers.get(peer.id.as_str()).is_some_and(|member| member.status == LEFT) {
                changes.push(Change::Remove(peer.id.clone()));
            }
        }
        changes.extend(self.promotions(stable, &servers).map(Change::Promote));
        changes.extend(self.dead(&servers).into_iter().map(Change::Remove));
        changes
    }

    fn promotions<'b>(&'b self, stable: &'b Stable, servers: &'b BTreeMap<&str, &Member>) -> impl Iterator<Item = String> + 'b {
        let wanted = self.configuration.server_stabilization_time.as_std();
        self.status.peers.iter().filter(|peer| !peer.voter).filter_map(move |peer| {
            let member = servers.get(peer.id.as_str())?;
            let (healthy, since, _) = stable.get(&peer.id)?;
            let ready = *healthy && self.now.saturating_duration_since(*since) >= wanted && !member.tags.contains_key("nonvoter");
            ready.then(|| peer.id.clone())
        })
    }

    /// Whoever's address a living server has now, if what is left is a quorum of what was: a machine that lost its disk, for example.
    fn displaced(&self, servers: &BTreeMap<&str, &Member>) -> Vec<String> {
        let alive = |id: &str| servers.get(id).is_some_and(|member| member.status == ALIVE);
        let taken: BTreeSet<String> = servers
            .values()
            .filter(|member| member.status == ALIVE)
            .filter_map(|member| member.rpc_address())
            .map(|address| address.to_string())
            .collect();
        let voters: Vec<bool> = self.status.peers.iter().filter(|peer| peer.voter).map(|peer| alive(&peer.id)).collect();
        let quorum_remains = voters.iter().filter(|alive| **alive).count() > voters.len() / 2;
        let displaced = self.status.peers.iter().filter(|peer| !alive(&peer.id) && taken.contains(&peer.address));
        displaced.filter(|peer| !peer.voter || quorum_remains).map(|peer| peer.id.clone()).collect()
    }

    /// Failed servers that have been replaced, if what is left is a quorum of what was.
    fn dead(&self, servers: &BTreeMap<&str, &Member>) -> Vec<String> {
        if !self.configuration.cleanup_dead_servers {
            return Vec::new();
        }
        let alive = |id: &str| servers.get(id).is_some_and(|member| member.status == ALIVE);
        // Who is not in the pool at all may only not be in it yet: a new leader learns it first.
        let failed = |peer: &&Peer| servers.get(peer.id.as_str()).is_some_and(|member| matches!(member.status, LEFT | FAILED));
        let voters: Vec<&Peer> = self.status.peers.iter().filter(|peer| peer.voter).collect();
        let dead: Vec<&&Peer> = voters.iter().filter(|peer| failed(peer) && !alive(&peer.id)).collect();
        let healthy = voters.len() - dead.len();
        // What never voted is no loss.
        let learners = self.status.peers.iter().filter(|peer| !peer.voter && failed(peer)).map(|peer| peer.id.clone());
        let minority = dead.len() <= voters.len().saturating_sub(1) / 2;
        let least = usize::try_from(self.configuration.min_quorum).unwrap_or(usize::MAX).max(1);
        let replaced = healthy > voters.len() / 2 && healthy + dead.len() > self.formed();
        let voters = dead.iter().filter(|_| minority && replaced && healthy >= least).map(|peer| peer.id.clone());
        learners.chain(voters).collect()
    }

    /// How many servers the cluster is meant to have, as most of the living ones say, the higher number of two said as often;
    /// three when none says.
    fn formed(&self) -> usize {
        let servers = servers(self.members, self.datacenter);
        let mut said: BTreeMap<u32, usize> = BTreeMap::new();
        for expected in servers.values().filter(|member| member.status == ALIVE).filter_map(|member| expected_by(member)) {
            *said.entry(expected).or_default() += 1;
        }
        said.into_iter().max_by_key(|(expected, times)| (*times, *expected)).map_or(3, |(expected, _)| expected as usize)
    }
}

/// Milliseconds since 1970 as clients read times.
fn rfc3339(at_ms: u64) -> String {
    let at = i64::try_from(at_ms).ok().and_then(|at| jiff::Timestamp::from_millisecond(at).ok());
    at.unwrap_or(jiff::Timestamp::UNIX_EPOCH).strftime("%Y-%m-%dT%H:%M:%SZ").to_string()
}

/// How many healthy voters can be lost without losing the quorum of any of these sets of voters.
fn tolerance(servers: &[ServerHealth], voter_sets: &[Vec<String>]) -> u64 {
    let healthy = |voters: &Vec<String>| servers.iter().filter(|server| server.healthy && voters.contains(&server.id)).count();
    voter_sets.iter().map(|voters| healthy(voters).saturating_sub(voters.len() / 2 + 1) as u64).min().unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::raft::Replica;

    struct Scene {
        status: Status,
        members: Vec<Member>,
        configuration: AutopilotConfiguration,
    }

    fn peer(id: &str, voter: bool) -> Peer {
        Peer { id: uuid(id), name: id.to_owned(), address: format!("10.0.0.{}:8300", &id[1..]), voter }
    }

    fn uuid(id: &str) -> String {
        format!("0000000{}-2222-4333-8444-555555555555", &id[1..])
    }

    fn member(id: &str, status: u8) -> Member {
        let uuid = uuid(id);
        let tags = [("role", "consul"), ("dc", "dc1"), ("id", uuid.as_str()), ("port", "8300"), ("expect", "3"), ("build", "1.8.7:")];
        let tags = tags.into_iter().map(|(key, value)| (key.to_owned(), value.to_owned())).collect();
        Member { name: id.to_owned(), addr: format!("10.0.0.{}", &id[1..]), status, tags, ..Member::default() }
    }

    fn scene(voters: &[&str], members: &[(&str, u8)]) -> Scene {
        let peers: Vec<Peer> = voters.iter().map(|id| peer(id, true)).collect();
        let replicas =
            voters.iter().map(|id| Replica { id: uuid(id), matched_index: 100, matched_term: 2, last_contact_ms: Some(10) }).collect();
        let status = Status {
            role: "leader".into(),
            leader: peers.first().cloned(),
            voter_sets: vec![peers.iter().map(|peer| peer.id.clone()).collect()],
            peers,
            replicas,
            last_index: 100,
            term: 2,
            ..Status::default()
        };
        let members = members.iter().map(|(id, status)| member(id, *status)).collect();
        Scene { status, members, configuration: AutopilotConfiguration::default() }
    }

    impl Scene {
        fn view(&self, now: Instant) -> View<'_> {
            View { status: &self.status, members: &self.members, datacenter: "dc1", configuration: &self.configuration, now, wall_ms: 0 }
        }

        fn plan(&self) -> Vec<Change> {
            let (now, mut stable) = (Instant::now(), Stable::new());
            self.view(now).health(&mut stable);
            self.view(now + Duration::from_secs(20)).plan(&stable)
        }
    }

    #[tokio::test(start_paused = true)]
    async fn a_new_server_is_added_and_gets_its_vote_once_it_has_been_healthy_for_a_while() {
        let mut scene = scene(&["s1", "s2", "s3"], &[("s1", 1), ("s2", 1), ("s3", 1), ("s4", 1)]);
        assert_eq!(scene.plan(), [Change::Add(Peer { voter: false, ..peer("s4", false) })]);
        scene.status.peers.push(peer("s4", false));
        assert_eq!(scene.plan(), [], "it is not heard yet");
        scene.status.replicas.push(Replica { id: uuid("s4"), matched_index: 90, matched_term: 2, last_contact_ms: Some(5) });
        assert_eq!(scene.plan(), [Change::Promote(uuid("s4"))]);
        scene.configuration.server_stabilization_time = go::Duration(60_000_000_000);
        assert_eq!(scene.plan(), [], "not for long enough");
        scene.configuration = AutopilotConfiguration { max_trailing_logs: 5, ..AutopilotConfiguration::default() };
        assert_eq!(scene.plan(), [], "too far behind");
        scene.configuration = AutopilotConfiguration::default();
        scene.members[3].tags.insert("nonvoter".into(), "1".into());
        assert_eq!(scene.plan(), [], "never to vote");
    }

    #[tokio::test(start_paused = true)]
    async fn who_moved_is_noted_and_who_left_is_removed() {
        let mut scene = scene(&["s1", "s2", "s3"], &[("s1", 1), ("s2", 1), ("s3", 3)]);
        assert_eq!(scene.plan(), [Change::Remove(uuid("s3"))]);
        scene.members[2].status = 1;
        scene.members[1].addr = "10.0.0.9".into();
        assert_eq!(scene.plan(), [Change::Move(Peer { address: "10.0.0.9:8300".into(), voter: false, ..peer("s2", false) })]);
    }

    #[tokio::test(start_paused = true)]
    async fn a_dead_server_goes_only_once_it_is_replaced_and_a_quorum_stays() {
        let four = ["s1", "s2", "s3", "s4"];
        assert_eq!(scene(&["s1", "s2", "s3"], &[("s1", 1), ("s2", 1), ("s3", 4)]).plan(), [], "no replacement");
        let replaced = [("s1", 1), ("s2", 1), ("s3", 4), ("s4", 1)];
        assert_eq!(scene(&four, &replaced).plan(), [Change::Remove(uuid("s3"))]);
        let mut odd = scene(&four, &replaced);
        odd.members[3].tags.insert("expect".into(), "5".into());
        assert_eq!(odd.plan(), [Change::Remove(uuid("s3"))], "one that was started with another number changes nothing");
        assert_eq!(scene(&four, &[("s1", 1), ("s2", 1), ("s3", 4), ("s4", 4)]).plan(), [], "half of them is no minority");
        let mut kept = scene(&four, &replaced);
        kept.configuration.cleanup_dead_servers = false;
        assert_eq!(kept.plan(), []);
        kept.configuration = AutopilotConfiguration { min_quorum: 4, ..AutopilotConfiguration::default() };
        assert_eq!(kept.plan(), []);
    }

    #[tokio::test(start_paused = true)]
    async fn whose_address_somebody_else_has_is_removed_first_if_the_others_are_a_quorum() {
        // The machine of s3 came back with another id.
        let mut scene = scene(&["s1", "s2", "s3"], &[("s1", 1), ("s2", 1), ("s4", 1)]);
        scene.members[2].addr = "10.0.0.3".to_owned();
        let plan = scene.view(Instant::now()).plan(&Stable::new());
        assert_eq!(plan[0], Change::Remove(uuid("s3")));
        assert!(matches!(&plan[1], Change::Add(peer) if peer.id == uuid("s4")), "{plan:?}");
        scene.members[1].status = 4;
        let plan = scene.view(Instant::now()).plan(&Stable::new());
        assert!(!plan.contains(&Change::Remove(uuid("s3"))), "one of three is no quorum: {plan:?}");
    }

    #[tokio::test(start_paused = true)]
    async fn a_server_tells_the_term_of_its_last_entry_and_nothing_before_it_was_heard() {
        let mut scene = scene(&["s1", "s2", "s3"], &[("s1", 1), ("s2", 1), ("s3", 4)]);
        scene.status.replicas[1].matched_term = 1;
        scene.status.replicas[2] = Replica { id: uuid("s3"), matched_index: 0, matched_term: 0, last_contact_ms: None };
        let health = scene.view(Instant::now()).health(&mut Stable::new());
        assert_eq!((health.servers[0].last_term, health.servers[1].last_term), (2, 1));
        assert_eq!((health.servers[2].last_contact, health.servers[2].last_term), (go::Duration(-1), 0));
        assert_eq!(serde_json::to_value(&health.servers[2]).expect("writes")["LastContact"], "-1ns");
    }

    #[tokio::test(start_paused = true)]
    async fn health_counts_who_can_be_lost() {
        let mut scene = scene(&["s1", "s2", "s3"], &[("s1", 1), ("s2", 1), ("s3", 1)]);
        let health = scene.view(Instant::now()).health(&mut Stable::new());
        assert!(health.healthy && health.failure_tolerance == 1);
        scene.status.replicas[2].last_contact_ms = Some(5000);
        let health = scene.view(Instant::now()).health(&mut Stable::new());
        assert!(!health.healthy && health.failure_tolerance == 0 && !health.servers[2].healthy);
    }

    #[tokio::test(start_paused = true)]
    async fn while_a_change_is_half_done_no_more_can_be_lost_than_both_halves_bear() {
        let mut scene = scene(&["s1", "s2", "s3"], &[("s1", 1), ("s2", 1), ("s3", 1), ("s4", 4)]);
        scene.status.peers.push(peer("s4", false));
        let former = scene.status.voter_sets[0].clone();
        scene.status.voter_sets.push(former.into_iter().chain([uuid("s4")]).collect());
        let health = scene.view(Instant::now()).health(&mut Stable::new());
        assert_eq!(health.failure_tolerance, 0, "three of four are needed, and one is dead");
        assert!(!health.servers[3].voter);
    }
}
