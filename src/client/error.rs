use std::sync::Arc;

use crate::error::{Error, ErrorKind};
use crate::serdes::SerializeError;
use crate::transport::TransportError;

/// Why a record wasn't delivered.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum SendError {
    /// It couldn't be encrypted.
    #[error("nothing was sent to topic {topic:?}: {source}")]
    Encrypt {
        /// The topic.
        topic: Arc<str>,
        /// Why.
        source: SerializeError,
    },
    /// The broker doesn't have it.
    #[error("the record for topic {topic:?} wasn't delivered: {source}")]
    NotDelivered {
        /// The topic.
        topic: Arc<str>,
        /// The partition, if it was chosen already.
        partition: Option<i32>,
        /// Why.
        source: TransportError,
    },
    /// The broker's answer was lost, so it may have the record. It isn't sent again, since that could double it, unless
    /// [duplicates are allowed](crate::client::ProducerOptions::allow_duplicates).
    #[error("whether the record for topic {topic:?} was delivered isn't known: {source}")]
    MayHaveArrived {
        /// The topic.
        topic: Arc<str>,
        /// The partition.
        partition: i32,
        /// Why.
        source: TransportError,
    },
    /// The topic has no such partition.
    #[error("topic {topic:?} has no partition {partition}; it has {count}, counted from 0")]
    NoSuchPartition {
        /// The topic.
        topic: Arc<str>,
        /// The partition.
        partition: i32,
        /// How many there are.
        count: usize,
    },
    /// The producer was closed.
    #[error("the producer was closed, so nothing was sent; open a new one")]
    Closed,
    /// There is no tokio runtime to work on.
    #[error("a producer works inside a tokio runtime only; call it from there")]
    NoRuntime,
}

/// What a consumer came upon instead of a record.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum ReadError {
    /// An offset that can't be read was passed over; reading goes on after it.
    #[error("offset {offset} of topic {topic:?}, partition {partition}, was passed over: {reason}")]
    Skipped {
        /// The topic.
        topic: Arc<str>,
        /// The partition.
        partition: i32,
        /// The offset.
        offset: i64,
        /// Why: a sentence.
        reason: String,
    },
    /// The broker doesn't have the offset that was to be read next: records were deleted before they were read, or there
    /// never was such an offset.
    #[error("topic {topic:?}, partition {partition}, has no offset {offset}; {}", going_on(*.resumed))]
    OutOfRange {
        /// The topic.
        topic: Arc<str>,
        /// The partition.
        partition: i32,
        /// The offset that was wanted.
        offset: i64,
        /// Where reading goes on; `None` if it ends here.
        resumed: Option<i64>,
    },
    /// The broker doesn't answer, or not with records. Said once for each outage; reading goes on when it is over.
    #[error("reading of topic {topic:?} is interrupted, and tried again: {source}")]
    Interrupted {
        /// The topic.
        topic: Arc<str>,
        /// The partition; `None` if it is all of them.
        partition: Option<i32>,
        /// Why.
        source: TransportError,
    },
    /// Reading of a partition, or of all, is over, since trying again is no use.
    #[error("reading{} has ended: {source}", of_topic(.topic))]
    Failed {
        /// The topic; `*` if it is all of a group.
        topic: Arc<str>,
        /// The partition; `None` if it is all of them.
        partition: Option<i32>,
        /// Why.
        source: TransportError,
    },
}

impl ReadError {
    /// Whether reading of its partition goes on after it by itself.
    #[must_use]
    pub fn is_passing(&self) -> bool {
        match self {
            Self::Skipped { .. } | Self::Interrupted { .. } => true,
            Self::OutOfRange { resumed, .. } => resumed.is_some(),
            Self::Failed { .. } => false,
        }
    }
}

impl From<SendError> for Error {
    fn from(error: SendError) -> Self {
        let kind = match &error {
            SendError::Encrypt { .. } => ErrorKind::Encryption,
            SendError::NotDelivered { .. } | SendError::MayHaveArrived { .. } => ErrorKind::Broker,
            SendError::NoSuchPartition { .. } | SendError::NoRuntime => ErrorKind::Usage,
            SendError::Closed => ErrorKind::Closed,
        };
        Self::new(kind, error)
    }
}

impl From<ReadError> for Error {
    fn from(error: ReadError) -> Self {
        Self::new(ErrorKind::Broker, error)
    }
}

fn of_topic(topic: &str) -> String {
    if topic == ALL { String::new() } else { format!(" of topic {topic:?}") }
}

/// In place of a topic: whatever a member of a group reads.
pub(super) const ALL: &str = "*";

fn going_on(resumed: Option<i64>) -> String {
    resumed.map_or_else(
        || "reading ends here; choose another start".to_owned(),
        |offset| format!("reading goes on at {offset}"),
    )
}
