use std::path::PathBuf;

use crate::error::{Error, ErrorKind};
use crate::files::FileError;
use crate::keys::KeyError;
use crate::store::config::ConfigError;
use crate::store::{KeyFileError, VaultError};

/// Why a node's files can't be used.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum NodeFilesError {
    /// The file itself: missing, locked, open to others and the like.
    #[error(transparent)]
    File(#[from] FileError),
    /// The config's text.
    #[error("{}: {reason}", .path.display())]
    Config {
        /// The config.
        path: PathBuf,
        /// What is wrong with it.
        reason: ConfigError,
    },
    /// The config names no key file or no seed file.
    #[error("{} has no `{setting} : file#…`; provision the node first", .path.display())]
    NotProvisioned {
        /// The config.
        path: PathBuf,
        /// `cryptokey` or `ratchet`.
        setting: &'static str,
    },
    /// The key file's content.
    #[error("{}: {reason}", .path.display())]
    Keys {
        /// The key file.
        path: PathBuf,
        /// What is wrong with it.
        reason: KeyFileError,
    },
    /// The seed file's content.
    #[error("{}: the seed file is damaged ({reason}); restore it from a backup", .path.display())]
    Seed {
        /// The seed file.
        path: PathBuf,
        /// What is wrong with it.
        reason: KeyError,
    },
    /// The producer secrets that the config keeps.
    #[error("{}: `oldkeys`: {reason}", .path.display())]
    OldKeys {
        /// The config.
        path: PathBuf,
        /// What is wrong with them.
        reason: VaultError,
    },
}

impl From<NodeFilesError> for Error {
    fn from(error: NodeFilesError) -> Self {
        use FileError::{Denied, Locked, LockedHere, OpenToOthers};
        let kind = match &error {
            NodeFilesError::File(OpenToOthers { .. } | Denied { .. } | Locked { .. } | LockedHere { .. }) => {
                ErrorKind::Permission
            }
            _ => ErrorKind::Configuration,
        };
        Self::new(kind, error)
    }
}
