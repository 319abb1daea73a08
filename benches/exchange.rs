//! What a key costs: signatures, exchange keys, chain validation, a request, an answer, an acceptance, for every kind of
//! them: `cargo bench --bench exchange`.

use std::hint::black_box;
use std::time::Duration;

use criterion::{Criterion, criterion_group, criterion_main};
use getrandom::SysRng;
use getrandom::rand_core::UnwrapErr;
use kafkacrypto::chain::{
    Ask, Extra, LeafKey, Restrictions, TrustLists, Usage, append, chain_of, leaf, root_certificate, verify,
};
use kafkacrypto::exchange::{Reply, Request, reply_leaf, request_leaf};
use kafkacrypto::keys::{Ephemeral, KeyIndex, Scheme, SigningKey, SigningType};
use kafkacrypto::secret::Secret;
use kafkacrypto::time::UnixTime;
use kafkacrypto::topic::Root;

const USAGES: [Usage; 3] = [Usage::Encrypt, Usage::EncryptRequest, Usage::EncryptSubscribe];
const TYPES: [SigningType; 2] = [SigningType::Ed25519, SigningType::Ed25519SlhDsa];
const SCHEMES: [Scheme; 3] = [Scheme::X25519MlKem1024, Scheme::X25519Sntrup761, Scheme::X25519];

/// A node with a chain of two elements, as the simple flow of provisioning makes them, and who it trusts.
struct Node {
    key: SigningKey,
    chain: Vec<u8>,
    lists: TrustLists,
    root: Root,
    now: UnixTime,
}

impl Node {
    fn new(kind: SigningType) -> Self {
        let [root, provisioner, key] = [(); 3].map(|()| SigningKey::generate(kind, &mut rng()));
        let limits = Restrictions::none().with_usages(USAGES);
        let none: &[Extra<'_>] = &[];
        let forever = UnixTime::ZERO;
        let first = root.sign(&leaf(forever, &limits, &LeafKey::Signing(provisioner.public().clone()), none));
        let limits = limits.with_topics(["lab"]).with_pathlen(1);
        let second = provisioner.sign(&leaf(forever, &limits, &LeafKey::Signing(key.public().clone()), none));
        let (lists, _) = TrustLists::new([&root_certificate(root.public())[..]], std::iter::empty());
        let now = UnixTime::from_secs(1_800_000_000);
        Self { key, chain: chain_of(&[&first, &second]), lists, root: Root::new("lab"), now }
    }

    fn request(&self, ephemerals: &[Ephemeral], random0: &[u8; 32]) -> Vec<u8> {
        let offers: Vec<_> = ephemerals.iter().map(Ephemeral::offer).collect();
        let leaf = request_leaf(self.later(), &self.root, &offers, random0, false).unwrap();
        append(&self.chain, &self.key.sign(&leaf)).unwrap()
    }

    fn answer(&self, request: &[u8], index: &KeyIndex, secret: &Secret<32>) -> Vec<u8> {
        let verified = verify(request, Ask::of(Usage::EncryptRequest, "lab"), &self.lists, self.now).unwrap();
        let request = Request::from_verified(&verified).unwrap();
        let pairs = [(index, secret)];
        let reply = reply_leaf(self.later(), &self.root, &request, &SCHEMES, &pairs, &mut rng()).unwrap();
        append(&self.chain, &self.key.sign(&reply.leaf)).unwrap()
    }

    fn accept(&self, reply: &[u8], ephemerals: &[Ephemeral]) -> usize {
        let verified = verify(reply, Ask::of(Usage::Encrypt, "lab"), &self.lists, self.now).unwrap();
        Reply::from_verified(&verified).unwrap().open(&self.root, ephemerals).unwrap().pairs.len()
    }

    fn later(&self) -> UnixTime {
        self.now.after(Duration::from_secs(86_400))
    }
}

fn rng() -> UnwrapErr<SysRng> {
    UnwrapErr(SysRng)
}

fn ephemerals(schemes: &[Scheme]) -> Vec<Ephemeral> {
    schemes.iter().map(|scheme| Ephemeral::generate(*scheme, &mut rng())).collect()
}

/// Keys and signatures of each type.
fn signatures(c: &mut Criterion) {
    for kind in TYPES {
        let mut group = c.benchmark_group(format!("signing type {}", kind.number()));
        let key = SigningKey::generate(kind, &mut rng());
        let signed = key.sign(&[7; 1000]);
        group.bench_function("key generation", |b| b.iter(|| SigningKey::generate(kind, &mut rng())));
        group.bench_function("sign", |b| b.iter(|| key.sign(black_box(&[7; 1000]))));
        group.bench_function("verify", |b| b.iter(|| key.public().open(black_box(&signed)).unwrap().len()));
    }
}

/// Keys, encapsulation and decapsulation of each scheme, X25519 included.
fn schemes(c: &mut Criterion) {
    for scheme in SCHEMES {
        let mut group = c.benchmark_group(format!("scheme {scheme}"));
        let mine = Ephemeral::generate(scheme, &mut rng());
        let (answer, _) = mine.offer().answer(&mut rng()).unwrap();
        group.bench_function("key generation", |b| b.iter(|| Ephemeral::generate(scheme, &mut rng())));
        group.bench_function("encapsulate", |b| b.iter(|| mine.offer().answer(&mut rng()).unwrap()));
        group.bench_function("decapsulate", |b| b.iter(|| mine.complete(black_box(&answer)).unwrap()));
    }
}

/// Whole messages, for each signing type and each set of versions that a requester offers.
fn exchange(c: &mut Criterion) {
    let [mlkem, sntrup, classical] = SCHEMES;
    for kind in TYPES {
        let node = Node::new(kind);
        let (index, secret) = (KeyIndex::of_node(&[7; 32], 1), Secret::random(&mut rng()));
        for offered in [&[classical][..], &[sntrup], &[mlkem], &[mlkem, sntrup, classical]] {
            let versions: Vec<u64> = offered.iter().map(|scheme| scheme.offer_version()).collect();
            let mut group = c.benchmark_group(format!("exchange, type {}, versions {versions:?}", kind.number()));
            let mine = ephemerals(offered);
            let request = node.request(&mine, &[1; 32]);
            let reply = node.answer(&request, &index, &secret);
            let ask = || Ask::of(Usage::EncryptRequest, "lab");
            group.bench_function("chain validation, three signatures", |b| {
                b.iter(|| verify(black_box(&request), ask(), &node.lists, node.now).unwrap());
            });
            group.bench_function("request", |b| b.iter(|| node.request(&ephemerals(offered), &[1; 32])));
            group.bench_function("answer", |b| b.iter(|| node.answer(black_box(&request), &index, &secret)));
            group.bench_function("acceptance", |b| b.iter(|| node.accept(black_box(&reply), &mine)));
        }
    }
}

criterion_group! {
    name = benches;
    config = Criterion::default().sample_size(20).warm_up_time(Duration::from_millis(500)).measurement_time(Duration::from_secs(2));
    targets = signatures, schemes, exchange
}
criterion_main!(benches);
