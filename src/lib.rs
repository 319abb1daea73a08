//! End-to-end encryption for Apache Kafka in pure Rust, byte for byte compatible with the Python and Java
//! implementations of kafkacrypto.
//!
//! Producers encrypt every record key and value with keys from a ratchet, one set for each *root topic*; consumers ask
//! producers for the keys over Kafka topics; signed certificate chains decide who may have them.
//!
//! # The house
//!
//! Lower layers never import upper ones, there are no circles, and the protocol core (layers 0 to 5) does no I/O, reads
//! no clock and owns no thread. `tests/layers.rs` holds the code to this table.
//!
//! | layer | modules | what they know |
//! |---|---|---|
//! | 0 leaves | [`secret`], [`time`], [`topic`], `wire`, [`kafka`] | bytes, names and seams; no key, no certificate (`kafka`, a client, is the world's too) |
//! | 1 algorithms | `primitives` | arrays in, secrets out |
//! | 2 keys | [`keys`] | the bytes of one key, the ratchet, the generator |
//! | 3 trust | [`chain`] | certificates, restrictions, trust lists, verification |
//! | 4 protocol, pure | [`exchange`], [`keyring`], [`message`], [`serdes`], [`store`] | requests and replies, known and wanted secrets, the encrypted message, the bytes of files |
//! | 5 engines | [`engine`], [`provision`] | all policy, as state machines; offline set-up |
//! | 6 the world | [`transport`], `files`, [`runtime`], [`client`] | brokers, disks, tokio |
//! | 7 the tool | `src/bin/kafkacrypto` | the public API only |
#![deny(missing_docs, unreachable_pub, unsafe_code)]
#![deny(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::unreachable,
    clippy::indexing_slicing,
    clippy::cast_possible_truncation,
    clippy::todo,
    clippy::dbg_macro
)]
#![cfg_attr(docsrs, feature(doc_cfg))]

pub mod chain;
pub mod engine;
pub mod error;
pub mod exchange;
pub mod keyring;
pub mod keys;
pub mod message;
pub mod provision;
pub mod secret;
pub mod serdes;
pub mod store;
pub mod time;
pub mod topic;

#[cfg(any(fuzzing, test))]
#[doc(hidden)]
pub mod fuzz;

mod primitives;
pub mod wire;

#[cfg(feature = "runtime")]
pub mod client;
#[cfg(feature = "runtime")]
mod files;
#[cfg(feature = "kafka")]
pub mod kafka;
#[cfg(feature = "runtime")]
pub mod runtime;
#[cfg(feature = "runtime")]
pub mod transport;

/// The examples of the README are tests too.
#[cfg(doctest)]
#[doc = include_str!("../README.md")]
struct Readme;
