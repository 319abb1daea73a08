use std::time::Duration;

use proptest::prelude::*;

use super::*;
use crate::client::partition_of;
use crate::client::testing::{block_on, deserializers, root, secret, serializers, writer};
use crate::keyring::{Keyring, Learned, Prepare, PrepareError, ProducerSecret};
use crate::keys::{KeyIndex, Purpose};
use crate::topic::Root;
use crate::transport::TransportErrorKind::*;
use crate::transport::memory::{Broker, Call, Faults, Memory, When};

const TOPIC: &str = "lab.data";

struct Setup {
    broker: Broker,
    memory: Memory,
    keyring: Arc<Keyring>,
    producer: Producer,
}

fn setup(partitions: i32, options: ProducerOptions) -> Setup {
    let broker = Broker::new().max_message_bytes(10_000);
    broker.create_topic(TOPIC, partitions);
    let (memory, keyring) = (broker.transport(), writer(1));
    let (keys, values) = serializers(&keyring);
    let producer = Producer::new(Arc::new(memory.clone()), keys, values, options);
    Setup { broker, memory, keyring, producer }
}

fn record(key: u32, value: u32) -> ProducerRecord {
    ProducerRecord::new(TOPIC).key(key.to_string()).value(value.to_string())
}

impl Setup {
    /// What a partition holds, decrypted.
    fn texts(&self, partition: i32) -> Vec<(String, String)> {
        let (keys, values) = deserializers(&self.keyring);
        let text = |message: crate::message::Message| {
            String::from_utf8(message.cleartext().unwrap().unwrap_or(b"-").to_vec()).unwrap()
        };
        let records = self.broker.records(TOPIC, partition).into_iter();
        let one =
            |bytes: Option<Vec<u8>>, of: &crate::serdes::Deserializer| text(of.deserialize(TOPIC, bytes.as_deref()));
        records.map(|record| (one(record.key, &keys), one(record.value, &values))).collect()
    }

    fn values(&self, partition: i32) -> Vec<u32> {
        self.texts(partition).iter().map(|(_, value)| value.parse().unwrap()).collect()
    }
}

#[test]
fn records_of_a_key_share_a_partition_in_order_and_nothing_is_in_the_clear() {
    let setup = setup(4, ProducerOptions::new().linger(Duration::from_millis(2)));
    block_on(async {
        let mut queued = Vec::new();
        for n in 0..400 {
            queued.push(setup.producer.queue(record(n % 10, n)).await.unwrap());
        }
        for (n, queued) in (0_u32..).zip(queued) {
            let delivery = queued.await.unwrap();
            let partition = partition_of((n % 10).to_string().as_bytes(), 4).unwrap();
            assert_eq!(usize::try_from(delivery.partition).unwrap(), partition);
        }
    });
    let all: Vec<Vec<u32>> = (0..4).map(|partition| setup.values(partition)).collect();
    assert_eq!(all.iter().map(Vec::len).sum::<usize>(), 400);
    for partition in &all {
        for key in 0..10 {
            assert!(partition.iter().filter(|n| *n % 10 == key).is_sorted(), "{partition:?}");
        }
    }
    assert!(setup.memory.calls(Call::Produce) < 200, "records share requests");
    let raw = (0..4).flat_map(|partition| setup.broker.records(TOPIC, partition));
    raw.for_each(|record| assert!(record.key.unwrap().len() > 30 && record.value.unwrap().len() > 30));
}

#[test]
fn nulls_headers_and_times_pass() {
    let setup = setup(1, ProducerOptions::new());
    block_on(setup.producer.send(ProducerRecord::new(TOPIC).header("h", Some(b"x".to_vec())).at(77))).unwrap();
    let record = &setup.broker.records(TOPIC, 0)[0];
    assert_eq!((&record.key, &record.value, record.timestamp_ms), (&None, &None, 77));
    assert_eq!(record.headers, [("h".to_owned(), Some(b"x".to_vec()))]);
}

#[test]
fn partitions_can_be_fixed_named_or_independent_of_keys() {
    block_on(async {
        let fixed = setup(4, ProducerOptions::new().partitioning(Partitioning::Fixed(2)));
        assert_eq!(fixed.producer.send(record(1, 1)).await.unwrap().partition, 2);
        assert_eq!(fixed.producer.send(record(1, 1).partition(3)).await.unwrap().partition, 3);
        let error = fixed.producer.send(record(1, 1).partition(4)).await.unwrap_err();
        assert_eq!(error.to_string(), "topic \"lab.data\" has no partition 4; it has 4, counted from 0");
        let ignoring = setup(4, ProducerOptions::new().partitioning(Partitioning::IgnoreKeys));
        for n in 0..400 {
            ignoring.producer.send(record(1, n)).await.unwrap();
        }
        let used = (0..4).filter(|partition| !ignoring.broker.records(TOPIC, *partition).is_empty());
        assert_eq!(used.count(), 4, "records of one key are everywhere");
    });
}

#[test]
fn what_the_broker_did_not_take_is_sent_again_in_order() {
    let setup = setup(1, ProducerOptions::new());
    setup.memory.set_faults(Faults::new().fail(Call::Produce, When::Every(2), Unreachable));
    block_on(async {
        let mut queued = Vec::new();
        for n in 0..30 {
            queued.push(setup.producer.queue(record(n, n)).await.unwrap());
            tokio::time::sleep(Duration::from_millis(2)).await;
        }
        for queued in queued {
            queued.await.unwrap();
        }
    });
    assert_eq!(setup.values(0), (0..30).collect::<Vec<_>>());
    assert!(setup.memory.injected() > 0);
}

#[test]
fn a_lost_answer_is_said_and_doubles_nothing_unless_that_is_allowed() {
    let lost = Faults::new().lose_answer(Call::Produce, When::Nth(1), TimedOut);
    let careful = setup(1, ProducerOptions::new());
    careful.memory.set_faults(lost.clone());
    let error = block_on(careful.producer.send(record(1, 1))).unwrap_err();
    assert!(matches!(error, SendError::MayHaveArrived { partition: 0, .. }), "{error}");
    assert_eq!(careful.values(0), [1]);
    let eager = setup(1, ProducerOptions::new().allow_duplicates(true));
    eager.memory.set_faults(lost);
    assert_eq!(block_on(eager.producer.send(record(1, 1))).unwrap().offset, 1);
    assert_eq!(eager.values(0), [1, 1]);
}

#[test]
fn what_is_too_large_together_goes_in_parts_and_alone_fails_alone() {
    let setup = setup(1, ProducerOptions::new().linger(Duration::from_millis(50)));
    block_on(async {
        let mut queued = Vec::new();
        for n in 0..9 {
            let large = ProducerRecord::new(TOPIC).value(vec![b'1'; 20_000]);
            queued.push(setup.producer.queue(if n == 4 { large } else { record(n, n) }).await.unwrap());
        }
        for (n, queued) in (0..).zip(queued) {
            match queued.await {
                Ok(_) => assert_ne!(n, 4),
                Err(SendError::NotDelivered { source, .. }) => assert_eq!((n, source.kind()), (4, TooLarge)),
                Err(error) => panic!("{error}"),
            }
        }
    });
    assert_eq!(setup.values(0), [0, 1, 2, 3, 5, 6, 7, 8]);
}

#[test]
fn a_missing_topic_is_created_or_an_error() {
    let setup = setup(1, ProducerOptions::new().create_topics(None));
    let error = block_on(setup.producer.send(ProducerRecord::new("lab.new").value("x"))).unwrap_err();
    assert!(error.to_string().contains("there is no topic \"lab.new\"; create it"), "{error}");
    let (keys, values) = serializers(&setup.keyring);
    let producer =
        Producer::new(Arc::new(setup.memory.clone()), keys, values, ProducerOptions::new().create_topics(Some(3)));
    block_on(producer.send(ProducerRecord::new("lab.new").value("x").partition(2))).unwrap();
    assert_eq!(setup.broker.records("lab.new", 2).len(), 1);
}

#[test]
fn flush_says_what_nobody_waited_for_and_close_is_final() {
    let options = ProducerOptions::new().linger(Duration::from_secs(30));
    let setup = setup(1, options);
    block_on(async {
        drop(setup.producer.queue(record(1, 1)).await.unwrap());
        tokio::time::timeout(Duration::from_secs(5), setup.producer.flush()).await.expect("no lingering").unwrap();
        assert_eq!(setup.values(0), [1]);
        setup.memory.set_faults(Faults::new().fail(Call::Produce, When::Nth(1), NotAuthorised));
        drop(setup.producer.queue(record(2, 2)).await.unwrap());
        let error = setup.producer.flush().await.unwrap_err();
        assert!(matches!(error, SendError::NotDelivered { source, .. } if source.kind() == NotAuthorised));
        setup.memory.set_faults(Faults::new().fail(Call::Produce, When::Nth(1), NotAuthorised));
        let held = setup.producer.queue(record(2, 2)).await.unwrap();
        setup.producer.flush().await.unwrap(); // it has failed by now, and may still be asked
        drop(held);
        let error = setup.producer.flush().await.unwrap_err();
        assert!(matches!(error, SendError::NotDelivered { source, .. } if source.kind() == NotAuthorised));
        drop(setup.producer.queue(record(3, 3)).await.unwrap());
        setup.producer.close().await.unwrap();
        assert_eq!(setup.values(0), [1, 3]);
        assert_eq!(setup.producer.clone().send(record(4, 4)).await, Err(SendError::Closed));
    });
}

#[test]
fn a_full_buffer_holds_back_and_an_outage_ends_by_the_deadline() {
    let options = ProducerOptions::new().buffer_bytes(0).delivery_timeout(Duration::from_millis(600));
    let setup = setup(1, options);
    setup.memory.set_faults(Faults::new().black_hole(Call::Produce, When::Always));
    block_on(async {
        let large = || ProducerRecord::new(TOPIC).value(vec![0; 60_000]);
        let first = setup.producer.queue(large()).await.unwrap();
        let second = tokio::time::timeout(Duration::from_millis(100), setup.producer.queue(large())).await;
        assert!(second.is_err(), "no room");
        assert!(matches!(first.await, Err(SendError::MayHaveArrived { .. })));
        let second = setup.producer.queue(large()).await.unwrap();
        assert!(matches!(second.await, Err(SendError::MayHaveArrived { .. })));
    });
}

#[test]
fn who_will_not_wait_for_the_buffer_is_told_that_nothing_was_sent() {
    let options = ProducerOptions::new().buffer_bytes(0).max_block(Duration::from_millis(50));
    let setup = setup(1, options);
    setup.memory.set_faults(Faults::new().black_hole(Call::Produce, When::Always));
    block_on(async {
        let large = || ProducerRecord::new(TOPIC).value(vec![0; 60_000]);
        let _first = setup.producer.queue(large()).await.unwrap();
        let error = setup.producer.queue(large()).await.unwrap_err();
        assert!(matches!(&error, SendError::NotDelivered { source, .. } if source.kind() == TimedOut), "{error}");
    });
}

#[test]
fn a_secret_that_is_not_ready_holds_up_no_runtime() {
    /// Becomes ready only by a task of the same runtime.
    struct Slow(tokio::sync::mpsc::UnboundedSender<std::sync::mpsc::Sender<()>>);
    impl Prepare for Slow {
        fn prepare(&self, _: &[Root]) -> Result<(), PrepareError> {
            let (ready, wait) = std::sync::mpsc::channel();
            self.0.send(ready).unwrap();
            wait.recv_timeout(Duration::from_secs(20)).map_err(|_| PrepareError::TimedOut { root: root() })
        }
    }
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    runtime.block_on(async {
        let (sender, mut asked) = tokio::sync::mpsc::unbounded_channel();
        let (keyring, prepare) = (Arc::new(Keyring::new()), Arc::new(Slow(sender)));
        let serializer = |purpose| Serializer::new(keyring.clone(), Arc::default(), prepare.clone(), purpose);
        let (keys, values) = (serializer(Purpose::Key), serializer(Purpose::Value));
        let producer = Producer::new(Arc::new(Broker::new().transport()), keys, values, ProducerOptions::new());
        let driver = async {
            let ready = asked.recv().await.unwrap();
            let mut rng = getrandom::rand_core::UnwrapErr(getrandom::SysRng);
            let secret = ProducerSecret::new(root(), KeyIndex::Short(1), secret(1), &mut rng);
            assert_eq!(keyring.install_producer(secret), Learned::New);
            ready.send(()).unwrap();
        };
        let (sent, ()) = tokio::join!(producer.send(record(1, 1)), driver);
        assert_eq!(sent.unwrap().offset, 0);
    });
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(24))]

    #[test]
    fn nothing_is_lost_doubled_or_out_of_order_by_passing_faults(
        fail in 2_u64..6, delay in 1_u64..5, count in 1_u32..60, linger in 0_u64..4,
    ) {
        let setup = setup(2, ProducerOptions::new().linger(Duration::from_millis(linger)).batch_bytes(2_000));
        setup.memory.set_faults(
            Faults::new()
                .fail(Call::Produce, When::Every(fail), Other)
                .delay(Call::Produce, When::Every(delay), Duration::from_millis(3)),
        );
        block_on(async {
            for n in 0..count {
                drop(setup.producer.queue(record(n % 3, n)).await.unwrap());
            }
            setup.producer.flush().await.unwrap();
        });
        let (left, right) = (setup.values(0), setup.values(1));
        prop_assert!(left.is_sorted() && right.is_sorted());
        let mut all = [left, right].concat();
        all.sort_unstable();
        prop_assert_eq!(all, (0..count).collect::<Vec<_>>());
    }
}
