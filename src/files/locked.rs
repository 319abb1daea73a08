//! A file that is ours alone, until it is dropped.

use std::fs::{self, File, Metadata, OpenOptions};
use std::io::{self, Seek, Write};
use std::path::{Path, PathBuf};

use zeroize::Zeroizing;

use super::platform::{self, Identity};
use super::temporary::{self, Temporary};
use super::{FileError, FileKind, check, content, others, registry};

/// A file under an exclusive lock, which other processes (Python nodes too) and other nodes in this process respect.
///
/// The registry owns the open file, so that it is closed only while nobody else opens it.
#[derive(Debug)]
pub(crate) struct LockedFile {
    path: PathBuf,
    kind: FileKind,
    identity: Identity,
}

impl LockedFile {
    /// Opens and locks a file, never waiting for it, and removes what a crash left beside it.
    pub(crate) fn open(path: &Path, kind: FileKind) -> Result<Self, FileError> {
        let path = path.canonicalize().map_err(|error| FileError::io(path, "open", error))?;
        for _ in 0..ATTEMPTS {
            if let Some(locked) = Self::attempt(&path, kind)? {
                temporary::clean(&path);
                return Ok(locked);
            }
        }
        Err(FileError::Unstable { path })
    }

    /// None if the file was replaced between opening and locking it: then the lock is on a dead file.
    fn attempt(path: &Path, kind: FileKind) -> Result<Option<Self>, FileError> {
        let failed = |error| FileError::io(path, "open", error);
        let mut registry = registry::lock();
        let found = fs::metadata(path).map_err(failed)?;
        check(path, &found, kind)?;
        if registry.held(&platform::identity(path, &found)).is_some() {
            return Err(FileError::LockedHere { path: path.to_owned() });
        }
        let file = OpenOptions::new().read(true).write(true).open(path).map_err(failed)?;
        let identity = identity_of(path, &file).map_err(failed)?;
        if registry.held(&identity).is_some() {
            registry.close(path, file);
            return Ok(None);
        }
        lock(path, &file)?;
        let current = fs::metadata(path).map_err(failed)?;
        check(path, &current, kind)?;
        if platform::identity(path, &current) != identity {
            return Ok(None);
        }
        registry.insert(identity.clone(), file);
        Ok(Some(Self { path: path.to_owned(), kind, identity }))
    }

    /// Where the file is.
    pub(crate) fn path(&self) -> &Path {
        &self.path
    }

    /// The file's permissions, if others can read or write it.
    pub(crate) fn open_to_others(&self) -> Result<Option<u32>, FileError> {
        Ok(others(&self.metadata()?))
    }

    /// What is in the file.
    pub(crate) fn read(&self) -> Result<Zeroizing<Vec<u8>>, FileError> {
        let registry = registry::lock();
        content(&self.path, registry.held(&self.identity).ok_or_else(|| self.lost())?)
    }

    /// Replaces what is in the file, durably: after a crash it holds the old or the new bytes, whole.
    ///
    /// When this fails, the file holds the old bytes, or the new ones without a promise that a power loss spares them.
    pub(crate) fn replace(&mut self, bytes: &[u8]) -> Result<(), FileError> {
        let failed = |error| FileError::io(&self.path, "write", error);
        let temporary = Temporary::write(&self.path, bytes).map_err(failed)?;
        platform::adopt(temporary.file(), &self.metadata()?, self.mode_mask()).map_err(failed)?;
        temporary.file().sync_all().map_err(failed)?;
        lock(&self.path, temporary.file())?;
        let old = self.switch(temporary)?;
        let durable = platform::sync_folder(&self.path);
        self.retire(&old, durable.is_ok());
        durable.map_err(|error| FileError::io(&self.path, "write", error))
    }

    /// Renames, and notes the new file as ours before anyone in this process can open it. Returns what the old one was.
    fn switch(&mut self, temporary: Temporary) -> Result<Identity, FileError> {
        let failed = |error| FileError::io(&self.path, "write", error);
        let mut registry = registry::lock();
        let file = temporary.rename(&self.path).map_err(failed)?;
        let identity = identity_of(&self.path, &file).map_err(failed)?;
        registry.insert(identity.clone(), file);
        Ok(std::mem::replace(&mut self.identity, identity))
    }

    /// Closes the old file. A secret's bytes are overwritten first, but not before the new ones are durable.
    fn retire(&self, old: &Identity, durable: bool) {
        let mut registry = registry::lock();
        if *old == self.identity {
            return;
        }
        if let Some(file) = registry.held(old).filter(|_| durable && self.kind != FileKind::Plain) {
            let _ = wipe(file);
        }
        registry.remove(old);
    }

    /// Which permissions a new version keeps.
    fn mode_mask(&self) -> u32 {
        if self.kind == (FileKind::Secret { allow_others: false }) { 0o700 } else { 0o777 }
    }

    fn metadata(&self) -> Result<Metadata, FileError> {
        let registry = registry::lock();
        let file = registry.held(&self.identity).ok_or_else(|| self.lost())?;
        file.metadata().map_err(|error| FileError::io(&self.path, "read", error))
    }

    fn lost(&self) -> FileError {
        FileError::io(&self.path, "use", io::Error::other("it is not open any more"))
    }
}

impl Drop for LockedFile {
    fn drop(&mut self) {
        registry::lock().remove(&self.identity);
    }
}

/// Overwrites a file that has been renamed over, unless it has another name: as much as a file system lets us do.
fn wipe(mut file: &File) -> io::Result<()> {
    let found = file.metadata()?;
    if platform::has_other_names(&found) {
        return Ok(());
    }
    file.rewind()?;
    file.write_all(&vec![0; usize::try_from(found.len()).unwrap_or(0)])?;
    file.sync_all()
}

fn identity_of(path: &Path, file: &File) -> io::Result<Identity> {
    file.metadata().map(|found| platform::identity(path, &found))
}

fn lock(path: &Path, file: &File) -> Result<(), FileError> {
    match platform::try_lock(file) {
        Ok(true) => Ok(()),
        Ok(false) => Err(FileError::Locked { path: path.to_owned(), pid: platform::lock_holder(file) }),
        Err(error) => Err(FileError::NoLocks { path: path.to_owned(), error }),
    }
}

/// How often to try again when the file is replaced while we lock it.
const ATTEMPTS: usize = 10;
