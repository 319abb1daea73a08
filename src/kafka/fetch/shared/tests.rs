//! Calls over a core that is fed by hand: without a runtime, nothing is sent.

use super::super::core::{Action, Ask, AskId, Leaders, Named, Reply, ReplyPart};
use super::super::reader::tests::batch;
use super::*;
use crate::kafka::Config;
use crate::kafka::record::Stamp;

/// A reader of the four partitions of `t`, and the requests that are out.
struct Fed {
    shared: SharedReader,
    asks: Vec<(AskId, Ask)>,
}

fn fed(config: ReaderConfig) -> Fed {
    let client = Client::new(Config::new(["nowhere.example"])).unwrap();
    Fed { shared: SharedReader::new(&client, config), asks: Vec::new() }
}

impl Fed {
    /// Begins a call for these partitions from these offsets on.
    fn call(&mut self, from: &[(i32, i64)]) -> Call {
        let from: Vec<_> = from.iter().map(|(number, offset)| (partition(*number), Start::Offset(*offset))).collect();
        let call = self.shared.begin(&from);
        self.turn();
        call
    }

    fn turn(&mut self) {
        let hub = self.shared.0.client.hub();
        loop {
            let actions = hub.with(|core| core.turn(NOW)).actions;
            if actions.is_empty() {
                return;
            }
            for action in actions {
                match action {
                    Action::Ask(id, ask) => self.asks.push((id, ask)),
                    Action::Lookup { topic, .. } => {
                        hub.with(|core| core.found(NOW, &topic, Ok(Some(Leaders::of(7, &[(1, 0); 4])))));
                    }
                    Action::Offsets { .. } => panic!("all starts are known"),
                }
            }
        }
    }

    /// Answers what is out with ten records of each partition, and asks what follows from that.
    fn answer(&mut self) {
        for (id, ask) in std::mem::take(&mut self.asks) {
            let part = |(partition, sent): &(TopicPartition, super::super::core::Sent)| ReplyPart {
                topic: Named::Id(7),
                partition: partition.partition,
                error: 0,
                high_watermark: 1000,
                stable: 1000,
                diverging: None,
                leader: None,
                replica: None,
                aborted: Vec::new(),
                records: batch(sent.offset, sent.offset + 9, Stamp::NONE).into(),
            };
            let reply = Reply { session: 1, parts: ask.send.iter().map(part).collect(), ..Reply::default() };
            self.shared.0.client.hub().with(|core| core.answer(NOW, id, Ok(reply)));
        }
        self.turn();
    }

    fn shelves(&self) -> usize {
        lock(&self.shared.0.shelves).len()
    }
}

impl Call {
    /// The first offset that it gets of each partition.
    fn gets(&self) -> Vec<(i32, i64)> {
        let fetched = self.reader(|reader| reader.collect_of(&self.partitions, Most::records(1000)));
        fetched.iter().map(|fetched| (fetched.partition, fetched.records[0].offset)).collect()
    }
}

const NOW: Duration = Duration::from_secs(1);

fn partition(number: i32) -> TopicPartition {
    TopicPartition::new("t", number)
}

#[test]
fn calls_at_the_same_time_share_requests_and_each_gets_its_own() {
    let mut fed = fed(ReaderConfig::default());
    fed.answer();
    let calls = [fed.call(&[(0, 0)]), fed.call(&[(1, 5), (2, 0)]), fed.call(&[(3, 2)])];
    for _ in 0..4 {
        fed.answer();
        assert!(fed.asks.len() <= 2, "of four partitions, for three calls");
    }
    assert_eq!(fed.shelves(), 1);
    assert_eq!(calls[1].gets(), [(1, 5), (2, 0)]);
    assert_eq!(calls[0].gets(), [(0, 0)]);
    assert_eq!(calls[2].gets(), [(3, 2)]);
}

#[test]
fn a_call_goes_on_with_what_was_read_ahead() {
    let mut fed = fed(ReaderConfig::default());
    let call = fed.call(&[(0, 0)]);
    (0..3).for_each(|_| fed.answer());
    let fetched = call.reader(|reader| reader.collect_of(&call.partitions, Most::records(7)));
    assert_eq!((fetched[0].records.len(), fetched[0].next), (7, 7));
    drop(call);
    fed.asks.clear();
    let next = fed.call(&[(0, 7)]);
    assert_eq!(next.gets(), [(0, 7)], "without another request");
    assert_eq!(fed.shelves(), 1);
}

#[test]
fn two_places_of_a_partition_are_two_readers() {
    let mut fed = fed(ReaderConfig::default());
    let mut places = [0, 500];
    for _ in 0..3 {
        let calls = [fed.call(&[(0, places[0])]), fed.call(&[(0, places[1])])];
        (0..4).for_each(|_| fed.answer());
        for (call, place) in calls.iter().zip(&mut places) {
            let fetched = call.reader(|reader| reader.collect_of(&call.partitions, Most::default()));
            assert_eq!(fetched[0].records[0].offset, *place);
            *place = fetched[0].next;
        }
    }
    assert_eq!(fed.shelves(), 2);
    for place in places.repeat(3) {
        drop(fed.call(&[(0, place)]));
    }
    assert_eq!(fed.shelves(), 2, "one after another too");
}

#[test]
fn who_reads_here_and_there_gets_no_reader_for_each_place() {
    let mut fed = fed(ReaderConfig::default());
    for place in 0..50 {
        drop(fed.call(&[(0, place * 70)]));
    }
    assert_eq!(fed.shelves(), MOST_SHELVES);
    let waiting: Vec<_> = (0..6).map(|place| fed.call(&[(0, place)])).collect();
    assert_eq!(fed.shelves(), waiting.len(), "those who wait at the same time have one each");
}

#[test]
fn what_nobody_asks_for_makes_room_for_what_is_waited_for() {
    // Room for one answer.
    let mut fed = fed(ReaderConfig::default().buffer(1000).partition_bytes(400));
    drop(fed.call(&[(1, 0)]));
    (0..9).for_each(|_| fed.answer());
    let call = fed.call(&[(2, 0)]);
    (0..9).for_each(|_| fed.answer());
    assert_eq!(call.gets(), [], "it is full");
    for _ in 0..4 {
        call.make_room();
        fed.turn();
        fed.answer();
    }
    assert_eq!(call.gets(), [(2, 0)]);
    drop(call);
    let back = fed.call(&[(1, 0)]);
    for _ in 0..4 {
        back.make_room();
        fed.turn();
        fed.answer();
    }
    assert_eq!(back.gets(), [(1, 0)], "what made room is asked for again");
}

#[tokio::test(start_paused = true)]
async fn what_nobody_asks_for_is_forgotten() {
    let client = Client::new(Config::new(["127.0.0.1:1"])).unwrap();
    let shared = SharedReader::new(&client, ReaderConfig::default());
    let from = [(partition(0), Start::Offset(0))];
    let wait = Duration::from_millis(100);
    shared.fetch(&from, Most::default(), wait, wait).await;
    let waits = shared.begin(&from);
    tokio::time::sleep(FORGOTTEN * 3).await;
    assert_eq!(lock(&shared.0.shelves).len(), 1, "a call waits");
    drop(waits);
    tokio::time::sleep(FORGOTTEN * 3).await;
    assert_eq!(lock(&shared.0.shelves).len(), 0);
    shared.fetch(&from, Most::default(), wait, wait).await;
    tokio::time::sleep(FORGOTTEN * 3).await;
    assert_eq!(lock(&shared.0.shelves).len(), 0, "and again");
}
