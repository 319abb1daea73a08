//! Reading for callers who keep the positions themselves, many calls at a time.

use std::collections::{BTreeMap, BTreeSet};
use std::pin::pin;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::time::Duration;

use tokio::sync::Notify;
use tokio::time::{Instant, timeout_at};

use super::{Fetched, Most, Reader, ReaderConfig, Start, TopicPartition};
use crate::kafka::Client;

/// Reads partitions for callers who say with each call where they are. Calls may run at the same time: for different
/// partitions they share a [`Reader`], its requests and its bound; for different places in one partition there is a Reader for
/// each. What was read ahead of a partition is kept for the next call, for a minute. Clones share all of it.
///
/// ```
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> Result<(), kafkacrypto::kafka::Error> {
/// use std::time::Duration;
/// use kafkacrypto::kafka::{Client, Config, Most, ReaderConfig, SharedReader, Start, TopicPartition};
///
/// let client = Client::new(Config::new(["127.0.0.1:1"]))?; // where no broker is
/// let reader = SharedReader::new(&client, ReaderConfig::default());
/// let from = [(TopicPartition::new("readings", 0), Start::Offset(42))];
/// let within = Duration::from_millis(100);
/// assert!(reader.fetch(&from, Most::default(), within, within).await.is_empty());
/// # Ok(()) }
/// ```
#[derive(Debug, Clone)]
pub struct SharedReader(Arc<Shared>);

#[derive(Debug)]
struct Shared {
    client: Client,
    config: ReaderConfig,
    /// Mostly one: another where the same partition is read from several places.
    shelves: Mutex<Vec<Arc<Mutex<Shelf>>>>,
    /// Whether a task runs that forgets what nobody has asked for for long.
    sweeping: AtomicBool,
}

/// A Reader, and which of its partitions are asked for.
#[derive(Debug)]
struct Shelf {
    reader: Reader,
    uses: BTreeMap<TopicPartition, Use>,
}

#[derive(Debug)]
struct Use {
    /// A call waits for it.
    busy: bool,
    /// When a call for it began or ended last.
    last: Instant,
}

/// How well a shelf would serve a call; more is better.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
struct Fit {
    /// Nobody else is about to go on elsewhere in one of its partitions.
    undisturbed: bool,
    /// How many partitions it has where they are wanted, less those that it has elsewhere.
    here: i64,
    /// Since when nobody has asked for any of them.
    idle: Duration,
}

impl SharedReader {
    /// Reads nothing until [`SharedReader::fetch`].
    pub fn new(client: &Client, config: ReaderConfig) -> Self {
        let (shelves, sweeping) = (Mutex::default(), AtomicBool::new(false));
        Self(Arc::new(Shared { client: client.clone(), config, shelves, sweeping }))
    }

    /// The next records, or errors, of these partitions: as soon as there are any, or nothing when `wait` is over. However
    /// short `wait` is, what the brokers had when it was called is there, if they answer within `within`: with a `wait` of
    /// less than 20 ms it lasts until they did. Asking again from where a call ended costs nothing. A future that is dropped
    /// has taken nothing.
    pub async fn fetch(
        &self,
        from: &[(TopicPartition, Start)],
        most: Most,
        wait: Duration,
        within: Duration,
    ) -> Vec<Fetched> {
        let now = Instant::now();
        let (until, latest) = (now + wait.min(within), now + within);
        let brief = wait < BRIEF;
        let mut demand = brief;
        let call = self.begin(from);
        loop {
            let mut woken = pin!(call.wake.notified());
            woken.as_mut().enable();
            let fetched = call.reader(|reader| reader.collect_of(&call.partitions, most));
            if !fetched.is_empty() {
                return fetched;
            }
            if std::mem::take(&mut demand) {
                call.reader(|reader| reader.demand(&call.partitions));
            }
            call.make_room();
            let unanswered = brief && !call.reader(|reader| reader.is_settled(&call.partitions));
            if timeout_at(if unanswered { latest } else { until }, woken).await.is_err() {
                return call.reader(|reader| reader.collect_of(&call.partitions, most));
            }
        }
    }

    fn begin(&self, from: &[(TopicPartition, Start)]) -> Call {
        let mut shelves = lock(&self.0.shelves);
        let fit = |shelf: &Arc<Mutex<Shelf>>| Some((lock(shelf).fit(from)?, shelf.clone()));
        let best = shelves.iter().filter_map(fit).max_by_key(|(fit, _)| *fit);
        let best = best.filter(|(fit, _)| fit.undisturbed || shelves.len() >= MOST_SHELVES);
        let shelf = best.map(|(_, shelf)| shelf).unwrap_or_else(|| {
            let reader = Reader::new(&self.0.client, self.0.config.clone());
            let shelf = Arc::new(Mutex::new(Shelf { reader, uses: BTreeMap::new() }));
            shelves.push(shelf.clone());
            shelf
        });
        // Before another call looks at it.
        let mut chosen = lock(&shelf);
        let now = Instant::now();
        for (partition, _) in from {
            chosen.uses.insert(partition.clone(), Use { busy: true, last: now });
        }
        chosen.reader.want(from);
        let wake = chosen.reader.wake();
        drop((chosen, shelves));
        self.sweep_later();
        Call { shelf, wake, partitions: from.iter().map(|(partition, _)| partition.clone()).collect() }
    }

    fn sweep_later(&self) {
        if let Ok(runtime) = tokio::runtime::Handle::try_current()
            && !self.0.sweeping.swap(true, Ordering::Relaxed)
        {
            runtime.spawn(Shared::sweep(Arc::downgrade(&self.0)));
        }
    }
}

impl Shared {
    /// Forgets what nobody has asked for for long, as long as there is anything.
    async fn sweep(shared: Weak<Self>) {
        loop {
            tokio::time::sleep(FORGOTTEN).await;
            let Some(shared) = shared.upgrade() else { return };
            let mut shelves = lock(&shared.shelves);
            shelves.retain(|shelf| lock(shelf).sweep());
            if shelves.is_empty() {
                shared.sweeping.store(false, Ordering::Relaxed);
                return;
            }
        }
    }
}

impl Shelf {
    /// How well it would serve this call; `None` if another call waits for one of these partitions.
    fn fit(&self, from: &[(TopicPartition, Start)]) -> Option<Fit> {
        let mut fit = Fit { undisturbed: true, here: 0, idle: Duration::MAX };
        for (partition, start) in from {
            let Some(used) = self.uses.get(partition) else { continue };
            if used.busy {
                return None;
            }
            let (here, idle) = (self.reader.stands_at(partition, *start), used.last.elapsed());
            fit.undisturbed &= here || idle >= SOON;
            fit.here += if here { 1 } else { -1 };
            fit.idle = fit.idle.min(idle);
        }
        Some(fit)
    }

    /// Whether anything is left.
    fn sweep(&mut self) -> bool {
        let old = |_: &TopicPartition, used: &mut Use| !used.busy && used.last.elapsed() >= FORGOTTEN;
        let gone: Vec<_> = self.uses.extract_if(.., old).map(|(of, _)| of).collect();
        self.reader.remove(&gone);
        !self.uses.is_empty()
    }
}

/// One call: its partitions are its own until it ends.
struct Call {
    shelf: Arc<Mutex<Shelf>>,
    wake: Arc<Notify>,
    partitions: BTreeSet<TopicPartition>,
}

impl Call {
    fn reader<T>(&self, f: impl FnOnce(&mut Reader) -> T) -> T {
        f(&mut lock(&self.shelf).reader)
    }

    /// What was read ahead of partitions that nobody asks for mustn't keep others from being read.
    fn make_room(&self) {
        let mut shelf = lock(&self.shelf);
        let Shelf { reader, uses } = &mut *shelf;
        while reader.is_starved() && reader.rest(|partition| uses.get(partition).is_none_or(|used| !used.busy)) {}
    }
}

impl Drop for Call {
    fn drop(&mut self) {
        let mut shelf = lock(&self.shelf);
        let now = Instant::now();
        for partition in &self.partitions {
            shelf.uses.insert(partition.clone(), Use { busy: false, last: now });
        }
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Callers who wait less than this want an answer to a request that was sent after their call.
const BRIEF: Duration = Duration::from_millis(20);
/// Who has just had records of a partition comes again for what is behind them.
const SOON: Duration = Duration::from_secs(1);
/// So many places of one partition are kept for who may come again.
const MOST_SHELVES: usize = 4;
/// After so long without a call what was read ahead is dropped.
const FORGOTTEN: Duration = Duration::from_secs(60);

#[cfg(test)]
mod tests;
