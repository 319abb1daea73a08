//! The Reader over a core that is fed by hand: without a runtime, nothing is sent.

use std::sync::Arc;

use bytes::Bytes;

use super::super::core::{Action, AskId, Leaders, Named, Reply, ReplyPart, Turn};
use super::super::{Isolation, Reset};
use super::*;
use crate::kafka::Config;
use crate::kafka::record::{BatchWriter, Compression, Stamp};

/// A Reader of partition 0 of `t`, from `offset` on, and the request that is out for it.
struct Fed {
    reader: Reader,
    asks: Vec<(AskId, i32)>,
}

fn fed(config: ReaderConfig, offset: i64) -> Fed {
    let client = Client::new(Config::new(["nowhere.example"])).unwrap();
    let mut fed = Fed { reader: Reader::new(&client, config), asks: Vec::new() };
    fed.reader.assign(&[(TopicPartition::new("t", 0), Start::Offset(offset))]);
    fed.turn();
    let now = Duration::ZERO;
    fed.reader.hub.with(|core| core.found(now, &Arc::from("t"), Ok(Some(Leaders::of(7, &[(1, 0)])))));
    fed.turn();
    fed
}

impl Fed {
    fn turn(&mut self) {
        let Turn { actions, .. } = self.reader.hub.with(|core| core.turn(Duration::from_secs(1)));
        for action in actions {
            if let Action::Ask(id, ask) = action {
                self.asks.push((id, ask.send.first().map_or(-1, |(_, sent)| i32::try_from(sent.offset).unwrap())));
            }
        }
    }

    /// Answers what is out with these bytes.
    fn answer(&mut self, records: impl Into<Bytes>, aborted: Vec<(i64, i64)>) {
        let (id, _) = self.asks.pop().expect("a request is out");
        let part = ReplyPart {
            topic: Named::Id(7),
            partition: 0,
            error: 0,
            high_watermark: 100,
            stable: 90,
            diverging: None,
            leader: None,
            replica: None,
            aborted,
            records: records.into(),
        };
        let reply = Reply { session: 1, parts: vec![part], ..Reply::default() };
        self.reader.hub.with(|core| core.answer(Duration::from_secs(1), id, Ok(reply)));
        self.turn();
    }

    fn collect(&mut self, most: Most) -> Vec<Fetched> {
        let fetched = self.reader.collect(most);
        self.turn();
        fetched
    }

    fn buffered(&self) -> usize {
        self.reader.hub.with(|core| core.buffered())
    }
}

/// Records `first..=last`, in one batch.
pub(in crate::kafka::fetch) fn batch(first: i64, last: i64, stamp: Stamp) -> Vec<u8> {
    let mut writer = BatchWriter::with_capacity(1000);
    for offset in first..=last {
        writer.append(offset, None, Some(&[b'v'; 9]), &[]).unwrap();
    }
    let mut bytes = writer.finish(Compression::None, None, stamp).unwrap().to_vec();
    bytes[..8].copy_from_slice(&first.to_be_bytes());
    bytes
}

fn offsets(fetched: &Fetched) -> Vec<i64> {
    fetched.records.iter().map(|record| record.offset).collect()
}

#[test]
fn a_batch_is_handed_out_piece_by_piece_and_then_released() {
    let mut fed = fed(ReaderConfig::default(), 2);
    fed.answer([batch(0, 4, Stamp::NONE), batch(5, 9, Stamp::NONE)].concat(), vec![]);
    assert!(fed.buffered() > 0);
    let first = fed.collect(Most::records(2));
    assert_eq!((offsets(&first[0]), first[0].next, first[0].end), (vec![2, 3], 4, 90));
    let each = fed.collect(Most::default().bytes_each(1));
    assert_eq!(offsets(&each[0]), [4], "one record, however big");
    let rest = fed.collect(Most::default());
    assert_eq!((offsets(&rest[0]), rest[0].next), ((5..10).collect(), 10));
    assert_eq!(fed.buffered(), 0);
    assert!(fed.collect(Most::default()).is_empty());
    assert_eq!(fed.reader.standing(&TopicPartition::new("t", 0)).unwrap().next, Some(10));
}

#[test]
fn an_assignment_that_changes_nothing_keeps_what_was_read_ahead() {
    let mut fed = fed(ReaderConfig::default(), 0);
    fed.answer(batch(0, 9, Stamp::NONE), vec![]);
    let partition = TopicPartition::new("t", 0);
    fed.collect(Most::records(3));
    fed.reader.assign(&[(partition.clone(), Start::Offset(3))]);
    assert_eq!(offsets(&fed.collect(Most::records(3))[0]), [3, 4, 5]);
    // From another offset it is asked for again.
    fed.reader.assign(&[(partition.clone(), Start::Offset(1))]);
    assert!(fed.reader.collect(Most::default()).is_empty());
    assert_eq!(fed.buffered(), 0);
    fed.reader.assign(&[]);
    assert_eq!(fed.reader.standing(&partition), None);
}

#[test]
fn aborted_records_move_the_offset_and_are_not_seen() {
    let aborted = Stamp { producer_id: 5, epoch: 0, sequence: 0, transactional: true };
    let bytes = [batch(0, 3, aborted), batch(4, 5, Stamp::NONE)].concat();
    let mut committed = fed(ReaderConfig::default(), 0);
    committed.answer(bytes.clone(), vec![(5, 0)]);
    let fetched = committed.collect(Most::default());
    assert_eq!((offsets(&fetched[0]), fetched[0].next), (vec![4, 5], 6));
    let mut all = fed(ReaderConfig::default().isolation(Isolation::Uncommitted), 0);
    all.answer(bytes, vec![]);
    let fetched = all.collect(Most::default());
    assert_eq!((offsets(&fetched[0]).len(), fetched[0].end), (6, 100));
    let mut only = fed(ReaderConfig::default(), 0);
    only.answer(batch(0, 3, aborted), vec![(5, 0)]);
    let fetched = only.collect(Most::default());
    assert_eq!((offsets(&fetched[0]).len(), fetched[0].next), (0, 4), "an offset that moved is said");
}

/// The second of three batches is damaged.
fn damaged() -> Vec<u8> {
    let mut bad = batch(5, 9, Stamp::NONE);
    *bad.last_mut().unwrap() ^= 1;
    [batch(0, 4, Stamp::NONE), bad, batch(10, 14, Stamp::NONE)].concat()
}

#[test]
fn a_damaged_batch_is_asked_for_once_more() {
    let mut fed = fed(ReaderConfig::default(), 0);
    fed.answer(damaged(), vec![]);
    fed.asks.clear(); // what was read ahead behind it
    let first = fed.collect(Most::default());
    assert_eq!((offsets(&first[0]), first[0].next), ((0..5).collect(), 5));
    assert!(first[0].error.is_none() && first[0].skipped.is_empty());
    assert_eq!(fed.buffered(), 0);
    assert_eq!(fed.asks.last().map(|(_, offset)| *offset), Some(5), "the same again");
    fed.answer([batch(5, 9, Stamp::NONE), batch(10, 14, Stamp::NONE)].concat(), vec![]);
    assert_eq!(offsets(&fed.collect(Most::default())[0]), (5..15).collect::<Vec<_>>(), "it was damaged on the way");
}

#[test]
fn a_batch_that_stays_damaged_is_stopped_at_or_skipped() {
    for corrupt in [Corrupt::Stop, Corrupt::Skip] {
        let mut fed = fed(ReaderConfig::default().corrupt(corrupt), 0);
        fed.answer(damaged(), vec![]);
        fed.asks.clear();
        fed.collect(Most::default());
        fed.answer(damaged(), vec![]);
        fed.asks.clear();
        let fetched = fed.collect(Most::default()).remove(0);
        if corrupt == Corrupt::Stop {
            let Some(FetchError::Corrupt { partition, offset: 5, reason }) = fetched.error else {
                panic!("{fetched:?}")
            };
            assert_eq!(partition, TopicPartition::new("t", 0));
            assert!(reason.contains("checksum"), "{reason}");
            assert!(fed.asks.is_empty() && fed.reader.standing(&partition).unwrap().stopped);
            fed.reader.assign(&[(partition, Start::Offset(5))]);
            fed.turn();
            assert_eq!(fed.asks.len(), 1, "assigned again, it starts again");
        } else {
            assert_eq!((fetched.skipped[0].first, fetched.skipped[0].last, fetched.next), (5, 9, 10));
            fed.answer(batch(10, 14, Stamp::NONE), vec![]);
            assert_eq!(offsets(&fed.collect(Most::default())[0]), (10..15).collect::<Vec<_>>());
        }
    }
}

#[test]
fn bytes_that_are_no_batch_end_in_an_error_and_not_in_a_loop() {
    let mut fed = fed(ReaderConfig::default().reset(Reset::Earliest), 3);
    for bytes in [vec![0; 30], vec![255; 200]] {
        let mut error = None;
        for _ in 0..4 {
            if fed.asks.is_empty() {
                break;
            }
            fed.answer(bytes.clone(), vec![]);
            error = fed.collect(Most::default()).pop().and_then(|fetched| fetched.error).or(error);
        }
        assert!(matches!(error, Some(FetchError::Corrupt { offset: 3, .. })), "{error:?}");
        fed.reader.assign(&[(TopicPartition::new("t", 0), Start::Offset(3))]);
        fed.turn();
    }
}

/// Five records of 10 kB each from `first` on, compressed.
fn large(codec: Compression, first: i64) -> Vec<u8> {
    let digits = |seed: i64| (0..10_000).map(|at| b'0' + ((seed + at) * 7_919 % 1_009 % 10) as u8).collect::<Vec<_>>();
    let mut writer = BatchWriter::with_capacity(60_000);
    for offset in first..first + 5 {
        writer.append(offset, None, Some(&digits(offset * 13)), &[]).unwrap();
    }
    let mut bytes = writer.finish(codec, None, Stamp::NONE).unwrap().to_vec();
    bytes[..8].copy_from_slice(&first.to_be_bytes());
    bytes
}

#[test]
fn what_other_threads_decompress_is_handed_out_the_same() {
    let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
    for codec in Compression::ALL {
        for damaged in [false, true] {
            let mut batches: Vec<_> = (0..20).map(|number| large(codec, number * 5)).collect();
            if damaged {
                let bytes = &mut batches[13];
                let middle = bytes.len() / 2;
                bytes[middle..].fill(0xff);
                let sum = crc32c::crc32c(&bytes[21..]);
                bytes[17..21].copy_from_slice(&sum.to_be_bytes());
            }
            let read = |ahead: bool| {
                let mut fed = fed(ReaderConfig::default(), 3);
                fed.answer(batches.concat(), vec![]);
                let mut records = Vec::new();
                for most in (1..).step_by(3) {
                    let inside = (ahead && most == 1).then(|| runtime.enter());
                    let fetched = fed.collect(Most::records(most));
                    drop(inside);
                    let Some(fetched) = fetched.into_iter().next() else { break };
                    records.extend(fetched.records);
                }
                assert_eq!(fed.buffered(), 0);
                (records, fed.asks.last().map(|(_, offset)| *offset))
            };
            let (records, again) = read(true);
            assert_eq!((&records, again), (&read(false).0, read(false).1));
            let offsets: Vec<_> = records.iter().map(|record| record.offset).collect();
            let end = if damaged { again.map_or(0, i64::from) } else { 100 };
            assert_eq!(offsets, (3..end).collect::<Vec<_>>());
            assert!(!damaged || (65..70).contains(&end), "{codec}: {end}");
        }
    }
}

#[test]
fn what_is_being_decompressed_can_be_left() {
    let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
    let mut fed = fed(ReaderConfig::default(), 0);
    let partition = TopicPartition::new("t", 0);
    for start in [40, 0, 90, 20] {
        fed.answer((0..20).flat_map(|number| large(Compression::Zstd, number * 5)).collect::<Vec<_>>(), vec![]);
        let inside = runtime.enter();
        fed.collect(Most::records(1));
        drop(inside);
        fed.asks.clear();
        fed.reader.seek(&partition, Start::Offset(start));
        assert!(fed.collect(Most::default()).is_empty());
        assert_eq!(fed.buffered(), 0);
    }
    fed.answer((4..20).flat_map(|number| large(Compression::Zstd, number * 5)).collect::<Vec<_>>(), vec![]);
    assert_eq!(offsets(&fed.collect(Most::default())[0]), (20..100).collect::<Vec<_>>());
}
