//! One connection that many use at once: requests go out in the order of their calls, answers find who asked.
//!
//! A task of its own reads. It never waits for a caller, and it ends when the broker closes the connection, sends what
//! can't be, falls silent, or nobody has used it for long; whoever waits then learns why. Callers write themselves what
//! can be written at once, and the task writes the rest: see [`Writer`].

use std::fmt;
use std::future::poll_fn;
use std::pin::pin;
use std::sync::atomic::{AtomicBool, AtomicI32, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, TryLockError};
use std::task::Poll;
use std::time::Duration;

use bytes::{BufMut, Bytes};
use kafka_protocol::protocol::{Request, StrBytes};
use tokio::io::{AsyncReadExt, AsyncWriteExt, ReadHalf};
use tokio::sync::mpsc::error::TrySendError;
use tokio::sync::{Notify, mpsc, oneshot};
use tokio::time::{Instant, sleep_until, timeout, timeout_at};

use super::dial::Dialed;
use super::frames::Frames;
use super::inflight::{InFlight, Pending, Verdict};
use super::raw::{self, Raw};
use super::stream::BoxStream;
use super::writer::{Outgoing, Reply, Writer};
use crate::kafka::error::{Error, ErrorKind};
use crate::kafka::protocol::{self, Body, Versions};

/// A connection. Clones share it; it is closed when the last one is dropped.
#[derive(Clone)]
pub(in crate::kafka) struct Connection(Arc<Handle>);

/// What the clones share: when the last is gone, the connection ends.
struct Handle {
    requests: mpsc::Sender<Outgoing>,
    shared: Arc<Shared>,
}

impl Drop for Handle {
    fn drop(&mut self) {
        self.shared.unused.store(true, Ordering::Relaxed);
        self.shared.look.notify_one();
    }
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
        let (requests, queued) = mpsc::channel(QUEUE);
        let (read, write) = tokio::io::split(stream);
        let shared = Arc::new(Shared {
            versions,
            client_id: StrBytes::from_string(client_id.to_owned()),
            suspicion,
            correlation: AtomicI32::new(FIRST_CORRELATION),
            inflight: Mutex::new(InFlight::new(now.into_std(), limits.patience, limits.idle)),
            writer: Mutex::new(Some(Writer::new(write, queued))),
            rest: Notify::new(),
            ending: AtomicBool::new(false),
            unused: AtomicBool::new(false),
            look: Notify::new(),
            fell_silent: AtomicBool::new(false),
            answered: AtomicBool::new(false),
            renew: lifetime.map(|lifetime| now + lifetime.mul_f64(USE_OF_LIFETIME)),
        });
        tokio::spawn(run(read, frames, Task(shared.clone())));
        Self(Arc::new(Handle { requests, shared }))
    }

    /// Whether requests can be sent over it.
    pub(in crate::kafka) fn is_open(&self) -> bool {
        !self.0.requests.is_closed()
            && !self.shared().ending.load(Ordering::Relaxed)
            && self.shared().renew.is_none_or(|renew| Instant::now() < renew)
    }

    /// Whether it ended because an answer was due for too long.
    pub(in crate::kafka) fn fell_silent(&self) -> bool {
        self.shared().fell_silent.load(Ordering::Relaxed)
    }

    /// Whether it has ever answered a request.
    pub(in crate::kafka) fn has_answered(&self) -> bool {
        self.shared().answered.load(Ordering::Relaxed)
    }

    /// Whether the broker still holds back the answer to a request that was given up.
    pub(in crate::kafka) fn is_blocked(&self) -> bool {
        self.shared().inflight().is_blocked(oneshot::Sender::is_closed)
    }

    pub(in crate::kafka) fn versions(&self) -> &Versions {
        &self.shared().versions
    }

    /// No more requests: the connection ends when those that are under way have been answered.
    pub(in crate::kafka) fn close(&self) {
        self.shared().ending.store(true, Ordering::Relaxed);
        self.shared().look.notify_one();
    }

    /// When it has ended.
    pub(in crate::kafka) async fn closed(&self) {
        self.0.requests.closed().await;
    }

    /// Sends one request and waits for its answer. The broker may hold it back for `hold`.
    pub(in crate::kafka) async fn request<B: Body>(
        &self,
        request: &B,
        version: i16,
        hold: Duration,
        deadline: Instant,
    ) -> Result<<B::Request as Request>::Response, Error> {
        let answer = self.pass(request, version, Some(hold), deadline).await?;
        protocol::decode::<B::Request>(answer, version)
    }

    /// Sends one request that the broker doesn't answer, and returns when it is written.
    pub(in crate::kafka) async fn post<B: Body>(
        &self,
        request: &B,
        version: i16,
        deadline: Instant,
    ) -> Result<(), Error> {
        self.pass(request, version, None, deadline).await.map(drop)
    }

    async fn pass<B: Body>(
        &self,
        request: &B,
        version: i16,
        hold: Option<Duration>,
        deadline: Instant,
    ) -> Result<Bytes, Error> {
        let correlation = self.shared().correlation.fetch_add(1, Ordering::Relaxed);
        let frame = protocol::encode(request, version, correlation, &self.shared().client_id)?;
        let (reply, answer) = oneshot::channel();
        let outgoing = Outgoing { frame, correlation, hold, reply };
        if let Err(TrySendError::Full(outgoing)) = self.0.requests.try_send(outgoing) {
            let queued = timeout_at(deadline, self.0.requests.send(outgoing)).await;
            queued.map_err(|_| late::<B::Request>().unsent())?.map_err(|_| gone())?;
        }
        self.shared().write();
        match timeout_at(deadline, answer).await {
            Ok(Ok(frame)) => frame,
            Ok(Err(_)) => Err(gone()),
            Err(_) => Err(late::<B::Request>()),
        }
    }

    fn shared(&self) -> &Shared {
        &self.0.shared
    }
}

impl fmt::Debug for Connection {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Connection").field("is_open", &self.is_open()).finish_non_exhaustive()
    }
}

/// What callers and the connection's task share.
pub(super) struct Shared {
    versions: Versions,
    client_id: StrBytes,
    suspicion: &'static str,
    correlation: AtomicI32,
    inflight: Mutex<InFlight<Reply>>,
    /// `None` when the connection has ended.
    writer: Mutex<Option<Writer>>,
    /// There is something to write for the task.
    rest: Notify,
    /// To end when all is answered.
    ending: AtomicBool,
    /// Nobody waits for an answer any more.
    unused: AtomicBool,
    /// The task is to look whether to end, and when.
    look: Notify,
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

    pub(super) fn moved(&self) {
        self.inflight().moved(Instant::now().into_std());
    }

    /// A request goes out.
    pub(super) fn sends(&self, pending: Pending<Reply>) {
        if self.inflight().push(pending) {
            self.look.notify_one();
        }
    }

    /// Writes what is queued, or has it written.
    fn write(&self) {
        let rest = match self.writer.try_lock() {
            Ok(mut writer) => writer.as_mut().is_some_and(|writer| writer.try_write(self)),
            // Who writes may have looked for more already.
            Err(TryLockError::WouldBlock | TryLockError::Poisoned(_)) => true,
        };
        if rest {
            self.rest.notify_one();
        }
    }

    /// Nobody writes any more. Who waits is told why.
    fn end(&self, why: &Error) -> Option<Writer> {
        self.ending.store(true, Ordering::Relaxed);
        let mut writer = self.writer().take()?;
        writer.requests.close();
        let pending: Vec<_> = self.inflight().drain().collect();
        for pending in pending {
            let _gone = pending.reply.send(Err(why.clone()));
        }
        while let Ok(outgoing) = writer.requests.try_recv() {
            let _gone = outgoing.reply.send(Err(gone()));
        }
        Some(writer)
    }

    fn writer(&self) -> MutexGuard<'_, Option<Writer>> {
        self.writer.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The life of a connection.
async fn run(read: ReadHalf<BoxStream>, frames: Frames, task: Task) {
    let shared = &task.0;
    let why = tokio::select! {
        biased; // what was received and sent decides what to watch for
        why = receive(read, frames, shared) => why,
        why = send(shared) => why,
        why = watch(shared) => why,
    };
    tracing::debug!(%why, "a connection to Kafka ended");
    if let Some(mut writer) = shared.end(&why) {
        let _not_needed = timeout(GOODBYE, writer.stream.shutdown()).await;
    }
}

/// Whatever happens to the task, nobody waits for it in vain.
struct Task(Arc<Shared>);

impl Drop for Task {
    fn drop(&mut self) {
        self.0.end(&broken("the connection's tokio runtime was shut down"));
    }
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
    if shared.ending.load(Ordering::Relaxed) {
        shared.look.notify_one();
    }
    Ok(())
}

/// Writes what callers couldn't, until something ends the connection.
async fn send(shared: &Shared) -> Error {
    loop {
        let written = poll_fn(|context| match &mut *shared.writer() {
            Some(writer) => writer.poll(context, shared),
            None => Poll::Ready(Err(gone())),
        });
        if let Err(why) = written.await {
            return why;
        }
        shared.rest.notified().await;
    }
}

/// Waits until the connection should end by our own will.
async fn watch(shared: &Shared) -> Error {
    let mut timer = pin!(sleep_until(Instant::now()));
    loop {
        match next(shared) {
            Ok(at) if at != timer.deadline() => timer.as_mut().reset(at),
            Ok(_) => {}
            Err(why) => return why,
        }
        tokio::select! {
            () = timer.as_mut() => {}
            () = shared.look.notified() => {}
        }
    }
}

/// When to look again, or why to end.
fn next(shared: &Shared) -> Result<Instant, Error> {
    if shared.unused.load(Ordering::Relaxed) {
        return Err(Error::new(ErrorKind::Closed, "the connection isn't used any more"));
    }
    let now = Instant::now();
    let mut inflight = shared.inflight();
    if shared.ending.load(Ordering::Relaxed) && inflight.is_empty() {
        return Err(Error::new(ErrorKind::Closed, "the connection was closed").unsent());
    }
    match inflight.verdict(now.into_std(), oneshot::Sender::is_closed) {
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
