//! The transports against their contract: the broker in the process, and Apache Kafka where the environment names one.
//!
//! `KAFKACRYPTO_BOOTSTRAP` is a broker in the clear on 127.0.0.1, `KAFKACRYPTO_BOOTSTRAP_SASL` one with PLAIN and SCRAM
//! for user `alice`, password `alice-secret`. Without them the tests that need them print `SKIPPED`, or fail when
//! `KAFKACRYPTO_NO_SKIP` is 1.
#![cfg(feature = "kafka")]

mod contract;
mod proxy;
mod raw;

use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use kafkacrypto::transport::memory::Broker;
use kafkacrypto::transport::rskafka::Rskafka;
use kafkacrypto::transport::{
    FetchFrom, KafkaOptions, OffsetAt, Outgoing, SaslMechanism, Security, Transport, TransportErrorKind,
};
use proxy::Proxy;

const LONG: Duration = Duration::from_secs(20);

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn memory_keeps_the_contract() {
    contract::check(&Broker::new().transport(), &fresh("contract")).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn kafka_keeps_the_contract() {
    let Some(address) = broker("KAFKACRYPTO_BOOTSTRAP") else { return };
    contract::check(&connect(&address).await, &fresh("contract")).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn kafka_keeps_the_contract_with_credentials() {
    let Some(address) = broker("KAFKACRYPTO_BOOTSTRAP_SASL") else { return };
    for mechanism in [SaslMechanism::Plain, SaslMechanism::ScramSha256, SaslMechanism::ScramSha512] {
        let kafka = Rskafka::connect(with_password(&address, mechanism, "alice-secret"), LONG).await.unwrap();
        contract::check(&kafka, &fresh("sasl")).await;
    }
}

#[tokio::test]
async fn a_wrong_password_is_refused_at_once() {
    let Some(address) = broker("KAFKACRYPTO_BOOTSTRAP_SASL") else { return };
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
    let Some(address) = broker("KAFKACRYPTO_BOOTSTRAP_SASL") else { return };
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
    let Some(address) = broker("KAFKACRYPTO_BOOTSTRAP") else { return };
    let (proxy, topic) = (Proxy::start(&address).await, fresh("hole"));
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
    let Some(address) = broker("KAFKACRYPTO_BOOTSTRAP") else { return };
    let (proxy, topic) = (Proxy::start(&address).await, fresh("away"));
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

/// Asking for a topic that isn't there doesn't make it, and says so quickly.
#[tokio::test]
async fn asking_creates_no_topic() {
    let Some(address) = broker("KAFKACRYPTO_BOOTSTRAP") else { return };
    let (kafka, topic) = (connect(&address).await, fresh("absent"));
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
    let Some(address) = broker("KAFKACRYPTO_BOOTSTRAP") else { return };
    let (reader, writer, name) = (connect(&address).await, connect(&address).await, fresh("many"));
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
    let Some(address) = broker("KAFKACRYPTO_BOOTSTRAP") else { return };
    let (kafka, topic) = (connect(&address).await, fresh("refused"));
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
    let Some(address) = broker("KAFKACRYPTO_BOOTSTRAP") else { return };
    let (kafka, topic) = (connect(&address).await, fresh("unreadable"));
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

fn fresh(name: &str) -> String {
    let nanos = SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_nanos();
    format!("transport-{name}-{nanos}")
}

fn broker(variable: &str) -> Option<String> {
    let address = std::env::var(variable).ok().filter(|address| !address.is_empty());
    if address.is_none() {
        assert_ne!(std::env::var("KAFKACRYPTO_NO_SKIP").as_deref(), Ok("1"), "{variable} names no broker");
        println!("SKIPPED: {variable} names no broker");
    }
    address
}
