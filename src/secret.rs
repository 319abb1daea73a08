//! Secrets that are wiped when dropped, and what logs may say instead of them.

use std::fmt;

use subtle::ConstantTimeEq;
use zeroize::Zeroize;

/// `N` secret bytes on the heap: wiped when dropped, and neither printable, copyable nor comparable by accident.
///
/// ```
/// use kafkacrypto::secret::Secret;
/// let secret = Secret::<4>::from_slice(&[1, 2, 3, 4]).unwrap();
/// assert_eq!(secret.expose(), &[1, 2, 3, 4]);
/// assert!(Secret::<4>::from_slice(b"too long").is_none());
/// ```
pub struct Secret<const N: usize>(Box<[u8; N]>);

impl<const N: usize> Secret<N> {
    /// A secret that `fill` writes in place, so that no copy of it is left on the stack.
    #[must_use]
    pub fn filled(fill: impl FnOnce(&mut [u8; N])) -> Self {
        let mut secret = Self(Box::new([0; N]));
        fill(&mut secret.0);
        secret
    }

    /// A copy of `bytes`; none unless there are exactly `N`.
    #[must_use]
    pub fn from_slice(bytes: &[u8]) -> Option<Self> {
        (bytes.len() == N).then(|| Self::filled(|place| place.copy_from_slice(bytes)))
    }

    /// Fresh random bytes.
    #[must_use]
    pub fn random(rng: &mut dyn rand_core::CryptoRng) -> Self {
        Self::filled(|place| rng.fill_bytes(place))
    }

    /// The bytes. Every call is a place to look at when secrets are audited.
    #[must_use]
    pub fn expose(&self) -> &[u8; N] {
        &self.0
    }

    /// A second copy, said aloud because `Clone` would be silent.
    #[must_use]
    pub fn duplicate(&self) -> Self {
        Self::filled(|place| *place = *self.0)
    }

    /// Equality in constant time.
    #[must_use]
    pub fn same_as(&self, other: &Self) -> bool {
        self.0.as_slice().ct_eq(other.0.as_slice()).into()
    }
}

impl<const N: usize> Drop for Secret<N> {
    fn drop(&mut self) {
        self.0.zeroize();
    }
}

impl<const N: usize> fmt::Debug for Secret<N> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Secret<{N}>(…)")
    }
}

/// Secret bytes of a length that only its owner knows: on the heap, wiped when dropped, as [`Secret`] is.
///
/// ```
/// use kafkacrypto::secret::SecretBytes;
/// let secret = SecretBytes::from_slice(&[1, 2, 3]);
/// assert_eq!(secret.expose(), [1, 2, 3]);
/// assert_eq!(format!("{secret:?}"), "SecretBytes(…)");
/// ```
pub struct SecretBytes(Box<[u8]>);

impl SecretBytes {
    /// `length` bytes that `fill` writes in place.
    #[must_use]
    pub fn filled(length: usize, fill: impl FnOnce(&mut [u8])) -> Self {
        let mut secret = Self(vec![0; length].into_boxed_slice());
        fill(&mut secret.0);
        secret
    }

    /// A copy of `bytes`.
    #[must_use]
    pub fn from_slice(bytes: &[u8]) -> Self {
        Self(bytes.into())
    }

    /// The bytes. Every call is a place to look at when secrets are audited.
    #[must_use]
    pub fn expose(&self) -> &[u8] {
        &self.0
    }
}

impl Drop for SecretBytes {
    fn drop(&mut self) {
        self.0.zeroize();
    }
}

impl fmt::Debug for SecretBytes {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("SecretBytes(…)")
    }
}

/// What logs say of a long public value, such as a key index or a public key: its first 8 bytes in hex.
///
/// ```
/// assert_eq!(kafkacrypto::secret::Fingerprint::of(&[0xab; 32]).to_string(), "abababababababab…");
/// assert_eq!(kafkacrypto::secret::Fingerprint::of(&[1, 2]).to_string(), "0102");
/// ```
#[derive(Clone, PartialEq, Eq, Hash)]
pub struct Fingerprint(String);

impl Fingerprint {
    /// The fingerprint of a *public* value.
    #[must_use]
    pub fn of(public: &[u8]) -> Self {
        let head = public.get(..8).unwrap_or(public);
        Self(hex::encode(head) + if public.len() > 8 { "…" } else { "" })
    }
}

impl fmt::Display for Fingerprint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl fmt::Debug for Fingerprint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn debug_shows_no_byte() {
        let secret = Secret::<2>::from_slice(&[0x41, 0x42]).unwrap();
        assert_eq!(format!("{secret:?}"), "Secret<2>(…)");
    }

    #[test]
    fn comparison_sees_one_bit() {
        let (a, b) = (Secret::<2>::from_slice(&[1, 2]).unwrap(), Secret::<2>::from_slice(&[1, 3]).unwrap());
        assert!(a.same_as(&a.duplicate()) && !a.same_as(&b));
    }
}
