//! Sends records: encrypts them, chooses their partitions, and delivers them in order.

mod lane;
mod options;
#[cfg(test)]
mod tests;
mod topics;

use std::collections::HashMap;
use std::fmt;
use std::future::Future;
use std::pin::Pin;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll};

use tokio::runtime::Handle;
use tokio::sync::mpsc::{UnboundedSender, unbounded_channel};
use tokio::sync::{Notify, OwnedSemaphorePermit, Semaphore, oneshot};
use tokio::time::{Instant, timeout};

pub use options::ProducerOptions;

use lane::{Answer, Item, Lane, Road};
use options::Rules;
use topics::{Known, Topics};

use super::{Partitioning, SendError};
use crate::runtime::Node;
use crate::serdes::{SerializeError, Serializer};
use crate::transport::{Headers, Outgoing, Transport, TransportError, TransportErrorKind};

/// Encrypts records and sends them. Clones are the same producer.
///
/// # Order
///
/// Records that are queued one after another (each call awaited before the next) reach their partition in that order;
/// one request at a time is under way for each partition, and a failed one is tried again before the next one goes. So
/// records of one key stay in order, unless the topic gets more partitions, as with every Kafka client. A record that is
/// given up leaves a gap: those behind it are sent all the same.
///
/// # What the broker sees
///
/// Topic, partition, headers, time and size of each record, and whether key and value are null; not the key, and not
/// even whether two records share one, beyond that equal keys share a partition.
/// [`Partitioning::IgnoreKeys`] hides that too.
///
/// Compaction (`cleanup.policy=compact`) can't work: the broker keeps the last record of each key, and encrypted keys
/// all differ, so nothing is ever compacted, and a tombstone deletes nothing. Use time or size to limit a topic, and keep
/// the latest state of each key in the consumer, or write snapshots. If the broker *may* see a key, put a pseudonym of it
/// in front of another client's record key and encrypt the value alone.
///
/// # Duplicates
///
/// A request is tried again as long as the broker can't have the records. Once an answer is lost, sending fails with
/// [`SendError::MayHaveArrived`], unless [duplicates are allowed](ProducerOptions::allow_duplicates).
///
/// ```
/// # use std::sync::Arc;
/// # use kafkacrypto::{keyring::*, keys::{KeyIndex, Purpose}, secret::Secret, serdes::Serializer, topic::Root};
/// # struct Ready;
/// # impl Prepare for Ready {
/// #     fn prepare(&self, _: &[Root]) -> Result<(), PrepareError> { Ok(()) }
/// # }
/// # let mut rng = getrandom::rand_core::UnwrapErr(getrandom::SysRng);
/// # let keyring = Arc::new(Keyring::new());
/// # let secret = ProducerSecret::new(Root::new("lab"), KeyIndex::Short(1), Secret::random(&mut rng), &mut rng);
/// # assert_eq!(keyring.install_producer(secret), Learned::New);
/// # let serializer = |purpose| Serializer::new(keyring.clone(), Arc::default(), Arc::new(Ready), purpose);
/// # let (keys, values) = (serializer(Purpose::Key), serializer(Purpose::Value));
/// # tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap().block_on(async {
/// use kafkacrypto::client::{Producer, ProducerOptions, ProducerRecord};
/// use kafkacrypto::transport::memory::Broker;
///
/// let broker = Broker::new();
/// let producer = Producer::new(Arc::new(broker.transport()), keys, values, ProducerOptions::new());
/// let delivery = producer.send(ProducerRecord::new("lab.sensor").key("a").value("21.5")).await?;
/// assert_eq!((delivery.partition, delivery.offset), (0, 0));
/// assert_ne!(broker.records("lab.sensor", 0)[0].value.as_deref(), Some(&b"21.5"[..]));
/// producer.close().await?;
/// # Ok::<(), kafkacrypto::client::SendError>(()) }).unwrap();
/// ```
#[derive(Clone)]
pub struct Producer {
    shared: Arc<Shared>,
}

/// A record to be sent. The default of everything is "none".
#[derive(Clone, PartialEq, Eq)]
pub struct ProducerRecord {
    /// Its topic.
    pub topic: Arc<str>,
    /// Its partition; chosen by the producer if there is none.
    pub partition: Option<i32>,
    /// Its key, in the clear; null if there is none.
    pub key: Option<Vec<u8>>,
    /// Its value, in the clear; null if there is none.
    pub value: Option<Vec<u8>>,
    /// Its headers. They are not encrypted.
    pub headers: Headers,
    /// Milliseconds since 1970; now if there is none.
    pub timestamp_ms: Option<i64>,
}

/// Where a record is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Delivery {
    /// Its topic.
    pub topic: Arc<str>,
    /// Its partition.
    pub partition: i32,
    /// Its offset; -1 if the broker doesn't tell.
    pub offset: i64,
}

/// A record that is on its way: a future of what becomes of it. Dropping it stops nothing.
#[must_use = "whether the record is delivered is known only here, or by Producer::flush"]
pub struct Queued {
    answer: oneshot::Receiver<Result<Delivery, SendError>>,
    road: Arc<Road>,
}

impl Producer {
    /// A producer with a node's transport and serializers.
    #[must_use]
    pub fn of(node: &Node, options: ProducerOptions) -> Self {
        Self::new(node.transport(), node.key_serializer(), node.value_serializer(), options)
    }

    /// A producer over a transport, with a node's serializers for keys and for values.
    #[must_use]
    pub fn new(transport: Arc<dyn Transport>, keys: Serializer, values: Serializer, options: ProducerOptions) -> Self {
        let rules = options.over(transport.preferences());
        let room = Arc::new(Semaphore::new(usize::try_from(rules.buffer_bytes).unwrap_or(usize::MAX)));
        let road = Road {
            transport,
            rules,
            topics: Topics::default(),
            flushing: AtomicUsize::new(0),
            hurry: Notify::new(),
            unclaimed: Mutex::default(),
        };
        Self { shared: Arc::new(Shared { road: Arc::new(road), keys, values, lanes: Mutex::default(), room }) }
    }

    /// Sends a record and waits until the broker has it.
    ///
    /// ```
    /// # include!(concat!(env!("CARGO_MANIFEST_DIR"), "/src/client/example.rs"));
    /// # fn main() { with_node(async |node, _| {
    /// use kafkacrypto::client::{Producer, ProducerOptions, ProducerRecord, SendError};
    ///
    /// let producer = Producer::of(&node, ProducerOptions::new());
    /// let reading = ProducerRecord::new("lab.sensor").key("a").value("21.5");
    /// assert_eq!(producer.send(reading.clone()).await?.offset, 0);
    /// let nowhere = producer.send(reading.partition(7)).await.unwrap_err();
    /// assert!(matches!(nowhere, SendError::NoSuchPartition { partition: 7, count: 1, .. }));
    /// # Ok(()) }) }
    /// ```
    ///
    /// # Errors
    /// [`SendError`].
    pub async fn send(&self, record: ProducerRecord) -> Result<Delivery, SendError> {
        self.queue(record).await?.await
    }

    /// Encrypts a record and puts it in line. Waits only while the buffer is full, or for the partitions of a topic that
    /// is new, or for a new secret to be written to the disk. Records that go on being queued share requests.
    ///
    /// ```
    /// # include!(concat!(env!("CARGO_MANIFEST_DIR"), "/src/client/example.rs"));
    /// # fn main() { with_node(async |node, _| {
    /// use kafkacrypto::client::{Producer, ProducerOptions, ProducerRecord};
    ///
    /// let producer = Producer::of(&node, ProducerOptions::new());
    /// let first = producer.queue(ProducerRecord::new("lab.sensor").value("21.5")).await?;
    /// let second = producer.queue(ProducerRecord::new("lab.sensor").value("21.6")).await?;
    /// assert_eq!((first.await?.offset, second.await?.offset), (0, 1));
    /// # Ok(()) }) }
    /// ```
    ///
    /// # Errors
    /// [`SendError`]: it isn't in line.
    pub async fn queue(&self, record: ProducerRecord) -> Result<Queued, SendError> {
        let shared = &self.shared;
        let partition = shared.partition(&record).await?;
        let room = shared.room(&record).await?;
        let deadline = Instant::now() + shared.road.rules.delivery_timeout;
        let (topic, bytes) = (record.topic.clone(), record.size());
        let record = shared.seal(record).await?;
        let (to, queued) = oneshot::channel();
        shared.enqueue(topic, partition, Item { record, bytes, deadline, answer: Answer { to, _room: room } })?;
        Ok(Queued { answer: queued, road: shared.road.clone() })
    }

    /// Waits until all that was queued is delivered or has failed.
    ///
    /// ```
    /// # include!(concat!(env!("CARGO_MANIFEST_DIR"), "/src/client/example.rs"));
    /// # fn main() { with_node(async |node, broker| {
    /// use kafkacrypto::client::{Producer, ProducerOptions, ProducerRecord, SendError};
    ///
    /// let producer = Producer::of(&node, ProducerOptions::new());
    /// drop(producer.queue(ProducerRecord::new("lab.sensor").value("21.5")).await?); // nobody waits for it
    /// producer.flush().await?;
    /// assert_eq!(broker.records("lab.sensor", 0).len(), 1);
    ///
    /// let large = vec![0; 2 << 20]; // more than the broker takes
    /// drop(producer.queue(ProducerRecord::new("lab.sensor").value(large)).await?);
    /// assert!(matches!(producer.flush().await, Err(SendError::NotDelivered { partition: Some(0), .. })));
    /// # Ok(()) }) }
    /// ```
    ///
    /// # Errors
    /// The first failure since the last flush of a record whose [`Queued`] was dropped.
    pub async fn flush(&self) -> Result<(), SendError> {
        let road = &self.shared.road;
        road.flushing.fetch_add(1, Ordering::AcqRel);
        let hurried = Hurried(road);
        road.hurry.notify_waiters();
        // Whoever has the whole buffer knows that nothing is in it; the semaphore is fair.
        let all = self.shared.room.acquire_many(road.rules.buffer_bytes).await;
        drop((all, hurried));
        road.take_unclaimed().map_or(Ok(()), Err)
    }

    /// Flushes, and takes nothing more; the clones don't either.
    ///
    /// ```
    /// # include!(concat!(env!("CARGO_MANIFEST_DIR"), "/src/client/example.rs"));
    /// # fn main() { with_node(async |node, _| {
    /// use kafkacrypto::client::{Producer, ProducerOptions, ProducerRecord, SendError};
    ///
    /// let producer = Producer::of(&node, ProducerOptions::new());
    /// let reading = ProducerRecord::new("lab.sensor").value("21.5");
    /// let queued = producer.queue(reading.clone()).await?;
    /// producer.close().await?;
    /// assert_eq!(queued.await?.offset, 0);
    /// assert_eq!(producer.clone().send(reading).await, Err(SendError::Closed));
    /// # Ok(()) }) }
    /// ```
    ///
    /// # Errors
    /// Those of [`Producer::flush`]; the producer is closed all the same.
    pub async fn close(&self) -> Result<(), SendError> {
        let flushed = self.flush().await;
        self.shared.room.close();
        self.shared.lanes().clear();
        flushed
    }
}

impl fmt::Debug for Producer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Producer").field("options", &self.shared.road.rules.options).finish_non_exhaustive()
    }
}

impl ProducerRecord {
    /// A record with neither key nor value.
    #[must_use]
    pub fn new(topic: impl Into<Arc<str>>) -> Self {
        let headers = Headers::new();
        Self { topic: topic.into(), partition: None, key: None, value: None, headers, timestamp_ms: None }
    }

    /// Sets the key.
    #[must_use]
    pub fn key(mut self, key: impl Into<Vec<u8>>) -> Self {
        self.key = Some(key.into());
        self
    }

    /// Sets the value.
    #[must_use]
    pub fn value(mut self, value: impl Into<Vec<u8>>) -> Self {
        self.value = Some(value.into());
        self
    }

    /// Sets the partition.
    #[must_use]
    pub fn partition(mut self, partition: i32) -> Self {
        self.partition = Some(partition);
        self
    }

    /// Adds a header. Headers are not encrypted.
    #[must_use]
    pub fn header(mut self, name: impl Into<String>, value: Option<Vec<u8>>) -> Self {
        self.headers.push((name.into(), value));
        self
    }

    /// Sets the time, in milliseconds since 1970.
    #[must_use]
    pub fn at(mut self, timestamp_ms: i64) -> Self {
        self.timestamp_ms = Some(timestamp_ms);
        self
    }

    /// About what it takes, encrypted, in memory and on the wire.
    fn size(&self) -> usize {
        let part = |part: &Option<Vec<u8>>| part.as_ref().map_or(0, |bytes| bytes.len().saturating_add(ENCRYPTION));
        let header = |(name, value): &(String, Option<Vec<u8>>)| name.len() + value.as_ref().map_or(0, Vec::len);
        OVERHEAD + part(&self.key) + part(&self.value) + self.headers.iter().map(header).sum::<usize>()
    }
}

/// Payloads stay out of logs.
impl fmt::Debug for ProducerRecord {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { topic, partition, key, value, headers, timestamp_ms } = self;
        f.debug_struct("ProducerRecord")
            .field("topic", topic)
            .field("partition", partition)
            .field("key_bytes", &key.as_ref().map(Vec::len))
            .field("value_bytes", &value.as_ref().map(Vec::len))
            .field("headers", &headers.len())
            .field("timestamp_ms", timestamp_ms)
            .finish()
    }
}

impl Future for Queued {
    type Output = Result<Delivery, SendError>;

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Self::Output> {
        // Nobody answers only if the runtime that delivers is gone.
        Pin::new(&mut self.answer).poll(context).map(|answer| answer.unwrap_or(Err(SendError::Closed)))
    }
}

/// A failure that came before it was dropped isn't lost either.
impl Drop for Queued {
    fn drop(&mut self) {
        self.answer.close();
        if let Ok(Err(error)) = self.answer.try_recv() {
            self.road.unclaimed(error);
        }
    }
}

impl fmt::Debug for Queued {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Queued").finish_non_exhaustive()
    }
}

type Lanes = HashMap<(Arc<str>, i32), UnboundedSender<Item>>;

struct Shared {
    road: Arc<Road>,
    keys: Serializer,
    values: Serializer,
    lanes: Mutex<Lanes>,
    room: Arc<Semaphore>,
}

impl Shared {
    async fn partition(&self, record: &ProducerRecord) -> Result<i32, SendError> {
        let (topics, rules) = (&self.road.topics, &self.road.rules);
        let known = topics.get(&*self.road.transport, &record.topic, rules).await.map_err(|source| {
            SendError::NotDelivered { topic: record.topic.clone(), partition: record.partition, source }
        })?;
        let wanted = match (record.partition, rules.options.partitioning) {
            (Some(partition), _) | (None, Partitioning::Fixed(partition)) => Some(partition),
            _ => None,
        };
        let chosen = match wanted {
            Some(partition) => known.partitions.contains(&partition).then_some(partition),
            None => choose(&known, record, rules),
        };
        let (topic, count) = (record.topic.clone(), known.partitions.len());
        chosen.ok_or(SendError::NoSuchPartition { topic, partition: wanted.unwrap_or(0), count })
    }

    async fn room(&self, record: &ProducerRecord) -> Result<OwnedSemaphorePermit, SendError> {
        let bytes = u32::try_from(record.size()).unwrap_or(u32::MAX).min(self.road.rules.buffer_bytes);
        let room = self.room.clone().acquire_many_owned(bytes);
        let room = match self.road.rules.max_block {
            Some(time) => timeout(time, room).await.map_err(|_| self.full(record))?,
            None => room.await,
        };
        room.map_err(|_| SendError::Closed)
    }

    fn full(&self, record: &ProducerRecord) -> SendError {
        let message = "the buffer stayed full of records that the broker hasn't acknowledged".to_owned();
        let source = TransportError::new(TransportErrorKind::TimedOut, message);
        SendError::NotDelivered { topic: record.topic.clone(), partition: record.partition, source }
    }

    /// Encrypts; on a blocking thread when a secret has to become durable first.
    async fn seal(&self, record: ProducerRecord) -> Result<Outgoing, SendError> {
        let (topic, keys, values) = (record.topic.clone(), self.keys.clone(), self.values.clone());
        let ready = keys.is_ready(&topic);
        let sealed = match ready {
            true => seal(&keys, &values, record),
            false => {
                let runtime = Handle::try_current().map_err(|_| SendError::NoRuntime)?;
                let task = runtime.spawn_blocking(move || seal(&keys, &values, record));
                task.await.map_err(|_| SendError::Closed)?
            }
        };
        sealed.map_err(|source| SendError::Encrypt { topic, source })
    }

    fn enqueue(&self, topic: Arc<str>, partition: i32, item: Item) -> Result<(), SendError> {
        let mut lanes = self.lanes();
        if self.room.is_closed() {
            return Err(SendError::Closed);
        }
        let key = (topic, partition);
        // A lane is over when the runtime that it was on is.
        if let Some(lane) = lanes.get(&key).filter(|lane| !lane.is_closed()) {
            return lane.send(item).map_err(|_| SendError::Closed);
        }
        let runtime = Handle::try_current().map_err(|_| SendError::NoRuntime)?;
        let (sender, items) = unbounded_channel();
        let lane = Lane { road: self.road.clone(), topic: key.0.clone(), partition };
        sender.send(item).map_err(|_| SendError::Closed)?;
        runtime.spawn(lane.run(items));
        lanes.insert(key, sender);
        Ok(())
    }

    fn lanes(&self) -> std::sync::MutexGuard<'_, Lanes> {
        self.lanes.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// While it lives, nothing lingers.
struct Hurried<'a>(&'a Road);

impl Drop for Hurried<'_> {
    fn drop(&mut self) {
        self.0.flushing.fetch_sub(1, Ordering::AcqRel);
    }
}

fn choose(known: &Known, record: &ProducerRecord, rules: &Rules) -> Option<i32> {
    let by_key = rules.options.partitioning == Partitioning::ByPlaintextKey;
    let key = record.key.as_ref().filter(|_| by_key);
    match key.and_then(|key| (rules.partition_of)(key, known.partitions.len())) {
        Some(place) => known.partitions.get(place).copied(),
        None => known.sticky(record.size()),
    }
}

fn seal(keys: &Serializer, values: &Serializer, record: ProducerRecord) -> Result<Outgoing, SerializeError> {
    let ProducerRecord { topic, key, value, headers, timestamp_ms, .. } = record;
    let key = keys.serialize(&topic, key.as_deref())?;
    let value = values.serialize(&topic, value.as_deref())?;
    Ok(Outgoing { key, value, headers, timestamp_ms: timestamp_ms.unwrap_or_else(now_ms) })
}

fn now_ms() -> i64 {
    let since = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap_or_default();
    i64::try_from(since.as_millis()).unwrap_or(i64::MAX)
}

/// What Kafka and we add to a record, about.
const OVERHEAD: usize = 256;
/// What encryption adds to a key or a value, about.
const ENCRYPTION: usize = 120;
