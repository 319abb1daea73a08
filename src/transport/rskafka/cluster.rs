//! The client, its connections, and single attempts at each call.

use std::collections::{BTreeMap, HashMap};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use ::rskafka::BackoffConfig;
use ::rskafka::client::controller::ControllerClient;
use ::rskafka::client::error::{Error, ProtocolError};
use ::rskafka::client::partition::{Compression, OffsetAt as At, PartitionClient, UnknownTopicHandling};
use ::rskafka::client::{Client, ClientBuilder, Credentials, SaslConfig};
use ::rskafka::record::Record;
use chrono::DateTime;
use tokio::sync::{OnceCell, Semaphore};
use tokio::time::{Instant, sleep};

use super::failure::Failure;
use crate::transport::{
    Created, KafkaOptions, OffsetAt, Outgoing, SaslMechanism, Security, TopicInfo, TransportErrorKind as Kind,
};

/// A client with its connections.
pub(super) struct Cluster {
    client: Client,
    controller: ControllerClient,
    topics: Mutex<HashMap<String, Vec<i32>>>,
    readers: Mutex<HashMap<Partition, Vec<PartitionClient>>>,
    writers: Mutex<HashMap<Partition, Arc<OnceCell<Arc<Writer>>>>>,
    opening: Semaphore,
    listing: tokio::sync::Mutex<Option<Instant>>,
}

impl Cluster {
    pub(super) async fn open(options: &KafkaOptions) -> Result<Self, Failure> {
        let client = builder(options).build().await?;
        Ok(Self {
            controller: client.controller_client()?,
            client,
            topics: Mutex::default(),
            readers: Mutex::default(),
            writers: Mutex::default(),
            opening: Semaphore::new(MOST_OPENING),
            listing: tokio::sync::Mutex::default(),
        })
    }

    pub(super) async fn topics(&self) -> Result<Vec<TopicInfo>, Failure> {
        let listed = self.client.list_topics().await?;
        let listed = listed.into_iter().map(|topic| (topic.name, topic.partitions.into_iter().collect::<Vec<_>>()));
        let mut infos: Vec<_> = listed.map(|(name, partitions)| TopicInfo { name: name.into(), partitions }).collect();
        infos.sort_by(|a, b| a.name.cmp(&b.name));
        let known = infos.iter().map(|info| (info.name.to_string(), info.partitions.clone())).collect();
        *lock(&self.topics) = known;
        Ok(infos)
    }

    pub(super) async fn create(&self, topic: &str, partitions: i32, within: Duration) -> Result<Created, Failure> {
        let ms = i32::try_from(within.as_millis()).unwrap_or(i32::MAX);
        let created = self.controller.create_topic(topic, partitions, BROKERS_DEFAULT, ms).await;
        match created {
            Ok(()) => {
                self.wait_for(topic).await;
                Ok(Created::New)
            }
            Err(Error::ServerError { protocol_error: ProtocolError::TopicAlreadyExists, .. }) => Ok(Created::Existed),
            Err(error) => Err(error.into()),
        }
    }

    pub(super) async fn produce(&self, topic: &str, partition: i32, records: &[Record]) -> Result<Vec<i64>, Failure> {
        let writer = self.writer(topic, partition).await?;
        if writer.is_idle() {
            // Finds out that a connection has broken before it matters.
            self.noting(topic, writer.client.get_offset(At::Latest).await)?;
        }
        let offsets = self.noting(topic, writer.client.produce(records.to_vec(), Compression::NoCompression).await);
        let offsets = offsets.map_err(|failure| match failure.lost {
            true => Failure::new(Kind::TimedOut, "the connection broke before the broker's answer had come"),
            false => failure,
        })?;
        writer.was_used();
        Ok(offsets)
    }

    pub(super) async fn offset(&self, topic: &str, partition: i32, at: OffsetAt) -> Result<i64, Failure> {
        let writer = self.writer(topic, partition).await?;
        let at = match at {
            OffsetAt::Earliest => At::Earliest,
            OffsetAt::Latest => At::Latest,
            OffsetAt::Time(ms) => At::Timestamp(DateTime::from_timestamp_millis(ms.max(0)).ok_or_else(bad_time)?),
        };
        match self.noting(topic, writer.client.get_offset(at).await)? {
            // No record is as late as that.
            -1 => self.noting(topic, writer.client.get_offset(At::Latest).await),
            offset => Ok(offset),
        }
    }

    /// A connection to read one partition with; [`put_back`](Self::put_back) keeps it for the next time.
    pub(super) async fn reader(&self, topic: &str, partition: i32) -> Result<PartitionClient, Failure> {
        let kept = lock(&self.readers).get_mut(&(topic.into(), partition)).and_then(Vec::pop);
        match kept {
            Some(reader) => Ok(reader),
            None => self.connect(topic, partition).await,
        }
    }

    pub(super) fn put_back(&self, reader: PartitionClient) {
        let partition = (reader.topic().into(), reader.partition());
        lock(&self.readers).entry(partition).or_default().push(reader);
    }

    /// A topic that the broker says it doesn't have is looked for before it is asked for again.
    pub(super) fn noting<T>(&self, topic: &str, result: Result<T, Error>) -> Result<T, Failure> {
        result.map_err(|error| {
            let failure = Failure::from(error);
            match failure.kind {
                Kind::UnknownTopic if lock(&self.topics).remove(topic).is_some() => failure.again(),
                _ => failure,
            }
        })
    }

    async fn writer(&self, topic: &str, partition: i32) -> Result<Arc<Writer>, Failure> {
        let cell = lock(&self.writers).entry((topic.into(), partition)).or_default().clone();
        let connect = async || Ok(Arc::new(Writer::new(self.connect(topic, partition).await?)));
        cell.get_or_try_init(connect).await.cloned()
    }

    async fn connect(&self, topic: &str, partition: i32) -> Result<PartitionClient, Failure> {
        self.must_exist(topic, partition).await?;
        let _permit = self.opening.acquire().await;
        self.noting(topic, self.client.partition_client(topic, partition, UnknownTopicHandling::Error).await)
    }

    /// Asking for the metadata of one topic would create it, so all are listed instead, by one caller for all.
    async fn must_exist(&self, topic: &str, partition: i32) -> Result<(), Failure> {
        let asked = Instant::now();
        if self.is_known(topic, partition) {
            return Ok(());
        }
        let mut listed = self.listing.lock().await;
        if listed.is_none_or(|at| at < asked) {
            let start = Instant::now();
            self.topics().await?;
            *listed = Some(start);
        }
        match self.is_known(topic, partition) {
            true => Ok(()),
            false => Err(Failure::new(Kind::UnknownTopic, "there is no such partition")),
        }
    }

    fn is_known(&self, topic: &str, partition: i32) -> bool {
        lock(&self.topics).get(topic).is_some_and(|partitions| partitions.contains(&partition))
    }

    /// Brokers learn of a new topic one after the other.
    async fn wait_for(&self, topic: &str) {
        for _ in 0..LOOKS {
            match self.topics().await {
                Ok(topics) if !topics.iter().any(|info| &*info.name == topic) => sleep(BETWEEN_LOOKS).await,
                _ => break,
            }
        }
    }
}

/// Checks records, and puts them as the client wants them.
pub(super) fn to_send(records: Vec<Outgoing>, options: &KafkaOptions) -> Result<Vec<Record>, Failure> {
    let records = records.into_iter().map(one_to_send).collect::<Result<Vec<_>, _>>()?;
    let size: usize = records.iter().map(|record| record.approximate_size().saturating_add(OVERHEAD)).sum();
    let (_, _, most, _) = options.parts();
    match size > most {
        true => Err(Failure::new(Kind::TooLarge, format!("about {size} bytes, where max_request_size is {most}"))),
        false => Ok(records),
    }
}

/// The connection that a partition is written with.
struct Writer {
    client: PartitionClient,
    used: Mutex<Instant>,
}

impl Writer {
    fn new(client: PartitionClient) -> Self {
        Self { client, used: Mutex::new(Instant::now()) }
    }

    fn is_idle(&self) -> bool {
        lock(&self.used).elapsed() > IDLE
    }

    fn was_used(&self) {
        *lock(&self.used) = Instant::now();
    }
}

type Partition = (Arc<str>, i32);

fn one_to_send(record: Outgoing) -> Result<Record, Failure> {
    let Outgoing { key, value, headers, timestamp_ms } = record;
    let timestamp = DateTime::from_timestamp_millis(timestamp_ms).ok_or_else(bad_time)?;
    let mut unique = BTreeMap::new();
    for (name, value) in headers {
        let value = value.ok_or_else(|| bad_header("with a null value"))?;
        if unique.insert(name, value).is_some() {
            return Err(bad_header("of the same name"));
        }
    }
    Ok(Record { key, value, headers: unique, timestamp })
}

fn builder(options: &KafkaOptions) -> ClientBuilder {
    let (security, client_id, _, max_frame) = options.parts();
    let builder = ClientBuilder::new(options.bootstrap().to_vec())
        .client_id(client_id)
        .max_message_size(max_frame)
        .backoff_config(BackoffConfig { deadline: Some(Duration::ZERO), ..BackoffConfig::default() });
    match security {
        Security::Plaintext => builder,
        Security::SaslPlaintext { mechanism, username, password } => {
            let credentials = Credentials::new(username.clone(), password.clone());
            builder.sasl_config(match mechanism {
                SaslMechanism::Plain => SaslConfig::Plain(credentials),
                SaslMechanism::ScramSha256 => SaslConfig::ScramSha256(credentials),
                SaslMechanism::ScramSha512 => SaslConfig::ScramSha512(credentials),
            })
        }
    }
}

fn bad_time() -> Failure {
    Failure::new(Kind::Unsupported, "the time is further from 1970 than this client can say")
}

fn bad_header(which: &str) -> Failure {
    Failure::new(Kind::Unsupported, format!("this client can't send headers {which}"))
}

fn lock<T>(mutex: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// About what a record takes besides its own bytes.
const OVERHEAD: usize = 24;
const BROKERS_DEFAULT: i16 = -1;
/// So many connections are opened at a time (a broker queues 50).
const MOST_OPENING: usize = 16;
/// After so long a connection is tried before a produce depends on it.
const IDLE: Duration = Duration::from_millis(250);
const LOOKS: usize = 40;
const BETWEEN_LOOKS: Duration = Duration::from_millis(25);
