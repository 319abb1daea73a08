use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use crate::store::config::NodeSettings;
use crate::transport::{Preferences, Reset};

/// What a [`Consumer`](super::Consumer) reads, and how. What isn't said here is as the settings of its transport say, and
/// where they say nothing either, as it is told below.
///
/// ```
/// use kafkacrypto::client::{ConsumerOptions, Start};
///
/// let options = ConsumerOptions::new(Start::Tail(10)).partitions([0, 1]).partition_from(1, Start::Offset(42));
/// assert_eq!(options.start_of(0), Start::Tail(10));
/// assert_eq!(options.start_of(1), Start::Offset(42));
/// ```
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ConsumerOptions {
    pub(super) partitions: Option<BTreeSet<i32>>,
    pub(super) start: Start,
    pub(super) starts: BTreeMap<i32, Start>,
    pub(super) out_of_range: Option<OutOfRange>,
    pub(super) stop_at_end: bool,
    pub(super) stop_before: Option<i64>,
    pub(in crate::client) wait_for_keys: Option<Duration>,
    pub(super) buffer_bytes: Option<usize>,
    pub(super) notice_partitions: Duration,
    pub(super) request_timeout: Duration,
}

/// Where reading of a partition starts.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum Start {
    /// At the first record that is still there.
    Beginning,
    /// After the last record: only what comes from now on.
    End,
    /// At this offset.
    Offset(i64),
    /// At the first record of this time or later (milliseconds since 1970).
    Time(i64),
    /// This many offsets before the end.
    Tail(u64),
}

/// What happens when the offset that is to be read isn't there. It is reported in each case.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum OutOfRange {
    /// Reading goes on at the first record that is still there.
    Beginning,
    /// Reading goes on after the last record.
    End,
    /// Reading of that partition ends.
    Fail,
}

impl ConsumerOptions {
    /// All partitions of the topic, new ones too, from here on.
    #[must_use]
    pub fn new(start: Start) -> Self {
        Self {
            partitions: None,
            start,
            starts: BTreeMap::new(),
            out_of_range: None,
            stop_at_end: false,
            stop_before: None,
            wait_for_keys: None,
            buffer_bytes: None,
            notice_partitions: Duration::from_secs(60),
            request_timeout: Duration::from_secs(10),
        }
    }

    /// Only these partitions.
    #[must_use]
    pub fn partitions(mut self, partitions: impl IntoIterator<Item = i32>) -> Self {
        self.partitions = Some(partitions.into_iter().collect());
        self
    }

    /// Another start for one partition: to go on where an earlier consumer had got to.
    #[must_use]
    pub fn partition_from(mut self, partition: i32, start: Start) -> Self {
        self.starts.insert(partition, start);
        self
    }

    /// What happens when an offset isn't there: at first, reading goes on at the beginning.
    #[must_use]
    pub fn out_of_range(mut self, choice: OutOfRange) -> Self {
        self.out_of_range = Some(choice);
        self
    }

    /// Whether to end where the topic ended when reading started. A topic that doesn't exist is then an error, too;
    /// without this it is waited for.
    #[must_use]
    pub fn stop_at_end(mut self, stop: bool) -> Self {
        self.stop_at_end = stop;
        self
    }

    /// Whether to end before the first record of this time (milliseconds since 1970) or later; where there is none yet,
    /// at the end that the partition had when reading started.
    #[must_use]
    pub fn stop_before(mut self, timestamp_ms: i64) -> Self {
        self.stop_before = Some(timestamp_ms);
        self.stop_at_end = true;
        self
    }

    /// How long the first record of an unknown key waits for that key; unless set, as long as the node's config says
    /// (`deser_initial_wait_intervals` times `deser_wait_interval`), which is 10 seconds if it says nothing. Those behind it in the partition wait with it. Later records of a key that
    /// didn't come don't wait. Zero: nothing ever waits.
    #[must_use]
    pub fn wait_for_keys(mut self, wait: Duration) -> Self {
        self.wait_for_keys = Some(wait);
        self
    }

    /// About how many bytes are read ahead, for all partitions together: 64 MiB at first.
    #[must_use]
    pub fn buffer_bytes(mut self, bytes: usize) -> Self {
        self.buffer_bytes = Some(bytes);
        self
    }

    /// How often new partitions are looked for: every minute at first.
    #[must_use]
    pub fn notice_partitions(mut self, every: Duration) -> Self {
        self.notice_partitions = every;
        self
    }

    /// How long a request may take, beyond what it is meant to wait: 10 seconds at first.
    #[must_use]
    pub fn request_timeout(mut self, timeout: Duration) -> Self {
        self.request_timeout = timeout;
        self
    }

    /// The same, with what the node's config says where nothing was said yet.
    pub(in crate::client) fn or_as(mut self, settings: &NodeSettings) -> Self {
        let wait = settings.deser_wait_interval.saturating_mul(settings.deser_initial_wait_intervals);
        self.wait_for_keys.get_or_insert(wait);
        self
    }

    /// The same, with what the transport's settings say where nothing was said yet.
    pub(super) fn over(mut self, transport: Preferences) -> Self {
        self.out_of_range = self.out_of_range.or(transport.reset.map(|reset| match reset {
            Reset::Earliest => OutOfRange::Beginning,
            Reset::Latest => OutOfRange::End,
            Reset::Stop => OutOfRange::Fail,
        }));
        self.buffer_bytes = self.buffer_bytes.or(transport.read_ahead_bytes);
        self
    }

    /// Where reading of a partition starts.
    #[must_use]
    pub fn start_of(&self, partition: i32) -> Start {
        self.starts.get(&partition).copied().unwrap_or(self.start)
    }
}
