//! With our own client.

use std::time::{Duration, Instant};

use kafkacrypto::client::{self, ProducerOptions};
use kafkacrypto::kafka::record::Compression;
use kafkacrypto::kafka::{
    Client, Config, Most, OffsetAt, Producer, ProducerConfig, ProducerRecord, Reader, ReaderConfig, SecurityProtocol,
    Start, TopicPartition,
};
use kafkacrypto::provision::NodeRole;
use kafkacrypto::runtime::Node;
use serde_json::{Value, json};
use tokio::runtime::Builder;
use tokio::sync::oneshot;

use crate::fleet::Fleet;
use crate::proxy::Proxy;
use crate::{Job, LONG, idle, percentiles, throughput};

pub async fn run(job: &Job) -> Value {
    let proxy = network(job).await;
    let client = connect(job, proxy.as_ref());
    match job.job.as_str() {
        "ack" => ack(job, &client).await,
        "trip" => trip(job, &client).await,
        "produce" => produce(job, &client).await,
        "fetch" => fetch(job, &client).await,
        "sealed" => sealed(job, proxy.as_ref()).await,
        "idle" => {
            let mut reader = reader(job, &client, OffsetAt::Latest);
            reader.next(Most::default(), Duration::from_secs(3)).await;
            idle().await
        }
        _ => panic!("no such job: {}", job.job),
    }
}

/// In a thread of its own: a network doesn't wait for who uses it.
async fn network(job: &Job) -> Option<Proxy> {
    if job.rate == 0 {
        return None;
    }
    let (bootstrap, (give, started)) = (job.bootstrap.clone(), oneshot::channel());
    std::thread::spawn(move || {
        let runtime = Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(async {
            let _ = give.send(Proxy::start(&bootstrap).await);
            std::future::pending::<()>().await;
        });
    });
    let proxy = started.await.unwrap();
    proxy.rate(Some(job.rate));
    Some(proxy)
}

fn connect(job: &Job, proxy: Option<&Proxy>) -> Client {
    let mut config = Config::new([proxy.map_or(&*job.bootstrap, |proxy| &proxy.address)]);
    if !job.ca.is_empty() {
        config = config.security_protocol(SecurityProtocol::Ssl).ssl_cafile(&job.ca);
    }
    Client::new(config).unwrap()
}

fn reader(job: &Job, client: &Client, start: OffsetAt) -> Reader {
    let mut reader = Reader::new(client, ReaderConfig::default());
    let partition = |number| (TopicPartition::new(&*job.topic, number), Start::At(start));
    reader.assign(&(0..job.partitions).map(partition).collect::<Vec<_>>());
    reader
}

async fn ack(job: &Job, client: &Client) -> Value {
    let producer = Producer::new(client, ProducerConfig::new());
    let value = bytes::Bytes::from(vec![b'a'; job.size]);
    let mut times = Vec::new();
    for _ in 0..job.count {
        let started = Instant::now();
        let record = ProducerRecord::new(&*job.topic, value.clone()).partition(0);
        producer.send(record).await.unwrap().await.unwrap();
        times.push(started.elapsed());
    }
    percentiles(times)
}

async fn trip(job: &Job, client: &Client) -> Value {
    let producer = Producer::new(client, ProducerConfig::new());
    let mut reader = reader(job, client, OffsetAt::Latest);
    reader.next(Most::default(), Duration::from_secs(1)).await;
    let value = bytes::Bytes::from(vec![b'a'; job.size]);
    let mut times = Vec::new();
    for _ in 0..job.count {
        let started = Instant::now();
        let delivery = producer.send(ProducerRecord::new(&*job.topic, value.clone()).partition(0)).await.unwrap();
        while reader.next(Most::default(), LONG).await.iter().all(|fetched| fetched.records.is_empty()) {}
        times.push(started.elapsed());
        delivery.await.unwrap();
    }
    percentiles(times)
}

async fn produce(job: &Job, client: &Client) -> Value {
    let codec = Compression::ALL.into_iter().find(|codec| codec.name() == job.codec).expect("a codec");
    let mut config = ProducerConfig::new().linger(Duration::from_millis(5)).compression(codec);
    if job.batch > 0 {
        config = config.batch_size(job.batch);
    }
    let producer = Producer::new(client, config);
    let (mut bytes, values) = (0, job.values());
    let started = Instant::now();
    for value in values {
        bytes += value.len();
        let _told_by_flush = producer.send(ProducerRecord::new(&*job.topic, value)).await.unwrap();
    }
    producer.flush(LONG).await.unwrap();
    throughput(started, job.count, bytes)
}

async fn fetch(job: &Job, client: &Client) -> Value {
    let started = Instant::now();
    let mut reader = reader(job, client, OffsetAt::Earliest);
    let (mut records, mut bytes) = (0, 0);
    while records < job.count {
        for fetched in reader.next(Most::default(), LONG).await {
            assert!(fetched.error.is_none(), "{:?}", fetched.error);
            records += fetched.records.len();
            bytes +=
                fetched.records.iter().filter_map(|record| record.value.as_ref()).map(bytes::Bytes::len).sum::<usize>();
        }
    }
    throughput(started, records, bytes)
}

/// Encrypts and sends, and reads and decrypts, as a program with our library would.
async fn sealed(job: &Job, proxy: Option<&Proxy>) -> Value {
    let fleet = Fleet::new();
    let bootstrap = proxy.map_or(&*job.bootstrap, |proxy| &proxy.address);
    let root = job.topic.split('.').next().unwrap();
    let config = fleet.node_with("speed", NodeRole::Prodcon, &[root], |config| {
        config.set("kafka", "bootstrap_servers", bootstrap).unwrap();
        config.set("kafka", "security_protocol", "PLAINTEXT").unwrap();
    });
    let node = Node::open(config).await.unwrap();
    let producer = client::Producer::of(&node, ProducerOptions::new().linger(Duration::from_millis(5)));
    let (mut bytes, values) = (0, job.values());
    let started = Instant::now();
    for value in values {
        bytes += value.len();
        let _told_by_flush = producer.queue(client::ProducerRecord::new(&*job.topic).value(value)).await.unwrap();
    }
    producer.flush().await.unwrap();
    let written = throughput(started, job.count, bytes);
    let started = Instant::now();
    let options = client::ConsumerOptions::new(client::Start::Beginning).stop_at_end(true);
    let mut consumer = client::Consumer::of(&node, &*job.topic, options);
    let (mut records, mut bytes) = (0, 0);
    while let Some(record) = consumer.next().await {
        let value = record.unwrap().value;
        bytes += value.cleartext().unwrap().unwrap().len();
        records += 1;
    }
    json!({"written": written, "read": throughput(started, records, bytes)})
}
