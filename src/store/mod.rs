//! The bytes of a node's files (protocol §12): config, key file, the vault in the config.
//!
//! Formats only: text or bytes in, typed values out, and back. Must never open a file, take a lock or read a clock
//! (that is `files` and `runtime`), drop what it doesn't know, or put a secret into an error. The `.seed` file is
//! [`RatchetState`](crate::keys::RatchetState).

pub mod config;
pub mod value;

mod keyfile;
mod vault;

pub use keyfile::{KeyFile, KeyFileError, KeyFileWarning};
pub use vault::{OldKey, OldKeys, VaultError, open, seal};
