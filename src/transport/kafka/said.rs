//! What settings say to those above a transport.

use crate::kafka::{self, Partitioner, Said};
use crate::transport::{Preferences, Reset};

/// The same in the transport's words.
pub(super) fn preferences(said: &Said) -> Preferences {
    let partition_of = |partitioner| match partitioner {
        Partitioner::Java => by_murmur2,
        Partitioner::Librdkafka => by_crc32,
    };
    let reset = |reset| match reset {
        kafka::Reset::Earliest => Reset::Earliest,
        kafka::Reset::Latest => Reset::Latest,
        kafka::Reset::Stop => Reset::Stop,
    };
    Preferences {
        partition_of: said.partitioner.map(partition_of),
        batch_bytes: said.batch_size,
        buffer_bytes: said.buffer_memory,
        max_block: said.max_block,
        delivery_timeout: said.delivery_timeout,
        reset: said.reset.map(reset),
        read_ahead_bytes: said.fetch_max_bytes,
    }
}

fn by_murmur2(key: &[u8], partitions: usize) -> Option<usize> {
    partition_of(Partitioner::Java, key, partitions)
}

fn by_crc32(key: &[u8], partitions: usize) -> Option<usize> {
    partition_of(Partitioner::Librdkafka, key, partitions)
}

fn partition_of(partitioner: Partitioner, key: &[u8], partitions: usize) -> Option<usize> {
    let partition = partitioner.of_key(Some(key), i32::try_from(partitions).ok()?)?;
    usize::try_from(partition).ok()
}
