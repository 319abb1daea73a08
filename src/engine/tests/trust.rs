//! Lists and chains that change while a node runs; the fleet's lists at the start; the clock.

use super::*;
use crate::chain::TEMPORARY_ROOT_SEED;

const DAY: Duration = Duration::from_secs(86_400);

/// A producer and a consumer that has got one key already, and the producer's second index.
fn fleet() -> (Sim, usize, usize, KeyIndex) {
    let mut sim = Sim::new();
    let producer = sim.add_with(PRODUCER, &["lab"], |node| node.settings.ratchet_interval = 10 * MINUTE);
    let consumer = sim.add(CONSUMER);
    let first = sim.encrypt(producer, "lab");
    sim.want(consumer, "lab", &first);
    sim.run(10 * MINUTE + SECOND);
    assert!(sim.has(consumer, &first));
    let second = sim.encrypt(producer, "lab");
    assert_ne!(first, second);
    (sim, producer, consumer, second)
}

fn announce(sim: &mut Sim, list: &str, message: Vec<u8>) {
    sim.write(list, b"k".to_vec(), message);
    sim.deliver();
}

#[test]
fn a_revoked_consumer_is_refused_at_its_next_request_and_after_a_restart() {
    let (mut sim, producer, consumer, index) = fleet();
    let message = list_message(&root_key(), sim.nodes[consumer].public(), Usage::Denylist, LATER);
    // a node that knows that it is revoked asks controllers only
    sim.nodes[consumer].withheld.insert("denylist".into());
    announce(&mut sim, "denylist", message);
    sim.want(consumer, "lab", &index);
    sim.run(MINUTE);
    assert!(!sim.has(consumer, &index));
    assert!(sim.nodes[producer].was_told("revoked"), "{:?}", sim.nodes[producer].rejected);
    sim.nodes[producer].rejected.clear();
    sim.topics.get_mut("denylist").unwrap().clear();
    sim.restart(producer);
    sim.run(MINUTE);
    assert!(!sim.has(consumer, &index) && sim.nodes[producer].was_told("revoked"));
}

#[test]
fn a_revoked_producer_is_not_believed() {
    let (mut sim, producer, consumer, index) = fleet();
    let message = list_message(&root_key(), sim.nodes[producer].public(), Usage::Denylist, LATER);
    sim.nodes[producer].withheld.insert("denylist".into());
    announce(&mut sim, "denylist", message);
    sim.want(consumer, "lab", &index);
    sim.run(SECOND);
    assert!(!sim.has(consumer, &index) && sim.nodes[consumer].was_told("revoked"));
}

#[test]
fn a_revoked_key_gains_nothing_by_adding_other_keys_to_its_leaf() {
    // protocol §15 row 1; the chain's own tests have more
    let (mut sim, producer, consumer, index) = fleet();
    let message = list_message(&root_key(), sim.nodes[consumer].public(), Usage::Denylist, LATER);
    announce(&mut sim, "denylist", message);
    let key = &sim.nodes[consumer].key;
    let limits = Restrictions::none().with_topics(["lab"]).with_usages(CONSUMER.iter().copied());
    let listed = [key.public(), root_key().public()]
        .map(|public| crate::chain::ListedKey::Bare(public.to_bytes().try_into().unwrap()));
    let leaf = leaf(UnixTime::from_secs(LATER), &limits, &LeafKey::Keys(listed.to_vec()), &[Extra::Bytes(&[5; 32])]);
    let value = crate::chain::append(&chain_for(key, CONSUMER, &["lab"], LATER), &key.sign(&leaf)).unwrap();
    sim.write("lab.reqs", KeyIndex::encode_list([index].iter()), value);
    let before = sim.counters(producer).requests_answered;
    sim.deliver();
    assert_eq!(sim.counters(producer).requests_answered, before);
    assert!(sim.nodes[producer].was_told("revoked"), "{:?}", sim.nodes[producer].rejected);
}

#[test]
fn a_key_that_revokes_itself_is_refused_for_good() {
    let (mut sim, producer, consumer, index) = fleet();
    let message = self_revocation(&sim.nodes[consumer].key);
    announce(&mut sim, "denylist", message);
    assert_eq!(sim.nodes[producer].disk.deny, [root_certificate(sim.nodes[consumer].public())], "just the key is kept");
    for _ in 0..2 {
        sim.want(consumer, "lab", &index);
        sim.run(MINUTE);
        assert!(!sim.has(consumer, &index));
        sim.topics.get_mut("denylist").unwrap().clear();
        sim.restart(producer);
    }
}

#[test]
fn anybody_can_make_keys_that_revoke_themselves_so_their_number_is_bounded() {
    let mut sim = Sim::new();
    let node = sim.add(CONSUMER);
    for round in 0..2 {
        for number in 0..2500_u32 {
            let mut seed = [round + 7; 32];
            seed[..4].copy_from_slice(&number.to_be_bytes());
            sim.write("denylist", b"k".to_vec(), self_revocation(&SigningKey::from_ed25519_seed(&seed)));
        }
        sim.deliver();
        assert_eq!(sim.nodes[node].disk.deny.len(), if round == 0 { 2500 } else { 4096 });
        sim.topics.get_mut("denylist").unwrap().clear();
        sim.restart(node);
    }
    // those of a root of trust still count
    let revoked = SigningKey::generate(SigningType::Ed25519, &mut rng());
    announce(&mut sim, "denylist", list_message(&root_key(), revoked.public(), Usage::Denylist, LATER));
    assert_eq!(sim.nodes[node].disk.deny.len(), 4097);
}

#[test]
fn a_new_root_of_trust_counts_at_once_and_after_a_restart() {
    let mut sim = Sim::new();
    let producer = sim.add(PRODUCER);
    let other = SigningKey::generate(SigningType::Ed25519, &mut rng());
    let consumer = sim.add_with(CONSUMER, &["lab"], |node| {
        node.disk.chain = chain_by(&other, &node.key, CONSUMER, &["lab"], LATER);
        node.disk.allow.push(root_certificate(other.public()));
    });
    let index = sim.encrypt(producer, "lab");
    sim.want(consumer, "lab", &index);
    sim.run(SECOND / 2);
    assert!(!sim.has(consumer, &index) && sim.nodes[producer].was_told("no root of trust"));
    announce(&mut sim, "allowlist", list_message(&root_key(), other.public(), Usage::Allowlist, LATER));
    sim.run(MINUTE);
    assert!(sim.has(consumer, &index));
    assert_eq!(sim.nodes[producer].disk.allow.len(), 2);
    sim.topics.get_mut("allowlist").unwrap().clear();
    for node in [producer, consumer] {
        sim.restart(node);
    }
    sim.run(MINUTE);
    assert!(sim.has(consumer, &index));
}

#[test]
fn a_list_message_needs_the_right_to_it() {
    let mut sim = Sim::new();
    let node = sim.add(CONSUMER);
    let (stranger, victim) = (
        SigningKey::generate(SigningType::Ed25519, &mut rng()),
        SigningKey::generate(SigningType::Ed25519, &mut rng()),
    );
    let temporary = SigningKey::from_ed25519_seed(&TEMPORARY_ROOT_SEED);
    sim.nodes[node].disk.allow.push(root_certificate(temporary.public()));
    sim.restart(node);
    let wrong = [
        ("denylist", list_message(&stranger, victim.public(), Usage::Denylist, LATER)),
        ("allowlist", list_message(&stranger, victim.public(), Usage::Allowlist, LATER)),
        ("allowlist", list_message(&root_key(), victim.public(), Usage::Denylist, LATER)),
        ("denylist", list_message(&root_key(), victim.public(), Usage::Allowlist, LATER)),
        ("denylist", list_message(&root_key(), victim.public(), Usage::Denylist, 1_000_000_000)),
        // whose secret everybody knows
        ("denylist", list_message(&temporary, victim.public(), Usage::Denylist, LATER)),
        ("allowlist", list_message(&temporary, victim.public(), Usage::Allowlist, LATER)),
        ("allowlist", self_revocation(&victim)),
        ("denylist", b"no chain".to_vec()),
        ("denylist", chain_for(&victim, &[Usage::Denylist], &["lab"], LATER)),
    ];
    let count = wrong.len();
    for (topic, message) in wrong {
        announce(&mut sim, topic, message);
    }
    let node = &sim.nodes[node];
    assert_eq!(
        (node.disk.allow.len(), node.disk.deny.len(), node.rejected.len()),
        (2, 0, count),
        "{:?}",
        node.rejected
    );
}

#[test]
fn only_a_later_chain_replaces_ours() {
    let mut sim = Sim::new();
    let node = sim.add(CONSUMER);
    let key = SigningKey::from_bytes(sim.nodes[node].key.to_bytes().expose()).unwrap();
    let (name, first) = (key.public().to_bytes(), sim.nodes[node].disk.chain.clone());
    let other = SigningKey::generate(SigningType::Ed25519, &mut rng());
    let useless = [
        chain_for(&key, CONSUMER, &["lab"], LATER - 1),
        chain_for(&key, CONSUMER, &["lab"], 1_000_000_000),
        chain_for(&other, CONSUMER, &["lab"], LATER + 5),
        chain_by(&other, &key, CONSUMER, &["lab"], LATER + 5),
        self_revocation(&key),
        first.clone(),
        b"no chain".to_vec(),
    ];
    for chain in useless {
        sim.write("chains", name.clone(), chain);
        sim.deliver();
        assert_eq!(sim.nodes[node].disk.chain, first);
    }
    let later = chain_for(&key, CONSUMER, &["lab", "office"], LATER + 5);
    sim.write("chains", name.clone(), later.clone());
    sim.deliver();
    assert_eq!(sim.nodes[node].disk.chain, later);
    assert!(sim.nodes[node].noticed(|notice| matches!(notice, Notice::ChainRenewed { .. })));
    // an older one that stays the last record of the topic does no harm at the next start
    sim.write("chains", name.clone(), first);
    sim.restart(node);
    sim.deliver();
    assert_eq!(sim.nodes[node].disk.chain, later);
    let never = chain_for(&key, CONSUMER, &["lab"], 0);
    sim.write("chains", name.clone(), never.clone());
    sim.write("chains", name, later);
    sim.deliver();
    assert_eq!(sim.nodes[node].disk.chain, never, "never is the latest");
}

#[test]
fn a_new_chain_changes_what_we_ask_and_whom() {
    let mut sim = Sim::new();
    let (producer, consumer) = (sim.add(PRODUCER), sim.add_with(&[Usage::EncryptSubscribe], &["office"], |_| {}));
    let index = sim.encrypt(producer, "lab");
    sim.want(consumer, "lab", &index);
    sim.run(SECOND / 2);
    assert!(sim.nodes[consumer].refused[0].1.contains("not authorised"));
    let key = &sim.nodes[consumer].key;
    let (name, chain) = (key.public().to_bytes(), chain_for(key, CONSUMER, &["lab"], LATER + 5));
    sim.write("chains", name, chain);
    sim.deliver();
    sim.want(consumer, "lab", &index);
    sim.run(SECOND / 2);
    assert!(sim.has(consumer, &index));
}

#[test]
fn nothing_is_asked_or_answered_before_the_lists_are_read() {
    let mut sim = Sim::new();
    let hide = |node: &mut Node| _ = node.withheld.insert("denylist".into());
    let (producer, consumer) = (sim.add_with(PRODUCER, &["lab"], hide), sim.add(CONSUMER));
    let revoked = list_message(&root_key(), sim.nodes[consumer].public(), Usage::Denylist, LATER);
    sim.run(SECOND);
    sim.nodes[consumer].withheld.insert("denylist".into());
    sim.write("denylist", b"k".to_vec(), revoked);
    sim.restart(producer);
    let index = sim.encrypt(producer, "lab");
    sim.want(consumer, "lab", &index);
    sim.run(2 * SECOND);
    assert!(!sim.nodes[producer].engine.is_exchanging());
    assert!(sim.written("lab.keys").is_empty(), "answered with lists that weren't read");
    // the request was held, and is judged by the list that is read now
    sim.nodes[producer].withheld.clear();
    sim.run(SECOND);
    assert!(sim.nodes[producer].engine.is_exchanging());
    assert!(!sim.has(consumer, &index) && sim.nodes[producer].was_told("revoked"));
    assert!(!sim.nodes[producer].noticed(|notice| matches!(notice, Notice::ListsWithheld { .. })));
}

#[test]
fn a_broker_that_withholds_the_lists_holds_a_node_up_for_five_seconds_and_is_reported() {
    let mut sim = Sim::new();
    let producer = sim.add(PRODUCER);
    let index = sim.encrypt(producer, "lab");
    let consumer = sim.add_with(CONSUMER, &["lab"], |node| _ = node.withheld.insert("allowlist".into()));
    sim.want(consumer, "lab", &index);
    sim.run(5 * SECOND - SECOND / 100);
    assert!(sim.nodes[consumer].asked.is_empty() && !sim.nodes[consumer].engine.is_exchanging());
    sim.run(SECOND / 50);
    assert!(sim.has(consumer, &index));
    let reported = Notice::ListsWithheld { topics: "allowlist".into() };
    assert!(sim.nodes[consumer].noticed(|notice| *notice == reported));
}

#[test]
fn before_the_clock_is_set_nothing_is_judged_and_afterwards_nothing_is_missed() {
    let mut sim = Sim::new();
    let producer = sim.add(PRODUCER);
    let index = sim.encrypt(producer, "lab");
    let revoked = SigningKey::generate(SigningType::Ed25519, &mut rng());
    // valid only if the wrong clock is believed
    sim.write(
        "denylist",
        b"k".to_vec(),
        list_message(&root_key(), sim.nodes[producer].public(), Usage::Denylist, 5000),
    );
    sim.write("denylist", b"k".to_vec(), list_message(&root_key(), revoked.public(), Usage::Denylist, LATER));
    let set = sim.now.wall;
    sim.now.wall = UnixTime::from_secs(1000);
    let consumer = sim.add(CONSUMER);
    sim.want(consumer, "lab", &index);
    sim.run(MINUTE);
    let node = &sim.nodes[consumer];
    assert!(node.asked.is_empty() && node.disk.deny.is_empty() && node.rejected.is_empty());
    assert_eq!(node.notices.iter().filter(|notice| **notice == Notice::ClockNotSet).count(), 1);
    sim.now.wall = set;
    sim.run(2 * SECOND);
    assert_eq!(sim.nodes[consumer].disk.deny, [root_certificate(revoked.public())]);
    assert!(sim.has(consumer, &index));
}

#[test]
fn a_clock_that_falls_back_is_not_believed_either_and_encrypting_goes_on() {
    let (mut sim, producer, consumer, index) = fleet();
    let set = sim.now.wall;
    sim.now.wall = UnixTime::from_secs(1000);
    sim.want(consumer, "lab", &index);
    sim.run(MINUTE);
    assert!(!sim.has(consumer, &index) && sim.nodes[producer].rejected.is_empty());
    sim.encrypt(producer, "lab");
    sim.now.wall = set;
    sim.run(2 * SECOND);
    assert!(sim.has(consumer, &index));
}

#[test]
fn records_from_the_future_are_reported_once() {
    let mut sim = Sim::new();
    let node = sim.add(CONSUMER);
    for ahead in [10, 1000, 2000] {
        let timestamp = Some(sim.now.wall.after(Duration::from_secs(ahead)));
        sim.input(node, Input::Record(Record { topic: "lab.keys", key: None, value: Some(b""), timestamp }));
    }
    let skews = |notice: &&Notice| matches!(notice, Notice::ClockSkew { .. });
    assert_eq!(
        sim.nodes[node].notices.iter().filter(skews).collect::<Vec<_>>(),
        [&Notice::ClockSkew { seconds: 1000 }]
    );
}

#[test]
fn the_end_of_our_own_chain_is_warned_of_every_day() {
    let mut sim = Sim::new();
    let soon = 1_800_000_000 + 10 * 86_400;
    let node =
        sim.add_with(CONSUMER, &["lab"], |node| node.disk.chain = chain_for(&node.key, CONSUMER, &["lab"], soon));
    assert_eq!(sim.nodes[node].engine.chain_expires(), Some(UnixTime::from_secs(soon)));
    sim.run(3 * DAY);
    let warnings = |notice: &&Notice| matches!(notice, Notice::ChainExpires { .. });
    assert_eq!(sim.nodes[node].notices.iter().filter(warnings).count(), 4);
    let other = sim.add(CONSUMER);
    assert!(!sim.nodes[other].noticed(|notice| matches!(notice, Notice::ChainExpires { .. })));
    let stranger = SigningKey::generate(SigningType::Ed25519, &mut rng());
    let invalid = sim.add_with(CONSUMER, &["lab"], |node| {
        node.disk.chain = chain_by(&stranger, &node.key, CONSUMER, &["lab"], LATER);
    });
    assert!(sim.nodes[invalid].noticed(|notice| matches!(notice, Notice::ChainInvalid { .. })));
}

#[test]
fn topics_that_are_not_ours_are_refused() {
    let mut sim = Sim::new();
    let node = sim.add(CONSUMER);
    sim.run(SECOND);
    for topic in ["lab.subs", "lab.data", ""] {
        sim.input(node, Input::Record(Record { topic, key: None, value: None, timestamp: None }));
    }
    assert_eq!(sim.nodes[node].rejected.len(), 3);
    sim.input(node, Input::Done { id: 123_456, result: Ok(Outcome::Done) });
}
