//! Against three brokers.

use std::time::Duration;

use kafkacrypto::kafka::{NewTopic, ProducerConfig, ProducerRecord};

use crate::stream::{Stream, check};
use crate::support::Cluster;
use crate::{LONG, client, create, end, numbers, runtime};

/// One cluster for all of it, since one takes long to start.
#[test]
fn three_brokers() {
    let Some(cluster) = Cluster::start() else { return };
    runtime().block_on(async {
        leaders_move(&cluster).await;
        brokers_die(&cluster).await;
        a_topic_is_made_again(&cluster).await;
        partitions_are_added(&cluster).await;
    });
}

async fn leaders_move(cluster: &Cluster) {
    let client = client(&cluster.bootstrap());
    let topic = create(&client, "moved", 3, &[]).await;
    let stream = Stream::start(&client, &topic, 3, ProducerConfig::new());
    for (partition, node) in [(0, 1), (0, 2), (1, 3)] {
        stream.more(300).await;
        tokio::task::block_in_place(|| cluster.move_leader(&topic, partition, node));
    }
    stream.more(300).await;
    let results = stream.stop().await;
    check(&client, &topic, &results).await;
    client.close().await;
}

async fn brokers_die(cluster: &Cluster) {
    let client = client(&cluster.bootstrap());
    let topic = create(&client, "killed", 6, &[]).await;
    let stream = Stream::start(&client, &topic, 6, ProducerConfig::new());
    for node in 1..=3 {
        stream.more(100).await;
        tokio::task::block_in_place(|| cluster.kill(node));
        // Long enough for others to lead and to be written to.
        tokio::time::sleep(Duration::from_secs(4)).await;
        tokio::task::block_in_place(|| cluster.restart(node));
        // The others don't go on without it until it has caught up.
        tokio::task::block_in_place(|| cluster.whole());
    }
    stream.more(100).await;
    let results = stream.stop().await;
    check(&client, &topic, &results).await;
    client.close().await;
}

async fn a_topic_is_made_again(cluster: &Cluster) {
    let client = client(&cluster.bootstrap());
    let topic = create(&client, "again", 2, &[]).await;
    let stream = Stream::start(&client, &topic, 2, ProducerConfig::new());
    // By another client, so that the producer's isn't told.
    let other = crate::client(&cluster.bootstrap());
    for partition in 0..2 {
        while end(&other, &topic, partition).await == 0 {
            stream.more(20).await;
        }
    }
    assert!(other.delete_topic(&topic, LONG).await.unwrap());
    tokio::time::sleep(Duration::from_secs(2)).await;
    other.create_topic(&NewTopic::new(&topic).partitions(2), LONG).await.unwrap();
    stream.more(100).await;
    for (partition, results) in (0..).zip(stream.stop().await) {
        let numbers = numbers(&client, &topic, partition).await;
        assert!(numbers.is_sorted_by(|one, other| one < other), "{partition}");
        // What the old topic had is gone; from the first in the new one on, all are there.
        let first = numbers[0];
        assert!(numbers.iter().copied().eq(first..results.len() as u64), "{partition}: from {first}");
        assert!(first > 0, "{partition}: nothing was in the old one");
        let failed: Vec<_> = results.iter().enumerate().filter(|(_, result)| result.is_err()).collect();
        assert!(failed.is_empty(), "{partition}, from {first}: {failed:?}");
    }
    client.close().await;
}

async fn partitions_are_added(cluster: &Cluster) {
    let client = client(&cluster.bootstrap());
    let topic = create(&client, "grown", 1, &[]).await;
    let producer = kafkacrypto::kafka::Producer::new(&client, ProducerConfig::new());
    let send = async |record| producer.send(record).await.unwrap().await.unwrap();
    assert_eq!(send(ProducerRecord::new(topic.as_str(), "0")).await.partition, 0);
    // By another client, so that the producer's isn't told.
    crate::client(&cluster.bootstrap()).add_partitions(&topic, 4, LONG).await.unwrap();
    assert_eq!(send(ProducerRecord::new(topic.as_str(), "1").partition(3)).await.partition, 3);
    // Records that name none find the new ones too.
    let mut seen = std::collections::BTreeSet::new();
    let started = std::time::Instant::now();
    while seen.len() < 4 {
        assert!(started.elapsed() < LONG, "{seen:?}");
        let record = ProducerRecord::new(topic.as_str(), vec![b'.'; 100_000]);
        seen.insert(send(record).await.partition);
    }
    producer.close(LONG).await.unwrap();
    client.close().await;
}
