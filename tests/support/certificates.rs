//! Certificates by openssl, for brokers and clients of a test.

use std::path::PathBuf;
use std::process::Command;

/// What `tests/peer/broker/certificates` makes; its head says what that is. Gone when the value is dropped.
pub struct Certificates(tempfile::TempDir);

impl Certificates {
    /// Makes them, or skips where `tests/run` has named no broker script.
    pub fn make() -> Option<Self> {
        let broker = super::Broker::script()?;
        let made = Self(super::folder());
        let status = Command::new(broker.with_file_name("certificates")).arg(made.0.path()).status();
        assert!(status.is_ok_and(|status| status.success()), "openssl makes certificates");
        Some(made)
    }

    /// One of the files.
    pub fn path(&self, name: &str) -> PathBuf {
        self.0.path().join(name)
    }

    /// The text of one of the files.
    pub fn text(&self, name: &str) -> String {
        std::fs::read_to_string(self.path(name)).expect("a file")
    }

    /// Listeners by name, as a broker takes them.
    pub fn listeners(&self, names: &[&str]) -> String {
        let files = names.iter().map(|name| self.path(&format!("{name}.listener")).display().to_string());
        files.collect::<Vec<_>>().join(" ")
    }
}
