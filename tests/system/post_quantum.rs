//! Signing type 4 and hybrid exchanges: every kind of node, policy, and signing that takes its time.

use super::*;
use std::sync::atomic::{AtomicUsize, Ordering};

use kafkacrypto::keyring::Origin;
use kafkacrypto::keys::{KeyError, Scheme, Signer, SigningKey, SigningPublicKey, SigningType};
use kafkacrypto::provision::NodeRole;
use kafkacrypto::runtime::{NodeFiles, OpenOptions};
use support::fleet::{Fleet, Keys};

crate::in_both_places! {
    who_requires_post_quantum_exchanges_refuses_a_classical_consumer_and_says_why,
    who_requires_post_quantum_exchanges_asks_a_classical_producer_in_vain,
    to_require_what_the_key_file_cannot_do_is_a_mistake_in_the_configuration,
    while_signing_takes_its_time_the_same_node_encrypts_and_decrypts,
    a_key_type_that_the_config_asks_for_is_made_and_new_files_prefer_post_quantum_exchanges,
}

const ONE: SigningType = SigningType::Ed25519;
const FOUR: SigningType = SigningType::Ed25519SlhDsa;

fn keys(types: &[SigningType], versions: &[u64], legacy: bool) -> Keys {
    Keys { types: types.to_vec(), versions: versions.to_vec(), legacy }
}

async fn pair(place: &Place, fleet: &Fleet, producer: &Keys, consumer: &Keys) -> (Node, Node) {
    let producer = fleet.node_of("p", NodeRole::Producer, &["lab"], producer, |_| {});
    let consumer = fleet.node_of("c", NodeRole::Consumer, &["lab"], consumer, |_| {});
    (open(place, &producer).await, open(place, &consumer).await)
}

/// Who gave the key that opened a message, and by which exchange.
async fn origin(node: &Node, topic: &str, sealed: &[u8]) -> (SigningType, Scheme) {
    let mut message = node.value_deserializer().deserialize(topic, Some(sealed));
    message.wait(SOON).await.unwrap_or_else(|error| panic!("{error}"));
    match message.origin() {
        Some(Origin::Peer { signer, scheme }) => (signer.signing_type(), *scheme),
        other => panic!("{other:?}"),
    }
}

/// Over Apache Kafka: `tests/matrix.rs`.
#[tokio::test(flavor = "multi_thread")]
async fn every_kind_of_node_agrees_with_its_kind() {
    let start = Instant::now();
    // a few at a time, so that none has to wait longer than it is patient
    let turns = Arc::new(tokio::sync::Semaphore::new(4));
    let cells = Keys::every_kind().into_iter().map(|kind| {
        let turns = turns.clone();
        tokio::spawn(async move {
            let _turn = turns.acquire_owned().await;
            let (fleet, place) = (Fleet::new(), Place::memory());
            let (producer, consumer) = pair(&place, &fleet, &kind, &kind).await;
            let sealed = seal(&producer, "lab.data", b"42");
            let (signer, scheme) = origin(&consumer, "lab.data", &sealed).await;
            // with both, whichever request comes first
            assert!(kind.types.contains(&signer), "{kind:?}");
            assert_eq!(scheme.offer_version(), kind.versions[0], "{kind:?}");
            let exchange = consumer.health().exchange;
            assert!(exchange.learned_by.of(scheme) >= 1 && exchange.rejected == 0, "{kind:?}: {exchange:?}");
            assert!(producer.health().exchange.answered_by.of(scheme) >= 1, "{kind:?}");
            producer.close().await;
            consumer.close().await;
        })
    });
    let cells: Vec<_> = cells.collect();
    let count = cells.len();
    for cell in cells {
        cell.await.unwrap();
    }
    println!("{count} cells in {:?}", start.elapsed());
}

async fn who_requires_post_quantum_exchanges_refuses_a_classical_consumer_and_says_why(place: &Place) {
    let fleet = Fleet::new();
    let config = fleet.node_with("p", NodeRole::Producer, &["lab"], |config| {
        config.set("", "require_pq", true).unwrap();
    });
    let producer = open(place, &config).await;
    let mut events = producer.events();
    let classical = fleet.node_of("old", NodeRole::Consumer, &["lab"], &keys(&[ONE], &[1], true), |_| {});
    let classical = open(place, &classical).await;
    let sealed = seal(&producer, "lab.data", b"42");
    let mut message = classical.value_deserializer().deserialize("lab.data", Some(&sealed));
    let refused =
        |event: &Event| matches!(event, Event::Rejected(rejection) if rejection.reason.contains("require_pq"));
    event(&mut events, refused).await;
    assert_eq!(message.retry(), State::Pending);
    assert_eq!(producer.health().exchange.requests_answered, 0);
    // one that can do better has its key
    let consumer = open(place, &fleet.node("new", NodeRole::Consumer, &["lab"])).await;
    assert_eq!(origin(&consumer, "lab.data", &sealed).await, (ONE, Scheme::X25519MlKem1024));
}

async fn who_requires_post_quantum_exchanges_asks_a_classical_producer_in_vain(place: &Place) {
    let fleet = Fleet::new();
    let classical = fleet.node_of("p", NodeRole::Producer, &["lab"], &keys(&[ONE], &[1], false), |_| {});
    let classical = open(place, &classical).await;
    let mut events = classical.events();
    let config = fleet.node("c", NodeRole::Consumer, &["lab"]);
    let way = place.transport();
    let consumer = Node::builder(&config).transport(way).require_pq(true).open().await.unwrap();
    let sealed = seal(&classical, "lab.data", b"42");
    let mut message = consumer.value_deserializer().deserialize("lab.data", Some(&sealed));
    let refused = |event: &Event| matches!(event, Event::Rejected(rejection) if rejection.reason.contains("no exchange scheme in common"));
    event(&mut events, refused).await;
    assert_eq!(message.retry(), State::Pending);
    assert!(place.records("lab.keys", 0).await.is_empty());
}

async fn to_require_what_the_key_file_cannot_do_is_a_mistake_in_the_configuration(place: &Place) {
    let fleet = Fleet::new();
    let config = fleet.node_of("n", NodeRole::Consumer, &["lab"], &keys(&[ONE], &[1], false), |_| {});
    let builder = || Node::builder(&config).transport(place.transport());
    let error = builder().require_pq(true).open().await.unwrap_err();
    assert!(error.is_configuration() && error.to_string().contains("key enable-pq"), "{error}");
    assert!(builder().open().await.is_ok());
}

/// Signs as slowly as a bad day allows.
struct Slow {
    key: Arc<SigningKey>,
    under_way: Arc<AtomicUsize>,
}

impl Signer for Slow {
    fn public(&self) -> &SigningPublicKey {
        self.key.public()
    }

    fn sign(&self, message: &[u8]) -> Result<Vec<u8>, KeyError> {
        self.under_way.fetch_add(1, Ordering::SeqCst);
        std::thread::sleep(Duration::from_secs(3));
        let signed = self.key.sign(message);
        self.under_way.fetch_sub(1, Ordering::SeqCst);
        Ok(signed)
    }
}

async fn while_signing_takes_its_time_the_same_node_encrypts_and_decrypts(place: &Place) {
    let fleet = Fleet::new();
    let kind = keys(&[FOUR], &[5], false);
    let config = fleet.node_of("both", NodeRole::Prodcon, &["lab", "den"], &kind, |_| {});
    let files = NodeFiles::open(&config, OpenOptions::default(), &mut rng()).unwrap();
    let (_, key) = files.signers().remove(0);
    drop(files);
    let under_way = Arc::<AtomicUsize>::default();
    let signer = Arc::new(Slow { key, under_way: under_way.clone() });
    let way = place.transport();
    let node = Node::builder(&config).transport(way).signers(vec![signer]).open().await.unwrap();
    let other = open(place, &fleet.node_of("o", NodeRole::Prodcon, &["lab", "den"], &kind, |_| {})).await;
    // it has to ask, and it is asked
    let (theirs, ours) = (seal(&other, "lab.data", b"theirs"), seal(&node, "lab.data", b"ours"));
    let mut wanted = node.value_deserializer().deserialize("lab.data", Some(&theirs));
    let mut asked = other.value_deserializer().deserialize("lab.data", Some(&ours));
    until("signing", || under_way.load(Ordering::SeqCst) > 0).await;
    let start = Instant::now();
    for number in 0..100_u8 {
        let sealed = seal(&node, "lab.data", &[number]);
        assert_eq!(read(&node, "lab.data", &sealed).await, [number]);
    }
    // a root that is new takes a secret that is made durable, and no signature
    let sealed = seal(&node, "den.data", b"new");
    assert_eq!(read(&node, "den.data", &sealed).await, b"new");
    let took = start.elapsed();
    assert!(under_way.load(Ordering::SeqCst) > 0 && took < Duration::from_secs(2), "{took:?}");
    println!("while a signature was made: 101 messages encrypted and decrypted, and a secret made, in {took:?}");
    assert_eq!(wanted.wait(SOON).await.unwrap(), Some(&b"theirs"[..]));
    assert_eq!(asked.wait(SOON).await.unwrap(), Some(&b"ours"[..]));
}

async fn a_key_type_that_the_config_asks_for_is_made_and_new_files_prefer_post_quantum_exchanges(place: &Place) {
    let fleet = Fleet::new();
    let config = fleet.node_with("n", NodeRole::Prodcon, &["lab"], |config| {
        config.set("", "keytypes", "1,4").unwrap();
    });
    let mut files = NodeFiles::open(&config, OpenOptions::default(), &mut rng()).unwrap();
    assert_eq!(files.key_file().versions(), [5, 2, 1]);
    let types: Vec<_> = files.signers().iter().map(|(slot, key)| (*slot, key.public().signing_type())).collect();
    assert_eq!(types, [(0, ONE), (1, FOUR)]);
    assert_eq!(files.node_bytes().len(), 32 + 71);
    // the new key has no chain, and the node goes on with the old one until it has
    let node = open_after(files, place, &config).await;
    node.close().await;
    files = NodeFiles::open(&config, OpenOptions::default(), &mut rng()).unwrap();
    assert_eq!(files.signers().len(), 2, "made once");
}

async fn open_after(files: NodeFiles, place: &Place, config: &Path) -> Node {
    drop(files);
    open(place, config).await
}

fn rng() -> getrandom::rand_core::UnwrapErr<getrandom::SysRng> {
    getrandom::rand_core::UnwrapErr(getrandom::SysRng)
}
