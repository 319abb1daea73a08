use crate::keys::{SigningKey, SigningPublicKey, SigningType};
use crate::primitives::{scrypt, sha256};

use super::{ProvisionError, Provisioner};

/// The root of trust of a password, of 12 characters or more:
///
/// ```text
/// salt = sha256("Root of Trust" ‖ password)
/// seed = pwhash(32, password, salt)          80 for type 4
/// ```
///
/// Takes a noticeable time, on purpose.
///
/// # Errors
/// [`ProvisionError::ShortPassword`].
///
/// ```
/// use kafkacrypto::{keys::SigningType, provision::root_of_trust};
/// assert!(root_of_trust("correct horse battery", SigningType::Ed25519).is_ok());
/// assert!(root_of_trust("too short", SigningType::Ed25519).is_err());
/// ```
pub fn root_of_trust(password: &str, kind: SigningType) -> Result<SigningKey, ProvisionError> {
    long_enough(password, "root", ROOT_LEAST)?;
    derive(password, b"Root of Trust", password.as_bytes(), kind)
}

/// The provisioner of a password, of 6 characters or more, under a root of trust:
///
/// ```text
/// salt = sha256(name ‖ byte form of the root's public key)
/// seed = pwhash(32, password, salt)          80 for type 4
/// ```
///
/// # Errors
/// [`ProvisionError::ShortPassword`].
///
/// ```
/// use kafkacrypto::keys::{SigningKey, SigningType};
/// use kafkacrypto::provision::{Provisioner, provisioner};
/// let root = SigningKey::from_ed25519_seed(&[7; 32]);
/// let make = |password| provisioner(Provisioner::Consumer, password, root.public(), SigningType::Ed25519);
/// assert!(make("staple staple").is_ok());
/// assert!(make("short").is_err());
/// ```
pub fn provisioner(
    which: Provisioner,
    password: &str,
    root: &SigningPublicKey,
    kind: SigningType,
) -> Result<SigningKey, ProvisionError> {
    long_enough(password, "provisioner", PROVISIONER_LEAST)?;
    derive(password, which.name().as_bytes(), &root.to_bytes(), kind)
}

fn long_enough(password: &str, whose: &'static str, least: usize) -> Result<(), ProvisionError> {
    if password.chars().count() < least { Err(ProvisionError::ShortPassword { whose, least }) } else { Ok(()) }
}

fn derive(password: &str, prefix: &[u8], rest: &[u8], kind: SigningType) -> Result<SigningKey, ProvisionError> {
    // a shorter output is a prefix of a longer one
    let seed = scrypt::pwhash::<80>(password.as_bytes(), &sha256::hash(&[prefix, rest]));
    let seed = seed.get(..kind.seed_length()).unwrap_or_default();
    Ok(SigningKey::from_seed(kind, seed)?)
}

const ROOT_LEAST: usize = 12;
const PROVISIONER_LEAST: usize = 6;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn length_is_counted_in_characters() {
        assert!(long_enough("äöüäöü", "provisioner", 6).is_ok());
        let error = long_enough("äöüäö", "provisioner", 6).unwrap_err();
        assert_eq!(error.to_string(), "the provisioner password has fewer than 6 characters; use a longer one");
    }

    #[test]
    fn type_4_shares_its_classical_half_with_type_1() {
        let root = |kind| root_of_trust("correct horse battery", kind).unwrap().public().clone();
        let SigningPublicKey::Ed25519(single) = root(SigningType::Ed25519) else { panic!("type 1") };
        let SigningPublicKey::Ed25519SlhDsa { ed25519, .. } = root(SigningType::Ed25519SlhDsa) else {
            panic!("type 4")
        };
        assert_eq!(single, ed25519);
    }
}
