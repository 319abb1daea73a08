//! A Kafka cluster of three, for leaders that move and brokers that die.

use std::path::PathBuf;
use std::process::{Command, Stdio};

/// `tests/peer/broker/broker start-cluster` on free ports: nodes 1, 2 and 3, every topic on all of them. Killed when
/// the value is dropped, or when this process ends. Takes 10 to 15 seconds to start, so one serves a whole test file.
pub struct Cluster {
    script: PathBuf,
    port: u16,
    folder: tempfile::TempDir,
    /// What each node listens on besides.
    listeners: String,
    /// More lines of each node's settings.
    settings: String,
}

impl Cluster {
    /// Starts one, or skips where `tests/run` has named no broker script.
    pub fn start() -> Option<Self> {
        Self::listening(String::new())
    }

    /// The same, with the listeners in these files besides; see [`Certificates`](super::Certificates).
    pub fn listening(listeners: String) -> Option<Self> {
        Self::set(listeners, "")
    }

    /// The same, with more lines of `server.properties`, in which NODE stands for a node's number.
    pub fn set(listeners: String, settings: &str) -> Option<Self> {
        let script = super::needed("KAFKACRYPTO_BROKER", "no broker script")?.into();
        let mut cluster = Self { script, port: 0, folder: super::folder(), listeners, settings: settings.to_owned() };
        let started = (0..3).any(|_| {
            cluster.port = super::ports::free(&[0, 1, 2, 3, 4, 10, 11, 12, 13, 14, 20, 21, 22, 23, 24]);
            let (folder, port) = (cluster.folder.path().to_owned(), cluster.port.to_string());
            cluster.command("start-cluster").arg(folder).arg(port).status().is_ok_and(|status| status.success())
        });
        assert!(started, "a cluster of the test's own starts");
        Some(cluster)
    }

    /// The addresses of all nodes (PLAINTEXT), with commas.
    pub fn bootstrap(&self) -> String {
        (1..=3).map(|node| self.address(node)).collect::<Vec<_>>().join(",")
    }

    /// A port of a node, by its distance from the first.
    pub fn port(&self, node: u16, offset: u16) -> u16 {
        self.port + 10 * (node - 1) + offset
    }

    /// `host:port` of one node (PLAINTEXT); the next port is SASL_PLAINTEXT.
    pub fn address(&self, node: u16) -> String {
        format!("127.0.0.1:{}", self.port + 10 * (node - 1))
    }

    /// Kills a node, as a crash would.
    pub fn kill(&self, node: u16) {
        self.on("kill", node);
    }

    /// Starts a node again, on the same port and data.
    pub fn restart(&self, node: u16) {
        self.on("start", node);
    }

    /// Makes a node the leader of a partition.
    pub fn move_leader(&self, topic: &str, partition: i32, node: u16) {
        let others: Vec<_> = (1..=3).filter(|other| *other != node).collect();
        let plan = serde_json::json!({"version": 1, "partitions": [
            {"topic": topic, "partition": partition, "replicas": [node, others[0], others[1]]}]});
        let file = self.folder.path().join(format!("{topic}-{partition}.json"));
        std::fs::write(&file, plan.to_string()).expect("a file");
        let file = file.to_str().expect("a path in UTF-8");
        self.tool("reassign.ReassignPartitionsCommand", &["--reassignment-json-file", file, "--execute"]);
        let partition = partition.to_string();
        let which = ["--election-type", "PREFERRED", "--topic", topic, "--partition", &partition];
        self.tool("LeaderElectionCommand", &which);
    }

    /// Runs one of `org.apache.kafka.tools` against the cluster, and returns what it prints.
    pub fn tool(&self, class: &str, arguments: &[&str]) -> String {
        let mut command = self.command("tool");
        command.arg(format!("org.apache.kafka.tools.{class}")).args(["--bootstrap-server", &self.bootstrap()]);
        let output =
            command.args(arguments).stdin(Stdio::null()).stdout(Stdio::piped()).output().expect("the tool runs");
        let printed = String::from_utf8_lossy(&output.stdout).into_owned();
        assert!(output.status.success(), "{class}: {printed} {}", String::from_utf8_lossy(&output.stderr));
        printed
    }

    fn on(&self, command: &str, node: u16) {
        let status = self.command(command).arg(self.folder.path().join(node.to_string())).status();
        assert!(status.is_ok_and(|status| status.success()), "{command} of node {node}");
    }

    fn command(&self, command: &str) -> Command {
        let mut script = Command::new(&self.script);
        script.arg(command).env("KAFKA_OWNER", std::process::id().to_string()).stdout(Stdio::null());
        script.env("KAFKA_LISTENERS", &self.listeners).env("KAFKA_SETTINGS", &self.settings);
        script
    }
}

impl Drop for Cluster {
    fn drop(&mut self) {
        (1..=3).for_each(|node| self.on("kill", node));
    }
}
