use std::collections::HashSet;
use std::sync::Arc;

use super::{Certificate, ChainError, Restrictions, root_certificate};
use crate::keys::SigningPublicKey;
use crate::time::UnixTime;
use crate::wire::{Reader, read_all};

/// Roots of trust, and keys that are refused: one of it for each node, used by everything (protocol §7.3).
///
/// ```
/// use kafkacrypto::chain::{TrustLists, root_certificate};
/// use kafkacrypto::keys::SigningKey;
/// let root = SigningKey::from_ed25519_seed(&[7; 32]);
/// let entry = root_certificate(root.public());
/// let (mut lists, warnings) = TrustLists::new([&entry[..], b"damaged"], []);
/// assert_eq!(warnings.len(), 1);
/// assert!(lists.is_allowed_key(root.public()));
/// assert!(lists.deny(&entry).unwrap());
/// assert!(!lists.deny(&entry).unwrap(), "it is there already");
/// assert!(lists.deny(b"damaged").is_err());
/// ```
#[derive(Clone, Debug, Default)]
pub struct TrustLists {
    allowed: Vec<Arc<Entry>>,
    denied: Arc<HashSet<SigningPublicKey>>,
    self_revoked: Arc<HashSet<SigningPublicKey>>,
}

/// One root of trust.
#[derive(Debug)]
pub(super) struct Entry {
    pub(super) max_age: UnixTime,
    pub(super) restrictions: Restrictions,
    pub(super) key: SigningPublicKey,
}

impl TrustLists {
    /// Lists of unsigned certificates. A malformed one is skipped, and the second part of the result says why. Denied
    /// certificates that are just a key, as self-revocations are stored, all count, and leave less room for new ones.
    ///
    /// DIFFERENCE: in Python an entry with a malformed key fails every chain.
    #[must_use]
    pub fn new<'a>(
        allow: impl IntoIterator<Item = &'a [u8]>,
        deny: impl IntoIterator<Item = &'a [u8]>,
    ) -> (Self, Vec<ChainError>) {
        let (mut lists, mut warnings) = (Self::default(), Vec::new());
        for entry in allow {
            // a key that is listed twice is two roots: each with its own limits
            match Entry::decode(entry) {
                Ok(entry) => lists.allowed.push(Arc::new(entry)),
                Err(error) => warnings.push(error),
            }
        }
        for entry in deny {
            match denied_key(entry) {
                Ok(key) if *entry == root_certificate(&key) => _ = Arc::make_mut(&mut lists.self_revoked).insert(key),
                Ok(key) => _ = Arc::make_mut(&mut lists.denied).insert(key),
                Err(error) => warnings.push(error),
            }
        }
        (lists, warnings)
    }

    /// Adds a root of trust. Says whether its key is new; if it isn't, nothing changes.
    ///
    /// # Errors
    /// What is wrong with the certificate.
    pub fn allow(&mut self, certificate: &[u8]) -> Result<bool, ChainError> {
        let entry = Entry::decode(certificate)?;
        let new = !self.is_allowed_key(&entry.key);
        if new {
            self.allowed.push(Arc::new(entry));
        }
        Ok(new)
    }

    /// Refuses the key of a certificate from now on. Says whether that is new.
    ///
    /// Only the key is read, so that nothing else in the certificate can keep it from being refused.
    ///
    /// # Errors
    /// What is wrong with the key.
    pub fn deny(&mut self, certificate: &[u8]) -> Result<bool, ChainError> {
        let key = denied_key(certificate)?;
        let new = !self.denied.contains(&key);
        Arc::make_mut(&mut self.denied).insert(key);
        Ok(new)
    }

    /// Refuses a key that has revoked itself. Says whether that is new.
    ///
    /// The number is bounded, because anybody can make keys that revoke themselves. When the bound is reached, what is
    /// there stays, and nothing is added.
    pub fn deny_key(&mut self, key: SigningPublicKey) -> bool {
        let new = !self.is_denied_key(&key) && self.self_revoked.len() < MAX_SELF_REVOKED;
        if new {
            Arc::make_mut(&mut self.self_revoked).insert(key);
        }
        new
    }

    /// Keys that have revoked themselves, in no order.
    pub fn self_revoked(&self) -> impl Iterator<Item = &SigningPublicKey> {
        self.self_revoked.iter()
    }

    /// The keys of the roots of trust, in order.
    pub fn roots(&self) -> impl Iterator<Item = &SigningPublicKey> {
        self.allowed.iter().map(|entry| &entry.key)
    }

    /// Whether the key is a root of trust.
    #[must_use]
    pub fn is_allowed_key(&self, key: &SigningPublicKey) -> bool {
        self.first(key).is_some()
    }

    /// Whether the key is refused.
    #[must_use]
    pub fn is_denied_key(&self, key: &SigningPublicKey) -> bool {
        self.denied.contains(key) || self.self_revoked.contains(key)
    }

    /// Whether the key that everybody has the secret of is a root of trust (protocol §8.4).
    #[must_use]
    pub fn trusts_temporary(&self) -> bool {
        self.is_allowed_key(&SigningPublicKey::Ed25519(TEMPORARY_ROOT))
    }

    /// The same without the temporary root: for new chains of our own. (For the usages that change lists, [`verify`]
    /// leaves it out by itself.)
    ///
    /// [`verify`]: super::verify
    #[must_use]
    pub fn without_temporary(&self) -> Self {
        let mut lists = self.clone();
        lists.allowed.retain(|entry| !is_temporary(&entry.key));
        lists
    }

    pub(super) fn entries(&self) -> impl Iterator<Item = &Entry> {
        self.allowed.iter().map(Arc::as_ref)
    }

    pub(super) fn first(&self, key: &SigningPublicKey) -> Option<&Entry> {
        self.entries().find(|entry| entry.key == *key)
    }
}

impl Entry {
    fn decode(certificate: &[u8]) -> Result<Self, ChainError> {
        let Certificate { max_age, restrictions, key, extras: _ } = Certificate::decode(certificate)?;
        let key = key.signing_key().ok_or(ChainError::KeyForm("a list where a signing key is due"))?;
        Ok(Self { max_age, restrictions, key })
    }
}

/// Whether everybody has the secret of this key.
pub(super) fn is_temporary(key: &SigningPublicKey) -> bool {
    *key == SigningPublicKey::Ed25519(TEMPORARY_ROOT)
}

fn denied_key(certificate: &[u8]) -> Result<SigningPublicKey, ChainError> {
    let mut reader = Reader::new(certificate, "denylist entry");
    if reader.array()? < 3 {
        return Err(reader.unexpected("[max_age, restrictions, key, …]").into());
    }
    let (_max_age, _poison) = (reader.raw()?, reader.raw()?);
    Ok(read_all(reader.raw()?, "denylist entry", SigningPublicKey::decode)?)
}

/// The public key of the temporary root, whose secret everybody has (protocol §8.4).
pub const TEMPORARY_ROOT: [u8; 32] = [
    0x1a, 0x13, 0xb0, 0xae, 0xcd, 0xd6, 0x75, 0x1c, 0x7d, 0xfa, 0x43, 0xe4, 0x32, 0x84, 0x32, 0x6a, 0xd0, 0x1d, 0xbc,
    0x20, 0xa8, 0xa0, 0x0b, 0x15, 0x66, 0x09, 0x2a, 0xb0, 0xa5, 0x42, 0x62, 0x0f,
];

/// Its Ed25519 seed: not a secret.
pub const TEMPORARY_ROOT_SEED: [u8; 32] = [
    0x4c, 0x19, 0x4f, 0x7d, 0xe9, 0x7c, 0x67, 0x62, 0x6c, 0xc4, 0x3f, 0xbd, 0xaf, 0x93, 0xdf, 0xfb, 0xc4, 0x73, 0x53,
    0x52, 0xb3, 0x73, 0x70, 0x07, 0x26, 0x97, 0xd4, 0x42, 0x54, 0xe1, 0xbc, 0x6c,
];

/// How many keys that have revoked themselves are remembered.
const MAX_SELF_REVOKED: usize = 4096;
