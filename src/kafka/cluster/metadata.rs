//! What the cluster looks like: brokers, controller, topics, leaders. Pure.

use std::collections::BTreeMap;
use std::sync::Arc;

use kafka_protocol::messages::MetadataResponse;
use kafka_protocol::messages::metadata_response::{MetadataResponsePartition, MetadataResponseTopic};
use uuid::Uuid;

use crate::kafka::error::{Error, ErrorKind, escaped};

/// What a broker said about the cluster.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(in crate::kafka) struct Metadata {
    pub(in crate::kafka) cluster_id: Option<String>,
    /// The address of who said it.
    pub(in crate::kafka) origin: String,
    pub(in crate::kafka) controller: Option<i32>,
    pub(in crate::kafka) brokers: BTreeMap<i32, BrokerInfo>,
    /// Topics that were asked about and exist; topics that can't be seen have an error.
    pub(in crate::kafka) topics: BTreeMap<String, Answer>,
}

/// What was answered about a topic: it is there, it isn't, or why that can't be seen.
pub(in crate::kafka) type Answer = Result<Option<Arc<TopicMetadata>>, Error>;

/// Where a broker is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(in crate::kafka) struct BrokerInfo {
    /// `host:port`, as advertised.
    pub(in crate::kafka) address: String,
    pub(in crate::kafka) rack: Option<String>,
}

/// A topic.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(in crate::kafka) struct TopicMetadata {
    pub(in crate::kafka) name: Arc<str>,
    /// All zeros when the broker is too old to have any.
    pub(in crate::kafka) id: Uuid,
    pub(in crate::kafka) internal: bool,
    pub(in crate::kafka) partitions: BTreeMap<i32, PartitionMetadata>,
}

/// A partition.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(in crate::kafka) struct PartitionMetadata {
    /// `None` while there is none.
    pub(in crate::kafka) leader: Option<i32>,
    /// -1 when the broker doesn't know.
    pub(in crate::kafka) epoch: i32,
    pub(in crate::kafka) replicas: Vec<i32>,
    pub(in crate::kafka) in_sync: Vec<i32>,
    pub(in crate::kafka) offline: Vec<i32>,
}

/// Who leads a partition.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::kafka) struct Leader {
    pub(in crate::kafka) broker: i32,
    pub(in crate::kafka) epoch: i32,
    pub(in crate::kafka) topic_id: Uuid,
}

impl Metadata {
    pub(in crate::kafka) fn new(response: MetadataResponse) -> Self {
        let brokers = response.brokers.into_iter().map(|broker| {
            let address = join(&broker.host, broker.port);
            (broker.node_id.0, BrokerInfo { address, rack: broker.rack.map(|rack| rack.to_string()) })
        });
        Self {
            origin: String::new(),
            cluster_id: response.cluster_id.map(|id| id.to_string()),
            controller: Some(response.controller_id.0).filter(|id| *id >= 0),
            brokers: brokers.collect(),
            topics: response.topics.into_iter().filter_map(topic).collect(),
        }
    }
}

impl TopicMetadata {
    /// Who leads a partition, or why nobody does.
    pub(in crate::kafka) fn leader(&self, partition: i32) -> Result<Leader, Error> {
        let what = || format!("topic \"{}\", partition {partition}", escaped(&self.name));
        let Some(found) = self.partitions.get(&partition) else {
            let message = format!("there is no {}: it has {}", what(), counted(self.partitions.len()));
            return Err(Error::new(ErrorKind::UnknownTopic, message).unsent().advising("choose one that it has"));
        };
        match found.leader {
            Some(broker) => Ok(Leader { broker, epoch: found.epoch, topic_id: self.id }),
            None => Err(Error::from_code(LEADER_NOT_AVAILABLE, &what())),
        }
    }

    /// What is newer of each partition: a broker that lags behind may still tell of an older leader.
    pub(in crate::kafka) fn newer_of(mut self, old: &Self) -> Self {
        if self.id != old.id {
            return self; // deleted and created again
        }
        for (number, partition) in &mut self.partitions {
            if let Some(old) = old.partitions.get(number).filter(|old| old.epoch > partition.epoch) {
                *partition = old.clone();
            }
        }
        self
    }
}

/// Which partitions a topic has: `partitions 0 to 2`.
pub(in crate::kafka) fn counted(partitions: usize) -> String {
    match partitions {
        0 | 1 => "partition 0 alone".to_owned(),
        count => format!("partitions 0 to {}", count - 1),
    }
}

fn topic(topic: MetadataResponseTopic) -> Option<(String, Answer)> {
    let name = topic.name?.to_string();
    let found = match topic.error_code {
        0 | LEADER_NOT_AVAILABLE => {
            let partitions = topic.partitions.into_iter().map(partition).collect();
            let (id, internal) = (topic.topic_id, topic.is_internal);
            Ok(Some(Arc::new(TopicMetadata { name: name.as_str().into(), id, internal, partitions })))
        }
        UNKNOWN_TOPIC | UNKNOWN_TOPIC_ID => Ok(None),
        code => {
            let topic = format!("topic \"{}\"", escaped(&name));
            let error = Error::from_code(code, &format!("can't see {topic}"));
            Err(error.needing(|| format!("describe {topic}, or to read or write it, which includes that,")))
        }
    };
    Some((name, found))
}

fn partition(partition: MetadataResponsePartition) -> (i32, PartitionMetadata) {
    let ids = |nodes: Vec<kafka_protocol::messages::BrokerId>| nodes.into_iter().map(|node| node.0).collect();
    let found = PartitionMetadata {
        leader: Some(partition.leader_id.0).filter(|id| *id >= 0),
        epoch: partition.leader_epoch,
        replicas: ids(partition.replica_nodes),
        in_sync: ids(partition.isr_nodes),
        offline: ids(partition.offline_replicas),
    };
    (partition.partition_index, found)
}

fn join(host: &str, port: i32) -> String {
    match host.contains(':') && !host.starts_with('[') {
        true => format!("[{host}]:{port}"),
        false => format!("{host}:{port}"),
    }
}

const UNKNOWN_TOPIC: i16 = 3;
const LEADER_NOT_AVAILABLE: i16 = 5;
const UNKNOWN_TOPIC_ID: i16 = 100;

#[cfg(test)]
mod tests {
    use kafka_protocol::messages::metadata_response::MetadataResponseBroker;
    use kafka_protocol::messages::{BrokerId, TopicName};

    use super::*;

    fn answer(topics: Vec<MetadataResponseTopic>) -> Metadata {
        Metadata::new(MetadataResponse::default().with_controller_id(BrokerId(-1)).with_topics(topics))
    }

    fn named(name: &'static str, code: i16) -> MetadataResponseTopic {
        MetadataResponseTopic::default().with_name(Some(TopicName(name.into()))).with_error_code(code)
    }

    fn led(number: i32, leader: i32, epoch: i32) -> MetadataResponsePartition {
        MetadataResponsePartition::default()
            .with_partition_index(number)
            .with_leader_id(BrokerId(leader))
            .with_leader_epoch(epoch)
    }

    fn only(metadata: Metadata) -> Result<Option<Arc<TopicMetadata>>, Error> {
        metadata.topics.into_values().next().unwrap()
    }

    #[test]
    fn brokers_and_racks() {
        let broker = MetadataResponseBroker::default().with_node_id(BrokerId(7)).with_host("::1".into()).with_port(9);
        let response = MetadataResponse::default().with_brokers(vec![broker.with_rack(Some("r".into()))]);
        let metadata = Metadata::new(response.with_controller_id(BrokerId(7)));
        assert_eq!(metadata.controller, Some(7));
        assert_eq!(metadata.brokers[&7], BrokerInfo { address: "[::1]:9".into(), rack: Some("r".into()) });
    }

    #[test]
    fn topics_that_are_there_not_there_and_hidden() {
        assert_eq!(only(answer(vec![named("t", 3)])), Ok(None));
        let hidden = only(answer(vec![named("t", 29)])).unwrap_err();
        assert_eq!(hidden.kind(), ErrorKind::NotAuthorised);
        assert!(hidden.to_string().contains("give this user the right to describe topic \"t\""), "{hidden}");
        let found = only(answer(vec![named("t", 0).with_partitions(vec![led(0, 1, 5), led(1, -1, 5)])]));
        let found = found.unwrap().unwrap();
        assert_eq!(found.leader(0).unwrap(), Leader { broker: 1, epoch: 5, topic_id: Uuid::nil() });
        let none = found.leader(1).unwrap_err();
        assert!(none.is_retriable() && none.wants_metadata());
        assert_eq!(
            found.leader(2).unwrap_err().message(),
            "there is no topic \"t\", partition 2: it has partitions 0 to 1"
        );
    }

    #[test]
    fn an_older_epoch_does_not_win() {
        let topic = |leader, epoch, id| {
            let topic = named("t", 0).with_topic_id(Uuid::from_u128(id)).with_partitions(vec![led(0, leader, epoch)]);
            Arc::unwrap_or_clone(only(answer(vec![topic])).unwrap().unwrap())
        };
        let known = topic(1, 5, 1);
        assert_eq!(topic(2, 4, 1).newer_of(&known).leader(0).unwrap().broker, 1);
        assert_eq!(topic(2, 5, 1).newer_of(&known).leader(0).unwrap().broker, 2);
        assert_eq!(topic(2, 4, 2).newer_of(&known).leader(0).unwrap().broker, 2, "another topic of that name");
    }
}
