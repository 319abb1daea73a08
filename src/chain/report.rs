//! What is in a chain, for people; and what a verified one means for lists and for our own chains.

use super::verify::{Verified, read_elements};
use super::{Certificate, ChainError};
use crate::keys::{SigningPublicKey, SigningType};
use crate::time::UnixTime;

/// A chain that was read and not verified: never a reason to trust anything.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub struct Description {
    /// The elements, the one that a root has signed first.
    pub elements: Vec<Described>,
}

/// One element of an unverified chain.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub struct Described {
    /// The type of the key that it claims to be signed by; none if it is unsigned, as in a self-revocation.
    pub signed_by: Option<SigningType>,
    /// What it certifies.
    pub certificate: Certificate,
}

/// A change that a verified message makes to the allowlist or denylist (protocol §7.3).
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub struct ListChange {
    /// The certificate to add, as it is stored.
    pub certificate: Vec<u8>,
    /// Its key.
    pub key: SigningPublicKey,
}

impl Description {
    /// Reads a chain without verifying anything.
    ///
    /// # Errors
    /// What is wrong with its form.
    ///
    /// ```
    /// use kafkacrypto::chain::{Description, chain_of, root_certificate};
    /// use kafkacrypto::keys::SigningKey;
    /// let key = SigningKey::from_ed25519_seed(&[7; 32]);
    /// let chain = chain_of(&[&key.sign(&root_certificate(key.public()))]);
    /// assert_eq!(Description::of(&chain).unwrap().elements.len(), 1);
    /// assert!(Description::of(b"no chain").is_err());
    /// ```
    pub fn of(chain: &[u8]) -> Result<Self, ChainError> {
        let mut elements: Vec<Described> = Vec::new();
        for (index, element) in read_elements(chain)?.into_iter().enumerate() {
            let described = match elements.last() {
                None => describe_first(element)?,
                Some(before) => {
                    let signer = before.certificate.key().signing_key();
                    describe(element, signer.ok_or(ChainError::NotASigner { element: index })?.signing_type())?
                }
            };
            elements.push(described);
        }
        Ok(Self { elements })
    }
}

/// The change that a message makes, once it is verified for the usage `key-allowlist` or `key-denylist`: its first extra
/// is a certificate for the same key as the leaf.
#[must_use]
pub fn list_change(verified: &Verified) -> Option<ListChange> {
    let certificate = verified.extra_bytes(0)?.to_vec();
    let key = Certificate::decode(&certificate).ok()?.key().signing_key()?;
    (verified.key().signing_key().as_ref() == Some(&key)).then_some(ListChange { certificate, key })
}

/// Whether a chain of one expiry may replace one of another: only a later one may, and zero, which is never, is the
/// latest (protocol §7.4). Without an old chain every new one may.
///
/// DIFFERENCE: Python takes any that ends some time, also sooner.
///
/// ```
/// use kafkacrypto::chain::supersedes;
/// use kafkacrypto::time::UnixTime;
/// let (never, soon, later) = (UnixTime::ZERO, UnixTime::from_secs(5), UnixTime::from_secs(6));
/// assert!(supersedes(Some(soon), later) && supersedes(Some(later), never) && supersedes(None, soon));
/// assert!(!supersedes(Some(later), soon) && !supersedes(Some(never), later) && !supersedes(Some(soon), soon));
/// ```
#[must_use]
pub fn supersedes(old: Option<UnixTime>, new: UnixTime) -> bool {
    let end = |time: UnixTime| if time == UnixTime::ZERO { f64::INFINITY } else { time.as_secs_f64() };
    old.is_none_or(|old| end(new) > end(old))
}

/// Who has signed the first element is unknown: the type whose signature leaves a certificate behind it.
fn describe_first(element: &[u8]) -> Result<Described, ChainError> {
    if let Ok(certificate) = Certificate::decode(element) {
        return Ok(Described { signed_by: None, certificate });
    }
    describe(element, SigningType::Ed25519SlhDsa).or_else(|_| describe(element, SigningType::Ed25519))
}

fn describe(element: &[u8], signer: SigningType) -> Result<Described, ChainError> {
    let body = element.get(signer.signature_length()..).ok_or(ChainError::Signature { element: 0 })?;
    Ok(Described { signed_by: Some(signer), certificate: Certificate::decode(body)? })
}
