//! One thin file for each algorithm (protocol §2): arrays in, secrets out.
//!
//! Knows no wire format and no key type. Never compares secrets but in constant time, and never hands out a secret that
//! isn't wiped when dropped.

pub(crate) mod blake2b;
pub(crate) mod ed25519;
pub(crate) mod kem;
pub(crate) mod ml_kem;
mod scrub;
pub(crate) mod scrypt;
pub(crate) mod sealed_box;
pub(crate) mod secretbox;
pub(crate) mod sha256;
pub(crate) mod slh_dsa;
pub(crate) mod sntrup761;
pub(crate) mod x25519;

#[cfg(test)]
mod tests;
