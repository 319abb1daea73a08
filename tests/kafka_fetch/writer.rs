//! `writer.py` behind JSON lines.

use std::io::{BufRead as _, BufReader, Write as _};
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};

use serde_json::{Value, json};

/// confluent-kafka, as a process of its own.
pub struct Writer {
    child: Child,
    input: ChildStdin,
    output: BufReader<ChildStdout>,
}

impl Writer {
    /// Skips where `tests/run` has named no Python.
    pub fn start(bootstrap: &str) -> Option<Self> {
        let Ok(python) = std::env::var("KAFKACRYPTO_PEER_PYTHON") else {
            crate::support::skipped("no Python with confluent-kafka (KAFKACRYPTO_PEER_PYTHON isn't set)");
            return None;
        };
        let script = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/kafka_fetch/writer.py");
        let mut command = Command::new(python);
        command.args([script, bootstrap]).stdin(Stdio::piped()).stdout(Stdio::piped());
        let mut child = command.spawn().expect("Python");
        let (input, output) = (child.stdin.take().unwrap(), BufReader::new(child.stdout.take().unwrap()));
        Some(Self { child, input, output })
    }

    /// Does one thing, and waits until it is done.
    pub fn ask(&mut self, what: &str, mut arguments: Value) -> Value {
        arguments["do"] = json!(what);
        self.begin(arguments);
        self.end()
    }

    pub fn create(&mut self, topic: &str, partitions: i32) {
        self.ask("create", json!({"topic": topic, "partitions": partitions}));
    }

    /// The numbers from `first`, `count` of them, as values.
    pub fn produce(&mut self, topic: &str, partition: i32, first: i64, count: i64) {
        self.ask("produce", json!({"topic": topic, "partition": partition, "first": first, "count": count}));
    }

    /// Begins something; [`Writer::end`] waits for it.
    pub fn begin(&mut self, request: Value) {
        writeln!(self.input, "{request}").unwrap();
    }

    pub fn end(&mut self) -> Value {
        let mut line = String::new();
        self.output.read_line(&mut line).unwrap();
        let answer: Value = serde_json::from_str(&line).expect("an answer");
        assert!(answer.get("error").is_none(), "the writer: {answer}");
        answer
    }
}

impl Drop for Writer {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
