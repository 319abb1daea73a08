//! A Kafka client: connections, the cluster, producing, fetching, groups, admin.
//!
//! It decides in pure state machines (no tokio, no clock: time is an argument) and has its sockets in one thin layer,
//! `net`. The codec of requests and responses is the crate `kafka-protocol`; record batches are read and written here.
//! Brokers from Kafka 2.8 on.
//!
//! What it must never do: name anything of this crate outside this folder (a stranger can lift it out), create a topic
//! by asking about it, wait longer than a call's deadline, repeat what may have arrived unless the broker drops
//! duplicates, or show a secret.
//!
//! It owns Kafka's protocol on the wire: frames, headers, versions and record batches.

mod admin;
mod cluster;
mod config;
mod consumer;
mod error;
mod fetch;
mod frame;
#[cfg(any(fuzzing, test))]
#[doc(hidden)]
pub mod fuzz;
mod group;
mod net;
mod produce;
mod protocol;
pub mod record;
mod security;
mod trouble;

pub use admin::{Broker, Cluster, Created, GroupInfo, NewTopic, PartitionInfo, Setting, TopicInfo};
pub use cluster::Client;
pub use config::{Config, Said, Settings};
pub use consumer::{Consumer, ConsumerConfig, Rebalance, Subscription, Unread};
pub use error::{Error, ErrorKind};
#[cfg(any(fuzzing, test))]
pub use fetch::fuzz_fetch;
pub use fetch::{
    CLIENT_BUFFER, Corrupt, FetchError, Fetched, Isolation, Most, OffsetAt, Reader, ReaderConfig, Reset, SharedReader,
    Skipped, Standing, Start, TopicPartition,
};
#[cfg(any(fuzzing, test))]
pub use group::fuzz_groups;
pub use group::{Assignor, Committed, GroupProtocol, GroupSettings};
#[cfg(any(fuzzing, test))]
pub use produce::fuzz_produce;
pub use produce::{Acks, Delivered, Delivery, Partitioner, Producer, ProducerConfig, ProducerRecord};
pub use security::{Hidden, SaslMechanism, SecurityProtocol, Token, TokenError, TokenSource};
