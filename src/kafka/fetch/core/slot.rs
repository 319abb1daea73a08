//! One partition of one Reader.

use std::collections::VecDeque;
use std::time::Duration;

use super::super::Start;
use super::types::{AskId, Find, Item, TopicId};

/// One partition of one Reader.
#[derive(Debug)]
pub(super) struct Slot {
    pub(super) at: At,
    /// The topic whose offset `at` is, once a broker was asked for it.
    pub(super) topic_id: Option<TopicId>,
    pub(super) queue: VecDeque<Item>,
    /// Bytes in the queue.
    pub(super) bytes: usize,
    pub(super) paused: bool,
    /// It stands still until it is sought.
    pub(super) halted: bool,
    pub(super) need: Need,
    /// The quick request found nothing at `at` while the poll was out.
    pub(super) tried: bool,
    pub(super) retry_at: Duration,
    pub(super) failing: Option<Failing>,
    /// Where the partition ended when a broker last said so.
    pub(super) end: Option<i64>,
    /// The size of its batches, if those of the last answer had about the same.
    pub(super) batch: Option<usize>,
}

/// The next offset to ask for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum At {
    /// Has to be asked for.
    Find(Find),
    /// Is being asked for.
    Finding(Find, AskId),
    /// Is this, after a record of this epoch (-1: not known).
    Known { offset: i64, epoch: i32 },
    /// Only the records themselves can tell.
    Unsure,
}

/// Whether an answer is waited for that is newer than what was asked before.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Need {
    No,
    Wanted,
    Asked(AskId),
}

/// Trouble that goes on.
#[derive(Debug, Clone, Copy)]
pub(super) struct Failing {
    pub(super) since: Duration,
    pub(super) told: Option<Duration>,
    pub(super) retries: u32,
}

impl Slot {
    pub(super) fn new(at: At) -> Self {
        Self {
            at,
            topic_id: None,
            queue: VecDeque::new(),
            bytes: 0,
            paused: false,
            halted: false,
            need: Need::Wanted,
            tried: false,
            retry_at: Duration::ZERO,
            failing: None,
            end: None,
            batch: None,
        }
    }

    /// Goes on at another offset of the same log.
    pub(super) fn go(&mut self, offset: i64, epoch: i32) {
        self.at = At::Known { offset, epoch };
        self.tried = false;
    }

    /// An attempt failed: the next one is later. Whether the caller is to hear of it now.
    pub(super) fn failed(&mut self, now: Duration, patience: Duration) -> bool {
        let failing = self.failing.get_or_insert(Failing { since: now, told: None, retries: 0 });
        self.retry_at = now.saturating_add(backoff(failing.retries));
        failing.retries = failing.retries.saturating_add(1);
        self.need = Need::No;
        let tell = now.saturating_sub(failing.told.unwrap_or(failing.since)) >= patience;
        if tell {
            failing.told = Some(now);
        }
        tell
    }

    pub(super) fn fine(&mut self) {
        self.failing = None;
    }
}

impl From<Start> for At {
    fn from(start: Start) -> Self {
        match start {
            Start::Offset(offset) => Self::Known { offset, epoch: -1 },
            Start::Kept { offset, leader_epoch } => Self::Known { offset, epoch: leader_epoch },
            Start::At(at) => Self::Find(Find::At(at)),
        }
    }
}

/// How long to wait after so many failures in a row.
pub(super) fn backoff(retries: u32) -> Duration {
    FIRST_BACKOFF.saturating_mul(1 << retries.min(10)).min(LAST_BACKOFF)
}

const FIRST_BACKOFF: Duration = Duration::from_millis(5);
const LAST_BACKOFF: Duration = Duration::from_secs(1);
