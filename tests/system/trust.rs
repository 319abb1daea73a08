//! Who is trusted, while nodes run; and what an adversary may write to the topics.

use super::*;
use getrandom::SysRng;
use getrandom::rand_core::UnwrapErr;
use kafkacrypto::chain::{Extra, LeafKey, Restrictions, Usage, chain_of, leaf, root_certificate};
use kafkacrypto::engine::Notice;
use kafkacrypto::keys::SigningPublicKey;
use kafkacrypto::provision::NodeRole;
use kafkacrypto::runtime::{NodeFiles, OpenOptions};
use kafkacrypto::secret::Secret;
use kafkacrypto::store::config::NodeConfig;
use kafkacrypto::store::{OldKey, OldKeys};
use kafkacrypto::time::UnixTime;
use kafkacrypto::topic::Root;
use support::fleet::Fleet;

crate::in_both_places! {
    a_revocation_counts_for_the_next_request_and_after_a_restart,
    a_new_chain_lets_a_consumer_in_that_was_refused,
    a_producer_says_why_it_refuses_a_consumer,
    a_claimed_index_is_reported_and_the_authentication_tag_decides,
    what_is_injected_or_changed_is_never_called_cleartext,
    garbage_doesnt_stall_a_consumer,
    a_node_without_a_chain_starts_only_when_asked_to_and_nobody_trusts_it,
}

fn public(fleet: &Fleet, name: &str) -> SigningPublicKey {
    let crypto = std::fs::read(fleet.config(name).with_extension("crypto")).unwrap();
    let file = kafkacrypto::store::KeyFile::decode(&crypto).unwrap();
    file.public_keys(None).next().unwrap().1.clone()
}

fn revocation(fleet: &Fleet, key: &SigningPublicKey) -> Vec<u8> {
    let (limits, entry) = (Restrictions::none().with_usages([Usage::Denylist]), root_certificate(key));
    let until = UnixTime::from_secs(4_000_000_000);
    chain_of(&[&fleet.root().sign(&leaf(until, &limits, &LeafKey::Signing(key.clone()), &[Extra::Bytes(&entry)]))])
}

async fn a_revocation_counts_for_the_next_request_and_after_a_restart(place: &Place) {
    let fleet = Fleet::new();
    let config = fleet.node("p", NodeRole::Producer, &["lab"]);
    let mut producer = open(place, &config).await;
    let mut events = producer.events();
    let sealed = seal(&producer, "lab.data", b"42");
    // the bad one doesn't know, or doesn't care
    let unaware = |config: &mut NodeConfig| config.set("", "mgmt_topic_denylist", "elsewhere").unwrap();
    let bad_config = fleet.node_with("bad", NodeRole::Consumer, &["lab"], unaware);
    let good_config = fleet.node("good", NodeRole::Consumer, &["lab"]);
    let bad = open(place, &bad_config).await;
    assert_eq!(read(&bad, "lab.data", &sealed).await, b"42");
    bad.close().await;
    place.write("denylist", b"k", revocation(&fleet, &public(&fleet, "bad"))).await;
    event(&mut events, |event| matches!(event, Event::Notice(Notice::ListChanged { list: "denylist", .. }))).await;
    for round in 0..2 {
        let builder = Node::builder(&bad_config).transport(place.transport()).ask_unauthorised(true);
        let bad = builder.open().await.unwrap();
        let good = open(place, &good_config).await;
        assert_eq!(read(&good, "lab.data", &sealed).await, b"42", "round {round}");
        let mut message = bad.value_deserializer().deserialize("lab.data", Some(&sealed));
        assert!(message.wait(Duration::from_millis(500)).await.is_err(), "round {round}");
        bad.close().await;
        good.close().await;
        if round == 0 {
            producer.close().await;
            let text = std::fs::read_to_string(&config).unwrap();
            assert!(text.contains("[p-denylist]"), "it is in the config");
            producer = open(place, &config).await;
        }
    }
}

async fn a_new_chain_lets_a_consumer_in_that_was_refused(place: &Place) {
    let fleet = Fleet::new();
    let producer = open(place, &fleet.node("p", NodeRole::Producer, &["lab"])).await;
    let consumer = open(place, &fleet.node("c", NodeRole::Consumer, &["office"])).await;
    let mut events = consumer.events();
    let sealed = seal(&producer, "lab.data", b"42");
    let mut message = consumer.value_deserializer().deserialize("lab.data", Some(&sealed));
    let refused = message.wait(SOON).await.unwrap_err();
    assert!(refused.to_string().contains("not authorised"), "{refused}");
    assert_eq!(message.state(), State::Refused);
    let key = public(&fleet, "c");
    let chain = fleet.chain(&key, NodeRole::Consumer.usages(), &["lab"], UnixTime::from_secs(4_000_000_001));
    place.write("chains", &key.to_bytes(), chain).await;
    event(&mut events, |event| matches!(event, Event::Notice(Notice::ChainRenewed { .. }))).await;
    until("asked for", || message.state() != State::Refused).await;
    assert_eq!(message.wait(SOON).await.unwrap(), Some(&b"42"[..]));
    consumer.close().await;
    let consumer = open(place, &fleet.config("c")).await;
    assert_eq!(consumer.health().chain_expires, Some(UnixTime::from_secs(4_000_000_001)), "it was stored");
}

async fn a_producer_says_why_it_refuses_a_consumer(place: &Place) {
    let fleet = Fleet::new();
    let producer = open(place, &fleet.node("p", NodeRole::Producer, &["lab"])).await;
    let mut events = producer.events();
    let config = fleet.node("c", NodeRole::Consumer, &["office"]);
    let way = place.transport();
    let consumer = Node::builder(&config).transport(way).ask_unauthorised(true).open().await.unwrap();
    let sealed = seal(&producer, "lab.data", b"42");
    let mut message = consumer.value_deserializer().deserialize("lab.data", Some(&sealed));
    let Event::Rejected(rejection) = event(&mut events, |event| matches!(event, Event::Rejected(_))).await else {
        panic!()
    };
    assert_eq!(rejection.source, "lab.reqs");
    assert!(rejection.reason.contains("topic"), "{}", rejection.reason);
    assert!(message.wait(Duration::from_millis(100)).await.is_err());
    assert!(producer.health().exchange.rejected > 0);
}

async fn a_claimed_index_is_reported_and_the_authentication_tag_decides(place: &Place) {
    let fleet = Fleet::new();
    let producer = open(place, &fleet.node("p", NodeRole::Producer, &["lab"])).await;
    let sealed = seal(&producer, "lab.data", b"42");
    let index = producer.value_deserializer().deserialize("lab.data", Some(&sealed)).key_index().unwrap().clone();
    // an authorised producer that keeps the other's index among its old keys
    let thief = fleet.node("thief", NodeRole::Producer, &["lab"]);
    let mut rng = UnwrapErr(SysRng);
    let mut files = NodeFiles::open(&thief, OpenOptions::default(), &mut rng).unwrap();
    let (secret, birth) = (Secret::random(&mut rng), UnixTime::from_secs(4_000_000_000));
    let entries = vec![OldKey { root: Root::new("lab"), index, secret, birth }];
    files.save_old_keys(&OldKeys { entries }, &mut rng).unwrap();
    drop(files);
    let _thief = open(place, &thief).await;
    let consumer = open(place, &fleet.node("c", NodeRole::Consumer, &["lab"])).await;
    let mut events = consumer.events();
    let mut message = consumer.value_deserializer().deserialize("lab.data", Some(&sealed));
    while message.wait(SOON).await.is_err() {}
    assert_eq!(message.cleartext().unwrap(), Some(&b"42"[..]));
    let conflict = event(&mut events, |event| matches!(event, Event::Conflict { .. })).await;
    let said = format!("{conflict:?}");
    for name in ["p", "thief"] {
        assert!(said.contains(&public(&fleet, name).to_string()), "{said}");
    }
}

async fn what_is_injected_or_changed_is_never_called_cleartext(place: &Place) {
    let fleet = Fleet::new();
    let node = open(place, &fleet.node("b", NodeRole::Prodcon, &["lab"])).await;
    let sealed = seal(&node, "lab.data", b"42");
    assert_eq!(state(&node, "lab.data", b"plain words"), State::Foreign);
    assert_eq!(state(&node, "lab.data", &[1, 2, 3]), State::Foreign);
    assert_eq!(state(&node, "lab.data", b""), State::Null);
    for position in 1..sealed.len() {
        let mut changed = sealed.clone();
        changed[position] ^= 1;
        assert_ne!(state(&node, "lab.data", &changed), State::Cleartext, "byte {position}");
    }
    assert_ne!(state(&node, "office.data", &sealed), State::Cleartext, "another root");
    assert_eq!(state(&node, "lab.data", &sealed), State::Cleartext);
}

async fn garbage_doesnt_stall_a_consumer(place: &Place) {
    let fleet = Fleet::new();
    let producer = open(place, &fleet.node("p", NodeRole::Producer, &["lab"])).await;
    let consumer = open(place, &fleet.node("c", NodeRole::Consumer, &["lab"])).await;
    let good = seal(&producer, "lab.data", b"42");
    let start = Instant::now();
    for number in 0..1000_u16 {
        // as long as a key index may be, and each another
        let mut garbage = good.clone();
        garbage[4..6].copy_from_slice(&number.to_be_bytes());
        let mut message = consumer.value_deserializer().deserialize("lab.data", Some(&garbage));
        assert!(message.wait(Duration::from_millis(100)).await.is_err());
    }
    assert!(start.elapsed() < Duration::from_secs(5), "1000 messages, {:?}", start.elapsed());
    let mut message = consumer.value_deserializer().deserialize("lab.data", Some(&good));
    until("decrypted", || message.retry() == State::Cleartext).await;
}

async fn a_node_without_a_chain_starts_only_when_asked_to_and_nobody_trusts_it(place: &Place) {
    let fleet = Fleet::new();
    let producer = open(place, &fleet.node("p", NodeRole::Producer, &["lab"])).await;
    let mut events = producer.events();
    let config = fleet.config("new");
    drop(NodeFiles::open_or_create(&config, "new", OpenOptions::default(), &mut UnwrapErr(SysRng)).unwrap());
    let refused = Node::builder(&config).transport(place.transport()).open().await.unwrap_err();
    assert!(refused.is_configuration() && refused.to_string().contains("provision"), "{refused}");
    let builder = Node::builder(&config).transport(place.transport()).allow_unprovisioned(true);
    let node = builder.open().await.unwrap();
    let sealed = seal(&producer, "lab.data", b"42");
    let mut message = node.value_deserializer().deserialize("lab.data", Some(&sealed));
    assert!(message.wait(Duration::from_millis(300)).await.is_err());
    let subscription = place.more_than(0, "lab.subs").await.remove(0);
    place.write("lab.reqs", &subscription.key.unwrap(), subscription.value.unwrap()).await;
    let Event::Rejected(rejection) = event(&mut events, |event| matches!(event, Event::Rejected(_))).await else {
        panic!()
    };
    assert!(rejection.reason.contains("no root of trust"), "{}", rejection.reason);
}
