//! Fetch requests and answers: ours to the protocol's and back.

use std::time::Duration;

use bytes::Bytes;
use kafka_protocol::messages::fetch_request::{FetchPartition, FetchTopic, ForgottenTopic};
use kafka_protocol::messages::fetch_response::PartitionData;
use kafka_protocol::messages::{FetchRequest, FetchResponse, TopicName};
use kafka_protocol::protocol::StrBytes;
use uuid::Uuid;

use super::core::{Ask, Named, Reply, ReplyPart, Sent, TopicId};
use super::{Isolation, TopicPartition};

/// The request of this version.
pub(super) fn request(ask: &Ask, version: i16, rack: &str) -> FetchRequest {
    FetchRequest::default()
        .with_max_wait_ms(millis(ask.wait))
        .with_min_bytes(1)
        .with_max_bytes(int(ask.max_bytes))
        .with_isolation_level(isolation(ask.isolation))
        .with_session_id(ask.session)
        .with_session_epoch(ask.epoch)
        .with_topics(topics(&ask.send, version))
        .with_forgotten_topics_data(forgotten(&ask.forget, version))
        .with_rack_id(StrBytes::from_string(rack.to_owned()))
}

/// What a broker answered.
pub(super) fn reply(response: FetchResponse, version: i16) -> Reply {
    let frame: usize = response.responses.iter().flat_map(|topic| &topic.partitions).filter_map(records_of).sum();
    let mut parts = Vec::new();
    for topic in response.responses {
        let named = if version >= TOPIC_IDS {
            Named::Id(topic.topic_id.as_u128())
        } else {
            Named::Name(topic.topic.0.to_string())
        };
        parts.extend(topic.partitions.into_iter().map(|data| part(named.clone(), data, frame)));
    }
    let throttle = Duration::from_millis(u64::try_from(response.throttle_time_ms).unwrap_or(0));
    Reply { throttle, error: response.error_code, session: response.session_id, parts }
}

/// The protocol's number for an isolation.
pub(super) fn isolation(isolation: Isolation) -> i8 {
    i8::from(isolation == Isolation::Committed)
}

/// A time that the protocol can say.
pub(super) fn millis(time: Duration) -> i32 {
    i32::try_from(time.as_millis()).unwrap_or(i32::MAX)
}

/// A topic's name for the protocol.
pub(super) fn topic_name(topic: &str) -> TopicName {
    TopicName(StrBytes::from_string(topic.to_owned()))
}

fn topics(send: &[(TopicPartition, Sent)], version: i16) -> Vec<FetchTopic> {
    let same = |one: &(TopicPartition, Sent), other: &(TopicPartition, Sent)| one.0.topic == other.0.topic;
    let topic = |of: &[(TopicPartition, Sent)]| {
        let (partition, sent) = of.first()?;
        let topic = FetchTopic::default().with_partitions(of.iter().map(fetch_partition).collect());
        Some(if version >= TOPIC_IDS {
            topic.with_topic_id(Uuid::from_u128(sent.topic_id))
        } else {
            topic.with_topic(topic_name(&partition.topic))
        })
    };
    send.chunk_by(same).filter_map(topic).collect()
}

fn fetch_partition((partition, sent): &(TopicPartition, Sent)) -> FetchPartition {
    FetchPartition::default()
        .with_partition(partition.partition)
        .with_current_leader_epoch(sent.leader_epoch)
        .with_fetch_offset(sent.offset)
        .with_last_fetched_epoch(sent.last_epoch)
        .with_partition_max_bytes(int(sent.max_bytes))
}

fn forgotten(forget: &[(TopicPartition, TopicId)], version: i16) -> Vec<ForgottenTopic> {
    let topic = |(partition, id): &(TopicPartition, TopicId)| {
        let topic = ForgottenTopic::default().with_partitions(vec![partition.partition]);
        if version >= TOPIC_IDS {
            topic.with_topic_id(Uuid::from_u128(*id))
        } else {
            topic.with_topic(topic_name(&partition.topic))
        }
    };
    forget.iter().map(topic).collect()
}

fn part(topic: Named, data: PartitionData, frame: usize) -> ReplyPart {
    let diverging = &data.diverging_epoch;
    let leader = &data.current_leader;
    let aborted = data.aborted_transactions.unwrap_or_default();
    ReplyPart {
        topic,
        partition: data.partition_index,
        error: data.error_code,
        high_watermark: data.high_watermark,
        stable: data.last_stable_offset,
        diverging: (diverging.epoch >= 0).then_some((diverging.epoch, diverging.end_offset)),
        leader: (leader.leader_id.0 >= 0).then_some((leader.leader_id.0, leader.leader_epoch)),
        replica: (data.preferred_read_replica.0 >= 0).then_some(data.preferred_read_replica.0),
        aborted: aborted.iter().map(|aborted| (aborted.producer_id.0, aborted.first_offset)).collect(),
        records: unpinned(data.records.unwrap_or_default(), frame),
    }
}

fn records_of(data: &PartitionData) -> Option<usize> {
    data.records.as_ref().map(Bytes::len)
}

/// A few bytes that wait to be read don't keep a whole big answer in memory.
fn unpinned(records: Bytes, frame: usize) -> Bytes {
    if records.len() <= SMALL && records.len() < frame / 8 { Bytes::copy_from_slice(&records) } else { records }
}

fn int(bytes: usize) -> i32 {
    i32::try_from(bytes).unwrap_or(i32::MAX)
}

/// Fetch names topics by id from this version on.
const TOPIC_IDS: i16 = 13;
const SMALL: usize = 16 << 10;

#[cfg(test)]
mod tests {
    use kafka_protocol::messages::fetch_response::FetchableTopicResponse;
    use kafka_protocol::protocol::Encodable;

    use super::super::core::Kind;
    use super::*;

    fn ask() -> Ask {
        let sent = |offset| Sent { topic_id: 7, offset, leader_epoch: 3, last_epoch: 2, max_bytes: 1 << 20 };
        Ask {
            broker: 1,
            kind: Kind::Poll,
            isolation: Isolation::Committed,
            session: 5,
            epoch: 6,
            wait: Duration::from_millis(500),
            max_bytes: usize::MAX,
            send: vec![(TopicPartition::new("t", 0), sent(1)), (TopicPartition::new("t", 1), sent(2))],
            forget: vec![(TopicPartition::new("u", 4), 9)],
        }
    }

    #[test]
    fn every_flexible_version_can_be_written() {
        for version in 12..=18 {
            let request = request(&ask(), version, "rack");
            assert_eq!((request.topics.len(), request.topics[0].partitions.len()), (1, 2));
            assert_eq!(request.max_bytes, i32::MAX);
            request.encode(&mut bytes::BytesMut::new(), version).unwrap();
        }
    }

    #[test]
    fn a_small_part_of_a_big_answer_does_not_keep_it() {
        let data = |bytes: Bytes| PartitionData::default().with_records(Some(bytes));
        let whole = Bytes::from(vec![1; 1 << 20]);
        let (small, big) = (whole.slice(..100), whole.slice(100..));
        let topic = FetchableTopicResponse::default().with_partitions(vec![data(small.clone()), data(big.clone())]);
        let reply = reply(FetchResponse::default().with_responses(vec![topic]), 13);
        assert_eq!(reply.parts[0].records, small);
        assert_ne!(reply.parts[0].records.as_ptr(), small.as_ptr());
        assert_eq!(reply.parts[1].records.as_ptr(), big.as_ptr());
        assert_eq!(reply.parts[1].aborted, []);
        assert_eq!((reply.parts[1].diverging, reply.parts[1].leader, reply.parts[1].replica), (None, None, None));
    }
}
