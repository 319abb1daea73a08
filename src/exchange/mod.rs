//! How keys change hands: requests, replies, and the requests that are still open (protocol §8).
//!
//! Accepts only what a chain was verified for, asks for signatures and never holds a signing key, and uses nothing up
//! before a reply has authenticated itself. Owns the bytes of the signed leaves of requests and replies.
//!
//! ```
//! use kafkacrypto::chain::{Ask, TrustLists, Usage, chain_of, root_certificate, verify};
//! use kafkacrypto::exchange::{Reply, Request, reply_leaf, request_leaf};
//! use kafkacrypto::keys::{Ephemeral, KeyIndex, Scheme, SigningKey};
//! use kafkacrypto::{secret::Secret, time::UnixTime, topic::Root};
//!
//! # let mut rng = getrandom::rand_core::UnwrapErr(getrandom::SysRng);
//! // one key that everybody trusts signs for both sides here
//! let key = SigningKey::from_ed25519_seed(&[7; 32]);
//! let (lists, _) = TrustLists::new([&root_certificate(key.public())[..]], []);
//! let (now, expires, root) = (UnixTime::from_secs(1_000), UnixTime::from_secs(2_000), Root::new("lab"));
//! let (index, secret) = (KeyIndex::Short(1), Secret::from_slice(&[9; 32]).unwrap());
//!
//! // the consumer asks
//! let ephemeral = Ephemeral::generate(Scheme::X25519, &mut rng);
//! let leaf = request_leaf(expires, &root, &[ephemeral.offer()], &[1; 32], false).unwrap();
//! let request = chain_of(&[&key.sign(&leaf)]);
//!
//! // the producer answers
//! let verified = verify(&request, Ask::of(Usage::EncryptRequest, "lab"), &lists, now).unwrap();
//! let request = Request::from_verified(&verified).unwrap();
//! let pairs = [(&index, &secret)];
//! let reply = reply_leaf(expires, &root, &request, &[Scheme::X25519], &pairs, &mut rng).unwrap();
//! let reply = chain_of(&[&key.sign(&reply.leaf)]);
//!
//! // the consumer has the key; nobody else can open the reply, and a request is no reply
//! let verified_reply = verify(&reply, Ask::of(Usage::Encrypt, "lab"), &lists, now).unwrap();
//! let reply = Reply::from_verified(&verified_reply).unwrap();
//! assert!(reply.open(&root, &[ephemeral]).unwrap().pairs[0].1.same_as(&secret));
//! let stranger = Ephemeral::generate(Scheme::X25519, &mut rng);
//! assert!(reply.open(&root, &[stranger]).is_err());
//! assert!(Reply::from_verified(&verified).is_err());
//! ```

mod outstanding;
mod reply;
mod request;
#[cfg(test)]
pub(crate) mod tests;

pub use outstanding::{Asked, Outstanding};
pub use reply::{Opened, Reply, ReplyLeaf, reply_leaf};
pub use request::{RANDOM_BYTES, Request, request_leaf};

use crate::keys::{KeyError, Scheme};
use crate::wire::WireError;

/// Why a request or a reply is refused.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum ExchangeError {
    /// The chain is valid, and its leaf isn't that of a request or a reply.
    #[error("not a key {what}: {why}")]
    Malformed {
        /// "request" or "reply".
        what: &'static str,
        /// What is wrong.
        why: &'static str,
    },
    /// Not MessagePack where it should be.
    #[error(transparent)]
    Wire(#[from] WireError),
    /// A key that can't be used.
    #[error(transparent)]
    Key(#[from] KeyError),
    /// None of the offered schemes is enabled here.
    #[error("no exchange scheme in common: the request offers {offered}; enable one of them in the key file")]
    NoCommonScheme {
        /// What was offered.
        offered: String,
    },
    /// It offers or uses only exchanges that a quantum computer undoes, where policy asks for more.
    #[error("the {what} has only classical exchanges ({found}), and this node requires post-quantum ones (require_pq)")]
    Classical {
        /// "request" or "reply".
        what: &'static str,
        /// What it has.
        found: String,
    },
    /// The reply names no request of ours, or one that is over.
    #[error("an answer to no open request of this node")]
    NotOurs,
    /// No public half opens the box.
    #[error("the reply doesn't open with this request's keys")]
    DoesNotOpen,
}

/// Whether any of these withstands a quantum computer.
fn require_pq(what: &'static str, schemes: impl Iterator<Item = Scheme> + Clone) -> Result<(), ExchangeError> {
    match schemes.clone().any(Scheme::is_post_quantum) {
        true => Ok(()),
        false => Err(ExchangeError::Classical { what, found: names(schemes) }),
    }
}

fn names(schemes: impl Iterator<Item = Scheme>) -> String {
    let names: Vec<String> = schemes.map(|scheme| scheme.to_string()).collect();
    if names.is_empty() { "none that is known".into() } else { names.join(", ") }
}
