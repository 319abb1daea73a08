//! What a member holds, what its program is still to be told of it, and when to try again: the part that both group
//! protocols share.

use std::collections::{BTreeSet, VecDeque};
use std::sync::Arc;
use std::time::{Duration, Instant};

use kafka_protocol::ResponseError;

use super::Partition;
use crate::kafka::error::escaped;
use crate::kafka::{Error, ErrorKind};

/// A change of what a member reads: see [`Rebalance`](super::Rebalance).
#[derive(Debug, Clone, PartialEq, Eq)]
pub(in crate::kafka) enum Change {
    Assigned(BTreeSet<Partition>),
    Revoked(BTreeSet<Partition>),
    Lost(BTreeSet<Partition>),
}

/// What the driver is to do next.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum Step<R> {
    /// Send this to the coordinator, and bring the answer.
    Send(R),
    /// Have the program take this in, and say when it has. Steps go on meanwhile.
    Tell(Change),
    /// Find out how many partitions these topics have.
    Count(BTreeSet<Arc<str>>),
    /// Nothing to do until then, or until something happens.
    Wait(Instant),
    /// It can't go on; the broker's error, or a sentence of ours.
    Over(Refusal),
}

impl<R> Step<R> {
    pub(super) fn map<S>(self, with: impl FnOnce(R) -> S) -> Step<S> {
        match self {
            Self::Send(request) => Step::Send(with(request)),
            Self::Tell(change) => Step::Tell(change),
            Self::Count(topics) => Step::Count(topics),
            Self::Wait(until) => Step::Wait(until),
            Self::Over(refusal) => Step::Over(refusal),
        }
    }
}

/// Why a request to the coordinator came to nothing.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Refusal {
    /// The broker's error code, and what it said about it.
    Code(i16, Option<String>),
    /// No answer.
    Silence,
    /// Asking again can't help: a wrong password, say.
    Hopeless(Error),
}

impl Refusal {
    /// The broker's error.
    pub(super) fn code(&self) -> Option<ResponseError> {
        match self {
            Self::Code(code, _) => ResponseError::try_from_code(*code),
            _ => None,
        }
    }

    /// Whether the broker, or this version of the codec, doesn't know such a request.
    pub(super) fn is_unsupported(&self) -> bool {
        match self {
            Self::Hopeless(error) => error.kind() == ErrorKind::Unsupported,
            _ => self.code() == Some(ResponseError::UnsupportedVersion),
        }
    }

    pub(super) fn into_error(self, group: &str) -> Error {
        let what = format!("can't be a member of the group \"{}\"", escaped(group));
        match self {
            Self::Code(code, said) => {
                let error = Error::from_code_and_text(code, said.as_deref(), &what);
                error.needing(|| match code {
                    TOPIC_REFUSED => "describe its topics".to_owned(),
                    _ => format!("read group \"{}\"", escaped(group)),
                })
            }
            Self::Silence => Error::new(ErrorKind::TimedOut, format!("{what}: its coordinator doesn't answer")),
            Self::Hopeless(error) => error.at(&what),
        }
    }

    /// Whether asking again can't help.
    pub(super) fn is_final(&self) -> bool {
        use ResponseError as E;
        matches!(self, Self::Hopeless(_))
            || matches!(
                self.code(),
                Some(
                    E::GroupAuthorizationFailed
                        | E::TopicAuthorizationFailed
                        | E::ClusterAuthorizationFailed
                        | E::InconsistentGroupProtocol
                        | E::InvalidSessionTimeout
                        | E::InvalidGroupId
                        | E::GroupMaxSizeReached
                        | E::FencedInstanceId
                        | E::UnsupportedAssignor
                        | E::UnsupportedVersion
                        | E::InvalidRequest
                )
            )
    }
}

/// `TopicAuthorizationFailed`.
pub(super) const TOPIC_REFUSED: i16 = 29;

impl From<Error> for Refusal {
    fn from(error: Error) -> Self {
        use ErrorKind as K;
        match (error.code(), error.kind()) {
            (_, K::Authentication | K::Config | K::NotKafka | K::Closed) => Self::Hopeless(error),
            (Some(code), _) => Self::Code(code, None),
            (None, K::Unsupported) => Self::Hopeless(error),
            _ => Self::Silence,
        }
    }
}

/// See the [module](self).
#[derive(Debug)]
pub(super) struct Hand {
    /// What is held once the program has taken in all that it is to be told.
    owned: BTreeSet<Partition>,
    /// What the program holds now.
    held: BTreeSet<Partition>,
    queue: VecDeque<Change>,
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
            self.queue.push_back(Change::Revoked(partitions));
        }
    }

    /// To read; told even when it is nothing, so that the program learns that it has joined.
    pub(super) fn assign(&mut self, partitions: BTreeSet<Partition>) {
        self.owned.extend(partitions.iter().cloned());
        self.queue.push_back(Change::Assigned(partitions));
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
            self.queue.push_back(Change::Lost(lost));
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
    pub(super) fn tell(&mut self) -> Option<Change> {
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

fn apply(change: &Change, to: &mut BTreeSet<Partition>) {
    match change {
        Change::Assigned(partitions) => to.extend(partitions.iter().cloned()),
        Change::Revoked(partitions) | Change::Lost(partitions) => to.retain(|one| !partitions.contains(one)),
    }
}

const FIRST_PAUSE: Duration = Duration::from_millis(50);
const LONGEST_PAUSE: Duration = Duration::from_secs(1);
