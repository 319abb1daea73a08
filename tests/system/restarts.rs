//! Nodes that go and come back: restarts, crashes, steps of the ratchet, restored and cloned files.

use super::*;
use kafkacrypto::keys::KeyIndex;
use kafkacrypto::provision::NodeRole;
use kafkacrypto::store::config::NodeConfig;
use support::fleet::Fleet;

crate::in_both_places! {
    a_producer_restarts_in_the_middle_and_a_consumer_that_joins_late_reads_all,
    a_consumer_restarts_and_asks_again,
    the_ratchet_steps_while_a_consumer_reads,
    a_seed_restored_from_a_backup_repeats_no_index,
    a_cloned_node_repeats_no_key_and_nonce,
    files_are_held_while_a_node_is_open_and_free_afterwards,
    values_of_the_application_outlive_a_restart,
    when_the_config_cannot_be_written_nothing_is_encrypted,
}

fn index_of(node: &Node, sealed: &[u8]) -> KeyIndex {
    node.value_deserializer().deserialize("lab.data", Some(sealed)).key_index().unwrap().clone()
}

async fn a_producer_restarts_in_the_middle_and_a_consumer_that_joins_late_reads_all(place: &Place) {
    let fleet = Fleet::new();
    let config = fleet.node("p", NodeRole::Producer, &["lab"]);
    let early = open(place, &fleet.node("c0", NodeRole::Consumer, &["lab"])).await;
    let mut sealed = Vec::new();
    for round in 0..4 {
        let producer = open(place, &config).await;
        for number in 0..5 {
            sealed.push((
                format!("{round} {number}"),
                seal(&producer, "lab.data", format!("{round} {number}").as_bytes()),
            ));
        }
        let (text, last) = sealed.last().unwrap();
        assert_eq!(read(&early, "lab.data", last).await, text.as_bytes());
        // a crash every other time: no close, no flush
        if round % 2 == 0 { drop(producer) } else { producer.close().await }
    }
    let _producer = open(place, &config).await;
    let late = open(place, &fleet.node("c1", NodeRole::Consumer, &["lab"])).await;
    let start = Instant::now();
    for (text, sealed) in &sealed {
        assert_eq!(read(&late, "lab.data", sealed).await, text.as_bytes());
    }
    println!("20 records of 4 earlier runs, nothing encrypted since: {:?}", start.elapsed());
}

async fn a_consumer_restarts_and_asks_again(place: &Place) {
    let fleet = Fleet::new();
    let producer = open(place, &fleet.node("p", NodeRole::Producer, &["lab"])).await;
    let config = fleet.node("c", NodeRole::Consumer, &["lab"]);
    let sealed = seal(&producer, "lab.data", b"42");
    for round in 0..3 {
        let consumer = open(place, &config).await;
        assert_eq!(read(&consumer, "lab.data", &sealed).await, b"42");
        if round % 2 == 0 { drop(consumer) } else { consumer.close().await }
    }
    assert!(producer.health().exchange.requests_answered >= 3);
}

async fn the_ratchet_steps_while_a_consumer_reads(place: &Place) {
    let fleet = Fleet::new();
    let every_second = |config: &mut NodeConfig| config.set("", "crypto_ratchet_interval", 1_i64).unwrap();
    let producer = open(place, &fleet.node_with("p", NodeRole::Producer, &["lab"], every_second)).await;
    let consumer = open(place, &fleet.node("c", NodeRole::Consumer, &["lab"])).await;
    let mut indices = std::collections::BTreeSet::new();
    let start = Instant::now();
    for number in 0.. {
        let text = format!("{number}").into_bytes();
        let sealed = seal(&producer, "lab.data", &text);
        indices.insert(index_of(&producer, &sealed));
        assert_eq!(read(&consumer, "lab.data", &sealed).await, text);
        if indices.len() == 3 {
            break;
        }
        assert!(start.elapsed() < SOON, "the ratchet doesn't step");
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    assert!(consumer.health().exchange.secrets_learned >= 3);
}

async fn a_seed_restored_from_a_backup_repeats_no_index(place: &Place) {
    let fleet = Fleet::new();
    let config = fleet.node("p", NodeRole::Prodcon, &["lab"]);
    let (seed, backup) = (config.with_extension("seed"), std::fs::read(config.with_extension("seed")).unwrap());
    let mut indices = std::collections::BTreeSet::new();
    for round in 0..4 {
        let node = open(place, &config).await;
        let sealed = seal(&node, "lab.data", b"42");
        assert!(indices.insert(index_of(&node, &sealed)), "round {round}");
        node.close().await;
        std::fs::write(&seed, &backup).unwrap();
    }
}

async fn a_cloned_node_repeats_no_key_and_nonce(place: &Place) {
    let fleet = Fleet::new();
    let config = fleet.node("p", NodeRole::Prodcon, &["lab"]);
    let files = ["config", "crypto", "seed"].map(|kind| config.with_extension(kind));
    let snapshot = files.clone().map(|file| std::fs::read(file).unwrap());
    let mut sealed = Vec::new();
    for _ in 0..2 {
        let node = open(place, &config).await;
        sealed.push(seal(&node, "lab.data", b"the same words"));
        if let [first, second] = &sealed[..] {
            assert_eq!(index_of(&node, first), index_of(&node, second), "nobody can tell a clone by its files");
            assert!(sealed.iter().all(|sealed| state(&node, "lab.data", sealed) == State::Cleartext));
        }
        node.close().await;
        files.iter().zip(&snapshot).for_each(|(file, bytes)| std::fs::write(file, bytes).unwrap());
    }
    // version, key index, salt: the salt starts at random, so another key and nonce
    assert_eq!(sealed[0][..38], sealed[1][..38]);
    assert_ne!(sealed[0][38..56], sealed[1][38..56]);
}

async fn files_are_held_while_a_node_is_open_and_free_afterwards(place: &Place) {
    let fleet = Fleet::new();
    let config = fleet.node("p", NodeRole::Producer, &["lab"]);
    let again = || Node::builder(&config).transport(place.transport()).open();
    let node = open(place, &config).await;
    let refused = again().await.unwrap_err();
    assert!(refused.is_configuration() && refused.to_string().contains("in use"), "{refused}");
    let serializer = node.value_serializer();
    node.close().await;
    let second = again().await.unwrap();
    assert!(again().await.is_err(), "the second one holds them");
    let clone = second.clone();
    drop(second);
    assert!(again().await.is_err(), "a clone holds them");
    drop(clone);
    let third = again().await.unwrap();
    drop(serializer);
    assert!(again().await.is_err());
    third.close().await;
}

async fn values_of_the_application_outlive_a_restart(place: &Place) {
    let fleet = Fleet::new();
    let config = fleet.node("p", NodeRole::Producer, &["lab"]);
    let node = open(place, &config).await;
    node.store_value("app", "Colour", "red").unwrap();
    seal(&node, "lab.data", b"writes the config as well");
    drop(node);
    let node = open(place, &config).await;
    assert_eq!(node.load_value("app", "colour").unwrap(), Some("red".into()));
    node.close().await;
    assert!(node.load_value("app", "colour").is_err());
}

async fn when_the_config_cannot_be_written_nothing_is_encrypted(place: &Place) {
    let fleet = Fleet::new();
    let config = fleet.node("p", NodeRole::Producer, &["lab", "office"]);
    let node = open(place, &config).await;
    let before = seal(&node, "lab.data", b"durable");
    std::fs::rename(fleet.folder(), fleet.folder().with_extension("away")).unwrap();
    let refused = node.value_serializer().serialize("office.data", Some(b"lost if the process dies")).unwrap_err();
    assert!(refused.to_string().contains("nothing was encrypted"), "{refused}");
    assert!(!before.is_empty() && !seal(&node, "lab.data", b"goes on").is_empty());
    std::fs::rename(fleet.folder().with_extension("away"), fleet.folder()).unwrap();
    seal(&node, "office.data", b"now it is");
}
