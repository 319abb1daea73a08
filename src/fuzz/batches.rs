//! Record batches: what the network hands to the Kafka client.

use bytes::Bytes;

use crate::kafka::record::{
    AbortedFilter, Batch, BatchWriter, Compression, Record, Stamp, TimestampType, Verdict, read_batches,
};

/// The first byte says what the rest is: a log (lowest two bits 0), a log whose checksums are put right first (1), or the
/// records of one batch, the next byte their number, compressed with the codec in bits 2 to 4 (2 or 3).
///
/// What is read stays in its bounds, and what it holds is written and read again as the same.
pub fn batches(data: &[u8]) {
    let Some((mode, rest)) = data.split_first() else { return };
    let log = match mode & 3 {
        0 => rest.to_vec(),
        1 => repaired(rest),
        _ => wrapped(rest, mode >> 2 & 7),
    };
    let log = Bytes::from(log);
    let mut batches = read_batches(&log);
    let mut filter = AbortedFilter::committed([(0, 0), (1, 5)]);
    let mut left = batches.rest();
    while let Some(batch) = batches.next() {
        match batch {
            Ok(batch) => judge(&batch, &mut filter, mode >> 5),
            Err(error) => assert!(error.base_offset <= error.last_offset, "{error}"),
        }
        if left == batches.rest() {
            assert!(batches.next().is_none(), "what takes nothing is the end");
        }
        left = batches.rest();
    }
}

fn judge(batch: &Batch, filter: &mut AbortedFilter, codec: u8) {
    assert!(0 <= batch.base_offset && batch.base_offset <= batch.last_offset);
    if let Ok(verdict) = filter.judge(batch) {
        assert_eq!(batch.is_control(), verdict == Verdict::Control);
        assert!(batch.is_transactional() || verdict != Verdict::Aborted);
    }
    let Ok(records) = batch.records(LIMIT) else { return };
    let mut sound = Vec::new();
    for record in records {
        let Ok(record) = record else { return };
        sound.push(record);
    }
    assert_eq!(sound.len(), usize::try_from(batch.count).expect("not negative"));
    assert!(sound.is_sorted_by(|one, other| one.offset < other.offset), "in order, none twice");
    let bounds = batch.base_offset..=batch.last_offset;
    assert!(sound.iter().all(|record| bounds.contains(&record.offset)));
    assert!(sound.len() * size_of::<Record>() <= LIMIT);
    if batch.timestamp_type() == TimestampType::LogAppend {
        assert!(sound.iter().all(|record| record.timestamp_ms == batch.max_timestamp_ms));
    }
    if let Some(codec) = Compression::ALL.get(usize::from(codec) % 5).filter(|_| !sound.is_empty()) {
        again(&sound, *codec);
    }
}

fn again(records: &[Record], codec: Compression) {
    let mut batch = BatchWriter::with_capacity(0);
    for record in records {
        let Record { timestamp_ms, key, value, headers, .. } = record;
        let size = batch.size_with(*timestamp_ms, key.as_deref(), value.as_deref(), headers);
        batch.append(*timestamp_ms, key.as_deref(), value.as_deref(), headers).expect("it came out of a batch");
        assert_eq!(batch.size(), size);
    }
    let stamp = Stamp { producer_id: 5, epoch: 1, sequence: 9, transactional: true };
    let bytes = batch.finish(codec, Some(1), stamp).expect("not empty");
    let mut batches = read_batches(&bytes);
    let batch = batches.next().expect("one").expect("our own");
    assert!(batches.next().is_none() && batches.rest() == 0);
    let read = batch.records(2 * LIMIT).expect("our own");
    for (given, (record, offset)) in records.iter().zip(read.zip(0..)) {
        assert_eq!(record.expect("our own"), Record { offset, ..given.clone() });
    }
}

fn repaired(log: &[u8]) -> Vec<u8> {
    let mut bytes = log.to_vec();
    let mut rest = bytes.as_mut_slice();
    while let Some(length) = rest.get(8..).and_then(<[u8]>::first_chunk) {
        let end = (u32::from_be_bytes(*length) as usize).saturating_add(12);
        let Some((batch, behind)) = rest.split_at_mut_checked(end) else { break };
        let Some((front, checked)) = batch.split_at_mut_checked(21) else { break };
        let checksum = crc32c::crc32c(checked).to_be_bytes();
        front.last_chunk_mut().expect("21 bytes").clone_from(&checksum);
        rest = behind;
    }
    bytes
}

fn wrapped(body: &[u8], codec: u8) -> Vec<u8> {
    let Some((count, body)) = body.split_first() else { return Vec::new() };
    let length = u32::try_from(49 + body.len()).expect("inputs are short");
    let mut bytes = vec![0; 8]; // base offset
    bytes.extend_from_slice(&length.to_be_bytes());
    bytes.extend_from_slice(&[0, 0, 0, 0, 2, 0, 0, 0, 0, 0, codec, 0, 0, 0, count.saturating_sub(1)]);
    bytes.extend_from_slice(&[0; 33]); // timestamps, producer
    bytes.push(*count);
    bytes.extend_from_slice(body);
    repaired(&bytes)
}

/// Small, so that what grows without bound is seen.
const LIMIT: usize = 1 << 20;
