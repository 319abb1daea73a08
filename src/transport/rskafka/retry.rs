//! When to try again, and when to give up.

use std::time::Duration;

use tokio::time::{sleep, timeout};

use super::failure::Failure;
use crate::transport::{TransportError, TransportErrorKind};

/// Tries until it works, until trying again is no use, or until the time is over.
pub(super) async fn until<T, F>(
    what: &str,
    within: Duration,
    mut attempt: impl FnMut() -> F,
) -> Result<T, TransportError>
where
    F: Future<Output = Result<T, Failure>>,
{
    let mut last = None;
    let tries = async {
        let mut pause = FIRST_PAUSE;
        loop {
            match attempt().await {
                Err(failure) if failure.again => last = Some(failure),
                result => return result.map_err(|failure| failure.at(what)),
            }
            sleep(pause).await;
            pause = LONGEST_PAUSE.min(pause * 2);
        }
    };
    match timeout(within, tries).await {
        Ok(result) => result,
        Err(_) => Err(last.unwrap_or_else(|| no_answer(within)).at(what)),
    }
}

pub(super) fn no_answer(within: Duration) -> Failure {
    Failure::new(TransportErrorKind::TimedOut, format!("no answer within {within:?}"))
}

const FIRST_PAUSE: Duration = Duration::from_millis(50);
const LONGEST_PAUSE: Duration = Duration::from_millis(500);
