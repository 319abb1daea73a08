//! Produce requests and answers. The requests are written here, since the codec would copy every batch.

use std::time::Duration;

use bytes::{BufMut, Bytes};
use kafka_protocol::messages::produce_response::PartitionProduceResponse;
use kafka_protocol::messages::{ProduceRequest, ProduceResponse};
use uuid::Uuid;

use super::report::Ack;
use crate::kafka::error::{Error, ErrorKind, escaped};
use crate::kafka::frame::Draft;
use crate::kafka::protocol::Body;

/// A request.
#[derive(Debug)]
pub(super) struct Produce<'a> {
    acks: i16,
    hold: Duration,
    batches: Vec<Batch<'a>>,
}

/// A batch, and where it goes.
#[derive(Debug, Clone, Copy)]
pub(super) struct Batch<'a> {
    pub(super) topic: &'a str,
    pub(super) topic_id: Uuid,
    pub(super) partition: i32,
    pub(super) bytes: &'a Bytes,
}

impl Batch<'_> {
    fn topic(&self) -> (&str, Uuid) {
        (self.topic, self.topic_id)
    }
}

impl<'a> Produce<'a> {
    pub(super) fn new(acks: i16, hold: Duration, batches: impl Iterator<Item = Batch<'a>>) -> Self {
        let mut batches: Vec<_> = batches.collect();
        batches.sort_by(|one, other| one.topic().cmp(&other.topic()));
        Self { acks, hold, batches }
    }

    fn topics(&self) -> impl Iterator<Item = &[Batch<'a>]> {
        self.batches.chunk_by(|one, other| one.topic() == other.topic())
    }
}

/// ```text
/// transactional id: none   acks: int16   timeout in ms: int32
/// topics: for each its name (or id: 16 bytes), and its batches: partition: int32   length   bytes   tags
///                  tags
/// tags
/// ```
///
/// Lengths and counts are unsigned varints, one more than they say; there are no tags.
impl Body for Produce<'_> {
    type Request = ProduceRequest;

    fn write(&self, version: i16, draft: &mut Draft) -> Result<(), Error> {
        draft.text.put_u8(0);
        draft.text.put_i16(self.acks);
        draft.text.put_i32(i32::try_from(self.hold.as_millis()).unwrap_or(i32::MAX));
        put_length(draft, self.topics().count());
        for batches in self.topics() {
            match batches.first().map_or(("", Uuid::nil()), Batch::topic) {
                (_, id) if version >= BY_ID => draft.text.extend_from_slice(id.as_bytes()),
                (name, _) => {
                    put_length(draft, name.len());
                    draft.text.extend_from_slice(name.as_bytes());
                }
            }
            put_length(draft, batches.len());
            for Batch { partition, bytes, .. } in batches {
                draft.text.put_i32(*partition);
                put_length(draft, bytes.len());
                draft.add(bytes);
                draft.text.put_u8(0);
            }
            draft.text.put_u8(0);
        }
        draft.text.put_u8(0);
        Ok(())
    }
}

fn put_length(draft: &mut Draft, length: usize) {
    let mut rest = length as u64 + 1;
    while rest >= 0x80 {
        draft.text.put_u8((rest & 0x7f) as u8 | 0x80);
        rest >>= 7;
    }
    draft.text.put_u8((rest & 0x7f) as u8);
}

/// What a broker said of the batches of a request.
pub(super) struct Answer {
    pub(super) response: ProduceResponse,
    pub(super) version: i16,
}

impl Answer {
    /// What became of a batch. `what` failed if it did.
    pub(super) fn of(
        &self,
        topic: &str,
        topic_id: Uuid,
        partition: i32,
        what: impl Fn() -> String,
    ) -> Result<Ack, Error> {
        let named = |name: &str, id| if self.version >= BY_ID { id == topic_id } else { name == topic };
        let topics = self.response.responses.iter().filter(|of| named(&of.name, of.topic_id));
        let mut answers = topics.flat_map(|of| &of.partition_responses);
        match answers.find(|answer| answer.index == partition) {
            Some(answer) => {
                read(answer, what).map_err(|error| error.needing(|| format!("write to topic \"{}\"", escaped(topic))))
            }
            None => Err(Error::new(ErrorKind::Corrupt, format!("{}: the broker's answer leaves it out", what()))),
        }
    }
}

fn read(answer: &PartitionProduceResponse, what: impl Fn() -> String) -> Result<Ack, Error> {
    if answer.error_code != 0 {
        let first = answer.record_errors.iter().find_map(|record| record.batch_index_error_message.as_deref());
        let text = answer.error_message.as_deref().or(first);
        return Err(Error::from_code_and_text(answer.error_code, text, &what()));
    }
    let known = |number: &i64| *number >= 0;
    let base_offset = Some(answer.base_offset).filter(known);
    Ok(Ack { base_offset, append_time_ms: Some(answer.log_append_time_ms).filter(known) })
}

/// From this version on, topics are named by id.
const BY_ID: i16 = 13;

#[cfg(test)]
mod tests {
    use bytes::Buf;
    use kafka_protocol::messages::TopicName;
    use kafka_protocol::messages::produce_request::{PartitionProduceData, TopicProduceData};
    use kafka_protocol::protocol::StrBytes;

    use super::*;
    use crate::kafka::protocol::{encode, ours};

    type Of<'a> = (&'static str, Uuid, &'a [(i32, Bytes)]);

    fn codec_s(version: i16, topics: &[Of<'_>]) -> ProduceRequest {
        let topic = |(name, id, batches): &Of<'_>| {
            let data = |(partition, bytes): &(i32, Bytes)| {
                PartitionProduceData::default().with_index(*partition).with_records(Some(bytes.clone()))
            };
            let topic = TopicProduceData::default().with_partition_data(batches.iter().map(data).collect());
            match version >= BY_ID {
                true => topic.with_topic_id(*id),
                false => topic.with_name(TopicName(StrBytes::from_static_str(name))),
            }
        };
        let topics = topics.iter().map(topic).collect();
        ProduceRequest::default().with_acks(-1).with_timeout_ms(3000).with_topic_data(topics)
    }

    #[test]
    fn every_version_is_written_as_the_codec_would() {
        let (a, b) = (Uuid::from_u128(7), Uuid::from_u128(8));
        let batch = |size: usize| Bytes::from(vec![b'x'; size]);
        let cases: [&[Of<'_>]; 3] = [
            &[("a", a, &[(0, batch(100))])],
            &[("a", a, &[(3, batch(126)), (2, batch(127)), (9, batch(20_000))]), ("b", b, &[(0, batch(3_000_000))])],
            &[],
        ];
        let (least, most) = ours::<ProduceRequest>();
        assert_eq!((least, most), (9, 13));
        let me = StrBytes::from_static_str("me");
        for (version, topics) in (least..=most).flat_map(|version| cases.map(|topics| (version, topics))) {
            let flat = topics.iter().rev().flat_map(|(topic, id, batches)| {
                let batch = |(partition, bytes)| Batch { topic, topic_id: *id, partition, bytes };
                batches.iter().map(move |(partition, bytes)| batch((*partition, bytes)))
            });
            let ours = Produce::new(-1, Duration::from_secs(3), flat);
            let mut ours = encode(&ours, version, 5, &me).unwrap();
            let mut theirs = encode(&codec_s(version, topics), version, 5, &me).unwrap();
            let (ours, theirs) = (ours.copy_to_bytes(ours.remaining()), theirs.copy_to_bytes(theirs.remaining()));
            assert!(ours == theirs, "{version}");
        }
    }
}
