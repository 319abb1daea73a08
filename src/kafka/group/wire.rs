//! The requests of a membership on the wire, and what their answers mean to it.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use kafka_protocol::ResponseError;
use kafka_protocol::messages::consumer_group_heartbeat_request::TopicPartitions;
use kafka_protocol::messages::join_group_request::JoinGroupRequestProtocol;
use kafka_protocol::messages::leave_group_request::MemberIdentity;
use kafka_protocol::messages::sync_group_request::SyncGroupRequestAssignment;
use kafka_protocol::messages::{
    ConsumerGroupHeartbeatRequest, ConsumerGroupHeartbeatResponse, GroupId, HeartbeatRequest, JoinGroupRequest,
    JoinGroupResponse, LeaveGroupRequest, SyncGroupRequest, TopicName,
};
use kafka_protocol::protocol::StrBytes;
use uuid::Uuid;

use super::classic::{Answer, Joined};
use super::hand::Refusal;
use super::modern::Beat;
use super::{GroupSettings, Partition};

pub(super) fn group(settings: &GroupSettings) -> GroupId {
    GroupId(text(&settings.id))
}

pub(super) fn text(text: &str) -> StrBytes {
    StrBytes::from_string(text.to_owned())
}

pub(super) fn millis(time: Duration) -> i32 {
    i32::try_from(time.as_millis()).unwrap_or(i32::MAX)
}

/// An error code as a refusal.
pub(super) fn refused(code: i16, said: Option<&StrBytes>) -> Result<(), Refusal> {
    match code {
        0 => Ok(()),
        _ => Err(Refusal::Code(code, said.map(ToString::to_string))),
    }
}

fn instance(settings: &GroupSettings) -> Option<StrBytes> {
    settings.instance.as_deref().map(text)
}

pub(super) fn join(
    settings: &GroupSettings,
    member: &str,
    protocols: &[(&'static str, Bytes)],
    version: i16,
) -> JoinGroupRequest {
    let protocol = |(name, metadata): &(&'static str, Bytes)| {
        JoinGroupRequestProtocol::default().with_name(StrBytes::from_static_str(name)).with_metadata(metadata.clone())
    };
    let mut request = JoinGroupRequest::default()
        .with_group_id(group(settings))
        .with_session_timeout_ms(millis(settings.session))
        .with_rebalance_timeout_ms(millis(settings.max_poll_interval))
        .with_member_id(text(member))
        .with_protocol_type(StrBytes::from_static_str(CONSUMER))
        .with_protocols(protocols.iter().map(protocol).collect());
    if version >= 5 {
        request.group_instance_id = instance(settings);
    }
    request
}

pub(super) fn joined(response: JoinGroupResponse) -> Result<Answer, Refusal> {
    let member = response.member_id.to_string();
    if response.error_code == ResponseError::MemberIdRequired.code() && !member.is_empty() {
        return Ok(Answer::Named(member));
    }
    refused(response.error_code, None)?;
    let leads = response.leader == response.member_id;
    let members = response.members.into_iter().map(|member| {
        let instance = member.group_instance_id.map(|instance| instance.to_string());
        (member.member_id.to_string(), instance, member.metadata)
    });
    Ok(Answer::Joined(Joined {
        member,
        generation: response.generation_id,
        protocol: response.protocol_name.map(|name| name.to_string()).unwrap_or_default(),
        // A static leader that comes back keeps the assignment (version 9); it then has nothing to share out.
        leads: leads && !response.skip_assignment,
        members: members.collect(),
    }))
}

pub(super) fn sync(
    settings: &GroupSettings,
    (member, generation, protocol): (&str, i32, &str),
    assignments: &[(String, Bytes)],
    version: i16,
) -> SyncGroupRequest {
    let one = |(member, assignment): &(String, Bytes)| {
        SyncGroupRequestAssignment::default().with_member_id(text(member)).with_assignment(assignment.clone())
    };
    let mut request = SyncGroupRequest::default()
        .with_group_id(group(settings))
        .with_generation_id(generation)
        .with_member_id(text(member))
        .with_assignments(assignments.iter().map(one).collect());
    if version >= 3 {
        request.group_instance_id = instance(settings);
    }
    if version >= 5 {
        request.protocol_type = Some(StrBytes::from_static_str(CONSUMER));
        request.protocol_name = Some(text(protocol));
    }
    request
}

pub(super) fn heartbeat(settings: &GroupSettings, member: &str, generation: i32, version: i16) -> HeartbeatRequest {
    let mut request = HeartbeatRequest::default()
        .with_group_id(group(settings))
        .with_generation_id(generation)
        .with_member_id(text(member));
    if version >= 3 {
        request.group_instance_id = instance(settings);
    }
    request
}

pub(super) fn leave(settings: &GroupSettings, member: &str, version: i16) -> LeaveGroupRequest {
    let request = LeaveGroupRequest::default().with_group_id(group(settings));
    if version < 3 {
        return request.with_member_id(text(member));
    }
    let identity = MemberIdentity::default().with_member_id(text(member)).with_group_instance_id(instance(settings));
    request.with_members(vec![identity])
}

/// `ids` has the topics that are known; partitions of others aren't told, and so given back.
pub(super) fn beat(
    settings: &GroupSettings,
    beat: &Beat,
    ids: &BTreeMap<Arc<str>, Uuid>,
) -> ConsumerGroupHeartbeatRequest {
    let owned = beat.owned.as_ref().map(|owned| by_id(owned, ids));
    let names = |topics: &BTreeSet<Arc<str>>| topics.iter().map(|topic| TopicName(text(topic))).collect();
    let joins = beat.epoch == 0;
    // A heartbeat with all of these asks for the whole assignment, as joining does.
    let all = beat.topics.is_some() && beat.owned.is_some();
    ConsumerGroupHeartbeatRequest::default()
        .with_group_id(group(settings))
        .with_member_id(text(&beat.member))
        .with_member_epoch(beat.epoch)
        .with_instance_id(instance(settings))
        .with_rebalance_timeout_ms(if joins || all { millis(settings.max_poll_interval) } else { AS_BEFORE })
        .with_subscribed_topic_names(beat.topics.as_ref().map(names))
        .with_topic_partitions(if joins { Some(Vec::new()) } else { owned })
}

fn by_id(partitions: &BTreeSet<Partition>, ids: &BTreeMap<Arc<str>, Uuid>) -> Vec<TopicPartitions> {
    let mut topics: BTreeMap<Uuid, Vec<i32>> = BTreeMap::new();
    for (topic, partition) in partitions {
        if let Some(id) = ids.get(topic) {
            topics.entry(*id).or_default().push(*partition);
        }
    }
    let one = |(id, partitions)| TopicPartitions::default().with_topic_id(id).with_partitions(partitions);
    topics.into_iter().map(one).collect()
}

/// Epoch, interval, and what is assigned by topic ID.
pub(super) type Beaten = (i32, Duration, Option<Vec<(Uuid, Vec<i32>)>>);

pub(super) fn beaten(response: ConsumerGroupHeartbeatResponse) -> Result<Beaten, Refusal> {
    refused(response.error_code, response.error_message.as_ref())?;
    let assigned = response.assignment.map(|assignment| {
        assignment.topic_partitions.into_iter().map(|topic| (topic.topic_id, topic.partitions)).collect()
    });
    let interval = u64::try_from(response.heartbeat_interval_ms).unwrap_or(0).clamp(100, 600_000);
    Ok((response.member_epoch, Duration::from_millis(interval), assigned))
}

const CONSUMER: &str = "consumer";
/// In a heartbeat: the timeout hasn't changed.
const AS_BEFORE: i32 = -1;
