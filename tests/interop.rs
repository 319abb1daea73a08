//! Rust and Python in one fleet over Apache Kafka: {rust, python} × {rust, python}, provisioned by either tool.

mod support;

use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, Instant};

use kafkacrypto::message::Message;
use kafkacrypto::runtime::Node;
use kafkacrypto::transport::{FetchFrom, Outgoing};
use support::peer::{Part, Peer};
use support::{PROVISIONER_PASSWORD, Python, ROOT_PASSWORD};

#[derive(Clone, Copy, Debug, PartialEq)]
enum Side {
    Rust,
    Python,
}

/// A record as it was meant: key and value.
type Plain = (Option<Vec<u8>>, Option<Vec<u8>>);

struct Place<'a> {
    folder: &'a Path,
    bootstrap: String,
    python: Python,
}

const WITHIN: Duration = Duration::from_secs(90);

#[test]
fn rust_to_rust() {
    every_provisioner(Side::Rust, Side::Rust);
}

#[test]
fn rust_to_python() {
    every_provisioner(Side::Rust, Side::Python);
}

#[test]
fn python_to_rust() {
    every_provisioner(Side::Python, Side::Rust);
}

/// Files move from one implementation to the other and back: the same node produces as Rust, Python and Rust again, and
/// all of it can be read.
#[test]
fn files_move_to_python_and_back() {
    let (Some(bootstrap), Some(python)) = (support::bootstrap(), support::python()) else { return };
    let folder = support::folder();
    let place = Place { folder: folder.path(), bootstrap, python };
    let (root, topic) = topic("moving");
    let (node, reader) = (support::fresh("mover"), support::fresh("reader"));
    let producer = place.provision(Side::Rust, &node, "producer", &root);
    let consumer = place.provision(Side::Rust, &reader, "consumer", &root);
    let runtime = tokio::runtime::Runtime::new().unwrap();
    let records: Vec<Plain> = (0..3_u8).map(|n| (Some(vec![n]), Some(vec![n, n]))).collect();
    runtime.block_on(async {
        let first = Node::open(&producer).await.unwrap();
        produce(&first, &topic, &records[..1]).await;
        first.close().await;
    });
    let mut second = place.python.produce(&producer, &topic, Duration::ZERO);
    send(&mut second, &records[1..2]);
    assert_eq!(second.sent(), 1);
    assert!(second.wait(WITHIN).success());
    runtime.block_on(async {
        let third = Node::open(&producer).await.unwrap();
        produce(&third, &topic, &records[2..]).await;
        // it answers for the secrets of all three runs
        let reader = Node::open(&consumer).await.unwrap();
        assert_eq!(consume(&reader, &topic, 3).await, records);
        third.close().await;
        reader.close().await;
    });
}

#[test]
fn each_refuses_a_config_that_the_other_holds() {
    let Some(python) = support::python() else { return };
    let folder = support::folder();
    let config = python.provision(folder.path(), "alice", "prodcon", "127.0.0.1:1", &[]);
    private(&config);
    let before = std::fs::read(&config).unwrap();
    let holder = python.hold(&config);
    let error = Node::spawn(&config).unwrap_err();
    assert!(error.is_configuration() && error.to_string().contains("process"), "{error}");
    assert_eq!(std::fs::read(&config).unwrap(), before);
    drop(holder);
    let node = Node::spawn(&config).unwrap();
    let mut second = python.run(&["hold", config.to_str().unwrap()]);
    second.close_input();
    assert!(!second.wait(WITHIN).success(), "Python is refused while we hold it");
    node.close_blocking();
}

fn every_provisioner(from: Side, to: Side) {
    let (Some(bootstrap), Some(python)) = (support::bootstrap(), support::python()) else { return };
    for provisioner in [Side::Rust, Side::Python] {
        let folder = support::folder();
        let place = Place { folder: folder.path(), bootstrap: bootstrap.clone(), python: python.clone() };
        place.exchange(from, to, provisioner);
    }
}

impl Place<'_> {
    fn exchange(&self, from: Side, to: Side, provisioner: Side) {
        let (root, topic) = topic("cell");
        let producer = self.provision(provisioner, &support::fresh("alice"), "producer", &root);
        // the other tool, so that both kinds of files meet
        let consumer = self.provision(other(provisioner), &support::fresh("bob"), "consumer", &root);
        let records = records();
        let runtime = tokio::runtime::Runtime::new().unwrap();
        match (from, to) {
            (Side::Rust, Side::Rust) => runtime.block_on(async {
                let (producer, consumer) = (Node::open(producer).await.unwrap(), Node::open(consumer).await.unwrap());
                produce(&producer, &topic, &records).await;
                assert_eq!(consume(&consumer, &topic, records.len()).await, records);
                producer.close().await;
                consumer.close().await;
            }),
            (Side::Rust, Side::Python) => runtime.block_on(async {
                let node = Node::open(producer).await.unwrap();
                produce(&node, &topic, &records).await;
                let (python, count, name) = (self.python.clone(), records.len(), topic.clone());
                let seen = tokio::task::spawn_blocking(move || python_consume(&python, &consumer, &name, count));
                assert_eq!(seen.await.unwrap(), records);
                node.close().await;
            }),
            (Side::Python, Side::Rust) => {
                let mut node = self.python.produce(&producer, &topic, WITHIN);
                send(&mut node, &records);
                assert_eq!(node.sent(), records.len() as u64);
                runtime.block_on(async {
                    let reader = Node::open(consumer).await.unwrap();
                    assert_eq!(consume(&reader, &topic, records.len()).await, records);
                    reader.close().await;
                });
            }
            (Side::Python, Side::Python) => unreachable!("tests/python_peer.rs has it"),
        }
        eprintln!("{from:?} -> {to:?}, producer provisioned by {provisioner:?}: {} records", records.len());
    }

    fn provision(&self, tool: Side, node: &str, role: &str, root: &str) -> PathBuf {
        if tool == Side::Python {
            let config = self.python.provision(self.folder, node, role, &self.bootstrap, &["--topics", root]);
            private(&config);
            return config;
        }
        let status = Command::new(env!("CARGO_BIN_EXE_kafkacrypto"))
            .args(["provision", node, "--role", role, "--topics", root, "--yes", "--bootstrap", &self.bootstrap])
            .args(["--security-protocol", "PLAINTEXT", "--dir", self.folder.to_str().unwrap()])
            .env("KAFKACRYPTO_ROOT_PASSWORD", ROOT_PASSWORD)
            .env("KAFKACRYPTO_PROVISIONER_PASSWORD", PROVISIONER_PASSWORD)
            .output()
            .unwrap();
        assert!(status.status.success(), "{}", String::from_utf8_lossy(&status.stderr));
        self.folder.join(format!("{node}.config"))
    }
}

/// Python makes files of secrets that everybody can read; we refuse them until that is mended.
fn private(config: &Path) {
    use std::os::unix::fs::PermissionsExt;
    let error = Node::spawn(config).unwrap_err();
    assert!(error.to_string().contains("chmod 600"), "{error}");
    for file in ["crypto", "seed"] {
        std::fs::set_permissions(config.with_extension(file), PermissionsExt::from_mode(0o600)).unwrap();
    }
}

/// Text, bytes that aren't text, a missing key, a tombstone; enough of them for several batches.
fn records() -> Vec<Plain> {
    let mut records: Vec<Plain> = vec![
        (Some(b"key".to_vec()), Some("v\u{e4}lue".as_bytes().to_vec())),
        (None, Some(vec![0xff, 0x00, 0x01])),
        (Some(vec![0x80]), None),
        (Some(b"large".to_vec()), Some(vec![7; 100_000])),
    ];
    records.extend((0..20_u8).map(|n| (Some(vec![n]), Some(vec![n; 32]))));
    records
}

async fn produce(node: &Node, topic: &str, records: &[Plain]) {
    let (keys, values, transport) = (node.key_serializer(), node.value_serializer(), node.transport());
    transport.create_topic(topic, 1, WITHIN).await.unwrap();
    for (key, value) in records {
        let key = keys.serialize(topic, key.as_deref()).unwrap();
        let value = values.serialize(topic, value.as_deref()).unwrap();
        transport.produce(topic, 0, vec![Outgoing::new(key, value)], WITHIN).await.unwrap();
    }
}

async fn consume(node: &Node, topic: &str, count: usize) -> Vec<Plain> {
    let (keys, values, transport) = (node.key_deserializer(), node.value_deserializer(), node.transport());
    let (mut records, mut offset, end) = (Vec::new(), 0, Instant::now() + WITHIN);
    while records.len() < count {
        assert!(Instant::now() < end, "{} of {count} records after {WITHIN:?}", records.len());
        let from = [FetchFrom::new(topic, 0, offset)];
        for fetched in transport.fetch(&from, 1 << 20, Duration::from_secs(1), WITHIN).await.unwrap() {
            let batch = fetched.result.unwrap();
            offset = batch.next.max(offset);
            for record in batch.records {
                let key = clear(keys.deserialize(topic, record.key.as_deref())).await;
                records.push((key, clear(values.deserialize(topic, record.value.as_deref())).await));
            }
        }
    }
    records
}

async fn clear(mut message: Message) -> Option<Vec<u8>> {
    message.wait(WITHIN).await.unwrap().map(<[u8]>::to_vec)
}

fn send(peer: &mut Peer, records: &[Plain]) {
    records.iter().for_each(|(key, value)| peer.send(key.as_deref(), value.as_deref()));
}

fn python_consume(python: &Python, config: &Path, topic: &str, count: usize) -> Vec<Plain> {
    let mut peer = python.consume(config, topic, count, WITHIN);
    let part = |part| match part {
        Part::Null => None,
        Part::Cleartext(bytes) => Some(bytes),
        Part::Ciphertext(bytes) => panic!("not decrypted: {}", hex::encode(bytes)),
    };
    let mut seen: Vec<_> = (0..count).map(|_| peer.record(WITHIN)).collect();
    // it reports records as they become readable
    seen.sort_by_key(|record| record.offset);
    seen.into_iter().map(|record| (part(record.key), part(record.value))).collect()
}

fn topic(name: &str) -> (String, String) {
    let root = support::fresh(name);
    let topic = format!("{root}.data");
    (root, topic)
}

fn other(side: Side) -> Side {
    if side == Side::Rust { Side::Python } else { Side::Rust }
}
