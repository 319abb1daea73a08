//! The Reader: which partitions, where it stands in each, and the records as they are handed out.

mod round;

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::Notify;
use tokio::time::Instant;

use self::round::Round;
use super::core::{Item, Options, ReaderId};
use super::hub::Hub;
use super::open::{Ended, Open};
use super::{Corrupt, FetchError, Most, ReaderConfig, Start, TopicPartition};
use crate::kafka::Client;
use crate::kafka::record::Record;

/// Reads any number of partitions, from where it is told to.
///
/// All Readers of a [`Client`] share its requests: one long one to each broker. What a Reader follows is read ahead up to its
/// bound, so a Reader that isn't asked for records holds some; drop it, or pause its partitions, when it isn't needed.
///
/// ```
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> Result<(), kafkacrypto::kafka::Error> {
/// use std::time::Duration;
/// use kafkacrypto::kafka::{Client, Config, Most, OffsetAt, Reader, ReaderConfig, Start, TopicPartition};
///
/// let client = Client::new(Config::new(["127.0.0.1:1"]))?; // where no broker is
/// let mut reader = Reader::new(&client, ReaderConfig::default().patience(Duration::from_millis(100)));
/// reader.assign(&[(TopicPartition::new("readings", 0), Start::At(OffsetAt::Earliest))]);
/// let fetched = reader.next(Most::default(), Duration::from_secs(10)).await;
/// for record in fetched.iter().flat_map(|of| &of.records) {
///     println!("{}: {:?}", record.offset, record.value);
/// }
/// assert!(fetched[0].error.as_ref().is_some_and(|error| error.to_string().contains("readings")));
/// # Ok(()) }
/// ```
#[derive(Debug)]
pub struct Reader {
    hub: Arc<Hub>,
    client: Client,
    id: ReaderId,
    wake: Arc<Notify>,
    config: ReaderConfig,
    places: BTreeMap<TopicPartition, Place>,
    /// Partitions with something that was taken from the core, in the order in which they are served.
    open: VecDeque<TopicPartition>,
}

/// What one partition has for the caller.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct Fetched {
    /// The topic.
    pub topic: Arc<str>,
    /// The partition.
    pub partition: i32,
    /// The records, in order. There may be none where only offsets without records were passed (those of transactions'
    /// ends, of aborted records, or that compaction removed).
    pub records: Vec<Record>,
    /// The offset after them: where reading goes on.
    pub next: i64,
    /// Where the partition ended when the broker last said so: the offset up to which can be read.
    pub end: i64,
    /// Offsets that were passed over because they can't be read, with [`Corrupt::Skip`].
    pub skipped: Vec<Skipped>,
    /// What went wrong behind the records, if anything did.
    pub error: Option<FetchError>,
}

/// Offsets that were passed over.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Skipped {
    /// The first.
    pub first: i64,
    /// The last.
    pub last: i64,
    /// Why.
    pub reason: String,
}

/// Where a Reader stands in a partition.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub struct Standing {
    /// The next offset to be handed out; `None` until it is known.
    pub next: Option<i64>,
    /// The epoch of the leader under which the record before was written, where it is known: see [`Start::Kept`].
    pub leader_epoch: Option<i32>,
    /// Where the partition ended when a broker last said so.
    pub end: Option<i64>,
    /// The broker that it is read from, where that is known.
    pub broker: Option<i32>,
    /// Whether it is paused.
    pub paused: bool,
    /// Whether it stands still after an error, until it is sought or assigned again.
    pub stopped: bool,
}

/// Where we stand, and what was taken and isn't handed out yet.
#[derive(Debug)]
struct Place {
    start: Start,
    next: Option<i64>,
    epoch: i32,
    end: Option<i64>,
    paused: bool,
    stopped: bool,
    /// It is in `Reader::open`.
    queued: bool,
    items: VecDeque<Item>,
    reading: Option<Open>,
    /// What couldn't be read here is asked for once more, should it have been damaged on the way.
    suspect: Option<i64>,
}

impl Reader {
    /// A Reader without partitions. It asks for nothing until [`Reader::assign`].
    pub fn new(client: &Client, config: ReaderConfig) -> Self {
        let hub = client.hub();
        let wake = Arc::new(Notify::new());
        let options = Options {
            isolation: config.isolation,
            buffer: config.buffer,
            partition_bytes: config.partition_bytes,
            reset: config.reset,
            patience: config.patience,
        };
        let id = hub.open(options, wake.clone());
        Self { hub, client: client.clone(), id, wake, config, places: BTreeMap::new(), open: VecDeque::new() }
    }

    /// Follows exactly these partitions. One that stands at the given offset already keeps what was read ahead; one that
    /// stands still after an error starts again.
    pub fn assign(&mut self, partitions: &[(TopicPartition, Start)]) {
        let wanted: BTreeMap<&TopicPartition, Start> = partitions.iter().map(|(of, start)| (of, *start)).collect();
        let gone: Vec<_> = self.places.keys().filter(|of| !wanted.contains_key(of)).cloned().collect();
        let mut changed = !gone.is_empty();
        for partition in gone {
            self.discard(&partition);
            self.places.remove(&partition);
            self.hub.with(|core| core.drop_partition(self.id, &partition));
        }
        for (partition, start) in wanted {
            if !self.places.get(partition).is_some_and(|place| place.is_at(start)) {
                self.go(partition, start);
                changed = true;
            }
        }
        if changed {
            self.hub.act(&self.client);
        }
    }

    /// Goes on elsewhere in a partition, or follows it from there.
    pub fn seek(&mut self, partition: &TopicPartition, start: Start) {
        self.go(partition, start);
        self.hub.act(&self.client);
    }

    /// No longer follows these.
    pub fn remove(&mut self, partitions: &[TopicPartition]) {
        for partition in partitions {
            self.discard(partition);
            self.places.remove(partition);
            self.hub.with(|core| core.drop_partition(self.id, partition));
        }
        self.hub.act(&self.client);
    }

    /// Hands out nothing of these until they are resumed. What was read ahead is kept.
    pub fn pause(&mut self, partitions: &[TopicPartition]) {
        self.set_paused(partitions, true);
    }

    /// Goes on with paused partitions.
    pub fn resume(&mut self, partitions: &[TopicPartition]) {
        self.set_paused(partitions, false);
    }

    /// Where it stands in a partition, if it follows it.
    pub fn standing(&self, partition: &TopicPartition) -> Option<Standing> {
        let place = self.places.get(partition)?;
        let (end, broker) = self.hub.with(|core| (core.end(self.id, partition), core.source(partition)));
        let end = end.or(place.end);
        let leader_epoch = (place.epoch >= 0).then_some(place.epoch);
        Some(Standing { next: place.next, leader_epoch, end, broker, paused: place.paused, stopped: place.stopped })
    }

    /// Where it stands in all partitions.
    pub fn standings(&self) -> Vec<(TopicPartition, Standing)> {
        let standing = |partition: &TopicPartition| Some((partition.clone(), self.standing(partition)?));
        self.places.keys().filter_map(standing).collect()
    }

    /// The next records, or errors: as soon as there are any, or nothing when `wait` is over. Of several partitions, each in
    /// turn. A future that is dropped has taken nothing.
    pub async fn next(&mut self, most: Most, wait: Duration) -> Vec<Fetched> {
        let until = Instant::now() + wait;
        loop {
            let fetched = self.collect(most);
            if !fetched.is_empty() || tokio::time::timeout_at(until, self.wake.notified()).await.is_err() {
                return fetched;
            }
        }
    }

    /// Reads on from these places, where it doesn't yet; the others stay as they are.
    pub(super) fn want(&mut self, from: &[(TopicPartition, Start)]) {
        let mut changed = false;
        for (partition, start) in from {
            if let Some(place) = self.places.get_mut(partition).filter(|place| place.paused) {
                place.paused = false;
                self.hub.with(|core| core.pause(self.id, partition, false));
                changed = true;
            }
            if !self.places.get(partition).is_some_and(|place| place.is_at(*start)) {
                self.go(partition, *start);
                changed = true;
            }
        }
        if changed {
            self.hub.act(&self.client);
        }
    }

    /// Of these, the partition of which most is read ahead: drops that, and asks for no more of it until it is wanted. Whether
    /// there was one.
    pub(super) fn rest(&mut self, of: impl Fn(&TopicPartition) -> bool) -> bool {
        let held = |(partition, place): (&TopicPartition, &Place)| {
            let bytes = place.held() + self.hub.with(|core| core.read_ahead(self.id, partition));
            let start = place.next.map_or(place.start, Start::Offset);
            (bytes > 0 && of(partition)).then(|| (bytes, partition.clone(), start))
        };
        let most = self.places.iter().filter_map(held).max_by_key(|(bytes, ..)| *bytes);
        let Some((_, partition, start)) = most else { return false };
        self.go(&partition, start);
        if let Some(place) = self.places.get_mut(&partition) {
            place.paused = true;
        }
        self.hub.with(|core| core.pause(self.id, &partition, true));
        self.hub.act(&self.client);
        true
    }

    /// From now on each of these that has nothing wants an answer to a request that is yet to be sent.
    pub(super) fn demand(&mut self, of: &BTreeSet<TopicPartition>) {
        self.hub.with(|core| core.demand(self.id, |partition| of.contains(partition)));
        self.hub.act(&self.client);
    }

    /// Whether each of these got the answer that it wanted, or can't.
    pub(super) fn is_settled(&self, of: &BTreeSet<TopicPartition>) -> bool {
        self.hub.with(|core| core.is_settled(self.id, |partition| of.contains(partition)))
    }

    /// Whether there was no room for what a request would have brought.
    pub(super) fn is_starved(&self) -> bool {
        self.hub.with(|core| core.is_starved(self.id))
    }

    /// Whether it would go on just there.
    pub(super) fn stands_at(&self, partition: &TopicPartition, start: Start) -> bool {
        self.places.get(partition).is_some_and(|place| place.would_go_on_at(start))
    }

    /// Told of whenever there may be something to collect.
    pub(super) fn wake(&self) -> Arc<Notify> {
        self.wake.clone()
    }

    fn go(&mut self, partition: &TopicPartition, start: Start) {
        self.discard(partition);
        let paused = self.places.get(partition).is_some_and(|place| place.paused);
        self.places.insert(partition.clone(), Place { paused, ..Place::new(start) });
        self.hub.with(|core| core.seek(self.id, partition, start));
    }

    fn set_paused(&mut self, partitions: &[TopicPartition], paused: bool) {
        for partition in partitions {
            let Some(place) = self.places.get_mut(partition) else { continue };
            place.paused = paused;
            self.hub.with(|core| core.pause(self.id, partition, paused));
        }
        self.wake.notify_one();
        self.hub.act(&self.client);
    }

    /// Drops what was taken of a partition and isn't handed out.
    fn discard(&mut self, partition: &TopicPartition) {
        let Some(place) = self.places.get_mut(partition) else { return };
        let bytes = place.held();
        place.items.clear();
        place.reading = None;
        place.queued = false;
        self.open.retain(|open| open != partition);
        self.hub.with(|core| core.release(self.id, bytes));
    }

    /// All that can be handed out now.
    fn collect(&mut self, most: Most) -> Vec<Fetched> {
        self.collect_if(|_| true, most)
    }

    /// The same of some partitions.
    pub(super) fn collect_of(&mut self, of: &BTreeSet<TopicPartition>, most: Most) -> Vec<Fetched> {
        self.collect_if(|partition| of.contains(partition), most)
    }

    fn collect_if(&mut self, wanted: impl Fn(&TopicPartition) -> bool, most: Most) -> Vec<Fetched> {
        let mut round = Round::new(most);
        for _ in 0..self.open.len() {
            let Some(partition) = self.open.pop_front() else { break };
            self.serve(partition, &wanted, &mut round);
        }
        while round.has_room() {
            let Some((partition, item)) = self.hub.take(self.id, &wanted) else { break };
            let Some(place) = self.places.get_mut(&partition) else { continue };
            place.items.push_back(item);
            if !place.queued {
                self.serve(partition, &wanted, &mut round);
            }
        }
        if round.moved || self.hub.with(|core| core.is_starved(self.id)) {
            self.hub.act(&self.client);
        }
        round.fetched.into_values().collect()
    }

    /// Hands out of one partition, and queues it again if there is more.
    fn serve(&mut self, partition: TopicPartition, wanted: impl Fn(&TopicPartition) -> bool, round: &mut Round) {
        let Some(place) = self.places.get_mut(&partition) else { return };
        place.queued = false;
        if !place.paused && wanted(&partition) {
            self.read(&partition, round);
        }
        let Some(place) = self.places.get_mut(&partition) else { return };
        if place.reading.is_some() || !place.items.is_empty() {
            place.queued = true;
            self.open.push_back(partition);
        }
    }

    fn read(&mut self, partition: &TopicPartition, round: &mut Round) {
        while round.is_open(partition) {
            let Some(place) = self.places.get_mut(partition) else { return };
            if place.reading.is_none() && !self.enter(partition, round) {
                return;
            }
            let Some(place) = self.places.get_mut(partition) else { return };
            let Some(reading) = &mut place.reading else { continue };
            let mut next = place.next.unwrap_or(0);
            let ended = round.read(partition, &mut next, place.end, reading);
            place.next = Some(next);
            place.epoch = reading.epoch();
            match ended {
                Ended::Full => {}
                Ended::Done => {
                    let bytes = reading.bytes();
                    place.reading = None;
                    place.suspect = None;
                    round.moved |= self.hub.with(|core| {
                        core.release(self.id, bytes);
                        core.resume(self.id, partition, next)
                    });
                }
                Ended::Bad { first, last, reason } => return self.bad(partition, round, (first, last), reason),
            }
        }
    }

    /// Begins with the next item; whether there was one.
    fn enter(&mut self, partition: &TopicPartition, round: &mut Round) -> bool {
        let Some(place) = self.places.get_mut(partition) else { return false };
        let Some(item) = place.items.pop_front() else { return false };
        match item {
            Item::Start(offset) => place.next = Some(offset),
            Item::Trouble { error, at } => {
                place.next = at.or(place.next);
                place.stopped = self.hub.with(|core| core.is_halted(self.id, partition));
                let fetched = round.entry(partition, place.next.unwrap_or(0), place.end);
                fetched.next = place.next.unwrap_or(fetched.next);
                fetched.error = Some(error);
            }
            Item::Chunk(chunk) if *place.next.get_or_insert(chunk.offset) == chunk.offset => {
                place.end = Some(chunk.end);
                place.reading = Some(Open::new(&chunk, self.config.isolation));
            }
            Item::Chunk(chunk) => {
                // Not what we wait for: never hand it out.
                let next = place.next.unwrap_or(0);
                round.moved = true;
                self.discard(partition);
                self.hub.with(|core| {
                    core.release(self.id, chunk.records.len());
                    core.again(self.id, partition, next);
                });
            }
        }
        true
    }

    /// What can't be read is asked for once more, and then skipped or stopped at.
    fn bad(&mut self, partition: &TopicPartition, round: &mut Round, (first, last): (i64, i64), reason: String) {
        self.discard(partition);
        round.moved = true;
        let Some(place) = self.places.get_mut(partition) else { return };
        let next = place.next.unwrap_or(0);
        let first = first.max(next);
        if place.suspect != Some(next) {
            place.suspect = Some(next);
            return self.hub.with(|core| core.again(self.id, partition, next));
        }
        place.suspect = None;
        let fetched = round.entry(partition, next, place.end);
        match self.config.corrupt {
            Corrupt::Skip => {
                let behind = last.max(first).saturating_add(1);
                fetched.skipped.push(Skipped { first, last: behind - 1, reason });
                fetched.next = behind;
                place.next = Some(behind);
                self.hub.with(|core| core.again(self.id, partition, behind));
            }
            Corrupt::Stop => {
                fetched.error = Some(FetchError::Corrupt { partition: partition.clone(), offset: first, reason });
                place.stopped = true;
                self.hub.with(|core| core.halt(self.id, partition));
            }
        }
    }
}

impl Drop for Reader {
    fn drop(&mut self) {
        self.hub.close(self.id);
        self.hub.act(&self.client);
    }
}

impl Place {
    fn new(start: Start) -> Self {
        let next = match start {
            Start::Offset(offset) | Start::Kept { offset, .. } => Some(offset),
            Start::At(_) => None,
        };
        Self {
            start,
            next,
            epoch: -1,
            end: None,
            paused: false,
            stopped: false,
            queued: false,
            items: VecDeque::new(),
            reading: None,
            suspect: None,
        }
    }

    /// Whether to start there would change nothing.
    fn is_at(&self, start: Start) -> bool {
        self.would_go_on_at(start) && !self.stopped
    }

    fn would_go_on_at(&self, start: Start) -> bool {
        match start {
            Start::Offset(offset) | Start::Kept { offset, .. } => self.next == Some(offset),
            Start::At(_) => self.start == start && self.next.is_none(),
        }
    }

    /// Bytes that were taken and count as read ahead.
    fn held(&self) -> usize {
        let items = self.items.iter().map(|item| if let Item::Chunk(chunk) = item { chunk.records.len() } else { 0 });
        items.sum::<usize>() + self.reading.as_ref().map_or(0, Open::bytes)
    }
}

#[cfg(test)]
pub(super) mod tests;
