//! News that travels on the packets: what members tell about themselves, and stays that end on purpose.
//!
//! foca asks of each item whether it is new; only new ones are passed on.

use std::{
    collections::BTreeMap,
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
}

impl News {
    pub(super) fn encode(&self) -> Vec<u8> {
        rmp_serde::to_vec_named(self).expect("news is plain data, which msgpack can always write")
    }
}

/// Which items replace which.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Key {
    node: NodeId,
    /// `None` for a meta.
    stay: Option<Stay>,
    version: (u64, u32),
}

impl foca::Invalidates for Key {
    fn invalidates(&self, other: &Self) -> bool {
        self.node == other.node && self.stay.is_some() == other.stay.is_some() && (self.stay, self.version) >= (other.stay, other.version)
    }
}

/// Nodes about which something is kept, at most: an open port must not fill the memory.
const NODES_MAX: usize = 65_536;
/// Characters of a name and bytes of all tags, at most.
const META_MAX: (usize, usize) = (128, 8192);

fn is_reasonable(meta: &Meta) -> bool {
    let tags: usize = meta.tags.iter().map(|(key, value)| key.len() + value.len()).sum();
    meta.name.chars().count() <= META_MAX.0 && tags <= META_MAX.1
}

/// What the news so far told.
#[derive(Clone, Debug, Default)]
pub(super) struct Told {
    pub(super) metas: BTreeMap<NodeId, Meta>,
    pub(super) stays: BTreeMap<NodeId, Stay>,
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
                    Key { node, stay: None, version }
                })
            }
            News::Stay(node, stay) => {
                let known = self.stays.get(&node);
                let room = known.is_some() || self.stays.len() < NODES_MAX;
                let new = room && known.is_none_or(|known| *known < stay);
                new.then(|| {
                    self.changed = true;
                    self.stays.insert(node, stay);
                    Key { node, stay: Some(stay), version: (0, 0) }
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

/// An item that is none.
#[derive(Debug, thiserror::Error)]
#[error("unreadable news: {0}")]
pub(super) struct Unreadable(String);

impl<T> foca::BroadcastHandler<T> for Desk {
    type Key = Key;
    type Error = Unreadable;

    fn receive_item(&mut self, data: &[u8], _sender: Option<&T>) -> Result<Option<Key>, Unreadable> {
        let news = rmp_serde::from_slice(data).map_err(|error| Unreadable(error.to_string()))?;
        Ok(self.told().learn(news))
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
}
