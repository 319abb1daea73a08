//! The hypertree (FIPS 205 §5 to §7): 22 layers of trees with eight leaves, each leaf a WOTS+ key of 35 chains.
//!
//! Eight leaves are eight lanes: a whole tree is made at once, and what a signature shows of it is picked on the way.

use super::hash::{Address, Hasher, Kind, N, Node, Nodes, gather, lane, node_bytes, number, ordered, siblings, splat};
use super::keccak::LANES;
use super::{Digest, nodes};

/// Layers of trees.
pub(super) const LAYERS: usize = 22;
/// Bytes of one layer's signature: the WOTS+ chains, and the nodes beside the leaf's way.
pub(super) const SIGNATURE: usize = (CHAINS + HEIGHT as usize) * N;

const HEIGHT: u32 = 3;
const CHAINS: usize = 35;
/// The last place of a chain.
const END: u32 = 15;

/// Which tree, and which of its leaves signs.
#[derive(Clone, Copy)]
struct Place {
    layer: u32,
    tree: u64,
    leaf: u32,
}

/// The root of the topmost tree: `pk.root`.
pub(super) fn root(hasher: &Hasher, secret: &Node) -> Node {
    let top = Place { layer: number(LAYERS - 1), tree: 0, leaf: 0 };
    sign(hasher, secret, top, &[0; CHAINS], &mut Vec::with_capacity(SIGNATURE))
}

/// Signs `message` up to the topmost tree (algorithm 12) into `out`.
pub(super) fn sign_all(hasher: &Hasher, secret: &Node, digest: &Digest, message: Node, out: &mut Vec<u8>) {
    places(digest).fold(message, |message, place| sign(hasher, secret, place, &digits(message), out));
}

/// The topmost root that a signature comes to (algorithm 13).
pub(super) fn root_of_all(hasher: &Hasher, digest: &Digest, message: Node, signature: &[u8]) -> Node {
    let layers = places(digest).zip(signature.chunks_exact(SIGNATURE));
    layers.fold(message, |message, (place, signature)| root_of(hasher, place, message, signature))
}

/// Signs with one tree (algorithms 7 and 10) into `out`, and gives its root.
fn sign(hasher: &Hasher, secret: &Node, place: Place, digits: &[u32; CHAINS], out: &mut Vec<u8>) -> Node {
    let mut ends = Vec::with_capacity(CHAINS);
    for (chain, digit) in (0..).zip(digits) {
        let at = |kind, step| move |lane: usize| place.address(kind, [number(lane), chain, step]);
        let mut value = hasher.hash(LANES, at(Kind::WotsSecret, 0), &[splat(*secret)]);
        for step in 0..=END {
            if step == *digit {
                out.extend_from_slice(&node_bytes(lane(&value, place.leaf as usize)));
            }
            if step < END {
                value = hasher.hash(LANES, at(Kind::WotsHash, step), &[value]);
            }
        }
        ends.push(value);
    }
    let leaves = hasher.hash(LANES, |lane| place.address(Kind::WotsPublic, [number(lane), 0, 0]), &ends);
    let leaves = (0..LANES).map(|at| lane(&leaves, at)).collect();
    let levels = hasher.levels(leaves, |height, index| place.address(Kind::Tree, [0, height, index]));
    siblings(&levels, place.leaf).for_each(|node| out.extend_from_slice(&node_bytes(node)));
    levels.last().and_then(|top| top.first()).copied().unwrap_or_default()
}

/// The root that one tree's signature comes to (algorithms 8 and 11).
fn root_of(hasher: &Hasher, place: Place, message: Node, signature: &[u8]) -> Node {
    let (chains, beside) = signature.split_at_checked(CHAINS * N).unwrap_or_default();
    let ends = ends_of(hasher, place, &digits(message), chains);
    let mut on_the_way = hasher.hash_one(place.address(Kind::WotsPublic, [place.leaf, 0, 0]), ends.into_iter());
    for (height, beside) in (1..).zip(nodes(beside)) {
        let (left, right) = ordered(on_the_way, beside, place.leaf >> (height - 1) & 1 == 1);
        let address = place.address(Kind::Tree, [0, height, place.leaf >> height]);
        on_the_way = hasher.hash_one(address, [left, right].into_iter());
    }
    on_the_way
}

/// The ends of all chains. Those of similar lengths go side by side, so that lanes seldom wait.
fn ends_of(hasher: &Hasher, place: Place, digits: &[u32; CHAINS], signature: &[u8]) -> Vec<Node> {
    let mut chains: Vec<(u32, u32, Node)> =
        digits.iter().zip(0..).zip(nodes(signature)).map(|((digit, chain), node)| (*digit, chain, node)).collect();
    chains.sort_unstable_by_key(|(digit, chain, _)| (*digit, *chain));
    for group in chains.chunks_mut(LANES) {
        let begin = group.first().map_or(END, |(digit, ..)| *digit);
        for step in begin..END {
            let chain = |lane: usize| group.get(lane).map_or(0, |(_, chain, _)| *chain);
            let at = |lane| place.address(Kind::WotsHash, [place.leaf, chain(lane), step]);
            let made: Nodes = hasher.hash(group.len(), at, &[gather(group.iter().map(|(.., node)| *node))]);
            let running = (0..).zip(group.iter_mut()).filter(|(_, (digit, ..))| *digit <= step);
            running.for_each(|(at, (.., node))| *node = lane(&made, at));
        }
    }
    chains.sort_unstable_by_key(|(_, chain, _)| *chain);
    chains.into_iter().map(|(.., node)| node).collect()
}

/// Where each layer signs: the leaf's number is the lowest bits of the number of its tree's place in the layer below.
fn places(digest: &Digest) -> impl Iterator<Item = Place> {
    let layers = (0..number(LAYERS)).scan((digest.tree, digest.leaf), |(tree, leaf), layer| {
        let place = Place { layer, tree: *tree, leaf: *leaf };
        *leaf = u32::try_from(*tree & 7).unwrap_or_default();
        *tree >>= HEIGHT;
        Some(place)
    });
    layers.collect::<Vec<_>>().into_iter()
}

/// How far each chain goes for a message (algorithm 7): its 32 nibbles, and three of their checksum.
fn digits(message: Node) -> [u32; CHAINS] {
    let nibbles = node_bytes(message).into_iter().flat_map(|byte| [u32::from(byte >> 4), u32::from(byte & 15)]);
    let checksum: u32 = nibbles.clone().map(|nibble| END - nibble).sum();
    let mut digits = [0; CHAINS];
    let all = nibbles.chain([checksum >> 8 & 15, checksum >> 4 & 15, checksum & 15]);
    digits.iter_mut().zip(all).for_each(|(place, digit)| *place = digit);
    digits
}

impl Place {
    fn address(self, kind: Kind, last: [u32; 3]) -> Address {
        Address { layer: self.layer, tree: self.tree, kind, last }
    }
}
