//! Consumer groups: which of several readers reads which partitions, and how far they have come.
//!
//! Two protocols: the *classic* one, in which one of the members shares out ([`Assignor`]), and that of KIP-848, in which
//! the broker does. Both are state machines here (`classic`, `modern`) that a driver runs; a program is told of changes
//! ([`Rebalance`](super::Rebalance)) while it polls, and keeps what it has until it has taken them in.
//!
//! This room never commits an offset by itself, and never reads a record: that is the consumer's.
//!
//! Bytes owned: the subscriptions and assignments that members send each other (`subscription`).

mod assignor;
mod classic;
#[cfg(any(fuzzing, test))]
mod fuzz;
mod hand;
mod member;
mod modern;
mod offsets;
mod subscription;
mod watch;
mod wire;

use std::sync::Arc;
use std::time::Duration;

pub use assignor::Assignor;
#[cfg(any(fuzzing, test))]
pub use fuzz::fuzz_groups;
pub(in crate::kafka) use hand::Change;
pub(in crate::kafka) use member::{Identity, Member};
pub use offsets::Committed;

/// A partition of a topic.
type Partition = (Arc<str>, i32);

/// How to be a member of a group; the names are kafka-python's and Java's.
///
/// ```
/// use kafkacrypto::kafka::{Assignor, GroupSettings};
/// let group = GroupSettings::new("billing").instance("billing-1").assignors([Assignor::CooperativeSticky]);
/// assert_eq!(group.id(), "billing");
/// ```
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct GroupSettings {
    id: String,
    instance: Option<String>,
    assignors: Vec<Assignor>,
    protocol: GroupProtocol,
    session: Duration,
    heartbeat: Duration,
    max_poll_interval: Duration,
}

/// Who shares out (`group.protocol`).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
#[non_exhaustive]
pub enum GroupProtocol {
    /// A member: every broker can, and clients of every kind can be in one group.
    #[default]
    Classic,
    /// The broker (KIP-848) where it really can, else a member.
    Consumer,
}

impl GroupSettings {
    /// The group of this name (`group_id`), with the defaults of other clients: range, else round robin; 45 s session,
    /// 3 s heartbeat, 300 s between polls.
    #[doc(alias = "group_id")]
    #[must_use]
    pub fn new(id: impl Into<String>) -> Self {
        Self {
            id: id.into(),
            instance: None,
            assignors: vec![Assignor::Range, Assignor::RoundRobin],
            protocol: GroupProtocol::Classic,
            session: Duration::from_secs(45),
            heartbeat: Duration::from_secs(3),
            max_poll_interval: Duration::from_secs(300),
        }
    }

    /// Its name.
    #[must_use]
    pub fn id(&self) -> &str {
        &self.id
    }

    /// Static membership (`group_instance_id`, KIP-345): who comes back under this name within the session timeout finds
    /// its partitions as it left them, and nobody else moves.
    #[doc(alias = "group_instance_id")]
    #[must_use]
    pub fn instance(mut self, name: impl Into<String>) -> Self {
        self.instance = Some(name.into());
        self
    }

    /// How to share out, by preference (`partition_assignment_strategy`); all members must have one in common. With
    /// [`Assignor::CooperativeSticky`] and nothing else, reading goes on while the group shares out.
    #[doc(alias = "partition_assignment_strategy")]
    #[must_use]
    pub fn assignors(mut self, assignors: impl IntoIterator<Item = Assignor>) -> Self {
        self.assignors = assignors.into_iter().collect();
        self
    }

    /// Who shares out (`group_protocol`).
    #[doc(alias = "group_protocol")]
    #[must_use]
    pub fn protocol(mut self, protocol: GroupProtocol) -> Self {
        self.protocol = protocol;
        self
    }

    /// How long the group waits for a sign of life (`session_timeout_ms`; with KIP-848 the broker's setting counts).
    #[doc(alias = "session_timeout_ms")]
    #[must_use]
    pub fn session_timeout(mut self, timeout: Duration) -> Self {
        self.session = timeout;
        self
    }

    /// How often we give one (`heartbeat_interval_ms`; with KIP-848 the broker's setting counts).
    #[doc(alias = "heartbeat_interval_ms")]
    #[must_use]
    pub fn heartbeat_interval(mut self, interval: Duration) -> Self {
        self.heartbeat = interval;
        self
    }

    /// How long a program may go without polling before its partitions go to others (`max_poll_interval_ms`).
    #[doc(alias = "max_poll_interval_ms")]
    #[must_use]
    pub fn max_poll_interval(mut self, interval: Duration) -> Self {
        self.max_poll_interval = interval;
        self
    }

    /// Whether a rebalance leaves alone what stays: only when every assignor can.
    fn is_cooperative(&self) -> bool {
        self.assignors.iter().all(|assignor| assignor.is_cooperative())
    }
}

#[cfg(test)]
mod tests;
