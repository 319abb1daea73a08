//! The batches of one partition.

use std::collections::VecDeque;
use std::time::Duration;

use crate::kafka::cluster::Lane;
use crate::kafka::error::Error;
use crate::kafka::record::{BatchWriter, Stamp};

use super::super::batch::{Batch, Body, Place, after};
use super::super::record::ProducerRecord;
use super::super::report::Report;
use super::Pause;

/// A partition of a topic.
#[derive(Debug)]
pub(super) struct Partition {
    pub(super) topic: usize,
    pub(super) number: i32,
    pub(super) leader: Option<i32>,
    /// What isn't out, in order.
    pub(super) queue: VecDeque<Batch>,
    /// What is out, in order; all at one broker, over one connection.
    pub(super) out: VecDeque<Batch>,
    pub(super) out_at: Option<i32>,
    /// Where the requests with a batch of ours are that have no end yet, also those of batches whose time was up.
    pub(super) flying: Vec<(i32, Lane)>,
    /// Whether it is in the list of those that have something to send.
    pub(super) busy: bool,
    /// Who the broker knows us as in this partition.
    pub(super) identity: Option<(i64, i16)>,
    pub(super) sequence: i32,
    /// How many batches have got a sequence so far.
    stamped: u64,
    /// When the broker last acknowledged something under this identity.
    pub(super) acknowledged: Option<Duration>,
    /// A new sequence is needed as soon as nothing is out.
    pub(super) reset: Option<Reset>,
    /// A batch of this sequence was reported as failed and may still arrive.
    pub(super) haunted: bool,
    pub(super) pause: Pause,
    /// How large batches have become.
    pub(super) hint: usize,
    /// How large they may become, since the broker refused a larger one.
    pub(super) limit: usize,
}

/// How a partition gets a new sequence.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Reset {
    /// With the next epoch of our producer id.
    Epoch,
    /// With another producer id.
    Id,
}

impl Partition {
    pub(super) fn new(topic: usize, number: i32) -> Self {
        Self {
            topic,
            number,
            leader: None,
            queue: VecDeque::new(),
            out: VecDeque::new(),
            out_at: None,
            flying: Vec::new(),
            busy: false,
            identity: None,
            sequence: 0,
            stamped: 0,
            acknowledged: None,
            reset: None,
            haunted: false,
            pause: Pause::default(),
            hint: 0,
            limit: usize::MAX,
        }
    }

    /// Puts a record into the batch that is being filled, if it goes there.
    pub(super) fn join(
        &mut self,
        record: &ProducerRecord,
        timestamp_ms: i64,
        timeout: Duration,
        limit: usize,
    ) -> Option<&mut Batch> {
        let limit = limit.min(self.limit);
        let (key, value) = (record.key.as_deref(), record.value.as_deref());
        let batch = self.queue.back_mut().filter(|batch| !batch.closed && batch.timeout == timeout)?;
        let Some(Body::Open(writer)) = &mut batch.body else { return None };
        if writer.size_with(timestamp_ms, key, value, &record.headers) > limit {
            return None;
        }
        writer.append(timestamp_ms, key, value, &record.headers).ok()?;
        batch.count = writer.count();
        Some(batch)
    }

    /// Begins a batch, which closes the one before it.
    pub(super) fn open(&mut self, place: Place, writer: BatchWriter, timeout: Duration, now: Duration) -> &mut Batch {
        if let Some(batch) = self.queue.back_mut() {
            batch.closed = true;
        }
        self.queue.push_back_mut(Batch {
            place,
            report: Report::new(self.number),
            count: writer.count(),
            body: Some(Body::Open(writer)),
            charged: 0,
            created: now,
            timeout,
            closed: false,
            stamp: None,
            number: None,
            departed: false,
            doubtful: false,
            resets: 0,
            last_error: None,
        })
    }

    /// How many bytes wait.
    pub(super) fn waiting(&self) -> usize {
        self.queue.iter().chain(&self.out).map(|batch| batch.charged).sum()
    }

    pub(super) fn is_empty(&self) -> bool {
        self.queue.is_empty() && self.out.is_empty()
    }

    /// Puts a batch back in its place.
    pub(super) fn put_back(&mut self, batch: Batch) {
        let at = self.queue.partition_point(|other| other.place < batch.place);
        self.queue.insert(at, batch);
    }

    /// A request with a batch goes out; `false` if its time was up meanwhile.
    pub(super) fn depart(&mut self, place: Place) -> bool {
        let batch = self.out.iter_mut().find(|batch| batch.place == place);
        batch.map(|batch| batch.departed = true).is_some()
    }

    /// Takes a batch out of those that are out.
    pub(super) fn come_back(&mut self, place: Place) -> Option<Batch> {
        let at = self.out.iter().position(|batch| batch.place == place)?;
        self.out.remove(at).map(|batch| Batch { departed: false, ..batch })
    }

    /// Takes the batches whose time is up.
    pub(super) fn expire(&mut self, now: Duration) -> Vec<Batch> {
        let mut expired = Vec::new();
        for batches in [&mut self.queue, &mut self.out] {
            let mut at = 0;
            while let Some(batch) = batches.get(at) {
                match batch.deadline() <= now {
                    true => expired.extend(batches.remove(at)),
                    false => at += 1,
                }
            }
        }
        expired.iter_mut().for_each(|batch| batch.doubtful |= batch.departed);
        expired
    }

    /// Whether an older batch is still to be acknowledged.
    pub(super) fn has_older(&self, place: Place) -> bool {
        let older = |batch: &Batch| batch.place < place;
        self.queue.front().is_some_and(older) || self.out.front().is_some_and(older)
    }

    /// How many batches may be out.
    pub(super) fn most_out(&self, idempotent: bool, most: usize, now: Duration) -> usize {
        let known = self.acknowledged.is_some_and(|at| now.saturating_sub(at) < STATE_LASTS);
        if idempotent && known { most } else { 1 }
    }

    /// The stamp for the next batch, of so many records, and its number.
    pub(super) fn stamp(&mut self, records: i32) -> Option<(Stamp, u64)> {
        let (producer_id, epoch) = self.identity?;
        let sequence = self.sequence;
        self.sequence = after(sequence, records);
        self.stamped += 1;
        Some((Stamp { producer_id, epoch, sequence, transactional: false }, self.stamped))
    }

    /// Whether a batch that isn't acknowledged would be out of the broker's memory, should it and the next one to be sent
    /// be in the log: sent again, it would be written again. (It can come back time after time while those that were sent
    /// behind it are written.)
    pub(super) fn would_be_forgotten(&self) -> bool {
        let Some(next) = self.queue.front() else { return false };
        let next = next.number.unwrap_or(self.stamped + 1);
        let oldest = self.out.front().and_then(|batch| batch.number);
        oldest.is_some_and(|oldest| next.saturating_sub(oldest) >= REMEMBERED)
    }

    /// The number of the second half of a batch that was split. Those behind it move on.
    pub(super) fn number_behind(&mut self, first: Option<u64>) -> Option<u64> {
        let first = first?;
        self.stamped += 1;
        let numbers = self.queue.iter_mut().chain(&mut self.out).filter_map(|batch| batch.number.as_mut());
        numbers.filter(|number| **number > first).for_each(|number| *number += 1);
        Some(first + 1)
    }

    /// A batch has failed for good. If it was the last with a sequence, and won't arrive, the next gets its sequence.
    pub(super) fn forget(&mut self, batch: &Batch) {
        self.haunted |= batch.doubtful;
        let Some(stamp) = batch.stamp.filter(|_| !batch.doubtful) else { return };
        let is_last = after(stamp.sequence, batch.count) == self.sequence;
        if is_last && self.identity == Some((stamp.producer_id, stamp.epoch)) {
            self.sequence = stamp.sequence;
        }
    }

    /// Starts a new sequence, once nothing is out. Hands back the batches that can't be sent again.
    pub(super) fn start_anew(&mut self, reset: Reset) -> Vec<Batch> {
        self.reset = None;
        self.sequence = 0;
        self.acknowledged = None;
        let next = self.identity.and_then(|(id, epoch)| Some((id, epoch.checked_add(1)?)));
        self.identity = next.filter(|_| reset == Reset::Epoch);
        let unsure = self.is_unsure(reset);
        self.haunted = false;
        let (lost, kept) =
            std::mem::take(&mut self.queue).into_iter().partition::<VecDeque<_>, _>(|batch| unsure && batch.doubtful);
        self.queue = kept;
        for batch in &mut self.queue {
            batch.doubtful = false;
            (batch.stamp, batch.number) = (None, None);
        }
        Vec::from(lost)
    }

    /// Whether a batch that is to get a new sequence may arrive with the old one. What is behind a gap can't, unless what
    /// belongs into the gap may come. That the producer is refused says nothing of what came before.
    pub(super) fn is_unsure(&self, reset: Reset) -> bool {
        reset == Reset::Id || self.haunted
    }

    /// Takes all that isn't out, to fail with this error.
    pub(super) fn give_up(&mut self, error: &Error) -> Vec<(Batch, Error)> {
        let batches: Vec<_> = self.queue.drain(..).collect();
        batches.iter().rev().for_each(|batch| self.forget(batch));
        batches
            .into_iter()
            .map(|batch| {
                let error = batch.verdict(error.clone());
                (batch, error)
            })
            .collect()
    }
}

/// How many batches of a producer brokers remember, to know them again.
const REMEMBERED: u64 = 5;
/// How long brokers surely know a producer that is quiet; they forget it after a day when nothing else is set.
const STATE_LASTS: Duration = Duration::from_secs(600);
