//! Several ways to the same end: the next begins when those before have failed or take long.

use std::future::{Future, poll_fn};
use std::pin::Pin;
use std::task::Poll;
use std::time::Duration;

use tokio::time::timeout;

use crate::kafka::error::Error;

/// What the first way brings that succeeds, else what each failed with. Each gets a head start before the next begins.
pub(in crate::kafka) async fn race<T, F>(
    ways: impl IntoIterator<Item = F>,
    head_start: Duration,
) -> Result<T, Vec<Error>>
where
    F: Future<Output = Result<T, Error>>,
{
    let mut ways = ways.into_iter().peekable();
    let (mut begun, mut failed) = (Vec::new(), Vec::new());
    loop {
        begun.extend(ways.next().map(Box::pin));
        if begun.is_empty() {
            return Err(failed);
        }
        let ended = match ways.peek() {
            Some(_) => timeout(head_start, first(&mut begun)).await.ok(),
            None => Some(first(&mut begun).await),
        };
        match ended {
            Some(Ok(found)) => return Ok(found),
            Some(Err(error)) => failed.push(error),
            None => {}
        }
    }
}

/// The first that ends, and is taken out.
async fn first<F: Future>(begun: &mut Vec<Pin<Box<F>>>) -> F::Output {
    poll_fn(|context| {
        let ended = begun.iter_mut().enumerate().find_map(|(at, way)| match way.as_mut().poll(context) {
            Poll::Ready(output) => Some((at, output)),
            Poll::Pending => None,
        });
        match ended {
            Some((at, output)) => {
                drop(begun.remove(at));
                Poll::Ready(output)
            }
            None => Poll::Pending,
        }
    })
    .await
}

#[cfg(test)]
mod tests {
    use tokio::time::{Instant, sleep};

    use super::*;
    use crate::kafka::error::ErrorKind;

    const HEAD_START: Duration = Duration::from_millis(100);

    /// Ways that end after so many milliseconds, well or not: which one won and when, or how many failed.
    async fn run(ways: &[(u64, bool)]) -> (Result<usize, usize>, u64) {
        let start = Instant::now();
        let ways = ways.iter().enumerate().map(|(at, (ms, well))| async move {
            sleep(Duration::from_millis(*ms)).await;
            if *well { Ok(at) } else { Err(Error::new(ErrorKind::Unreachable, at.to_string())) }
        });
        let result = race(ways, HEAD_START).await.map_err(|failed| failed.len());
        (result, u64::try_from(start.elapsed().as_millis()).unwrap())
    }

    #[tokio::test(start_paused = true)]
    async fn the_next_begins_when_the_one_before_fails_or_takes_long() {
        assert_eq!(run(&[(90, true), (0, true)]).await, (Ok(0), 90));
        assert_eq!(run(&[(10, false), (20, true)]).await, (Ok(1), 30));
        assert_eq!(run(&[(9000, true), (20, true)]).await, (Ok(1), 120));
        assert_eq!(run(&[(9000, true), (9000, true), (20, true)]).await, (Ok(2), 220));
        assert_eq!(run(&[(150, true), (60, true)]).await, (Ok(0), 150), "the one before isn't given up");
        assert_eq!(run(&[(9000, false), (10, false), (5, false)]).await, (Err(3), 9000));
        assert_eq!(run(&[]).await, (Err(0), 0));
    }
}
