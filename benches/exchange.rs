//! What a key costs: chain validation, a request, an answer, an acceptance: `cargo bench --bench exchange`.

use std::hint::black_box;

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

/// A node with a chain of two elements, as the simple flow of provisioning makes them, and who it trusts.
struct Node {
    key: SigningKey,
    chain: Vec<u8>,
    lists: TrustLists,
    root: Root,
    now: UnixTime,
}

impl Node {
    fn new() -> Self {
        let mut rng = UnwrapErr(SysRng);
        let (root, provisioner, key) = (
            SigningKey::generate(SigningType::Ed25519, &mut rng),
            SigningKey::generate(SigningType::Ed25519, &mut rng),
            SigningKey::generate(SigningType::Ed25519, &mut rng),
        );
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

    fn request(&self, ephemeral: &Ephemeral, random0: &[u8; 32]) -> Vec<u8> {
        let leaf = request_leaf(self.later(), &self.root, &[ephemeral.offer()], random0, false).unwrap();
        append(&self.chain, &self.key.sign(&leaf)).unwrap()
    }

    fn answer(&self, request: &[u8], index: &KeyIndex, secret: &Secret<32>) -> Vec<u8> {
        let verified = verify(request, Ask::of(Usage::EncryptRequest, "lab"), &self.lists, self.now).unwrap();
        let request = Request::from_verified(&verified).unwrap();
        let (pairs, schemes) = ([(index, secret)], [Scheme::X25519]);
        let reply = reply_leaf(self.later(), &self.root, &request, &schemes, &pairs, &mut UnwrapErr(SysRng)).unwrap();
        append(&self.chain, &self.key.sign(&reply.leaf)).unwrap()
    }

    fn accept(&self, reply: &[u8], ephemeral: &[Ephemeral]) -> usize {
        let verified = verify(reply, Ask::of(Usage::Encrypt, "lab"), &self.lists, self.now).unwrap();
        Reply::from_verified(&verified).unwrap().open(&self.root, ephemeral).unwrap().pairs.len()
    }

    fn later(&self) -> UnixTime {
        self.now.after(std::time::Duration::from_secs(86_400))
    }
}

fn exchange(c: &mut Criterion) {
    let node = Node::new();
    let mut rng = UnwrapErr(SysRng);
    let (index, secret) = (KeyIndex::of_node(&[7; 32], 1), Secret::random(&mut rng));
    let ephemeral = Ephemeral::generate(Scheme::X25519, &mut rng);
    let request = node.request(&ephemeral, &[1; 32]);
    let reply = node.answer(&request, &index, &secret);
    let ephemerals = [ephemeral];
    let mut group = c.benchmark_group("exchange");
    group.bench_function("chain validation, three signatures", |b| {
        b.iter(|| verify(black_box(&request), Ask::of(Usage::EncryptRequest, "lab"), &node.lists, node.now).unwrap());
    });
    group.bench_function("request", |b| {
        b.iter(|| {
            let fresh = Ephemeral::generate(Scheme::X25519, &mut UnwrapErr(SysRng));
            node.request(black_box(&fresh), &[1; 32])
        });
    });
    group.bench_function("answer", |b| b.iter(|| node.answer(black_box(&request), &index, &secret)));
    group.bench_function("acceptance", |b| b.iter(|| node.accept(black_box(&reply), &ephemerals)));
}

criterion_group!(benches, exchange);
criterion_main!(benches);
