//! Records that were handed out and that the program isn't done with: no commit goes past the first of each partition.

use std::collections::{BTreeMap, BTreeSet};

use super::Offsets;
use crate::kafka::fetch::TopicPartition;
use crate::kafka::group::Committed;

/// See the [module](self).
#[derive(Debug, Default)]
pub(super) struct Held(BTreeMap<TopicPartition, BTreeSet<i64>>);

impl Held {
    pub(super) fn hold(&mut self, partition: &TopicPartition, offset: i64) {
        match self.0.get_mut(partition) {
            Some(offsets) => _ = offsets.insert(offset),
            None => _ = self.0.insert(partition.clone(), [offset].into()),
        }
    }

    pub(super) fn done(&mut self, partition: &TopicPartition, offset: i64) {
        let Some(offsets) = self.0.get_mut(partition) else { return };
        offsets.remove(&offset);
        if offsets.is_empty() {
            self.0.remove(partition);
        }
    }

    /// What is gone isn't ours to be done with.
    pub(super) fn retain(&mut self, keep: impl Fn(&TopicPartition) -> bool) {
        self.0.retain(|partition, _| keep(partition));
    }

    /// What may be committed of these.
    pub(super) fn bound(&self, mut offsets: Offsets) -> Offsets {
        for (partition, committed) in &mut offsets {
            let first = self.0.get(partition).and_then(|held| held.first());
            if let Some(first) = first.filter(|first| **first < committed.offset) {
                *committed = Committed::at(*first);
            }
        }
        offsets
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_commit_goes_past_the_first_that_is_held() {
        let (one, other) = (TopicPartition::new("t", 0), TopicPartition::new("t", 1));
        let handed = || Offsets::from([(one.clone(), Committed::at(9)), (other.clone(), Committed::at(4))]);
        let (mut held, bound) = (Held::default(), |held: &Held| held.bound(handed())[&one].offset);
        [7, 5, 12].iter().for_each(|offset| held.hold(&one, *offset));
        assert_eq!((bound(&held), held.bound(handed())[&other].offset), (5, 4));
        held.done(&one, 5);
        assert_eq!(bound(&held), 7);
        held.done(&one, 7);
        assert_eq!(bound(&held), 9);
        held.hold(&one, 5);
        held.retain(|partition| *partition != one);
        assert_eq!(bound(&held), 9);
    }
}
