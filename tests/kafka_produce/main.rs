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

use kafkacrypto::kafka::{Client, Config, Most, OffsetAt, Reader, ReaderConfig, Start, TopicPartition};

/// Longer than anything takes that works.
pub const LONG: Duration = Duration::from_secs(60);

pub fn client(bootstrap: &str) -> Client {
    Client::new(Config::new(bootstrap.split(','))).unwrap()
}

pub fn runtime() -> tokio::runtime::Runtime {
    tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap()
}

/// The values in a partition, up to its end.
pub async fn values(client: &Client, topic: &str, partition: i32) -> Vec<Vec<u8>> {
    let mut reader = Reader::new(client, ReaderConfig::default());
    reader.assign(&[(TopicPartition::new(topic, partition), Start::At(OffsetAt::Earliest))]);
    let (mut values, started, mut end) = (Vec::new(), Instant::now(), None);
    while end.is_none_or(|(next, end)| next < end) {
        assert!(started.elapsed() < LONG, "{topic}/{partition}: {} values, {end:?}", values.len());
        for fetched in reader.next(Most::default(), Duration::from_millis(500)).await {
            values.extend(fetched.records.iter().map(|record| record.value.as_deref().unwrap_or_default().to_vec()));
            if fetched.error.is_none() {
                end = Some((fetched.next, fetched.end));
            }
        }
        if end.is_none() && started.elapsed() > Duration::from_secs(5) {
            break; // an empty partition says nothing
        }
    }
    values
}

/// The numbers in a partition; the values are their text, filled up with dots.
pub async fn numbers(client: &Client, topic: &str, partition: i32) -> Vec<u64> {
    let number = |value: Vec<u8>| String::from_utf8(value).unwrap().trim_end_matches('.').parse().unwrap();
    values(client, topic, partition).await.into_iter().map(number).collect()
}
