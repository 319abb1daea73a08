//! The records of one partition.

use std::collections::VecDeque;
use std::sync::Arc;

use crate::transport::{Batch, FetchFrom, OffsetAt, Outgoing, Record, TransportError, TransportErrorKind};

/// One partition: its records, and the offset of the first that is still there.
#[derive(Debug, Default)]
pub(super) struct Log {
    start: i64,
    records: VecDeque<Record>,
}

impl Log {
    pub(super) fn end(&self) -> i64 {
        self.start.saturating_add(i64::try_from(self.records.len()).unwrap_or(i64::MAX))
    }

    pub(super) fn append(&mut self, topic: &Arc<str>, partition: i32, record: Outgoing) -> i64 {
        let Outgoing { key, value, headers, timestamp_ms } = record;
        let offset = self.end();
        self.records.push_back(Record { topic: topic.clone(), partition, offset, timestamp_ms, key, value, headers });
        offset
    }

    /// What there is from an offset on: at most `max_bytes`, but at least one record.
    pub(super) fn read(&self, from: &FetchFrom, max_bytes: i32) -> Result<Batch, TransportError> {
        let end = self.end();
        if from.offset < self.start || from.offset > end {
            return Err(out_of_range(from, self.start, end));
        }
        let skip = usize::try_from(from.offset.saturating_sub(self.start)).unwrap_or(usize::MAX);
        let mut left = usize::try_from(max_bytes).unwrap_or(0);
        let mut records = Vec::new();
        for record in self.records.iter().skip(skip) {
            let size = size_of(record.key.as_deref(), record.value.as_deref(), &record.headers);
            if size > left && !records.is_empty() {
                break;
            }
            left = left.saturating_sub(size);
            records.push(record.clone());
        }
        let next = records.last().map_or(from.offset, |last| last.offset.saturating_add(1));
        Ok(Batch { records, next, end, skipped: Vec::new() })
    }

    pub(super) fn offset(&self, at: OffsetAt) -> i64 {
        match at {
            OffsetAt::Earliest => self.start,
            OffsetAt::Latest => self.end(),
            OffsetAt::Time(ms) => {
                self.records.iter().find(|record| record.timestamp_ms >= ms).map_or(self.end(), |record| record.offset)
            }
        }
    }

    pub(super) fn trim(&mut self, before: i64) {
        while self.start < before && self.records.pop_front().is_some() {
            self.start = self.start.saturating_add(1);
        }
    }

    pub(super) fn all(&self) -> Vec<Record> {
        self.records.iter().cloned().collect()
    }
}

/// About what a record takes on a broker.
pub(super) fn size_of(key: Option<&[u8]>, value: Option<&[u8]>, headers: &[(String, Option<Vec<u8>>)]) -> usize {
    let headers: usize = headers.iter().map(|(name, value)| name.len() + value.as_ref().map_or(0, Vec::len)).sum();
    OVERHEAD + key.map_or(0, <[u8]>::len) + value.map_or(0, <[u8]>::len) + headers
}

fn out_of_range(from: &FetchFrom, start: i64, end: i64) -> TransportError {
    let FetchFrom { topic, partition, offset } = from;
    TransportError::new(
        TransportErrorKind::OffsetOutOfRange,
        format!("partition {partition} of topic {topic:?} has no offset {offset}, but {start} to {end}"),
    )
}

/// What Kafka adds to a batch with one record.
const OVERHEAD: usize = 68;
