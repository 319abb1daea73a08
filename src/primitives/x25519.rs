//! X25519 (RFC 7748).

use x25519_dalek::{PublicKey, StaticSecret};

use crate::secret::Secret;

/// The public key of a secret one.
pub(crate) fn public(secret: &Secret<32>) -> [u8; 32] {
    PublicKey::from(&StaticSecret::from(*secret.expose())).to_bytes()
}

/// The shared point; none if `public` is of low order, so that nothing was contributed.
pub(crate) fn shared(secret: &Secret<32>, public: &[u8; 32]) -> Option<Secret<32>> {
    let point = StaticSecret::from(*secret.expose()).diffie_hellman(&PublicKey::from(*public));
    point.was_contributory().then(|| Secret::filled(|out| out.copy_from_slice(point.as_bytes())))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn both_sides_agree_and_low_order_is_refused() {
        let (a, b) = (Secret::filled(|s| s.fill(3)), Secret::filled(|s| s.fill(5)));
        assert!(shared(&a, &public(&b)).unwrap().same_as(&shared(&b, &public(&a)).unwrap()));
        assert!(shared(&a, &[0; 32]).is_none());
        let mut one = [0; 32];
        one[0] = 1;
        assert!(shared(&a, &one).is_none());
    }
}
