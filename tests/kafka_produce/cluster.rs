//! Against three brokers.

use std::time::Duration;

use kafkacrypto::kafka::{ProducerConfig, ProducerRecord};

use crate::stream::{Stream, check};
use crate::support::{self, Cluster};
use crate::{LONG, client, numbers, runtime};

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

fn create(cluster: &Cluster, name: &str, partitions: &str) -> String {
    let topic = support::fresh(name);
    cluster.tool("TopicCommand", &["--create", "--topic", &topic, "--partitions", partitions]);
    topic
}

async fn leaders_move(cluster: &Cluster) {
    let (client, topic) = (client(&cluster.bootstrap()), create(cluster, "moved", "3"));
    let stream = Stream::start(&client, &topic, 3, ProducerConfig::new());
    for (partition, node) in [(0, 1), (0, 2), (1, 3)] {
        tokio::task::block_in_place(|| cluster.move_leader(&topic, partition, node));
    }
    let results = stream.stop().await;
    assert!(results[0].len() > 1000, "{}", results[0].len());
    check(&client, &topic, &results).await;
    client.close().await;
}

async fn brokers_die(cluster: &Cluster) {
    let (client, topic) = (client(&cluster.bootstrap()), create(cluster, "killed", "6"));
    let stream = Stream::start(&client, &topic, 6, ProducerConfig::new());
    for node in 1..=3 {
        tokio::time::sleep(Duration::from_secs(1)).await;
        tokio::task::block_in_place(|| cluster.kill(node));
        tokio::time::sleep(Duration::from_secs(4)).await;
        tokio::task::block_in_place(|| cluster.restart(node));
        // The others don't go on without it until it has caught up.
        tokio::time::sleep(Duration::from_secs(6)).await;
    }
    let results = stream.stop().await;
    check(&client, &topic, &results).await;
    client.close().await;
}

async fn a_topic_is_made_again(cluster: &Cluster) {
    let (client, topic) = (client(&cluster.bootstrap()), create(cluster, "again", "2"));
    let stream = Stream::start(&client, &topic, 2, ProducerConfig::new());
    tokio::time::sleep(Duration::from_secs(1)).await;
    tokio::task::block_in_place(|| {
        cluster.tool("TopicCommand", &["--delete", "--topic", &topic]);
        cluster.tool("TopicCommand", &["--create", "--topic", &topic, "--partitions", "2"]);
    });
    tokio::time::sleep(Duration::from_secs(3)).await;
    for (partition, results) in (0..).zip(stream.stop().await) {
        let numbers = numbers(&client, &topic, partition).await;
        assert!(numbers.is_sorted_by(|one, other| one < other), "{partition}");
        // What the old topic had is gone; from the first in the new one on, all are there.
        let first = numbers[0];
        assert!(numbers.iter().copied().eq(first..results.len() as u64), "{partition}: from {first}");
        assert!(first > 0 && results.iter().all(Result::is_ok));
    }
    client.close().await;
}

async fn partitions_are_added(cluster: &Cluster) {
    let (client, topic) = (client(&cluster.bootstrap()), create(cluster, "grown", "1"));
    let producer = kafkacrypto::kafka::Producer::new(&client, ProducerConfig::new());
    let send = async |record| producer.send(record).await.unwrap().await.unwrap();
    assert_eq!(send(ProducerRecord::new(topic.as_str(), "0")).await.partition, 0);
    tokio::task::block_in_place(|| {
        cluster.tool("TopicCommand", &["--alter", "--topic", &topic, "--partitions", "4"]);
    });
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
