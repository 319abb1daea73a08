//! Numbered records, one after the other, until they shall end.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use kafkacrypto::kafka::{Client, Delivered, Delivery, Error, ErrorKind, Producer, ProducerConfig, ProducerRecord};
use tokio::task::JoinHandle;

use crate::LONG;

/// A producer at work: partition 0 gets 0, 1, 2 and so on, and so does each other one.
pub struct Stream {
    stop: Arc<AtomicBool>,
    /// Of each partition.
    sent: Arc<AtomicUsize>,
    task: JoinHandle<Vec<Vec<Delivery>>>,
    producer: Producer,
}

impl Stream {
    pub fn start(client: &Client, topic: &str, partitions: usize, config: ProducerConfig) -> Self {
        let producer = Producer::new(client, config);
        let stop = Arc::new(AtomicBool::new(false));
        let sent = Arc::<AtomicUsize>::default();
        let task = tokio::spawn(send(producer.clone(), topic.into(), partitions, stop.clone(), sent.clone()));
        Self { stop, sent, task, producer }
    }

    /// Waits until each partition has been sent so many more.
    pub async fn more(&self, count: usize) {
        let goal = self.sent.load(Ordering::Relaxed) + count;
        until(|| self.sent.load(Ordering::Relaxed) >= goal).await;
    }

    /// Ends it, and returns what became of the records of each partition.
    pub async fn stop(self) -> Vec<Vec<Result<Delivered, Error>>> {
        self.stop.store(true, Ordering::Relaxed);
        let mut results = Vec::new();
        for deliveries in self.task.await.unwrap() {
            let mut partition = Vec::new();
            for delivery in deliveries {
                partition.push(tokio::time::timeout(LONG, delivery).await.expect("a report in time"));
            }
            results.push(partition);
        }
        self.producer.close(LONG).await.unwrap();
        results
    }
}

/// Waits for something that comes in time.
pub async fn until(done: impl Fn() -> bool) {
    let started = Instant::now();
    while !done() {
        assert!(started.elapsed() < LONG, "nothing for {LONG:?}");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

async fn send(
    producer: Producer,
    topic: Arc<str>,
    partitions: usize,
    stop: Arc<AtomicBool>,
    count: Arc<AtomicUsize>,
) -> Vec<Vec<Delivery>> {
    let mut sent: Vec<Vec<Delivery>> = (0..partitions).map(|_| Vec::new()).collect();
    while !stop.load(Ordering::Relaxed) {
        for _ in 0..5 {
            for (partition, deliveries) in sent.iter_mut().enumerate() {
                let value = format!("{:.<200}", deliveries.len());
                let record = ProducerRecord::new(topic.clone(), value).partition(partition.try_into().unwrap());
                let delivery = loop {
                    match producer.send(record.clone()).await {
                        Ok(delivery) => break delivery,
                        // Deleted, and to be made again.
                        Err(error) => assert_eq!(error.kind(), ErrorKind::UnknownTopic, "{error}"),
                    }
                };
                deliveries.push(delivery);
            }
            count.fetch_add(1, Ordering::Relaxed);
        }
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    sent
}

/// All records were delivered, and the log of each partition has them once and in order, at the offsets that were said.
pub async fn check(client: &Client, topic: &str, results: &[Vec<Result<Delivered, Error>>]) {
    for (partition, results) in results.iter().enumerate() {
        let numbers = crate::numbers(client, topic, partition.try_into().unwrap()).await;
        assert!(numbers.iter().copied().eq(0..results.len() as u64), "{topic}/{partition}: {}", wrong(&numbers));
        for (number, result) in results.iter().enumerate() {
            let offset = result.as_ref().unwrap().offset;
            assert!(offset.is_none_or(|offset| offset == number as i64), "record {number}: {result:?}");
        }
    }
}

fn wrong(numbers: &[u64]) -> String {
    let first = numbers.iter().enumerate().find(|(at, number)| *at as u64 != **number);
    format!("{} numbers, the first wrong one: {first:?}", numbers.len())
}
