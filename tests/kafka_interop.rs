//! Records between our Kafka client and others, both ways: librdkafka, kafka-python and Kafka's own Java client, every
//! codec, headers, both timestamp types, transactions; and where keys go.
//!
//! What the others wrote is read by us and by all of them; what we wrote too. All must have seen the same.
#![cfg(feature = "kafka")]

#[path = "support/records.rs"]
mod records;
mod support;

use std::collections::BTreeMap;
use std::io::Write as _;
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use kafkacrypto::kafka::record::{Compression, Header, TimestampType};
use kafkacrypto::kafka::{
    Client, Config, Isolation, Most, NewTopic, OffsetAt, Partitioner, Producer, ProducerConfig, ProducerRecord, Reader,
    ReaderConfig, Start, TopicPartition,
};

const CLIENTS: [&str; 3] = ["confluent", "kafka-python", "java"];
const ISOLATIONS: [&str; 2] = ["read_committed", "read_uncommitted"];

/// Nulls, empty ones, doubled headers in their order, times that go back, and more than one block of LZ4 and snappy.
const CREATE: &str = "
    1700000000123 x6b x76616c7565 x62=x31,x61=-,x62=x,xc3a9=xff,x=x30
    1700000000100 - - .
    - x x x=x00
    1700000000200 x6b x68656c6c6f20*400 .
    flush
    1600000000000 - x32 x6e=x68656c6c6f20*3
    1700000000300 x6c x646f6e277420*12000 .
    1700000000301 x6c x646f6e277420*12000 .
";
const APPEND: &str = "
    1700000000000 x6b x31 .
    1700000000001 - x68656c6c6f20*100 x68=-
    flush
    1700000000002 x - .
";
const TRANSACTIONS: &str = "
    begin
    - x31 x636f6d6d6974746564 .
    - x32 x68656c6c6f20*200 x68=x32
    commit
    begin
    - x33 x61626f72746564 .
    flush
    - x34 x68656c6c6f20*200 x68=x34
    abort
    begin
    - x35 x636f6d6d6974746564 .
    commit
    begin
    - x36 x61626f72746564 .
    abort
";

#[test]
fn we_read_what_they_wrote_as_they_read_it() {
    let Some(peers) = Peers::find() else { return };
    let run = support::fresh("theirs");
    let mut topics = Vec::new();
    for writer in CLIENTS {
        let mut lines = String::new();
        let mut created = Vec::new();
        for codec in Compression::ALL {
            for (shape, mode, text) in
                [("create", "plain", CREATE), ("append", "idempotent", APPEND), ("transactions", "", TRANSACTIONS)]
            {
                let topic = format!("{run}-{writer}-{codec}-{shape}");
                let mode = if mode.is_empty() { &topic } else { mode };
                lines += &format!("topic {topic} {codec} {mode}\n{text}");
                created.push(topic);
            }
        }
        peers.create(&created);
        peers.write(writer, &lines);
        topics.extend(created);
    }
    for isolation in ISOLATIONS {
        let ours = peers.ours(isolation, &topics);
        for (topic, lines) in &ours {
            let count = match (topic.rsplit('-').next(), isolation) {
                (Some("create"), _) => 7,
                (Some("transactions"), "read_uncommitted") => 6,
                _ => 3,
            };
            assert_eq!(lines.len(), count, "{topic}: {lines:#?}");
        }
        for reader in CLIENTS {
            same(&ours, &peers.theirs(reader, isolation, &topics), &format!("{reader} {isolation}"));
        }
    }
}

#[test]
fn they_read_what_we_wrote_as_we_sent_it() {
    let Some(peers) = Peers::find() else { return };
    let run = support::fresh("ours");
    let mut sent = BTreeMap::new();
    for codec in Compression::ALL {
        for (shape, text) in [("create", CREATE), ("append", APPEND)] {
            let topic = format!("{run}-{codec}-{shape}");
            peers.create(std::slice::from_ref(&topic));
            let lines = peers.runtime.block_on(send(&peers.bootstrap, &topic, codec, text));
            sent.insert(topic, lines);
        }
    }
    let topics: Vec<_> = sent.keys().cloned().collect();
    same(&sent, &peers.ours("read_committed", &topics), "we");
    for reader in CLIENTS {
        same(&sent, &peers.theirs(reader, "read_committed", &topics), reader);
    }
}

/// Nothing forbids a header whose name isn't UTF-8: it goes through us unchanged, and Java shows it with a replacement
/// character. (The Python clients fail on it.)
#[test]
fn the_name_of_a_header_need_not_be_text() {
    let Some(peers) = Peers::find() else { return };
    let topic = support::fresh("name");
    peers.create(std::slice::from_ref(&topic));
    let topics = [topic.clone()];
    peers.runtime.block_on(async {
        let producer = Producer::new(&client(&peers.bootstrap), ProducerConfig::new());
        let record = ProducerRecord::new(topic.as_str(), "v").at(7).header(Header::new(&b"a\xff"[..], "x"));
        producer.send(record).await.expect("sent").await.expect("delivered");
    });
    assert_eq!(peers.ours("read_committed", &topics)[&topic], ["0 create 7 - x76 x61ff=x78"]);
    assert_eq!(peers.theirs("java", "read_committed", &topics)[&topic], ["0 create 7 - x76 x61efbfbd=x78"]);
}

/// A key goes to the same partition, whoever writes it: else the records of one key would be in no order.
#[test]
fn keys_go_where_others_send_them() {
    const PARTITIONS: i32 = 7;
    let Some(peers) = Peers::find() else { return };
    let topic = support::fresh("keys");
    let admin = client(&peers.bootstrap);
    let new = NewTopic::new(&topic).partitions(PARTITIONS);
    peers.runtime.block_on(admin.create_topic(&new, LONG)).expect("created");
    let keys = keys();
    let lines: String = keys.iter().map(|key| format!("x{}\n", hex::encode(key))).collect();
    for (theirs, partitioner, ours) in [
        ("java", "default", Partitioner::Java),
        ("kafka-python", "default", Partitioner::Java),
        ("confluent", "murmur2_random", Partitioner::Java),
        ("confluent", "consistent_random", Partitioner::Librdkafka),
    ] {
        let mut command = peers.command(theirs, "keys");
        command.args([&topic, partitioner]);
        let output = output(command, &lines);
        let theirs: Vec<i32> = output.lines().map(|line| line.parse().expect("a partition")).collect();
        let ours = peers.runtime.block_on(partitions(&admin, &topic, ours, &keys));
        assert_eq!((theirs.len(), ours.len()), (keys.len(), keys.len()));
        for ((key, theirs), our) in keys.iter().zip(theirs).zip(ours) {
            // An empty key is none for librdkafka's own partitioner, and goes anywhere.
            let same = our == theirs || key.is_empty() && partitioner == "consistent_random";
            assert!(same, "{partitioner}: x{} is in {theirs} and {our}", hex::encode(key));
        }
    }
}

/// Of each length up to 40: text, text that isn't ASCII, and bytes that are no text.
fn keys() -> Vec<Vec<u8>> {
    let mut byte = 7_u8;
    let mut bytes = |length| {
        let mut next = || {
            byte = byte.wrapping_mul(77).wrapping_add(101);
            byte
        };
        (0..length).map(|_| next()).collect::<Vec<_>>()
    };
    let mut keys = vec![Vec::new()];
    for length in 1..=40 {
        let text = |of: &str| of.chars().cycle().skip(length).take(length).collect::<String>().into_bytes();
        keys.extend([text("meter-7/kitchen"), text("Zähler 電力 ∑"), bytes(length), bytes(length), vec![0xff; length]]);
    }
    keys
}

async fn partitions(client: &Client, topic: &str, partitioner: Partitioner, keys: &[Vec<u8>]) -> Vec<i32> {
    let producer = Producer::new(client, ProducerConfig::new().partitioner(partitioner));
    let mut deliveries = Vec::new();
    for key in keys {
        deliveries.push(producer.send(ProducerRecord::new(topic, "").key(key.clone())).await.expect("sent"));
    }
    let mut partitions = Vec::new();
    for delivery in deliveries {
        partitions.push(delivery.await.expect("delivered").partition);
    }
    partitions
}

type Lines = BTreeMap<String, Vec<String>>;

/// The broker, and the other clients.
struct Peers {
    bootstrap: String,
    broker: String,
    python: String,
    runtime: tokio::runtime::Runtime,
}

impl Peers {
    fn find() -> Option<Self> {
        let bootstrap = support::bootstrap()?;
        support::python()?;
        let variable = |name: &str| std::env::var(name).ok().filter(|value| !value.is_empty());
        let Some(broker) = variable("KAFKACRYPTO_BROKER") else {
            support::skipped("no script of the broker for Java (KAFKACRYPTO_BROKER isn't set; `tests/run` sets it)");
            return None;
        };
        let python = variable("KAFKACRYPTO_PEER_PYTHON").expect("looked at above");
        let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build();
        Some(Self { bootstrap, broker, python, runtime: runtime.expect("a runtime") })
    }

    /// One partition each; names that end in `append` have `LogAppendTime`.
    fn create(&self, topics: &[String]) {
        let settings = |topic: &String| match topic.ends_with("append") {
            true => format!("{topic},message.timestamp.type=LogAppendTime"),
            false => topic.clone(),
        };
        let mut command = self.command("create", "");
        command.args(topics.iter().map(settings));
        output(command, "");
    }

    fn write(&self, client: &str, lines: &str) {
        output(self.command(client, "write"), lines);
    }

    fn theirs(&self, client: &str, isolation: &str, topics: &[String]) -> Lines {
        let mut command = self.command(client, "read");
        command.arg(isolation).args(topics);
        let mut read = Lines::new();
        let mut topic = String::new();
        for line in output(command, "").lines() {
            match line.strip_prefix("topic ") {
                Some(next) => next.clone_into(&mut topic),
                None => read.entry(topic.clone()).or_default().push(line.to_owned()),
            }
        }
        read
    }

    fn command(&self, client: &str, what: &str) -> Command {
        let peer = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/peer");
        let mut command = if client == "java" {
            let mut command = Command::new(&self.broker);
            command.arg("tool").arg(peer.join("Records.java"));
            command
        } else {
            let mut command = Command::new(&self.python);
            command.arg(peer.join("records.py")).arg(client);
            command
        };
        command.args(Some(what).filter(|what| !what.is_empty())).arg(&self.bootstrap);
        command
    }

    /// What our reader gives, to the end of each topic.
    fn ours(&self, isolation: &str, topics: &[String]) -> Lines {
        self.runtime.block_on(async {
            let isolation = if isolation == "read_committed" { Isolation::Committed } else { Isolation::Uncommitted };
            let mut reader = Reader::new(&client(&self.bootstrap), ReaderConfig::default().isolation(isolation));
            let start = |topic: &String| (TopicPartition::new(topic.as_str(), 0), Start::At(OffsetAt::Earliest));
            reader.assign(&topics.iter().map(start).collect::<Vec<_>>());
            let mut read = Lines::new();
            let started = Instant::now();
            let at_end = |reader: &Reader| {
                let all = reader.standings();
                all.iter().all(|(_, standing)| standing.next.is_some() && standing.next == standing.end)
            };
            while !at_end(&reader) {
                assert!(started.elapsed() < LONG, "{:?}", reader.standings());
                for fetched in reader.next(Most::default(), Duration::from_millis(100)).await {
                    assert!(fetched.error.is_none() && fetched.skipped.is_empty(), "{fetched:?}");
                    let lines = fetched.records.iter().map(|record| records::line(record, kind(&fetched.topic)));
                    read.entry(fetched.topic.to_string()).or_default().extend(lines);
                }
            }
            read
        })
    }
}

/// Sends the records of `text`, and returns how they should be read.
async fn send(bootstrap: &str, topic: &str, codec: Compression, text: &str) -> Vec<String> {
    let config = ProducerConfig::new().compression(codec).linger(Duration::from_millis(100)).batch_size(1 << 20);
    let producer = Producer::new(&client(bootstrap), config);
    let mut deliveries = Vec::new();
    for line in text.lines().map(str::trim).filter(|line| !line.is_empty()) {
        if line == "flush" {
            producer.flush(LONG).await.expect("flushed");
        } else {
            let record = records::parse(topic, line).partition(0);
            deliveries.push((record.clone(), producer.send(record).await.expect("sent")));
        }
    }
    let mut lines = Vec::new();
    for (record, delivery) in deliveries {
        let delivered = delivery.await.expect("delivered");
        let offset = delivered.offset.expect("known");
        lines.push(records::line(&records::read(record, offset, delivered.timestamp_ms), kind(topic)));
    }
    lines
}

fn client(bootstrap: &str) -> Client {
    Client::new(Config::new([bootstrap])).expect("a client")
}

fn kind(topic: &str) -> TimestampType {
    if topic.ends_with("append") { TimestampType::LogAppend } else { TimestampType::Create }
}

fn same(one: &Lines, other: &Lines, what: &str) {
    assert_eq!(one.keys().collect::<Vec<_>>(), other.keys().collect::<Vec<_>>(), "{what}");
    for (topic, lines) in one {
        assert_eq!(lines, &other[topic], "{what}: {topic}");
    }
}

fn output(mut command: Command, input: &str) -> String {
    let mut child = command.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().expect("the peer starts");
    child.stdin.take().expect("stdin").write_all(input.as_bytes()).expect("it reads");
    let output = child.wait_with_output().expect("it ends");
    assert!(output.status.success(), "{command:?}");
    String::from_utf8(output.stdout).expect("text")
}

const LONG: Duration = Duration::from_secs(60);
