//! The keys a pool is encrypted with: every packet and every exchange is sealed with the first, and opened with any.
//!
//! AES-GCM with 16, 24 or 32 byte keys. Contract: cluster, section "Keyring"; the layout is our own: a byte that tells sealed from
//! plain, 12 bytes of nonce, the text and its tag.

use std::sync::{Arc, PoisonError, RwLock};

use aes_gcm::{
    Aes128Gcm, Aes256Gcm, AesGcm, KeyInit as _, Nonce,
    aead::{Aead as _, Payload},
    aes::{Aes192, cipher::consts::U12},
};
use tokio::sync::watch;

use crate::rt::Rng;

const PLAIN: u8 = 0;
const SEALED: u8 = 1;
/// Bytes that sealing adds.
pub(super) const OVERHEAD: usize = 1 + 12 + 16;
/// What a packet is for, so that one pool's cannot be replayed into another kind.
const PURPOSE: &[u8] = b"muster gossip lan";

/// Bytes of a key.
pub(super) type Key = Vec<u8>;

#[derive(Clone)]
enum Cipher {
    Aes128(Box<Aes128Gcm>),
    Aes192(Box<AesGcm<Aes192, U12>>),
    Aes256(Box<Aes256Gcm>),
}

impl Cipher {
    fn new(key: &[u8]) -> Option<Self> {
        match key.len() {
            16 => Aes128Gcm::new_from_slice(key).ok().map(|cipher| Self::Aes128(Box::new(cipher))),
            24 => AesGcm::new_from_slice(key).ok().map(|cipher| Self::Aes192(Box::new(cipher))),
            32 => Aes256Gcm::new_from_slice(key).ok().map(|cipher| Self::Aes256(Box::new(cipher))),
            _ => None,
        }
    }

    fn seal(&self, nonce: &[u8; 12], text: &[u8]) -> Option<Vec<u8>> {
        let (nonce, payload) = (Nonce::from_slice(nonce), Payload { msg: text, aad: PURPOSE });
        match self {
            Self::Aes128(cipher) => cipher.encrypt(nonce, payload),
            Self::Aes192(cipher) => cipher.encrypt(nonce, payload),
            Self::Aes256(cipher) => cipher.encrypt(nonce, payload),
        }
        .ok()
    }

    fn open(&self, nonce: &[u8], text: &[u8]) -> Option<Vec<u8>> {
        let (nonce, payload) = (Nonce::from_slice(nonce), Payload { msg: text, aad: PURPOSE });
        match self {
            Self::Aes128(cipher) => cipher.decrypt(nonce, payload),
            Self::Aes192(cipher) => cipher.decrypt(nonce, payload),
            Self::Aes256(cipher) => cipher.decrypt(nonce, payload),
        }
        .ok()
    }
}

/// Keys with the ciphers made of them, primary first.
type Ring = Arc<Vec<(Key, Cipher)>>;

/// The ring and how strictly it is used. Cheap to clone.
#[derive(Clone)]
pub(super) struct Keyring {
    ring: Arc<RwLock<Ring>>,
    verify_incoming: bool,
    verify_outgoing: bool,
    rng: Rng,
    told: Arc<watch::Sender<Vec<Key>>>,
}

/// Why a key is refused. The texts are Consul's.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub(super) enum Refused {
    #[error("key size must be 16, 24 or 32 bytes")]
    Size,
    #[error("Requested key is not in the keyring")]
    Unknown,
    #[error("Removing the primary key is not allowed")]
    Primary,
    #[error("No keyring to modify (encryption not enabled)")]
    Plain,
    #[error("Keyring is empty (encryption not enabled)")]
    Empty,
}

impl Keyring {
    /// A ring of these keys, the first one primary; keys of another length are left out.
    pub(super) fn new(keys: &[Key], verify_incoming: bool, verify_outgoing: bool, rng: Rng) -> Self {
        let ring: Vec<_> = keys.iter().filter_map(|key| Some((key.clone(), Cipher::new(key)?))).collect();
        let told = watch::Sender::new(ring.iter().map(|(key, _)| key.clone()).collect());
        Self { ring: Arc::new(RwLock::new(Arc::new(ring))), verify_incoming, verify_outgoing, rng, told: Arc::new(told) }
    }

    fn ring(&self) -> Ring {
        self.ring.read().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// The keys as they are now, and a signal at every change.
    pub(super) fn watch(&self) -> watch::Receiver<Vec<Key>> {
        self.told.subscribe()
    }

    /// Whether anything is encrypted.
    pub(super) fn is_encrypted(&self) -> bool {
        !self.ring().is_empty()
    }

    /// Bytes as they go out.
    pub(super) fn seal(&self, text: &[u8]) -> Vec<u8> {
        let ring = self.ring();
        let nonce: [u8; 12] = self.rng.bytes();
        let sealed = ring.first().filter(|_| self.verify_outgoing).and_then(|(_, cipher)| cipher.seal(&nonce, text));
        match sealed {
            Some(sealed) => [&[SEALED][..], &nonce, &sealed].concat(),
            None => [&[PLAIN][..], text].concat(),
        }
    }

    /// What was sealed; `None` for bytes that nobody with one of the keys wrote, or that should have been sealed.
    pub(super) fn open(&self, bytes: &[u8]) -> Option<Vec<u8>> {
        let ring = self.ring();
        match bytes.split_first()? {
            (&PLAIN, text) if ring.is_empty() || !self.verify_incoming => Some(text.to_vec()),
            (&SEALED, rest) => {
                let (nonce, sealed) = rest.split_at_checked(12)?;
                ring.iter().find_map(|(_, cipher)| cipher.open(nonce, sealed))
            }
            _ => None,
        }
    }

    /// Whether bytes are sealed, or there is nothing to seal with: what changes the keys has to be.
    pub(super) fn is_trusted(&self, bytes: &[u8]) -> bool {
        bytes.first() == Some(&SEALED) || !self.is_encrypted()
    }

    fn change(&self, change: impl FnOnce(&mut Vec<(Key, Cipher)>) -> Result<(), Refused>) -> Result<(), Refused> {
        let mut ring = self.ring.write().unwrap_or_else(PoisonError::into_inner);
        if ring.is_empty() {
            return Err(Refused::Plain);
        }
        let mut new = ring.to_vec();
        change(&mut new)?;
        let keys = new.iter().map(|(key, _)| key.clone()).collect();
        *ring = Arc::new(new);
        drop(ring);
        self.told.send_if_modified(|told| {
            let differs = *told != keys;
            *told = keys;
            differs
        });
        Ok(())
    }

    /// Adds a key, which opens from now on.
    pub(super) fn install(&self, key: &[u8]) -> Result<(), Refused> {
        self.change(|ring| {
            let cipher = Cipher::new(key).ok_or(Refused::Size)?;
            if ring.iter().all(|(known, _)| known != key) {
                ring.push((key.to_vec(), cipher));
            }
            Ok(())
        })
    }

    /// Makes an installed key the one that seals.
    pub(super) fn use_key(&self, key: &[u8]) -> Result<(), Refused> {
        self.change(|ring| {
            let at = ring.iter().position(|(known, _)| known == key).ok_or(Refused::Unknown)?;
            ring[..=at].rotate_right(1);
            Ok(())
        })
    }

    /// Forgets a key that is not the primary one.
    pub(super) fn remove(&self, key: &[u8]) -> Result<(), Refused> {
        self.change(|ring| match ring.iter().position(|(known, _)| known == key) {
            Some(0) => Err(Refused::Primary),
            Some(at) => {
                ring.remove(at);
                Ok(())
            }
            // Nobody has it any more, which is what was asked for.
            None => Ok(()),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ring(keys: &[Key], incoming: bool, outgoing: bool) -> Keyring {
        Keyring::new(keys, incoming, outgoing, Rng::from_seed(1))
    }

    #[test]
    fn every_key_length_seals_and_nobody_else_opens() {
        for length in [16, 24, 32] {
            let (ours, theirs) = (ring(&[vec![1; length]], true, true), ring(&[vec![2; length]], true, true));
            let sealed = ours.seal(b"hello");
            assert_eq!(sealed.len(), 5 + OVERHEAD);
            assert_eq!(ours.open(&sealed).as_deref(), Some(&b"hello"[..]));
            assert_eq!(theirs.open(&sealed), None);
            for at in 0..sealed.len() {
                let mut damaged = sealed.clone();
                damaged[at] ^= 1;
                assert_eq!(ours.open(&damaged), None, "byte {at}");
            }
            assert_eq!(ours.open(&[PLAIN, 1]), None, "plain bytes are refused");
            for cut in 0..sealed.len() {
                assert_eq!(ours.open(&sealed[..cut]), None);
            }
        }
    }

    #[test]
    fn keys_are_rolled_without_losing_anybody() {
        let (old, new) = (vec![1; 16], vec![2; 32]);
        let (a, b) = (ring(std::slice::from_ref(&old), true, true), ring(std::slice::from_ref(&old), true, true));
        assert_eq!(a.use_key(&new), Err(Refused::Unknown));
        for ring in [&a, &b] {
            ring.install(&new).expect("fits");
            ring.install(&new).expect("is there already");
        }
        a.use_key(&new).expect("installed");
        assert_eq!(b.open(&a.seal(b"x")).as_deref(), Some(&b"x"[..]));
        assert_eq!(a.remove(&new), Err(Refused::Primary));
        b.use_key(&new).expect("installed");
        a.remove(&old).expect("not in use");
        assert_eq!(a.open(&b.seal(b"y")).as_deref(), Some(&b"y"[..]));
        assert_eq!(a.remove(&old), Ok(()), "it is gone");
        assert_eq!(a.install(&[0; 5]), Err(Refused::Size));
        assert_eq!(*a.watch().borrow(), [new]);
    }

    #[test]
    fn encryption_is_rolled_out_in_three_steps() {
        let key = vec![1; 16];
        let (plain, accepts) = (ring(&[], true, true), ring(std::slice::from_ref(&key), false, false));
        assert_eq!(accepts.open(&plain.seal(b"x")).as_deref(), Some(&b"x"[..]));
        assert_eq!(plain.open(&accepts.seal(b"x")).as_deref(), Some(&b"x"[..]));
        let (sends, strict) = (ring(std::slice::from_ref(&key), false, true), ring(&[key], true, true));
        assert_eq!(accepts.open(&sends.seal(b"x")).as_deref(), Some(&b"x"[..]));
        assert_eq!(strict.open(&sends.seal(b"x")).as_deref(), Some(&b"x"[..]));
        assert!(!accepts.is_trusted(&plain.seal(b"x")) && accepts.is_trusted(&strict.seal(b"x")) && plain.is_trusted(&plain.seal(b"x")));
        assert_eq!(plain.install(&[1; 16]), Err(Refused::Plain));
    }
}
