//! X25519 with XSalsa20-Poly1305, libsodium's `sealed box`: `epk(32) ‖ box`. Old escrow values are of this form; opening
//! is all that is needed.

use salsa20::cipher::consts::U10;
use salsa20::hsalsa;
use zeroize::Zeroize;

use super::{blake2b, secretbox, x25519};
use crate::secret::Secret;

/// The plaintext; none if it wasn't sealed for this key, or was changed.
///
/// ```text
/// key   = hsalsa20(x25519(sk, epk), 0)
/// nonce = blake2b(24, epk ‖ pk)
/// ```
pub(crate) fn open(secret: &Secret<32>, sealed: &[u8]) -> Option<Vec<u8>> {
    let (epk, boxed) = sealed.split_first_chunk::<32>()?;
    let shared = x25519::shared(secret, epk)?;
    let mut made = hsalsa::<U10>(shared.expose().into(), &[0; 16].into());
    let key = Secret::filled(|place| place.copy_from_slice(&made));
    made.as_mut_slice().zeroize();
    secretbox::open(key.expose(), &blake2b::hash_24(&[epk, &x25519::public(secret)]), boxed)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The last row of `tests/vectors/escrow.json`, which libsodium has made.
    #[test]
    fn a_box_of_libsodium_opens_and_a_changed_one_does_not() {
        let secret = "eba0c3c708623c84949229295d6271066f8cdfe3f5d3daeb56d3113f1e93228c";
        let secret = Secret::from_slice(&hex::decode(secret).unwrap()).unwrap();
        let sealed = "0a0df0fcad3e8f2af8dcf38ed41f3d37b59ba27226ebc4e7992aa9f083eccb636f70883c53e0cbb3b7f8463083ea52f5ffaf71f4fd3dcd75ac7d8dad69b165da1a82a3eef34e849fd3f75a866357aaa9";
        let sealed = hex::decode(sealed).unwrap();
        let plaintext = "af8978463f6af57d5772da9cc8c7be9845536527c7d503726d047aec0d7b32ff";
        assert_eq!(hex::encode(open(&secret, &sealed).unwrap()), plaintext);
        for at in [0, 31, 32, 48, sealed.len() - 1] {
            let mut changed = sealed.clone();
            changed[at] ^= 1;
            assert!(open(&secret, &changed).is_none(), "byte {at}");
        }
        assert!(open(&secret, &sealed[..47]).is_none() && open(&secret, &[0; 80]).is_none());
    }
}
