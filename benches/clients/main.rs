//! One job of a Kafka client on a broker, ours or rskafka's; `benches/clients.py` runs them side by side with librdkafka's
//! and Java's. The arguments are a JSON object, and so is what it prints.

#[path = "../../tests/support/fleet.rs"]
#[allow(dead_code, reason = "shared with the tests")]
mod fleet;
mod ours;
#[path = "../../tests/support/proxy.rs"]
#[allow(dead_code, reason = "shared with the tests")]
mod proxy;
#[cfg(feature = "rskafka")]
mod theirs;

use std::time::{Duration, Instant};

use serde::Deserialize;
use serde_json::{Value, json};

/// Longer than anything takes that works.
const LONG: Duration = Duration::from_secs(120);

/// What to do.
#[derive(Deserialize)]
#[serde(default)]
struct Job {
    client: String,
    job: String,
    bootstrap: String,
    topic: String,
    partitions: i32,
    codec: String,
    /// A file with a value on each line.
    payloads: String,
    size: usize,
    count: usize,
    /// Bytes that a batch may have; 0: as many as the client likes.
    batch: usize,
    /// The authority of the broker's certificate: TLS, if there is one.
    ca: String,
    /// Bytes a second that the network takes; 0: all it can.
    rate: u64,
}

impl Default for Job {
    fn default() -> Self {
        let none = String::new;
        Self {
            client: none(),
            job: none(),
            bootstrap: none(),
            topic: none(),
            partitions: 1,
            codec: "none".into(),
            payloads: none(),
            size: 100,
            count: 1,
            batch: 0,
            ca: none(),
            rate: 0,
        }
    }
}

impl Job {
    /// The values to write: the lines of the file, again and again.
    fn values(&self) -> impl Iterator<Item = Vec<u8>> + use<> {
        let text = std::fs::read(&self.payloads).expect("the payloads");
        let lines: Vec<_> =
            text.split(|byte| *byte == b'\n').filter(|line| !line.is_empty()).map(<[u8]>::to_vec).collect();
        (0..self.count).map(move |n| lines[n % lines.len()].clone())
    }
}

#[tokio::main]
async fn main() {
    // cargo passes --bench; without a job nothing is measured
    let Some(job) = std::env::args().nth(1).filter(|argument| argument.starts_with('{')) else {
        return eprintln!("SKIPPED clients: benches/clients.py says what to do");
    };
    let job: Job = serde_json::from_str(&job).expect("a job");
    // as a task, as a service would: `main` itself is on a thread of its own
    let running = tokio::spawn(async move {
        match job.client.as_str() {
            "ours" => ours::run(&job).await,
            #[cfg(feature = "rskafka")]
            "rskafka" => theirs::run(&job).await,
            _ => panic!("no such client: {}", job.client),
        }
    });
    println!("{}", running.await.expect("an answer"));
}

/// The median and the 99th percentile of some times, in milliseconds.
fn percentiles(mut times: Vec<Duration>) -> Value {
    times.sort();
    let at = |part: usize| times[(times.len() * part / 100).min(times.len() - 1)].as_secs_f64() * 1e3;
    json!({"p50": at(50), "p99": at(99)})
}

/// Seconds since, and what was done meanwhile.
fn throughput(since: Instant, records: usize, bytes: usize) -> Value {
    json!({"seconds": since.elapsed().as_secs_f64(), "records": records, "bytes": bytes})
}

/// Tells that everything is in place, and stays as it is.
async fn idle() -> ! {
    println!("ready");
    std::future::pending().await
}
