use std::fmt;
use std::path::Path;
use std::sync::{Mutex, PoisonError};

use crate::files::LockedFile;
use crate::keys::{KeyError, Ratchet, RatchetState};
use crate::secret::Secret;
use crate::topic::Root;

use super::{NodeFilesError, OpenOptions};

/// A `.seed` file as a [`Ratchet`]: each step is durable before its state is used.
pub struct SeedFile {
    state: Mutex<SeedState>,
}

struct SeedState {
    file: LockedFile,
    /// What the file holds: the state that the next step will use.
    stored: RatchetState,
    /// What the last step gave out.
    current: Option<RatchetState>,
}

impl SeedFile {
    /// Opens and locks a seed file.
    ///
    /// # Errors
    /// [`NodeFilesError::File`], [`NodeFilesError::Seed`].
    pub fn open(path: &Path, options: OpenOptions) -> Result<Self, NodeFilesError> {
        let file = LockedFile::open(path, options.secret())?;
        let failed = |reason| NodeFilesError::Seed { path: path.to_owned(), reason };
        let stored = RatchetState::decode(&file.read()?).map_err(failed)?;
        Ok(Self { state: Mutex::new(SeedState { file, stored, current: None }) })
    }
}

impl Ratchet for SeedFile {
    fn step(&self) -> Result<u64, KeyError> {
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        let next = state.stored.next();
        state.file.replace(&next.encode()).map_err(|error| KeyError::Source(error.to_string()))?;
        let current = std::mem::replace(&mut state.stored, next);
        let index = current.index();
        state.current = Some(current);
        Ok(index)
    }

    fn root_secret(&self, root: &Root) -> Result<Secret<32>, KeyError> {
        let state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        let current =
            state.current.as_ref().ok_or_else(|| KeyError::Source("the ratchet has not been stepped".into()))?;
        Ok(current.root_secret(root))
    }
}

impl fmt::Debug for SeedFile {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("SeedFile(…)")
    }
}
