//! Where the nodes of a test meet: the broker in the process, or Apache Kafka.

use std::sync::{Arc, LazyLock};
use std::time::Instant;

use kafkacrypto::kafka::{Client, Config, TopicPartition};
use kafkacrypto::transport::kafka::Kafka;
use kafkacrypto::transport::memory::Broker;
use kafkacrypto::transport::{FetchFrom, OffsetAt, Outgoing, Record, Transport};

use super::part::Part;
use super::{SOON, support};
use support::Proxy;

/// A broker of the test's own, or as good as that: at Apache Kafka all names of topics get a beginning that no other
/// test has. Nodes don't see it.
pub enum Place {
    Memory(Broker),
    Kafka { address: String, prefix: String, client: Client, eyes: Arc<Part> },
}

impl Place {
    pub fn memory() -> Self {
        Self::Memory(Broker::new())
    }

    /// `None` where there is no broker, which is said once for all tests.
    pub fn kafka() -> Option<Self> {
        static BOOTSTRAP: LazyLock<Option<String>> = LazyLock::new(support::bootstrap);
        BOOTSTRAP.as_deref().map(Self::kafka_at)
    }

    fn kafka_at(address: &str) -> Self {
        let (address, prefix) = (address.to_owned(), format!("{}.", support::fresh("system")));
        let client = Client::new(Config::new([&address])).unwrap();
        let eyes = Arc::new(Part { kafka: Kafka::over(&client), prefix: prefix.clone() });
        Self::Kafka { address, prefix, client, eyes }
    }

    /// A way to it: a new one, with connections of its own.
    pub fn transport(&self) -> Arc<dyn Transport> {
        match self {
            Self::Memory(broker) => Arc::new(broker.transport()),
            Self::Kafka { address, .. } => self.by(address),
        }
    }

    /// A way to Apache Kafka by another address.
    pub fn by(&self, address: &str) -> Arc<dyn Transport> {
        let Self::Kafka { prefix, .. } = self else { panic!("there is no network in memory") };
        Arc::new(Part { kafka: Kafka::lazy(Config::new([address])).unwrap(), prefix: prefix.clone() })
    }

    /// A proxy before Apache Kafka.
    pub async fn proxy(&self) -> Proxy {
        let Self::Kafka { address, .. } = self else { panic!("there is no network in memory") };
        Proxy::start(address).await
    }

    /// The test's own way to it.
    fn eyes(&self) -> Arc<dyn Transport> {
        match self {
            Self::Memory(_) => self.transport(),
            Self::Kafka { eyes, .. } => eyes.clone(),
        }
    }

    pub async fn create_topic(&self, topic: &str, partitions: i32) {
        self.eyes().create_topic(topic, partitions, SOON).await.unwrap();
    }

    /// To the first partition of a topic, which is created if need be.
    pub async fn write(&self, topic: &str, key: &[u8], value: Vec<u8>) {
        self.create_topic(topic, 1).await;
        let record = Outgoing::new(Some(key.to_vec()), Some(value)).at(now_ms());
        self.eyes().produce(topic, 0, vec![record], SOON).await.unwrap();
    }

    /// What a partition has; nothing if there is no such topic.
    pub async fn records(&self, topic: &str, partition: i32) -> Vec<Record> {
        let (eyes, mut records) = (self.eyes(), Vec::new());
        if eyes.partitions(topic, SOON).await.unwrap().is_none() {
            return records;
        }
        let offset = async |at| eyes.offset(topic, partition, at, SOON).await.unwrap();
        let (mut next, end) = (offset(OffsetAt::Earliest).await, offset(OffsetAt::Latest).await);
        while next < end {
            for fetched in eyes.fetch(&[FetchFrom::new(topic, partition, next)], 1 << 20, SOON, SOON).await.unwrap() {
                let batch = fetched.result.unwrap();
                next = batch.next;
                records.extend(batch.records);
            }
        }
        records
    }

    /// The same, once it has more than so many.
    pub async fn more_than(&self, count: usize, topic: &str) -> Vec<Record> {
        let end = Instant::now() + SOON;
        loop {
            let records = self.records(topic, 0).await;
            if records.len() > count {
                return records;
            }
            assert!(Instant::now() < end, "never more than {count} records in {topic}");
            tokio::time::sleep(super::POLL).await;
        }
    }

    /// Deletes all records of a partition, as retention does.
    pub async fn trim(&self, topic: &str, partition: i32) {
        let end = self.eyes().offset(topic, partition, OffsetAt::Latest, SOON).await.unwrap();
        match self {
            Self::Memory(broker) => broker.trim(topic, partition, end),
            Self::Kafka { client, prefix, .. } => {
                let place = TopicPartition::new(format!("{prefix}{topic}"), partition);
                client.delete_records(&[(place, end)].into(), SOON).await.unwrap();
            }
        }
    }
}

fn now_ms() -> i64 {
    let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap();
    i64::try_from(now.as_millis()).unwrap()
}

/// Each of these tests in both places.
#[macro_export]
macro_rules! in_both_places {
    ($($test:ident,)*) => {
        mod memory {
            $(#[tokio::test(flavor = "multi_thread")]
            async fn $test() {
                super::$test(&$crate::place::Place::memory()).await;
            })*
        }
        mod kafka {
            $(#[tokio::test(flavor = "multi_thread")]
            async fn $test() {
                let Some(place) = $crate::place::Place::kafka() else { return };
                super::$test(&place).await;
            })*
        }
    };
}
