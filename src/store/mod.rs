//! The bytes of a node's files: config, key file, seed file.
//!
//! Formats only: text or bytes in, typed values out, and back. Must never open a file, take a lock or read a clock
//! (that is `files` and `runtime`). Owns the bytes of protocol.md §12.

pub mod config;
pub mod value;
