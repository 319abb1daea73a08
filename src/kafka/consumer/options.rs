//! How a consumer reads, and commits.

use std::time::Duration;

use crate::kafka::fetch::{Corrupt, Most, OffsetAt, ReaderConfig, Reset};
use crate::kafka::group::GroupSettings;

/// Where a partition starts of which its group has committed nothing.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Unread {
    /// There.
    At(OffsetAt),
    /// Nowhere: that is an error of [`Consumer::poll`](super::Consumer::poll).
    Refused,
}

/// How a [`Consumer`](super::Consumer) reads, and commits.
///
/// ```
/// use std::time::Duration;
/// use kafkacrypto::kafka::{ConsumerConfig, GroupSettings, ReaderConfig, Reset};
///
/// let group = GroupSettings::new("billing");
/// let config = ConsumerConfig::in_group(group).reader(ReaderConfig::default().reset(Reset::Earliest)).auto_commit(None);
/// assert_eq!(config.group().map(GroupSettings::id), Some("billing"));
/// assert!(ConsumerConfig::alone().group().is_none());
/// ```
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ConsumerConfig {
    pub(super) group: Option<GroupSettings>,
    pub(super) reader: ReaderConfig,
    unread: Option<Unread>,
    pub(super) auto_commit: Option<Duration>,
    pub(super) within: Duration,
    pub(super) most: Most,
}

impl ConsumerConfig {
    /// In a group, with commits every 5 seconds.
    #[must_use]
    pub fn in_group(group: GroupSettings) -> Self {
        Self { group: Some(group), auto_commit: Some(Duration::from_secs(5)), ..Self::alone() }
    }

    /// Without a group: partitions are assigned, and nothing is committed.
    #[must_use]
    pub fn alone() -> Self {
        Self {
            group: None,
            reader: ReaderConfig::default(),
            unread: None,
            auto_commit: None,
            within: Duration::from_secs(30),
            most: Most::default(),
        }
    }

    /// Sets how records are read; its `reset` is also where partitions start of which the group has committed nothing, if
    /// [`unread`](Self::unread) isn't set (at the end, unless it says [`Reset::Earliest`]).
    #[must_use]
    pub fn reader(mut self, reader: ReaderConfig) -> Self {
        self.reader = reader;
        self
    }

    /// Sets what to do at a batch that can't be read: stop there for good (at first), or report it and pass it over. What was
    /// passed over is committed like what was read.
    #[must_use]
    pub fn corrupt(mut self, corrupt: Corrupt) -> Self {
        self.reader.corrupt = corrupt;
        self
    }

    /// Sets where partitions start of which the group has committed nothing (`auto_offset_reset`).
    #[must_use]
    pub fn unread(mut self, start: Unread) -> Self {
        self.unread = Some(start);
        self
    }

    /// Sets how often what was handed out is committed (`auto_commit_interval_ms`); `None`: only when the program says so
    /// (`enable_auto_commit`).
    #[doc(alias = "enable_auto_commit")]
    #[doc(alias = "auto_commit_interval_ms")]
    #[must_use]
    pub fn auto_commit(mut self, every: Option<Duration>) -> Self {
        self.auto_commit = every;
        self
    }

    /// Sets how long a commit, or a look at committed offsets, may take (30 s at first).
    #[must_use]
    pub fn request_timeout(mut self, within: Duration) -> Self {
        self.within = within;
        self
    }

    /// Sets how many records one call of [`Consumer::poll`](super::Consumer::poll) hands out at most (`max_poll_records`;
    /// no bound at first, but 4 MiB).
    #[must_use]
    pub fn max_poll_records(mut self, records: usize) -> Self {
        self.most.records = records;
        self
    }

    pub(super) fn first(&self) -> Unread {
        self.unread.unwrap_or(Unread::At(match self.reader.reset {
            Reset::Earliest => OffsetAt::Earliest,
            Reset::Latest | Reset::Stop => OffsetAt::Latest,
        }))
    }

    /// The group.
    #[must_use]
    pub fn group(&self) -> Option<&GroupSettings> {
        self.group.as_ref()
    }
}
