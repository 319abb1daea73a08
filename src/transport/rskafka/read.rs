//! Reading one partition once, also past what the client can't read.

use std::ops::Range;
use std::time::Duration;

use ::rskafka::client::error::Error;
use ::rskafka::client::partition::{OffsetAt, PartitionClient};
use ::rskafka::record::RecordAndOffset;

use super::cluster::Cluster;
use super::failure::{Failure, is_unreadable};
use crate::transport::{Batch, FetchFrom, Record, Skipped};

/// One attempt: waits at the broker for records up to `wait`.
pub(super) async fn read(
    cluster: &Cluster,
    from: &FetchFrom,
    max_bytes: i32,
    wait: Duration,
) -> Result<Batch, Failure> {
    let reader = cluster.reader(&from.topic, from.partition).await?;
    let batch = cluster.noting(&from.topic, read_with(&reader, from, max_bytes, wait).await)?;
    cluster.put_back(reader);
    Ok(batch)
}

async fn read_with(reader: &PartitionClient, from: &FetchFrom, max_bytes: i32, wait: Duration) -> Result<Batch, Error> {
    let wait = i32::try_from(wait.as_millis()).unwrap_or(i32::MAX);
    match reader.fetch_records(from.offset, 1..max_bytes.saturating_add(1).max(2), wait).await {
        Ok((records, end)) if records.is_empty() && from.offset < end => step(reader, from).await,
        Ok((records, end)) => Ok(batch(from, from.offset, records, end)),
        Err(error) if is_unreadable(&error) => step(reader, from).await,
        Err(error) => Err(error),
    }
}

/// Goes forward offset by offset, over what can't be read (reported) and what compaction has taken away, until there
/// is a record. Bounded: the next call goes on from there.
async fn step(reader: &PartitionClient, from: &FetchFrom) -> Result<Batch, Error> {
    let end = reader.get_offset(OffsetAt::Latest).await?;
    let mut passed = Batch { next: from.offset, end, ..Batch::default() };
    for _ in 0..MOST_STEPS {
        match reader.fetch_records(passed.next, ONE_BATCH, 0).await {
            Ok((records, _)) if records.is_empty() && passed.next < end => {}
            Ok((records, end)) => {
                let skipped = passed.skipped;
                return Ok(Batch { skipped, ..batch(from, passed.next, records, end) });
            }
            Err(error) if is_unreadable(&error) => passed.skipped.push(skipped(passed.next, &error)),
            Err(error) => return Err(error),
        }
        passed.next = passed.next.saturating_add(1);
    }
    Ok(passed)
}

fn batch(from: &FetchFrom, next: i64, records: Vec<RecordAndOffset>, end: i64) -> Batch {
    let next = records.last().map_or(next, |last| last.offset.saturating_add(1));
    let records = records.into_iter().map(|record| record_of(from, record)).collect();
    Batch { records, next, end, skipped: Vec::new() }
}

fn record_of(from: &FetchFrom, record: RecordAndOffset) -> Record {
    let RecordAndOffset { record, offset } = record;
    Record {
        topic: from.topic.clone(),
        partition: from.partition,
        offset,
        timestamp_ms: record.timestamp.timestamp_millis(),
        key: record.key,
        value: record.value,
        headers: record.headers.into_iter().map(|(name, value)| (name, Some(value))).collect(),
    }
}

fn skipped(offset: i64, error: &Error) -> Skipped {
    let why = Failure::from(error);
    let reason = format!(
        "this client can't read the batch (the end of a transaction, lz4, zstd, a header with a null value, or damage): {}",
        why.detail()
    );
    Skipped { offset, reason }
}

/// The broker always gives one whole batch.
const ONE_BATCH: Range<i32> = 1..2;
const MOST_STEPS: usize = 200;
