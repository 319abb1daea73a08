//! The transport by way of our own client.

use std::time::Duration;

use kafkacrypto::kafka::{Client, Config, SaslMechanism, SecurityProtocol, Settings};
use kafkacrypto::transport::kafka::Kafka;
use kafkacrypto::transport::{FetchFrom, OffsetAt, Outgoing, Transport, TransportError, TransportErrorKind};

use crate::scenarios::Way;
use crate::{LONG, contract, raw, support, value};

crate::scenarios!(Kafka);

impl Way for Kafka {
    async fn connect(address: &str, within: Duration) -> Result<Self, TransportError> {
        Kafka::connect(Config::new([address]), within).await
    }

    async fn login(address: &str, mechanism: SaslMechanism, password: &str) -> Result<Self, TransportError> {
        let config = Config::new([address]).security_protocol(SecurityProtocol::SaslPlaintext);
        let config = config.sasl_mechanism(mechanism).sasl_plain_username("alice").sasl_plain_password(password);
        Kafka::connect(config, LONG).await
    }

    fn lazy(address: &str) -> Self {
        Kafka::lazy(Config::new([address])).unwrap()
    }
}

/// What librdkafka writes: aborted records are never seen, every codec is read.
#[tokio::test]
async fn what_others_write_is_read() {
    let Some(address) = support::bootstrap() else { return };
    let Some(_) = support::python() else { return };
    let (kafka, topic) = (connect(&address).await, support::fresh("others"));
    kafka.create_topic(&topic, 1, LONG).await.unwrap();
    let python = std::env::var("KAFKACRYPTO_PEER_PYTHON").unwrap();
    let mut wrote = std::process::Command::new(python);
    assert!(wrote.args(["-c", include_str!("others.py"), &address, &topic]).status().unwrap().success());
    let end = kafka.offset(&topic, 0, OffsetAt::Latest, LONG).await.unwrap();
    let (mut next, mut read) = (0, Vec::new());
    while next < end {
        let batch = contract::until_news(&kafka, &[FetchFrom::new(topic.as_str(), 0, next)]).await;
        read.extend(batch.records.iter().map(|record| record.value.clone().unwrap()[..4].to_vec()));
        assert!(batch.skipped.is_empty(), "{:?}", batch.skipped);
        next = batch.next;
    }
    let expected = [(1, "kept"), (50, "sque"), (50, "zipp"), (50, "snap")];
    let expected = expected.into_iter().flat_map(|(n, text)| std::iter::repeat_n(text.as_bytes().to_vec(), n));
    assert_eq!(read, expected.collect::<Vec<_>>());

    // Three at once, and what was aborted too.
    let said = set(&address, &[("isolation.level", "read_uncommitted"), ("max.poll.records", "3")]);
    let from = [FetchFrom::new(topic.as_str(), 0, 0)];
    let fetched = said.fetch(&from, 1 << 20, LONG, LONG).await.unwrap();
    let values: Vec<_> = fetched[0].result.as_ref().unwrap().records.iter().map(|r| r.value.clone().unwrap()).collect();
    assert_eq!(values[..2], [b"kept".to_vec(), b"dropped".to_vec()]);
    assert_eq!(values.len(), 3);
}

/// With `acks=0` a record counts as delivered once it is sent, and nobody knows where.
#[tokio::test]
async fn who_wants_no_acknowledgement_gets_none() {
    let Some(address) = support::bootstrap() else { return };
    let (kafka, topic) = (set(&address, &[("acks", "0")]), support::fresh("unacknowledged"));
    kafka.create_topic(&topic, 1, LONG).await.unwrap();
    assert_eq!(kafka.produce(&topic, 0, vec![value("a"), value("b")], LONG).await.unwrap(), [-1, -1]);
    let batch = contract::until_news(&kafka, &[FetchFrom::new(topic.as_str(), 0, 0)]).await;
    assert_eq!(batch.records[0].value.as_deref(), Some(&b"a"[..]));
}

/// Headers as they are: null values, names twice, in order.
#[tokio::test]
async fn headers_are_sent_and_read_as_they_are() {
    let Some(address) = support::bootstrap() else { return };
    let (kafka, topic) = (connect(&address).await, support::fresh("headers"));
    kafka.create_topic(&topic, 1, LONG).await.unwrap();
    let header = |name: &str, value: Option<Vec<u8>>| (name.to_owned(), value);
    let headers = vec![header("b", None), header("a", Some(vec![1])), header("b", Some(vec![])), header("", None)];
    kafka.produce(&topic, 0, vec![Outgoing { headers: headers.clone(), ..value("x") }], LONG).await.unwrap();
    raw::produce(&address, &topic, &["y"], raw::Shape::NullHeader).await;
    raw::produce(&address, &topic, &["z"; 300], raw::Shape::Lz4).await;
    let read = contract::read_to_end(&kafka, &topic).await;
    assert_eq!((read.len(), &read[0].headers), (302, &headers));
}

/// What is too big is refused, and says so; what is refused by the broker too.
#[tokio::test]
async fn what_is_too_large_is_refused() {
    let Some(address) = support::bootstrap() else { return };
    let (kafka, topic) = (connect(&address).await, support::fresh("refused"));
    kafka.create_topic(&topic, 1, LONG).await.unwrap();
    let big = || Outgoing::new(None, Some(vec![7; 2_000_000]));
    let error = kafka.produce(&topic, 0, vec![big()], LONG).await.unwrap_err();
    assert_eq!(error.kind(), TransportErrorKind::TooLarge, "{error}");
    assert!(error.to_string().contains("over max_request_size, which is 1048576 bytes"), "{error}");
    let trusting = Config::new([&address]).max_request_bytes(10_000_000);
    let trusting = Kafka::connect(trusting, LONG).await.unwrap();
    let error = trusting.produce(&topic, 0, vec![big()], LONG).await.unwrap_err();
    assert_eq!(error.kind(), TransportErrorKind::TooLarge, "{error}");
    assert!(error.to_string().contains("by the topic's max.message.bytes"), "{error}");
    assert_eq!(kafka.offset(&topic, 0, OffsetAt::Latest, LONG).await.unwrap(), 0);
}

/// With settings.
fn set(address: &str, more: &[(&str, &str)]) -> Kafka {
    let settings = Settings::new([("bootstrap.servers", address)].iter().chain(more).copied()).unwrap();
    Kafka::set_by(&Client::new(settings.client().unwrap()).unwrap(), &settings).unwrap()
}

async fn connect(address: &str) -> Kafka {
    Kafka::connect(Config::new([address]), LONG).await.unwrap()
}
