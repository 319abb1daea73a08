//! Logs that librdkafka, kafka-python and Java filled, and what librdkafka and kafka-python read out of them: every row
//! of `batches.jsonl`.
#![cfg(feature = "kafka")]

#[path = "support/records.rs"]
mod records;

use std::collections::{BTreeSet, HashMap};
use std::path::{Path, PathBuf};

use bytes::Bytes;
use kafkacrypto::kafka::record::{
    AbortedFilter, Batch, Compression, DECOMPRESSED_LIMIT, Marker, TimestampType, Verdict, read_batches,
};
use serde::Deserialize;

#[derive(Deserialize)]
struct Row {
    writer: String,
    codec: String,
    shape: String,
    log: String,
    committed: Vec<String>,
    uncommitted: Vec<String>,
}

#[test]
fn vectors_batches() {
    let rows = rows();
    for row in &rows {
        let what = format!("{} {} {}", row.writer, row.codec, row.shape);
        let batches = batches(row);
        assert_eq!(read(&batches, AbortedFilter::uncommitted()), row.uncommitted, "{what}");
        assert_eq!(read(&batches, AbortedFilter::committed(aborted(&batches))), row.committed, "{what}");
        assert_eq!(row.shape == "transactions", row.committed != row.uncommitted, "{what}");
    }
    let writers: BTreeSet<_> = rows.iter().map(|row| row.writer.as_str()).collect();
    assert_eq!(writers.into_iter().collect::<Vec<_>>(), ["confluent", "java", "kafka-python"]);
}

/// The vectors hold what they are there for.
#[test]
fn every_form_of_a_batch_is_there() {
    let rows = rows();
    let mut seen = BTreeSet::new();
    for row in &rows {
        for batch in batches(row) {
            let codec = batch.compression().expect("a codec");
            seen.insert(format!("{} {codec}", row.writer));
            let forms = [
                (batch.is_control(), "control"),
                (batch.is_transactional(), "transactional"),
                (batch.producer_id >= 0 && !batch.is_transactional(), "idempotent"),
                (batch.timestamp_type() == TimestampType::LogAppend, "append time"),
                (batch.delete_horizon_ms().is_some(), "delete horizon"),
                (batch.count == 0, "empty"),
                (i64::from(batch.count) <= batch.last_offset - batch.base_offset && batch.count > 0, "gaps"),
            ];
            seen.extend(forms.into_iter().filter(|(is, _)| *is).map(|(_, name)| name.to_owned()));
        }
    }
    for codec in Compression::ALL {
        for writer in ["confluent", "java", "kafka-python"] {
            assert!(seen.contains(&format!("{writer} {codec}")), "{writer} {codec}");
        }
    }
    for form in ["control", "transactional", "idempotent", "append time", "delete horizon", "gaps"] {
        assert!(seen.contains(form), "{form} in {seen:?}");
    }
}

/// Every cut of a log gives the batches before the cut, and no error.
#[test]
fn logs_cut_anywhere() {
    for row in rows() {
        let log = log(&row);
        let ends = ends(&log);
        for cut in (0..log.len()).step_by(7) {
            let found: Vec<_> = read_batches(&log.slice(..cut)).collect();
            assert!(found.iter().all(Result::is_ok), "no damage");
            assert_eq!(found.len(), ends.iter().filter(|end| **end <= cut).count());
        }
    }
}

/// Every byte of a log damaged: its batch is named, or (base offset and leader epoch, which no checksum covers) read;
/// the others are as they were.
#[test]
fn logs_damaged_anywhere() {
    for row in rows() {
        let log = log(&row);
        let ends = ends(&log);
        for place in (0..log.len()).step_by(11) {
            let mut bytes = log.to_vec();
            bytes[place] ^= 0x81;
            let which = ends.iter().filter(|end| **end <= place).count();
            let start = if which == 0 { 0 } else { ends[which - 1] };
            let found: Vec<_> = read_batches(&bytes.into()).collect();
            assert!(found.iter().take(which).all(Result::is_ok));
            if place - start >= 16 {
                assert!(found[which].is_err(), "{place}");
                assert!(found.iter().skip(which + 1).all(Result::is_ok));
                assert_eq!(found.len(), ends.len());
            }
        }
    }
}

fn rows() -> Vec<Row> {
    let text = std::fs::read_to_string(folder().join("batches.jsonl")).expect("batches.jsonl");
    text.lines().map(|line| serde_json::from_str(line).expect("a row")).collect()
}

fn folder() -> PathBuf {
    std::env::var_os("KAFKACRYPTO_VECTORS")
        .map_or_else(|| Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/vectors"), PathBuf::from)
}

fn log(row: &Row) -> Bytes {
    hex::decode(&row.log).expect("hex").into()
}

fn batches(row: &Row) -> Vec<Batch> {
    let log = log(row);
    let mut batches = read_batches(&log);
    let all = batches.by_ref().collect::<Result<Vec<_>, _>>().expect("sound");
    assert_eq!(batches.rest(), 0);
    all
}

fn ends(log: &Bytes) -> Vec<usize> {
    let mut batches = read_batches(log);
    let mut ends = Vec::new();
    while batches.next().is_some() {
        ends.push(log.len() - batches.rest());
    }
    ends
}

/// (producer, first offset) of the transactions that end in an abort, as a broker would list them.
fn aborted(batches: &[Batch]) -> Vec<(i64, i64)> {
    let mut open = HashMap::new();
    let mut aborted = Vec::new();
    for batch in batches.iter().filter(|batch| batch.is_transactional()) {
        match batch.marker().expect("sound") {
            None => drop(open.entry(batch.producer_id).or_insert(batch.base_offset)),
            Some(marker) => {
                let first = open.remove(&batch.producer_id);
                aborted.extend(first.filter(|_| marker == Marker::Abort).map(|first| (batch.producer_id, first)));
            }
        }
    }
    aborted
}

fn read(batches: &[Batch], mut filter: AbortedFilter) -> Vec<String> {
    let mut lines = Vec::new();
    for batch in batches {
        if filter.judge(batch).expect("sound") == Verdict::Deliver {
            let records = batch.records(DECOMPRESSED_LIMIT).expect("sound");
            lines.extend(records.map(|record| records::line(&record.expect("sound"), batch.timestamp_type())));
        }
    }
    lines
}
