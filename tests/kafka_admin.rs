//! Administration against a broker, there and back; and a consumer that is told what to read.
#![cfg(feature = "kafka")]

mod support;

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use kafkacrypto::kafka::{
    Client, Committed, Config, Consumer, ConsumerConfig, Created, ErrorKind, GroupSettings, NewTopic, OffsetAt,
    Producer, ProducerConfig, ProducerRecord, ReaderConfig, Reset, Start, Subscription, TopicPartition,
};

const LONG: Duration = Duration::from_secs(30);

fn client() -> Option<Client> {
    Some(Client::new(Config::new([support::bootstrap()?])).unwrap())
}

async fn write(client: &Client, topic: &str, partition: i32, values: std::ops::Range<i64>) {
    let producer = Producer::new(client, ProducerConfig::new());
    for value in values {
        let record = ProducerRecord::new(topic, value.to_string()).partition(partition);
        producer.send(record).await.unwrap().await.unwrap();
    }
}

/// Reads so many records: the partition and offset of each.
async fn read(consumer: &mut Consumer, records: usize) -> Vec<(i32, i64)> {
    let (mut read, started) = (Vec::new(), Instant::now());
    while read.len() < records {
        assert!(started.elapsed() < LONG, "{read:?}");
        for of in consumer.poll(Duration::from_millis(200)).await.unwrap() {
            assert!(of.error.is_none(), "{:?}", of.error);
            read.extend(of.records.iter().map(|record| (of.partition, record.offset)));
        }
    }
    read.sort_unstable();
    read
}

#[tokio::test]
async fn topics_there_and_back() {
    let Some(client) = client() else { return };
    let topic = support::fresh("admin");
    let wanted = NewTopic::new(&topic).partitions(2).replicas(1).setting("cleanup.policy", "compact");
    assert_eq!(client.create_topic(&wanted, LONG).await.unwrap(), Created::New);
    assert_eq!(client.create_topic(&wanted, LONG).await.unwrap(), Created::Existed);
    let wrong = NewTopic::new(support::fresh("admin")).setting("cleanup.policy", "burn");
    let error = client.create_topic(&wrong, LONG).await.unwrap_err();
    assert!(error.to_string().contains("cleanup.policy"), "{error}");

    let settings = client.topic_settings(&topic, LONG).await.unwrap();
    let policy = &settings["cleanup.policy"];
    assert_eq!((policy.value.as_deref(), policy.own), (Some("compact"), true));
    assert!(!settings["retention.ms"].own, "that is the broker's");
    let change = |name, value| [(name, value)].into();
    let day = change("retention.ms", Some("86400000"));
    client.set_topic_settings(&topic, &day, LONG).await.unwrap();
    client.set_topic_settings(&topic, &change("cleanup.policy", Some("delete")), LONG).await.unwrap();
    let changed = async |name: &'static str, value: &'static str, own: bool| {
        // Another broker, or the same one a little later.
        let started = Instant::now();
        loop {
            let settings = client.topic_settings(&topic, LONG).await.unwrap();
            let found = (settings[name].value.as_deref(), settings[name].own);
            if found == (Some(value), own) {
                return;
            }
            assert!(started.elapsed() < LONG, "{name}: {found:?}");
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    };
    changed("cleanup.policy", "delete", true).await;
    changed("retention.ms", "86400000", true).await;
    client.set_topic_settings(&topic, &change("retention.ms", None), LONG).await.unwrap();
    changed("retention.ms", settings["retention.ms"].value.clone().unwrap().leak(), false).await;
    assert!(client.set_topic_settings(&topic, &change("no.such", Some("1")), LONG).await.is_err());

    client.add_partitions(&topic, 5, LONG).await.unwrap();
    let described = client.describe(Some(&[&topic]), LONG).await.unwrap();
    assert_eq!(described.topics[0].partitions.len(), 5);
    assert!(client.add_partitions(&topic, 3, LONG).await.is_err(), "there are no fewer");
    write(&client, &topic, 4, 0..10).await;
    let last = TopicPartition::new(topic.as_str(), 4);
    let left = client.delete_records(&[(last.clone(), 7)].into(), LONG).await.unwrap();
    assert_eq!(left, BTreeMap::from([(last.clone(), 7)]));
    let error = client.delete_records(&[(last.clone(), 99)].into(), LONG).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::OffsetOutOfRange);
    let mut consumer = Consumer::new(&client, ConsumerConfig::alone());
    consumer.assign(&[(last, Start::At(OffsetAt::Earliest))]);
    assert_eq!(read(&mut consumer, 3).await, [(4, 7), (4, 8), (4, 9)]);
    drop(consumer);

    assert!(client.delete_topic(&topic, LONG).await.unwrap());
    let started = Instant::now();
    while !client.describe(Some(&[&topic]), LONG).await.unwrap().topics.is_empty() {
        assert!(started.elapsed() < LONG, "it is still there");
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    assert!(!client.delete_topic(&topic, LONG).await.unwrap(), "there is none");
    let error = client.topic_settings(&topic, LONG).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::UnknownTopic);
}

#[tokio::test]
async fn groups_there_and_back() {
    let Some(client) = client() else { return };
    let (topic, group) = (support::fresh("admin-group"), support::fresh("admin-group"));
    client.create_topic(&NewTopic::new(&topic).partitions(1), LONG).await.unwrap();
    write(&client, &topic, 0, 0..1).await;
    let config = ConsumerConfig::in_group(GroupSettings::new(&group));
    let mut consumer = Consumer::new(&client, config.reader(ReaderConfig::default().reset(Reset::Earliest)));
    consumer.subscribe(Subscription::topics([&topic]).unwrap()).unwrap();
    read(&mut consumer, 1).await;
    let found = async || {
        let groups = client.groups(LONG).await.unwrap();
        groups.into_iter().find(|found| found.id == group).map(|found| (found.protocol, found.state))
    };
    assert_eq!(found().await, Some(("consumer".to_owned(), "Stable".to_owned())));
    assert!(client.delete_group(&group, LONG).await.is_err(), "it has a member");
    consumer.close().await.unwrap();
    assert_eq!(found().await, Some(("consumer".to_owned(), "Empty".to_owned())));
    client.delete_group(&group, LONG).await.unwrap();
    assert_eq!(found().await, None);
    assert!(client.delete_group(&group, LONG).await.is_err(), "there is none");
}

/// Topics that match an expression are read, also one that comes later; what doesn't match isn't.
#[tokio::test]
async fn an_expression_finds_topics_that_come_later() {
    let Some(address) = support::bootstrap() else { return };
    let client = Client::new(Config::new([address]).metadata_max_age(Duration::from_millis(300))).unwrap();
    let name = support::fresh("pattern");
    let topic = |what: &str| format!("{name}.{what}");
    for what in ["one", "else"] {
        client.create_topic(&NewTopic::new(topic(what)).partitions(1), LONG).await.unwrap();
        write(&client, &topic(what), 0, 0..1).await;
    }
    let config = ConsumerConfig::in_group(GroupSettings::new(&name).heartbeat_interval(Duration::from_millis(300)));
    let mut consumer = Consumer::new(&client, config.reader(ReaderConfig::default().reset(Reset::Earliest)));
    consumer.subscribe(Subscription::topics([format!("^{}\\.(one|two)$", regex::escape(&name))]).unwrap()).unwrap();
    read(&mut consumer, 1).await;
    client.create_topic(&NewTopic::new(topic("two")).partitions(3), LONG).await.unwrap();
    write(&client, &topic("two"), 2, 0..2).await;
    assert_eq!(read(&mut consumer, 2).await, [(2, 0), (2, 1)]);
    let topics: Vec<_> = consumer.positions().into_keys().map(|of| of.topic.to_string()).collect();
    assert_eq!(topics, [topic("one"), topic("two"), topic("two"), topic("two")]);
    consumer.close().await.unwrap();
}

#[tokio::test]
async fn a_consumer_goes_where_it_is_told() {
    let Some(client) = client() else { return };
    let (topic, group) = (support::fresh("told"), support::fresh("told"));
    client.create_topic(&NewTopic::new(&topic).partitions(2), LONG).await.unwrap();
    for partition in 0..2 {
        write(&client, &topic, partition, 0..5).await;
    }
    let [first, second] = [0, 1].map(|number| TopicPartition::new(topic.as_str(), number));

    // Alone: no group, no commits.
    let mut consumer = Consumer::new(&client, ConsumerConfig::alone());
    assert_eq!(consumer.subscribe(Subscription::topics([&topic]).unwrap()).unwrap_err().kind(), ErrorKind::Config);
    assert_eq!(consumer.commit().await.unwrap_err().kind(), ErrorKind::Config);
    assert!(consumer.resume_from_group(std::slice::from_ref(&first)).await.is_err());
    consumer.assign(&[(first.clone(), Start::Offset(3)), (second.clone(), Start::Offset(4))]);
    assert_eq!(read(&mut consumer, 3).await, [(0, 3), (0, 4), (1, 4)]);
    assert_eq!(consumer.positions(), [(first.clone(), Some(5)), (second.clone(), Some(5))].into());

    // Back, and with one of them standing still.
    consumer.pause(std::slice::from_ref(&second));
    consumer.seek(&first, Start::Offset(2));
    consumer.seek(&second, Start::At(OffsetAt::Earliest));
    assert_eq!(read(&mut consumer, 3).await, [(0, 2), (0, 3), (0, 4)]);
    assert!(consumer.poll(Duration::from_millis(500)).await.unwrap().is_empty(), "it is paused");
    assert!(consumer.positions().contains_key(&second), "and stays ours");
    consumer.resume(std::slice::from_ref(&second));
    assert_eq!(read(&mut consumer, 5).await, [(1, 0), (1, 1), (1, 2), (1, 3), (1, 4)]);
    consumer.close().await.unwrap();

    // From where the group left off; where it hasn't been, from the beginning.
    client.commit(&group, &[(first.clone(), Committed::at(4))].into(), LONG).await.unwrap();
    let config = ConsumerConfig::in_group(GroupSettings::new(&group)).auto_commit(None);
    let mut consumer = Consumer::new(&client, config.reader(ReaderConfig::default().reset(Reset::Earliest)));
    consumer.resume_from_group(&[first.clone(), second.clone()]).await.unwrap();
    assert_eq!(read(&mut consumer, 6).await, [(0, 4), (1, 0), (1, 1), (1, 2), (1, 3), (1, 4)]);
    consumer.commit().await.unwrap();
    consumer.close().await.unwrap();
    let committed = client.committed(&group, &[], LONG).await.unwrap();
    assert_eq!(committed.values().map(|committed| committed.offset).collect::<Vec<_>>(), [5, 5]);
}

/// A member whose program ends without a goodbye: another one has everything once its session is over.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_member_of_ours_that_dies_is_missed() {
    let Some(address) = support::bootstrap() else { return };
    let (topic, group) = (support::fresh("dies"), support::fresh("dies"));
    let other = Client::new(Config::new([&address])).unwrap();
    other.create_topic(&NewTopic::new(&topic).partitions(4), LONG).await.unwrap();
    for partition in 0..4 {
        write(&other, &topic, partition, 0..1).await;
    }
    let proxy = support::Proxy::start(&address).await;
    let member = |client: &Client| {
        let settings = GroupSettings::new(&group).session_timeout(Duration::from_secs(6));
        let config = ConsumerConfig::in_group(settings.heartbeat_interval(Duration::from_millis(300)));
        let config = config.auto_commit(None).reader(ReaderConfig::default().reset(Reset::Earliest));
        let mut consumer = Consumer::new(client, config);
        consumer.subscribe(Subscription::topics([&topic]).unwrap()).unwrap();
        consumer
    };
    let mut dying = member(&Client::new(Config::new([&proxy.address])).unwrap());
    read(&mut dying, 4).await;
    // Nothing that it says any more gets out, as with a program that is killed.
    proxy.refuse(true);
    let died = Instant::now();
    drop(dying);
    let mut heir = member(&other);
    assert_eq!(read(&mut heir, 4).await, [(0, 0), (1, 0), (2, 0), (3, 0)]);
    println!("its partitions are read again {:?} after it died", died.elapsed());
    assert!(died.elapsed() > Duration::from_secs(3), "it was missed, and said nothing");
    heir.close().await.unwrap();
}
