//! Operations on the keys of the whole pool: done to each member's ring, told as one result.
//!
//! Contract: cluster, section "Keyring".

use base64::{Engine as _, engine::general_purpose::STANDARD};
use futures_util::{StreamExt as _, stream};
use serde::{Deserialize, Serialize};
use shared::gossip::Keyring as Told;

use super::keyring::Keyring;

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

/// Does it to this member's own ring.
pub(super) fn apply(keyring: &Keyring, request: &KeyringRequest) -> Held {
    let decoded = |key: &str| STANDARD.decode(key).map_err(|error| error.to_string());
    let text = |error: super::keyring::Refused| error.to_string();
    let done = match request {
        KeyringRequest::List if keyring.is_encrypted() => Ok(()),
        KeyringRequest::List => Err(super::keyring::Refused::Plain.to_string()),
        KeyringRequest::Install(key) => decoded(key).and_then(|key| keyring.install(&key).map_err(text)),
        KeyringRequest::Use(key) => decoded(key).and_then(|key| keyring.use_key(&key).map_err(text)),
        KeyringRequest::Remove(key) => decoded(key).and_then(|key| keyring.remove(&key).map_err(text)),
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
        assert!(apply(&plain, &KeyringRequest::List).refused.is_some());
    }
}
