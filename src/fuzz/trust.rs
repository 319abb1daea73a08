//! Certificates, restrictions, and chains that are signed after they were mutated.

use std::sync::LazyLock;

use super::model::{TIME, TOPICS, certificate as build, elements, hybrid, key, public, restrictions};
use super::program::Program;
use crate::chain::{
    Ask, Certificate, Description, Extra, LeafKey, Level, ListedKey, Restrictions, Signatures, TrustLists, Usage,
    Verified, chain_of, leaf, list_change, root_certificate, verify,
};
use crate::keys::{SigningKey, SigningPublicKey};
use crate::time::UnixTime;

/// Certificates and restrictions: what is read is written and read again, and an intersection never widens.
pub fn certificate(data: &[u8]) {
    if let Ok(read) = Certificate::decode(data) {
        let written = read.encode();
        let again = Certificate::decode(&written).expect("what is written can be read");
        assert_eq!((&again, again.encode()), (&read, written));
        assert!(!shown(&read).chars().any(char::is_control), "nothing tricks a terminal");
    }
    let mut program = Program::new(data);
    let (one, other) = (restrictions(&mut program), restrictions(&mut program));
    for poison in [data, &one, &other] {
        check_restrictions(poison);
    }
    if let (Ok(parent), Ok(child)) = (Restrictions::decode(&one), Restrictions::decode(&other)) {
        for level in [Level::Same, Level::Down] {
            check_intersection(&parent, &child, level);
        }
        let same = parent.intersection(&parent, Level::Same);
        assert_eq!(same.intersection(&same, Level::Same), same, "idempotent");
    }
}

fn shown(certificate: &Certificate) -> String {
    format!("{}{}", certificate.key(), certificate.restrictions())
}

fn check_restrictions(poison: &[u8]) {
    let Ok(read) = Restrictions::decode(poison) else { return };
    let written = read.encode();
    assert_eq!(Restrictions::decode(&written).as_ref(), Ok(&read));
    assert!(written.len() <= poison.len(), "the shortest form is longer");
}

fn check_intersection(parent: &Restrictions, child: &Restrictions, level: Level) {
    let both = parent.intersection(child, level);
    assert_narrower(&both, parent);
    assert_narrower(&both, child);
    let below = i64::from(level == Level::Down);
    for (length, above) in [(parent.pathlen(), below), (child.pathlen(), 0)] {
        let Some(length) = length else { continue };
        assert!(both.pathlen().is_some_and(|both| both <= length.saturating_sub(above)));
    }
    let sensitive = [Usage::Allowlist, Usage::Denylist].map(|usage| child.allows_usage(usage));
    assert!(both.pathlen().is_some() || sensitive == [false; 2], "lists can't be delegated by silence");
}

/// Whatever `narrow` allows, `wide` does.
fn assert_narrower(narrow: &Restrictions, wide: &Restrictions) {
    // beyond this, a list isn't looked at to its end: it may allow less than it says, but never more
    if wide.topics().is_none_or(|list| list.len() <= 256) {
        // compiling expressions is what takes time: some topics each time
        let first = narrow.topics().map_or(0, |list| list.iter().map(Vec::len).sum());
        for topic in TOPICS.into_iter().cycle().skip(first % TOPICS.len()).take(4) {
            let allowed = wide.topics().is_none() || wide.allows_topic(topic);
            assert!(!narrow.allows_topic(topic) || allowed, "{topic}: {narrow} is wider than {wide}");
        }
    }
    for usage in Usage::ALL {
        let allowed = wide.usages().is_none() || wide.allows_usage(usage);
        assert!(!narrow.allows_usage(usage) || allowed, "{usage:?}: {narrow} is wider than {wide}");
    }
}

/// Chains: built and signed by a program, of elements that keys of type 4 have signed too (first byte `fe`), or (`ff`) taken
/// as they are together with their allowlist. What is accepted was signed link by link, and allows no more than each of its
/// certificates.
pub fn chain(data: &[u8]) {
    let mut program = Program::new(data);
    match program.byte() {
        0xff => given(&mut program),
        0xfe => _ = mixed(&mut program),
        time => _ = built(&mut program, UnixTime::from_secs(TIME + u32::from(time % 4))),
    }
}

fn asked(program: &mut Program<'_>) -> Ask<'static> {
    let topic = (!program.rarely()).then_some(program.choice(&TOPICS));
    let usage = (!program.rarely()).then_some(program.choice(&Usage::ALL));
    Ask { topic, usage }
}

fn given(program: &mut Program<'_>) {
    let (ask, time) = (asked(program), UnixTime::from_secs(VECTORS_TIME));
    let chain = program.bytes();
    let (mut allow, mut deny) = (Vec::new(), Vec::new());
    while !program.is_done() {
        if program.rarely() { deny.push(program.bytes()) } else { allow.push(program.bytes()) }
    }
    let (lists, _) = TrustLists::new(allow, deny);
    describe(chain);
    if let Ok(verified) = verify(chain, ask, &lists, time) {
        check_verified(&verified, &elements(chain), ask, &lists, time);
    }
}

/// Says whether the chain was accepted.
pub(super) fn built(program: &mut Program<'_>, time: UnixTime) -> bool {
    let ask = asked(program);
    let (lists, _) = build_lists(program);
    let (parts, made) = build_chain(program);
    let parts: Vec<&[u8]> = parts.iter().map(Vec::as_slice).collect();
    let chain = program.mutate(chain_of(&parts));
    describe(&chain);
    let verdict = verify(&chain, ask, &lists, time);
    let again = verify(&chain, ask, &lists, time);
    assert_eq!(verdict.as_ref().map_err(|no| &no.reason).err(), again.as_ref().map_err(|no| &no.reason).err());
    let Ok(verified) = verdict else { return false };
    let found = elements(&chain);
    let signed = if verified.is_self_revocation() { found.get(1..).unwrap_or_default() } else { &found[..] };
    for (element, signer) in signed.iter().zip(verified.signers()) {
        assert!(made.iter().any(|(bytes, by)| bytes == element && by == signer), "nobody has signed this");
    }
    check_verified(&verified, &found, ask, &lists, time);
    true
}

/// Chains of elements that were signed before, by keys of both types, and changed afterwards: most are refused. Says whether
/// this one was accepted. What is remembered of chains before changes no verdict.
pub(super) fn mixed(program: &mut Program<'_>) -> bool {
    static SIGNATURES: LazyLock<Signatures> = LazyLock::new(Signatures::new);
    let (ask, time) = (asked(program), UnixTime::from_secs(TIME));
    let (mut signer, mut parts) = (0, Vec::new());
    for _ in 0..1 + program.below(4) {
        let signed: Vec<_> = SIGNED.iter().filter(|(by, ..)| *by == signer).collect();
        let (_, next, element) =
            if program.rarely() { program.choice(&SIGNED.iter().collect::<Vec<_>>()) } else { program.choice(&signed) };
        parts.push(program.mutate(element.clone()));
        signer = *next;
        if signer == LEAF {
            break;
        }
    }
    let chain = program.mutate(chain_of(&parts.iter().map(Vec::as_slice).collect::<Vec<_>>()));
    let allow = [root_certificate(hybrid(0).public()), root_certificate(key(0).public())];
    let denied = program.rarely().then(|| root_certificate(mixed_key(1 + program.below(3)).public()));
    let (lists, _) = TrustLists::new(allow.iter().map(Vec::as_slice), denied.as_deref());
    describe(&chain);
    let (verdict, with_memory) = (verify(&chain, ask, &lists, time), SIGNATURES.verify(&chain, ask, &lists, time));
    assert_eq!(verdict.as_ref().err().map(|no| &no.reason), with_memory.as_ref().err().map(|no| &no.reason));
    let Ok(verified) = verdict else { return false };
    let found = elements(&chain);
    for element in &found {
        assert!(SIGNED.iter().any(|(_, _, signed)| signed == element), "nobody has signed this");
    }
    check_verified(&verified, &found, ask, &lists, time);
    true
}

/// 0 to 2 are of type 4, 3 and 4 of type 1.
fn mixed_key(n: usize) -> &'static SigningKey {
    if n < 3 { hybrid(n) } else { key(n - 3) }
}

/// Who has signed, what for, and the signed form.
type Signed = (usize, usize, Vec<u8>);

/// Certificates by everybody for everybody else, unlimited first, and leaves.
static SIGNED: LazyLock<Vec<Signed>> = LazyLock::new(|| {
    let limited = Restrictions::none().with_topics(["lab", "^foo"]).with_usages(Usage::ALL);
    let all = Restrictions::none().with_topics(["^.*$"]).with_usages(Usage::ALL).with_pathlen(3);
    let mut signed = Vec::new();
    for by in 0..5 {
        let leaf_keys = [LeafKey::Keys(vec![ListedKey::Bare([9; 32])]), LeafKey::Bare([9; 32])];
        let next = (0..5)
            .filter(|next| *next != by && *next != 0)
            .map(|next| (next, LeafKey::Signing(mixed_key(next).public().clone())));
        let targets = next.chain(leaf_keys.into_iter().map(|key| (LEAF, key)));
        for (place, (next, leaf_key)) in targets.enumerate() {
            let limits = if place % 2 == 0 { &all } else { &limited };
            let body = leaf(UnixTime::ZERO, limits, &leaf_key, &[Extra::Bytes(&[7; 32])]);
            signed.push((by, next, mixed_key(by).sign(&body)));
        }
    }
    signed
});

/// Nobody: a chain ends here.
const LEAF: usize = 99;

fn build_lists(program: &mut Program<'_>) -> (TrustLists, usize) {
    let mut allow = vec![if program.rarely() { build(program, 0) } else { root_certificate(key(0).public()) }];
    for _ in 0..program.below(8).saturating_sub(4) {
        let next = program.below(8);
        allow.push(build(program, next));
    }
    let deny: Vec<_> = (0..program.below(8).saturating_sub(5)).map(|_| program.below(8)).collect();
    let deny: Vec<_> = deny.into_iter().map(|n| root_certificate(key(n).public())).collect();
    let (lists, warnings) = TrustLists::new(allow.iter().map(Vec::as_slice), deny.iter().map(Vec::as_slice));
    (lists, warnings.len())
}

type Made = Vec<(Vec<u8>, SigningPublicKey)>;

/// The elements, and what was signed by whom.
fn build_chain(program: &mut Program<'_>) -> (Vec<Vec<u8>>, Made) {
    let (mut parts, mut made, mut signer) = (Vec::new(), Made::new(), 0);
    for place in 1..=(1 + program.below(10)) {
        let next = if program.rarely() { program.below(8) } else { place % 7 };
        let body = build(program, next);
        let by = if program.rarely() { program.below(9) } else { signer };
        if by == 8 {
            parts.push(body);
        } else {
            let signed = key(by).sign(&body);
            made.push((signed.clone(), key(by).public().clone()));
            parts.push(signed);
        }
        signer = next;
    }
    (parts, made)
}

/// What must hold of every chain that is accepted.
fn check_verified(verified: &Verified, elements: &[Vec<u8>], ask: Ask<'_>, lists: &TrustLists, time: UnixTime) {
    let limits = verified.restrictions();
    assert!(ask.usage.is_none_or(|usage| limits.allows_usage(usage)));
    assert!(limits.pathlen().is_none_or(|length| length >= 0));
    if verified.is_self_revocation() {
        return check_self_revocation(verified, elements, ask);
    }
    assert!(ask.topic.is_none_or(|topic| limits.allows_topic(topic)));
    assert!(verified.max_age() == UnixTime::ZERO || verified.max_age() >= time);
    assert_eq!(verified.signers().len(), elements.len());
    assert_eq!(verified.signers().first(), Some(verified.root()));
    assert!(lists.is_allowed_key(verified.root()));
    let (mut signer, count) = (verified.root().clone(), elements.len());
    for (place, element) in elements.iter().enumerate() {
        assert_eq!(verified.signers().get(place), Some(&signer));
        let body = signer.open(element).expect("accepted without a signature");
        let certificate = Certificate::decode(body).expect("accepted and unreadable");
        check_link(verified, &certificate, count - 1 - place);
        let Some(next) = certificate.key().signing_key() else {
            assert_eq!(place, count - 1);
            break;
        };
        signer = next;
    }
    check_denied(verified, ask, lists);
    check_leaf(verified, lists);
    let _ = (list_change(verified), verified.extra_bytes(0), verified.extra_list(0), verified.trail().to_string());
}

/// One certificate of an accepted chain, with `below` more behind it.
fn check_link(verified: &Verified, certificate: &Certificate, below: usize) {
    assert_narrower(verified.restrictions(), certificate.restrictions());
    if let Some(length) = certificate.restrictions().pathlen() {
        assert!(usize::try_from(length).is_ok_and(|length| below <= length), "{below} below {length}");
    }
    let (end, all) = (certificate.max_age(), verified.max_age());
    assert!(end == UnixTime::ZERO || all != UnixTime::ZERO && all <= end, "{all} lasts longer than {end}");
}

/// A key on the denylist is outweighed by nothing but a key behind it that is on the allowlist.
fn check_denied(verified: &Verified, ask: Ask<'_>, lists: &TrustLists) {
    let leaf = verified.key().signing_key();
    let keys: Vec<_> = verified.signers().iter().chain(leaf.as_ref()).collect();
    let temporary = SigningPublicKey::Ed25519(public(7));
    let lists_asked = matches!(ask.usage, Some(Usage::Allowlist | Usage::Denylist));
    let last_bad = keys.iter().rposition(|key| lists.is_denied_key(key) || lists_asked && **key == temporary);
    let last_good = keys.iter().rposition(|key| lists.is_allowed_key(key) && !lists.is_denied_key(key));
    assert!(last_bad.is_none() || last_good > last_bad, "a revoked key was passed over");
    assert!(!lists_asked || *verified.root() != temporary, "everybody could change the lists");
}

fn check_leaf(verified: &Verified, lists: &TrustLists) {
    let LeafKey::Keys(listed) = verified.key() else { return };
    assert!(!listed.is_empty() && verified.key().exchange_keys().len() == listed.len(), "only exchange keys are left");
    for key in listed.iter().map(|key| key.to_bytes()) {
        let denied = <[u8; 32]>::try_from(key).is_ok_and(|key| lists.is_denied_key(&SigningPublicKey::Ed25519(key)));
        assert!(!denied, "a revoked key in a list");
    }
}

fn check_self_revocation(verified: &Verified, elements: &[Vec<u8>], ask: Ask<'_>) {
    assert_eq!((ask.usage, elements.len()), (Some(Usage::Denylist), 2));
    let [outer, signed] = elements else { return };
    let outer = Certificate::decode(outer).expect("accepted and unreadable");
    let key = outer.key().signing_key().expect("a key that can revoke itself");
    let inner = Certificate::decode(key.open(signed).expect("a signature")).expect("accepted and unreadable");
    assert_eq!(inner.key().signing_key().as_ref(), Some(&key));
    assert_eq!(verified.key().signing_key(), Some(key));
    for certificate in [outer, inner] {
        assert_narrower(verified.restrictions(), certificate.restrictions());
    }
}

fn describe(chain: &[u8]) {
    let Ok(description) = Description::of(chain) else { return };
    for element in &description.elements {
        assert!(!shown(&element.certificate).chars().any(char::is_control), "nothing tricks a terminal");
    }
}

/// When the chains in `tests/vectors` were judged.
const VECTORS_TIME: u32 = 1_800_000_000;
