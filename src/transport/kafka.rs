//! Apache Kafka by way of [our own client](crate::kafka): the transport that is used when nothing else is said.
//!
//! # What to know
//!
//! - At most two connections to each broker, however many partitions (and one more for each further member of a group
//!   that joins at the same time); what several calls fetch is asked for in one request. What is followed is read ahead,
//!   up to a bound.
//! - Reads what is committed, unless `isolation_level` says otherwise: records of aborted transactions are never seen. A
//!   batch that can't be read is passed over and reported in [`Batch::skipped`].
//! - [`produce`](Transport::produce) is idempotent: it tries again by itself, and a lost acknowledgement makes no
//!   duplicate. After an error with [`TransportError::may_have_arrived`] the broker may have the records; who sends
//!   them again may double them.
//! - Topics are created with the broker's defaults for everything but the number of partitions.
//!
//! It keeps no position beyond what it reads ahead, creates no topic by asking for it, and owns no bytes. Connections
//! belong to the tokio runtime that they were made on: use one transport on one runtime.

mod failure;
mod records;
mod said;

use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use tokio::time::{Instant, timeout_at};

use failure::{about, about_partition, changed, failed, unreadable, unusable};
use records::{each, received, to_send};
use said::preferences;

use super::{
    Batch, BoxFuture, Created, FetchFrom, Fetched, InLine, OffsetAt, Outgoing, Preferences, Receipt, TopicInfo,
    Transport, TransportError, TransportErrorKind as Kind,
};
use crate::kafka::{
    self, Client, Config, Corrupt, Delivery, Error, Isolation, Most, NewTopic, OffsetAt as At, Producer,
    ProducerConfig, ReaderConfig, Said, Settings, SharedReader, Start, TopicPartition,
};

/// A way to an Apache Kafka cluster. Clones share their connections.
#[derive(Clone)]
pub struct Kafka {
    shared: Arc<Shared>,
}

impl Kafka {
    /// Connects, trying again until the time is over unless the broker refuses our credentials.
    ///
    /// ```
    /// # tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap().block_on(async {
    /// use std::time::Duration;
    /// use kafkacrypto::kafka::Config;
    /// use kafkacrypto::transport::{TransportErrorKind, kafka::Kafka};
    ///
    /// let nobody_there = Config::new(["127.0.0.1:1"]);
    /// let error = Kafka::connect(nobody_there, Duration::from_millis(100)).await.unwrap_err();
    /// assert_eq!(error.kind(), TransportErrorKind::Unreachable);
    /// # });
    /// ```
    pub async fn connect(config: Config, within: Duration) -> Result<Self, TransportError> {
        let what = format!("can't connect to {}", config.bootstrap().join(","));
        let kafka = Self::lazy(config)?;
        kafka.shared.client.describe(Some(&[]), within).await.map_err(|error| failed(&what, error))?;
        Ok(kafka)
    }

    /// Connects when the first call needs it. Fails when the settings can't be used.
    ///
    /// ```
    /// use kafkacrypto::kafka::Config;
    /// use kafkacrypto::transport::{TransportErrorKind, kafka::Kafka};
    ///
    /// assert!(Kafka::lazy(Config::new(["broker.example:9092"])).is_ok());
    /// assert_eq!(Kafka::lazy(Config::new([""; 0])).unwrap_err().kind(), TransportErrorKind::Configuration);
    /// ```
    pub fn lazy(config: Config) -> Result<Self, TransportError> {
        let client = Client::new(config).map_err(|error| failed("can't use the Kafka settings", error))?;
        Ok(Self::over(&client))
    }

    /// Over the connections of a client.
    pub fn over(client: &Client) -> Self {
        Self::producing_as(client, ProducerConfig::new())
    }

    /// Over the connections of a client, with a producer of this kind.
    pub fn producing_as(client: &Client, config: ProducerConfig) -> Self {
        Self::made(client, config, ReaderConfig::default(), Said::default())
    }

    /// Over the connections of a client, producing and reading as these settings say; what they say to a
    /// [`Producer`](crate::client::Producer) and a [`Consumer`](crate::client::Consumer) over it, these obey.
    ///
    /// ```
    /// # tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap().block_on(async {
    /// use kafkacrypto::kafka::{Client, Settings};
    /// use kafkacrypto::transport::{Reset, Transport, kafka::Kafka};
    ///
    /// let settings = Settings::new([("bootstrap.servers", "a:9092"), ("auto.offset.reset", "latest")])?;
    /// let kafka = Kafka::set_by(&Client::new(settings.client()?)?, &settings)?;
    /// assert_eq!(kafka.preferences().reset, Some(Reset::Latest));
    /// # Ok::<(), Box<dyn std::error::Error>>(()) }).unwrap();
    /// ```
    ///
    /// # Errors
    /// A value that makes no sense.
    pub fn set_by(client: &Client, settings: &Settings) -> Result<Self, TransportError> {
        let made = || Ok(Self::made(client, settings.producer()?, settings.reader()?, settings.said()?));
        made().map_err(unusable)
    }

    /// From the settings of a config, with kafka-python's names. Also returns a warning for each that is ignored; those
    /// that only members of a group heed are, since a transport is in none.
    ///
    /// ```
    /// use kafkacrypto::transport::{TransportErrorKind, kafka::Kafka};
    ///
    /// let setting = |name: &str, value: &str| (name.to_owned(), value.to_owned());
    /// let broker = setting("bootstrap_servers", "broker.example:9092");
    /// let (_, warnings) = Kafka::from_settings(&[broker, setting("selector", "epoll")].into())?;
    /// assert_eq!(warnings.len(), 1);
    /// assert_eq!(Kafka::from_settings(&[].into()).unwrap_err().kind(), TransportErrorKind::Configuration);
    /// # Ok::<(), kafkacrypto::transport::TransportError>(())
    /// ```
    pub fn from_settings(settings: &BTreeMap<String, String>) -> Result<(Self, Vec<String>), TransportError> {
        let settings = Settings::new(settings).map_err(unusable)?;
        let client = Client::new(settings.client().map_err(unusable)?).map_err(unusable)?;
        let warnings = [settings.warnings(), &settings.without_group()].concat();
        Ok((Self::set_by(&client, &settings)?, warnings))
    }

    fn made(client: &Client, producer: ProducerConfig, reading: ReaderConfig, said: Said) -> Self {
        // Who calls says where to go on, and is told what couldn't be read.
        let reading = reading.reset(kafka::Reset::Stop).corrupt(Corrupt::Skip).patience(PATIENCE);
        let producer = Producer::new(client, producer);
        let (reader, isolation) = (SharedReader::new(client, reading.clone()), reading.isolation);
        Self { shared: Arc::new(Shared { client: client.clone(), producer, reader, isolation, said }) }
    }
}

impl fmt::Debug for Kafka {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Kafka").field("client", &self.shared.client).finish_non_exhaustive()
    }
}

impl Transport for Kafka {
    fn topics(&self, within: Duration) -> BoxFuture<'_, Result<Vec<TopicInfo>, TransportError>> {
        Box::pin(async move {
            let cluster = self.shared.client.describe(None, within).await;
            let cluster = cluster.map_err(|error| failed("can't list the topics", error))?;
            let shown = cluster.topics.into_iter().filter(|topic| !topic.internal && topic.error.is_none());
            Ok(shown.map(|topic| TopicInfo { partitions: numbers(&topic), name: topic.name }).collect())
        })
    }

    fn partitions<'a>(
        &'a self,
        topic: &'a str,
        within: Duration,
    ) -> BoxFuture<'a, Result<Option<Vec<i32>>, TransportError>> {
        Box::pin(async move {
            let unseen = |error| failed(&about("look for", topic), error);
            let cluster = self.shared.client.describe(Some(&[topic]), within).await.map_err(unseen)?;
            match cluster.topics.into_iter().next() {
                Some(kafka::TopicInfo { error: Some(error), .. }) => Err(unseen(error)),
                found => Ok(found.map(|topic| numbers(&topic))),
            }
        })
    }

    fn create_topic<'a>(
        &'a self,
        topic: &'a str,
        partitions: i32,
        within: Duration,
    ) -> BoxFuture<'a, Result<Created, TransportError>> {
        Box::pin(async move { self.create_topics(&[topic], partitions, within).await.swap_remove(0) })
    }

    fn create_topics<'a>(
        &'a self,
        topics: &'a [&'a str],
        partitions: i32,
        within: Duration,
    ) -> BoxFuture<'a, Vec<Result<Created, TransportError>>> {
        Box::pin(async move {
            let wanted: Vec<_> = topics.iter().map(|topic| NewTopic::new(*topic).partitions(partitions)).collect();
            let created = match self.shared.client.create_topics(&wanted, within).await {
                Ok(created) => created,
                Err(error) => vec![Err(error); topics.len()],
            };
            let ours = |(topic, created): (&&str, _)| match created {
                Ok(kafka::Created::New) => Ok(Created::New),
                Ok(kafka::Created::Existed) => Ok(Created::Existed),
                Err(error) => Err(changed(&about("create", topic), error)),
            };
            topics.iter().zip(created).map(ours).collect()
        })
    }

    fn produce<'a>(
        &'a self,
        topic: &'a str,
        partition: i32,
        records: Vec<Outgoing>,
        within: Duration,
    ) -> BoxFuture<'a, Result<Vec<i64>, TransportError>> {
        Box::pin(async move {
            // The producer's time ends a little before ours: it knows what was never sent.
            let its = within.saturating_sub(LEAD.min(within / 10));
            let told = async { self.queue(topic, partition, records, its).await.await };
            match timeout_at(Instant::now() + within, told).await {
                Ok(told) => together(told),
                Err(_) => {
                    let what = about_partition("write to", topic, partition);
                    Err(TransportError::new(Kind::TimedOut, format!("{what}: no answer within {within:?}")))
                }
            }
        })
    }

    fn in_line(&self) -> Option<&dyn InLine> {
        Some(self)
    }

    fn fetch<'a>(
        &'a self,
        from: &'a [FetchFrom],
        max_bytes: i32,
        wait: Duration,
        within: Duration,
    ) -> BoxFuture<'a, Result<Vec<Fetched>, TransportError>> {
        Box::pin(async move {
            let place = |from: &FetchFrom| TopicPartition::new(from.topic.clone(), from.partition);
            let wanted: Vec<_> = from.iter().map(|from| (place(from), Start::Offset(from.offset))).collect();
            let most = Most::records(self.shared.said.max_poll_records.unwrap_or(usize::MAX).max(1));
            let most = most.bytes_each(usize::try_from(max_bytes).unwrap_or_default().max(1));
            let start = Instant::now();
            let fetched = self.shared.reader.fetch(&wanted, most, wait, within).await;
            if fetched.is_empty() && wait < within && start.elapsed() >= within {
                return Err(TransportError::new(Kind::TimedOut, format!("can't read: no answer within {within:?}")));
            }
            Ok(fetched.into_iter().map(one).collect())
        })
    }

    fn offset<'a>(
        &'a self,
        topic: &'a str,
        partition: i32,
        at: OffsetAt,
        within: Duration,
    ) -> BoxFuture<'a, Result<i64, TransportError>> {
        Box::pin(async move {
            let at = match at {
                OffsetAt::Earliest => At::Earliest,
                OffsetAt::Latest => At::Latest,
                OffsetAt::Time(ms) => At::Time(ms.max(0)),
            };
            let place = TopicPartition::new(topic, partition);
            let found = self.shared.client.offset(&place, at, self.shared.isolation, within).await;
            found.map_err(|error| failed(&about_partition("ask for an offset of", topic, partition), error))
        })
    }

    fn preferences(&self) -> Preferences {
        preferences(&self.shared.said)
    }
}

impl InLine for Kafka {
    #[expect(clippy::async_yields_async, reason = "to be in line is one wait, the receipt another")]
    fn queue<'a>(
        &'a self,
        topic: &'a str,
        partition: i32,
        records: Vec<Outgoing>,
        within: Duration,
    ) -> BoxFuture<'a, Receipt> {
        Box::pin(async move {
            let topic: Arc<str> = topic.into();
            let mut taken = Vec::with_capacity(records.len());
            for record in records {
                taken.push(self.shared.producer.send_within(to_send(&topic, partition, record), within).await);
            }
            let receipt: Receipt = Box::pin(async move {
                let mut told = Vec::with_capacity(taken.len());
                for taken in taken {
                    let what = |error| changed(&about_partition("write to", &topic, partition), error);
                    told.push(offset(taken).await.map_err(what));
                }
                told
            });
            receipt
        })
    }
}

/// Where a record is, if it was taken, once the broker has it.
async fn offset(taken: Result<Delivery, Error>) -> Result<i64, Error> {
    Ok(taken?.await?.offset.unwrap_or(NOT_TOLD))
}

/// All offsets, or an error; after one that tells that nothing can have arrived, nothing has.
fn together(told: Vec<Result<i64, TransportError>>) -> Result<Vec<i64>, TransportError> {
    let some_arrived = told.iter().any(|told| told.as_ref().map_or_else(TransportError::may_have_arrived, |_| true));
    let offsets: Result<_, _> = told.into_iter().collect();
    offsets.map_err(|error| match error.may_have_arrived() || !some_arrived {
        true => error,
        false => {
            TransportError::new(Kind::TimedOut, format!("{error}; other records of the same call may have arrived"))
        }
    })
}

struct Shared {
    client: Client,
    producer: Producer,
    reader: SharedReader,
    isolation: Isolation,
    said: Said,
}

fn numbers(topic: &kafka::TopicInfo) -> Vec<i32> {
    topic.partitions.iter().map(|partition| partition.number).collect()
}

/// What one partition answered.
fn one(fetched: kafka::Fetched) -> Fetched {
    let kafka::Fetched { topic, partition, records, next, end, skipped, error } = fetched;
    let result = match error {
        Some(error) if records.is_empty() && skipped.is_empty() => Err(unreadable(&error)),
        // What is behind the records comes out again when they have been passed.
        _ => Ok(Batch {
            records: records.into_iter().map(|record| received(&topic, partition, record)).collect(),
            next,
            end,
            skipped: skipped.iter().flat_map(each).collect(),
        }),
    };
    Fetched { topic, partition, result }
}

/// The offset of a record that the broker said nothing of (`acks=0`), or no more than that it has it.
const NOT_TOLD: i64 = -1;
/// Trouble that passes in this time isn't told.
const PATIENCE: Duration = Duration::from_secs(1);
/// How long a producer may take to say that the time is over.
const LEAD: Duration = Duration::from_millis(500);

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn what_was_never_sent_is_not_in_doubt() {
        let nobody = Kafka::lazy(Config::new(["127.0.0.1:1"])).unwrap();
        let error = nobody.produce("lab", 0, vec![Outgoing::default()], Duration::from_secs(2)).await.unwrap_err();
        assert_eq!(error.kind(), Kind::Unreachable, "{error}");
    }
}
