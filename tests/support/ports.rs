//! Ports for brokers and proxies of a test's own.

use std::net::TcpListener;
use std::sync::atomic::{AtomicU16, Ordering};

/// A port so that it and each `port + offset` is one on which nobody listens. Below the range that outgoing connections
/// are given, and never the same twice in a process.
pub fn free(offsets: &[u16]) -> u16 {
    static NEXT: AtomicU16 = AtomicU16::new(0);
    let first = 20_000 + u16::try_from(std::process::id() % 10_000).expect("below 10000");
    let unused = |port: &u16| offsets.iter().all(|more| TcpListener::bind(("127.0.0.1", port + more)).is_ok());
    let step = offsets.last().map_or(1, |last| last + 1);
    std::iter::repeat_with(|| NEXT.fetch_add(step, Ordering::Relaxed))
        .take(1000)
        .map(|next| 20_000 + (first - 20_000 + next) % 12_000)
        .find(unused)
        .expect("free ports")
}
