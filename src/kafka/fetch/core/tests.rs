//! The core against a model of brokers, in any order of events.

use std::collections::BTreeMap;

use bytes::{BufMut, Bytes, BytesMut};
use proptest::prelude::*;

use super::super::{FetchError, OffsetAt, Reset};
use super::*;
use crate::kafka::{Error, ErrorKind};

const TOPIC: &str = "t";
const PARTITIONS: i32 = 4;
const BROKERS: i32 = 3;
/// A batch of the model.
const BATCH: usize = 61;
const LIMITS: Limits =
    Limits { client_bytes: 60 * BATCH, poll_wait: Duration::from_millis(500), response_bytes: 20 * BATCH };

/// One partition: batches of (first, last) and who leads it.
#[derive(Debug, Clone)]
struct Log {
    batches: Vec<(i64, i64, i32)>,
    start: i64,
    end: i64,
    leader: i32,
    epoch: i32,
}

impl Log {
    fn new(leader: i32) -> Self {
        Self { batches: Vec::new(), start: 0, end: 0, leader, epoch: 0 }
    }

    /// The bytes from the batch that holds `offset` on.
    fn read(&self, offset: i64, max: usize, id: TopicId) -> Bytes {
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
    fn next_at(&self, offset: i64) -> Option<i64> {
        let batch = self.batches.iter().find(|(_, last, _)| *last >= offset && *last >= self.start)?;
        Some(batch.0.max(offset))
    }
}

/// What a reader ought to see next.
#[derive(Debug, Clone, Default)]
struct Expected {
    next: Option<i64>,
    id: Option<TopicId>,
    halted: bool,
    paused: bool,
}

struct World {
    core: Core,
    now: Duration,
    id: TopicId,
    logs: Vec<Log>,
    sessions: BTreeMap<(i32, i32), (i32, BTreeMap<TopicPartition, Sent>)>,
    next_session: i32,
    asks: Vec<(AskId, Ask)>,
    lookups: Vec<Arc<str>>,
    offsets: Vec<(AskId, i32, Vec<OffsetWant>)>,
    readers: BTreeMap<ReaderId, BTreeMap<TopicPartition, Expected>>,
    reset: Reset,
    due: Option<Duration>,
}

fn partition(of: usize) -> TopicPartition {
    TopicPartition::new(TOPIC, of as i32 % PARTITIONS)
}

impl World {
    fn new(reset: Reset) -> Self {
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

    fn log(&mut self, partition: &TopicPartition) -> &mut Log {
        &mut self.logs[partition.partition as usize]
    }

    fn options(&self) -> Options {
        Options {
            isolation: Isolation::Committed,
            buffer: 40 * BATCH,
            partition_bytes: 3 * BATCH,
            reset: self.reset,
            patience: Duration::from_secs(5),
        }
    }

    fn turn(&mut self) {
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

    fn check_memory(&self) {
        let readers = self.core.readers.len().max(1);
        let bound: usize = self.core.readers.values().map(|reading| self.core.room_of(reading)).sum();
        // One batch more than its limit in each answer that brings one to each reader.
        let slack = readers * BROKERS as usize * 2 * BATCH;
        assert!(self.core.buffered() <= bound + slack, "{} bytes wait, {bound} may", self.core.buffered());
    }

    /// What the broker does with a fetch.
    fn fetch(&mut self, ask: &Ask) -> Reply {
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

    fn read(
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

    fn answer(&mut self, which: usize, fault: u8) {
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

    fn found(&mut self, fault: u8) {
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

    fn offsets(&mut self, which: usize, fault: u8) {
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

    fn reader(&self, which: usize) -> Option<ReaderId> {
        let ids: Vec<ReaderId> = self.readers.keys().copied().collect();
        (!ids.is_empty()).then(|| ids[which % ids.len()])
    }

    fn seek(&mut self, which: usize, of: usize, offset: Option<i64>) {
        let Some(reader) = self.reader(which) else { return };
        let partition = partition(of);
        let start = offset.map_or(Start::At(OffsetAt::Earliest), Start::Offset);
        let expected = self.readers.get_mut(&reader).unwrap().entry(partition.clone()).or_default();
        *expected = Expected { next: offset, paused: expected.paused, ..Expected::default() };
        self.core.seek(reader, &partition, start);
    }

    /// A reader takes one thing, and sees whether it is what has to come.
    fn take(&mut self, which: usize) -> bool {
        let Some(reader) = self.reader(which) else { return false };
        let Some((partition, item)) = self.core.take(reader) else { return false };
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
    fn settle(&mut self) {
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

    fn step(&mut self, (what, a, b): (u8, usize, usize)) {
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
            69..=71 => self.reader(a).into_iter().for_each(|reader| self.core.demand(reader)),
            72..=76 => self.now += Duration::from_millis((b % 700) as u64),
            _ => {
                self.take(a);
            }
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 300, ..ProptestConfig::default() })]

    #[test]
    fn nothing_twice_nothing_skipped_memory_bounded(
        stop in any::<bool>(),
        steps in prop::collection::vec((0..100u8, 0..5000usize, 0..5000usize), 1..300),
    ) {
        let mut world = World::new(if stop { Reset::Stop } else { Reset::Earliest });
        let id = world.core.open(world.options());
        world.readers.insert(id, BTreeMap::new());
        for n in 0..PARTITIONS as usize {
            world.seek(0, n, None);
        }
        for step in steps {
            world.step(step);
            world.turn();
        }
        world.settle();
    }
}

/// A world in which one reader follows everything from the beginning, and has its answers.
fn quiet() -> (World, ReaderId) {
    let mut world = World::new(Reset::Stop);
    for log in &mut world.logs {
        log.leader = 0;
    }
    let reader = world.core.open(world.options());
    world.readers.insert(reader, BTreeMap::new());
    for n in 0..PARTITIONS as usize {
        world.seek(0, n, Some(0));
    }
    world.turn();
    world.found(9);
    world.turn();
    (world, reader)
}

#[test]
fn all_partitions_are_one_request_and_the_first_is_answered_at_once() {
    let (mut world, _) = quiet();
    assert_eq!(world.asks.len(), 1);
    let (_, ask) = &world.asks[0];
    assert_eq!((ask.kind, ask.wait, ask.send.len()), (Kind::Poll, Duration::ZERO, 4));
    world.answer(0, 9);
    world.turn();
    let (_, ask) = &world.asks[0];
    assert_eq!((ask.kind, ask.wait, ask.send.len()), (Kind::Poll, LIMITS.poll_wait, 0), "nothing is sent twice");
}

#[test]
fn a_reader_that_joins_is_served_at_once_and_then_by_the_poll() {
    let (mut world, _) = quiet();
    world.answer(0, 9);
    world.turn();
    let other = world.core.open(world.options());
    world.readers.insert(other, BTreeMap::new());
    world.seek(1, 2, Some(0));
    world.turn();
    assert_eq!(world.asks.len(), 2);
    let (_, quick) = &world.asks[1];
    assert_eq!((quick.kind, quick.wait, quick.session, quick.epoch), (Kind::Quick, Duration::ZERO, 0, -1));
    world.answer(1, 9);
    world.turn();
    assert_eq!(world.asks.len(), 1, "not again at once");
    world.now = world.due.unwrap();
    world.turn();
    assert_eq!(world.asks.len(), 2, "but soon");
    world.answer(1, 9);
    world.answer(0, 9);
    world.turn();
    assert_eq!(world.asks.len(), 1, "the poll serves both");
    let log = world.log(&partition(2));
    (log.batches, log.end) = (vec![(0, 0, 0)], 1);
    world.answer(0, 9);
    assert!(world.take(0) && world.take(1));
}

#[test]
fn a_full_reader_asks_for_nothing_more() {
    let (mut world, _) = quiet();
    for log in &mut world.logs {
        log.batches = (0..500).map(|n| (n, n, 0)).collect();
        log.end = 500;
    }
    for _ in 0..100 {
        world.answer(0, 9);
        world.turn();
    }
    assert!(world.asks.is_empty());
    while world.take(0) {}
    world.turn();
    assert_eq!(world.asks.len(), 1);
}

#[test]
fn an_unclean_leader_s_log_is_reported() {
    let (mut world, reader) = quiet();
    let log = world.log(&partition(0));
    (log.batches, log.end) = ((0..10).map(|n| (n, n, 3)).collect(), 10);
    world.answer(0, 9);
    world.turn();
    while world.take(0) {}
    let (id, ask) = world.asks.pop().unwrap();
    let sent = ask.send.iter().find(|(of, _)| *of == partition(0)).unwrap().1;
    assert!(sent.offset > 0 && sent.last_epoch == 3, "{sent:?}");
    let mut left = 0;
    let mut part = world.read(0, &partition(0), sent, &mut left, &mut false);
    part.diverging = Some((2, 1));
    let reply = Reply { session: ask.session, parts: vec![part], ..Reply::default() };
    world.core.answer(world.now, id, Ok(reply));
    let Some((_, Item::Trouble { error, at })) = world.core.take(reader) else { panic!("nothing was said") };
    assert!(matches!(error, FetchError::Truncated { end: 1, next: None, .. }), "{error}");
    assert_eq!(at, None);
    assert!(world.core.is_halted(reader, &partition(0)));
}

#[test]
fn trouble_that_lasts_is_told_now_and_then() {
    let (mut world, reader) = quiet();
    let mut told = Vec::new();
    while world.now < Duration::from_secs(16) {
        world.answer(0, 0);
        world.turn();
        world.found(9);
        world.turn();
        while let Some((_, item)) = world.core.take(reader) {
            assert!(matches!(item, Item::Trouble { error: FetchError::Failed { .. }, .. }));
            told.push(world.now.as_secs());
        }
        world.now = world.due.unwrap_or(world.now).max(world.now + Duration::from_millis(1));
    }
    told.dedup();
    assert!((2..=4).contains(&told.len()) && told[0] >= 5, "{told:?}");
}

#[test]
fn a_topic_that_is_not_there_is_told_at_once_and_asked_for_again() {
    let mut world = World::new(Reset::Stop);
    let reader = world.core.open(world.options());
    world.readers.insert(reader, BTreeMap::new());
    world.seek(0, 0, Some(0));
    world.turn();
    let topic = world.lookups.pop().unwrap();
    world.core.found(world.now, &topic, Ok(None));
    assert!(matches!(
        world.core.take(reader),
        Some((_, Item::Trouble { error: FetchError::NoSuchPartition { .. }, .. }))
    ));
    world.turn();
    assert!(world.lookups.is_empty());
    world.settle();
}

#[test]
fn nobody_reads_any_more_so_the_session_ends() {
    let (mut world, reader) = quiet();
    world.answer(0, 9);
    world.turn();
    assert_eq!(world.sessions.len(), 1);
    world.core.close(reader);
    world.readers.clear();
    world.turn();
    world.answer(0, 9);
    world.turn();
    assert!(world.asks.is_empty() && world.sessions.is_empty() && world.core.topics.is_empty());
}
