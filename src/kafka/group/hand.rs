//! What a member holds, what its program is still to be told of it, and when to try again: the part that both group
//! protocols share.

use std::collections::{BTreeSet, VecDeque};
use std::sync::Arc;
use std::time::{Duration, Instant};

use super::Partition;

/// A change of what a member reads.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum Rebalance {
    /// These are read from now on, from where the group left off.
    Assigned(BTreeSet<(Arc<str>, i32)>),
    /// These are about to go to another member: what was read of them is to be done with, and committed.
    Revoked(BTreeSet<(Arc<str>, i32)>),
    /// These have gone already: another member may be reading them, and nothing of them can be committed.
    Lost(BTreeSet<(Arc<str>, i32)>),
}

/// What the driver is to do next.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum Step<R> {
    /// Send this to the coordinator, and bring the answer.
    Send(R),
    /// Have the program take this in, and say when it has. Steps go on meanwhile.
    Tell(Rebalance),
    /// Find out how many partitions these topics have.
    Count(BTreeSet<Arc<str>>),
    /// Nothing to do until then, or until something happens.
    Wait(Instant),
    /// It can't go on; the broker's error, or a sentence of ours.
    Over(Refusal),
}

/// Why a request to the coordinator came to nothing.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Refusal {
    /// The broker's error code, and what it said about it.
    Code(i16, Option<String>),
    /// No answer.
    Silence,
    /// An answer that can't be read.
    Unreadable(&'static str),
}

/// See the [module](self).
#[derive(Debug)]
pub(super) struct Hand {
    /// What is held once the program has taken in all that it is to be told.
    owned: BTreeSet<Partition>,
    /// What the program holds now.
    held: BTreeSet<Partition>,
    queue: VecDeque<Rebalance>,
    /// Whether the first of the queue is with the program.
    out: bool,
    /// No request but a heartbeat before this.
    pub(super) not_before: Instant,
    failures: u32,
    last_poll: Instant,
}

impl Hand {
    pub(super) fn new(now: Instant) -> Self {
        let (owned, held, queue) = Default::default();
        Self { owned, held, queue, out: false, not_before: now, failures: 0, last_poll: now }
    }

    pub(super) fn owned(&self) -> &BTreeSet<Partition> {
        &self.owned
    }

    /// To give back: the program is told first.
    pub(super) fn revoke(&mut self, partitions: BTreeSet<Partition>) {
        self.owned.retain(|partition| !partitions.contains(partition));
        if !partitions.is_empty() {
            self.queue.push_back(Rebalance::Revoked(partitions));
        }
    }

    /// To read; told even when it is nothing, so that the program learns that it has joined.
    pub(super) fn assign(&mut self, partitions: BTreeSet<Partition>) {
        self.owned.extend(partitions.iter().cloned());
        self.queue.push_back(Rebalance::Assigned(partitions));
    }

    /// All that is held is gone. What the program hasn't been told of yet, it needn't be.
    pub(super) fn lose_all(&mut self) {
        self.owned.clear();
        self.queue.truncate(usize::from(self.out));
        let mut lost = self.held.clone();
        if let Some(first) = self.queue.front() {
            apply(first, &mut lost);
        }
        if !lost.is_empty() {
            self.queue.push_back(Rebalance::Lost(lost));
        }
    }

    /// The program is leaving: it has let go of everything by itself.
    pub(super) fn drop_all(&mut self) {
        self.owned.clear();
        self.held.clear();
        self.queue.clear();
        self.out = false;
    }

    /// What to tell next, once.
    pub(super) fn tell(&mut self) -> Option<Rebalance> {
        let next = self.queue.front().filter(|_| !self.out).cloned();
        self.out |= next.is_some();
        next
    }

    /// The program has taken it in.
    pub(super) fn told(&mut self) {
        self.out = false;
        if let Some(change) = self.queue.pop_front() {
            apply(&change, &mut self.held);
        }
    }

    /// Whether the program has been told everything.
    pub(super) fn is_settled(&self) -> bool {
        self.queue.is_empty()
    }

    /// A request failed: the next one waits, longer each time.
    pub(super) fn back_off(&mut self, now: Instant) {
        self.not_before = now + FIRST_PAUSE.saturating_mul(1 << self.failures.min(10)).min(LONGEST_PAUSE);
        self.failures += 1;
    }

    pub(super) fn succeeded(&mut self) {
        self.failures = 0;
    }

    pub(super) fn polled(&mut self, now: Instant) {
        self.last_poll = now;
    }

    pub(super) fn last_poll(&self) -> Instant {
        self.last_poll
    }
}

fn apply(change: &Rebalance, to: &mut BTreeSet<Partition>) {
    match change {
        Rebalance::Assigned(partitions) => to.extend(partitions.iter().cloned()),
        Rebalance::Revoked(partitions) | Rebalance::Lost(partitions) => to.retain(|one| !partitions.contains(one)),
    }
}

const FIRST_PAUSE: Duration = Duration::from_millis(50);
const LONGEST_PAUSE: Duration = Duration::from_secs(1);
