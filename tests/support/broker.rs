//! A Kafka broker of a test's own, for what can't be done to the shared one: killing it.

use std::path::PathBuf;
use std::process::Command;

/// `tests/peer/broker/broker` on free ports, stopped when the value is dropped.
pub struct Broker {
    script: PathBuf,
    port: u16,
    folder: tempfile::TempDir,
}

impl Broker {
    /// Starts one, or skips where `tests/run` has named no broker script.
    pub fn start() -> Option<Self> {
        let script = super::needed("KAFKACRYPTO_BROKER", "no broker script")?.into();
        let mut broker = Self { script, port: 0, folder: super::folder() };
        let started = (0..3).any(|_| {
            broker.port = super::ports::free(&[0, 1, 2, 3, 4]);
            broker.run("start")
        });
        assert!(started, "a broker of the test's own starts");
        Some(broker)
    }

    /// `host:port` (PLAINTEXT).
    pub fn bootstrap(&self) -> String {
        format!("127.0.0.1:{}", self.port)
    }

    /// `host:port` (SASL_PLAINTEXT).
    pub fn bootstrap_sasl(&self) -> String {
        format!("127.0.0.1:{}", self.port + 1)
    }

    /// Kills it, as a crash would. [`restart`](Self::restart) brings the same data back.
    pub fn kill(&mut self) {
        assert!(self.run("kill"), "the broker is killed");
    }

    /// Starts it again, on the same port and data.
    pub fn restart(&mut self) {
        assert!(self.run("start"), "the broker starts again");
    }

    fn run(&self, command: &str) -> bool {
        let mut broker = Command::new(&self.script);
        broker.arg(command).arg(self.folder.path()).arg(self.port.to_string());
        // It ends with this process, however that ends.
        broker.env("KAFKA_OWNER", std::process::id().to_string());
        broker.status().is_ok_and(|status| status.success())
    }
}

impl Drop for Broker {
    fn drop(&mut self) {
        self.run("kill");
    }
}
