//! Reading with our own Kafka client, from real brokers, what confluent-kafka wrote.
#![cfg(feature = "kafka")]

mod near;
mod one;
#[path = "../support/mod.rs"]
mod support;
mod three;
mod writer;

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use kafkacrypto::kafka::{
    Client, Config, FetchError, Fetched, Most, OffsetAt, Reader, ReaderConfig, Start, TopicPartition,
};

/// Longer than anything takes that works.
pub const LONG: Duration = Duration::from_secs(60);

pub fn client(bootstrap: &str) -> Client {
    Client::new(Config::new(bootstrap.split(','))).unwrap()
}

pub fn runtime() -> tokio::runtime::Runtime {
    tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap()
}

pub fn from_start(topic: &str, partitions: i32) -> Vec<(TopicPartition, Start)> {
    (0..partitions).map(|n| (TopicPartition::new(topic, n), Start::At(OffsetAt::Earliest))).collect()
}

/// What a reader has seen: values and offsets by partition, and errors.
#[derive(Debug, Default)]
pub struct Seen {
    pub numbers: BTreeMap<i32, Vec<i64>>,
    pub offsets: BTreeMap<i32, Vec<i64>>,
    pub errors: Vec<FetchError>,
    pub fetched: Vec<Fetched>,
}

impl Seen {
    pub fn add(&mut self, fetched: Fetched) {
        let number = |value: &[u8]| std::str::from_utf8(value).unwrap().trim_end_matches('.').parse::<i64>().unwrap();
        let values = fetched.records.iter().filter_map(|record| record.value.as_deref().map(number));
        self.numbers.entry(fetched.partition).or_default().extend(values);
        let offsets = self.offsets.entry(fetched.partition).or_default();
        offsets.extend(fetched.records.iter().map(|record| record.offset));
        assert!(offsets.windows(2).all(|pair| pair[0] < pair[1]), "offsets rise: {offsets:?}");
        assert!(offsets.last().is_none_or(|last| *last < fetched.next));
        self.errors.extend(fetched.error.clone());
        self.fetched.push(fetched);
    }

    pub fn count(&self) -> usize {
        self.numbers.values().map(Vec::len).sum()
    }

    pub fn headers(&self) -> impl Iterator<Item = &kafkacrypto::kafka::record::Record> {
        self.fetched.iter().flat_map(|fetched| &fetched.records)
    }
}

/// Reads until `enough` or the time is over.
pub async fn read_until(reader: &mut Reader, seen: &mut Seen, within: Duration, enough: impl Fn(&Seen) -> bool) {
    let started = Instant::now();
    while !enough(seen) {
        assert!(started.elapsed() < within, "only {} records, errors {:?}", seen.count(), seen.errors);
        for fetched in reader.next(Most::default(), Duration::from_millis(200)).await {
            seen.add(fetched);
        }
    }
}

/// Reads `count` records, and sees that no more come.
pub async fn read(reader: &mut Reader, count: usize) -> Seen {
    let mut seen = Seen::default();
    read_until(reader, &mut seen, LONG, |seen| seen.count() >= count).await;
    for fetched in reader.next(Most::default(), Duration::from_millis(300)).await {
        seen.add(fetched);
    }
    assert_eq!(seen.count(), count);
    seen
}

pub fn reader(client: &Client, config: ReaderConfig, topic: &str, partitions: i32) -> Reader {
    let mut reader = Reader::new(client, config);
    reader.assign(&from_start(topic, partitions));
    reader
}
