//! ML-KEM-1024 (FIPS 203), with the expanded secret key of 3168 bytes: `dk_pke ‖ ek ‖ H(ek) ‖ z`.
//!
//! libcrux is constant in time, and leaves its working state on the stack: `scrubbed` overwrites that.

use libcrux_ml_kem::mlkem1024 as imp;
use zeroize::Zeroize;

use super::kem::{Encapsulated, Kem};
use super::scrub::scrubbed;
use crate::secret::{Secret, SecretBytes};

pub(crate) const KEM: Kem =
    Kem { public: 1568, secret: 3168, ciphertext: 1568, generate, public_of, encapsulate, decapsulate };

fn generate(rng: &mut dyn rand_core::CryptoRng) -> (SecretBytes, Vec<u8>) {
    from_seed(&Secret::random(rng))
}

/// From `d ‖ z`.
pub(super) fn from_seed(seed: &Secret<64>) -> (SecretBytes, Vec<u8>) {
    scrubbed(|| {
        let pair = imp::generate_key_pair(*seed.expose());
        (SecretBytes::from_slice(pair.sk()), pair.pk().to_vec())
    })
}

fn public_of(secret: &[u8]) -> Option<Vec<u8>> {
    let key = imp::MlKem1024PrivateKey::try_from(secret).ok()?;
    let public = secret.get(1536..1536 + KEM.public)?;
    // FIPS 203 §7.3: the hash in the key is its public key's; any ciphertext does
    let whole = imp::validate_private_key(&key, &imp::MlKem1024Ciphertext::default());
    let whole = whole && imp::validate_public_key(&public.try_into().ok()?);
    whole.then(|| public.to_vec())
}

fn encapsulate(public: &[u8], rng: &mut dyn rand_core::CryptoRng) -> Option<Encapsulated> {
    encapsulate_with(public, &Secret::random(rng))
}

/// With the given randomness. FIPS 203 §7.2: a public key whose numbers aren't below the modulus is refused.
pub(super) fn encapsulate_with(public: &[u8], seed: &Secret<32>) -> Option<Encapsulated> {
    let public = imp::MlKem1024PublicKey::try_from(public).ok()?;
    if !imp::validate_public_key(&public) {
        return None;
    }
    scrubbed(|| {
        let (ciphertext, mut shared) = imp::encapsulate(&public, *seed.expose());
        let secret = Secret::filled(|place| place.copy_from_slice(&shared));
        shared.zeroize();
        Some((ciphertext.as_slice().to_vec(), secret))
    })
}

fn decapsulate(secret: &[u8], ciphertext: &[u8]) -> Option<Secret<32>> {
    let ciphertext = imp::MlKem1024Ciphertext::try_from(ciphertext).ok()?;
    scrubbed(|| {
        let key = imp::MlKem1024PrivateKey::try_from(secret).ok()?;
        let mut shared = imp::decapsulate(&key, &ciphertext);
        let secret = Secret::filled(|place| place.copy_from_slice(&shared));
        shared.zeroize();
        Some(secret)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn both_sides_agree_and_a_wrong_ciphertext_gives_another_secret() {
        let (secret, public) = from_seed(&Secret::filled(|place| place.fill(7)));
        assert_eq!((secret.expose().len(), public.len()), (KEM.secret, KEM.public));
        let (mut ciphertext, theirs) = encapsulate_with(&public, &Secret::filled(|place| place.fill(3))).unwrap();
        assert!(decapsulate(secret.expose(), &ciphertext).unwrap().same_as(&theirs));
        ciphertext[0] ^= 1;
        assert!(!decapsulate(secret.expose(), &ciphertext).unwrap().same_as(&theirs));
        assert_eq!(public_of(secret.expose()).unwrap(), public);
    }
}
