//! Keccak-f[1600] (FIPS 202) on eight states at a time, and SHAKE256 over it.
//!
//! The vectors are `fearless_simd`'s: AVX-512 takes all eight at once, AVX2 four; elsewhere each state goes through the
//! crate `keccak`. Nothing here branches on a state or indexes by one.

use std::sync::LazyLock;

use fearless_simd::prelude::*;
use fearless_simd::{Level, Simd, dispatch};

/// How many states go side by side.
pub(super) const LANES: usize = 8;

/// One 64-bit word of each state.
pub(super) type Word = [u64; LANES];

/// Bytes of message in a block, as words.
const RATE: usize = 17;

type States = [Word; 25];

/// The first two words of SHAKE256 over whole words, for the first `used` states at least.
pub(super) fn shake256_lanes(words: &[Word], used: usize) -> [Word; 2] {
    // without optimisation, vectors are slower than the crate, which tests optimise
    if cfg!(debug_assertions) || !wide(*LEVEL) { shake256_each(words, used) } else { shake256_vectors(*LEVEL, words) }
}

fn shake256_vectors(level: Level, words: &[Word]) -> [Word; 2] {
    let mut states = [[0; LANES]; 25];
    let last = words.len() / RATE;
    for (number, block) in (0..=last).zip(words.chunks(RATE).chain(std::iter::once(&[][..]))) {
        for (place, word) in states.iter_mut().zip(block) {
            place.iter_mut().zip(word).for_each(|(place, word)| *place ^= word);
        }
        if number == last {
            states.iter_mut().skip(block.len()).take(1).flatten().for_each(|place| *place ^= 0x1f);
            states[RATE - 1].iter_mut().for_each(|place| *place ^= 1 << 63);
        }
        dispatch!(level, simd => all_groups(simd, &mut states));
    }
    [states[0], states[1]]
}

/// The same, one state after another; plain loops, so that it is bearable without optimisation.
#[expect(clippy::indexing_slicing, reason = "every index is below the bound of its loop or of its remainder")]
fn shake256_each(words: &[Word], used: usize) -> [Word; 2] {
    let mut out = [[0; LANES]; 2];
    let mut lane = 0;
    while lane < used.min(LANES) {
        let (mut state, mut at) = ([0_u64; 25], 0);
        while at < words.len() {
            state[at % RATE] ^= words[at][lane];
            at += 1;
            if at % RATE == 0 {
                keccak::f1600(&mut state);
            }
        }
        state[at % RATE] ^= 0x1f;
        state[RATE - 1] ^= 1 << 63;
        keccak::f1600(&mut state);
        (out[0][lane], out[1][lane]) = (state[0], state[1]);
        lane += 1;
    }
    out
}

/// The first `N` bytes, up to 136, of SHAKE256 over the concatenation of `parts`.
pub(super) fn shake256<const N: usize>(parts: &[&[u8]]) -> [u8; N] {
    let mut state = [0_u64; 25];
    let mut bytes = parts.iter().copied().flatten().copied().chain(std::iter::once(0x1f)).peekable();
    while bytes.peek().is_some() {
        for place in state.iter_mut().take(RATE) {
            for (shift, byte) in (0..64).step_by(8).zip(bytes.by_ref()) {
                *place ^= u64::from(byte) << shift;
            }
        }
        if bytes.peek().is_none() {
            state[16] ^= 1 << 63;
        }
        keccak::f1600(&mut state);
    }
    let mut out = [0; N];
    out.iter_mut().zip(state.iter().flat_map(|word| word.to_le_bytes())).for_each(|(place, byte)| *place = byte);
    out
}

fn wide(level: Level) -> bool {
    dispatch!(level, simd => lanes_of(simd)) >= 4
}

#[inline(always)]
fn lanes_of<S: Simd>(_: S) -> usize {
    <S::u64s as SimdBase<S>>::LEN
}

#[inline(always)]
fn all_groups<S: Simd>(simd: S, states: &mut States) {
    for first in (0..LANES).step_by(lanes_of(simd)) {
        group(simd, states, first);
    }
}

/// As many states as a vector has words, from `first` on.
#[inline(always)]
fn group<S: Simd>(simd: S, states: &mut States, first: usize) {
    let range = first..first + lanes_of(simd);
    let mut a = states.map(|word| match word.get(range.clone()) {
        Some(words) => S::u64s::from_slice(simd, words),
        None => S::u64s::splat(simd, 0),
    });
    for constant in ROUND_CONSTANTS {
        round::<S>(&mut a);
        a[0] ^= S::u64s::splat(simd, constant);
    }
    for (word, value) in states.iter_mut().zip(a) {
        if let Some(words) = word.get_mut(range.clone()) {
            value.store_slice(words);
        }
    }
}

/// θ, ρ, π and χ (FIPS 202 §3.2).
#[inline(always)]
fn round<S: Simd>(a: &mut [S::u64s; 25]) {
    macro_rules! column {
        ($x:literal $($y:literal)*) => { a[$x] $(^ a[$y])* };
    }
    let c = [
        column!(0 5 10 15 20),
        column!(1 6 11 16 21),
        column!(2 7 12 17 22),
        column!(3 8 13 18 23),
        column!(4 9 14 19 24),
    ];
    macro_rules! rotated {
        ($value:expr, $by:literal) => {{
            let value = $value;
            (value << $by) | (value >> (64 - $by))
        }};
    }
    let d = [
        c[4] ^ rotated!(c[1], 1),
        c[0] ^ rotated!(c[2], 1),
        c[1] ^ rotated!(c[3], 1),
        c[2] ^ rotated!(c[4], 1),
        c[3] ^ rotated!(c[0], 1),
    ];
    // which word comes to a place, its column, and by how much it turns
    macro_rules! turned {
        ($from:literal, $x:literal, $by:literal) => {
            rotated!(a[$from] ^ d[$x], $by)
        };
    }
    let b = [
        [a[0] ^ d[0], turned!(6, 1, 44), turned!(12, 2, 43), turned!(18, 3, 21), turned!(24, 4, 14)],
        [turned!(3, 3, 28), turned!(9, 4, 20), turned!(10, 0, 3), turned!(16, 1, 45), turned!(22, 2, 61)],
        [turned!(1, 1, 1), turned!(7, 2, 6), turned!(13, 3, 25), turned!(19, 4, 8), turned!(20, 0, 18)],
        [turned!(4, 4, 27), turned!(5, 0, 36), turned!(11, 1, 10), turned!(17, 2, 15), turned!(23, 3, 56)],
        [turned!(2, 2, 62), turned!(8, 3, 55), turned!(14, 4, 39), turned!(15, 0, 41), turned!(21, 1, 2)],
    ];
    // assigned one by one: arrays that are copied cost more than the round
    macro_rules! chi {
        ($($row:literal: $p:literal $q:literal $r:literal $s:literal $t:literal),*) => {$(
            a[$p] = b[$row][0] ^ (!b[$row][1] & b[$row][2]);
            a[$q] = b[$row][1] ^ (!b[$row][2] & b[$row][3]);
            a[$r] = b[$row][2] ^ (!b[$row][3] & b[$row][4]);
            a[$s] = b[$row][3] ^ (!b[$row][4] & b[$row][0]);
            a[$t] = b[$row][4] ^ (!b[$row][0] & b[$row][1]);
        )*};
    }
    chi!(0: 0 1 2 3 4, 1: 5 6 7 8 9, 2: 10 11 12 13 14, 3: 15 16 17 18 19, 4: 20 21 22 23 24);
}

static LEVEL: LazyLock<Level> = LazyLock::new(Level::new);

const ROUND_CONSTANTS: [u64; 24] = [
    0x0000_0000_0000_0001,
    0x0000_0000_0000_8082,
    0x8000_0000_0000_808a,
    0x8000_0000_8000_8000,
    0x0000_0000_0000_808b,
    0x0000_0000_8000_0001,
    0x8000_0000_8000_8081,
    0x8000_0000_0000_8009,
    0x0000_0000_0000_008a,
    0x0000_0000_0000_0088,
    0x0000_0000_8000_8009,
    0x0000_0000_8000_000a,
    0x0000_0000_8000_808b,
    0x8000_0000_0000_008b,
    0x8000_0000_0000_8089,
    0x8000_0000_0000_8003,
    0x8000_0000_0000_8002,
    0x8000_0000_0000_0080,
    0x0000_0000_0000_800a,
    0x8000_0000_8000_000a,
    0x8000_0000_8000_8081,
    0x8000_0000_0000_8080,
    0x0000_0000_8000_0001,
    0x8000_0000_8000_8008,
];

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn levels() -> Vec<Level> {
        let mut levels = vec![Level::baseline(), *LEVEL];
        #[cfg(target_arch = "x86_64")]
        levels.extend(LEVEL.as_avx2().map(Level::Avx2));
        levels
    }

    proptest! {
        /// Every width of vectors against the crate `keccak`, at every number of blocks.
        #[test]
        fn the_lanes_agree(words in prop::collection::vec(any::<Word>(), 0..80)) {
            let expected = shake256_each(&words, LANES);
            for level in levels() {
                prop_assert_eq!(shake256_vectors(level, &words), expected, "{:?}", level);
            }
            let few = shake256_each(&words, 2);
            prop_assert_eq!((&few[0][..2], few[1][2]), (&expected[0][..2], 0));
        }
    }

    /// NIST's example values: SHAKE256 of nothing; of whole words and blocks, both ways agree.
    #[test]
    fn shake256_known_answers() {
        let nothing = "46b9dd2b0ba88d13233b3feb743eeb24";
        assert_eq!(hex::encode(shake256::<16>(&[])), nothing);
        let lanes = shake256_lanes(&[], LANES);
        assert_eq!(hex::encode(lanes.map(|word| word[5].to_le_bytes()).concat()), nothing);
        for count in [1, 16, 17, 18, 34, 70] {
            let message: Vec<u8> = (0..count * 8).map(|n| u8::try_from(n % 251).unwrap()).collect();
            let words = message.chunks(8).map(|word| [u64::from_le_bytes(word.try_into().unwrap()); LANES]);
            let lanes = shake256_lanes(&words.collect::<Vec<_>>(), LANES).map(|word| word[7].to_le_bytes()).concat();
            assert_eq!(lanes, shake256::<16>(&[&message[..3], &message[3..]]), "{count} words");
        }
    }
}
