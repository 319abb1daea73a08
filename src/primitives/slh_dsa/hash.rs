//! The hash functions of FIPS 205 §11.1 on eight inputs at a time, and the addresses that keep them apart (§4.2).

use zeroize::Zeroize;

use super::keccak::{LANES, Word, shake256_lanes};

/// Bytes of a node.
pub(super) const N: usize = 16;

/// One node of a tree, as words.
pub(super) type Node = [u64; 2];

/// A node of each lane.
pub(super) type Nodes = [Word; 2];

/// The functions `PRF`, `F`, `H` and `T` under a `pk.seed`.
pub(super) struct Hasher {
    seed: Nodes,
}

/// What a hash is for.
#[derive(Clone, Copy)]
pub(super) enum Kind {
    WotsHash = 0,
    WotsPublic = 1,
    Tree = 2,
    ForsTree = 3,
    ForsRoots = 4,
    WotsSecret = 5,
    ForsSecret = 6,
}

/// Which hash of the whole key a hash is. What the last three are depends on the kind: key pair, chain and hash for
/// WOTS+; key pair (not for trees of XMSS), height and index for trees.
#[derive(Clone, Copy)]
pub(super) struct Address {
    pub(super) layer: u32,
    pub(super) tree: u64,
    pub(super) kind: Kind,
    pub(super) last: [u32; 3],
}

impl Address {
    /// ```text
    /// layer(4) ‖ zeros(4) ‖ tree(8) ‖ kind(4) ‖ last[0](4) ‖ last[1](4) ‖ last[2](4)     big-endian
    /// ```
    fn words(self) -> [u64; 4] {
        let Self { layer, tree, kind, last: [a, b, c] } = self;
        let both = |first: u32, second: u32| u64::from(first.swap_bytes()) | u64::from(second.swap_bytes()) << 32;
        [both(layer, 0), tree.swap_bytes(), both(kind as u32, a), both(b, c)]
    }
}

impl Hasher {
    pub(super) fn new(seed: &[u8; N]) -> Self {
        Self { seed: splat(node(seed)) }
    }

    /// `SHAKE256(pk.seed ‖ address ‖ input)` of each lane: `PRF` and `F` with one node, `H` with two, `T` with more.
    /// The first `used` lanes of the result count.
    pub(super) fn hash(&self, used: usize, address: impl Fn(usize) -> Address, input: &[Nodes]) -> Nodes {
        let mut addresses = [[0; 4]; LANES];
        addresses.iter_mut().zip(0..used).for_each(|(place, lane)| *place = address(lane).words());
        let mut words = Vec::with_capacity(6 + 2 * input.len());
        words.extend_from_slice(&self.seed);
        words.extend(transposed(&addresses));
        input.iter().for_each(|nodes| words.extend_from_slice(nodes));
        let made = shake256_lanes(&words, used);
        words.zeroize();
        made
    }

    /// The same of one lane.
    pub(super) fn hash_one(&self, address: Address, input: impl Iterator<Item = Node>) -> Node {
        let input: Vec<Nodes> = input.map(splat).collect();
        lane(&self.hash(1, |_| address, &input), 0)
    }

    /// Whole trees from their leaves: each level's nodes, the leaves first. `address` is of a node's height and index.
    pub(super) fn levels(&self, leaves: Vec<Node>, address: impl Fn(u32, u32) -> Address) -> Vec<Vec<Node>> {
        let mut levels = vec![leaves];
        for height in 1.. {
            let below = levels.last().map_or(&[][..], Vec::as_slice);
            if below.len() < 2 {
                break;
            }
            let pairs: Vec<(Node, Node)> =
                below.chunks_exact(2).filter_map(|pair| Some((*pair.first()?, *pair.last()?))).collect();
            let mut level = Vec::with_capacity(pairs.len());
            for (first, group) in (0..).step_by(LANES).zip(pairs.chunks(LANES)) {
                let input = [gather(group.iter().map(|pair| pair.0)), gather(group.iter().map(|pair| pair.1))];
                let made = self.hash(group.len(), |lane| address(height, first + number(lane)), &input);
                level.extend((0..group.len()).map(|at| lane(&made, at)));
            }
            levels.push(level);
        }
        levels
    }
}

/// Each lane's words as words of all lanes.
fn transposed(lanes: &[[u64; 4]; LANES]) -> [Word; 4] {
    let mut words = [[0; LANES]; 4];
    for (at, [a, b, c, d]) in lanes.iter().enumerate() {
        for (word, value) in words.iter_mut().zip([a, b, c, d]) {
            if let Some(place) = word.get_mut(at) {
                *place = *value;
            }
        }
    }
    words
}

/// The nodes beside the way from a leaf to the root.
pub(super) fn siblings(levels: &[Vec<Node>], leaf: u32) -> impl Iterator<Item = Node> {
    let below_root = levels.len().saturating_sub(1);
    levels
        .iter()
        .take(below_root)
        .zip(0..)
        .filter_map(move |(level, height)| level.get((leaf >> height ^ 1) as usize).copied())
}

/// The two halves of a pair in their order: `odd` says that the one on the way is the right one.
pub(super) fn ordered(on_the_way: Node, beside: Node, odd: bool) -> (Node, Node) {
    if odd { (beside, on_the_way) } else { (on_the_way, beside) }
}

pub(super) fn node(bytes: &[u8; N]) -> Node {
    let value = u128::from_le_bytes(*bytes);
    let word = |shift| u64::try_from(value >> shift & u128::from(u64::MAX)).unwrap_or_default();
    [word(0), word(64)]
}

pub(super) fn node_bytes([first, second]: Node) -> [u8; N] {
    (u128::from(first) | u128::from(second) << 64).to_le_bytes()
}

/// The same node in every lane.
pub(super) fn splat(node: Node) -> Nodes {
    node.map(|word| [word; LANES])
}

/// One node to each lane, from the first on.
pub(super) fn gather(nodes: impl Iterator<Item = Node>) -> Nodes {
    let [mut first, mut second] = splat([0, 0]);
    for ((first, second), node) in first.iter_mut().zip(&mut second).zip(nodes) {
        [*first, *second] = node;
    }
    [first, second]
}

/// One lane's node.
pub(super) fn lane([first, second]: &Nodes, at: usize) -> Node {
    [first, second].map(|word| word.get(at).copied().unwrap_or_default())
}

/// A lane as a number in an address.
pub(super) fn number(lane: usize) -> u32 {
    u32::try_from(lane).unwrap_or_default()
}
