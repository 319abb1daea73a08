//! A broker for tests of the client, in their own process and without Kafka: it knows nothing but where the brokers are,
//! and can be slow or silent. What needs records or groups is tested with real brokers, see `tests/`.

use std::net::SocketAddr;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use kafka_protocol::messages::api_versions_response::ApiVersion;
use kafka_protocol::messages::metadata_response::{
    MetadataResponseBroker, MetadataResponsePartition, MetadataResponseTopic,
};
use kafka_protocol::messages::{ApiVersionsResponse, BrokerId, MetadataResponse, TopicName};
use tokio::io::AsyncWriteExt;
use tokio::net::{TcpListener, TcpStream};
use tokio::time::sleep;

use crate::kafka::net::tests::{Far, frame};

/// A broker that lets anybody in and says where the brokers are, and that the last of them leads topic "t".
#[derive(Clone)]
pub(in crate::kafka) struct FakeBroker {
    pub(in crate::kafka) address: SocketAddr,
    shared: Arc<Shared>,
}

#[derive(Default)]
struct Shared {
    brokers: Mutex<Vec<(i32, SocketAddr)>>,
    accepted: AtomicUsize,
    open: AtomicUsize,
    /// How long it takes to say anything.
    slow: Mutex<Duration>,
    /// What is never answered, nor what comes behind it.
    mute: Mutex<Option<i16>>,
}

impl FakeBroker {
    pub(in crate::kafka) async fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let fake = Self { address: listener.local_addr().unwrap(), shared: Arc::default() };
        let shared = fake.shared.clone();
        tokio::spawn(async move {
            loop {
                let (stream, _) = listener.accept().await.unwrap();
                tokio::spawn(shared.clone().serve(stream));
            }
        });
        fake
    }

    pub(super) fn says(&self, brokers: &[(i32, &Self)]) {
        let brokers: Vec<_> = brokers.iter().map(|(id, fake)| (*id, fake.address)).collect();
        self.says_at(&brokers);
    }

    pub(in crate::kafka) fn says_at(&self, brokers: &[(i32, SocketAddr)]) {
        *self.shared.brokers.lock().unwrap() = brokers.to_vec();
    }

    pub(in crate::kafka) fn never_answers(&self, api: i16) {
        *self.shared.mute.lock().unwrap() = Some(api);
    }

    /// How long it takes from now on to say anything.
    pub(super) fn takes(&self, time: Duration) {
        *self.shared.slow.lock().unwrap() = time;
    }

    pub(super) fn accepted(&self) -> usize {
        self.shared.accepted.load(Ordering::Relaxed)
    }

    /// When it has no connection any more.
    pub(super) async fn deserted(&self) {
        while self.shared.open.load(Ordering::Relaxed) > 0 {
            sleep(Duration::from_millis(5)).await;
        }
    }
}

impl Shared {
    async fn serve(self: Arc<Self>, stream: TcpStream) {
        self.accepted.fetch_add(1, Ordering::Relaxed);
        self.open.fetch_add(1, Ordering::Relaxed);
        let mut far = Far(stream);
        let mut silent = false;
        while let Some((api, version, number)) = far.next().await {
            silent |= *self.mute.lock().unwrap() == Some(api);
            if silent {
                continue;
            }
            let answer = match api {
                METADATA => frame(number, 1, version, &self.brokers()),
                _ => frame(number, 0, version, &versions()),
            };
            let time = *self.slow.lock().unwrap();
            sleep(time).await;
            if far.0.write_all(&answer).await.is_err() {
                break;
            }
        }
        self.open.fetch_sub(1, Ordering::Relaxed);
    }

    fn brokers(&self) -> MetadataResponse {
        let brokers = self.brokers.lock().unwrap();
        let broker = |(id, at): &(i32, SocketAddr)| {
            let broker = MetadataResponseBroker::default().with_node_id(BrokerId(*id));
            broker.with_host(at.ip().to_string().into()).with_port(at.port().into())
        };
        let leader = brokers.last().map_or(-1, |(id, _)| *id);
        let partition = MetadataResponsePartition::default().with_leader_id(BrokerId(leader));
        let topic = MetadataResponseTopic::default().with_name(Some(TopicName("t".into())));
        MetadataResponse::default()
            .with_brokers(brokers.iter().map(broker).collect())
            .with_topics(vec![topic.with_partitions(vec![partition])])
    }
}

fn versions() -> ApiVersionsResponse {
    let range = |(api, most)| ApiVersion::default().with_api_key(api).with_max_version(most);
    ApiVersionsResponse::default()
        .with_api_keys([(0, 12), (JOIN_GROUP, 9), (18, 4), (METADATA, 12)].map(range).to_vec())
}

const METADATA: i16 = 3;
pub(super) const JOIN_GROUP: i16 = 11;
