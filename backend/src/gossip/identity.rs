//! Who a member is, in every packet: small and of fixed size, since each packet and each update repeats it.
//! Everything else about a member is [`Meta`] and [`Stay`], which travel by their own ways.

use std::{collections::BTreeMap, net::SocketAddr};

use serde::{Deserialize, Serialize};

/// A node's UUID.
pub(super) type NodeId = uuid::Uuid;

/// A member as foca sees it. The node's UUID is what makes two of them the same member, so a node may come back with another address.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Identity {
    /// The node.
    pub(super) node: NodeId,
    /// Where it is reached, UDP and TCP.
    pub(super) address: SocketAddr,
    /// When it started, milliseconds since 1970, or one more each time it was declared down by mistake.
    pub(super) incarnation: u64,
    /// Which version of its [`Meta`] is the newest.
    pub(super) meta_version: u32,
}

impl foca::Identity for Identity {
    type Addr = NodeId;

    fn renew(&self) -> Option<Self> {
        Some(Self { incarnation: self.incarnation + 1, ..*self })
    }

    fn addr(&self) -> NodeId {
        self.node
    }

    fn win_addr_conflict(&self, adversary: &Self) -> bool {
        (self.incarnation, self.meta_version) > (adversary.incarnation, adversary.meta_version)
    }
}

/// What the others know about a member beside its identity.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub(super) struct Meta {
    /// Start of the process that wrote it, then its version: newer ones replace older ones.
    pub(super) version: (u64, u32),
    /// Name.
    pub(super) name: String,
    /// Tags.
    pub(super) tags: BTreeMap<String, String>,
    /// Id of the Raft cluster a server belongs to; empty for clients and before it is formed.
    pub(super) cluster: String,
}

/// How a member's stay ends on purpose. A later one replaces an earlier one of the same incarnation.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub(super) enum End {
    /// It said that it goes.
    Leaving,
    /// An operator declared it gone.
    Left,
    /// And wants it forgotten.
    Pruned,
}

/// The end of one stay; a member that comes back does so as a newer incarnation.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub(super) struct Stay {
    /// Whose stay: up to and including this incarnation.
    pub(super) incarnation: u64,
    /// How it ends.
    pub(super) end: End,
}

#[cfg(test)]
mod tests {
    use std::net::Ipv6Addr;

    use foca::{Codec as _, PostcardCodec, State};

    use super::*;

    /// Bytes of a member in a packet.
    fn size(address: SocketAddr, number: (u64, u32), node: NodeId) -> usize {
        let identity = Identity { node, address, incarnation: number.0, meta_version: number.1 };
        let mut bytes = Vec::new();
        PostcardCodec.encode_member(&foca::Member::new(identity, u16::MAX, State::Suspect), &mut bytes).expect("encodes");
        bytes.len()
    }

    /// A packet has two in its head and one for each update. Numbers are as long as they are large, nothing else varies, and whatever
    /// a member tells of itself is not in it.
    #[test]
    fn an_identity_is_small_whatever_it_holds() {
        let (v4, v6) = (SocketAddr::from(([255; 4], u16::MAX)), SocketAddr::from((Ipv6Addr::from([255; 16]), u16::MAX)));
        let (largest, now) = ((u64::MAX, u32::MAX), (1_700_000_000_000, 3));
        assert_eq!([size(v4, now, NodeId::max()), size(v4, now, NodeId::nil())], [36, 36]);
        assert_eq!([size(v4, largest, NodeId::max()), size(v6, largest, NodeId::max())], [44, 56]);
    }
}
