//! The transport by way of the crate rskafka: what is the same as ours, and what it can't do.

use std::time::{Duration, Instant};

use kafkacrypto::kafka;
use kafkacrypto::transport::rskafka::Rskafka;
use kafkacrypto::transport::{
    FetchFrom, KafkaOptions, OffsetAt, Outgoing, SaslMechanism, Security, Transport, TransportError, TransportErrorKind,
};

use crate::scenarios::Way;
use crate::{LONG, contract, raw, support, value};

crate::scenarios!(Rskafka);

impl Way for Rskafka {
    async fn connect(address: &str, within: Duration) -> Result<Self, TransportError> {
        Rskafka::connect(KafkaOptions::new([address]), within).await
    }

    async fn login(address: &str, mechanism: kafka::SaslMechanism, password: &str) -> Result<Self, TransportError> {
        let mechanism = match mechanism {
            kafka::SaslMechanism::Plain => SaslMechanism::Plain,
            kafka::SaslMechanism::ScramSha256 => SaslMechanism::ScramSha256,
            _ => SaslMechanism::ScramSha512,
        };
        let (username, password) = ("alice".to_owned(), password.to_owned());
        let security = Security::SaslPlaintext { mechanism, username, password };
        Rskafka::connect(KafkaOptions::new([address]).security(security), LONG).await
    }

    fn lazy(address: &str) -> Self {
        Rskafka::lazy(KafkaOptions::new([address]))
    }
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
