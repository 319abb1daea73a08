//! What a producer does next: a pure state machine. Time is an argument, the world answers by [`Event`]s, and what is to
//! be done comes out as [`Action`]s.
//!
//! What it keeps to:
//!
//! - The batches of a partition go out in their order. None goes while one behind it is out, and only the first until the
//!   broker has acknowledged something from this producer: a broker that doesn't know the producer takes any sequence.
//! - A batch keeps its sequence in every try, so that the broker drops what it has already.
//! - A batch gets a new sequence only when the broker has refused it for its old one, nothing before it is under way,
//!   and nothing of the partition is out. The new sequence comes with a higher epoch (KIP-360), so that the broker
//!   refuses whatever of the old one still comes. (The epoch is known to the partition only: without transactions
//!   nobody else looks at it.)
//! - What is out of a partition is out over one connection; a second one to a busy broker is used as long as nobody
//!   polls there.
//! - Each record is reported once, at its deadline at the latest.

mod answers;
mod drain;
#[cfg(any(fuzzing, test))]
pub(in crate::kafka) mod model;
mod partition;
#[cfg(test)]
mod tests;

use std::collections::{BTreeMap, BTreeSet, HashMap, VecDeque};
use std::sync::Arc;
use std::time::Duration;

use uuid::Uuid;

use crate::kafka::cluster::{Lane, TopicMetadata};
use crate::kafka::error::{Error, ErrorKind};
use crate::kafka::record::{BatchWriter, Compression, Stamp};

use super::batch::{Batch, Body, Place, unwritable};
use super::partitioner::{Dice, Partitioner};
use super::report::{Ack, Delivery, Piece, Report};
use super::{Acks, ProducerConfig, ProducerRecord};
pub(super) use drain::what;
use partition::Partition;

/// The producer's side of everything.
#[derive(Debug)]
pub(in crate::kafka::produce) struct State {
    rules: Rules,
    dice: Dice,
    identity: Identity,
    names: HashMap<Arc<str>, usize>,
    topics: Vec<Topic>,
    partitions: Vec<Partition>,
    /// The partitions that have a batch that isn't reported; who is served next is first.
    busy: VecDeque<usize>,
    brokers: BTreeMap<i32, Broker>,
    /// The requests that are out.
    requests: HashMap<u64, Request>,
    next: u64,
    /// The batches that aren't reported.
    live: BTreeSet<Place>,
    wake: Option<Duration>,
    actions: Vec<Action>,
}

/// The settings that matter here.
#[derive(Debug, Clone)]
pub(in crate::kafka::produce) struct Rules {
    pub(super) idempotent: bool,
    pub(super) batch_size: usize,
    pub(super) request_size: usize,
    pub(super) linger: Duration,
    pub(super) compression: Compression,
    pub(super) max_in_flight: usize,
    /// So many bytes are out over the first connection to a broker before a second is worth it.
    pub(super) share_from: usize,
    pub(super) partitioner: Partitioner,
    /// The first and the longest wait before something is tried again.
    pub(super) backoff: (Duration, Duration),
}

/// What happened.
#[derive(Debug)]
pub(in crate::kafka::produce) enum Event {
    /// Time went by, or records came.
    Tick,
    /// What the cluster says of a topic; `None` if there is no such topic.
    Topic { name: Arc<str>, found: Result<Option<Places>, Error> },
    /// The answer to [`Action::AskId`]: a producer id and its epoch.
    Id(Result<(i64, i16), Error>),
    /// The end of a request.
    Answered { request: u64, quiet: Duration, parcels: Vec<Returned> },
    /// A batch is compressed.
    Compressed { slot: usize, place: Place, body: Result<Body, Error> },
}

/// Where the partitions of a topic are.
#[derive(Debug, Clone, Default)]
pub(in crate::kafka::produce) struct Places {
    pub(super) id: Uuid,
    /// By number: the leader, if there is one.
    pub(super) leaders: Vec<Option<i32>>,
}

/// What is to be done.
#[derive(Debug)]
pub(in crate::kafka::produce) enum Action {
    /// Send these batches, and answer with [`Event::Answered`]. Requests over one lane in the order of these actions.
    Send(Outgoing),
    /// Compress a batch, and answer with [`Event::Compressed`].
    Compress { slot: usize, place: Place, body: Body },
    /// Ask for a producer id, and answer with [`Event::Id`].
    AskId,
    /// Ask where a topic is, and answer with [`Event::Topic`]. `stale`: what was known is wrong.
    Refresh { topic: Arc<str>, stale: bool },
    /// Tell the records what became of them, and give so much memory back.
    Report { report: Arc<Report>, piece: Piece, freed: usize },
}

/// A produce request.
#[derive(Debug)]
pub(in crate::kafka::produce) struct Outgoing {
    pub(super) request: u64,
    pub(super) broker: i32,
    /// [`Lane::Main`] or [`Lane::Spare`].
    pub(super) lane: Lane,
    pub(super) parcels: Vec<Parcel>,
}

/// A batch in a request.
#[derive(Debug)]
pub(in crate::kafka::produce) struct Parcel {
    pub(super) topic: Arc<str>,
    pub(super) topic_id: Uuid,
    pub(super) partition: i32,
    pub(super) stamp: Stamp,
    pub(super) body: Body,
    pub(super) slot: usize,
    pub(super) place: Place,
}

/// A batch that comes back from a request, and what was said of it.
#[derive(Debug)]
pub(in crate::kafka::produce) struct Returned {
    pub(super) slot: usize,
    pub(super) place: Place,
    /// As it was sent; `None` if it couldn't even be written.
    pub(super) body: Option<Body>,
    pub(super) result: Result<Ack, Error>,
}

/// Why a record wasn't taken.
#[derive(Debug)]
pub(in crate::kafka::produce) enum Refusal {
    /// Where the topic is isn't known.
    Topic,
    /// The topic has only so many partitions, as far as is known.
    Partition(usize),
    /// It can't be written.
    Record(Error),
}

impl Places {
    pub(super) fn new(topic: &TopicMetadata) -> Self {
        let count = topic.partitions.last_key_value().map_or(0, |(last, _)| last.saturating_add(1));
        let leader = |number| topic.partitions.get(&number).and_then(|partition| partition.leader);
        Self { id: topic.id, leaders: (0..count).map(leader).collect() }
    }
}

impl Rules {
    pub(in crate::kafka::produce) fn new(
        config: &ProducerConfig,
        request_size: usize,
        backoff: (Duration, Duration),
    ) -> Self {
        Self {
            idempotent: config.is_idempotent(),
            batch_size: config.batch_size.min(request_size),
            request_size,
            linger: config.linger,
            compression: config.compression,
            max_in_flight: config.max_in_flight,
            // What isn't answered may still be on its way when the next is sent.
            share_from: if config.acks == Acks::None { usize::MAX } else { SHARE_FROM },
            partitioner: config.partitioner,
            backoff,
        }
    }

    /// A batch of one record. `hint`: how large it may become.
    fn begin(&self, hint: usize, record: &ProducerRecord, timestamp_ms: i64) -> Result<BatchWriter, Error> {
        let mut writer = BatchWriter::with_capacity(hint.clamp(FIRST_CAPACITY, self.batch_size.max(FIRST_CAPACITY)));
        let (key, value) = (record.key.as_deref(), record.value.as_deref());
        writer.append(timestamp_ms, key, value, &record.headers).map_err(unwritable)?;
        match writer.size() > self.request_size {
            true => Err(too_large(writer.size(), self.request_size, "max_request_size")),
            false => Ok(writer),
        }
    }
}

impl State {
    pub(in crate::kafka::produce) fn new(rules: Rules, seed: u64) -> Self {
        Self {
            rules,
            dice: Dice::new(seed),
            identity: Identity::Unknown,
            names: HashMap::new(),
            topics: Vec::new(),
            partitions: Vec::new(),
            busy: VecDeque::new(),
            brokers: BTreeMap::new(),
            requests: HashMap::new(),
            next: 0,
            live: BTreeSet::new(),
            wake: None,
            actions: Vec::new(),
        }
    }

    /// Takes a record that may take `timeout`, for which `charged` bytes of memory are set aside. Says also whether there
    /// is something new to do: an [`Event::Tick`] is due.
    pub(in crate::kafka::produce) fn append(
        &mut self,
        record: &ProducerRecord,
        timestamp_ms: i64,
        timeout: Duration,
        charged: usize,
        now: Duration,
    ) -> Result<(Delivery, bool), Refusal> {
        let slot = self.slot_of(record)?;
        let limit = self.rules.batch_size;
        let partition = self.partitions.get_mut(slot).ok_or(Refusal::Topic)?;
        let joined = partition.join(record, timestamp_ms, timeout, limit);
        let is_new = joined.is_none();
        let batch = match joined {
            Some(batch) => batch,
            None => {
                let writer = self.rules.begin(partition.hint, record, timestamp_ms).map_err(Refusal::Record)?;
                let place = (self.next, 0);
                self.next = self.next.saturating_add(1);
                self.live.insert(place);
                if !std::mem::replace(&mut partition.busy, true) {
                    self.busy.push_back(slot);
                }
                partition.open(place, writer, timeout, now)
            }
        };
        batch.charged = batch.charged.saturating_add(charged);
        let delivery = Delivery::new(Arc::clone(&batch.report), batch.count - 1, timestamp_ms);
        self.stick(slot, charged);
        Ok((delivery, is_new))
    }

    /// What follows from an event. `spare`: whether [`Lane::Spare`] of a broker may be used.
    pub(in crate::kafka::produce) fn handle(
        &mut self,
        event: Event,
        now: Duration,
        spare: &dyn Fn(i32) -> bool,
    ) -> Vec<Action> {
        match event {
            Event::Tick => {}
            Event::Topic { name, found } => self.located(&name, found, now),
            Event::Id(found) => self.identified(found, now),
            Event::Answered { request, quiet, parcels } => self.answered(request, quiet, parcels, now),
            Event::Compressed { slot, place, body } => self.compressed(slot, place, body),
        }
        self.advance(now, spare);
        std::mem::take(&mut self.actions)
    }

    /// What the cluster says of a topic, of whoever asked; an [`Event::Tick`] is due.
    pub(in crate::kafka::produce) fn learn(&mut self, name: &Arc<str>, found: Option<Places>, now: Duration) {
        self.located(name, Ok(found), now);
    }

    /// A request of [`Action::Send`] is about to be written: whether this batch still has to go. From now on it may arrive.
    pub(in crate::kafka::produce) fn depart(&mut self, slot: usize, place: Place) -> bool {
        self.partitions.get_mut(slot).is_some_and(|partition| partition.depart(place))
    }

    /// Reports all that isn't reported yet as failed: nobody sends any more.
    pub(in crate::kafka::produce) fn abandon(&mut self, error: &Error) -> Vec<Action> {
        for partition in &mut self.partitions {
            for mut batch in partition.out.drain(..) {
                batch.doubtful |= batch.departed;
                let error = batch.verdict(error.clone());
                settle(&mut self.live, &mut self.actions, &batch, Err(error));
            }
            for (batch, error) in partition.give_up(error) {
                settle(&mut self.live, &mut self.actions, &batch, Err(error));
            }
        }
        std::mem::take(&mut self.actions)
    }

    /// When an [`Event::Tick`] is due.
    pub(in crate::kafka::produce) fn next_wake(&self) -> Option<Duration> {
        self.wake
    }

    /// Sends all that is there without lingering, once a tick comes. [`is_flushed`](Self::is_flushed) takes the mark.
    pub(in crate::kafka::produce) fn flush(&mut self) -> u64 {
        for slot in &self.busy {
            if let Some(partition) = self.partitions.get_mut(*slot) {
                partition.queue.iter_mut().for_each(|batch| batch.closed = true);
            }
        }
        self.next
    }

    /// Whether all that was there at the flush is reported.
    pub(in crate::kafka::produce) fn is_flushed(&self, mark: u64) -> bool {
        self.live.first().is_none_or(|(oldest, _)| *oldest >= mark)
    }

    /// Whether no record is on its way.
    pub(in crate::kafka::produce) fn is_idle(&self) -> bool {
        self.live.is_empty()
    }

    /// The partition for a record.
    fn slot_of(&mut self, record: &ProducerRecord) -> Result<usize, Refusal> {
        let topic = self.names.get(&record.topic).and_then(|at| self.topics.get_mut(*at));
        let topic = topic.filter(|topic| topic.count > 0).ok_or(Refusal::Topic)?;
        let count = i32::try_from(topic.count).unwrap_or(i32::MAX);
        let partition = match record.partition {
            Some(partition) => Some(partition),
            None => self.rules.partitioner.of_key(record.key.as_deref(), count),
        };
        if let Some(partition) = partition {
            let slot =
                usize::try_from(partition).ok().filter(|at| *at < topic.count).and_then(|at| topic.slots.get(at));
            return slot.copied().ok_or(Refusal::Partition(topic.count));
        }
        let led = |slot: usize| self.partitions.get(slot).is_some_and(|partition| partition.leader.is_some());
        if topic.sticky.is_none_or(|(slot, left)| left == 0 || !led(slot)) {
            let slot = sticky(topic, &self.partitions, &mut self.dice).ok_or(Refusal::Topic)?;
            topic.sticky = Some((slot, STICK_TO.max(self.rules.batch_size)));
        }
        topic.sticky.map(|(slot, _)| slot).ok_or(Refusal::Topic)
    }

    /// Counts a record against the partition that the topic sticks to.
    fn stick(&mut self, slot: usize, charged: usize) {
        let topic = self.partitions.get(slot).and_then(|partition| self.topics.get_mut(partition.topic));
        if let Some((_, left)) = topic.and_then(|topic| topic.sticky.as_mut()).filter(|(stuck, _)| *stuck == slot) {
            *left = left.saturating_sub(charged);
        }
    }

    /// Reports a batch, which is gone by that.
    fn settle(&mut self, batch: &Batch, result: Result<Ack, Error>) {
        settle(&mut self.live, &mut self.actions, batch, result);
    }

    /// Asks for a tick at that time.
    fn wake_at(&mut self, at: Duration) {
        self.wake = Some(self.wake.map_or(at, |wake| wake.min(at)));
    }
}

/// Of two partitions by chance the one with less to send (KIP-794); none without a leader, if that can be.
fn sticky(topic: &Topic, partitions: &[Partition], dice: &mut Dice) -> Option<usize> {
    let slots = topic.slots.get(..topic.count)?;
    let led = |slot: &&usize| partitions.get(**slot).is_some_and(|partition| partition.leader.is_some());
    let with_leader = slots.iter().filter(led).count();
    let mut draw = || match with_leader {
        0 => slots.get(dice.below(slots.len())).copied(),
        some => slots.iter().filter(led).nth(dice.below(some)).copied(),
    };
    let (one, other) = (draw()?, draw()?);
    let waiting = |slot: usize| partitions.get(slot).map_or(0, Partition::waiting);
    Some(if waiting(other) < waiting(one) { other } else { one })
}

/// The error for a record that a setting has no room for.
pub(super) fn too_large(size: usize, limit: usize, setting: &str) -> Error {
    let message = format!("a record of {size} bytes is over {setting}, which is {limit} bytes");
    Error::new(ErrorKind::TooLarge, message).unsent()
}

fn settle(live: &mut BTreeSet<Place>, actions: &mut Vec<Action>, batch: &Batch, result: Result<Ack, Error>) {
    live.remove(&batch.place);
    let (report, piece) = (Arc::clone(&batch.report), batch.piece(result));
    actions.push(Action::Report { report, piece, freed: batch.charged });
}

#[derive(Debug)]
struct Topic {
    name: Arc<str>,
    id: Uuid,
    /// By number; there may be more than the topic has, if it was created again with fewer.
    slots: Vec<usize>,
    /// How many partitions the topic has.
    count: usize,
    /// Where records without a key go, and for how many bytes more.
    sticky: Option<(usize, usize)>,
    /// A refresh is under way.
    asking: bool,
    /// What is known is wrong.
    stale: bool,
    /// When it was last asked about.
    asked: Duration,
    pause: Pause,
}

/// Who the broker knows us as.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Identity {
    Unknown,
    Asking {
        failures: u32,
    },
    /// It couldn't be had.
    Failed(Pause),
    Known {
        id: i64,
        epoch: i16,
    },
}

#[derive(Debug, Default)]
struct Broker {
    main: Traffic,
    spare: Traffic,
    /// The second connection was of no use: until when to do without.
    alone_until: Duration,
    quiet_until: Duration,
    pause: Pause,
}

/// What is out over a connection.
#[derive(Debug, Default)]
struct Traffic {
    requests: usize,
    bytes: usize,
}

/// A request that is out.
#[derive(Debug)]
struct Request {
    broker: i32,
    lane: Lane,
    bytes: usize,
}

/// After failures: how many, and until when to wait.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
struct Pause {
    failures: u32,
    until: Duration,
}

impl Pause {
    fn failed(&mut self, rules: &Rules, dice: &mut Dice, now: Duration) {
        let (first, most) = rules.backoff;
        let wait = first.saturating_mul(1 << self.failures.min(16)).min(most);
        // Four fifths to six fifths of it, so that producers don't come back all at once.
        let wait = wait.mul_f64(0.8 + 0.1 * f64::from(u8::try_from(dice.below(5)).unwrap_or(0)));
        self.failures = self.failures.saturating_add(1);
        self.until = now.saturating_add(wait);
    }
}

/// See [`Rules::share_from`].
const SHARE_FROM: usize = 64 * 1024;
/// What a batch has room for at first; it grows.
const FIRST_CAPACITY: usize = 512;
/// Records without a key change the partition after so many bytes, or a batch if that is more.
const STICK_TO: usize = 16 * 1024;
