use std::collections::HashSet;
use std::fmt;
use std::sync::{Mutex, PoisonError};

use super::verify::{self, Ask, Rejected, Verified};
use super::{MAX_ELEMENTS, TrustLists};
use crate::time::UnixTime;

/// Signatures that were found good, so that of a chain that comes back with another leaf only the leaf's signature is
/// verified; one of type 4 takes milliseconds.
///
/// A signature is good or it isn't, whatever changes around it, so nothing else is remembered: lists, expiry, topics and
/// usages are judged anew every time. Only what stands in accepted chains is kept, and of that a bounded number.
///
/// ```
/// use kafkacrypto::chain::{Ask, LeafKey, Restrictions, Signatures, TrustLists, append, chain_of, leaf, root_certificate};
/// use kafkacrypto::keys::SigningKey;
/// use kafkacrypto::time::UnixTime;
///
/// let (root, node) = (SigningKey::from_ed25519_seed(&[1; 32]), SigningKey::from_ed25519_seed(&[2; 32]));
/// let body = leaf(UnixTime::ZERO, &Restrictions::none(), &LeafKey::Signing(node.public().clone()), &[]);
/// let chain = chain_of(&[&root.sign(&body)]);
/// let message = append(&chain, &node.sign(&leaf(UnixTime::ZERO, &Restrictions::none(), &LeafKey::Bare([9; 32]), &[])));
/// let message = message.unwrap();
///
/// let (mut lists, _) = TrustLists::new([&root_certificate(root.public())[..]], []);
/// let (signatures, now) = (Signatures::new(), UnixTime::from_secs(1));
/// assert!(signatures.verify(&message, Ask::nothing(), &lists, now).is_ok());
/// assert_eq!(signatures.len(), 1, "the leaf's is not kept");
///
/// lists.deny(&root_certificate(node.public())).unwrap();
/// assert!(signatures.verify(&message, Ask::nothing(), &lists, now).is_err());
/// ```
#[derive(Default)]
pub struct Signatures(Mutex<Generations>);

/// What was used lately, and what was used before that; the latter goes when the former is full.
#[derive(Default)]
struct Generations {
    young: HashSet<Digest>,
    old: HashSet<Digest>,
}

/// Names a signed element and the key that it is signed with.
pub(super) type Digest = [u8; 32];

impl Signatures {
    /// None yet.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// [`verify`](super::verify()); remembers the signatures above the leaf.
    ///
    /// # Errors
    /// As [`verify`](super::verify()).
    pub fn verify(&self, chain: &[u8], ask: Ask<'_>, lists: &TrustLists, time: UnixTime) -> Result<Verified, Rejected> {
        verify::verify_with(Some((self, Keep::AboveLeaf)), chain, ask, lists, time)
    }

    /// Likewise, for a chain that will come back as it is, such as our own: remembers the leaf's signature too.
    ///
    /// # Errors
    /// As [`verify`](super::verify()).
    pub fn verify_own(
        &self,
        chain: &[u8],
        ask: Ask<'_>,
        lists: &TrustLists,
        time: UnixTime,
    ) -> Result<Verified, Rejected> {
        verify::verify_with(Some((self, Keep::All)), chain, ask, lists, time)
    }

    /// How many are remembered.
    #[must_use]
    pub fn len(&self) -> usize {
        self.with(|generations| generations.young.len() + generations.old.len())
    }

    /// Whether none is.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    pub(super) fn knows(&self, digest: &Digest) -> bool {
        self.with(|generations| {
            if generations.old.remove(digest) {
                generations.keep(*digest);
            }
            generations.young.contains(digest)
        })
    }

    pub(super) fn keep(&self, digest: Digest) {
        self.with(|generations| generations.keep(digest));
    }

    fn with<T>(&self, act: impl FnOnce(&mut Generations) -> T) -> T {
        act(&mut self.0.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

impl Generations {
    fn keep(&mut self, digest: Digest) {
        if self.young.len() >= MAX_YOUNG {
            self.old = std::mem::take(&mut self.young);
        }
        self.young.insert(digest);
    }
}

impl fmt::Debug for Signatures {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Signatures({})", self.len())
    }
}

/// Which signatures of a chain are worth remembering.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Keep {
    All,
    /// A leaf that says something, such as a request, is another one each time.
    AboveLeaf,
}

impl Keep {
    pub(super) fn covers(self, index: usize, elements: usize) -> bool {
        self == Self::All || index + 1 < elements
    }
}

/// Signatures in one generation: those of at least a thousand chains.
const MAX_YOUNG: usize = 1024 * MAX_ELEMENTS;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_used_stays_and_the_number_is_bounded() {
        let signatures = Signatures::new();
        let number = |n: usize| {
            let mut digest = [0; 32];
            digest[..8].copy_from_slice(&n.to_le_bytes());
            digest
        };
        for n in 0..10 * MAX_YOUNG {
            signatures.keep(number(n));
            assert!(signatures.knows(&number(0)), "it is used all the time");
        }
        assert!(signatures.len() <= 2 * MAX_YOUNG);
        assert!(!signatures.knows(&number(1)));
        assert!(signatures.knows(&number(10 * MAX_YOUNG - 1)));
    }
}
