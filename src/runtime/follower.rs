//! Reads the topics that an engine follows: one loop over all of them.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::sync::Notify;
use tokio::time::Instant;

use super::event::Event;
use super::machine::Machine;
use crate::engine::{ActionId, Input, Outcome, Record, Start};
use crate::time::UnixTime;
use crate::topic::{Role, Topic};
use crate::transport::{Batch, FetchFrom, OffsetAt, Transport, TransportError, TransportErrorKind};

/// The topics that are followed, and how far each was read.
pub(super) struct Follower {
    machine: Arc<Machine>,
    transport: Arc<dyn Transport>,
    naming: crate::topic::Naming,
    positions: Mutex<BTreeMap<(Topic, i32), Position>>,
    changed: Notify,
}

#[derive(Clone, Copy, Debug)]
struct Position {
    next: i64,
    /// Until this offset is reached, the topic isn't caught up with.
    catch_up: Option<i64>,
    not_before: Instant,
    /// Failures in a row.
    failures: u32,
}

impl Follower {
    pub(super) fn new(machine: Arc<Machine>, transport: Arc<dyn Transport>, naming: crate::topic::Naming) -> Self {
        Self { machine, transport, naming, positions: Mutex::default(), changed: Notify::new() }
    }

    /// Finds out where to start, tells the engine, and reads from there. Tries for as long as it takes.
    pub(super) async fn follow(&self, id: ActionId, topic: Topic, from: Start) {
        let mut told = false;
        let mut pause = Duration::from_millis(100);
        let what = format!("looking up topic {topic}");
        loop {
            let started = self.start(&topic, from, told).await;
            if started.is_ok() {
                self.machine.works(&what);
            }
            match started {
                Ok(true) => break,
                // it doesn't exist yet: whatever comes there will be news, so nobody has to wait for it
                Ok(false) => {
                    self.tell(id, &topic, &mut told);
                    tokio::time::sleep(LOOK_AGAIN).await;
                }
                Err(error) => {
                    self.machine.fails(what.clone(), &topic, error.to_string());
                    tokio::time::sleep(pause).await;
                    pause = (pause * 2).min(Duration::from_secs(5));
                }
            }
        }
        self.changed.notify_one();
        if !told {
            self.machine.done(id, Ok(Outcome::Done));
            self.report_caught_up(&topic);
        }
    }

    /// Reads until the task is dropped.
    pub(super) async fn run(&self) {
        loop {
            let (from, due) = self.due();
            let changed = self.changed.notified();
            tokio::select! {
                () = changed => {}
                () = tokio::time::sleep_until(due) => {}
                fetched = self.transport.fetch(&from, MAX_BYTES, FETCH_WAIT, FETCH_WITHIN), if !from.is_empty() => {
                    self.take(fetched).await;
                }
            }
        }
    }

    /// Starts anew where it stands; for an engine that was built anew, which has forgotten what it was told.
    pub(super) fn forget_all(&self) {
        self.lock().clear();
    }

    /// Whether the topic exists; if so, it is followed from now on.
    async fn start(&self, topic: &Topic, from: Start, existed_not: bool) -> Result<bool, TransportError> {
        let key_topic = matches!(self.naming.role_of(topic), Role::Keys(_) | Role::Reqs(_) | Role::Subs(_));
        let mut partitions = self.transport.partitions(topic, WITHIN).await?;
        if partitions.is_none() && key_topic {
            let creating = format!("creating topic {topic}");
            if let Err(error) = self.transport.create_topic(topic, 1, WITHIN).await {
                if error.is_retriable() {
                    return Err(error);
                }
                self.machine.fails(creating, topic, error.to_string());
                return Ok(false);
            }
            self.machine.works(&creating);
            partitions = Some(vec![0]);
        }
        let Some(partitions) = partitions else { return Ok(false) };
        if partitions.len() > 1 {
            self.machine.report(Event::SeveralPartitions { topic: topic.to_string(), count: partitions.len() });
        }
        let mut positions = Vec::new();
        for partition in partitions {
            let end = self.transport.offset(topic, partition, OffsetAt::Latest, WITHIN).await?;
            let (next, catch_up) = match from {
                Start::End if !existed_not => (end, None),
                // what arrives between the two calls is recent, and must not be missed
                Start::Recent(age) if !existed_not => {
                    let at = OffsetAt::Time(self.ago(age));
                    (self.transport.offset(topic, partition, at, WITHIN).await?.min(end), None)
                }
                _ => (self.transport.offset(topic, partition, OffsetAt::Earliest, WITHIN).await?, Some(end)),
            };
            let position = Position { next, catch_up, not_before: Instant::now(), failures: 0 };
            positions.push(((topic.clone(), partition), position));
        }
        // all at once, so that the topic isn't caught up with while a partition is missing
        self.lock().extend(positions);
        Ok(true)
    }

    fn tell(&self, id: ActionId, topic: &Topic, told: &mut bool) {
        if !std::mem::replace(told, true) {
            self.machine.done(id, Ok(Outcome::Done));
            self.machine.step(Input::CaughtUp { topic });
        }
    }

    fn ago(&self, age: Duration) -> i64 {
        let now = self.machine.now().wall;
        let earlier = UnixTime::from_secs_f64(now.as_secs_f64() - age.as_secs_f64()).unwrap_or(UnixTime::ZERO);
        earlier.as_millis()
    }

    /// What can be read now, and when to look again for what failed a moment ago.
    fn due(&self) -> (Vec<FetchFrom>, Instant) {
        let now = Instant::now();
        let positions = self.lock();
        let (ready, later): (Vec<_>, Vec<_>) = positions.iter().partition(|(_, position)| position.not_before <= now);
        let from = ready.into_iter().map(|((topic, partition), at)| FetchFrom::new(&**topic, *partition, at.next));
        let due = later.into_iter().map(|(_, position)| position.not_before).min();
        (from.collect(), due.unwrap_or_else(|| now + FETCH_WITHIN * 2))
    }

    async fn take(&self, fetched: Result<Vec<crate::transport::Fetched>, TransportError>) {
        match fetched {
            Ok(fetched) => {
                self.machine.works(READING);
                for part in fetched {
                    match part.result {
                        Ok(batch) => self.records(&part.topic, part.partition, batch).await,
                        Err(error) => self.failed(&part.topic, part.partition, &error).await,
                    }
                }
            }
            Err(error) => {
                self.machine.fails(READING.into(), "", error.to_string());
                tokio::time::sleep(PAUSE).await;
            }
        }
    }

    /// Hands records to the engine on a thread that may block, since it may have to write files.
    async fn records(&self, topic: &Topic, partition: i32, batch: Batch) {
        let Batch { records, next, skipped, .. } = batch;
        for skip in &skipped {
            let what = format!("reading {topic} partition {partition} offset {}, which was skipped,", skip.offset);
            self.machine.report(Event::Broker { what, why: skip.reason.clone() });
        }
        if !records.is_empty() {
            let machine = self.machine.clone();
            let handed = tokio::task::spawn_blocking(move || {
                for record in &records {
                    machine.step(Input::Record(Record {
                        topic: &record.topic,
                        key: record.key.as_deref(),
                        value: record.value.as_deref(),
                        timestamp: u32::try_from(record.timestamp_ms / 1000).ok().map(UnixTime::from_secs),
                    }));
                }
                machine.attend();
            });
            // the closure can't panic: a failing engine is caught in `step`
            let _ = handed.await;
        }
        let mut failures = 0;
        if let Some(position) = self.lock().get_mut(&(topic.clone(), partition)) {
            position.next = next.max(position.next);
            failures = std::mem::take(&mut position.failures);
        }
        if failures > 0 {
            self.machine.works(&reading(topic, partition));
        }
        self.report_caught_up(topic);
    }

    async fn failed(&self, topic: &Topic, partition: i32, error: &TransportError) {
        self.machine.fails(reading(topic, partition), topic, error.to_string());
        let earliest = match error.kind() {
            TransportErrorKind::OffsetOutOfRange => {
                self.transport.offset(topic, partition, OffsetAt::Earliest, WITHIN).await.ok()
            }
            // it was deleted, and may be created again
            TransportErrorKind::UnknownTopic => Some(0),
            _ => None,
        };
        if let Some(position) = self.lock().get_mut(&(topic.clone(), partition)) {
            position.next = earliest.unwrap_or(position.next);
            // a topic that was just made fails for some milliseconds
            position.not_before =
                Instant::now() + (SHORTEST_PAUSE * (1 << position.failures.min(10))).min(LONGEST_PAUSE);
            position.failures += 1;
        }
    }

    /// Tells the engine once when all partitions of a topic were read to the end that they had.
    fn report_caught_up(&self, topic: &Topic) {
        let mut reported = false;
        {
            let mut positions = self.lock();
            let mut of_topic: Vec<_> = positions.iter_mut().filter(|((name, _), _)| name == topic).collect();
            if of_topic.iter().all(|(_, at)| at.catch_up.is_none_or(|end| at.next >= end)) {
                for (_, position) in &mut of_topic {
                    reported |= position.catch_up.take().is_some();
                }
            }
        }
        if reported {
            self.machine.step(Input::CaughtUp { topic });
        }
    }

    fn lock(&self) -> MutexGuard<'_, BTreeMap<(Topic, i32), Position>> {
        self.positions.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn reading(topic: &Topic, partition: i32) -> String {
    format!("reading {topic} partition {partition}")
}

const READING: &str = "reading key topics";

/// How long a call that looks something up may take.
const WITHIN: Duration = Duration::from_secs(10);

/// How long a fetch waits for news.
const FETCH_WAIT: Duration = Duration::from_secs(5);

/// How long a fetch may take in all.
const FETCH_WITHIN: Duration = Duration::from_secs(20);

/// Bytes that are read from a partition at once.
const MAX_BYTES: i32 = 1 << 20;

/// How long reading pauses when all of it failed.
const PAUSE: Duration = Duration::from_millis(500);

/// How long a partition that failed is left alone, at first.
const SHORTEST_PAUSE: Duration = Duration::from_millis(5);

/// How long at most.
const LONGEST_PAUSE: Duration = Duration::from_secs(5);

/// How often to look for a topic that doesn't exist yet.
const LOOK_AGAIN: Duration = Duration::from_secs(5);
