use backbone_sntrup::sntrup761 as other_sntrup;
#[expect(deprecated, reason = "the protocol has the expanded form")]
use ml_kem::ExpandedKeyEncoding;
use ml_kem::kem::Decapsulate;
use ml_kem::{KeyExport, MlKem1024};
use proptest::prelude::*;

use super::rng;
use crate::primitives::{ml_kem as ours, sntrup761};
use crate::secret::Secret;

proptest! {
    #![proptest_config(ProptestConfig::with_cases(40))]

    /// Against RustCrypto's, with the same randomness, and with a ciphertext of nobody's.
    #[test]
    #[expect(deprecated, reason = "as above")]
    fn ml_kem_1024(seed: [u8; 32], more: [u8; 32], message: [u8; 32], at in 0_usize..1568) {
        let seed = Secret::from_slice(&[seed, more].concat()).unwrap();
        let (secret, public) = ours::from_seed(&seed);
        let theirs = ml_kem::DecapsulationKey::<MlKem1024>::from_seed((*seed.expose()).into());
        prop_assert_eq!(secret.expose(), &theirs.to_expanded_bytes()[..]);
        prop_assert_eq!(&public[..], &theirs.encapsulation_key().to_bytes()[..]);
        let (mut ciphertext, shared) = ours::encapsulate_with(&public, &Secret::from_slice(&message).unwrap()).unwrap();
        let (other, other_shared) = theirs.encapsulation_key().encapsulate_deterministic(&message.into());
        prop_assert_eq!((&ciphertext[..], &shared.expose()[..]), (&other[..], &other_shared[..]));
        for _ in 0..2 {
            let shared = (ours::KEM.decapsulate)(secret.expose(), &ciphertext).unwrap();
            let other_shared = theirs.decapsulate(&ciphertext.as_slice().try_into().unwrap());
            prop_assert_eq!(&shared.expose()[..], &other_shared[..]);
            ciphertext[at] ^= 1;
        }
    }
}

/// Against another implementation, in safe Rust only: each opens what the other made, and both give the same secret for
/// what nobody made.
#[test]
fn sntrup761() {
    let kem = &sntrup761::KEM;
    for n in 0..10 {
        let (secret, public) = if n % 2 == 0 {
            (kem.generate)(&mut rng())
        } else {
            let (public, secret) = other_sntrup::keygen_with_rng(&mut OldRng).unwrap();
            (crate::secret::SecretBytes::from_slice(secret.as_ref()), public.as_ref().to_vec())
        };
        let other_secret = other_sntrup::SecretKey::from_bytes(secret.expose()).unwrap();
        let (mut ciphertext, shared) = (kem.encapsulate)(&public, &mut rng()).unwrap();
        assert_eq!(&other_sntrup::decaps(&other_secret, &ciphertext).unwrap(), shared.expose());
        ciphertext[n * 100] ^= 4;
        let (shared, other) =
            ((kem.decapsulate)(secret.expose(), &ciphertext), other_sntrup::decaps(&other_secret, &ciphertext));
        assert_eq!(shared.unwrap().expose(), &other.unwrap());
        let other_public = other_sntrup::PublicKey::from_bytes(&public).unwrap();
        let made = other_sntrup::encaps_with_rng(&other_public, &mut OldRng).unwrap();
        let shared = (kem.decapsulate)(secret.expose(), &made.ciphertext).unwrap();
        assert_eq!(shared.expose(), &made.shared_secret);
    }
}

/// The system's randomness, for those who know `rand_core` 0.6.
struct OldRng;

impl backbone_sntrup::rand_core::RngCore for OldRng {
    fn next_u32(&mut self) -> u32 {
        let mut bytes = [0; 4];
        self.fill_bytes(&mut bytes);
        u32::from_le_bytes(bytes)
    }

    fn next_u64(&mut self) -> u64 {
        let mut bytes = [0; 8];
        self.fill_bytes(&mut bytes);
        u64::from_le_bytes(bytes)
    }

    fn fill_bytes(&mut self, place: &mut [u8]) {
        getrandom::fill(place).unwrap();
    }

    fn try_fill_bytes(&mut self, place: &mut [u8]) -> Result<(), backbone_sntrup::rand_core::Error> {
        self.fill_bytes(place);
        Ok(())
    }
}

impl backbone_sntrup::rand_core::CryptoRng for OldRng {}
