//! What the integration tests share: the real broker, the Python peer, fresh names and folders.
//!
//! A test file says `mod support;` and starts with what it needs:
//!
//! ```ignore
//! let Some(bootstrap) = support::bootstrap() else { return };
//! let Some(peer) = support::python() else { return };
//! ```
//!
//! `tests/run` sets the broker and the peer up and names them in the environment. Without them such a test prints
//! `SKIPPED` and why, and passes; with `KAFKACRYPTO_NO_SKIP=1` it fails instead.
#![allow(dead_code, unused_imports, reason = "each test file uses its own part of this")]

pub mod broker;
pub mod certificates;
#[cfg(feature = "kafka")]
pub mod cluster;
pub mod fleet;
pub mod peer;
pub mod ports;
pub mod proxy;

use std::io::Write as _;
use std::path::PathBuf;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;

pub use broker::Broker;
pub use certificates::Certificates;
#[cfg(feature = "kafka")]
pub use cluster::Cluster;
pub use peer::{Peer, Plain, Python, PythonFleet};
pub use proxy::Proxy;

/// The root password that every side of the tests provisions with.
pub const ROOT_PASSWORD: &str = "correct horse battery staple";
/// The provisioners' password that every side of the tests provisions with.
pub const PROVISIONER_PASSWORD: &str = "staple battery";

/// `host:port` of the broker that `tests/run` started (PLAINTEXT).
pub fn bootstrap() -> Option<String> {
    needed("KAFKACRYPTO_BOOTSTRAP", "no Kafka broker")
}

/// `host:port` of its SASL_PLAINTEXT listener: PLAIN, SCRAM-SHA-256 and SCRAM-SHA-512, user `alice`, password
/// `alice-secret`.
pub fn bootstrap_sasl() -> Option<String> {
    needed("KAFKACRYPTO_BOOTSTRAP_SASL", "no Kafka broker with SASL")
}

/// The Python peer that `tests/run` installed.
pub fn python() -> Option<Python> {
    let interpreter = needed("KAFKACRYPTO_PEER_PYTHON", "no Python peer")?;
    Some(Python::new(interpreter.into(), path_or("KAFKACRYPTO_PEER", "tests/peer/peer.py")))
}

/// The folder of the test vectors: `KAFKACRYPTO_VECTORS`, else the copy in the tree.
pub fn vectors() -> PathBuf {
    path_or("KAFKACRYPTO_VECTORS", "tests/vectors")
}

/// Says that a test did not run and why, past the capture of the test runner; a failure when skips are forbidden.
pub fn skipped(why: &str) {
    let test = std::thread::current().name().unwrap_or("a test").to_owned();
    assert!(!no_skip(), "SKIPPED {test}: {why}; skips are forbidden by KAFKACRYPTO_NO_SKIP");
    writeln!(std::io::stderr(), "SKIPPED {test}: {why}").expect("stderr");
}

/// Whether a skip is a failure.
pub fn no_skip() -> bool {
    std::env::var("KAFKACRYPTO_NO_SKIP").is_ok_and(|value| !value.is_empty() && value != "0")
}

/// A name that no other test and no earlier run has used, such as `orders-1b2c3d-0`: for root topics, and for nodes,
/// whose consumer groups on the broker are named after them.
pub fn fresh(name: &str) -> String {
    static NEXT: AtomicU64 = AtomicU64::new(0);
    let started = SystemTime::now().duration_since(UNIX_EPOCH).expect("a clock past 1970").as_micros();
    let process = u64::from(std::process::id());
    format!("{name}-{started:x}{process:x}-{}", NEXT.fetch_add(1, Ordering::Relaxed))
}

/// An empty folder that goes away with the value; in the run's own folder under `tests/run`.
pub fn folder() -> tempfile::TempDir {
    match std::env::var_os("KAFKACRYPTO_SCRATCH") {
        Some(scratch) => tempfile::tempdir_in(scratch),
        None => tempfile::tempdir(),
    }
    .expect("a temporary folder")
}

/// A token that brokers of tests take: signed by nobody, good for so many seconds.
pub fn token(seconds: i64) -> String {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).expect("a clock past 1970").as_secs() as i64;
    let claims = serde_json::json!({"sub": "alice", "iat": now - 600, "exp": now + seconds});
    format!("{}.{}.", URL_SAFE_NO_PAD.encode(r#"{"alg":"none"}"#), URL_SAFE_NO_PAD.encode(claims.to_string()))
}

/// Calls `poll` every 20 ms until it gives something or the time is over.
pub fn until<T>(within: Duration, mut poll: impl FnMut() -> Option<T>) -> Option<T> {
    let started = std::time::Instant::now();
    loop {
        let found = poll();
        if found.is_some() || started.elapsed() > within {
            return found;
        }
        std::thread::sleep(Duration::from_millis(20));
    }
}

fn needed(variable: &str, what: &str) -> Option<String> {
    let value = std::env::var(variable).ok().filter(|value| !value.is_empty());
    if value.is_none() {
        skipped(&format!("{what} ({variable} isn't set; `tests/run` sets it)"));
    }
    value
}

/// A path from the environment, else one in the tree.
fn path_or(variable: &str, in_tree: &str) -> PathBuf {
    let default = || PathBuf::from(env!("CARGO_MANIFEST_DIR")).join(in_tree);
    std::env::var_os(variable).map_or_else(default, PathBuf::from)
}
