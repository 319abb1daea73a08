//! Three brokers: leaders that move, brokers that die.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use kafkacrypto::kafka::{FetchError, Isolation, OffsetAt, Reader, ReaderConfig, Reset, Start, TopicPartition};
use serde_json::json;

use crate::support::Cluster;
use crate::writer::Writer;
use crate::{LONG, Seen, client, read_until, reader, runtime, support};

const PARTITIONS: i32 = 3;

/// Writes ever higher numbers to all partitions until it is told to stop; says how many each has.
fn keep_writing(bootstrap: String, topic: String, stop: Arc<AtomicBool>) -> JoinHandle<i64> {
    std::thread::spawn(move || {
        let mut writer = Writer::start(&bootstrap).unwrap();
        let settings = json!({"message.timeout.ms": 60000, "retry.backoff.ms": 50});
        let mut next = 0;
        while !stop.load(Ordering::Relaxed) {
            for partition in 0..PARTITIONS {
                writer.ask(
                    "produce",
                    json!({"topic": topic, "partition": partition, "first": next, "count": 20, "settings": settings}),
                );
            }
            next += 20;
            std::thread::sleep(Duration::from_millis(30));
        }
        next
    })
}

/// Reads while `disturb` runs, and then all that was written: each record once, in order.
fn survives(name: &str, cluster: &Cluster, disturb: impl FnOnce(&str) + Send + 'static) {
    let stop = Arc::new(AtomicBool::new(false));
    let topic = support::fresh(name);
    let bootstrap = cluster.bootstrap();
    Writer::start(&bootstrap).unwrap().create(&topic, PARTITIONS);
    let writing = keep_writing(bootstrap.clone(), topic.clone(), stop.clone());
    runtime().block_on(async {
        let client = client(&bootstrap);
        let mut reader = reader(&client, ReaderConfig::default(), &topic, PARTITIONS);
        let mut seen = Seen::default();
        let disturbed = {
            let topic = topic.clone();
            tokio::task::spawn_blocking(move || disturb(&topic))
        };
        let started = Instant::now();
        read_until(&mut reader, &mut seen, 20 * LONG, |seen| disturbed.is_finished() && seen.count() > 300).await;
        disturbed.await.unwrap();
        stop.store(true, Ordering::Relaxed);
        let each = tokio::task::spawn_blocking(move || writing.join().unwrap()).await.unwrap();
        let all = usize::try_from(each).unwrap() * PARTITIONS as usize;
        read_until(&mut reader, &mut seen, LONG, |seen| seen.count() >= all).await;
        eprintln!("{name}: {all} records in {:?}, told of: {:?}", started.elapsed(), seen.errors);
        for partition in 0..PARTITIONS {
            assert!(seen.numbers[&partition].iter().copied().eq(0..each), "each number of {partition} once, in order");
            let partition = TopicPartition::new(&*topic, partition);
            let end = client.offset(&partition, OffsetAt::Latest, Isolation::Committed, LONG).await.unwrap();
            assert_eq!(reader.standing(&partition).unwrap().next, Some(end));
        }
    });
}

/// A position whose last record has another epoch than the log says: what an unclean election leaves behind.
fn a_log_that_went_another_way(cluster: &Cluster) {
    let topic = support::fresh("diverges");
    let mut writer = Writer::start(&cluster.bootstrap()).unwrap();
    writer.create(&topic, 1);
    writer.produce(&topic, 0, 0, 10);
    let client = client(&cluster.bootstrap());
    let partition = TopicPartition::new(&*topic, 0);
    runtime().block_on(async {
        let mut seen = Seen::default();
        let mut first = reader(&client, ReaderConfig::default(), &topic, 1);
        read_until(&mut first, &mut seen, LONG, |seen| seen.count() >= 10).await;
        let epoch = first.standing(&partition).unwrap().leader_epoch.expect("an epoch");
        for node in 1..=3 {
            cluster.move_leader(&topic, 0, node);
        }
        writer.produce(&topic, 0, 10, 10);
        read_until(&mut first, &mut seen, LONG, |seen| seen.count() >= 20).await;
        assert!(seen.errors.is_empty() && first.standing(&partition).unwrap().leader_epoch > Some(epoch));
        let mut other = Reader::new(&client, ReaderConfig::default().reset(Reset::Earliest));
        other.assign(&[(partition.clone(), Start::Kept { offset: 15, leader_epoch: epoch })]);
        let mut seen = Seen::default();
        read_until(&mut other, &mut seen, LONG, |seen| seen.count() >= 10).await;
        let [FetchError::Truncated { offset: 15, end: 10, next: Some(10), .. }] = &seen.errors[..] else {
            panic!("{:?}", seen.errors)
        };
        assert!(seen.numbers[&0].iter().copied().eq(10..20));
    });
}

#[test]
fn leaders_move_and_brokers_die() {
    let Some(cluster) = Cluster::start() else { return };
    if Writer::start(&cluster.bootstrap()).is_none() {
        return;
    }
    let cluster: &'static Cluster = Box::leak(Box::new(cluster));
    a_log_that_went_another_way(cluster);
    survives("moves", cluster, |topic| {
        for (partition, node) in [(0, 2), (1, 3), (2, 1), (0, 3)] {
            cluster.move_leader(topic, partition, node);
            std::thread::sleep(Duration::from_millis(500));
        }
    });
    survives("dies", cluster, |_| {
        cluster.kill(2);
        std::thread::sleep(Duration::from_secs(4));
        cluster.restart(2);
        cluster.whole();
    });
    survives("rolls", cluster, |_| {
        for node in 1..=3 {
            cluster.kill(node);
            std::thread::sleep(Duration::from_secs(2));
            cluster.restart(node);
            cluster.whole();
        }
    });
    // It was leaked for the threads, so it is ended here.
    (1..=3).for_each(|node| cluster.kill(node));
}
