//! Producing: records to batches, batches to the leaders of their partitions, acknowledgements to who waits for them.
//!
//! [`State`](state::State) decides, the sender does. What goes through [`Producer`] is in the log exactly once and in the
//! order of sending for each partition, or reported as failed.
//!
//! It must never send a record again that the broker may have and can't recognise, drop a record without a report, take
//! more memory than it is allowed, or ask about a topic in a way that creates it. It owns no bytes: batches are
//! [`record`](super::record)'s.

mod batch;
mod config;
mod partitioner;
mod producer;
mod record;
mod report;
mod sender;
mod state;
mod wire;

pub use config::{Acks, ProducerConfig};
pub use partitioner::Partitioner;
pub use producer::Producer;
pub use record::ProducerRecord;
pub use report::{Delivered, Delivery};

/// Runs a producer against a model of a cluster, in the order of events that these bytes say.
#[cfg(any(fuzzing, test))]
pub fn fuzz_produce(bytes: &[u8]) {
    state::model::run(bytes);
}
