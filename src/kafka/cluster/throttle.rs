//! How long a broker wants us to be quiet (KIP-219): each response says so in a field of its own.

use std::time::Duration;

use kafka_protocol::messages as m;

/// A response that may carry `throttle_time_ms`.
pub(in crate::kafka) trait Throttled {
    /// Milliseconds; 0 when there is nothing to wait for.
    fn throttle_ms(&self) -> i32;

    /// How long to send nothing more.
    fn quiet(&self) -> Option<Duration> {
        u64::try_from(self.throttle_ms()).ok().filter(|ms| *ms > 0).map(|ms| Duration::from_millis(ms).min(MOST))
    }
}

macro_rules! throttled {
    ($($response:ident),* $(,)?) => {
        $(impl Throttled for m::$response {
            fn throttle_ms(&self) -> i32 {
                self.throttle_time_ms
            }
        })*
    };
}

throttled! {
    AddOffsetsToTxnResponse, AddPartitionsToTxnResponse, AlterConfigsResponse, ApiVersionsResponse,
    ConsumerGroupDescribeResponse, ConsumerGroupHeartbeatResponse, CreatePartitionsResponse, CreateTopicsResponse,
    DeleteGroupsResponse, DeleteRecordsResponse, DeleteTopicsResponse, DescribeClusterResponse,
    DescribeConfigsResponse, DescribeGroupsResponse, DescribeTopicPartitionsResponse, EndTxnResponse, FetchResponse,
    FindCoordinatorResponse, HeartbeatResponse, IncrementalAlterConfigsResponse, InitProducerIdResponse,
    JoinGroupResponse, LeaveGroupResponse, ListGroupsResponse, ListOffsetsResponse, MetadataResponse,
    OffsetCommitResponse, OffsetDeleteResponse, OffsetFetchResponse, OffsetForLeaderEpochResponse, ProduceResponse,
    SyncGroupResponse, TxnOffsetCommitResponse,
}

/// A broker's windows are seconds long, so nothing longer is meant.
const MOST: Duration = Duration::from_secs(60);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_real_times_count() {
        let quiet = |ms| m::FetchResponse::default().with_throttle_time_ms(ms).quiet();
        assert_eq!((quiet(0), quiet(-1)), (None, None));
        assert_eq!(quiet(20), Some(Duration::from_millis(20)));
        assert_eq!(quiet(i32::MAX), Some(MOST));
    }
}
