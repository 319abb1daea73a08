//! What can be wrong with a batch.

use std::fmt;

use super::codec::Compression;

/// A batch that can't be read. The batches behind it can, and a reader may pass it over: `last_offset + 1` is next.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BatchError {
    /// The offset that the batch starts with. No checksum covers it.
    pub base_offset: i64,
    /// The last offset of the batch, never less than `base_offset`. It comes from the batch itself, but doesn't reach into
    /// the batch behind it in the same response.
    pub last_offset: i64,
    /// What is wrong.
    pub defect: Defect,
}

impl fmt::Display for BatchError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { base_offset, last_offset, defect } = self;
        write!(f, "the batch of offsets {base_offset} to {last_offset} can't be read: {defect}")
    }
}

impl std::error::Error for BatchError {}

/// Why a batch can't be read.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum Defect {
    /// The length in the header is less than a header.
    #[error("its length of {0} bytes is too short for a batch")]
    Length(i32),
    /// The format of Kafka before 0.11, or one to come.
    #[error("its format is magic {0}, and only 2 is supported (Kafka 0.11 and newer)")]
    Magic(i8),
    /// The bytes aren't those that were written.
    #[error("its checksum is {found:08x} and should be {stated:08x}, so it was damaged on disk or on the way")]
    Checksum {
        /// What stands in the header.
        stated: u32,
        /// What the bytes give.
        found: u32,
    },
    /// The counts in the header contradict each other.
    #[error("its header is wrong: {0}")]
    Header(&'static str),
    /// A codec that Kafka doesn't have.
    #[error("it is compressed with codec {0}, which isn't known")]
    Codec(u8),
    /// The compressed bytes are damaged.
    #[error("its {codec} data can't be decompressed: {why}")]
    Compressed {
        /// The codec.
        codec: Compression,
        /// What the codec said.
        why: String,
    },
    /// More memory than the caller allows.
    #[error("its records take more than the limit of {limit} bytes; raise the limit if that is no attack")]
    TooLarge {
        /// The limit.
        limit: usize,
    },
    /// A record's own lengths are wrong.
    #[error("its record number {index} is malformed: {why}")]
    Record {
        /// Which, from 0.
        index: i32,
        /// What is wrong.
        why: &'static str,
    },
}

/// A record or a batch that can't be written.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum WriteError {
    /// The format's lengths have 31 bits.
    #[error("the batch would be over 2 GiB, the most that the format can hold; send smaller records")]
    TooLarge,
    /// A batch without records; brokers refuse it.
    #[error("a batch needs at least one record")]
    Empty,
    /// What is to be restamped isn't a batch.
    #[error("these bytes aren't one whole batch")]
    NotABatch,
}
