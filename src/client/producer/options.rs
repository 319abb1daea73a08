use std::time::Duration;

use crate::client::{Partitioning, partition_of};
use crate::transport::{PartitionOf, Preferences};

/// How a [`Producer`](super::Producer) works. What isn't said here is as the settings of its transport say, and where they
/// say nothing either, as it is told below.
///
/// ```
/// use std::time::Duration;
/// use kafkacrypto::client::{Partitioning, ProducerOptions};
///
/// let options = ProducerOptions::new().partitioning(Partitioning::IgnoreKeys).linger(Duration::from_millis(20));
/// assert_ne!(options, ProducerOptions::new());
/// ```
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ProducerOptions {
    pub(super) partitioning: Partitioning,
    pub(super) linger: Duration,
    batch_bytes: Option<usize>,
    buffer_bytes: Option<u32>,
    max_block: Option<Duration>,
    pub(super) create_topics: Option<i32>,
    pub(super) allow_duplicates: bool,
    delivery_timeout: Option<Duration>,
    request_timeout: Option<Duration>,
}

/// The same with all that the transport says, and nothing left open.
#[derive(Debug)]
pub(super) struct Rules {
    pub(super) options: ProducerOptions,
    pub(super) partition_of: PartitionOf,
    pub(super) batch_bytes: usize,
    pub(super) buffer_bytes: u32,
    pub(super) max_block: Option<Duration>,
    pub(super) delivery_timeout: Duration,
    pub(super) request_timeout: Duration,
}

impl ProducerOptions {
    /// What a `Producer` does unless it is told otherwise.
    #[must_use]
    pub fn new() -> Self {
        Self {
            partitioning: Partitioning::default(),
            linger: Duration::ZERO,
            batch_bytes: None,
            buffer_bytes: None,
            max_block: None,
            create_topics: Some(1),
            allow_duplicates: false,
            delivery_timeout: None,
            request_timeout: None,
        }
    }

    /// How partitions are chosen: by the plaintext key at first.
    #[must_use]
    pub fn partitioning(mut self, partitioning: Partitioning) -> Self {
        self.partitioning = partitioning;
        self
    }

    /// How long a record waits for company, so that more go in one request: not at all at first. What comes while a
    /// request is under way goes together in the next one anyway.
    #[must_use]
    pub fn linger(mut self, linger: Duration) -> Self {
        self.linger = linger;
        self
    }

    /// About how many bytes go in one request: 256 KiB at first. What the broker finds too large is sent in halves.
    #[must_use]
    pub fn batch_bytes(mut self, bytes: usize) -> Self {
        self.batch_bytes = Some(bytes);
        self
    }

    /// How many bytes may wait for delivery (32 MiB at first, never less than 64 KiB); beyond, queueing waits.
    #[must_use]
    pub fn buffer_bytes(mut self, bytes: u32) -> Self {
        self.buffer_bytes = Some(bytes);
        self
    }

    /// How long queueing may wait for the buffer before it fails: until there is room at first.
    #[must_use]
    pub fn max_block(mut self, time: Duration) -> Self {
        self.max_block = Some(time);
        self
    }

    /// How many partitions a topic gets that doesn't exist yet (1 at first); `None`: it isn't created, and sending fails.
    #[must_use]
    pub fn create_topics(mut self, partitions: Option<i32>) -> Self {
        self.create_topics = partitions;
        self
    }

    /// Whether a record may be sent again when the broker's answer was lost. At first it may not: sending fails with
    /// [`SendError::MayHaveArrived`](crate::client::SendError::MayHaveArrived). Allowed, no record is lost to an outage
    /// that is shorter than the [delivery timeout](Self::delivery_timeout), and some may be there twice.
    #[must_use]
    pub fn allow_duplicates(mut self, allow: bool) -> Self {
        self.allow_duplicates = allow;
        self
    }

    /// How long a record may take from queueing to the broker's answer, tries included: 30 seconds at first.
    #[must_use]
    pub fn delivery_timeout(mut self, timeout: Duration) -> Self {
        self.delivery_timeout = Some(timeout);
        self
    }

    /// How long a single request may take: 10 seconds at first.
    #[must_use]
    pub fn request_timeout(mut self, timeout: Duration) -> Self {
        self.request_timeout = Some(timeout);
        self
    }

    pub(super) fn over(self, transport: Preferences) -> Rules {
        let buffer = transport.buffer_bytes.map(|bytes| u32::try_from(bytes).unwrap_or(u32::MAX));
        // A transport that was told how long a record may take tries again by itself.
        let request_timeout = self.request_timeout.or(transport.delivery_timeout);
        Rules {
            partition_of: transport.partition_of.unwrap_or(partition_of),
            batch_bytes: self.batch_bytes.or(transport.batch_bytes).unwrap_or(BATCH_BYTES),
            buffer_bytes: self.buffer_bytes.or(buffer).unwrap_or(BUFFER_BYTES).max(LEAST_BUFFER_BYTES),
            max_block: self.max_block.or(transport.max_block),
            delivery_timeout: self.delivery_timeout.or(transport.delivery_timeout).unwrap_or(DELIVERY_TIMEOUT),
            request_timeout: request_timeout.unwrap_or(REQUEST_TIMEOUT),
            options: self,
        }
    }
}

impl Default for ProducerOptions {
    fn default() -> Self {
        Self::new()
    }
}

const BATCH_BYTES: usize = 256 * 1024;
const BUFFER_BYTES: u32 = 32 * 1024 * 1024;
const LEAST_BUFFER_BYTES: u32 = 64 * 1024;
const DELIVERY_TIMEOUT: Duration = Duration::from_secs(30);
const REQUEST_TIMEOUT: Duration = Duration::from_secs(10);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_said_comes_first_then_the_transport_then_the_house() {
        let mut transport = Preferences::default();
        let rules = ProducerOptions::new().over(transport);
        assert_eq!((rules.batch_bytes, rules.buffer_bytes), (BATCH_BYTES, BUFFER_BYTES));
        assert_eq!((rules.partition_of)(b"foobar", 100), Some(66));
        transport.batch_bytes = Some(1000);
        transport.buffer_bytes = Some(usize::MAX);
        transport.delivery_timeout = Some(Duration::from_secs(120));
        transport.partition_of = Some(|_, count| count.checked_sub(1));
        let rules = ProducerOptions::new().over(transport);
        assert_eq!((rules.batch_bytes, rules.buffer_bytes), (1000, u32::MAX));
        assert_eq!((rules.partition_of)(b"foobar", 100), Some(99));
        assert_eq!(
            (rules.delivery_timeout, rules.request_timeout),
            (Duration::from_secs(120), Duration::from_secs(120))
        );
        let told = ProducerOptions::new().batch_bytes(7).buffer_bytes(1).delivery_timeout(Duration::ZERO);
        let rules = told.request_timeout(Duration::MAX).over(transport);
        assert_eq!((rules.batch_bytes, rules.buffer_bytes), (7, LEAST_BUFFER_BYTES));
        assert_eq!((rules.delivery_timeout, rules.request_timeout), (Duration::ZERO, Duration::MAX));
    }
}
