//! Three brokers in three racks: reading from the replica that is near (KIP-392).

use std::time::{Duration, Instant};

use kafkacrypto::kafka::{
    Client, Config, Most, NewTopic, OffsetAt, Producer, ProducerConfig, ProducerRecord, Reader, ReaderConfig, Start,
    TopicPartition,
};

use crate::support::{self, Cluster};
use crate::{LONG, runtime};

const SETTINGS: &str = "broker.rack=rack-NODE
replica.selector.class=org.apache.kafka.common.replica.RackAwareReplicaSelector";

/// A partition, and how many records it has.
struct Log {
    place: TopicPartition,
    writer: Producer,
    written: i64,
}

impl Log {
    async fn write(&mut self) {
        let record = ProducerRecord::new(&*self.place.topic, self.written.to_string()).partition(0);
        self.writer.send(record).await.unwrap().await.unwrap();
        self.written += 1;
    }
}

/// Writes, and reads on until all of it has come, once and in order, and it comes from this broker.
async fn reads_from(broker: i32, log: &mut Log, reader: &mut Reader, next: &mut i64) {
    let started = Instant::now();
    let place = &log.place.clone();
    loop {
        log.write().await;
        while *next < log.written {
            assert!(started.elapsed() < 3 * LONG, "{next} of {} read: {:?}", log.written, reader.standing(place));
            for fetched in reader.next(Most::default(), Duration::from_secs(1)).await {
                assert!(fetched.error.is_none(), "{fetched:?}");
                for record in fetched.records {
                    assert_eq!(record.value.unwrap(), next.to_string());
                    *next += 1;
                }
            }
        }
        if reader.standing(place).unwrap().broker == Some(broker) {
            return;
        }
        assert!(started.elapsed() < 3 * LONG, "{:?}", reader.standing(place));
    }
}

#[test]
fn the_near_replica_is_read_from_and_the_leader_when_it_dies() {
    let Some(cluster) = Cluster::set(String::new(), SETTINGS) else { return };
    let topic = support::fresh("near");
    runtime().block_on(async {
        let client = |rack: &str| Client::new(Config::new(cluster.bootstrap().split(',')).client_rack(rack)).unwrap();
        let (far, near) = (client(""), client("rack-2"));
        far.create_topic(&NewTopic::new(&topic).partitions(1), LONG).await.unwrap();
        tokio::task::block_in_place(|| cluster.move_leader(&topic, 0, 1));
        let place = TopicPartition::new(&*topic, 0);
        let mut log = Log { place: place.clone(), writer: Producer::new(&far, ProducerConfig::new()), written: 0 };
        let open = |client| {
            let mut reader = Reader::new(client, ReaderConfig::default().patience(3 * LONG));
            reader.assign(&[(place.clone(), Start::At(OffsetAt::Earliest))]);
            reader
        };
        let (mut reader, mut next) = (open(&near), 0);
        reads_from(2, &mut log, &mut reader, &mut next).await;
        reads_from(1, &mut log, &mut open(&far), &mut 0).await;
        tokio::task::block_in_place(|| cluster.kill(2));
        reads_from(1, &mut log, &mut reader, &mut next).await;
        far.close().await;
        near.close().await;
    });
}
