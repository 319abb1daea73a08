//! SLH-DSA-SHAKE-128f (FIPS 205), pure, with an empty context.
//!
//! Written here because no crate hashes several lanes at a time, which makes it several times faster: [`keccak`] has the
//! lanes, [`hash`] the functions of §11.1 over addresses (§4.2), [`fors`] and [`xmss`] the trees. Held against NIST's
//! vectors and RustCrypto's implementation.
//!
//! Nothing branches on a secret or indexes by one: only the digest of the message, which is public, decides what is done.
//! What secrets leave on the stack is overwritten.
//!
//! Signing is deterministic (`opt_rand = pk.seed`, which FIPS 205 allows): a verifier can't tell, the same message gives
//! the same bytes, as with Ed25519, and no source of randomness can fail or be weak while a node runs.

mod fors;
mod hash;
mod keccak;
mod xmss;

use super::scrub::scrubbed;
use crate::secret::Secret;
use hash::{Hasher, N, Node, node, node_bytes};

/// Bytes of a signature: `R ‖ FORS ‖ hypertree`.
pub(crate) const SIGNATURE: usize = N + fors::SIGNATURE + xmss::LAYERS * xmss::SIGNATURE;

/// A secret key.
pub(crate) struct Key {
    /// `sk.seed ‖ sk.prf ‖ pk.seed ‖ pk.root`, 16 bytes each.
    bytes: Secret<64>,
}

impl Key {
    /// From `sk.seed ‖ sk.prf ‖ pk.seed` (FIPS 205, algorithm 18).
    pub(crate) fn from_seed(seed: &[u8; 48]) -> Self {
        let bytes = Secret::filled(|place| {
            let (seeds, root) = place.split_at_mut(48);
            seeds.copy_from_slice(seed);
            let top = scrubbed(|| xmss::root(&Hasher::new(&part(seed, 32)), &node(&part(seed, 0))));
            root.copy_from_slice(&node_bytes(top));
        });
        Self { bytes }
    }

    /// From `sk.seed ‖ sk.prf ‖ pk.seed ‖ pk.root`; none if the root isn't of these seeds.
    pub(crate) fn from_bytes(bytes: &[u8; 64]) -> Option<Self> {
        let key = Self::from_seed(bytes.first_chunk()?);
        (key.public() == *bytes.last_chunk()?).then_some(key)
    }

    /// `sk.seed ‖ sk.prf ‖ pk.seed ‖ pk.root`.
    pub(crate) fn to_bytes(&self) -> Secret<64> {
        self.bytes.duplicate()
    }

    /// `pk.seed ‖ pk.root`.
    pub(crate) fn public(&self) -> [u8; 32] {
        part(self.bytes.expose(), 32)
    }

    /// The signature over a message.
    pub(crate) fn sign(&self, message: &[u8]) -> Vec<u8> {
        self.sign_internal(&[&PURE, message], &part(self.bytes.expose(), 32))
    }

    /// FIPS 205, algorithm 19.
    fn sign_internal(&self, message: &[&[u8]], opt_rand: &[u8; N]) -> Vec<u8> {
        let seed = self.bytes.expose();
        let randomizer: [u8; N] = keccak::shake256(&[&[&part::<N>(seed, 16)[..], opt_rand], message].concat());
        let digest = Digest::of(&randomizer, &self.public(), message);
        let hasher = Hasher::new(&part(seed, 32));
        let mut out = Vec::with_capacity(SIGNATURE);
        out.extend_from_slice(&randomizer);
        scrubbed(|| {
            let secret = node(&part(seed, 0));
            let root = fors::sign(&hasher, &secret, &digest, &mut out);
            xmss::sign_all(&hasher, &secret, &digest, root, &mut out);
        });
        out
    }
}

/// Whether `signature` is `public`'s over `message`.
pub(crate) fn verify(public: &[u8; 32], message: &[u8], signature: &[u8]) -> bool {
    verify_internal(public, &[&PURE, message], signature)
}

/// FIPS 205, algorithm 20.
fn verify_internal(public: &[u8; 32], message: &[&[u8]], signature: &[u8]) -> bool {
    if signature.len() != SIGNATURE {
        return false;
    }
    let Some((randomizer, rest)) = signature.split_first_chunk::<N>() else { return false };
    let (fors_signature, layers) = rest.split_at(fors::SIGNATURE);
    let digest = Digest::of(randomizer, public, message);
    let hasher = Hasher::new(&part(public, 0));
    let leaf = fors::root_of(&hasher, &digest, fors_signature);
    node_bytes(xmss::root_of_all(&hasher, &digest, leaf, layers)) == part(public, 16)
}

/// What a message comes to (FIPS 205 §9.2): which leaf of the hypertree signs, and which leaves of its forest.
struct Digest {
    forest: [u8; 25],
    tree: u64,
    leaf: u32,
}

impl Digest {
    fn of(randomizer: &[u8; N], public: &[u8; 32], message: &[&[u8]]) -> Self {
        let bytes: [u8; 34] = keccak::shake256(&[&[&randomizer[..], public], message].concat());
        // 63 bits of the tree, 3 of the leaf
        let tree = u64::from_be_bytes(part(&bytes, 25)) & (u64::MAX >> 1);
        let [leaf]: [u8; 1] = part(&bytes, 33);
        Self { forest: part(&bytes, 0), tree, leaf: u32::from(leaf & 7) }
    }
}

/// `L` bytes of `bytes` from `at` on.
fn part<const L: usize>(bytes: &[u8], at: usize) -> [u8; L] {
    bytes.get(at..).and_then(|rest| rest.first_chunk().copied()).unwrap_or([0; L])
}

/// The nodes of a piece of a signature.
fn nodes(bytes: &[u8]) -> impl Iterator<Item = Node> {
    bytes.chunks_exact(N).map(|chunk| node(&part(chunk, 0)))
}

/// What stands before a message that isn't hashed beforehand, with an empty context (§10.2).
const PURE: [u8; 2] = [0, 0];

#[cfg(test)]
mod tests;
