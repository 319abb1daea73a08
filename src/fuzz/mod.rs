//! What the fuzz targets in `fuzz/` do with their input. Tests replay the committed corpora through the same bodies.
//!
//! A panic here is a finding: each body asserts what must hold, not only that nothing crashes. Must never be part of a
//! release: the module exists for `cfg(any(fuzzing, test))` only. Owns the meaning of the bytes in `fuzz/corpus`.
//!
//! Decoders take the input as it is. Where plain bytes would die at a signature or a seal, the input is a *program*
//! ([`program::Program`]) that says what to build and how to mutate it before it is signed.
#![allow(clippy::panic, clippy::expect_used, reason = "a panic is the finding")]
#![allow(clippy::cast_possible_truncation, reason = "inputs are short")]

#[cfg(feature = "kafka")]
mod batches;
mod engine;
mod exchange;
mod formats;
mod model;
mod program;
mod trust;

#[cfg(feature = "kafka")]
pub use crate::kafka::fuzz::{kafka_connection, kafka_responses};
#[cfg(feature = "kafka")]
pub use crate::kafka::fuzz_fetch as kafka_fetch;
#[cfg(feature = "kafka")]
pub use crate::kafka::fuzz_groups as kafka_groups;
#[cfg(feature = "kafka")]
pub use crate::kafka::fuzz_produce as kafka_produce;
#[cfg(feature = "kafka")]
pub use batches::batches;
pub use engine::engine;
pub use exchange::{reply, request};
pub use formats::{config, key_file, message, old_keys, seed_file, wire};
pub use trust::{certificate, chain};

#[cfg(test)]
mod tests;
