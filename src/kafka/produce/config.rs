//! How to produce.

use std::time::Duration;

use crate::kafka::record::Compression;

use super::Partitioner;

/// How to produce: idempotent and with all acknowledgements when nothing else is said.
///
/// ```
/// use kafkacrypto::kafka::{Acks, ProducerConfig};
///
/// let config = ProducerConfig::new().linger(std::time::Duration::from_millis(5));
/// assert!(config.is_idempotent());
/// assert!(!config.acks(Acks::Leader).is_idempotent());
/// ```
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ProducerConfig {
    pub(super) acks: Acks,
    pub(super) idempotent: bool,
    pub(super) batch_size: usize,
    pub(super) linger: Duration,
    pub(super) compression: Compression,
    pub(super) level: Option<i32>,
    pub(super) buffer_memory: usize,
    pub(super) max_block: Duration,
    pub(super) delivery_timeout: Duration,
    pub(super) request_timeout: Option<Duration>,
    pub(super) max_in_flight: usize,
    pub(super) partitioner: Partitioner,
}

/// When a broker says that it has a record.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Acks {
    /// When every replica that is in sync has it (`acks=all`, `acks=-1`).
    #[default]
    All,
    /// When the leader has it (`acks=1`): what the others don't have yet is lost with it.
    Leader,
    /// Never (`acks=0`): records count as delivered once they are sent, and nobody learns of an error.
    None,
}

impl ProducerConfig {
    /// The settings to start with.
    pub fn new() -> Self {
        Self {
            acks: Acks::All,
            idempotent: true,
            batch_size: 1_000_000,
            linger: Duration::ZERO,
            compression: Compression::None,
            level: None,
            buffer_memory: 32 * 1024 * 1024,
            max_block: Duration::from_secs(60),
            delivery_timeout: Duration::from_secs(120),
            request_timeout: None,
            max_in_flight: MOST_IN_FLIGHT,
            partitioner: Partitioner::Java,
        }
    }

    /// Sets when a record counts as delivered. With anything but [`Acks::All`] the producer isn't idempotent.
    pub fn acks(mut self, acks: Acks) -> Self {
        self.acks = acks;
        self
    }

    /// Sets whether the broker can tell a repeated batch (it can at first), so that a lost acknowledgement makes neither
    /// a duplicate nor a failure.
    ///
    /// A producer that isn't idempotent reports a batch whose answer was lost as failed, and
    /// [`Error::may_have_arrived`](crate::kafka::Error::may_have_arrived) says so; it sends again only what the broker
    /// refused. One batch of a partition is out at a time, so that the order stays.
    #[doc(alias = "enable_idempotence")]
    pub fn idempotent(mut self, idempotent: bool) -> Self {
        self.idempotent = idempotent;
        self
    }

    /// Sets how many bytes a batch may have before it is compressed (1 000 000 at first, which fits the limit of a broker that has no other). A larger record is a batch of its
    /// own. A batch doesn't wait to be full; see [`linger`](Self::linger).
    pub fn batch_size(mut self, bytes: usize) -> Self {
        self.batch_size = bytes;
        self
    }

    /// Sets how long a record waits for others before its batch is sent (not at all at first). Even without waiting,
    /// records that come while requests are out share a batch.
    #[doc(alias = "linger_ms")]
    pub fn linger(mut self, time: Duration) -> Self {
        self.linger = time;
        self
    }

    /// Sets how batches are compressed (not at all at first).
    #[doc(alias = "compression_type")]
    pub fn compression(mut self, compression: Compression) -> Self {
        self.compression = compression;
        self
    }

    /// Sets the codec's own level; see [`Compression`].
    pub fn compression_level(mut self, level: Option<i32>) -> Self {
        self.level = level;
        self
    }

    /// Sets how many bytes of records may be on their way (32 MiB at first); to send more waits.
    pub fn buffer_memory(mut self, bytes: usize) -> Self {
        self.buffer_memory = bytes;
        self
    }

    /// Sets how long sending may wait for memory and metadata (60 s at first).
    #[doc(alias = "max_block_ms")]
    pub fn max_block(mut self, time: Duration) -> Self {
        self.max_block = time;
        self
    }

    /// Sets after how long a record that wasn't acknowledged counts as failed (120 s at first). Until then it is tried
    /// again after every error that may pass.
    #[doc(alias = "delivery_timeout_ms")]
    pub fn delivery_timeout(mut self, time: Duration) -> Self {
        self.delivery_timeout = time;
        self
    }

    /// Sets how long one try may take (as the client's `request_timeout` at first). An idempotent producer starts with
    /// less, since to try again costs it nothing but bytes.
    pub fn request_timeout(mut self, time: Duration) -> Self {
        self.request_timeout = Some(time);
        self
    }

    /// Sets how many requests to one broker may be out (5, which is the most).
    #[doc(alias = "max_in_flight_requests_per_connection")]
    pub fn max_in_flight(mut self, requests: usize) -> Self {
        self.max_in_flight = requests.clamp(1, MOST_IN_FLIGHT);
        self
    }

    /// Sets how records that name no partition find theirs.
    pub fn partitioner(mut self, partitioner: Partitioner) -> Self {
        self.partitioner = partitioner;
        self
    }

    /// Whether the broker can tell a repeated batch.
    pub fn is_idempotent(&self) -> bool {
        self.idempotent && self.acks == Acks::All
    }
}

impl Default for ProducerConfig {
    fn default() -> Self {
        Self::new()
    }
}

impl Acks {
    /// As a produce request says it.
    pub(super) fn number(self) -> i16 {
        match self {
            Self::All => -1,
            Self::Leader => 1,
            Self::None => 0,
        }
    }
}

/// Brokers remember the last five batches of a producer in a partition.
const MOST_IN_FLIGHT: usize = 5;
