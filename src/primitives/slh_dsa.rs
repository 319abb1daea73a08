//! SLH-DSA-SHAKE-128f (FIPS 205), pure, with an empty context.
//!
//! Signing is deterministic (`opt_rand = pk.seed`, which FIPS 205 allows): a verifier can't tell, the same message gives
//! the same bytes, as with Ed25519, and no source of randomness can fail or be weak while a node runs.

use fips205::slh_dsa_shake_128f as imp;
use fips205::traits::{KeyGen, SerDes, Signer, Verifier};
use fips205::{CryptoRng, RngCore, RngError};

use crate::secret::Secret;

/// Bytes of a signature.
pub(crate) const SIGNATURE: usize = imp::SIG_LEN;

/// A secret key, parsed once.
pub(crate) struct Key(Box<imp::PrivateKey>);

impl Key {
    /// From `sk.seed ‖ sk.prf ‖ pk.seed`, 16 bytes each.
    pub(crate) fn from_seed(seed: &[u8; 48]) -> Self {
        let part = |at: usize| seed.get(at..).and_then(|rest| rest.first_chunk::<16>()).unwrap_or(&[0; 16]);
        Self(Box::new(imp::KG::keygen_from_seed(part(0), part(16), part(32)).1))
    }

    /// From `sk.seed ‖ sk.prf ‖ pk.seed ‖ pk.root`; none if the root isn't of these seeds.
    pub(crate) fn from_bytes(bytes: &[u8; 64]) -> Option<Self> {
        let key = Self::from_seed(bytes.first_chunk()?);
        (key.public() == *bytes.last_chunk()?).then_some(key)
    }

    /// `sk.seed ‖ sk.prf ‖ pk.seed ‖ pk.root`.
    pub(crate) fn to_bytes(&self) -> Secret<64> {
        Secret::filled(|place| *place = (*self.0).clone().into_bytes())
    }

    /// `pk.seed ‖ pk.root`.
    pub(crate) fn public(&self) -> [u8; 32] {
        self.0.get_public_key().into_bytes()
    }

    /// The signature. It can't fail: no randomness is asked for; should it, nobody takes zeros for a signature.
    pub(crate) fn sign(&self, message: &[u8]) -> Box<[u8]> {
        self.0
            .try_sign_with_rng(&mut Never, message, &[], false)
            .map_or_else(|_| vec![0; SIGNATURE].into(), |sig| sig.into())
    }
}

/// Whether `signature` is `public`'s over `message`.
pub(crate) fn verify(public: &[u8; 32], message: &[u8], signature: &[u8]) -> bool {
    let (Ok(public), Ok(signature)) = (imp::PublicKey::try_from_bytes(*public), signature.try_into()) else {
        return false;
    };
    public.verify(message, signature, &[])
}

/// Stands where a source of randomness is asked for and none is used.
struct Never;

impl RngCore for Never {
    fn next_u32(&mut self) -> u32 {
        0
    }

    fn next_u64(&mut self) -> u64 {
        0
    }

    fn fill_bytes(&mut self, _: &mut [u8]) {}

    fn try_fill_bytes(&mut self, _: &mut [u8]) -> Result<(), RngError> {
        Err(RngError::from(core::num::NonZeroU32::MIN))
    }
}

impl CryptoRng for Never {}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn signs_and_refuses() {
        let key = Key::from_seed(&[9; 48]);
        let mut signature = key.sign(b"message");
        assert!(verify(&key.public(), b"message", &signature));
        assert!(!verify(&key.public(), b"massage", &signature));
        assert!(!verify(&key.public(), b"message", &signature[1..]));
        signature[17_000] ^= 1;
        assert!(!verify(&key.public(), b"message", &signature));
    }

    #[test]
    fn a_root_must_belong_to_its_seeds() {
        let mut bytes = *Key::from_seed(&[9; 48]).to_bytes().expose();
        assert!(Key::from_bytes(&bytes).is_some());
        bytes[63] ^= 1;
        assert!(Key::from_bytes(&bytes).is_none());
    }
}
