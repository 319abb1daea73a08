//! A topic as its brokers have it: who leads it, and its logs, with what they know of producers.

use std::collections::{HashMap, VecDeque};
use std::sync::Arc;

use bytes::Bytes;
use uuid::Uuid;

use crate::kafka::produce::report::Ack;
use crate::kafka::record::{Batch, read_batches};

pub(super) struct Topic {
    pub(super) name: Arc<str>,
    pub(super) id: Uuid,
    pub(super) exists: bool,
    pub(super) leaders: Vec<i32>,
    pub(super) logs: HashMap<(Uuid, i32), Log>,
}

#[derive(Default)]
pub(super) struct Log {
    pub(super) records: Vec<u64>,
    pub(super) producers: HashMap<i64, Producer>,
}

#[derive(Default)]
pub(super) struct Producer {
    pub(super) epoch: i16,
    /// (first, last, offset) of the last five batches.
    pub(super) batches: VecDeque<(i32, i32, i64)>,
}

impl Topic {
    /// What a broker does with a batch: it takes it, or says no. `error`: what it says in any case, if it can.
    pub(super) fn append(
        &mut self,
        broker: i32,
        id: Uuid,
        partition: i32,
        bytes: &Bytes,
        error: Option<i16>,
    ) -> Result<Ack, i16> {
        if !self.exists || self.id != id {
            return Err(100);
        }
        if self.leaders.get(partition as usize) != Some(&broker) {
            return Err(6);
        }
        let batch = read_batches(bytes).next().unwrap().unwrap();
        match error {
            Some(TOO_LARGE) if batch.count == 1 => {}
            Some(code) if !APPENDED.contains(&code) => return Err(code),
            _ => {}
        }
        let result = self.logs.entry((id, partition)).or_default().append(&batch);
        match error {
            Some(code) if APPENDED.contains(&code) && result.is_ok() => Err(code),
            _ => result,
        }
    }
}

impl Log {
    fn append(&mut self, batch: &Batch) -> Result<Ack, i16> {
        let next = self.records.len() as i64;
        let ack = |offset| Ok(Ack { base_offset: Some(offset), append_time_ms: None });
        let (first, last) = (batch.base_sequence, batch.base_sequence.wrapping_add(batch.count - 1));
        if batch.producer_id >= 0 {
            let producer = self.producers.get(&batch.producer_id);
            if let Some(producer) = producer {
                let known = producer.batches.iter().find(|(one, end, _)| (*one, *end) == (first, last));
                match known {
                    _ if batch.producer_epoch < producer.epoch => return Err(47),
                    Some((_, _, offset)) if batch.producer_epoch == producer.epoch => return ack(*offset),
                    _ if batch.producer_epoch > producer.epoch && first != 0 => return Err(45),
                    _ if batch.producer_epoch > producer.epoch => {}
                    _ if producer.batches.back().is_some_and(|(_, last, _)| last + 1 != first) => return Err(45),
                    _ => {}
                }
            }
            let producer = self.producers.entry(batch.producer_id).or_default();
            if batch.producer_epoch > producer.epoch {
                producer.batches.clear();
            }
            producer.epoch = batch.producer_epoch;
            producer.batches.push_back((first, last, next));
            if producer.batches.len() > 5 {
                producer.batches.pop_front();
            }
        }
        for record in batch.records(1 << 20).unwrap() {
            let value = record.unwrap().value.unwrap();
            self.records.push(u64::from_be_bytes(value[..8].try_into().unwrap()));
        }
        ack(next)
    }
}

/// Errors after which the batch is in the log: REQUEST_TIMED_OUT, NOT_ENOUGH_REPLICAS_AFTER_APPEND.
const APPENDED: [i16; 2] = [7, 20];
pub(super) const TOO_LARGE: i16 = 10;
