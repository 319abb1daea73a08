use std::time::Instant;

use proptest::prelude::*;

use super::*;
use crate::transport::TransportErrorKind::*;

const SOON: Duration = Duration::from_millis(500);

fn block_on<T>(future: impl Future<Output = T>) -> T {
    tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap().block_on(future)
}

fn value(text: &str) -> Outgoing {
    Outgoing::new(None, Some(text.as_bytes().to_vec()))
}

fn with_topics(topics: &[&str]) -> Broker {
    let broker = Broker::new();
    for topic in topics {
        broker.create_topic(topic, 2);
    }
    broker
}

async fn produce(to: &Memory, topic: &str, text: &str) -> Result<Vec<i64>, TransportError> {
    to.produce(topic, 0, vec![value(text)], SOON).await
}

async fn read(of: &Memory, from: &[FetchFrom], wait: Duration) -> Vec<(String, String)> {
    let fetched = of.fetch(from, 1 << 20, wait, SOON).await.unwrap();
    let batches = fetched.into_iter().map(|one| one.result.unwrap());
    let text = |r: Record| (r.topic.to_string(), String::from_utf8(r.value.unwrap()).unwrap());
    batches.flat_map(|batch| batch.records).map(text).collect()
}

fn one(topic: &str, text: &str) -> Vec<(String, String)> {
    vec![(topic.to_owned(), text.to_owned())]
}

#[test]
fn a_record_comes_back_as_it_was() {
    block_on(async {
        let memory = with_topics(&["t"]).transport();
        let sent = Outgoing {
            key: Some(vec![0, 255]),
            value: None,
            headers: vec![("a".into(), None), ("a".into(), Some(vec![1]))],
            timestamp_ms: 77,
        };
        assert_eq!(memory.produce("t", 1, vec![sent.clone(), value("x")], SOON).await.unwrap(), [0, 1]);
        let fetched = memory.fetch(&[FetchFrom::new("t", 1, 0)], 1 << 20, SOON, SOON).await.unwrap();
        let batch = fetched[0].result.clone().unwrap();
        let Record { topic, partition, offset, timestamp_ms, key, value, headers } = batch.records[0].clone();
        assert_eq!((&*topic, partition, offset), ("t", 1, 0));
        assert_eq!(Outgoing { key, value, headers, timestamp_ms }, sent);
        assert_eq!((batch.next, batch.end), (2, 2));
    });
}

#[test]
fn topics_come_only_by_creating_them() {
    block_on(async {
        let memory = Broker::new().transport();
        assert_eq!(memory.partitions("t", SOON).await.unwrap(), None);
        assert_eq!(produce(&memory, "t", "x").await.unwrap_err().kind(), UnknownTopic);
        assert_eq!(memory.offset("t", 0, OffsetAt::Latest, SOON).await.unwrap_err().kind(), UnknownTopic);
        let fetched = memory.fetch(&[FetchFrom::new("t", 0, 0)], 1, SOON, SOON).await.unwrap();
        assert_eq!(fetched[0].result.as_ref().unwrap_err().kind(), UnknownTopic);
        assert!(memory.topics(SOON).await.unwrap().is_empty());
        assert_eq!(memory.create_topic("t", 0, SOON).await.unwrap_err().kind(), Configuration);
        assert_eq!(memory.create_topic("t", 3, SOON).await.unwrap(), Created::New);
        assert_eq!(memory.create_topic("t", 1, SOON).await.unwrap(), Created::Existed);
        let info = TopicInfo { name: "t".into(), partitions: vec![0, 1, 2] };
        assert_eq!(memory.partitions("t", SOON).await.unwrap().as_ref(), Some(&info.partitions));
        assert_eq!(memory.topics(SOON).await.unwrap(), [info]);
        assert_eq!(memory.produce("t", -1, vec![value("x")], SOON).await.unwrap_err().kind(), UnknownTopic);
    });
}

#[test]
fn a_waiting_fetch_ends_with_the_record() {
    block_on(async {
        let memory = with_topics(&["a", "b"]).transport();
        let (reader, from) = (memory.clone(), [FetchFrom::new("a", 0, 0), FetchFrom::new("b", 0, 0)]);
        let long = Duration::from_secs(30);
        let waiting = tokio::spawn(async move { reader.fetch(&from, 1 << 20, long, long).await });
        tokio::time::sleep(Duration::from_millis(20)).await;
        let start = Instant::now();
        produce(&memory, "b", "x").await.unwrap();
        let fetched = waiting.await.unwrap().unwrap();
        assert!(start.elapsed() < Duration::from_secs(5));
        assert_eq!(fetched[1].result.as_ref().unwrap().records.len(), 1);
    });
}

#[test]
fn a_fetch_without_news_ends_with_nothing() {
    block_on(async {
        let memory = with_topics(&["a"]).transport();
        let start = Instant::now();
        assert!(read(&memory, &[FetchFrom::new("a", 0, 0)], Duration::from_millis(30)).await.is_empty());
        assert!(start.elapsed() >= Duration::from_millis(30));
        assert!(read(&memory, &[FetchFrom::new("a", 0, 0)], SOON * 10).await.is_empty());
        assert!(start.elapsed() < SOON * 2);
    });
}

#[test]
fn a_fetch_stops_at_its_size_but_gives_one_record() {
    block_on(async {
        let memory = with_topics(&["a"]).transport();
        memory.produce("a", 0, vec![value("one"), value("two"), value("three")], SOON).await.unwrap();
        for (max_bytes, count) in [(0, 1), (1, 1), (150, 2), (1000, 3), (-1, 1)] {
            let fetched = memory.fetch(&[FetchFrom::new("a", 0, 0)], max_bytes, SOON, SOON).await.unwrap();
            let batch = fetched[0].result.as_ref().unwrap();
            assert_eq!((batch.records.len() as i64, batch.next, batch.end), (count, count, 3));
        }
    });
}

#[test]
fn offsets_by_place_and_time() {
    block_on(async {
        let broker = with_topics(&["a"]);
        let memory = broker.transport();
        let records = [10, 30, 20].map(|ms| value("x").at(ms)).to_vec();
        memory.produce("a", 0, records, SOON).await.unwrap();
        broker.trim("a", 0, 1);
        for (at, offset) in [
            (OffsetAt::Earliest, 1),
            (OffsetAt::Latest, 3),
            (OffsetAt::Time(0), 1),
            (OffsetAt::Time(30), 1),
            (OffsetAt::Time(31), 3),
        ] {
            assert_eq!(memory.offset("a", 0, at, SOON).await.unwrap(), offset, "{at:?}");
        }
        for offset in [0, 4, -1] {
            let fetched = memory.fetch(&[FetchFrom::new("a", 0, offset)], 1, SOON, SOON).await.unwrap();
            assert_eq!(fetched[0].result.as_ref().unwrap_err().kind(), OffsetOutOfRange);
        }
        broker.trim("a", 0, 99);
        assert_eq!(memory.offset("a", 0, OffsetAt::Earliest, SOON).await.unwrap(), 3);
    });
}

#[test]
fn what_is_too_large_is_refused_whole() {
    block_on(async {
        let broker = with_topics(&["a"]).max_message_bytes(100);
        let records = vec![value("small"), value(&"x".repeat(100))];
        assert_eq!(broker.transport().produce("a", 0, records, SOON).await.unwrap_err().kind(), TooLarge);
        assert!(broker.records("a", 0).is_empty());
    });
}

#[test]
fn calls_fail_as_told_and_are_counted() {
    block_on(async {
        let broker = with_topics(&["a"]);
        let faults = Faults::new().fail(Call::Produce, When::Nth(2), Unreachable).lose_answer(
            Call::Produce,
            When::Nth(3),
            TimedOut,
        );
        let memory = broker.transport().with_faults(faults);
        produce(&memory, "a", "1").await.unwrap();
        assert_eq!(produce(&memory, "a", "2").await.unwrap_err().kind(), Unreachable);
        assert_eq!(produce(&memory, "a", "3").await.unwrap_err().kind(), TimedOut);
        produce(&memory, "a", "4").await.unwrap();
        let other = broker.transport();
        produce(&other, "a", "5").await.unwrap();
        let values: Vec<_> = broker.records("a", 0).into_iter().map(|r| r.value.unwrap()).collect();
        assert_eq!(values, [b"1", b"3", b"4", b"5"]);
        assert_eq!((memory.calls(Call::Produce), memory.injected(), other.injected()), (4, 2, 0));
    });
}

#[test]
fn records_are_lost_and_doubled() {
    block_on(async {
        let broker = with_topics(&["a"]);
        let memory =
            broker.transport().with_faults(Faults::new().drop_produced(When::Nth(1)).duplicate(When::Every(2)));
        assert_eq!(produce(&memory, "a", "lost").await.unwrap(), [0]);
        assert_eq!(produce(&memory, "a", "twice").await.unwrap(), [0]);
        assert_eq!(broker.records("a", 0).len(), 2);
    });
}

#[test]
fn a_black_hole_ends_at_the_deadline_and_a_delay_delays() {
    block_on(async {
        let memory = with_topics(&["a"]).transport().with_faults(
            Faults::new().black_hole(Call::Offset, When::Always).delay(Call::Topics, When::From(1), SOON / 4),
        );
        let start = Instant::now();
        let within = Duration::from_millis(50);
        assert_eq!(memory.offset("a", 0, OffsetAt::Latest, within).await.unwrap_err().kind(), TimedOut);
        assert!(start.elapsed() >= within && start.elapsed() < SOON);
        assert_eq!(memory.topics(within).await.unwrap_err().kind(), TimedOut);
        let start = Instant::now();
        memory.topics(SOON * 10).await.unwrap();
        assert!(start.elapsed() >= SOON / 4);
        memory.set_faults(Faults::new());
        assert_eq!(memory.offset("a", 0, OffsetAt::Latest, within).await.unwrap(), 0);
    });
}

#[test]
fn a_topic_is_withheld_from_one_node_only() {
    block_on(async {
        let broker = with_topics(&["a", "b"]);
        let memory = broker.transport().with_faults(Faults::new().withhold("a"));
        let from = [FetchFrom::new("a", 0, 0), FetchFrom::new("b", 0, 0)];
        produce(&memory, "a", "1").await.unwrap();
        assert!(read(&memory, &from, Duration::from_millis(20)).await.is_empty());
        produce(&memory, "b", "2").await.unwrap();
        assert_eq!(read(&memory, &from, SOON).await, one("b", "2"));
        assert_eq!(read(&broker.transport(), &from, SOON).await.len(), 2);
    });
}

#[test]
fn partitions_come_in_another_order() {
    block_on(async {
        let memory = with_topics(&["a", "b"]).transport().with_faults(Faults::new().reorder(When::Always));
        produce(&memory, "a", "first").await.unwrap();
        produce(&memory, "b", "second").await.unwrap();
        let mut from = [FetchFrom::new("a", 0, 0), FetchFrom::new("b", 0, 0)];
        assert_eq!(read(&memory, &from, SOON).await, one("b", "second"));
        from[1].offset = 1;
        assert_eq!(read(&memory, &from, SOON).await, one("a", "first"));
    });
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    /// Whatever the sizes and the limit: reading on from `next` gives every record once, in order.
    #[test]
    fn reading_on_gives_everything_once(sizes in prop::collection::vec(0_usize..300, 0..40), max_bytes in -1_i32..1000) {
        let all: Vec<_> = sizes.iter().map(|size| value(&"x".repeat(*size))).collect();
        let read = block_on(async {
            let memory = with_topics(&["a"]).transport();
            memory.produce("a", 0, all.clone(), SOON).await.unwrap();
            let (mut next, mut read) = (0, Vec::new());
            while next < all.len() as i64 {
                let fetched = memory.fetch(&[FetchFrom::new("a", 0, next)], max_bytes, SOON, SOON).await.unwrap();
                let batch = fetched[0].result.clone().unwrap();
                assert!(batch.next > next && batch.end == all.len() as i64);
                next = batch.next;
                read.extend(batch.records.into_iter().map(|r| Outgoing::new(r.key, r.value)));
            }
            read
        });
        prop_assert_eq!(read, all);
    }
}
