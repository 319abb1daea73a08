//! Reading many partitions at once: one task for each, that goes on between calls.
//!
//! A broker answers a connection's requests one after the other, so giving up a waiting read would hold up the next
//! one. So it is left alone, and the call that asks for the same offset again finds its outcome.

use std::collections::{HashMap, HashSet};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::sync::Notify;
use tokio::task::AbortHandle;
use tokio::time::{Instant, timeout_at};

use super::cluster::Cluster;
use super::{read, retry};
use crate::transport::{Batch, FetchFrom, Fetched, TransportError, TransportErrorKind};

/// What is being read.
#[derive(Default)]
pub(super) struct Reads {
    slots: Mutex<HashMap<FetchFrom, Slot>>,
    news: Arc<Notify>,
}

impl Reads {
    /// [`Transport::fetch`](crate::transport::Transport::fetch), over these connections.
    pub(super) async fn fetch(
        &self,
        cluster: &Arc<Cluster>,
        from: &[FetchFrom],
        max_bytes: i32,
        wait: Duration,
        within: Duration,
    ) -> Vec<Fetched> {
        let mut call = Call::new(wait, within);
        loop {
            let changed = self.news.notified();
            for (from, outcome) in self.finished(from) {
                call.add(from, outcome);
            }
            for from in self.idle(from) {
                if !call.news && call.wants(from) {
                    call.started.insert(from.clone());
                    self.start(cluster.clone(), from, max_bytes, call.left(), within);
                }
            }
            if call.news || call.is_over() {
                break;
            }
            let _ = timeout_at(call.next_look(), changed).await;
        }
        call.answers()
    }
}

impl Reads {
    /// Takes the outcomes that are there, and forgets what nobody has asked for any more.
    fn finished<'a>(&self, from: &'a [FetchFrom]) -> Vec<(&'a FetchFrom, Outcome)> {
        let mut slots = self.slots();
        let mut finished = Vec::new();
        for from in from {
            let Some(slot) = slots.get_mut(from) else { continue };
            slot.asked = Instant::now();
            if let Some(outcome) = slot.take() {
                slots.remove(from);
                finished.push((from, outcome));
            }
        }
        slots.retain(|_, slot| slot.asked.elapsed() < FORGOTTEN);
        finished
    }

    /// Those that nothing is read of at the moment.
    fn idle<'a>(&self, from: &'a [FetchFrom]) -> impl Iterator<Item = &'a FetchFrom> + use<'a> {
        let slots = self.slots();
        from.iter().filter(|from| !slots.contains_key(from)).collect::<Vec<_>>().into_iter()
    }

    fn start(&self, cluster: Arc<Cluster>, from: &FetchFrom, max_bytes: i32, wait: Duration, within: Duration) {
        let result = Arc::default();
        let finish = Finish { result: Arc::clone(&result), news: self.news.clone() };
        let key = from.clone();
        let task = tokio::spawn(async move {
            let what = super::about_partition("read", &key.topic, key.partition);
            let attempt = async || read::read(&cluster, &key, max_bytes, wait).await;
            finish.set(retry::until(&what, within, attempt).await);
        });
        self.slots().insert(from.clone(), Slot { result, task: task.abort_handle(), asked: Instant::now() });
    }

    fn slots(&self) -> MutexGuard<'_, HashMap<FetchFrom, Slot>> {
        self.slots.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// One call of `fetch`.
struct Call {
    /// How long the caller wants to wait for news.
    until: Instant,
    /// How long a partition may be late.
    late: Instant,
    /// When the call must end.
    end: Instant,
    within: Duration,
    started: HashSet<FetchFrom>,
    answers: HashMap<FetchFrom, Outcome>,
    news: bool,
}

impl Call {
    fn new(wait: Duration, within: Duration) -> Self {
        let start = Instant::now();
        let (until, end) = (start + wait, start + within);
        let late = end.min(until + LATE);
        Self { until, late, end, within, started: HashSet::new(), answers: HashMap::new(), news: false }
    }

    fn add(&mut self, from: &FetchFrom, outcome: Outcome) {
        self.started.remove(from);
        self.news |= outcome.as_ref().map_or(true, |batch| batch.next > from.offset);
        self.answers.insert(from.clone(), outcome);
    }

    fn is_over(&self) -> bool {
        let now = Instant::now();
        let enough = self.started.is_empty() || (now >= self.late && !self.answers.is_empty());
        now >= self.end || (now >= self.until && enough)
    }

    /// Whether to ask (again).
    fn wants(&self, from: &FetchFrom) -> bool {
        !self.answers.contains_key(from) || self.left() > TOO_SHORT
    }

    fn left(&self) -> Duration {
        self.until.saturating_duration_since(Instant::now())
    }

    fn next_look(&self) -> Instant {
        let now = Instant::now();
        [self.until, self.late].into_iter().find(|at| *at > now).unwrap_or(self.end)
    }

    /// What the partitions said; those that this call has asked for the first time, and that say nothing, have failed.
    fn answers(mut self) -> Vec<Fetched> {
        if !self.news && Instant::now() >= self.end {
            for from in std::mem::take(&mut self.started) {
                let what = super::about_partition("read", &from.topic, from.partition);
                self.answers.insert(from, Err(retry::no_answer(self.within).at(&what)));
            }
        }
        let fetched =
            |(from, result): (FetchFrom, Outcome)| Fetched { topic: from.topic, partition: from.partition, result };
        self.answers.into_iter().map(fetched).collect()
    }
}

type Outcome = Result<Batch, TransportError>;

/// A partition that is being read, or that was and waits for its outcome to be fetched.
struct Slot {
    result: Arc<Mutex<Option<Outcome>>>,
    task: AbortHandle,
    asked: Instant,
}

impl Slot {
    fn take(&self) -> Option<Outcome> {
        self.result.lock().unwrap_or_else(PoisonError::into_inner).take()
    }
}

impl Drop for Slot {
    fn drop(&mut self) {
        self.task.abort();
    }
}

/// Leaves an outcome in any case, also when the client panics.
struct Finish {
    result: Arc<Mutex<Option<Outcome>>>,
    news: Arc<Notify>,
}

impl Finish {
    fn set(&self, outcome: Outcome) {
        *self.result.lock().unwrap_or_else(PoisonError::into_inner) = Some(outcome);
    }
}

impl Drop for Finish {
    fn drop(&mut self) {
        let failed = || Err(TransportError::new(TransportErrorKind::Other, "the Kafka client stopped in the middle"));
        self.result.lock().unwrap_or_else(PoisonError::into_inner).get_or_insert_with(failed);
        self.news.notify_waiters();
    }
}

/// How long a call waits for partitions that are late when others have answered.
const LATE: Duration = Duration::from_secs(1);
/// Too short a time to ask a broker once more.
const TOO_SHORT: Duration = Duration::from_millis(20);
/// A partition that nobody has asked for for so long is given up.
const FORGOTTEN: Duration = Duration::from_secs(60);
