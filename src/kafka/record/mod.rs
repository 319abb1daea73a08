//! Record batches, format v2 (magic 2): what a produce request carries, what a fetch response holds, what lies in the
//! broker's log.
//!
//! [`BatchWriter`] writes one, [`read_batches`] reads many, [`AbortedFilter`] says which of them a reader of committed
//! data may see. All is pure: bytes in, values out.
//!
//! Must never panic on any input, allocate by a length that it didn't check, or lose a record without an error that
//! names its offsets. Owns the bytes of the batch header, of the records in it and of the frames of the codecs.

mod aborted;
mod codec;
mod cursor;
mod error;
mod layout;
mod read;
mod write;

pub use aborted::{AbortedFilter, Verdict};
pub use codec::Compression;
pub use error::{BatchError, Defect, WriteError};
pub use layout::{Stamp, TimestampType};
pub(in crate::kafka) use read::is_compressed;
pub use read::{Batch, Batches, Marker, Records, read_batches};
pub use write::{BatchWriter, restamp};

use bytes::Bytes;

#[cfg(test)]
mod tests;

/// One record as the log holds it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Record {
    /// Its place in the partition.
    pub offset: i64,
    /// Milliseconds since 1970: the producer's time, or the broker's under `LogAppendTime`; -1 if there is none.
    pub timestamp_ms: i64,
    /// The key; `None` is null, which isn't the same as empty.
    pub key: Option<Bytes>,
    /// The value; `None` is null (a tombstone in a compacted topic).
    pub value: Option<Bytes>,
    /// The headers in the order of the producer, duplicates included.
    pub headers: Vec<Header>,
}

/// A header of a record.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Header {
    /// The name as the bytes on the wire. Kafka means UTF-8, and nothing enforces it: another name is passed on as it is
    /// (Java's client shows replacement characters).
    pub name: Bytes,
    /// The value; `None` is null.
    pub value: Option<Bytes>,
}

impl Header {
    /// A header with a value.
    pub fn new(name: impl Into<Bytes>, value: impl Into<Bytes>) -> Self {
        Self { name: name.into(), value: Some(value.into()) }
    }

    /// A header whose value is null.
    pub fn null(name: impl Into<Bytes>) -> Self {
        Self { name: name.into(), value: None }
    }
}

/// What the records of one batch may take in memory when nothing else is said: 128 MiB.
///
/// Brokers limit the compressed size only, so a batch of 1 MB can hold gigabytes.
pub const DECOMPRESSED_LIMIT: usize = 128 << 20;
