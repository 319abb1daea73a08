//! Requests and replies, honest and damaged.

use std::time::Duration;

use getrandom::SysRng;
use getrandom::rand_core::UnwrapErr;
use proptest::prelude::*;

use super::*;
use crate::chain::{Ask, LeafKey, Restrictions, TrustLists, Usage, append, chain_of, leaf, root_certificate, verify};
use crate::keys::{Ephemeral, KeyIndex, OfferKey, Scheme, SigningKey};
use crate::primitives::{secretbox, sha256};
use crate::secret::Secret;
use crate::time::UnixTime;
use crate::topic::Root;
use crate::wire::{Reader, Writer};

/// The leaf of a reply to a request, with anything sealed in it.
pub(crate) fn reply_with(root: &Root, request: &Request, plaintext: &[u8]) -> Vec<u8> {
    let offer = request.choose(&[Scheme::X25519]).unwrap();
    let (answer, shared) = offer.answer(&mut rng()).unwrap();
    let key = sha256::secret_hash(&[root.as_str().as_bytes(), request.random0(), &[1; 32], shared.expose()]);
    let mut sealed = vec![2; 24];
    secretbox::seal_into(&mut sealed, key.expose(), &[2; 24], plaintext);
    let mut out = Writer::new();
    out.array(5).uint(2_000_000_000).bin(&super::request::limits(root, &[Usage::Encrypt])).array(1);
    answer.encode(&mut out);
    out.array(2).bin(request.random0()).bin(&[1; 32]).bin(&sealed);
    out.finish()
}

/// The last signed element of a chain.
pub(crate) fn last_element(chain: &[u8]) -> Vec<u8> {
    let mut reader = Reader::new(chain, "chain");
    let count = reader.array().unwrap();
    (0..count).map(|_| reader.bytes().unwrap().to_vec()).last().unwrap()
}

fn rng() -> UnwrapErr<SysRng> {
    UnwrapErr(SysRng)
}

fn root() -> Root {
    Root::new("lab")
}

/// A leaf as its receiver has it: signed by a key that may do everything, and verified.
fn verified(signed: &[u8]) -> crate::chain::Verified {
    let (trust, node) = (SigningKey::from_ed25519_seed(&[1; 32]), SigningKey::from_ed25519_seed(&[2; 32]));
    let limits = Restrictions::none().with_topics(["lab"]).with_usages([Usage::Encrypt, Usage::EncryptRequest]);
    let body = leaf(UnixTime::from_secs(2_000_000_000), &limits, &LeafKey::Signing(node.public().clone()), &[]);
    let chain = append(&chain_of(&[&trust.sign(&body)]), &node.sign(signed)).unwrap();
    let (lists, _) = TrustLists::new([&root_certificate(trust.public())[..]], []);
    verify(&chain, Ask::nothing(), &lists, UnixTime::from_secs(1_800_000_000)).unwrap()
}

fn request(random0: &[u8; 32], offers: &[&OfferKey]) -> Request {
    let body = request_leaf(UnixTime::from_secs(2_000_000_000), &root(), offers, random0, false).unwrap();
    Request::from_verified(&verified(&body)).unwrap()
}

fn mine() -> Ephemeral {
    Ephemeral::generate(Scheme::X25519, &mut rng())
}

fn exchanged(pairs: &[(KeyIndex, Secret<32>)]) -> (Reply, Ephemeral) {
    let mine = mine();
    let request = request(&[5; 32], &[mine.offer()]);
    let pairs: Vec<_> = pairs.iter().map(|(index, secret)| (index, secret)).collect();
    let expires = UnixTime::from_secs(2_000_000_000);
    let answer = reply_leaf(expires, &root(), &request, &[Scheme::X25519], &pairs, &mut rng()).unwrap();
    (Reply::from_verified(&verified(&answer.leaf)).unwrap(), mine)
}

proptest! {
    #[test]
    fn what_is_sealed_is_opened(secrets in prop::collection::vec(any::<[u8; 32]>(), 0..20)) {
        let pair = |(number, secret): (u64, &[u8; 32])| (KeyIndex::Short(number), Secret::from_slice(secret).unwrap());
        let pairs: Vec<_> = (0..).zip(&secrets).map(pair).collect();
        let (reply, mine) = exchanged(&pairs);
        prop_assert_eq!(reply.random0(), [5; 32]);
        let opened = reply.open(&root(), &[mine]).unwrap();
        prop_assert_eq!(opened.malformed, 0);
        prop_assert_eq!(opened.pairs.len(), pairs.len());
        prop_assert!(opened.pairs.iter().zip(&pairs).all(|(a, b)| a.0 == b.0 && a.1.same_as(&b.1)));
    }

    #[test]
    fn whatever_is_sealed_an_authorised_producer_can_only_harm_itself(plaintext in prop::collection::vec(any::<u8>(), 0..200)) {
        let mine = mine();
        let request = request(&[5; 32], &[mine.offer()]);
        let reply = Reply::from_verified(&verified(&reply_with(&root(), &request, &plaintext))).unwrap();
        let _ = reply.open(&root(), &[mine]);
    }
}

#[test]
fn another_root_another_key_and_another_request_open_nothing() {
    let (reply, mine) = exchanged(&[(KeyIndex::Short(1), Secret::from_slice(&[7; 32]).unwrap())]);
    let other = super::tests::mine();
    assert!(matches!(reply.open(&Root::new("office"), std::slice::from_ref(&mine)), Err(ExchangeError::DoesNotOpen)));
    assert!(matches!(reply.open(&root(), std::slice::from_ref(&other)), Err(ExchangeError::DoesNotOpen)));
    assert!(matches!(reply.open(&root(), &[]), Err(ExchangeError::DoesNotOpen)));
    assert!(reply.open(&root(), &[other, mine]).is_ok(), "any of ours may be the right one");
}

#[test]
fn an_entry_that_is_malformed_is_refused_by_itself() {
    let mine = mine();
    let request = request(&[5; 32], &[mine.offer()]);
    let mut keys = Writer::new();
    keys.array(11).uint(1).bin(&[7; 31]).uint(2).bin(&[7; 32]).bin(&[1; 65]).bin(&[7; 32]).bin(b"long").str("text");
    keys.array(0).bin(&[7; 32]).uint(9);
    let reply = Reply::from_verified(&verified(&reply_with(&root(), &request, &keys.finish()))).unwrap();
    let opened = reply.open(&root(), &[mine]).unwrap();
    assert_eq!((opened.pairs.len(), opened.malformed), (1, 4));
    assert_eq!(opened.pairs[0].0, KeyIndex::Short(2));
}

#[test]
fn a_leaf_that_is_no_request_is_refused_with_its_reason() {
    let until = UnixTime::from_secs(2_000_000_000);
    let bare = LeafKey::Bare([9; 32]);
    let why = |key: &LeafKey, extras: &[crate::chain::Extra<'_>]| {
        Request::from_verified(&verified(&leaf(until, &Restrictions::none(), key, extras))).err().map(|e| e.to_string())
    };
    fn bytes(bytes: &[u8]) -> crate::chain::Extra<'_> {
        crate::chain::Extra::Bytes(bytes)
    }
    assert_eq!(why(&bare, &[bytes(&[1; 32])]), None);
    assert_eq!(why(&bare, &[bytes(&[1; 64])]), None);
    for length in [0, 31, 65] {
        let random0 = vec![1; length];
        assert!(why(&bare, &[bytes(&random0)]).unwrap().contains("32 to 64"));
    }
    assert!(why(&bare, &[]).unwrap().contains("missing"));
    let signing = LeafKey::Signing(SigningKey::from_ed25519_seed(&[2; 32]).public().clone());
    // on the wire a signing key of type 1 and a key of version 1 look the same
    assert_eq!(why(&signing, &[bytes(&[1; 32])]), None);
}

#[test]
fn a_leaf_that_is_no_reply_is_refused_with_its_reason() {
    use crate::chain::Extra;
    let until = UnixTime::from_secs(2_000_000_000);
    let key = LeafKey::Bare([9; 32]);
    let why = |extras: &[Extra<'_>]| {
        Reply::from_verified(&verified(&leaf(until, &Restrictions::none(), &key, extras))).err().map(|e| e.to_string())
    };
    let randoms = || Extra::List(vec![&[1; 32], &[2; 32]]);
    assert_eq!(why(&[randoms(), Extra::Bytes(b"box")]), None);
    assert!(why(&[]).unwrap().contains("missing"));
    assert!(why(&[randoms()]).unwrap().contains("box"));
    assert!(why(&[Extra::List(vec![&[1; 32]]), Extra::Bytes(b"box")]).unwrap().contains("two random values"));
    assert!(why(&[Extra::Bytes(b"1"), Extra::Bytes(b"box")]).unwrap().contains("missing"));
}

#[test]
fn a_request_without_a_common_scheme_names_what_it_offers() {
    let mine = mine();
    let request = request(&[5; 32], &[mine.offer()]);
    let error = request.choose(&[Scheme::X25519MlKem1024]).unwrap_err();
    assert!(error.to_string().contains("x25519"), "{error}");
}

#[test]
fn a_key_without_order_is_refused() {
    let request = request(&[5; 32], &[&OfferKey::from_x25519([0; 32])]);
    let expires = UnixTime::from_secs(2_000_000_000);
    let answer = reply_leaf(expires, &root(), &request, &[Scheme::X25519], &[], &mut rng());
    assert!(matches!(answer, Err(ExchangeError::Key(_))), "{answer:?}");
}

#[test]
fn the_legacy_form_is_one_bare_key() {
    let mine = mine();
    let body = request_leaf(UnixTime::from_secs(2_000_000_000), &root(), &[mine.offer()], &[5; 32], true).unwrap();
    let legacy = verified(&body);
    assert!(matches!(legacy.key(), LeafKey::Bare(_)));
    assert_eq!(Request::from_verified(&legacy).unwrap().choose(&[Scheme::X25519]).unwrap(), mine.offer());
    assert!(request_leaf(UnixTime::ZERO, &root(), &[], &[5; 32], true).is_none());
}

#[test]
fn open_requests_are_found_by_any_random0_until_they_expire() {
    let mut open = Outstanding::default();
    let index = KeyIndex::Short(1);
    let mut asked = Asked::new(1, [index.clone()].into(), vec![mine()], Duration::from_secs(1000));
    asked.sent([1; 32]);
    asked.sent([2; 32]);
    open.add(asked);
    for random0 in [[1; 32], [2; 32]] {
        assert!(open.may_answer(&[b"before", &random0[..], b"behind"].concat()));
        assert!(open.answered_by(&random0).is_some());
    }
    assert!(!open.may_answer(&[3; 100]) && open.answered_by(&[3; 32]).is_none());
    open.answered_by(&[1; 32]).unwrap().arrived(&index, Duration::from_secs(10));
    assert!(open.sweep(Duration::from_secs(100)).is_empty());
    assert!(open.answered_by(&[2; 32]).is_some(), "another producer may answer for a while");
    assert!(open.sweep(Duration::from_secs(200)).is_empty(), "nothing is missed");
    assert!(open.answered_by(&[2; 32]).is_none());
}

#[test]
fn debug_shows_no_secret() {
    let mine = Ephemeral::from_x25519(Secret::from_slice(&[65; 32]).unwrap());
    let opened = Opened {
        pairs: vec![(KeyIndex::Short(1), Secret::from_slice(&[65; 32]).unwrap())],
        malformed: 0,
        scheme: Scheme::X25519,
    };
    let asked = Asked::new(1, [KeyIndex::Short(1)].into(), vec![mine], Duration::ZERO);
    let text = format!("{opened:?}{asked:?}");
    assert!(!text.contains("65, 65") && !text.contains("4141"), "{text}");
}

/// Counts what is drawn.
struct Counting(usize);

impl rand_core::TryRng for Counting {
    type Error = std::convert::Infallible;

    fn try_next_u32(&mut self) -> Result<u32, Self::Error> {
        self.0 += 4;
        Ok(7)
    }

    fn try_next_u64(&mut self) -> Result<u64, Self::Error> {
        self.0 += 8;
        Ok(7)
    }

    fn try_fill_bytes(&mut self, place: &mut [u8]) -> Result<(), Self::Error> {
        self.0 += place.len();
        place.fill(7);
        Ok(())
    }
}

impl rand_core::TryCryptoRng for Counting {}

#[test]
fn an_answer_makes_a_key_for_the_scheme_that_is_used_and_for_no_other() {
    let schemes = [Scheme::X25519MlKem1024, Scheme::X25519Sntrup761, Scheme::X25519];
    let mine = schemes.map(|scheme| Ephemeral::generate(scheme, &mut rng()));
    let request = request(&[5; 32], &mine.each_ref().map(Ephemeral::offer));
    let drawn = |enabled: &[Scheme]| {
        let mut counting = Counting(0);
        reply_leaf(UnixTime::from_secs(2_000_000_000), &root(), &request, enabled, &[], &mut counting).unwrap();
        counting.0
    };
    // an X25519 key, random1 and a nonce; ML-KEM takes 32 bytes more
    assert_eq!(drawn(&[Scheme::X25519]), 32 + 32 + 24);
    assert_eq!(drawn(&[Scheme::X25519, Scheme::X25519MlKem1024]), 32 + 32 + 32 + 24);
    assert_eq!(drawn(&schemes), 32 + 32 + 32 + 24);
}
