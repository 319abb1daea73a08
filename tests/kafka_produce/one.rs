//! Against one broker.

use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use kafkacrypto::kafka::record::{Compression, Header};
use kafkacrypto::kafka::{Acks, ErrorKind, Producer, ProducerConfig, ProducerRecord};

use crate::forgetful::Forgetful;
use crate::stream::{Stream, check, until};
use crate::support::{self, Broker};
use crate::{LONG, client, create, numbers, runtime, values};

#[test]
fn every_codec_and_every_kind_of_acknowledgement() {
    let Some(address) = support::bootstrap() else { return };
    runtime().block_on(async {
        let client = client(&address);
        let mut configs: Vec<_> = Compression::ALL.map(|codec| ProducerConfig::new().compression(codec)).into();
        configs.push(ProducerConfig::new().acks(Acks::Leader));
        configs.push(ProducerConfig::new().acks(Acks::None));
        configs.push(ProducerConfig::new().linger(Duration::from_millis(20)).max_in_flight(1));
        for config in configs {
            let topic = create(&client, "kinds", 2, &[]).await;
            let stream = Stream::start(&client, &topic, 2, config);
            stream.more(200).await;
            let results = stream.stop().await;
            check(&client, &topic, &results).await;
        }
        client.close().await;
    });
}

#[test]
fn keys_headers_times_and_nulls_arrive() {
    let Some(address) = support::bootstrap() else { return };
    runtime().block_on(async {
        let client = client(&address);
        let topic = create(&client, "shapes", 3, &[]).await;
        let producer = Producer::new(&client, ProducerConfig::new());
        let record = ProducerRecord::null(topic.as_str()).key("meter-7").at(1234);
        let record = record.header(Header::new("a", "1")).header(Header::null("a"));
        let one = producer.send(record.clone()).await.unwrap().await.unwrap();
        let other = producer.send(record).await.unwrap().await.unwrap();
        assert_eq!((one.partition, one.timestamp_ms), (other.partition, 1234));
        assert_eq!(one.offset.map(|offset| offset + 1), other.offset);
        assert_eq!(values(&client, &topic, one.partition).await, [b"", b""]);
        producer.close(LONG).await.unwrap();
        let error = producer.send(ProducerRecord::new(topic.as_str(), "late")).await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Closed);
        client.close().await;
    });
}

/// Most acknowledgements are lost, and nobody notices.
#[test]
fn a_lost_acknowledgement_makes_no_duplicate() {
    let Some(address) = support::bootstrap() else { return };
    runtime().block_on(async {
        let topic = create(&client(&address), "lost", 3, &[]).await;
        let network = Forgetful::start(&address, 3).await;
        let through = client(&network.address);
        let stream = Stream::start(&through, &topic, 3, ProducerConfig::new());
        until(|| network.lost.load(Ordering::Relaxed) > 20).await;
        let results = stream.stop().await;
        check(&client(&address), &topic, &results).await;
    });
}

/// Who isn't idempotent is told of each, and nothing is sent twice.
#[test]
fn a_lost_acknowledgement_is_reported_by_who_is_not_idempotent() {
    let Some(address) = support::bootstrap() else { return };
    runtime().block_on(async {
        let topic = create(&client(&address), "told", 1, &[]).await;
        let network = Forgetful::start(&address, 2).await;
        let through = client(&network.address);
        let stream = Stream::start(&through, &topic, 1, ProducerConfig::new().idempotent(false));
        until(|| network.lost.load(Ordering::Relaxed) > 5).await;
        let results = stream.stop().await;
        let numbers = numbers(&client(&address), &topic, 0).await;
        assert!(numbers.is_sorted_by(|one, other| one < other), "none twice");
        let failed: Vec<_> = results[0].iter().filter_map(|result| result.as_ref().err()).collect();
        assert!(!failed.is_empty() && failed.iter().all(|error| error.may_have_arrived()), "{failed:?}");
        for (number, result) in (0..).zip(&results[0]) {
            assert!(result.is_err() || numbers.binary_search(&number).is_ok(), "{number}");
        }
    });
}

#[test]
fn a_broker_dies_and_comes_back() {
    let Some(mut broker) = Broker::start() else { return };
    runtime().block_on(async {
        let client = client(&broker.bootstrap());
        let topic = create(&client, "killed", 3, &[]).await;
        let stream = Stream::start(&client, &topic, 3, ProducerConfig::new());
        for _ in 0..2 {
            stream.more(200).await;
            tokio::task::block_in_place(|| {
                broker.kill();
                broker.restart();
            });
        }
        stream.more(200).await;
        let results = stream.stop().await;
        check(&client, &topic, &results).await;
        client.close().await;
    });
}

#[test]
fn what_is_too_large_is_split_or_refused() {
    let Some(address) = support::bootstrap() else { return };
    runtime().block_on(async {
        let client = client(&address);
        let topic = create(&client, "small", 1, &[("max.message.bytes", "2000")]).await;
        // Everything within the linger is one batch.
        let config = ProducerConfig::new().linger(Duration::from_millis(300));
        let producer = Producer::new(&client, config);
        let mut deliveries = Vec::new();
        for number in 0..50 {
            let record = ProducerRecord::new(topic.as_str(), format!("{number:.<300}"));
            deliveries.push(producer.send(record).await.unwrap());
        }
        let large = producer.send(ProducerRecord::new(topic.as_str(), vec![b'.'; 3000])).await.unwrap();
        for number in 50..60 {
            let record = ProducerRecord::new(topic.as_str(), format!("{number:.<300}"));
            deliveries.push(producer.send(record).await.unwrap());
        }
        for (number, delivery) in (0..).zip(deliveries) {
            assert_eq!(delivery.await.unwrap().offset, Some(number));
        }
        let error = large.await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::TooLarge);
        assert!(!error.may_have_arrived() && error.to_string().contains("3070 bytes"), "{error}");
        assert!(numbers(&client, &topic, 0).await.into_iter().eq(0..60));

        let error = producer.send(ProducerRecord::new(topic.as_str(), vec![0; 1_100_000])).await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::TooLarge, "{error}");
        assert!(error.to_string().contains("is over max_request_size"), "{error}");
        client.close().await;
    });
}

#[test]
fn what_is_not_there_is_said_soon() {
    let Some(address) = support::bootstrap() else { return };
    runtime().block_on(async {
        let client = client(&address);
        let topic = create(&client, "one", 1, &[]).await;
        let producer = Producer::new(&client, ProducerConfig::new());
        let started = Instant::now();
        let missing = support::fresh("missing");
        let error = producer.send(ProducerRecord::new(missing.as_str(), "x")).await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::UnknownTopic, "{error}");
        let error = producer.send(ProducerRecord::new(topic.as_str(), "x").partition(1)).await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::UnknownTopic, "{error}");
        assert!(error.to_string().contains("has no partition 1: it has partition 0 alone"), "{error}");
        assert!(started.elapsed() < Duration::from_secs(12), "{:?}", started.elapsed());
        client.close().await;
    });
}

/// Nobody answers: what was sent fails in its time and says that it may have arrived, and memory is bounded meanwhile.
#[test]
fn time_runs_out() {
    let Some(mut broker) = Broker::start() else { return };
    runtime().block_on(async {
        let client = client(&broker.bootstrap());
        let topic = create(&client, "hole", 1, &[]).await;
        let config = ProducerConfig::new().buffer_memory(10_000).max_block(Duration::from_secs(1));
        let producer = Producer::new(&client, config.delivery_timeout(Duration::from_secs(3)));
        producer.send(ProducerRecord::new(topic.as_str(), "0")).await.unwrap().await.unwrap();
        tokio::task::block_in_place(|| broker.kill());
        let started = Instant::now();
        let waiting = producer.send(ProducerRecord::new(topic.as_str(), vec![b'.'; 6000])).await.unwrap();
        let error = producer.send(ProducerRecord::new(topic.as_str(), vec![b'.'; 6000])).await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::TimedOut, "{error}");
        assert!(error.to_string().contains("buffer_memory"), "{error}");
        let error = waiting.await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::TimedOut, "{error}");
        // Late by what a busy machine takes; without these times it would be minutes.
        assert!(started.elapsed() < Duration::from_secs(20), "{:?}", started.elapsed());
        client.close().await;
    });
}
