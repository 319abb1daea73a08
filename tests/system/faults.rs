//! A network that fails in every way that the embedded broker knows: it heals, no key is missed, no record lost.

use std::cell::RefCell;

use super::*;
use kafkacrypto::provision::NodeRole;
use kafkacrypto::transport::TransportErrorKind::{TimedOut, Unreachable};
use kafkacrypto::transport::memory::{Broker, Call, Faults, Memory, When};
use support::fleet::Fleet;

const CALLS: [Call; 5] = [Call::Partitions, Call::CreateTopic, Call::Produce, Call::Fetch, Call::Offset];

/// Two producers, each with a restart in the middle, and a consumer that reads everything.
pub async fn suffer(producers_way: impl Fn() -> Arc<dyn Transport>, consumers_way: Arc<dyn Transport>) {
    let fleet = Fleet::new();
    let configs = ["p0", "p1"].map(|name| fleet.node(name, NodeRole::Producer, &["lab"]));
    let consumer = open_on(consumers_way, &fleet.node("c", NodeRole::Consumer, &["lab"])).await;
    let mut reading = Vec::new();
    for config in configs.iter().chain(&configs) {
        let producer = open_on(producers_way(), config).await;
        for number in 0..10 {
            let text = format!("{} {number}", config.display()).into_bytes();
            let sealed = seal(&producer, "lab.data", &text);
            let consumer = consumer.clone();
            reading.push(tokio::spawn(async move { assert_eq!(read(&consumer, "lab.data", &sealed).await, text) }));
        }
        for task in reading.drain(..) {
            task.await.unwrap();
        }
        producer.close().await;
    }
    // 10 messages name each key, and 4 keys there are
    assert_eq!(consumer.health().messages.decrypted, 40);
    assert!(consumer.health().running && consumer.health().restarts == 0);
}

async fn suffer_faults(producers: Faults, consumers: Faults) {
    let (broker, ways) = (Broker::new(), RefCell::new(Vec::new()));
    let way = |faults: &Faults| -> Arc<dyn Transport> {
        let way = broker.transport().with_faults(faults.clone());
        ways.borrow_mut().push(way.clone());
        Arc::new(way)
    };
    suffer(|| way(&producers), way(&consumers)).await;
    assert!(ways.borrow().iter().any(|way: &Memory| way.injected() > 0), "no fault was injected");
}

macro_rules! faults {
    ($($name:ident: $producers:expr, $consumers:expr;)*) => {
        $(#[tokio::test(flavor = "multi_thread")]
        async fn $name() {
            suffer_faults($producers, $consumers).await;
        })*
    };
}

fn delay() -> Faults {
    CALLS.into_iter().fold(Faults::new(), |faults, call| faults.delay(call, When::Every(2), Duration::from_millis(40)))
}

fn fail(when: When) -> Faults {
    CALLS.into_iter().fold(Faults::new(), |faults, call| faults.fail(call, when, Unreachable))
}

faults! {
    everything_is_late: delay(), delay();
    requests_get_lost: Faults::new(), Faults::new().drop_produced(When::Nth(1));
    replies_get_lost: Faults::new().drop_produced(When::Nth(1)), Faults::new();
    everything_is_written_twice: Faults::new().duplicate(When::Always), Faults::new().duplicate(When::Always);
    partitions_answer_in_another_order: Faults::new().reorder(When::Always), Faults::new().reorder(When::Always);
    the_first_call_of_each_kind_fails: fail(When::Nth(1)), fail(When::Nth(1));
    every_third_call_fails: fail(When::Every(3)), fail(When::Every(3));
    answers_to_writing_get_lost:
        Faults::new().lose_answer(Call::Produce, When::Every(2), TimedOut),
        Faults::new().lose_answer(Call::Produce, When::Every(2), TimedOut);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_fails_time_and_again_is_told_once_until_it_has_worked() {
    let way = Broker::new().transport();
    let (fleet, failing) = (Fleet::new(), || Faults::new().fail(Call::Fetch, When::Always, Unreachable));
    let node = open_on(Arc::new(way.clone()), &fleet.node("p", NodeRole::Producer, &["lab"])).await;
    let mut events = node.events();
    let mut told =
        || std::iter::from_fn(|| events.try_recv().ok()).filter(|e| matches!(e, Event::Broker { .. })).count();
    seal(&node, "lab.data", b"so that it follows a topic");
    for heals in [true, false] {
        way.set_faults(failing());
        let (before, mut count) = (way.injected(), 0);
        until("it has failed for some time", || {
            count += told();
            count > 0 && way.injected() > before + 2
        })
        .await;
        assert_eq!(count + told(), 1);
        if heals {
            way.set_faults(Faults::new());
            let before = way.calls(Call::Fetch);
            until("it has worked", || way.calls(Call::Fetch) > before + 1).await;
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_broker_that_is_away_at_the_start_holds_nothing_up_but_the_exchange() {
    let broker = Broker::new();
    let away = fail(When::Always).fail(Call::Topics, When::Always, Unreachable);
    let [p, c] = [(); 2].map(|()| broker.transport().with_faults(away.clone()));
    let back = || [&p, &c].into_iter().for_each(|way| way.set_faults(Faults::new()));
    away_at_the_start([Arc::new(p.clone()), Arc::new(c.clone())], back).await;
}

pub async fn away_at_the_start([p, c]: [Arc<dyn Transport>; 2], back: impl FnOnce()) {
    let fleet = Fleet::new();
    let producer = open_on(p, &fleet.node("p", NodeRole::Producer, &["lab"])).await;
    let consumer = open_on(c, &fleet.node("c", NodeRole::Consumer, &["lab"])).await;
    let sealed = seal(&producer, "lab.data", b"42");
    let mut message = consumer.value_deserializer().deserialize("lab.data", Some(&sealed));
    assert!(message.wait(Duration::from_millis(200)).await.is_err());
    assert_eq!(message.state(), State::Pending);
    assert!(consumer.health().running && !consumer.health().exchanging);
    back();
    assert_eq!(message.wait(SOON).await.unwrap(), Some(&b"42"[..]));
}

/// Ten seconds: as long as a call may take.
#[tokio::test(flavor = "multi_thread")]
async fn a_black_hole_ends_when_the_call_does() {
    let broker = Broker::new();
    let way = broker.transport();
    let hole = |open| {
        way.set_faults(if open { Faults::new().black_hole(Call::Produce, When::Always) } else { Faults::new() });
    };
    black_hole(&Place::Memory(broker), Arc::new(way.clone()), hole).await;
}

/// A consumer's way to the broker leads into a hole, out of it, and into it again.
pub async fn black_hole(place: &Place, way: Arc<dyn Transport>, hole: impl Fn(bool)) {
    let fleet = Fleet::new();
    hole(true);
    let producer = open(place, &fleet.node("p", NodeRole::Producer, &["lab"])).await;
    let consumer = open_on(way, &fleet.node("c", NodeRole::Consumer, &["lab"])).await;
    let sealed = seal(&producer, "lab.data", b"42");
    let mut message = consumer.value_deserializer().deserialize("lab.data", Some(&sealed));
    assert!(message.wait(Duration::from_millis(300)).await.is_err());
    hole(false);
    let start = Instant::now();
    assert_eq!(message.wait(SOON).await.unwrap(), Some(&b"42"[..]), "a repeat gets through, or the call's end");
    println!("decrypted {:?} after the hole has ended", start.elapsed());
    // closing waits no longer for what can't end than its flush time
    hole(true);
    let sealed = seal_elsewhere(&fleet, place).await;
    let mut pending = consumer.value_deserializer().deserialize("lab.data", Some(&sealed));
    assert!(pending.wait(Duration::from_millis(300)).await.is_err());
    let start = Instant::now();
    consumer.close().await;
    assert!(start.elapsed() < Duration::from_secs(5), "{:?}", start.elapsed());
}

/// A message of a producer that is gone.
async fn seal_elsewhere(fleet: &Fleet, place: &Place) -> Vec<u8> {
    let gone = open(place, &fleet.node("gone", NodeRole::Producer, &["lab"])).await;
    let sealed = seal(&gone, "lab.data", b"gone");
    gone.close().await;
    sealed
}

/// Five seconds: as long as the fleet's lists are waited for.
#[tokio::test(flavor = "multi_thread")]
async fn lists_that_are_withheld_are_reported_and_the_stored_ones_used() {
    let (fleet, broker) = (Fleet::new(), Broker::new());
    let place = Place::Memory(broker.clone());
    place.write("denylist", b"k", b"whatever".to_vec()).await;
    let producer = open(&place, &fleet.node("p", NodeRole::Producer, &["lab"])).await;
    let way = broker.transport().with_faults(Faults::new().withhold("denylist"));
    let consumer = open_on(Arc::new(way), &fleet.node("c", NodeRole::Consumer, &["lab"])).await;
    let mut events = consumer.events();
    let sealed = seal(&producer, "lab.data", b"42");
    let start = Instant::now();
    assert_eq!(read(&consumer, "lab.data", &sealed).await, b"42");
    assert!(start.elapsed() > Duration::from_secs(4), "{:?}", start.elapsed());
    event(&mut events, |event| matches!(event, Event::Notice(kafkacrypto::engine::Notice::ListsWithheld { .. }))).await;
}

/// The way that a program takes: a producer and a consumer of a node, with faults under both of them and under the keys.
#[tokio::test(flavor = "multi_thread")]
async fn no_record_is_lost_and_none_doubled_by_us() {
    let broker = Broker::new();
    let way = |faults| Arc::new(broker.transport().with_faults(faults));
    let writing = way(fail(When::Every(3)));
    let reading = way(fail(When::Every(4)).reorder(When::Every(2)).delay(Call::Fetch, When::Every(3), 5 * TINY));
    each_once(&Place::Memory(broker.clone()), writing, reading).await;
}

pub async fn each_once(place: &Place, writing: Arc<dyn Transport>, reading: Arc<dyn Transport>) {
    use kafkacrypto::client::{Consumer, ConsumerOptions, Producer, ProducerOptions, ProducerRecord, Start};
    let fleet = Fleet::new();
    place.create_topic("lab.data", 3).await;
    let writing = open_on(writing, &fleet.node("p", NodeRole::Producer, &["lab"])).await;
    let reading = open_on(reading, &fleet.node("c", NodeRole::Consumer, &["lab"])).await;
    let producer = Producer::of(&writing, ProducerOptions::new());
    let mut consumer = Consumer::of(&reading, "lab.data", ConsumerOptions::new(Start::Beginning));
    let sending = async {
        for number in 0..200_u32 {
            let record =
                ProducerRecord::new("lab.data").key([u8::try_from(number % 7).unwrap()]).value(number.to_be_bytes());
            drop(producer.queue(record).await.unwrap());
            if number % 20 == 0 {
                tokio::time::sleep(5 * TINY).await;
            }
        }
        producer.close().await.unwrap();
    };
    let receiving = async {
        let mut seen = Vec::new();
        while seen.len() < 200 {
            let next = tokio::time::timeout(SOON, consumer.next()).await.expect("records are missing").unwrap();
            let Ok(mut record) = next else { continue };
            record.key.wait(SOON).await.unwrap();
            let value = record.value.wait(SOON).await.unwrap().unwrap().to_vec();
            seen.push((record.key.bytes()[0], u32::from_be_bytes(value.try_into().unwrap())));
        }
        seen
    };
    let ((), seen) = tokio::join!(sending, receiving);
    let all: std::collections::BTreeSet<u32> = seen.iter().map(|(_, number)| *number).collect();
    assert_eq!(all.len(), 200, "each once");
    for key in 0..7 {
        let of_key: Vec<u32> = seen.iter().filter(|(k, _)| *k == key).map(|(_, number)| *number).collect();
        assert!(of_key.is_sorted(), "the order of a key is kept: {of_key:?}");
    }
    let mut written = 0;
    for partition in 0..3 {
        written += place.records("lab.data", partition).await.len();
    }
    assert_eq!(written, 200);
}

const TINY: Duration = Duration::from_millis(10);
