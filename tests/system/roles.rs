//! Every role, and what each can do.

use super::*;
use getrandom::SysRng;
use getrandom::rand_core::UnwrapErr;
use kafkacrypto::chain::{Ask, TrustLists, Usage, append, root_certificate, verify};
use kafkacrypto::exchange::{Request, request_leaf};
use kafkacrypto::keys::{Scheme, SigningKey, SigningType};
use kafkacrypto::provision::NodeRole;
use kafkacrypto::time::UnixTime;
use kafkacrypto::topic::Root;
use support::fleet::Fleet;

crate::in_both_places! {
    a_consumer_gets_the_key_and_decrypts,
    keys_and_values_tombstones_and_forwarded_messages,
    a_prodcon_does_both_and_reads_its_own,
    what_a_consumer_encrypts_nobody_can_read,
    limited_consumers_ask_controllers_only_and_go_as_far_as_they_can,
    limited_prodcons_too,
    several_producers_of_one_root,
    many_roots_on_one_node,
    programs_without_tokio,
    key_topics_with_several_partitions_are_read_all_and_written_at_the_first,
    many_threads_share_one_node_and_no_salt_repeats,
    topics_have_the_names_that_the_config_gives_them,
    producers_with_short_indices_share_them_and_both_can_be_read,
}

async fn a_consumer_gets_the_key_and_decrypts(place: &Place) {
    let fleet = Fleet::new();
    let producer = open(place, &fleet.node("p", NodeRole::Producer, &["lab"])).await;
    let consumer = open(place, &fleet.node("c", NodeRole::Consumer, &["lab"])).await;
    let sealed = seal(&producer, "lab.data", b"42");
    let start = Instant::now();
    let mut message = consumer.value_deserializer().deserialize("lab.data", Some(&sealed));
    assert_eq!(message.state(), State::Pending);
    assert_eq!(message.wait(SOON).await.unwrap(), Some(&b"42"[..]));
    println!("first message seen -> decrypted: {:?}", start.elapsed());
    let (asked, answered) = (consumer.health().exchange, producer.health().exchange);
    // one each, unless this machine is so busy that the request was repeated
    assert!([asked.requests_sent, asked.secrets_learned, answered.requests_answered].iter().all(|count| *count > 0));
    assert_eq!((producer.health().messages.encrypted, consumer.health().messages.decrypted), (1, 1));
    producer.close().await;
    consumer.close().await;
}

async fn keys_and_values_tombstones_and_forwarded_messages(place: &Place) {
    let fleet = Fleet::new();
    let producer = open(place, &fleet.node("p", NodeRole::Producer, &["lab"])).await;
    let consumer = open(place, &fleet.node("c", NodeRole::Consumer, &["lab"])).await;
    let key = producer.key_serializer().serialize("lab.data", Some(b"key")).unwrap().unwrap();
    assert_eq!(producer.value_serializer().serialize("lab.data", None).unwrap(), None);
    let mut message = consumer.key_deserializer().deserialize("lab.other", Some(&key));
    assert_eq!(message.wait(SOON).await.unwrap(), Some(&b"key"[..]), "all topics of a root share their keys");
    assert_eq!(state(&consumer, "lab.data", &key), State::Refused, "a key is no value");
    assert_eq!(consumer.value_deserializer().deserialize("lab.data", None).state(), State::Null);
    let empty = seal(&producer, "lab.data", b"");
    assert_eq!(read(&consumer, "lab.data", &empty).await, b"");
}

async fn a_prodcon_does_both_and_reads_its_own(place: &Place) {
    let fleet = Fleet::new();
    let mut nodes = Vec::new();
    for (name, role) in [("p", NodeRole::Producer), ("b", NodeRole::Prodcon), ("c", NodeRole::Consumer)] {
        nodes.push(open(place, &fleet.node(name, role, &["lab"])).await);
    }
    let [producer, both, consumer] = &nodes[..] else { panic!() };
    let (from_producer, from_both) = (seal(producer, "lab.data", b"one"), seal(both, "lab.data", b"two"));
    assert_eq!(state(both, "lab.data", &from_both), State::Cleartext, "without asking anybody");
    assert_eq!(read(both, "lab.data", &from_producer).await, b"one");
    assert_eq!(read(consumer, "lab.data", &from_producer).await, b"one");
    assert_eq!(read(consumer, "lab.data", &from_both).await, b"two");
    let refused = producer.value_deserializer().deserialize("lab.data", Some(&from_both)).wait(SOON).await.unwrap_err();
    assert!(refused.to_string().contains("not authorised"), "{refused}");
}

async fn what_a_consumer_encrypts_nobody_can_read(place: &Place) {
    let fleet = Fleet::new();
    let writer = open(place, &fleet.node("w", NodeRole::Consumer, &["lab"])).await;
    let consumer = open(place, &fleet.node("c", NodeRole::Consumer, &["lab"])).await;
    let mut events = consumer.events();
    let sealed = seal(&writer, "lab.data", b"I am no producer");
    let mut message = consumer.value_deserializer().deserialize("lab.data", Some(&sealed));
    let waiting = tokio::spawn(async move { message.wait(Duration::from_millis(1500)).await.map(|_| ()) });
    let refused = event(&mut events, |event| matches!(event, Event::Rejected(_))).await;
    let Event::Rejected(rejection) = refused else { panic!() };
    assert!(rejection.reason.contains("key-encrypt"), "{}", rejection.reason);
    assert!(waiting.await.unwrap().is_err());
}

/// What a controller does, until there is one: it verifies a request, and signs the same keys and `random0` itself.
async fn control(place: &Place, fleet: &Fleet) {
    let controller = SigningKey::generate(SigningType::Ed25519, &mut UnwrapErr(SysRng));
    let until = UnixTime::from_secs(4_000_000_000);
    let chain = fleet.chain(controller.public(), &[Usage::EncryptRequest], &["lab"], until);
    let (lists, _) = TrustLists::new([&root_certificate(fleet.root().public())[..]], []);
    let ask = Ask { topic: Some("lab"), usage: Some(Usage::EncryptSubscribe) };
    for record in place.records("lab.subs", 0).await {
        let verified = verify(&record.value.unwrap(), ask, &lists, UnixTime::from_secs(1_795_000_000)).unwrap();
        let request = Request::from_verified(&verified).unwrap();
        let (offer, random0) = (request.choose(&[Scheme::X25519]).unwrap(), request.random0().try_into().unwrap());
        let leaf = request_leaf(until, &Root::new("lab"), &[offer], random0, false).unwrap();
        place.write("lab.reqs", &record.key.unwrap(), append(&chain, &controller.sign(&leaf)).unwrap()).await;
    }
}

async fn limited_consumers_ask_controllers_only_and_go_as_far_as_they_can(place: &Place) {
    limited(place, NodeRole::ConsumerLimited).await;
}

async fn limited_prodcons_too(place: &Place) {
    limited(place, NodeRole::ProdconLimited).await;
}

async fn limited(place: &Place, role: NodeRole) {
    let fleet = Fleet::new();
    let producer = open(place, &fleet.node("p", NodeRole::Producer, &["lab"])).await;
    let limited = open(place, &fleet.node("c", role, &["lab"])).await;
    let sealed = seal(&producer, "lab.data", b"42");
    let mut message = limited.value_deserializer().deserialize("lab.data", Some(&sealed));
    place.more_than(0, "lab.subs").await;
    assert!(place.records("lab.reqs", 0).await.is_empty());
    control(place, &fleet).await;
    assert_eq!(message.wait(SOON).await.unwrap(), Some(&b"42"[..]));
}

async fn several_producers_of_one_root(place: &Place) {
    let fleet = Fleet::new();
    let mut sealed = Vec::new();
    let mut producers = Vec::new();
    for number in 0..5 {
        let config = fleet.node(&format!("p{number}"), NodeRole::Producer, &["lab"]);
        let producer = open(place, &config).await;
        sealed.push(seal(&producer, "lab.data", format!("from {number}").as_bytes()));
        producers.push(producer);
    }
    let consumer = open(place, &fleet.node("c", NodeRole::Consumer, &["lab"])).await;
    let values = consumer.value_deserializer();
    let mut messages: Vec<_> = sealed.iter().map(|sealed| values.deserialize("lab.data", Some(sealed))).collect();
    for (number, message) in messages.iter_mut().enumerate() {
        assert_eq!(message.wait(SOON).await.unwrap(), Some(format!("from {number}").as_bytes()));
    }
}

async fn many_roots_on_one_node(place: &Place) {
    let fleet = Fleet::new();
    let producer = open(place, &fleet.node("p", NodeRole::Producer, &[])).await;
    let consumer = open(place, &fleet.node("c", NodeRole::Consumer, &[])).await;
    // Apache Kafka takes tens of milliseconds for each topic that is new, and a root has three
    let count = if matches!(place, Place::Memory(_)) { 200 } else { 20 };
    let topics: Vec<String> = (0..count).map(|number| format!("root{number}.data")).collect();
    let start = Instant::now();
    producer.value_serializer().prepare(&topics.iter().map(String::as_str).collect::<Vec<_>>()).unwrap();
    println!("{count} roots made ready: {:?}", start.elapsed());
    let sealed: Vec<Vec<u8>> = topics.iter().map(|topic| seal(&producer, topic, topic.as_bytes())).collect();
    println!("and encrypted under: {:?}", start.elapsed());
    let values = consumer.value_deserializer();
    let mut messages: Vec<_> = topics.iter().zip(&sealed).map(|(t, s)| values.deserialize(t, Some(s))).collect();
    for (topic, message) in topics.iter().zip(&mut messages) {
        assert_eq!(message.wait(SOON).await.unwrap(), Some(topic.as_bytes()));
    }
    println!("and decrypted by a consumer that knew no key: {:?}", start.elapsed());
}

async fn programs_without_tokio(place: &Place) {
    std::thread::scope(|scope| scope.spawn(|| without_tokio(place)).join().unwrap());
}

fn without_tokio(place: &Place) {
    let fleet = Fleet::new();
    let spawn = |name, role| {
        let config = fleet.node(name, role, &["lab"]);
        Node::builder(config).transport(place.transport()).spawn().unwrap()
    };
    let (producer, consumer) = (spawn("p", NodeRole::Producer), spawn("c", NodeRole::Consumer));
    let sealed = seal(&producer, "lab.data", b"42");
    let mut message = consumer.value_deserializer().deserialize("lab.data", Some(&sealed));
    assert_eq!(message.wait_blocking(SOON).unwrap(), Some(&b"42"[..]));
    assert!(producer.health().running && consumer.health().running);
    producer.close_blocking();
    consumer.close_blocking();
    assert!(!producer.health().running);
    spawn_again(&fleet, place);
}

fn spawn_again(fleet: &Fleet, place: &Place) {
    let node = Node::builder(fleet.config("p")).transport(place.transport()).spawn().unwrap();
    drop(node);
    Node::builder(fleet.config("p")).transport(place.transport()).spawn().unwrap();
}

async fn key_topics_with_several_partitions_are_read_all_and_written_at_the_first(place: &Place) {
    let fleet = Fleet::new();
    for topic in ["lab.reqs", "lab.keys", "lab.subs", "chains", "denylist"] {
        place.create_topic(topic, 3).await;
    }
    let producer = open(place, &fleet.node("p", NodeRole::Producer, &["lab"])).await;
    let mut events = producer.events();
    let consumer = open(place, &fleet.node("c", NodeRole::Consumer, &["lab"])).await;
    let sealed = seal(&producer, "lab.data", b"42");
    let several = |event: &Event| matches!(event, Event::SeveralPartitions { topic, count: 3 } if topic == "lab.reqs");
    event(&mut events, several).await;
    assert_eq!(read(&consumer, "lab.data", &sealed).await, b"42");
    for partition in 1..3 {
        assert!(place.records("lab.reqs", partition).await.is_empty());
    }
    // a request that somebody writes to another partition is answered too
    let asked = place.records("lab.reqs", 0).await.remove(0);
    producer.close().await;
    place.trim("lab.reqs", 0).await;
    let producer = open(place, &fleet.config("p")).await;
    let before = place.records("lab.keys", 0).await.len();
    let record = Outgoing::new(asked.key, asked.value).at(asked.timestamp_ms);
    place.transport().produce("lab.reqs", 2, vec![record], SOON).await.unwrap();
    place.more_than(before, "lab.keys").await;
    drop(producer);
}

async fn many_threads_share_one_node_and_no_salt_repeats(place: &Place) {
    let fleet = Fleet::new();
    let node = open(place, &fleet.node("b", NodeRole::Prodcon, &["lab"])).await;
    let work = |number: u8| {
        let serializer = node.value_serializer();
        std::thread::spawn(move || {
            let seal = |_| serializer.serialize("lab.data", Some(&[number])).unwrap().unwrap();
            (0..200).map(seal).collect::<Vec<_>>()
        })
    };
    let threads: Vec<_> = (0..4).map(work).collect();
    let sealed: Vec<Vec<u8>> = threads.into_iter().flat_map(|thread| thread.join().unwrap()).collect();
    // everything before the ciphertext: version, key index, salt
    let heads: std::collections::BTreeSet<&[u8]> = sealed.iter().map(|sealed| &sealed[..56]).collect();
    assert_eq!(heads.len(), 800);
    assert!(sealed.iter().all(|sealed| state(&node, "lab.data", sealed) == State::Cleartext));
}

async fn topics_have_the_names_that_the_config_gives_them(place: &Place) {
    let fleet = Fleet::new();
    let names = |config: &mut kafkacrypto::store::config::NodeConfig| {
        let names = [("topic_separator", "_"), ("topic_suffix_reqs", "_r"), ("topic_suffix_keys", "_k")];
        names
            .into_iter()
            .chain([("topic_suffix_subs", "_s")])
            .for_each(|(name, text)| config.set("", name, text).unwrap());
    };
    let producer = open(place, &fleet.node_with("p", NodeRole::Producer, &["lab"], names)).await;
    let consumer = open(place, &fleet.node_with("c", NodeRole::Consumer, &["lab"], names)).await;
    let sealed = seal(&producer, "lab_data", b"42");
    assert_eq!(read(&consumer, "lab_data", &sealed).await, b"42");
    for topic in ["lab_r", "lab_k", "lab_s"] {
        // a key may be here before the last copy of its request is written
        let end = Instant::now() + SOON;
        while place.records(topic, 0).await.is_empty() {
            assert!(Instant::now() < end, "nothing in {topic}");
            tokio::time::sleep(POLL).await;
        }
    }
}

async fn producers_with_short_indices_share_them_and_both_can_be_read(place: &Place) {
    let fleet = Fleet::new();
    let short =
        |config: &mut kafkacrypto::store::config::NodeConfig| config.set("", "mgmt_long_keyindex", false).unwrap();
    let configs = ["p0", "p1"].map(|name| fleet.node_with(name, NodeRole::Producer, &["lab"], short));
    let consumer = open(place, &fleet.node("c", NodeRole::Consumer, &["lab"])).await;
    let first = open(place, &configs[0]).await;
    let sealed = seal(&first, "lab.data", b"one");
    assert_eq!(read(&consumer, "lab.data", &sealed).await, b"one");
    let second = open(place, &configs[1]).await;
    let theirs = seal(&second, "lab.data", b"two");
    let mut message = consumer.value_deserializer().deserialize("lab.data", Some(&theirs));
    // it may have come already: a producer that starts answers requests of the last minutes
    until("decrypted", || message.retry() == State::Cleartext).await;
    assert_eq!(message.key_index(), Some(&kafkacrypto::keys::KeyIndex::Short(0)));
    assert_eq!(read(&consumer, "lab.data", &sealed).await, b"one");
}
