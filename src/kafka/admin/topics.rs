//! Topics: made, unmade, widened; their settings; their records from the beginning.

use std::collections::BTreeMap;
use std::time::Duration;

use kafka_protocol::ResponseError;
use kafka_protocol::messages::create_partitions_request::CreatePartitionsTopic;
use kafka_protocol::messages::create_topics_request::{CreatableTopic, CreatableTopicConfig};
use kafka_protocol::messages::delete_records_request::{DeleteRecordsPartition, DeleteRecordsTopic};
use kafka_protocol::messages::delete_topics_request::DeleteTopicState;
use kafka_protocol::messages::describe_configs_request::DescribeConfigsResource;
use kafka_protocol::messages::incremental_alter_configs_request::{AlterConfigsResource, AlterableConfig};
use kafka_protocol::messages::{
    CreatePartitionsRequest, CreateTopicsRequest, CreateTopicsResponse, DeleteRecordsRequest, DeleteTopicsRequest,
    DescribeConfigsRequest, DescribeConfigsResponse, IncrementalAlterConfigsRequest, IncrementalAlterConfigsResponse,
    TopicName,
};
use kafka_protocol::protocol::StrBytes;
use tokio::time::{Instant, sleep};

use crate::kafka::cluster::{Attempts, Repeated, Target};
use crate::kafka::error::escaped;
use crate::kafka::{Client, Error, ErrorKind, TopicPartition};

/// A topic to be created.
///
/// ```
/// use kafkacrypto::kafka::NewTopic;
/// let keys = NewTopic::new("readings.keys").partitions(1).setting("cleanup.policy", "compact");
/// assert_eq!(keys.name(), "readings.keys");
/// ```
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NewTopic {
    name: String,
    partitions: i32,
    replicas: i16,
    settings: BTreeMap<String, String>,
}

impl NewTopic {
    /// A topic with the cluster's defaults: `num.partitions`, `default.replication.factor`.
    #[must_use]
    pub fn new(name: impl Into<String>) -> Self {
        Self { name: name.into(), partitions: DEFAULT, replicas: -1, settings: BTreeMap::new() }
    }

    /// Sets how many partitions it has.
    #[must_use]
    pub fn partitions(mut self, partitions: i32) -> Self {
        self.partitions = partitions;
        self
    }

    /// Sets how many brokers keep each partition.
    #[must_use]
    pub fn replicas(mut self, replicas: i16) -> Self {
        self.replicas = replicas;
        self
    }

    /// Sets one of its settings, such as `cleanup.policy` to `compact`.
    #[must_use]
    pub fn setting(mut self, name: impl Into<String>, value: impl Into<String>) -> Self {
        self.settings.insert(name.into(), value.into());
        self
    }

    /// Its name.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }

    fn creatable(&self, version: i16) -> CreatableTopic {
        let setting = |(name, value): (&String, &String)| {
            CreatableTopicConfig::default().with_name(text(name)).with_value(Some(text(value)))
        };
        // Defaults came with version 4.
        let partitions = if version < 4 && self.partitions == DEFAULT { 1 } else { self.partitions };
        CreatableTopic::default()
            .with_name(name(&self.name))
            .with_num_partitions(partitions)
            .with_replication_factor(self.replicas)
            .with_configs(self.settings.iter().map(setting).collect())
    }

    fn created(&self, response: &CreateTopicsResponse) -> Result<Created, Error> {
        let what = format!("can't create topic \"{}\"", escaped(&self.name));
        let result = response.topics.iter().find(|result| result.name.as_str() == self.name);
        match result.map(|result| (result.error_code, &result.error_message)) {
            Some((0, _)) => Ok(Created::New),
            Some((code, _)) if code == ResponseError::TopicAlreadyExists.code() => Ok(Created::Existed),
            Some((code, said)) => {
                let error = Error::from_code_and_text(code, said.as_deref(), &what);
                Err(error.needing(|| format!("create topic \"{}\"", escaped(&self.name))))
            }
            None => Err(Error::new(ErrorKind::Corrupt, format!("{what}: the answer doesn't mention it"))),
        }
    }
}

/// What became of a topic that was to be created.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Created {
    /// It is new.
    New,
    /// It was there before, with whatever settings.
    Existed,
}

/// A setting of a topic.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Setting {
    /// Its value; `None` when it is secret.
    pub value: Option<String>,
    /// Whether it was set for this topic; else it is the broker's, or the default.
    pub own: bool,
}

impl Client {
    /// Creates a topic, and waits until it can be written to, as far as the time goes.
    ///
    /// ```
    /// # include!(concat!(env!("CARGO_MANIFEST_DIR"), "/src/kafka/example.rs"));
    /// # fn main() { without_broker(async |client, within| {
    /// use kafkacrypto::kafka::{Created, NewTopic};
    ///
    /// client.create_topic(&NewTopic::new("readings").partitions(6), within).await?;
    /// assert_eq!(client.create_topic(&NewTopic::new("readings"), within).await?, Created::Existed);
    /// # Ok(()) }) }
    /// ```
    ///
    /// # Errors
    /// No right to create topics, settings that the cluster doesn't take, or no answer in time.
    pub async fn create_topic(&self, topic: &NewTopic, within: Duration) -> Result<Created, Error> {
        self.create_topics(std::slice::from_ref(topic), within).await?.swap_remove(0)
    }

    /// Creates topics in one request, which takes a cluster no longer than one of them, and waits until they can be
    /// written to, as far as the time goes. Answers with what came of each, in their order.
    ///
    /// ```
    /// # include!(concat!(env!("CARGO_MANIFEST_DIR"), "/src/kafka/example.rs"));
    /// # fn main() { without_broker(async |client, within| {
    /// use kafkacrypto::kafka::{Created, NewTopic};
    ///
    /// let created = client.create_topics(&[NewTopic::new("readings"), NewTopic::new("alarms")], within).await?;
    /// assert_eq!(created, [Ok(Created::New), Ok(Created::New)]);
    /// # Ok(()) }) }
    /// ```
    ///
    /// # Errors
    /// No answer in time. Of single topics: no right to create topics, settings that the cluster doesn't take.
    pub async fn create_topics(
        &self,
        topics: &[NewTopic],
        within: Duration,
    ) -> Result<Vec<Result<Created, Error>>, Error> {
        let deadline = Instant::now() + within;
        let build = |version| {
            let topics = topics.iter().map(|topic| topic.creatable(version)).collect();
            CreateTopicsRequest::default().with_topics(topics).with_timeout_ms(millis(within))
        };
        let read = |response: CreateTopicsResponse| {
            let created: Vec<_> = topics.iter().map(|topic| topic.created(&response)).collect();
            let moved = |error: &&Error| error.code() == Some(ResponseError::NotController.code());
            match created.iter().filter_map(|created| created.as_ref().err()).find(moved) {
                Some(moved) => Err(moved.clone()),
                None => Ok(created),
            }
        };
        let (to, repeated) = (Target::Controller, Repeated::Harmful);
        let created = self.ask_until::<CreateTopicsRequest, _>(to, repeated, deadline, build, read).await?;
        for topic in topics {
            self.stale(&topic.name);
        }
        for (topic, _) in topics.iter().zip(&created).filter(|(_, created)| **created == Ok(Created::New)) {
            self.wait_for_leaders(&topic.name, deadline).await;
        }
        Ok(created)
    }

    /// Deletes a topic and all its records; whether there was one.
    ///
    /// ```
    /// # include!(concat!(env!("CARGO_MANIFEST_DIR"), "/src/kafka/example.rs"));
    /// # fn main() { without_broker(async |client, within| {
    /// assert!(!client.delete_topic("no-such-topic", within).await?);
    /// # Ok(()) }) }
    /// ```
    ///
    /// # Errors
    /// No right to it, or no answer in time.
    pub async fn delete_topic(&self, topic: &str, within: Duration) -> Result<bool, Error> {
        let what = format!("can't delete topic \"{}\"", escaped(topic));
        let build = |version| {
            let request = DeleteTopicsRequest::default().with_timeout_ms(millis(within));
            match version {
                ..6 => request.with_topic_names(vec![name(topic)]),
                6.. => request.with_topics(vec![DeleteTopicState::default().with_name(Some(name(topic)))]),
            }
        };
        let deadline = Instant::now() + within;
        let deleted = self
            .ask_until::<DeleteTopicsRequest, _>(Target::Controller, Repeated::Harmful, deadline, build, |response| {
                let result = response.responses.into_iter().next();
                match result.map(|result| (result.error_code, result.error_message)) {
                    Some((0, _)) => Ok(true),
                    Some((code, _)) if code == ResponseError::UnknownTopicOrPartition.code() => Ok(false),
                    Some((code, said)) => Err(Error::from_code_and_text(code, said.as_deref(), &what)),
                    None => Err(Error::new(ErrorKind::Corrupt, format!("{what}: the answer doesn't mention it"))),
                }
            })
            .await;
        self.stale(topic);
        deleted
    }

    /// Adds partitions to a topic, until it has so many.
    ///
    /// ```
    /// # include!(concat!(env!("CARGO_MANIFEST_DIR"), "/src/kafka/example.rs"));
    /// # fn main() { without_broker(async |client, within| {
    /// client.add_partitions("readings", 12, within).await?;
    /// # Ok(()) }) }
    /// ```
    ///
    /// # Errors
    /// It has as many or more, no right to it, or no answer in time.
    pub async fn add_partitions(&self, topic: &str, total: i32, within: Duration) -> Result<(), Error> {
        let what = format!("can't give topic \"{}\" {total} partitions", escaped(topic));
        let deadline = Instant::now() + within;
        let build = |_| {
            let wider =
                CreatePartitionsTopic::default().with_name(name(topic)).with_count(total).with_assignments(None);
            CreatePartitionsRequest::default().with_topics(vec![wider]).with_timeout_ms(millis(within))
        };
        let read = |response: kafka_protocol::messages::CreatePartitionsResponse| {
            let result = response.results.into_iter().next();
            said(result.map(|result| (result.error_code, result.error_message)), &what)
        };
        let (to, repeated) = (Target::Controller, Repeated::Harmful);
        self.ask_until::<CreatePartitionsRequest, _>(to, repeated, deadline, build, read).await?;
        self.stale(topic);
        self.wait_for_leaders(topic, deadline).await;
        Ok(())
    }

    /// The settings of a topic, by name.
    ///
    /// ```
    /// # include!(concat!(env!("CARGO_MANIFEST_DIR"), "/src/kafka/example.rs"));
    /// # fn main() { without_broker(async |client, within| {
    /// let settings = client.topic_settings("readings.keys", within).await?;
    /// assert_eq!(settings["cleanup.policy"].value.as_deref(), Some("compact"));
    /// # Ok(()) }) }
    /// ```
    ///
    /// # Errors
    /// No such topic, no right to it, or no answer in time.
    pub async fn topic_settings(&self, topic: &str, within: Duration) -> Result<BTreeMap<String, Setting>, Error> {
        let what = format!("can't read the settings of topic \"{}\"", escaped(topic));
        let build = |_| {
            let resource = DescribeConfigsResource::default()
                .with_resource_type(TOPIC)
                .with_resource_name(text(topic))
                .with_configuration_keys(None);
            DescribeConfigsRequest::default().with_resources(vec![resource])
        };
        let read = |response: DescribeConfigsResponse| {
            let Some(result) = response.results.into_iter().next() else {
                return Err(Error::new(ErrorKind::Corrupt, format!("{what}: the answer doesn't mention it")));
            };
            said(Some((result.error_code, result.error_message.clone())), &what).map(|()| result)
        };
        let (to, deadline) = (Target::Any, Instant::now() + within);
        let result = self.ask_until::<DescribeConfigsRequest, _>(to, Repeated::Harmless, deadline, build, read).await?;
        let setting = |found: kafka_protocol::messages::describe_configs_response::DescribeConfigsResourceResult| {
            let value = found.value.map(|value| value.to_string());
            (found.name.to_string(), Setting { value, own: found.config_source == OF_THE_TOPIC })
        };
        Ok(result.configs.into_iter().map(setting).collect())
    }

    /// Sets some settings of a topic; `None` goes back to the broker's. The others stay.
    ///
    /// ```
    /// # include!(concat!(env!("CARGO_MANIFEST_DIR"), "/src/kafka/example.rs"));
    /// # fn main() { without_broker(async |client, within| {
    /// let week = [("retention.ms", Some("604800000"))].into();
    /// client.set_topic_settings("readings", &week, within).await?;
    /// # Ok(()) }) }
    /// ```
    ///
    /// # Errors
    /// No such topic or setting, no right to it, or no answer in time.
    pub async fn set_topic_settings(
        &self,
        topic: &str,
        settings: &BTreeMap<&str, Option<&str>>,
        within: Duration,
    ) -> Result<(), Error> {
        let what = format!("can't change the settings of topic \"{}\"", escaped(topic));
        let setting = |(name, value): (&&str, &Option<&str>)| {
            let operation = if value.is_some() { SET } else { DELETE };
            AlterableConfig::default()
                .with_name(text(name))
                .with_config_operation(operation)
                .with_value(value.map(text))
        };
        let build = |_| {
            let configs = settings.iter().map(setting).collect();
            let resource = AlterConfigsResource::default();
            let resource = resource.with_resource_type(TOPIC).with_resource_name(text(topic)).with_configs(configs);
            IncrementalAlterConfigsRequest::default().with_resources(vec![resource])
        };
        let read = |response: IncrementalAlterConfigsResponse| {
            let result = response.responses.into_iter().next();
            said(result.map(|result| (result.error_code, result.error_message)), &what)
        };
        let (to, deadline) = (Target::Controller, Instant::now() + within);
        self.ask_until::<IncrementalAlterConfigsRequest, _>(to, Repeated::Harmless, deadline, build, read).await
    }

    /// Deletes the records of partitions before an offset each, and returns the first offset that is left.
    ///
    /// ```
    /// # include!(concat!(env!("CARGO_MANIFEST_DIR"), "/src/kafka/example.rs"));
    /// # fn main() { without_broker(async |client, within| {
    /// use kafkacrypto::kafka::TopicPartition;
    ///
    /// let before = [(TopicPartition::new("readings", 0), 1000)].into();
    /// let left = client.delete_records(&before, within).await?;
    /// assert_eq!(left[&TopicPartition::new("readings", 0)], 1000);
    /// # Ok(()) }) }
    /// ```
    ///
    /// # Errors
    /// That of the first partition that fails; others may have been done.
    pub async fn delete_records(
        &self,
        before: &BTreeMap<TopicPartition, i64>,
        within: Duration,
    ) -> Result<BTreeMap<TopicPartition, i64>, Error> {
        let deadline = Instant::now() + within;
        let mut left = BTreeMap::new();
        for (partition, offset) in before {
            left.insert(partition.clone(), self.delete_some(partition, *offset, deadline).await?);
        }
        Ok(left)
    }

    async fn delete_some(&self, of: &TopicPartition, before: i64, deadline: Instant) -> Result<i64, Error> {
        let what = format!("can't delete records of {of}");
        let mut attempts = Attempts::new(self.config().times(), deadline);
        let build = |_| {
            let partition = DeleteRecordsPartition::default().with_partition_index(of.partition).with_offset(before);
            let topic = DeleteRecordsTopic::default().with_name(name(&of.topic)).with_partitions(vec![partition]);
            let left = deadline.saturating_duration_since(Instant::now());
            DeleteRecordsRequest::default().with_topics(vec![topic]).with_timeout_ms(millis(left))
        };
        loop {
            let asked = async {
                let leader = self.leader(&of.topic, of.partition, deadline).await?;
                let target = Target::Broker(leader.broker);
                let (response, _) = self.call::<DeleteRecordsRequest>(target, deadline, build).await?;
                let result = response.topics.into_iter().flat_map(|topic| topic.partitions).next();
                match result.map(|result| (result.error_code, result.low_watermark)) {
                    Some((0, left)) => Ok(left),
                    found => Err(Error::from_code(found.map_or(-1, |(code, _)| code), &what)),
                }
            };
            match asked.await {
                Ok(left) => return Ok(left),
                Err(error) if error.kind() == ErrorKind::UnknownTopic && error.code().is_none() => return Err(error),
                Err(error) => {
                    self.stale(&of.topic);
                    attempts.again(error).await?;
                }
            }
        }
    }

    /// A new topic is known to some brokers first.
    async fn wait_for_leaders(&self, topic: &str, deadline: Instant) {
        let mut pause = FIRST_PAUSE;
        while Instant::now() + pause < deadline {
            let found = self.topic(topic, deadline).await.ok().flatten();
            if found.is_some_and(|found| found.partitions.values().all(|partition| partition.leader.is_some())) {
                return;
            }
            self.stale(topic);
            sleep(pause).await;
            pause = (pause * 2).min(MOST_PAUSE);
        }
    }
}

fn said(result: Option<(i16, Option<StrBytes>)>, what: &str) -> Result<(), Error> {
    match result {
        Some((0, _)) => Ok(()),
        Some((code, said)) => Err(Error::from_code_and_text(code, said.as_deref(), what)),
        None => Err(Error::new(ErrorKind::Corrupt, format!("{what}: the answer doesn't mention it"))),
    }
}

fn text(text: &str) -> StrBytes {
    StrBytes::from_string(text.to_owned())
}

fn name(topic: &str) -> TopicName {
    TopicName(text(topic))
}

fn millis(time: Duration) -> i32 {
    i32::try_from(time.as_millis()).unwrap_or(i32::MAX)
}

/// As many partitions as the cluster gives by default.
const DEFAULT: i32 = -1;
/// The kind of a resource that is a topic.
const TOPIC: i8 = 2;
/// Where a setting comes from: it was set for the topic.
const OF_THE_TOPIC: i8 = 1;
const SET: i8 = 0;
const DELETE: i8 = 1;
const FIRST_PAUSE: Duration = Duration::from_millis(5);
const MOST_PAUSE: Duration = Duration::from_millis(50);
