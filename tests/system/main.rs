//! Whole systems over the broker in the process: every role, faults, restarts, changes of trust.

mod support;

use std::sync::Arc;
use std::time::Duration;

use kafkacrypto::message::State;
use kafkacrypto::provision::NodeRole;
use kafkacrypto::runtime::Node;
use kafkacrypto::transport::memory::Broker;
use support::fleet::Fleet;

fn log() {
    let _ = tracing_subscriber::fmt().with_env_filter("debug").with_test_writer().try_init();
}

const SOON: Duration = Duration::from_secs(10);

async fn open(broker: &Broker, config: &std::path::Path) -> Node {
    Node::builder(config).transport(Arc::new(broker.transport())).open().await.unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_consumer_gets_the_key_and_decrypts() {
    log();
    let (fleet, broker) = (Fleet::new(), Broker::new());
    let producer = open(&broker, &fleet.node("p", NodeRole::Producer, &["lab"])).await;
    let consumer = open(&broker, &fleet.node("c", NodeRole::Consumer, &["lab"])).await;
    let sealed = producer.value_serializer().serialize("lab.data", Some(b"42")).unwrap().unwrap();
    let start = std::time::Instant::now();
    let mut message = consumer.value_deserializer().deserialize("lab.data", Some(&sealed));
    assert_eq!(message.state(), State::Pending);
    assert_eq!(message.wait(SOON).await.unwrap(), Some(&b"42"[..]));
    eprintln!("first message seen -> decrypted: {:?}", start.elapsed());
    producer.close().await;
    consumer.close().await;
}
