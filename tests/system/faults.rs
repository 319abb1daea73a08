//! A network that fails in every way that the embedded broker knows: it heals, no key is missed, no record lost.

use super::*;
use kafkacrypto::provision::NodeRole;
use kafkacrypto::transport::TransportErrorKind::{TimedOut, Unreachable};
use kafkacrypto::transport::memory::{Call, Faults, When};
use support::fleet::Fleet;

const CALLS: [Call; 5] = [Call::Partitions, Call::CreateTopic, Call::Produce, Call::Fetch, Call::Offset];

/// Two producers, each with a restart in the middle, and a consumer that reads everything, under faults.
async fn suffers(producers_faults: Faults, consumers_faults: Faults) {
    let (fleet, broker) = (Fleet::new(), Broker::new());
    let configs = ["p0", "p1"].map(|name| fleet.node(name, NodeRole::Producer, &["lab"]));
    let consumers_way = broker.transport().with_faults(consumers_faults);
    let consumer = open_on(&consumers_way, &fleet.node("c", NodeRole::Consumer, &["lab"])).await;
    let (mut reading, mut injected) = (Vec::new(), 0);
    for config in configs.iter().chain(&configs) {
        let way = broker.transport().with_faults(producers_faults.clone());
        let producer = open_on(&way, config).await;
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
        injected += way.injected();
    }
    assert!(injected + consumers_way.injected() > 0, "no fault was injected");
    // 10 messages name each key, and 4 keys there are
    assert_eq!(consumer.health().messages.decrypted, 40);
    assert!(consumer.health().running && consumer.health().restarts == 0);
}

macro_rules! faults {
    ($($name:ident: $producers:expr, $consumers:expr;)*) => {
        $(#[tokio::test(flavor = "multi_thread")]
        async fn $name() {
            suffers($producers, $consumers).await;
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
async fn a_broker_that_is_away_at_the_start_holds_nothing_up_but_the_exchange() {
    let (fleet, broker) = (Fleet::new(), Broker::new());
    let away = || fail(When::Always).fail(Call::Topics, When::Always, Unreachable);
    let (p, c) = (broker.transport().with_faults(away()), broker.transport().with_faults(away()));
    let producer = open_on(&p, &fleet.node("p", NodeRole::Producer, &["lab"])).await;
    let consumer = open_on(&c, &fleet.node("c", NodeRole::Consumer, &["lab"])).await;
    let sealed = seal(&producer, "lab.data", b"42");
    let mut message = consumer.value_deserializer().deserialize("lab.data", Some(&sealed));
    assert!(message.wait(Duration::from_millis(200)).await.is_err());
    assert_eq!(message.state(), State::Pending);
    assert!(consumer.health().running && !consumer.health().exchanging);
    p.set_faults(Faults::new());
    c.set_faults(Faults::new());
    assert_eq!(message.wait(SOON).await.unwrap(), Some(&b"42"[..]));
}

/// Ten seconds: as long as a call may take.
#[tokio::test(flavor = "multi_thread")]
async fn a_black_hole_ends_when_the_call_does() {
    let (fleet, broker) = (Fleet::new(), Broker::new());
    let way = broker.transport().with_faults(Faults::new().black_hole(Call::Produce, When::Always));
    let producer = open(&broker, &fleet.node("p", NodeRole::Producer, &["lab"])).await;
    let consumer = open_on(&way, &fleet.node("c", NodeRole::Consumer, &["lab"])).await;
    let sealed = seal(&producer, "lab.data", b"42");
    let mut message = consumer.value_deserializer().deserialize("lab.data", Some(&sealed));
    assert!(message.wait(Duration::from_millis(300)).await.is_err());
    way.set_faults(Faults::new());
    assert_eq!(message.wait(SOON).await.unwrap(), Some(&b"42"[..]), "a repeat gets through, or the call's end");
    // closing waits no longer for what can't end than its flush time
    way.set_faults(Faults::new().black_hole(Call::Produce, When::Always));
    let mut pending =
        consumer.value_deserializer().deserialize("lab.data", Some(&seal_elsewhere(&fleet, &broker).await));
    assert!(pending.wait(Duration::from_millis(300)).await.is_err());
    let start = Instant::now();
    consumer.close().await;
    assert!(start.elapsed() < Duration::from_secs(5), "{:?}", start.elapsed());
}

/// A message of a producer that is gone.
async fn seal_elsewhere(fleet: &Fleet, broker: &Broker) -> Vec<u8> {
    let gone = open(broker, &fleet.node("gone", NodeRole::Producer, &["lab"])).await;
    let sealed = seal(&gone, "lab.data", b"gone");
    gone.close().await;
    sealed
}

/// Five seconds: as long as the fleet's lists are waited for.
#[tokio::test(flavor = "multi_thread")]
async fn lists_that_are_withheld_are_reported_and_the_stored_ones_used() {
    let (fleet, broker) = (Fleet::new(), Broker::new());
    write(&broker, "denylist", b"k", b"whatever".to_vec()).await;
    let producer = open(&broker, &fleet.node("p", NodeRole::Producer, &["lab"])).await;
    let way = broker.transport().with_faults(Faults::new().withhold("denylist"));
    let consumer = open_on(&way, &fleet.node("c", NodeRole::Consumer, &["lab"])).await;
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
    use kafkacrypto::client::{Consumer, ConsumerOptions, Producer, ProducerOptions, ProducerRecord, Start};
    let (fleet, broker) = (Fleet::new(), Broker::new());
    broker.create_topic("lab.data", 3);
    let way = |faults| broker.transport().with_faults(faults);
    let writing = open_on(&way(fail(When::Every(3))), &fleet.node("p", NodeRole::Producer, &["lab"])).await;
    let reading = way(fail(When::Every(4)).reorder(When::Every(2)).delay(Call::Fetch, When::Every(3), 5 * TINY));
    let reading = open_on(&reading, &fleet.node("c", NodeRole::Consumer, &["lab"])).await;
    let producer = Producer::of(&writing, ProducerOptions::new());
    let mut consumer = Consumer::of(&reading, "lab.data", ConsumerOptions::new(Start::Beginning));
    let sending = async {
        for number in 0..200_u32 {
            let record =
                ProducerRecord::new("lab.data").key([u8::try_from(number % 7).unwrap()]).value(number.to_be_bytes());
            drop(producer.queue(record).await.unwrap());
            if number % 20 == 0 {
                tokio::time::sleep(TINY).await;
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
    let written: usize = (0..3).map(|partition| broker.records("lab.data", partition).len()).sum();
    assert_eq!(written, 200);
}

const TINY: Duration = Duration::from_millis(10);
