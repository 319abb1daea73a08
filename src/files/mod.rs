//! A node's files on disk: read, created, locked and replaced so that each is always the old or the new version.
//!
//! Everything that touches a node's files goes through here, since closing *any* descriptor of a file drops the POSIX
//! locks that this process holds on it. Must never look into a file, nor decide what to do about an error. Owns no
//! bytes but the names of temporary files (`.<name>.<16 hex digits>.new`), which are removed when a file is next opened.
//!
//! On systems that aren't Unix the locks are those of the standard library, and permissions aren't looked at.

mod error;
mod locked;
#[cfg_attr(unix, path = "unix.rs")]
#[cfg_attr(not(unix), path = "other.rs")]
mod platform;
mod registry;
mod temporary;

use std::fs;
use std::io;
use std::path::Path;

use zeroize::Zeroizing;

pub use error::FileError;
pub(crate) use locked::LockedFile;
use temporary::Temporary;

/// How carefully a file is to be treated.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum FileKind {
    /// Others may read it; its mode is kept.
    Plain,
    /// A file of secrets: refused when others can read or write it, unless `allow_others`. What it held before is
    /// overwritten, as far as the disk lets us.
    Secret {
        /// The operator's override.
        allow_others: bool,
    },
}

/// Reads a whole file.
pub(crate) fn read(path: &Path, kind: FileKind) -> Result<Zeroizing<Vec<u8>>, FileError> {
    let registry = registry::lock();
    let found = fs::metadata(path).map_err(|error| FileError::io(path, "read", error))?;
    check(path, &found, kind)?;
    if let Some(held) = registry.held(&platform::identity(path, &found)) {
        return content(path, held);
    }
    let file = fs::File::open(path).map_err(|error| FileError::io(path, "read", error))?;
    let opened = file.metadata().map_err(|error| FileError::io(path, "read", error))?;
    check(path, &opened, kind)?;
    let read = content(path, &file);
    registry.close(path, file);
    read
}

/// Creates a file that only its owner can read, whole or not at all. One that is there already is left as it is, and
/// symbolic links are not followed.
pub(crate) fn create_private(path: &Path, bytes: &[u8]) -> Result<(), FileError> {
    let failed = |error| FileError::io(path, "create", error);
    if fs::symlink_metadata(path).is_ok() {
        return Err(FileError::Exists { path: path.to_owned() });
    }
    let temporary = Temporary::write(path, bytes).map_err(failed)?;
    temporary.file().sync_all().map_err(failed)?;
    match temporary.link(path) {
        Err(error) if error.kind() != io::ErrorKind::AlreadyExists => create_directly(path, bytes).map_err(failed)?,
        linked => linked.map_err(failed)?,
    }
    platform::sync_folder(path).map_err(failed)
}

/// For file systems without hard links.
fn create_directly(path: &Path, bytes: &[u8]) -> io::Result<()> {
    let mut file = platform::create_new(path)?;
    let written = io::Write::write_all(&mut file, bytes).and_then(|()| file.sync_all());
    written.inspect_err(|_| drop(fs::remove_file(path)))
}

fn check(path: &Path, found: &fs::Metadata, kind: FileKind) -> Result<(), FileError> {
    if !found.is_file() {
        return Err(FileError::NotAFile { path: path.to_owned() });
    }
    if found.len() > MAX_SIZE {
        return Err(FileError::TooLarge { path: path.to_owned() });
    }
    match others(found) {
        Some(mode) if kind == (FileKind::Secret { allow_others: false }) => {
            Err(FileError::OpenToOthers { path: path.to_owned(), mode })
        }
        _ => Ok(()),
    }
}

fn others(found: &fs::Metadata) -> Option<u32> {
    platform::mode(found).filter(|mode| mode & 0o077 != 0)
}

fn content(path: &Path, file: &fs::File) -> Result<Zeroizing<Vec<u8>>, FileError> {
    let mut bytes = Zeroizing::new(Vec::new());
    platform::read_all(file, MAX_SIZE, &mut bytes).map_err(|error| FileError::io(path, "read", error))?;
    Ok(bytes)
}

/// No file of a node is near it; a limit, so that a mistaken path doesn't fill the memory.
const MAX_SIZE: u64 = 64 << 20;

#[cfg(test)]
mod tests;
