//! FORS (FIPS 205 §8): 33 trees of 64 leaves, of each of which a signature shows one leaf and its way up.

use zeroize::Zeroizing;

use super::hash::{Address, Hasher, Kind, N, Node, Nodes, gather, lane, node_bytes, number, ordered, siblings, splat};
use super::keccak::LANES;
use super::{Digest, nodes};

const TREES: u32 = 33;
const HEIGHT: u32 = 6;
/// Bytes of one tree's part: the secret of a leaf, and the nodes beside its way.
const PART: usize = (1 + HEIGHT as usize) * N;

/// Bytes of a signature.
pub(super) const SIGNATURE: usize = TREES as usize * PART;

/// Signs the digest (algorithm 16) into `out`, and gives the public key (algorithm 17), which the hypertree signs.
pub(super) fn sign(hasher: &Hasher, secret: &Node, digest: &Digest, out: &mut Vec<u8>) -> Node {
    let mut roots = Vec::with_capacity(TREES as usize);
    for (tree, chosen) in (0..TREES).zip(leaves_of(digest)) {
        let mut secrets: Zeroizing<Vec<Node>> = Zeroizing::new(Vec::with_capacity(1 << HEIGHT));
        let mut leaves = Vec::with_capacity(1 << HEIGHT);
        for first in (0..1 << HEIGHT).step_by(LANES) {
            let index = |lane: usize| (tree << HEIGHT) + first + number(lane);
            let made = hasher.hash(LANES, |lane| address(digest, Kind::ForsSecret, 0, index(lane)), &[splat(*secret)]);
            let leaf = hasher.hash(LANES, |lane| address(digest, Kind::ForsTree, 0, index(lane)), &[made]);
            secrets.extend((0..LANES).map(|at| lane(&made, at)));
            leaves.extend((0..LANES).map(|at| lane(&leaf, at)));
        }
        let levels = hasher
            .levels(leaves, |height, at| address(digest, Kind::ForsTree, height, (tree << (HEIGHT - height)) + at));
        let shown = secrets.get(chosen as usize).copied().into_iter().chain(siblings(&levels, chosen));
        shown.for_each(|node| out.extend_from_slice(&node_bytes(node)));
        roots.extend(levels.last().and_then(|top| top.first()));
    }
    public(hasher, digest, roots)
}

/// The public key that a signature comes to; eight trees go side by side.
pub(super) fn root_of(hasher: &Hasher, digest: &Digest, signature: &[u8]) -> Node {
    let parts: Vec<(u32, &[u8])> = leaves_of(digest).zip(signature.chunks_exact(PART)).collect();
    let mut roots = Vec::with_capacity(TREES as usize);
    for (first, group) in (0..).step_by(LANES).zip(parts.chunks(LANES)) {
        let chosen = |lane: usize| group.get(lane).map_or(0, |part| part.0);
        let index = |lane: usize, height: u32| ((first + number(lane)) << (HEIGHT - height)) + (chosen(lane) >> height);
        let mut columns: Vec<Nodes> = (0..=HEIGHT as usize)
            .map(|place| gather(group.iter().map(|part| nodes(part.1).nth(place).unwrap_or_default())))
            .collect();
        let beside = columns.split_off(1);
        let mut on_the_way =
            hasher.hash(group.len(), |lane| address(digest, Kind::ForsTree, 0, index(lane, 0)), &columns);
        for (height, beside) in (1..).zip(&beside) {
            let pairs = (0..LANES)
                .map(|at| ordered(lane(&on_the_way, at), lane(beside, at), chosen(at) >> (height - 1) & 1 == 1));
            let input = [gather(pairs.clone().map(|pair| pair.0)), gather(pairs.map(|pair| pair.1))];
            let here = |lane: usize| address(digest, Kind::ForsTree, height, index(lane, height));
            on_the_way = hasher.hash(group.len(), here, &input);
        }
        roots.extend((0..group.len()).map(|at| lane(&on_the_way, at)));
    }
    public(hasher, digest, roots)
}

/// The roots of all trees as one node.
fn public(hasher: &Hasher, digest: &Digest, roots: Vec<Node>) -> Node {
    hasher.hash_one(address(digest, Kind::ForsRoots, 0, 0), roots.into_iter())
}

fn address(digest: &Digest, kind: Kind, height: u32, index: u32) -> Address {
    Address { layer: 0, tree: digest.tree, kind, last: [digest.leaf, height, index] }
}

/// The leaf that the digest chooses in each tree: six bits for each, the first bits first (algorithm 4).
fn leaves_of(digest: &Digest) -> impl Iterator<Item = u32> {
    let bit = |at: u32| digest.forest.get(at as usize / 8).map_or(0, |byte| u32::from(byte >> (7 - at % 8) & 1));
    (0..TREES).map(move |tree| (0..HEIGHT).fold(0, |leaf, at| leaf << 1 | bit(tree * HEIGHT + at)))
}
