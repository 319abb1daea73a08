use proptest::prelude::*;

use super::layout::{CONTROL, DELETE_HORIZON, LOG_APPEND_TIME, Layout};
use super::*;

const LIMIT: usize = 1 << 20;

fn writer(values: &[&'static str]) -> BatchWriter {
    let mut batch = BatchWriter::with_capacity(100);
    for (value, time) in values.iter().zip(1000..) {
        batch.append(time, Some(b"key"), Some(value.as_bytes()), &[]).expect("room");
    }
    batch
}

fn finished(values: &[&'static str]) -> Bytes {
    writer(values).finish(Compression::None, None, Stamp::NONE).expect("records")
}

/// Changes the header as a broker would, checksum included.
fn edited(batch: &Bytes, edit: impl FnOnce(&mut Layout)) -> Bytes {
    let mut header = Layout::decode(batch.first_chunk().expect("a header"));
    edit(&mut header);
    let mut bytes = batch.to_vec();
    header.checksum = crc32c::crc32c_append(crc32c::crc32c(&header.encode()[21..]), &bytes[61..]);
    bytes[..61].copy_from_slice(&header.encode());
    bytes.into()
}

fn at(batch: &Bytes, base_offset: i64) -> Bytes {
    edited(batch, |header| header.base_offset = base_offset)
}

fn only(bytes: &Bytes) -> Batch {
    let mut batches = read_batches(bytes);
    let batch = batches.next().expect("one").expect("sound");
    assert!(batches.next().is_none());
    assert_eq!(batches.rest(), 0);
    batch
}

fn records(batch: &Batch) -> Vec<Record> {
    batch.records(LIMIT).expect("sound").collect::<Result<_, _>>().expect("sound")
}

fn joined(parts: &[Bytes]) -> Bytes {
    parts.concat().into()
}

#[test]
fn null_isn_t_empty_and_headers_keep_order_and_doubles() {
    let headers = [
        Header::new("b", "1"),
        Header::null("a"),
        Header::new("b", ""),
        Header::new("", "nameless"),
        Header::new(Bytes::from_static(b"\xff\xfe"), Bytes::from_static(&[0, 255])),
    ];
    let mut batch = BatchWriter::with_capacity(0);
    batch.append(5, None, Some(b""), &headers).expect("room");
    batch.append(3, Some(b""), None, &[]).expect("room");
    let batch = only(&batch.finish(Compression::None, None, Stamp::NONE).expect("records"));
    assert_eq!(batch.max_timestamp_ms, 5);
    let expected = [
        Record { offset: 0, timestamp_ms: 5, key: None, value: Some(Bytes::new()), headers: headers.to_vec() },
        Record { offset: 1, timestamp_ms: 3, key: Some(Bytes::new()), value: None, headers: vec![] },
    ];
    assert_eq!(records(&batch), expected);
}

#[test]
fn keys_and_values_are_slices_of_the_batch() {
    let bytes = finished(&["value"]);
    let value = records(&only(&bytes)).remove(0).value.expect("a value");
    assert!(bytes.as_ptr_range().contains(&value.as_ptr()));
}

#[test]
fn the_size_is_known_before() {
    let mut batch = BatchWriter::with_capacity(0);
    for (time, n) in [(0, 1), (1 << 40, 63), (-1, 64), (5, 8191), (7, 8192), (i64::MAX, 2), (i64::MIN, 3)] {
        let value = vec![7; n];
        let headers = vec![Header::new("name", value.clone()); n % 70];
        let size = batch.size_with(time, Some(&value), None, &headers);
        assert_eq!(batch.append(time, Some(&value), None, &headers), Ok(batch.count() - 1));
        assert_eq!(batch.size(), size);
    }
    let size = batch.size();
    let bytes = batch.finish(Compression::None, None, Stamp::NONE).expect("records");
    assert_eq!(bytes.len(), size);
    let times: Vec<i64> = records(&only(&bytes)).iter().map(|record| record.timestamp_ms).collect();
    assert_eq!(times, [0, 1 << 40, -1, 5, 7, i64::MAX, i64::MIN]);
}

#[test]
fn an_empty_batch_is_not_sent() {
    assert_eq!(BatchWriter::with_capacity(0).finish(Compression::None, None, Stamp::NONE), Err(WriteError::Empty));
}

#[test]
fn the_broker_s_time_counts_under_log_append_time() {
    let bytes = edited(&finished(&["a", "b"]), |header| {
        header.attributes |= LOG_APPEND_TIME;
        header.max_timestamp_ms = 77;
    });
    let batch = only(&bytes);
    assert_eq!(batch.timestamp_type(), TimestampType::LogAppend);
    assert!(records(&batch).iter().all(|record| record.timestamp_ms == 77));
}

#[test]
fn the_delete_horizon_is_the_base_of_timestamps() {
    let bytes = edited(&finished(&["a"]), |header| {
        header.attributes |= DELETE_HORIZON;
        header.base_timestamp_ms = 900;
    });
    let batch = only(&bytes);
    assert_eq!(batch.delete_horizon_ms(), Some(900));
    assert_eq!(records(&batch)[0].timestamp_ms, 900);
    assert_eq!(only(&finished(&["a"])).delete_horizon_ms(), None);
}

#[test]
fn what_compaction_left_keeps_its_offsets() {
    let whole = finished(&["a", "b", "c"]);
    // The second record, alone; ten offsets.
    let one = finished(&["a"]).len() - 61;
    let bytes = [&whole[..61], &whole[61 + one..61 + 2 * one]].concat().into();
    let bytes = edited(&bytes, |header| {
        header.length = i32::try_from(one + 49).expect("short");
        header.base_offset = 100;
        header.last_offset_delta = 9;
        header.count = 1;
    });
    let batch = only(&bytes);
    assert_eq!((batch.base_offset, batch.last_offset), (100, 109));
    assert_eq!(records(&batch)[0].offset, 101);

    let nothing = edited(&whole.slice(..61), |header| {
        header.length = 49;
        header.count = 0;
    });
    assert!(records(&only(&nothing)).is_empty());
}

#[test]
fn a_cut_last_batch_ends_quietly() {
    let bytes = joined(&[at(&finished(&["a"]), 5), at(&finished(&["b"]), 6)]);
    let half = bytes.len() / 2;
    for end in half..bytes.len() {
        let mut batches = read_batches(&bytes.slice(..end));
        assert_eq!(batches.next().expect("one").expect("sound").base_offset, 5);
        assert!(batches.next().is_none());
        assert_eq!(batches.rest(), end - half);
    }
}

#[test]
fn a_damaged_batch_is_named_and_passed() {
    let parts = [at(&finished(&["a", "b", "c"]), 5), at(&finished(&["d"]), 8)];
    let good = joined(&parts);
    for place in 16..parts[0].len() {
        let mut bytes = good.to_vec();
        bytes[place] ^= 0x55;
        let mut batches = read_batches(&bytes.into());
        let error = batches.next().expect("one").expect_err("damaged");
        assert_eq!(error.base_offset, 5);
        assert!((5..=7).contains(&error.last_offset), "{error}");
        assert_eq!(batches.next().expect("another").expect("sound").base_offset, 8);
    }
}

#[test]
fn an_unchecked_batch_is_read_as_it_is() {
    let mut bytes = finished(&["a"]).to_vec();
    bytes[18] ^= 1;
    let bytes = Bytes::from(bytes);
    assert!(read_batches(&bytes).next().expect("one").is_err());
    assert!(read_batches(&bytes).unchecked().next().expect("one").is_ok());
}

#[test]
fn nothing_follows_an_impossible_length() {
    for length in [i32::MIN, -1, 0, 4, 48] {
        let mut bytes = joined(&[finished(&["a"]), finished(&["b"])]).to_vec();
        bytes[8..12].copy_from_slice(&length.to_be_bytes());
        let mut batches = read_batches(&bytes.into());
        let error = batches.next().expect("one").expect_err("no batch");
        assert_eq!(error.defect, Defect::Length(length));
        assert!(batches.next().is_none());
    }
}

#[test]
fn old_formats_are_named() {
    for magic in [0_u8, 1, 3] {
        let mut bytes = joined(&[finished(&["a"]), finished(&["b"])]).to_vec();
        bytes[16] = magic;
        let mut batches = read_batches(&bytes.into());
        let error = batches.next().expect("one").expect_err("old");
        assert_eq!(error.defect, Defect::Magic(magic.cast_signed()));
        assert!(batches.next().expect("another").is_ok());
    }
}

#[test]
fn contradictions_in_the_header_are_defects() {
    let good = finished(&["a", "b"]);
    let defect = |edit: fn(&mut Layout)| {
        let batch = read_batches(&edited(&good, edit)).next().expect("one")?;
        batch.records(LIMIT)?.collect::<Result<Vec<_>, _>>()
    };
    let reason = |edit| defect(edit).expect_err("wrong").defect.to_string();
    assert_eq!(defect(|_| {}).expect("right").len(), 2);
    assert!(reason(|header| header.last_offset_delta = -1).contains("negative offset"));
    assert!(reason(|header| header.base_offset = i64::MAX).contains("64 bits"));
    assert!(reason(|header| header.count = -1).contains("negative number"));
    assert!(reason(|header| header.count = 1).contains("more than the header says"));
    assert!(reason(|header| header.count = i32::MAX).contains("ends before"));
    assert!(reason(|header| header.last_offset_delta = 0).contains("in its place"));
    assert!(reason(|header| header.attributes = 7).contains("codec 7"));
    assert!(reason(|header| header.attributes = 4).contains("zstd data"));
}

#[test]
fn headers_that_are_claimed_are_not_allocated() {
    let body = [&[0_u8, 0, 0, 1, 1][..], &[0xfe, 0xff, 0xff, 0xff, 0x0f]].concat();
    let record = [&[u8::try_from(body.len() * 2).expect("short")], &body[..]].concat();
    let bytes = [&finished(&["a"])[..61], &record[..]].concat().into();
    let bytes = edited(&bytes, |header| header.length = i32::try_from(49 + record.len()).expect("short"));
    let error = only(&bytes).records(LIMIT).expect("plain").next().expect("one").expect_err("too many");
    assert!(error.to_string().contains("more headers"), "{error}");
}

#[test]
fn the_memory_of_headers_counts() {
    let mut batch = BatchWriter::with_capacity(0);
    batch.append(0, None, None, &vec![Header::null(""); 100_000]).expect("room");
    let batch = only(&batch.finish(Compression::None, None, Stamp::NONE).expect("records"));
    let error = batch.records(LIMIT).expect("plain").next().expect("one").expect_err("6 MB");
    assert_eq!(error.defect, Defect::TooLarge { limit: LIMIT });
    assert!(batch.records(8 * LIMIT).expect("plain").next().expect("one").is_ok());
}

#[test]
fn another_stamp_changes_nothing_else() {
    let stamp = Stamp { producer_id: 1 << 40, epoch: 3, sequence: 99, transactional: true };
    for codec in Compression::ALL {
        let values = ["the same again and again, and again, and the same again and again"; 20];
        let plain = writer(&values).finish(codec, None, Stamp::NONE).expect("records");
        let stamped = writer(&values).finish(codec, None, stamp).expect("records");
        let address = plain.as_ptr();
        let patched = restamp(plain.clone(), stamp).expect("a batch");
        assert_eq!(patched, stamped);
        assert_ne!(patched.as_ptr(), address, "someone else still has it");
        let back = restamp(patched, Stamp::NONE).expect("a batch");
        assert_eq!(back, plain);
        drop(plain);
        let address = back.as_ptr();
        assert_eq!(restamp(back, stamp).expect("a batch").as_ptr(), address, "in place");
        let batch = only(&stamped);
        assert_eq!(batch.compression(), Some(codec));
        assert!(batch.is_transactional());
        assert_eq!((batch.producer_id, batch.producer_epoch, batch.base_sequence), (1 << 40, 3, 99));
    }
}

fn transactional(base_offset: i64, producer_id: i64) -> Bytes {
    let stamp = Stamp { producer_id, epoch: 0, sequence: 0, transactional: true };
    at(&restamp(finished(&["data"]), stamp).expect("a batch"), base_offset)
}

fn marker(base_offset: i64, producer_id: i64, kind: u8) -> Bytes {
    let mut batch = BatchWriter::with_capacity(0);
    batch.append(0, Some(&[0, 0, 0, kind]), Some(&[0; 6]), &[]).expect("room");
    let stamp = Stamp { producer_id, epoch: 0, sequence: -1, transactional: true };
    let batch = batch.finish(Compression::None, None, stamp).expect("records");
    edited(&at(&batch, base_offset), |header| header.attributes |= CONTROL)
}

fn verdicts(filter: &mut AbortedFilter, batches: &[Bytes]) -> Vec<Verdict> {
    let all = joined(batches);
    read_batches(&all).map(|batch| filter.judge(&batch.expect("sound")).expect("sound")).collect()
}

#[test]
fn aborted_transactions_are_kept_back_and_no_others() {
    use Verdict::{Aborted, Control, Deliver};
    let log = [
        transactional(0, 7), // aborted
        transactional(1, 8), // committed
        at(&finished(&["plain"]), 2),
        marker(3, 7, 0),
        transactional(4, 7), // committed
        marker(5, 8, 1),
        transactional(6, 9), // aborted
        marker(7, 7, 1),
        transactional(8, 7), // aborted
        marker(9, 9, 0),
        marker(10, 7, 0),
        marker(11, 7, 2),
    ];
    assert_eq!(
        verdicts(&mut AbortedFilter::committed([(9, 6), (7, 8), (7, 0)]), &log),
        [Aborted, Deliver, Deliver, Control, Deliver, Control, Aborted, Control, Aborted, Control, Control, Control]
    );
    let uncommitted = verdicts(&mut AbortedFilter::uncommitted(), &log);
    assert!(uncommitted.iter().zip(&log).all(|(verdict, bytes)| match only(bytes).is_control() {
        true => *verdict == Control,
        false => *verdict == Deliver,
    }));
}

#[test]
fn a_fetch_from_the_middle_of_an_aborted_transaction() {
    use Verdict::{Aborted, Control, Deliver};
    let log = [transactional(50, 7), marker(51, 7, 0), transactional(52, 7)];
    assert_eq!(verdicts(&mut AbortedFilter::committed([(7, 3)]), &log), [Aborted, Control, Deliver]);
}

#[test]
fn a_marker_that_can_t_be_read_is_an_error() {
    assert_eq!(only(&marker(0, 7, 9)).marker(), Ok(None), "a type to come");
    let mut batch = BatchWriter::with_capacity(0);
    batch.append(0, Some(b"x"), None, &[]).expect("room");
    let bytes = batch.finish(Compression::None, None, Stamp::NONE).expect("records");
    let bytes = edited(&bytes, |header| header.attributes |= CONTROL);
    assert!(AbortedFilter::uncommitted().judge(&only(&bytes)).is_err());
}

fn any_bytes() -> impl Strategy<Value = Option<Bytes>> {
    proptest::option::of(proptest::collection::vec(any::<u8>(), 0..200).prop_map(Bytes::from))
}

fn any_record() -> impl Strategy<Value = Record> {
    let header = (any_bytes(), any_bytes()).prop_map(|(name, value)| Header { name: name.unwrap_or_default(), value });
    let headers = proptest::collection::vec(header, 0..5);
    (any::<i64>(), any_bytes(), any_bytes(), headers).prop_map(|(timestamp_ms, key, value, headers)| Record {
        offset: 0,
        timestamp_ms,
        key,
        value,
        headers,
    })
}

proptest! {
    #[test]
    fn round_trip(
        given in proptest::collection::vec(any_record(), 1..40),
        codec in 0..5_usize,
        base_offset in 0..i64::MAX - 50,
        stamp in (any::<i64>(), any::<i16>(), any::<i32>(), any::<bool>()),
    ) {
        let stamp = Stamp { producer_id: stamp.0, epoch: stamp.1, sequence: stamp.2, transactional: stamp.3 };
        let mut batch = BatchWriter::with_capacity(0);
        for record in &given {
            batch.append(record.timestamp_ms, record.key.as_deref(), record.value.as_deref(), &record.headers).expect("room");
        }
        let bytes = at(&batch.finish(Compression::ALL[codec], None, stamp).expect("records"), base_offset);
        let batch = only(&bytes);
        let read = records(&batch);
        prop_assert_eq!(batch.is_transactional(), stamp.transactional);
        prop_assert_eq!((batch.producer_id, batch.producer_epoch, batch.base_sequence), (stamp.producer_id, stamp.epoch, stamp.sequence));
        prop_assert_eq!(batch.last_offset, base_offset + i64::try_from(given.len()).expect("few") - 1);
        for ((mut record, read), offset) in given.into_iter().zip(read).zip(base_offset..) {
            record.offset = offset;
            prop_assert_eq!(record, read);
        }
    }

    #[test]
    fn any_bytes_behind_a_header(body: Vec<u8>, count in 0..20_i32, codec in 0..5_i16) {
        let bytes = [&finished(&["a"])[..61], &body[..]].concat().into();
        let bytes = edited(&bytes, |header| {
            header.length = i32::try_from(49 + body.len()).expect("short");
            (header.count, header.last_offset_delta, header.attributes) = (count, count, codec);
        });
        if let Ok(records) = only(&bytes).records(LIMIT) {
            prop_assert!(records.take(100).count() < 22);
        }
    }

    #[test]
    fn any_bytes_at_all(bytes: Vec<u8>) {
        prop_assert!(read_batches(&bytes.into()).count() <= 200);
    }
}
