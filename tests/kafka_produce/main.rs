//! Producing with our own Kafka client, to real brokers: each record is in the log once and in order, whatever happens to
//! leaders, brokers, topics and acknowledgements meanwhile.
#![cfg(feature = "kafka")]

mod cluster;
mod forgetful;
mod one;
mod stream;
#[path = "../support/mod.rs"]
mod support;

use std::time::{Duration, Instant};

use kafkacrypto::kafka::{
    Client, Config, Isolation, Most, NewTopic, OffsetAt, Reader, ReaderConfig, Start, TopicPartition,
};

/// Longer than anything takes that works.
pub const LONG: Duration = Duration::from_secs(60);

pub fn client(bootstrap: &str) -> Client {
    Client::new(Config::new(bootstrap.split(','))).unwrap()
}

pub fn runtime() -> tokio::runtime::Runtime {
    tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap()
}

/// Makes a topic.
pub async fn create(client: &Client, name: &str, partitions: i32, settings: &[(&str, &str)]) -> String {
    let topic = support::fresh(name);
    let new = NewTopic::new(&topic).partitions(partitions);
    let new = settings.iter().fold(new, |new, (name, value)| new.setting(*name, *value));
    client.create_topic(&new, LONG).await.unwrap();
    // A leader may be known before it knows, and what isn't acknowledged would be lost.
    for partition in 0..partitions {
        end(client, &topic, partition).await;
    }
    topic
}

/// Where a partition ends.
pub async fn end(client: &Client, topic: &str, partition: i32) -> i64 {
    let place = TopicPartition::new(topic, partition);
    client.offset(&place, OffsetAt::Latest, Isolation::Committed, LONG).await.unwrap()
}

/// The values in a partition, up to its end.
pub async fn values(client: &Client, topic: &str, partition: i32) -> Vec<Vec<u8>> {
    let end = end(client, topic, partition).await;
    let mut reader = Reader::new(client, ReaderConfig::default());
    reader.assign(&[(TopicPartition::new(topic, partition), Start::At(OffsetAt::Earliest))]);
    let (mut values, started, mut next) = (Vec::new(), Instant::now(), 0);
    while next < end {
        assert!(started.elapsed() < LONG, "{topic}/{partition}: {} values, at {next} of {end}", values.len());
        for fetched in reader.next(Most::default(), Duration::from_millis(500)).await {
            values.extend(fetched.records.iter().map(|record| record.value.as_deref().unwrap_or_default().to_vec()));
            if fetched.error.is_none() {
                next = fetched.next;
            }
        }
    }
    values
}

/// The numbers in a partition; the values are their text, filled up with dots.
pub async fn numbers(client: &Client, topic: &str, partition: i32) -> Vec<u64> {
    let number = |value: Vec<u8>| String::from_utf8(value).unwrap().trim_end_matches('.').parse().unwrap();
    values(client, topic, partition).await.into_iter().map(number).collect()
}
