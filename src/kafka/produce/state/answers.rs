//! What follows from answers: of brokers, of the cluster, of the compressor.

use std::sync::Arc;
use std::time::Duration;

use kafka_protocol::error::ResponseError as Code;

use crate::kafka::cluster::Lane;
use crate::kafka::error::{Error, ErrorKind};

use super::super::batch::{Batch, Body, Place};
use super::super::report::Ack;
use super::partition::{Partition, Reset};
use super::{Identity, Pause, Places, Request, Returned, State, Topic};

/// What an answer means for a batch.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Verdict {
    /// The broker has it.
    Done(Ack),
    /// It may work later. `lost`: it may have worked now.
    Again { lost: bool },
    /// It works only in smaller pieces.
    Split,
    /// The broker doesn't take this sequence, or this producer.
    Anew(Reset),
    /// It never works.
    Never,
}

impl State {
    /// A request has ended.
    pub(super) fn answered(&mut self, request: u64, quiet: Duration, parcels: Vec<Returned>, now: Duration) {
        if let Some(Request { broker, lane, bytes }) = self.requests.remove(&request) {
            let way = (broker, lane);
            parcels.iter().for_each(|parcel| self.landed(parcel.slot, way));
            let broker = self.brokers.entry(broker).or_default();
            let traffic = broker.over(lane);
            traffic.requests = traffic.requests.saturating_sub(1);
            traffic.bytes = traffic.bytes.saturating_sub(bytes);
            broker.quiet_until = broker.quiet_until.max(now.saturating_add(quiet));
            // Errors without a code are those of the connection; all parcels share them.
            match parcels.iter().find_map(|parcel| parcel.result.as_ref().err().filter(|e| e.code().is_none())) {
                Some(_) if lane == Lane::Spare => broker.alone_until = now.saturating_add(ALONE),
                Some(_) => broker.pause.failed(&self.rules, &mut self.dice, now),
                None => broker.pause = Pause::default(),
            }
        }
        for parcel in parcels {
            self.returned(parcel, now);
        }
    }

    fn landed(&mut self, slot: usize, way: (i32, Lane)) {
        let flying = self.partitions.get_mut(slot).map(|partition| &mut partition.flying);
        if let Some((flying, at)) =
            flying.and_then(|all| all.iter().position(|other| *other == way).map(|at| (all, at)))
        {
            flying.swap_remove(at);
        }
    }

    /// A batch has come back. One that was reported meanwhile is of no interest.
    fn returned(&mut self, parcel: Returned, now: Duration) {
        let Returned { slot, place, body, result } = parcel;
        let Some(partition) = self.partitions.get_mut(slot) else { return };
        let Some(mut batch) = partition.come_back(place) else { return };
        let error = result.as_ref().err().cloned();
        let verdict = match body.is_some() {
            true => judge(result),
            false => Verdict::Never,
        };
        batch.body = body;
        let error = match (verdict, error) {
            (Verdict::Done(ack), _) => {
                partition.acknowledged = Some(now);
                partition.pause = Pause::default();
                return self.settle(&batch, Ok(ack));
            }
            (_, Some(error)) => error,
            (_, None) => Error::new(ErrorKind::Corrupt, "a batch can't be written").unsent(),
        };
        batch.last_error = Some(error.clone());
        match verdict {
            // The halves of a batch that has arrived after all would be other batches to the broker.
            Verdict::Split if batch.count > 1 && !batch.doubtful => self.split(slot, batch),
            Verdict::Split => {
                let (count, size) = (batch.count, batch.body.as_ref().map_or(0, Body::size));
                self.fail(slot, batch, error.at(&format!("a batch of {count} record(s) and {size} bytes")));
            }
            Verdict::Never | Verdict::Done(_) => self.fail(slot, batch, error),
            Verdict::Anew(reset) => self.anew(slot, batch, reset, error, now),
            Verdict::Again { lost } if lost && !self.rules.idempotent => self.fail(slot, batch, error),
            Verdict::Again { lost } => {
                batch.doubtful |= lost;
                self.again(slot, batch, &error, now);
            }
        }
    }

    /// Fails a batch for good.
    fn fail(&mut self, slot: usize, mut batch: Batch, error: Error) {
        batch.doubtful |= error.may_have_arrived();
        self.partitions.get_mut(slot).into_iter().for_each(|partition| partition.forget(&batch));
        let error = batch.verdict(error);
        self.settle(&batch, Err(error));
    }

    /// Sends a batch again, later.
    fn again(&mut self, slot: usize, batch: Batch, error: &Error, now: Duration) {
        let Some(partition) = self.partitions.get_mut(slot) else { return };
        let is_first = !partition.has_older(batch.place);
        // What comes back behind another isn't a failure more.
        if is_first && error.code().is_some() {
            partition.pause.failed(&self.rules, &mut self.dice, now);
        }
        let topic = partition.topic;
        partition.put_back(batch);
        if error.wants_metadata() {
            self.refresh(topic, true, now);
        }
    }

    /// Gives a batch a new sequence, if it isn't just in front of another.
    fn anew(&mut self, slot: usize, mut batch: Batch, reset: Reset, error: Error, now: Duration) {
        let Some(partition) = self.partitions.get_mut(slot) else { return };
        if partition.has_older(batch.place) || partition.reset.is_some() {
            return self.again(slot, batch, &error, now);
        }
        batch.resets += 1;
        partition.reset = Some(reset);
        let unsure = partition.is_unsure(reset) && batch.doubtful;
        if batch.resets > MOST_RESETS || unsure {
            return self.fail(slot, batch, error);
        }
        if batch.resets > 1 {
            partition.pause.failed(&self.rules, &mut self.dice, now);
        }
        partition.put_back(batch);
    }

    fn split(&mut self, slot: usize, batch: Batch) {
        let Some(partition) = self.partitions.get_mut(slot) else { return };
        match batch.split() {
            Ok((front, mut back)) => {
                back.number = partition.number_behind(front.number);
                partition.limit = front.body.as_ref().map_or(partition.limit, Body::size);
                self.live.extend([front.place, back.place]);
                partition.put_back(back);
                partition.put_back(front);
            }
            Err(error) => self.fail(slot, batch, error),
        }
    }

    /// A batch is compressed.
    pub(super) fn compressed(&mut self, slot: usize, place: Place, body: Result<Body, Error>) {
        let Some(partition) = self.partitions.get_mut(slot) else { return };
        let Some(at) = partition.queue.iter().position(|batch| batch.place == place) else { return };
        match body {
            Ok(body) => {
                if let Some(batch) = partition.queue.get_mut(at) {
                    batch.body = Some(body);
                }
            }
            Err(error) => {
                if let Some(batch) = partition.queue.remove(at) {
                    self.fail(slot, batch, error);
                }
            }
        }
    }

    /// A producer id has come, or not.
    pub(super) fn identified(&mut self, found: Result<(i64, i16), Error>, now: Duration) {
        let failures = if let Identity::Asking { failures } = self.identity { failures } else { 0 };
        match found {
            Ok((id, epoch)) => self.identity = Identity::Known { id, epoch },
            Err(error) if error.is_retriable() => {
                let mut pause = Pause { failures, until: now };
                pause.failed(&self.rules, &mut self.dice, now);
                self.identity = Identity::Failed(pause);
            }
            Err(error) => {
                self.identity = Identity::Unknown;
                let waits = |slot: &usize| self.partitions.get(*slot).is_some_and(|p| p.identity.is_none());
                let slots: Vec<_> = self.busy.iter().copied().filter(waits).collect();
                for slot in slots {
                    let error = error.clone().at(&self.what(slot));
                    self.give_up(&[slot], &error);
                }
            }
        }
    }

    /// The cluster has said where a topic is.
    pub(super) fn located(&mut self, name: &Arc<str>, found: Result<Option<Places>, Error>, now: Duration) {
        let at = self.topic_at(name);
        let Some(topic) = self.topics.get_mut(at) else { return };
        topic.asking = false;
        topic.asked = now;
        match found {
            Ok(Some(places)) if !places.leaders.is_empty() => {
                topic.pause = Pause::default();
                self.placed(at, &places);
                let led = |leader: &Option<i32>| leader.is_some();
                if !places.leaders.iter().all(led) {
                    self.pause_topic(at, now);
                }
            }
            Ok(_) => {
                self.placed(at, &Places::default());
                self.pause_topic(at, now);
            }
            Err(error) if error.is_retriable() => self.pause_topic(at, now),
            Err(error) => {
                let slots = topic.slots.clone();
                self.give_up(&slots, &error);
            }
        }
    }

    fn pause_topic(&mut self, at: usize, now: Duration) {
        if let Some(topic) = self.topics.get_mut(at) {
            topic.pause.failed(&self.rules, &mut self.dice, now);
        }
    }

    fn topic_at(&mut self, name: &Arc<str>) -> usize {
        let next = self.topics.len();
        let at = *self.names.entry(Arc::clone(name)).or_insert(next);
        if at == next {
            self.topics.push(Topic {
                name: Arc::clone(name),
                id: uuid::Uuid::nil(),
                slots: Vec::new(),
                count: 0,
                sticky: None,
                asking: false,
                stale: false,
                asked: Duration::ZERO,
                pause: Pause::default(),
            });
        }
        at
    }

    fn placed(&mut self, at: usize, places: &Places) {
        let Some(topic) = self.topics.get_mut(at) else { return };
        let other = topic.id != places.id && !places.leaders.is_empty();
        for number in topic.slots.len()..places.leaders.len() {
            topic.slots.push(self.partitions.len());
            self.partitions.push(Partition::new(at, i32::try_from(number).unwrap_or(i32::MAX)));
        }
        if topic.count != places.leaders.len() || other {
            topic.sticky = None;
        }
        topic.count = places.leaders.len();
        if other {
            topic.id = places.id;
        }
        for (number, slot) in topic.slots.iter().enumerate() {
            let Some(partition) = self.partitions.get_mut(*slot) else { continue };
            let leader = places.leaders.get(number).copied().flatten();
            if other {
                // A new log knows no producer.
                partition.acknowledged = None;
            }
            if partition.leader != leader {
                partition.leader = leader;
                partition.pause = Pause::default();
            }
        }
    }
}

fn judge(result: Result<Ack, Error>) -> Verdict {
    let error = match result {
        Ok(ack) => return Verdict::Done(ack),
        Err(error) => error,
    };
    match error.code().and_then(Code::try_from_code) {
        Some(Code::DuplicateSequenceNumber) => Verdict::Done(Ack::default()),
        Some(Code::MessageTooLarge | Code::RecordListTooLarge) => Verdict::Split,
        Some(Code::OutOfOrderSequenceNumber) => Verdict::Anew(Reset::Epoch),
        Some(
            Code::UnknownProducerId
            | Code::InvalidProducerEpoch
            | Code::ProducerFenced
            | Code::InvalidProducerIdMapping,
        ) => Verdict::Anew(Reset::Id),
        _ if error.is_retriable() => Verdict::Again { lost: error.may_have_arrived() },
        _ => Verdict::Never,
    }
}

/// How long to do without a second connection that failed.
const ALONE: Duration = Duration::from_secs(30);
/// A new sequence is refused for reasons that another one doesn't help.
const MOST_RESETS: u32 = 3;
