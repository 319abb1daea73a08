//! Where a partition starts and ends.

use std::time::Duration;

use super::Start;
use crate::transport::{OffsetAt, Transport, TransportError};

/// The first offset to read, where the partition ends now, and where reading is to end before that.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Bounds {
    pub(super) next: i64,
    pub(super) end: i64,
    pub(super) stop: i64,
}

pub(super) async fn locate(
    transport: &dyn Transport,
    topic: &str,
    partition: i32,
    start: Start,
    stop_before: Option<i64>,
    within: Duration,
) -> Result<Bounds, TransportError> {
    let offset = async |at| transport.offset(topic, partition, at, within).await;
    // The end comes last: it isn't before the start then.
    let next = match start {
        Start::Beginning => offset(OffsetAt::Earliest).await?,
        Start::Offset(next) => next,
        Start::Time(ms) => offset(OffsetAt::Time(ms)).await?,
        Start::Tail(_) => offset(OffsetAt::Earliest).await?,
        Start::End => offset(OffsetAt::Latest).await?,
    };
    if start == Start::End {
        return Ok(Bounds { next, end: next, stop: next });
    }
    let end = offset(OffsetAt::Latest).await?;
    let next = match start {
        Start::Tail(count) => next.max(end.saturating_sub_unsigned(count)),
        _ => next,
    };
    let stop = match stop_before {
        Some(ms) => offset(OffsetAt::Time(ms)).await?.min(end),
        None => end,
    };
    Ok(Bounds { next, end, stop })
}
