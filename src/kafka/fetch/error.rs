//! What can go wrong in one partition.

use super::TopicPartition;
use crate::kafka::Error;

/// Why a partition has no more records, or fewer than expected.
#[derive(Debug, Clone, thiserror::Error)]
#[non_exhaustive]
pub enum FetchError {
    /// The offset isn't there (any more): records were deleted, or the offset was never written.
    #[error("{partition} has no offset {offset}, only {earliest} to {latest}; {}", goes_on(.next.as_ref()))]
    OutOfRange {
        /// The partition.
        partition: TopicPartition,
        /// The offset that isn't there.
        offset: i64,
        /// The first offset that is.
        earliest: i64,
        /// The one after the last.
        latest: i64,
        /// Where reading goes on.
        next: Option<i64>,
    },
    /// Records that we read aren't there any more: a new leader never had them (an unclean election).
    #[error("{partition} lost the records from {end} up to {offset}, which were read already: its new leader never had them; {}", goes_on(.next.as_ref()))]
    Truncated {
        /// The partition.
        partition: TopicPartition,
        /// The offset that we had reached.
        offset: i64,
        /// The offset up to which its log is what we read.
        end: i64,
        /// Where reading goes on.
        next: Option<i64>,
    },
    /// The topic was deleted and created again, so that our offset means nothing in it.
    #[error("{partition} was deleted and created again after offset {offset}; {}", goes_on(.next.as_ref()))]
    Recreated {
        /// The partition.
        partition: TopicPartition,
        /// The offset that we had reached in the old one.
        offset: i64,
        /// Where reading goes on.
        next: Option<i64>,
    },
    /// A batch can't be read.
    #[error("{partition} can't be read at offset {offset}: {reason}")]
    Corrupt {
        /// The partition.
        partition: TopicPartition,
        /// The first offset of the batch.
        offset: i64,
        /// Why.
        reason: String,
    },
    /// The topic has no such partition, or isn't there.
    #[error("{partition} does not exist; create the topic, or wait until somebody does")]
    NoSuchPartition {
        /// The partition.
        partition: TopicPartition,
    },
    /// The cluster can't serve it, for now or at all.
    #[error("{partition} can't be read: {error}")]
    Failed {
        /// The partition.
        partition: TopicPartition,
        /// What the cluster or the network said.
        error: Error,
    },
}

impl FetchError {
    /// Whether its sentence says what to do next.
    pub(crate) fn advises(&self) -> bool {
        !matches!(self, Self::Corrupt { .. })
    }

    /// The partition.
    pub fn partition(&self) -> &TopicPartition {
        match self {
            Self::OutOfRange { partition, .. }
            | Self::Truncated { partition, .. }
            | Self::Recreated { partition, .. }
            | Self::Corrupt { partition, .. }
            | Self::NoSuchPartition { partition }
            | Self::Failed { partition, .. } => partition,
        }
    }

    /// Where reading goes on, when it can't where it was.
    pub(in crate::kafka) fn resumed(&self) -> Option<i64> {
        match self {
            Self::OutOfRange { next, .. } | Self::Truncated { next, .. } | Self::Recreated { next, .. } => *next,
            Self::Corrupt { .. } | Self::NoSuchPartition { .. } | Self::Failed { .. } => None,
        }
    }
}

/// The end of a sentence: what happens now.
fn goes_on(next: Option<&i64>) -> String {
    match next {
        Some(next) => format!("reading goes on at {next}"),
        None => "choose where to go on".to_owned(),
    }
}
