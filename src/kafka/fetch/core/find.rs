//! Offsets that had to be asked for, and trouble that a Reader is told of.

use std::time::Duration;

use super::super::{FetchError, Reset, TopicPartition};
use super::slot::At;
use super::types::{AskId, Find, Item, OffsetFound, ReaderId};
use super::{Core, Finding};
use crate::kafka::Error;

impl Core {
    /// What became of a question for offsets: one answer for each partition that was asked for, or one error.
    pub(in crate::kafka::fetch) fn offsets(
        &mut self,
        now: Duration,
        id: AskId,
        result: Result<Vec<(TopicPartition, Find, OffsetFound)>, Error>,
    ) {
        let Some(Finding { broker, slots }) = self.finding.remove(&id) else { return };
        if result.is_err() {
            self.brokers.entry(broker).or_default().failed(now);
        }
        for (reader, partition) in slots {
            let Some(slot) = self.slot(reader, &partition) else { continue };
            let At::Finding(find, asked) = slot.at else { continue };
            if asked != id {
                continue;
            }
            slot.at = At::Find(find);
            let found = match &result {
                Ok(found) => {
                    found.iter().find(|(of, what, _)| *of == partition && *what == find).map(|(.., found)| found)
                }
                Err(error) => {
                    self.not_found(now, reader, &partition, error);
                    continue;
                }
            };
            match found {
                Some(OffsetFound::At(offset)) => self.starts(reader, &partition, *offset),
                Some(OffsetFound::Bounds { earliest, latest }) => {
                    self.bounded(now, reader, &partition, find, (*earliest, *latest));
                }
                Some(OffsetFound::Failed(error)) => self.not_found(now, reader, &partition, &error.clone()),
                None => {
                    let error = Error::from_code(-1, &format!("can't find an offset of {partition}"));
                    self.not_found(now, reader, &partition, &error);
                }
            }
        }
    }

    fn not_found(&mut self, now: Duration, reader: ReaderId, partition: &TopicPartition, error: &Error) {
        if error.wants_metadata() {
            self.led_elsewhere(now, partition, None);
        }
        self.failed(now, reader, partition, error);
    }

    fn starts(&mut self, reader: ReaderId, partition: &TopicPartition, offset: i64) {
        let Some(reading) = self.readers.get_mut(&reader) else { return };
        let Some(slot) = reading.slots.get_mut(partition) else { return };
        slot.fine();
        slot.go(offset, -1);
        reading.push(partition, Item::Start(offset));
        self.wakes.insert(reader);
    }

    /// An offset wasn't there. These are.
    fn bounded(
        &mut self,
        now: Duration,
        reader: ReaderId,
        partition: &TopicPartition,
        find: Find,
        (earliest, latest): (i64, i64),
    ) {
        let Find::Bounds { offset, recreated } = find else { return };
        let Some(reading) = self.readers.get_mut(&reader) else { return };
        let reset = reading.options.reset;
        let Some(slot) = reading.slots.get_mut(partition) else { return };
        if !recreated && (earliest..=latest).contains(&offset) {
            // It is there by now: the broker that said otherwise was behind.
            slot.go(offset, -1);
            let error = Error::from_code(1, &format!("can't read {partition} at {offset}"));
            return self.failed(now, reader, partition, &error);
        }
        slot.fine();
        let next = match reset {
            Reset::Stop => None,
            Reset::Earliest => Some(earliest),
            Reset::Latest => Some(latest),
        };
        slot.halted = next.is_none();
        slot.go(next.unwrap_or(offset), -1);
        let of = partition.clone();
        let error = if recreated {
            FetchError::Recreated { partition: of, offset, next }
        } else {
            FetchError::OutOfRange { partition: of, offset, earliest, latest, next }
        };
        self.tell(reader, partition, error, next);
    }

    /// Trouble that may pass is told when it has lasted, other trouble at once.
    pub(super) fn failed(&mut self, now: Duration, reader: ReaderId, partition: &TopicPartition, error: &Error) {
        let Some(reading) = self.readers.get_mut(&reader) else { return };
        let patience = reading.options.patience;
        let Some(slot) = reading.slots.get_mut(partition) else { return };
        let first = slot.failing.is_none_or(|failing| failing.told.is_none());
        let passes = error.is_retriable() || error.wants_metadata() || error.code() == Some(1);
        let tell = slot.failed(now, if first && !passes { Duration::ZERO } else { patience });
        self.wakes.insert(reader);
        if tell {
            let error = FetchError::Failed { partition: partition.clone(), error: error.clone() };
            self.tell(reader, partition, error, None);
        }
    }

    /// There is no such partition.
    pub(super) fn missing(&mut self, now: Duration, reader: ReaderId, partition: &TopicPartition) {
        let Some(reading) = self.readers.get_mut(&reader) else { return };
        let patience = reading.options.patience;
        let Some(slot) = reading.slots.get_mut(partition) else { return };
        let first = slot.failing.is_none_or(|failing| failing.told.is_none());
        let tell = slot.failed(now, if first { Duration::ZERO } else { patience });
        self.wakes.insert(reader);
        if tell {
            self.tell(reader, partition, FetchError::NoSuchPartition { partition: partition.clone() }, None);
        }
    }

    pub(super) fn tell(&mut self, reader: ReaderId, partition: &TopicPartition, error: FetchError, at: Option<i64>) {
        let Some(reading) = self.readers.get_mut(&reader) else { return };
        let Some(slot) = reading.slots.get(partition) else { return };
        let passes = matches!(error, FetchError::Failed { .. } | FetchError::NoSuchPartition { .. });
        if passes && matches!(slot.queue.back(), Some(Item::Trouble { .. })) {
            return;
        }
        reading.push(partition, Item::Trouble { error, at });
        self.wakes.insert(reader);
    }

    /// A chunk was read to this offset. Whether that had to be known for the next request.
    pub(in crate::kafka::fetch) fn resume(
        &mut self,
        reader: ReaderId,
        partition: &TopicPartition,
        offset: i64,
    ) -> bool {
        let Some(slot) = self.slot(reader, partition) else { return false };
        let unsure = slot.at == At::Unsure && slot.queue.is_empty();
        if unsure {
            slot.go(offset, -1);
        }
        unsure
    }
}
