use proptest::prelude::*;

use super::*;
use crate::keys::{ExchangeKey, OfferKey, SigningKey};
use crate::wire::Writer;

fn now() -> UnixTime {
    UnixTime::from_secs(1_800_000_000)
}

fn key(seed: u8) -> SigningKey {
    SigningKey::from_ed25519_seed(&[seed; 32])
}

fn signing(seed: u8) -> LeafKey {
    LeafKey::Signing(key(seed).public().clone())
}

fn lists(allow: &[u8], deny: &[u8]) -> TrustLists {
    let entries = |seeds: &[u8]| seeds.iter().map(|seed| root_certificate(key(*seed).public())).collect::<Vec<_>>();
    let (allow, deny) = (entries(allow), entries(deny));
    let (lists, warnings) = TrustLists::new(allow.iter().map(Vec::as_slice), deny.iter().map(Vec::as_slice));
    assert!(warnings.is_empty());
    lists
}

/// A chain of unlimited certificates: `signers` in order, the last one over `leaf`.
fn chain(
    signers: &[u8],
    leaf_key: &LeafKey,
    limits: &Restrictions,
    max_age: UnixTime,
    extras: &[Extra<'_>],
) -> Vec<u8> {
    let mut out = Vec::new();
    for pair in signers.windows(2) {
        let body = leaf(UnixTime::ZERO, &Restrictions::none(), &signing(pair[1]), &[]);
        out = append(&out, &key(pair[0]).sign(&body)).unwrap();
    }
    let body = leaf(max_age, limits, leaf_key, extras);
    append(&out, &key(*signers.last().unwrap()).sign(&body)).unwrap()
}

fn plain(signers: &[u8], leaf_key: &LeafKey) -> Vec<u8> {
    chain(signers, leaf_key, &Restrictions::none(), UnixTime::ZERO, &[])
}

fn reason(chain: &[u8], ask: Ask<'_>, lists: &TrustLists) -> ChainError {
    verify(chain, ask, lists, now()).unwrap_err().reason
}

fn self_revocation(seed: u8) -> Vec<u8> {
    let denylist = Restrictions::none().with_usages([Usage::Denylist]);
    let entry = root_certificate(key(seed).public());
    let outer = leaf(UnixTime::ZERO, &denylist.clone().with_pathlen(1), &signing(seed), &[]);
    let inner = leaf(UnixTime::ZERO, &denylist, &signing(seed), &[Extra::Bytes(&entry)]);
    chain_of(&[&outer, &key(seed).sign(&inner)])
}

// ---- protocol §15, row 1

#[test]
fn a_revoked_key_cannot_hide_behind_keys_in_its_leaf() {
    let offer = ExchangeKey::Offer(OfferKey::from_x25519([9; 32]));
    let honest = LeafKey::Keys(vec![ListedKey::Exchange(offer)]);
    let SigningPublicKey::Ed25519(root) = key(3).public().clone() else { panic!("type 1") };
    let sly = LeafKey::Keys(vec![
        ListedKey::Bare([9; 32]),
        ListedKey::Bare(root),
        ListedKey::Signing(key(3).public().clone()),
    ]);
    let denied = ChainError::Denied { key: key(2).public().clone() };
    for leaf_key in [&honest, &sly] {
        let chain = plain(&[1, 2], leaf_key);
        assert!(verify(&chain, Ask::nothing(), &lists(&[1, 3], &[]), now()).is_ok());
        assert_eq!(reason(&chain, Ask::nothing(), &lists(&[1, 3], &[2])), denied);
    }
    // what is still so in all implementations: a key of the allowlist outweighs revoked ones before it
    assert!(verify(&plain(&[1, 2], &signing(3)), Ask::nothing(), &lists(&[1, 3], &[2]), now()).is_ok());
    assert!(verify(&plain(&[1, 2, 3], &signing(4)), Ask::nothing(), &lists(&[1, 3], &[2]), now()).is_ok());
}

#[test]
fn a_list_loses_what_is_refused_and_what_is_no_exchange_key() {
    let hybrid = SigningPublicKey::Ed25519SlhDsa { ed25519: [1; 32], slh_dsa: [2; 32] };
    let SigningPublicKey::Ed25519(denied) = key(7).public().clone() else { panic!("type 1") };
    let unknown = ListedKey::Unknown { version: 9, raw: vec![0x92, 9, 0xc0] };
    let all = vec![ListedKey::Signing(hybrid), unknown.clone(), ListedKey::Bare(denied), ListedKey::Bare([9; 32])];
    let verified = verify(&plain(&[1], &LeafKey::Keys(all)), Ask::nothing(), &lists(&[1], &[7]), now()).unwrap();
    assert_eq!(*verified.key(), LeafKey::Keys(vec![ListedKey::Bare([9; 32])]));
    let none = LeafKey::Keys(vec![unknown, ListedKey::Bare(denied)]);
    assert_eq!(reason(&plain(&[1], &none), Ask::nothing(), &lists(&[1], &[7])), ChainError::NoUsableKey);
}

// ---- row 3

#[test]
fn limits_hold_before_anything_costs() {
    let element = key(1).sign(&root_certificate(key(1).public()));
    let nine = chain_of(&[&element[..]; 9]);
    assert!(matches!(reason(&nine, Ask::nothing(), &lists(&[1], &[])), ChainError::TooLong { found: 9, limit: 8, .. }));
    let eight = plain(&[1, 2, 3, 4, 5, 6, 7, 8], &signing(9));
    assert!(verify(&eight, Ask::nothing(), &lists(&[1], &[]), now()).is_ok());
    assert!(matches!(append(&eight, b"one more"), Err(ChainError::TooLong { .. })));
    let long = chain_of(&[&vec![0; MAX_ELEMENT_BYTES + 1]]);
    assert!(matches!(reason(&long, Ask::nothing(), &lists(&[1], &[])), ChainError::TooLong { found: 65_537, .. }));
    for claim in [&b"\xdd\xff\xff\xff\xff"[..], b"\x91\xc6\xff\xff\xff\xff", &[0x91; 70_000]] {
        assert!(verify(claim, Ask::nothing(), &lists(&[1], &[]), now()).is_err());
    }
}

#[test]
fn nobody_makes_us_run_expressions_before_signing_them() {
    // one that would take Python years, in an element that nobody has signed
    let costly = Restrictions::none().with_topics(["^(a+)+$"]);
    let mut forged = chain(&[1], &signing(2), &costly, UnixTime::ZERO, &[]);
    let last = forged.len() - 1;
    forged[last] ^= 1;
    let topic = "a".repeat(200) + "!";
    assert_eq!(reason(&forged, Ask::of(Usage::Encrypt, &topic), &lists(&[1], &[])), ChainError::NotTrusted);
}

#[test]
fn long_lists_cost_what_their_length_does() {
    let names: Vec<String> = (0..5_000).map(|n| format!("t{n}")).collect();
    let expressions: Vec<String> = (0..5_000).map(|n| format!("^(x{n}|y)*z")).collect();
    let before = std::time::Instant::now();
    let both =
        Restrictions::none().with_topics(&names).intersection(&Restrictions::none().with_topics(&names), Level::Down);
    assert_eq!(both.topics().unwrap().len(), names.len());
    let none = Restrictions::none().with_topics(&expressions).intersection(&both, Level::Down);
    assert_eq!(none.topics(), Some(&[][..]));
    assert!(before.elapsed().as_secs() < 10, "{:?}", before.elapsed());
}

#[test]
fn what_is_cheap_is_refused_without_a_signature() {
    let limits = Restrictions::none().with_topics(["lab"]).with_usages([Usage::Encrypt]);
    let expired = UnixTime::from_secs(5);
    for (max_age, ask) in [
        (expired, Ask::nothing()),
        (UnixTime::ZERO, Ask::of(Usage::Encrypt, "other")),
        (UnixTime::ZERO, Ask::of(Usage::EncryptRequest, "lab")),
    ] {
        let forged = chain(&[9], &signing(2), &limits, max_age, &[]);
        let reason = reason(&forged, ask, &lists(&[1], &[]));
        assert!(!matches!(reason, ChainError::NotTrusted), "{reason}");
    }
}

// ---- row 6

#[test]
fn old_chains_and_self_revocations_are_no_new_chains() {
    let replay = self_revocation(2);
    assert!(verify(&replay, Ask::nothing(), &lists(&[1, 2], &[]), now()).is_err());
    assert!(verify(&replay, Ask::usage(Usage::Denylist), &lists(&[1], &[]), now()).unwrap().is_self_revocation());
    assert!(!supersedes(Some(UnixTime::from_secs(9)), UnixTime::from_secs(8)));
}

// ---- lists

#[test]
fn a_key_revokes_itself_and_only_itself() {
    let verified = verify(&self_revocation(2), Ask::usage(Usage::Denylist), &lists(&[1], &[]), now()).unwrap();
    let change = list_change(&verified).unwrap();
    assert_eq!((&change.key, change.certificate), (key(2).public(), root_certificate(key(2).public())));
    let mut lists = lists(&[1], &[]);
    assert!(lists.deny_key(change.key.clone()) && !lists.deny_key(change.key));
    assert!(matches!(reason(&plain(&[1, 2], &signing(3)), Ask::nothing(), &lists), ChainError::Denied { .. }));
    for usage in [Usage::Allowlist, Usage::Encrypt] {
        assert!(verify(&self_revocation(2), Ask::usage(usage), &lists, now()).is_err());
    }
}

#[test]
fn self_revocations_are_bounded_and_those_there_stay() {
    let mut lists = TrustLists::default();
    let number = |n: u32| SigningPublicKey::Ed25519(std::array::from_fn(|i| n.to_be_bytes()[i % 4]));
    let added = (0..10_000).filter(|n| lists.deny_key(number(*n))).count();
    assert_eq!((added, lists.self_revoked().count()), (4096, 4096));
    assert!(lists.is_denied_key(&number(0)));
}

#[test]
fn the_temporary_root_changes_nothing_that_lasts() {
    let temporary = SigningKey::from_ed25519_seed(&TEMPORARY_ROOT_SEED);
    assert_eq!(*temporary.public(), SigningPublicKey::Ed25519(TEMPORARY_ROOT));
    let limits =
        Restrictions::none().with_topics(["lab"]).with_usages([Usage::Encrypt, Usage::Allowlist]).with_pathlen(1);
    let chain = chain_of(&[&temporary.sign(&leaf(UnixTime::ZERO, &limits, &signing(2), &[]))]);
    let entry = root_certificate(temporary.public());
    let (lists, _) = TrustLists::new([&entry[..]], []);
    assert!(lists.trusts_temporary() && !lists.without_temporary().trusts_temporary());
    assert!(verify(&chain, Ask::of(Usage::Encrypt, "lab"), &lists, now()).is_ok());
    assert_eq!(reason(&chain, Ask::usage(Usage::Allowlist), &lists), ChainError::NotTrusted);
    assert_eq!(reason(&chain, Ask::nothing(), &lists.without_temporary()), ChainError::NotTrusted);
}

#[test]
fn an_entry_that_cannot_be_read_still_revokes_its_key() {
    let mut entry = Writer::new();
    entry.array(3).nil().bin(b"junk");
    key(2).public().encode(&mut entry);
    let (lists, warnings) = TrustLists::new([], [&entry.finish()[..]]);
    assert!(warnings.is_empty() && lists.is_denied_key(key(2).public()));
}

// ---- the rest

#[test]
fn the_reason_is_that_of_the_root_that_came_closest() {
    let limits = Restrictions::none().with_usages([Usage::Encrypt]);
    let chain = chain(&[2, 3], &signing(4), &limits, UnixTime::ZERO, &[]);
    assert_eq!(reason(&chain, Ask::nothing(), &lists(&[1], &[])), ChainError::NotTrusted);
    let asked = Ask::of(Usage::Encrypt, "lab");
    assert_eq!(reason(&chain, asked, &lists(&[1, 2, 5], &[])), ChainError::TopicNotAllowed { topic: "lab".into() });
    let rejected = verify(&chain, asked, &lists(&[2], &[]), now()).unwrap_err();
    assert_eq!(rejected.trail.steps.len(), 3);
    assert!(rejected.trail.to_string().contains("usages [key-encrypt]"), "{}", rejected.trail);
}

#[test]
fn a_verified_chain_tells_all() {
    let extras = [Extra::List(vec![b"one", b"two"]), Extra::Bytes(b"box")];
    let chain =
        chain(&[1, 2], &LeafKey::Bare([9; 32]), &Restrictions::none(), UnixTime::from_secs(1_900_000_000), &extras);
    let verified = verify(&chain, Ask::nothing(), &lists(&[1], &[]), now()).unwrap();
    assert_eq!(verified.signers(), [key(1).public().clone(), key(2).public().clone()]);
    assert_eq!((verified.extra_list(0), verified.extra_bytes(1)), (Some(vec![&b"one"[..], b"two"]), Some(&b"box"[..])));
    assert_eq!((verified.extra_bytes(0), verified.extra_list(7)), (None, None));
    assert_eq!(verified.key().exchange_keys(), [ExchangeKey::Bare([9; 32])]);
    assert_eq!(verified.max_age(), UnixTime::from_secs(1_900_000_000));
}

#[test]
fn text_of_a_peer_cannot_trick_a_terminal() {
    let limits = Restrictions::none().with_topics(["\x1b[2J\nfake"]);
    assert!(!limits.to_string().contains(['\x1b', '\n']));
    let error = Restrictions::decode(b"\x91\x92\xa2\x1b[\xc0").unwrap_err().to_string();
    assert!(!error.contains('\x1b'), "{error}");
}

fn entries() -> impl Strategy<Value = Vec<String>> {
    let entry = prop_oneof!["[a-c]{0,3}", "\\^[a-c]{0,3}\\$?", Just("^.*$".to_owned()), "\\^\\(a\\|[bc]\\)\\*"];
    prop::collection::vec(entry, 0..4)
}

fn restrictions() -> impl Strategy<Value = Restrictions> {
    let usages = prop::collection::vec(prop::sample::select(&Usage::ALL[..]), 0..4);
    (prop::option::of(entries()), prop::option::of(usages), prop::option::of(-2..4i64)).prop_map(
        |(topics, usages, pathlen)| {
            let limits = Restrictions::none();
            let limits = topics.into_iter().fold(limits, Restrictions::with_topics);
            let limits = usages.into_iter().fold(limits, Restrictions::with_usages);
            pathlen.into_iter().fold(limits, Restrictions::with_pathlen)
        },
    )
}

proptest! {
    #[test]
    fn intersection_never_widens(parent in restrictions(), child in restrictions(), topic in "[a-c]{0,4}", down: bool) {
        let level = if down { Level::Down } else { Level::Same };
        let both = parent.intersection(&child, level);
        for limits in [&parent, &child] {
            let unlimited = limits.topics().is_none();
            prop_assert!(!both.allows_topic(&topic) || unlimited || limits.allows_topic(&topic));
            for usage in Usage::ALL {
                prop_assert!(!both.allows_usage(usage) || limits.usages().is_none() || limits.allows_usage(usage));
            }
            prop_assert!(limits.topics().is_none() || both.topics().is_some());
            prop_assert!(limits.usages().is_none() || both.usages().is_some());
            prop_assert!(limits.pathlen().is_none_or(|limit| both.pathlen().is_some_and(|length| length <= limit)));
        }
    }

    #[test]
    fn restrictions_survive(limits in restrictions()) {
        prop_assert_eq!(Restrictions::decode(&limits.encode()).unwrap(), limits);
    }

    #[test]
    fn certificates_survive(limits in restrictions(), age in prop::option::of(0u32..), bare: [u8; 32], listed: bool, extra: Vec<u8>) {
        let key = if listed { LeafKey::Keys(vec![ListedKey::Bare(bare)]) } else { LeafKey::Bare(bare) };
        let age = age.map_or(UnixTime::ZERO, UnixTime::from_secs);
        let bytes = leaf(age, &limits, &key, &[Extra::Bytes(&extra)]);
        let read = Certificate::decode(&bytes).unwrap();
        prop_assert_eq!((read.max_age(), read.restrictions(), read.key()), (age, &limits, &key));
        prop_assert_eq!(read.extra_bytes(0), Some(&extra[..]));
        prop_assert_eq!(read.encode(), bytes);
    }

    #[test]
    fn no_input_panics(mut bytes: Vec<u8>, at: prop::sample::Index, with: u8, topic in ".{0,5}", expression in "\\^.{0,20}") {
        let trusted = lists(&[1], &[]);
        let ask = Ask::of(Usage::Denylist, &topic);
        let _ = (verify(&bytes, ask, &trusted, now()), Description::of(&bytes), Certificate::decode(&bytes), Restrictions::decode(&bytes));
        let _ = (append(&bytes, b"x"), TrustLists::new([&bytes[..]], [&bytes[..]]));
        let _ = Restrictions::none().with_topics([&expression]).allows_topic(&topic);
        bytes = self_revocation(2);
        let at = at.index(bytes.len());
        bytes[at] = with;
        let _ = (verify(&bytes, ask, &trusted, now()), Description::of(&bytes));
        // where a signature would stop it, what is inside is damaged before it is signed
        let mut body = leaf(now(), &Restrictions::none().with_topics(["lab"]), &signing(2), &[]);
        let at = at % body.len();
        body[at] = with;
        let _ = verify(&chain_of(&[&key(1).sign(&body)]), ask, &trusted, now());
    }

    #[test]
    fn a_changed_bit_is_never_accepted(at: prop::sample::Index, bit in 0..8u8) {
        let mut chain = plain(&[1, 2], &signing(3));
        let position = at.index(chain.len());
        chain[position] ^= 1 << bit;
        prop_assert!(verify(&chain, Ask::nothing(), &lists(&[1], &[]), now()).is_err());
    }
}

// ---- type 4, and what is remembered

const SLH: usize = 17_088;

/// Signing takes tens of milliseconds.
static HYBRIDS: std::sync::LazyLock<[SigningKey; 3]> = std::sync::LazyLock::new(|| {
    [1, 2, 3].map(|seed| SigningKey::from_seed(crate::keys::SigningType::Ed25519SlhDsa, &[seed; 80]).unwrap())
});

fn changed(signed: &[u8], at: usize) -> Vec<u8> {
    let mut changed = signed.to_vec();
    changed[at] ^= 1;
    changed
}

#[test]
fn of_a_type_4_chain_the_costly_half_comes_last() {
    let [root, node, _] = &*HYBRIDS;
    let certificate = |limits: &Restrictions, until: u32, key: &SigningKey| {
        leaf(UnixTime::from_secs(until), limits, &LeafKey::Signing(key.public().clone()), &[])
    };
    let entry = root_certificate(root.public());
    let (lists, _) = TrustLists::new([&entry[..]], []);
    let ask = Ask::of(Usage::Encrypt, "lab");
    let limits = Restrictions::none().with_topics(["^l.b$"]).with_usages([Usage::Encrypt]);
    let other = Restrictions::none().with_topics(["^d.n$"]).with_usages([Usage::Encrypt]);
    let subscriber = Restrictions::none().with_topics(["^l.b$"]).with_usages([Usage::EncryptSubscribe]);
    // the costly half is wrong in all of them, and only where nothing else is wrong that is the reason
    let cases = [
        (&limits, 1_900_000_000, true, ChainError::PostQuantumSignature { element: 0 }),
        (&other, 1_900_000_000, true, ChainError::TopicNotAllowed { topic: "lab".into() }),
        (&subscriber, 1_900_000_000, true, ChainError::UsageNotAllowed { usage: Usage::Encrypt }),
        (&limits, 1_900_000_000, false, ChainError::NotTrusted),
    ];
    for (limits, until, ed25519, expected) in cases {
        let mut signed = changed(&root.sign(&certificate(limits, until, node)), 5);
        if !ed25519 {
            signed[SLH + 5] ^= 1;
        }
        assert_eq!(reason(&chain_of(&[&signed]), ask, &lists), expected);
    }
    let expired = changed(&root.sign(&certificate(&limits, 1_700_000_000, node)), 5);
    assert!(matches!(reason(&chain_of(&[&expired]), ask, &lists), ChainError::Expired { .. }));
    let (revoked, _) = TrustLists::new([&entry[..]], [&root_certificate(node.public())[..]]);
    let signed = changed(&root.sign(&certificate(&limits, 1_900_000_000, node)), 5);
    assert!(matches!(reason(&chain_of(&[&signed]), ask, &revoked), ChainError::Denied { .. }));
}

#[test]
fn a_type_4_chain_is_valid_only_with_both_halves_and_types_mix() {
    let [root, node, _] = &*HYBRIDS;
    let (lists, _) =
        TrustLists::new([&root_certificate(root.public())[..], &root_certificate(key(1).public())[..]], []);
    let unlimited =
        |key: &SigningKey| leaf(UnixTime::ZERO, &Restrictions::none(), &LeafKey::Signing(key.public().clone()), &[]);
    // type 4 over type 1 over type 4
    let first = root.sign(&unlimited(&key(2)));
    let second = key(2).sign(&unlimited(node));
    let third = node.sign(&unlimited(&key(3)));
    let verified = verify(&chain_of(&[&first, &second, &third]), Ask::nothing(), &lists, now()).unwrap();
    assert_eq!(verified.signers(), [root.public().clone(), key(2).public().clone(), node.public().clone()]);
    let wrong = |third: &[u8]| reason(&chain_of(&[&first, &second, third]), Ask::nothing(), &lists);
    assert_eq!(wrong(&changed(&third, 0)), ChainError::PostQuantumSignature { element: 2 });
    assert_eq!(wrong(&changed(&third, SLH + 1)), ChainError::Signature { element: 2 });
    assert_eq!(wrong(&third[..SLH + 10]), ChainError::Signature { element: 2 });
    let swapped = [&third[SLH..SLH + 64], &third[..SLH], &third[SLH + 64..]].concat();
    assert_eq!(wrong(&swapped), ChainError::Signature { element: 2 });
}

#[test]
fn a_revocation_by_a_key_of_type_4_needs_both_halves() {
    let [_, _, key] = &*HYBRIDS;
    let denylist = Restrictions::none().with_usages([Usage::Denylist]);
    let (entry, public) = (root_certificate(key.public()), LeafKey::Signing(key.public().clone()));
    let outer = leaf(UnixTime::ZERO, &denylist.clone().with_pathlen(1), &public, &[]);
    let signed = key.sign(&leaf(UnixTime::ZERO, &denylist, &public, &[Extra::Bytes(&entry)]));
    let ask = Ask::usage(Usage::Denylist);
    let verified = verify(&chain_of(&[&outer, &signed]), ask, &TrustLists::default(), now()).unwrap();
    assert!(verified.is_self_revocation());
    for at in [0, SLH] {
        assert!(verify(&chain_of(&[&outer, &changed(&signed, at)]), ask, &TrustLists::default(), now()).is_err());
    }
}

#[test]
fn what_is_remembered_is_a_signature_and_nothing_else() {
    let limits = Restrictions::none().with_topics(["lab"]).with_usages([Usage::Encrypt]);
    let message = |until: u32| chain(&[1, 2], &LeafKey::Bare([9; 32]), &limits, UnixTime::from_secs(until), &[]);
    let (signatures, ask) = (Signatures::new(), Ask::of(Usage::Encrypt, "lab"));
    let verify = |chain: &[u8], ask, lists: &TrustLists| signatures.verify(chain, ask, lists, now());
    assert!(verify(&message(1_900_000_000), ask, &lists(&[1], &[])).is_ok());
    assert_eq!(signatures.len(), 1);
    // another leaf of the same signer, as its next request is
    assert!(verify(&message(1_900_000_001), ask, &lists(&[1], &[])).is_ok());
    assert_eq!(signatures.len(), 1);
    for (lists, ask, until) in [
        (lists(&[1], &[2]), ask, 1_900_000_000),
        (lists(&[3], &[]), ask, 1_900_000_000),
        (lists(&[1], &[]), Ask::of(Usage::Encrypt, "den"), 1_900_000_000),
        (lists(&[1], &[]), Ask::of(Usage::EncryptRequest, "lab"), 1_900_000_000),
        (lists(&[1], &[]), ask, 1_700_000_000),
    ] {
        let refused = verify(&message(until), ask, &lists).unwrap_err().reason;
        assert_eq!(refused, super::verify(&message(until), ask, &lists, now()).unwrap_err().reason);
    }
    assert_eq!(signatures.len(), 1, "nothing of what was refused is kept");
}

#[test]
fn a_remembered_signature_is_not_verified_again_and_the_leaf_s_always_is() {
    let body = |to: u8| leaf(UnixTime::ZERO, &Restrictions::none(), &signing(to), &[]);
    let (forged, honest) = (changed(&key(1).sign(&body(2)), 0), key(2).sign(&body(3)));
    let signatures = Signatures::new();
    let verdict = |chain: &[u8]| signatures.verify(chain, Ask::nothing(), &lists(&[1], &[]), now());
    let chain = chain_of(&[&forged, &honest]);
    assert!(verdict(&chain).is_err());
    // as if it had been found good
    signatures.keep(key(1).public().digest(&forged));
    assert!(verdict(&chain).is_ok());
    // the same bytes under another key, or at the end of a chain
    assert!(signatures.verify(&chain, Ask::nothing(), &lists(&[4], &[]), now()).is_err());
    assert!(verdict(&chain_of(&[&forged])).is_err());
    assert!(signatures.verify_own(&chain_of(&[&forged]), Ask::nothing(), &lists(&[1], &[]), now()).is_ok());
}
