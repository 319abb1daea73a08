use std::time::Duration;

use crate::client::Partitioning;

/// How a [`Producer`](super::Producer) works.
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
    pub(super) batch_bytes: usize,
    pub(super) buffer_bytes: u32,
    pub(super) create_topics: Option<i32>,
    pub(super) allow_duplicates: bool,
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
            batch_bytes: 256 * 1024,
            buffer_bytes: 32 * 1024 * 1024,
            create_topics: Some(1),
            allow_duplicates: false,
            delivery_timeout: Duration::from_secs(30),
            request_timeout: Duration::from_secs(10),
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
        self.batch_bytes = bytes;
        self
    }

    /// How many bytes may wait for delivery (32 MiB at first, never less than 64 KiB); beyond, queueing waits.
    #[must_use]
    pub fn buffer_bytes(mut self, bytes: u32) -> Self {
        self.buffer_bytes = bytes.max(64 * 1024);
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
        self.delivery_timeout = timeout;
        self
    }

    /// How long a single request may take: 10 seconds at first.
    #[must_use]
    pub fn request_timeout(mut self, timeout: Duration) -> Self {
        self.request_timeout = timeout;
        self
    }
}

impl Default for ProducerOptions {
    fn default() -> Self {
        Self::new()
    }
}
