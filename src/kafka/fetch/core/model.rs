//! A model of brokers, and a run of the core against it in any order of events. Tests and fuzzing only: a panic is a finding.
//!
//! What must hold: what a Reader takes is what the log has, each record once, in order, none skipped unless that is said; no two
//! polls and no two quick requests are out to one broker; what waits stays in its bounds; and once everything works, all
//! that is there arrives.
#![allow(
    clippy::panic,
    clippy::expect_used,
    clippy::unwrap_used,
    clippy::indexing_slicing,
    reason = "a panic is the finding"
)]
#![allow(
    clippy::cast_possible_truncation,
    clippy::cast_possible_wrap,
    clippy::cast_sign_loss,
    reason = "small numbers"
)]

use std::collections::BTreeMap;

use bytes::{BufMut, Bytes, BytesMut};

use super::super::{FetchError, OffsetAt, Reset};
use super::*;
use crate::kafka::{Error, ErrorKind};

pub(super) const TOPIC: &str = "t";
pub(super) const PARTITIONS: i32 = 4;
pub(super) const BROKERS: i32 = 3;
/// A batch of the model.
pub(super) const BATCH: usize = 61;
pub(super) const LIMITS: Limits =
    Limits { client_bytes: 60 * BATCH, poll_wait: Duration::from_millis(500), response_bytes: 20 * BATCH };

/// One partition: batches of (first, last) and who leads it.
#[derive(Debug, Clone)]
pub(super) struct Log {
    pub(super) batches: Vec<(i64, i64, i32)>,
    pub(super) start: i64,
    pub(super) end: i64,
    pub(super) leader: i32,
    pub(super) epoch: i32,
}

impl Log {
    pub(super) fn new(leader: i32) -> Self {
        Self { batches: Vec::new(), start: 0, end: 0, leader, epoch: 0 }
    }

    /// The bytes from the batch that holds `offset` on.
    pub(super) fn read(&self, offset: i64, max: usize, id: TopicId) -> Bytes {
        let mut bytes = BytesMut::new();
        for (first, last, epoch) in self.batches.iter().filter(|(_, last, _)| *last >= offset && *last >= self.start) {
            if !bytes.is_empty() && bytes.len() + BATCH > max {
                break;
            }
            bytes.put_i64(*first);
            bytes.put_i32((BATCH - 12) as i32);
            bytes.put_i32(*epoch);
            bytes.put_u8(2);
            bytes.put_u32(0);
            bytes.put_u16(0);
            bytes.put_i32((last - first) as i32);
            bytes.put_u64(id as u64);
            bytes.put_bytes(0, BATCH - 27 - 8);
        }
        bytes.freeze()
    }

    /// The first offset at or after this one that a reader gets.
    pub(super) fn next_at(&self, offset: i64) -> Option<i64> {
        let batch = self.batches.iter().find(|(_, last, _)| *last >= offset && *last >= self.start)?;
        Some(batch.0.max(offset))
    }
}

/// What a reader ought to see next.
#[derive(Debug, Clone, Default)]
pub(super) struct Expected {
    pub(super) next: Option<i64>,
    pub(super) id: Option<TopicId>,
    pub(super) halted: bool,
    pub(super) paused: bool,
}

pub(super) struct World {
    pub(super) core: Core,
    pub(super) now: Duration,
    pub(super) id: TopicId,
    pub(super) logs: Vec<Log>,
    pub(super) sessions: BTreeMap<(i32, i32), (i32, BTreeMap<TopicPartition, Sent>)>,
    pub(super) next_session: i32,
    pub(super) asks: Vec<(AskId, Ask)>,
    pub(super) lookups: Vec<Arc<str>>,
    pub(super) offsets: Vec<(AskId, i32, Vec<OffsetWant>)>,
    pub(super) readers: BTreeMap<ReaderId, BTreeMap<TopicPartition, Expected>>,
    pub(super) reset: Reset,
    pub(super) due: Option<Duration>,
}

pub(super) fn partition(of: usize) -> TopicPartition {
    TopicPartition::new(TOPIC, of as i32 % PARTITIONS)
}

impl World {
    pub(super) fn new(reset: Reset) -> Self {
        Self {
            core: Core::new(LIMITS),
            now: Duration::ZERO,
            id: 1,
            logs: (0..PARTITIONS).map(|n| Log::new(n % BROKERS)).collect(),
            sessions: BTreeMap::new(),
            next_session: 1,
            asks: Vec::new(),
            lookups: Vec::new(),
            offsets: Vec::new(),
            readers: BTreeMap::new(),
            reset,
            due: None,
        }
    }

    pub(super) fn log(&mut self, partition: &TopicPartition) -> &mut Log {
        &mut self.logs[partition.partition as usize]
    }

    pub(super) fn options(&self) -> Options {
        Options {
            isolation: Isolation::Committed,
            buffer: 40 * BATCH,
            partition_bytes: 3 * BATCH,
            reset: self.reset,
            patience: Duration::from_secs(5),
        }
    }

    pub(super) fn turn(&mut self) {
        let turn = self.core.turn(self.now);
        self.due = turn.due;
        for action in turn.actions {
            match action {
                Action::Ask(_, ask) if ask.kind == Kind::Close => {
                    self.sessions.remove(&(ask.broker, ask.session));
                }
                Action::Ask(id, ask) => {
                    let twin = |(_, other): &(AskId, Ask)| other.broker == ask.broker && other.kind == ask.kind;
                    assert!(!self.asks.iter().any(twin), "two {:?} at once to broker {}", ask.kind, ask.broker);
                    self.asks.push((id, ask));
                }
                Action::Lookup { topic, .. } => self.lookups.push(topic),
                Action::Offsets { id, broker, wants, .. } => self.offsets.push((id, broker, wants)),
            }
        }
        self.check_memory();
    }

    pub(super) fn check_memory(&self) {
        let readers = self.core.readers.len().max(1);
        let bound: usize = self.core.readers.values().map(|reading| self.core.room_of(reading)).sum();
        // One batch more than its limit in each answer that brings one to each reader.
        let slack = readers * BROKERS as usize * 2 * BATCH;
        assert!(self.core.buffered() <= bound + slack, "{} bytes wait, {bound} may", self.core.buffered());
    }

    /// What the broker does with a fetch.
    pub(super) fn fetch(&mut self, ask: &Ask) -> Reply {
        let mut parts: Vec<(TopicPartition, Sent)> = ask.send.clone();
        let mut session = 0;
        if ask.kind == Kind::Poll {
            if ask.epoch == 0 {
                self.sessions.remove(&(ask.broker, ask.session));
                session = self.next_session;
                self.next_session += 1;
                self.sessions.insert((ask.broker, session), (1, ask.send.iter().cloned().collect()));
            } else {
                let Some((epoch, held)) = self.sessions.get_mut(&(ask.broker, ask.session)) else {
                    return Reply { error: 70, ..Reply::default() };
                };
                if *epoch != ask.epoch {
                    return Reply { error: 71, ..Reply::default() };
                }
                *epoch += 1;
                for (partition, _) in &ask.forget {
                    held.remove(partition);
                }
                held.extend(ask.send.iter().cloned());
                parts = held.iter().map(|(partition, sent)| (partition.clone(), *sent)).collect();
                session = ask.session;
            }
        }
        let mut left = ask.max_bytes;
        let mut first = true;
        let mut answered = Vec::new();
        for (partition, sent) in parts {
            let part = self.read(ask.broker, &partition, sent, &mut left, &mut first);
            let silent = part.error == 0 && part.records.is_empty() && part.diverging.is_none();
            if !silent || ask.epoch <= 0 {
                answered.push(part);
            }
        }
        Reply { throttle: Duration::ZERO, error: 0, session, parts: answered }
    }

    pub(super) fn read(
        &self,
        broker: i32,
        partition: &TopicPartition,
        sent: Sent,
        left: &mut usize,
        first: &mut bool,
    ) -> ReplyPart {
        let log = &self.logs[partition.partition as usize];
        let mut part = ReplyPart {
            topic: Named::Id(sent.topic_id),
            partition: partition.partition,
            error: 0,
            high_watermark: log.end,
            stable: log.end,
            diverging: None,
            leader: None,
            replica: None,
            aborted: Vec::new(),
            records: Bytes::new(),
        };
        part.error = match sent {
            _ if sent.topic_id != self.id => 100,
            _ if log.leader != broker => 6,
            _ if sent.leader_epoch >= 0 && sent.leader_epoch < log.epoch => 74,
            _ if sent.leader_epoch > log.epoch => 75,
            _ if sent.offset < log.start || sent.offset > log.end => 1,
            _ => 0,
        };
        if part.error == 0 {
            let bytes = log.read(sent.offset, sent.max_bytes.min(*left), self.id);
            if *first || bytes.len() <= *left {
                *first &= bytes.is_empty();
                *left = left.saturating_sub(bytes.len());
                part.records = bytes;
            }
        }
        part
    }

    pub(super) fn answer(&mut self, which: usize, fault: u8) {
        if self.asks.is_empty() {
            return;
        }
        let (id, ask) = self.asks.swap_remove(which % self.asks.len());
        let result = match fault {
            0 => Err(Error::new(ErrorKind::Disconnected, "it broke")),
            1 => {
                // The broker did it, and its answer was lost.
                self.fetch(&ask);
                Err(Error::new(ErrorKind::TimedOut, "no answer"))
            }
            _ => Ok(self.fetch(&ask)),
        };
        self.core.answer(self.now, id, result);
    }

    pub(super) fn found(&mut self, fault: u8) {
        let Some(topic) = self.lookups.pop() else { return };
        let leaders: Vec<(i32, i32)> = self.logs.iter().map(|log| (log.leader, log.epoch)).collect();
        let mut leaders = Leaders::of(self.id, &leaders);
        let result = match fault {
            0 => Err(Error::new(ErrorKind::TimedOut, "no answer")),
            1 => {
                leaders.partitions.insert(0, (-1, -1));
                Ok(Some(leaders))
            }
            _ => Ok(Some(leaders)),
        };
        self.core.found(self.now, &topic, result);
    }

    pub(super) fn offsets(&mut self, which: usize, fault: u8) {
        if self.offsets.is_empty() {
            return;
        }
        let (id, broker, wants) = self.offsets.swap_remove(which % self.offsets.len());
        if fault == 0 {
            return self.core.offsets(self.now, id, Err(Error::new(ErrorKind::TimedOut, "no answer")));
        }
        let find = |want: &OffsetWant| {
            let log = &self.logs[want.partition.partition as usize];
            let found = match want.what {
                _ if log.leader != broker => OffsetFound::Failed(Error::from_code(6, "no")),
                Find::At(OffsetAt::Earliest) => OffsetFound::At(log.start),
                Find::At(_) => OffsetFound::At(log.end),
                Find::Bounds { .. } => OffsetFound::Bounds { earliest: log.start, latest: log.end },
            };
            (want.partition.clone(), want.what, found)
        };
        let found = wants.iter().map(find).collect();
        self.core.offsets(self.now, id, Ok(found));
    }

    pub(super) fn reader(&self, which: usize) -> Option<ReaderId> {
        let ids: Vec<ReaderId> = self.readers.keys().copied().collect();
        (!ids.is_empty()).then(|| ids[which % ids.len()])
    }

    pub(super) fn seek(&mut self, which: usize, of: usize, offset: Option<i64>) {
        let Some(reader) = self.reader(which) else { return };
        let partition = partition(of);
        let start = offset.map_or(Start::At(OffsetAt::Earliest), Start::Offset);
        let expected = self.readers.get_mut(&reader).unwrap().entry(partition.clone()).or_default();
        *expected = Expected { next: offset, paused: expected.paused, ..Expected::default() };
        self.core.seek(reader, &partition, start);
    }

    /// A reader takes one thing, and sees whether it is what has to come.
    pub(super) fn take(&mut self, which: usize) -> bool {
        let Some(reader) = self.reader(which) else { return false };
        let Some((partition, item)) = self.core.take(reader, |_| true) else { return false };
        let expected =
            self.readers.get_mut(&reader).unwrap().get_mut(&partition).expect("a partition that is followed");
        assert!(!expected.paused, "a paused partition hands out nothing");
        match item {
            Item::Start(offset) => expected.next = Some(offset),
            Item::Trouble { error, at } => {
                if let FetchError::Recreated { .. } | FetchError::OutOfRange { .. } = error {
                    expected.halted = self.core.is_halted(reader, &partition);
                    expected.id = None;
                    expected.next = at.or(expected.next);
                }
            }
            Item::Chunk(chunk) => {
                let next = *expected.next.get_or_insert(chunk.offset);
                assert_eq!(chunk.offset, next, "{partition}: twice, or skipped");
                let mut at = next;
                for batch in chunk.records.chunks(BATCH) {
                    let first = i64::from_be_bytes(batch[..8].try_into().unwrap());
                    let last = first + i64::from(i32::from_be_bytes(batch[23..27].try_into().unwrap()));
                    let id = TopicId::from(u64::from_be_bytes(batch[27..35].try_into().unwrap()));
                    assert_eq!(*expected.id.get_or_insert(id), id, "{partition}: of another topic, and nobody said so");
                    let log = &self.logs[partition.partition as usize];
                    if id == self.id && at >= log.start {
                        assert_eq!(log.next_at(at), Some(first.max(at)), "{partition}: records were skipped");
                    }
                    assert!(last >= at);
                    at = last + 1;
                }
                assert_eq!(chunk.next, Some(at));
                expected.next = Some(at);
                self.core.release(reader, chunk.records.len());
            }
        }
        true
    }

    /// Everything works from now on: all that is there has to arrive.
    pub(super) fn settle(&mut self) {
        for n in 0..600 {
            self.turn();
            self.found(9);
            self.offsets(n, 9);
            self.answer(n, 9);
            while (0..self.readers.len()).any(|reader| self.take(reader)) {}
            if let Some(due) = self.due {
                self.now = self.now.max(due);
            }
        }
        for (reader, slots) in &self.readers {
            for (partition, expected) in slots.iter().filter(|(_, expected)| !expected.paused && !expected.halted) {
                let log = &self.logs[partition.partition as usize];
                let ends = log.batches.last().map_or(log.end, |(_, last, _)| last + 1);
                assert!(expected.next >= Some(ends), "{reader:?} stands at {:?} in {partition}: {ends}", expected.next);
            }
        }
    }

    pub(super) fn step(&mut self, (what, a, b): (u8, usize, usize)) {
        match what {
            0..=19 => self.answer(a, (b % 12) as u8),
            20..=24 => self.found((b % 6) as u8),
            25..=28 => self.offsets(a, (b % 6) as u8),
            29..=42 => {
                let log = self.log(&partition(a));
                let gap = (b % 3) as i64;
                let (first, last) = (log.end + gap, log.end + gap + (b % 5) as i64);
                log.batches.push((first, last, log.epoch));
                log.end = last + 1;
            }
            43..=46 => {
                let log = self.log(&partition(a));
                (log.leader, log.epoch) = ((log.leader + b as i32 % BROKERS) % BROKERS, log.epoch + 1);
            }
            47..=49 if self.readers.len() < 4 => {
                let id = self.core.open(self.options());
                self.readers.insert(id, BTreeMap::new());
            }
            50 => {
                if let Some(reader) = self.reader(a) {
                    self.core.close(reader);
                    self.readers.remove(&reader);
                }
            }
            51..=58 => self.seek(a, b, (b % 4 > 1).then_some((b / 8) as i64 % 50)),
            59..=61 => {
                if let Some(reader) = self.reader(a) {
                    let partition = partition(b);
                    if self.readers.get_mut(&reader).unwrap().remove(&partition).is_some() {
                        self.core.drop_partition(reader, &partition);
                    }
                }
            }
            62..=65 => {
                let partition = partition(b);
                let Some(reader) = self.reader(a) else { return };
                let Some(expected) = self.readers.get_mut(&reader).unwrap().get_mut(&partition) else { return };
                expected.paused = !expected.paused;
                self.core.pause(reader, &partition, expected.paused);
            }
            66 => {
                let log = self.log(&partition(a));
                log.start = log.start.max(log.end.min((b % 40) as i64));
            }
            67 => {
                self.id += 1;
                self.sessions.clear();
                self.logs = (0..PARTITIONS).map(|n| Log::new((n + b as i32) % BROKERS)).collect();
            }
            68 => self.sessions.clear(),
            69..=71 => self.reader(a).into_iter().for_each(|reader| self.core.demand(reader, |_| true)),
            72..=76 => self.now += Duration::from_millis((b % 700) as u64),
            _ => {
                self.take(a);
            }
        }
    }
}

/// Runs the steps that these bytes say, five for each: what, and two numbers.
pub(in crate::kafka::fetch) fn run(bytes: &[u8]) {
    let Some((mode, steps)) = bytes.split_first() else { return };
    let number = |high: u8, low: u8| usize::from(u16::from_be_bytes([high, low])) % 5000;
    let step = |step: &[u8; 5]| {
        let [what, a, b, c, d] = *step;
        (what % 100, number(a, b), number(c, d))
    };
    let (steps, _) = steps.as_chunks::<5>();
    all(mode & 1 == 1, &steps.iter().take(500).map(step).collect::<Vec<_>>());
}

/// Takes all these steps, and then lets everything work.
pub(super) fn all(stop: bool, steps: &[(u8, usize, usize)]) {
    let mut world = World::new(if stop { Reset::Stop } else { Reset::Earliest });
    let id = world.core.open(world.options());
    world.readers.insert(id, BTreeMap::new());
    for n in 0..PARTITIONS as usize {
        world.seek(0, n, None);
    }
    for step in steps {
        world.step(*step);
        world.turn();
    }
    world.settle();
}
