//! Attempts at a call that may be repeated, until its deadline.

use tokio::time::{Instant, sleep_until};

use super::backoff::{Backoff, random};
use crate::kafka::config::Times;
use crate::kafka::error::{Error, ErrorKind};

/// How often it failed, and when it has to be done.
pub(in crate::kafka) struct Attempts {
    backoff: Backoff,
    deadline: Instant,
    /// What an attempt failed with that ended by itself.
    told: Option<Error>,
}

/// What sending a request a second time does that may have arrived the first time.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::kafka) enum Repeated {
    /// Nothing that the first one hasn't done.
    Harmless,
    /// Something else: the answer of the second wouldn't be that to the first.
    Harmful,
}

impl Attempts {
    pub(in crate::kafka) fn new(times: Times, deadline: Instant) -> Self {
        Self { backoff: Backoff::new(times.first_backoff, times.most_backoff), deadline, told: None }
    }

    /// Waits before the next attempt. The error comes back when there is no use in one, or no time for it.
    pub(in crate::kafka) async fn again(&mut self, error: Error) -> Result<(), Error> {
        // That the time is over says less than what went wrong before.
        let error = match self.told.take().filter(|_| error.kind() == ErrorKind::TimedOut) {
            Some(told) => told,
            None => error,
        };
        self.told = Some(error.clone());
        let next = Instant::from(self.backoff.failed(Instant::now().into_std(), random()));
        if !error.is_retriable() || next >= self.deadline {
            return Err(error);
        }
        sleep_until(next).await;
        Ok(())
    }
}
