//! Reading: what all [`Reader`]s of a Client want, asked of each broker in one request, kept ready up to a bound.
//!
//! The core decides, as a pure state machine over events and time; the hub carries its requests out; a [`Reader`] hands out
//! records and knows where it stands; a [`SharedReader`] serves many callers at a time who know that themselves. What is
//! compressed is decompressed ahead of it, on other threads. Positions are the caller's: nothing is committed here.
//!
//! What it must never do: hand out a record twice or out of order, skip one without saying so (in `skipped` or `error`), hold
//! more bytes than it was allowed, ask for a partition in a request of its own, or lose anything when a future is dropped.
//!
//! It owns the bytes of fetch and offset requests and of their answers; batches are the room `record`'s.
//!
//! Records are read from leaders, or from the replica that a leader names for our rack (KIP-392): for five minutes, and not
//! when that one fails or hasn't the offset. A log that was cut by an unclean election is noticed by the broker itself, which
//! is told the epoch of the record before each offset (KIP-320, as followers do it); no request of its own is needed for that.

mod config;
mod core;
mod error;
mod hub;
mod offsets;
mod open;
mod reader;
mod shared;
mod unpack;
mod wire;

pub use config::{CLIENT_BUFFER, Corrupt, Isolation, Most, OffsetAt, ReaderConfig, Reset, Start, TopicPartition};
pub use error::FetchError;
pub(in crate::kafka) use hub::Hub;
pub use reader::{Fetched, Reader, Skipped, Standing};
pub use shared::SharedReader;

/// Runs the core against a model of brokers, in the order of events that these bytes say.
#[cfg(any(fuzzing, test))]
pub fn fuzz_fetch(bytes: &[u8]) {
    core::model::run(bytes);
}
