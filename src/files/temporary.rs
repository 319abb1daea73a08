//! A new version of a file, written beside it before it takes its place.

use std::ffi::OsString;
use std::fs::{self, File};
use std::io::{self, Write};
use std::path::{Path, PathBuf};

use super::platform;

/// A file under a name of its own; removed when dropped, unless it was renamed.
pub(super) struct Temporary {
    name: Name,
    file: File,
}

impl Temporary {
    /// Writes `bytes` beside `target`, readable by its owner alone. They aren't durable yet.
    pub(super) fn write(target: &Path, bytes: &[u8]) -> io::Result<Self> {
        let path = folder(target).join(new_name(target)?);
        let file = platform::create_new(&path)?;
        let mut temporary = Self { name: Name(path), file };
        temporary.file.write_all(bytes)?;
        Ok(temporary)
    }

    pub(super) fn file(&self) -> &File {
        &self.file
    }

    /// Takes the place of `target`. What is returned is open, and keeps the locks that it has.
    pub(super) fn rename(self, target: &Path) -> io::Result<File> {
        fs::rename(&self.name.0, target)?;
        Ok(self.file)
    }

    /// Becomes `target`, which must not exist. It is closed before anyone can find it under that name.
    pub(super) fn link(self, target: &Path) -> io::Result<()> {
        let Self { name, file } = self;
        drop(file);
        fs::hard_link(&name.0, target)
    }
}

/// Removed when dropped; after a rename there is nothing left to remove.
struct Name(PathBuf);

impl Drop for Name {
    fn drop(&mut self) {
        let _ = fs::remove_file(&self.0);
    }
}

/// Removes what a crash left behind. Call it only while `target` is locked.
pub(super) fn clean(target: &Path) {
    let prefix = prefix(target);
    let Ok(entries) = fs::read_dir(folder(target)) else { return };
    for entry in entries.flatten() {
        if is_temporary(entry.file_name().as_encoded_bytes(), prefix.as_encoded_bytes()) {
            let _ = fs::remove_file(entry.path());
        }
    }
}

/// The folder that a file is in.
pub(super) fn folder(path: &Path) -> &Path {
    path.parent().filter(|parent| !parent.as_os_str().is_empty()).unwrap_or(Path::new("."))
}

fn new_name(target: &Path) -> io::Result<OsString> {
    let mut number = [0; 8];
    getrandom::fill(&mut number).map_err(|_| io::Error::other("the system gives no randomness"))?;
    let mut name = prefix(target);
    name.push(format!("{:016x}{SUFFIX}", u64::from_ne_bytes(number)));
    Ok(name)
}

fn is_temporary(name: &[u8], prefix: &[u8]) -> bool {
    let number = name.strip_prefix(prefix).and_then(|rest| rest.strip_suffix(SUFFIX.as_bytes()));
    number.is_some_and(|number| number.len() == 16 && number.iter().all(u8::is_ascii_hexdigit))
}

fn prefix(target: &Path) -> OsString {
    let mut prefix = OsString::from(".");
    prefix.push(target.file_name().unwrap_or_default());
    prefix.push(".");
    prefix
}

const SUFFIX: &str = ".new";
