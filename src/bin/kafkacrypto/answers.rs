use std::time::Duration;

use kafkacrypto::engine::Notice;
use kafkacrypto::runtime::{Event, Node};
use tokio::sync::broadcast::Receiver;
use tokio::sync::broadcast::error::RecvError;

/// Tells on stderr whom a node gives keys, and whom it refuses them.
pub(crate) struct Answers {
    events: Receiver<Event>,
    pub(crate) given: usize,
}

impl Answers {
    /// From now on.
    pub(crate) fn of(node: &Node) -> Self {
        Self { events: node.events(), given: 0 }
    }

    /// Tells for so long.
    pub(crate) async fn tell_for(&mut self, time: Duration) {
        // The end of the time is what it waits for.
        let _ = tokio::time::timeout(time, self.tell()).await;
    }

    /// Tells until the node is gone.
    pub(crate) async fn tell(&mut self) {
        loop {
            match self.events.recv().await {
                Ok(event) => self.take(event),
                Err(RecvError::Lagged(_)) => {}
                Err(RecvError::Closed) => return,
            }
        }
    }

    fn take(&mut self, event: Event) {
        // What is refused is in the log already.
        if let Event::Notice(Notice::Answered { root, signer, count, scheme }) = event {
            self.given += 1;
            let keys = if count == 1 { "a key".to_owned() } else { format!("{count} keys") };
            eprintln!("gave node {signer} {keys} of {root} ({scheme})");
        }
    }
}
