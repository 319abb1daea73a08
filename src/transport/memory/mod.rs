//! A broker in the process: topics, partitions, offsets, fetches that wait, shared by any number of nodes.
//!
//! The demo and most tests run on it. [`Broker::transport`] gives each node its own [`Memory`], which is where
//! [`Faults`] are injected, so that one node can suffer while the others don't.
//!
//! It never writes to a disk, and topics come only from [`Transport::create_topic`]: nothing is created by asking.
//! Records stay until [`Broker::trim`] or until the last handle is dropped.

mod faults;
mod log;
#[cfg(test)]
mod tests;

use std::collections::BTreeMap;
use std::future::{Future, pending};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::sync::Notify;
use tokio::time::{sleep, timeout};

pub use faults::{Call, Faults, When};
use faults::{Plan, Progress};
use log::{Log, size_of};

use super::{
    BoxFuture, Created, FetchFrom, Fetched, OffsetAt, Outgoing, Record, TopicInfo, Transport, TransportError,
    TransportErrorKind,
};

/// The broker. Clones are the same broker.
///
/// ```
/// use kafkacrypto::transport::{Created, memory::Broker};
///
/// let broker = Broker::new().max_message_bytes(1000);
/// assert_eq!(broker.create_topic("readings", 2), Created::New);
/// assert_eq!(broker.create_topic("readings", 1), Created::Existed);
/// assert!(broker.records("readings", 1).is_empty());
/// ```
#[derive(Debug, Clone)]
pub struct Broker {
    shared: Arc<Shared>,
}

impl Broker {
    /// A broker without topics.
    pub fn new() -> Self {
        let state = State { topics: BTreeMap::new(), max_message_bytes: MAX_MESSAGE_BYTES };
        Self { shared: Arc::new(Shared { state: Mutex::new(state), news: Notify::new() }) }
    }

    /// Sets the size up to which records are taken (1 MiB at first, as in Kafka).
    pub fn max_message_bytes(self, bytes: usize) -> Self {
        self.state().max_message_bytes = bytes;
        self
    }

    /// A node's way to this broker.
    pub fn transport(&self) -> Memory {
        Memory { broker: self.clone(), progress: Arc::default() }
    }

    /// Creates a topic, or finds that it exists.
    pub fn create_topic(&self, topic: &str, partitions: i32) -> Created {
        let mut state = self.state();
        if state.topics.contains_key(topic) {
            return Created::Existed;
        }
        state.topics.insert(topic.into(), (0..partitions).map(|_| Log::default()).collect());
        Created::New
    }

    /// All records of a partition; none when it doesn't exist.
    pub fn records(&self, topic: &str, partition: i32) -> Vec<Record> {
        self.state().log(topic, partition).map(|log| log.all()).unwrap_or_default()
    }

    /// Deletes the records of a partition before an offset, as retention does.
    pub fn trim(&self, topic: &str, partition: i32, before: i64) {
        if let Ok(log) = self.state().log(topic, partition) {
            log.trim(before);
        }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.shared.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Default for Broker {
    fn default() -> Self {
        Self::new()
    }
}

/// One node's way to a [`Broker`], with its own [`Faults`] and counts. Clones share them.
#[derive(Debug, Clone)]
pub struct Memory {
    broker: Broker,
    progress: Arc<Mutex<Progress>>,
}

impl Memory {
    /// The same, with these faults from now on.
    pub fn with_faults(self, faults: Faults) -> Self {
        self.set_faults(faults);
        self
    }

    /// Replaces the faults, also while calls are under way; `Faults::new()` heals.
    pub fn set_faults(&self, faults: Faults) {
        self.progress().set(faults);
    }

    /// How many calls of a kind were made.
    pub fn calls(&self, call: Call) -> u64 {
        self.progress().calls.get(&call).copied().unwrap_or(0)
    }

    /// How often a fault struck ([withheld](Faults::withhold) topics aren't counted).
    pub fn injected(&self) -> u64 {
        self.progress().injected
    }

    /// The broker.
    pub fn broker(&self) -> &Broker {
        &self.broker
    }

    fn progress(&self) -> MutexGuard<'_, Progress> {
        self.progress.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Runs a call as the faults say, and ends it in time.
    async fn call<T, F>(&self, call: Call, within: Duration, act: impl FnOnce(Plan) -> F) -> Result<T, TransportError>
    where
        F: Future<Output = Result<T, TransportError>>,
    {
        let plan = self.progress().next(call);
        timeout(within, faulty(call, plan, act)).await.unwrap_or_else(|_| Err(no_answer(call, within)))
    }
}

impl Transport for Memory {
    fn topics(&self, within: Duration) -> BoxFuture<'_, Result<Vec<TopicInfo>, TransportError>> {
        Box::pin(self.call(Call::Topics, within, async |_| Ok(self.broker.state().infos())))
    }

    fn partitions<'a>(
        &'a self,
        topic: &'a str,
        within: Duration,
    ) -> BoxFuture<'a, Result<Option<Vec<i32>>, TransportError>> {
        Box::pin(self.call(Call::Partitions, within, async move |_| {
            Ok(self.broker.state().topics.get(topic).map(|logs| numbers(logs)))
        }))
    }

    fn create_topic<'a>(
        &'a self,
        topic: &'a str,
        partitions: i32,
        within: Duration,
    ) -> BoxFuture<'a, Result<Created, TransportError>> {
        Box::pin(self.call(Call::CreateTopic, within, async move |_| {
            if partitions < 1 {
                let message = format!("topic {topic:?} can't have {partitions} partitions");
                return Err(TransportError::new(TransportErrorKind::Configuration, message));
            }
            Ok(self.broker.create_topic(topic, partitions))
        }))
    }

    fn produce<'a>(
        &'a self,
        topic: &'a str,
        partition: i32,
        records: Vec<Outgoing>,
        within: Duration,
    ) -> BoxFuture<'a, Result<Vec<i64>, TransportError>> {
        Box::pin(self.call(Call::Produce, within, async move |plan: Plan| {
            let offsets = self.broker.state().append(topic, partition, records, &plan)?;
            self.broker.shared.news.notify_waiters();
            Ok(offsets)
        }))
    }

    fn fetch<'a>(
        &'a self,
        from: &'a [FetchFrom],
        max_bytes: i32,
        wait: Duration,
        within: Duration,
    ) -> BoxFuture<'a, Result<Vec<Fetched>, TransportError>> {
        Box::pin(self.call(Call::Fetch, within, async move |plan: Plan| {
            let read = || self.broker.state().read(from, max_bytes, &plan);
            // Asking ends before the whole call does, so that "nothing yet" doesn't look like a broker that is away.
            let wait = wait.min(within.saturating_sub(plan.delay).mul_f32(0.9));
            Ok(match timeout(wait, self.broker.news(read)).await {
                Ok(fetched) => fetched,
                Err(_) => read(),
            })
        }))
    }

    fn offset<'a>(
        &'a self,
        topic: &'a str,
        partition: i32,
        at: OffsetAt,
        within: Duration,
    ) -> BoxFuture<'a, Result<i64, TransportError>> {
        Box::pin(self.call(Call::Offset, within, async move |_| {
            self.broker.state().log(topic, partition).map(|log| log.offset(at))
        }))
    }
}

impl Broker {
    /// Reads again at every produce until one partition has something to say.
    async fn news(&self, read: impl Fn() -> Vec<Fetched>) -> Vec<Fetched> {
        loop {
            let changed = self.shared.news.notified();
            let fetched = read();
            if fetched.iter().any(is_news) {
                return fetched;
            }
            changed.await;
        }
    }
}

#[derive(Debug)]
struct Shared {
    state: Mutex<State>,
    news: Notify,
}

#[derive(Debug)]
struct State {
    topics: BTreeMap<Arc<str>, Vec<Log>>,
    max_message_bytes: usize,
}

impl State {
    fn infos(&self) -> Vec<TopicInfo> {
        let info = |(name, logs): (&Arc<str>, &Vec<Log>)| TopicInfo { name: name.clone(), partitions: numbers(logs) };
        self.topics.iter().map(info).collect()
    }

    fn log(&mut self, topic: &str, partition: i32) -> Result<&mut Log, TransportError> {
        let log = self.topics.get_mut(topic).and_then(|logs| logs.get_mut(usize::try_from(partition).ok()?));
        log.ok_or_else(|| unknown(topic, partition))
    }

    fn append(
        &mut self,
        topic: &str,
        partition: i32,
        records: Vec<Outgoing>,
        plan: &Plan,
    ) -> Result<Vec<i64>, TransportError> {
        for record in &records {
            let size = size_of(record.key.as_deref(), record.value.as_deref(), &record.headers);
            if size > self.max_message_bytes {
                return Err(too_large(topic, size, self.max_message_bytes));
            }
        }
        let name = self.topics.get_key_value(topic).map_or_else(|| topic.into(), |(name, _)| name.clone());
        let log = self.log(topic, partition)?;
        if plan.drop {
            return Ok((log.end()..).take(records.len()).collect());
        }
        let again = if plan.duplicate { records.clone() } else { Vec::new() };
        let offsets = records.into_iter().map(|record| log.append(&name, partition, record)).collect();
        for record in again {
            log.append(&name, partition, record);
        }
        Ok(offsets)
    }

    fn read(&mut self, from: &[FetchFrom], max_bytes: i32, plan: &Plan) -> Vec<Fetched> {
        let there = from.iter().filter(|from| !plan.withheld.contains(&from.topic));
        let mut fetched: Vec<_> = there.map(|from| self.read_one(from, max_bytes)).collect();
        if plan.reorder
            && let Some(last) = fetched.iter().rposition(is_news)
        {
            fetched = vec![fetched.swap_remove(last)];
        }
        fetched
    }

    fn read_one(&mut self, from: &FetchFrom, max_bytes: i32) -> Fetched {
        let result = self.log(&from.topic, from.partition).and_then(|log| log.read(from, max_bytes));
        Fetched { topic: from.topic.clone(), partition: from.partition, result }
    }
}

async fn faulty<T, F>(call: Call, plan: Plan, act: impl FnOnce(Plan) -> F) -> Result<T, TransportError>
where
    F: Future<Output = Result<T, TransportError>>,
{
    if !plan.delay.is_zero() {
        sleep(plan.delay).await;
    }
    if plan.black_hole {
        return pending().await;
    }
    if let Some(kind) = plan.fail {
        return Err(injected(call, kind));
    }
    let lose_answer = plan.lose_answer;
    let result = act(plan).await;
    lose_answer.map_or(result, |kind| Err(injected(call, kind)))
}

fn is_news(fetched: &Fetched) -> bool {
    fetched.result.as_ref().map_or(true, |batch| !batch.records.is_empty())
}

fn numbers(logs: &[Log]) -> Vec<i32> {
    (0..).take(logs.len()).collect()
}

fn injected(call: Call, kind: TransportErrorKind) -> TransportError {
    TransportError::new(kind, format!("{call:?} failed, because a test wanted it"))
}

fn no_answer(call: Call, within: Duration) -> TransportError {
    TransportError::new(TransportErrorKind::TimedOut, format!("{call:?} had no answer within {within:?}"))
}

fn unknown(topic: &str, partition: i32) -> TransportError {
    TransportError::new(
        TransportErrorKind::UnknownTopic,
        format!("there is no partition {partition} of topic {topic:?}"),
    )
}

fn too_large(topic: &str, size: usize, most: usize) -> TransportError {
    let message = format!("a record for topic {topic:?} takes {size} bytes, and the broker takes {most}");
    TransportError::new(TransportErrorKind::TooLarge, message)
}

/// Kafka's `message.max.bytes`.
const MAX_MESSAGE_BYTES: usize = 1_048_588;
