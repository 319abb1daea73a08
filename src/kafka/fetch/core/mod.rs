//! What all Readers of a Client want, and what to ask which broker next: a pure state machine.
//!
//! Every event (a Reader's call, an answer, time that passed) is a call with the time as an argument; [`Core::turn`] then says
//! what to do. It never does I/O, reads a clock or looks into records further than the headers of batches.
//!
//! One broker and one isolation make a [`Lane`]: at most one long request (the poll, in a session) and one quick one are out
//! on it; where both bring much, the quick one is behind the poll on its connection. A slot is one partition of one Reader.
//! What comes back is compared with each slot's offset before it is queued: bytes that a slot doesn't wait for (it was sought
//! elsewhere, they came twice) are dropped, so that no answer can come too late.

mod answer;
mod find;
#[cfg(any(fuzzing, test))]
pub(super) mod model;
mod plan;
mod session;
mod slot;
#[cfg(test)]
mod tests;
mod types;

use std::collections::btree_map::Entry;
use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::sync::Arc;
use std::time::Duration;

use self::session::Session;
use self::slot::{At, Need, Slot};
pub(super) use self::types::{
    Action, Ask, AskId, Chunk, Find, Item, Kind, Leaders, Limits, Named, OffsetFound, OffsetWant, Options, ReaderId,
    Reply, ReplyPart, Sent, TopicId,
};
use super::unpack::Parcel;
use super::{Isolation, Start, TopicPartition};

/// The state of everything that is fetched for one Client.
#[derive(Debug)]
pub(super) struct Core {
    limits: Limits,
    readers: BTreeMap<ReaderId, Reading>,
    topics: BTreeMap<Arc<str>, Topic>,
    brokers: BTreeMap<i32, Broker>,
    lanes: BTreeMap<(i32, Isolation), Lane>,
    out: BTreeMap<AskId, Out>,
    finding: BTreeMap<AskId, Finding>,
    wakes: BTreeSet<ReaderId>,
    last_id: u64,
}

/// One Reader.
#[derive(Debug)]
struct Reading {
    options: Options,
    slots: BTreeMap<TopicPartition, Slot>,
    /// Slots that have something to take, in the order in which they are served.
    ready: VecDeque<TopicPartition>,
    /// Bytes that wait, or that were taken and aren't released.
    buffered: usize,
    /// Bytes that requests may bring at most.
    reserved: usize,
    /// It had no room when a request was made last.
    starved: bool,
}

/// What is known of a topic.
#[derive(Debug, Default)]
struct Topic {
    id: TopicId,
    parts: BTreeMap<i32, Part>,
    looking: bool,
    /// What the Client knows is old.
    stale: bool,
    /// A lookup is needed, not before this.
    retry_at: Duration,
    retries: u32,
}

/// Who leads a partition.
#[derive(Debug, Clone, Copy)]
struct Part {
    leader: Option<i32>,
    epoch: i32,
    /// A replica to read from until then.
    replica: Option<(i32, Duration)>,
}

/// How a broker does.
#[derive(Debug, Default)]
struct Broker {
    retry_at: Duration,
    retries: u32,
}

/// What is out on one broker for one isolation.
#[derive(Debug, Default)]
struct Lane {
    session: Session,
    poll: Option<AskId>,
    quick: Option<AskId>,
    /// When partitions that had nothing are asked again while the poll is out.
    quick_at: Duration,
    quick_empty: u32,
    turns: usize,
}

/// A fetch that is out.
#[derive(Debug)]
struct Out {
    broker: i32,
    isolation: Isolation,
    kind: Kind,
    /// Whether it was sent to be answered at once.
    at_once: bool,
    /// Whether a partition in it had more to bring, so that it is answered at once, too.
    more: bool,
    /// Whether anybody waits for just this answer.
    needed: bool,
    sent: BTreeMap<TopicPartition, Sent>,
    /// Who waits for which partition.
    covers: BTreeMap<TopicPartition, Vec<ReaderId>>,
    reserved: Vec<(ReaderId, usize)>,
}

/// A question for offsets that is out.
#[derive(Debug)]
struct Finding {
    broker: i32,
    slots: Vec<(ReaderId, TopicPartition)>,
}

/// What [`Core::turn`] says.
#[derive(Debug, Default)]
pub(super) struct Turn {
    pub(super) actions: Vec<Action>,
    /// Readers that have something to take, or an answer that they waited for.
    pub(super) wakes: Vec<ReaderId>,
    /// When to take the next turn, if nothing happens before.
    pub(super) due: Option<Duration>,
}

impl Core {
    pub(super) fn new(limits: Limits) -> Self {
        Self {
            limits,
            readers: BTreeMap::new(),
            topics: BTreeMap::new(),
            brokers: BTreeMap::new(),
            lanes: BTreeMap::new(),
            out: BTreeMap::new(),
            finding: BTreeMap::new(),
            wakes: BTreeSet::new(),
            last_id: 0,
        }
    }

    /// A new Reader, without partitions.
    pub(super) fn open(&mut self, options: Options) -> ReaderId {
        let id = ReaderId(self.next_id());
        let reading = Reading {
            options,
            slots: BTreeMap::new(),
            ready: VecDeque::new(),
            buffered: 0,
            reserved: 0,
            starved: false,
        };
        self.readers.insert(id, reading);
        self.shed();
        id
    }

    /// A Reader is gone.
    pub(super) fn close(&mut self, reader: ReaderId) {
        self.readers.remove(&reader);
        self.wakes.remove(&reader);
        self.tidy();
    }

    /// The Reader follows a partition, or goes on elsewhere in it.
    pub(super) fn seek(&mut self, reader: ReaderId, partition: &TopicPartition, start: Start) {
        let Some(reading) = self.readers.get_mut(&reader) else { return };
        let paused = reading.slots.get(partition).is_some_and(|slot| slot.paused);
        reading.forget(partition);
        reading.slots.insert(partition.clone(), Slot { paused, ..Slot::new(At::from(start)) });
        let topic = self.topics.entry(partition.topic.clone()).or_default();
        if let Entry::Vacant(part) = topic.parts.entry(partition.partition) {
            part.insert(Part { leader: None, epoch: -1, replica: None });
            if topic.retries == 0 {
                topic.retry_at = Duration::ZERO; // the last lookup wasn't for this partition
            }
        }
    }

    /// Asks for the same again, at an offset of the same log, after what came was bad.
    pub(super) fn again(&mut self, reader: ReaderId, partition: &TopicPartition, offset: i64) {
        let Some(reading) = self.readers.get_mut(&reader) else { return };
        let Some(old) = reading.forget(partition) else { return };
        let slot = Slot { paused: old.paused, topic_id: old.topic_id, ..Slot::new(At::Known { offset, epoch: -1 }) };
        reading.slots.insert(partition.clone(), slot);
    }

    /// The Reader no longer follows a partition.
    pub(super) fn drop_partition(&mut self, reader: ReaderId, partition: &TopicPartition) {
        if let Some(reading) = self.readers.get_mut(&reader) {
            reading.forget(partition);
        }
        self.tidy();
    }

    /// The partition stands still until it is sought.
    pub(super) fn halt(&mut self, reader: ReaderId, partition: &TopicPartition) {
        let Some(reading) = self.readers.get_mut(&reader) else { return };
        let Some(old) = reading.forget(partition) else { return };
        let slot = Slot { paused: old.paused, halted: true, topic_id: old.topic_id, ..Slot::new(old.at) };
        reading.slots.insert(partition.clone(), slot);
    }

    pub(super) fn is_halted(&self, reader: ReaderId, partition: &TopicPartition) -> bool {
        let slot = self.readers.get(&reader).and_then(|reading| reading.slots.get(partition));
        slot.is_some_and(|slot| slot.halted)
    }

    /// A paused partition keeps what it has, hands out nothing and asks for nothing.
    pub(super) fn pause(&mut self, reader: ReaderId, partition: &TopicPartition, paused: bool) {
        let Some(reading) = self.readers.get_mut(&reader) else { return };
        let Some(slot) = reading.slots.get_mut(partition) else { return };
        slot.paused = paused;
        reading.ready.retain(|ready| ready != partition);
        if !paused && !slot.queue.is_empty() {
            reading.ready.push_back(partition.clone());
        }
    }

    /// The next thing that waits, of each of these partitions in turn. Its bytes count until [`Core::release`].
    pub(super) fn take(
        &mut self,
        reader: ReaderId,
        of: impl Fn(&TopicPartition) -> bool,
    ) -> Option<(TopicPartition, Item)> {
        let reading = self.readers.get_mut(&reader)?;
        let first = reading.ready.iter().position(of)?;
        let partition = reading.ready.remove(first)?;
        let slot = reading.slots.get_mut(&partition)?;
        let item = slot.queue.pop_front()?;
        slot.bytes = slot.bytes.saturating_sub(item.bytes());
        if !slot.queue.is_empty() {
            reading.ready.push_back(partition.clone());
        }
        Some((partition, item))
    }

    /// What waits for a Reader and may be decompressed, about in the order in which it is taken.
    pub(super) fn packed(&self, reader: ReaderId) -> Vec<Parcel> {
        let Some(reading) = self.readers.get(&reader) else { return Vec::new() };
        let queues = || reading.ready.iter().filter_map(|partition| reading.slots.get(partition));
        let items = (0..LOOK_AHEAD).flat_map(|at| queues().filter_map(move |slot| slot.queue.get(at)));
        items.take(LOOK_AHEAD).filter_map(Item::packed).cloned().collect()
    }

    /// Bytes that were taken are done with.
    pub(super) fn release(&mut self, reader: ReaderId, bytes: usize) {
        if let Some(reading) = self.readers.get_mut(&reader) {
            reading.buffered = reading.buffered.saturating_sub(bytes);
        }
    }

    /// Whether bytes that are released may make room for a request.
    pub(super) fn is_starved(&self, reader: ReaderId) -> bool {
        self.readers.get(&reader).is_some_and(|reading| reading.starved)
    }

    /// From now on each of these partitions that has nothing wants an answer to a request that is yet to be sent; those that
    /// are in trouble anyway don't.
    pub(super) fn demand(&mut self, reader: ReaderId, of: impl Fn(&TopicPartition) -> bool) {
        let Some(reading) = self.readers.get_mut(&reader) else { return };
        let idle = |slot: &Slot| slot.queue.is_empty() && slot.failing.is_none();
        for (_, slot) in reading.slots.iter_mut().filter(|(partition, slot)| of(partition) && idle(slot)) {
            slot.need = Need::Wanted;
        }
    }

    /// Whether every one of these partitions got the answer that it wanted, or can't.
    pub(super) fn is_settled(&self, reader: ReaderId, of: impl Fn(&TopicPartition) -> bool) -> bool {
        let Some(reading) = self.readers.get(&reader) else { return true };
        let settled = |slot: &Slot| slot.need == Need::No || slot.paused || slot.halted || !slot.queue.is_empty();
        reading.slots.iter().all(|(partition, slot)| !of(partition) || settled(slot))
    }

    /// Bytes of a partition that wait.
    pub(super) fn read_ahead(&self, reader: ReaderId, partition: &TopicPartition) -> usize {
        self.readers.get(&reader).and_then(|reading| reading.slots.get(partition)).map_or(0, |slot| slot.bytes)
    }

    /// Where the partition ended when a broker last said so.
    pub(super) fn end(&self, reader: ReaderId, partition: &TopicPartition) -> Option<i64> {
        self.readers.get(&reader)?.slots.get(partition)?.end
    }

    /// The broker that a partition is read from.
    pub(super) fn source(&self, partition: &TopicPartition) -> Option<i32> {
        let part = self.topics.get(&partition.topic)?.parts.get(&partition.partition)?;
        part.replica.map(|(replica, _)| replica).or(part.leader)
    }

    /// Bytes that wait for Readers, or were taken and aren't released.
    #[cfg(any(fuzzing, test))]
    pub(super) fn buffered(&self) -> usize {
        self.readers.values().map(|reading| reading.buffered).sum()
    }

    fn next_id(&mut self) -> u64 {
        self.last_id = self.last_id.wrapping_add(1);
        self.last_id
    }

    /// What a Reader may hold: its own bound, and its part of the Client's.
    fn room_of(&self, reading: &Reading) -> usize {
        let share = self.limits.client_bytes / self.readers.len().max(1);
        reading.options.buffer.min(share).max(1)
    }

    /// More Readers share the same bytes: what is over is dropped, from the end, to be asked for again.
    fn shed(&mut self) {
        let share = self.limits.client_bytes / self.readers.len().max(1);
        for reading in self.readers.values_mut() {
            let room = reading.options.buffer.min(share);
            reading.shed(room);
        }
    }

    /// Forgets topics that nobody follows.
    fn tidy(&mut self) {
        let used: BTreeSet<&TopicPartition> = self.readers.values().flat_map(|reading| reading.slots.keys()).collect();
        let followed =
            |topic: &Arc<str>, partition: i32| used.contains(&TopicPartition { topic: topic.clone(), partition });
        for (name, topic) in &mut self.topics {
            topic.parts.retain(|partition, _| followed(name, *partition));
        }
        self.topics.retain(|_, topic| !topic.parts.is_empty());
    }

    fn slot(&mut self, reader: ReaderId, partition: &TopicPartition) -> Option<&mut Slot> {
        self.readers.get_mut(&reader)?.slots.get_mut(partition)
    }
}

impl Reading {
    /// Removes a slot with all that waits in it.
    fn forget(&mut self, partition: &TopicPartition) -> Option<Slot> {
        let slot = self.slots.remove(partition)?;
        self.buffered = self.buffered.saturating_sub(slot.bytes);
        self.ready.retain(|ready| ready != partition);
        Some(slot)
    }

    /// Something waits in a slot.
    fn push(&mut self, partition: &TopicPartition, item: Item) {
        let Some(slot) = self.slots.get_mut(partition) else { return };
        if slot.queue.is_empty() && !slot.paused {
            self.ready.push_back(partition.clone());
        }
        let bytes = item.bytes();
        slot.bytes = slot.bytes.saturating_add(bytes);
        self.buffered = self.buffered.saturating_add(bytes);
        slot.queue.push_back(item);
    }

    /// Drops what is over `room`, the latest of each slot first.
    fn shed(&mut self, room: usize) {
        for (partition, slot) in &mut self.slots {
            while self.buffered > room {
                let Some(Item::Chunk(chunk)) = slot.queue.back() else { break };
                let (offset, bytes) = (chunk.offset, chunk.records.len());
                slot.queue.pop_back();
                slot.at = At::Known { offset, epoch: -1 };
                slot.bytes = slot.bytes.saturating_sub(bytes);
                self.buffered = self.buffered.saturating_sub(bytes);
            }
            if slot.queue.is_empty() {
                self.ready.retain(|ready| ready != partition);
            }
        }
    }
}

impl Item {
    /// Batches that may be worth decompressing ahead.
    pub(super) fn packed(&self) -> Option<&Parcel> {
        match self {
            Self::Chunk(chunk) => Some(&chunk.batches).filter(|batches| batches.is_packed()),
            Self::Trouble { .. } | Self::Start(_) => None,
        }
    }

    fn bytes(&self) -> usize {
        match self {
            Self::Chunk(chunk) => chunk.records.len(),
            Self::Trouble { .. } | Self::Start(_) => 0,
        }
    }
}

/// So many chunks are looked at for what may be decompressed.
const LOOK_AHEAD: usize = 32;
