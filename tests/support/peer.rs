//! `tests/peer/peer.py`, the Python implementation behind JSON lines.
//!
//! Each call is a process of its own. Its stdout is read by a thread, its stderr goes to the test's own; it is killed
//! when the value is dropped.

use std::collections::BTreeMap;
use std::io::{BufRead as _, BufReader, Write as _};
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, Command, ExitStatus, Stdio};
use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc::{Receiver, RecvTimeoutError, channel};
use std::time::{Duration, Instant};

use serde_json::{Value, json};

use super::{PROVISIONER_PASSWORD, ROOT_PASSWORD};

/// Where the peer is, and what it can be asked for.
#[derive(Clone)]
pub struct Python {
    interpreter: PathBuf,
    script: PathBuf,
}

impl Python {
    pub fn new(interpreter: PathBuf, script: PathBuf) -> Self {
        Self { interpreter, script }
    }

    /// Any command of `peer.py`, running.
    pub fn run(&self, args: &[&str]) -> Peer {
        Peer::spawn(self.command(args))
    }

    /// The command itself, for a test that wants its output or exit code as they are.
    pub fn command(&self, args: &[&str]) -> Command {
        let mut command = Command::new(&self.interpreter);
        command.arg(&self.script).args(args);
        command
    }

    /// Writes `NODE.config`, `NODE.crypto` and `NODE.seed` into `dir` with the tests' passwords, and returns the path
    /// of the config. `more` are further arguments of `peer.py provision`.
    pub fn provision(&self, dir: &Path, node: &str, role: &str, bootstrap: &str, more: &[&str]) -> PathBuf {
        let dir_text = dir.to_str().expect("a path in UTF-8");
        let mut args = vec!["provision", dir_text, node, "--role", role, "--bootstrap", bootstrap];
        args.extend(["--root-password", ROOT_PASSWORD, "--provisioner-password", PROVISIONER_PASSWORD]);
        args.extend(more);
        let done = self.command(&args).status().expect("the peer's interpreter");
        assert!(done.success(), "peer.py {}: {done}", args.join(" "));
        dir.join(format!("{node}.config"))
    }

    /// A producer that is up; it goes on answering requests for `linger` after [`Peer::close_input`].
    pub fn produce(&self, config: &Path, topic: &str, linger: Duration) -> Peer {
        let linger = linger.as_secs_f64().to_string();
        let mut peer = self.run(&["produce", path(config), topic, "--linger", &linger]);
        peer.ready();
        peer
    }

    /// A consumer of a topic from its beginning, up; it ends after `count` records, or with exit code 4 after `within`.
    pub fn consume(&self, config: &Path, topic: &str, count: usize, within: Duration) -> Peer {
        let (count, timeout) = (count.to_string(), within.as_secs_f64().to_string());
        let mut peer = self.run(&["consume", path(config), topic, "--count", &count, "--timeout", &timeout]);
        peer.ready();
        peer
    }

    /// A controller that is up; it runs until it is dropped.
    pub fn controller(&self, config: &Path) -> Peer {
        let mut peer = self.run(&["controller", path(config)]);
        peer.ready();
        peer
    }

    /// Many nodes behind one process.
    pub fn fleet(&self) -> PythonFleet {
        let mut peer = self.run(&["fleet"]);
        peer.ready();
        PythonFleet { peer: Mutex::new(peer), answers: Mutex::default(), last_id: AtomicU64::new(0) }
    }

    /// Holds the lock on a config until it is dropped.
    pub fn hold(&self, config: &Path) -> Peer {
        let mut peer = self.run(&["hold", path(config)]);
        peer.ready();
        peer
    }
}

/// A record's key and value, in clear.
pub type Plain = (Option<Vec<u8>>, Option<Vec<u8>>);

/// Many Python nodes, to be used by several threads at once. They end when it is dropped.
pub struct PythonFleet {
    peer: Mutex<Peer>,
    answers: Mutex<BTreeMap<u64, Value>>,
    last_id: AtomicU64,
}

impl PythonFleet {
    /// A producer sends records, and goes on answering requests for their keys.
    pub fn send(&self, config: &Path, topic: &str, records: &[Plain]) {
        let part = |part: &Option<Vec<u8>>| part.as_ref().map(hex::encode);
        let records: Vec<_> =
            records.iter().map(|(key, value)| json!({"key": part(key), "value": part(value)})).collect();
        let count = records.len();
        let answer = self.job(json!({"config": path(config), "topic": topic, "send": records}), PATIENCE);
        assert_eq!(answer["sent"], count, "{answer}");
    }

    /// The first `count` records of a topic, which a consumer must be able to read.
    pub fn read(&self, config: &Path, topic: &str, count: usize, within: Duration) -> Vec<Plain> {
        let job = json!({"config": path(config), "topic": topic, "count": count, "timeout": within.as_secs_f64()});
        let answer = self.job(job, within + PATIENCE);
        let part = |part: &Value| part.as_str().map(|text| hex::decode(text).expect("hex"));
        let records = answer["records"].as_array().unwrap_or_else(|| panic!("{answer}"));
        assert_eq!(records.len(), count, "read, and {} that can't be read", answer["waiting"]);
        records.iter().map(|record| (part(&record["key"]), part(&record["value"]))).collect()
    }

    fn job(&self, mut job: Value, within: Duration) -> Value {
        let id = self.last_id.fetch_add(1, Ordering::Relaxed);
        job["id"] = id.into();
        self.peer.lock().expect("no thread failed").write(&job);
        let started = Instant::now();
        while started.elapsed() < within {
            // whoever reads a line puts it where its owner finds it
            let line = self.peer.lock().expect("no thread failed").try_line(Duration::from_millis(10));
            let mut answers = self.answers.lock().expect("no thread failed");
            if let Some(line) = line {
                answers.insert(line["id"].as_u64().expect("an id"), line);
            }
            if let Some(answer) = answers.remove(&id) {
                return answer;
            }
            drop(answers);
            std::thread::sleep(Duration::from_millis(10));
        }
        panic!("peer.py said nothing of {job} within {within:?}");
    }
}

/// A running `peer.py`.
pub struct Peer {
    child: Child,
    input: Option<ChildStdin>,
    output: Receiver<Value>,
}

impl Peer {
    fn spawn(mut command: Command) -> Self {
        let mut child =
            command.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().expect("the peer's interpreter starts");
        let stdout = BufReader::new(child.stdout.take().expect("a pipe"));
        let (send, output) = channel();
        std::thread::spawn(move || {
            for line in stdout.lines().map_while(Result::ok) {
                let value = serde_json::from_str(&line).unwrap_or_else(|_| panic!("not JSON from peer.py: {line}"));
                if send.send(value).is_err() {
                    return;
                }
            }
        });
        Self { input: child.stdin.take(), child, output }
    }

    /// Waits for `{"ready": true}`.
    pub fn ready(&mut self) {
        let line = self.line(PATIENCE);
        assert_eq!(line, json!({"ready": true}), "the peer came up");
    }

    /// The next line, which must come in time.
    pub fn line(&mut self, within: Duration) -> Value {
        self.output.recv_timeout(within).unwrap_or_else(|error| match error {
            RecvTimeoutError::Timeout => panic!("peer.py said nothing within {within:?}"),
            RecvTimeoutError::Disconnected => panic!("peer.py ended and said no more; its stderr says why"),
        })
    }

    /// The next line, `None` after `within` or at the end of its output.
    pub fn try_line(&mut self, within: Duration) -> Option<Value> {
        self.output.recv_timeout(within).ok()
    }

    /// Writes one line.
    pub fn write(&mut self, line: &Value) {
        let input = self.input.as_mut().expect("input that is still open");
        writeln!(input, "{line}").and_then(|()| input.flush()).expect("the peer reads");
    }

    /// Produces one record (of a peer that came from [`Python::produce`]).
    pub fn send(&mut self, key: Option<&[u8]>, value: Option<&[u8]>) {
        self.write(&json!({"key": key.map(hex::encode), "value": value.map(hex::encode)}));
    }

    /// Ends its input: a producer flushes, says `{"sent": N}` and lingers; a controller ends.
    pub fn close_input(&mut self) {
        self.input = None;
    }

    /// Ends its input and returns how many records a producer has delivered.
    pub fn sent(&mut self) -> u64 {
        self.close_input();
        self.line(PATIENCE)["sent"].as_u64().expect("{\"sent\": N}")
    }

    /// The next record of a consumer.
    pub fn record(&mut self, within: Duration) -> Seen {
        Seen::from(&self.line(within))
    }

    /// Waits for the end of the process.
    pub fn wait(&mut self, within: Duration) -> ExitStatus {
        let started = Instant::now();
        loop {
            match self.child.try_wait().expect("a child of ours") {
                Some(status) => return status,
                None if started.elapsed() > within => panic!("peer.py still runs after {within:?}"),
                None => std::thread::sleep(Duration::from_millis(20)),
            }
        }
    }
}

impl Drop for Peer {
    fn drop(&mut self) {
        self.input = None;
        // It may have ended by itself: then there is nothing to kill, and that is all that can fail here.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// A record as the Python consumer saw it.
#[derive(Debug, Clone, PartialEq)]
pub struct Seen {
    pub partition: i64,
    pub offset: i64,
    pub key: Part,
    pub value: Part,
}

/// A record's key or value as the Python consumer saw it.
#[derive(Debug, Clone, PartialEq)]
pub enum Part {
    Null,
    Cleartext(Vec<u8>),
    Ciphertext(Vec<u8>),
}

impl From<&Value> for Seen {
    fn from(line: &Value) -> Self {
        let number = |name: &str| line[name].as_i64().unwrap_or_else(|| panic!("no {name} in {line}"));
        Self {
            partition: number("partition"),
            offset: number("offset"),
            key: part(line, "key"),
            value: part(line, "value"),
        }
    }
}

fn part(line: &Value, name: &str) -> Part {
    let Some(text) = line[name].as_str() else { return Part::Null };
    let bytes = hex::decode(text).expect("hex");
    if line["cleartext"][name] == true { Part::Cleartext(bytes) } else { Part::Ciphertext(bytes) }
}

fn path(path: &Path) -> &str {
    path.to_str().expect("a path in UTF-8")
}

/// How long an idle machine's multiple the interpreter may take to start on a busy one.
const PATIENCE: Duration = Duration::from_secs(60);
