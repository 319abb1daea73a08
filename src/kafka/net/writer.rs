//! Requests on their way out, one behind the other.
//!
//! Who sends a request writes it at once if the stream takes it; what it doesn't take is left to the connection's task,
//! and then all that comes behind it too.

use std::io::IoSlice;
use std::pin::Pin;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use bytes::{Buf, Bytes};
use tokio::io::{AsyncWrite, WriteHalf};
use tokio::sync::{mpsc, oneshot};
use tokio::time::Instant;

use super::connection::Shared;
use super::inflight::Pending;
use super::raw;
use super::stream::BoxStream;
use crate::kafka::error::{Error, ErrorKind};
use crate::kafka::frame::Frame;

/// How an answer gets to who asked.
pub(super) type Reply = oneshot::Sender<Result<Bytes, Error>>;

/// A request that is to be sent.
pub(super) struct Outgoing {
    pub(super) frame: Frame,
    pub(super) correlation: i32,
    /// How long the broker may hold the answer back; `None` when there will be none.
    pub(super) hold: Option<Duration>,
    pub(super) reply: Reply,
}

/// Writes requests in the order in which they were queued.
pub(super) struct Writer<S = BoxStream> {
    pub(super) stream: WriteHalf<S>,
    pub(super) requests: mpsc::Receiver<Outgoing>,
    current: Option<Current>,
    /// The stream didn't take all: the connection's task waits for it.
    waits: bool,
    failed: Option<Error>,
}

/// What is being written.
struct Current {
    rest: Frame,
    /// Who waits for it to be written, if it won't be answered.
    posted: Option<Reply>,
}

impl<S: AsyncWrite + Unpin> Writer<S> {
    pub(super) fn new(stream: WriteHalf<S>, requests: mpsc::Receiver<Outgoing>) -> Self {
        Self { stream, requests, current: None, waits: false, failed: None }
    }

    /// Writes what can be written now, and says whether the rest is for who polls.
    pub(super) fn try_write(&mut self, shared: &Shared) -> bool {
        if self.waits {
            return false; // somebody polls already
        }
        // Nobody is told here when the stream takes more: only `poll` may be, so it has to come next.
        !matches!(self.poll(&mut Context::from_waker(std::task::Waker::noop()), shared), Poll::Ready(Ok(())))
    }

    /// Writes what is queued. Ready when there is nothing left, or the stream is broken.
    pub(super) fn poll(&mut self, context: &mut Context<'_>, shared: &Shared) -> Poll<Result<(), Error>> {
        if let Some(why) = &self.failed {
            return Poll::Ready(Err(why.clone()));
        }
        let written = self.poll_all(context, shared);
        self.waits = written.is_pending();
        if let Poll::Ready(Err(why)) = &written {
            self.failed = Some(why.clone());
        }
        written
    }

    fn poll_all(&mut self, context: &mut Context<'_>, shared: &Shared) -> Poll<Result<(), Error>> {
        loop {
            if self.current.is_none() {
                let Ok(next) = self.requests.try_recv() else { return Poll::Ready(Ok(())) };
                self.current = begin(next, shared);
            }
            let Some(Current { rest, .. }) = &mut self.current else { continue };
            let written = ready!(poll_write(&mut self.stream, rest, context, shared));
            let written = written.map_err(|error| raw::broken(&error, ErrorKind::Disconnected));
            if let Some(reply) = self.current.take().and_then(|current| current.posted) {
                shared.moved();
                let _given_up = reply.send(written.clone().map(|()| Bytes::new()));
            }
            written?;
        }
    }
}

/// A request goes out, unless it was given up before.
fn begin(Outgoing { frame, correlation, hold, reply }: Outgoing, shared: &Shared) -> Option<Current> {
    if reply.is_closed() {
        return None;
    }
    let (sent, bytes) = (Instant::now().into_std(), frame.remaining());
    let posted = match hold {
        Some(hold) => {
            shared.sends(Pending { correlation, sent, hold, bytes, reply });
            None
        }
        None => Some(reply),
    };
    Some(Current { rest: frame, posted })
}

fn poll_write<S: AsyncWrite + Unpin>(
    stream: &mut S,
    rest: &mut Frame,
    context: &mut Context<'_>,
    shared: &Shared,
) -> Poll<std::io::Result<()>> {
    while rest.has_remaining() {
        let mut slices = [IoSlice::new(&[]); AT_ONCE];
        let count = rest.chunks_vectored(&mut slices);
        let parts = slices.get(..count).unwrap_or_default();
        match ready!(Pin::new(&mut *stream).poll_write_vectored(context, parts))? {
            0 => return Poll::Ready(Err(std::io::ErrorKind::WriteZero.into())),
            written => rest.advance(written),
        }
        if rest.has_remaining() {
            shared.moved();
        }
    }
    Pin::new(stream).poll_flush(context)
}

/// Parts that are written at once.
const AT_ONCE: usize = 16;
