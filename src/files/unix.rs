//! What is peculiar to Unix: permissions, record locks, folders that need an fsync of their own.

use std::fs::{File, Metadata, OpenOptions, Permissions};
use std::io;
use std::os::unix::fs::{FileExt, MetadataExt, OpenOptionsExt, PermissionsExt};
use std::path::Path;

use rustix::fs::{FlockOperation, OFlags, fcntl_lock};
use rustix::io::Errno;
use rustix::process::{Flock, FlockType, fcntl_getlk};

/// Device and inode.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(super) struct Identity(u64, u64);

pub(super) fn identity(_path: &Path, found: &Metadata) -> Identity {
    Identity(found.dev(), found.ino())
}

/// The permissions, without the type of the file.
pub(super) fn mode(found: &Metadata) -> Option<u32> {
    Some(found.mode() & 0o7777)
}

/// Whether the file, renamed over, is still there under another name.
pub(super) fn has_other_names(found: &Metadata) -> bool {
    found.nlink() > 0
}

/// A new file that only its owner can use.
pub(super) fn create_new(path: &Path) -> io::Result<File> {
    let nofollow = OFlags::NOFOLLOW.bits().cast_signed();
    OpenOptions::new().read(true).write(true).create_new(true).mode(0o600).custom_flags(nofollow).open(path)
}

/// Gives a new file the permissions in `mask` and, if we may, the owner of the one that it replaces.
pub(super) fn adopt(new: &File, old: &Metadata, mask: u32) -> io::Result<()> {
    let found = new.metadata()?;
    if (found.uid(), found.gid()) != (old.uid(), old.gid()) {
        let _ = std::os::unix::fs::fchown(new, Some(old.uid()), Some(old.gid()));
    }
    new.set_permissions(Permissions::from_mode(old.mode() & mask))
}

/// Locks the whole file, as Python's `fcntl.lockf` does; false when another process has it.
pub(super) fn try_lock(file: &File) -> io::Result<bool> {
    match fcntl_lock(file, FlockOperation::NonBlockingLockExclusive) {
        Ok(()) => Ok(true),
        Err(Errno::AGAIN | Errno::ACCESS) => Ok(false),
        Err(error) => Err(error.into()),
    }
}

/// The process that has the file locked, if it is on this machine.
pub(super) fn lock_holder(file: &File) -> Option<i32> {
    let lock = fcntl_getlk(file, &Flock::from(FlockType::WriteLock)).ok()??;
    lock.pid.map(rustix::process::Pid::as_raw_pid)
}

/// Makes a rename in the file's folder durable.
pub(super) fn sync_folder(path: &Path) -> io::Result<()> {
    File::open(super::temporary::folder(path))?.sync_all()
}

/// Reads a file from its start without moving its position.
pub(super) fn read_all(file: &File, limit: u64, bytes: &mut Vec<u8>) -> io::Result<()> {
    let length = file.metadata()?.len().min(limit);
    bytes.resize(usize::try_from(length).unwrap_or(usize::MAX), 0);
    file.read_exact_at(bytes, 0)
}
