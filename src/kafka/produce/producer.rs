//! The producer as programs see it.

use std::fmt;
use std::hash::{BuildHasher, RandomState};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use tokio::sync::{Notify, Semaphore, SemaphorePermit};
use tokio::time::{Instant, timeout_at};

use crate::kafka::cluster::{Client, counted};
use crate::kafka::error::{Error, ErrorKind, escaped};

use super::report::Delivery;
use super::sender;
use super::state::{Places, Refusal, Rules, State, too_large};
use super::{ProducerConfig, ProducerRecord};

/// Sends records. Clones share everything: one producer serves a whole program.
///
/// Each partition gets its records in the order in which [`send`](Self::send) took them, each once, or the record's
/// [`Delivery`] says why not. When the last clone is dropped, what was taken is still sent; to be sure of it,
/// [`close`](Self::close) or wait for the deliveries.
///
/// ```
/// # include!(concat!(env!("CARGO_MANIFEST_DIR"), "/src/kafka/example.rs"));
/// # fn main() { without_broker(async |client, within| {
/// use kafkacrypto::kafka::{Producer, ProducerConfig, ProducerRecord};
///
/// let producer = Producer::new(&client, ProducerConfig::new().max_block(within));
/// let first = producer.send(ProducerRecord::new("readings", "21.5").key("meter-7")).await?;
/// let second = producer.send(ProducerRecord::new("readings", "21.6").key("meter-7")).await?;
/// assert!(first.await?.offset < second.await?.offset);
/// # Ok(()) }) }
/// ```
#[derive(Clone)]
pub struct Producer(Arc<Handle>);

impl Producer {
    /// A producer over the connections of this client.
    pub fn new(client: &Client, config: ProducerConfig) -> Self {
        let times = client.config().times();
        let request_size = client.config().most_request_bytes();
        let rules = Rules::new(&config, request_size, (times.first_backoff, times.most_backoff));
        let seed = RandomState::new().hash_one(0);
        let buffer = config.buffer_memory.min(Semaphore::MAX_PERMITS);
        Self(Arc::new(Handle(Arc::new(Shared {
            client: client.clone(),
            request_timeout: config.request_timeout.unwrap_or(times.request),
            config,
            start: Instant::now(),
            state: Mutex::new(State::new(rules, seed)),
            memory: Semaphore::new(buffer),
            buffer,
            started: AtomicBool::new(false),
            closing: AtomicBool::new(false),
            wake: Notify::new(),
            reporting: Mutex::new(()),
            reported: Notify::new(),
        }))))
    }

    /// Takes a record, and waits only when memory is short or the topic isn't known yet. What became of it is what the
    /// [`Delivery`] answers with.
    ///
    /// ```
    /// # include!(concat!(env!("CARGO_MANIFEST_DIR"), "/src/kafka/example.rs"));
    /// # fn main() { without_broker(async |client, within| {
    /// use kafkacrypto::kafka::{Producer, ProducerConfig, ProducerRecord};
    ///
    /// let producer = Producer::new(&client, ProducerConfig::new().max_block(within));
    /// let delivery = producer.send(ProducerRecord::new("readings", "21.5").partition(0)).await?;
    /// assert_eq!(delivery.await?.partition, 0);
    /// # Ok(()) }) }
    /// ```
    ///
    /// # Errors
    /// The record wasn't taken and won't arrive: there is no such topic or partition, it is too large, or there was no
    /// memory within `max_block`.
    pub async fn send(&self, record: ProducerRecord) -> Result<Delivery, Error> {
        self.send_within(record, self.shared().config.delivery_timeout).await
    }

    /// The same with a time of its own for the delivery, counted from when the record was taken; taking it is part of no
    /// more than the same time again. Records of different times don't share a batch.
    ///
    /// ```
    /// # include!(concat!(env!("CARGO_MANIFEST_DIR"), "/src/kafka/example.rs"));
    /// # fn main() { without_broker(async |client, within| {
    /// use kafkacrypto::kafka::{Producer, ProducerConfig, ProducerRecord};
    ///
    /// let producer = Producer::new(&client, ProducerConfig::new());
    /// let delivered = producer.send_within(ProducerRecord::new("readings", "21.5"), within).await?.await?;
    /// assert!(delivered.offset.is_some());
    /// # Ok(()) }) }
    /// ```
    ///
    /// # Errors
    /// As of [`send`](Self::send).
    pub async fn send_within(&self, record: ProducerRecord, within: Duration) -> Result<Delivery, Error> {
        let shared = self.shared();
        let charge = record.charge();
        let until = Instant::now() + within.min(shared.config.max_block);
        let memory = shared.memory(charge, until).await?;
        let timestamp_ms = record.timestamp_ms.unwrap_or_else(wall_clock_ms);
        let mut looked = 0;
        loop {
            let refusal = match shared.append(&record, timestamp_ms, within, charge) {
                Ok(delivery) => {
                    memory.forget();
                    return Ok(delivery);
                }
                Err(refusal) => refusal,
            };
            shared.look_up(&record, refusal, looked, until).await?;
            looked += 1;
        }
    }

    /// Sends without lingering what was taken so far, and waits until every record of it is reported.
    ///
    /// ```
    /// # include!(concat!(env!("CARGO_MANIFEST_DIR"), "/src/kafka/example.rs"));
    /// # fn main() { without_broker(async |client, within| {
    /// use kafkacrypto::kafka::{Producer, ProducerConfig, ProducerRecord};
    ///
    /// let producer = Producer::new(&client, ProducerConfig::new().max_block(within));
    /// producer.flush(within).await?; // nothing was sent
    /// let delivery = producer.send(ProducerRecord::new("readings", "21.5")).await?;
    /// producer.flush(within).await?;
    /// assert!(delivery.await?.offset.is_some()); // at once
    /// # Ok(()) }) }
    /// ```
    ///
    /// # Errors
    /// Some are still on their way; the deliveries tell which.
    pub async fn flush(&self, within: Duration) -> Result<(), Error> {
        let shared = self.shared();
        let mark = shared.state().flush();
        shared.wake.notify_one();
        let until = Instant::now() + within;
        loop {
            let reported = shared.reported.notified();
            let mut reported = std::pin::pin!(reported);
            reported.as_mut().enable();
            if shared.state().is_flushed(mark) {
                // The last of them may just be on their way to who waits.
                let _done = shared.reporting();
                return Ok(());
            }
            if timeout_at(until, reported).await.is_err() {
                let what = format!("records were still on their way after {within:?}");
                return Err(Error::new(ErrorKind::TimedOut, what));
            }
        }
    }

    /// Takes no more records, and flushes.
    ///
    /// ```
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() -> Result<(), kafkacrypto::kafka::Error> {
    /// use std::time::Duration;
    /// use kafkacrypto::kafka::{Client, Config, ErrorKind, Producer, ProducerConfig, ProducerRecord};
    ///
    /// let client = Client::new(Config::new(["127.0.0.1:1"]))?;
    /// let producer = Producer::new(&client, ProducerConfig::new());
    /// producer.close(Duration::from_secs(5)).await?; // nothing was sent
    /// let late = producer.send(ProducerRecord::new("readings", "21.5")).await;
    /// assert_eq!(late.unwrap_err().kind(), ErrorKind::Closed);
    /// # Ok(()) }
    /// ```
    ///
    /// # Errors
    /// As of [`flush`](Self::flush).
    pub async fn close(&self, within: Duration) -> Result<(), Error> {
        self.shared().closing.store(true, Ordering::Relaxed);
        self.flush(within).await
    }

    fn shared(&self) -> &Arc<Shared> {
        &self.0.0
    }
}

impl fmt::Debug for Producer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Producer").field("config", &self.shared().config).finish_non_exhaustive()
    }
}

/// What the clones of a producer hold: when the last is gone, the sender ends.
struct Handle(Arc<Shared>);

impl Drop for Handle {
    fn drop(&mut self) {
        self.0.closing.store(true, Ordering::Relaxed);
        self.0.state().flush();
        self.0.wake.notify_one();
    }
}

/// What a producer and its sender share.
pub(super) struct Shared {
    pub(super) client: Client,
    pub(super) config: ProducerConfig,
    pub(super) request_timeout: Duration,
    start: Instant,
    state: Mutex<State>,
    /// Bytes that may still be taken.
    pub(super) memory: Semaphore,
    buffer: usize,
    started: AtomicBool,
    pub(super) closing: AtomicBool,
    /// There is something new for the sender.
    pub(super) wake: Notify,
    /// Held while records are told what became of them.
    reporting: Mutex<()>,
    /// They were told.
    pub(super) reported: Notify,
}

impl Shared {
    /// The time for the state machine.
    pub(super) fn now(&self) -> Duration {
        self.start.elapsed()
    }

    /// A time of the state machine's for tokio.
    pub(super) fn instant(&self, at: Duration) -> Instant {
        self.start + at
    }

    pub(super) fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn reporting(&self) -> MutexGuard<'_, ()> {
        self.reporting.lock().unwrap_or_else(PoisonError::into_inner)
    }

    async fn memory(&self, charge: usize, until: Instant) -> Result<SemaphorePermit<'_>, Error> {
        let permits = u32::try_from(charge).unwrap_or(u32::MAX);
        if charge > self.buffer || permits == u32::MAX {
            return Err(too_large(charge, self.buffer, "buffer_memory"));
        }
        if let Ok(permit) = self.memory.try_acquire_many(permits) {
            return Ok(permit);
        }
        match timeout_at(until, self.memory.acquire_many(permits)).await {
            Ok(Ok(permit)) => Ok(permit),
            Ok(Err(_)) => Err(closed()),
            Err(_) => {
                let what = "buffer_memory stayed full of records that the brokers haven't acknowledged";
                Err(Error::new(ErrorKind::TimedOut, what).unsent())
            }
        }
    }

    fn append(
        self: &Arc<Self>,
        record: &ProducerRecord,
        timestamp_ms: i64,
        timeout: Duration,
        charge: usize,
    ) -> Result<Delivery, Refusal> {
        if self.closing.load(Ordering::Relaxed) {
            return Err(Refusal::Record(closed()));
        }
        let now = self.now();
        let (delivery, news) = self.state().append(record, timestamp_ms, timeout, charge, now)?;
        if news {
            if !self.started.swap(true, Ordering::Relaxed) {
                tokio::spawn(sender::run(Arc::clone(self)));
            }
            self.wake.notify_one();
        }
        Ok(delivery)
    }

    /// Looks for what a record was refused for. `looked`: how often that was done for it.
    async fn look_up(
        &self,
        record: &ProducerRecord,
        refusal: Refusal,
        looked: u32,
        until: Instant,
    ) -> Result<(), Error> {
        let topic = &record.topic;
        let there = matches!(refusal, Refusal::Partition(_));
        let missing = match refusal {
            Refusal::Record(error) => return Err(error),
            Refusal::Topic => format!("there is no topic \"{}\"", escaped(topic)),
            Refusal::Partition(count) => {
                let number = record.partition.unwrap_or_default();
                format!("topic \"{}\" has no partition {number}: it has {}", escaped(topic), counted(count))
            }
        };
        if looked > 0 {
            self.client.stale(topic);
        }
        // A topic or a partition that was just made takes a moment to be known everywhere.
        if looked > MOST_LOOKS {
            let error = Error::new(ErrorKind::UnknownTopic, missing).unsent();
            return Err(if there { error.advising("choose one that it has") } else { error });
        }
        let found = match self.client.topic(topic, until).await {
            Ok(found) => found.map(|found| Places::new(&found)),
            Err(error) if error.is_retriable() && Instant::now() < until => return Ok(()),
            Err(error) => return Err(error.at(&format!("can't write to topic \"{}\"", escaped(topic))).unsent()),
        };
        self.state().learn(topic, found, self.now());
        Ok(())
    }
}

pub(super) fn closed() -> Error {
    Error::new(ErrorKind::Closed, "the producer was closed").unsent()
}

fn wall_clock_ms() -> i64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    i64::try_from(since.as_millis()).unwrap_or(i64::MAX)
}

/// How often a topic or a partition is looked for before it counts as missing; with the client's backoff, two to three
/// seconds.
const MOST_LOOKS: u32 = 6;
