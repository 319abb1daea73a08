//! What every key encapsulation is here: sizes and four functions, so that hybrids are rows of a table.

use crate::secret::{Secret, SecretBytes};

/// A ciphertext and the secret in it.
pub(crate) type Encapsulated = (Vec<u8>, Secret<32>);

/// One key encapsulation mechanism. Slices of another length than the sizes say give none.
pub(crate) struct Kem {
    pub(crate) public: usize,
    pub(crate) secret: usize,
    pub(crate) ciphertext: usize,
    /// A fresh secret key, and its public key.
    pub(crate) generate: fn(&mut dyn rand_core::CryptoRng) -> (SecretBytes, Vec<u8>),
    /// The public key inside a secret key; none if the two don't belong together.
    pub(crate) public_of: fn(&[u8]) -> Option<Vec<u8>>,
    /// A ciphertext for a public key, and the secret in it; none if the key is out of range.
    pub(crate) encapsulate: fn(&[u8], &mut dyn rand_core::CryptoRng) -> Option<Encapsulated>,
    /// The secret in a ciphertext; for one that wasn't made for this key, an unpredictable one.
    pub(crate) decapsulate: fn(&[u8], &[u8]) -> Option<Secret<32>>,
}
