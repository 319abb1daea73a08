//! The connection of one lane to one broker: made when it is needed, made again when it has ended, with backoff.
//!
//! It is dialled by a task of its own, so that the deadlines of those who wait for it don't cut it short; all of them
//! learn how it went. [`Life`] decides.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::sync::watch;
use tokio::time::{Instant, timeout_at};

use super::backoff::{Backoff, random};
use super::life::{Life, Line, Next, Terms};
use crate::kafka::error::{Error, ErrorKind};
use crate::kafka::net::connection::{Connection, Limits};
use crate::kafka::net::dial::Dialer;

/// A connection that comes and goes.
pub(in crate::kafka) struct Link {
    address: String,
    dialer: Arc<Dialer>,
    life: Mutex<Life<Connection>>,
    /// Who waits listens.
    changed: watch::Sender<()>,
}

impl Link {
    pub(in crate::kafka) fn new(address: &str, dialer: &Arc<Dialer>) -> Arc<Self> {
        let times = dialer.config().times();
        let life = Life::new(Backoff::new(times.first_backoff, times.most_backoff));
        let (address, dialer) = (address.to_owned(), dialer.clone());
        Arc::new(Self { address, dialer, life: Mutex::new(life), changed: watch::Sender::new(()) })
    }

    /// Another link to the same address.
    pub(in crate::kafka) fn another(&self) -> Arc<Self> {
        Self::new(&self.address, &self.dialer)
    }

    /// The connection, within the deadline. Fails when dialling fails while we wait, and at once when there is no use
    /// in trying.
    pub(in crate::kafka) async fn connection(self: &Arc<Self>, deadline: Instant) -> Result<Connection, Error> {
        if let Some(open) = self.open() {
            return Ok(open);
        }
        let seen = self.life().failures();
        let mut changed = self.changed.subscribe();
        loop {
            changed.mark_unchanged();
            let next = self.life().next(seen, Instant::now().into_std(), random())?;
            let until = match next {
                Next::Use(connection) => return Ok(connection),
                Next::Wait(until) => deadline.min(until.into()),
                Next::Await => deadline,
                Next::Dial(terms) => {
                    tokio::spawn(self.clone().dial(terms));
                    deadline
                }
            };
            if timeout_at(until, changed.changed()).await.is_err() && Instant::now() >= deadline {
                return Err(self.too_late());
            }
        }
    }

    /// The connection, if there is one.
    pub(in crate::kafka) fn open(&self) -> Option<Connection> {
        self.life().open()
    }

    /// Whether dialling failed lately.
    pub(in crate::kafka) fn is_failing(&self) -> bool {
        self.life().last_error().is_some()
    }

    /// Ends the connection once its requests are answered.
    pub(in crate::kafka) fn close(&self) -> Option<Connection> {
        let mut life = self.life();
        life.close(self.changed.receiver_count() > 0)
    }

    async fn dial(self: Arc<Self>, Terms { patience, doubtful }: Terms) {
        // Whatever happens to this task, nobody waits for it in vain.
        let mut outcome = Outcome { link: &self, result: Err(cut_short()) };
        let config = self.dialer.config();
        let times = config.times();
        let dialed = self.dialer.dial(&self.address, Instant::now() + times.setup, doubtful).await;
        let limits = Limits { patience, idle: times.idle };
        outcome.result = dialed.map(|dialed| Connection::start(dialed, config.name(), limits));
    }

    fn dialled(&self, result: Result<Connection, Error>) {
        match &result {
            Ok(_) => tracing::debug!(address = self.address, "connected to a Kafka broker"),
            Err(error) => tracing::debug!(address = self.address, %error, "no connection to a Kafka broker"),
        }
        self.life().dialled(result, Instant::now().into_std(), random());
        self.changed.send_replace(());
    }

    fn too_late(&self) -> Error {
        let known = self.life().last_error().cloned();
        let late = || Error::new(ErrorKind::TimedOut, format!("no connection to {} in time", self.address));
        known.unwrap_or_else(late).unsent()
    }

    fn life(&self) -> MutexGuard<'_, Life<Connection>> {
        self.life.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Line for Connection {
    fn is_open(&self) -> bool {
        self.is_open()
    }

    fn fell_silent(&self) -> bool {
        self.fell_silent()
    }

    fn has_answered(&self) -> bool {
        self.has_answered()
    }

    fn close(&self) {
        self.close();
    }
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

fn cut_short() -> Error {
    Error::new(ErrorKind::Unreachable, "connecting was cut short").unsent()
}
