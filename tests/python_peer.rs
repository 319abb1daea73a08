//! The peer's own health: two Python nodes over the real broker. What fails here is the set-up, not us.

mod support;

use std::time::Duration;

use support::peer::Part;

#[test]
fn python_talks_to_python() {
    let (Some(bootstrap), Some(python)) = (support::bootstrap(), support::python()) else { return };
    let folder = support::folder();
    let root = support::fresh("peers");
    let topic = format!("{root}.data");
    let alice = python.provision(folder.path(), &support::fresh("alice"), "producer", &bootstrap, &["--topics", &root]);
    let bob = python.provision(folder.path(), &support::fresh("bob"), "consumer", &bootstrap, &["--topics", &root]);
    let mut producer = python.produce(&alice, &topic, Duration::from_secs(60));
    producer.send(Some(b"key"), Some(b"value"));
    producer.send(None, Some(&[0xff, 0x00, 0x01]));
    assert_eq!(producer.sent(), 2);
    let mut consumer = python.consume(&bob, &topic, 2, Duration::from_secs(60));
    let first = consumer.record(Duration::from_secs(60));
    assert_eq!((first.key, first.value), (Part::Cleartext(b"key".to_vec()), Part::Cleartext(b"value".to_vec())));
    let second = consumer.record(Duration::from_secs(10));
    assert_eq!((second.key, second.value), (Part::Null, Part::Cleartext(vec![0xff, 0x00, 0x01])));
    assert!(consumer.wait(Duration::from_secs(30)).success());
}

#[test]
fn a_held_config_is_locked_for_python() {
    let Some(python) = support::python() else { return };
    let folder = support::folder();
    let config = python.provision(folder.path(), "alice", "producer", "127.0.0.1:1", &[]);
    let holder = python.hold(&config);
    let mut second = python.run(&["hold", config.to_str().expect("UTF-8")]);
    second.close_input();
    assert!(!second.wait(Duration::from_secs(60)).success(), "the second one is refused");
    drop(holder);
    let mut third = python.hold(&config);
    third.close_input();
    assert!(third.wait(Duration::from_secs(60)).success(), "free again");
}

#[test]
fn a_killed_broker_comes_back_with_its_data() {
    let (Some(mut broker), Some(python)) = (support::Broker::start(), support::python()) else { return };
    let folder = support::folder();
    let alice = python.provision(folder.path(), "alice", "prodcon", &broker.bootstrap(), &[]);
    let mut producer = python.produce(&alice, "survivors.data", Duration::ZERO);
    producer.send(None, Some(b"before the crash"));
    assert_eq!(producer.sent(), 1);
    drop(producer);
    broker.kill();
    broker.restart();
    let consume = ["consume", alice.to_str().expect("UTF-8"), "survivors.data", "--timeout", "30", "--no-wait"];
    let mut consumer = python.run(&consume);
    consumer.ready();
    assert_eq!(consumer.record(Duration::from_secs(30)).offset, 0);
}
