//! The core against the model of brokers.

use std::collections::BTreeMap;

use proptest::prelude::*;

use super::super::reader::tests::batch;
use super::super::{FetchError, Reset};
use super::model::{LIMITS, PARTITIONS, World, all, partition};
use super::*;
use crate::kafka::record::Stamp;

proptest! {
    #![proptest_config(ProptestConfig { cases: 300, ..ProptestConfig::default() })]

    #[test]
    fn nothing_twice_nothing_skipped_memory_bounded(
        stop in any::<bool>(),
        steps in prop::collection::vec((0..100u8, 0..5000usize, 0..5000usize), 1..300),
    ) {
        all(stop, &steps);
    }
}

/// A world in which one reader follows everything from the beginning, and has its answers.
fn quiet() -> (World, ReaderId) {
    let mut world = World::new(Reset::Stop);
    for log in &mut world.logs {
        log.leader = 0;
    }
    let reader = world.core.open(world.options());
    world.readers.insert(reader, BTreeMap::new());
    for n in 0..PARTITIONS as usize {
        world.seek(0, n, Some(0));
    }
    world.turn();
    world.found(9);
    world.turn();
    (world, reader)
}

#[test]
fn all_partitions_are_one_request_and_the_first_is_answered_at_once() {
    let (mut world, _) = quiet();
    assert_eq!(world.asks.len(), 1);
    let (_, ask) = &world.asks[0];
    assert_eq!((ask.kind, ask.wait, ask.send.len()), (Kind::Poll, Duration::ZERO, 4));
    world.answer(0, 9);
    world.turn();
    let (_, ask) = &world.asks[0];
    assert_eq!((ask.kind, ask.wait, ask.send.len()), (Kind::Poll, LIMITS.poll_wait, 0), "nothing is sent twice");
}

/// What the replica 7 is asked, after the leader 0 named it for partition 0.
fn at_a_replica() -> (World, ReaderId, AskId, Ask) {
    let (mut world, reader) = quiet();
    let (id, ask) = world.asks.remove(0);
    let answer = |topic: TopicId| Reply { session: 1, parts: vec![named(topic, 0, Some(7))], ..Reply::default() };
    world.core.answer(world.now, id, Ok(answer(ask.send[0].1.topic_id)));
    world.turn();
    let at = world.asks.iter().position(|(_, ask)| ask.broker == 7).expect("the replica is asked");
    let (id, ask) = world.asks.remove(at);
    (world, reader, id, ask)
}

/// An empty answer for a partition.
fn named(topic: TopicId, error: i16, replica: Option<i32>) -> ReplyPart {
    let (topic, records) = (Named::Id(topic), bytes::Bytes::new());
    let (diverging, leader, aborted) = (None, None, Vec::new());
    ReplyPart {
        topic,
        partition: 0,
        error,
        high_watermark: -1,
        stable: -1,
        diverging,
        leader,
        replica,
        aborted,
        records,
    }
}

#[test]
fn a_leader_sends_us_to_a_replica_and_the_answer_is_still_waited_for() {
    let (world, reader, _, ask) = at_a_replica();
    assert_eq!((ask.send.len(), &ask.send[0].0, ask.wait), (1, &partition(0), Duration::ZERO));
    assert!(!world.core.is_settled(reader, |_| true));
    assert_eq!(world.core.source(&partition(0)), Some(7));
}

#[test]
fn a_replica_that_has_not_the_offset_or_fails_is_left_for_the_leader() {
    let out_of_range = |topic| Ok(Reply { session: 2, parts: vec![named(topic, 1, None)], ..Reply::default() });
    let gone = |_| Err(crate::kafka::Error::new(crate::kafka::ErrorKind::Disconnected, "gone"));
    for answer in [&out_of_range as &dyn Fn(TopicId) -> Result<Reply, crate::kafka::Error>, &gone] {
        let (mut world, _, id, ask) = at_a_replica();
        world.core.answer(world.now, id, answer(ask.send[0].1.topic_id));
        world.turn();
        assert_ne!(world.core.source(&partition(0)), Some(7));
        assert!(world.asks.iter().all(|(_, ask)| ask.broker != 7 || ask.kind == Kind::Close));
    }
}

#[test]
fn a_reader_that_joins_is_served_at_once_and_then_by_the_poll() {
    let (mut world, _) = quiet();
    world.answer(0, 9);
    world.turn();
    let other = world.core.open(world.options());
    world.readers.insert(other, BTreeMap::new());
    world.seek(1, 2, Some(0));
    world.turn();
    assert_eq!(world.asks.len(), 2);
    let (_, quick) = &world.asks[1];
    assert_eq!((quick.kind, quick.wait, quick.session, quick.epoch), (Kind::Quick, Duration::ZERO, 0, -1));
    world.answer(1, 9);
    world.turn();
    assert_eq!(world.asks.len(), 1, "not again at once");
    world.now = world.due.unwrap();
    world.turn();
    assert_eq!(world.asks.len(), 2, "but soon");
    world.answer(1, 9);
    world.answer(0, 9);
    world.turn();
    assert_eq!(world.asks.len(), 1, "the poll serves both");
    let log = world.log(&partition(2));
    (log.batches, log.end) = (vec![(0, 0, 0)], 1);
    world.answer(0, 9);
    assert!(world.take(0) && world.take(1));
}

/// 500 batches in each partition.
fn fill(world: &mut World) {
    for log in &mut world.logs {
        log.batches = (0..500).map(|n| (n, n, 0)).collect();
        log.end = 500;
    }
}

#[test]
fn a_full_reader_asks_for_nothing_more() {
    let (mut world, _) = quiet();
    fill(&mut world);
    for _ in 0..100 {
        world.answer(0, 9);
        world.turn();
    }
    assert!(world.asks.is_empty());
    while world.take(0) {}
    world.turn();
    assert_eq!(world.asks.len(), 2);
}

#[test]
fn partitions_that_have_more_are_shared_out_between_two_requests() {
    let (mut world, _) = quiet();
    fill(&mut world);
    world.answer(0, 9);
    world.turn();
    let asked = |world: &World, kind: Kind| {
        let ask = world.asks.iter().find(|(_, ask)| ask.kind == kind);
        ask.map(|(_, ask)| ask.send.iter().map(|(of, _)| of.partition).collect::<BTreeSet<_>>())
    };
    for _ in 0..3 {
        while world.take(0) {}
        world.turn();
        assert_eq!(asked(&world, Kind::Poll), Some([0, 2].into()));
        assert_eq!(asked(&world, Kind::Next), Some([1, 3].into()));
        assert_eq!(asked(&world, Kind::Quick), None);
        // Whichever is answered, the other stays out.
        let at = world.asks.iter().position(|(_, ask)| ask.kind == Kind::Poll).unwrap();
        world.answer(at, 9);
        while world.take(0) {}
        world.turn();
        assert_eq!(asked(&world, Kind::Poll), Some([0, 2].into()));
        let at = world.asks.iter().position(|(_, ask)| ask.kind == Kind::Next).unwrap();
        world.answer(at, 9);
    }
}

#[test]
fn an_unclean_leader_s_log_is_reported() {
    let (mut world, reader) = quiet();
    let log = world.log(&partition(0));
    (log.batches, log.end) = ((0..10).map(|n| (n, n, 3)).collect(), 10);
    world.answer(0, 9);
    world.turn();
    while world.take(0) {}
    let (id, ask) = world.asks.pop().unwrap();
    let sent = ask.send.iter().find(|(of, _)| *of == partition(0)).unwrap().1;
    assert!(sent.offset > 0 && sent.last_epoch == 3, "{sent:?}");
    let mut left = 0;
    let mut part = world.read(0, &partition(0), sent, &mut left, &mut false);
    part.diverging = Some((2, 1));
    let reply = Reply { session: ask.session, parts: vec![part], ..Reply::default() };
    world.core.answer(world.now, id, Ok(reply));
    let Some((_, Item::Trouble { error, at })) = world.core.take(reader, |_| true) else { panic!("nothing was said") };
    assert!(matches!(error, FetchError::Truncated { end: 1, next: None, .. }), "{error}");
    assert_eq!(at, None);
    assert!(world.core.is_halted(reader, &partition(0)));
}

#[test]
fn trouble_that_lasts_is_told_now_and_then() {
    let (mut world, reader) = quiet();
    let mut told = Vec::new();
    while world.now < Duration::from_secs(16) {
        world.answer(0, 0);
        world.turn();
        world.found(9);
        world.turn();
        while let Some((_, item)) = world.core.take(reader, |_| true) {
            assert!(matches!(item, Item::Trouble { error: FetchError::Failed { .. }, .. }));
            told.push(world.now.as_secs());
        }
        world.now = world.due.unwrap_or(world.now).max(world.now + Duration::from_millis(1));
    }
    told.dedup();
    assert!((2..=4).contains(&told.len()) && told[0] >= 5, "{told:?}");
}

#[test]
fn a_topic_that_is_not_there_is_told_at_once_and_asked_for_again() {
    let mut world = World::new(Reset::Stop);
    let reader = world.core.open(world.options());
    world.readers.insert(reader, BTreeMap::new());
    world.seek(0, 0, Some(0));
    world.turn();
    let topic = world.lookups.pop().unwrap();
    world.core.found(world.now, &topic, Ok(None));
    assert!(matches!(
        world.core.take(reader, |_| true),
        Some((_, Item::Trouble { error: FetchError::NoSuchPartition { .. }, .. }))
    ));
    world.turn();
    assert!(world.lookups.is_empty());
    world.settle();
}

#[test]
fn nobody_reads_any_more_so_the_session_ends() {
    let (mut world, reader) = quiet();
    world.answer(0, 9);
    world.turn();
    assert_eq!(world.sessions.len(), 1);
    world.core.close(reader);
    world.readers.clear();
    world.turn();
    world.answer(0, 9);
    world.turn();
    assert!(world.asks.is_empty() && world.sessions.is_empty() && world.core.topics.is_empty());
}

/// What is asked next of a partition, of at most `most` bytes, after these batches came.
fn next_bytes(most: usize, batches: &[u8]) -> usize {
    let mut core = Core::new(Limits { client_bytes: 1 << 20, response_bytes: 1 << 20, ..LIMITS });
    let options = Options { partition_bytes: most, buffer: 1 << 20, ..World::new(Reset::Stop).options() };
    let reader = core.open(options);
    core.seek(reader, &partition(0), Start::Offset(0));
    core.turn(Duration::ZERO);
    core.found(Duration::ZERO, &partition(0).topic, Ok(Some(Leaders::of(7, &[(0, 0)]))));
    let ask = |core: &mut Core| match core.turn(Duration::ZERO).actions.pop() {
        Some(Action::Ask(id, ask)) => (id, ask.send[0].1.max_bytes),
        other => panic!("{other:?}"),
    };
    let (id, bytes) = ask(&mut core);
    assert_eq!(bytes, most);
    let part = ReplyPart { records: batches.to_vec().into(), ..named(7, 0, None) };
    core.answer(Duration::ZERO, id, Ok(Reply { session: 1, parts: vec![part], ..Reply::default() }));
    ask(&mut core).1
}

#[test]
fn of_batches_of_one_size_only_whole_ones_are_asked_for() {
    let large = |first: i64| batch(first, first + 99, Stamp::NONE);
    let (size, cut) = (large(0).len(), [large(0), large(100), large(200)[..99].to_vec()].concat());
    assert_eq!(next_bytes(size * 5 / 2, &cut), 2 * (size + size / 64));
    assert_eq!(next_bytes(size * 2, &cut), size * 2, "never more than was said");
    assert_eq!(next_bytes(size / 2, &cut), size / 2, "nor less than one of them");
    let uneven = [batch(0, 40, Stamp::NONE), large(41)].concat();
    assert_eq!(next_bytes(size * 5 / 2, &uneven), size * 5 / 2, "who knows what comes");
}
