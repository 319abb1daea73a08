//! First message seen → first message decrypted, with fresh nodes and nothing cached, over Apache Kafka:
//! `KAFKACRYPTO_BOOTSTRAP=127.0.0.1:9092 cargo bench --bench latency`. Prints one JSON object.

#[path = "../tests/support/fleet.rs"]
#[allow(dead_code, reason = "shared with the tests")]
mod fleet;

use std::time::{Duration, Instant, SystemTime};

use fleet::Fleet;
use kafkacrypto::provision::NodeRole;
use kafkacrypto::runtime::Node;
use kafkacrypto::transport::{FetchFrom, Outgoing};

const WITHIN: Duration = Duration::from_secs(60);

#[tokio::main]
async fn main() {
    // cargo passes --bench; `cargo test --benches` doesn't, and measures nothing
    let (Ok(bootstrap), true) =
        (std::env::var("KAFKACRYPTO_BOOTSTRAP"), std::env::args().any(|argument| argument == "--bench"))
    else {
        return eprintln!("SKIPPED latency: KAFKACRYPTO_BOOTSTRAP names no broker");
    };
    let nodes: usize = std::env::var("NODES").ok().and_then(|text| text.parse().ok()).unwrap_or(50);
    let fleet = Fleet::new();
    let mut waited = Vec::new();
    for number in 0..nodes {
        waited.push(one(&fleet, &bootstrap, number).await);
    }
    waited.sort();
    let milliseconds = |of: usize| waited[(nodes * of / 100).min(nodes - 1)].as_secs_f64() * 1e3;
    println!(
        r#"{{"nodes": {nodes}, "p50_ms": {:.2}, "p99_ms": {:.2}, "max_ms": {:.2}}}"#,
        milliseconds(50),
        milliseconds(99),
        milliseconds(100)
    );
}

/// A new producer, a new consumer, a new root topic: how long from the first record to its cleartext.
async fn one(fleet: &Fleet, bootstrap: &str, number: usize) -> Duration {
    let started = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap().as_micros();
    let root = format!("latency{started}");
    let topic = format!("{root}.data");
    let kafka = |config: &mut kafkacrypto::store::config::NodeConfig| {
        config.set("kafka", "bootstrap_servers", bootstrap).unwrap();
        config.set("kafka", "security_protocol", "PLAINTEXT").unwrap();
    };
    let producer = fleet.node_with(&format!("p{number}"), NodeRole::Producer, &[&root], kafka);
    let consumer = fleet.node_with(&format!("c{number}"), NodeRole::Consumer, &[&root], kafka);
    let (producer, consumer) = (Node::open(producer).await.unwrap(), Node::open(consumer).await.unwrap());
    let sealed = producer.value_serializer().serialize(&topic, Some(b"42")).unwrap();
    let sender = producer.transport();
    sender.create_topic(&topic, 1, WITHIN).await.unwrap();
    sender.produce(&topic, 0, vec![Outgoing::new(None, sealed)], WITHIN).await.unwrap();
    let fetched = consumer.transport().fetch(&[FetchFrom::new(&*topic, 0, 0)], 1 << 20, WITHIN, WITHIN).await.unwrap();
    let value = fetched[0].result.as_ref().unwrap().records[0].value.clone();
    let seen = Instant::now();
    let mut message = consumer.value_deserializer().deserialize(&topic, value.as_deref());
    assert_eq!(message.wait(WITHIN).await.unwrap(), Some(&b"42"[..]));
    let waited = seen.elapsed();
    producer.close().await;
    consumer.close().await;
    waited
}
