//! Records and what was passed over, in the client's words and in the transport's.

use std::sync::Arc;

use bytes::Bytes;

use crate::kafka::record::Header;
use crate::kafka::{self, ProducerRecord};
use crate::transport::{Outgoing, Record, Skipped};

pub(super) fn received(topic: &Arc<str>, partition: i32, record: kafka::record::Record) -> Record {
    let bytes = |bytes: Bytes| bytes.to_vec();
    let header = |header: Header| (String::from_utf8_lossy(&header.name).into_owned(), header.value.map(bytes));
    Record {
        topic: topic.clone(),
        partition,
        offset: record.offset,
        timestamp_ms: record.timestamp_ms,
        key: record.key.map(bytes),
        value: record.value.map(bytes),
        headers: record.headers.into_iter().map(header).collect(),
    }
}

pub(super) fn to_send(topic: &Arc<str>, partition: i32, record: Outgoing) -> ProducerRecord {
    let Outgoing { key, value, headers, timestamp_ms } = record;
    let header = |(name, value): (String, Option<Vec<u8>>)| Header { name: name.into(), value: value.map(Bytes::from) };
    ProducerRecord {
        topic: topic.clone(),
        partition: Some(partition),
        key: key.map(Bytes::from),
        value: value.map(Bytes::from),
        headers: headers.into_iter().map(header).collect(),
        timestamp_ms: Some(timestamp_ms),
    }
}

/// Each offset of what was passed over. A broken batch may claim any number of them; the last one that is listed then
/// says so.
pub(super) fn each(skipped: &kafka::Skipped) -> impl Iterator<Item = Skipped> + use<> {
    let kafka::Skipped { first, last, reason } = skipped.clone();
    let listed = last.min(first.saturating_add(MOST_LISTED));
    (first..=listed).map(move |offset| {
        let more = (offset == listed && listed < last).then(|| format!(" (and all up to offset {last})"));
        Skipped { offset, reason: format!("{reason}{}", more.unwrap_or_default()) }
    })
}

/// So many offsets of one broken batch are listed.
const MOST_LISTED: i64 = 10_000;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_passed_over_is_listed_up_to_a_bound() {
        let skipped = |first, last| kafka::Skipped { first, last, reason: "bad".to_owned() };
        let few: Vec<_> = each(&skipped(3, 4)).collect();
        assert_eq!(few, [Skipped { offset: 3, reason: "bad".into() }, Skipped { offset: 4, reason: "bad".into() }]);
        let many: Vec<_> = each(&skipped(0, i64::MAX)).collect();
        assert_eq!(many.len(), 10_001);
        assert!(many[10_000].reason.ends_with("up to offset 9223372036854775807)"));
    }
}
