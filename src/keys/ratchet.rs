use zeroize::Zeroizing;

use super::{KeyError, KeyIndex};
use crate::primitives::{blake2b, sha256};
use crate::secret::Secret;
use crate::topic::Root;
use crate::wire::{Writer, read_all};

/// The ratchet as a pure state: what a `.seed` file holds (protocol §4, §12.3).
///
/// ```
/// use kafkacrypto::keys::RatchetState;
/// # use kafkacrypto::secret::Secret;
/// let state = RatchetState::new(0, Secret::from_slice(&[7; 32]).unwrap());
/// let bytes = state.encode();
/// assert_eq!(RatchetState::decode(&bytes).unwrap().index(), 0);
/// assert_eq!(state.next().index(), 1);
/// assert!(RatchetState::decode(b"").is_err());
/// ```
#[derive(Debug)]
pub struct RatchetState {
    index: u64,
    secret: Secret<32>,
}

/// Where the ratchet lives: a file, or a device of the caller's own. Calls may block; they are made on threads that may.
pub trait Ratchet: Send + Sync {
    /// Steps. On return the step is durable; the index that may be used from now on is the answer.
    ///
    /// # Errors
    /// [`KeyError::Source`] if the step could not be made durable: then nothing may be encrypted with it.
    fn step(&self) -> Result<u64, KeyError>;

    /// The secret for one root under the index that the last step gave.
    ///
    /// # Errors
    /// [`KeyError::Source`] if there was no step yet, or the device fails.
    fn root_secret(&self, root: &Root) -> Result<Secret<32>, KeyError>;
}

impl RatchetState {
    /// A state from its parts.
    #[must_use]
    pub fn new(index: u64, secret: Secret<32>) -> Self {
        Self { index, secret }
    }

    /// The state of a new node: `[0, random32]`.
    #[must_use]
    pub fn fresh(rng: &mut dyn rand_core::CryptoRng) -> Self {
        Self::new(0, Secret::random(rng))
    }

    /// Reads `msgpack([index, secret(32)])`, the layout of [`RatchetState::encode`].
    ///
    /// # Errors
    /// [`KeyError::Wire`]: anything else, bytes behind the value included.
    pub fn decode(bytes: &[u8]) -> Result<Self, KeyError> {
        read_all(bytes, "ratchet seed", |reader| {
            reader.array_of(2, "[index, secret]")?;
            let index = reader.uint()?;
            let secret = reader.bytes_exact::<32>("a secret of 32 bytes")?;
            Ok(Self::new(index, Secret::filled(|place| *place = *secret)))
        })
    }

    /// The bytes of a `.seed` file (protocol §12.3):
    ///
    /// ```text
    /// array(2) ‖ uint index ‖ bin secret(32)
    /// ```
    #[must_use]
    pub fn encode(&self) -> Zeroizing<Vec<u8>> {
        let mut out = Writer::after(Vec::with_capacity(64));
        out.array(2).uint(self.index).bin(self.secret.expose());
        Zeroizing::new(out.finish())
    }

    /// The number of steps so far.
    #[must_use]
    pub fn index(&self) -> u64 {
        self.index
    }

    /// The secret, which the ratchet goes on from: for escrow.
    #[must_use]
    pub fn secret(&self) -> &Secret<32> {
        &self.secret
    }

    /// The state one step on: `secret' = blake2b(32, key = secret, salt = 0, person = "ratchet")`.
    #[must_use]
    pub fn next(&self) -> Self {
        let secret = blake2b::keyed_32(self.secret.expose(), &[0; 16], b"ratchet\0\0\0\0\0\0\0\0\0");
        Self::new(self.index.wrapping_add(1), secret)
    }

    /// The secret for one root: `blake2b(32, key = secret, salt = h[0..16], person = h[16..32])` with `h = sha256(root)`.
    #[must_use]
    pub fn root_secret(&self, root: &Root) -> Secret<32> {
        let hash = sha256::hash(&[root.as_str().as_bytes()]);
        let (salt, person) = halves(&hash);
        blake2b::keyed_32(self.secret.expose(), salt, person)
    }
}

impl KeyIndex {
    /// The long index of a ratchet state: `generichash(node ‖ index as 16 bytes big-endian)`. `node` is the
    /// concatenation of the node's enabled signing public keys in byte form.
    #[must_use]
    pub fn of_node(node: &[u8], index: u64) -> Self {
        let hash = blake2b::generichash(&[node, &u128::from(index).to_be_bytes()]);
        Self::Long(Box::new(hash))
    }
}

fn halves(hash: &[u8; 32]) -> (&[u8; 16], &[u8; 16]) {
    (hash.first_chunk().unwrap_or(&[0; 16]), hash.last_chunk().unwrap_or(&[0; 16]))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn state() -> RatchetState {
        RatchetState::new(41, Secret::filled(|s| s.fill(3)))
    }

    #[test]
    fn steps_never_repeat() {
        let (one, two) = (state().next(), state().next().next());
        assert_eq!((one.index(), two.index()), (42, 43));
        let root = Root::new("a");
        assert!(!one.root_secret(&root).same_as(&two.root_secret(&root)));
        assert!(!one.root_secret(&root).same_as(&one.root_secret(&Root::new("b"))));
    }

    #[test]
    fn seeds_survive_and_damage_is_refused() {
        let bytes = state().encode();
        let read = RatchetState::decode(&bytes).unwrap();
        assert_eq!(read.encode(), bytes);
        for length in 0..bytes.len() {
            assert!(RatchetState::decode(&bytes[..length]).is_err());
        }
        assert!(RatchetState::decode(&[&bytes[..], b"\0"].concat()).is_err());
        assert!(!format!("{:?}", state()).contains("3, 3"));
    }
}
