//! One incremental fetch session with one broker (KIP-227): what the broker knows already isn't sent again.

use std::collections::BTreeMap;

use super::super::TopicPartition;
use super::types::{Sent, TopicId};

/// What we believe the broker to hold in its session.
#[derive(Debug, Default)]
pub(super) struct Session {
    id: i32,
    epoch: i32,
    parts: BTreeMap<TopicPartition, Sent>,
}

/// What a request says about its session.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Difference {
    pub(super) id: i32,
    pub(super) epoch: i32,
    pub(super) send: Vec<(TopicPartition, Sent)>,
    pub(super) forget: Vec<(TopicPartition, TopicId)>,
}

impl Session {
    /// The request that makes the broker's session hold exactly `wanted`.
    pub(super) fn ask(&mut self, wanted: &BTreeMap<TopicPartition, Sent>) -> Difference {
        let mut difference = Difference { id: self.id, epoch: self.epoch, send: Vec::new(), forget: Vec::new() };
        if self.epoch == 0 {
            difference.send = wanted.iter().map(|(partition, sent)| (partition.clone(), *sent)).collect();
            self.parts.clone_from(wanted);
            return difference;
        }
        let mut kept = 0;
        for (partition, sent) in wanted {
            let known = self.parts.get(partition);
            if known.is_some_and(|known| known.topic_id != sent.topic_id) {
                difference.forget.extend(known.map(|known| (partition.clone(), known.topic_id)));
            }
            kept += usize::from(known.is_some());
            if known != Some(sent) {
                difference.send.push((partition.clone(), *sent));
            }
        }
        if kept < self.parts.len() {
            let gone = self.parts.iter().filter(|(partition, _)| !wanted.contains_key(*partition));
            difference.forget.extend(gone.map(|(partition, sent)| (partition.clone(), sent.topic_id)));
            self.parts.retain(|partition, _| wanted.contains_key(partition));
        }
        for (partition, sent) in &difference.send {
            self.parts.insert(partition.clone(), *sent);
        }
        difference
    }

    /// The broker answered without an error for the whole request.
    pub(super) fn accepted(&mut self, session: i32) {
        if self.epoch == 0 {
            (self.id, self.epoch) = (session, i32::from(session != 0));
        } else {
            self.epoch = self.epoch.checked_add(1).unwrap_or(1);
        }
    }

    /// The answer didn't come: the next request is a full one, which ends the old session if it is still there.
    pub(super) fn lost(&mut self) {
        self.epoch = 0;
        self.parts.clear();
    }

    /// The broker has no such session: the next request is a full one.
    pub(super) fn forgotten(&mut self) {
        *self = Self::default();
    }

    /// The id with which to end it, if there is one.
    pub(super) fn close(&mut self) -> Option<i32> {
        let id = self.id;
        self.forgotten();
        (id != 0).then_some(id)
    }

    #[cfg(test)]
    pub(super) fn is_open(&self) -> bool {
        self.id != 0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sent(offset: i64) -> Sent {
        Sent { topic_id: 7, offset, leader_epoch: 0, last_epoch: -1, max_bytes: 100 }
    }

    fn wanted(of: &[(i32, i64)]) -> BTreeMap<TopicPartition, Sent> {
        of.iter().map(|(partition, offset)| (TopicPartition::new("t", *partition), sent(*offset))).collect()
    }

    #[test]
    fn only_what_changed_is_sent() {
        let mut session = Session::default();
        let first = session.ask(&wanted(&[(0, 0), (1, 0)]));
        assert_eq!((first.id, first.epoch, first.send.len()), (0, 0, 2));
        session.accepted(99);
        let second = session.ask(&wanted(&[(0, 5), (1, 0)]));
        assert_eq!((second.id, second.epoch), (99, 1));
        assert_eq!(second.send, [(TopicPartition::new("t", 0), sent(5))]);
        assert!(second.forget.is_empty());
        session.accepted(99);
        let third = session.ask(&wanted(&[(0, 5)]));
        assert_eq!((third.epoch, third.send.len()), (2, 0));
        assert_eq!(third.forget, [(TopicPartition::new("t", 1), 7)]);
    }

    #[test]
    fn a_topic_created_again_is_forgotten_and_sent() {
        let mut session = Session::default();
        session.ask(&wanted(&[(0, 5)]));
        session.accepted(1);
        let again = Sent { topic_id: 8, ..sent(0) };
        let difference = session.ask(&BTreeMap::from([(TopicPartition::new("t", 0), again)]));
        assert_eq!(difference.forget, [(TopicPartition::new("t", 0), 7)]);
        assert_eq!(difference.send, [(TopicPartition::new("t", 0), again)]);
    }

    #[test]
    fn after_a_loss_a_full_request_ends_the_old_session() {
        let mut session = Session::default();
        session.ask(&wanted(&[(0, 5)]));
        session.accepted(31);
        session.lost();
        let full = session.ask(&wanted(&[(0, 6)]));
        assert_eq!((full.id, full.epoch, full.send.len()), (31, 0, 1));
        session.forgotten();
        assert_eq!(session.ask(&wanted(&[(0, 6)])).id, 0);
    }

    #[test]
    fn a_broker_without_room_for_sessions_gets_full_requests() {
        let mut session = Session::default();
        for _ in 0..3 {
            let full = session.ask(&wanted(&[(0, 5), (1, 1)]));
            assert_eq!((full.id, full.epoch, full.send.len()), (0, 0, 2));
            session.accepted(0);
        }
        assert!(!session.is_open());
    }

    #[test]
    fn the_epoch_wraps_to_one() {
        let mut session = Session { id: 1, epoch: i32::MAX, parts: BTreeMap::new() };
        session.accepted(1);
        assert_eq!(session.ask(&BTreeMap::new()).epoch, 1);
    }
}
