use std::io::{BufRead, BufReader};
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};

use super::*;

const SECRET: FileKind = FileKind::Secret { allow_others: false };

fn folder() -> tempfile::TempDir {
    tempfile::tempdir().unwrap()
}

fn file(folder: &tempfile::TempDir, bytes: &[u8]) -> PathBuf {
    let path = folder.path().join("n.seed");
    create_private(&path, bytes).unwrap();
    path
}

fn names(folder: &tempfile::TempDir) -> Vec<String> {
    let mut names: Vec<_> =
        fs::read_dir(folder.path()).unwrap().map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
    names.sort();
    names
}

#[test]
fn what_is_created_is_read_and_never_overwritten() {
    let folder = folder();
    let path = file(&folder, b"one");
    assert_eq!(*read(&path, SECRET).unwrap(), b"one");
    assert!(matches!(create_private(&path, b"two"), Err(FileError::Exists { .. })));
    assert_eq!(*read(&path, SECRET).unwrap(), b"one");
    assert_eq!(names(&folder), ["n.seed"]);
}

#[test]
fn errors_say_what_to_do() {
    let folder = folder();
    let missing = folder.path().join("missing");
    let message = |result: Result<(), FileError>| result.unwrap_err().to_string();
    assert!(message(read(&missing, SECRET).map(drop)).contains("provision the node first"));
    assert!(message(LockedFile::open(&missing, SECRET).map(drop)).contains("provision the node first"));
    assert!(message(read(folder.path(), SECRET).map(drop)).contains("not an ordinary file"));
    assert!(message(create_private(&missing.join("x"), b"")).contains("check the disk and the folder"));
}

#[test]
fn a_second_node_in_this_process_is_refused() {
    let folder = folder();
    let path = file(&folder, b"one");
    let mut first = LockedFile::open(&path, SECRET).unwrap();
    assert!(matches!(LockedFile::open(&path, SECRET), Err(FileError::LockedHere { .. })));
    first.replace(b"two").unwrap();
    assert!(matches!(LockedFile::open(&path, SECRET), Err(FileError::LockedHere { .. })));
    assert_eq!(*first.read().unwrap(), b"two");
    drop(first);
    assert_eq!(*LockedFile::open(&path, SECRET).unwrap().read().unwrap(), b"two");
}

#[test]
fn what_a_crash_left_behind_is_removed() {
    let folder = folder();
    let path = file(&folder, b"one");
    for name in [".n.seed.0123456789abcdef.new", ".n.seed.mine.new", ".other.0123456789abcdef.new"] {
        fs::write(folder.path().join(name), b"half").unwrap();
    }
    let locked = LockedFile::open(&path, SECRET).unwrap();
    assert_eq!(*locked.read().unwrap(), b"one");
    assert_eq!(names(&folder), [".n.seed.mine.new", ".other.0123456789abcdef.new", "n.seed"]);
}

#[test]
fn a_replace_that_fails_changes_nothing() {
    let folder = folder();
    let inner = folder.path().join("inner");
    fs::create_dir(&inner).unwrap();
    let path = inner.join("n.seed");
    create_private(&path, b"one").unwrap();
    let mut locked = LockedFile::open(&path, SECRET).unwrap();
    fs::rename(&inner, folder.path().join("moved")).unwrap();
    assert!(locked.replace(b"two").is_err());
    assert_eq!(*locked.read().unwrap(), b"one");
    fs::rename(folder.path().join("moved"), &inner).unwrap();
    locked.replace(b"three").unwrap();
    assert_eq!(*read(&path, SECRET).unwrap(), b"three");
    assert_eq!(fs::read_dir(&inner).unwrap().count(), 1);
}

#[test]
fn many_threads_one_winner() {
    let folder = folder();
    let path = file(&folder, b"one");
    let open = || LockedFile::open(&path, SECRET).ok();
    let held: Vec<_> = std::thread::scope(|scope| {
        let threads: Vec<_> = (0..8).map(|_| scope.spawn(open)).collect();
        threads.into_iter().filter_map(|thread| thread.join().unwrap()).collect()
    });
    assert_eq!(held.len(), 1);
}

#[cfg(unix)]
mod unix {
    use std::os::unix::fs::{PermissionsExt, symlink};

    use super::*;

    fn mode(path: &Path) -> u32 {
        fs::metadata(path).unwrap().permissions().mode() & 0o777
    }

    fn set_mode(path: &Path, mode: u32) {
        fs::set_permissions(path, fs::Permissions::from_mode(mode)).unwrap();
    }

    #[test]
    fn secrets_that_others_can_use_are_refused() {
        let folder = folder();
        let path = file(&folder, b"one");
        assert_eq!(mode(&path), 0o600);
        for bits in [0o640, 0o604, 0o620, 0o644] {
            set_mode(&path, bits);
            let message = read(&path, SECRET).unwrap_err().to_string();
            assert!(message.contains(&format!("mode {bits:03o}")) && message.contains("chmod 600"), "{message}");
            assert!(matches!(LockedFile::open(&path, SECRET), Err(FileError::OpenToOthers { .. })));
            let allowed = FileKind::Secret { allow_others: true };
            assert_eq!(*read(&path, allowed).unwrap(), b"one");
            assert_eq!(LockedFile::open(&path, allowed).unwrap().open_to_others().unwrap(), Some(bits));
        }
        assert_eq!(*read(&path, FileKind::Plain).unwrap(), b"one");
    }

    #[test]
    fn modes_are_kept_except_for_secrets() {
        let folder = folder();
        let path = file(&folder, b"one");
        set_mode(&path, 0o644);
        let mut plain = LockedFile::open(&path, FileKind::Plain).unwrap();
        plain.replace(b"two").unwrap();
        assert_eq!((mode(&path), plain.open_to_others().unwrap()), (0o644, Some(0o644)));
        drop(plain);
        set_mode(&path, 0o600);
        let mut secret = LockedFile::open(&path, SECRET).unwrap();
        set_mode(&path, 0o666);
        secret.replace(b"three").unwrap();
        assert_eq!(mode(&path), 0o600);
    }

    #[test]
    fn no_symbolic_link_is_followed_on_creation() {
        let folder = folder();
        let path = folder.path().join("n.seed");
        symlink(folder.path().join("target"), &path).unwrap();
        assert!(matches!(create_private(&path, b"one"), Err(FileError::Exists { .. })));
        assert_eq!(names(&folder), ["n.seed"]);
    }

    #[test]
    fn a_linked_file_is_replaced_where_it_is() {
        let folder = folder();
        let path = file(&folder, b"one");
        let link = folder.path().join("link");
        symlink(&path, &link).unwrap();
        let mut locked = LockedFile::open(&link, SECRET).unwrap();
        locked.replace(b"two").unwrap();
        assert_eq!(*read(&path, SECRET).unwrap(), b"two");
        assert!(fs::symlink_metadata(&link).unwrap().is_symlink());
        assert!(matches!(LockedFile::open(&path, SECRET), Err(FileError::LockedHere { .. })));
    }

    #[test]
    fn old_secrets_are_overwritten() {
        let folder = folder();
        let path = file(&folder, b"secret");
        let mut before = fs::File::open(&path).unwrap();
        let mut locked = LockedFile::open(&path, SECRET).unwrap();
        locked.replace(b"new").unwrap();
        let mut old = String::new();
        io::Read::read_to_string(&mut before, &mut old).unwrap();
        assert_eq!(old, "\0".repeat(6));
    }

    #[test]
    fn what_has_another_name_is_not_overwritten() {
        let folder = folder();
        let path = file(&folder, b"secret");
        let backup = folder.path().join("backup");
        fs::hard_link(&path, &backup).unwrap();
        LockedFile::open(&path, SECRET).unwrap().replace(b"new").unwrap();
        assert_eq!(fs::read(&backup).unwrap(), b"secret");
    }

    #[test]
    fn another_process_is_refused_and_refuses_us() {
        let folder = folder();
        let path = file(&folder, b"one");
        let Some(other) = Python::holding(&path) else { return };
        let message = LockedFile::open(&path, SECRET).unwrap_err().to_string();
        assert!(message.contains(&format!("process {}", other.0.id())), "{message}");
        drop(other);
        let mut ours = LockedFile::open(&path, SECRET).unwrap();
        assert!(Python::holding(&path).is_none());
        ours.replace(b"two").unwrap();
        assert!(Python::holding(&path).is_none());
        drop(ours);
        assert!(Python::holding(&path).is_some());
    }

    /// Closing any descriptor of a file drops its POSIX locks: nothing here may do so by accident.
    #[test]
    fn reads_and_refusals_keep_the_lock() {
        let folder = folder();
        let path = file(&folder, b"one");
        if Python::holding(&path).is_none() {
            return;
        }
        let ours = LockedFile::open(&path, SECRET).unwrap();
        assert_eq!(*read(&path, SECRET).unwrap(), b"one");
        assert_eq!(*ours.read().unwrap(), b"one");
        assert!(LockedFile::open(&path, SECRET).is_err());
        assert!(create_private(&path, b"two").is_err());
        assert!(Python::holding(&path).is_none());
    }

    /// A Python process that holds a file's lock, as the Python implementation takes it.
    struct Python(Child);

    impl Python {
        /// None if it can't have the lock, or if there is no Python.
        fn holding(path: &Path) -> Option<Self> {
            let script = "import fcntl,sys\nf=open(sys.argv[1],'r+b')\n\
                try: fcntl.lockf(f,fcntl.LOCK_EX|fcntl.LOCK_NB)\nexcept OSError: print('busy',flush=True)\n\
                else: print('locked',flush=True)\nsys.stdin.read()";
            let mut command = Command::new("python3");
            command.args(["-c", script]).arg(path).stdin(Stdio::piped()).stdout(Stdio::piped());
            let Ok(mut child) = command.spawn() else {
                assert!(std::env::var_os("KAFKACRYPTO_NO_SKIP").is_none(), "python3 is missing");
                let _ = io::Write::write_all(&mut io::stderr(), b"SKIPPED a test of file locks: python3 is missing\n");
                return None;
            };
            let mut line = String::new();
            BufReader::new(child.stdout.take().unwrap()).read_line(&mut line).unwrap();
            let python = Self(child);
            assert!(["locked\n", "busy\n"].contains(&line.as_str()), "{line}");
            (line == "locked\n").then_some(python)
        }
    }

    impl Drop for Python {
        fn drop(&mut self) {
            drop(self.0.stdin.take());
            let _ = self.0.wait();
        }
    }
}
