//! What became of each record.

use std::fmt;
use std::future::Future;
use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, Waker};

use crate::kafka::error::Error;

/// Where a record is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Delivered {
    /// The partition.
    pub partition: i32,
    /// The offset. `None` if the broker didn't say it: with [`Acks::None`](super::Acks::None), or when it only knows that
    /// it has the record already.
    pub offset: Option<i64>,
    /// Milliseconds since 1970: the record's own time, or the broker's if the topic has `LogAppendTime`.
    pub timestamp_ms: i64,
}

/// What will become of a record: a future. To drop it doesn't take the record back.
#[must_use = "only this tells whether the record arrived"]
pub struct Delivery {
    report: Arc<Report>,
    index: i32,
    timestamp_ms: i64,
    /// Where our waker is in the report.
    waker: usize,
}

impl Delivery {
    pub(super) fn new(report: Arc<Report>, index: i32, timestamp_ms: i64) -> Self {
        Self { report, index, timestamp_ms, waker: usize::MAX }
    }

    /// The partition that the record goes to.
    pub fn partition(&self) -> i32 {
        self.report.partition
    }

    /// What became of the record, or `None` as long as it is on its way.
    pub fn now(&self) -> Option<Result<Delivered, Error>> {
        self.find(&self.report.lock())
    }

    fn find(&self, inner: &Inner) -> Option<Result<Delivered, Error>> {
        let ours = |piece: &&Piece| (piece.first..piece.first.saturating_add(piece.count)).contains(&self.index);
        let piece = inner.pieces.iter().find(ours)?;
        Some(piece.result.clone().map(|ack| Delivered {
            partition: self.report.partition,
            offset: ack.base_offset.map(|base| base.saturating_add(i64::from(self.index - piece.first))),
            timestamp_ms: ack.append_time_ms.unwrap_or(self.timestamp_ms),
        }))
    }
}

impl Future for Delivery {
    type Output = Result<Delivered, Error>;

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Self::Output> {
        let report = Arc::clone(&self.report);
        let mut inner = report.lock();
        if let Some(result) = self.find(&inner) {
            return Poll::Ready(result);
        }
        let known = inner.wakers.get(self.waker).is_some_and(|waker| waker.will_wake(context.waker()));
        if !known {
            self.waker = inner.wakers.len();
            inner.wakers.push(context.waker().clone());
        }
        Poll::Pending
    }
}

impl fmt::Debug for Delivery {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { report, index, timestamp_ms, waker: _ } = self;
        let mut out = f.debug_struct("Delivery");
        out.field("partition", &report.partition).field("index", index).field("timestamp_ms", timestamp_ms);
        out.finish_non_exhaustive()
    }
}

/// What became of the records of a batch, shared by their [`Delivery`]s.
pub(super) struct Report {
    partition: i32,
    inner: Mutex<Inner>,
}

impl Report {
    pub(super) fn new(partition: i32) -> Arc<Self> {
        Arc::new(Self { partition, inner: Mutex::default() })
    }

    /// Says what became of some of the records, and wakes who waits.
    pub(super) fn settle(&self, piece: Piece) {
        let wakers = {
            let mut inner = self.lock();
            inner.pieces.push(piece);
            std::mem::take(&mut inner.wakers)
        };
        wakers.into_iter().for_each(Waker::wake);
    }

    fn lock(&self) -> MutexGuard<'_, Inner> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl fmt::Debug for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Report").field("partition", &self.partition).finish_non_exhaustive()
    }
}

/// What became of some neighbours in a batch.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Piece {
    /// The index of the first of them.
    pub(super) first: i32,
    /// How many they are.
    pub(super) count: i32,
    pub(super) result: Result<Ack, Error>,
}

/// What the broker said of a batch that it has.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct Ack {
    pub(super) base_offset: Option<i64>,
    pub(super) append_time_ms: Option<i64>,
}

#[derive(Default)]
struct Inner {
    /// One, but for batches that were split.
    pieces: Vec<Piece>,
    wakers: Vec<Waker>,
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::kafka::error::ErrorKind;

    #[tokio::test]
    async fn a_split_batch_settles_piece_by_piece() {
        let report = Report::new(3);
        let mut late = Delivery::new(Arc::clone(&report), 2, 70);
        let early = Delivery::new(Arc::clone(&report), 1, 60);
        let ack = Ack { base_offset: Some(10), append_time_ms: None };
        report.settle(Piece { first: 0, count: 2, result: Ok(ack) });
        assert_eq!(early.await, Ok(Delivered { partition: 3, offset: Some(11), timestamp_ms: 60 }));
        assert_eq!(late.now(), None);
        let waiting = tokio::time::timeout(std::time::Duration::from_millis(1), &mut late).await;
        assert!(waiting.is_err());
        let result = Err(Error::new(ErrorKind::TooLarge, "too large"));
        let settle = async { report.settle(Piece { first: 2, count: 1, result: result.clone() }) };
        let (found, ()) = tokio::join!(late, settle);
        assert_eq!(found.unwrap_err().kind(), ErrorKind::TooLarge);
    }
}
