//! A Kafka broker of a test's own, for what can't be done to the shared one: killing it.

use std::path::PathBuf;
use std::process::{Command, Stdio};

/// `tests/peer/broker/broker` on free ports, stopped when the value is dropped.
pub struct Broker {
    script: PathBuf,
    port: u16,
    folder: tempfile::TempDir,
    /// What it listens on besides.
    listeners: String,
    /// More lines of its settings.
    settings: String,
}

impl Broker {
    /// The script, or skips where `tests/run` has named none.
    pub fn script() -> Option<PathBuf> {
        super::needed("KAFKACRYPTO_BROKER", "no broker script").map(PathBuf::from)
    }

    /// Starts one, or skips where `tests/run` has named no broker script.
    pub fn start() -> Option<Self> {
        Self::listening(String::new())
    }

    /// The same, with the listeners in these files besides; see [`Certificates`](super::Certificates).
    pub fn listening(listeners: String) -> Option<Self> {
        Self::set(listeners, "")
    }

    /// The same, with more lines of `server.properties`.
    pub fn set(listeners: String, settings: &str) -> Option<Self> {
        let script = Self::script()?;
        let mut broker = Self { script, port: 0, folder: super::folder(), listeners, settings: settings.to_owned() };
        let ports: &[u16] =
            if broker.listeners.is_empty() { &[0, 1, 2] } else { &[0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14] };
        let started = (0..3).any(|_| {
            broker.port = super::ports::free(ports);
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

    /// A port of it, by its distance from the first.
    pub fn port(&self, offset: u16) -> u16 {
        self.port + offset
    }

    /// The log of a partition on its disk: record batches as they were sent.
    pub fn log(&self, topic: &str, partition: i32) -> PathBuf {
        self.folder.path().join(format!("log/{topic}-{partition}/00000000000000000000.log"))
    }

    /// Kills it, as a crash would. [`restart`](Self::restart) brings the same data back.
    pub fn kill(&mut self) {
        assert!(self.run("kill"), "the broker is killed");
    }

    /// Starts it again, on the same port and data.
    pub fn restart(&mut self) {
        assert!(self.run("start"), "the broker starts again");
    }

    /// Runs one of Kafka's own tools against the broker.
    pub fn tool(&self, class: &str, arguments: &[&str]) {
        let mut tool = Command::new(&self.script);
        tool.args(["tool", class, "--bootstrap-server", &self.bootstrap()]).args(arguments);
        let output = tool.stdin(Stdio::null()).output().expect("the tool runs");
        assert!(output.status.success(), "{class} {arguments:?}: {}", String::from_utf8_lossy(&output.stderr));
    }

    fn run(&self, command: &str) -> bool {
        let mut broker = Command::new(&self.script);
        broker.arg(command).arg(self.folder.path()).arg(self.port.to_string());
        // It ends with this process, however that ends.
        broker.env("KAFKA_OWNER", std::process::id().to_string()).env("KAFKA_LISTENERS", &self.listeners);
        broker.env("KAFKA_SETTINGS", &self.settings);
        broker.status().is_ok_and(|status| status.success())
    }
}

impl Drop for Broker {
    fn drop(&mut self) {
        self.run("kill");
    }
}
