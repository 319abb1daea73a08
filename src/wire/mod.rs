//! The subset of MessagePack that the protocol uses (protocol §1).
//!
//! Knows no key, topic or certificate. Never allocates from a length that the input claims, never recurses deeper than
//! [`MAX_DEPTH`], and reads `str` wherever `bin` may stand, without looking at UTF-8: other implementations write
//! arbitrary bytes as `str`.

mod reader;
mod writer;

pub(crate) use reader::{Item, Reader, read_all};
pub(crate) use writer::Writer;

/// How deep arrays and maps may be nested.
pub(crate) const MAX_DEPTH: u8 = 16;

/// Why bytes are not what was expected; `what` names the thing that was being read.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum WireError {
    /// The input ends before the value does (or claims a length that it doesn't have).
    #[error("{what}: ends too early")]
    Truncated {
        /// What was being read.
        what: &'static str,
    },
    /// A value of another type, length or range.
    #[error("{what}: expected {expected}")]
    Unexpected {
        /// What was being read.
        what: &'static str,
        /// What should have been there.
        expected: &'static str,
    },
    /// Arrays or maps nested deeper than 16.
    #[error("{what}: nested too deeply")]
    TooDeep {
        /// What was being read.
        what: &'static str,
    },
    /// Bytes behind the value.
    #[error("{what}: bytes follow the value")]
    TrailingBytes {
        /// What was being read.
        what: &'static str,
    },
}
