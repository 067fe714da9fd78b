//! Besides the members that foca draws by chance, every member probes its neighbour: the next one in the order of ids. So somebody looks
//! at each member at every interval, and a dead one is accused within two.
//!
//! By chance alone, whether drawn anew or round after round as in SWIM, nobody looks at a dead member for t intervals with a probability
//! of about e^-t: one death of 300 stays unnoticed for 6 s. Uses foca's own messages, which every member answers. Must never accuse more
//! easily than foca: first asked directly, then by way of others, judged at the end of the interval. Contract: cluster, section "Gossip".

use std::time::Duration;

use foca::{Codec as _, Header, Message, PostcardCodec, ProbeNumber, State, Timer};

use super::{
    identity::{Identity, NodeId},
    pool::Pool,
};

/// Members that are asked to ask.
const HELPERS: usize = 3;
/// foca's probes are numbered one by one. It takes what a helper says about ours for an answer about its own when the numbers are the
/// same; in other steps they are so once in a while, instead of always.
const STEP: ProbeNumber = 3;

/// The probe of the neighbour that is under way.
#[derive(Clone, Debug)]
pub(super) struct Probe {
    target: Identity,
    /// How often it had refuted accusations when the probe began.
    refutation: u16,
    number: ProbeNumber,
    answered: bool,
    /// Whether others were asked to ask: without that it is not judged.
    helped: bool,
}

/// What is told of the neighbour when it answers nobody.
struct Silent {
    target: Identity,
    refutation: u16,
}

impl Probe {
    fn into_silent(self) -> Option<Silent> {
        (self.helped && !self.answered).then_some(Silent { target: self.target, refutation: self.refutation })
    }
}

impl Pool {
    /// One of foca's timers has run: the probe of the neighbour keeps step with foca's, so that who is slow himself is patient here, too.
    pub(super) fn keep_step(&mut self, now: Duration, timer: &Timer<Identity>) {
        match timer {
            Timer::ProbeRandomMember(token) if self.token == Some(*token) => {
                if let Some(silent) = self.neighbour.take().and_then(Probe::into_silent) {
                    self.accuse_neighbour(now, &silent, *token);
                }
                self.probe_neighbour();
            }
            Timer::SendIndirectProbe { token, .. } if self.token == Some(*token) => self.ask_helpers(),
            _ => {}
        }
    }

    /// The living others in the order in which they follow this node, without those that it accuses already.
    fn followers(&self) -> Vec<foca::Member<Identity>> {
        let me = self.me().node;
        let accuses = |node: &NodeId| self.suspicions.get(node).is_some_and(|suspicion| suspicion.own);
        let mut others: Vec<_> = self.foca.iter_members().filter(|member| !accuses(&member.id().node)).cloned().collect();
        others.sort_by_key(|member| (member.id().node < me, member.id().node));
        others
    }

    fn probe_neighbour(&mut self) {
        // The only other one is whom foca probes.
        let next = self.followers().into_iter().next().filter(|_| self.foca.num_members() > 1);
        let Some(next) = next else { return };
        self.probes = self.probes.wrapping_add(STEP);
        let (target, number) = (*next.id(), self.probes);
        self.neighbour = Some(Probe { target, refutation: next.incarnation(), number, answered: false, helped: false });
        self.tell(target, Message::Ping(number));
    }

    /// It has not answered in time: others are asked to ask it.
    fn ask_helpers(&mut self) {
        let Some(probe) = self.neighbour.as_mut() else { return };
        probe.helped = true;
        if probe.answered {
            return;
        }
        let (target, number) = (probe.target, probe.number);
        let helpers = self.followers().into_iter().map(|member| *member.id()).filter(|helper| helper.node != target.node);
        for helper in helpers.take(HELPERS) {
            self.tell(helper, Message::PingReq { target, probe_number: number });
        }
    }

    fn accuse_neighbour(&mut self, now: Duration, silent: &Silent, token: u8) {
        let Silent { target, refutation } = *silent;
        let accused = foca::Member::new(target, refutation, State::Suspect);
        if let Err(error) = self.foca.apply_many([accused.clone()].into_iter(), true, &mut self.effects) {
            tracing::debug!(%error, "gossip neighbour not accused");
        }
        // It may have refuted, left or been declared down meanwhile.
        if self.foca.iter_members().any(|member| *member == accused)
            && let Some(due) = self.accuse(now, target, refutation, token)
        {
            self.arm(due, Timer::ChangeSuspectToDown { member_id: target, incarnation: refutation, token });
        }
    }

    /// Whether a packet is the neighbour's answer; foca takes no notice of it then.
    pub(super) fn hear_neighbour(&mut self, packet: &[u8]) {
        let Some(probe) = self.neighbour.as_mut().filter(|probe| !probe.answered) else { return };
        let Ok(Header { src, message, .. }): Result<Header<Identity>, _> = PostcardCodec.decode_header(packet) else { return };
        let (from, number) = match message {
            Message::Ack(number) => (src, number),
            Message::ForwardedAck { origin, probe_number } => (origin, probe_number),
            _ => return,
        };
        probe.answered = from.node == probe.target.node && number == probe.number;
    }

    /// Sends one of foca's messages, without news.
    fn tell(&mut self, to: Identity, message: Message<Identity>) {
        let src_incarnation = self.own_member().incarnation();
        let (header, mut packet) = (Header { src: self.me(), src_incarnation, dst: to, message }, Vec::new());
        match PostcardCodec.encode_header(&header, &mut packet) {
            Ok(()) => self.outgoing.push((to.address, packet.into())),
            Err(error) => tracing::debug!(%error, "gossip neighbour not asked"),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::{
        collections::{BTreeMap, BTreeSet},
        net::{Ipv4Addr, SocketAddr},
    };

    use super::*;
    use crate::gossip::{Timing, identity::Meta, pool::Setup};

    const MEMBERS: u16 = 24;
    const STEP_MS: u64 = 5;

    fn address(id: u16) -> SocketAddr {
        SocketAddr::from((Ipv4Addr::new(10, 0, 0, 1), 8000 + id))
    }

    fn pool(id: u16) -> Pool {
        // Ids are not in the order of the addresses.
        let node = NodeId::from_u128(u128::from(id).wrapping_mul(0x9e37_79b9_7f4a_7c15_f39c_c060_5ced_c835));
        let me = Identity { node, address: address(id), incarnation: 1, meta_version: 0 };
        let meta = Meta { version: (1, 0), name: format!("node-{id}"), ..Meta::default() };
        Pool::new(Setup { me, meta, datacenter: "dc1".to_owned(), timing: Timing::default(), seed: id.into() })
    }

    /// Pools that know each other, and a network that loses what it is told to.
    struct World {
        pools: BTreeMap<SocketAddr, Pool>,
        now: Duration,
        dead: BTreeSet<SocketAddr>,
        /// From whom to whom nothing gets.
        cut: BTreeSet<(SocketAddr, SocketAddr)>,
        carried: u64,
    }

    impl World {
        fn new() -> Self {
            let mut pools: BTreeMap<_, _> = (0..MEMBERS).map(|id| (address(id), pool(id))).collect();
            for (at, pool) in &mut pools {
                for id in (0..MEMBERS).filter(|id| address(*id) != *at) {
                    pool.learn(Duration::ZERO, self::pool(id).knowledge());
                }
            }
            Self { pools, now: Duration::ZERO, dead: BTreeSet::new(), cut: BTreeSet::new(), carried: 0 }
        }

        fn run(&mut self, time: Duration) {
            let until = self.now + time;
            while self.now < until {
                self.now += Duration::from_millis(STEP_MS);
                let mut packets = Vec::new();
                for (at, pool) in self.pools.iter_mut().filter(|(at, _)| !self.dead.contains(at)) {
                    pool.tick(self.now);
                    packets.extend(pool.take_outgoing().into_iter().map(|(to, packet)| (*at, to, packet)));
                }
                while let Some((from, to, packet)) = packets.pop() {
                    if self.dead.contains(&to) || self.cut.contains(&(from, to)) {
                        continue;
                    }
                    self.carried += 1;
                    let pool = self.pools.get_mut(&to).expect("a member");
                    pool.receive(self.now, &packet);
                    packets.extend(pool.take_outgoing().into_iter().map(|(next, packet)| (to, next, packet)));
                }
            }
        }

        /// Living members that accuse this one.
        fn accusers(&self, of: SocketAddr) -> usize {
            let node = self.pools[&of].me().node;
            let living = self.pools.iter().filter(|(at, _)| !self.dead.contains(at));
            living.filter(|(_, pool)| pool.suspicions.get(&node).is_some_and(|suspicion| suspicion.own)).count()
        }
    }

    #[test]
    fn whoever_dies_is_accused_within_two_intervals() {
        let interval = Timing::default().probe_interval;
        for id in 0..MEMBERS {
            let mut world = World::new();
            world.run(interval * 2 + Duration::from_millis(u64::from(id) * 40));
            world.dead.insert(address(id));
            world.run(interval * 2 + Duration::from_millis(STEP_MS));
            assert!(world.accusers(address(id)) > 0, "nobody misses {id}");
        }
    }

    #[test]
    fn neighbours_that_die_together_are_all_accused_in_turn() {
        for first in (0..usize::from(MEMBERS)).step_by(3) {
            let mut world = World::new();
            world.run(Duration::from_secs(2));
            let mut order: Vec<_> = world.pools.iter().map(|(at, pool)| (pool.me().node, *at)).collect();
            order.sort();
            let dead: Vec<_> = order[first..first + 3].iter().map(|(_, at)| *at).collect();
            world.dead.extend(&dead);
            world.run(Duration::from_millis(4 * 1000 + STEP_MS));
            assert!(dead.iter().all(|at| world.accusers(*at) > 0), "not all three from {first} on");
        }
    }

    #[test]
    fn who_answers_by_way_of_others_is_not_accused() {
        let mut world = World::new();
        world.run(Duration::from_secs(1));
        let mut order: Vec<_> = world.pools.iter().map(|(at, pool)| (pool.me().node, *at)).collect();
        order.sort();
        let pairs = order.iter().zip(order.iter().cycle().skip(1)).map(|((_, a), (_, b))| (*a, *b));
        world.cut = pairs.flat_map(|(a, b)| [(a, b), (b, a)]).collect();
        world.run(Duration::from_secs(20));
        assert!(world.carried > 1000);
        assert!(world.pools.values().all(|pool| pool.health().accusations == 0));
    }

    /// Servers tell new tags right after they have formed a cluster.
    #[test]
    fn who_dies_right_after_this_node_changed_its_tags_is_accused_all_the_same() {
        let mut world = World::new();
        world.run(Duration::from_secs(2));
        let (first, now) = (address(0), world.now);
        world.pools.get_mut(&first).expect("a member").describe(now, |meta| meta.cluster = "one".to_owned());
        world.dead.extend((1..MEMBERS).map(address));
        world.run(Timing::default().probe_interval * 3);
        assert!((1..MEMBERS).any(|id| world.accusers(address(id)) > 0), "it probes nobody any more");
    }
}
