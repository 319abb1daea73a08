use std::fmt;
use std::pin::Pin;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll, Wake, Waker};
use std::time::Duration;

use super::{Keyring, Wanted, lock, read};

/// Why a wanted key can't be had, as one sentence for people.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Refusal(Arc<str>);

/// Wakes waits whose time is over. The runtime's part: a thread or a timer of its own.
pub trait Timer: Send + Sync {
    /// Wakes `waker` after `delay`, once.
    fn wake_after(&self, delay: Duration, waker: Waker);
}

/// Why a wait ended without the key.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum WaitError {
    /// The time is over.
    #[error("no key has arrived in time; try again later")]
    TimedOut,
    /// The key can't be had.
    #[error("{0}")]
    Refused(Refusal),
    /// Too many other keys of this root are unknown, so this one isn't waited for.
    #[error("not waited: too many unknown keys under this root; try again when some have arrived")]
    TooManyUnknown,
    /// The node was closed, or its background task is down.
    #[error("not waited: {0}")]
    Halted(Arc<str>),
    /// There is nothing that could end the wait.
    #[error("not waited: the keyring has no timer; wait on a message of a running node, or block")]
    NoTimer,
}

impl Refusal {
    /// A reason that says what to do next.
    #[must_use]
    pub fn new(reason: &str) -> Self {
        Self(reason.into())
    }
}

impl fmt::Display for Refusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl Keyring {
    /// Waits until a key arrives, on any runtime.
    pub(crate) async fn wait(&self, wanted: &Wanted, deadline: Duration) -> Result<(), WaitError> {
        self.check_budget(wanted)?;
        let timer = read(&self.timer).clone().ok_or(WaitError::NoTimer)?;
        let id = lock(&wanted.want().state).new_id();
        let alarm = Arc::new(Alarm::default());
        let wait = Wait { wanted, id, alarm: alarm.clone() };
        timer.wake_after(deadline, alarm.into());
        wait.await
    }

    /// Blocks until a key arrives.
    pub(crate) fn wait_blocking(&self, wanted: &Wanted, deadline: Duration) -> Result<(), WaitError> {
        self.check_budget(wanted)?;
        let want = wanted.want();
        let (mut state, _) = (want.changed)
            .wait_timeout_while(lock(&want.state), deadline, |state| state.end().is_none())
            .unwrap_or_else(PoisonError::into_inner);
        state.end().unwrap_or_else(|| Err(state.timed_out()))
    }

    fn check_budget(&self, wanted: &Wanted) -> Result<(), WaitError> {
        let wants = lock(&self.wants);
        wants.may_wait(wanted.want(), &self.limits).then_some(()).ok_or(WaitError::TooManyUnknown)
    }
}

/// The future behind [`Keyring::wait`]. Its wakers go when it goes.
struct Wait<'a> {
    wanted: &'a Wanted,
    id: u64,
    alarm: Arc<Alarm>,
}

impl Future for Wait<'_> {
    type Output = Result<(), WaitError>;

    fn poll(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Self::Output> {
        // before anything is looked at, so that neither an arrival nor the alarm falls in between
        self.alarm.set_waker(context.waker());
        let mut state = lock(&self.wanted.want().state);
        if let Some(end) = state.end() {
            return Poll::Ready(end);
        }
        if self.alarm.rang.load(Ordering::Acquire) {
            return Poll::Ready(Err(state.timed_out()));
        }
        state.register(self.id, context.waker());
        Poll::Pending
    }
}

impl Drop for Wait<'_> {
    fn drop(&mut self) {
        lock(&self.wanted.want().state).unregister(self.id);
    }
}

/// What the timer wakes: it remembers that it rang, and passes it on to whoever polls.
#[derive(Default)]
struct Alarm {
    rang: AtomicBool,
    waker: Mutex<Option<Waker>>,
}

impl Alarm {
    fn set_waker(&self, waker: &Waker) {
        *lock(&self.waker) = Some(waker.clone());
    }
}

impl Wake for Alarm {
    fn wake(self: Arc<Self>) {
        self.rang.store(true, Ordering::Release);
        let waker = lock(&self.waker).take();
        if let Some(waker) = waker {
            waker.wake();
        }
    }
}
