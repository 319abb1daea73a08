//! With rskafka, which has neither lz4 nor zstd and no TLS but ring's.

use std::sync::Arc;
use std::time::{Duration, Instant};

use rskafka::client::ClientBuilder;
use rskafka::client::partition::{Compression, OffsetAt, PartitionClient, UnknownTopicHandling};
use rskafka::record::Record;
use serde_json::Value;
use tokio::task::JoinSet;

use crate::{Job, idle, percentiles, throughput};

pub async fn run(job: &Job) -> Value {
    let client = ClientBuilder::new(vec![job.bootstrap.clone()]).build().await.unwrap();
    let mut partitions = Vec::new();
    for number in 0..job.partitions {
        let partition = client.partition_client(&*job.topic, number, UnknownTopicHandling::Retry).await.unwrap();
        partitions.push(Arc::new(partition));
    }
    match job.job.as_str() {
        "ack" => ack(job, &partitions[0]).await,
        "trip" => {
            // a fetch that waits holds its connection up, so the reader has one of its own
            let reader = client.partition_client(&*job.topic, 0, UnknownTopicHandling::Retry).await.unwrap();
            trip(job, &partitions[0], Arc::new(reader)).await
        }
        "produce" => produce(job, partitions).await,
        "fetch" => fetch(job, partitions).await,
        "idle" => {
            for partition in partitions {
                tokio::spawn(async move {
                    let end = partition.get_offset(OffsetAt::Latest).await.unwrap();
                    loop {
                        partition.fetch_records(end, 1..1 << 20, 500).await.unwrap();
                    }
                });
            }
            tokio::time::sleep(Duration::from_secs(3)).await;
            idle().await
        }
        _ => panic!("no such job: {}", job.job),
    }
}

fn record(value: Vec<u8>) -> Record {
    Record { key: None, value: Some(value), headers: Default::default(), timestamp: now() }
}

async fn ack(job: &Job, partition: &PartitionClient) -> Value {
    let mut times = Vec::new();
    for _ in 0..job.count {
        let value = vec![b'a'; job.size];
        let started = Instant::now();
        partition.produce(vec![record(value)], Compression::NoCompression).await.unwrap();
        times.push(started.elapsed());
    }
    percentiles(times)
}

async fn trip(job: &Job, partition: &PartitionClient, reader: Arc<PartitionClient>) -> Value {
    let mut next = partition.get_offset(OffsetAt::Latest).await.unwrap();
    let mut times = Vec::new();
    for _ in 0..job.count {
        let waiting = tokio::spawn({
            let reader = reader.clone();
            async move {
                loop {
                    let (records, _) = reader.fetch_records(next, 1..1 << 20, 5000).await.unwrap();
                    if let Some(last) = records.last() {
                        return last.offset + 1;
                    }
                }
            }
        });
        tokio::time::sleep(Duration::from_millis(2)).await;
        let started = Instant::now();
        let sent = partition.produce(vec![record(vec![b'a'; job.size])], Compression::NoCompression);
        let (sent, fetched) = tokio::join!(sent, waiting);
        times.push(started.elapsed());
        sent.unwrap();
        next = fetched.unwrap();
    }
    percentiles(times)
}

/// Some requests of 256 records in flight for each partition.
async fn produce(job: &Job, partitions: Vec<Arc<PartitionClient>>) -> Value {
    let codec = match job.codec.as_str() {
        "none" => Compression::NoCompression,
        "snappy" => Compression::Snappy,
        "gzip" => Compression::Gzip,
        other => panic!("it has no {other}"),
    };
    let (mut bytes, mut values) = (0, job.values());
    let started = Instant::now();
    let mut flying = JoinSet::new();
    for turn in 0.. {
        let batch: Vec<_> = values.by_ref().take(256).map(record).collect();
        if batch.is_empty() {
            break;
        }
        bytes += batch.iter().map(Record::approximate_size).sum::<usize>();
        if flying.len() >= 5 * partitions.len() {
            flying.join_next().await;
        }
        let partition = partitions[turn % partitions.len()].clone();
        flying.spawn(async move { partition.produce(batch, codec).await.unwrap() });
    }
    flying.join_all().await;
    throughput(started, job.count, bytes)
}

async fn fetch(job: &Job, partitions: Vec<Arc<PartitionClient>>) -> Value {
    let started = Instant::now();
    let mut reading = JoinSet::new();
    for partition in partitions {
        reading.spawn(async move {
            let end = partition.get_offset(OffsetAt::Latest).await.unwrap();
            let (mut next, mut records, mut bytes) = (0, 0, 0);
            while next < end {
                let (fetched, _) = partition.fetch_records(next, 1..8 << 20, 500).await.unwrap();
                records += fetched.len();
                bytes += fetched.iter().map(|fetched| fetched.record.approximate_size()).sum::<usize>();
                next = fetched.last().map_or(next, |last| last.offset + 1);
            }
            (records, bytes)
        });
    }
    let (mut records, mut bytes) = (0, 0);
    for (more, size) in reading.join_all().await {
        (records, bytes) = (records + more, bytes + size);
    }
    assert_eq!(records, job.count);
    throughput(started, records, bytes)
}

fn now() -> chrono::DateTime<chrono::Utc> {
    let since = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap();
    chrono::DateTime::from_timestamp_millis(i64::try_from(since.as_millis()).unwrap()).unwrap()
}
