//! Gossip as this release sends it: packets, the news on them, exchanges.
//!
//! Packets name no fields: they change only together with the protocol of RPC. How samples are written and what may change is said in
//! [`crate::samples`]. Contract: cluster, section "Upgrades and versions".

use std::{collections::BTreeMap, net::SocketAddr, time::Duration};

use foca::{BroadcastHandler as _, Codec as _, Header, Message, PostcardCodec, State};

use super::{
    KeyringRequest, Timing,
    exchange::{self, Ask, Reply},
    identity::{End, Identity, Meta, NodeId, Stay},
    keys::Held,
    news::{Desk, News},
    pool::{Pool, Setup},
};
use crate::samples::{Samples, rename};

const EXCHANGES: Samples = Samples { module: "gossip", versioned: true };
const PLAIN: Samples = Samples { module: "gossip", versioned: false };

fn identity(number: u8) -> Identity {
    let address = SocketAddr::from(([10, 0, 0, number], 8301));
    Identity { node: NodeId::from_u128(number.into()), address, incarnation: 1_700_000_000_000, meta_version: 2 }
}

fn meta(number: u8) -> Meta {
    let tags = BTreeMap::from([("1role".to_owned(), "consul".to_owned())]);
    Meta { version: (1_700_000_000_000, 2), name: format!("n{number}"), tags, cluster: "c".to_owned() }
}

fn pool(number: u8) -> Pool {
    let (me, meta) = (identity(number), meta(number));
    Pool::new(Setup { me, meta, datacenter: "dc1".to_owned(), timing: Timing::default(), seed: 1 })
}

#[test]
fn news_of_this_release_stays_readable() {
    let stay = |end| News::Stay(NodeId::from_u128(1), Stay { incarnation: 1_700_000_000_000, end });
    let all = [
        ("news-meta", News::Meta(NodeId::from_u128(1), meta(1))),
        ("news-leaving", stay(End::Leaving)),
        ("news-left", stay(End::Left)),
        ("news-pruned", stay(End::Pruned)),
        ("news-accusation", News::Accusation { node: NodeId::from_u128(1), at: (1_700_000_000_000, 3), by: NodeId::from_u128(2) }),
    ];
    for (name, news) in all {
        PLAIN.check(name, &news, &news.encode());
    }
}

#[test]
fn news_that_only_a_later_release_knows_is_passed_over() {
    for (name, from) in [("news-leaving", "Leaving"), ("news-leaving", "Stay")] {
        let mut later = PLAIN.tree(&PLAIN.kept(name));
        rename(&mut later, from, "Later");
        let mut desk = Desk::default();
        let learned = desk.receive_item(&PLAIN.encode(&later), None::<&Identity>);
        assert_eq!(learned, Ok(None), "{from}");
        assert!(desk.told().stays.is_empty());
    }
}

#[test]
fn exchanges_of_this_release_stay_readable() {
    let mut pool = pool(1);
    pool.announce_leave(Duration::ZERO);
    let accused = || foca::Member::new(identity(2), 3, State::Suspect);
    let asks = [
        ("ask-exchange", Ask::Exchange(pool.knowledge())),
        ("ask-list-keys", Ask::Keyring(KeyringRequest::List)),
        ("ask-install-key", Ask::Keyring(KeyringRequest::Install("a".to_owned()))),
        ("ask-use-key", Ask::Keyring(KeyringRequest::Use("a".to_owned()))),
        ("ask-remove-key", Ask::Keyring(KeyringRequest::Remove("a".to_owned()))),
        ("ask-accused", Ask::Accused(accused())),
    ];
    for (name, ask) in asks {
        EXCHANGES.check(name, &ask, &exchange::encode(&ask));
    }
    let replies = [
        ("reply-exchange", Reply::Exchange(pool.knowledge())),
        ("reply-keys", Reply::Keyring(Held::default())),
        ("reply-refuted", Reply::Refuted(accused())),
        ("reply-refused", Reply::Refused("why".to_owned())),
    ];
    for (name, reply) in replies {
        EXCHANGES.check(name, &reply, &exchange::encode(&reply));
    }
}

#[test]
fn what_only_a_later_release_asks_is_refused_with_its_name() {
    let mut later = EXCHANGES.tree(&EXCHANGES.kept("ask-accused"));
    rename(&mut later, "Accused", "Weather");
    let why = exchange::decode::<Ask>(&EXCHANGES.encode(&later)).expect_err("not known");
    assert!(why.contains("Weather"), "{why}");
    assert_eq!(exchange::decode::<Ask>(&[2, 0]).map(|_| ()), Err("unknown version".to_owned()));
}

#[test]
fn packets_of_this_release_stay_readable() {
    let header = Header { src: identity(1), src_incarnation: 3, dst: identity(2), message: Message::Ping(7) };
    let mut now = Vec::new();
    PostcardCodec.encode_header(&header, &mut now).expect("encodes");
    let kept = PLAIN.sample("packet-header", &now);
    assert_eq!(now, kept, "a packet's head is written in another way than it was");
    let read: Header<Identity> = PostcardCodec.decode_header(&kept[..]).expect("reads");
    assert_eq!(format!("{read:?}"), format!("{header:?}"));

    let member = foca::Member::new(identity(1), 3, State::Suspect);
    let mut now = Vec::new();
    PostcardCodec.encode_member(&member, &mut now).expect("encodes");
    let kept = PLAIN.sample("packet-member", &now);
    assert_eq!(now, kept, "a packet's update is written in another way than it was");
    assert_eq!(PostcardCodec.decode_member(&kept[..]).expect("reads"), member);
}

/// A whole packet, with news on it, as one member really sent it to another.
#[test]
fn a_packet_of_this_release_is_still_heard() {
    let (mut first, mut second) = (pool(1), pool(2));
    first.learn(Duration::ZERO, second.knowledge());
    first.introduce();
    let mut now = Duration::ZERO;
    let sent = loop {
        now = first.due().expect("it gossips").max(now);
        first.tick(now);
        let sent = first.take_outgoing().into_iter().map(|(_, packet)| packet).find(|packet| packet.windows(4).any(|part| part == b"Meta"));
        if let Some(sent) = sent {
            break sent;
        }
    };
    let kept = PLAIN.sample("packet-whole", &sent);
    second.receive(Duration::from_secs(1), &kept);
    assert!(second.known.get(&NodeId::from_u128(1)).is_some_and(|known| known.alive && known.identity == identity(1)));
    assert_eq!(second.desk.told().metas.get(&NodeId::from_u128(1)), Some(&meta(1)), "its news was heard");
}
