//! Requests and replies: in any order, late, repeated, false, too many, too large.

use super::*;
use crate::exchange::{Request, request_leaf};
use crate::keys::{Ephemeral, OfferKey, SigningType};

const KEYS: &str = "lab.keys";
const REQS: &str = "lab.reqs";
const SUBS: &str = "lab.subs";

fn lab() -> Root {
    Root::new("lab")
}

/// Somebody's request, made by hand.
fn request(
    signer: &SigningKey,
    usages: &[Usage],
    indices: &[KeyIndex],
    random0: &[u8; 32],
    offer: &OfferKey,
) -> Written {
    let leaf = request_leaf(UnixTime::from_secs(LATER), &lab(), &[offer], random0, false).unwrap();
    let chain = chain_for(signer, usages, &["lab"], LATER);
    let value = crate::chain::append(&chain, &signer.sign(&leaf)).unwrap();
    Written { key: KeyIndex::encode_list(indices.iter()), value, at: Duration::ZERO }
}

/// A reply to a request that was written to the broker, made by hand: what is sealed is up to the caller.
fn reply(sim: &Sim, signer: &SigningKey, asked: &Written, sealed: &[u8]) -> Written {
    let (lists, _) = TrustLists::new([&root_certificate(root_key().public())[..]], []);
    let ask = crate::chain::Ask { topic: Some("lab"), usage: Some(Usage::EncryptRequest) };
    let verified = crate::chain::verify(&asked.value, ask, &lists, sim.now.wall).unwrap();
    let request = Request::from_verified(&verified).unwrap();
    let leaf = crate::exchange::tests::reply_with(&lab(), &request, sealed);
    let chain = chain_for(signer, PRODUCER, &["lab"], LATER);
    let value = crate::chain::append(&chain, &signer.sign(&leaf)).unwrap();
    Written { key: asked.key.clone(), value, at: Duration::ZERO }
}

fn put(sim: &mut Sim, topic: &str, Written { key, value, .. }: Written) {
    sim.write(topic, key, value);
}

fn offer() -> OfferKey {
    Ephemeral::generate(Scheme::X25519, &mut rng()).offer().clone()
}

#[test]
fn the_ephemeral_keys_of_the_next_request_are_made_while_nobody_waits() {
    let mut sim = Sim::new();
    let (producer, consumer) = (sim.add(PRODUCER), sim.add(CONSUMER));
    let rests = |sim: &Sim| sim.nodes[consumer].engine.next_wake().unwrap() > sim.now.mono + MINUTE / 2;
    sim.run(SECOND);
    assert!(rests(&sim), "made at the start");
    let index = sim.encrypt(producer, "lab");
    sim.want(consumer, "lab", &index);
    sim.run(SECOND / 2);
    assert!(sim.has(consumer, &index) && !rests(&sim), "used up, and due");
    sim.run(SECOND);
    assert!(rests(&sim), "made again");
}

#[test]
fn a_key_arrives_without_a_repeat() {
    let mut sim = Sim::new();
    let (producer, consumer) = (sim.add(PRODUCER), sim.add(CONSUMER));
    let index = sim.encrypt(producer, "lab");
    sim.want(consumer, "lab", &index);
    sim.run(SECOND / 2);
    assert!(sim.has(consumer, &index));
    sim.run(10 * MINUTE);
    assert_eq!((sim.counters(consumer).requests_sent, sim.counters(producer).requests_answered), (1, 1));
    assert_eq!(sim.counters(consumer).secrets_learned, 1);
}

#[test]
fn several_producers_answer_one_request_in_any_order() {
    for late in [0, 1] {
        let mut sim = Sim::new();
        let producers = [sim.add(PRODUCER), sim.add(PRODUCER)];
        let consumer = sim.add(CONSUMER);
        let indices = producers.map(|producer| sim.encrypt(producer, "lab"));
        sim.nodes[producers[late]].withheld.insert(REQS.into());
        indices.iter().for_each(|index| sim.want(consumer, "lab", index));
        sim.run(SECOND / 2);
        assert!(sim.has(consumer, &indices[1 - late]) && !sim.has(consumer, &indices[late]));
        sim.nodes[producers[late]].withheld.clear();
        sim.deliver();
        assert!(sim.has(consumer, &indices[late]));
        assert_eq!(sim.counters(consumer).requests_sent, 1);
        assert!(sim.nodes[consumer].rejected.is_empty());
    }
}

#[test]
fn a_reply_that_comes_after_repeats_is_taken() {
    let mut sim = Sim::new();
    let (producer, consumer) = (sim.add(PRODUCER), sim.add(CONSUMER));
    let index = sim.encrypt(producer, "lab");
    sim.nodes[consumer].withheld.insert(KEYS.into());
    sim.want(consumer, "lab", &index);
    sim.run(SECOND / 2);
    let first = sim.written(KEYS)[0].clone();
    sim.topics.get_mut(KEYS).unwrap().clear();
    sim.nodes[producer].withheld.insert(REQS.into());
    sim.run(MINUTE);
    assert!(sim.counters(consumer).requests_sent > 3);
    put(&mut sim, KEYS, first);
    sim.nodes[consumer].withheld.clear();
    sim.deliver();
    assert!(sim.has(consumer, &index));
}

#[test]
fn pauses_between_repeats_grow_up_to_the_interval_for_as_long_as_somebody_waits() {
    let mut sim = Sim::new();
    let consumer = sim.add(CONSUMER);
    let index = KeyIndex::long(b"nobody has it").unwrap();
    sim.want(consumer, "lab", &index);
    let start = sim.now.mono;
    sim.run(5 * MINUTE);
    let at: Vec<u64> = sim.nodes[consumer].asked.iter().map(|(at, _)| (*at - start).as_secs()).collect();
    assert_eq!(at, [0, 1, 3, 7, 15, 31, 63, 123, 183, 243]);
    sim.input(consumer, Input::KeyUnwanted { root: &lab(), index: &index });
    sim.run(60 * MINUTE);
    assert_eq!(sim.nodes[consumer].asked.len(), at.len(), "nobody waits any more");
}

#[test]
fn a_repeat_has_the_same_keys_and_another_random0() {
    let mut sim = Sim::new();
    let consumer = sim.add(CONSUMER);
    sim.want(consumer, "lab", &KeyIndex::Short(1));
    sim.run(10 * SECOND);
    let leaves: Vec<Vec<u8>> = sim.written(REQS).iter().map(|written| written.value.clone()).collect();
    assert!(leaves.len() > 2);
    let parts = |value: &[u8]| (value[value.len() - 67..value.len() - 34].to_vec(), value[value.len() - 32..].to_vec());
    let (first, second) = (parts(&leaves[0]), parts(&leaves[1]));
    assert_eq!(first.0, second.0, "the exchange key");
    assert_ne!(first.1, second.1, "random0");
}

#[test]
fn many_open_requests_are_all_repeated() {
    let mut sim = Sim::new();
    let consumer = sim.add(CONSUMER);
    let producer = sim.add_with(PRODUCER, &["lab"], |node| {
        node.disk.old_keys = old_keys(100, UnixTime::from_secs(1_800_000_000));
        node.withheld.insert(REQS.into());
    });
    let indices: Vec<KeyIndex> = sim.nodes[producer].disk.old_keys.iter().map(|old| old.index.clone()).collect();
    for index in &indices {
        sim.want(consumer, "lab", index);
        sim.run(SECOND / 10);
    }
    sim.topics.get_mut(REQS).unwrap().clear();
    sim.nodes[producer].reading.insert(REQS.into(), (0, None));
    sim.nodes[producer].withheld.clear();
    sim.run(3 * MINUTE);
    let missing = indices.iter().filter(|index| !sim.has(consumer, index)).count();
    assert_eq!(missing, 0, "of 100 keys that somebody waits for");
}

#[test]
fn a_request_that_expires_is_made_anew() {
    let mut sim = Sim::new();
    let (producer, consumer) =
        (sim.add(PRODUCER), sim.add_with(CONSUMER, &["lab"], |node| node.settings.maxage = 2 * MINUTE));
    let index = sim.encrypt(producer, "lab");
    sim.nodes[producer].withheld.insert(REQS.into());
    sim.want(consumer, "lab", &index);
    sim.run(10 * MINUTE);
    sim.nodes[producer].withheld.clear();
    sim.run(2 * MINUTE);
    assert!(sim.has(consumer, &index));
}

#[test]
fn replies_to_others_cost_no_verification_and_use_nothing_up() {
    let mut sim = Sim::new();
    let (producer, consumer) = (sim.add(PRODUCER), sim.add(CONSUMER));
    let index = sim.encrypt(producer, "lab");
    sim.nodes[producer].withheld.insert(REQS.into());
    sim.want(consumer, "lab", &index);
    sim.run(SECOND / 2);
    let theirs = request(
        &SigningKey::generate(SigningType::Ed25519, &mut rng()),
        CONSUMER,
        std::slice::from_ref(&index),
        &[9; 32],
        &offer(),
    );
    let other = reply(&sim, &SigningKey::generate(SigningType::Ed25519, &mut rng()), &theirs, b"whatever");
    put(&mut sim, KEYS, other);
    let (key, mut random0) = (b"k".to_vec(), sim.written(REQS)[0].value.clone());
    random0.drain(..random0.len() - 32);
    put(&mut sim, KEYS, Written { key, value: random0, at: Duration::ZERO });
    sim.deliver();
    assert_eq!(sim.counters(consumer).replies_ignored, 1);
    assert_eq!(sim.nodes[consumer].rejected.len(), 1, "ours by its random0, and no chain");
    sim.nodes[producer].withheld.clear();
    sim.deliver();
    assert!(sim.has(consumer, &index));
}

#[test]
fn a_reply_that_does_not_open_or_is_not_authorised_uses_nothing_up() {
    let mut sim = Sim::new();
    let (producer, consumer) = (sim.add(PRODUCER), sim.add(CONSUMER));
    let index = sim.encrypt(producer, "lab");
    sim.nodes[producer].withheld.insert(REQS.into());
    sim.want(consumer, "lab", &index);
    sim.run(SECOND / 2);
    let ours = sim.written(REQS)[0].clone();
    let stranger = SigningKey::generate(SigningType::Ed25519, &mut rng());
    // sealed for somebody else who used the same random0
    let random0: [u8; 32] = *ours.value.last_chunk().unwrap();
    let theirs = request(&stranger, CONSUMER, std::slice::from_ref(&index), &random0, &offer());
    let sealed_for_others = reply(&sim, &stranger, &theirs, b"whatever");
    put(&mut sim, KEYS, sealed_for_others);
    // a consumer's chain allows no answers
    let mut unauthorised = reply(&sim, &stranger, &ours, &[0x90]);
    let leaf = crate::exchange::tests::last_element(&unauthorised.value);
    unauthorised.value = crate::chain::append(&chain_for(&stranger, CONSUMER, &["lab"], LATER), &leaf).unwrap();
    put(&mut sim, KEYS, unauthorised);
    sim.deliver();
    assert!(sim.nodes[consumer].was_told("doesn't open"), "{:?}", sim.nodes[consumer].rejected);
    assert!(sim.nodes[consumer].was_told("key-encrypt"), "{:?}", sim.nodes[consumer].rejected);
    assert!(sim.nodes[consumer].learned.is_empty());
    sim.nodes[producer].withheld.clear();
    sim.deliver();
    assert!(sim.has(consumer, &index));
}

#[test]
fn a_malformed_secret_is_refused_alone_and_one_that_was_not_asked_for_too() {
    let mut sim = Sim::new();
    let consumer = sim.add(CONSUMER);
    let (good, bad) = (KeyIndex::Short(1), KeyIndex::Short(2));
    sim.want(consumer, "lab", &good);
    sim.want(consumer, "lab", &bad);
    sim.run(SECOND / 2);
    let mut keys = crate::wire::Writer::new();
    keys.array(6).uint(2).bin(&[7; 31]).uint(1).bin(&[7; 32]).uint(3).bin(&[7; 32]);
    let producer = SigningKey::generate(SigningType::Ed25519, &mut rng());
    let answer = reply(&sim, &producer, &sim.written(REQS)[0].clone(), &keys.finish());
    put(&mut sim, KEYS, answer);
    sim.deliver();
    assert!(sim.has(consumer, &good) && !sim.has(consumer, &bad) && !sim.has(consumer, &KeyIndex::Short(3)));
    assert!(sim.nodes[consumer].was_told("1 malformed secret"));
    assert!(sim.nodes[consumer].was_told("wasn't asked for"));
    sim.run(MINUTE);
    assert_eq!(sim.nodes[consumer].asked.last().unwrap().1, 1, "the other one is still asked for");
}

#[test]
fn both_secrets_are_kept_when_two_producers_claim_an_index() {
    let mut sim = Sim::new();
    let (producer, consumer) = (sim.add(PRODUCER), sim.add(CONSUMER));
    let index = sim.encrypt(producer, "lab");
    sim.nodes[producer].withheld.insert(REQS.into());
    sim.want(consumer, "lab", &index);
    sim.run(SECOND / 2);
    let mut keys = crate::wire::Writer::new();
    keys.array(2);
    index.encode(&mut keys);
    keys.bin(&[7; 32]);
    let thief = SigningKey::generate(SigningType::Ed25519, &mut rng());
    let answer = reply(&sim, &thief, &sim.written(REQS)[0].clone(), &keys.finish());
    put(&mut sim, KEYS, answer);
    sim.deliver();
    sim.nodes[producer].withheld.clear();
    sim.deliver();
    let signers: Vec<_> = sim.nodes[consumer].learned.iter().map(|(.., signer)| signer).collect();
    assert_eq!(signers, [thief.public(), sim.nodes[producer].public()]);
    let used = &sim.nodes[producer].used[0].2;
    assert!(sim.nodes[consumer].learned[1].2.same_as(used), "the honest one came second and is there");
}

#[test]
fn a_replayed_request_is_answered_once() {
    let mut sim = Sim::new();
    let (producer, consumer) = (sim.add(PRODUCER), sim.add(CONSUMER));
    let index = sim.encrypt(producer, "lab");
    sim.want(consumer, "lab", &index);
    sim.run(SECOND / 2);
    let seen = sim.written(REQS)[0].clone();
    for _ in 0..50 {
        put(&mut sim, REQS, seen.clone());
    }
    sim.run(SECOND);
    assert_eq!(sim.counters(producer).requests_answered, 1);
    assert_eq!(sim.written(KEYS).len(), 1);
    assert_eq!(sim.counters(producer).requests_ignored, 50);
}

#[test]
fn a_flood_of_one_signer_is_bounded_and_leaves_others_alone() {
    let mut sim = Sim::new();
    let producer = sim.add(PRODUCER);
    let index = sim.encrypt(producer, "lab");
    sim.run(SECOND);
    let (flooder, offer) = (SigningKey::generate(SigningType::Ed25519, &mut rng()), offer());
    for number in 0..300_u32 {
        let mut random0 = [0; 32];
        random0[..4].copy_from_slice(&number.to_be_bytes());
        let asked = request(&flooder, CONSUMER, std::slice::from_ref(&index), &random0, &offer);
        put(&mut sim, REQS, asked);
    }
    sim.deliver();
    assert_eq!(sim.counters(producer).requests_answered, 200);
    assert_eq!(sim.counters(producer).dropped, 100);
    let consumer = sim.add(CONSUMER);
    sim.want(consumer, "lab", &index);
    sim.run(SECOND / 2);
    assert!(sim.has(consumer, &index));
    sim.run(SECOND);
    let asked = request(&flooder, CONSUMER, std::slice::from_ref(&index), &[0xff; 32], &offer);
    put(&mut sim, REQS, asked);
    sim.deliver();
    assert_eq!(sim.counters(producer).requests_answered, 202, "later it is served again");
}

#[test]
fn a_request_asks_for_500_keys_at_most_and_all_arrive() {
    let mut sim = Sim::new();
    let consumer = sim.add(CONSUMER);
    let born = sim.now.wall;
    let producer = sim.add_with(PRODUCER, &["lab"], |node| node.disk.old_keys = old_keys(1200, born));
    let indices: Vec<KeyIndex> = sim.nodes[producer].disk.old_keys.iter().map(|old| old.index.clone()).collect();
    indices.iter().for_each(|index| sim.want(consumer, "lab", index));
    sim.run(SECOND / 2);
    let counts: Vec<usize> = sim.nodes[consumer].asked.iter().map(|(_, count)| *count).collect();
    assert_eq!(counts.iter().sum::<usize>(), 1200);
    assert!(counts.iter().all(|count| *count <= 500), "{counts:?}");
    assert!(indices.iter().all(|index| sim.has(consumer, index)));
}

#[test]
fn requests_and_replies_that_are_too_large_for_the_broker_are_split() {
    let mut sim = Sim::new();
    let consumer = sim.add(CONSUMER);
    let born = sim.now.wall;
    let producer = sim.add_with(PRODUCER, &["lab"], |node| node.disk.old_keys = old_keys(300, born));
    let indices: Vec<KeyIndex> = sim.nodes[producer].disk.old_keys.iter().map(|old| old.index.clone()).collect();
    sim.max_bytes = 4000;
    indices.iter().for_each(|index| sim.want(consumer, "lab", index));
    sim.run(2 * MINUTE);
    let missing = indices.iter().filter(|index| !sim.has(consumer, index)).count();
    assert_eq!(missing, 0);
}

#[test]
fn wants_are_bounded_and_what_is_beyond_is_told() {
    let mut sim = Sim::new();
    let consumer = sim.add(CONSUMER);
    for number in 0..2100 {
        sim.want(consumer, "lab", &KeyIndex::Short(number));
    }
    assert_eq!(sim.nodes[consumer].refused.len(), 100);
    sim.run(SECOND / 2);
    assert_eq!(sim.nodes[consumer].asked.iter().map(|(_, count)| count).sum::<usize>(), 2000);
}

#[test]
fn an_unauthorised_consumer_does_not_ask_and_learns_why() {
    let mut sim = Sim::new();
    let producer = sim.add(PRODUCER);
    let consumer = sim.add_with(CONSUMER, &["office"], |_| {});
    let index = sim.encrypt(producer, "lab");
    sim.want(consumer, "lab", &index);
    sim.run(MINUTE);
    assert!(sim.nodes[consumer].refused[0].1.contains("not authorised"));
    assert!(sim.written(REQS).is_empty());
}

#[test]
fn a_producer_refuses_an_unauthorised_request_and_says_why() {
    for (usages, topics, why) in
        [(CONSUMER, &["office"][..], "topic"), (PRODUCER, &["lab"], "key-encrypt-request"), (&[], &["lab"], "usage")]
    {
        let mut sim = Sim::new();
        let producer = sim.add(PRODUCER);
        // whatever its own chain says, it signs requests, also for producers directly
        let consumer = sim.add_with(usages, topics, |node| node.settings.ask_unauthorised = true);
        let index = sim.encrypt(producer, "lab");
        sim.want(consumer, "lab", &index);
        sim.run(SECOND / 2);
        let leaf = sim.written(SUBS)[0].clone();
        put(&mut sim, REQS, leaf);
        sim.deliver();
        assert!(sim.nodes[producer].was_told(why), "{:?}", sim.nodes[producer].rejected);
        assert_eq!(sim.counters(producer).requests_answered, 0);
        assert!(!sim.has(consumer, &index));
    }
}

#[test]
fn a_limited_consumer_asks_controllers_only() {
    let mut sim = Sim::new();
    let consumer = sim.add(&[Usage::EncryptSubscribe]);
    sim.want(consumer, "lab", &KeyIndex::Short(1));
    sim.run(SECOND / 2);
    assert_eq!((sim.written(SUBS).len(), sim.written(REQS).len()), (1, 0));
}

#[test]
fn the_legacy_form_is_sent_beside_the_other_and_answered_once() {
    let mut sim = Sim::new();
    let (producer, consumer) = (sim.add(PRODUCER), sim.add_with(CONSUMER, &["lab"], |node| node.legacy = true));
    let index = sim.encrypt(producer, "lab");
    sim.want(consumer, "lab", &index);
    sim.run(SECOND / 2);
    assert_eq!((sim.written(REQS).len(), sim.written(KEYS).len()), (2, 1));
    assert!(sim.has(consumer, &index));
    // a producer that sees the legacy form only
    sim.restart(producer);
    sim.topics.get_mut(KEYS).unwrap().clear();
    let legacy = sim.written(REQS)[1].clone();
    sim.topics.insert(REQS.into(), vec![legacy]);
    sim.nodes[producer].reading.insert(REQS.into(), (0, None));
    sim.run(SECOND);
    assert_eq!(sim.written(KEYS).len(), 1);
}

#[test]
fn a_request_without_a_common_scheme_is_refused_with_its_reason() {
    let mut sim = Sim::new();
    let producer = sim.add(PRODUCER);
    let index = sim.encrypt(producer, "lab");
    let mut setup = setup(&sim.nodes[producer].key, &sim.nodes[producer].disk, &Settings::default(), false);
    setup.schemes = vec![Scheme::X25519MlKem1024];
    let (engine, actions) = NodeEngine::new(setup, sim.now);
    sim.nodes[producer].engine = engine;
    sim.perform(producer, actions);
    sim.run(SECOND);
    let asked =
        request(&SigningKey::generate(SigningType::Ed25519, &mut rng()), CONSUMER, &[index], &[3; 32], &offer());
    put(&mut sim, REQS, asked);
    sim.deliver();
    assert!(sim.nodes[producer].was_told("no exchange scheme in common"), "{:?}", sim.nodes[producer].rejected);
}

#[test]
fn requests_that_nobody_could_mean_are_refused_before_any_signature() {
    let mut sim = Sim::new();
    let producer = sim.add(PRODUCER);
    let index = sim.encrypt(producer, "lab");
    sim.run(SECOND);
    let good = request(&SigningKey::generate(SigningType::Ed25519, &mut rng()), CONSUMER, &[index], &[3; 32], &offer());
    let bad = [
        (b"no list".to_vec(), good.value.clone()),
        (good.key.clone(), b"no chain".to_vec()),
        (good.key.clone(), vec![0x91; 100_000]),
        ([&good.key[..], b"more"].concat(), good.value.clone()),
        (vec![0xdd, 0xff, 0xff, 0xff, 0xff], good.value.clone()),
    ];
    for (key, value) in bad {
        sim.write(REQS, key, value);
    }
    sim.write(REQS, KeyIndex::encode_list([KeyIndex::Short(9)].iter()), good.value.clone());
    sim.deliver();
    assert_eq!(sim.nodes[producer].rejected.len(), 5, "{:?}", sim.nodes[producer].rejected);
    assert_eq!(sim.counters(producer).requests_ignored, 1, "a key that it doesn't have");
    put(&mut sim, REQS, good);
    sim.deliver();
    assert_eq!(sim.counters(producer).requests_answered, 1, "none of it did harm");
}

#[test]
fn no_request_leaves_before_the_place_to_read_answers_from_is_fixed() {
    let mut sim = Sim::new();
    let consumer = sim.add(CONSUMER);
    sim.run(SECOND);
    let (root, index) = (lab(), KeyIndex::Short(1));
    let actions =
        sim.nodes[consumer].engine.handle(Input::KeyWanted { root: &root, index: &index }, sim.now, &mut rng());
    let [(id, Action::Follow { topic, from: Start::End })] = &actions[..] else { panic!("{actions:?}") };
    assert_eq!(&**topic, KEYS);
    sim.run(MINUTE);
    assert!(sim.nodes[consumer].asked.is_empty());
    sim.input(consumer, Input::Done { id: *id, result: Ok(Outcome::Done) });
    sim.run(SECOND / 2);
    assert_eq!(sim.nodes[consumer].asked.len(), 1);
}
