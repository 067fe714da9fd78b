//! What members ask of each other on streams: an exchange of everything known, whether an accused one is there, changes of the keyring.
//!
//! Each question is a task of its own that ends in [`Service::finish`]; only the service touches the pool.

use std::{net::SocketAddr, time::Duration};

use serde::{Deserialize, Serialize};
use shared::{agent::status, gossip as view};
use tokio::sync::oneshot;

use super::{
    KeyringRequest,
    identity::Identity,
    keyring::Keyring,
    keys::{self, Held},
    knowledge::Knowledge,
    service::Service,
    transport::{Exchange, Transport},
};
use crate::rt::clock;

/// How long one exchange may take.
const EXCHANGE_DEADLINE: Duration = Duration::from_secs(10);
/// What whoever wants something of an agent that has left is told.
const LEAVING: &str = "this agent is leaving";

/// What one member asks of another on a stream.
#[derive(Debug, Serialize, Deserialize)]
pub(super) enum Ask {
    /// Tell everything you know; this is what I know.
    Exchange(Knowledge),
    /// Do this to your keys.
    Keyring(KeyringRequest),
    /// Your packets do not arrive: are you there?
    Accused(foca::Member<Identity>),
}

/// The answer.
#[derive(Debug, Serialize, Deserialize)]
pub(super) enum Reply {
    Exchange(Knowledge),
    Keyring(Held),
    /// As it is now.
    Refuted(foca::Member<Identity>),
    Refused(String),
}

/// Who waits for the outcome of a join.
pub(super) type Joining = oneshot::Sender<Result<(), String>>;

/// A question to which no answer came.
pub(super) struct Unanswered {
    why: String,
    /// Nothing listens there.
    closed: bool,
}

/// A question that came to an end.
pub(super) struct Ended {
    with: SocketAddr,
    kind: Kind,
    outcome: Result<Reply, Unanswered>,
    took: Duration,
    joining: Option<Joining>,
}

/// What a question is about: one of each kind is asked of one address at a time.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Kind {
    Exchange,
    Accusation,
}

impl Service {
    pub(super) fn change_keys(&self, request: KeyringRequest, done: oneshot::Sender<view::Keyring>) {
        if let Err(error) = request.check() {
            drop(done.send(view::Keyring { error, ..view::Keyring::default() }));
            return;
        }
        let others: Vec<(String, SocketAddr)> = self
            .pool
            .members()
            .0
            .into_iter()
            .filter(|member| member.status == status::ALIVE && member.name != self.options.node_name)
            .filter_map(|member| Some((member.name, SocketAddr::new(member.addr.parse().ok()?, member.port))))
            .collect();
        let own = (self.options.node_name.clone(), keys::apply(&self.keyring, &request));
        // The others are asked with the key that is in use before and after.
        let (transport, keyring) = (self.transport.clone(), self.keyring.clone());
        self.tasks.spawn_until_shutdown("keyring", async move {
            let asked = others.into_iter().map(|(name, address)| {
                let (transport, keyring, request) = (&transport, &keyring, &request);
                async move { (name, ask_keys(&**transport, keyring, address, request).await) }
            });
            let held = keys::gather(own, asked).await;
            // The asker may have gone.
            drop(done.send(held));
        });
    }

    pub(super) fn exchange_with_one_of(&mut self, mut peers: Vec<SocketAddr>) {
        self.rng.shuffle(&mut peers);
        if let Some(peer) = peers.first() {
            self.exchange(*peer, None);
        }
    }

    /// Starts an exchange in a task of its own; it ends in [`Service::finish`].
    pub(super) fn exchange(&mut self, with: SocketAddr, joining: Option<Joining>) {
        let ask = Ask::Exchange(self.pool.knowledge());
        self.ask(with, Kind::Exchange, ask, joining);
    }

    pub(super) fn ask(&mut self, with: SocketAddr, kind: Kind, ask: Ask, joining: Option<Joining>) {
        if self.gone {
            // Whoever heard of it would take it for a member again.
            if let Some(joining) = joining {
                drop(joining.send(Err(LEAVING.to_owned())));
            }
            return;
        }
        if !self.asking.insert((with, kind)) && joining.is_none() {
            return;
        }
        let (transport, ended, keyring) = (self.transport.clone(), self.ended.0.clone(), self.keyring.clone());
        self.tasks.spawn_until_shutdown("gossip exchange", async move {
            let began = clock::Instant::now();
            let outcome = call(&*transport, &keyring, with, &ask).await;
            // The service only goes at shutdown.
            drop(ended.send(Ended { with, kind, outcome, took: began.elapsed(), joining }).await);
        });
    }

    pub(super) fn finish(&mut self, Ended { with, kind, outcome, took, joining }: Ended) {
        self.asking.remove(&(with, kind));
        let now = self.now();
        let result = match outcome {
            Ok(Reply::Exchange(knowledge)) => self.learn(with, took, knowledge, joining.is_some()),
            Ok(Reply::Refuted(member)) => {
                if self.pool.hear_refutation(now, member) {
                    tracing::warn!(%with, "gossip: a member answers on TCP but not on UDP: is its UDP port open?");
                }
                Ok(())
            }
            Ok(Reply::Refused(why)) => {
                tracing::error!(%with, why, "gossip: refused by the other side");
                Err(why)
            }
            Ok(Reply::Keyring(_)) => Err("answered another question".to_owned()),
            Err(Unanswered { why, closed }) => {
                tracing::debug!(%with, why, "gossip exchange failed");
                if closed {
                    self.pool.note_closed(with);
                }
                Err(why)
            }
        };
        if let Some(joining) = joining {
            drop(joining.send(result));
        }
    }

    fn learn(&mut self, with: SocketAddr, took: Duration, knowledge: Knowledge, joins: bool) -> Result<(), String> {
        if self.gone {
            // They say that it has left, which it would refute.
            return Err(LEAVING.to_owned());
        }
        let now = self.now();
        if let Some(why) = self.pool.objection(now, &knowledge) {
            tracing::error!(%with, why, "gossip: not joined");
            return Err(why);
        }
        if self.round_trips.len() > 10_000 {
            self.round_trips.clear();
        }
        self.round_trips.insert(with, took);
        self.pool.learn(now, knowledge);
        if joins {
            self.pool.introduce();
        }
        Ok(())
    }

    pub(super) fn answer(&mut self, Exchange { from, theirs, answer }: Exchange) {
        let refused = |why: &str| {
            tracing::debug!(%from, why, "gossip exchange refused");
        };
        if !self.may_talk(from) {
            return refused("not of an allowed network");
        }
        // Who has no key of ours gets no answer that would help with guessing.
        let Some(bytes) = self.keyring.open(&theirs) else { return refused("not sealed with a key of ours") };
        let reply = match decode::<Ask>(&bytes) {
            Ok(_) if self.gone => Reply::Refused(LEAVING.to_owned()),
            Ok(Ask::Accused(accused)) => {
                let now = self.now();
                Reply::Refuted(self.pool.answer_accusation(now, &accused))
            }
            Ok(Ask::Exchange(theirs)) => match self.pool.objection(self.now(), &theirs) {
                Some(why) => {
                    tracing::error!(%from, why, "gossip: refused to join");
                    Reply::Refused(why)
                }
                None => {
                    let now = self.now();
                    self.pool.learn(now, theirs);
                    Reply::Exchange(self.pool.knowledge())
                }
            },
            Ok(Ask::Keyring(_)) if !self.keyring.is_trusted(&theirs) => {
                Reply::Refused("keys are only told and changed encrypted".to_owned())
            }
            Ok(Ask::Keyring(request)) => {
                // Sealed before a change of the primary key: the asker has the former one for sure.
                let held = keys::apply(&self.keyring, &request);
                Reply::Keyring(held)
            }
            Err(reason) => Reply::Refused(reason),
        };
        // The other side may have gone meanwhile.
        drop(answer.send(self.keyring.seal(&encode(&reply))));
    }
}

async fn ask_keys(transport: &dyn Transport, keyring: &Keyring, to: SocketAddr, request: &KeyringRequest) -> Result<Held, String> {
    match call(transport, keyring, to, &Ask::Keyring(request.clone())).await.map_err(|unanswered| unanswered.why)? {
        Reply::Keyring(held) => Ok(held),
        Reply::Refused(why) => Err(why),
        Reply::Exchange(_) | Reply::Refuted(_) => Err("answered another question".to_owned()),
    }
}

/// One question on a stream and its answer.
async fn call(transport: &dyn Transport, keyring: &Keyring, with: SocketAddr, ask: &Ask) -> Result<Reply, Unanswered> {
    let unanswered = |why: String| Unanswered { why, closed: false };
    match clock::timeout(EXCHANGE_DEADLINE, transport.exchange(with, keyring.seal(&encode(ask)))).await {
        Ok(Ok(answer)) => {
            let opened = keyring.open(&answer).ok_or_else(|| unanswered("the answer is not sealed with a key of ours".to_owned()))?;
            decode(&opened).map_err(unanswered)
        }
        Ok(Err(error)) => Err(Unanswered { closed: error.kind() == std::io::ErrorKind::ConnectionRefused, why: dial(with, &error) }),
        Err(_) => Err(unanswered(format!("dial tcp {with}: i/o timeout"))),
    }
}

/// A failure to reach somebody, in the words operators look for.
fn dial(with: SocketAddr, error: &std::io::Error) -> String {
    match error.kind() {
        std::io::ErrorKind::ConnectionRefused => format!("dial tcp {with}: connect: connection refused"),
        std::io::ErrorKind::UnexpectedEof | std::io::ErrorKind::ConnectionReset => {
            format!("{with} closed the connection: it may use another gossip key, or refuse this address")
        }
        _ => format!("dial tcp {with}: {error}"),
    }
}

/// Version of the bytes of an exchange.
const VERSION: u8 = 1;

pub(super) fn encode<T: Serialize>(value: &T) -> Vec<u8> {
    let mut bytes = vec![VERSION];
    rmp_serde::encode::write_named(&mut bytes, value).expect("plain data, which msgpack can always write");
    bytes
}

pub(super) fn decode<T: serde::de::DeserializeOwned>(bytes: &[u8]) -> Result<T, String> {
    match bytes.split_first() {
        Some((&VERSION, rest)) => rmp_serde::from_slice(rest).map_err(|error| error.to_string()),
        _ => Err("unknown version".to_owned()),
    }
}
