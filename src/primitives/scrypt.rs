//! scrypt (RFC 7914) with libsodium's "interactive" limits: N = 2^14, r = 8, p = 1.

use scrypt::Params;
use zeroize::Zeroizing;

/// `N` bytes from a password; a shorter output is a prefix of a longer one.
pub(crate) fn pwhash<const N: usize>(password: &[u8], salt: &[u8; 32]) -> Zeroizing<[u8; N]> {
    let mut out = Zeroizing::new([0; N]);
    if let Ok(params) = Params::new(14, 8, 1) {
        // fails for outputs of zero bytes or over 137 GB only
        let _ = scrypt::scrypt(password, salt, &params, out.as_mut_slice());
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn shorter_is_a_prefix() {
        let (short, long) = (pwhash::<32>(b"pw", &[7; 32]), pwhash::<80>(b"pw", &[7; 32]));
        assert_eq!(short[..], long[..32]);
        assert_ne!(short[..], [0; 32]);
    }
}
