//! Attempts at a call that may be repeated, until its deadline.

use tokio::time::{Instant, sleep_until};

use super::backoff::{Backoff, random};
use crate::kafka::config::Times;
use crate::kafka::error::Error;

/// How often it failed, and when it has to be done.
pub(in crate::kafka) struct Attempts {
    backoff: Backoff,
    deadline: Instant,
}

impl Attempts {
    pub(in crate::kafka) fn new(times: Times, deadline: Instant) -> Self {
        Self { backoff: Backoff::new(times.first_backoff, times.most_backoff), deadline }
    }

    /// Waits before the next attempt. The error comes back when there is no use in one, or no time for it.
    pub(in crate::kafka) async fn again(&mut self, error: Error) -> Result<(), Error> {
        let next = Instant::from(self.backoff.failed(Instant::now().into_std(), random()));
        if !error.is_retriable() || next >= self.deadline {
            return Err(error);
        }
        sleep_until(next).await;
        Ok(())
    }
}
