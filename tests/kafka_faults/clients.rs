//! Cuts where clients log on, look around and read on; how many connections they have; and what administers, through a
//! black hole.

use std::time::{Duration, Instant};

use kafkacrypto::kafka::{
    Client, Committed, Config, Consumer, ConsumerConfig, Error, GroupSettings, Isolation, Most, NewTopic, OffsetAt,
    Producer, ProducerConfig, ProducerRecord, Reader, ReaderConfig, SaslMechanism, SecurityProtocol, Start,
    Subscription, TopicPartition, Unread,
};

use crate::support::{self, Proxy};
use crate::{FETCH, GRACE, LONG, config, cut_everywhere};

const SASL_HANDSHAKE: i16 = 17;
const SASL_AUTHENTICATE: i16 = 36;

/// A client that logs on gets in, wherever that breaks off; with SCRAM in both rounds.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn logging_on_cut_at_every_byte() {
    let Some(address) = support::bootstrap_sasl() else { return };
    let proxy = Proxy::start(&address).await;
    for (mechanism, api, whole) in [
        (SaslMechanism::Plain, SASL_HANDSHAKE, 0),
        (SaslMechanism::Plain, SASL_AUTHENTICATE, 0),
        (SaslMechanism::ScramSha256, SASL_AUTHENTICATE, 0),
        (SaslMechanism::ScramSha256, SASL_AUTHENTICATE, 1),
    ] {
        let secured = || {
            config(&proxy.address)
                .security_protocol(SecurityProtocol::SaslPlaintext)
                .sasl_mechanism(mechanism)
                .sasl_plain_username("alice")
                .sasl_plain_password("alice-secret")
        };
        let log_on = async || {
            let client = Client::new(secured()).unwrap();
            assert_eq!(client.describe(Some(&[]), LONG).await.unwrap().brokers.len(), 1);
        };
        cut_everywhere(&proxy, api, whole, log_on).await;
    }
}

/// The answers of a fetch session, which have only what is new: each record is read once and in order.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn incremental_fetches_cut_at_every_byte() {
    const PARTITIONS: i32 = 20;
    let Some(address) = support::bootstrap() else { return };
    let (proxy, topic) = (Proxy::start(&address).await, support::fresh("cut-session"));
    let direct = Client::new(Config::new([&address])).unwrap();
    direct.create_topic(&NewTopic::new(&topic).partitions(PARTITIONS), LONG).await.unwrap();
    let producer = Producer::new(&direct, ProducerConfig::new().linger(Duration::ZERO));
    let mut reader = Reader::new(&Client::new(config(&proxy.address)).unwrap(), ReaderConfig::default());
    let partition = |number| (TopicPartition::new(topic.as_str(), number), Start::At(OffsetAt::Earliest));
    reader.assign(&(0..PARTITIONS).map(partition).collect::<Vec<_>>());
    let mut sent = 0_i64;
    let mut one_more = async |reader: &mut Reader| {
        let record = ProducerRecord::new(topic.as_str(), sent.to_string()).partition(7);
        let delivered = producer.send(record).await.unwrap().await.unwrap();
        assert_eq!(delivered.offset, Some(sent));
        let until = Instant::now() + LONG;
        let fetched = loop {
            let mut fetched = reader.next(Most::default(), LONG).await;
            fetched.retain(|of| !of.records.is_empty() || of.error.is_some());
            assert!(Instant::now() < until, "record {sent} never came");
            if !fetched.is_empty() {
                break fetched;
            }
        };
        assert!(fetched.iter().all(|of| of.error.is_none()), "{fetched:?}");
        let offsets: Vec<_> = fetched.iter().flat_map(|of| &of.records).map(|record| record.offset).collect();
        assert_eq!(offsets, [sent], "once, and in order");
        sent += 1;
    };
    let length = cut_everywhere(&proxy, FETCH, 1, async || {
        // A session begins with what all partitions have; this one ends that.
        one_more(&mut reader).await;
        one_more(&mut reader).await;
        one_more(&mut reader).await;
    })
    .await;
    // An answer that begins a session names all partitions.
    assert!(length < 300, "{length} bytes: of a session that goes on");
}

/// Whatever a client does at the same time, a broker has two connections of it: one for what it answers at once, one
/// for what it holds back.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_broker_has_two_connections_of_a_client() {
    const RECORDS: usize = 300;
    let Some(address) = support::bootstrap() else { return };
    let (proxy, topic) = (Proxy::start(&address).await, support::fresh("two"));
    let client = Client::new(config(&proxy.address)).unwrap();
    client.create_topic(&NewTopic::new(&topic).partitions(3), LONG).await.unwrap();
    let partitions: Vec<_> = (0..3).map(|number| TopicPartition::new(topic.as_str(), number)).collect();
    let write = async {
        let producer = Producer::new(&client, ProducerConfig::new().linger(Duration::ZERO));
        for n in 0..RECORDS {
            let record = ProducerRecord::new(topic.as_str(), n.to_string()).partition(n as i32 % 3);
            producer.send(record).await.unwrap().await.unwrap();
        }
    };
    // The long polls of one go on while the others ask.
    let read = async |count: usize| {
        let mut reader = Reader::new(&client, ReaderConfig::default());
        let start = |of: &TopicPartition| (of.clone(), Start::At(OffsetAt::Earliest));
        reader.assign(&partitions.iter().map(start).collect::<Vec<_>>());
        let mut got = 0;
        while got < count {
            let fetched = reader.next(Most::default(), LONG).await;
            got += fetched.iter().map(|of| of.records.len()).sum::<usize>();
        }
    };
    let in_group = async {
        let settings = ConsumerConfig::in_group(GroupSettings::new(&topic)).unread(Unread::At(OffsetAt::Earliest));
        let mut consumer = Consumer::new(&client, settings);
        consumer.subscribe(Subscription::topics([&topic]).unwrap()).unwrap();
        let mut got = 0;
        while got < RECORDS {
            let fetched = consumer.poll(LONG).await.unwrap();
            got += fetched.iter().map(|of| of.records.len()).sum::<usize>();
        }
        consumer.close().await.unwrap();
    };
    let look = async {
        for n in 0..50 {
            client.describe(Some(&[&topic]), LONG).await.unwrap();
            client.offset(&partitions[n % 3], OffsetAt::Latest, Isolation::Committed, LONG).await.unwrap();
            client.groups(LONG).await.unwrap();
        }
    };
    tokio::join!(write, read(RECORDS), read(RECORDS), in_group, look);
    assert_eq!(proxy.connections(), (2, 2), "at once, and ever");
}

/// Whatever is asked, nothing takes longer than it may; and all of it works soon after.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn administration_through_a_black_hole() {
    let Some(address) = support::bootstrap() else { return };
    let (proxy, topic, group) = (Proxy::start(&address).await, support::fresh("hole"), support::fresh("hole-group"));
    let client = Client::new(config(&proxy.address)).unwrap();
    client.create_topic(&NewTopic::new(&topic).partitions(1), LONG).await.unwrap();
    let partition = TopicPartition::new(topic.as_str(), 0);
    client.commit(&group, &[(partition.clone(), Committed::at(0))].into(), LONG).await.unwrap();
    for hold in [false, true] {
        match hold {
            true => proxy.hold(true),
            false => proxy.swallow(true),
        }
        each_kind(&client, &topic, &partition, &group, Duration::from_millis(500)).await;
        proxy.hold(false);
        proxy.swallow(false);
        client.describe(Some(&[&topic]), LONG).await.unwrap();
        client.topic_settings(&topic, LONG).await.unwrap();
        assert_eq!(client.committed(&group, &[], LONG).await.unwrap()[&partition], Committed::at(0));
    }
}

async fn each_kind(client: &Client, topic: &str, partition: &TopicPartition, group: &str, within: Duration) {
    fn late<T>(what: &str, start: Instant, result: Result<T, Error>) {
        assert!(result.is_err(), "{what} worked");
        assert!(start.elapsed() < Duration::from_millis(500) + GRACE, "{what}: {:?}", start.elapsed());
    }
    let now = Instant::now;
    let (settings, offset) = ([("retention.ms", Some("1000000"))].into(), [(partition.clone(), 0)].into());
    late("describe", now(), client.describe(None, within).await);
    late("create_topic", now(), client.create_topic(&NewTopic::new(topic), within).await);
    late("delete_topic", now(), client.delete_topic("no-such-topic", within).await);
    late("add_partitions", now(), client.add_partitions(topic, 1, within).await);
    late("topic_settings", now(), client.topic_settings(topic, within).await);
    late("set_topic_settings", now(), client.set_topic_settings(topic, &settings, within).await);
    late("delete_records", now(), client.delete_records(&offset, within).await);
    late("groups", now(), client.groups(within).await);
    late("delete_group", now(), client.delete_group("no-such-group", within).await);
    late("committed", now(), client.committed(group, &[], within).await);
    let zero = [(partition.clone(), Committed::at(0))].into();
    late("commit", now(), client.commit(group, &zero, within).await);
}
