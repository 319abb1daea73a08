//! One connection that many use at once: requests go out in the order of their calls, answers find who asked.
//!
//! A task of its own owns the stream. It never waits for a caller, and it ends when the broker closes the connection,
//! sends what can't be, falls silent, or nobody has used it for long; whoever waits then learns why.

use std::fmt;
use std::future::poll_fn;
use std::pin::pin;
use std::sync::atomic::{AtomicBool, AtomicI32, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::Poll;
use std::time::Duration;

use bytes::{BufMut, Bytes};
use kafka_protocol::protocol::Request;
use tokio::io::{AsyncReadExt, AsyncWriteExt, ReadHalf, WriteHalf};
use tokio::sync::{Notify, mpsc, oneshot};
use tokio::time::{Instant, sleep_until, timeout, timeout_at};

use super::dial::Dialed;
use super::frames::Frames;
use super::inflight::{InFlight, Pending, Verdict};
use super::raw::{self, Raw};
use super::stream::BoxStream;
use crate::kafka::error::{Error, ErrorKind};
use crate::kafka::protocol::{self, Versions};

/// A connection. Clones share it; it is closed when the last one is dropped.
#[derive(Clone)]
pub(in crate::kafka) struct Connection {
    requests: mpsc::Sender<Outgoing>,
    shared: Arc<Shared>,
}

/// How long a connection may do what.
#[derive(Debug, Clone, Copy)]
pub(in crate::kafka) struct Limits {
    /// How long it may be silent while an answer is due.
    pub(in crate::kafka) patience: Duration,
    /// How long it may be unused.
    pub(in crate::kafka) idle: Duration,
}

impl Connection {
    /// Takes over what was dialled.
    pub(in crate::kafka) fn start(dialed: Dialed, client_id: &str, limits: Limits) -> Self {
        let Dialed { raw, lifetime } = dialed;
        let Raw { stream, frames, versions, suspicion, .. } = raw;
        let now = Instant::now();
        let shared = Arc::new(Shared {
            versions,
            client_id: client_id.to_owned(),
            suspicion,
            correlation: AtomicI32::new(FIRST_CORRELATION),
            inflight: Mutex::new(InFlight::new(now.into_std())),
            ending: AtomicBool::new(false),
            end: Notify::new(),
            fell_silent: AtomicBool::new(false),
            answered: AtomicBool::new(false),
            renew: lifetime.map(|lifetime| now + lifetime.mul_f64(USE_OF_LIFETIME)),
        });
        let (requests, incoming) = mpsc::channel(QUEUE);
        tokio::spawn(run(stream, frames, incoming, shared.clone(), limits));
        Self { requests, shared }
    }

    /// Whether requests can be sent over it.
    pub(in crate::kafka) fn is_open(&self) -> bool {
        !self.requests.is_closed()
            && !self.shared.ending.load(Ordering::Relaxed)
            && self.shared.renew.is_none_or(|renew| Instant::now() < renew)
    }

    /// Whether it ended because an answer was due for too long.
    pub(in crate::kafka) fn fell_silent(&self) -> bool {
        self.shared.fell_silent.load(Ordering::Relaxed)
    }

    /// Whether it has ever answered a request.
    pub(in crate::kafka) fn has_answered(&self) -> bool {
        self.shared.answered.load(Ordering::Relaxed)
    }

    /// Whether the broker still holds back the answer to a request that was given up.
    pub(in crate::kafka) fn is_blocked(&self) -> bool {
        self.shared.inflight().is_blocked(oneshot::Sender::is_closed)
    }

    pub(in crate::kafka) fn versions(&self) -> &Versions {
        &self.shared.versions
    }

    /// No more requests: the connection ends when those that are under way have been answered.
    pub(in crate::kafka) fn close(&self) {
        self.shared.ending.store(true, Ordering::Relaxed);
        self.shared.end.notify_one();
    }

    /// When it has ended.
    pub(in crate::kafka) async fn closed(&self) {
        self.requests.closed().await;
    }

    /// Sends one request and waits for its answer. The broker may hold it back for `hold`.
    pub(in crate::kafka) async fn request<R: Request>(
        &self,
        request: &R,
        version: i16,
        hold: Duration,
        deadline: Instant,
    ) -> Result<R::Response, Error> {
        let answer = self.pass(request, version, Some(hold), deadline).await?;
        protocol::decode::<R>(answer, version)
    }

    /// Sends one request that the broker doesn't answer, and returns when it is written.
    pub(in crate::kafka) async fn post<R: Request>(
        &self,
        request: &R,
        version: i16,
        deadline: Instant,
    ) -> Result<(), Error> {
        self.pass(request, version, None, deadline).await.map(drop)
    }

    async fn pass<R: Request>(
        &self,
        request: &R,
        version: i16,
        hold: Option<Duration>,
        deadline: Instant,
    ) -> Result<Bytes, Error> {
        let correlation = self.shared.correlation.fetch_add(1, Ordering::Relaxed);
        let frame = protocol::encode(request, version, correlation, &self.shared.client_id)?;
        let (reply, answer) = oneshot::channel();
        let outgoing = Outgoing { frame, correlation, hold, reply };
        match timeout_at(deadline, self.requests.send(outgoing)).await {
            Ok(Ok(())) => {}
            Ok(Err(_)) => return Err(gone()),
            Err(_) => return Err(late::<R>().unsent()),
        }
        match timeout_at(deadline, answer).await {
            Ok(Ok(frame)) => frame,
            Ok(Err(_)) => Err(gone()),
            Err(_) => Err(late::<R>()),
        }
    }
}

impl fmt::Debug for Connection {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Connection").field("is_open", &self.is_open()).finish_non_exhaustive()
    }
}

/// How an answer gets to who asked.
type Reply = oneshot::Sender<Result<Bytes, Error>>;

struct Outgoing {
    frame: Bytes,
    correlation: i32,
    /// How long the broker may hold the answer back; `None` when there will be none.
    hold: Option<Duration>,
    reply: Reply,
}

struct Shared {
    versions: Versions,
    client_id: String,
    suspicion: &'static str,
    correlation: AtomicI32,
    inflight: Mutex<InFlight<Reply>>,
    ending: AtomicBool,
    end: Notify,
    fell_silent: AtomicBool,
    answered: AtomicBool,
    renew: Option<Instant>,
}

impl Shared {
    fn inflight(&self) -> MutexGuard<'_, InFlight<Reply>> {
        self.inflight.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The broker has closed the connection.
    fn closed(&self) -> Error {
        match self.answered.load(Ordering::Relaxed) || self.inflight().is_empty() {
            true => broken("the broker closed the connection"),
            false => {
                let what = format!("the broker closed the connection at the first request; {}", self.suspicion);
                Error::new(ErrorKind::Unreachable, what).maybe_sent()
            }
        }
    }

    fn moved(&self) {
        self.inflight().moved(Instant::now().into_std());
    }
}

/// The life of a connection.
async fn run(
    stream: BoxStream,
    frames: Frames,
    mut requests: mpsc::Receiver<Outgoing>,
    shared: Arc<Shared>,
    limits: Limits,
) {
    let (read, mut write) = tokio::io::split(stream);
    let why = tokio::select! {
        biased; // what was received and sent decides what to watch for
        why = receive(read, frames, &shared) => why,
        why = send(&mut write, &mut requests, &shared) => why,
        why = watch(&shared, limits) => why,
    };
    tracing::debug!(%why, "a connection to Kafka ended");
    shared.ending.store(true, Ordering::Relaxed);
    requests.close();
    let pending: Vec<_> = shared.inflight().drain().collect();
    for pending in pending {
        let _gone = pending.reply.send(Err(why.clone()));
    }
    while let Ok(outgoing) = requests.try_recv() {
        let _gone = outgoing.reply.send(Err(gone()));
    }
    let _not_needed = timeout(GOODBYE, write.shutdown()).await;
}

/// Reads answers until something ends the connection.
async fn receive(mut read: ReadHalf<BoxStream>, mut frames: Frames, shared: &Shared) -> Error {
    loop {
        loop {
            match frames.next().and_then(|frame| frame.map(|frame| hand_out(frame, shared)).transpose()) {
                Ok(Some(())) => {}
                Ok(None) => break,
                Err(error) => return error,
            }
        }
        let room = frames.room();
        match read.read_buf(&mut (&mut frames.buffer).limit(room)).await {
            Ok(0) => return shared.closed(),
            Ok(_) => shared.moved(),
            Err(error) => return raw::broken(&error, ErrorKind::Disconnected),
        }
    }
}

fn hand_out(frame: Bytes, shared: &Shared) -> Result<(), Error> {
    let correlation = protocol::correlation(&frame)
        .ok_or_else(|| Error::new(ErrorKind::Disconnected, "the broker sent an answer without a number"))?;
    let pending = shared.inflight().answered(correlation)?;
    shared.answered.store(true, Ordering::Relaxed);
    // Who asked may have given up.
    let _late = pending.reply.send(Ok(frame));
    Ok(())
}

/// Sends requests, each in one write, until something ends the connection.
async fn send(write: &mut WriteHalf<BoxStream>, requests: &mut mpsc::Receiver<Outgoing>, shared: &Shared) -> Error {
    while let Some(Outgoing { frame, correlation, hold, reply }) = requests.recv().await {
        if reply.is_closed() {
            continue; // given up before it was sent
        }
        let (sent, bytes) = (Instant::now().into_std(), frame.len());
        let unanswered = match hold {
            Some(hold) => {
                shared.inflight().push(Pending { correlation, sent, hold, bytes, reply });
                None
            }
            None => Some(reply),
        };
        let written = write_all(write, frame, shared).await;
        let written = written.map_err(|error| raw::broken(&error, ErrorKind::Disconnected));
        if let Some(reply) = unanswered {
            shared.moved();
            let _given_up = reply.send(written.clone().map(|()| Bytes::new()));
        }
        if let Err(why) = written {
            return why;
        }
    }
    // All handles are gone, so nobody waits for an answer.
    Error::new(ErrorKind::Closed, "the connection isn't used any more")
}

async fn write_all(write: &mut WriteHalf<BoxStream>, mut frame: Bytes, shared: &Shared) -> std::io::Result<()> {
    loop {
        write.write_buf(&mut frame).await?;
        if frame.is_empty() {
            break;
        }
        shared.moved();
    }
    write.flush().await
}

/// Waits until the connection should end by our own will.
async fn watch(shared: &Shared, limits: Limits) -> Error {
    let mut timer = pin!(sleep_until(Instant::now()));
    let mut ended = pin!(shared.end.notified());
    poll_fn(|cx| {
        let ending = ended.as_mut().poll(cx).is_ready() || shared.ending.load(Ordering::Relaxed);
        loop {
            match next(shared, limits, ending) {
                Ok(at) if timer.deadline() > at || timer.is_elapsed() => timer.as_mut().reset(at),
                Ok(_) => {}
                Err(why) => return Poll::Ready(why),
            }
            if timer.as_mut().poll(cx).is_pending() {
                return Poll::Pending;
            }
        }
    })
    .await
}

/// When to look again, or why to end.
fn next(shared: &Shared, limits: Limits, ending: bool) -> Result<Instant, Error> {
    let now = Instant::now();
    let inflight = shared.inflight();
    if ending && inflight.is_empty() {
        return Err(Error::new(ErrorKind::Closed, "the connection was closed").unsent());
    }
    match inflight.verdict(now.into_std(), limits.patience, limits.idle, oneshot::Sender::is_closed) {
        Verdict::Well(at) => Ok(at.into()),
        Verdict::Idle => Err(Error::new(ErrorKind::Closed, "the connection was idle for long").unsent()),
        Verdict::Silent => {
            shared.fell_silent.store(true, Ordering::Relaxed);
            Err(broken("the broker fell silent while an answer was due"))
        }
    }
}

fn broken(why: &str) -> Error {
    Error::new(ErrorKind::Disconnected, why)
}

/// The connection ended before the request went out.
fn gone() -> Error {
    Error::new(ErrorKind::Disconnected, "the connection has ended").unsent()
}

fn late<R: Request>() -> Error {
    Error::new(ErrorKind::TimedOut, format!("no answer to {} in time", protocol::name::<R>()))
}

/// Requests that wait for the connection to take them.
const QUEUE: usize = 64;
/// The handshake has used the numbers below it.
const FIRST_CORRELATION: i32 = 1000;
/// A new authentication is due well before the old one ends.
const USE_OF_LIFETIME: f64 = 0.8;
/// How long saying goodbye may take.
const GOODBYE: Duration = Duration::from_millis(200);
