//! Ed25519 (RFC 8032), with libsodium's rules of verification.

use ed25519_dalek::{Signature, Signer, SigningKey, VerifyingKey};

use crate::secret::Secret;

/// A secret key, parsed once.
pub(crate) struct Key(SigningKey);

impl Key {
    /// From the 32-byte seed.
    pub(crate) fn from_seed(seed: &[u8; 32]) -> Self {
        Self(SigningKey::from_bytes(seed))
    }

    /// From `seed ‖ pk`; none if the two don't belong together.
    pub(crate) fn from_pair(pair: &[u8; 64]) -> Option<Self> {
        SigningKey::from_keypair_bytes(pair).ok().map(Self)
    }

    /// `seed ‖ pk`.
    pub(crate) fn to_pair(&self) -> Secret<64> {
        Secret::filled(|out| *out = self.0.to_keypair_bytes())
    }

    pub(crate) fn public(&self) -> [u8; 32] {
        self.0.verifying_key().to_bytes()
    }

    pub(crate) fn sign(&self, message: &[u8]) -> [u8; 64] {
        self.0.sign(message).to_bytes()
    }
}

/// Whether `signature` is `public`'s over `message`: `S` canonical, `A` canonical and neither `A` nor `R` of small
/// order, cofactorless equation.
pub(crate) fn verify(public: &[u8; 32], message: &[u8], signature: &[u8; 64]) -> bool {
    canonical(public)
        && VerifyingKey::from_bytes(public)
            .is_ok_and(|key| key.verify_strict(message, &Signature::from_bytes(signature)).is_ok())
}

/// Whether the encoded y is below p = 2^255 − 19 (little-endian; the top bit is the sign of x).
fn canonical(public: &[u8; 32]) -> bool {
    let [first, middle @ .., last] = public;
    !(*first >= 0xed && middle.iter().all(|byte| *byte == 0xff) && last & 0x7f == 0x7f)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn signs_and_refuses() {
        let key = Key::from_seed(&[9; 32]);
        let signature = key.sign(b"message");
        assert!(verify(&key.public(), b"message", &signature));
        assert!(!verify(&key.public(), b"massage", &signature));
        assert!(!verify(&[0; 32], b"message", &signature));
    }

    #[test]
    fn a_pair_must_belong_together() {
        let mut pair = *Key::from_seed(&[9; 32]).to_pair().expose();
        assert!(Key::from_pair(&pair).is_some());
        pair[40] ^= 1;
        assert!(Key::from_pair(&pair).is_none());
    }

    #[test]
    fn keys_beyond_p_are_not_canonical() {
        let mut p = [0xff; 32];
        (p[0], p[31]) = (0xed, 0x7f);
        assert!(!canonical(&p));
        p[0] = 0xec;
        assert!(canonical(&p));
        (p[0], p[31]) = (0xee, 0xff);
        assert!(!canonical(&p));
    }
}
