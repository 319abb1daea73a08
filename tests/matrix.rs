//! Every kind of node with its kind over Apache Kafka, with the Python implementation on either side: {signing type 1, 4, both}
//! × exchange {[1], [2], [5], [5, 2, 1], legacy} × {Rust → Rust, Rust → Python, Python → Rust}. And mixed fleets: both types
//! with one of them, all exchanges with the first alone.

mod support;

use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, Instant};

use kafkacrypto::keyring::Origin;
use kafkacrypto::keys::{Scheme, SigningType};
use kafkacrypto::message::Message;
use kafkacrypto::provision::NodeRole;
use kafkacrypto::runtime::Node;
use kafkacrypto::store::config::NodeConfig;
use kafkacrypto::transport::{FetchFrom, Outgoing};
use support::fleet::{Fleet, Keys};
use support::{Plain, PythonFleet};
use tokio::sync::Semaphore;

/// One way through the matrix.
struct Cell {
    kinds: Kinds,
    root: String,
    topic: String,
    producer: PathBuf,
    consumer: PathBuf,
}

/// What the producer is, and the consumer.
type Kinds = [Keys; 2];

/// Who gave a key, and by which exchange.
type Given = (SigningType, Scheme);

const WITHIN: Duration = Duration::from_secs(150);

/// Cells of one direction at once.
const AT_ONCE: usize = 5;

#[test]
fn rust_to_rust() {
    let Some(bootstrap) = support::bootstrap() else { return };
    every_cell(&bootstrap, |cell| async move {
        let producer = Node::open(&cell.producer).await.unwrap();
        produce(&producer, &cell).await;
        let consumer = Node::open(&cell.consumer).await.unwrap();
        consume(&consumer, &cell).await;
        answered(&producer, &cell);
        consumer.close().await;
        producer.close().await;
    });
}

#[test]
fn rust_to_python() {
    let (Some(bootstrap), Some(python)) = (support::bootstrap(), support::python()) else { return };
    let python = Arc::new(python.fleet());
    every_cell(&bootstrap, |cell| {
        let python = python.clone();
        async move {
            let producer = Node::open(&cell.producer).await.unwrap();
            produce(&producer, &cell).await;
            let cell = on_thread(cell, python, |cell, python| {
                let seen = python.read(&cell.consumer, &cell.topic, records().len(), WITHIN);
                assert_eq!(seen, records(), "{:?}", cell.kinds);
            });
            answered(&producer, &cell.await);
            producer.close().await;
        }
    });
}

#[test]
fn python_to_rust() {
    let (Some(bootstrap), Some(python)) = (support::bootstrap(), support::python()) else { return };
    let python = Arc::new(python.fleet());
    every_cell(&bootstrap, |cell| {
        let python = python.clone();
        async move {
            let cell = on_thread(cell, python, |cell, python| python.send(&cell.producer, &cell.topic, &records()));
            let cell = cell.await;
            let consumer = Node::open(&cell.consumer).await.unwrap();
            consume(&consumer, &cell).await;
            consumer.close().await;
        }
    });
}

/// Runs all cells of a direction, a few at a time.
fn every_cell<F: Future<Output = ()> + Send + 'static>(bootstrap: &str, run: impl Fn(Cell) -> F) {
    let (fleet, start) = (Fleet::new(), Instant::now());
    let runtime = tokio::runtime::Runtime::new().unwrap();
    let turns = Arc::new(Semaphore::new(AT_ONCE));
    let alike = Keys::every_kind().into_iter().map(|kind| [kind.clone(), kind]);
    let cells = alike.chain(mixed()).map(|kinds| {
        let work = run(Cell::new(&fleet, kinds, bootstrap));
        let turns = turns.clone();
        runtime.spawn(async move {
            let _turn = turns.acquire_owned().await;
            work.await;
        })
    });
    let cells: Vec<_> = cells.collect();
    let results: Vec<_> = cells.into_iter().map(|cell| runtime.block_on(cell)).collect();
    let failed: Vec<_> = results.iter().filter_map(|result| result.as_ref().err()).collect();
    eprintln!("{} cells in {:?}", results.len(), start.elapsed());
    assert!(failed.is_empty(), "{} of {} cells failed: {failed:?}", failed.len(), results.len());
}

/// Nodes that differ, either way round.
fn mixed() -> impl Iterator<Item = Kinds> {
    let kind = |types: &[SigningType], versions: &[u64]| Keys {
        types: types.to_vec(),
        versions: versions.to_vec(),
        legacy: false,
    };
    let (one, four) = (SigningType::Ed25519, SigningType::Ed25519SlhDsa);
    let (all, modern) = (kind(&[one, four], &[5, 2, 1]), kind(&[one], &[5, 2, 1]));
    let pairs = [(all.clone(), modern.clone()), (all, kind(&[four], &[5, 2, 1])), (modern, kind(&[one], &[1]))];
    pairs.into_iter().flat_map(|(a, b)| [[a.clone(), b.clone()], [b, a]])
}

impl Cell {
    fn new(fleet: &Fleet, kinds: Kinds, bootstrap: &str) -> Self {
        let root = support::fresh("matrix");
        let node = |name, role, keys| {
            fleet.node_of(&support::fresh(name), role, &[&root], keys, |config| settings(config, bootstrap))
        };
        let producer = node("alice", NodeRole::Producer, &kinds[0]);
        let consumer = node("bob", NodeRole::Consumer, &kinds[1]);
        let topic = format!("{root}.data");
        Self { kinds, root, topic, producer, consumer }
    }

    /// The first that the consumer asks for and the producer has.
    fn scheme(&self) -> Scheme {
        let [producer, consumer] = &self.kinds;
        let version = consumer.versions.iter().find(|version| producer.versions.contains(version)).unwrap();
        Scheme::from_offer_version(*version).unwrap()
    }
}

/// What both implementations need of a config.
fn settings(config: &mut NodeConfig, bootstrap: &str) {
    config.set("kafka", "bootstrap_servers", bootstrap).unwrap();
    config.set("kafka", "security_protocol", "PLAINTEXT").unwrap();
    config.set("kafka-crypto-consumer", "auto_offset_reset", "earliest").unwrap();
    config.set("kafka-crypto-consumer", "topic.metadata.refresh.interval.ms", 1000_i64).unwrap();
    // on a busy machine an answer may take seconds, and Python takes none to a request that it has repeated since
    config.set("", "crypto_sub_interval", 20_i64).unwrap();
}

fn records() -> Vec<Plain> {
    vec![(Some(b"key".to_vec()), Some(b"value".to_vec())), (None, Some(vec![0xff, 0x00])), (Some(vec![1]), None)]
}

async fn on_thread(
    cell: Cell,
    python: Arc<PythonFleet>,
    act: impl FnOnce(&Cell, &PythonFleet) + Send + 'static,
) -> Cell {
    let acted = tokio::task::spawn_blocking(move || {
        act(&cell, &python);
        cell
    });
    acted.await.unwrap()
}

async fn produce(node: &Node, cell: &Cell) {
    let (keys, values, transport, topic) =
        (node.key_serializer(), node.value_serializer(), node.transport(), &cell.topic);
    transport.create_topic(topic, 1, WITHIN).await.unwrap();
    for (key, value) in records() {
        let key = keys.serialize(topic, key.as_deref()).unwrap();
        let value = values.serialize(topic, value.as_deref()).unwrap();
        transport.produce(topic, 0, vec![Outgoing::new(key, value)], WITHIN).await.unwrap();
    }
}

/// Reads everything, with keys of the kind that the cell is about.
async fn consume(node: &Node, cell: &Cell) {
    let (keys, values, transport, topic) =
        (node.key_deserializer(), node.value_deserializer(), node.transport(), &cell.topic);
    let (mut seen, mut offset, end) = (Vec::new(), 0, Instant::now() + WITHIN);
    while seen.len() < records().len() {
        assert!(Instant::now() < end, "{:?}: {} records after {WITHIN:?}", cell.kinds, seen.len());
        let from = [FetchFrom::new(topic.as_str(), 0, offset)];
        for fetched in transport.fetch(&from, 1 << 20, Duration::from_secs(1), WITHIN).await.unwrap() {
            let batch = fetched.result.unwrap();
            offset = batch.next.max(offset);
            for record in batch.records {
                let key = clear(keys.deserialize(topic, record.key.as_deref()), cell).await;
                seen.push((key, clear(values.deserialize(topic, record.value.as_deref()), cell).await));
            }
        }
    }
    assert_eq!(seen, records(), "{:?}", cell.kinds);
}

async fn clear(mut message: Message, cell: &Cell) -> Option<Vec<u8>> {
    let text = message.wait(WITHIN).await.unwrap_or_else(|error| panic!("{:?}: {error}", cell.kinds));
    let text = text.map(<[u8]>::to_vec);
    let given: Option<Given> = message.origin().map(|origin| match origin {
        Origin::Peer { signer, scheme } => (signer.signing_type(), *scheme),
        other => panic!("{:?}: {other:?}", cell.kinds),
    });
    let expected =
        |(signer, scheme)| cell.kinds.iter().all(|keys| keys.types.contains(&signer)) && scheme == cell.scheme();
    assert!(given.is_none_or(expected), "{:?}: {given:?}", cell.kinds);
    text
}

fn answered(producer: &Node, cell: &Cell) {
    let exchange = producer.health().exchange;
    assert!(exchange.answered_by.of(cell.scheme()) > 0, "{:?}, {}: {exchange:?}", cell.kinds, cell.root);
}
