//! The transports against their contract: the broker in the process, and Apache Kafka where the environment names one.
//!
#![cfg(feature = "kafka")]

mod contract;
mod proxy;
mod raw;
#[path = "../support/mod.rs"]
mod support;

use std::sync::Arc;
use std::time::{Duration, Instant};

use kafkacrypto::transport::memory::Broker;
use kafkacrypto::transport::rskafka::Rskafka;
use kafkacrypto::transport::{
    FetchFrom, KafkaOptions, OffsetAt, Outgoing, SaslMechanism, Security, Transport, TransportErrorKind,
};
use proxy::Proxy;

const LONG: Duration = Duration::from_secs(20);

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn memory_keeps_the_contract() {
    contract::check(&Broker::new().transport(), &support::fresh("contract")).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn kafka_keeps_the_contract() {
    let Some(address) = support::bootstrap() else { return };
    contract::check(&connect(&address).await, &support::fresh("contract")).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn kafka_keeps_the_contract_with_credentials() {
    let Some(address) = support::bootstrap_sasl() else { return };
    for mechanism in [SaslMechanism::Plain, SaslMechanism::ScramSha256, SaslMechanism::ScramSha512] {
        let kafka = Rskafka::connect(with_password(&address, mechanism, "alice-secret"), LONG).await.unwrap();
        contract::check(&kafka, &support::fresh("sasl")).await;
    }
}

#[tokio::test]
async fn a_wrong_password_is_refused_at_once() {
    let Some(address) = support::bootstrap_sasl() else { return };
    for mechanism in [SaslMechanism::Plain, SaslMechanism::ScramSha256, SaslMechanism::ScramSha512] {
        let start = Instant::now();
        let error = Rskafka::connect(with_password(&address, mechanism, "guess"), LONG).await.unwrap_err();
        assert_eq!(error.kind(), TransportErrorKind::Authentication, "{error}");
        assert!(start.elapsed() < LONG / 2);
        assert!(!error.to_string().contains("guess"));
    }
}

#[tokio::test]
async fn no_password_where_one_is_needed_ends_in_time() {
    let Some(address) = support::bootstrap_sasl() else { return };
    let start = Instant::now();
    let error = Rskafka::connect(KafkaOptions::new([&address]), Duration::from_secs(1)).await.unwrap_err();
    assert_eq!(error.kind(), TransportErrorKind::Unreachable, "{error}");
    assert!(start.elapsed() < Duration::from_secs(2));
}

#[tokio::test]
async fn nobody_there_ends_in_time() {
    let start = Instant::now();
    let kafka = Rskafka::lazy(KafkaOptions::new(["127.0.0.1:1"]));
    let error = kafka.topics(Duration::from_millis(300)).await.unwrap_err();
    assert_eq!(error.kind(), TransportErrorKind::Unreachable, "{error}");
    assert!(start.elapsed() < Duration::from_secs(2));
}

#[tokio::test]
async fn one_that_never_answers_ends_in_time() {
    let silent = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let options = KafkaOptions::new([silent.local_addr().unwrap().to_string()]);
    let start = Instant::now();
    let error = Rskafka::connect(options, Duration::from_millis(300)).await.unwrap_err();
    assert_eq!(error.kind(), TransportErrorKind::TimedOut, "{error}");
    assert!(start.elapsed() < Duration::from_secs(2));
}

/// All that was connected goes silent: every call ends in time, and heals with the network.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_black_hole_ends_every_call_in_time_and_heals() {
    let Some(address) = support::bootstrap() else { return };
    let (proxy, topic) = (Proxy::start(&address).await, support::fresh("hole"));
    let kafka = connect(&proxy.address).await;
    kafka.create_topic(&topic, 1, LONG).await.unwrap();
    kafka.produce(&topic, 0, vec![value("one")], LONG).await.unwrap();
    let from = [FetchFrom::new(topic.as_str(), 0, 0)];
    assert_eq!(kafka.fetch(&from, 1000, LONG, LONG).await.unwrap().len(), 1);

    proxy.swallow(true);
    let short = Duration::from_millis(400);
    let start = Instant::now();
    let end = [FetchFrom::new(topic.as_str(), 0, 1)];
    let fetched = kafka.fetch(&end, 1000, Duration::ZERO, short).await;
    let error = fetched.and_then(|fetched| fetched.into_iter().next().unwrap().result).unwrap_err();
    assert_eq!(error.kind(), TransportErrorKind::TimedOut, "{error}");
    for error in [
        kafka.produce(&topic, 0, vec![value("x")], short).await.unwrap_err(),
        kafka.offset(&topic, 0, OffsetAt::Latest, short).await.unwrap_err(),
        kafka.topics(short).await.unwrap_err(),
        kafka.partitions(&topic, short).await.unwrap_err(),
        kafka.create_topic(&topic, 1, short).await.unwrap_err(),
    ] {
        assert_eq!(error.kind(), TransportErrorKind::TimedOut, "{error}");
    }
    assert!(start.elapsed() < short * 12, "{:?}", start.elapsed());

    proxy.swallow(false);
    kafka.produce(&topic, 0, vec![value("two")], LONG).await.unwrap();
    assert_eq!(contract::read_to_end(&kafka, &topic).await.last().unwrap().value.as_deref(), Some(&b"two"[..]));
}

/// Connections break and the broker is away for a second, while a reader waits and between two produces.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_broker_that_comes_back_is_used_again() {
    let Some(address) = support::bootstrap() else { return };
    let (proxy, topic) = (Proxy::start(&address).await, support::fresh("away"));
    let kafka = connect(&proxy.address).await;
    kafka.create_topic(&topic, 1, LONG).await.unwrap();
    let (reader, name) = (kafka.clone(), topic.clone());
    let reading = tokio::spawn(async move {
        let from = [FetchFrom::new(name.as_str(), 0, 0)];
        reader.fetch(&from, 1000, LONG, LONG).await.unwrap().remove(0).result.unwrap().records.len()
    });
    tokio::time::sleep(Duration::from_millis(300)).await;
    proxy.refuse(true);
    tokio::time::sleep(Duration::from_secs(1)).await;
    proxy.refuse(false);
    assert_eq!(kafka.produce(&topic, 0, vec![value("after")], LONG).await.unwrap(), [0]);
    assert_eq!(reading.await.unwrap(), 1);
    // Broken while idle: sent once, not lost and not doubled.
    tokio::time::sleep(Duration::from_millis(400)).await;
    proxy.cut();
    assert_eq!(kafka.produce(&topic, 0, vec![value("again")], LONG).await.unwrap(), [1]);
    assert_eq!(contract::read_to_end(&kafka, &topic).await.len(), 2);
}

/// A real crash, while records are sent one by one: what was acknowledged is there once, in order.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_broker_is_killed_and_started_again() {
    let Some(mut broker) = support::Broker::start() else { return };
    let (kafka, topic) = (connect(&broker.bootstrap()).await, support::fresh("killed"));
    kafka.create_topic(&topic, 1, LONG).await.unwrap();
    let (writer, name) = (kafka.clone(), topic.clone());
    let writing = tokio::spawn(async move {
        let (mut acknowledged, mut unsure) = (Vec::new(), 0);
        for n in 0..200 {
            match writer.produce(&name, 0, vec![value(&n.to_string())], LONG * 3).await {
                Ok(_) => acknowledged.push(n.to_string()),
                Err(error) if error.may_have_arrived() => unsure += 1,
                Err(error) => panic!("{error}"),
            }
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
        (acknowledged, unsure)
    });
    tokio::time::sleep(Duration::from_millis(500)).await;
    let broker = tokio::task::spawn_blocking(move || {
        broker.kill();
        broker.restart();
        broker
    });
    let broker = broker.await.unwrap();
    let (acknowledged, unsure) = writing.await.unwrap();
    let read = contract::read_to_end(&kafka, &topic).await;
    let read: Vec<_> = read.into_iter().map(|record| String::from_utf8(record.value.unwrap()).unwrap()).collect();
    println!("{} acknowledged, {unsure} unsure, {} there", acknowledged.len(), read.len());
    assert!(unsure <= 1 && acknowledged.iter().all(|text| read.contains(text)));
    assert!(read.iter().all(|text| read.iter().filter(|other| *other == text).count() == 1));
    drop(broker);
}

/// What librdkafka writes: the ends of transactions and zstd are passed over, gzip and snappy are read.
#[tokio::test]
async fn what_others_write_is_read_or_passed_over() {
    let Some(address) = support::bootstrap() else { return };
    let Some(_) = support::python() else { return };
    let (kafka, topic) = (connect(&address).await, support::fresh("others"));
    kafka.create_topic(&topic, 1, LONG).await.unwrap();
    let python = std::env::var("KAFKACRYPTO_PEER_PYTHON").unwrap();
    let mut wrote = std::process::Command::new(python);
    assert!(wrote.args(["-c", include_str!("others.py"), &address, &topic]).status().unwrap().success());
    let end = kafka.offset(&topic, 0, OffsetAt::Latest, LONG).await.unwrap();
    let (mut next, mut read, mut skipped) = (0, Vec::new(), Vec::new());
    while next < end {
        let batch = contract::until_news(&kafka, &[FetchFrom::new(topic.as_str(), 0, next)]).await;
        read.extend(batch.records.iter().map(|record| record.value.clone().unwrap()[..4].to_vec()));
        skipped.extend(batch.skipped.iter().map(|skipped| skipped.offset));
        next = batch.next;
    }
    // A record of an aborted transaction is data to this client.
    let expected = [(1, "kept"), (1, "drop"), (50, "zipp"), (50, "snap")];
    let expected = expected.into_iter().flat_map(|(n, text)| std::iter::repeat_n(text.as_bytes().to_vec(), n));
    assert_eq!(read, expected.collect::<Vec<_>>());
    assert_eq!(skipped, [1].into_iter().chain(3..54).collect::<Vec<_>>());
}

/// Asking for a topic that isn't there doesn't make it, and says so quickly.
#[tokio::test]
async fn asking_creates_no_topic() {
    let Some(address) = support::bootstrap() else { return };
    let (kafka, topic) = (connect(&address).await, support::fresh("absent"));
    let start = Instant::now();
    assert_eq!(kafka.partitions(&topic, LONG).await.unwrap(), None);
    let produced = kafka.produce(&topic, 0, vec![value("x")], LONG).await.unwrap_err();
    assert_eq!(produced.kind(), TransportErrorKind::UnknownTopic);
    let offset = kafka.offset(&topic, 0, OffsetAt::Latest, LONG).await.unwrap_err();
    assert_eq!(offset.kind(), TransportErrorKind::UnknownTopic);
    let fetched = kafka.fetch(&[FetchFrom::new(topic.as_str(), 0, 0)], 1, LONG, LONG).await.unwrap();
    assert_eq!(fetched[0].result.as_ref().unwrap_err().kind(), TransportErrorKind::UnknownTopic);
    assert!(start.elapsed() < Duration::from_secs(5));
    assert_eq!(connect(&address).await.partitions(&topic, LONG).await.unwrap(), None);
}

/// 200 key topics: one connection each, news of any of them within milliseconds, from calls that come again and again.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn two_hundred_topics_and_still_quick() {
    let Some(address) = support::bootstrap() else { return };
    let (reader, writer, name) = (connect(&address).await, connect(&address).await, support::fresh("many"));
    let topics: Vec<Arc<str>> = (0..200).map(|n| format!("{name}.{n}").into()).collect();
    for topic in &topics {
        writer.create_topic(topic, 1, LONG).await.unwrap();
    }
    let mut from: Vec<_> = topics.iter().map(|topic| FetchFrom::new(topic.clone(), 0, 0)).collect();
    let start = Instant::now();
    reader.fetch(&from, 65536, Duration::ZERO, LONG).await.unwrap();
    println!("200 connections, first answers: {:?}", start.elapsed());
    let mut times = Vec::new();
    for n in (0..200).step_by(10) {
        let (other, list) = (reader.clone(), from.clone());
        let waiting = tokio::spawn(async move { contract::until_news(&other, &list).await });
        tokio::time::sleep(Duration::from_millis(100)).await;
        writer.produce(&topics[n], 0, vec![value("first")], LONG).await.unwrap();
        tokio::time::sleep(Duration::from_millis(300)).await;
        from[n].offset = waiting.await.unwrap().next;

        let (other, list) = (reader.clone(), from.clone());
        let waiting = tokio::spawn(async move { (contract::until_news(&other, &list).await, Instant::now()) });
        tokio::time::sleep(Duration::from_millis(50)).await;
        let start = Instant::now();
        writer.produce(&topics[n], 0, vec![value("second")], LONG).await.unwrap();
        let (batch, seen) = waiting.await.unwrap();
        from[n].offset = batch.next;
        times.push(seen.duration_since(start));
    }
    times.sort();
    println!("produced -> fetched among 200 topics: median {:?}, worst {:?}", times[10], times[19]);
    assert!(times[10] < Duration::from_millis(200), "{times:?}");
}

/// What the client can't write is refused before anything is sent.
#[tokio::test]
async fn what_cannot_be_sent_is_refused_whole() {
    let Some(address) = support::bootstrap() else { return };
    let (kafka, topic) = (connect(&address).await, support::fresh("refused"));
    kafka.create_topic(&topic, 1, LONG).await.unwrap();
    let header = |value: Option<Vec<u8>>| ("name".to_owned(), value);
    let null = Outgoing { headers: vec![header(None)], ..value("x") };
    let twice = Outgoing { headers: vec![header(Some(vec![1])), header(Some(vec![2]))], ..value("x") };
    let far = value("x").at(i64::MAX);
    let big = Outgoing::new(None, Some(vec![0; 2_000_000]));
    for (record, kind) in [
        (null, TransportErrorKind::Unsupported),
        (twice, TransportErrorKind::Unsupported),
        (far, TransportErrorKind::Unsupported),
        (big, TransportErrorKind::TooLarge),
    ] {
        let error = kafka.produce(&topic, 0, vec![value("fine"), record], LONG).await.unwrap_err();
        assert_eq!(error.kind(), kind, "{error}");
    }
    let trusting = KafkaOptions::new([&address]).max_request_bytes(10_000_000);
    let trusting = Rskafka::connect(trusting, LONG).await.unwrap();
    let big = Outgoing::new(None, Some(vec![0; 2_000_000]));
    let error = trusting.produce(&topic, 0, vec![big], LONG).await.unwrap_err();
    assert_eq!(error.kind(), TransportErrorKind::TooLarge, "{error}");
    assert_eq!(kafka.offset(&topic, 0, OffsetAt::Latest, LONG).await.unwrap(), 0);
}

/// Batches that this client can't read are passed over, each offset is reported, and all others arrive.
#[tokio::test]
async fn what_cannot_be_read_is_passed_over_and_reported() {
    let Some(address) = support::bootstrap() else { return };
    let (kafka, topic) = (connect(&address).await, support::fresh("unreadable"));
    kafka.create_topic(&topic, 1, LONG).await.unwrap();
    raw::produce(&address, &topic, &["a", "b", "c"], raw::Shape::NullHeader).await;
    kafka.produce(&topic, 0, vec![value("d")], LONG).await.unwrap();
    raw::produce(&address, &topic, &["e"; 300], raw::Shape::Lz4).await;
    kafka.produce(&topic, 0, vec![value("f")], LONG).await.unwrap();
    raw::produce(&address, &topic, &["g"], raw::Shape::NullHeader).await;

    let (mut next, mut read, mut skipped, mut calls) = (0, Vec::new(), Vec::new(), 0);
    while next < 306 {
        let fetched = kafka.fetch(&[FetchFrom::new(topic.as_str(), 0, next)], 1 << 20, LONG, LONG).await.unwrap();
        let batch = fetched.into_iter().next().unwrap().result.unwrap();
        assert!(batch.next > next && batch.end == 306, "{batch:?}");
        read.extend(batch.records.iter().map(|record| record.offset));
        skipped.extend(batch.skipped.iter().map(|skipped| skipped.offset));
        assert!(batch.skipped.iter().all(|skipped| skipped.reason.contains("can't read")));
        (next, calls) = (batch.next, calls + 1);
    }
    assert_eq!(read, [3, 304]);
    assert_eq!(skipped, (0..3).chain(4..304).chain([305]).collect::<Vec<_>>());
    assert!(calls < 10, "{calls} calls");
    // And then it waits, instead of asking over and over.
    let start = Instant::now();
    let wait = Duration::from_millis(300);
    let fetched = kafka.fetch(&[FetchFrom::new(topic.as_str(), 0, next)], 1 << 20, wait, LONG).await.unwrap();
    assert_eq!(fetched[0].result.as_ref().unwrap().next, 306);
    assert!(start.elapsed() >= wait - Duration::from_millis(30));
}

async fn connect(address: &str) -> Rskafka {
    Rskafka::connect(KafkaOptions::new([address]), LONG).await.unwrap()
}

fn with_password(address: &str, mechanism: SaslMechanism, password: &str) -> KafkaOptions {
    let (username, password) = ("alice".to_owned(), password.to_owned());
    KafkaOptions::new([address]).security(Security::SaslPlaintext { mechanism, username, password })
}

fn value(text: &str) -> Outgoing {
    Outgoing::new(None, Some(text.as_bytes().to_vec())).at(1_700_000_000_000)
}
