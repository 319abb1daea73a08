//! What goes into the core and what comes out of it: plain values, without the protocol's structs.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;

use super::super::unpack::Parcel;
use super::super::{FetchError, Isolation, OffsetAt, Reset, TopicPartition};
use crate::kafka::Error;

/// The id that a broker gave a topic; 0 where it gave none.
pub(in crate::kafka::fetch) type TopicId = u128;

/// Which Reader.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(in crate::kafka::fetch) struct ReaderId(pub(super) u64);

/// Which request.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(in crate::kafka::fetch) struct AskId(pub(super) u64);

/// What is the same for all Readers of a Client.
#[derive(Debug, Clone)]
pub(in crate::kafka::fetch) struct Limits {
    /// Bytes that wait for all Readers together.
    pub(in crate::kafka::fetch) client_bytes: usize,
    /// How long a broker holds back an empty answer.
    pub(in crate::kafka::fetch) poll_wait: Duration,
    /// Bytes in one answer.
    pub(in crate::kafka::fetch) response_bytes: usize,
}

/// What is a Reader's own.
#[derive(Debug, Clone)]
pub(in crate::kafka::fetch) struct Options {
    pub(in crate::kafka::fetch) isolation: Isolation,
    /// Bytes that wait for this Reader.
    pub(in crate::kafka::fetch) buffer: usize,
    /// Bytes of one partition in one answer.
    pub(in crate::kafka::fetch) partition_bytes: usize,
    /// Where to go on when the offset is not there.
    pub(in crate::kafka::fetch) reset: Reset,
    /// How long trouble that may pass is kept from the caller.
    pub(in crate::kafka::fetch) patience: Duration,
}

/// Which of a lane's two requests.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::kafka::fetch) enum Kind {
    /// The one long request to a broker, in its session.
    Poll,
    /// A request that the broker answers at once, outside any session.
    Quick,
    /// The same, behind a poll that brings much, on its connection: what comes may be large, too.
    Next,
    /// Ends a session.
    Close,
}

/// What the driver does next.
#[derive(Debug)]
pub(in crate::kafka::fetch) enum Action {
    /// Send a fetch; then [`super::Core::answer`].
    Ask(AskId, Ask),
    /// Ask where a topic is led, anew when `stale`; then [`super::Core::found`].
    Lookup { topic: Arc<str>, stale: bool },
    /// Ask for offsets; then [`super::Core::offsets`].
    Offsets { id: AskId, broker: i32, isolation: Isolation, wants: Vec<OffsetWant> },
}

/// One fetch request.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(in crate::kafka::fetch) struct Ask {
    pub(in crate::kafka::fetch) broker: i32,
    pub(in crate::kafka::fetch) kind: Kind,
    pub(in crate::kafka::fetch) isolation: Isolation,
    pub(in crate::kafka::fetch) session: i32,
    pub(in crate::kafka::fetch) epoch: i32,
    pub(in crate::kafka::fetch) wait: Duration,
    pub(in crate::kafka::fetch) max_bytes: usize,
    pub(in crate::kafka::fetch) send: Vec<(TopicPartition, Sent)>,
    pub(in crate::kafka::fetch) forget: Vec<(TopicPartition, TopicId)>,
}

/// What a broker is told of one partition.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::kafka::fetch) struct Sent {
    pub(in crate::kafka::fetch) topic_id: TopicId,
    pub(in crate::kafka::fetch) offset: i64,
    pub(in crate::kafka::fetch) leader_epoch: i32,
    /// The epoch of the record before `offset`, so that the broker notices a log that went another way; or -1.
    pub(in crate::kafka::fetch) last_epoch: i32,
    pub(in crate::kafka::fetch) max_bytes: usize,
}

/// What a broker answered to a fetch.
#[derive(Debug, Clone, Default)]
pub(in crate::kafka::fetch) struct Reply {
    pub(in crate::kafka::fetch) throttle: Duration,
    pub(in crate::kafka::fetch) error: i16,
    pub(in crate::kafka::fetch) session: i32,
    pub(in crate::kafka::fetch) parts: Vec<ReplyPart>,
}

/// How an answer names a topic.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(in crate::kafka::fetch) enum Named {
    Id(TopicId),
    Name(String),
}

/// What a broker answered for one partition.
#[derive(Debug, Clone)]
pub(in crate::kafka::fetch) struct ReplyPart {
    pub(in crate::kafka::fetch) topic: Named,
    pub(in crate::kafka::fetch) partition: i32,
    pub(in crate::kafka::fetch) error: i16,
    pub(in crate::kafka::fetch) high_watermark: i64,
    pub(in crate::kafka::fetch) stable: i64,
    /// Epoch and offset up to which the broker's log agrees with what we read.
    pub(in crate::kafka::fetch) diverging: Option<(i32, i64)>,
    /// Leader and epoch, when the broker says that it is another one.
    pub(in crate::kafka::fetch) leader: Option<(i32, i32)>,
    /// A replica to read from instead.
    pub(in crate::kafka::fetch) replica: Option<i32>,
    /// Producer and first offset of each aborted transaction.
    pub(in crate::kafka::fetch) aborted: Vec<(i64, i64)>,
    pub(in crate::kafka::fetch) records: Bytes,
}

/// Where a topic is led.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(in crate::kafka::fetch) struct Leaders {
    pub(in crate::kafka::fetch) topic_id: TopicId,
    /// Partition → leader (none at the moment: -1) and its epoch (-1: not known).
    pub(in crate::kafka::fetch) partitions: BTreeMap<i32, (i32, i32)>,
}

/// An offset that is wanted of one partition.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(in crate::kafka::fetch) struct OffsetWant {
    pub(in crate::kafka::fetch) partition: TopicPartition,
    pub(in crate::kafka::fetch) leader_epoch: i32,
    pub(in crate::kafka::fetch) what: Find,
}

/// Which offset.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(in crate::kafka::fetch) enum Find {
    /// Where to start.
    At(OffsetAt),
    /// First and last offset, since this one wasn't there, or was one of a topic that was `recreated`.
    Bounds { offset: i64, recreated: bool },
}

/// The answer to an [`OffsetWant`].
#[derive(Debug, Clone)]
pub(in crate::kafka::fetch) enum OffsetFound {
    At(i64),
    Bounds { earliest: i64, latest: i64 },
    Failed(Error),
}

/// Bytes of one partition that wait to be read.
#[derive(Debug, Clone)]
pub(in crate::kafka::fetch) struct Chunk {
    /// The offset that was asked for: what is before it in the batches is not wanted.
    pub(in crate::kafka::fetch) offset: i64,
    /// The offset after the last whole batch, as far as its header can be believed; what the model compares.
    #[cfg(any(fuzzing, test))]
    pub(in crate::kafka::fetch) next: Option<i64>,
    /// The end of the partition when the broker answered: high watermark or last stable offset.
    pub(in crate::kafka::fetch) end: i64,
    pub(in crate::kafka::fetch) aborted: Arc<[(i64, i64)]>,
    pub(in crate::kafka::fetch) records: Bytes,
    pub(in crate::kafka::fetch) batches: Parcel,
}

/// What a Reader takes.
#[derive(Debug, Clone)]
pub(in crate::kafka::fetch) enum Item {
    Chunk(Chunk),
    /// The next offset from now on is `at`.
    Trouble {
        error: FetchError,
        at: Option<i64>,
    },
    /// A start that was to be found.
    Start(i64),
}
