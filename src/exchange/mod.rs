//! How keys change hands: requests, replies, and the requests that are still open (protocol §8).
//!
//! Accepts only what a chain was verified for, asks for signatures and never holds a signing key, and uses nothing up
//! before a reply has authenticated itself. Owns the bytes of the signed leaves of requests and replies.

mod outstanding;
mod reply;
mod request;
#[cfg(test)]
pub(crate) mod tests;

pub use outstanding::{Asked, Outstanding};
pub use reply::{Opened, Reply, ReplyLeaf, reply_leaf};
pub use request::{RANDOM_BYTES, Request, request_leaf};

use crate::keys::KeyError;
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
    /// The reply names no request of ours, or one that is over.
    #[error("an answer to no open request of this node")]
    NotOurs,
    /// No public half opens the box.
    #[error("the reply doesn't open with this request's keys")]
    DoesNotOpen,
}
