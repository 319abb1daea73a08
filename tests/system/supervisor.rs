//! The background fails, or is ended: nothing dies silently (protocol §15 row 5).

use super::*;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use kafkacrypto::keys::{KeyError, Signer, SigningKey, SigningPublicKey};
use kafkacrypto::provision::NodeRole;
use kafkacrypto::transport::{BoxFuture, Created, FetchFrom, Fetched, OffsetAt, TopicInfo, TransportError};
use support::fleet::Fleet;

crate::in_both_places! {
    a_background_that_panics_is_reported_and_started_again_and_forgets_nobody,
    a_panic_in_a_node_that_has_nothing_else_to_do_is_noticed_at_once,
    while_the_background_is_down_encrypting_under_durable_secrets_goes_on,
    a_node_whose_background_fails_all_the_time_closes_all_the_same,
    closing_ends_waits_and_encrypting_goes_on_where_a_secret_is_durable,
    a_signer_that_fails_is_reported_and_tried_again,
}

/// A transport with a fault of its own: it panics.
#[derive(Clone)]
struct Panicking {
    inner: Arc<dyn Transport>,
    now: Arc<AtomicBool>,
    panics: Arc<AtomicU64>,
}

impl Panicking {
    fn new(place: &Place) -> Self {
        Self { inner: place.transport(), now: Arc::default(), panics: Arc::default() }
    }

    fn set(&self, panics: bool) {
        self.now.store(panics, Ordering::SeqCst);
    }

    fn check(&self) {
        if self.now.load(Ordering::SeqCst) {
            self.panics.fetch_add(1, Ordering::SeqCst);
            panic!("a fault in somebody's transport");
        }
    }
}

impl Transport for Panicking {
    fn topics(&self, within: Duration) -> BoxFuture<'_, Result<Vec<TopicInfo>, TransportError>> {
        self.inner.topics(within)
    }

    fn partitions<'a>(
        &'a self,
        topic: &'a str,
        within: Duration,
    ) -> BoxFuture<'a, Result<Option<Vec<i32>>, TransportError>> {
        self.check();
        self.inner.partitions(topic, within)
    }

    fn create_topic<'a>(
        &'a self,
        topic: &'a str,
        partitions: i32,
        within: Duration,
    ) -> BoxFuture<'a, Result<Created, TransportError>> {
        self.inner.create_topic(topic, partitions, within)
    }

    fn produce<'a>(
        &'a self,
        topic: &'a str,
        partition: i32,
        records: Vec<Outgoing>,
        within: Duration,
    ) -> BoxFuture<'a, Result<Vec<i64>, TransportError>> {
        self.check();
        self.inner.produce(topic, partition, records, within)
    }

    fn fetch<'a>(
        &'a self,
        from: &'a [FetchFrom],
        max_bytes: i32,
        wait: Duration,
        within: Duration,
    ) -> BoxFuture<'a, Result<Vec<Fetched>, TransportError>> {
        let flag = self.clone();
        Box::pin(async move {
            let fetched = self.inner.fetch(from, max_bytes, wait.min(Duration::from_millis(50)), within).await;
            flag.check();
            fetched
        })
    }

    fn offset<'a>(
        &'a self,
        topic: &'a str,
        partition: i32,
        at: OffsetAt,
        within: Duration,
    ) -> BoxFuture<'a, Result<i64, TransportError>> {
        self.inner.offset(topic, partition, at, within)
    }
}

async fn open_panicking(transport: &Panicking, config: &Path) -> Node {
    Node::builder(config).transport(Arc::new(transport.clone())).open().await.unwrap()
}

async fn a_background_that_panics_is_reported_and_started_again_and_forgets_nobody(place: &Place) {
    let fleet = Fleet::new();
    let config = fleet.node("p", NodeRole::Producer, &["lab"]);
    let producer = open(place, &config).await;
    let sealed = seal(&producer, "lab.data", b"42");
    producer.close().await;
    let way = Panicking::new(place);
    let consumer = open_panicking(&way, &fleet.node("c", NodeRole::Consumer, &["lab"])).await;
    let mut events = consumer.events();
    let mut message = consumer.value_deserializer().deserialize("lab.data", Some(&sealed));
    until("exchanging", || consumer.health().exchanging).await;
    let mut waiting = message.clone();
    let waiting = tokio::spawn(async move { waiting.wait(SOON).await.map(|_| ()).unwrap_err() });
    tokio::time::sleep(Duration::from_millis(20)).await;
    way.set(true);
    let ended = waiting.await.unwrap();
    assert!(ended.to_string().contains("a fault in somebody's transport"), "{ended}");
    way.set(false);
    let restarted = event(&mut events, |event| matches!(event, Event::Restarted { .. })).await;
    assert!(format!("{restarted:?}").contains("a fault in somebody's transport"));
    let health = consumer.health();
    assert!(health.running && health.restarts > 0);
    let _producer = open(place, &config).await;
    assert_eq!(message.wait(SOON).await.unwrap(), Some(&b"42"[..]), "what was wanted before is still asked for");
}

async fn a_panic_in_a_node_that_has_nothing_else_to_do_is_noticed_at_once(place: &Place) {
    let fleet = Fleet::new();
    let way = Panicking::new(place);
    let node = open_panicking(&way, &fleet.node("p", NodeRole::Producer, &["lab"])).await;
    seal(&node, "lab.data", b"so that it follows a topic");
    // all its tasks but the one that reads have ended by then
    tokio::time::sleep(Duration::from_millis(500)).await;
    way.set(true);
    until("panicked", || way.panics.load(Ordering::SeqCst) > 0).await;
    let start = Instant::now();
    until("noticed", || node.health().restarts > 0).await;
    assert!(start.elapsed() < Duration::from_secs(2), "{:?}", start.elapsed());
}

async fn while_the_background_is_down_encrypting_under_durable_secrets_goes_on(place: &Place) {
    let fleet = Fleet::new();
    let way = Panicking::new(place);
    let producer = open_panicking(&way, &fleet.node("p", NodeRole::Producer, &["lab"])).await;
    let mut sealed = vec![seal(&producer, "lab.data", b"before")];
    way.set(true);
    let start = Instant::now();
    while start.elapsed() < Duration::from_secs(2) {
        sealed.push(seal(&producer, "lab.data", b"meanwhile"));
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    let restarts = producer.health().restarts;
    assert!((1..=3).contains(&restarts), "it is noticed, and pauses grow: {restarts}");
    way.set(false);
    // each of the engines has stepped the ratchet
    assert_ne!(sealed[0][..36], sealed[sealed.len() - 1][..36]);
    let consumer = open(place, &fleet.node("c", NodeRole::Consumer, &["lab"])).await;
    for sealed in &sealed {
        assert!(!read(&consumer, "lab.data", sealed).await.is_empty());
    }
}

async fn a_node_whose_background_fails_all_the_time_closes_all_the_same(place: &Place) {
    let fleet = Fleet::new();
    let way = Panicking::new(place);
    let config = fleet.node("c", NodeRole::Consumer, &["lab"]);
    let node = open_panicking(&way, &config).await;
    way.set(true);
    until("panicked", || way.panics.load(Ordering::SeqCst) > 0).await;
    let start = Instant::now();
    node.close().await;
    assert!(start.elapsed() < Duration::from_secs(4), "{:?}", start.elapsed());
    assert!(!node.health().running);
    let mut message = node.value_deserializer().deserialize("lab.data", Some(&unknown()));
    let ended = message.wait(SOON).await.unwrap_err();
    assert!(ended.to_string().contains("closed"), "{ended}");
    open(place, &config).await;
}

/// A message whose key nobody has.
fn unknown() -> Vec<u8> {
    let mut bytes = vec![1, 0x93, 0xc4, 32];
    bytes.extend([9; 32]);
    bytes.extend([0xc4, 16]);
    bytes.extend([9; 16]);
    bytes.extend([0xc4, 20]);
    bytes.extend([9; 20]);
    bytes
}

async fn closing_ends_waits_and_encrypting_goes_on_where_a_secret_is_durable(place: &Place) {
    let fleet = Fleet::new();
    let node = open(place, &fleet.node("b", NodeRole::Prodcon, &["lab", "office"])).await;
    let (values, readers) = (node.value_serializer(), node.value_deserializer());
    let sealed = values.serialize("lab.data", Some(b"42")).unwrap().unwrap();
    let mut message = readers.deserialize("lab.data", Some(&unknown()));
    let waiting = tokio::spawn(async move { message.wait(SOON).await.map(|_| ()).unwrap_err() });
    tokio::time::sleep(Duration::from_millis(50)).await;
    let start = Instant::now();
    node.close().await;
    let ended = waiting.await.unwrap();
    assert!(ended.to_string().contains("closed") && start.elapsed() < SOON / 2, "{ended}");
    assert!(readers.deserialize("lab.data", Some(&sealed)).is_cleartext());
    assert!(values.serialize("lab.data", Some(b"43")).is_ok());
    let refused = values.serialize("office.data", Some(b"44")).unwrap_err();
    assert!(refused.to_string().contains("nothing was encrypted"), "{refused}");
    node.close().await;
}

/// A signer with a fault: it panics, then fails, then works.
struct Faulty {
    key: SigningKey,
    calls: AtomicU64,
}

impl Signer for Faulty {
    fn public(&self) -> &SigningPublicKey {
        self.key.public()
    }

    fn sign(&self, message: &[u8]) -> Result<Vec<u8>, KeyError> {
        match self.calls.fetch_add(1, Ordering::SeqCst) {
            0 => panic!("a fault in somebody's signer"),
            1 => Err(KeyError::Source("the device is busy".into())),
            _ => Ok(self.key.sign(message)),
        }
    }
}

async fn a_signer_that_fails_is_reported_and_tried_again(place: &Place) {
    let fleet = Fleet::new();
    let producer = open(place, &fleet.node("p", NodeRole::Producer, &["lab"])).await;
    let config = fleet.node("c", NodeRole::Consumer, &["lab"]);
    let crypto = std::fs::read(config.with_extension("crypto")).unwrap();
    let file = kafkacrypto::store::KeyFile::decode(&crypto).unwrap();
    let (_, key) = file.signing_keys(None).next().unwrap();
    let key = SigningKey::from_bytes(key.to_bytes().expose()).unwrap();
    let signer = Arc::new(Faulty { key, calls: AtomicU64::new(0) });
    let way = place.transport();
    let consumer = Node::builder(&config).transport(way).signers(vec![signer]).open().await.unwrap();
    let mut events = consumer.events();
    let sealed = seal(&producer, "lab.data", b"42");
    assert_eq!(read(&consumer, "lab.data", &sealed).await, b"42");
    for why in ["panicked", "busy"] {
        event(&mut events, |event| format!("{event:?}").contains(why)).await;
    }
    assert_eq!(consumer.health().restarts, 0);
}
