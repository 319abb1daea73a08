//! A batch on its way from the first record to the acknowledgement.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;

use crate::kafka::error::{Error, ErrorKind};
use crate::kafka::record::{
    BatchWriter, Compression, DECOMPRESSED_LIMIT, Record, Stamp, WriteError, read_batches, restamp,
};

use super::report::{Ack, Piece, Report};

/// The records of a batch: being filled, or as they are sent.
#[derive(Debug)]
pub(super) enum Body {
    Open(BatchWriter),
    Done { bytes: Bytes, stamp: Stamp },
}

impl Body {
    /// The size in a request; with [`Body::Open`], what it is if nothing compresses it.
    pub(super) fn size(&self) -> usize {
        match self {
            Self::Open(writer) => writer.size(),
            Self::Done { bytes, .. } => bytes.len(),
        }
    }

    /// Compresses the records, which may take a while.
    pub(super) fn compressed(self, compression: Compression, level: Option<i32>) -> Result<Self, WriteError> {
        match self {
            Self::Open(writer) => {
                let stamp = Stamp::NONE;
                Ok(Self::Done { bytes: writer.finish(compression, level, stamp)?, stamp })
            }
            done => Ok(done),
        }
    }

    /// The bytes to send: those of an earlier try with the same stamp are the same.
    pub(super) fn stamped(
        self,
        with: Stamp,
        compression: Compression,
        level: Option<i32>,
    ) -> Result<Bytes, WriteError> {
        match self {
            Self::Open(writer) => writer.finish(compression, level, with),
            Self::Done { bytes, stamp } if stamp == with => Ok(bytes),
            Self::Done { bytes, .. } => restamp(bytes, with),
        }
    }
}

/// The place of a batch in its partition: batches are numbered as they are made, the pieces of a split one by their
/// first record.
pub(super) type Place = (u64, i32);

/// A batch.
#[derive(Debug)]
pub(super) struct Batch {
    pub(super) place: Place,
    pub(super) report: Arc<Report>,
    pub(super) count: i32,
    /// `None` while it is out or being compressed.
    pub(super) body: Option<Body>,
    /// The memory that its records were charged.
    pub(super) charged: usize,
    pub(super) created: Duration,
    /// How long its records may take.
    pub(super) timeout: Duration,
    /// No record comes any more.
    pub(super) closed: bool,
    /// Who it was sent as.
    pub(super) stamp: Option<Stamp>,
    /// Which of the batches of its partition that have got a sequence it is.
    pub(super) number: Option<u64>,
    /// A request with it may be on its way.
    pub(super) departed: bool,
    /// A try ended without a word, so the broker may have it.
    pub(super) doubtful: bool,
    /// How often it got a new sequence.
    pub(super) resets: u32,
    /// Why the last try failed.
    pub(super) last_error: Option<Error>,
}

impl Batch {
    pub(super) fn deadline(&self) -> Duration {
        self.created.saturating_add(self.timeout)
    }

    /// What its records are told.
    pub(super) fn piece(&self, result: Result<Ack, Error>) -> Piece {
        Piece { first: self.place.1, count: self.count, result }
    }

    /// The error for a batch that won't be tried again.
    pub(super) fn verdict(&self, error: Error) -> Error {
        if self.doubtful { error.maybe_sent() } else { error }
    }

    /// The error for a batch whose time is up.
    pub(super) fn expired(&self) -> Error {
        let why = self.last_error.as_ref().map(|error| format!(" ({})", error.message())).unwrap_or_default();
        let message = format!("no acknowledgement within {:?}{why}", self.timeout);
        let error = Error::new(ErrorKind::TimedOut, message);
        if self.doubtful { error } else { error.unsent() }
    }

    /// Two halves of a batch that the broker finds too large. Each has its own part of the charge.
    pub(super) fn split(&self) -> Result<(Self, Self), Error> {
        let records = match &self.body {
            Some(Body::Done { bytes, .. }) => records(bytes)?,
            _ => Vec::new(),
        };
        let (front, back) = records.split_at(records.len() / 2);
        let (first, second) = (write(front)?, write(back)?);
        let part = self.charged / 2;
        let later = self.place.1.saturating_add(first.count());
        let back = self.half(second, later, self.charged - part);
        let front = self.half(first, self.place.1, part);
        Ok((front, back))
    }

    fn half(&self, writer: BatchWriter, first: i32, charged: usize) -> Self {
        let stamp = self.stamp.map(|stamp| Stamp { sequence: after(stamp.sequence, first - self.place.1), ..stamp });
        Self {
            place: (self.place.0, first),
            report: Arc::clone(&self.report),
            count: writer.count(),
            body: Some(Body::Open(writer)),
            charged,
            stamp,
            last_error: self.last_error.clone(),
            ..*self
        }
    }
}

/// The sequence number so many records later. Behind the highest comes 0.
pub(super) fn after(sequence: i32, records: i32) -> i32 {
    sequence.wrapping_add(records) & i32::MAX
}

fn records(bytes: &Bytes) -> Result<Vec<Record>, Error> {
    let bad = |why: String| Error::new(ErrorKind::Corrupt, format!("can't split a batch: {why}"));
    let batch = read_batches(bytes).next().ok_or_else(|| bad("there is none".to_owned()))?;
    let batch = batch.map_err(|error| bad(error.to_string()))?;
    let records = batch.records(DECOMPRESSED_LIMIT.max(bytes.len())).map_err(|error| bad(error.to_string()))?;
    records.collect::<Result<_, _>>().map_err(|error| bad(error.to_string()))
}

fn write(records: &[Record]) -> Result<BatchWriter, Error> {
    let mut writer = BatchWriter::with_capacity(0);
    for record in records {
        let (key, value) = (record.key.as_deref(), record.value.as_deref());
        writer.append(record.timestamp_ms, key, value, &record.headers).map_err(unwritable)?;
    }
    Ok(writer)
}

/// What a batch or a record that can't be written means.
pub(super) fn unwritable(error: WriteError) -> Error {
    let kind = if error == WriteError::TooLarge { ErrorKind::TooLarge } else { ErrorKind::Corrupt };
    Error::new(kind, format!("can't write a batch: {error}")).unsent()
}
