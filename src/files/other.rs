//! Systems that aren't Unix: what the standard library offers.

use std::fs::{File, Metadata, OpenOptions, TryLockError};
use std::io::{self, Read, Seek};
use std::path::{Path, PathBuf};

/// The canonical path.
pub(super) type Identity = PathBuf;

pub(super) fn identity(path: &Path, _found: &Metadata) -> Identity {
    path.canonicalize().unwrap_or_else(|_| path.to_owned())
}

pub(super) fn mode(_found: &Metadata) -> Option<u32> {
    None
}

pub(super) fn has_other_names(_found: &Metadata) -> bool {
    true
}

pub(super) fn create_new(path: &Path) -> io::Result<File> {
    OpenOptions::new().read(true).write(true).create_new(true).open(path)
}

pub(super) fn adopt(_new: &File, _old: &Metadata, _mask: u32) -> io::Result<()> {
    Ok(())
}

pub(super) fn try_lock(file: &File) -> io::Result<bool> {
    match file.try_lock() {
        Ok(()) => Ok(true),
        Err(TryLockError::WouldBlock) => Ok(false),
        Err(TryLockError::Error(error)) => Err(error),
    }
}

pub(super) fn lock_holder(_file: &File) -> Option<i32> {
    None
}

/// Folders can't be synced here: the rename is as durable as the system makes it.
pub(super) fn sync_folder(_path: &Path) -> io::Result<()> {
    Ok(())
}

pub(super) fn read_all(mut file: &File, limit: u64, bytes: &mut Vec<u8>) -> io::Result<()> {
    file.rewind()?;
    file.take(limit).read_to_end(bytes).map(drop)
}
