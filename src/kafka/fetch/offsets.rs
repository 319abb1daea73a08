//! Offsets of partitions: the first, the next one, that of a time.

use std::collections::BTreeMap;
use std::time::Duration;

use kafka_protocol::messages::list_offsets_request::{ListOffsetsPartition, ListOffsetsTopic};
use kafka_protocol::messages::{ListOffsetsRequest, ListOffsetsResponse};
use tokio::time::Instant;

use super::core::{Find, OffsetFound, OffsetWant};
use super::{Isolation, OffsetAt, TopicPartition, wire};
use crate::kafka::cluster::Target;
use crate::kafka::error::escaped;
use crate::kafka::{Client, Error, ErrorKind};

/// What brokers said: partition → offset, or its error code.
type Said = BTreeMap<TopicPartition, Result<i64, i16>>;

impl Client {
    /// The offset of a partition's beginning, end or of a time.
    ///
    /// ```
    /// # include!(concat!(env!("CARGO_MANIFEST_DIR"), "/src/kafka/example.rs"));
    /// # fn main() { without_broker(async |client, within| {
    /// use kafkacrypto::kafka::{Isolation, OffsetAt, TopicPartition};
    ///
    /// let readings = TopicPartition::new("readings", 0);
    /// let end = client.offset(&readings, OffsetAt::Latest, Isolation::Committed, within).await?;
    /// assert!(end >= client.offset(&readings, OffsetAt::Earliest, Isolation::Committed, within).await?);
    /// # Ok(()) }) }
    /// ```
    ///
    /// # Errors
    /// No such partition, no right to it, or no answer in time.
    pub async fn offset(
        &self,
        partition: &TopicPartition,
        at: OffsetAt,
        isolation: Isolation,
        within: Duration,
    ) -> Result<i64, Error> {
        let mut found = self.offsets(&[(partition.clone(), at)], isolation, within).await;
        found.pop().unwrap_or_else(|| Err(none(partition)))
    }

    /// Offsets of many partitions, in the order of `wanted`, with one request to each broker; as
    /// [`offset`](Self::offset) answers for each.
    pub async fn offsets(
        &self,
        wanted: &[(TopicPartition, OffsetAt)],
        isolation: Isolation,
        within: Duration,
    ) -> Vec<Result<i64, Error>> {
        let start = Instant::now();
        let deadline = start + within;
        let mut results: Vec<Result<i64, Error>> = wanted.iter().map(|(partition, _)| Err(none(partition))).collect();
        let mut open: Vec<usize> = (0..wanted.len()).collect();
        let (mut pause, mut tried) = (FIRST_PAUSE, false);
        loop {
            let found = self.offsets_once(wanted, &open, isolation, deadline).await;
            for (index, result) in found {
                if let (Some(place), Some((partition, _))) = (results.get_mut(index), wanted.get(index)) {
                    if result.as_ref().is_err_and(Error::wants_metadata) {
                        self.stale(&partition.topic);
                    }
                    // That the time is over says less than what went wrong before.
                    let over = result.as_ref().is_err_and(|error| error.kind() == ErrorKind::TimedOut);
                    if !(over && tried) {
                        *place = result;
                    }
                }
            }
            tried = true;
            // A topic that was just made takes a moment to be known everywhere.
            let hopeless = |error: &Error| error.kind() == ErrorKind::UnknownTopic && start.elapsed() > UNKNOWN;
            open.retain(|index| {
                let found = results.get(*index);
                found.is_some_and(|found| found.as_ref().is_err_and(|error| error.is_retriable() && !hopeless(error)))
            });
            if open.is_empty() || Instant::now() + pause >= deadline {
                return results;
            }
            tokio::time::sleep(pause).await;
            pause = (pause * 2).min(LAST_PAUSE);
        }
    }

    /// One attempt for those that are open.
    async fn offsets_once(
        &self,
        wanted: &[(TopicPartition, OffsetAt)],
        open: &[usize],
        isolation: Isolation,
        deadline: Instant,
    ) -> Vec<(usize, Result<i64, Error>)> {
        let mut results = Vec::new();
        let mut brokers: BTreeMap<i32, Vec<(usize, OffsetWant)>> = BTreeMap::new();
        for index in open {
            let Some((partition, at)) = wanted.get(*index) else { continue };
            match self.leader(&partition.topic, partition.partition, deadline).await {
                Ok(leader) => {
                    let (partition, what) = (partition.clone(), Find::At(*at));
                    let want = OffsetWant { partition, leader_epoch: leader.epoch, what };
                    brokers.entry(leader.broker).or_default().push((*index, want));
                }
                Err(error) => results.push((*index, Err(error))),
            }
        }
        for (broker, of) in brokers {
            let wants: Vec<OffsetWant> = of.iter().map(|(_, want)| want.clone()).collect();
            let found = find(self, broker, isolation, &wants, deadline).await;
            results.extend(of.into_iter().map(|(index, want)| (index, pick(&found, &want))));
        }
        results
    }
}

fn pick(found: &Result<Found, Error>, want: &OffsetWant) -> Result<i64, Error> {
    let found = found.as_ref().map_err(Clone::clone)?;
    match found.iter().find(|(partition, what, _)| *partition == want.partition && *what == want.what) {
        Some((.., OffsetFound::At(offset))) => Ok(*offset),
        Some((.., OffsetFound::Failed(error))) => Err(error.clone()),
        Some((.., OffsetFound::Bounds { .. })) | None => Err(none(&want.partition)),
    }
}

/// What a broker answered for each partition and question.
pub(super) type Found = Vec<(TopicPartition, Find, OffsetFound)>;

/// Asks one broker for all of these.
pub(super) async fn find(
    client: &Client,
    broker: i32,
    isolation: Isolation,
    wants: &[OffsetWant],
    deadline: Instant,
) -> Result<Found, Error> {
    let ends = |of: &[&OffsetWant]| -> Vec<OffsetWant> { of.iter().map(|want| (*want).clone()).collect() };
    let mut found = Found::new();
    // A request names a partition once, so each kind of question is a request.
    let mut kinds: BTreeMap<i64, Vec<&OffsetWant>> = BTreeMap::new();
    let mut bounds: Vec<&OffsetWant> = Vec::new();
    for want in wants {
        match want.what {
            Find::At(at) => kinds.entry(time(at)).or_default().push(want),
            Find::Bounds { .. } => bounds.push(want),
        }
    }
    for (time, wants) in kinds {
        let mut said = list(client, broker, isolation, time, &ends(&wants), deadline).await?;
        let late = |want: &&&OffsetWant| said.get(&want.partition) == Some(&Ok(NONE));
        let late: Vec<OffsetWant> = wants.iter().filter(late).map(|want| (*want).clone()).collect();
        if !late.is_empty() {
            said.extend(list(client, broker, isolation, LATEST, &late, deadline).await?);
        }
        found.extend(wants.iter().map(|want| (want.partition.clone(), want.what, at(&said, &want.partition))));
    }
    if !bounds.is_empty() {
        let wants = ends(&bounds);
        let earliest = list(client, broker, Isolation::Uncommitted, EARLIEST, &wants, deadline).await?;
        let latest = list(client, broker, Isolation::Uncommitted, LATEST, &wants, deadline).await?;
        let both = |want: &OffsetWant| match (at(&earliest, &want.partition), at(&latest, &want.partition)) {
            (OffsetFound::At(earliest), OffsetFound::At(latest)) => OffsetFound::Bounds { earliest, latest },
            (OffsetFound::At(_), failed) | (failed, _) => failed,
        };
        found.extend(wants.iter().map(|want| (want.partition.clone(), want.what, both(want))));
    }
    Ok(found)
}

async fn list(
    client: &Client,
    broker: i32,
    isolation: Isolation,
    time: i64,
    wants: &[OffsetWant],
    deadline: Instant,
) -> Result<Said, Error> {
    let build = |version: i16| {
        let left = deadline.saturating_duration_since(Instant::now());
        let request = ListOffsetsRequest::default()
            .with_replica_id((-1).into())
            .with_isolation_level(wire::isolation(isolation))
            .with_topics(topics(time, wants));
        if version >= TIMEOUT { request.with_timeout_ms(wire::millis(left)) } else { request }
    };
    let (answer, _) = client.call::<ListOffsetsRequest>(Target::Broker(broker), deadline, build).await?;
    Ok(said(answer))
}

fn topics(time: i64, wants: &[OffsetWant]) -> Vec<ListOffsetsTopic> {
    let partition = |want: &OffsetWant| {
        ListOffsetsPartition::default()
            .with_partition_index(want.partition.partition)
            .with_current_leader_epoch(want.leader_epoch)
            .with_timestamp(time)
    };
    let mut topics: BTreeMap<&str, Vec<ListOffsetsPartition>> = BTreeMap::new();
    for want in wants {
        topics.entry(&want.partition.topic).or_default().push(partition(want));
    }
    let topic =
        |(name, partitions)| ListOffsetsTopic::default().with_name(wire::topic_name(name)).with_partitions(partitions);
    topics.into_iter().map(topic).collect()
}

fn said(answer: ListOffsetsResponse) -> Said {
    let mut said = Said::new();
    for topic in answer.topics {
        let name: std::sync::Arc<str> = topic.name.0.as_str().into();
        for part in topic.partitions {
            let result = if part.error_code == 0 { Ok(part.offset) } else { Err(part.error_code) };
            said.insert(TopicPartition::new(name.clone(), part.partition_index), result);
        }
    }
    said
}

fn at(said: &Said, partition: &TopicPartition) -> OffsetFound {
    match said.get(partition) {
        Some(Ok(offset)) => OffsetFound::At(*offset),
        Some(Err(code)) => {
            let error = Error::from_code(*code, &format!("can't find an offset of {partition}"));
            OffsetFound::Failed(error.needing(|| format!("read topic \"{}\"", escaped(&partition.topic))))
        }
        None => OffsetFound::Failed(none(partition)),
    }
}

fn none(partition: &TopicPartition) -> Error {
    Error::from_code(-1, &format!("no broker told an offset of {partition}"))
}

fn time(at: OffsetAt) -> i64 {
    match at {
        OffsetAt::Earliest => EARLIEST,
        OffsetAt::Latest => LATEST,
        OffsetAt::Time(time) => time.max(0),
    }
}

const EARLIEST: i64 = -2;
const LATEST: i64 = -1;
/// What a broker answers when no record is so late.
const NONE: i64 = -1;
/// ListOffsets has a time-out from this version on.
const TIMEOUT: i16 = 10;
/// How long a topic may be unknown before that is the answer.
const UNKNOWN: Duration = Duration::from_secs(1);
const FIRST_PAUSE: Duration = Duration::from_millis(5);
const LAST_PAUSE: Duration = Duration::from_millis(500);
