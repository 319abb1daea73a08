//! What one call hands out, as far as it may.

use std::collections::BTreeMap;

use super::super::open::{Allowed, Ended, Open, size};
use super::super::{Most, TopicPartition};
use super::Fetched;

/// What one call hands out.
pub(super) struct Round {
    most: Most,
    records: usize,
    bytes: usize,
    pub(super) fetched: BTreeMap<TopicPartition, Fetched>,
    /// Something happened that requests may follow.
    pub(super) moved: bool,
}

impl Round {
    pub(super) fn new(most: Most) -> Self {
        let (records, bytes) = (most.records.max(1), most.bytes.max(1));
        Self { most, records, bytes, fetched: BTreeMap::new(), moved: false }
    }

    pub(super) fn has_room(&self) -> bool {
        self.records > 0 && self.bytes > 0
    }

    /// Whether more of this partition may be handed out: nothing behind an error, and not more than its part.
    pub(super) fn is_open(&self, partition: &TopicPartition) -> bool {
        let fetched = self.fetched.get(partition);
        self.has_room() && fetched.is_none_or(|fetched| fetched.error.is_none() && self.left_of(fetched) > 0)
    }

    fn left_of(&self, fetched: &Fetched) -> usize {
        if self.most.bytes_each == usize::MAX {
            return usize::MAX;
        }
        let given: usize = fetched.records.iter().map(size).sum();
        self.most.bytes_each.max(1).saturating_sub(given)
    }

    pub(super) fn entry(&mut self, partition: &TopicPartition, next: i64, end: Option<i64>) -> &mut Fetched {
        self.fetched.entry(partition.clone()).or_insert_with(|| Fetched {
            topic: partition.topic.clone(),
            partition: partition.partition,
            records: Vec::new(),
            next,
            end: end.unwrap_or(next),
            skipped: Vec::new(),
            error: None,
        })
    }

    pub(super) fn read(
        &mut self,
        partition: &TopicPartition,
        next: &mut i64,
        end: Option<i64>,
        reading: &mut Open,
    ) -> Ended {
        let before = *next;
        let each = self.fetched.get(partition).map_or(self.most.bytes_each.max(1), |fetched| self.left_of(fetched));
        let mut allowed = Allowed { records: self.records, bytes: self.bytes.min(each) };
        let mut records = Vec::new();
        let all = allowed.bytes;
        let ended = reading.read(next, &mut allowed, &mut records);
        self.records = allowed.records;
        self.bytes = self.bytes.saturating_sub(all - allowed.bytes);
        if *next != before {
            let fetched = self.entry(partition, before, end);
            fetched.next = *next;
            fetched.end = end.unwrap_or(*next).max(fetched.end);
            if fetched.records.is_empty() { fetched.records = records } else { fetched.records.append(&mut records) }
        }
        ended
    }
}
