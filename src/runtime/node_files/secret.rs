use std::path::Path;

use crate::files;
use crate::secret::SecretBytes;

use super::{NodeFilesError, OpenOptions};

/// Reads a file of secrets, such as a seed or an escrow key. It may be a running node's.
///
/// # Errors
/// [`NodeFilesError::File`], also if others can read it and the options don't allow that.
pub fn read_secret(path: &Path, options: OpenOptions) -> Result<SecretBytes, NodeFilesError> {
    Ok(SecretBytes::from_slice(&files::read(path, options.secret())?))
}

/// Creates a file that only its owner can read, durably, whole or not at all. One that is there already stays as it is.
///
/// # Errors
/// [`NodeFilesError::File`].
///
/// ```
/// use kafkacrypto::runtime::{OpenOptions, create_secret, read_secret};
/// # let folder = tempfile::tempdir().unwrap();
/// let path = folder.path().join("escrow.key");
/// create_secret(&path, b"secret").unwrap();
/// assert!(create_secret(&path, b"another").is_err());
/// assert_eq!(read_secret(&path, OpenOptions::default()).unwrap().expose(), b"secret");
/// ```
pub fn create_secret(path: &Path, bytes: &[u8]) -> Result<(), NodeFilesError> {
    Ok(files::create_private(path, bytes)?)
}
