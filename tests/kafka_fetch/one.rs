//! One broker.

use std::time::{Duration, Instant};

use kafkacrypto::kafka::{
    FetchError, Isolation, Most, OffsetAt, Reader, ReaderConfig, Reset, SharedReader, Start, TopicPartition,
};
use serde_json::json;

use crate::writer::Writer;
use crate::{LONG, Seen, client, from_start, read, read_until, reader, runtime, support};

/// A broker, a writer, and a topic's name that is new.
fn setup(name: &str) -> Option<(String, Writer, String)> {
    let bootstrap = support::bootstrap()?;
    let writer = Writer::start(&bootstrap)?;
    Some((bootstrap, writer, support::fresh(name)))
}

#[test]
fn every_record_of_many_partitions() {
    let Some((bootstrap, mut writer, topic)) = setup("many") else { return };
    writer.create(&topic, 6);
    for partition in 0..6 {
        writer.produce(&topic, partition, 0, 2000);
    }
    runtime().block_on(async {
        let client = client(&bootstrap);
        let seen = read(&mut reader(&client, ReaderConfig::default(), &topic, 6), 12_000).await;
        assert!(seen.numbers.values().all(|numbers| numbers.iter().copied().eq(0..2000)));
        assert!(seen.errors.is_empty());
        client.close().await;
    });
}

#[test]
fn every_codec_with_headers() {
    let Some((bootstrap, mut writer, topic)) = setup("codecs") else { return };
    writer.create(&topic, 1);
    let codecs = ["none", "gzip", "snappy", "lz4", "zstd"];
    for (n, codec) in codecs.iter().enumerate() {
        let (first, settings) = (n * 500, json!({"compression.type": codec}));
        let headers = json!([["a", "1"], ["b", null], ["a", "2"]]);
        let request = json!({"topic": topic, "first": first, "count": 500, "size": 300, "settings": settings,
            "headers": headers, "timestamp": 1_700_000_000_123i64});
        writer.ask("produce", request);
    }
    runtime().block_on(async {
        let client = client(&bootstrap);
        let seen = read(&mut reader(&client, ReaderConfig::default(), &topic, 1), 2500).await;
        assert!(seen.numbers[&0].iter().copied().eq(0..2500));
        for record in seen.headers() {
            let headers: Vec<_> = record.headers.iter().map(|h| (h.name.as_ref(), h.value.as_deref())).collect();
            assert_eq!(headers, [(&b"a"[..], Some(&b"1"[..])), (b"b", None), (b"a", Some(b"2"))]);
            assert_eq!(record.timestamp_ms, 1_700_000_000_123);
        }
    });
}

#[test]
fn what_is_decompressed_ahead_comes_in_order_however_it_is_asked_for() {
    let Some((bootstrap, mut writer, topic)) = setup("ahead") else { return };
    writer.create(&topic, 2);
    let codecs = ["zstd", "gzip", "none", "lz4", "snappy"];
    for (n, codec) in codecs.iter().enumerate() {
        for partition in 0..2 {
            let settings = json!({"compression.type": codec, "batch.size": 60_000});
            let request = json!({"topic": topic, "partition": partition, "first": n * 10_000, "count": 10_000,
                "settings": settings});
            writer.ask("produce", request);
        }
    }
    let alone = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    for runtime in [runtime(), alone] {
        runtime.block_on(async {
            let client = client(&bootstrap);
            let mut reader = reader(&client, ReaderConfig::default(), &topic, 2);
            let partitions = [0, 1].map(|n| TopicPartition::new(&*topic, n));
            let (started, mut seen) = (Instant::now(), Seen::default());
            for turn in 0.. {
                let next = reader.next(Most::records(1 + turn % 7 * 200), LONG);
                // Some are dropped after a moment.
                let within = if turn % 3 == 0 { LONG } else { Duration::from_micros(200) };
                let fetched = tokio::time::timeout(within, next).await.unwrap_or_default();
                fetched.into_iter().for_each(|fetched| seen.add(fetched));
                if seen.count() == 100_000 {
                    break;
                }
                assert!(started.elapsed() < LONG, "{} {:?}", seen.count(), seen.errors);
                match turn % 50 {
                    10 => reader.pause(&partitions[..1]),
                    13 => reader.resume(&partitions[..1]),
                    // Elsewhere and back: what was ahead is dropped.
                    30 => {
                        let Some(next) = reader.standing(&partitions[1]).and_then(|standing| standing.next) else {
                            continue;
                        };
                        reader.seek(&partitions[1], Start::Offset(0));
                        reader.seek(&partitions[1], Start::Offset(next));
                    }
                    _ => {}
                }
            }
            assert!(
                seen.numbers.values().all(|numbers| numbers.iter().copied().eq(0..50_000)) && seen.errors.is_empty()
            );
            client.close().await;
        });
    }
}

#[test]
fn the_brokers_time_under_log_append_time() {
    let Some((bootstrap, mut writer, topic)) = setup("append-time") else { return };
    writer.ask("create", json!({"topic": topic, "config": {"message.timestamp.type": "LogAppendTime"}}));
    let request = json!({"topic": topic, "count": 10, "timestamp": 1_000_000});
    writer.ask("produce", request);
    runtime().block_on(async {
        let client = client(&bootstrap);
        let seen = read(&mut reader(&client, ReaderConfig::default(), &topic, 1), 10).await;
        assert!(seen.headers().all(|record| record.timestamp_ms > 1_600_000_000_000));
    });
}

#[test]
fn aborted_records_are_never_seen_and_open_ones_wait() {
    let Some((bootstrap, mut writer, topic)) = setup("transactions") else { return };
    writer.create(&topic, 1);
    let one = json!({"transactional.id": format!("{topic}-1"), "linger.ms": 0});
    let two = json!({"transactional.id": format!("{topic}-2"), "linger.ms": 0});
    let mut put = |settings: &serde_json::Value, first: i64| {
        writer.ask("produce", json!({"topic": topic, "first": first, "count": 10, "settings": settings}));
    };
    let mut writer_two = Writer::start(&bootstrap).unwrap();
    let mut two_puts = |what: &str, first: i64| match what {
        "produce" => writer_two.ask(what, json!({"topic": topic, "first": first, "count": 10, "settings": two})),
        _ => writer_two.ask(what, json!({"settings": two})),
    };
    put(&json!({}), 0);
    // Two transactions that overlap: 100 is aborted, 200 is committed; then 300 is aborted, 400 stays open.
    two_puts("begin", 0);
    two_puts("produce", 200);
    let mut transaction = Writer::start(&bootstrap).unwrap();
    transaction.ask("begin", json!({"settings": one}));
    transaction.ask("produce", json!({"topic": topic, "first": 100, "count": 10, "settings": one}));
    two_puts("produce", 210);
    transaction.ask("abort", json!({"settings": one}));
    two_puts("commit", 0);
    put(&json!({}), 10);
    transaction.ask("begin", json!({"settings": one}));
    transaction.ask("produce", json!({"topic": topic, "first": 300, "count": 10, "settings": one}));
    transaction.ask("abort", json!({"settings": one}));
    transaction.ask("begin", json!({"settings": one}));
    transaction.ask("produce", json!({"topic": topic, "first": 400, "count": 10, "settings": one}));
    put(&json!({}), 20);
    runtime().block_on(async {
        let client = client(&bootstrap);
        let mut committed = reader(&client, ReaderConfig::default(), &topic, 1);
        let seen = read(&mut committed, 40).await;
        let expected: Vec<i64> = (0..10).chain(200..210).chain(210..220).chain(10..20).collect();
        assert_eq!(seen.numbers[&0], expected);
        let everything = ReaderConfig::default().isolation(Isolation::Uncommitted);
        let all = read(&mut reader(&client, everything, &topic, 1), 80).await;
        assert_eq!(all.count(), 80);
        let end = |isolation| {
            let partition = TopicPartition::new(&*topic, 0);
            let client = client.clone();
            async move { client.offset(&partition, OffsetAt::Latest, isolation, LONG).await.unwrap() }
        };
        assert!(end(Isolation::Committed).await < end(Isolation::Uncommitted).await);
        transaction.ask("commit", json!({"settings": one}));
        let rest = read(&mut committed, 20).await;
        assert!(rest.numbers[&0].iter().copied().eq((400..410).chain(20..30)));
        assert_eq!(
            committed.standing(&TopicPartition::new(&*topic, 0)).unwrap().next,
            Some(end(Isolation::Committed).await)
        );
    });
}

#[test]
fn a_record_bigger_than_every_limit() {
    let Some((bootstrap, mut writer, topic)) = setup("big") else { return };
    writer.ask("create", json!({"topic": topic, "config": {"max.message.bytes": "5000000"}}));
    let settings = json!({"message.max.bytes": 6_000_000});
    writer.produce(&topic, 0, 0, 3);
    writer.ask("produce", json!({"topic": topic, "first": 3, "count": 2, "size": 3_000_000, "settings": settings}));
    writer.produce(&topic, 0, 5, 3);
    runtime().block_on(async {
        let client = client(&bootstrap);
        let config = ReaderConfig::default().buffer(100_000).partition_bytes(1000);
        let seen = read(&mut reader(&client, config, &topic, 1), 8).await;
        assert!(seen.numbers[&0].iter().copied().eq(0..8));
    });
}

#[test]
fn an_offset_that_is_not_there() {
    let Some((bootstrap, mut writer, topic)) = setup("range") else { return };
    writer.create(&topic, 1);
    writer.produce(&topic, 0, 0, 100);
    writer.ask("delete_records", json!({"topic": topic, "partition": 0, "before": 40}));
    let partition = TopicPartition::new(&*topic, 0);
    runtime().block_on(async {
        let client = client(&bootstrap);
        for (reset, offset, first, next) in [
            (Reset::Earliest, 10, Some(40), Some(40)),
            (Reset::Latest, 1000, None, Some(100)),
            (Reset::Stop, 10, None, None),
        ] {
            let mut reader = Reader::new(&client, ReaderConfig::default().reset(reset));
            reader.assign(&[(partition.clone(), Start::Offset(offset))]);
            let mut seen = Seen::default();
            let enough = |seen: &Seen| !seen.errors.is_empty() && (first.is_none() || seen.count() >= 60);
            read_until(&mut reader, &mut seen, LONG, enough).await;
            assert_eq!(seen.offsets[&0].first().copied(), first, "{reset:?}");
            let [FetchError::OutOfRange { offset: at, earliest: 40, latest: 100, next: on, .. }] = &seen.errors[..]
            else {
                panic!("{:?}", seen.errors)
            };
            assert_eq!((*at, *on), (offset, next));
            assert_eq!(reader.standing(&partition).unwrap().stopped, reset == Reset::Stop);
        }
        for (at, offset) in [(OffsetAt::Earliest, 40), (OffsetAt::Latest, 100), (OffsetAt::Time(i64::MAX), 100)] {
            assert_eq!(client.offset(&partition, at, Isolation::Committed, LONG).await.unwrap(), offset);
        }
    });
}

#[test]
fn a_topic_deleted_and_created_again() {
    let Some((bootstrap, mut writer, topic)) = setup("again") else { return };
    writer.create(&topic, 1);
    writer.produce(&topic, 0, 0, 10);
    runtime().block_on(async {
        let client = client(&bootstrap);
        let mut kept = reader(&client, ReaderConfig::default(), &topic, 1);
        let mut reset = reader(&client, ReaderConfig::default().reset(Reset::Earliest), &topic, 1);
        read(&mut kept, 10).await;
        read(&mut reset, 10).await;
        writer.ask("delete", json!({"topic": topic}));
        let mut seen = Seen::default();
        read_until(&mut kept, &mut seen, LONG, |seen| !seen.errors.is_empty()).await;
        assert!(matches!(seen.errors[0], FetchError::NoSuchPartition { .. }), "{:?}", seen.errors);
        writer.create(&topic, 1);
        writer.produce(&topic, 0, 100, 20);
        let recreated = |seen: &Seen| seen.errors.iter().any(|error| matches!(error, FetchError::Recreated { .. }));
        read_until(&mut kept, &mut seen, LONG, recreated).await;
        assert_eq!(seen.count(), 0, "nothing of the new topic passes for the old one's");
        assert!(kept.standing(&TopicPartition::new(&*topic, 0)).unwrap().stopped);
        let mut seen = Seen::default();
        read_until(&mut reset, &mut seen, LONG, |seen| recreated(seen) && seen.count() >= 20).await;
        assert!(seen.numbers[&0].iter().copied().eq(100..120));
    });
}

#[test]
fn partitions_that_are_added_and_a_compacted_topic() {
    let Some((bootstrap, mut writer, topic)) = setup("grows") else { return };
    let config = json!({"cleanup.policy": "compact", "segment.ms": "100", "min.cleanable.dirty.ratio": "0.01",
        "max.compaction.lag.ms": "100"});
    writer.ask("create", json!({"topic": topic, "partitions": 1, "config": config}));
    writer.ask("produce", json!({"topic": topic, "count": 300, "keys": 10}));
    std::thread::sleep(Duration::from_millis(300));
    writer.ask("produce", json!({"topic": topic, "first": 300, "count": 10, "keys": 10}));
    runtime().block_on(async {
        let client = client(&bootstrap);
        let mut reader = Reader::new(&client, ReaderConfig::default());
        let wanted = from_start(&topic, 2);
        reader.assign(&wanted);
        let mut seen = Seen::default();
        let missing = |seen: &Seen| seen.errors.iter().any(|error| error.partition().partition == 1);
        let last = |seen: &Seen| seen.numbers.get(&0).and_then(|numbers| numbers.last().copied()) == Some(309);
        read_until(&mut reader, &mut seen, LONG, |seen| missing(seen) && last(seen)).await;
        writer.ask("grow", json!({"topic": topic, "partitions": 2}));
        // The first one's client doesn't know of the new partition yet.
        let mut other = Writer::start(&bootstrap).unwrap();
        other.ask("produce", json!({"topic": topic, "partition": 1, "count": 5, "keys": 10}));
        read_until(&mut reader, &mut seen, LONG, |seen| seen.numbers.get(&1).is_some_and(|n| n.len() >= 5)).await;
    });
}

#[test]
fn a_wait_ends_with_the_record_and_two_readers_share_the_poll() {
    let Some((bootstrap, mut writer, topic)) = setup("wait") else { return };
    writer.create(&topic, 2);
    writer.produce(&topic, 0, 0, 1);
    runtime().block_on(async {
        let client = client(&bootstrap);
        let mut one = reader(&client, ReaderConfig::default(), &topic, 2);
        read(&mut one, 1).await;
        // One that joins while the other's poll is out, for half a second more, has what is there at once: the quickest,
        // since on a busy machine one or the other is late.
        let mut joins = Vec::new();
        for n in 1..6 {
            writer.produce(&topic, 0, n, 1);
            one.next(Most::default(), LONG).await;
            let started = Instant::now();
            let mut two = reader(&client, ReaderConfig::default(), &topic, 2);
            read_until(&mut two, &mut Seen::default(), LONG, |seen| seen.count() > n as usize).await;
            joins.push(started.elapsed());
        }
        assert!(joins.iter().min() < Some(&Duration::from_millis(250)), "{joins:?}");
        let mut two = reader(&client, ReaderConfig::default(), &topic, 2);
        read(&mut two, 6).await;
        for n in 6..25 {
            writer.begin(json!({"do": "produce", "topic": topic, "partition": n % 2, "first": n}));
            for reader in [&mut one, &mut two] {
                let fetched = reader.next(Most::default(), LONG).await;
                assert_eq!(fetched.iter().map(|fetched| fetched.records.len()).sum::<usize>(), 1);
            }
            writer.end();
        }
    });
}

#[test]
fn a_call_without_a_wait_sees_what_was_there_before_it() {
    let Some((bootstrap, mut writer, topic)) = setup("stateless") else { return };
    writer.create(&topic, 1);
    let partition = TopicPartition::new(&*topic, 0);
    runtime().block_on(async {
        let client = client(&bootstrap);
        let reader = SharedReader::new(&client, ReaderConfig::default());
        let (mut next, mut times) = (0, Vec::new());
        for n in 0..20 {
            writer.produce(&topic, 0, n, 1);
            let from = [(partition.clone(), Start::Offset(next))];
            let fetched = reader.fetch(&from, Most::default(), Duration::ZERO, LONG).await;
            assert_eq!(fetched.len(), 1, "{n}");
            next = fetched[0].next;
            let started = Instant::now();
            let from = [(partition.clone(), Start::Offset(next))];
            assert!(reader.fetch(&from, Most::default(), Duration::ZERO, LONG).await.is_empty());
            times.push(started.elapsed());
        }
        // A poll that waits is out for half a second; on a busy machine anything may be late now and then.
        times.sort();
        assert!(times[10] < Duration::from_millis(250), "{times:?}");
        // The same again, from an offset that was handed out before.
        let fetched = reader.fetch(&[(partition, Start::Offset(5))], Most::records(3), Duration::ZERO, LONG).await;
        assert_eq!(fetched[0].records.iter().map(|record| record.offset).collect::<Vec<_>>(), [5, 6, 7]);
    });
}

#[test]
fn what_is_paused_waits() {
    let Some((bootstrap, mut writer, topic)) = setup("pause") else { return };
    writer.create(&topic, 2);
    runtime().block_on(async {
        let client = client(&bootstrap);
        let mut reader = reader(&client, ReaderConfig::default(), &topic, 2);
        let zero = [TopicPartition::new(&*topic, 0)];
        reader.pause(&zero);
        writer.produce(&topic, 0, 0, 10);
        writer.produce(&topic, 1, 0, 10);
        let seen = read(&mut reader, 10).await;
        assert_eq!(seen.numbers.keys().copied().collect::<Vec<_>>(), [1]);
        reader.resume(&zero);
        let seen = read(&mut reader, 10).await;
        assert_eq!(seen.numbers[&0].len(), 10);
    });
}
