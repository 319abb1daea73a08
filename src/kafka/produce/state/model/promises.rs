//! What must hold: of the producer's state at any time, and of logs and reports in the end.

use std::collections::HashSet;

use uuid::Uuid;

use super::World;
use super::topic::Log;

impl World {
    /// What holds at any time.
    pub(super) fn look(&self) {
        for (slot, partition) in self.state.partitions.iter().enumerate() {
            assert!(partition.out.len() <= 5, "batches out");
            let all: Vec<_> = partition.out.iter().chain(&partition.queue).map(|batch| batch.place).collect();
            let distinct: HashSet<_> = all.iter().collect();
            assert_eq!(distinct.len(), all.len(), "slot {slot}");
            assert!(partition.queue.iter().is_sorted_by_key(|batch| batch.place));
            assert!(partition.out.iter().is_sorted_by_key(|batch| batch.place));
            let unstamped = partition.queue.iter().position(|batch| batch.stamp.is_none());
            let stamped = partition.queue.iter().rposition(|batch| batch.stamp.is_some());
            assert!(unstamped.is_none_or(|unstamped| stamped.is_none_or(|stamped| stamped < unstamped)));
            assert_eq!(partition.busy, self.state.busy.contains(&slot), "slot {slot}");
        }
        assert!(self.freed <= self.charged);
    }

    /// What must be in the logs.
    pub(super) fn judge(&self) {
        assert_eq!(self.freed, self.charged, "all memory is given back");
        for topic in &self.topics {
            for ((id, partition), log) in &topic.logs {
                // What isn't idempotent may arrive after it was given up, but once.
                let distinct: HashSet<_> = log.records.iter().collect();
                let ordered = log.records.is_sorted() || !self.rules.idempotent;
                assert!(
                    ordered && distinct.len() == log.records.len() || self.fenced,
                    "{}/{id}/{partition}: {:?}",
                    topic.name,
                    log.records
                );
            }
        }
        for sent in &self.sent {
            let found = |log: &Log| log.records.contains(&sent.id);
            let in_log = self.topics[sent.topic].logs.values().any(found);
            match sent.delivery.now().expect("every record is reported") {
                Ok(delivered) => {
                    let is_there = |((_, partition), log): (&(Uuid, i32), &Log)| {
                        let at = delivered.offset.and_then(|at| log.records.get(at as usize));
                        *partition == delivered.partition && at.is_none_or(|at| *at == sent.id)
                    };
                    assert!(in_log && self.topics[sent.topic].logs.iter().any(is_there), "record {}", sent.id);
                }
                Err(error) => {
                    assert!(!in_log || error.may_have_arrived(), "record {} arrived: {error}", sent.id);
                }
            }
        }
    }
}
