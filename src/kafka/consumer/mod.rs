//! Reading with a group, or without: subscriptions, rebalances, positions and commits over a [`Reader`].
//!
//! What it must never do: commit an offset whose record the program may not have dealt with, hand out records of a
//! partition that it no longer has, or go on elsewhere than it was told. It owns no bytes.

mod commits;
mod errand;
mod held;
mod options;
mod rebalance;
mod subscription;

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use tokio::time::{Instant, sleep_until, timeout_at};

use errand::Errand;
use held::Held;
pub use options::{ConsumerConfig, Unread};
pub use subscription::Subscription;

use super::fetch::{Fetched, Most, Reader, Standing, Start, TopicPartition};
use super::group::{Committed, Member};
use super::trouble::Trouble;
use super::{Client, Error, ErrorKind};

/// A change of what a member of a group reads.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum Rebalance {
    /// These are read from now on, from where the group left off.
    Assigned(Vec<TopicPartition>),
    /// These are about to go to another member. With commits by time, what was handed out of them has been committed.
    Revoked(Vec<TopicPartition>),
    /// These have gone already: another member may be reading them, and nothing of them can be committed any more.
    Lost(Vec<TopicPartition>),
}

/// Reads topics as a member of a group, or partitions that it is told.
///
/// At least once: with commits by time ([`ConsumerConfig::auto_commit`]), what a call of [`Consumer::poll`] handed out is
/// committed during a later call, when the program is done with it; what it isn't done with by then it
/// [holds back](Consumer::hold_back).
///
/// ```
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> Result<(), kafkacrypto::kafka::Error> {
/// use std::time::Duration;
/// use kafkacrypto::kafka::{Client, Config, Consumer, ConsumerConfig, GroupSettings, Subscription};
///
/// let client = Client::new(Config::new(["127.0.0.1:1"]))?; // where no broker is: it goes on looking for one
/// let mut consumer = Consumer::new(&client, ConsumerConfig::in_group(GroupSettings::new("billing")));
/// consumer.subscribe(Subscription::topics(["readings"])?)?;
/// for fetched in consumer.poll(Duration::from_millis(100)).await? {
///     for record in &fetched.records {
///         println!("{}/{} {}", fetched.topic, fetched.partition, record.offset);
///     }
/// }
/// assert!(consumer.positions().is_empty());
/// consumer.close().await
/// # }
/// ```
pub struct Consumer {
    client: Client,
    reader: Reader,
    config: ConsumerConfig,
    subscription: Option<Subscription>,
    member: Option<Member>,
    /// What has been handed out, and isn't known to be committed.
    handed: Offsets,
    /// Of that, what the program isn't done with.
    held: Held,
    /// With commits by time: what is read from where `auto_offset_reset` said, and nothing of it was handed out yet.
    fresh: BTreeSet<TopicPartition>,
    /// What the subscription means.
    finding: Errand<BTreeSet<Arc<str>>>,
    /// Where what was assigned is read on.
    starting: Errand<Vec<(TopicPartition, Start)>>,
    /// A commit by time.
    committing: Errand<Offsets>,
    /// A commit of what goes to another member.
    parting: Errand<Offsets>,
    trouble: Trouble,
    next_commit: Option<Instant>,
    next_look: Instant,
    on_rebalance: Option<OnRebalance>,
}

type Offsets = BTreeMap<TopicPartition, Committed>;
type OnRebalance = Box<dyn FnMut(&Rebalance) + Send>;

impl Consumer {
    /// A consumer that reads nothing until [`Consumer::subscribe`] or [`Consumer::assign`].
    #[must_use]
    pub fn new(client: &Client, config: ConsumerConfig) -> Self {
        Self {
            client: client.clone(),
            reader: Reader::new(client, config.reader.clone()),
            next_commit: config.auto_commit.map(|every| Instant::now() + every),
            config,
            subscription: None,
            member: None,
            handed: BTreeMap::new(),
            held: Held::default(),
            fresh: BTreeSet::new(),
            finding: Errand::default(),
            starting: Errand::default(),
            committing: Errand::default(),
            parting: Errand::default(),
            trouble: Trouble::default(),
            next_look: Instant::now(),
            on_rebalance: None,
        }
    }

    /// Calls this for each change of what it reads, within [`Consumer::poll`] and [`Consumer::close`]: before what is
    /// assigned is read, and before what is revoked goes to another member.
    pub fn on_rebalance(&mut self, call: impl FnMut(&Rebalance) + Send + 'static) {
        self.on_rebalance = Some(Box::new(call));
    }

    /// Reads these topics as a member of the group: its share of their partitions, from [`Consumer::poll`] to poll.
    ///
    /// ```
    /// use kafkacrypto::kafka::{Client, Config, Consumer, ConsumerConfig, ErrorKind, Subscription};
    ///
    /// let client = Client::new(Config::new(["broker.example:9092"]))?;
    /// let mut alone = Consumer::new(&client, ConsumerConfig::alone());
    /// let refused = alone.subscribe(Subscription::topics(["readings"])?).unwrap_err();
    /// assert_eq!(refused.kind(), ErrorKind::Config);
    /// # Ok::<(), kafkacrypto::kafka::Error>(())
    /// ```
    ///
    /// # Errors
    /// [`ErrorKind::Config`] when it has no group.
    pub fn subscribe(&mut self, subscription: Subscription) -> Result<(), Error> {
        if self.config.group.is_none() {
            return Err(Error::new(
                ErrorKind::Config,
                "group_id is missing, and only members of a group can subscribe",
            ));
        }
        if self.subscription.is_none() {
            self.reader.assign(&[]);
            self.handed.clear();
            self.held = Held::default();
            self.fresh.clear();
        }
        self.subscription = Some(subscription);
        self.finding = Errand::default();
        self.next_look = Instant::now();
        Ok(())
    }

    /// Reads these partitions, whoever else does; leaves the group's sharing out, if it took part in it.
    pub fn assign(&mut self, partitions: &[(TopicPartition, Start)]) {
        self.subscription = None;
        self.member = None;
        (self.finding, self.starting, self.parting) = Default::default();
        self.reader.assign(partitions);
        let kept = |partition: &TopicPartition| partitions.iter().any(|(of, _)| of == partition);
        self.handed.retain(|partition, _| kept(partition));
        self.held.retain(kept);
        self.fresh.clear();
    }

    /// Reads these partitions from where the group left off, else from where `auto_offset_reset` says.
    ///
    /// ```
    /// # include!(concat!(env!("CARGO_MANIFEST_DIR"), "/src/kafka/example.rs"));
    /// # fn main() { without_broker(async |client, within| {
    /// use kafkacrypto::kafka::{Consumer, ConsumerConfig, GroupSettings, TopicPartition};
    ///
    /// let config = ConsumerConfig::in_group(GroupSettings::new("billing")).request_timeout(within);
    /// let mut consumer = Consumer::new(&client, config);
    /// consumer.resume_from_group(&[TopicPartition::new("readings", 0)]).await?;
    /// # Ok(()) }) }
    /// ```
    ///
    /// # Errors
    /// As [`Client::committed`]; [`ErrorKind::Config`] without a group.
    pub async fn resume_from_group(&mut self, partitions: &[TopicPartition]) -> Result<(), Error> {
        let starts = self.starts(partitions.to_vec())?.await?;
        self.assign(&starts);
        starts.iter().for_each(|(partition, start)| self.begin(partition, *start));
        Ok(())
    }

    /// The next records, as soon as there are any, or none when `wait` is over. Takes part in the group meanwhile, and
    /// commits what is due; what takes longer than this call goes on with the next one.
    ///
    /// # Errors
    /// What ends the membership: no right to the group, a wrong password, another member with our `group_instance_id`; and
    /// [`ErrorKind::OffsetOutOfRange`] for a partition whose start is [`Unread::Refused`].
    /// Trouble of single partitions is in their [`Fetched::error`].
    pub async fn poll(&mut self, wait: Duration) -> Result<Vec<Fetched>, Error> {
        self.poll_most(self.config.most, wait).await
    }

    /// The same with a bound on how much.
    ///
    /// ```
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() -> Result<(), kafkacrypto::kafka::Error> {
    /// use std::time::{Duration, Instant};
    /// use kafkacrypto::kafka::{Client, Config, Consumer, ConsumerConfig, Most, OffsetAt, Start, TopicPartition};
    ///
    /// let client = Client::new(Config::new(["127.0.0.1:1"]))?; // where no broker is
    /// let mut consumer = Consumer::new(&client, ConsumerConfig::alone());
    /// consumer.assign(&[(TopicPartition::new("readings", 0), Start::At(OffsetAt::Earliest))]);
    /// let (start, wait) = (Instant::now(), Duration::from_millis(50));
    /// assert!(consumer.poll_most(Most::records(10).bytes(1 << 20), wait).await?.is_empty());
    /// assert!(start.elapsed() >= wait);
    /// # Ok(()) }
    /// ```
    ///
    /// # Errors
    /// As [`Consumer::poll`].
    pub async fn poll_most(&mut self, most: Most, wait: Duration) -> Result<Vec<Fetched>, Error> {
        let until = Instant::now() + wait;
        loop {
            match timeout_at(until, self.keep_up()).await {
                Ok(kept_up) => kept_up?,
                Err(_) => return Ok(Vec::new()),
            }
            let fetched = self.next(most, until).await;
            for of in &fetched {
                self.hand(of);
            }
            if !fetched.is_empty() || Instant::now() >= until {
                return Ok(fetched);
            }
        }
    }

    /// What has been handed out and isn't known to be committed: the offset after it, for each partition. With commits by
    /// time also where those are read from of which the group has committed nothing.
    #[must_use]
    pub fn handed(&self) -> &BTreeMap<TopicPartition, Committed> {
        &self.handed
    }

    /// Whether what was handed out is committed by time.
    #[must_use]
    pub fn auto_commits(&self) -> bool {
        self.config.auto_commit.is_some()
    }

    /// Commits nothing of what has been handed out until more is.
    pub fn forget_handed(&mut self) {
        self.handed.clear();
    }

    /// The program isn't done with a record that was handed out: no commit goes past it, but for one of
    /// [these](Consumer::commit_these) offsets, until it [is](Consumer::done_with), or its partition goes to another member.
    ///
    /// ```
    /// use kafkacrypto::kafka::{Client, Config, Consumer, ConsumerConfig, GroupSettings, TopicPartition};
    ///
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() -> Result<(), kafkacrypto::kafka::Error> {
    /// let client = Client::new(Config::new(["127.0.0.1:1"]))?; // where no broker is
    /// let mut consumer = Consumer::new(&client, ConsumerConfig::in_group(GroupSettings::new("billing")));
    /// let partition = TopicPartition::new("readings", 0);
    /// consumer.hold_back(&partition, 42); // a worker has it
    /// consumer.done_with(&partition, 42);
    /// # Ok(()) }
    /// ```
    pub fn hold_back(&mut self, partition: &TopicPartition, offset: i64) {
        // What has gone to another member is its to be done with.
        if self.reader.standing(partition).is_some() {
            self.held.hold(partition, offset);
        }
    }

    /// The program is done with a record that was [held back](Consumer::hold_back).
    pub fn done_with(&mut self, partition: &TopicPartition, offset: i64) {
        self.held.done(partition, offset);
    }

    /// What a [commit](Consumer::commit) would commit now.
    #[must_use]
    pub fn due(&self) -> BTreeMap<TopicPartition, Committed> {
        self.held.bound(self.handed.clone())
    }

    /// Goes on elsewhere in a partition that it reads.
    pub fn seek(&mut self, partition: &TopicPartition, start: Start) {
        self.handed.remove(partition);
        self.held.retain(|of| of != partition);
        self.reader.seek(partition, start);
    }

    /// Hands out nothing of these until they are resumed; they stay ours.
    pub fn pause(&mut self, partitions: &[TopicPartition]) {
        self.reader.pause(partitions);
    }

    /// Goes on with paused partitions.
    pub fn resume(&mut self, partitions: &[TopicPartition]) {
        self.reader.resume(partitions);
    }

    /// The partitions that it reads, and the offset that it will hand out next, where that is known.
    #[must_use]
    pub fn positions(&self) -> BTreeMap<TopicPartition, Option<i64>> {
        self.reader.standings().into_iter().map(|(partition, standing)| (partition, standing.next)).collect()
    }

    /// Whether it reads partitions, and has handed out all that they had when a broker last said so.
    #[must_use]
    pub fn is_at_end(&self) -> bool {
        let standings = self.reader.standings();
        let at_end = |standing: &Standing| standing.next.zip(standing.end).is_some_and(|(next, end)| next >= end);
        !standings.is_empty() && standings.iter().all(|(_, standing)| at_end(standing))
    }

    /// Commits what is due by time, tells of the partitions, and leaves the group.
    ///
    /// ```
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() -> Result<(), kafkacrypto::kafka::Error> {
    /// use kafkacrypto::kafka::{Client, Config, Consumer, ConsumerConfig, GroupSettings};
    ///
    /// let client = Client::new(Config::new(["127.0.0.1:1"]))?; // where no broker is
    /// let consumer = Consumer::new(&client, ConsumerConfig::in_group(GroupSettings::new("billing")));
    /// assert!(consumer.auto_commits() && consumer.handed().is_empty());
    /// assert_eq!(consumer.close().await, Ok(())); // nothing was handed out
    /// # Ok(()) }
    /// ```
    ///
    /// # Errors
    /// That of the last commit.
    pub async fn close(mut self) -> Result<(), Error> {
        let committed = match self.config.auto_commit {
            Some(_) => self.commit().await,
            None => Ok(()),
        };
        let had: Vec<_> = self.reader.standings().into_iter().map(|(partition, _)| partition).collect();
        if let Some(member) = self.member.take() {
            self.tell(&Rebalance::Revoked(had));
            member.leave(self.config.within.min(GOODBYE)).await;
        }
        committed
    }

    /// The reader's next, unless the group has news, or something of ours is due.
    async fn next(&mut self, most: Most, until: Instant) -> Vec<Fetched> {
        let pulse = Instant::now() + PULSE;
        let idle = !self.handed.is_empty() && !self.committing.is_under_way();
        let due = self.next_commit.filter(|_| idle).unwrap_or(pulse).min(pulse).min(until);
        let news = async {
            match &self.member {
                Some(member) => member.news().await,
                None => std::future::pending().await,
            }
        };
        tokio::select! {
            biased;
            () = news => Vec::new(),
            fetched = self.reader.next(most, until.saturating_duration_since(Instant::now())) => fetched,
            () = sleep_until(due) => Vec::new(),
        }
    }

    /// All that is due but reading.
    async fn keep_up(&mut self) -> Result<(), Error> {
        self.look_for_topics().await?;
        self.rebalance().await?;
        self.commit_when_due().await
    }

    /// What the subscription means now: topics that match come and go, and reading goes on meanwhile.
    async fn look_for_topics(&mut self) -> Result<(), Error> {
        let Some(subscription) = self.subscription.as_ref() else { return Ok(()) };
        let is_pattern = subscription.is_pattern();
        if !self.finding.is_under_way() {
            if Instant::now() < self.next_look {
                return Ok(());
            }
            let (subscription, client, within) = (subscription.clone(), self.client.clone(), self.config.within);
            self.finding.begin(async move { subscription.resolve(&client, within).await });
        }
        if self.member.is_some() && is_pattern && !self.finding.is_answered() {
            return Ok(());
        }
        let topics = match self.finding.end().await {
            Some(Err(error)) if error.is_retriable() => {
                self.trouble.failed(LOOKING, &error);
                BTreeSet::new()
            }
            found => {
                let found = found.transpose()?.unwrap_or_default();
                self.trouble.works(LOOKING);
                if let Some(subscription) = &mut self.subscription {
                    subscription.tell_unmatched(&found);
                }
                found
            }
        };
        self.next_look = Instant::now() + self.client.config().times().metadata_max_age;
        if is_pattern && topics.is_empty() {
            self.next_look = Instant::now() + PULSE;
            return Ok(());
        }
        self.join_with(topics);
        Ok(())
    }

    fn join_with(&mut self, topics: BTreeSet<Arc<str>>) {
        match (&self.member, &self.config.group) {
            (Some(member), _) => member.subscribe(topics),
            (None, Some(group)) => self.member = Some(Member::join(&self.client, group.clone(), topics)),
            (None, None) => {}
        }
    }
}

impl fmt::Debug for Consumer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self {
            client: _,
            reader,
            config,
            subscription,
            member: _,
            handed: _,
            held: _,
            fresh: _,
            finding: _,
            starting: _,
            committing: _,
            parting: _,
            trouble: _,
            next_commit: _,
            next_look: _,
            on_rebalance: _,
        } = self;
        f.debug_struct("Consumer")
            .field("config", config)
            .field("subscription", subscription)
            .field("reader", reader)
            .finish_non_exhaustive()
    }
}

/// What may fail, for the log.
const LOOKING: &str = "looking for topics to read";
/// How often a poll that waits gives a sign of life.
const PULSE: Duration = Duration::from_secs(1);
/// How long closing waits for the group.
const GOODBYE: Duration = Duration::from_secs(2);
