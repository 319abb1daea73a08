//! What the fuzz targets do with their input, as far as it is about connections. A panic here is a finding.

#![allow(clippy::panic, clippy::expect_used, reason = "a panic is the finding")]

use std::time::{Duration, Instant};

use bytes::Bytes;
use kafka_protocol::messages as m;
use kafka_protocol::protocol::{Encodable, Request};

use super::cluster::Coordinator;
use super::cluster::metadata::Metadata;
use super::net::frames::Frames;
use super::net::inflight::{InFlight, Pending, Verdict};
use super::protocol::{self, Versions};

/// A response: an API, a version, a frame. It is read or refused; nothing is allocated for a count that the frame can't
/// hold, and what was read can be written and read again.
pub fn kafka_responses(input: &[u8]) {
    let [api, version, frame @ ..] = input else { return };
    let frame = Bytes::copy_from_slice(frame);
    let version = i16::from(*version);
    match api % 24 {
        0 => _ = read::<m::ProduceRequest>(frame, version),
        1 => _ = read::<m::FetchRequest>(frame, version),
        2 => _ = read::<m::ListOffsetsRequest>(frame, version),
        3 => {
            if let Some(response) = read::<m::MetadataRequest>(frame, version) {
                let metadata = Metadata::new(response);
                for topic in metadata.topics.values().flatten().flatten() {
                    let _ = (topic.leader(0), topic.leader(i32::MAX));
                }
            }
        }
        4 => _ = read::<m::OffsetCommitRequest>(frame, version),
        5 => _ = read::<m::OffsetFetchRequest>(frame, version),
        6 => {
            if let Some(response) = read::<m::FindCoordinatorRequest>(frame, version) {
                let _ = Coordinator::Group.read("g", response);
            }
        }
        7 => _ = read::<m::JoinGroupRequest>(frame, version),
        8 => _ = read::<m::HeartbeatRequest>(frame, version),
        9 => _ = read::<m::LeaveGroupRequest>(frame, version),
        10 => _ = read::<m::SyncGroupRequest>(frame, version),
        11 => _ = read::<m::DescribeGroupsRequest>(frame, version),
        12 => _ = read::<m::ListGroupsRequest>(frame, version),
        13 => _ = read::<m::SaslHandshakeRequest>(frame, version),
        14 => {
            if let Some(response) = read::<m::ApiVersionsRequest>(frame, version) {
                let _ = Versions::new(&response).pick::<m::FetchRequest>();
            }
        }
        15 => _ = read::<m::CreateTopicsRequest>(frame, version),
        16 => _ = read::<m::DeleteTopicsRequest>(frame, version),
        17 => _ = read::<m::DeleteRecordsRequest>(frame, version),
        18 => _ = read::<m::InitProducerIdRequest>(frame, version),
        19 => _ = read::<m::OffsetForLeaderEpochRequest>(frame, version),
        20 => _ = read::<m::SaslAuthenticateRequest>(frame, version),
        21 => _ = read::<m::ConsumerGroupHeartbeatRequest>(frame, version),
        22 => _ = read::<m::DescribeConfigsRequest>(frame, version),
        _ => _ = read::<m::OffsetDeleteRequest>(frame, version),
    }
}

/// Reads a response in a version that we may speak.
fn read<R: Request>(frame: Bytes, version: i16) -> Option<R::Response> {
    let (min, max) = protocol::ours::<R>();
    let version = min + version % (max - min + 1);
    let response = protocol::decode::<R>(frame, version).ok()?;
    // Some values that are read can't be written (a null where there is no version for it), but writing never panics.
    let _ = response.encode(&mut bytes::BytesMut::new(), version);
    Some(response)
}

/// A life of a connection: bytes in pieces, and requests, answers, waiting and time in any order.
pub fn kafka_connection(input: &[u8]) {
    let (program, stream) = input.split_at(input.len() / 2);
    pieces(stream);
    life(program);
}

/// However a stream is cut into pieces, the same frames come out.
fn pieces(stream: &[u8]) {
    let whole = cut(stream, usize::MAX);
    for size in [1, 3, 16] {
        assert_eq!(cut(stream, size), whole, "in pieces of {size}");
    }
}

/// The frames, and whether the stream was refused.
fn cut(stream: &[u8], size: usize) -> (Vec<Bytes>, bool) {
    let (mut frames, mut found) = (Frames::new(1000), Vec::new());
    for piece in stream.chunks(size) {
        assert!(frames.room() <= 1 << 20, "no more is set aside than was shown to come");
        frames.buffer.extend_from_slice(piece);
        loop {
            match frames.next() {
                Ok(Some(frame)) => found.push(frame),
                Ok(None) => break,
                Err(_) => return (found, true),
            }
        }
    }
    (found, false)
}

/// Each request comes out once: answered in order, or drained. A connection is called silent only when one is due.
fn life(program: &[u8]) {
    const PATIENCE: Duration = Duration::from_secs(4);
    const IDLE: Duration = Duration::from_secs(600);
    let start = Instant::now();
    let (mut now, mut moved) = (start, start);
    let mut inflight = InFlight::new(start, PATIENCE, IDLE);
    let mut look = start;
    let (mut next, mut waiting) = (0_i32, std::collections::VecDeque::new());
    for step in program {
        let value = u64::from(step >> 3);
        match step % 8 {
            0 | 1 => {
                let hold = Duration::from_secs(value / 4);
                let sooner =
                    inflight.push(Pending { correlation: next, sent: now, hold, bytes: 10, reply: value % 2 == 0 });
                assert!(sooner || look <= now + Duration::from_secs(1), "or nobody would look");
                waiting.push_back((next, now));
                (next, moved) = (next + 1, now);
            }
            2 | 3 => {
                let expected = waiting.front().map(|(number, _)| *number);
                let answered = inflight.answered(expected.unwrap_or(next));
                assert_eq!(answered.ok().map(|pending| pending.correlation), expected);
                waiting.pop_front();
            }
            4 => {
                let wrong = waiting.front().map_or(next, |(number, _)| number + 1);
                assert!(inflight.answered(wrong).is_err());
            }
            5 => {
                inflight.moved(now);
                moved = now;
            }
            _ => now += Duration::from_millis(250 * (value + 1)),
        }
        match inflight.verdict(now, |given_up| *given_up) {
            Verdict::Well(at) => {
                assert!(at > now, "or it would be looked at without end");
                look = at;
            }
            Verdict::Idle => assert!(waiting.is_empty() && now >= moved + IDLE),
            Verdict::Silent => {
                assert!(!waiting.is_empty() && now >= moved + Duration::from_secs(1));
            }
        }
        assert_eq!(inflight.is_empty(), waiting.is_empty());
    }
    let left: Vec<_> = inflight.drain().map(|pending| pending.correlation).collect();
    assert_eq!(left, waiting.iter().map(|(number, _)| *number).collect::<Vec<_>>());
}
