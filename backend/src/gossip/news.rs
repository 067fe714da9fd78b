//! News that travels on the packets: what members tell about themselves, and stays that end on purpose.
//!
//! foca asks of each item whether it is new; only new ones are passed on.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use serde::{Deserialize, Serialize};

use super::identity::{Meta, NodeId, Stay};

/// One item. Its bytes have to fit into a packet.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(super) enum News {
    /// A member's name and tags.
    Meta(NodeId, Meta),
    /// A member goes.
    Stay(NodeId, Stay),
    /// A member does not answer.
    Accusation {
        /// Who does not.
        node: NodeId,
        /// Which stay of it, and how often it refuted accusations in it.
        at: (u64, u16),
        /// Who says so.
        by: NodeId,
    },
}

impl News {
    pub(super) fn encode(&self) -> Vec<u8> {
        rmp_serde::to_vec_named(self).expect("news is plain data, which msgpack can always write")
    }
}

/// Which items replace which.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Key {
    Meta(NodeId, (u64, u32)),
    Stay(NodeId, Stay),
    Accusation(NodeId, NodeId, (u64, u16)),
}

impl foca::Invalidates for Key {
    fn invalidates(&self, other: &Self) -> bool {
        match (self, other) {
            (Self::Meta(node, version), Self::Meta(of, older)) => node == of && version >= older,
            (Self::Stay(node, stay), Self::Stay(of, older)) => node == of && stay >= older,
            (Self::Accusation(node, by, at), Self::Accusation(of, from, older)) => node == of && by == from && at >= older,
            _ => false,
        }
    }
}

/// Who accuses a member.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Accused {
    /// Which stay of it, and how often it refuted accusations in it: older accusations are void.
    pub(super) at: (u64, u16),
    pub(super) by: BTreeSet<NodeId>,
}

/// Nodes about which something is kept, at most: an open port must not fill the memory.
const NODES_MAX: usize = 65_536;
/// Characters of a name and bytes of all tags, at most.
const META_MAX: (usize, usize) = (128, 1024);
/// Accusers of one member that are kept and passed on: more would make nothing more certain.
const ACCUSERS_MAX: usize = 5;

fn is_reasonable(meta: &Meta) -> bool {
    let tags: usize = meta.tags.iter().map(|(key, value)| key.len() + value.len()).sum();
    meta.name.chars().count() <= META_MAX.0 && tags <= META_MAX.1
}

/// What the news so far told.
#[derive(Clone, Debug, Default)]
pub(super) struct Told {
    pub(super) metas: BTreeMap<NodeId, Meta>,
    pub(super) stays: BTreeMap<NodeId, Stay>,
    pub(super) accused: BTreeMap<NodeId, Accused>,
    /// Whether anybody was accused since it was last looked at.
    pub(super) accusations: bool,
    /// Whether anything changed since it was last looked at.
    pub(super) changed: bool,
}

impl Told {
    /// Keeps an item if it is new; answers how it replaces others then.
    pub(super) fn learn(&mut self, news: News) -> Option<Key> {
        match news {
            News::Meta(node, meta) => {
                let version = meta.version;
                let known = self.metas.get(&node);
                let room = (known.is_some() || self.metas.len() < NODES_MAX) && is_reasonable(&meta);
                let new = room && known.is_none_or(|known| known.version < version);
                new.then(|| {
                    self.changed = true;
                    self.metas.insert(node, meta);
                    Key::Meta(node, version)
                })
            }
            News::Stay(node, stay) => {
                let known = self.stays.get(&node);
                let room = known.is_some() || self.stays.len() < NODES_MAX;
                let new = room && known.is_none_or(|known| *known < stay);
                new.then(|| {
                    self.changed = true;
                    self.stays.insert(node, stay);
                    Key::Stay(node, stay)
                })
            }
            News::Accusation { node, at, by } => {
                // Of strangers nothing is kept.
                let room = self.metas.contains_key(&node) && self.metas.contains_key(&by);
                let accused = self.accused.get(&node);
                let new = accused.is_none_or(|accused| {
                    at > accused.at || at == accused.at && accused.by.len() < ACCUSERS_MAX && !accused.by.contains(&by)
                });
                (room && new).then(|| {
                    self.accusations = true;
                    let accused = self.accused.entry(node).or_default();
                    if at > accused.at {
                        *accused = Accused { at, by: BTreeSet::new() };
                    }
                    accused.by.insert(by);
                    Key::Accusation(node, by, at)
                })
            }
        }
    }
}

/// What foca asks about each item, sharing its knowledge with the pool.
#[derive(Clone, Debug, Default)]
pub(super) struct Desk(Arc<Mutex<Told>>);

impl Desk {
    pub(super) fn told(&self) -> MutexGuard<'_, Told> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl<T> foca::BroadcastHandler<T> for Desk {
    type Key = Key;
    type Error = std::convert::Infallible;

    fn receive_item(&mut self, data: &[u8], _sender: Option<&T>) -> Result<Option<Key>, Self::Error> {
        // An item of a newer version is passed over: the rest of the packet counts.
        match rmp_serde::from_slice(data) {
            Ok(news) => Ok(self.told().learn(news)),
            Err(error) => {
                tracing::trace!(%error, "gossip news of an unknown kind");
                Ok(None)
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use foca::Invalidates as _;

    use super::{super::identity::End, *};

    #[test]
    fn only_what_is_newer_is_passed_on() {
        let (node, mut told) = (NodeId::from_u128(1), Told::default());
        let meta = |version| News::Meta(node, Meta { version, ..Meta::default() });
        let stay = |incarnation, end| News::Stay(node, Stay { incarnation, end });
        assert!(told.learn(meta((1, 0))).is_some());
        assert!(told.learn(meta((1, 0))).is_none() && told.learn(meta((0, 9))).is_none());
        let first = told.learn(stay(1, End::Leaving)).expect("new");
        assert!(told.learn(stay(1, End::Leaving)).is_none());
        let second = told.learn(stay(1, End::Pruned)).expect("later");
        assert!(told.learn(stay(1, End::Left)).is_none());
        assert!(second.invalidates(&first) && !first.invalidates(&second));
        let long = Meta { version: (9, 0), name: "x".repeat(129), ..Meta::default() };
        assert!(told.learn(News::Meta(node, long)).is_none(), "no such name");
        let newer = told.learn(meta((2, 0))).expect("newer");
        assert!(!newer.invalidates(&second) && !second.invalidates(&newer));
    }

    #[test]
    fn accusers_are_counted_until_the_member_refutes() {
        let (node, mut told) = (NodeId::from_u128(1), Told::default());
        let accusation = |at, by| News::Accusation { node, at, by: NodeId::from_u128(by) };
        assert!(told.learn(accusation((1, 0), 2)).is_none(), "nothing is kept of strangers");
        for id in 1..=9 {
            told.learn(News::Meta(NodeId::from_u128(id), Meta { version: (1, 0), ..Meta::default() }));
        }
        let first = told.learn(accusation((1, 0), 2)).expect("new");
        assert!(told.learn(accusation((1, 0), 2)).is_none() && told.learn(accusation((0, 9), 3)).is_none());
        for by in 3..=9 {
            told.learn(accusation((1, 0), by));
        }
        assert_eq!(told.accused[&node].by.len(), ACCUSERS_MAX);
        let later = told.learn(accusation((1, 1), 2)).expect("refuted, accused again");
        assert_eq!(told.accused[&node].by.len(), 1);
        assert!(later.invalidates(&first) && !first.invalidates(&later));
    }

    #[test]
    fn items_of_a_newer_version_are_passed_over() {
        let unknown = rmp_serde::to_vec_named(&BTreeMap::from([("Weather", 1)])).expect("encodes");
        let learned = foca::BroadcastHandler::<()>::receive_item(&mut Desk::default(), &unknown, None);
        assert_eq!(learned, Ok(None));
    }
}
