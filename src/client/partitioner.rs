//! Which partition a key belongs to: murmur2, as Java's producer has it.

/// How a partition is chosen for a record that doesn't name one.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
#[non_exhaustive]
pub enum Partitioning {
    /// By the *plaintext* key, with [`partition_of`] unless the transport's settings name another `partitioner`, so that
    /// records of one key stay in order. An encrypted key looks
    /// different every time, so the broker can't tell that two records share a key; but it sees which partition they
    /// went to. Records without a key go to one partition for a while, then to the next.
    #[default]
    ByPlaintextKey,
    /// As if no record had a key: the broker learns nothing about keys, and records of one key are in no order.
    IgnoreKeys,
    /// Always this one.
    Fixed(i32),
}

/// The partition of a key among `count`: `toPositive(murmur2(key)) % count`, as Java's producer does.
///
/// ```
/// use kafkacrypto::client::partition_of;
///
/// assert_eq!(partition_of(b"foobar", 100), Some(66));
/// assert_eq!(partition_of(b"foobar", 0), None);
/// ```
#[must_use]
pub fn partition_of(key: &[u8], count: usize) -> Option<usize> {
    let hash = usize::try_from(murmur2(key) & 0x7fff_ffff).ok()?;
    hash.checked_rem(count)
}

/// The hash that Kafka's Java clients use, as an unsigned number.
#[must_use]
pub fn murmur2(data: &[u8]) -> u32 {
    let length = u32::try_from(data.len() & 0xffff_ffff).unwrap_or(0);
    let (words, tail) = data.as_chunks::<4>();
    let mut hash = words.iter().fold(SEED ^ length, |hash, word| {
        let mixed = u32::from_le_bytes(*word).wrapping_mul(MIX);
        hash.wrapping_mul(MIX) ^ (mixed ^ (mixed >> 24)).wrapping_mul(MIX)
    });
    if !tail.is_empty() {
        let rest = tail.iter().rev().fold(0, |rest, byte| (rest << 8) | u32::from(*byte));
        hash = (hash ^ rest).wrapping_mul(MIX);
    }
    hash = (hash ^ (hash >> 13)).wrapping_mul(MIX);
    hash ^ (hash >> 15)
}

const SEED: u32 = 0x9747_b28c;
const MIX: u32 = 0x5bd1_e995;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hashes_are_those_of_java() {
        // from the tests of Kafka's Java client (UtilsTest.testMurmur2)
        for (data, hash) in [
            (&b"21"[..], -973_932_308),
            (b"foobar", -790_332_482),
            (b"a-little-bit-long-string", -985_981_536),
            (b"a-little-bit-longer-string", -1_486_304_829),
            (b"lkjh234lh9fiuh90y23oiuhsafujhadof229phr9h19h89h8", -58_897_971),
            (b"abc", 479_470_107),
        ] {
            assert_eq!(murmur2(data).cast_signed(), hash, "{}", String::from_utf8_lossy(data));
        }
    }

    #[test]
    fn partitions_are_spread_and_stay() {
        let of = |n: u32| partition_of(&n.to_be_bytes(), 8).unwrap();
        let mut counts = [0; 8];
        (0..8000).for_each(|n| counts[of(n)] += 1);
        assert!(counts.iter().all(|count| (800..1200).contains(count)), "{counts:?}");
        assert_eq!(of(7), of(7));
        assert_eq!(partition_of(b"", 1), Some(0));
    }

    /// The Kafka client, which knows nothing of us, has one of its own; here it may not be there.
    #[cfg(feature = "kafka")]
    #[test]
    fn it_is_the_kafka_client_s() {
        use crate::kafka::Partitioner;
        use proptest::prelude::*;

        proptest!(|(key in proptest::collection::vec(any::<u8>(), 0..70), count in 1_u16..)| {
            let theirs = Partitioner::Java.of_key(Some(&key), count.into()).and_then(|of| usize::try_from(of).ok());
            prop_assert_eq!(partition_of(&key, count.into()), theirs);
        });
    }
}
