use std::sync::atomic::{AtomicU64, Ordering};

use crate::primitives::{blake2b, secretbox};
use crate::secret::Secret;

/// 16 bytes, a little-endian number: which generation of a generator.
pub type Salt = [u8; 16];

/// Whether a record's key or its value is encrypted: each has a generator of its own.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Purpose {
    /// Kafka record keys.
    Key,
    /// Kafka record values.
    Value,
}

impl Purpose {
    fn context(self) -> &'static [u8; 16] {
        match self {
            Self::Key => b"key\0\0\0\0\0\0\0\0\0\0\0\0\0",
            Self::Value => b"value\0\0\0\0\0\0\0\0\0\0\0",
        }
    }
}

/// The key and nonce of one message (protocol §3):
///
/// ```text
/// out   = blake2b(56, key = secret, salt = salt, person = "key" | "value", m = "")
/// key   = out[0..32]
/// nonce = out[32..56]
/// ```
pub struct MessageKey(Secret<56>);

/// The key and nonce for `(secret, purpose, salt)`.
#[must_use]
pub fn message_key(secret: &Secret<32>, purpose: Purpose, salt: &Salt) -> MessageKey {
    MessageKey(blake2b::keyed_56(secret.expose(), salt, purpose.context()))
}

impl MessageKey {
    /// The secret key.
    #[must_use]
    pub fn key(&self) -> &[u8; 32] {
        self.0.expose().first_chunk().unwrap_or(&[0; 32])
    }

    /// The nonce.
    #[must_use]
    pub fn nonce(&self) -> &[u8; 24] {
        self.0.expose().last_chunk().unwrap_or(&[0; 24])
    }

    /// Appends `tag ‖ ciphertext` to `out`.
    pub(crate) fn seal_into(&self, out: &mut Vec<u8>, plaintext: &[u8]) {
        secretbox::seal_into(out, self.key(), self.nonce(), plaintext);
    }

    /// The plaintext, if the box is authentic.
    pub(crate) fn open(&self, sealed: &[u8]) -> Option<Vec<u8>> {
        secretbox::open(self.key(), self.nonce(), sealed)
    }
}

/// Hands out salts, each once.
///
/// DIFFERENCE: starts at 16 random bytes, where others start at 0, so that a seed file that comes back from a backup,
/// a snapshot or a cloned machine doesn't repeat a key and nonce. Every reader opens such messages.
#[derive(Debug)]
pub struct SaltCounter {
    start: u128,
    count: AtomicU64,
}

impl SaltCounter {
    /// A counter with a random start.
    #[must_use]
    pub fn new(rng: &mut dyn rand_core::CryptoRng) -> Self {
        let mut start = Salt::default();
        rng.fill_bytes(&mut start);
        Self::starting_at(start)
    }

    /// A counter with a given start, for tests and vectors.
    #[must_use]
    pub fn starting_at(start: Salt) -> Self {
        Self { start: u128::from_le_bytes(start), count: AtomicU64::new(0) }
    }

    /// The next salt; wraps around at 2^128. Threads may call it side by side.
    #[must_use]
    pub fn take(&self) -> Salt {
        let count = self.count.fetch_add(1, Ordering::Relaxed);
        self.start.wrapping_add(count.into()).to_le_bytes()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn salts_count_up_and_wrap() {
        let counter = SaltCounter::starting_at([0xff; 16]);
        assert_eq!(counter.take(), [0xff; 16]);
        assert_eq!(counter.take(), [0; 16]);
        assert_eq!(counter.take()[..2], [1, 0]);
    }

    #[test]
    fn purpose_and_salt_make_the_key() {
        let secret = Secret::filled(|s| s.fill(1));
        let key = |purpose, salt| *message_key(&secret, purpose, &salt).key();
        assert_ne!(key(Purpose::Key, [0; 16]), key(Purpose::Value, [0; 16]));
        assert_ne!(key(Purpose::Key, [0; 16]), key(Purpose::Key, [1; 16]));
    }
}
