//! Who is who among the nodes, what they sign, and what is in what they seal.

use std::sync::LazyLock;

use super::super::exchange::{ephemeral, node_chain, signed_chain, time};
use super::super::model::{extend, hybrid, key, with};
use crate::chain::{Certificate, Extra, LeafKey, Restrictions, Usage, leaf, root_certificate};
use crate::exchange::request_leaf;
use crate::keys::{KeyIndex, Scheme, SigningKey, SigningPublicKey};
use crate::primitives::{secretbox, sha256};
use crate::time::UnixTime;
use crate::topic::Root;
use crate::wire::{Reader, read_all};
/// The chain of everybody: 1 and 3 may produce, 2 consume, 6 change lists; 4 has another root, which is 5.
pub(super) fn peer_chain(n: usize) -> Vec<u8> {
    static CHAINS: LazyLock<Vec<Vec<u8>>> = LazyLock::new(|| (0..9).map(new_peer_chain).collect());
    CHAINS.get(n).cloned().unwrap_or_default()
}

fn new_peer_chain(n: usize) -> Vec<u8> {
    match n {
        1 => node_chain(1, &[Usage::Encrypt], &["lab", "foo"]),
        2 => node_chain(2, &[Usage::EncryptRequest, Usage::EncryptSubscribe], &["lab", "foo"]),
        3 => node_chain(3, &[Usage::Encrypt], &["foo"]),
        4 => signed_chain(5, 4, &Usage::ALL, &["^.*$"], UnixTime::ZERO),
        6 => node_chain(6, &[Usage::Allowlist, Usage::Denylist], &[]),
        8 => own_chain(0),
        _ => signed_chain(n, n, &Usage::ALL, &["^.*$"], UnixTime::ZERO),
    }
}

/// The node's chains, each ending later than the one before; the last one never.
pub(super) fn own_chain(n: usize) -> Vec<u8> {
    static CHAINS: LazyLock<Vec<Vec<u8>>> = LazyLock::new(|| {
        let usages = [Usage::Encrypt, Usage::EncryptRequest, Usage::EncryptSubscribe];
        let ends = [time(1_000_000), time(2_000_000), time(3_000_000), UnixTime::ZERO];
        ends.iter().map(|end| signed_chain(0, 8, &usages, &["lab", "foo"], *end)).collect()
    });
    CHAINS.get(n).cloned().unwrap_or_default()
}

/// A consumer with a key of type 4, beside the nine that have one of type 1.
pub(super) const HYBRID: usize = 9;

pub(super) fn somebody(n: usize) -> &'static SigningPublicKey {
    if n == HYBRID { hybrid(1).public() } else { key(n).public() }
}

/// Chains for keys of type 4: that of the consumer, and that of the node.
pub(super) fn hybrid_chain(n: usize) -> Vec<u8> {
    let usages = [Usage::Encrypt, Usage::EncryptRequest, Usage::EncryptSubscribe];
    let usages = if n == 3 { &usages[..] } else { usages.get(1..).unwrap_or_default() };
    let limits = Restrictions::none().with_topics(["lab", "foo"]).with_usages(usages.iter().copied()).with_pathlen(1);
    let leaf_key = LeafKey::Signing(hybrid(n).public().clone());
    extend(b"\x90", key(0), &leaf(UnixTime::ZERO, &limits, &leaf_key, &[]))
}

/// What the node signs with its key of type 4 is read by nobody here, so the half that takes long is left out.
pub(super) fn half_signed(message: &[u8]) -> Vec<u8> {
    let classical = SigningKey::from_ed25519_seed(&[4; 32]).sign(message);
    [&[0; 17_088][..], &classical].concat()
}

/// A request: root, `random0`, chain.
pub(super) type Requested = (Root, [u8; 32], Vec<u8>);

/// Requests by the consumer with a key of type 4.
pub(super) static HYBRID_REQUESTS: LazyLock<Vec<Requested>> = LazyLock::new(|| {
    let schemes = [Scheme::X25519, Scheme::X25519Sntrup761, Scheme::X25519MlKem1024];
    let cases = schemes.iter().flat_map(|scheme| ["lab", "foo"].map(|root| (*scheme, Root::new(root))));
    let request = |(n, (scheme, root)): (u8, (Scheme, Root))| {
        let (random0, mine) = ([n; 32], ephemeral(scheme, HYBRID as u8));
        let body = request_leaf(time(50_000), &root, &[mine.offer()], &random0, false).expect("not the oldest form");
        (root, random0, with(&hybrid_chain(1), hybrid(1).sign(&body)))
    };
    (0..).zip(cases).map(request).collect()
});

pub(super) fn list_leaf(usage: Usage, target: usize, pathlen: Option<i64>) -> Vec<u8> {
    let certificate = root_certificate(key(target).public());
    let limits = Restrictions::none().with_usages([usage]);
    let limits = pathlen.map_or(limits.clone(), |length| limits.with_pathlen(length));
    leaf(UnixTime::ZERO, &limits, &LeafKey::Signing(key(target).public().clone()), &[Extra::Bytes(&certificate)])
}

/// Well-formed pairs at the start of what was sealed: more than these can't be learned.
pub(super) fn sealed_pairs(inside: &[u8]) -> Vec<(KeyIndex, [u8; 32])> {
    let mut reader = Reader::new(inside, "pairs");
    let (mut pairs, count) = (Vec::new(), reader.array().unwrap_or(0) / 2);
    for _ in 0..count {
        let (Ok(index), Ok(secret)) = (reader.raw(), reader.raw()) else { break };
        let index = KeyIndex::decode(&mut Reader::new(index, "index"));
        let secret = Reader::new(secret, "secret").bytes().ok().and_then(|bytes| <[u8; 32]>::try_from(bytes).ok());
        pairs.extend(index.ok().zip(secret));
    }
    pairs
}

/// What is in a reply, for the asker whose ephemeral key is `n`.
pub(super) fn opened(leaf: &Certificate, root: &Root, n: u8) -> Option<Vec<(KeyIndex, [u8; 32])>> {
    let half = leaf.key().exchange_keys().into_iter().next()?.into_answer()?;
    let shared = ephemeral(half.scheme(), n).complete(&half).ok()?;
    let randoms = leaf.extra_list(0)?;
    let [random0, random1] = randoms[..] else { return None };
    let secret = sha256::secret_hash(&[root.as_str().as_bytes(), random0, random1, shared.expose()]);
    let (nonce, sealed) = leaf.extra_bytes(1)?.split_first_chunk::<24>()?;
    let inside = secretbox::open(secret.expose(), nonce, sealed)?;
    read_all(&inside, "pairs", |reader| reader.raw().map(|_| ())).expect("one value is sealed");
    Some(sealed_pairs(&inside))
}

pub(super) fn key_of(certificate: &[u8]) -> Option<SigningPublicKey> {
    Certificate::decode(certificate).ok()?.key().signing_key()
}
