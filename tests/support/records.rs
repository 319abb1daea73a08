//! Records as lines of text, as `tests/peer/records.py` and `Records.java` take and print them.
#![allow(dead_code, reason = "each test file uses its own part of this")]

use bytes::Bytes;
use kafkacrypto::kafka::ProducerRecord;
use kafkacrypto::kafka::record::{Header, Record, TimestampType};
use sha2::{Digest as _, Sha256};

/// `OFFSET create|append TIME KEY VALUE HEADERS`.
pub fn line(record: &Record, kind: TimestampType) -> String {
    let kind = if kind == TimestampType::LogAppend { "append" } else { "create" };
    let Record { offset, timestamp_ms, key, value, headers } = record;
    let header = |name: &Bytes, value: &Option<Bytes>| format!("{}={}", bytes(Some(name)), bytes(value.as_ref()));
    let headers: Vec<_> = headers.iter().map(|one| header(&one.name, &one.value)).collect();
    let headers = if headers.is_empty() { ".".to_owned() } else { headers.join(",") };
    format!("{offset} {kind} {timestamp_ms} {} {} {headers}", bytes(key.as_ref()), bytes(value.as_ref()))
}

/// `-` for null, `x` and hex, or `#LENGTH:SHA256` of what is long.
fn bytes(data: Option<&Bytes>) -> String {
    match data {
        None => "-".to_owned(),
        Some(data) if data.len() > 256 => format!("#{}:{}", data.len(), hex::encode(Sha256::digest(data))),
        Some(data) => format!("x{}", hex::encode(data)),
    }
}

/// `TIME|- KEY VALUE HEADERS`, to be sent.
pub fn parse(topic: &str, line: &str) -> ProducerRecord {
    let words: Vec<_> = line.split_whitespace().collect();
    let mut record = ProducerRecord::null(topic);
    record.timestamp_ms = words[0].parse().ok();
    record.key = parsed(words[1]);
    record.value = parsed(words[2]);
    for header in words[3].split(',').filter(|header| *header != ".") {
        let (name, value) = header.split_once('=').expect("NAME=VALUE");
        record.headers.push(Header { name: parsed(name).expect("a name"), value: parsed(value) });
    }
    record
}

/// A record that was sent, as it should be read.
pub fn read(sent: ProducerRecord, offset: i64, timestamp_ms: i64) -> Record {
    let ProducerRecord { key, value, headers, .. } = sent;
    Record { offset, timestamp_ms, key, value, headers }
}

fn parsed(text: &str) -> Option<Bytes> {
    let text = text.strip_prefix('x')?;
    let (once, times) = text.split_once('*').unwrap_or((text, "1"));
    Some(hex::decode(once).expect("hex").repeat(times.parse().expect("a number")).into())
}
