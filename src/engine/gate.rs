//! What holds requests and replies back at the start (protocol §9; §15 rows 2 and 13).

use std::collections::{BTreeSet, VecDeque};
use std::time::Duration;

use super::core::{Core, clock_is_set};
use super::types::{Notice, Record};
use crate::time::Now;
use crate::topic::Topic;

/// Holds requests and replies back until the fleet's lists are known and the clock can be believed.
#[derive(Debug)]
pub(super) struct Gate {
    pub(super) open: bool,
    pub(super) unread: BTreeSet<Topic>,
    pub(super) deadline: Duration,
    pub(super) held: VecDeque<Held>,
    /// Fleet topics of which something was passed over before the clock was set: they are read again.
    pub(super) passed_over: BTreeSet<Topic>,
    held_bytes: usize,
    pub(super) clock_reported: bool,
}

/// A record that waits for the gate.
#[derive(Debug)]
pub(super) struct Held {
    pub(super) topic: String,
    pub(super) key: Option<Vec<u8>>,
    pub(super) value: Option<Vec<u8>>,
}

impl Gate {
    pub(super) fn new(fleet: [Topic; 3], now: Now) -> Self {
        Self {
            open: false,
            unread: fleet.into_iter().collect(),
            deadline: now.mono + LISTS_WITHIN,
            held: VecDeque::new(),
            passed_over: BTreeSet::new(),
            held_bytes: 0,
            clock_reported: false,
        }
    }

    /// Looks again every second while it isn't.
    pub(super) fn clock_is_set(&mut self, core: &mut Core, now: Now) -> bool {
        let set = clock_is_set(now);
        if !set {
            if !std::mem::replace(&mut self.clock_reported, true) {
                core.notice(Notice::ClockNotSet);
            }
            self.deadline = self.deadline.max(now.mono + Duration::from_secs(1));
        }
        set
    }

    pub(super) fn lists_are_read(&mut self, core: &mut Core, now: Now) -> bool {
        if !self.unread.is_empty() && now.mono >= self.deadline {
            let topics = std::mem::take(&mut self.unread);
            let topics = topics.iter().map(|topic| &**topic).collect::<Vec<_>>().join(", ");
            core.notice(Notice::ListsWithheld { topics });
        }
        self.unread.is_empty()
    }

    pub(super) fn hold(&mut self, core: &mut Core, record: &Record<'_>) {
        let size = [record.key, record.value].into_iter().flatten().map(<[u8]>::len).sum::<usize>();
        if self.held.len() >= MAX_HELD || self.held_bytes.saturating_add(size) > MAX_HELD_BYTES {
            return core.drop_input(record.topic, "too many messages before the fleet's lists were read");
        }
        self.held_bytes += size;
        let (key, value) = (record.key.map(<[u8]>::to_vec), record.value.map(<[u8]>::to_vec));
        self.held.push_back(Held { topic: record.topic.into(), key, value });
    }
}

/// How long the broker may withhold the fleet's lists at the start.
pub(super) const LISTS_WITHIN: Duration = Duration::from_secs(5);

/// Records that wait for the gate.
const MAX_HELD: usize = 2_000;

/// Bytes of their keys and values.
const MAX_HELD_BYTES: usize = 16 << 20;
