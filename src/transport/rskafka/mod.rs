//! Apache Kafka by way of the crate `rskafka`, for callers who have that client anyway: a thin adapter, and honest about
//! what it can't do. The default is our own client, [`kafka`](super::kafka).
//!
//! # What to know
//!
//! - A partition that is read is one TCP connection, and a partition that is written or asked for offsets is another:
//!   a node that follows 200 key topics has 200 connections.
//! - No TLS, and no records compressed with lz4 or zstd. A batch that the client can't read (those; headers with a null
//!   value; the markers of transactions) is passed over offset by offset, and each is reported in
//!   [`Batch::skipped`](super::Batch::skipped).
//! - Records of aborted transactions are delivered as data.
//! - Of headers with the same name only the last one is delivered, and only records with distinct names and without
//!   null values can be sent.
//! - On topics with `message.timestamp.type=LogAppendTime` the time of a record is still the producer's.
//! - Topics are created with the broker's defaults for everything but the number of partitions.
//! - [`produce`](super::Transport::produce) isn't idempotent. It tries again as long as the broker can't have the records;
//!   when a connection breaks before the answer has come it fails with
//!   [`TimedOut`](TransportErrorKind::TimedOut), and who sends again may send twice.
//!
//! # How it is made
//!
//! The client's own deadlines aren't wall-clock: so each call has a timeout around it, and when one expires, the client
//! and all its connections are dropped and made anew by the next call. The client's retries are turned off, since they
//! would repeat a produce, and a wrong password, without end; `retry.rs` decides instead.
//!
//! It never keeps positions, never creates a topic by asking for it, and owns no bytes. Connections belong to the tokio
//! runtime that they were made on: use one transport on one runtime.

mod cluster;
mod failure;
mod read;
mod reads;
mod retry;

use std::fmt;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use tokio::time::Instant;

use cluster::Cluster;
use failure::Failure;
use reads::Reads;

use super::{
    BoxFuture, Created, FetchFrom, Fetched, KafkaOptions, OffsetAt, Outgoing, TopicInfo, Transport, TransportError,
    TransportErrorKind,
};

/// A way to an Apache Kafka cluster. Clones share their connections.
#[derive(Clone)]
pub struct Rskafka {
    shared: Arc<Shared>,
}

impl Rskafka {
    /// Connects, trying again until the time is over unless the broker refuses our credentials.
    ///
    /// ```
    /// # tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap().block_on(async {
    /// use std::time::Duration;
    /// use kafkacrypto::transport::{KafkaOptions, TransportErrorKind, rskafka::Rskafka};
    ///
    /// let nobody_there = KafkaOptions::new(["127.0.0.1:1"]);
    /// let error = Rskafka::connect(nobody_there, Duration::from_millis(100)).await.unwrap_err();
    /// assert_eq!(error.kind(), TransportErrorKind::Unreachable);
    /// # });
    /// ```
    pub async fn connect(options: KafkaOptions, within: Duration) -> Result<Self, TransportError> {
        let what = format!("can't connect to {}", options.bootstrap().join(","));
        let kafka = Self::lazy(options);
        kafka.call(&what, within, async |_| Ok(())).await?;
        Ok(kafka)
    }

    /// Connects when the first call needs it.
    pub fn lazy(options: KafkaOptions) -> Self {
        let shared = Shared { options, current: Mutex::default(), connecting: tokio::sync::Mutex::default() };
        Self { shared: Arc::new(shared) }
    }

    async fn call<T, F>(
        &self,
        what: &str,
        within: Duration,
        attempt: impl Fn(Arc<Cluster>) -> F,
    ) -> Result<T, TransportError>
    where
        F: Future<Output = Result<T, Failure>>,
    {
        let start = Instant::now();
        let result = retry::until(what, within, async || attempt(self.session().await?.cluster.clone()).await).await;
        result.inspect_err(|error| self.drop_session_after(error, start))
    }

    /// The connections that there are, or new ones.
    async fn session(&self) -> Result<Arc<Session>, Failure> {
        if let Some(session) = self.current() {
            return Ok(session);
        }
        let _only_one = self.shared.connecting.lock().await;
        if let Some(session) = self.current() {
            return Ok(session);
        }
        let cluster = Arc::new(Cluster::open(&self.shared.options).await?);
        let session = Arc::new(Session { cluster, reads: Reads::default(), opened: Instant::now() });
        *self.shared.current.lock().unwrap_or_else(PoisonError::into_inner) = Some(session.clone());
        Ok(session)
    }

    fn current(&self) -> Option<Arc<Session>> {
        self.shared.current.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// After an expired deadline nothing of a connection can be trusted, unless it is newer than the call.
    fn drop_session_after(&self, error: &TransportError, start: Instant) {
        if matches!(error.kind(), TransportErrorKind::TimedOut | TransportErrorKind::Unreachable) {
            let mut current = self.shared.current.lock().unwrap_or_else(PoisonError::into_inner);
            if current.take_if(|session| session.opened <= start).is_some() {
                tracing::debug!(%error, "dropped all connections to Kafka");
            }
        }
    }
}

impl fmt::Debug for Rskafka {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Rskafka").field("options", &self.shared.options).finish_non_exhaustive()
    }
}

impl Transport for Rskafka {
    fn topics(&self, within: Duration) -> BoxFuture<'_, Result<Vec<TopicInfo>, TransportError>> {
        Box::pin(self.call("can't list the topics", within, async |cluster| cluster.topics().await))
    }

    fn partitions<'a>(
        &'a self,
        topic: &'a str,
        within: Duration,
    ) -> BoxFuture<'a, Result<Option<Vec<i32>>, TransportError>> {
        Box::pin(async move {
            let topics = self.call(&about("look for", topic), within, async |cluster| cluster.topics().await).await?;
            Ok(topics.into_iter().find(|info| &*info.name == topic).map(|info| info.partitions))
        })
    }

    fn create_topic<'a>(
        &'a self,
        topic: &'a str,
        partitions: i32,
        within: Duration,
    ) -> BoxFuture<'a, Result<Created, TransportError>> {
        Box::pin(async move {
            let attempt = async |cluster: Arc<Cluster>| cluster.create(topic, partitions, within).await;
            self.call(&about("create", topic), within, attempt).await
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
            let what = about_partition("write to", topic, partition);
            let records = cluster::to_send(records, &self.shared.options).map_err(|failure| failure.at(&what))?;
            let attempt = async |cluster: Arc<Cluster>| cluster.produce(topic, partition, &records).await;
            self.call(&what, within, attempt).await
        })
    }

    fn fetch<'a>(
        &'a self,
        from: &'a [FetchFrom],
        max_bytes: i32,
        wait: Duration,
        within: Duration,
    ) -> BoxFuture<'a, Result<Vec<Fetched>, TransportError>> {
        Box::pin(async move {
            let start = Instant::now();
            let session = retry::until("can't read", within, async || self.session().await).await;
            let session = session.inspect_err(|error| self.drop_session_after(error, start))?;
            let left = within.saturating_sub(start.elapsed());
            let fetched = session.reads.fetch(&session.cluster, from, max_bytes, wait.min(left), left).await;
            for error in fetched.iter().filter_map(|one| one.result.as_ref().err()) {
                self.drop_session_after(error, start);
            }
            Ok(fetched)
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
            let what = about_partition("ask for an offset of", topic, partition);
            self.call(&what, within, async |cluster: Arc<Cluster>| cluster.offset(topic, partition, at).await).await
        })
    }
}

struct Shared {
    options: KafkaOptions,
    current: Mutex<Option<Arc<Session>>>,
    connecting: tokio::sync::Mutex<()>,
}

/// The connections, and what is being read over them.
struct Session {
    cluster: Arc<Cluster>,
    reads: Reads,
    opened: Instant,
}

fn about(verb: &str, topic: &str) -> String {
    format!("can't {verb} topic {topic:?}")
}

fn about_partition(verb: &str, topic: &str, partition: i32) -> String {
    format!("can't {verb} partition {partition} of topic {topic:?}")
}
