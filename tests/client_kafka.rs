//! The producer and the consumer over an Apache Kafka that crashes in the middle.

mod support;

use std::collections::BTreeSet;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use kafkacrypto::client::{Consumer, ConsumerOptions, Producer, ProducerOptions, ProducerRecord, SendError, Start};
use kafkacrypto::provision::NodeRole;
use kafkacrypto::runtime::Node;
use kafkacrypto::store::config::NodeConfig;
use kafkacrypto::transport::TransportErrorKind::TooLarge;
use support::fleet::Fleet;

const TOPIC: &str = "lab.data";
const COUNT: u32 = 400;
/// Longer than a broker takes to come back on a busy machine.
const PATIENCE: Duration = Duration::from_secs(180);

/// What became of the records that were sent.
#[derive(Default)]
struct Sent {
    delivered: BTreeSet<u32>,
    unknown: BTreeSet<u32>,
    /// How many were queued when the broker was dead.
    before: u32,
}

async fn send(node: Node, options: ProducerOptions, count: Arc<AtomicU32>) -> Sent {
    let producer = Producer::of(&node, options);
    let mut queued = Vec::new();
    for n in 0..COUNT {
        let record = ProducerRecord::new(TOPIC).key((n % 5).to_string()).value(n.to_string());
        queued.push((n, producer.queue(record).await.unwrap()));
        count.store(n + 1, Ordering::Relaxed);
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    let mut sent = Sent::default();
    for (n, queued) in queued {
        match queued.await {
            Ok(_) => sent.delivered.insert(n),
            Err(SendError::MayHaveArrived { .. }) => sent.unknown.insert(n),
            Err(error) => panic!("{n}: {error}"),
        };
    }
    sent
}

/// Reads until all of these were seen, and all that the topic has.
async fn read(consumer: &mut Consumer, mut missing: BTreeSet<u32>) -> Vec<(i32, u32)> {
    let mut seen = Vec::new();
    loop {
        let wait = if missing.is_empty() { Duration::from_secs(3) } else { PATIENCE };
        match tokio::time::timeout(wait, consumer.next()).await {
            Ok(Some(Ok(record))) => {
                let text = record.value.cleartext().unwrap().unwrap().to_vec();
                let n = String::from_utf8(text).unwrap().parse().unwrap();
                missing.remove(&n);
                seen.push((record.partition, n));
            }
            Ok(Some(Err(error))) => assert!(error.is_passing(), "{error}"),
            Ok(None) => panic!("the stream ended"),
            Err(_) if missing.is_empty() => return seen,
            Err(_) => panic!("lost: {missing:?}"),
        }
    }
}

/// Sends while the broker is killed and started again, and gives what was sent, and what was read in order.
async fn through_a_crash(mut broker: support::Broker, options: ProducerOptions) -> (Sent, Vec<(i32, u32)>) {
    let fleet = Fleet::new();
    let kafka = |config: &mut NodeConfig| {
        config.set("kafka", "bootstrap_servers", broker.bootstrap().as_str()).unwrap();
        config.set("kafka", "security_protocol", "PLAINTEXT").unwrap();
    };
    let producer = Node::open(fleet.node_with("p", NodeRole::Producer, &["lab"], kafka)).await.unwrap();
    let consumer = Node::open(fleet.node_with("c", NodeRole::Consumer, &["lab"], kafka)).await.unwrap();
    let mut reading = Consumer::of(&consumer, TOPIC, ConsumerOptions::new(Start::Beginning));
    let count = Arc::new(AtomicU32::new(0));
    let sending = tokio::spawn(send(producer.clone(), options, count.clone()));
    let crash = tokio::task::spawn_blocking(move || {
        support::until(PATIENCE, || (count.load(Ordering::Relaxed) > COUNT / 4).then_some(())).expect("some are sent");
        broker.kill();
        let before = count.load(Ordering::Relaxed);
        std::thread::sleep(Duration::from_secs(1));
        broker.restart();
        (broker, before)
    });
    let sent = sending.await.unwrap();
    let (broker, before) = crash.await.unwrap();
    let sent = Sent { before, ..sent };
    let seen = read(&mut reading, sent.delivered.clone()).await;
    producer.close().await;
    consumer.close().await;
    drop(broker);
    (sent, seen)
}

#[tokio::test(flavor = "multi_thread")]
async fn a_crash_loses_and_doubles_nothing() {
    let Some(broker) = support::Broker::start() else { return };
    let options = ProducerOptions::new().create_topics(Some(3)).delivery_timeout(PATIENCE).request_timeout(PATIENCE);
    let (sent, seen) = through_a_crash(broker, options).await;
    let numbers: BTreeSet<u32> = seen.iter().map(|(_, n)| *n).collect();
    assert_eq!(numbers.len(), seen.len(), "none twice");
    assert!(numbers.is_superset(&sent.delivered), "what was acknowledged is there");
    for partition in 0..3 {
        assert!(seen.iter().filter(|(of, _)| *of == partition).is_sorted(), "in order: {seen:?}");
    }
    assert_eq!(sent.delivered.len() + sent.unknown.len(), usize::try_from(COUNT).unwrap());
    let late: Vec<_> = sent.unknown.range(sent.before..).collect();
    assert!(late.is_empty(), "in doubt, though the broker was dead when they were queued: {late:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn where_duplicates_are_allowed_all_arrives() {
    let Some(broker) = support::Broker::start() else { return };
    let options = ProducerOptions::new().create_topics(Some(3)).delivery_timeout(PATIENCE).allow_duplicates(true);
    let (sent, seen) = through_a_crash(broker, options).await;
    assert!(sent.unknown.is_empty());
    let numbers: BTreeSet<u32> = seen.iter().map(|(_, n)| *n).collect();
    assert_eq!(numbers, (0..COUNT).collect());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_record_that_is_too_large_fails_alone() {
    let Some(address) = support::bootstrap() else { return };
    let (fleet, topic) = (Fleet::new(), support::fresh("large"));
    let node = fleet.node_with("n", NodeRole::Prodcon, &[&topic], |config| {
        config.set("kafka", "bootstrap_servers", address.as_str()).unwrap();
        config.set("kafka", "security_protocol", "PLAINTEXT").unwrap();
    });
    let node = Node::open(node).await.unwrap();
    // Together they go in one request, as far as that depends on us.
    let options = ProducerOptions::new().linger(Duration::from_millis(300)).batch_bytes(4 << 20);
    let producer = Producer::of(&node, options);
    let mut queued = Vec::new();
    for n in 0..20 {
        let value = if n == 10 { vec![b'x'; 2 << 20] } else { n.to_string().into_bytes() };
        queued.push(producer.queue(ProducerRecord::new(&*topic).value(value)).await.unwrap());
    }
    for (n, queued) in queued.into_iter().enumerate() {
        match queued.await {
            Err(SendError::NotDelivered { source, .. }) => assert_eq!((n, source.kind()), (10, TooLarge)),
            result => assert_eq!(result.unwrap().offset, if n < 10 { n } else { n - 1 } as i64),
        }
    }
    let mut consumer = Consumer::of(&node, &*topic, ConsumerOptions::new(Start::Beginning).stop_at_end(true));
    let mut seen = Vec::new();
    while let Some(record) = consumer.next().await {
        seen.push(String::from_utf8(record.unwrap().value.cleartext().unwrap().unwrap().to_vec()).unwrap());
    }
    let others = (0..20).filter(|n| *n != 10).map(|n| n.to_string());
    assert!(seen.iter().eq(others.collect::<Vec<_>>().iter()), "each once, in order: {seen:?}");
    node.close().await;
}
