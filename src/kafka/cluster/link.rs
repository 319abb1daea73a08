//! The connection of one lane to one broker: made when it is needed, made again when it has ended, with backoff.
//!
//! It is dialled by a task of its own, so that the deadlines of those who wait for it don't cut it short; all of them
//! learn how it went.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::sync::Notify;
use tokio::time::{Instant, timeout_at};

use super::backoff::{Backoff, random};
use crate::kafka::error::{Error, ErrorKind};
use crate::kafka::net::connection::{Connection, Limits};
use crate::kafka::net::dial::Dialer;

/// A connection that comes and goes.
pub(in crate::kafka) struct Link {
    address: String,
    dialer: Arc<Dialer>,
    state: Mutex<State>,
    changed: Notify,
}

impl Link {
    pub(in crate::kafka) fn new(address: &str, dialer: &Arc<Dialer>) -> Arc<Self> {
        let times = dialer.config().times();
        let state = State {
            now: Now::Down,
            backoff: Backoff::new(times.first_backoff, times.most_backoff),
            last_error: None,
            failures: 0,
            patience: PATIENCE,
            silent: None,
            doubtful: false,
        };
        let (address, dialer) = (address.to_owned(), dialer.clone());
        Arc::new(Self { address, dialer, state: Mutex::new(state), changed: Notify::new() })
    }

    /// The connection, within the deadline. Fails when dialling fails while we wait, and at once when there is no use
    /// in trying.
    pub(in crate::kafka) async fn connection(self: &Arc<Self>, deadline: Instant) -> Result<Connection, Error> {
        let seen = self.state().failures;
        loop {
            let changed = self.changed.notified();
            let mut changed = std::pin::pin!(changed);
            changed.as_mut().enable();
            let until = match self.look(seen)? {
                Look::Open(connection) => return Ok(connection),
                Look::Wait(until) => until.min(deadline),
                Look::Dialling => deadline,
            };
            if timeout_at(until, changed).await.is_err() && Instant::now() >= deadline {
                return Err(self.too_late());
            }
        }
    }

    /// The connection, if there is one.
    pub(in crate::kafka) fn open(&self) -> Option<Connection> {
        match &self.state().now {
            Now::Up(connection) if connection.is_open() => Some(connection.clone()),
            _ => None,
        }
    }

    /// Whether dialling failed lately.
    pub(in crate::kafka) fn is_failing(&self) -> bool {
        self.state().last_error.is_some()
    }

    /// Ends the connection once its requests are answered.
    pub(in crate::kafka) fn close(&self) -> Option<Connection> {
        match std::mem::replace(&mut self.state().now, Now::Down) {
            Now::Up(connection) => {
                connection.close();
                Some(connection)
            }
            _ => None,
        }
    }

    fn look(self: &Arc<Self>, seen: u64) -> Result<Look, Error> {
        let mut state = self.state();
        let now = Instant::now();
        match &state.now {
            Now::Up(connection) if connection.is_open() => return Ok(Look::Open(connection.clone())),
            Now::Dialling => return Ok(Look::Dialling),
            Now::Up(_) | Now::Down => {}
        }
        state.bury(now);
        let wait = state.backoff.wait(now.into_std());
        let last = state.last_error.as_ref();
        if let Some(error) = last.filter(|error| state.failures != seen || wait.is_some() && is_final(error)) {
            return Err(error.clone());
        }
        if let Some(until) = wait {
            return Ok(Look::Wait(until.into()));
        }
        state.now = Now::Dialling;
        if state.silent.is_some_and(|at| now >= at + LATELY) {
            state.patience = PATIENCE;
        }
        let (patience, doubtful) = (state.patience, state.doubtful);
        drop(state);
        tokio::spawn(self.clone().dial(patience, doubtful));
        Ok(Look::Dialling)
    }

    async fn dial(self: Arc<Self>, patience: Duration, doubtful: bool) {
        // Whatever happens to this task, nobody waits for it in vain.
        let mut outcome = Outcome { link: &self, result: Err(cut_short()) };
        let config = self.dialer.config();
        let times = config.times();
        let dialed = self.dialer.dial(&self.address, Instant::now() + times.setup, doubtful).await;
        let limits = Limits { patience, idle: times.idle };
        outcome.result = dialed.map(|dialed| Connection::start(dialed, config.name(), limits));
    }

    fn dialled(&self, result: Result<Connection, Error>) {
        let mut state = self.state();
        match result {
            Ok(connection) => {
                tracing::debug!(address = self.address, "connected to a Kafka broker");
                state.last_error = None;
                state.now = Now::Up(connection);
            }
            Err(error) => {
                tracing::debug!(address = self.address, %error, "no connection to a Kafka broker");
                state.now = Now::Down;
                state.failures += 1;
                state.backoff.failed(Instant::now().into_std(), random());
                state.last_error = Some(error);
            }
        }
        drop(state);
        self.changed.notify_waiters();
    }

    fn too_late(&self) -> Error {
        let known = self.state().last_error.clone();
        let late = || Error::new(ErrorKind::TimedOut, format!("no connection to {} in time", self.address));
        known.unwrap_or_else(late).unsent()
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

struct State {
    now: Now,
    backoff: Backoff,
    last_error: Option<Error>,
    /// How often dialling has failed.
    failures: u64,
    patience: Duration,
    /// When a connection last fell silent.
    silent: Option<Instant>,
    /// The last connection was of no use.
    doubtful: bool,
}

impl State {
    /// Learns from a connection that has ended.
    fn bury(&mut self, now: Instant) {
        let Now::Up(connection) = std::mem::replace(&mut self.now, Now::Down) else { return };
        connection.close();
        if connection.fell_silent() {
            // A broker that is slow, not dead, gets more time each time.
            let lately = self.silent.is_some_and(|at| now < at + LATELY);
            self.patience = if lately { (self.patience * 2).min(MOST_PATIENCE) } else { PATIENCE * 2 };
            self.silent = Some(now);
        }
        // One that was of no use can't be made again without end.
        self.doubtful = !connection.has_answered();
        match connection.has_answered() {
            true => self.backoff.worked(),
            false => _ = self.backoff.failed(now.into_std(), random()),
        }
    }
}

enum Now {
    Down,
    Dialling,
    Up(Connection),
}

enum Look {
    Open(Connection),
    Dialling,
    Wait(Instant),
}

/// Reports when it is dropped.
struct Outcome<'a> {
    link: &'a Link,
    result: Result<Connection, Error>,
}

impl Drop for Outcome<'_> {
    fn drop(&mut self) {
        self.link.dialled(std::mem::replace(&mut self.result, Err(cut_short())));
    }
}

/// Errors that don't go away by trying.
fn is_final(error: &Error) -> bool {
    matches!(error.kind(), ErrorKind::Authentication | ErrorKind::Config | ErrorKind::NotKafka | ErrorKind::Unsupported)
}

fn cut_short() -> Error {
    Error::new(ErrorKind::Unreachable, "connecting was cut short").unsent()
}

/// How long a connection may be silent while an answer is due, at first and at most.
const PATIENCE: Duration = Duration::from_secs(4);
const MOST_PATIENCE: Duration = Duration::from_secs(30);
/// After so long the patience is the first one again.
const LATELY: Duration = Duration::from_secs(120);
