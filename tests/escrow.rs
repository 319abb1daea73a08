//! Escrow between the implementations, and the day for which it is there.
#![cfg(unix)]

mod support;

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use getrandom::SysRng;
use getrandom::rand_core::UnwrapErr;
use kafkacrypto::keys::{RatchetState, Scheme};
use kafkacrypto::provision::{EscrowKey, EscrowPublicKey, NodeRole};
use kafkacrypto::runtime::{Node, OpenOptions, create_secret, read_secret};
use kafkacrypto::secret::Secret;
use kafkacrypto::transport::memory::Broker;
use serde_json::{Value, json};
use support::fleet::Fleet;

const SOON: Duration = Duration::from_secs(60);

#[test]
fn python_opens_ours_and_we_open_python() {
    let Some(python) = support::python() else { return };
    let rng = &mut UnwrapErr(SysRng);
    for version in ["1", "2", "5"] {
        let mut peer = python.run(&["escrow", version]);
        let theirs = EscrowPublicKey::from_bytes(&bytes(&peer.line(SOON)["public"])).unwrap();
        assert_eq!(theirs.scheme().offer_version().to_string(), version);
        let secret = Secret::random(rng);
        peer.write(&json!({"sealed": hex::encode(theirs.seal(&secret, rng).unwrap())}));
        assert_eq!(bytes(&peer.line(SOON)["opened"]), secret.expose(), "version {version}: ours, opened by Python");
        let ours = EscrowKey::generate(theirs.scheme(), rng);
        let to = hex::encode(ours.public().to_bytes());
        peer.write(&json!({"to": to, "secret": hex::encode(secret.expose())}));
        let opened = ours.open(&bytes(&peer.line(SOON)["sealed"])).unwrap();
        assert!(opened.same_as(&secret), "version {version}: Python's, opened by us");
    }
}

/// A node is lost with all that it has learned since it was provisioned; its key file and config come from a backup of that
/// day, its seed from escrow.
#[tokio::test(flavor = "multi_thread")]
async fn what_a_lost_node_has_encrypted_can_be_read_again() {
    let (fleet, broker, rng) = (Fleet::new(), Broker::new(), &mut UnwrapErr(SysRng));
    let escrow = EscrowKey::generate(Scheme::X25519MlKem1024, rng);
    let config = fleet.node("p", NodeRole::Producer, &["lab"]);
    let (keys, seed) = (config.with_extension("crypto"), config.with_extension("seed"));
    let state = read_secret(&seed, OpenOptions::default()).unwrap();
    let state = RatchetState::decode(state.expose()).unwrap();
    let sealed = escrow.public().seal(state.secret(), rng).unwrap();
    let backup = [&config, &keys].map(|path| (path, std::fs::read(path).unwrap()));

    let mut records = Vec::new();
    for start in 0..3 {
        let node = open(&broker, &config).await;
        let text = format!("before the loss, start {start}");
        records.push((node.value_serializer().serialize("lab.data", Some(text.as_bytes())).unwrap().unwrap(), text));
        node.close().await;
    }
    std::fs::remove_file(&seed).unwrap();
    backup.iter().for_each(|(path, bytes)| std::fs::write(path, bytes).unwrap());

    let consumer = open(&broker, &fleet.node("c", NodeRole::Consumer, &["lab"])).await;
    let secret = escrow.open(&sealed).unwrap();
    create_secret(&seed, &RatchetState::new(0, secret).encode()).unwrap();
    for (record, text) in &records {
        // each start is a step, and gives out the key of that step once something is encrypted under the root
        let node = open(&broker, &config).await;
        node.value_serializer().serialize("lab.data", Some(b"again")).unwrap();
        let mut message = consumer.value_deserializer().deserialize("lab.data", Some(record));
        let read = message.wait(SOON).await.unwrap_or_else(|error| panic!("{text}: {error}")).unwrap();
        assert_eq!(read, text.as_bytes());
        node.close().await;
    }
    consumer.close().await;
}

async fn open(broker: &Broker, config: &Path) -> Node {
    Node::builder(config).transport(Arc::new(broker.transport())).open().await.unwrap()
}

fn bytes(value: &Value) -> Vec<u8> {
    hex::decode(value.as_str().expect("hex")).expect("hex")
}
