//! Signing type 4 and hybrid exchanges: mixed fleets, policy, and input that is bad in ways of their own.

use std::sync::LazyLock;

use super::*;
use crate::chain::{Ask, append, tally, verify};
use crate::exchange::{Request, reply_leaf};
use crate::keys::Ephemeral;
use crate::wire::Writer;

const KEYS: &str = "lab.keys";
const REQS: &str = "lab.reqs";

/// As in a new key file.
const ALL: [Scheme; 3] = [Scheme::X25519MlKem1024, Scheme::X25519Sntrup761, Scheme::X25519];

/// Key file versions that nodes have, and whether they send the oldest form of requests.
const FORMS: [(&[Scheme], bool); 5] = [
    (&[Scheme::X25519], false),
    (&[Scheme::X25519Sntrup761], false),
    (&[Scheme::X25519MlKem1024], false),
    (&ALL, false),
    (&[Scheme::X25519], true),
];

/// Signing types that a node has.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Types {
    One,
    Four,
    Both,
}

const TYPES: [Types; 3] = [Types::One, Types::Four, Types::Both];

/// Making and signing with keys of type 4 takes tens of milliseconds, so all tests share these.
static PQ_ROOT: LazyLock<SigningKey> = LazyLock::new(|| type_4(200));
static PQ_PRODUCER: LazyLock<(Arc<SigningKey>, Vec<u8>)> = LazyLock::new(|| provisioned(201, PRODUCER));
static PQ_CONSUMER: LazyLock<(Arc<SigningKey>, Vec<u8>)> = LazyLock::new(|| provisioned(202, CONSUMER));

fn type_4(seed: u8) -> SigningKey {
    SigningKey::from_seed(SigningType::Ed25519SlhDsa, &[seed; 80]).unwrap()
}

fn provisioned(seed: u8, usages: &[Usage]) -> (Arc<SigningKey>, Vec<u8>) {
    let key = type_4(seed);
    let chain = chain_by(&PQ_ROOT, &key, usages, &["lab"], LATER);
    (Arc::new(key), chain)
}

fn lab() -> Root {
    Root::new("lab")
}

/// A node with keys of these types that trusts the roots of both.
fn add(sim: &mut Sim, usages: &'static [Usage], types: Types, edit: impl FnOnce(&mut Node)) -> usize {
    sim.add_with(usages, &["lab"], |node| {
        node.disk.allow.push(root_certificate(PQ_ROOT.public()));
        if types != Types::One {
            let (key, chain) = if usages == PRODUCER { &*PQ_PRODUCER } else { &*PQ_CONSUMER };
            node.more_keys.push((key.clone(), chain.clone()));
        }
        if types == Types::Four {
            node.disk.chain.clear();
        }
        edit(node);
    })
}

fn pair(producer: Types, consumer: Types) -> (Sim, usize, usize) {
    let mut sim = Sim::new();
    let producer = add(&mut sim, PRODUCER, producer, |node| node.schemes = ALL.to_vec());
    let consumer = add(&mut sim, CONSUMER, consumer, |node| node.schemes = ALL.to_vec());
    (sim, producer, consumer)
}

/// A pair whose producer hasn't seen the consumer's request yet: what is in between is for the test to write.
fn held_up() -> (Sim, usize, usize, KeyIndex) {
    let (mut sim, producer, consumer) = pair(Types::Four, Types::Four);
    let index = sim.encrypt(producer, "lab");
    sim.nodes[producer].withheld.insert(REQS.into());
    sim.want(consumer, "lab", &index);
    sim.run(SECOND / 2);
    (sim, producer, consumer, index)
}

fn learned(sim: &Sim, node: usize) -> Vec<(SigningType, Scheme)> {
    let learned = sim.nodes[node].notices.iter().filter_map(|notice| match notice {
        Notice::Learned { signer, scheme, .. } => Some((signer.signing_type(), *scheme)),
        _ => None,
    });
    learned.collect()
}

/// The request that was written, as its producer has it.
fn asked(sim: &Sim) -> Request {
    let (lists, _) = TrustLists::new([&root_certificate(PQ_ROOT.public())[..]], []);
    let value = &sim.written(REQS)[0].value;
    let verified = verify(value, Ask::of(Usage::EncryptRequest, "lab"), &lists, sim.now.wall).unwrap();
    Request::from_verified(&verified).unwrap()
}

/// A message of an authorised node with whatever it likes in its leaf.
fn signed(who: &(Arc<SigningKey>, Vec<u8>), leaf: &[u8]) -> Vec<u8> {
    append(&who.1, &who.0.sign(leaf)).unwrap()
}

fn limits(usages: &[Usage]) -> Vec<u8> {
    Restrictions::none().with_topics(["lab"]).with_usages(usages.iter().copied()).encode()
}

/// A public half of any version and any lengths.
fn half(version: u64, x25519: &[u8], kem: &[u8]) -> Vec<u8> {
    let mut out = Writer::new();
    match version {
        1 => out.bin(x25519),
        _ => out.array(2).uint(version).array(2).bin(x25519).bin(kem),
    };
    out.finish()
}

/// The second half of a fresh offer.
fn kem(scheme: Scheme) -> Vec<u8> {
    let bytes = Ephemeral::generate(scheme, &mut rng()).offer().to_bytes();
    bytes[bytes.len() - if scheme == Scheme::X25519Sntrup761 { 1158 } else { 1568 }..].to_vec()
}

fn reply_of(random0: &[u8], halves: &[Vec<u8>]) -> Vec<u8> {
    let mut out = Writer::new();
    out.array(5).uint(LATER.into()).bin(&limits(&[Usage::Encrypt]));
    out.array(u32::try_from(halves.len()).unwrap());
    halves.iter().for_each(|half| _ = out.raw(half));
    out.array(2).bin(random0).bin(&[1; 32]).bin(&[2; 100]);
    out.finish()
}

fn request_of(random0: &[u8; 32], halves: &[Vec<u8>]) -> Vec<u8> {
    let mut out = Writer::new();
    out.array(4).uint(LATER.into()).bin(&limits(CONSUMER));
    out.array(u32::try_from(halves.len()).unwrap());
    halves.iter().for_each(|half| _ = out.raw(half));
    out.bin(random0);
    out.finish()
}

/// Every way to damage the signature of a chain's last element, and a part of the reason that is given.
fn damaged(chain: &[u8], who: &(Arc<SigningKey>, Vec<u8>)) -> Vec<(Vec<u8>, &'static str)> {
    const SLH: usize = 17_088;
    let element = crate::exchange::tests::last_element(chain);
    let again = |element: &[u8]| append(&who.1, element).unwrap();
    let changed = |at: usize| {
        let mut changed = element.clone();
        changed[at] ^= 1;
        again(&changed)
    };
    let swapped = [&element[SLH..SLH + 64], &element[..SLH], &element[SLH + 64..]].concat();
    vec![
        (changed(0), "post-quantum half of the signature of element 1"),
        (changed(SLH - 1), "post-quantum half of the signature of element 1"),
        (changed(SLH), "the signature of element 1"),
        (again(&swapped), "the signature of element 1"),
        // the Ed25519 half alone, as type 1 has it
        (again(&element[SLH..]), "element 1"),
        (again(&element[..SLH + 63]), "element 1"),
        (again(&element[1..]), ""),
        (again(b""), "element 1"),
    ]
}

#[test]
fn every_mix_of_signing_types_agrees_and_answers_with_the_type_of_the_requester_s_root() {
    for (producer_types, consumer_types) in TYPES.into_iter().flat_map(|p| TYPES.map(|c| (p, c))) {
        let (mut sim, producer, consumer) = pair(producer_types, consumer_types);
        let index = sim.encrypt(producer, "lab");
        sim.want(consumer, "lab", &index);
        sim.run(SECOND / 2);
        let with = match (producer_types, consumer_types) {
            (Types::Four, _) | (Types::Both, Types::Four) => SigningType::Ed25519SlhDsa,
            // the first request of one that has both is of type 1, and only one is answered
            _ => SigningType::Ed25519,
        };
        let what = format!("{consumer_types:?} asks {producer_types:?}");
        assert_eq!(learned(&sim, consumer), [(with, Scheme::X25519MlKem1024)], "{what}");
        assert_eq!(sim.counters(producer).requests_answered, 1, "{what}");
        assert!(sim.nodes.iter().all(|node| node.rejected.is_empty()), "{what}");
    }
}

#[test]
fn one_that_trusts_only_one_root_answers_the_request_that_comes_from_it() {
    for (kind, root) in [(SigningType::Ed25519, root_key().public()), (SigningType::Ed25519SlhDsa, PQ_ROOT.public())] {
        let mut sim = Sim::new();
        let producer = add(&mut sim, PRODUCER, Types::Both, |node| node.disk.allow = vec![root_certificate(root)]);
        let consumer = add(&mut sim, CONSUMER, Types::Both, |_| {});
        let index = sim.encrypt(producer, "lab");
        sim.want(consumer, "lab", &index);
        sim.run(SECOND / 2);
        assert_eq!(learned(&sim, consumer), [(kind, Scheme::X25519)]);
        // what comes after an answered one isn't even verified
        let told = sim.nodes[producer].was_told("no root of trust in the allowlist");
        assert_eq!(told, kind == SigningType::Ed25519SlhDsa);
    }
}

#[test]
fn the_requester_s_first_scheme_that_both_have_is_used_and_told() {
    for (theirs, _) in FORMS {
        for (ours, legacy) in FORMS {
            let mut sim = Sim::new();
            let producer = sim.add_with(PRODUCER, &["lab"], |node| node.schemes = theirs.to_vec());
            let consumer = sim.add_with(CONSUMER, &["lab"], |node| {
                (node.schemes, node.legacy) = (ours.to_vec(), legacy);
            });
            let index = sim.encrypt(producer, "lab");
            sim.want(consumer, "lab", &index);
            sim.run(SECOND / 2);
            let what = format!("{ours:?} (legacy {legacy}) asks {theirs:?}");
            assert_eq!(sim.written(REQS).len(), if legacy { 2 } else { 1 }, "{what}");
            match ours.iter().find(|scheme| theirs.contains(scheme)) {
                Some(scheme) => {
                    assert_eq!(learned(&sim, consumer), [(SigningType::Ed25519, *scheme)], "{what}");
                    assert_eq!(sim.counters(consumer).learned_by.of(*scheme), 1, "{what}");
                    assert_eq!(sim.counters(producer).answered_by.of(*scheme), 1, "{what}");
                }
                None => {
                    assert!(learned(&sim, consumer).is_empty(), "{what}");
                    assert!(sim.nodes[producer].was_told("no exchange scheme in common"), "{what}");
                }
            }
        }
    }
}

#[test]
fn unknown_versions_in_a_request_are_skipped() {
    let (mut sim, producer, _) = pair(Types::One, Types::Four);
    let index = sim.encrypt(producer, "lab");
    sim.run(SECOND);
    let mine = Ephemeral::generate(Scheme::X25519, &mut rng());
    let halves = [half(77, &[1; 32], &[2; 9]), half(1, &mine.offer().to_bytes(), &[])];
    sim.write(REQS, KeyIndex::encode_list([&index].into_iter()), signed(&PQ_CONSUMER, &request_of(&[9; 32], &halves)));
    sim.deliver();
    assert_eq!(sim.counters(producer).answered_by.of(Scheme::X25519), 1);
}

// ---- require_pq

#[test]
fn who_requires_post_quantum_exchanges_does_not_answer_classical_requests_and_says_why() {
    let mut sim = Sim::new();
    let producer = sim.add_with(PRODUCER, &["lab"], |node| {
        (node.schemes, node.settings.require_pq) = (ALL.to_vec(), true);
    });
    let consumer = sim.add_with(CONSUMER, &["lab"], |node| node.legacy = true);
    let index = sim.encrypt(producer, "lab");
    sim.want(consumer, "lab", &index);
    sim.run(10 * SECOND);
    assert!(!sim.has(consumer, &index));
    assert!(sim.nodes[producer].was_told("only classical exchanges (x25519)"), "{:?}", sim.nodes[producer].rejected);
    assert_eq!(sim.counters(producer).requests_answered, 0);
    sim.nodes[consumer].schemes = ALL.to_vec();
    sim.restart(consumer);
    sim.run(SECOND);
    assert!(sim.has(consumer, &index));
}

#[test]
fn who_requires_post_quantum_exchanges_offers_no_other_and_takes_no_classical_reply() {
    let mut sim = Sim::new();
    let producer = sim.add_with(PRODUCER, &["lab"], |node| node.schemes = ALL.to_vec());
    let consumer = sim.add_with(CONSUMER, &["lab"], |node| {
        (node.schemes, node.legacy, node.settings.require_pq) = (ALL.to_vec(), true, true);
    });
    let index = sim.encrypt(producer, "lab");
    sim.nodes[producer].withheld.insert(REQS.into());
    sim.want(consumer, "lab", &index);
    sim.run(SECOND / 2);
    assert_eq!(sim.written(REQS).len(), 1, "the oldest form is classical");
    let (lists, _) = TrustLists::new([&root_certificate(root_key().public())[..]], []);
    let ask = Ask::of(Usage::EncryptRequest, "lab");
    let verified = verify(&sim.written(REQS)[0].value, ask, &lists, sim.now.wall).unwrap();
    let request = Request::from_verified(&verified).unwrap();
    assert!(request.choose(&[Scheme::X25519]).is_err());
    // an authorised producer that answers as if X25519 had been offered
    let liar = SigningKey::generate(SigningType::Ed25519, &mut rng());
    let chain = chain_for(&liar, PRODUCER, &["lab"], LATER);
    let classical = half(1, &Ephemeral::generate(Scheme::X25519, &mut rng()).offer().to_bytes(), &[]);
    let leaf = reply_of(request.random0(), &[classical]);
    sim.write(KEYS, KeyIndex::encode_list([&index].into_iter()), append(&chain, &liar.sign(&leaf)).unwrap());
    sim.deliver();
    assert!(sim.nodes[consumer].was_told("the reply has only classical exchanges (x25519)"));
    sim.nodes[producer].withheld.clear();
    sim.deliver();
    assert_eq!(learned(&sim, consumer), [(SigningType::Ed25519, Scheme::X25519MlKem1024)]);
}

#[test]
fn where_policy_leaves_no_exchange_nothing_is_asked_and_who_waits_is_told() {
    let mut sim = Sim::new();
    let consumer = sim.add_with(CONSUMER, &["lab"], |node| node.settings.require_pq = true);
    sim.want(consumer, "lab", &KeyIndex::Short(1));
    sim.run(SECOND);
    assert!(sim.nodes[consumer].refused.iter().any(|(_, why)| why.contains("key enable-pq")));
    assert!(sim.written(REQS).is_empty());
}

// ---- bad input

#[test]
fn a_reply_whose_signature_is_damaged_is_refused_and_the_honest_one_still_taken() {
    let (mut sim, producer, consumer, index) = held_up();
    let request = asked(&sim);
    let (secret, until) = (Secret::random(&mut rng()), UnixTime::from_secs(LATER));
    let leaf = reply_leaf(until, &lab(), &request, &ALL, &[(&index, &secret)], &mut rng()).unwrap().leaf;
    for (value, reason) in damaged(&signed(&PQ_PRODUCER, &leaf), &PQ_PRODUCER) {
        sim.nodes[consumer].rejected.clear();
        sim.write(KEYS, KeyIndex::encode_list([&index].into_iter()), value);
        let ignored = sim.counters(consumer).replies_ignored;
        sim.deliver();
        let told = sim.nodes[consumer].was_told(reason) && sim.nodes[consumer].rejected.len() == 1;
        // what doesn't even hold our `random0` isn't looked at
        assert!(
            told || sim.counters(consumer).replies_ignored > ignored,
            "{reason}: {:?}",
            sim.nodes[consumer].rejected
        );
        assert!(!sim.has(consumer, &index));
    }
    sim.nodes[producer].withheld.clear();
    sim.deliver();
    assert!(sim.has(consumer, &index));
}

#[test]
fn a_request_whose_signature_is_damaged_is_refused_and_the_honest_one_still_answered() {
    let (mut sim, producer, consumer, index) = held_up();
    let honest = sim.topics.get_mut(REQS).unwrap().pop().unwrap();
    sim.nodes[producer].reading.insert(REQS.into(), (0, None));
    sim.nodes[producer].withheld.clear();
    for (value, reason) in damaged(&honest.value, &PQ_CONSUMER) {
        sim.nodes[producer].rejected.clear();
        sim.write(REQS, honest.key.clone(), value);
        sim.deliver();
        assert!(sim.nodes[producer].was_told(reason), "{reason}: {:?}", sim.nodes[producer].rejected);
        assert_eq!(sim.counters(producer).requests_answered, 0);
    }
    sim.write(REQS, honest.key, honest.value);
    sim.deliver();
    assert!(sim.has(consumer, &index));
}

#[test]
fn a_reply_with_an_unusable_public_half_is_refused_and_uses_nothing_up() {
    let (mut sim, producer, consumer, _) = held_up();
    let random0 = asked(&sim).random0().to_vec();
    let offer = Ephemeral::generate(Scheme::X25519MlKem1024, &mut rng());
    let x25519 = [9; 32];
    let bad = [
        // an offer where an answer is due
        (offer.offer().to_bytes(), "no public half of a known answer version"),
        (half(2, &x25519, &[1; 1158]), "no public half of a known answer version"),
        (half(6, &x25519, &[1; 1567]), "no exchange key that can be used"),
        (half(6, &x25519, &[]), "no exchange key that can be used"),
        (half(3, &x25519, &[1; 1568]), "no exchange key that can be used"),
        (half(6, &[9; 31], &[1; 1568]), "no exchange key that can be used"),
        (half(1, &[0; 32], &[]), "low order"),
        (half(3, &[0; 32], &[1; 1039]), "low order"),
        (half(6, &[0; 32], &[1; 1568]), "low order"),
        (half(6, &x25519, &[1; 1568]), "doesn't open"),
        (half(3, &x25519, &[1; 1039]), "doesn't open"),
    ];
    for (half, reason) in bad {
        sim.nodes[consumer].rejected.clear();
        sim.write(KEYS, Vec::new(), signed(&PQ_PRODUCER, &reply_of(&random0, &[half])));
        sim.deliver();
        assert!(sim.nodes[consumer].was_told(reason), "{reason}: {:?}", sim.nodes[consumer].rejected);
    }
    sim.nodes[producer].withheld.clear();
    sim.deliver();
    assert_eq!(learned(&sim, consumer), [(SigningType::Ed25519SlhDsa, Scheme::X25519MlKem1024)]);
}

#[test]
fn a_request_with_an_unusable_public_half_is_refused_and_the_same_one_in_order_still_answered() {
    let (mut sim, producer, _) = pair(Types::Four, Types::Four);
    let index = sim.encrypt(producer, "lab");
    sim.run(SECOND);
    let x25519 = [9; 32];
    let bad = [
        (half(6, &x25519, &[1; 1568]), "no exchange scheme in common"),
        (half(5, &x25519, &[1; 1567]), "no exchange key that can be used"),
        (half(2, &x25519, &[1; 1568]), "no exchange key that can be used"),
        // coefficients of 4095 where 3328 is the largest
        (half(5, &x25519, &[0xff; 1568]), "out of range"),
        (half(1, &[0; 32], &[]), "low order"),
        (half(2, &[0; 32], &kem(Scheme::X25519Sntrup761)), "low order"),
        (half(5, &[0; 32], &kem(Scheme::X25519MlKem1024)), "low order"),
    ];
    let key = KeyIndex::encode_list([&index].into_iter());
    for (half, reason) in bad {
        sim.nodes[producer].rejected.clear();
        sim.write(REQS, key.clone(), signed(&PQ_CONSUMER, &request_of(&[7; 32], &[half])));
        sim.deliver();
        assert!(sim.nodes[producer].was_told(reason), "{reason}: {:?}", sim.nodes[producer].rejected);
        assert_eq!(sim.counters(producer).requests_answered, 0);
    }
    let mine = Ephemeral::generate(Scheme::X25519MlKem1024, &mut rng());
    sim.write(REQS, key, signed(&PQ_CONSUMER, &request_of(&[7; 32], &[mine.offer().to_bytes()])));
    sim.deliver();
    assert_eq!(sim.counters(producer).answered_by.of(Scheme::X25519MlKem1024), 1);
}

/// What is above the leaf of a request is verified once, however often its sender asks: with type 4, that is costly.
#[test]
fn of_a_requester_s_next_requests_only_the_last_signature_is_verified() {
    let certified = |signer: &SigningKey, key: &SigningKey, pathlen| {
        let limits = Restrictions::none().with_topics(["lab"]).with_usages(CONSUMER.iter().copied());
        let public = LeafKey::Signing(key.public().clone());
        signer.sign(&leaf(UnixTime::from_secs(LATER), &limits.with_pathlen(pathlen), &public, &[]))
    };
    // root -> provisioner -> requester -> request
    let chain_of_two = |root: &SigningKey, between: &SigningKey, key: SigningKey| {
        let chain = chain_of(&[&certified(root, between, 2), &certified(between, &key, 1)]);
        (Arc::new(key), chain)
    };
    let one = |seed| SigningKey::from_ed25519_seed(&[seed; 32]);
    let all =
        [(chain_of_two(&PQ_ROOT, &type_4(203), type_4(204)), 1), (chain_of_two(&root_key(), &one(205), one(206)), 0)];
    let mut sim = Sim::new();
    let producer = add(&mut sim, PRODUCER, Types::Both, |node| node.schemes = ALL.to_vec());
    let key = KeyIndex::encode_list([&sim.encrypt(producer, "lab")].into_iter());
    sim.run(SECOND);
    for (requester, halves) in all {
        for (number, signatures) in [(1, 3), (2, 1), (3, 1)] {
            let (answered, mine) = (sim.counters(producer).requests_answered, Ephemeral::generate(ALL[0], &mut rng()));
            let random0 = [10 * number + halves; 32];
            let request = request_of(&random0, &[mine.offer().to_bytes()]);
            sim.write(REQS, key.clone(), signed(&requester, &request));
            tally::take();
            sim.deliver();
            let tally = tally::take();
            assert_eq!(
                (tally.ed25519, tally.slh_dsa),
                (signatures, signatures * usize::from(halves)),
                "request {number}"
            );
            assert_eq!(sim.counters(producer).requests_answered, answered + 1);
        }
    }
}
