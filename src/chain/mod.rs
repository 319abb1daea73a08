//! Who may do what: certificates, the chains they form, and the lists of keys that are trusted or refused (protocol §7).
//!
//! Trust is a pure function of (bytes, lists, time): [`verify`] is the only maker of a [`Verified`], and only that is
//! accepted further up. Must never read a clock, keep a secret key, or run an expression from a message before a
//! signature over it was verified.
//!
//! Owns the bytes of certificates, of their restrictions ("poison"), and of chains; the bytes of keys are `keys`'.

mod certificate;
mod issue;
mod lists;
mod matcher;
mod report;
mod restrictions;
mod signatures;
#[cfg(test)]
pub(crate) mod tally;
mod trail;
mod verify;

use std::time::Duration;

pub use certificate::{Certificate, LeafKey, ListedKey};
pub use issue::{Extra, append, chain_of, leaf, root_certificate};
pub use lists::{TEMPORARY_ROOT, TEMPORARY_ROOT_SEED, TrustLists};
pub use report::{Described, Description, ListChange, list_change, supersedes};
pub use restrictions::{Level, Restrictions, Usage};
pub use signatures::Signatures;
pub use trail::{Step, Trail};
pub use verify::{Ask, Rejected, Verified, verify};

use crate::keys::{KeyError, SigningPublicKey};
use crate::time::UnixTime;
use crate::wire::WireError;

/// How many signed elements a chain may have.
pub const MAX_ELEMENTS: usize = 8;

/// How long one signed element may be.
pub const MAX_ELEMENT_BYTES: usize = 65_536;

/// How long an expression may be; a longer one matches nothing.
pub const MAX_EXPRESSION_BYTES: usize = 256;

/// Why a certificate or a chain isn't accepted, by blame.
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
#[non_exhaustive]
pub enum ChainError {
    // ---- malformed
    /// Not MessagePack, or not of the form that chains and certificates have.
    #[error("not a valid chain or certificate: {0}; ask for it again, it may have been cut or damaged")]
    Malformed(#[from] WireError),
    /// A certificate's key can't be read.
    #[error("a certificate's key can't be read: {0}")]
    Key(KeyError),
    /// A typed exchange key outside a list, a list within a list, or the like.
    #[error("a certificate's key is misplaced: {0}")]
    KeyForm(&'static str),
    /// More elements, or a longer one, than anyone needs.
    #[error("the chain is too long: {what} has {found}, and {limit} is the limit")]
    TooLong {
        /// What is too long.
        what: &'static str,
        /// Its length.
        found: usize,
        /// The longest that is taken.
        limit: usize,
    },
    /// A chain without elements.
    #[error("the chain is empty; have the node provisioned")]
    Empty,
    /// `max_age` isn't a finite number that isn't negative.
    #[error("a certificate's expiry isn't a time")]
    MaxAge,
    /// A restriction of a name that nobody has defined: what it would restrict isn't known, so nothing is allowed.
    #[error("a certificate has an unknown restriction {name:?}")]
    UnknownRestriction {
        /// The name, escaped.
        name: String,
    },
    /// A restriction that is there twice, or isn't of its type.
    #[error("a certificate's restrictions are malformed: {0}")]
    Restriction(&'static str),
    /// An expression other than `^.*$` among usages.
    #[error("a certificate has an expression among its usages, where only names and ^.*$ may stand")]
    UsageExpression,

    // ---- not trusted
    /// No root of trust in the allowlist has signed it.
    #[error("no root of trust in the allowlist has signed this chain; check that both nodes have the same root")]
    NotTrusted,
    /// An element isn't signed by the key before it.
    #[error("the signature of element {element} isn't by the key before it")]
    Signature {
        /// Counted from 0.
        element: usize,
    },
    /// The Ed25519 half of an element's signature is right, and the SLH-DSA half isn't.
    #[error("the post-quantum half of the signature of element {element} isn't by the key before it")]
    PostQuantumSignature {
        /// Counted from 0.
        element: usize,
    },
    /// An element in the middle certifies something that can't sign.
    #[error("element {element} would have to be signed by a key that isn't a signing key")]
    NotASigner {
        /// Counted from 0.
        element: usize,
    },
    /// A key on the way is on the denylist.
    #[error("the key {key} has been revoked")]
    Denied {
        /// The key.
        key: SigningPublicKey,
    },
    /// All keys in a leaf's list are revoked, or none is an exchange key.
    #[error("the leaf holds no exchange key that can be used")]
    NoUsableKey,
    /// Over.
    #[error("the chain expired at {at}, {} seconds before; have it renewed", since.as_secs())]
    Expired {
        /// Until when it was valid.
        at: UnixTime,
        /// How long ago that is.
        since: Duration,
    },
    /// The topic that was asked for isn't allowed.
    #[error("the chain doesn't allow the topic {topic:?}")]
    TopicNotAllowed {
        /// The topic.
        topic: String,
    },
    /// The usage that was asked for isn't allowed.
    #[error("the chain doesn't allow the usage {}", usage.name())]
    UsageNotAllowed {
        /// The usage.
        usage: Usage,
    },
    /// More delegations than a certificate allows.
    #[error("the chain has more elements than one of its certificates allows (pathlen)")]
    PathLength,
}

impl From<KeyError> for ChainError {
    fn from(error: KeyError) -> Self {
        match error {
            KeyError::Wire(error) => Self::Malformed(error),
            other => Self::Key(other),
        }
    }
}

#[cfg(test)]
mod tests;
