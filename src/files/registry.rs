//! Which files this process holds locked: POSIX locks don't exclude a second node in the same process.

use std::collections::HashMap;
use std::fs::File;
use std::path::Path;
use std::sync::{Mutex, MutexGuard, PoisonError};

use super::platform::{self, Identity};

/// The registry, to oneself. Files are opened and closed only while it is held, so that no descriptor of a locked file
/// is closed by accident.
pub(super) fn lock() -> Guard {
    static HELD: Mutex<Option<HashMap<Identity, Held>>> = Mutex::new(None);
    Guard(HELD.lock().unwrap_or_else(PoisonError::into_inner))
}

pub(super) struct Guard(MutexGuard<'static, Option<HashMap<Identity, Held>>>);

/// A second descriptor for reads, and those that may not be closed before the lock is given up.
struct Held {
    file: File,
    parked: Vec<File>,
}

impl Guard {
    /// A descriptor of a file that this process holds.
    pub(super) fn held(&self, identity: &Identity) -> Option<&File> {
        self.0.as_ref()?.get(identity).map(|held| &held.file)
    }

    /// Notes a file as held, with a second handle on its one open description.
    pub(super) fn insert(&mut self, identity: Identity, file: File) {
        self.0.get_or_insert_default().insert(identity, Held { file, parked: Vec::new() });
    }

    /// Gives a file up: its lock is dropped.
    pub(super) fn remove(&mut self, identity: &Identity) {
        if let Some(held) = self.0.as_mut() {
            held.remove(identity);
        }
    }

    /// Closes a descriptor now, or, when it is of a file that is held, together with that one.
    pub(super) fn close(mut self, path: &Path, file: File) {
        let identity = file.metadata().map(|found| platform::identity(path, &found)).ok();
        let held = identity.and_then(|identity| self.0.as_mut()?.get_mut(&identity));
        match held {
            Some(held) => held.parked.push(file),
            None => drop(file),
        }
    }
}
