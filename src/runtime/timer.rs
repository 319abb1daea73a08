use std::task::Waker;
use std::time::Duration;

use tokio::runtime::Handle;

use crate::keyring::Timer;

/// Ends waits for keys on the node's own tokio runtime, whatever runtime the waiter is on.
pub(super) struct TokioTimer(pub(super) Handle);

impl Timer for TokioTimer {
    fn wake_after(&self, delay: Duration, waker: Waker) {
        self.0.spawn(async move {
            tokio::time::sleep(delay).await;
            waker.wake();
        });
    }
}
