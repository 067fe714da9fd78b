//! Operations on the keys of the whole pool: done to each member's ring, told as one result.
//!
//! Contract: cluster, section "Keyring".

use base64::{Engine as _, engine::general_purpose::STANDARD};
use futures_util::{StreamExt as _, stream};
use serde::{Deserialize, Serialize};
use shared::gossip::Keyring as Told;

use super::keyring::{Keyring, Refused};

/// Members asked at a time.
const AT_ONCE: usize = 16;

/// What to do with the keys; keys are base64.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum KeyringRequest {
    /// Tell which there are.
    List,
    /// Add one that opens.
    Install(String),
    /// Make an installed one seal.
    Use(String),
    /// Forget one.
    Remove(String),
}

/// What one member answers: its keys afterwards, or why it did not.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Held {
    /// Base64, primary first.
    keys: Vec<String>,
    refused: Option<String>,
}

impl KeyringRequest {
    /// Whether the key is base64, which is looked at before anybody is asked.
    ///
    /// # Errors
    /// It is not, in Go's words.
    pub(super) fn check(&self) -> Result<(), String> {
        match self {
            Self::List => Ok(()),
            Self::Install(key) | Self::Use(key) | Self::Remove(key) => decode(key).map(drop),
        }
    }
}

fn decode(text: &str) -> Result<Vec<u8>, String> {
    STANDARD.decode(text).map_err(|_| format!("illegal base64 data at input byte {}", illegal_byte(text.as_bytes())))
}

/// Where Go's decoder finds the first fault of a text that is no base64.
fn illegal_byte(text: &[u8]) -> usize {
    for (at, byte) in text.iter().enumerate() {
        let within = at % 4;
        let rest = text.get(at + 1);
        match byte {
            b'A'..=b'Z' | b'a'..=b'z' | b'0'..=b'9' | b'+' | b'/' => {}
            // Padding ends the text, after two or three letters.
            b'=' if within == 2 && rest.is_none() => return text.len(),
            b'=' if within == 2 && rest == Some(&b'=') => return at + 2,
            b'=' if within == 3 => return at + 1,
            _ => return at,
        }
    }
    text.len() / 4 * 4
}

/// Does it to this member's own ring.
pub(super) fn apply(keyring: &Keyring, request: &KeyringRequest) -> Held {
    let text = |error: Refused| error.to_string();
    let done = match request {
        KeyringRequest::List if keyring.is_encrypted() => Ok(()),
        KeyringRequest::List => Err(Refused::Empty.to_string()),
        KeyringRequest::Install(key) => decode(key).and_then(|key| keyring.install(&key).map_err(text)),
        KeyringRequest::Use(key) => decode(key).and_then(|key| keyring.use_key(&key).map_err(text)),
        KeyringRequest::Remove(key) => decode(key).and_then(|key| keyring.remove(&key).map_err(text)),
    };
    Held { keys: keyring.watch().borrow().iter().map(|key| STANDARD.encode(key)).collect(), refused: done.err() }
}

/// One result of everybody's.
pub(super) async fn gather<F>(own: (String, Held), others: impl Iterator<Item = F>) -> Told
where
    F: Future<Output = (String, Result<Held, String>)>,
{
    let mut told = Told::default();
    let mut add = |name: String, held: Result<Held, String>| {
        told.nodes += 1;
        match held {
            Ok(held) => {
                for key in &held.keys {
                    *told.keys.entry(key.clone()).or_default() += 1;
                }
                if let Some(primary) = held.keys.first() {
                    *told.primary_keys.entry(primary.clone()).or_default() += 1;
                }
                if let Some(why) = held.refused {
                    told.messages.insert(name, why);
                }
            }
            Err(why) => drop(told.messages.insert(name, why)),
        }
    };
    add(own.0, Ok(own.1));
    let mut answers = stream::iter(others).buffer_unordered(AT_ONCE);
    while let Some((name, held)) = answers.next().await {
        add(name, held);
    }
    drop(answers);
    told
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::rt::Rng;

    #[tokio::test]
    async fn every_members_answer_counts() {
        let (one, two) = (STANDARD.encode([1; 16]), STANDARD.encode([2; 16]));
        let ring = |key: u8| Keyring::new(&[vec![key; 16]], true, true, Rng::from_seed(1));
        let (ours, theirs) = (ring(1), ring(1));
        let install = KeyringRequest::Install(two.clone());
        let other = apply(&theirs, &install);
        let others = [Ok(other), Err("dial tcp: refused".to_owned())];
        let others = others.into_iter().enumerate().map(|(at, held)| async move { (format!("n{at}"), held) });
        let told = gather(("me".to_owned(), apply(&ours, &KeyringRequest::Use(two.clone()))), others).await;
        assert_eq!((told.nodes, told.keys[&one], told.keys[&two], told.primary_keys[&one]), (3, 2, 1, 2));
        assert_eq!(told.messages["me"], "Requested key is not in the keyring");
        assert_eq!(told.messages["n1"], "dial tcp: refused");
        assert!(apply(&ours, &KeyringRequest::Install("!!".to_owned())).refused.is_some());
        let plain = Keyring::new(&[], true, true, Rng::from_seed(1));
        let refused = |request| apply(&plain, &request).refused.expect("refused");
        assert_eq!(refused(KeyringRequest::List), "Keyring is empty (encryption not enabled)");
        assert_eq!(refused(KeyringRequest::Install("AAAA".to_owned())), "No keyring to modify (encryption not enabled)");
    }

    #[test]
    fn faults_of_a_key_are_where_go_finds_them() {
        for (text, at) in
            [("abc", 0), ("zzz", 0), ("!!", 0), ("AAAAab", 4), ("AAAA=", 4), ("AAA=A", 4), ("AA=", 3), ("AA=A", 2), ("AA==A", 4)]
        {
            assert_eq!(decode(text), Err(format!("illegal base64 data at input byte {at}")), "{text}");
        }
        assert_eq!(decode(""), Ok(Vec::new()));
    }
}
