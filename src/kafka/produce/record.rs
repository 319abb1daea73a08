//! What is sent.

use std::sync::Arc;

use bytes::Bytes;

use crate::kafka::record::Header;

/// A record on its way to a topic.
///
/// ```
/// use kafkacrypto::kafka::ProducerRecord;
/// use kafkacrypto::kafka::record::Header;
///
/// let record = ProducerRecord::new("readings", "21.5").key("meter-7").header(Header::new("unit", "C"));
/// assert_eq!(record.key.as_deref(), Some(&b"meter-7"[..]));
/// assert_eq!(record.partition, None);
/// ```
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ProducerRecord {
    /// The topic.
    pub topic: Arc<str>,
    /// The partition; `None` to have one chosen.
    pub partition: Option<i32>,
    /// The key; `None` is null.
    pub key: Option<Bytes>,
    /// The value; `None` is null.
    pub value: Option<Bytes>,
    /// The headers.
    pub headers: Vec<Header>,
    /// Milliseconds since 1970; `None` for the time of sending.
    pub timestamp_ms: Option<i64>,
}

impl ProducerRecord {
    /// A record with a value and nothing else.
    pub fn new(topic: impl Into<Arc<str>>, value: impl Into<Bytes>) -> Self {
        Self { value: Some(value.into()), ..Self::null(topic) }
    }

    /// A record whose value is null: with a key, a tombstone.
    pub fn null(topic: impl Into<Arc<str>>) -> Self {
        Self { topic: topic.into(), partition: None, key: None, value: None, headers: Vec::new(), timestamp_ms: None }
    }

    /// Sets its key.
    pub fn key(mut self, key: impl Into<Bytes>) -> Self {
        self.key = Some(key.into());
        self
    }

    /// Sets its partition.
    pub fn partition(mut self, partition: i32) -> Self {
        self.partition = Some(partition);
        self
    }

    /// Adds a header.
    pub fn header(mut self, header: Header) -> Self {
        self.headers.push(header);
        self
    }

    /// Sets its time, in milliseconds since 1970.
    pub fn at(mut self, timestamp_ms: i64) -> Self {
        self.timestamp_ms = Some(timestamp_ms);
        self
    }

    /// The memory that it takes, at most and about.
    pub(super) fn charge(&self) -> usize {
        let length = |bytes: &Option<Bytes>| bytes.as_ref().map_or(0, Bytes::len);
        let header = |header: &Header| header.name.len() + length(&header.value) + HEADER;
        RECORD + length(&self.key) + length(&self.value) + self.headers.iter().map(header).sum::<usize>()
    }
}

/// The lengths of a header.
const HEADER: usize = 10;
/// The lengths of a record, and its part of its batch.
const RECORD: usize = 64;
