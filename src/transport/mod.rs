//! One seam to any broker: topics, produce, fetch, offsets.
//!
//! A [`Transport`] carries records and knows nothing of keys, chains or encryption. Engines' drivers, the producer and
//! the consumer use it, so that a program can bring a Kafka client of its own. Three ship with the crate: the broker in
//! the process ([`memory`]), with the feature `kafka` our own client (`kafka`), the default for Apache Kafka, and with
//! the feature `rskafka` an adapter for the crate of that name.
//!
//! What a transport must do:
//!
//! - end every call within the time it is given, by the wall clock, also when the network swallows everything;
//! - answer [`Transport::produce`] with success only when the broker has the records, unless its settings say not to wait
//!   for that (`acks=0`);
//! - never retry a produce by itself once its answer is lost without saying so in its docs: the caller knows whether
//!   a duplicate matters.
//!
//! What it must never do: look into keys and values, keep positions (offsets are the caller's), or panic.
//!
//! It owns no bytes: records pass through as they are.

mod error;
#[cfg(feature = "kafka")]
pub mod kafka;
pub mod memory;
#[cfg(feature = "rskafka")]
mod options;
#[cfg(feature = "rskafka")]
pub mod rskafka;

use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

pub use error::{TransportError, TransportErrorKind};
#[cfg(feature = "rskafka")]
pub use options::{KafkaOptions, SaslMechanism, Security};

/// A way to a broker. Every call ends within its `within`.
///
/// ```
/// # tokio_test(async {
/// use std::time::Duration;
/// use kafkacrypto::transport::{Created, FetchFrom, Outgoing, Transport, memory::Broker};
///
/// let within = Duration::from_secs(1);
/// let transport = Broker::new().transport();
/// assert_eq!(transport.create_topic("greetings", 1, within).await?, Created::New);
/// assert_eq!(transport.produce("greetings", 0, vec![Outgoing::new(None, Some(b"hello".to_vec()))], within).await?, [0]);
/// let from = [FetchFrom::new("greetings", 0, 0)];
/// let fetched = transport.fetch(&from, 65536, Duration::ZERO, within).await?;
/// let batch = fetched[0].result.as_ref().unwrap();
/// assert_eq!(batch.records[0].value.as_deref(), Some(&b"hello"[..]));
/// assert_eq!((batch.next, batch.end), (1, 1));
/// # Ok::<(), kafkacrypto::transport::TransportError>(()) });
/// # fn tokio_test<T>(f: impl Future<Output = Result<T, kafkacrypto::transport::TransportError>>) {
/// #     tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap().block_on(f).unwrap();
/// # }
/// ```
pub trait Transport: Send + Sync + 'static {
    /// All topics that we may see, with their partitions; internal topics of the broker left out.
    fn topics(&self, within: Duration) -> BoxFuture<'_, Result<Vec<TopicInfo>, TransportError>>;

    /// The partitions of one topic, in ascending order; `None` when there is no such topic. Creates no topic where
    /// that can be helped.
    fn partitions<'a>(
        &'a self,
        topic: &'a str,
        within: Duration,
    ) -> BoxFuture<'a, Result<Option<Vec<i32>>, TransportError>>;

    /// Creates a topic, or finds that it exists (with however many partitions).
    fn create_topic<'a>(
        &'a self,
        topic: &'a str,
        partitions: i32,
        within: Duration,
    ) -> BoxFuture<'a, Result<Created, TransportError>>;

    /// The same for several topics: in one request where that can be, since one takes a broker as long as many. Answers
    /// with what came of each, in their order.
    fn create_topics<'a>(
        &'a self,
        topics: &'a [&'a str],
        partitions: i32,
        within: Duration,
    ) -> BoxFuture<'a, Vec<Result<Created, TransportError>>> {
        Box::pin(async move {
            let mut created = Vec::new();
            for topic in topics {
                created.push(self.create_topic(topic, partitions, within).await);
            }
            created
        })
    }

    /// Sends records to one partition, in order, and answers with their offsets once the broker has them: all of them,
    /// or an error. After an error the broker may have them all the same. An offset that the broker doesn't tell is -1.
    fn produce<'a>(
        &'a self,
        topic: &'a str,
        partition: i32,
        records: Vec<Outgoing>,
        within: Duration,
    ) -> BoxFuture<'a, Result<Vec<i64>, TransportError>>;

    /// The same for a stream of records, if this transport keeps their order without waiting for each answer.
    fn in_line(&self) -> Option<&dyn InLine> {
        None
    }

    /// Reads from many partitions at once: at most `max_bytes` from each, but always one record where there is one.
    ///
    /// Waits up to `wait` until one of them has a record or an error, then answers with what there is. Partitions
    /// without news may be left out. A partition that fails ends the wait, so leave it out of the next calls for a
    /// while. Dropping the future loses nothing: ask again from the same offsets.
    fn fetch<'a>(
        &'a self,
        from: &'a [FetchFrom],
        max_bytes: i32,
        wait: Duration,
        within: Duration,
    ) -> BoxFuture<'a, Result<Vec<Fetched>, TransportError>>;

    /// An offset of a partition: of its beginning, its end, or a time.
    fn offset<'a>(
        &'a self,
        topic: &'a str,
        partition: i32,
        at: OffsetAt,
        within: Duration,
    ) -> BoxFuture<'a, Result<i64, TransportError>>;

    /// What the settings that it was made from say to those who produce and consume over it.
    fn preferences(&self) -> Preferences {
        Preferences::default()
    }
}

/// What the settings of a transport say to those who produce and consume over it. What they are told themselves comes
/// first; `None` says nothing.
#[derive(Debug, Clone, Copy, Default)]
#[non_exhaustive]
pub struct Preferences {
    /// Which partition a key belongs to.
    pub partition_of: Option<PartitionOf>,
    /// About how many bytes go in one request.
    pub batch_bytes: Option<usize>,
    /// How many bytes may wait for delivery.
    pub buffer_bytes: Option<usize>,
    /// How long queueing may wait for room among these.
    pub max_block: Option<Duration>,
    /// How long a record may take until the broker has it, tries included.
    pub delivery_timeout: Option<Duration>,
    /// Where reading goes on when an offset isn't there.
    pub reset: Option<Reset>,
    /// About how many bytes are read ahead.
    pub read_ahead_bytes: Option<usize>,
}

/// The partition of a key among so many, counted from 0; none if any will do.
pub type PartitionOf = fn(&[u8], usize) -> Option<usize>;

/// Where reading goes on when an offset isn't there.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Reset {
    /// At the first record that is still there.
    Earliest,
    /// After the last record.
    Latest,
    /// Nowhere.
    Stop,
}

/// What a [`Transport`] can do that writes records in the order in which they were put in line, however many requests are
/// under way, and tries again by itself.
pub trait InLine: Send + Sync {
    /// Puts records in line for one partition. Waits only for room; a next call may follow when it has ended.
    fn queue<'a>(
        &'a self,
        topic: &'a str,
        partition: i32,
        records: Vec<Outgoing>,
        within: Duration,
    ) -> BoxFuture<'a, Receipt>;
}

/// What becomes of records in line, one by one: their offsets, once the broker has them.
pub type Receipt = BoxFuture<'static, Vec<Result<i64, TransportError>>>;

/// What the calls of a [`Transport`] return: `async fn` that works behind `dyn`.
pub type BoxFuture<'a, T> = Pin<Box<dyn Future<Output = T> + Send + 'a>>;

/// The headers of a record: names may repeat, values may be null.
pub type Headers = Vec<(String, Option<Vec<u8>>)>;

/// A topic and its partitions.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TopicInfo {
    /// Its name.
    pub name: Arc<str>,
    /// Its partitions, in ascending order.
    pub partitions: Vec<i32>,
}

/// A record on its way to the broker.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Outgoing {
    /// The key, or null.
    pub key: Option<Vec<u8>>,
    /// The value, or null.
    pub value: Option<Vec<u8>>,
    /// The headers.
    pub headers: Headers,
    /// Milliseconds since 1970.
    pub timestamp_ms: i64,
}

impl Outgoing {
    /// A record without headers and with time 0.
    pub fn new(key: Option<Vec<u8>>, value: Option<Vec<u8>>) -> Self {
        Self { key, value, ..Self::default() }
    }

    /// Sets its time, in milliseconds since 1970.
    pub fn at(mut self, timestamp_ms: i64) -> Self {
        self.timestamp_ms = timestamp_ms;
        self
    }
}

/// A record as it was read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Record {
    /// Its topic.
    pub topic: Arc<str>,
    /// Its partition.
    pub partition: i32,
    /// Its offset.
    pub offset: i64,
    /// Milliseconds since 1970.
    pub timestamp_ms: i64,
    /// The key, or null.
    pub key: Option<Vec<u8>>,
    /// The value, or null.
    pub value: Option<Vec<u8>>,
    /// The headers.
    pub headers: Headers,
}

/// Where to read on in one partition; at most one of these for each partition in a call.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct FetchFrom {
    /// The topic.
    pub topic: Arc<str>,
    /// The partition.
    pub partition: i32,
    /// The first offset that is wanted.
    pub offset: i64,
}

impl FetchFrom {
    /// From this offset on.
    pub fn new(topic: impl Into<Arc<str>>, partition: i32, offset: i64) -> Self {
        Self { topic: topic.into(), partition, offset }
    }
}

/// What one partition answered.
#[derive(Debug, Clone, PartialEq)]
pub struct Fetched {
    /// The topic.
    pub topic: Arc<str>,
    /// The partition.
    pub partition: i32,
    /// The records, or why there are none.
    pub result: Result<Batch, TransportError>,
}

/// Records of one partition.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Batch {
    /// The records, in the order of their offsets.
    pub records: Vec<Record>,
    /// The offset to ask for next.
    pub next: i64,
    /// Where the partition ended: high watermark or last stable offset, as far as the transport knows.
    pub end: i64,
    /// Offsets that couldn't be read, and were passed over.
    pub skipped: Vec<Skipped>,
}

/// An offset that was passed over.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Skipped {
    /// The offset.
    pub offset: i64,
    /// Why: a sentence.
    pub reason: String,
}

/// Which offset is wanted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum OffsetAt {
    /// Of the first record that is still there.
    Earliest,
    /// Of the next record to come.
    Latest,
    /// Of the first record of this time (milliseconds since 1970) or later; like `Latest` when there is none.
    Time(i64),
}

/// What became of a topic that was to be created.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Created {
    /// It is new.
    New,
    /// It was there before.
    Existed,
}
