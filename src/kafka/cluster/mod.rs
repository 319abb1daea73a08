//! The cluster: who its brokers are, where they are, who leads what, and one call to any of them.
//!
//! What must never happen here: a topic is created by asking about it, a call outlives its deadline, a request that may
//! have arrived is sent again, or many callers ask the same question at once.
//!
//! It owns no bytes: requests and responses pass through.

mod attempts;
pub(in crate::kafka) mod backoff;
mod coordinators;
mod lanes;
mod life;
mod link;
pub(in crate::kafka) mod metadata;
mod peers;
mod throttle;
mod topics;

#[cfg(test)]
pub(in crate::kafka) mod fake;
#[cfg(test)]
mod tests;

use std::fmt;
use std::sync::atomic::{AtomicBool, AtomicI32, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use kafka_protocol::messages::metadata_request::MetadataRequestTopic;
use kafka_protocol::messages::{FindCoordinatorRequest, MetadataRequest, TopicName};
use kafka_protocol::protocol::{Request, StrBytes};
use tokio::time::{Instant, sleep_until, timeout_at};

use backoff::Backoff;
use coordinators::Coordinators;
use peers::{Peer, Peers};
use topics::Topics;

pub(in crate::kafka) use attempts::{Attempts, Repeated};
pub(in crate::kafka) use coordinators::Coordinator;
pub(in crate::kafka) use lanes::Lane;
pub(in crate::kafka) use metadata::{BrokerInfo, Leader, Metadata, PartitionMetadata, TopicMetadata, counted};

pub(in crate::kafka) use peers::Way;
pub(in crate::kafka) use throttle::Throttled;

use super::config::Config;
use super::error::{Error, ErrorKind, escaped};
use super::fetch::Hub;
use super::net::dial::Dialer;
use super::net::race::race;

/// A cluster. Clones share its connections, which belong to the tokio runtime that they were made on: two to each broker
/// that is used, and one more for each further member of a group that joins at the same time.
///
/// ```
/// # tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap().block_on(async {
/// use kafkacrypto::kafka::{Client, Config, ErrorKind};
///
/// let nowhere: [&str; 0] = [];
/// assert_eq!(Client::new(Config::new(nowhere)).unwrap_err().kind(), ErrorKind::Config);
/// let client = Client::new(Config::new(["broker.example:9092"]))?; // connects when it is used
/// client.close().await;
/// # Ok::<(), kafkacrypto::kafka::Error>(()) }).unwrap();
/// ```
#[derive(Clone)]
pub struct Client(Arc<Inner>);

/// Which broker to ask.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::kafka) enum Target {
    /// Any that answers.
    Any,
    /// The controller, or a broker that passes requests on to it.
    Controller,
    /// This one.
    Broker(i32),
}

struct Inner {
    dialer: Arc<Dialer>,
    peers: Peers,
    topics: Mutex<Topics>,
    coordinators: Mutex<Coordinators>,
    /// Held by the one who asks for metadata.
    asking: tokio::sync::Mutex<()>,
    controller: AtomicI32,
    closed: AtomicBool,
    /// What all Readers share.
    hub: Arc<Hub>,
}

impl Client {
    /// A client that connects when it is used.
    ///
    /// ```
    /// use kafkacrypto::kafka::{Client, Config, ErrorKind};
    ///
    /// assert!(Client::new(Config::new(["broker.example:9092"])).is_ok());
    /// assert_eq!(Client::new(Config::new([""; 0])).unwrap_err().kind(), ErrorKind::Config);
    /// ```
    ///
    /// # Errors
    /// [`ErrorKind::Config`](super::ErrorKind::Config): settings that can't be used.
    pub fn new(config: Config) -> Result<Self, Error> {
        config.check_bootstrap()?;
        let times = config.times();
        let backoff = Backoff::new(SOON.min(times.first_backoff), times.most_backoff);
        let dialer = Arc::new(Dialer::new(config)?);
        Ok(Self(Arc::new(Inner {
            peers: Peers::new(dialer.clone()),
            topics: Mutex::new(Topics::new(times.metadata_max_age, backoff)),
            coordinators: Mutex::default(),
            asking: tokio::sync::Mutex::default(),
            controller: AtomicI32::new(NOBODY),
            closed: AtomicBool::new(false),
            dialer,
            hub: Arc::new(Hub::new()),
        })))
    }

    /// Ends all connections once what is under way has been answered, or after two seconds. Calls that come later fail.
    pub async fn close(&self) {
        self.0.closed.store(true, Ordering::Relaxed);
        let connections = self.0.peers.close();
        let _in_time = timeout_at(Instant::now() + GOODBYE, async {
            for connection in connections {
                connection.closed().await;
            }
        })
        .await;
    }

    pub(in crate::kafka) fn hub(&self) -> Arc<Hub> {
        self.0.hub.clone()
    }

    pub(in crate::kafka) fn config(&self) -> &Config {
        self.0.dialer.config()
    }

    /// One request to one broker, that is answered at once; `build` gets the highest version that both sides speak. Answers
    /// with the response and that version.
    ///
    /// Fails at once when the broker can't be reached, so that the caller can look for another; while a connection has
    /// failed lately, it waits first.
    pub(in crate::kafka) async fn call<R>(
        &self,
        to: Target,
        deadline: Instant,
        build: impl FnOnce(i16) -> R + Send,
    ) -> Result<(R::Response, i16), Error>
    where
        R: Request + Send + Sync,
        R::Response: Throttled,
    {
        self.call_over(to, Lane::Main, Duration::ZERO, deadline, |version, _| build(version)).await
    }

    /// The same over another lane, for a request whose answer the broker may hold back for `hold`; `build` gets that, too,
    /// or less where others would wait for it.
    pub(in crate::kafka) async fn call_over<R>(
        &self,
        to: Target,
        lane: Lane,
        hold: Duration,
        deadline: Instant,
        build: impl FnOnce(i16, Duration) -> R + Send,
    ) -> Result<(R::Response, i16), Error>
    where
        R: Request + Send + Sync,
        R::Response: Throttled,
    {
        let way = self.way(to, lane, deadline).await?;
        let (version, hold) = (way.version::<R>()?, way.hold(hold));
        let response = way.ask(&build(version, hold), version, hold, deadline).await?;
        Ok((response, version))
    }

    /// The way for one request to who is meant; where that may be several, to the first that can be reached.
    pub(in crate::kafka) async fn way(&self, to: Target, lane: Lane, deadline: Instant) -> Result<Way, Error> {
        let way = async |peer: Arc<Peer>| {
            if self.0.closed.load(Ordering::Relaxed) {
                return Err(Error::new(ErrorKind::Closed, "the Kafka client was closed"));
            }
            peer.way(lane, deadline).await.map_err(|error| advertised(to, error))
        };
        let known = if let Target::Broker(id) = to { self.0.peers.broker(id) } else { None };
        if let Some(peer) = known {
            return way(peer).await.map_err(Error::unsent);
        }
        let candidates = self.candidates(to, deadline).await?;
        race(candidates.into_iter().map(way), HEAD_START).await.map_err(|failed| {
            let most = failed.into_iter().min_by_key(says_little);
            most.unwrap_or_else(|| Error::new(ErrorKind::Unreachable, "no broker is known")).unsent()
        })
    }

    /// Whether [`Lane::Spare`] of a broker may be used.
    pub(in crate::kafka) fn has_spare(&self, broker: i32) -> bool {
        self.0.peers.broker(broker).is_some_and(|peer| peer.has_spare())
    }

    /// Who leads a partition.
    pub(in crate::kafka) async fn leader(
        &self,
        topic: &str,
        partition: i32,
        deadline: Instant,
    ) -> Result<Leader, Error> {
        let Some(found) = self.topic(topic, deadline).await? else {
            let what = format!("there is no topic \"{}\"", escaped(topic));
            return Err(Error::new(ErrorKind::UnknownTopic, what).unsent());
        };
        let leader = found.leader(partition).and_then(|leader| match self.0.peers.broker(leader.broker) {
            Some(_) => Ok(leader),
            None => Err(Error::from_code(LEADER_NOT_AVAILABLE, &format!("can't find broker {}", leader.broker))),
        });
        leader.inspect_err(|_| self.stale(topic))
    }

    /// A topic; `None` when there is none of that name. Creates none.
    pub(in crate::kafka) async fn topic(
        &self,
        topic: &str,
        deadline: Instant,
    ) -> Result<Option<Arc<TopicMetadata>>, Error> {
        let since = now();
        loop {
            if let Some(answer) = self.known().answer(topic, since, now()) {
                return answer;
            }
            let due = self.known().want(topic, now()).map(Instant::from);
            if let Some(due) = due.filter(|due| *due < deadline) {
                sleep_until(due).await;
            }
            let Ok(_asking) = timeout_at(deadline, self.0.asking.lock()).await else {
                return Err(Error::new(ErrorKind::TimedOut, "no metadata in time").unsent());
            };
            if self.known().answer(topic, since, now()).is_none() {
                self.refresh(topic, deadline).await?;
            }
        }
    }

    /// All topics, and all brokers; tried again until the deadline.
    pub(in crate::kafka) async fn topics(&self, deadline: Instant) -> Result<Arc<Metadata>, Error> {
        let asked = now();
        let metadata = self.look(None, deadline).await?;
        self.known().listed(metadata.topics.clone(), asked, now());
        Ok(Arc::new(metadata))
    }

    /// All brokers, and these topics or all.
    pub(in crate::kafka) async fn look(
        &self,
        topics: Option<Vec<String>>,
        deadline: Instant,
    ) -> Result<Metadata, Error> {
        let mut attempts = Attempts::new(self.config().times(), deadline);
        loop {
            match self.ask(topics.clone(), deadline).await {
                Ok(metadata) => return Ok(metadata),
                Err(error) => attempts.again(error).await?,
            }
        }
    }

    /// What is known of a topic may be old: the next who asks about it asks anew.
    pub(in crate::kafka) fn stale(&self, topic: &str) {
        self.known().stale(topic);
    }

    /// The broker that coordinates a group or a transaction.
    pub(in crate::kafka) async fn coordinator(
        &self,
        kind: Coordinator,
        key: &str,
        deadline: Instant,
    ) -> Result<i32, Error> {
        let known = lock(&self.0.coordinators).known(kind, key);
        if let Some(broker) = known.filter(|broker| self.0.peers.broker(*broker).is_some()) {
            return Ok(broker);
        }
        let build = |version| kind.request(key, version);
        let (response, _) = self.call::<FindCoordinatorRequest>(Target::Any, deadline, build).await?;
        let broker = kind.read(key, response).map_err(Error::unsent)?;
        if self.0.peers.broker(broker).is_none() {
            self.ask(Some(Vec::new()), deadline).await?;
        }
        lock(&self.0.coordinators).found(kind, key, broker);
        Ok(broker)
    }

    /// The coordinator isn't the one that was known.
    pub(in crate::kafka) fn forget_coordinator(&self, kind: Coordinator, key: &str) {
        lock(&self.0.coordinators).forget(kind, key);
    }

    async fn candidates(&self, to: Target, deadline: Instant) -> Result<Vec<Arc<Peer>>, Error> {
        let id = match to {
            Target::Any => return Ok(self.0.peers.any()),
            Target::Broker(id) => id,
            Target::Controller => self.0.controller.load(Ordering::Relaxed),
        };
        if let Some(peer) = self.0.peers.broker(id) {
            return Ok(vec![peer]);
        }
        Box::pin(self.ask(Some(Vec::new()), deadline)).await?;
        let id = if to == Target::Controller { self.0.controller.load(Ordering::Relaxed) } else { id };
        match self.0.peers.broker(id) {
            Some(peer) => Ok(vec![peer]),
            None => Err(Error::from_code(BROKER_NOT_AVAILABLE, &format!("there is no broker {id}"))),
        }
    }

    /// Asks about all topics that somebody waits for, `topic` among them.
    async fn refresh(&self, topic: &str, deadline: Instant) -> Result<(), Error> {
        let asked = now();
        let mut wanted = self.known().wanted(asked);
        if !wanted.iter().any(|name| name == topic) {
            wanted.push(topic.to_owned());
        }
        let metadata = self.ask(Some(wanted.clone()), deadline).await?;
        let mut answers = metadata.topics;
        for name in wanted {
            answers.entry(name).or_insert(Ok(None));
        }
        self.known().answered(answers, asked, now());
        Ok(())
    }

    /// Asks any broker about topics: these, or all.
    async fn ask(&self, topics: Option<Vec<String>>, deadline: Instant) -> Result<Metadata, Error> {
        let named = |name| MetadataRequestTopic::default().with_name(Some(TopicName(StrBytes::from_string(name))));
        let topics = topics.map(|names| names.into_iter().map(named).collect());
        let request = MetadataRequest::default().with_topics(topics).with_allow_auto_topic_creation(false);
        let way = self.way(Target::Any, Lane::Main, deadline).await?;
        let response = way.ask(&request, way.version::<MetadataRequest>()?, Duration::ZERO, deadline).await?;
        if response.error_code != 0 {
            return Err(Error::from_code(response.error_code, "can't read the metadata").unsent());
        }
        let metadata = Metadata { origin: way.address().to_owned(), ..Metadata::new(response) };
        self.0.controller.store(metadata.controller.unwrap_or(NOBODY), Ordering::Relaxed);
        self.0.peers.update(&metadata.brokers);
        Ok(metadata)
    }

    fn known(&self) -> MutexGuard<'_, Topics> {
        lock(&self.0.topics)
    }
}

impl fmt::Debug for Client {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Client").field("config", self.config()).finish_non_exhaustive()
    }
}

/// Which broker it was that the cluster told us of.
fn advertised(to: Target, error: Error) -> Error {
    match to {
        Target::Broker(id) => {
            let mendable = matches!(error.kind(), ErrorKind::Unreachable | ErrorKind::TimedOut);
            let error = error.at(&format!("broker {id}, at the address that it advertises"));
            if mendable { error.advising(ADVERTISED) } else { error }
        }
        Target::Any | Target::Controller => error,
    }
}

/// That somebody can't be reached says less than that somebody is silent, and that less than anything else.
fn says_little(error: &Error) -> u8 {
    match error.kind() {
        ErrorKind::Unreachable => 2,
        ErrorKind::TimedOut => 1,
        _ => 0,
    }
}

const ADVERTISED: &str = "check that this broker runs, that its advertised.listeners names an address for clients like \
                          this one, and the network and DNS between";

fn now() -> std::time::Instant {
    Instant::now().into_std()
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

const NOBODY: i32 = -1;
const LEADER_NOT_AVAILABLE: i16 = 5;
const BROKER_NOT_AVAILABLE: i16 = 8;
/// A topic that was just made is known everywhere after some milliseconds; asking for it begins with such waits.
const SOON: Duration = Duration::from_millis(5);
/// How long connecting to one of several brokers may take before the next is tried, too.
const HEAD_START: Duration = Duration::from_millis(400);
/// How long closing waits for what is under way.
const GOODBYE: Duration = Duration::from_secs(2);
