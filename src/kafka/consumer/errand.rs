//! A question to the cluster that may take longer than the call that asks it: a later call finds it under way.

use std::fmt;
use std::future::Future;

use tokio::task::JoinHandle;

use crate::kafka::{Error, ErrorKind};

/// One question at a time, in a task of its own; given up when it is dropped.
pub(super) struct Errand<T>(Option<JoinHandle<Result<T, Error>>>);

impl<T: Send + 'static> Errand<T> {
    /// Asks, if nothing is under way.
    pub(super) fn begin(&mut self, question: impl Future<Output = Result<T, Error>> + Send + 'static) {
        self.0.get_or_insert_with(|| tokio::spawn(question));
    }

    pub(super) fn is_under_way(&self) -> bool {
        self.0.is_some()
    }

    /// Whether [`Errand::end`] needn't wait.
    pub(super) fn is_answered(&self) -> bool {
        self.0.as_ref().is_none_or(JoinHandle::is_finished)
    }

    /// The answer to what is under way, if anything is. Who gives up waiting loses nothing.
    pub(super) async fn end(&mut self) -> Option<Result<T, Error>> {
        let answer = self.0.as_mut()?.await;
        self.0 = None;
        Some(answer.unwrap_or_else(|_| Err(Error::new(ErrorKind::Closed, "a question to the cluster was cut short"))))
    }
}

impl<T> Default for Errand<T> {
    fn default() -> Self {
        Self(None)
    }
}

impl<T> Drop for Errand<T> {
    fn drop(&mut self) {
        if let Some(task) = &self.0 {
            task.abort();
        }
    }
}

impl<T> fmt::Debug for Errand<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Errand").field("under_way", &self.0.is_some()).finish()
    }
}
