//! What every transport must do, with a topic of its own.

use std::time::{Duration, Instant};

use kafkacrypto::transport::{Batch, Created, FetchFrom, OffsetAt, Outgoing, Record, Transport, TransportErrorKind};

/// Longer than anything takes that works.
const LONG: Duration = Duration::from_secs(60);
/// How long a fetch waits for news: much longer than they take, so that who sees them only at its end is found out.
pub const WAIT: Duration = Duration::from_secs(10);

/// Runs all of it. `topic` is new.
pub async fn check<T: Transport + Clone>(transport: &T, topic: &str) {
    topics_are_made_once(transport, topic).await;
    records_come_back(transport, topic).await;
    offsets_are_found(transport, topic).await;
    a_wait_ends_with_the_record(transport, topic).await;
    silence_ends_with_the_wait(transport, topic).await;
    what_is_out_of_range_says_so(transport, topic).await;
    small_fetches_give_everything(transport, topic).await;
    two_readers_dont_disturb_each_other(transport, topic).await;
}

async fn topics_are_made_once(transport: &impl Transport, topic: &str) {
    assert_eq!(transport.partitions(topic, LONG).await.unwrap(), None);
    assert_eq!(transport.create_topic(topic, 3, LONG).await.unwrap(), Created::New);
    assert_eq!(transport.create_topic(topic, 1, LONG).await.unwrap(), Created::Existed);
    assert_eq!(transport.partitions(topic, LONG).await.unwrap(), Some(vec![0, 1, 2]));
    let topics = transport.topics(LONG).await.unwrap();
    assert_eq!(topics.iter().find(|info| &*info.name == topic).unwrap().partitions, [0, 1, 2]);
    let error = transport.produce(topic, 3, vec![Outgoing::default()], LONG).await.unwrap_err();
    assert_eq!(error.kind(), TransportErrorKind::UnknownTopic);
    assert_eq!(
        transport.create_topic("no such name!", 0, LONG).await.unwrap_err().kind(),
        TransportErrorKind::Configuration
    );
}

async fn records_come_back(transport: &impl Transport, topic: &str) {
    let header = ("name".to_owned(), Some(vec![0, 1]));
    let sent = vec![
        Outgoing { key: Some(vec![0, 255]), value: None, headers: vec![header], timestamp_ms: 1_700_000_000_010 },
        Outgoing::new(None, Some(Vec::new())).at(1_700_000_000_030),
        Outgoing::new(Some(Vec::new()), Some(vec![7; 1000])).at(1_700_000_000_020),
    ];
    assert_eq!(transport.produce(topic, 0, sent.clone(), LONG).await.unwrap(), [0, 1, 2]);
    assert!(transport.produce(topic, 0, Vec::new(), LONG).await.unwrap().is_empty());
    let records = read_to_end(transport, topic).await;
    assert!(records.iter().all(|r| &*r.topic == topic && r.partition == 0));
    assert_eq!(records.iter().map(|r| r.offset).collect::<Vec<_>>(), [0, 1, 2]);
    let back = records.into_iter().map(|r| {
        let Record { key, value, headers, timestamp_ms, .. } = r;
        Outgoing { key, value, headers, timestamp_ms }
    });
    assert_eq!(back.collect::<Vec<_>>(), sent);
}

async fn offsets_are_found(transport: &impl Transport, topic: &str) {
    for (at, offset) in [
        (OffsetAt::Earliest, 0),
        (OffsetAt::Latest, 3),
        (OffsetAt::Time(-5), 0),
        (OffsetAt::Time(1_700_000_000_011), 1),
        (OffsetAt::Time(1_700_000_000_031), 3),
    ] {
        assert_eq!(transport.offset(topic, 0, at, LONG).await.unwrap(), offset, "{at:?}");
    }
    assert_eq!(transport.offset(topic, 1, OffsetAt::Latest, LONG).await.unwrap(), 0);
}

async fn a_wait_ends_with_the_record<T: Transport + Clone>(transport: &T, topic: &str) {
    let from = vec![FetchFrom::new(topic, 0, 3), FetchFrom::new(topic, 1, 0), FetchFrom::new(topic, 2, 0)];
    // Connects, so that it isn't measured.
    transport.offset(topic, 2, OffsetAt::Latest, LONG).await.unwrap();
    let mut worst = Duration::ZERO;
    for n in 0..5 {
        let (reader, mut from) = (transport.clone(), from.clone());
        from[2].offset = n;
        let waiting = tokio::spawn(async move { (until_news(&reader, &from).await, Instant::now()) });
        tokio::time::sleep(Duration::from_millis(200)).await;
        let start = Instant::now();
        transport.produce(topic, 2, vec![Outgoing::default()], LONG).await.unwrap();
        let (batch, seen) = waiting.await.unwrap();
        assert_eq!((batch.records.len(), batch.next, batch.end), (1, n + 1, n + 1));
        worst = worst.max(seen.duration_since(start));
    }
    println!("produced -> fetched: {worst:?} at worst");
    assert!(worst < WAIT / 2, "{worst:?}");
}

async fn silence_ends_with_the_wait(transport: &impl Transport, topic: &str) {
    let from = [FetchFrom::new(topic, 0, 3), FetchFrom::new(topic, 1, 0)];
    let start = Instant::now();
    let wait = Duration::from_millis(300);
    let fetched = transport.fetch(&from, 1000, wait, LONG).await.unwrap();
    assert!(fetched.iter().all(|one| one.result.as_ref().unwrap().records.is_empty()));
    assert!(start.elapsed() >= wait - Duration::from_millis(30) && start.elapsed() < LONG / 4, "{:?}", start.elapsed());
}

async fn what_is_out_of_range_says_so(transport: &impl Transport, topic: &str) {
    let from = [FetchFrom::new(topic, 0, 99)];
    let fetched = transport.fetch(&from, 1000, LONG, LONG).await.unwrap();
    assert_eq!(fetched[0].result.as_ref().unwrap_err().kind(), TransportErrorKind::OffsetOutOfRange);
}

async fn small_fetches_give_everything(transport: &impl Transport, topic: &str) {
    for n in 0..20_u8 {
        let records = (0..n).map(|size| Outgoing::new(None, Some(vec![n; usize::from(size) * 30]))).collect();
        transport.produce(topic, 1, records, LONG).await.unwrap();
    }
    let (mut next, mut read) = (0, Vec::new());
    while next < 190 {
        let batch = until_news(transport, &[FetchFrom::new(topic, 1, next)]).await;
        read.extend(batch.records.iter().map(|record| record.offset));
        next = batch.next;
    }
    assert_eq!(read, (0..190).collect::<Vec<_>>());
}

async fn two_readers_dont_disturb_each_other<T: Transport + Clone>(transport: &T, topic: &str) {
    let read = |from: i64| {
        let (reader, topic) = (transport.clone(), topic.to_owned());
        tokio::spawn(async move {
            let mut next = from;
            while next < 190 {
                next = until_news(&reader, &[FetchFrom::new(topic.as_str(), 1, next)]).await.next;
            }
        })
    };
    let (one, two, three) = (read(0), read(0), read(50));
    let all = async { (one.await.unwrap(), two.await.unwrap(), three.await.unwrap()) };
    tokio::time::timeout(LONG, all).await.unwrap();
}

/// The first batch with something in it.
pub async fn until_news(transport: &impl Transport, from: &[FetchFrom]) -> Batch {
    for _ in 0..1000 {
        for fetched in transport.fetch(from, 100, WAIT, LONG).await.unwrap() {
            let batch = fetched.result.unwrap();
            let asked = from.iter().find(|from| from.topic == fetched.topic && from.partition == fetched.partition);
            if batch.next > asked.unwrap().offset {
                return batch;
            }
        }
    }
    panic!("nothing came from {from:?}");
}

/// All records of partition 0.
pub async fn read_to_end(transport: &impl Transport, topic: &str) -> Vec<Record> {
    let end = transport.offset(topic, 0, OffsetAt::Latest, LONG).await.unwrap();
    let (mut next, mut records) = (0, Vec::new());
    while next < end {
        let batch = until_news(transport, &[FetchFrom::new(topic, 0, next)]).await;
        next = batch.next;
        records.extend(batch.records);
    }
    records
}
