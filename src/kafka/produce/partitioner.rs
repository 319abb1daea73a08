//! Which partition a record goes to.

use std::fmt;

/// How records that name no partition find theirs. One that has a key always goes to the same, as long as no partitions
/// are added; the others go to one partition until a good batch is filled, then to another.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Partitioner {
    /// As Java's and kafka-python's producers do: murmur2 of the key. An empty key is a key.
    #[default]
    Java,
    /// As librdkafka's `consistent_random` does: CRC32 of the key. An empty key is none.
    Librdkafka,
}

impl Partitioner {
    /// The partition of a record with this key, or `None` for one that may go anywhere.
    ///
    /// ```
    /// use kafkacrypto::kafka::Partitioner;
    ///
    /// assert_eq!(Partitioner::Java.of_key(Some(b"meter-7"), 12), Some(8));
    /// assert_eq!(Partitioner::Java.of_key(None, 12), None);
    /// ```
    pub fn of_key(self, key: Option<&[u8]>, partitions: i32) -> Option<i32> {
        let hash = match (self, key?) {
            (Self::Java, key) => murmur2(key) & 0x7fff_ffff,
            (Self::Librdkafka, []) => return None,
            (Self::Librdkafka, key) => crc32(key),
        };
        let partitions = u32::try_from(partitions).ok()?;
        i32::try_from(hash.checked_rem(partitions)?).ok()
    }

    /// The one of this name in the settings of kafka-python, Java or librdkafka.
    ///
    /// ```
    /// use kafkacrypto::kafka::Partitioner;
    ///
    /// assert_eq!(Partitioner::from_name("consistent_random"), Some(Partitioner::Librdkafka));
    /// assert_eq!(Partitioner::from_name("fair"), None);
    /// ```
    pub fn from_name(name: &str) -> Option<Self> {
        match name {
            "default" | "murmur2" | "murmur2_random" => Some(Self::Java),
            "consistent" | "consistent_random" => Some(Self::Librdkafka),
            _ => None,
        }
    }
}

impl fmt::Display for Partitioner {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Java => "murmur2_random",
            Self::Librdkafka => "consistent_random",
        })
    }
}

/// Random numbers that decide nothing but which partition is next and how long to wait (splitmix64).
#[derive(Debug, Clone)]
pub(super) struct Dice(u64);

impl Dice {
    pub(super) fn new(seed: u64) -> Self {
        Self(seed)
    }

    /// A number below `end`; 0 if that is 0.
    pub(super) fn below(&mut self, end: usize) -> usize {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        let (z, end) = (z ^ (z >> 31), end.max(1) as u64);
        usize::try_from(z % end).unwrap_or(0)
    }
}

/// The variant of `MurmurHash2` (32 bits, little endian) that Kafka uses.
fn murmur2(key: &[u8]) -> u32 {
    const M: u32 = 0x5bd1_e995;
    let length = u32::try_from(key.len()).unwrap_or(u32::MAX);
    let mut hash = 0x9747_b28c_u32 ^ length;
    let (words, rest) = key.as_chunks::<4>();
    for word in words {
        let mut k = u32::from_le_bytes(*word).wrapping_mul(M);
        k = (k ^ (k >> 24)).wrapping_mul(M);
        hash = hash.wrapping_mul(M) ^ k;
    }
    if !rest.is_empty() {
        let last = rest.iter().rev().fold(0, |last, byte| last << 8 | u32::from(*byte));
        hash = (hash ^ last).wrapping_mul(M);
    }
    hash = (hash ^ (hash >> 13)).wrapping_mul(M);
    hash ^ (hash >> 15)
}

/// CRC-32 as in gzip (reflected, polynomial 0x04c11db7). Keys are short, so bit by bit will do.
fn crc32(key: &[u8]) -> u32 {
    !key.iter().fold(u32::MAX, |crc, byte| {
        (0..8).fold(crc ^ u32::from(*byte), |crc, _| if crc & 1 == 1 { crc >> 1 ^ 0xedb8_8320 } else { crc >> 1 })
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    /// From the tests of Kafka's own `Utils`.
    #[test]
    fn murmur2_is_java_s() {
        for (key, hash) in [
            ("21", -973_932_308),
            ("foobar", -790_332_482),
            ("a-little-bit-long-string", -985_981_536),
            ("a-little-bit-longer-string", -1_486_304_829),
            ("lkjh234lh9fiuh90y23oiuhsafujhadof229phr9h19h89h8", -58_897_971),
            ("abc", 479_470_107),
        ] {
            assert_eq!(murmur2(key.as_bytes()).cast_signed(), hash, "{key}");
        }
    }

    #[test]
    fn crc32_is_the_usual_one() {
        assert_eq!(crc32(b"123456789"), 0xcbf4_3926);
    }

    #[test]
    fn keys_and_none() {
        assert_eq!(Partitioner::Java.of_key(Some(b""), 7), Some(i32::try_from(murmur2(b"") % 7).unwrap()));
        assert_eq!(Partitioner::Librdkafka.of_key(Some(b""), 7), None);
        assert_eq!(Partitioner::Librdkafka.of_key(Some(b"123456789"), 10), Some(2));
        assert_eq!(Partitioner::Java.of_key(Some(b"a"), 0), None, "no partitions");
    }

    #[test]
    fn dice_reach_every_side() {
        let mut dice = Dice::new(1);
        let mut seen = [0; 6];
        (0..600).for_each(|_| seen[dice.below(6)] += 1);
        assert!(seen.iter().all(|times| (60..150).contains(times)), "{seen:?}");
        assert_eq!(dice.below(0), 0);
    }
}
