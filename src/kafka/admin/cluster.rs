//! What a cluster looks like, for people and programs.

use std::sync::Arc;
use std::time::Duration;

use tokio::time::Instant;
use uuid::Uuid;

use crate::kafka::cluster::{BrokerInfo, Metadata, PartitionMetadata, TopicMetadata};
use crate::kafka::{Client, Error};

/// A cluster as a broker describes it.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Cluster {
    /// Its ID.
    pub id: Option<String>,
    /// `host:port` of the broker that says all this.
    pub origin: String,
    /// The broker that is the controller, or passes requests on to it.
    pub controller: Option<i32>,
    /// The brokers, by ID.
    pub brokers: Vec<Broker>,
    /// The topics that this user may see, by name.
    pub topics: Vec<TopicInfo>,
}

/// A broker.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Broker {
    /// Its ID.
    pub id: i32,
    /// `host:port`, as it advertises itself.
    pub address: String,
    /// Its rack.
    pub rack: Option<String>,
}

/// A topic.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct TopicInfo {
    /// Its name.
    pub name: Arc<str>,
    /// Its ID; a topic that is deleted and created again has another. `None`: the broker is too old for them.
    pub id: Option<String>,
    /// Whether it is the cluster's own.
    pub internal: bool,
    /// Its partitions, in ascending order.
    pub partitions: Vec<PartitionInfo>,
    /// Why it can't be seen, when it can't.
    pub error: Option<Error>,
}

/// A partition.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct PartitionInfo {
    /// Its number.
    pub number: i32,
    /// The broker that leads it; `None` while there is none.
    pub leader: Option<i32>,
    /// The epoch of the leader, −1 when it isn't known.
    pub leader_epoch: i32,
    /// The brokers that keep it, the preferred leader first.
    pub replicas: Vec<i32>,
    /// Those of them that are in sync.
    pub in_sync: Vec<i32>,
}

impl Client {
    /// The cluster: brokers, and all topics or those named. Creates none; a topic that doesn't exist is left out.
    ///
    /// ```
    /// # include!(concat!(env!("CARGO_MANIFEST_DIR"), "/src/kafka/example.rs"));
    /// # fn main() { without_broker(async |client, within| {
    /// let cluster = client.describe(None, within).await?;
    /// assert!(!cluster.brokers.is_empty());
    /// # Ok(()) }) }
    /// ```
    ///
    /// # Errors
    /// No broker answers in time.
    pub async fn describe(&self, topics: Option<&[&str]>, within: Duration) -> Result<Cluster, Error> {
        let topics = topics.map(|named| named.iter().map(ToString::to_string).collect());
        Ok(Cluster::from(&self.look(topics, Instant::now() + within).await?))
    }
}

impl From<&Metadata> for Cluster {
    fn from(metadata: &Metadata) -> Self {
        let topic = |(name, found): (&String, &Result<Option<Arc<TopicMetadata>>, Error>)| match found {
            Ok(found) => found.as_deref().map(TopicInfo::from),
            Err(error) => {
                let (name, error) = (Arc::from(name.as_str()), Some(error.clone()));
                Some(TopicInfo { name, id: None, internal: false, partitions: Vec::new(), error })
            }
        };
        let broker = |(id, info): (&i32, &BrokerInfo)| Broker {
            id: *id,
            address: info.address.clone(),
            rack: info.rack.clone(),
        };
        Self {
            id: metadata.cluster_id.clone(),
            origin: metadata.origin.clone(),
            controller: metadata.controller,
            brokers: metadata.brokers.iter().map(broker).collect(),
            topics: metadata.topics.iter().filter_map(topic).collect(),
        }
    }
}

impl From<&TopicMetadata> for TopicInfo {
    fn from(topic: &TopicMetadata) -> Self {
        let partition = |(number, found): (&i32, &PartitionMetadata)| PartitionInfo {
            number: *number,
            leader: found.leader,
            leader_epoch: found.epoch,
            replicas: found.replicas.clone(),
            in_sync: found.in_sync.clone(),
        };
        Self {
            name: topic.name.clone(),
            id: (topic.id != Uuid::nil()).then(|| topic.id.to_string()),
            internal: topic.internal,
            partitions: topic.partitions.iter().map(partition).collect(),
            error: None,
        }
    }
}
