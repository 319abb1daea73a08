use proptest::prelude::*;

use super::*;

fn batch(records: &[u8]) -> Vec<u8> {
    [b"head".as_slice(), records].concat()
}

#[test]
fn every_codec_gives_back_what_it_got() {
    let text = b"all work and no play makes jack a dull boy. ".repeat(10_000);
    for codec in &Compression::ALL[1..] {
        for size in [100, 65_535, 65_536, 65_537, 131_072, text.len()] {
            let packed = compressed(*codec, None, &batch(&text[..size]), 4).expect("text gets smaller");
            assert_eq!(&packed[..4], b"head");
            let plain = decompressed(*codec, &Bytes::copy_from_slice(&packed[4..]), size).expect("sound");
            assert!(plain == text[..size], "{codec} {size}");
            let short = decompressed(*codec, &Bytes::copy_from_slice(&packed[4..]), size - 1);
            assert_eq!(short, Err(Defect::TooLarge { limit: size - 1 }), "{codec} {size}");
        }
    }
}

#[test]
fn what_does_not_get_smaller_is_not_compressed() {
    let noise: Vec<u8> = (0..1000_u32).flat_map(|n| crc32c::crc32c(&n.to_le_bytes()).to_le_bytes()).collect();
    for codec in &Compression::ALL[1..] {
        assert_eq!(compressed(*codec, None, &batch(&noise), 4), None, "{codec}");
        assert_eq!(compressed(*codec, None, &batch(b"x"), 4), None, "{codec}");
    }
}

#[test]
fn a_bomb_is_stopped_at_the_limit() {
    let zeros = vec![0; 50 << 20];
    for codec in &Compression::ALL[1..] {
        let bomb = Bytes::from(compressed(*codec, None, &zeros, 0).expect("zeros get smaller"));
        assert_eq!(decompressed(*codec, &bomb, 1 << 20), Err(Defect::TooLarge { limit: 1 << 20 }), "{codec}");
    }
}

#[test]
fn levels_count() {
    let text: Vec<u8> = (0..40_000_u32).flat_map(|n| format!("{} ", n * n % 1000).into_bytes()).collect();
    let size = |codec, level| compressed(codec, Some(level), &text, 0).expect("smaller").len();
    assert!(size(Compression::Gzip, 9) < size(Compression::Gzip, 1));
    assert!(size(Compression::Zstd, 19) < size(Compression::Zstd, 1));
    for (codec, level) in [(Compression::Gzip, 100), (Compression::Gzip, -5), (Compression::Zstd, 100)] {
        let packed = compressed(codec, Some(level), &text, 0).expect("smaller");
        assert!(decompressed(codec, &packed.into(), text.len()).is_ok());
    }
}

#[test]
fn cut_or_damaged_data_is_an_error() {
    let text = b"all work and no play makes jack a dull boy. ".repeat(100);
    for codec in &Compression::ALL[1..] {
        let packed = Bytes::from(compressed(*codec, None, &text, 0).expect("smaller"));
        for end in [1, 5, packed.len() / 2, packed.len() - 5] {
            let result = decompressed(*codec, &packed.slice(..end), 1 << 20);
            assert!(matches!(result, Err(Defect::Compressed { .. })), "{codec} cut at {end}: {result:?}");
        }
    }
}

proptest! {
    #[test]
    fn round_trip(chunks in proptest::collection::vec((any::<u8>(), 0..3000_usize), 0..50), codec in 1..5_usize) {
        let codec = Compression::ALL[codec];
        let plain: Vec<u8> = chunks.iter().flat_map(|(byte, n)| std::iter::repeat_n(*byte, *n)).collect();
        if let Some(packed) = compressed(codec, None, &plain, 0) {
            prop_assert!(decompressed(codec, &packed.into(), plain.len()).expect("sound") == plain);
        }
    }

    #[test]
    fn any_bytes(bytes: Vec<u8>, codec in 1..5_usize) {
        let limit = 1000;
        if let Ok(plain) = decompressed(Compression::ALL[codec], &bytes.into(), limit) {
            prop_assert!(plain.len() <= limit);
        }
    }
}
