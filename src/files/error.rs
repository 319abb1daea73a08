//! What can go wrong with a file.

use std::io;
use std::path::{Path, PathBuf};

/// Why a file can't be used. Messages name the file, never what is in it.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum FileError {
    /// There is no such file.
    #[error("{} does not exist: provision the node first, or correct the path", .path.display())]
    Missing {
        /// The file.
        path: PathBuf,
    },
    /// A file that would have been created is there.
    #[error("{} exists already and is left as it is: move it away first, or choose another name", .path.display())]
    Exists {
        /// The file.
        path: PathBuf,
    },
    /// The system doesn't let us.
    #[error("no permission to {action} {}: run as the user that owns it", .path.display())]
    Denied {
        /// The file.
        path: PathBuf,
        /// What was tried.
        action: &'static str,
    },
    /// A folder, a device or a pipe.
    #[error("{} is not an ordinary file: correct the path", .path.display())]
    NotAFile {
        /// The file.
        path: PathBuf,
    },
    /// Far larger than any file of a node.
    #[error("{} is larger than any file of a node can be: correct the path", .path.display())]
    TooLarge {
        /// The file.
        path: PathBuf,
    },
    /// Others can read or write a file of secrets.
    #[error("{0} holds secrets, but others can use it (mode {mode:03o}): run `chmod 600 {0}`, or allow it explicitly", .path.display())]
    OpenToOthers {
        /// The file.
        path: PathBuf,
        /// Its permissions.
        mode: u32,
    },
    /// Another process holds the lock.
    #[error("{} is in use by {}: stop that one first", .path.display(), process(*.pid))]
    Locked {
        /// The file.
        path: PathBuf,
        /// Which process, if that is known.
        pid: Option<i32>,
    },
    /// This process holds the lock.
    #[error("{} is in use by another node of this process: close that one first", .path.display())]
    LockedHere {
        /// The file.
        path: PathBuf,
    },
    /// The file keeps being replaced.
    #[error("{} is being replaced by others all the time: find out which program does so and stop it", .path.display())]
    Unstable {
        /// The file.
        path: PathBuf,
    },
    /// The file system knows no locks.
    #[error("{} can't be locked ({error}): move it to a local file system", .path.display())]
    NoLocks {
        /// The file.
        path: PathBuf,
        /// What the system says.
        error: io::Error,
    },
    /// Anything else that the system reports.
    #[error("could not {action} {} ({error}): check the disk and the folder", .path.display())]
    Io {
        /// The file.
        path: PathBuf,
        /// What was tried.
        action: &'static str,
        /// What the system says.
        error: io::Error,
    },
}

impl FileError {
    /// Sorts an error of the system.
    pub(super) fn io(path: &Path, action: &'static str, error: io::Error) -> Self {
        let path = path.to_owned();
        match error.kind() {
            io::ErrorKind::NotFound if action != "create" && action != "write" => Self::Missing { path },
            io::ErrorKind::AlreadyExists => Self::Exists { path },
            io::ErrorKind::PermissionDenied => Self::Denied { path, action },
            _ => Self::Io { path, action, error },
        }
    }
}

fn process(pid: Option<i32>) -> String {
    pid.map_or_else(|| "another process".to_owned(), |pid| format!("process {pid}"))
}
