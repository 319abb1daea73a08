//! What any transport to Apache Kafka must do with a bad network, a dead broker, wrong credentials and many topics.

use std::sync::Arc;
use std::time::{Duration, Instant};

use kafkacrypto::kafka::SaslMechanism;
use kafkacrypto::transport::{FetchFrom, OffsetAt, Transport, TransportError, TransportErrorKind};

use crate::support::Proxy;
use crate::{LONG, contract, now_ms, support, value};

/// How late a busy machine may be; without the deadline it would be four times as long or more.
const LATE: Duration = Duration::from_secs(5);

/// A transport to Apache Kafka that can be made.
pub trait Way: Transport + Clone + std::fmt::Debug {
    /// In the clear, connected.
    fn connect(address: &str, within: Duration) -> impl Future<Output = Result<Self, TransportError>> + Send;
    /// With alice's password, connected.
    fn login(
        address: &str,
        mechanism: SaslMechanism,
        password: &str,
    ) -> impl Future<Output = Result<Self, TransportError>> + Send;
    /// In the clear, not connected yet.
    fn lazy(address: &str) -> Self;
}

async fn connect<W: Way>(address: &str) -> W {
    W::connect(address, LONG).await.unwrap()
}

pub async fn the_contract<W: Way>() {
    let Some(address) = support::bootstrap() else { return };
    contract::check(&connect::<W>(&address).await, &support::fresh("contract")).await;
}

pub async fn the_contract_with_credentials<W: Way>() {
    let Some(address) = support::bootstrap_sasl() else { return };
    for mechanism in [SaslMechanism::Plain, SaslMechanism::ScramSha256, SaslMechanism::ScramSha512] {
        let kafka = W::login(&address, mechanism, "alice-secret").await.unwrap();
        contract::check(&kafka, &support::fresh("sasl")).await;
    }
}

pub async fn a_wrong_password_is_refused_at_once<W: Way>() {
    let Some(address) = support::bootstrap_sasl() else { return };
    for mechanism in [SaslMechanism::Plain, SaslMechanism::ScramSha256, SaslMechanism::ScramSha512] {
        let start = Instant::now();
        let error = W::login(&address, mechanism, "guess").await.unwrap_err();
        assert_eq!(error.kind(), TransportErrorKind::Authentication, "{error}");
        assert!(start.elapsed() < LONG / 2);
        assert!(!error.to_string().contains("guess"));
    }
}

pub async fn no_password_where_one_is_needed_ends_in_time<W: Way>() {
    let Some(address) = support::bootstrap_sasl() else { return };
    let start = Instant::now();
    let error = W::connect(&address, Duration::from_secs(1)).await.unwrap_err();
    // The broker closes the connection when it likes: on a busy machine the second is over before. Ours asks it why.
    let kinds = [TransportErrorKind::Authentication, TransportErrorKind::Unreachable, TransportErrorKind::TimedOut];
    assert!(kinds.contains(&error.kind()), "{error}");
    assert!(start.elapsed() < LATE, "{:?}", start.elapsed());
}

pub async fn nobody_there_ends_in_time<W: Way>() {
    let start = Instant::now();
    let kafka = W::lazy("127.0.0.1:1");
    let error = kafka.topics(Duration::from_millis(300)).await.unwrap_err();
    assert_eq!(error.kind(), TransportErrorKind::Unreachable, "{error}");
    assert!(start.elapsed() < LATE, "{:?}", start.elapsed());
}

pub async fn one_that_never_answers_ends_in_time<W: Way>() {
    let silent = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = silent.local_addr().unwrap().to_string();
    let start = Instant::now();
    let error = W::connect(&address, Duration::from_millis(300)).await.unwrap_err();
    assert_eq!(error.kind(), TransportErrorKind::TimedOut, "{error}");
    assert!(start.elapsed() < LATE, "{:?}", start.elapsed());
}

/// All that was connected goes silent: every call ends in time, and heals with the network.
pub async fn a_black_hole_ends_every_call_in_time_and_heals<W: Way>() {
    let Some(address) = support::bootstrap() else { return };
    let (proxy, topic) = (Proxy::start(&address).await, support::fresh("hole"));
    let kafka = connect::<W>(&proxy.address).await;
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
    assert!(start.elapsed() < short * 6 + LATE, "{:?}", start.elapsed());

    proxy.swallow(false);
    // Behind a record of which nobody knows whether it has arrived, one more may have to be given up.
    if let Err(error) = kafka.produce(&topic, 0, vec![value("two")], LONG).await {
        assert!(error.may_have_arrived(), "{error}");
        kafka.produce(&topic, 0, vec![value("two")], LONG).await.unwrap();
    }
    assert_eq!(contract::read_to_end(&kafka, &topic).await.last().unwrap().value.as_deref(), Some(&b"two"[..]));
}

/// Connections break and the broker is away for a second, while a reader waits and between two produces.
pub async fn a_broker_that_comes_back_is_used_again<W: Way>() {
    let Some(address) = support::bootstrap() else { return };
    let (proxy, topic) = (Proxy::start(&address).await, support::fresh("away"));
    let kafka = connect::<W>(&proxy.address).await;
    kafka.create_topic(&topic, 1, LONG).await.unwrap();
    let (reader, name) = (kafka.clone(), topic.clone());
    let reading = tokio::spawn(async move {
        let from = [FetchFrom::new(name.as_str(), 0, 0)];
        loop {
            match reader.fetch(&from, 1000, LONG, LONG).await.unwrap().remove(0).result {
                Err(error) if error.is_retriable() => {}
                result => return result.unwrap().records.len(),
            }
        }
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
pub async fn a_broker_is_killed_and_started_again<W: Way>() {
    let Some(mut broker) = support::Broker::start() else { return };
    let (kafka, topic) = (connect::<W>(&broker.bootstrap()).await, support::fresh("killed"));
    // A broker that has just started may be slow to say that it has made one.
    while let Err(error) = kafka.create_topic(&topic, 1, LONG).await {
        assert!(error.may_have_arrived(), "{error}");
    }
    let (writer, name) = (kafka.clone(), topic.clone());
    let writing = tokio::spawn(async move {
        let (mut acknowledged, mut unsure) = (Vec::new(), 0);
        for n in 0..200 {
            // A broker that starts again forgets producers whose records are older than a day, by the records' own time.
            let record = value(&n.to_string()).at(now_ms());
            match writer.produce(&name, 0, vec![record], LONG * 3).await {
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

/// Asking for a topic that isn't there doesn't make it, and says so quickly.
pub async fn asking_creates_no_topic<W: Way>() {
    let Some(address) = support::bootstrap() else { return };
    let (kafka, topic) = (connect::<W>(&address).await, support::fresh("absent"));
    let start = Instant::now();
    assert_eq!(kafka.partitions(&topic, LONG).await.unwrap(), None);
    let produced = kafka.produce(&topic, 0, vec![value("x")], LONG).await.unwrap_err();
    assert_eq!(produced.kind(), TransportErrorKind::UnknownTopic);
    let offset = kafka.offset(&topic, 0, OffsetAt::Latest, LONG).await.unwrap_err();
    assert_eq!(offset.kind(), TransportErrorKind::UnknownTopic);
    let fetched = kafka.fetch(&[FetchFrom::new(topic.as_str(), 0, 0)], 1, LONG, LONG).await.unwrap();
    assert_eq!(fetched[0].result.as_ref().unwrap_err().kind(), TransportErrorKind::UnknownTopic);
    assert!(start.elapsed() < LONG, "{:?}", start.elapsed());
    assert_eq!(connect::<W>(&address).await.partitions(&topic, LONG).await.unwrap(), None);
}

/// 200 key topics: news of any of them long before a wait is over, from calls that come again and again.
pub async fn two_hundred_topics_and_still_quick<W: Way>() {
    let Some(address) = support::bootstrap() else { return };
    let (reader, writer, name) = (connect::<W>(&address).await, connect::<W>(&address).await, support::fresh("many"));
    let topics: Vec<Arc<str>> = (0..200).map(|n| format!("{name}.{n}").into()).collect();
    for topic in &topics {
        writer.create_topic(topic, 1, LONG).await.unwrap();
    }
    let mut from: Vec<_> = topics.iter().map(|topic| FetchFrom::new(topic.clone(), 0, 0)).collect();
    let start = Instant::now();
    reader.fetch(&from, 65536, Duration::ZERO, LONG).await.unwrap();
    println!("200 connections, first answers: {:?}", start.elapsed());
    let mut times = Vec::new();
    for n in (0..200).step_by(20) {
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
    println!("produced -> fetched among 200 topics: median {:?}, worst {:?}", times[5], times[9]);
    assert!(times[5] < contract::WAIT / 10, "{times:?}");
}
