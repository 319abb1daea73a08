//! Records as lines of text, as `tests/peer/records.py` and `Records.java` print what they read.

use bytes::Bytes;
use kafkacrypto::kafka::record::{Record, TimestampType};
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
