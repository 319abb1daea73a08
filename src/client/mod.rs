//! A producer and a consumer that encrypt and decrypt by themselves, for programs that bring no Kafka client.
//!
//! Both work over any [`Transport`](crate::transport::Transport) with the serializers and deserializers of a node, and
//! inside tokio. They must never look into keys (that is the keyring's and the message's part), never send a record
//! twice unless they are told that it may be, and never drop one in silence: what isn't delivered or can't be read is
//! an error that names topic, partition and offset. They own no bytes; of Kafka's rules they own one: which partition
//! a key belongs to ([`partition_of`]).

mod consumer;
mod error;
#[cfg(feature = "kafka")]
mod group;
mod partitioner;
mod producer;
#[cfg(test)]
mod testing;

pub use consumer::{Consumer, ConsumerOptions, ConsumerRecord, OutOfRange, Start};
pub use error::{ReadError, SendError};
#[cfg(feature = "kafka")]
pub use group::GroupConsumer;
pub use partitioner::{Partitioning, murmur2, partition_of};
pub use producer::{Delivery, Producer, ProducerOptions, ProducerRecord, Queued};
