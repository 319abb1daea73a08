//! Requests and replies: what is in the leaf is mutated, and then signed by somebody who may.

use std::sync::LazyLock;

use super::model::{TIME, elements, extend, key};
use super::program::{Dice, Program};
use crate::chain::{
    Ask, Certificate, LeafKey, Restrictions, TrustLists, Usage, Verified, leaf, root_certificate, verify,
};
use crate::exchange::{ExchangeError, RANDOM_BYTES, Reply, Request, reply_leaf, request_leaf};
use crate::keys::{Ephemeral, KeyIndex, OfferKey, Scheme, SharedSecret, SigningType};
use crate::primitives::{secretbox, sha256};
use crate::secret::Secret;
use crate::time::UnixTime;
use crate::topic::Root;
use crate::wire::{Reader, Writer, read_all};

const LAB: &str = "lab";

/// A request by an authorised consumer, mutated before it is signed: no answer but to what its format allows, and the
/// answer to an honest one opens.
pub fn request(data: &[u8]) {
    let mut program = Program::new(data);
    let (scheme, legacy) = match program.below(8) {
        5 => (Scheme::X25519Sntrup761, false),
        6 => (Scheme::X25519MlKem1024, false),
        n => (Scheme::X25519, n == 7),
    };
    let mine = ephemeral(scheme, 9);
    let honest = honest_request(mine, &[7; 32], legacy);
    let body = body(&mut program, &honest);
    let Some(verified) = verified(&CONSUMER, 2, &body, Usage::EncryptRequest) else { return };
    let Ok(request) = Request::from_verified(&verified) else { return };
    assert!(RANDOM_BYTES.contains(&request.random0().len()));
    assert_eq!(verified.extra_bytes(0), Some(request.random0()));
    let pairs = pairs(&mut program);
    let borrowed: Vec<_> = pairs.iter().map(|(index, secret)| (index, secret)).collect();
    let (expires, root) = (time(500), Root::new(LAB));
    assert!(matches!(request.choose(&[]), Err(ExchangeError::NoCommonScheme { .. })));
    let reply = reply_leaf(expires, &root, &request, &[scheme], &borrowed, &mut Dice(1));
    if body == honest {
        assert!(reply.is_ok(), "an honest request is answered");
    }
    let Ok(made) = reply else { return };
    assert_eq!(made.scheme, scheme);
    assert!(!scheme.is_post_quantum() || request.require_pq().is_ok());
    let verified = self::verified(&PRODUCER, 1, &made.leaf, Usage::Encrypt).expect("our own reply is valid");
    let reply = Reply::from_verified(&verified).expect("our own reply is one");
    assert_eq!(reply.random0(), request.random0());
    match reply.open(&root, std::slice::from_ref(mine)) {
        Ok(opened) => assert!(opened.malformed == 0 && same(&opened.pairs, &pairs)),
        Err(_) => assert_ne!(body, honest, "the answer to an honest request opens"),
    }
}

/// A reply by an authorised producer, mutated before it is signed; what is sealed in it may be mutated too, since a
/// producer may seal anything.
pub fn reply(data: &[u8]) {
    let mut program = Program::new(data);
    // the byte that says how many pairs there are
    let scheme = match program.rest().first() {
        Some(0xc0..0xe0) => Scheme::X25519MlKem1024,
        Some(0xe0..) => Scheme::X25519Sntrup761,
        _ => Scheme::X25519,
    };
    let (mine, other, root) = (ephemeral(scheme, 9), ephemeral(scheme, 3), Root::new(LAB));
    let pairs = pairs(&mut program);
    let (honest_inside, random0) = (encode_pairs(&pairs), [7; 32]);
    let inside = if program.rarely() { program.bytes().to_vec() } else { program.mutate(honest_inside.clone()) };
    let honest =
        forge_reply(&root, mine.offer(), &random0, &inside, &mut Dice(1)).expect("a point that isn't of low order");
    let body = body(&mut program, &honest);
    let Some(verified) = verified(&PRODUCER, 1, &body, Usage::Encrypt) else { return };
    let Ok(reply) = Reply::from_verified(&verified) else { return };
    let Ok(opened) = reply.open_with(&root, [other, mine]) else {
        return assert!(body != honest || inside != honest_inside, "an honest reply opens");
    };
    assert_eq!(opened.scheme, scheme);
    assert!(!scheme.is_post_quantum() || reply.require_pq().is_ok());
    assert!(2 * (opened.pairs.len() + opened.malformed) <= inside.len(), "more secrets than bytes");
    if inside == honest_inside {
        assert!(opened.malformed == 0 && same(&opened.pairs, &pairs), "a box holds what was sealed");
    }
    assert!(reply.open_with(&Root::new("labs"), [mine]).is_err(), "a reply is for one root");
    assert!(reply.open_with(&root, [other]).is_err(), "a reply is for one request");
}

/// The leaf as it is honest, mutated, or given.
fn body(program: &mut Program<'_>, honest: &[u8]) -> Vec<u8> {
    match program.below(4) {
        0 => honest.to_vec(),
        1 | 2 => {
            let once = program.edit(honest.to_vec());
            program.mutate(once)
        }
        _ => program.rest().to_vec(),
    }
}

/// Up to three indices and secrets.
fn pairs(program: &mut Program<'_>) -> Vec<(KeyIndex, Secret<32>)> {
    let pair = |program: &mut Program<'_>| {
        let n = program.byte();
        let index = if n < 128 { KeyIndex::Short(n.into()) } else { KeyIndex::of_node(&[n], n.into()) };
        (index, Secret::filled(|place| place.fill(n)))
    };
    (0..1 + program.below(3)).map(|_| pair(program)).collect()
}

fn same(one: &[(KeyIndex, Secret<32>)], other: &[(KeyIndex, Secret<32>)]) -> bool {
    let pairs = one.iter().zip(other);
    one.len() == other.len() && pairs.into_iter().all(|(one, other)| one.0 == other.0 && one.1.same_as(&other.1))
}

pub(super) fn time(seconds: u32) -> UnixTime {
    UnixTime::from_secs(TIME + seconds)
}

/// Somebody's exchange key, the same in every run.
pub(super) fn ephemeral(scheme: Scheme, n: u8) -> &'static Ephemeral {
    static KEYS: LazyLock<Vec<Ephemeral>> = LazyLock::new(|| {
        let classical = (0..16).map(|n| Ephemeral::from_x25519(Secret::filled(|place| place.fill(n))));
        let hybrid = |scheme| (0..16).map(move |n| Ephemeral::generate(scheme, &mut Dice(n)));
        classical.chain(hybrid(Scheme::X25519Sntrup761)).chain(hybrid(Scheme::X25519MlKem1024)).collect()
    });
    let mut same = KEYS.iter().filter(|key| key.offer().scheme() == scheme);
    same.nth(usize::from(n % 16)).expect("sixteen of each")
}

pub(super) fn honest_request(mine: &Ephemeral, random0: &[u8; 32], legacy: bool) -> Vec<u8> {
    let leaf = request_leaf(time(500), &Root::new(LAB), &[mine.offer()], random0, legacy);
    leaf.expect("the oldest form only with version 1")
}

pub(super) fn encode_pairs(pairs: &[(KeyIndex, Secret<32>)]) -> Vec<u8> {
    let mut out = Writer::new();
    out.array(2 * pairs.len() as u32);
    for (index, secret) in pairs {
        index.encode(&mut out);
        out.bin(secret.expose());
    }
    out.finish()
}

/// A reply with anything sealed in it (protocol §8.2).
pub(super) fn forge_reply(
    root: &Root,
    offer: &OfferKey,
    random0: &[u8],
    inside: &[u8],
    dice: &mut Dice,
) -> Option<Vec<u8>> {
    let (answer, shared): (_, SharedSecret) = offer.answer(dice).ok()?;
    let (random1, nonce) = ([5; 32], [6; 24]);
    let key = sha256::secret_hash(&[root.as_str().as_bytes(), random0, &random1, shared.expose()]);
    let mut sealed = nonce.to_vec();
    secretbox::seal_into(&mut sealed, key.expose(), &nonce, inside);
    let limits = Restrictions::none().with_topics([root.as_str()]).with_usages([Usage::Encrypt]);
    let mut out = Writer::new();
    out.array(5).float(time(50_000).as_secs_f64()).bin(&limits.encode()).array(1);
    answer.encode(&mut out);
    out.array(2).bin(random0).bin(&random1).bin(&sealed);
    Some(out.finish())
}

static CONSUMER: LazyLock<Vec<u8>> =
    LazyLock::new(|| node_chain(2, &[Usage::EncryptRequest, Usage::EncryptSubscribe], &[LAB]));
static PRODUCER: LazyLock<Vec<u8>> = LazyLock::new(|| node_chain(1, &[Usage::Encrypt], &[LAB]));

/// A chain for somebody's key, signed by the root.
pub(super) fn node_chain(n: usize, usages: &[Usage], topics: &[&str]) -> Vec<u8> {
    signed_chain(0, n, usages, topics, UnixTime::ZERO)
}

pub(super) fn signed_chain(by: usize, n: usize, usages: &[Usage], topics: &[&str], end: UnixTime) -> Vec<u8> {
    let limits = Restrictions::none().with_topics(topics).with_usages(usages.iter().copied()).with_pathlen(1);
    extend(b"\x90", key(by), &leaf(end, &limits, &LeafKey::Signing(key(n).public().clone()), &[]))
}

fn verified(chain: &[u8], signer: usize, body: &[u8], usage: Usage) -> Option<Verified> {
    static LISTS: LazyLock<TrustLists> =
        LazyLock::new(|| TrustLists::new([&root_certificate(key(0).public())[..]], []).0);
    verify(&extend(chain, key(signer), body), Ask::of(usage, LAB), &LISTS, time(0)).ok()
}

/// What a request or reply names itself by, and the first public half in it, if it can be read: without any trust.
pub(super) fn leaf_of(chain: &[u8]) -> Option<Certificate> {
    let (elements, types) = (elements(chain), [SigningType::Ed25519, SigningType::Ed25519SlhDsa]);
    let last = elements.last()?;
    types.iter().find_map(|kind| Certificate::decode(last.get(kind.signature_length()..)?).ok())
}

/// The `random0` in a reply's leaf.
pub(super) fn answered_random(body: &[u8]) -> Option<Vec<u8>> {
    let certificate = Certificate::decode(body).ok()?;
    let list = certificate.extra_list(0)?;
    list.first().map(|random0| random0.to_vec())
}

/// Key indices in a record key.
pub(super) fn indices(record_key: &[u8]) -> Vec<KeyIndex> {
    read_all(record_key, "list", |reader: &mut Reader<'_>| {
        (0..reader.array()?).map(|_| KeyIndex::decode(reader)).collect::<Result<_, crate::keys::KeyError>>()
    })
    .unwrap_or_default()
}
