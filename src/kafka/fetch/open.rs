//! Records out of the bytes of one partition, as far as the caller wants to have them.

use std::collections::VecDeque;
use std::sync::Arc;

use bytes::Bytes;

use super::Isolation;
use super::core::Chunk;
use super::unpack::Packed;
use crate::kafka::record::{AbortedFilter, Batch, BatchError, DECOMPRESSED_LIMIT, Record, Records, Verdict};

/// A chunk that is being read.
#[derive(Debug)]
pub(super) struct Open {
    batches: VecDeque<Result<Arc<Packed>, BatchError>>,
    filter: AbortedFilter,
    records: Option<Within>,
    /// Whether any batch was whole.
    any: bool,
    empty: bool,
    bytes: usize,
    epoch: i32,
}

/// The batch that is being read.
#[derive(Debug)]
struct Within {
    records: Records,
    last_offset: i64,
    leader_epoch: i32,
}

/// How much may still be handed out.
#[derive(Debug, Clone, Copy)]
pub(super) struct Allowed {
    pub(super) records: usize,
    pub(super) bytes: usize,
}

/// How reading ended.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Ended {
    /// All of it was read.
    Done,
    /// As much was read as is allowed.
    Full,
    /// A batch can't be read: from, to, and why.
    Bad { first: i64, last: i64, reason: String },
}

impl Open {
    pub(super) fn new(chunk: &Chunk, isolation: Isolation) -> Self {
        let filter = match isolation {
            Isolation::Committed => AbortedFilter::committed(chunk.aborted.iter().copied()),
            Isolation::Uncommitted => AbortedFilter::uncommitted(),
        };
        let bytes = chunk.records.len();
        Self {
            batches: chunk.batches.batches().iter().cloned().collect(),
            filter,
            records: None,
            any: false,
            empty: bytes == 0,
            bytes,
            epoch: -1,
        }
    }

    /// The bytes that it holds.
    pub(super) fn bytes(&self) -> usize {
        self.bytes
    }

    /// The epoch of the batch that was read from last, or -1.
    pub(super) fn epoch(&self) -> i32 {
        self.epoch
    }

    /// Appends records from `position` on, and moves it behind what was read. At least one record fits if `records` isn't 0.
    pub(super) fn read(&mut self, position: &mut i64, allowed: &mut Allowed, into: &mut Vec<Record>) -> Ended {
        loop {
            if let Some(within) = &mut self.records {
                let before = *position;
                let ended = within.read(position, allowed, into);
                if *position != before {
                    self.epoch = within.leader_epoch;
                }
                if let Some(ended) = ended {
                    return ended;
                }
                self.records = None;
            }
            match self.batches.pop_front() {
                Some(Ok(packed)) => {
                    self.any = true;
                    let batch = packed.batch();
                    drop(packed); // no thread begins with it now
                    if let Err(error) = self.enter(&batch, position) {
                        return bad(&error);
                    }
                }
                Some(Err(error)) => return bad(&error),
                None if self.any || self.empty => return Ended::Done,
                None => {
                    let reason = "the broker sent no whole batch; its log may be damaged".to_owned();
                    return Ended::Bad { first: *position, last: *position, reason };
                }
            }
        }
    }

    fn enter(&mut self, batch: &Batch, position: &mut i64) -> Result<(), BatchError> {
        if self.filter.judge(batch)? != Verdict::Deliver || batch.last_offset < *position {
            *position = (*position).max(batch.last_offset.saturating_add(1));
            self.epoch = batch.leader_epoch;
            return Ok(());
        }
        let records = batch.records(DECOMPRESSED_LIMIT)?;
        self.records = Some(Within { records, last_offset: batch.last_offset, leader_epoch: batch.leader_epoch });
        Ok(())
    }
}

impl Within {
    /// `None` at its end.
    fn read(&mut self, position: &mut i64, allowed: &mut Allowed, into: &mut Vec<Record>) -> Option<Ended> {
        while allowed.records > 0 && allowed.bytes > 0 {
            match self.records.next() {
                Some(Ok(record)) if record.offset < *position => {}
                Some(Ok(record)) => {
                    *position = record.offset.saturating_add(1);
                    allowed.records -= 1;
                    allowed.bytes = allowed.bytes.saturating_sub(size(&record));
                    into.push(record);
                }
                Some(Err(error)) => return Some(bad(&error)),
                None => {
                    *position = (*position).max(self.last_offset.saturating_add(1));
                    return None;
                }
            }
        }
        Some(Ended::Full)
    }
}

/// The bytes of keys, values and headers, and one so that no record is free.
pub(super) fn size(record: &Record) -> usize {
    let of = |bytes: &Option<Bytes>| bytes.as_ref().map_or(0, Bytes::len);
    let headers: usize = record.headers.iter().map(|header| header.name.len() + of(&header.value)).sum();
    of(&record.key) + of(&record.value) + headers + 1
}

fn bad(error: &BatchError) -> Ended {
    Ended::Bad { first: error.base_offset, last: error.last_offset, reason: error.defect.to_string() }
}
