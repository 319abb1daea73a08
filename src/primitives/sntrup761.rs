//! Streamlined NTRU Prime 761, with the secret key of 1763 bytes: `f ‖ 1/g ‖ pk ‖ rho ‖ hash(pk)`, as in OpenSSH.

use sntrup::{Sntrup761, sntrup761 as imp};

use super::kem::{Encapsulated, Kem};
use crate::secret::{Secret, SecretBytes};

pub(crate) const KEM: Kem =
    Kem { public: 1158, secret: 1763, ciphertext: 1039, generate, public_of, encapsulate, decapsulate };

fn generate(mut rng: &mut dyn rand_core::CryptoRng) -> (SecretBytes, Vec<u8>) {
    let (public, secret) = Sntrup761::generate_key(&mut rng);
    (SecretBytes::from_slice(secret.as_ref()), public.as_ref().to_vec())
}

fn public_of(secret: &[u8]) -> Option<Vec<u8>> {
    let key = imp::DecapsulationKey::try_from(secret).ok()?;
    Some(key.encapsulation_key().as_ref().to_vec())
}

fn encapsulate(public: &[u8], mut rng: &mut dyn rand_core::CryptoRng) -> Option<Encapsulated> {
    let (ciphertext, shared) = imp::EncapsulationKey::try_from(public).ok()?.encapsulate(&mut rng);
    Some((ciphertext.as_ref().to_vec(), Secret::from_slice(shared.as_ref())?))
}

fn decapsulate(secret: &[u8], ciphertext: &[u8]) -> Option<Secret<32>> {
    let key = imp::DecapsulationKey::try_from(secret).ok()?;
    let shared = key.decapsulate(&imp::Ciphertext::try_from(ciphertext).ok()?);
    Secret::from_slice(shared.as_ref())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn both_sides_agree_and_a_wrong_ciphertext_gives_another_secret() {
        let mut rng = getrandom::rand_core::UnwrapErr(getrandom::SysRng);
        let (secret, public) = generate(&mut rng);
        assert_eq!((secret.expose().len(), public.len()), (KEM.secret, KEM.public));
        let (mut ciphertext, theirs) = encapsulate(&public, &mut rng).unwrap();
        assert!(decapsulate(secret.expose(), &ciphertext).unwrap().same_as(&theirs));
        ciphertext[0] ^= 1;
        assert!(!decapsulate(secret.expose(), &ciphertext).unwrap().same_as(&theirs));
        assert_eq!(public_of(secret.expose()).unwrap(), public);
    }
}
