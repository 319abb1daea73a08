//! What a [`Reader`](super::Reader) is told: which partitions, from where, how much, and what to do when an offset isn't there.

use std::sync::Arc;
use std::time::Duration;

/// A partition of a topic.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct TopicPartition {
    /// The topic.
    pub topic: Arc<str>,
    /// The partition.
    pub partition: i32,
}

impl TopicPartition {
    /// This partition of this topic.
    ///
    /// ```
    /// # use kafkacrypto::kafka::TopicPartition;
    /// assert_eq!(TopicPartition::new("greetings", 3).to_string(), "greetings/3");
    /// ```
    pub fn new(topic: impl Into<Arc<str>>, partition: i32) -> Self {
        Self { topic: topic.into(), partition }
    }
}

impl std::fmt::Display for TopicPartition {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}/{}", self.topic, self.partition)
    }
}

/// Where to start in a partition.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Start {
    /// At this offset.
    Offset(i64),
    /// At an offset that was kept with the leader's epoch of the record before it: should another leader have
    /// written something else there since, it is noticed.
    Kept {
        /// The offset.
        offset: i64,
        /// The epoch of the record before it.
        leader_epoch: i32,
    },
    /// At an offset that the broker is asked for.
    At(OffsetAt),
}

/// An offset that a broker knows.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum OffsetAt {
    /// Of the first record that is still there.
    Earliest,
    /// Of the next record to come; with [`Isolation::Committed`] the end of what can be read.
    Latest,
    /// Of the first record of this time (milliseconds since 1970) or later; like `Latest` when there is none.
    Time(i64),
}

/// Which records of transactions are seen.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Default)]
pub enum Isolation {
    /// Those of committed transactions, and those outside of any. Reading ends before the first open transaction.
    #[default]
    Committed,
    /// All, also those that were aborted or are still open.
    Uncommitted,
}

/// Where to go on when the wanted offset isn't there. It is reported in any case.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Reset {
    /// Nowhere: the partition stands still until it is assigned or sought again.
    #[default]
    Stop,
    /// At the first record that is still there.
    Earliest,
    /// At the next record to come.
    Latest,
}

/// What to do at a batch that can't be read. It is reported in any case.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Corrupt {
    /// The partition stands still until it is assigned or sought again.
    #[default]
    Stop,
    /// The batch is passed over.
    Skip,
}

/// How a [`Reader`](super::Reader) reads.
///
/// ```
/// # use kafkacrypto::kafka::{ReaderConfig, Reset};
/// let config = ReaderConfig::default().reset(Reset::Earliest).buffer(8 << 20);
/// assert_eq!(config.buffer, 8 << 20);
/// ```
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct ReaderConfig {
    /// Which records of transactions are seen.
    pub isolation: Isolation,
    /// What to do when the offset isn't there.
    pub reset: Reset,
    /// What to do at a batch that can't be read.
    pub corrupt: Corrupt,
    /// Bytes that are read ahead; one batch of the broker's more where a single one is bigger.
    pub buffer: usize,
    /// Bytes of one partition in one answer.
    pub partition_bytes: usize,
    /// How long trouble that may pass (no leader, no connection) is kept from the caller.
    pub patience: Duration,
}

impl Default for ReaderConfig {
    fn default() -> Self {
        Self {
            isolation: Isolation::Committed,
            reset: Reset::Stop,
            corrupt: Corrupt::Stop,
            buffer: 32 << 20,
            partition_bytes: PARTITION_BYTES,
            patience: Duration::from_secs(5),
        }
    }
}

impl ReaderConfig {
    /// Which records of transactions are seen.
    #[doc(alias = "isolation_level")]
    pub fn isolation(mut self, isolation: Isolation) -> Self {
        self.isolation = isolation;
        self
    }

    /// What to do when the offset isn't there.
    #[doc(alias = "auto_offset_reset")]
    pub fn reset(mut self, reset: Reset) -> Self {
        self.reset = reset;
        self
    }

    /// What to do at a batch that can't be read.
    pub fn corrupt(mut self, corrupt: Corrupt) -> Self {
        self.corrupt = corrupt;
        self
    }

    /// Bytes that are read ahead. All Readers of a Client share at most [`CLIENT_BUFFER`] bytes.
    #[doc(alias = "fetch_max_bytes")]
    pub fn buffer(mut self, bytes: usize) -> Self {
        self.buffer = bytes;
        self
    }

    /// Bytes of one partition in one answer.
    #[doc(alias = "max_partition_fetch_bytes")]
    pub fn partition_bytes(mut self, bytes: usize) -> Self {
        self.partition_bytes = bytes;
        self
    }

    /// How long trouble that may pass is kept from the caller.
    pub fn patience(mut self, patience: Duration) -> Self {
        self.patience = patience;
        self
    }
}

/// How much [`Reader::next`](super::Reader::next) hands out at once. There is always one record, however big.
///
/// ```
/// # use kafkacrypto::kafka::Most;
/// assert_eq!(Most::records(500).bytes_each(65536).records, 500);
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub struct Most {
    /// Records of all partitions together.
    pub records: usize,
    /// Bytes (keys, values and headers) of all partitions together.
    pub bytes: usize,
    /// Bytes of each partition.
    pub bytes_each: usize,
}

impl Default for Most {
    fn default() -> Self {
        Self { records: usize::MAX, bytes: 4 << 20, bytes_each: usize::MAX }
    }
}

impl Most {
    /// At most so many records.
    pub fn records(records: usize) -> Self {
        Self { records, ..Self::default() }
    }

    /// At most so many bytes in all.
    pub fn bytes(mut self, bytes: usize) -> Self {
        self.bytes = bytes;
        self
    }

    /// At most so many bytes of each partition.
    pub fn bytes_each(mut self, bytes: usize) -> Self {
        self.bytes_each = bytes;
        self
    }
}

/// Bytes that all Readers of one Client read ahead together, as brokers send them. Of what is compressed, up to 32 MiB more
/// are decompressed ahead.
pub const CLIENT_BUFFER: usize = 64 << 20;

/// Brokers cut an answer within a batch, and the part is sent in vain: two of a producer's largest batches fit.
const PARTITION_BYTES: usize = 2 << 20;
