//! The tool as a user runs it, from the built binary.
#![allow(dead_code, reason = "each test file uses its own part of this")]

use std::io::{BufRead, BufReader, Write as _};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::sync::mpsc::{Receiver, channel};
use std::time::{Duration, Instant};

use kafkacrypto::provision::NodeRole;
use kafkacrypto::store::config::NodeConfig;
use serde_json::Value;

use crate::support::{self, fleet::Fleet};

/// A fleet, the broker that its configs name, and the tool.
pub struct Place {
    pub fleet: Fleet,
    pub bootstrap: String,
    pub root: String,
}

impl Place {
    /// Over Kafka, or none where there is no broker.
    pub fn over_kafka() -> Option<Self> {
        support::bootstrap().map(|bootstrap| Self::at(&bootstrap))
    }

    pub fn at(bootstrap: &str) -> Self {
        Self { fleet: Fleet::new(), bootstrap: bootstrap.to_owned(), root: support::fresh("cli") }
    }

    pub fn topic(&self) -> String {
        format!("{}.data", self.root)
    }

    pub fn node(&self, role: NodeRole, root: &str) -> PathBuf {
        self.fleet.node_with(&support::fresh("node"), role, &[root], |config| {
            config.set("kafka", "bootstrap_servers", self.bootstrap.as_str()).unwrap();
            config.set("kafka", "security_protocol", "PLAINTEXT").unwrap();
        })
    }

    pub fn producer(&self) -> PathBuf {
        self.node(NodeRole::Producer, &self.root)
    }

    pub fn consumer(&self) -> PathBuf {
        self.node(NodeRole::Consumer, &self.root)
    }

    /// A node's config with one more setting.
    pub fn configured(&self, node: &Path, section: &str, name: &str, value: &str) -> PathBuf {
        let mut config = NodeConfig::parse(&std::fs::read_to_string(node).unwrap()).unwrap();
        config.set(section, name, value).unwrap();
        std::fs::write(node, config.render()).unwrap();
        node.to_owned()
    }

    pub fn consume(&self, config: &Path, more: &[&str]) -> Output {
        run(&[&["consume", "-n", path(config), "-t", &self.topic(), "-e"], more].concat(), b"")
    }

    /// A producer that has sent its input and answers requests until it is dropped.
    pub fn produce(&self, config: &Path, more: &[&str], input: &[u8]) -> Running {
        let topic = self.topic();
        let start = ["produce", "-n", path(config), "-t", &topic, "--linger", "600"];
        let mut running = Running::start(&[&start, more].concat());
        running.input(input);
        running.close_input();
        running.expect("delivered to");
        running
    }
}

/// The tool, running; killed when it is dropped.
pub struct Running {
    child: Child,
    errors: Receiver<String>,
}

impl Running {
    pub fn start(arguments: &[&str]) -> Self {
        let mut child = tool(arguments).stdout(Stdio::null()).spawn().unwrap();
        let (send, errors) = channel();
        let stderr = BufReader::new(child.stderr.take().unwrap());
        std::thread::spawn(move || stderr.lines().map_while(Result::ok).try_for_each(|line| send.send(line)));
        Self { child, errors }
    }

    pub fn input(&mut self, bytes: &[u8]) {
        let input = self.child.stdin.as_mut().unwrap();
        input.write_all(bytes).and_then(|()| input.flush()).unwrap();
    }

    pub fn close_input(&mut self) {
        self.child.stdin = None;
    }

    /// Waits for a line on stderr.
    pub fn expect(&mut self, text: &str) -> String {
        let mut all = String::new();
        loop {
            let line = self.errors.recv_timeout(PATIENCE);
            let line = line.unwrap_or_else(|_| panic!("no {text:?} on stderr, but: {all}"));
            if line.contains(text) {
                return line;
            }
            all.push_str(&line);
            all.push('\n');
        }
    }

    pub fn signal(&self, signal: &str) {
        let kill = Command::new("kill").args([signal, &self.child.id().to_string()]).status();
        assert!(kill.unwrap().success());
    }

    pub fn code(&mut self) -> i32 {
        let started = Instant::now();
        loop {
            match self.child.try_wait().unwrap() {
                Some(status) => return status.code().expect("an end of its own"),
                None if started.elapsed() > PATIENCE => panic!("it doesn't end"),
                None => std::thread::sleep(Duration::from_millis(20)),
            }
        }
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        // It may have ended by itself.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

pub fn tool(arguments: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_kafkacrypto"));
    command.args(arguments).env_remove("RUST_LOG");
    command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    command
}

pub fn run(arguments: &[&str], input: &[u8]) -> Output {
    run_command(tool(arguments), input)
}

pub fn run_command(mut command: Command, input: &[u8]) -> Output {
    let mut child = command.spawn().unwrap();
    // It may end without reading.
    let _ = child.stdin.take().unwrap().write_all(input);
    child.wait_with_output().unwrap()
}

pub fn path(path: &Path) -> &str {
    path.to_str().unwrap()
}

#[track_caller]
pub fn ended(output: &Output, code: i32) {
    assert_eq!(output.status.code(), Some(code), "stderr: {}", String::from_utf8_lossy(&output.stderr));
}

pub fn text(bytes: &[u8]) -> String {
    String::from_utf8(bytes.to_vec()).unwrap()
}

pub fn objects(output: &Output) -> Vec<Value> {
    text(&output.stdout).lines().map(|line| serde_json::from_str(line).unwrap()).collect()
}

pub const PATIENCE: Duration = Duration::from_secs(120);
