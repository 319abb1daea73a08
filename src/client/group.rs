//! Reads topics as a member of a consumer group, and decrypts.

use std::collections::VecDeque;
use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use super::consumer::{ConsumerRecord, Patience};
use super::{ConsumerOptions, ReadError, Start};
use crate::error::{Error, ErrorKind};
use crate::kafka::{self, FetchError, Fetched, Rebalance, Subscription};
use crate::message::State;
use crate::runtime::Node;
use crate::serdes::Deserializer;
use crate::transport::{Headers, TransportError, TransportErrorKind};

/// Reads topics as a member of a consumer group, and decrypts: its share of the partitions, and on from where the group
/// left off.
///
/// What comes is what [`Consumer`](super::Consumer) hands out. At least once: with commits by time
/// ([`kafka::ConsumerConfig::auto_commit`]) a record is committed only after [`next`](Self::next) was called again, and so
/// after the program was done with it. A record whose key doesn't come is handed on pending, like every other, but is
/// [held back](Self::hold_back): no commit goes past it, by time or not, so whoever reads on after us gets it again, and
/// what is behind it in its partition. Who has it decrypted later ([`Message::wait`](crate::message::Message::wait)), keeps
/// it, or gives it up says so with [`done_with`](Self::done_with). What can't ever be decrypted is committed like the rest.
///
/// ```
/// # use std::sync::Arc;
/// # use kafkacrypto::{keyring::Keyring, keys::Purpose, serdes::Deserializer};
/// # let keyring = Arc::new(Keyring::new());
/// # let deserializer = |purpose| Deserializer::new(keyring.clone(), Arc::default(), purpose);
/// # let (keys, values) = (deserializer(Purpose::Key), deserializer(Purpose::Value));
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn example(keys: Deserializer, values: Deserializer) -> Result<(), Box<dyn std::error::Error>> {
/// use std::time::Duration;
/// use kafkacrypto::client::GroupConsumer;
/// use kafkacrypto::kafka::{Client, Config, Consumer, ConsumerConfig, GroupSettings, Subscription};
///
/// let client = Client::new(Config::new(["127.0.0.1:1"]))?; // where no broker is: it goes on looking for one
/// let member = Consumer::new(&client, ConsumerConfig::in_group(GroupSettings::new("billing")));
/// // or `GroupConsumer::of`, with a node's deserializers
/// let mut consumer = GroupConsumer::new(member, Subscription::topics(["lab.sensor"])?, (keys, values), Duration::ZERO)?;
/// while let Ok(Some(record)) = tokio::time::timeout(Duration::from_millis(100), consumer.next()).await {
///     println!("{:?}", record?.value.cleartext()?);
/// }
/// assert!(!consumer.is_at_end());
/// consumer.close().await?;
/// # Ok(()) }
/// # example(keys, values).unwrap();
/// ```
pub struct GroupConsumer {
    consumer: kafka::Consumer,
    keys: Deserializer,
    values: Deserializer,
    patience: Patience,
    ready: VecDeque<Result<ConsumerRecord, ReadError>>,
    over: bool,
}

impl GroupConsumer {
    /// A member with a node's deserializers and waits, over a Kafka client.
    ///
    /// ```
    /// # include!(concat!(env!("CARGO_MANIFEST_DIR"), "/src/client/example.rs"));
    /// # fn main() { with_node(async |node, _| {
    /// use kafkacrypto::client::GroupConsumer;
    /// use kafkacrypto::kafka::{Client, Config, ConsumerConfig, GroupSettings, Subscription};
    ///
    /// let client = Client::new(Config::new(["127.0.0.1:1"]))?;
    /// let topics = Subscription::topics(["lab.sensor"])?;
    /// let member = ConsumerConfig::in_group(GroupSettings::new("billing"));
    /// let consumer = GroupConsumer::of(&node, &client, member, topics.clone())?;
    /// assert!(!consumer.is_at_end());
    /// let refused = GroupConsumer::of(&node, &client, ConsumerConfig::alone(), topics).unwrap_err();
    /// assert!(refused.is_configuration());
    /// # Ok(()) }) }
    /// ```
    ///
    /// # Errors
    /// [`ErrorKind::Configuration`] when `config` names no group.
    pub fn of(
        node: &Node,
        client: &kafka::Client,
        config: kafka::ConsumerConfig,
        subscription: Subscription,
    ) -> Result<Self, Error> {
        let wait = ConsumerOptions::new(Start::Beginning).or_as(node.settings()).wait_for_keys;
        let consumer = kafka::Consumer::new(client, config);
        Self::new(
            consumer,
            subscription,
            (node.key_deserializer(), node.value_deserializer()),
            wait.unwrap_or_default(),
        )
    }

    /// The same with deserializers for keys and for values, and how long the first record of an unknown key waits for it.
    ///
    /// # Errors
    /// As [`GroupConsumer::of`].
    pub fn new(
        mut consumer: kafka::Consumer,
        subscription: Subscription,
        (keys, values): (Deserializer, Deserializer),
        wait_for_keys: Duration,
    ) -> Result<Self, Error> {
        consumer.subscribe(subscription).map_err(|error| Error::new(ErrorKind::Configuration, error))?;
        let (patience, ready) = (Patience::new(wait_for_keys), VecDeque::new());
        Ok(Self { consumer, keys, values, patience, ready, over: false })
    }

    /// Sets how long the first record of an unknown key waits for that key.
    #[must_use]
    pub fn wait_for_keys(mut self, wait: Duration) -> Self {
        self.patience = Patience::new(wait);
        self
    }

    /// Whether everything was handed out that the partitions had when a broker last said so; not while it has none.
    #[must_use]
    pub fn is_at_end(&self) -> bool {
        self.ready.is_empty() && self.consumer.is_at_end()
    }

    /// Calls this for each change of what it reads, within [`next`](Self::next) and [`close`](Self::close).
    pub fn on_rebalance(&mut self, call: impl FnMut(&Rebalance) + Send + 'static) {
        self.consumer.on_rebalance(call);
    }

    /// The next record, or what is in its place; `None` once the membership has ended for good, after the error that says
    /// why. Dropping the future loses nothing.
    pub async fn next(&mut self) -> Option<Result<ConsumerRecord, ReadError>> {
        loop {
            if let Some(item) = self.ready.front_mut() {
                if let Ok(record) = item {
                    self.patience.wait(&mut record.key).await;
                    self.patience.wait(&mut record.value).await;
                    if [&record.key, &record.value].iter().any(|message| message.state() == State::Pending) {
                        let partition = kafka::TopicPartition::new(record.topic.clone(), record.partition);
                        self.consumer.hold_back(&partition, record.offset);
                    }
                }
                return self.ready.pop_front();
            }
            if self.over {
                return None;
            }
            match self.consumer.poll(POLL).await {
                Ok(fetched) => fetched.into_iter().for_each(|of| self.take(of)),
                Err(error) => {
                    self.over = true;
                    let (topic, partition, source) = (Arc::from(super::error::ALL), None, TransportError::from(error));
                    self.ready.push_back(Err(ReadError::Failed { topic, partition, source }));
                }
            }
        }
    }

    /// The program isn't done with a record that was handed out: no commit goes past it until it
    /// [is](Self::done_with), or its partition goes to another member.
    ///
    /// ```
    /// # include!(concat!(env!("CARGO_MANIFEST_DIR"), "/src/client/example.rs"));
    /// # fn main() { with_node(async |node, _| {
    /// use kafkacrypto::client::GroupConsumer;
    /// use kafkacrypto::kafka::{Client, Config, ConsumerConfig, GroupSettings, Subscription, TopicPartition};
    ///
    /// let client = Client::new(Config::new(["127.0.0.1:1"]))?; // where no broker is
    /// let config = ConsumerConfig::in_group(GroupSettings::new("billing"));
    /// let mut consumer = GroupConsumer::of(&node, &client, config, Subscription::topics(["lab.sensor"])?)?;
    /// let partition = TopicPartition::new("lab.sensor", 0);
    /// consumer.hold_back(&partition, 42); // a worker has it
    /// consumer.done_with(&partition, 42);
    /// # Ok(()) }) }
    /// ```
    pub fn hold_back(&mut self, partition: &kafka::TopicPartition, offset: i64) {
        self.consumer.hold_back(partition, offset);
    }

    /// The program is done with a record that was [held back](Self::hold_back), or came pending.
    pub fn done_with(&mut self, partition: &kafka::TopicPartition, offset: i64) {
        self.consumer.done_with(partition, offset);
    }

    /// Commits all that was handed out, up to what is [held back](Self::hold_back), and waits for it. The program must be
    /// done with it.
    ///
    /// ```
    /// # include!(concat!(env!("CARGO_MANIFEST_DIR"), "/src/client/example.rs"));
    /// # fn main() { with_node(async |node, _| {
    /// use kafkacrypto::client::GroupConsumer;
    /// use kafkacrypto::kafka::{Client, Config, ConsumerConfig, GroupSettings, Subscription};
    ///
    /// let client = Client::new(Config::new(["127.0.0.1:1"]))?; // where no broker is
    /// let by_hand = ConsumerConfig::in_group(GroupSettings::new("billing")).auto_commit(None);
    /// let mut consumer = GroupConsumer::of(&node, &client, by_hand, Subscription::topics(["lab.sensor"])?)?;
    /// assert!(consumer.commit().await.is_ok()); // nothing was handed out
    /// # Ok(()) }) }
    /// ```
    ///
    /// # Errors
    /// [`ErrorKind::Broker`]: the partitions have gone to another member, no right to the group, or no answer in time.
    pub async fn commit(&mut self) -> Result<(), Error> {
        // What was fetched and isn't handed out yet must be read again by whoever goes on.
        match self.ready.is_empty() {
            true => self.consumer.commit().await.map_err(broker),
            false => self.commit_before_ready().await,
        }
    }

    /// Commits what is due by time, and leaves the group. Records that were handed out count as done with,
    /// but for those that are [held back](Self::hold_back).
    ///
    /// ```
    /// # include!(concat!(env!("CARGO_MANIFEST_DIR"), "/src/client/example.rs"));
    /// # fn main() { with_node(async |node, _| {
    /// use kafkacrypto::client::GroupConsumer;
    /// use kafkacrypto::kafka::{Client, Config, ConsumerConfig, GroupSettings, Subscription};
    ///
    /// let client = Client::new(Config::new(["127.0.0.1:1"]))?; // where no broker is
    /// let by_time = ConsumerConfig::in_group(GroupSettings::new("billing"));
    /// let consumer = GroupConsumer::of(&node, &client, by_time, Subscription::topics(["lab.sensor"])?)?;
    /// assert!(consumer.close().await.is_ok()); // nothing was handed out
    /// # Ok(()) }) }
    /// ```
    ///
    /// # Errors
    /// As [`GroupConsumer::commit`].
    pub async fn close(mut self) -> Result<(), Error> {
        let mut committed = Ok(());
        if !self.ready.is_empty() {
            if self.consumer.auto_commits() {
                committed = self.commit_before_ready().await;
            }
            self.consumer.forget_handed();
        }
        committed.and(self.consumer.close().await.map_err(broker))
    }

    async fn commit_before_ready(&mut self) -> Result<(), Error> {
        let mut offsets = self.consumer.due();
        for record in self.ready.iter().flatten() {
            let partition = kafka::TopicPartition::new(record.topic.clone(), record.partition);
            let first = offsets.entry(partition).or_insert(kafka::Committed::at(record.offset));
            if record.offset < first.offset {
                *first = kafka::Committed::at(record.offset);
            }
        }
        self.consumer.commit_these(&offsets).await.map_err(broker)
    }

    fn take(&mut self, of: Fetched) {
        let Fetched { topic, partition, records, skipped, error, .. } = of;
        for record in records {
            let kafka::record::Record { offset, timestamp_ms, key, value, headers } = record;
            let key = self.keys.deserialize(&topic, key.as_deref());
            let value = self.values.deserialize(&topic, value.as_deref());
            let text = |name: &[u8]| String::from_utf8_lossy(name).into_owned();
            let header = |header: kafka::record::Header| (text(&header.name), header.value.map(|value| value.to_vec()));
            let headers: Headers = headers.into_iter().map(header).collect();
            let topic = topic.clone();
            self.ready.push_back(Ok(ConsumerRecord { topic, partition, offset, timestamp_ms, key, value, headers }));
        }
        let passed = |skipped: kafka::Skipped| {
            let (topic, offset, reason) = (topic.clone(), skipped.first, skipped.reason);
            Err(ReadError::Skipped { topic, partition, offset, reason })
        };
        self.ready.extend(skipped.into_iter().map(passed));
        self.ready.extend(error.map(|error| Err(read_error(topic, partition, error))));
    }
}

impl fmt::Debug for GroupConsumer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { consumer, keys: _, values: _, patience: _, ready, over } = self;
        let mut shown = f.debug_struct("GroupConsumer");
        shown.field("consumer", consumer).field("ready", &ready.len()).field("over", over).finish_non_exhaustive()
    }
}

fn broker(error: kafka::Error) -> Error {
    Error::new(ErrorKind::Broker, error)
}

fn read_error(topic: Arc<str>, partition: i32, error: FetchError) -> ReadError {
    match error {
        FetchError::OutOfRange { offset, next, .. }
        | FetchError::Truncated { offset, next, .. }
        | FetchError::Recreated { offset, next, .. } => {
            ReadError::OutOfRange { topic, partition, offset, resumed: next }
        }
        FetchError::Corrupt { .. } => {
            let source = TransportError::new(TransportErrorKind::Corrupt, error.to_string());
            ReadError::Failed { topic, partition: Some(partition), source }
        }
        FetchError::NoSuchPartition { .. } => {
            let source = TransportError::new(TransportErrorKind::UnknownTopic, error.to_string()).advising(Some(""));
            ReadError::Interrupted { topic, partition: Some(partition), source }
        }
        FetchError::Failed { error, .. } => {
            let (passes, source) = (error.is_retriable(), TransportError::from(error));
            match passes {
                true => ReadError::Interrupted { topic, partition: Some(partition), source },
                false => ReadError::Failed { topic, partition: Some(partition), source },
            }
        }
    }
}

/// How long one look for records takes; the group is served meanwhile.
const POLL: Duration = Duration::from_secs(1);
