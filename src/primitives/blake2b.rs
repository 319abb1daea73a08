//! BLAKE2b (RFC 7693), keyed with salt and personalisation, and libsodium's `crypto_generichash`.

use blake2::digest::consts::{U24, U32, U56};
use blake2::digest::{Digest, FixedOutput};
use blake2::{Blake2b, Blake2bMac};

use crate::secret::Secret;

/// 32 bytes from a key, a salt and a personalisation, with an empty message.
pub(crate) fn keyed_32(key: &[u8; 32], salt: &[u8; 16], person: &[u8; 16]) -> Secret<32> {
    Secret::filled(|out| {
        // a key of 32 bytes, a salt and a personalisation of 16 are always taken
        if let Ok(mac) = Blake2bMac::<U32>::new_with_salt_and_personal(Some(key), salt, person) {
            mac.finalize_into(out.into());
        }
    })
}

/// 56 bytes, likewise. Not a prefix of a longer output: the length is part of the parameters.
pub(crate) fn keyed_56(key: &[u8; 32], salt: &[u8; 16], person: &[u8; 16]) -> Secret<56> {
    Secret::filled(|out| {
        if let Ok(mac) = Blake2bMac::<U56>::new_with_salt_and_personal(Some(key), salt, person) {
            mac.finalize_into(out.into());
        }
    })
}

/// Unkeyed, 32 bytes, over the concatenation of `parts`.
pub(crate) fn generichash(parts: &[&[u8]]) -> [u8; 32] {
    let mut hash = Blake2b::<U32>::new();
    parts.iter().for_each(|part| Digest::update(&mut hash, part));
    hash.finalize().into()
}

/// Unkeyed, 24 bytes, likewise: the nonce of sealed boxes.
pub(crate) fn hash_24(parts: &[&[u8]]) -> [u8; 24] {
    let mut hash = Blake2b::<U24>::new();
    parts.iter().for_each(|part| Digest::update(&mut hash, part));
    hash.finalize().into()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_parameter_counts() {
        let base = keyed_32(&[1; 32], &[2; 16], &[3; 16]);
        assert!(!base.same_as(&keyed_32(&[0; 32], &[2; 16], &[3; 16])));
        assert!(!base.same_as(&keyed_32(&[1; 32], &[0; 16], &[3; 16])));
        assert!(!base.same_as(&keyed_32(&[1; 32], &[2; 16], &[0; 16])));
        assert_ne!(base.expose()[..], keyed_56(&[1; 32], &[2; 16], &[3; 16]).expose()[..32]);
        assert_ne!(base.expose(), &[0; 32]);
    }

    #[test]
    fn the_hash_of_nothing_is_the_known_one() {
        let known = "0e5751c026e543b2e8ab2eb06099daa1d1e5df47778f7787faab45cdf12fe3a8";
        assert_eq!(hex::encode(generichash(&[])), known);
        assert_eq!(generichash(&[b"ab", b"c"]), generichash(&[b"abc"]));
    }
}
