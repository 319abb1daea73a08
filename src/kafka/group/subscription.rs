//! What members of a classic group tell each other through the broker: `ConsumerProtocolSubscription` and
//! `ConsumerProtocolAssignment` of Apache Kafka, each an `i16` version and the message of that version.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use bytes::{Buf as _, BufMut as _, Bytes, BytesMut};
use kafka_protocol::messages::consumer_protocol_assignment::TopicPartition as Assigned;
use kafka_protocol::messages::consumer_protocol_subscription::TopicPartition as Owned;
use kafka_protocol::messages::{ConsumerProtocolAssignment, ConsumerProtocolSubscription, TopicName};
use kafka_protocol::protocol::{Encodable as _, StrBytes};

use super::Partition;
use super::assignor::Member;

/// A subscription, version 3.
pub(super) fn subscription(member: &Member) -> Option<Bytes> {
    let mut out = BytesMut::new();
    out.put_i16(SUBSCRIPTION);
    let owned = by_topic(&member.owned)
        .into_iter()
        .map(|(topic, partitions)| Owned::default().with_topic(name(&topic)).with_partitions(partitions));
    ConsumerProtocolSubscription::default()
        .with_topics(member.topics.iter().map(|topic| text(topic)).collect())
        // What Java's cooperative assignor reads when a member speaks an older version.
        .with_user_data(Some(Bytes::copy_from_slice(&member.generation.to_be_bytes())))
        .with_owned_partitions(owned.collect())
        .with_generation_id(member.generation)
        .encode(&mut out, SUBSCRIPTION)
        .ok()?;
    Some(out.freeze())
}

/// Reads one, of any version. `None`: it can't be read.
pub(super) fn read_subscription(id: &str, instance: Option<&str>, bytes: &Bytes) -> Option<Member> {
    let mut bytes = bytes.clone();
    let version = bytes.try_get_i16().ok()?;
    let mut topics = BTreeSet::new();
    for _ in 0..count(&mut bytes)? {
        topics.insert(string(&mut bytes)?);
    }
    let told = match bytes.try_get_i32().ok()? {
        -1 => None,
        length => {
            let data = some(&mut bytes, usize::try_from(length).ok()?)?;
            data.first_chunk::<4>().map(|generation| i32::from_be_bytes(*generation))
        }
    };
    let owned = if version >= 1 { partitions(&mut bytes)? } else { BTreeSet::new() };
    let generation = if version >= 2 { bytes.try_get_i32().ok()? } else { told.unwrap_or(-1) };
    Some(Member { id: id.to_owned(), instance: instance.map(str::to_owned), topics, owned, generation })
}

/// An assignment, version 1.
pub(super) fn assignment(partitions: &BTreeSet<Partition>) -> Option<Bytes> {
    let mut out = BytesMut::new();
    out.put_i16(ASSIGNMENT);
    let assigned = by_topic(partitions)
        .into_iter()
        .map(|(topic, partitions)| Assigned::default().with_topic(name(&topic)).with_partitions(partitions));
    ConsumerProtocolAssignment::default()
        .with_assigned_partitions(assigned.collect())
        .encode(&mut out, ASSIGNMENT)
        .ok()?;
    Some(out.freeze())
}

/// Reads one; no bytes at all are an empty one. `None`: it can't be read.
pub(super) fn read_assignment(bytes: &Bytes) -> Option<BTreeSet<Partition>> {
    if bytes.is_empty() {
        return Some(BTreeSet::new());
    }
    let mut bytes = bytes.clone();
    let _version = bytes.try_get_i16().ok()?;
    let partitions = partitions(&mut bytes)?;
    let _user_data = bytes.try_get_i32().ok()?;
    Some(partitions)
}

// By hand: the codec would set room aside for any count, and these bytes are another member's.

fn partitions(bytes: &mut Bytes) -> Option<BTreeSet<Partition>> {
    let mut partitions = BTreeSet::new();
    for _ in 0..count(bytes)? {
        let topic = string(bytes)?;
        for _ in 0..count(bytes)? {
            partitions.insert((topic.clone(), bytes.try_get_i32().ok()?));
        }
    }
    Some(partitions)
}

fn count(bytes: &mut Bytes) -> Option<usize> {
    usize::try_from(bytes.try_get_i32().ok()?).ok()
}

fn string(bytes: &mut Bytes) -> Option<Arc<str>> {
    let length = usize::try_from(bytes.try_get_i16().ok()?).ok()?;
    some(bytes, length).and_then(|text| str::from_utf8(&text).map(Arc::from).ok())
}

fn some(bytes: &mut Bytes, length: usize) -> Option<Bytes> {
    (length <= bytes.len()).then(|| bytes.split_to(length))
}

fn by_topic(partitions: &BTreeSet<Partition>) -> BTreeMap<Arc<str>, Vec<i32>> {
    let mut topics: BTreeMap<Arc<str>, Vec<i32>> = BTreeMap::new();
    for (topic, partition) in partitions {
        topics.entry(topic.clone()).or_default().push(*partition);
    }
    topics
}

fn text(text: &str) -> StrBytes {
    StrBytes::from_string(text.to_owned())
}

fn name(topic: &str) -> TopicName {
    TopicName(text(topic))
}

const SUBSCRIPTION: i16 = 3;
const ASSIGNMENT: i16 = 1;

#[cfg(test)]
mod tests {
    use super::*;

    fn two() -> BTreeSet<Partition> {
        BTreeSet::from([(Arc::from("x"), 0), (Arc::from("x"), 2), (Arc::from("y"), 1)])
    }

    #[test]
    fn both_are_read_as_they_were_written() {
        let member = Member {
            id: "m".to_owned(),
            instance: Some("i".to_owned()),
            topics: [Arc::from("x"), Arc::from("y")].into(),
            owned: two(),
            generation: 7,
        };
        let bytes = subscription(&member).unwrap();
        assert_eq!(read_subscription("m", Some("i"), &bytes), Some(member));
        assert_eq!(read_assignment(&assignment(&two()).unwrap()), Some(two()));
        assert_eq!(read_assignment(&Bytes::new()), Some(BTreeSet::new()));
    }

    /// Version 0 of kafka-python: topics and no user data; and a version that is still to come.
    #[test]
    fn other_versions_are_read() {
        let old = Bytes::from_static(b"\0\0\0\0\0\x01\0\x01x\xff\xff\xff\xff");
        let read = read_subscription("m", None, &old).unwrap();
        assert_eq!((read.topics, read.generation), ([Arc::from("x")].into(), -1));
        let sticky = Bytes::from_static(b"\0\x01\0\0\0\x01\0\x01x\0\0\0\x04\0\0\0\x05\0\0\0\0");
        assert_eq!(read_subscription("m", None, &sticky).unwrap().generation, 5);
        let mut new = subscription(&Member { topics: [Arc::from("x")].into(), ..Member::default() }).unwrap().to_vec();
        new[1] = 9;
        new.push(0);
        assert_eq!(read_subscription("m", None, &new.into()).unwrap().topics, [Arc::from("x")].into());
    }

    /// A member that says it has two billion topics takes nobody's memory.
    #[test]
    fn counts_that_can_not_be_are_refused() {
        for input in [&b"\0\x03\x7f\xff\xff\xff"[..], b"\0\x03\0\0\0\0\xff\xff\xff\xff\x7f\xff\xff\xff\0\0"] {
            assert_eq!(read_subscription("m", None, &Bytes::from_static(input)), None);
        }
        let whole = Bytes::from_static(b"\0\x01\0\0\0\x01\0\x01x\x7f\xff\xff\xff");
        assert_eq!(read_assignment(&whole), None);
    }

    #[test]
    fn what_is_cut_off_is_not_read() {
        let whole = assignment(&two()).unwrap();
        assert!((1..whole.len()).all(|length| read_assignment(&whole.slice(..length)).is_none()));
    }
}
