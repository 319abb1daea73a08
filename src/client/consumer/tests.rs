use std::future::poll_fn;
use std::sync::atomic::{AtomicI32, Ordering};
use std::time::{Duration, Instant};

use super::*;
use crate::client::testing::{block_on, deserializers, reader, root, secret, serializers, writer};
use crate::client::{Producer, ProducerOptions, ProducerRecord};
use crate::keyring::{Keyring, Learned, Origin};
use crate::keys::KeyIndex;
use crate::message::State;
use crate::transport::TransportErrorKind::*;
use crate::transport::memory::{Broker, Call, Faults, Memory, When};
use crate::transport::{
    BoxFuture, Created, FetchFrom, Fetched, OffsetAt, Outgoing, Skipped, TopicInfo, TransportError,
};

const TOPIC: &str = "lab.data";
const SHORT: Duration = Duration::from_millis(200);
const LONG: Duration = Duration::from_secs(30);

fn broker(partitions: i32) -> Broker {
    let broker = Broker::new();
    broker.create_topic(TOPIC, partitions);
    broker
}

/// Writes numbers to a partition, under the key index `index`; their times are the numbers.
async fn write(broker: &Broker, index: u64, partition: i32, numbers: std::ops::Range<i64>) {
    let (keys, values) = serializers(&writer(index));
    let producer = Producer::new(Arc::new(broker.transport()), keys, values, ProducerOptions::new());
    for n in numbers {
        let record = ProducerRecord::new(TOPIC).partition(partition).key("k").value(n.to_string()).at(n);
        drop(producer.queue(record).await.unwrap());
    }
    producer.flush().await.unwrap();
}

fn consumer(memory: &Memory, keyring: &Arc<Keyring>, options: ConsumerOptions) -> Consumer {
    let (keys, values) = deserializers(keyring);
    Consumer::new(Arc::new(memory.clone()), TOPIC, keys, values, options)
}

fn learn(keyring: &Keyring, index: u64) {
    assert_eq!(keyring.learn(&root(), &KeyIndex::Short(index), secret(index), Origin::Own), Learned::New);
}

fn knowing(index: u64) -> Arc<Keyring> {
    let keyring = reader();
    learn(&keyring, index);
    keyring
}

fn number(record: &ConsumerRecord) -> i64 {
    let text = record.value.cleartext().unwrap().unwrap().to_vec();
    String::from_utf8(text).unwrap().parse().unwrap()
}

async fn numbers(consumer: &mut Consumer) -> Vec<i64> {
    let mut numbers = Vec::new();
    while let Some(record) = consumer.next().await {
        numbers.push(number(&record.unwrap()));
    }
    numbers
}

fn to_end(start: Start) -> ConsumerOptions {
    ConsumerOptions::new(start).stop_at_end(true)
}

#[test]
fn starts_are_where_they_say() {
    block_on(async {
        let broker = broker(1);
        write(&broker, 1, 0, 0..10).await;
        for (start, first) in [
            (Start::Beginning, 0),
            (Start::Offset(4), 4),
            (Start::Offset(10), 10),
            (Start::Time(7), 7),
            (Start::Time(70), 10),
            (Start::Tail(3), 7),
            (Start::Tail(u64::MAX), 0),
            (Start::End, 10),
        ] {
            let mut consumer = consumer(&broker.transport(), &knowing(1), to_end(start));
            assert_eq!(numbers(&mut consumer).await, (first..10).collect::<Vec<_>>(), "{start:?}");
        }
        let options = to_end(Start::End).partition_from(0, Start::Offset(8)).partitions([0]);
        assert_eq!(numbers(&mut consumer(&broker.transport(), &knowing(1), options)).await, [8, 9]);
    });
}

#[test]
fn all_partitions_are_read_each_in_order_and_what_comes_later_too() {
    block_on(async {
        let broker = broker(3);
        for partition in 0..3 {
            write(&broker, 1, partition, 0..200).await;
        }
        let options = ConsumerOptions::new(Start::Beginning).buffer_bytes(0);
        let mut consumer = consumer(&broker.transport(), &knowing(1), options);
        let mut next = [0; 3];
        for _ in 0..600 {
            let record = consumer.next().await.unwrap().unwrap();
            let next = &mut next[usize::try_from(record.partition).unwrap()];
            assert_eq!((number(&record), record.offset, record.timestamp_ms), (*next, *next, *next));
            assert_eq!(record.key.cleartext().unwrap().unwrap(), b"k");
            *next += 1;
        }
        write(&broker, 1, 1, 200..201).await;
        let record = poll_fn(|context| Pin::new(&mut consumer).poll_next(context)).await.unwrap().unwrap();
        assert_eq!((record.partition, number(&record)), (1, 200));
    });
}

#[test]
fn a_key_that_comes_late_is_waited_for_in_order_and_holds_up_nobody_else() {
    block_on(async {
        let broker = broker(2);
        write(&broker, 2, 0, 0..5).await;
        write(&broker, 1, 1, 0..5).await;
        let keyring = knowing(1);
        let mut consumer = consumer(&broker.transport(), &keyring, to_end(Start::Beginning).wait_for_keys(LONG));
        for n in 0..5 {
            let record = consumer.next().await.unwrap().unwrap();
            assert_eq!((record.partition, number(&record)), (1, n));
        }
        assert!(tokio::time::timeout(SHORT, consumer.next()).await.is_err(), "the key is waited for");
        let started = Instant::now();
        learn(&keyring, 2);
        assert_eq!(numbers(&mut consumer).await, [0, 1, 2, 3, 4]);
        assert!(started.elapsed() < Duration::from_secs(5));
    });
}

#[test]
fn a_key_that_does_not_come_is_waited_for_once() {
    block_on(async {
        let broker = broker(2);
        write(&broker, 2, 0, 0..50).await;
        write(&broker, 2, 1, 0..50).await;
        let keyring = reader();
        let (started, mut records) = (Instant::now(), Vec::new());
        let mut consumer = consumer(&broker.transport(), &keyring, to_end(Start::Beginning).wait_for_keys(SHORT));
        while let Some(record) = consumer.next().await {
            records.push(record.unwrap());
        }
        assert!(started.elapsed() >= SHORT && started.elapsed() < 10 * SHORT, "{:?}", started.elapsed());
        assert_eq!(records.len(), 100);
        assert!(records.iter().all(|record| record.value.state() == State::Pending));
        learn(&keyring, 2);
        assert!(records.iter_mut().all(|record| record.value.retry() == State::Cleartext));
    });
}

#[test]
fn one_bad_writer_cannot_stall_it_record_by_record() {
    block_on(async {
        let broker = broker(1);
        for index in 10..100 {
            write(&broker, index, 0, 0..1).await;
        }
        write(&broker, 1, 0, 0..1).await;
        let mut consumer = consumer(&broker.transport(), &knowing(1), to_end(Start::Beginning).wait_for_keys(SHORT));
        let (started, mut last) = (Instant::now(), None);
        while let Some(record) = consumer.next().await {
            last = Some(record.unwrap());
        }
        assert_eq!(number(&last.unwrap()), 0);
        assert!(started.elapsed() < 20 * SHORT, "{:?}", started.elapsed());
    });
}

#[test]
fn outages_are_reported_once_and_heal() {
    block_on(async {
        let broker = broker(1);
        write(&broker, 1, 0, 0..5).await;
        let memory = broker.transport();
        memory.set_faults(
            Faults::new()
                .fail(Call::Partitions, When::Nth(1), Unreachable)
                .fail(Call::Offset, When::Nth(1), TimedOut)
                .fail(Call::Fetch, When::Nth(1), Unreachable)
                .fail(Call::Fetch, When::Nth(2), Other)
                .fail(Call::Fetch, When::Nth(3), Corrupt),
        );
        let mut consumer = consumer(&memory, &knowing(1), to_end(Start::Beginning));
        let (mut read, mut errors) = (Vec::new(), Vec::new());
        while let Some(item) = consumer.next().await {
            match item {
                Ok(record) => read.push(number(&record)),
                Err(error) => errors.push(error),
            }
        }
        assert_eq!(read, [0, 1, 2, 3, 4]);
        assert_eq!(errors.len(), 3, "one for each outage: {errors:?}");
        assert!(errors.iter().all(ReadError::is_passing));
    });
}

#[test]
fn what_is_no_use_to_try_again_ends_it() {
    block_on(async {
        let broker = broker(1);
        let memory = broker.transport();
        memory.set_faults(Faults::new().fail(Call::Fetch, When::Always, NotAuthorised));
        let mut consumer = consumer(&memory, &knowing(1), ConsumerOptions::new(Start::Beginning));
        let error = consumer.next().await.unwrap().unwrap_err();
        assert!(matches!(&error, ReadError::Failed { partition: Some(0), .. }), "{error}");
        assert!(!error.is_passing() && consumer.next().await.is_none());
    });
}

#[test]
fn a_topic_that_is_missing_is_waited_for_unless_the_end_is_wanted() {
    block_on(async {
        let broker = Broker::new();
        let mut ending = consumer(&broker.transport(), &knowing(1), to_end(Start::Beginning));
        let error = ending.next().await.unwrap().unwrap_err();
        assert!(error.to_string().contains("there is no topic \"lab.data\"; create it"), "{error}");
        assert!(ending.next().await.is_none());
        let mut waiting = consumer(&broker.transport(), &knowing(1), ConsumerOptions::new(Start::End));
        assert!(waiting.next().await.unwrap().unwrap_err().is_passing());
        broker.create_topic(TOPIC, 1);
        tokio::time::sleep(Duration::from_secs(1)).await;
        write(&broker, 1, 0, 0..1).await;
        assert_eq!(number(&waiting.next().await.unwrap().unwrap()), 0);
    });
}

#[test]
fn an_offset_that_is_gone_is_reported_and_passed_as_chosen() {
    block_on(async {
        let broker = broker(1);
        write(&broker, 1, 0, 0..10).await;
        broker.trim(TOPIC, 0, 5);
        let options = || ConsumerOptions::new(Start::Offset(2));
        for (choice, resumed) in
            [(OutOfRange::Beginning, Some(5)), (OutOfRange::End, Some(10)), (OutOfRange::Fail, None)]
        {
            let mut consumer =
                consumer(&broker.transport(), &knowing(1), options().out_of_range(choice).stop_at_end(true));
            let error = consumer.next().await.unwrap().unwrap_err();
            let topic = TOPIC.into();
            assert_eq!(error, ReadError::OutOfRange { topic, partition: 0, offset: 2, resumed });
            let rest = resumed.unwrap_or(10)..10;
            assert_eq!(numbers(&mut consumer).await, rest.collect::<Vec<_>>());
        }
        let mut beyond = consumer(&broker.transport(), &knowing(1), ConsumerOptions::new(Start::Offset(99)));
        assert!(matches!(beyond.next().await.unwrap().unwrap_err(), ReadError::OutOfRange { resumed: Some(5), .. }));
        assert_eq!(number(&beyond.next().await.unwrap().unwrap()), 5);
    });
}

#[test]
fn new_partitions_are_noticed_and_skipped_offsets_reported() {
    block_on(async {
        let broker = broker(2);
        let transport = Arc::new(Odd { memory: broker.transport(), partitions: AtomicI32::new(1) });
        write(&broker, 1, 0, 0..3).await;
        write(&broker, 1, 1, 0..1).await;
        let (keys, values) = deserializers(&knowing(1));
        let options = ConsumerOptions::new(Start::Beginning).notice_partitions(SHORT);
        let mut consumer = Consumer::new(transport.clone(), TOPIC, keys, values, options);
        assert_eq!(number(&consumer.next().await.unwrap().unwrap()), 0);
        let error = consumer.next().await.unwrap().unwrap_err();
        assert_eq!(error.to_string(), "offset 1 of topic \"lab.data\", partition 0, was passed over: a test wants it");
        assert_eq!(number(&consumer.next().await.unwrap().unwrap()), 2);
        transport.partitions.store(2, Ordering::Release);
        assert_eq!(consumer.next().await.unwrap().unwrap().partition, 1);
    });
}

#[test]
fn dropping_it_ends_its_work() {
    block_on(async {
        let memory = broker(1).transport();
        let consumer = consumer(&memory, &knowing(1), ConsumerOptions::new(Start::Beginning));
        tokio::time::sleep(SHORT).await;
        assert_eq!(memory.calls(Call::Fetch), 1, "one call waits");
        drop(consumer);
        write(memory.broker(), 1, 0, 0..1).await;
        tokio::time::sleep(SHORT).await;
        assert_eq!(memory.calls(Call::Fetch), 1);
    });
}

/// Hides partitions, and can't read offset 1.
struct Odd {
    memory: Memory,
    partitions: AtomicI32,
}

impl Transport for Odd {
    fn topics(&self, within: Duration) -> BoxFuture<'_, Result<Vec<TopicInfo>, TransportError>> {
        self.memory.topics(within)
    }

    fn partitions<'a>(
        &'a self,
        topic: &'a str,
        within: Duration,
    ) -> BoxFuture<'a, Result<Option<Vec<i32>>, TransportError>> {
        let few = move |mut all: Vec<i32>| {
            all.retain(|partition| *partition < self.partitions.load(Ordering::Acquire));
            all
        };
        Box::pin(async move { Ok(self.memory.partitions(topic, within).await?.map(few)) })
    }

    fn create_topic<'a>(
        &'a self,
        topic: &'a str,
        partitions: i32,
        within: Duration,
    ) -> BoxFuture<'a, Result<Created, TransportError>> {
        self.memory.create_topic(topic, partitions, within)
    }

    fn produce<'a>(
        &'a self,
        topic: &'a str,
        partition: i32,
        records: Vec<Outgoing>,
        within: Duration,
    ) -> BoxFuture<'a, Result<Vec<i64>, TransportError>> {
        self.memory.produce(topic, partition, records, within)
    }

    fn fetch<'a>(
        &'a self,
        from: &'a [FetchFrom],
        max_bytes: i32,
        wait: Duration,
        within: Duration,
    ) -> BoxFuture<'a, Result<Vec<Fetched>, TransportError>> {
        Box::pin(async move {
            let mut fetched = self.memory.fetch(from, max_bytes, wait, within).await?;
            for batch in fetched.iter_mut().filter_map(|one| one.result.as_mut().ok()) {
                let before = batch.records.len();
                batch.records.retain(|record| record.offset != 1);
                if batch.records.len() < before {
                    batch.skipped.push(Skipped { offset: 1, reason: "a test wants it".to_owned() });
                }
            }
            Ok(fetched)
        })
    }

    fn offset<'a>(
        &'a self,
        topic: &'a str,
        partition: i32,
        at: OffsetAt,
        within: Duration,
    ) -> BoxFuture<'a, Result<i64, TransportError>> {
        self.memory.offset(topic, partition, at, within)
    }
}
