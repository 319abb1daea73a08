//! Sockets: the one thin layer that sends and receives bytes.
//!
//! [`dial`] makes a connection, [`connection`] shares it among many callers; [`frames`] and [`inflight`] are what they
//! decide with, pure. TLS and SASL come in at two places of `dial`.
//!
//! What it must never do: know topics, records or groups, wait beyond a deadline, or repeat a request.
//!
//! It owns the bytes of frames on their way: lengths and correlation ids.

pub(in crate::kafka) mod connection;
pub(in crate::kafka) mod dial;
pub(in crate::kafka) mod frames;
pub(in crate::kafka) mod inflight;
pub(in crate::kafka) mod race;
pub(in crate::kafka) mod raw;
pub(in crate::kafka) mod stream;
mod writer;

#[cfg(test)]
pub(in crate::kafka) mod tests;
