use crate::keys::{KeyError, SigningKey, SigningPublicKey, SigningType};
use crate::primitives::{scrypt, sha256};

use super::{ProvisionError, Provisioner};

/// The root of trust of a password, of 12 characters or more:
///
/// ```text
/// salt = sha256("Root of Trust" ‖ password)
/// seed = pwhash(32, password, salt)
/// ```
///
/// Takes a noticeable time, on purpose.
///
/// # Errors
/// [`ProvisionError::ShortPassword`], and [`ProvisionError::Key`] for types that aren't built.
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
/// seed = pwhash(32, password, salt)
/// ```
///
/// # Errors
/// [`ProvisionError::ShortPassword`], and [`ProvisionError::Key`] for types that aren't built.
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
    match kind {
        SigningType::Ed25519 => {
            let salt = sha256::hash(&[prefix, rest]);
            Ok(SigningKey::from_ed25519_seed(&scrypt::pwhash::<32>(password.as_bytes(), &salt)))
        }
        SigningType::Ed25519SlhDsa => Err(KeyError::NotBuilt("signing type 4 (Ed25519 with SLH-DSA)").into()),
    }
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
    fn type_4_is_said_to_be_missing() {
        let error = root_of_trust("correct horse battery", SigningType::Ed25519SlhDsa).unwrap_err();
        assert!(error.to_string().contains("not built"), "{error}");
    }
}
