//! The partitions of topics, as far as they are known.

use std::collections::HashMap;
use std::hash::{BuildHasher, RandomState};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use tokio::time::{Instant, sleep};

use super::options::Rules;
use crate::transport::{Transport, TransportError, TransportErrorKind};

/// A topic's partitions, and where records without a key go.
#[derive(Debug)]
pub(super) struct Known {
    pub(super) partitions: Vec<i32>,
    asked: Instant,
    keyless_bytes: AtomicUsize,
}

impl Known {
    fn new(partitions: Vec<i32>) -> Self {
        // A random start, so that not all producers begin with the same partition.
        let start = usize::try_from(RandomState::new().hash_one(0) >> 32).unwrap_or(0);
        Self { partitions, asked: Instant::now(), keyless_bytes: AtomicUsize::new(start) }
    }

    /// The partition for a record without a key: the same for a while, so that requests hold many records.
    pub(super) fn sticky(&self, bytes: usize) -> Option<i32> {
        let before = self.keyless_bytes.fetch_add(bytes, Ordering::Relaxed);
        let turn = (before / STICKY_BYTES).checked_rem(self.partitions.len())?;
        self.partitions.get(turn).copied()
    }
}

/// The topics that were asked for.
#[derive(Debug, Default)]
pub(super) struct Topics(Mutex<HashMap<Arc<str>, Arc<Known>>>);

impl Topics {
    /// The partitions of a topic; creates it if that is allowed.
    pub(super) async fn get(
        &self,
        transport: &dyn Transport,
        topic: &Arc<str>,
        rules: &Rules,
    ) -> Result<Arc<Known>, TransportError> {
        let cached = self.known().get(topic).cloned();
        let old = match cached {
            Some(known) if known.asked.elapsed() < FRESH => return Ok(known),
            cached => cached,
        };
        match find(transport, topic, rules).await {
            Ok(partitions) => {
                Ok(self.known().entry(topic.clone()).insert_entry(Arc::new(Known::new(partitions))).get().clone())
            }
            // What was true minutes ago is better than nothing; sending will tell.
            Err(error) => old.ok_or(error),
        }
    }

    /// Forgets a topic, so that it is asked for anew.
    pub(super) fn forget(&self, topic: &str) {
        self.known().remove(topic);
    }

    fn known(&self) -> std::sync::MutexGuard<'_, HashMap<Arc<str>, Arc<Known>>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Asks for a topic's partitions until they are there.
async fn find(transport: &dyn Transport, topic: &str, rules: &Rules) -> Result<Vec<i32>, TransportError> {
    let deadline = Instant::now() + rules.delivery_timeout;
    loop {
        let left = deadline.saturating_duration_since(Instant::now());
        let within = rules.request_timeout.min(left);
        let error = match find_once(transport, topic, rules, within).await {
            Ok(Some(partitions)) => return Ok(partitions),
            // Created, and not known to every broker yet.
            Ok(None) => TransportError::new(TransportErrorKind::UnknownTopic, format!("there is no topic {topic:?}")),
            Err(error) if error.is_retriable() && error.kind() != TransportErrorKind::UnknownTopic => error,
            Err(error) => return Err(error),
        };
        if left <= PAUSE {
            return Err(error);
        }
        sleep(PAUSE).await;
    }
}

async fn find_once(
    transport: &dyn Transport,
    topic: &str,
    rules: &Rules,
    within: Duration,
) -> Result<Option<Vec<i32>>, TransportError> {
    if let Some(partitions) = transport.partitions(topic, within).await?.filter(|partitions| !partitions.is_empty()) {
        return Ok(Some(partitions));
    }
    let Some(count) = rules.options.create_topics else {
        return Err(TransportError::new(TransportErrorKind::UnknownTopic, format!("there is no topic {topic:?}")));
    };
    transport.create_topic(topic, count, within).await?;
    Ok(transport.partitions(topic, within).await?.filter(|partitions| !partitions.is_empty()))
}

/// How long an answer counts, as in Java's `metadata.max.age.ms`.
const FRESH: Duration = Duration::from_secs(300);
const PAUSE: Duration = Duration::from_millis(100);
/// Java's `batch.size`.
const STICKY_BYTES: usize = 16 * 1024;
