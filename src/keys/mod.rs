//! The bytes of one key: signing keys, key exchange keys, key indices, the ratchet and the generator (protocol §3, §4, §6).
//!
//! Versions and layouts end here: nobody above names an algorithm crate. Versions are enums, hybrids are data. Knows no
//! certificate, no topic but a root's name, and does no I/O: where a key lives is behind [`Signer`] and [`Ratchet`].

mod exchange;
mod generator;
mod index;
mod ratchet;
mod sign;

pub use exchange::{AnswerKey, Ephemeral, ExchangeKey, OfferKey, Scheme, SharedSecret};
pub use generator::{MessageKey, Purpose, Salt, SaltCounter, message_key};
pub use index::KeyIndex;
pub use ratchet::{Ratchet, RatchetState};
pub use sign::{Signer, SigningKey, SigningPublicKey, SigningType};

use crate::wire::WireError;

/// Why a key can't be read or used.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum KeyError {
    /// Not MessagePack, or not of the form that keys have.
    #[error(transparent)]
    Wire(#[from] WireError),
    /// A type or version that nobody has defined.
    #[error("key type or version {0} is not known")]
    UnknownVersion(u64),
    /// A key of the wrong length.
    #[error("{what}: a key of {found} bytes, where {expected} are due")]
    Length {
        /// Which key.
        what: &'static str,
        /// Bytes that it should have.
        expected: usize,
        /// Bytes that it has.
        found: usize,
    },
    /// The public half of a secret key isn't its own.
    #[error("the secret key's public half doesn't belong to it; restore the key file from a backup")]
    Mismatch,
    /// The signature doesn't verify.
    #[error("the signature doesn't verify")]
    Signature,
    /// An X25519 point of low order.
    #[error("the exchange key is a point of low order")]
    LowOrder,
    /// A public key of a key encapsulation that is out of range.
    #[error("the exchange key's {0} half is out of range")]
    OutOfRange(&'static str),
    /// The two halves belong to different schemes.
    #[error("the answer is for another exchange scheme than the offer")]
    SchemeMismatch,
    /// A device or file that holds keys failed.
    #[error("{0}")]
    Source(String),
}
