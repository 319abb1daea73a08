//! How far a group has come: committed offsets, written and read.

use std::collections::BTreeMap;
use std::time::Duration;

use kafka_protocol::messages::offset_commit_request::{OffsetCommitRequestPartition, OffsetCommitRequestTopic};
use kafka_protocol::messages::offset_fetch_request::{
    OffsetFetchRequestGroup, OffsetFetchRequestTopic, OffsetFetchRequestTopics,
};
use kafka_protocol::messages::{GroupId, OffsetCommitRequest, OffsetFetchRequest, OffsetFetchResponse, TopicName};
use kafka_protocol::protocol::Request;
use tokio::time::Instant;

use super::hand::TOPIC_REFUSED;
use super::member::Identity;
use super::wire::text;
use crate::kafka::cluster::{Attempts, Coordinator, Repeated, Target, Throttled};
use crate::kafka::error::escaped;
use crate::kafka::{Client, Error, TopicPartition};

/// A committed offset.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Committed {
    /// The offset of the next record to read.
    pub offset: i64,
    /// The epoch of the leader under which the record before was written, where the committer knew it.
    pub leader_epoch: Option<i32>,
    /// What the committer added.
    pub metadata: String,
}

impl Committed {
    /// The offset of the next record to read.
    #[must_use]
    pub fn at(offset: i64) -> Self {
        Self { offset, leader_epoch: None, metadata: String::new() }
    }
}

impl Client {
    /// The offsets that a group has committed: of these partitions, or of all when none are named. Partitions without one
    /// are left out.
    ///
    /// ```
    /// # include!(concat!(env!("CARGO_MANIFEST_DIR"), "/src/kafka/example.rs"));
    /// # fn main() { without_broker(async |client, within| {
    /// use kafkacrypto::kafka::TopicPartition;
    ///
    /// let first = TopicPartition::new("readings", 0);
    /// let committed = client.committed("billing", &[first.clone()], within).await?;
    /// assert!(committed.get(&first).is_none_or(|committed| committed.offset >= 0));
    /// # Ok(()) }) }
    /// ```
    ///
    /// # Errors
    /// No right to the group or one of the topics, or no answer in time.
    pub async fn committed(
        &self,
        group: &str,
        partitions: &[TopicPartition],
        within: Duration,
    ) -> Result<BTreeMap<TopicPartition, Committed>, Error> {
        let build = |version| fetch_request(group, partitions, version);
        let read = |response, _| read_committed(group, response);
        self.ask_coordinator::<OffsetFetchRequest, _>(group, Repeated::Harmless, Instant::now() + within, build, read)
            .await
    }

    /// Commits offsets for a group without members, such as one whose partitions a program shares out by itself.
    ///
    /// ```
    /// # include!(concat!(env!("CARGO_MANIFEST_DIR"), "/src/kafka/example.rs"));
    /// # fn main() { without_broker(async |client, within| {
    /// use kafkacrypto::kafka::{Committed, TopicPartition};
    ///
    /// let done = [(TopicPartition::new("readings", 0), Committed::at(42))].into();
    /// client.commit("billing", &done, within).await?;
    /// # Ok(()) }) }
    /// ```
    ///
    /// # Errors
    /// As [`Client::committed`]; and when the group has members.
    pub async fn commit(
        &self,
        group: &str,
        offsets: &BTreeMap<TopicPartition, Committed>,
        within: Duration,
    ) -> Result<(), Error> {
        let nobody = Identity { generation: NO_MEMBER, ..Identity::default() };
        self.commit_as(group, &nobody, offsets, within).await
    }

    pub(in crate::kafka) async fn commit_as(
        &self,
        group: &str,
        member: &Identity,
        offsets: &BTreeMap<TopicPartition, Committed>,
        within: Duration,
    ) -> Result<(), Error> {
        if offsets.is_empty() {
            return Ok(());
        }
        let build = |version| commit_request(group, member, offsets, version);
        let read = |response: kafka_protocol::messages::OffsetCommitResponse, _| {
            let partitions = response.topics.iter().flat_map(|topic| {
                topic.partitions.iter().map(|partition| (&topic.name, partition.partition_index, partition.error_code))
            });
            match partitions.into_iter().find(|(.., code)| *code != 0) {
                None => Ok(()),
                Some((topic, partition, code)) => {
                    let topic = escaped(topic);
                    let what =
                        format!("can't commit offsets of \"{topic}\"/{partition} in the group \"{}\"", escaped(group));
                    let right = || match code {
                        TOPIC_REFUSED => format!("read topic \"{topic}\""),
                        _ => format!("read group \"{}\"", escaped(group)),
                    };
                    Err(Error::from_code(code, &what).needing(right))
                }
            }
        };
        self.ask_coordinator::<OffsetCommitRequest, _>(group, Repeated::Harmless, Instant::now() + within, build, read)
            .await
    }

    /// Asks a group's coordinator until it says something that lasts, or the time is over.
    pub(in crate::kafka) async fn ask_coordinator<R, T>(
        &self,
        group: &str,
        repeated: Repeated,
        deadline: Instant,
        build: impl Fn(i16) -> R + Send + Sync,
        read: impl Fn(R::Response, i16) -> Result<T, Error> + Send + Sync,
    ) -> Result<T, Error>
    where
        R: Request + Send + Sync,
        R::Response: Throttled,
    {
        let mut attempts = Attempts::new(self.config().times(), deadline);
        loop {
            let asked = async {
                let broker = self.coordinator(Coordinator::Group, group, deadline).await.map_err(Error::unsent)?;
                let (response, version) = self.call::<R>(Target::Broker(broker), deadline, &build).await?;
                read(response, version)
            };
            let error = match asked.await {
                Ok(answer) => return Ok(answer),
                Err(error) => error,
            };
            if error.wants_metadata() || error.code().is_none() {
                self.forget_coordinator(Coordinator::Group, group);
            }
            if repeated == Repeated::Harmful && error.may_have_arrived() {
                return Err(error);
            }
            attempts.again(error).await?;
        }
    }
}

fn by_topic<T: Clone>(partitions: impl IntoIterator<Item = (TopicPartition, T)>) -> BTreeMap<TopicName, Vec<(i32, T)>> {
    let mut topics: BTreeMap<TopicName, Vec<(i32, T)>> = BTreeMap::new();
    for (of, what) in partitions {
        topics.entry(TopicName(text(&of.topic))).or_default().push((of.partition, what));
    }
    topics
}

fn fetch_request(group: &str, partitions: &[TopicPartition], version: i16) -> OffsetFetchRequest {
    let topics = by_topic(partitions.iter().map(|of| (of.clone(), ())));
    let numbers = |of: Vec<(i32, ())>| of.into_iter().map(|(number, ())| number).collect();
    let some = !partitions.is_empty();
    // What a transaction is about to commit is waited for, from version 7 on.
    let request = OffsetFetchRequest::default().with_require_stable(version >= 7);
    if version < 8 {
        let topic = |(name, of)| OffsetFetchRequestTopic::default().with_name(name).with_partition_indexes(numbers(of));
        let topics = some.then(|| topics.into_iter().map(topic).collect());
        return request.with_group_id(GroupId(text(group))).with_topics(topics);
    }
    let topic = |(name, of)| OffsetFetchRequestTopics::default().with_name(name).with_partition_indexes(numbers(of));
    let topics = some.then(|| topics.into_iter().map(topic).collect());
    request.with_groups(vec![
        OffsetFetchRequestGroup::default()
            .with_group_id(GroupId(text(group)))
            .with_member_epoch(-1)
            .with_topics(topics),
    ])
}

/// Both shapes of the answer: of one group, and of several.
fn read_committed(group: &str, response: OffsetFetchResponse) -> Result<BTreeMap<TopicPartition, Committed>, Error> {
    let what = || format!("can't read the committed offsets of the group \"{}\"", escaped(group));
    let code = response.groups.first().map_or(response.error_code, |group| group.error_code);
    if code != 0 {
        let right = || format!("read group \"{}\"", escaped(group));
        return Err(Error::from_code(code, &what()).needing(right));
    }
    let old = response.topics.into_iter().flat_map(|topic| {
        let name = topic.name.to_string();
        topic.partitions.into_iter().map(move |of| {
            let partition = TopicPartition::new(name.as_str(), of.partition_index);
            (partition, of.error_code, of.committed_offset, of.committed_leader_epoch, of.metadata)
        })
    });
    let new = response.groups.into_iter().flat_map(|group| group.topics).flat_map(|topic| {
        let name = topic.name.to_string();
        topic.partitions.into_iter().map(move |of| {
            let partition = TopicPartition::new(name.as_str(), of.partition_index);
            (partition, of.error_code, of.committed_offset, of.committed_leader_epoch, of.metadata)
        })
    });
    let mut committed = BTreeMap::new();
    for (partition, code, offset, epoch, metadata) in old.chain(new) {
        if code != 0 {
            let right = || format!("read topic \"{}\"", escaped(&partition.topic));
            return Err(Error::from_code(code, &format!("{}, {partition}", what())).needing(right));
        }
        if offset >= 0 {
            let leader_epoch = Some(epoch).filter(|epoch| *epoch >= 0);
            let metadata = metadata.map(|metadata| metadata.to_string()).unwrap_or_default();
            committed.insert(partition, Committed { offset, leader_epoch, metadata });
        }
    }
    Ok(committed)
}

fn commit_request(
    group: &str,
    member: &Identity,
    offsets: &BTreeMap<TopicPartition, Committed>,
    version: i16,
) -> OffsetCommitRequest {
    let partition = |(number, committed): (i32, Committed)| {
        let partition = OffsetCommitRequestPartition::default()
            .with_partition_index(number)
            .with_committed_offset(committed.offset)
            .with_committed_metadata(Some(text(&committed.metadata)));
        if version >= 6 {
            partition.with_committed_leader_epoch(committed.leader_epoch.unwrap_or(-1))
        } else {
            partition
        }
    };
    let topic = |(name, of): (TopicName, Vec<_>)| {
        OffsetCommitRequestTopic::default().with_name(name).with_partitions(of.into_iter().map(partition).collect())
    };
    let offsets = offsets.iter().map(|(partition, committed)| (partition.clone(), committed.clone()));
    let mut request = OffsetCommitRequest::default()
        .with_group_id(GroupId(text(group)))
        .with_generation_id_or_member_epoch(member.generation)
        .with_member_id(text(&member.member))
        .with_topics(by_topic(offsets).into_iter().map(topic).collect());
    if version >= 7 {
        request.group_instance_id = member.instance.as_deref().map(text);
    }
    request
}

const NO_MEMBER: i32 = -1;
