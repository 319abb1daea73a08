//! Sockets: the one thin layer that sends and receives bytes.
//!
//! What it must never do: know topics, records or groups, wait beyond a deadline, or repeat a request.
//!
//! It owns the bytes of frames on their way: lengths and correlation ids.

pub(in crate::kafka) mod stream;
