//! XSalsa20-Poly1305, libsodium's `secretbox`: `tag(16) ‖ ciphertext`.
//!
//! Two backends behind the same two functions: dryoc (SIMD, the default) and RustCrypto's salsa20 and poly1305 (feature
//! `portable-secretbox`, and the oracle of the differential test).

/// Bytes that a sealed message is longer than its plaintext.
pub(crate) const OVERHEAD: usize = 16;

/// Appends the sealed `plaintext` to `out`, without a copy in between.
pub(crate) fn seal_into(out: &mut Vec<u8>, key: &[u8; 32], nonce: &[u8; 24], plaintext: &[u8]) {
    backend::seal_into(out, key, nonce, plaintext);
}

/// The plaintext; none if it wasn't sealed with this key and nonce, or was changed.
pub(crate) fn open(key: &[u8; 32], nonce: &[u8; 24], sealed: &[u8]) -> Option<Vec<u8>> {
    backend::open(key, nonce, sealed)
}

#[cfg(not(feature = "portable-secretbox"))]
use simd as backend;

#[cfg(feature = "portable-secretbox")]
use portable as backend;

#[cfg(any(not(feature = "portable-secretbox"), test))]
mod simd {
    use dryoc::classic::crypto_secretbox::{crypto_secretbox_detached, crypto_secretbox_open_detached};

    use super::OVERHEAD;

    pub(super) fn seal_into(out: &mut Vec<u8>, key: &[u8; 32], nonce: &[u8; 24], plaintext: &[u8]) {
        let start = out.len();
        out.resize(start + OVERHEAD + plaintext.len(), 0);
        let Some((tag, body)) = out.get_mut(start..).and_then(|place| place.split_first_chunk_mut::<OVERHEAD>()) else {
            return;
        };
        // fails only for lengths that differ (they don't) or beyond 2^38 bytes; then nothing readable must go out
        if crypto_secretbox_detached(body, tag, plaintext, nonce, key).is_err() {
            out.truncate(start);
        }
    }

    pub(super) fn open(key: &[u8; 32], nonce: &[u8; 24], sealed: &[u8]) -> Option<Vec<u8>> {
        let (tag, body) = sealed.split_first_chunk::<OVERHEAD>()?;
        let mut plaintext = vec![0; body.len()];
        crypto_secretbox_open_detached(&mut plaintext, body, tag, nonce, key).ok()?;
        Some(plaintext)
    }
}

#[cfg(any(feature = "portable-secretbox", test))]
mod portable {
    use poly1305::Poly1305;
    use poly1305::universal_hash::KeyInit;
    use salsa20::XSalsa20;
    use salsa20::cipher::{KeyIvInit, StreamCipher};
    use subtle::ConstantTimeEq;
    use zeroize::Zeroizing;

    use super::OVERHEAD;

    pub(super) fn seal_into(out: &mut Vec<u8>, key: &[u8; 32], nonce: &[u8; 24], plaintext: &[u8]) {
        let (mut cipher, mac) = start(key, nonce);
        let at = out.len();
        out.extend_from_slice(&[0; OVERHEAD]);
        out.extend_from_slice(plaintext);
        let Some((tag, body)) = out.get_mut(at..).and_then(|place| place.split_first_chunk_mut::<OVERHEAD>()) else {
            return;
        };
        cipher.apply_keystream(body);
        *tag = mac.compute_unpadded(body).into();
    }

    pub(super) fn open(key: &[u8; 32], nonce: &[u8; 24], sealed: &[u8]) -> Option<Vec<u8>> {
        let (tag, body) = sealed.split_first_chunk::<OVERHEAD>()?;
        let (mut cipher, mac) = start(key, nonce);
        let expected: [u8; OVERHEAD] = mac.compute_unpadded(body).into();
        if !bool::from(expected.ct_eq(tag)) {
            return None;
        }
        let mut plaintext = body.to_vec();
        cipher.apply_keystream(&mut plaintext);
        Some(plaintext)
    }

    /// The first 32 bytes of the key stream are the authenticator's key; the message starts behind them.
    fn start(key: &[u8; 32], nonce: &[u8; 24]) -> (XSalsa20, Poly1305) {
        let mut cipher = XSalsa20::new(key.into(), nonce.into());
        let mut mac_key = Zeroizing::new([0; 32]);
        cipher.apply_keystream(mac_key.as_mut_slice());
        (cipher, Poly1305::new((&*mac_key).into()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_backends_agree_at_every_length() {
        let (key, nonce) = ([7; 32], [9; 24]);
        let text: Vec<u8> = (0..2100_u32).map(|n| n.to_le_bytes()[0]).collect();
        for length in (0..=2100).chain([4096]) {
            let text = text.get(..length).map_or_else(|| vec![1; length], <[u8]>::to_vec);
            let (mut a, mut b) = (b"head".to_vec(), b"head".to_vec());
            simd::seal_into(&mut a, &key, &nonce, &text);
            portable::seal_into(&mut b, &key, &nonce, &text);
            assert_eq!(a, b, "length {length}");
            assert_eq!(simd::open(&key, &nonce, &a[4..]).as_deref(), Some(&text[..]));
            assert_eq!(portable::open(&key, &nonce, &a[4..]).as_deref(), Some(&text[..]));
        }
    }

    #[test]
    fn a_changed_bit_is_refused() {
        let (key, nonce) = ([7; 32], [9; 24]);
        let mut sealed = Vec::new();
        seal_into(&mut sealed, &key, &nonce, b"text");
        for bit in 0..sealed.len() * 8 {
            let mut changed = sealed.clone();
            changed[bit / 8] ^= 1 << (bit % 8);
            assert!(open(&key, &nonce, &changed).is_none());
        }
        assert!(open(&key, &nonce, &sealed[..15]).is_none());
        assert!(open(&[8; 32], &nonce, &sealed).is_none());
    }
}
