//! A part of Apache Kafka that a test has for itself.

use std::sync::Arc;
use std::time::Duration;

use kafkacrypto::transport::kafka::Kafka;
use kafkacrypto::transport::{
    BoxFuture, Created, FetchFrom, Fetched, OffsetAt, Outgoing, TopicInfo, Transport, TransportError,
};

/// The topics whose names begin like this; nobody sees the beginning, nor other topics.
pub struct Part {
    pub kafka: Kafka,
    pub prefix: String,
}

impl Part {
    fn outside(&self, topic: &str) -> String {
        format!("{}{topic}", self.prefix)
    }

    fn inside(&self, topic: &str) -> Option<Arc<str>> {
        topic.strip_prefix(&self.prefix).map(Into::into)
    }
}

impl Transport for Part {
    fn topics(&self, within: Duration) -> BoxFuture<'_, Result<Vec<TopicInfo>, TransportError>> {
        Box::pin(async move {
            let ours = |topic: TopicInfo| Some(TopicInfo { name: self.inside(&topic.name)?, ..topic });
            Ok(self.kafka.topics(within).await?.into_iter().filter_map(ours).collect())
        })
    }

    fn partitions<'a>(
        &'a self,
        topic: &'a str,
        within: Duration,
    ) -> BoxFuture<'a, Result<Option<Vec<i32>>, TransportError>> {
        Box::pin(async move { self.kafka.partitions(&self.outside(topic), within).await })
    }

    fn create_topic<'a>(
        &'a self,
        topic: &'a str,
        partitions: i32,
        within: Duration,
    ) -> BoxFuture<'a, Result<Created, TransportError>> {
        Box::pin(async move { self.kafka.create_topic(&self.outside(topic), partitions, within).await })
    }

    fn produce<'a>(
        &'a self,
        topic: &'a str,
        partition: i32,
        records: Vec<Outgoing>,
        within: Duration,
    ) -> BoxFuture<'a, Result<Vec<i64>, TransportError>> {
        Box::pin(async move { self.kafka.produce(&self.outside(topic), partition, records, within).await })
    }

    fn fetch<'a>(
        &'a self,
        from: &'a [FetchFrom],
        max_bytes: i32,
        wait: Duration,
        within: Duration,
    ) -> BoxFuture<'a, Result<Vec<Fetched>, TransportError>> {
        Box::pin(async move {
            let outside = |from: &FetchFrom| FetchFrom { topic: self.outside(&from.topic).into(), ..*from };
            let from: Vec<_> = from.iter().map(outside).collect();
            let mut fetched = self.kafka.fetch(&from, max_bytes, wait, within).await?;
            for fetched in &mut fetched {
                fetched.topic = self.inside(&fetched.topic).unwrap();
                let records = fetched.result.iter_mut().flat_map(|batch| &mut batch.records);
                records.for_each(|record| record.topic = fetched.topic.clone());
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
        Box::pin(async move { self.kafka.offset(&self.outside(topic), partition, at, within).await })
    }
}
